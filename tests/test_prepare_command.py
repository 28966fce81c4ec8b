# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs prepare`: its options, output and errors; and that torch is not needed."""

import argparse
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard
from mask_benchmark_miniatures import save_frames, save_labels, tiny_video

from univs_hf.data.prepare.conversion_log import DamageError
from univs_hf.data.prepare.converter import DatasetConverter
from univs_hf.data.prepare.dataset_card import dataset_card
from univs_hf.data.prepare.prepare_command import add_prepare_parser
from univs_hf.data.prepare.registry import CONVERTERS, converter_class


def run(*arguments) -> int:
    arguments = ["prepare", *map(str, arguments)]
    parser = argparse.ArgumentParser(prog="univs")
    add_prepare_parser(parser.add_subparsers(dest="command", required=True), arguments)
    args = parser.parse_args(arguments)
    return args.func(args)


@pytest.fixture
def source(tmp_path) -> Path:
    root = tmp_path / "source"
    for name in ("a", "b"):
        video = tiny_video(name, 7, [0])
        save_frames(root / "train" / "JPEGImages" / name, video)
        save_labels(root / "train" / "Annotations" / name, video)
    short = tiny_video("c", 3, [0])
    save_frames(root / "train" / "JPEGImages" / "c", short)
    save_labels(root / "train" / "Annotations" / "c", short)
    return root


def test_report_is_printed_and_written(source, tmp_path, capsys):
    missing = source / "train" / "JPEGImages" / "b" / "00002.jpg"
    missing.unlink()
    assert run("mose", source, tmp_path / "out", "--quiet") == 0
    printed = capsys.readouterr().out
    assert f"{missing}: video b: does not exist; expected a frame." in printed.replace("\n", "")
    assert "train: left out by rule: 1 videos of fewer than 6 frames" in printed
    assert "train: damage: 1 missing_file; skipped: 1 frame" in printed
    assert f"report: {tmp_path / 'out' / 'report.json'}" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["dataset"] == "mose" and report["options"] == {"min_frames": 6}
    assert report["splits"][0]["counts"]["frames"] == 13
    assert "`univs prepare mose` with `min_frames` = `6`" in (tmp_path / "out" / "README.md").read_text()
    assert run("mose", source, tmp_path / "out", "--quiet", "--split", "train") == 0
    assert "1 files were there from a run before" in capsys.readouterr().out


def test_options_reach_the_converter(source, tmp_path):
    run("mose", source, tmp_path / "out", "--quiet", "--min-frames", 3, "--shards", 2)
    assert sorted(path.name for path in (tmp_path / "out" / "data").iterdir()) == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["splits"][0]["counts"]["items"] == 3


def test_progress_is_shown_on_stderr(source, tmp_path, capsys):
    run("mose", source, tmp_path / "out")
    output = capsys.readouterr()
    assert "13 frames" not in output.out and "14 frames" in output.err and "train" in output.err


def test_damage_ends_it_by_choice(source, tmp_path):
    (source / "train" / "Annotations" / "a" / "00004.png").unlink()
    with pytest.raises(DamageError, match=r"a/00004\.png: video a: does not exist"):
        run("mose", source, tmp_path / "out", "--quiet", "--on-damage", "fail")


def test_wrong_requests_end_before_anything_is_written(source, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        run("mose", tmp_path / "nowhere", out)
    with pytest.raises(FileNotFoundError, match="valid"):
        run("mose", source, out, "--split", "valid", "--quiet")
    with pytest.raises(ValueError, match="`workers` must be at least 1, got 0"):
        run("mose", source, out, "--workers", 0)
    with pytest.raises(ValueError, match="`min_frames` must be at least 0"):
        run("mose", source, out, "--min-frames", -1)
    for arguments in (["--split", "nowhere"], ["--on-damage", "ignore"]):
        with pytest.raises(SystemExit):
            run("mose", source, out, *arguments)
    with pytest.raises(SystemExit):
        run("imagenet", source, out)
    assert not list(out.rglob("*.parquet"))


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_dataset_has_help_and_a_valid_card(name, capsys, tmp_path):
    with pytest.raises(SystemExit) as done:
        run(name, "--help")
    assert done.value.code == 0 and "--on-damage" in capsys.readouterr().out
    converter = converter_class(name)
    assert issubclass(converter, DatasetConverter)
    assert converter.name == name
    assert not converter.splits or set(converter.default_splits) <= set(converter.splits)
    card = DatasetCard(dataset_card(converter(tmp_path), []))
    assert card.data.pretty_name == converter.facts.title and card.data.license == converter.facts.licence
    if card.data.license == "other":
        assert card.data.license_name
        assert not converter.facts.homepage or card.data.license_link.startswith("https://")


def test_unknown_datasets_and_options(tmp_path):
    with pytest.raises(ValueError, match="`name` must be one of"):
        converter_class("imagenet")
    with pytest.raises(ValueError, match="ytvos18 has no option 'resolution'"):
        converter_class("ytvos18")(tmp_path, resolution="480p")


CHILD = """
    import importlib.abc
    import importlib.util
    import sys
    from pathlib import Path

    class Refuse(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "transformers"):
                raise ModuleNotFoundError(f"{name} is out of reach in this test", name=name)

    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name == "torch" else find_spec(name, package)
    sys.meta_path.insert(0, Refuse())

    from univs_hf.data.prepare.conversion import ConversionSettings, convert
    from univs_hf.data.prepare.registry import CONVERTERS, converter_class

    for name in CONVERTERS:
        converter_class(name)
    convert(converter_class("mose")(Path(sys.argv[1])), Path(sys.argv[2]), settings=ConversionSettings(quiet=True))
    assert "torch" not in sys.modules
"""


def test_torch_is_not_needed(source, tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(source), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert (tmp_path / "out" / "SHA256SUMS").is_file()
