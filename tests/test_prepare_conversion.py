# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The conversion itself: processes, shards, resuming, damage, interruption, report, card and checksums."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from mask_benchmark_miniatures import save_frames, save_labels, tiny_video
from prepared_rows import load_rows, prepare, rows_by_key

from univs_hf.data.layouts.damage import Damage
from univs_hf.data.prepare.conversion import ConversionSettings
from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.data.prepare.converter import SourceItem
from univs_hf.data.prepare.shard_plan import SHARD_BYTES, ShardPlan, check_plan, plan_shards

NUM_VIDEOS = 7
# Each worker process imports the package, which takes seconds.
WORKERS = pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])


def write_videos(root: Path, count: int = NUM_VIDEOS, num_frames: int = 3) -> Path:
    for number in range(count):
        video = tiny_video(f"v{number}", num_frames + number % 2, [0, 0])
        save_frames(root / "JPEGImages" / video.name, video)
        save_labels(root / "Annotations" / video.name, video)
    return root


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "data").iterdir())}


def digests(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files_of(out).items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "out"
    prepare("mask_folder", source, out, num_shards=4)
    return out


def test_files_are_those_of_one_process_whatever_the_number(source, reference, tmp_path):
    prepare("mask_folder", source, tmp_path / "out", num_shards=4, workers=2)
    assert list(files_of(reference)) == [f"train-{n:05d}-of-00004.parquet" for n in range(4)]
    assert files_of(tmp_path / "out") == files_of(reference)
    assert len(load_rows(tmp_path / "out", "train")) == NUM_VIDEOS


def test_the_folder_loads_as_a_dataset_of_its_card(reference, tmp_path):
    import datasets

    copy = tmp_path / "copy"
    shutil.copytree(reference, copy)
    loaded = datasets.load_dataset(str(copy), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": NUM_VIDEOS}
    card = DatasetCard.load(reference / "README.md")
    assert card.data.pretty_name == "Videos with palette masks" and card.data.license == "unknown"
    assert card.data.configs == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
    ]
    assert f"| train | {NUM_VIDEOS} | {NUM_VIDEOS} |" in card.text


def test_pictures_are_neither_compressed_nor_touched(source, reference):
    row = rows_by_key(reference, "train")["mask_folder/train/v3#0"]
    assert row.num_frames == 4
    for frame in range(4):
        assert bytes(row.frame_bytes(frame)) == (source / "JPEGImages" / "v3" / f"{frame:05d}.jpg").read_bytes()
    metadata = pq.read_metadata(reference / "data" / "train-00000-of-00004.parquet").row_group(0)
    columns = {metadata.column(n).path_in_schema: metadata.column(n) for n in range(metadata.num_columns)}
    frames = next(column for path, column in columns.items() if path.startswith("frames"))
    assert frames.compression == "UNCOMPRESSED" and not frames.is_stats_set


def test_checksums_are_those_of_sha256sum(reference):
    lines = dict(reversed(line.split("  ")) for line in (reference / "SHA256SUMS").read_text().splitlines())
    assert sorted(lines) == ["README.md", *(f"data/{name}" for name in files_of(reference)), "report.json"]
    for name, digest in lines.items():
        assert hashlib.sha256((reference / name).read_bytes()).hexdigest() == digest


def test_nothing_is_done_again(source, reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    assert prepare("mask_folder", source, out).kept_shards == 4
    assert {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()} == before
    assert (out / "SHA256SUMS").read_text() == (reference / "SHA256SUMS").read_text()


def test_damaged_and_missing_files_of_the_result_are_made_again(source, reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    first, second, *_ = sorted((out / "data").iterdir())
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    second.unlink()
    (out / "data" / ".train-00002-of-00004.parquet.77.tmp").write_bytes(b"half")
    assert prepare("mask_folder", source, out).kept_shards == 2
    assert files_of(out) == files_of(reference)


def test_a_file_without_its_record_is_made_again(source, reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    (out / ".prepare" / "train" / "shard-00001.json").unlink()
    assert prepare("mask_folder", source, out).kept_shards == 3
    assert files_of(out) == files_of(reference)


def test_other_requests_and_sources_are_told_apart(source, reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    with pytest.raises(ValueError, match='made with options {}, now it is {"void": 7}'):
        prepare("mask_folder", source, out, options={"void": 7})
    with pytest.raises(ValueError, match="has 4 files for split 'train', now 2 are asked"):
        prepare("mask_folder", source, out, num_shards=2)
    more = tmp_path / "more"
    shutil.copytree(source, more)
    extra = tiny_video("v9", 3, [0])
    save_frames(more / "JPEGImages" / "v9", extra)
    save_labels(more / "Annotations" / "v9", extra)
    with pytest.raises(ValueError, match=r"now 8, then 7.*--overwrite"):
        prepare("mask_folder", more, out)
    assert files_of(out) == files_of(reference)
    prepare("mask_folder", more, out, overwrite=True, num_shards=2)
    assert list(files_of(out)) == [f"train-{n:05d}-of-00002.parquet" for n in range(2)]
    assert len(load_rows(out, "train")) == 8


def test_a_folder_of_something_else_is_never_touched(source, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="is not the folder of a conversion"):
            prepare("mask_folder", source, tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_splits_are_added(source, tmp_path):
    (tmp_path / "source").mkdir()
    for name, split in (("a", "train"), ("b", "held-out")):
        write_videos(tmp_path / "source" / split, count=2 if name == "a" else 3)
    out = tmp_path / "out"
    prepare("mask_folder", tmp_path / "source", out, ["train"])
    conversion = prepare("mask_folder", tmp_path / "source", out, ["held-out"])
    assert [(split.split, split.counts.items) for split in conversion.splits] == [("train", 2), ("held-out", 3)]
    assert len(rows_by_key(out, "held_out")) == 3
    card = DatasetCard.load(out / "README.md")
    assert [file["split"] for file in card.data.configs[0]["data_files"]] == ["train", "held_out"]
    with pytest.raises(ValueError, match="davis17 has no split 'valid'"):
        prepare("davis17", tmp_path, tmp_path / "other", ["valid"])


def test_one_conversion_at_a_time(source, reference, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    with open(out / ".prepare" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="Another conversion is at work"):
            prepare("mask_folder", source, out)


# --- damage


@pytest.fixture
def damaged(source, tmp_path) -> Path:
    """A missing frame, a truncated JPEG, a file that is no picture, a mask of another size, and a missing folder."""
    root = tmp_path / "damaged"
    shutil.copytree(source, root)
    (root / "JPEGImages" / "v0" / "00001.jpg").unlink()
    truncated = root / "JPEGImages" / "v1" / "00002.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    (root / "JPEGImages" / "v2" / "00000.jpg").write_text("not a picture")
    other = tiny_video("v3", 1, [0])
    other.labels.resize(1, 20, 48, refcheck=False)
    save_labels(root / "Annotations" / "v3", other, [0])
    shutil.rmtree(root / "Annotations" / "v4")
    (root / "JPEGImages" / "v5" / "00000.jpg").write_bytes(b"")
    return root


@WORKERS
def test_damage_is_listed_and_skipped(damaged, tmp_path, workers):
    conversion = prepare("mask_folder", damaged, tmp_path / "out", num_shards=3, workers=workers)
    (report,) = conversion.splits
    found = {(Path(d.path).relative_to(damaged).as_posix(), d.kind, d.lost) for d in report.log.damages}
    assert found == {
        ("JPEGImages/v0/00001.jpg", "missing_file", "frame"),
        ("JPEGImages/v1/00002.jpg", "unreadable_file", "frame"),
        ("JPEGImages/v2/00000.jpg", "unreadable_file", "frame"),
        ("JPEGImages/v3/00000.jpg", "size_mismatch", "frame"),
        ("Annotations/v4", "missing_file", "video"),
        ("JPEGImages/v5/00000.jpg", "unreadable_file", "frame"),
    }
    assert len(report.log.damages) == 6 and report.lost == {"frame": 5, "video": 1}
    rows = rows_by_key(tmp_path / "out", "train")
    assert sorted(key.split("/")[2] for key in rows) == [f"v{n}#0" for n in (0, 1, 2, 3, 5, 6)]
    # What is left keeps its time.
    assert rows["mask_folder/train/v0#0"].time_index.tolist() == [0, 2]
    assert rows["mask_folder/train/v2#0"].time_index.tolist() == [1, 2]
    written = json.loads((tmp_path / "out" / "report.json").read_text())["splits"][0]
    assert written["damage"]["total"] == 6 and written["listed"] == 7 and written["counts"]["items"] == 6
    truncated = next(d for d in written["damage"]["list"] if d["path"].endswith("v1/00002.jpg"))
    assert "truncated" in truncated["reason"]
    assert "damaged and skipped" in (tmp_path / "out" / "README.md").read_text()


@WORKERS
def test_damage_is_fatal_by_choice_and_leaves_nothing_half_written(damaged, tmp_path, workers):
    out = tmp_path / "out"
    with pytest.raises(DamageError) as caught:
        prepare("mask_folder", damaged, out, num_shards=7, workers=workers, on_damage="fail")
    assert str(damaged) in str(caught.value) and caught.value.damage.kind in ("missing_file", "unreadable_file")
    assert not (out / "SHA256SUMS").exists() and not (out / "README.md").exists()
    assert all(not path.name.startswith(".") for path in (out / "data").iterdir())
    for path in (out / "data").iterdir():
        pq.read_table(path)
    # The same command goes on once the choice is another.
    prepare("mask_folder", damaged, out, workers=workers)
    assert (out / "SHA256SUMS").exists()


def test_repaired_sources_are_converted_again_on_request(source, reference, damaged, tmp_path):
    out = tmp_path / "out"
    prepare("mask_folder", damaged, out, num_shards=4)
    assert prepare("mask_folder", source, out).kept_shards == 4
    assert files_of(out) != files_of(reference)
    # Files are numbered by the plan, so those of the repaired source are found again by their keys.
    conversion = prepare("mask_folder", source, out, redo_damaged=True)
    assert not conversion.splits[0].log.damages
    assert len(rows_by_key(out, "train")) == NUM_VIDEOS


def test_nothing_convertible_is_an_error(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(ValueError, match="Split 'train' has nothing to convert"):
        prepare("mask_folder", tmp_path, tmp_path / "out")


def test_long_videos_are_cut_evenly(tmp_path):
    video = tiny_video("long", 150, [0, 0])
    video.labels[:] = 0
    # Objects that leave and come late.
    video.labels[:60, 5:15, 5:15] = 1
    video.labels[70:, 20:30, 5:15] = 2
    save_frames(tmp_path / "JPEGImages" / "long", video)
    save_labels(tmp_path / "Annotations" / "long", video)
    (report,) = prepare("mask_folder", tmp_path, tmp_path / "out").splits
    rows = rows_by_key(tmp_path / "out", "train")
    assert [(row.num_frames, row.time_index[0]) for row in rows.values()] == [(50, 0), (50, 50), (50, 100)]
    assert [row.key for row in rows.values()] == [f"mask_folder/train/long#{n}" for n in range(3)]
    shown = [sorted(np.unique(video.labels[first : first + 50]).tolist())[1:] for first in (0, 50, 100)]
    assert [row.entities.ids.tolist() for row in rows.values()] == shown == [[1], [1, 2], [2]]
    # An object in two rows is one object.
    assert report.counts.objects == 2 and report.counts.items == 1 and report.counts.rows == 3


def test_memory_does_not_grow_with_the_dataset(tmp_path):
    """A row group of 16 rows is held, of 18 videos as of 50."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 384, 3), dtype=np.uint8)
    sink = io.BytesIO()
    PIL.Image.fromarray(noise).save(sink, "JPEG", quality=95)
    picture, labels = sink.getvalue(), np.zeros((256, 384), np.uint8)
    labels[50:90, 60:120] = 1
    assert len(picture) > 100_000
    peaks = []
    for count in (18, 50):
        root = tmp_path / str(count)
        for number in range(count):
            for folder in ("JPEGImages", "Annotations"):
                (root / folder / f"v{number:03d}").mkdir(parents=True)
            (root / "JPEGImages" / f"v{number:03d}" / "00000.jpg").write_bytes(picture)
            PIL.Image.fromarray(labels).save(root / "Annotations" / f"v{number:03d}" / "00000.png")
        tracemalloc.start()
        prepare("mask_folder", root, root / "out", num_shards=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The pictures of the larger set are 4 row groups.
    assert 16 * len(picture) < peaks[0] and peaks[1] < 1.2 * peaks[0]


@pytest.mark.slow
def test_a_killed_conversion_goes_on(source, reference, tmp_path):
    out, command = tmp_path / "out", tmp_path / "slow.py"
    command.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from univs_hf.data.prepare import shard_writing\n"
        "from univs_hf.data.prepare.conversion import ConversionSettings, convert\n"
        "from univs_hf.data.prepare.registry import converter_class\n"
        "before = shard_writing._rows_of_item\n"
        "def slowly(item, log):\n"
        "    time.sleep(0.3)\n"
        "    yield from before(item, log)\n"
        "shard_writing._rows_of_item = slowly\n"
        "converter = converter_class('mask_folder')(Path(sys.argv[1]))\n"
        "convert(converter, Path(sys.argv[2]), None, ConversionSettings(num_shards=4, quiet=True))\n"
    )
    for end in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, str(command), str(source), str(out)], stderr=subprocess.DEVNULL, env={**os.environ}
        )
        done = len(list((out / ".prepare" / "train").glob("shard-*"))) if out.exists() else 0
        limit = time.monotonic() + 60
        while len(list((out / ".prepare" / "train").glob("shard-*"))) == done and time.monotonic() < limit:
            time.sleep(0.02)
        process.send_signal(end)
        assert process.wait(30) != 0
        assert not (out / "SHA256SUMS").exists()
    kept = len(list((out / ".prepare" / "train").glob("shard-*")))
    assert 2 <= kept < 4
    assert prepare("mask_folder", source, out).kept_shards == kept
    assert files_of(out) == files_of(reference)
    assert (out / "SHA256SUMS").read_text() == (reference / "SHA256SUMS").read_text()


# --- parts


class Item(SourceItem):
    def __init__(self, key: str, size: int):
        self.key, self.size = key, size

    def source_bytes(self) -> int:
        return self.size

    def rows(self, log):
        yield from ()


def items(sizes) -> list[Item]:
    return [Item(f"k{number}", size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "count", "bounds"),
    [
        ([10] * 8, 4, (0, 2, 4, 6, 8)),
        ([100, 1, 1, 1], 3, (0, 1, 2, 4)),
        ([1, 1, 1, 100], 3, (0, 2, 3, 4)),
        ([0, 0, 0], 3, (0, 1, 2, 3)),
        ([5, 5], 9, (0, 1, 2)),
    ],
)
def test_shards_have_about_the_same_size_and_none_is_empty(sizes, count, bounds):
    plan = plan_shards("train", items(sizes), count)
    assert len(plan.bounds) == len(bounds) and plan.bounds[-1] == len(sizes)
    assert all(first < end for first, end in zip(plan.bounds[:-1], plan.bounds[1:], strict=True))
    assert plan.bounds == bounds
    assert ShardPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("total", "count"), [(1, 1), (SHARD_BYTES * 3, 3), (SHARD_BYTES * 60, 64), (SHARD_BYTES * 96, 128)]
)
def test_the_number_of_files_is_a_multiple_of_64_where_sizes_allow(total, count):
    plan = plan_shards("train", items([total // 1000] * 1000))
    assert plan.num_shards == count
    if total > SHARD_BYTES:
        assert 256 * 2**20 <= total / plan.num_shards <= 512 * 2**20


def test_a_plan_knows_its_items():
    plan = plan_shards("train", items([1] * 5), 2)
    check_plan(plan, items([9] * 5))
    with pytest.raises(ValueError, match="other videos or images"):
        check_plan(plan, items([1] * 4))
    with pytest.raises(ValueError, match="other videos or images"):
        check_plan(plan, items([1] * 5)[::-1])
    with pytest.raises(ValueError, match="several items with the key 'k0'"):
        plan_shards("train", items([1]) * 2)


def test_settings_and_damage_are_checked():
    for name, value in {"workers": 0, "num_shards": 0, "shard_bytes": 0, "on_damage": "ignore"}.items():
        with pytest.raises(ValueError, match=f"`{name}`"):
            ConversionSettings(**{name: value})
    with pytest.raises(ValueError, match="`kind` must be one of"):
        Damage("bad", "file", "reason", "frame")
    with pytest.raises(ValueError, match="`lost` must be one of"):
        Damage("missing_file", "file", "reason", "picture")
    log = ConversionLog()
    log.damage(Damage("missing_file", "a", "does not exist.", "frame", "video 3"))
    log.leave_out("videos of one frame", 2)
    other = ConversionLog()
    other.add(json.loads(json.dumps(log.to_dict())))
    assert other.damages == log.damages and other.left_out == log.left_out
    assert str(log.damages[0]) == "a: video 3: does not exist."
