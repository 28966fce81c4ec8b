# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Datasets of a run by id: recipes, local folders, generated videos, and what is said of a missing one."""

import datasets
import pytest
import torch

from univs_hf.data.clip_dataset import ClipDataset
from univs_hf.data.moving_shapes import MovingShapes, MovingShapesConfig
from univs_hf.data.row_builder import write_parquet
from univs_hf.data.sampler import ClipIndex
from univs_hf.data.schema import FEATURES
from univs_hf.training.clip_sources import MissingDatasetError, clip_sources, dataset_entries
from univs_hf.training.config_files import config_from_dict

SHAPES = {"height": 32, "width": 32, "num_frames": 3, "min_visible_frames": 2}
CONFIG = MovingShapesConfig(**SHAPES)


def config(**data):
    geometry = {"square_size": 32, "scale_range": [1.0, 1.0], "flip_probability": 0.0, "max_rotation": 0.0}
    return config_from_dict({"data": {"num_frames": 2, "augmentation": geometry, **data}})


def test_recipe_is_changed_dataset_by_dataset():
    changed = config(datasets={"ovis": {"weight": 2.0}, "vipseg": {"weight": 0}, "mine": {"task": "sot"}})
    entries = dataset_entries(changed)
    plain = dataset_entries(config())
    assert set(plain) - set(entries) == {"vipseg"} and set(entries) - set(plain) == {"mine"}
    assert entries["ovis"].weight == 2.0 and entries["ovis"].frame_range == plain["ovis"].frame_range
    assert entries["mine"].weight == 1.0 and entries["mine"].task == "sot"
    assert entries["sa_1b"] == plain["sa_1b"]


@pytest.mark.parametrize(
    ("datasets_given", "message"),
    [
        ({"mine": {"weight": 1}}, "`data.datasets.mine.task` must be given"),
        ({"mine": {"task": "sot", "weight": -1}}, "`data.datasets.mine.weight` must be at least 0"),
        ({"mine": {"task": "sot", "weight": 0}}, "nothing to train on"),
        ({"moving_shapes": {"task": "sot", "generator": {"heigth": 3}}}, r"has no \['heigth'\]"),
    ],
)
def test_refused(datasets_given, message):
    with pytest.raises(ValueError, match=message):
        clip_sources(config(use_recipe_mixture=False, datasets=datasets_given))


def test_missing_datasets_are_all_named(tmp_path):
    (tmp_path / "ovis").mkdir()
    with pytest.raises(MissingDatasetError) as caught:
        clip_sources(config(root=str(tmp_path), datasets={"lvis": {"path": "/nowhere/lvis"}}))
    message = str(caught.value)
    assert f"vipseg: {tmp_path}/vipseg does not exist. Prepare it with `univs prepare vipseg SRC" in message
    assert "ovis" in message and "holds neither Parquet files nor a saved dataset" in message
    assert "/nowhere/lvis" in message and "--data.datasets.NAME.weight 0" in message


def test_folders_and_generated_videos_give_the_same_clips(tmp_path):
    """From Parquet, from a saved dataset and made on the fly: the same rows, so the same clips."""
    videos = MovingShapes("train", 3, CONFIG)
    (tmp_path / "parquet" / "data").mkdir(parents=True)
    write_parquet(videos.rows(), tmp_path / "parquet" / "data" / "train-00000-of-00001.parquet")
    # Another split beside it is not read.
    write_parquet(
        MovingShapes("test", 1, CONFIG).rows(), tmp_path / "parquet" / "data" / "test-00000-of-00001.parquet"
    )
    datasets.Dataset.from_list(list(videos.rows()), features=FEATURES).save_to_disk(tmp_path / "saved")
    given = {
        "made": {"rows": "moving_shapes", "task": "detection", "generator": SHAPES, "num_videos": 3},
        "parquet": {"task": "detection"},
        "saved": {"task": "detection"},
    }
    sources = clip_sources(
        config(root=str(tmp_path), use_recipe_mixture=False, datasets=given, cache_dir=str(tmp_path / "cache"))
    )
    assert [(source.name, len(source.rows)) for source in sources] == [("made", 3), ("parquet", 3), ("saved", 3)]
    dataset = ClipDataset(sources)
    for row in range(3):
        clips = [dataset[ClipIndex(source, row, 11)] for source in range(3)]
        for clip in clips[1:]:
            assert clip.key == clips[0].key and torch.equal(clip.frames, clips[0].frames)
            assert torch.equal(clip.label_maps, clips[0].label_maps)
