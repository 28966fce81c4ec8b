# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""LVIS v1 -> rows -> clips, and its traps."""

import json

import numpy as np
import pytest
from image_miniatures import (
    clip_masks,
    clips_of,
    converted,
    left_out,
    masks_of,
    picture,
    square,
    told,
    truncate,
    write_lvis,
)
from mini_datasets import box, rle

from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.data.prepare.lvis import LvisConverter


@pytest.fixture
def root(tmp_path):
    write_lvis(tmp_path / "lvis")
    return tmp_path / "lvis"


def edit(root, change):
    path = root / "lvis_v1_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_rows_keep_polygons_as_masks_and_the_federated_lists(root, tmp_path):
    rows, conversion = converted(LvisConverter(root), tmp_path / "out")
    assert list(rows) == ["lvis/train/30#0", "lvis/train/9#0"]
    row = rows["lvis/train/30#0"]
    assert row.tasks == ("detection",) and row.category_set == "lvis" and not row.exhaustive
    assert row.entities.ids.tolist() == [100, 101]
    # Ids are from 1, indices from 0.
    assert row.entities.categories.tolist() == [0, 1]
    assert sorted(row.neg_categories.tolist()) == [4, 1202]
    assert row.not_exhaustive_categories.tolist() == [1]
    other = rows["lvis/train/9#0"]
    assert other.entities.categories.tolist() == [1202]
    assert other.neg_categories.tolist() == [] and other.not_exhaustive_categories.tolist() == [6]
    assert row.meta == {"image_id": 30, "licence": "Attribution"}
    masks = masks_of(row)
    # Both polygons of the first object are one mask; objects overlap.
    assert (masks[100] == (box(48, 64, 4, 6, 10) | box(48, 64, 20, 30, 8))).all()
    assert (masks[101] == box(48, 64, 8, 10, 10)).all()
    assert (masks[100] & masks[101]).any()
    assert row.frame_bytes(0).to_pybytes() == (root / "train2017/000000000030.jpg").read_bytes()
    # The folder is in the address: pictures of either split are in both.
    assert other.frame_bytes(0).to_pybytes() == (root / "val2017/000000000009.jpg").read_bytes()
    assert told(conversion) == [] and left_out(conversion) == {"rows in which no object is seen": 1}


def test_clips_have_the_lists_too(root, tmp_path):
    _, conversion = converted(LvisConverter(root), tmp_path / "out")
    clips = clips_of(tmp_path / "out", conversion, "detection")
    assert sorted(clips[0].neg_categories.tolist()) == [4, 1202]
    assert clips[0].not_exhaustive_categories.tolist() == [1]
    assert not clips[0].exhaustive
    masks = clip_masks(clips[0])
    assert (masks[100] == (box(48, 64, 4, 6, 10) | box(48, 64, 20, 30, 8))).all()
    assert (masks[101] == box(48, 64, 8, 10, 10)).all()


def test_val_keeps_pictures_without_objects(root, tmp_path):
    write_lvis(root, "val")
    rows, _ = converted(LvisConverter(root), tmp_path / "out", "val")
    assert list(rows) == ["lvis/val/30#0", "lvis/val/9#0", "lvis/val/25#0"]
    assert len(rows["lvis/val/25#0"].entities) == 0


@pytest.mark.parametrize("place", ["coco", "../coco", "images"])
def test_pictures_of_coco_are_found(place, tmp_path):
    root = tmp_path / "lvis"
    write_lvis(root, images=(root / place).resolve())
    rows, conversion = converted(LvisConverter(root), tmp_path / "out")
    assert len(rows) == 2 and told(conversion) == []


def test_pictures_elsewhere_need_the_option(tmp_path):
    write_lvis(tmp_path / "lvis", images=tmp_path / "far/away")
    with pytest.raises(FileNotFoundError, match="pictures of COCO 2017"):
        list(LvisConverter(tmp_path / "lvis").items("train", ConversionLog()))
    converter = LvisConverter(tmp_path / "lvis", image_folder=str(tmp_path / "far/away"))
    assert len(list(converter.items("train", ConversionLog()))) == 3


def test_objects_smaller_than_a_pixel_are_left_out(root, tmp_path):
    edit(root, lambda content: content["annotations"][1].update(segmentation=[square(8.1, 8.1, 0.2)]))
    rows, conversion = converted(LvisConverter(root), tmp_path / "out")
    assert rows["lvis/train/30#0"].entities.ids.tolist() == [100]
    assert left_out(conversion)["objects whose mask covers no pixel"] == 1 and told(conversion) == []


