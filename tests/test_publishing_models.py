# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs push-model`: what is uploaded, the dry run, and what is refused before anything is uploaded."""

import argparse
import ast
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
from decisive_model import decisive_model
from fake_hub import FakeHub
from huggingface_hub import HfApi, ModelCard, RepoCard
from huggingface_hub.errors import HTTPError
from safetensors.torch import load_file, save_file
from test_model_cards import scores_file
from tiny_processor import tiny_processor
from transformers import pipeline

from univs_hf import packaged_checkpoints
from univs_hf.publishing import push_commands, upload_plan
from univs_hf.publishing.model_folder import planned_model_upload
from univs_hf.publishing.push_commands import add_push_model_parser

OWN = ("--card", "own", "--licence", "cc-by-4.0")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("model") / "saved"
    decisive_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    return shutil.copytree(saved, tmp_path / "copied")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """In place of the hub, and of its check of cards, which only the hub can make."""
    hub = FakeHub()
    monkeypatch.setattr(push_commands, "hub_api", lambda: hub)
    monkeypatch.setattr(RepoCard, "validate", lambda card, repo_type=None: hub.calls.append(f"validate {repo_type}"))
    return hub


@pytest.fixture(scope="module")
def uploaded(saved: Path) -> dict[str, bytes]:
    """What the hub has after a push: path -> content."""
    hub = FakeHub()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(push_commands, "hub_api", lambda: hub)
        patch.setattr(RepoCard, "validate", lambda card, repo_type=None: None)
        push(saved, "me/model", *OWN)
    return hub.repos["model", "me/model"].files


