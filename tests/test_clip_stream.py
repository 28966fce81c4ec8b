# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streamed batches of clips: weights, shares of processes and workers, and going on where a run was."""

import itertools
import json
from collections import Counter

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data_rows import two_disc_row
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from univs_hf.data.clip import SourceClip
from univs_hf.data.clip_dataset import list_of_clips
from univs_hf.data.clip_frame_sampling import FrameSampling
from univs_hf.data.clip_from_row import ClipConfig
from univs_hf.data.clip_geometry import Augmentation
from univs_hf.data.clip_stream import ClipStream, StreamSource, merged_state
from univs_hf.data.parquet_files import train_files
from univs_hf.data.row_builder import write_parquet
from univs_hf.data.row_shards import ParquetShards
from univs_hf.data.sampler import ClipBatchSampler, DatasetShare

COUNTS = {"first": 50, "second": 33, "third": 5}
WEIGHTS = {"first": 1.0, "second": 3.0, "third": 0.5}


def clip_config(task: str = "sot") -> ClipConfig:
    return ClipConfig(task, FrameSampling(2, 5), Augmentation(square_size=16, scale_range=(0.8, 1.5)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streamed")
    for name, count in COUNTS.items():
        rows = [two_disc_row(2, (12, 16), key=f"{name}/{n}", dataset=name) for n in range(count)]
        half = -(-count // 2)
        write_parquet(rows[:half], folder / name / "data" / "train-00000-of-00002.parquet")
        write_parquet(rows[half:], folder / name / "data" / "train-00001-of-00002.parquet")
    return folder


@pytest.fixture(scope="module")
def sources(folder) -> list[StreamSource]:
    return [
        StreamSource(name, ParquetShards(train_files(str(folder / name))), clip_config(), WEIGHTS[name])
        for name in COUNTS
    ]


def stream(sources, **changes) -> ClipStream:
    return ClipStream(sources, **{"batch_size": 2, "seed": 3, **changes})


def summary(clip) -> tuple:
    return clip.key, clip.seed, clip.skipped, clip.frames.numpy().tobytes(), clip.label_maps.numpy().tobytes()


def load(clips: ClipStream, count: int, num_workers: int = 0) -> list[list[tuple]]:
    """The next batches, as a training loop takes them."""
    loader = DataLoader(clips, batch_size=None, num_workers=num_workers, collate_fn=list_of_clips)
    batches = []
    for batch in itertools.islice(loader, count):
        clips.took(batch)
        batches.append([summary(clip) for clip in batch.clips])
    return batches


def keys(batches) -> list[str]:
    return [clip[0] for batch in batches for clip in batch]


def test_datasets_are_drawn_by_weight(sources):
    """By the same draws as with random access."""
    shares = [DatasetShare(name, COUNTS[name], WEIGHTS[name]) for name in COUNTS]
    for rank in range(2):
        batches = load(stream(sources, rank=rank, world_size=2), 120)
        names = [batch[0][0].split("/")[0] for batch in batches]
        assert all(key.split("/")[0] == name for batch, name in zip(batches, names, strict=True) for key, *_ in batch)
        sampler = ClipBatchSampler(shares, 2, seed=3, rank=rank, world_size=2)
        assert names == [list(COUNTS)[sampler.dataset_at(step)] for step in range(120)]
        observed = np.array([names.count(name) for name in COUNTS])
        expected = np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
        assert chisquare(observed, expected * observed.sum()).pvalue > 1e-3


def test_weights_hold_with_workers(sources):
    names = [batch[0][0].split("/")[0] for batch in load(stream(sources, num_workers=2), 60, 2)]
    assert names == [batch[0][0].split("/")[0] for batch in load(stream(sources), 60)]


@pytest.mark.parametrize(("world_size", "num_workers"), [(1, 0), (1, 2), (2, 2), (3, 1)])
def test_processes_and_workers_share_each_epoch_without_overlap(sources, world_size, num_workers):
    """As many rows as an epoch has, each worker as many as its share, are all rows once."""
    for source in sources:
        found = []
        for rank in range(world_size):
            clips = stream([source], rank=rank, world_size=world_size, num_workers=num_workers, batch_size=1)
            loader = DataLoader(clips, batch_size=None, num_workers=num_workers, collate_fn=list_of_clips)
            begun = set()
            for batch in itertools.islice(loader, 3 * COUNTS[source.name]):
                block = batch.positions[source.name][0]
                if block < len(source.shards):
                    found.append(batch.clips[0].key)
                else:
                    begun.add(batch.worker)
                if len(begun) == max(num_workers, 1):
                    break
            assert len(begun) == max(num_workers, 1)
        assert Counter(found) == {f"{source.name}/{n}": 1 for n in range(COUNTS[source.name])}


def test_longer_than_the_shards(sources):
    """Each dataset begins again, in another order, for itself; batches go on."""
    batches = load(stream(sources[2:], batch_size=1), 20)
    order = keys(batches)
    epochs = [order[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [f"third/{n}" for n in range(5)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert len({clip[1] for batch in batches for clip in batch}) == 20


@pytest.mark.parametrize(("world_size", "num_workers", "shards_together"), [(1, 0, 1), (3, 0, 1), (1, 2, 2)])
def test_resume(sources, world_size, num_workers, shards_together):
    check_resume(sources, world_size, num_workers, shards_together)


@pytest.mark.slow
@pytest.mark.parametrize(("world_size", "num_workers", "shards_together"), [(2, 2, 1), (1, 3, 2), (2, 0, 3)])
def test_resume_with_more_workers(sources, world_size, num_workers, shards_together):
    check_resume(sources, world_size, num_workers, shards_together)


def check_resume(sources, world_size, num_workers, shards_together):
    """After some batches, with the state in a file, and a second time after some more."""
    options = {"world_size": world_size, "num_workers": num_workers, "shards_together": shards_together}
    whole = [load(stream(sources, rank=rank, **options), 30, num_workers) for rank in range(world_size)]
    state = None
    for start, stop in ((0, 7), (7, 12), (12, 30)):
        runs = [stream(sources, rank=rank, **options) for rank in range(world_size)]
        for rank, run in enumerate(runs):
            if state is not None:
                run.load_state_dict(json.loads(json.dumps(state)))
            assert load(run, stop - start, num_workers) == whole[rank][start:stop]
        state = merged_state([run.state_dict(stop) for run in runs])


def test_state_tells_what_was_used_not_what_was_read(sources):
    clips = stream(sources, num_workers=2)
    whole = load(stream(sources, num_workers=2), 20, 2)
    loader = iter(DataLoader(clips, batch_size=None, num_workers=2, prefetch_factor=8, collate_fn=list_of_clips))
    read = [next(loader) for _ in range(12)]
    for batch in read[:5]:
        clips.took(batch)
    with pytest.raises(ValueError, match="`step` must be 5, the number of batches that were used, got 12"):
        clips.state_dict(12)
    resumed = stream(sources, num_workers=2)
    resumed.load_state_dict(clips.state_dict(5))
    assert load(resumed, 10, 2) == whole[5:15]
    with pytest.raises(ValueError, match="must be of worker 1 at step 5, got one of 0"):
        clips.took(read[6])


def test_ends_at_the_step(sources):
    for num_workers in (0, 2):
        clips = stream(sources, num_steps=7, num_workers=num_workers)
        assert len(load(clips, 100, num_workers)) == 7
        resumed = stream(sources, num_steps=9, num_workers=num_workers)
        resumed.load_state_dict(clips.state_dict(7))
        assert len(load(resumed, 100, num_workers)) == 2


def test_remote_files_give_the_same(folder, sources):
    system = fsspec.filesystem("memory")
    for path in (folder / "second" / "data").iterdir():
        system.pipe(f"/streamed/second/data/{path.name}", path.read_bytes())
    try:
        shards = ParquetShards(train_files("memory://streamed/second"))
        remote = StreamSource("second", shards, clip_config())
        local = StreamSource("second", sources[1].shards, clip_config())
        assert load(stream([remote], num_workers=2), 10, 2) == load(stream([local], num_workers=2), 10, 2)
    finally:
        system.rm("/streamed", recursive=True)


def test_damaged_and_empty_rows_are_passed_over(tmp_path, caplog):
    rows = [two_disc_row(2, (12, 16), key=f"bad/{n}") for n in range(6)]
    rows[2]["frames"][:] = [frame[:50] for frame in rows[2]["frames"]]
    rows[3]["expressions"] = []
    write_parquet(rows, tmp_path / "train.parquet")
    source = StreamSource("bad", ParquetShards([str(tmp_path / "train.parquet")]), clip_config("grounding"))
    batches = load(stream([source]), 8)
    assert set(keys(batches)) == {"bad/0", "bad/1", "bad/4", "bad/5"}
    reasons = " ".join(reason for batch in batches for clip in batch for reason in clip[2])
    assert "Row 'bad/2', field `frames`" in reasons and "no entity for grounding" in reasons
    assert "Row 'bad/2'" in caplog.text
    write_parquet(rows[2:4], tmp_path / "train.parquet")
    source = StreamSource("bad", ParquetShards([str(tmp_path / "train.parquet")]), clip_config("grounding"))
    with pytest.raises(RuntimeError, match="No clip of 'bad' after 3 attempts from block 0, row 0: .*bad/3"):
        load(stream([source], max_attempts=3), 1)


def test_geometry_on_the_device(sources):
    batch = next(iter(stream(sources, geometry_on_device=True)))
    assert all(isinstance(clip, SourceClip) for clip in batch.clips)
    assert [summary(clip.warp()) for clip in batch.clips] == load(stream(sources), 1)[0]


def test_one_dataset_per_step(sources):
    ranks = [load(stream(sources, rank=rank, world_size=2, one_dataset_per_step=True), 40) for rank in range(2)]
    for first, second in zip(*ranks, strict=True):
        assert first[0][0].split("/")[0] == second[0][0].split("/")[0]
        assert first != second


def test_states_that_do_not_fit(sources):
    clips = stream(sources, num_workers=2)
    load(clips, 4, 2)
    state = clips.state_dict(4)
    for changes, reason in (
        ({"num_workers": 3}, "saved with num_workers 2, the stream has 3"),
        ({"num_workers": 2, "seed": 4}, "seed 3, the stream has 4"),
        ({"num_workers": 2, "batch_size": 1}, "batch_size 2"),
        ({"num_workers": 2, "world_size": 2}, "world_size 1"),
        ({"num_workers": 2, "shards_together": 4}, "shards_together 1"),
    ):
        with pytest.raises(ValueError, match=reason):
            stream(sources, **changes).load_state_dict(state)
    with pytest.raises(ValueError, match="saved with shards"):
        stream(sources[:2], num_workers=2).load_state_dict(state)
    with pytest.raises(ValueError, match="not of a run with streamed data"):
        sampler = ClipBatchSampler([DatasetShare("first", 50)], 2, seed=3)
        stream(sources).load_state_dict(sampler.state_dict(0))
    part = stream(sources, num_workers=2, world_size=2)
    load(part, 2, 2)
    with pytest.raises(ValueError, match=r"lacks the positions of the workers \['2', '3'\]: merge"):
        stream(sources, num_workers=2, world_size=2, rank=1).load_state_dict(part.state_dict(2))


def test_other_numbers_of_workers_go_on_with_the_next_epoch(sources):
    clips = stream(sources, num_workers=2)
    load(clips, 40, 2)
    state = clips.state_dict(40)
    begun = {
        name: max(at[name][0] for at in state["positions"].values()) // len(shards)
        for name, shards in ((source.name, source.shards) for source in sources)
    }
    runs = [stream(sources, world_size=2, rank=rank) for rank in range(2)]
    for run in runs:
        run.load_state_dict(state, strict=False)
        for batch in itertools.islice(run, 20):
            for source in sources:
                assert batch.positions[source.name][0] // len(source.shards) > begun[source.name]
    # From a run with random access to a stream and back.
    shares = [DatasetShare(name, COUNTS[name], WEIGHTS[name]) for name in COUNTS]
    sampler = ClipBatchSampler(shares, 2, seed=3)
    fresh = stream(sources)
    fresh.load_state_dict(sampler.state_dict(9), strict=False)
    assert fresh.state_dict(9)["positions"]["0"] == {name: [0, 0, 0] for name in COUNTS}
    sampler.load_state_dict(state, strict=False)
    assert sampler.state_dict(40)["cursors"] == dict.fromkeys(COUNTS, 0)


def test_no_generator_of_torch_is_used(sources):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batch = next(iter(stream(sources)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert [summary(clip) for clip in next(iter(stream(sources))).clips] == [summary(clip) for clip in batch.clips]


def test_bad_arguments(sources):
    for changes, reason in (
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"shards_together": 0}, "`shards_together`"),
        ({"max_attempts": 0}, "`max_attempts`"),
        ({"num_workers": -1}, "`num_workers` must be at least 0, got -1"),
        ({"rank": 2, "world_size": 2}, "got rank 2 of 2"),
        ({"num_steps": -1}, "`num_steps`"),
        ({"seed": -1}, "`seed`"),
    ):
        with pytest.raises(ValueError, match=reason):
            stream(sources, **changes)
    with pytest.raises(ValueError, match=r"distinct names, got \['first', 'first'\]"):
        stream([sources[0], sources[0]])
    with pytest.raises(ValueError, match="weight of 'first' must be above 0"):
        stream([StreamSource("first", sources[0].shards, clip_config(), 0.0)])
    with pytest.raises(RuntimeError, match="for 2 data workers, the loader has 1"):
        next(iter(stream(sources, num_workers=2)))


def test_files_with_other_columns(tmp_path):
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "train.parquet")
    source = StreamSource("other", ParquetShards([str(tmp_path / "train.parquet")]), clip_config())
    with pytest.raises(ValueError, match=r"'other' lack the columns \['category_set', 'dataset'"):
        stream([source])
