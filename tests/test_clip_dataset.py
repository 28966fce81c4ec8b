# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Clips of several datasets in data workers: the same whatever their number, after a kill, and past damaged rows."""

import datasets
import pytest
import torch
from data_rows import two_disc_row
from torch.utils.data import DataLoader

from univs_hf.data.clip import SourceClip
from univs_hf.data.clip_dataset import ClipDataset, ClipSource, list_of_clips
from univs_hf.data.clip_frame_sampling import FrameSampling
from univs_hf.data.clip_from_row import ClipConfig
from univs_hf.data.clip_geometry import Augmentation
from univs_hf.data.row_builder import write_parquet
from univs_hf.data.sampler import ClipBatchSampler, ClipIndex

AUGMENTATION = Augmentation(square_size=32, scale_range=(0.8, 1.5))


def clip_config(task: str = "sot") -> ClipConfig:
    return ClipConfig(task, FrameSampling(3, 5), AUGMENTATION)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def sources(folder) -> list[ClipSource]:
    """Two datasets, memory-mapped; rows 2 and 3 of the second are damaged and empty."""
    result = []
    for name, count, task in (("first", 7, "sot"), ("second", 9, "grounding")):
        rows = [two_disc_row(key=f"{name}/{n}", dataset=name, num_frames=4, size=(24, 32)) for n in range(count)]
        if name == "second":
            rows[2]["frames"][:] = [frame[:50] for frame in rows[2]["frames"]]
            rows[3]["expressions"] = []
        write_parquet(rows, folder / f"{name}.parquet")
        loaded = datasets.Dataset.from_parquet(str(folder / f"{name}.parquet"), cache_dir=str(folder / "cache"))
        result.append(ClipSource(name, loaded, clip_config(task), 1.0 if name == "first" else 2.0))
    return result


def summary(clip) -> tuple:
    return clip.key, clip.seed, clip.skipped, clip.frames.numpy().tobytes(), clip.label_maps.numpy().tobytes()


def load(sources, steps: range, num_workers: int, rank: int = 0, world_size: int = 1) -> list[list[tuple]]:
    dataset = ClipDataset(sources)
    sampler = ClipBatchSampler(dataset.shares, 2, seed=1, rank=rank, world_size=world_size, num_steps=steps.stop)
    before = ClipBatchSampler(dataset.shares, 2, seed=1, rank=rank, world_size=world_size)
    sampler.load_state_dict(before.state_dict(steps.start))
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=num_workers, collate_fn=list_of_clips)
    return [[summary(clip) for clip in batch] for batch in loader]


@pytest.mark.parametrize("world_size", [1, 2])
def test_workers_and_resume_give_the_same_clips(sources, world_size):
    for rank in range(world_size):
        whole = load(sources, range(0, 12), 0, rank, world_size)
        assert len(whole) == 12 and all(len(batch) == 2 for batch in whole)
        assert load(sources, range(0, 12), 2, rank, world_size) == whole
        assert load(sources, range(5, 12), 2, rank, world_size) == whole[5:]
        assert load(sources, range(5, 12), 0, rank, world_size) == whole[5:]


def test_damaged_and_empty_rows_are_passed_over(sources, caplog):
    dataset = ClipDataset(sources)
    clip = dataset[ClipIndex(1, 2, 77)]
    assert len(clip.skipped) >= 1 and "Row 'second/2', field `frames`" in clip.skipped[0]
    assert "Row 'second/2'" in caplog.text
    assert clip.seed == 77 + len(clip.skipped) and clip.key not in ("second/2", "second/3")
    assert summary(dataset[ClipIndex(1, 2, 77)]) == summary(clip)
    empty = dataset[ClipIndex(1, 3, 77)]
    assert "no entity for grounding" in empty.skipped[0]
    # The row taken instead depends on the clip seed.
    assert len({dataset[ClipIndex(1, 2, seed)].key for seed in range(20)}) > 3
    assert dataset[ClipIndex(1, 4, 77)].skipped == ()


def test_gives_up_at_last(sources):
    rows = sources[1].rows.select([2, 3])
    dataset = ClipDataset([ClipSource("bad", rows, clip_config("grounding"))], max_attempts=3)
    with pytest.raises(RuntimeError, match="No clip of 'bad' after 3 attempts from row 1, seed 5: .*second/3"):
        dataset[ClipIndex(0, 1, 5)]


def test_errors_of_the_code_are_not_swallowed(sources, monkeypatch):
    def broken(*args):
        raise TypeError("a bug")

    monkeypatch.setattr("univs_hf.data.clip_attempts.clip_from_row", broken)
    with pytest.raises(TypeError, match="a bug"):
        ClipDataset(sources)[ClipIndex(0, 0, 0)]


def test_geometry_on_the_device(sources):
    index = ClipIndex(0, 4, 12)
    source = ClipDataset(sources, geometry_on_device=True)[index]
    assert isinstance(source, SourceClip)
    assert summary(source.warp("cpu")) == summary(ClipDataset(sources)[index])
    skipped = ClipDataset(sources, geometry_on_device=True)[ClipIndex(1, 2, 77)]
    assert skipped.warp().skipped == skipped.skipped != ()


def test_rows_in_any_format(sources):
    plain = ClipSource("first", sources[0].rows.with_format("numpy"), sources[0].config)
    shuffled = ClipSource("first", sources[0].rows.select([6, 5, 4, 3, 2, 1, 0]), sources[0].config)
    expected = summary(ClipDataset(sources)[ClipIndex(0, 1, 3)])
    assert summary(ClipDataset([plain])[ClipIndex(0, 1, 3)]) == expected
    assert summary(ClipDataset([shuffled])[ClipIndex(0, 5, 3)]) == expected


def test_shares(sources):
    dataset = ClipDataset(sources)
    assert [(share.name, share.num_rows, share.weight) for share in dataset.shares] == [
        ("first", 7, 1.0),
        ("second", 9, 2.0),
    ]
    assert len(dataset) == 16
    assert dataset.row(1, 8).key == "second/8"


def test_bad_sources(sources):
    with pytest.raises(ValueError, match=r"distinct names, got \['first', 'first'\]"):
        ClipDataset([sources[0], sources[0]])
    with pytest.raises(ValueError, match=r"'first' lack the columns \['mask_rle'\]"):
        ClipDataset([ClipSource("first", sources[0].rows.remove_columns("mask_rle"), clip_config())])
    with pytest.raises(ValueError, match="'none' has no rows"):
        ClipDataset([ClipSource("none", sources[0].rows.select([]), clip_config())])
    with pytest.raises(ValueError, match="`max_attempts`"):
        ClipDataset(sources, max_attempts=0)


def test_no_generator_of_torch_is_used(sources):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = summary(ClipDataset(sources)[ClipIndex(0, 0, 9)])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert summary(ClipDataset(sources)[ClipIndex(0, 0, 9)]) == first
