# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Datasets of a run by id: recipes, local folders, generated videos, and what is said of a missing one."""

import re

import datasets
import fsspec
import pytest
import torch
from huggingface_hub.errors import HTTPError

from univs_hf.data.clip_dataset import ClipDataset
from univs_hf.data.moving_shapes import MovingShapes, MovingShapesConfig
from univs_hf.data.prepare.registry import CONVERTERS
from univs_hf.data.row_builder import write_parquet
from univs_hf.data.sampler import ClipIndex
from univs_hf.data.schema import FEATURES
from univs_hf.training.clip_sources import MissingDatasetError, clip_sources, dataset_entries, stream_sources
from univs_hf.training.config_files import config_from_dict, load_config

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


def test_missing_datasets_that_are_not_of_the_recipe(tmp_path):
    """What to run depends on what is missing: nothing converts a dataset of one's own by its name."""
    given = {"mine": {"task": "sot"}, "shapes": {"task": "sot", "rows": "moving_shapes", "path": f"{tmp_path}/shapes"}}
    with pytest.raises(MissingDatasetError) as caught:
        clip_sources(config(root=f"{tmp_path}/", use_recipe_mixture=False, datasets=given))
    message = str(caught.value)
    assert f"`univs prepare mask_folder SRC {tmp_path}/mine --name mine` or `univs prepare coco_video" in message
    assert f"`univs shapes --split train --num-videos 1000 --out {tmp_path}/shapes/train.parquet`" in message


@pytest.mark.parametrize("open_sources", [clip_sources, stream_sources])
def test_missing_repositories(monkeypatch, open_sources):
    """Without a network the hub cannot tell what it has."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    given = {"mine": {"task": "sot", "path": "hf://datasets/me/mine-rows"}, "there": {"task": "sot"}}
    with pytest.raises(MissingDatasetError) as caught:
        open_sources(config(root="memory://nothing", use_recipe_mixture=False, datasets=given))
    message = str(caught.value)
    assert "mine: hf://datasets/me/mine-rows cannot be listed (" in message
    assert "upload it with `univs push-dataset DIR me/mine-rows`" in message
    assert "there: memory://nothing/there holds no Parquet files" in message


def test_hub_out_of_reach(monkeypatch):
    def unreachable(path):
        raise HTTPError("no route to the hub")

    monkeypatch.setattr("univs_hf.training.clip_sources.train_files", unreachable)
    given = {"mine": {"task": "sot", "path": "hf://datasets/me/mine"}}
    with pytest.raises(MissingDatasetError, match=r"cannot be listed \(HTTPError: no route to the hub\)"):
        stream_sources(config(use_recipe_mixture=False, datasets=given))


def test_unknown_protocol():
    with pytest.raises(MissingDatasetError, match="xyz://rows/mine cannot be listed .*Protocol not known: xyz"):
        clip_sources(config(root="xyz://rows", use_recipe_mixture=False, datasets={"mine": {"task": "sot"}}))


def test_streamed_sources(tmp_path):
    """Files here or elsewhere, a saved dataset and generated videos hold the same rows."""
    videos = MovingShapes("train", 3, CONFIG)
    tmp_path = tmp_path / "[my] data"
    write_parquet(videos.rows(), tmp_path / "parquet" / "data" / "train-00000-of-00001.parquet")
    datasets.Dataset.from_list(list(videos.rows()), features=FEATURES).save_to_disk(tmp_path / "saved")
    system = fsspec.filesystem("memory")
    content = (tmp_path / "parquet" / "data" / "train-00000-of-00001.parquet").read_bytes()
    system.pipe("/hub/parquet/data/train-00000-of-00001.parquet", content)
    given = {
        "made": {"rows": "moving_shapes", "task": "detection", "generator": SHAPES, "num_videos": 3},
        "parquet": {"task": "detection", "weight": 2.0},
        "remote": {"task": "detection", "path": "memory://hub/parquet"},
        "saved": {"task": "detection"},
    }
    try:
        sources = stream_sources(config(root=str(tmp_path), use_recipe_mixture=False, datasets=given))
        assert [(source.name, source.weight) for source in sources] == [
            ("made", 1.0),
            ("parquet", 2.0),
            ("remote", 1.0),
            ("saved", 1.0),
        ]
        keys = [
            [key for index in range(len(source.shards)) for key in source.shards.read(index).column("key").to_pylist()]
            for source in sources
        ]
    finally:
        system.rm("/hub", recursive=True)
    assert keys[0] == keys[1] == keys[2] == keys[3] and len(keys[0]) == 3


def test_folders_and_generated_videos_give_the_same_clips(tmp_path):
    """From Parquet, from a saved dataset and made on the fly: the same rows, so the same clips."""
    videos = MovingShapes("train", 3, CONFIG)
    # Letters that have a meaning in patterns.
    tmp_path = tmp_path / "[my] data"
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


@pytest.mark.parametrize("recipe", ["paper", "released"])
def test_configurations_name_their_datasets_by_id(project_root, recipe):
    files = sorted((project_root / "training" / "configs").glob("*_stage[123].yaml"))
    named = 0
    for path in files:
        entries = dataset_entries(load_config(path, [f"--recipe={recipe}"]))
        assert set(entries) - {"moving_shapes"} <= set(CONVERTERS) or "tiny_shapes" in path.name
        header = " ".join(line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("#"))
        told = re.search(r"Datasets, by their ids .*?\): (.*?); released also (.*?)\.", header)
        if told is not None:
            named += 1
            ids = told[1].split(", ") + (told[2].split(", ") if recipe == "released" else [])
            assert sorted(ids) == sorted(entries), path.name
    assert named == 12