def push(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_push_model_parser(parser.add_subparsers())
    args = parser.parse_args(["push-model", *map(str, arguments)])
    return args.func(args)


def listed_files(output: str) -> dict[str, tuple[int, str]]:
    """The list of files of a dry run: path -> size, SHA-256."""
    return {path: (int(size), digest) for size, digest, path in re.findall(r"^ +(\d+)  (\w{64})  (.+)$", output, re.M)}


def test_dry_run_tells_exactly_what_is_uploaded(
    saved: Path, hub: FakeHub, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    options = (saved, "me/model", *OWN, "--scores", scores_file(tmp_path / "scores.json"))
    assert push(*options, "--dry-run") == 0
    output = capsys.readouterr().out
    assert hub.calls == [], "a dry run contacts nobody"
    assert "model me/model; if it is new: private" in output and output.endswith("nothing was uploaded\n")

    assert push(*options) == 0
    assert hub.calls == ["validate model", "create_repo", "repo_info", "upload_folder"]
    repo = hub.repos["model", "me/model"]
    assert repo.private
    assert listed_files(output) == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in repo.files.items()
    }
    assert f"{len(repo.files)} files, {sum(map(len, repo.files.values()))} bytes" in output
    card = repo.files["README.md"].decode()
    assert f"--- README.md\n{card}---\n" in output
    assert "| DAVIS 2017 val | video object segmentation | J&F | 30 | 71.2 |" in card
    assert '"me/model", trust_remote_code=True' in card


def test_what_is_uploaded(saved: Path, uploaded: dict[str, bytes]) -> None:
    files = uploaded
    names = {"README.md", "LICENSE.univs-hf", "config.json", "model.safetensors", "processor_config.json"}
    assert names | {"tokenizer.json", "pipeline_univs.py", "modeling_univs.py", "processing_univs.py"} <= set(files)
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pyc")) or "/" in name]
    assert b"Apache License" in files["LICENSE.univs-hf"]
    config = json.loads(files["config.json"])
    assert config["custom_pipelines"]["video-segmentation"]["impl"] == "pipeline_univs.VideoSegmentationPipeline"
    assert config["auto_map"]["AutoModelForUniversalSegmentation"] == "modeling_univs.UniVSForVideoSegmentation"
    # Nothing tells where the folder lay on this machine.
    folders = (str(saved).encode(), b"univs-push-")
    assert not [name for name, content in files.items() for folder in folders if folder in content]
    ModelCard(files["README.md"].decode())


def test_card_names_what_the_code_imports(uploaded: dict[str, bytes]) -> None:
    imported = set()
    for name in (name for name in uploaded if name.endswith(".py")):
        for node in ast.walk(ast.parse(uploaded[name])):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    (line,) = re.findall(r"`pip install (.+)`", uploaded["README.md"].decode())
    named = {re.match(r"\w+", word.strip('"'))[0].replace("pillow", "PIL") for word in line.split()}
    # transformers brings these.
    assert imported - set(sys.stdlib_module_names) - {"numpy", "huggingface_hub", "tokenizers"} == named


def test_weights_are_the_same_bytes(saved: Path, uploaded: dict[str, bytes]) -> None:
    assert uploaded["model.safetensors"] == (saved / "model.safetensors").read_bytes()


def test_shards_in_half_precision_stay(hub: FakeHub, tmp_path: Path) -> None:
    decisive_model().to(torch.bfloat16).save_pretrained(tmp_path / "half", max_shard_size="200KB")
    tiny_processor().save_pretrained(tmp_path / "half")
    weights = {path.name for path in (tmp_path / "half").glob("model*")}
    assert len(weights) > 2
    push(tmp_path / "half", "me/half", *OWN)
    files = hub.repos["model", "me/half"].files
    assert {name for name in files if name.startswith("model") and not name.endswith(".py")} == weights
    assert all(files[name] == (tmp_path / "half" / name).read_bytes() for name in weights)
    assert json.loads(files["config.json"])["dtype"] == "bfloat16"


CHILD = """
    import sys

    class RefuseThePackage:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] == "univs_hf":
                raise ModuleNotFoundError(f"{name} is out of reach in this test")

    sys.meta_path.insert(0, RefuseThePackage)

    import numpy as np
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    folder = sys.argv[1]
    segmenter = pipeline("video-segmentation", model=folder + "/up", device="cpu", trust_remote_code=True)
    np.savez(folder + "/masks.npz", *run(segmenter, list(np.load(folder + "/video.npy"))))
    assert "univs_hf" not in sys.modules
"""


def run(segmenter, video):  # the child runs its source too, without this module's names
    """Masks with categories and with a box."""
    import numpy

    masks = []
    for arguments in ({"subtask": "vss", "categories": ["dog", "ice"]}, {"boxes": [[4, 4, 28, 24]]}):
        for segments in segmenter(video, **arguments):
            masks += [numpy.asarray(segment["mask"]) for segment in segments]
    return masks


@pytest.mark.slow
def test_upload_works_without_the_package(saved: Path, uploaded: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    for name, content in uploaded.items():
        (tmp_path / "up" / name).write_bytes(content)
    video = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    np.save(tmp_path / "video.npy", video)
    child = subprocess.run(
        [sys.executable, "-I", "-c", inspect.getsource(run) + textwrap.dedent(CHILD), str(tmp_path)],
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_MODULES_CACHE": str(tmp_path / "modules")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    expected = run(pipeline("video-segmentation", model=str(saved), device="cpu"), list(video))
    masks = np.load(tmp_path / "masks.npz")
    assert len(masks.files) == len(expected) > 0
    assert all(np.array_equal(masks[f"arr_{index}"], mask) for index, mask in enumerate(expected))


def test_calls_fit_the_real_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in takes what it is given; so would the installed `HfApi`, whose signatures are asked here."""
    hub = create_autospec(HfApi, instance=True)
    hub.create_repo.return_value.repo_id = "me/model"
    hub.upload_folder.return_value.commit_url = "hub/commit"
    monkeypatch.setattr(push_commands, "hub_api", lambda: hub)
    monkeypatch.setattr(RepoCard, "validate", create_autospec(RepoCard.validate))
    push(saved, "me/model", *OWN, "--create-pr")
    hub.create_repo.assert_called_once_with(repo_id="me/model", repo_type="model", private=True, exist_ok=True)
    hub.repo_info.assert_called_once_with("me/model", repo_type="model")
    assert hub.upload_folder.call_args.kwargs["create_pr"] is True
    RepoCard.validate.assert_called_once()


def test_own_card(saved: Path, hub: FakeHub, copied: Path) -> None:
    (copied / "LICENSE").write_text("terms of these weights")
    (copied / "optimizer.bin").write_bytes(b"state of a training")
    options = ("--card", "own", "--licence", "other", "--licence-name", "my-terms", "--licence-link", "LICENSE")
    push(
        copied, "me/own", *options, "--title", "Mine", "--base-model", "me/univs-resnet50", "--training", "On my cats."
    )
    files = hub.repos["model", "me/own"].files
    assert files["LICENSE"] == b"terms of these weights"
    assert "optimizer.bin" not in files
    card = ModelCard(files["README.md"].decode())
    assert (card.data.license, card.data.license_name, card.data.license_link) == ("other", "my-terms", "LICENSE")
    assert card.data.base_model == "me/univs-resnet50"
    assert "# Mine" in card.text and "On my cats." in card.text
    # Published figures are those of other weights.
    assert card.data.eval_results is None and "| reported |" not in card.text


def test_ready_card(saved: Path, hub: FakeHub, tmp_path: Path) -> None:
    text = "---\nlicense: mit\n---\n\n# Mine\n"
    (tmp_path / "card.md").write_text(text)
    push(saved, "me/model", "--card-file", tmp_path / "card.md", "--revision", "v2", "--message", "Second")
    assert hub.repos["model", "me/model"].files["README.md"].decode() == text
    assert (hub.commits[0]["revision"], hub.commits[0]["commit_message"]) == ("v2", "Second")


def test_shards_of_an_earlier_upload_go(saved: Path, hub: FakeHub, capsys: pytest.CaptureFixture) -> None:
    hub.create_repo("me/model", repo_type="model", private=True, exist_ok=False)
    stale = ("model-00001-of-00002.safetensors", "model.safetensors.index.json")
    hub.repos["model", "me/model"].files |= {name: b"old" for name in (*stale, "notes.txt", "adapter.safetensors")}
    push(saved, "me/model", *OWN, "--dry-run")
    assert "model-*.safetensors, model.safetensors.index.json" in capsys.readouterr().out
    push(saved, "me/model", *OWN)
    files = hub.repos["model", "me/model"].files
    assert not set(stale) & set(files)
    assert files["notes.txt"] == files["adapter.safetensors"] == b"old"


def test_public_repository_gets_nothing_private(saved: Path, hub: FakeHub) -> None:
    hub.create_repo("me/model", repo_type="model", private=False, exist_ok=False)
    with pytest.raises(ValueError, match="public: nothing was uploaded"):
        push(saved, "me/model", *OWN)
    assert "upload_folder" not in hub.calls
    push(saved, "me/model", *OWN, "--public")
    push(saved, "me/new", *OWN, "--public")
    assert not hub.repos["model", "me/new"].private
    assert hub.calls.count("upload_folder") == 2


def test_card_that_the_hub_refuses(saved: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(card: RepoCard, repo_type: str | None = None) -> None:
        raise ValueError("license must be one of the known ids")

    monkeypatch.setattr(RepoCard, "validate", refuse)
    with pytest.raises(ValueError, match="known ids"):
        push(saved, "me/model", *OWN)
    assert hub.calls == []


def test_hub_out_of_reach(saved: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the connection are told in one line by `univs`, as those of the system are."""

    def no_answer(card: RepoCard, repo_type: str | None = None) -> None:
        raise HTTPError("Connection refused")

    monkeypatch.setattr(RepoCard, "validate", no_answer)
    with pytest.raises(OSError, match="could not be reached: Connection refused"):
        push(saved, "me/model", *OWN)
    assert hub.calls == []


def test_file_that_changes_after_the_plan(saved: Path, hub: FakeHub) -> None:
    facts = push_commands.card_facts("resnet50")
    with pytest.raises(ValueError, match="one of both"), planned_model_upload(saved, "me/model"):
        pass
    text = "---\nlicense: mit\n---\n\n# Mine\n"
    with pytest.raises(ValueError, match="one of both"), planned_model_upload(saved, "me/m", facts, card_text=text):
        pass
    with planned_model_upload(saved, "me/model", card_text=text) as plan:
        (plan.folder / "config.json").write_text("{}")
        with pytest.raises(ValueError, match="config.json has changed"):
            upload_plan.upload(plan, hub)
    assert "create_repo" not in hub.calls
    assert not plan.folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("me/x/y", *OWN), "`repo_id`"),
        (("me/a--b", *OWN), "`repo_id`"),
        (("me/x", "--card", "own"), "--licence"),
        (("me/x", "--card", "own", "--licence", "other"), "--licence-name and --licence-link"),
        (("me/x", "--card", "resnet50", "--title", "Mine"), "--title belongs to --card own"),
        (("me/x", "--card", "resnet50"), "preset 'resnet50', this one has None"),
        (("me/x", *OWN, "--create-pr", "--revision", "v1"), "--create-pr"),
    ],
)
def test_wrong_options(options: tuple[str, ...], message: str, saved: Path, hub: FakeHub) -> None:
    with pytest.raises(ValueError, match=message):
        push(saved, *options)
    assert hub.calls == []


