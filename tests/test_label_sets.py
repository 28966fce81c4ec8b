# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Label sets: order and rows of the combined table, aliases, thing flags."""

import json

import pytest

from univs_hf import label_sets
from univs_hf.data.moving_shapes import CATEGORIES
from univs_hf.label_sets import (
    COMBINED_TABLE_ORDER,
    COMBINED_TABLE_ROWS,
    available_label_sets,
    combined_table_texts,
    is_label_set,
    load_label_set,
)

# (categories, first row) of specification A.3.6.
SLICES = {
    "imagenet": (1000, 0),
    "lvis": (1203, 1000),
    "burst": (1203, 1000),
    "ytvis21": (40, 2203),
    "ovis": (25, 2243),
    "bdd_track": (8, 2268),
    "objects365": (365, 2276),
    "coco_panoptic": (133, 2641),
    "coco": (80, 2641),
    "ade20k": (150, 2774),
    "vipseg": (124, 2924),
    "vspw": (124, 2924),
    "viposeg": (124, 2924),
    "ytvis19": (40, 3048),
    "entityseg_instance": (206, 3088),
    "entityseg_panoptic": (644, 3294),
}


@pytest.mark.parametrize("name", SLICES)
def test_size_and_rows(name):
    label_set = load_label_set(name)
    count, first = SLICES[name]
    assert len(label_set) == len(label_set.texts) == count
    assert label_set.rows == (first, first + count)
    assert [category.index for category in label_set] == list(range(count))
    assert all(text.strip() for text in label_set.texts)


def test_slices_fill_the_combined_table():
    position = 0
    for name in COMBINED_TABLE_ORDER:
        first, end = load_label_set(name).rows
        assert first == position
        position = end
    assert position == COMBINED_TABLE_ROWS
    texts = combined_table_texts()
    assert len(texts) == COMBINED_TABLE_ROWS
    for name in SLICES:
        first, end = load_label_set(name).rows
        assert texts[first:end] == load_label_set(name).texts


@pytest.mark.parametrize("name", COMBINED_TABLE_ORDER)
def test_data_equals_the_reference(shared_dir, name):
    data = json.loads((shared_dir / f"label_sets/{name}.json").read_text())
    label_set = load_label_set(name)
    assert list(label_set.rows) == data["rows_in_combined_table"]
    for category, expected in zip(label_set, data["categories"], strict=True):
        assert {key: getattr(category, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("alias", "source"),
    [
        ("youtube_vis_2019", "ytvis19"),
        ("YTVIS-2021", "ytvis21"),
        ("VSPW", "vipseg"),
        ("COCO instances", "coco_panoptic"),
    ],
)
def test_aliases(alias, source):
    assert is_label_set(alias)
    assert load_label_set(alias).source == source


def test_coco_instances_are_the_things_of_coco_panoptic():
    panoptic = load_label_set("coco_panoptic")
    assert panoptic.thing_indices == list(range(80)) and panoptic.stuff_indices == list(range(80, 133))
    assert load_label_set("coco").categories == panoptic.categories[:80]


def test_known_entries():
    vspw = load_label_set("vspw")
    assert (vspw[0].label, vspw[0].is_thing, vspw[0].source_id) == ("wall", False, 1)
    assert vspw.id2label[2] == "door" and len(vspw.thing_indices) + len(vspw.stuff_indices) == 124
    lvis = load_label_set("lvis")
    assert lvis[0].label == "aerosol_can" and lvis[0].text.startswith("aerosol_can :")
    # The thing flags of this set are not known, which is not the same as stuff.
    entities = load_label_set("entityseg_panoptic")
    assert entities[0].is_thing is None and not entities.thing_indices and not entities.stuff_indices


def test_available():
    assert available_label_sets() == [*COMBINED_TABLE_ORDER, "moving_shapes"]
    for name in available_label_sets(include_aliases=True):
        assert load_label_set(name).texts


def test_bad_names():
    assert not is_label_set("pascal")
    with pytest.raises(ValueError, match="Unknown label set 'pascal'.*vipseg.*vspw"):
        load_label_set("pascal")
    with pytest.raises(TypeError, match="must be a string, got int"):
        load_label_set(3)


def test_missing_data_files(monkeypatch, tmp_path):
    monkeypatch.setattr(label_sets, "_DATA_FOLDER", tmp_path)
    label_sets._read.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match="data of the univs_hf package.*category names as a list"):
            load_label_set("ovis")
    finally:
        label_sets._read.cache_clear()


def test_generated_videos_have_a_label_set_outside_of_the_table():
    label_set = load_label_set("moving-shapes")
    assert label_set.rows is None
    assert label_set.categories == CATEGORIES
    assert "moving_shapes" in available_label_sets() and is_label_set("moving_shapes")
    assert not set(label_set.texts) <= set(combined_table_texts())