def damaged(name, root):
    def annotation(**change):
        edit(root, lambda content: content["annotations"][1].update(change))

    def image(**change):
        edit(root, lambda content: content["images"][0].update(change))

    if name == "missing picture":
        (root / "train2017/000000000030.jpg").unlink()
    elif name == "truncated picture":
        truncate(root / "train2017/000000000030.jpg")
    elif name == "picture of another size":
        picture(root / "train2017/000000000030.jpg", (64, 48), 5)
    elif name == "polygon of two points":
        # Four numbers would be taken for a box by COCO's tools.
        annotation(segmentation=[[1, 2, 3, 4]])
    elif name == "polygon outside":
        annotation(segmentation=[square(100, 200, 10)])
    elif name == "polygon of text":
        annotation(segmentation=["abc"])
    elif name == "mask of another size":
        annotation(segmentation=rle(box(64, 48, 1, 1)))
    elif name == "no mask":
        annotation(segmentation=None)
    elif name == "unknown category":
        annotation(category_id=1204)
    elif name == "category 0":
        annotation(category_id=0)
    elif name == "id of another object":
        annotation(id=100)
    elif name == "no id":
        annotation(id="101")
    elif name == "object of no picture":
        annotation(image_id=31)
    elif name == "category that is said to be absent":
        annotation(category_id=5)
    elif name == "unknown category in the list":
        image(not_exhaustive_category_ids=[2, 3000])
    elif name == "no federated list":
        image(neg_category_ids=None)
    elif name == "no address":
        image(coco_url="30.jpg")


BOTH, ONE = [100, 101], [100]
CASES = {
    "missing picture": ("missing_file", "video", None),
    "truncated picture": ("unreadable_file", "video", None),
    "picture of another size": ("size_mismatch", "video", None),
    "polygon of two points": ("bad_annotation", "object", ONE),
    "polygon outside": ("bad_annotation", "object", ONE),
    "polygon of text": ("bad_annotation", "object", ONE),
    "mask of another size": ("bad_annotation", "object", ONE),
    "no mask": ("bad_annotation", "object", ONE),
    "unknown category": ("unknown_category", "object", ONE),
    "category 0": ("unknown_category", "object", ONE),
    "id of another object": ("bad_record", "object", ONE),
    "no id": ("bad_record", "object", ONE),
    "object of no picture": ("bad_record", "object", ONE),
    "category that is said to be absent": ("bad_record", "object", BOTH),
    "unknown category in the list": ("unknown_category", "object", BOTH),
    "no federated list": ("bad_record", "video", None),
    "no address": ("bad_record", "video", None),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    kind, lost, ids = CASES[name]
    damaged(name, root)
    rows, conversion = converted(LvisConverter(root), tmp_path / "out")
    assert told(conversion) == [(kind, lost)]
    assert str(root) in conversion.splits[0].log.damages[0].path
    row = rows.get("lvis/train/30#0")
    assert (None if row is None else row.entities.ids.tolist()) == ids
    assert "lvis/train/9#0" in rows
    if name == "category that is said to be absent":
        assert row.entities.categories.tolist() == [0, 4] and row.neg_categories.tolist() == [1202]
    with pytest.raises(DamageError):
        converted(LvisConverter(root), tmp_path / "fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))


def test_an_older_version_is_refused(root):
    """LVIS v0.5 has other categories under the same ids."""
    edit(root, lambda content: content.update(categories=[{"id": n + 1, "name": f"c{n}"} for n in range(1230)]))
    with pytest.raises(ValueError, match="other categories than lvis"):
        list(LvisConverter(root).items("train", ConversionLog()))


def test_cut_file_is_named(root):
    truncate(root / "lvis_v1_train.json")
    with pytest.raises(ValueError, match=r"lvis_v1_train\.json, byte"):
        list(LvisConverter(root).items("train", ConversionLog()))


def test_items_are_small_when_they_travel(root):
    """Annotations stay in the file; an item has their places."""
    import pickle

    edit(root, lambda content: content["annotations"][0].update(segmentation=[np.arange(200_000.0).tolist()]))
    items = list(LvisConverter(root).items("train", ConversionLog()))
    categories = len(pickle.dumps(items[0].categories))
    assert len(pickle.dumps(items)) < categories + 5000