def test_card_must_be_said(saved: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        push(saved, "me/x")
    assert "--card" in capsys.readouterr().err


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "mask2former"}')


def damage_tensors(change):
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def lose(tensors: dict) -> None:
    del tensors["class_logit_scale"]


def spoil(tensors: dict) -> None:
    tensors["class_logit_scale"] = torch.full_like(tensors["class_logit_scale"], torch.nan)


def reshape(tensors: dict) -> None:
    tensors["class_logit_scale"] = torch.zeros(3)


def add(tensors: dict) -> None:
    tensors["lora.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_config, "type 'mask2former'"),
        (lambda folder: (folder / "config.json").unlink(), "no model"),
        (lambda folder: (folder / "config.json").write_text("["), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no processor .tokenizer.json."),
        (damage_tensors(lose), "are missing: class_logit_scale"),
        (damage_tensors(add), "not of this model: lora.weight"),
        (damage_tensors(reshape), "another shape: class_logit_scale"),
        (damage_tensors(spoil), "class_logit_scale holds values that are not finite"),
    ],
)
def test_models_that_are_not_whole(damage, message: str, copied: Path, hub: FakeHub) -> None:
    damage(copied)
    with pytest.raises(ValueError, match=message):
        push(copied, "me/x", *OWN)
    assert hub.calls == []


