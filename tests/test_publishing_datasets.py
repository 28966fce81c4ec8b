# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs push-dataset`: what is uploaded, the dry run, and what is refused before anything is uploaded."""

import argparse
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from fake_hub import FakeHub
from huggingface_hub import DatasetCard, RepoCard
from test_publishing_models import listed_files

from univs_hf.data.moving_shapes import MovingShapes
from univs_hf.data.prepare.conversion import ConversionSettings, convert
from univs_hf.data.prepare.conversion_log import ConversionLog
from univs_hf.data.prepare.converter import DatasetConverter, DatasetFacts, SourceItem
from univs_hf.data.shapes_config import MovingShapesConfig
from univs_hf.publishing import push_commands
from univs_hf.publishing.push_commands import add_push_dataset_parser

CONFIG = MovingShapesConfig(height=48, width=64, num_frames=3)


class ShapesItem(SourceItem):
    """A generated video."""

    def __init__(self, split: str, number: int):
        self.split, self.number, self.key = split, number, str(number)

    def source_bytes(self) -> int:
        return 1000

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        yield from MovingShapes(self.split, 1, CONFIG, self.number)[0].to_rows()


class ShapesConverter(DatasetConverter):
    """Generated videos as a dataset to convert."""

    name = "drawn_shapes"
    facts = DatasetFacts(
        title="Drawn shapes",
        summary="Generated video.",
        homepage="https://example.org/shapes",
        licence="other",
        licence_note="Whatever the terms are.",
        papers=("Shapes that move, ABC 2026",),
    )
    splits = ("train", "validation")
    sizes = {"train": 5, "validation": 2}

    def items(self, split: str, log: ConversionLog) -> list[ShapesItem]:
        return [ShapesItem(split, number) for number in range(self.sizes[split])]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted dataset of two splits, one of them in two files."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "source").mkdir()
    converter = ShapesConverter(folder / "source")
    for split, shards in (("train", 2), ("validation", 1)):
        convert(converter, folder / "out", [split], ConversionSettings(num_shards=shards, quiet=True))
    return folder / "out"


@pytest.fixture
def copied(prepared: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    return shutil.copytree(prepared, tmp_path / "copied")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """In place of the hub, and of its check of cards."""
    hub = FakeHub()
    monkeypatch.setattr(push_commands, "hub_api", lambda: hub)
    monkeypatch.setattr(RepoCard, "validate", lambda card, repo_type=None: hub.calls.append(f"validate {repo_type}"))
    return hub


def push(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_push_dataset_parser(parser.add_subparsers())
    args = parser.parse_args(["push-dataset", *map(str, arguments)])
    return args.func(args)


def reseal(folder: Path, name: str) -> None:
    """Makes the checksum of a changed file right, so that what it holds is looked at."""
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    sums = folder / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    sums.write_text("\n".join([*lines, f"{digest}  {name}"]) + "\n")


def test_dry_run_tells_exactly_what_is_uploaded(prepared: Path, hub: FakeHub, capsys: pytest.CaptureFixture) -> None:
    assert push(prepared, "me/shapes", "--dry-run") == 0
    output = capsys.readouterr().out
    assert hub.calls == []
    assert "dataset me/shapes; if it is new: private" in output
    assert push(prepared, "me/shapes") == 0
    assert hub.calls == ["validate dataset", "create_repo", "repo_info", "upload_folder"]
    files = hub.repos["dataset", "me/shapes"].files
    assert listed_files(output) == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()
    }
    assert set(files) == {
        "README.md",
        "SHA256SUMS",
        "report.json",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
    }
    assert f"--- README.md\n{files['README.md'].decode()}---\n" in output
    assert all(files[name] == (prepared / name).read_bytes() for name in files)


def test_what_was_uploaded_loads(prepared: Path, hub: FakeHub, tmp_path: Path) -> None:
    """The card's header leads `datasets` to the files, split by split."""
    push(prepared, "me/shapes")
    for name, content in hub.repos["dataset", "me/shapes"].files.items():
        path = tmp_path / "shapes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    rows = load_dataset(str(tmp_path / "shapes"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in rows.items()} == ShapesConverter.sizes
    card = DatasetCard.load(tmp_path / "shapes" / "README.md")
    assert card.data.license_name == "drawn_shapes-terms"
    for told in ("Whatever the terms are.", "Shapes that move, ABC 2026", "https://example.org/shapes"):
        assert told in card.text
    assert re.search(r"\| train \| 5 \| 5 \|", card.text)


def test_visibility(prepared: Path, hub: FakeHub) -> None:
    """A dataset is private unless it is said to be public, and never ends up in a public repository by accident."""
    push(prepared, "me/public", "--public")
    assert not hub.repos["dataset", "me/public"].private
    with pytest.raises(ValueError, match="public: nothing was uploaded"):
        push(prepared, "me/public")
    assert hub.calls.count("upload_folder") == 1
    push(prepared, "named-only")
    assert hub.repos["dataset", "user/named-only"].private


def test_files_of_an_earlier_upload_go(prepared: Path, hub: FakeHub) -> None:
    """Shards of another number would be read beside the new ones."""
    hub.create_repo("me/shapes", repo_type="dataset", private=True, exist_ok=False)
    files = hub.repos["dataset", "me/shapes"].files
    files |= {"data/train-00000-of-00001.parquet": b"old", "notes.txt": b"kept"}
    push(prepared, "me/shapes")
    assert "data/train-00000-of-00001.parquet" not in files and files["notes.txt"] == b"kept"
    assert {name for name in files if name.startswith("data/train")} == {
        f"data/train-{number:05d}-of-00002.parquet" for number in range(2)
    }


SHARD = "data/train-00001-of-00002.parquet"


def cut(folder: Path) -> None:
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:-1])


