# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The recorded numbers of the original implementation, and the command that compares with them."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from check_parity import CHECKS, check_fixture, kind_of, main
from parity_fixtures import find_fixtures, shared_folder
from safetensors.torch import load_file, save_file

PARITY = shared_folder() / "parity"
FIXTURES = find_fixtures([PARITY]) if PARITY.is_dir() else []
# Fixtures of the same weights follow each other, so that each model is built once.
CHECKED = sorted((p for p in FIXTURES if kind_of(p.stem) in CHECKS), key=lambda path: path.stem.split("_")[::-1])


@pytest.mark.skipif(not FIXTURES, reason=f"the recorded fixtures are not at {PARITY} (set UNIVS_SHARED)")
@pytest.mark.parametrize("path", CHECKED, ids=lambda path: path.stem)
def test_fixture(path: Path) -> None:
    rows = list(check_fixture(path))
    assert rows
    failed = [row for row in rows if not row.passed]
    assert not failed, failed
    compared = [row for row in rows if not math.isnan(row.absolute)]
    assert compared


def test_every_recorded_kind_is_known(shared_dir: Path) -> None:
    kinds = {kind_of(path.stem) for path in find_fixtures([shared_dir / "parity"])}
    assert kinds <= {*CHECKS}


def copy_fixture(shared_dir: Path, name: str, folder: Path, new_name: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for suffix in (".json", ".safetensors"):
        shutil.copyfile(shared_dir / "parity" / f"{name}{suffix}", folder / f"{new_name or name}{suffix}")
    return folder / f"{new_name or name}.safetensors"


def test_command_passes_and_fails(shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy_fixture(shared_dir, "tokenizer", tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "0 failed" in capsys.readouterr().out

    tensors = load_file(path)
    tensors["tokens_template0"][0, 1] += 1
    save_file(tensors, path)
    assert main([str(tmp_path)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_command_rejects_unknown_kinds_and_empty_folders(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    copy_fixture(shared_dir, "tokenizer", tmp_path, "novelty_r50_s0")
    assert main([str(tmp_path)]) == 1
    assert "unknown kind" in capsys.readouterr().out
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path / "absent")])
    assert error.value.code == 2


def test_a_wrong_number_is_found_in_every_compared_tensor_kind(shared_dir: Path, tmp_path: Path) -> None:
    """A fixture whose tensors are shifted by 1 % must fail in each of them."""
    path = copy_fixture(shared_dir, "prompt_visual_swint_s0", tmp_path)
    tensors = load_file(path)
    for key in ("mask/query_feats_dense", "box/query_pe_dense", "point/point_coords"):
        tensors[key] = tensors[key] * 1.01
    save_file(tensors, path)
    meta = json.loads(path.with_suffix(".json").read_text())
    assert meta["backbone"] == "swint"
    with torch.inference_mode():
        failed = {row.tensor for row in check_fixture(path.with_suffix(".json")) if not row.passed}
    assert {"mask: features", "box: positions", "point: points"} <= failed