def test_folder_that_is_not_there(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(ValueError, match="DIR must be a folder"):
        push(tmp_path / "absent", "me/x", *OWN)


def test_packaged_model_has_a_name(saved: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_checkpoints, "CHECKPOINTS_FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path / "univs-tiny-shapes").symlink_to(saved, target_is_directory=True)
    push("univs-tiny-shapes", "me/tiny", "--card", "tiny-shapes")
    card = ModelCard(hub.repos["model", "me/tiny"].files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert 'model="me/tiny", trust_remote_code=True' in card.text


def test_parsers_need_no_torch(project_root: Path) -> None:
    """Options are known without the seconds that torch takes; the package itself is stubbed, as it imports torch."""
    program = (
        "import argparse, sys, types\n"
        "package = types.ModuleType('univs_hf'); package.__path__ = ['univs_hf']; package.__version__ = '0'\n"
        "sys.modules['univs_hf'] = package\n"
        "from univs_hf.publishing.push_commands import add_push_dataset_parser, add_push_model_parser\n"
        "commands = argparse.ArgumentParser().add_subparsers()\n"
        "add_push_model_parser(commands); add_push_dataset_parser(commands)\n"
        "assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules), sorted(sys.modules)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, timeout=60
    )
    assert child.returncode == 0, child.stderr