def break_shard(folder: Path) -> None:
    (folder / SHARD).write_bytes(b"PAR1 but no more")
    reseal(folder, SHARD)


def lose_row(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / SHARD).slice(1), folder / SHARD)
    reseal(folder, SHARD)


def lose_column(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / SHARD).drop_columns(["fps"]), folder / SHARD)
    reseal(folder, SHARD)


def add_shard(folder: Path) -> None:
    shutil.copyfile(folder / SHARD, folder / "data/test-00000-of-00001.parquet")


def edit_report(change):
    def edit(folder: Path) -> None:
        report = json.loads((folder / "report.json").read_text())
        change(report)
        (folder / "report.json").write_text(json.dumps(report))
        reseal(folder, "report.json")

    return edit


def edit_card(pattern: str, replacement: str):
    def edit(folder: Path) -> None:
        text = (folder / "README.md").read_text()
        changed = re.sub(pattern, replacement, text, flags=re.DOTALL)
        assert changed != text
        (folder / "README.md").write_text(changed)
        reseal(folder, "README.md")

    return edit


def edit_sums(line: str):
    def edit(folder: Path) -> None:
        with open(folder / "SHA256SUMS", "a") as file:
            file.write(line + "\n")

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "SHA256SUMS").unlink(), "not the folder of a finished `univs prepare`"),
        (lambda folder: (folder / "README.md").unlink(), "no README.md"),
        (lambda folder: (folder / SHARD).unlink(), f"{SHARD} is missing"),
        (cut, f"{SHARD} is not what SHA256SUMS says"),
        (add_shard, "test-00000-of-00001.parquet has no checksum"),
        (break_shard, f"{SHARD} is no Parquet file"),
        (lose_row, "split 'train' has 4 rows, report.json says 5"),
        (lose_column, f"{SHARD} does not have the columns"),
        (edit_report(lambda report: report.pop("splits")), "not the report of a conversion"),
        (edit_report(lambda report: report["splits"].pop()), "list other files"),
        (edit_sums("0123  data/x.parquet"), "SHA256SUMS:6 must be a checksum"),
        (edit_sums("0" * 64 + "  ../secret"), "SHA256SUMS:6 must be a checksum"),
        (edit_card("license: other\n", ""), "no `license`"),
        (edit_card("license_link: [^\n]*\n", ""), "license_name"),
        (edit_card("## Licence.*?(?=## )", ""), "no section 'Licence'"),
        (edit_card("## Sources\n.*?(?=## )", "## Sources\n\n"), "no section 'Sources'"),
        (edit_card(r"\| train \| 5 \| 5 \|", "| train | 5 | 9 |"), "must count 5 rows of 'train', it has 9"),
        (edit_card(r"\| train \|[^\n]*\n", ""), "must count 5 rows of 'train', it has none"),
        (edit_card("data/train-", "data/training-"), "leads to no data/train-00000"),
    ],
)
def test_folders_that_are_not_whole(damage, message: str, copied: Path, hub: FakeHub) -> None:
    damage(copied)
    with pytest.raises(ValueError, match=re.escape(message)):
        push(copied, "me/shapes")
    assert hub.calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [(("me/x/y",), "`repo_id`"), (("me/x", "--create-pr", "--revision", "v1"), "--create-pr")],
)
def test_wrong_options(options: tuple[str, ...], message: str, prepared: Path, hub: FakeHub) -> None:
    with pytest.raises(ValueError, match=message):
        push(prepared, *options)
    with pytest.raises(ValueError, match="DIR must be a folder"):
        push(prepared / "absent", "me/x")
    assert hub.calls == []
