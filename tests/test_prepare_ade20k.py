# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""ADE20K panoptic, from the published maps and from COCO's form -> rows -> clips, and their traps."""

import numpy as np
import PIL.Image
import pytest
from image_miniatures import (
    clip_masks,
    clips_of,
    converted,
    left_out,
    masks_of,
    panoptic_png,
    picture,
    told,
    truncate,
    write_ade20k,
)
from mini_datasets import box, write_json

from univs_hf.data.prepare.ade20k import Ade20kConverter
from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.label_sets import load_label_set

KEY = "ade20k_panoptic/train/ADE_train_00000001#0"
SIZE = (48, 64)
BED, PERSON = box(*SIZE, 26, 10, 14), box(*SIZE, 2, 2, 12)
WALL = np.zeros(SIZE, bool)
WALL[:24] = True
WALL &= ~PERSON & ~box(*SIZE, 4, 4, 6)


@pytest.fixture
def root(tmp_path):
    return write_ade20k(tmp_path / "ADEChallengeData2016")


def convert_all(root, tmp_path, folder="out", **settings):
    return converted(Ade20kConverter(root, min_long_side=0), tmp_path / folder, **settings)


def check(row):
    label_set = load_label_set("ade20k")
    found = {
        label_set[category].label: mask
        for category, mask in zip(row.entities.categories, masks_of(row).values(), strict=True)
    }
    assert set(found) == {"wall", "bed", "person"}
    # The person covers the sky entirely. The window is a thing that no instance shows: void.
    assert (found["wall"] == WALL).all() and (found["bed"] == BED).all() and (found["person"] == PERSON).all()
    assert dict(zip(found, row.entities.is_thing.tolist(), strict=True)) == {
        "wall": False,
        "bed": True,
        "person": True,
    }
    assert row.category_set == "ade20k" and row.exhaustive and row.tasks == ("detection",)


@pytest.mark.parametrize("parent", [False, True])
def test_published_maps_become_a_panoptic_row(parent, root, tmp_path):
    rows, conversion = convert_all(root.parent if parent else root, tmp_path)
    assert list(rows) == [KEY]
    check(rows[KEY])
    assert told(conversion) == [] and left_out(conversion) == {"segments that others cover": 1}
    masks = clip_masks(clips_of(tmp_path / "out", conversion, "detection")[0])
    assert (masks[int(rows[KEY].entities.ids[1])] == BED).all()


def write_json_form(root, first_id):
    """What Mask2Former's script makes of the maps: ids of categories from `first_id`, names with stray blanks."""
    label_set = load_label_set("ade20k")
    place = {category.label: category.index for category in label_set}
    ids = np.where(WALL, 11, 0)
    ids[BED], ids[PERSON] = 333, 70000
    panoptic_png(root / "ade20k_panoptic_train/ADE_train_00000001.png", ids)
    segments = [(11, place["wall"]), (22, place["sky"]), (333, place["bed"]), (70000, place["person"])]
    write_json(
        root / "ade20k_panoptic_train.json",
        {
            "images": [{"id": "ADE_train_00000001", "file_name": "ADE_train_00000001.jpg", "height": 48, "width": 64}],
            "annotations": [
                {
                    "image_id": "ADE_train_00000001",
                    "file_name": "ADE_train_00000001.png",
                    "segments_info": [
                        {"id": number, "category_id": index + first_id, "iscrowd": 0} for number, index in segments
                    ],
                }
            ],
            "categories": [{"id": c.index + first_id, "name": c.label, "isthing": int(c.is_thing)} for c in label_set],
        },
    )


@pytest.mark.parametrize("first_id", [0, 1])
def test_both_forms_give_the_same_row(first_id, root, tmp_path):
    write_json_form(root, first_id)
    rows, conversion = convert_all(root, tmp_path)
    check(rows[KEY])
    assert rows[KEY].entities.ids.tolist() == [11, 333, 70000]
    assert told(conversion) == [] and left_out(conversion) == {"segments that others cover": 1}
    by_option, _ = converted(Ade20kConverter(root, form="maps", min_long_side=0), tmp_path / "maps")
    check(by_option[KEY])


def test_small_pictures_are_left_out_in_train_as_published(root, tmp_path):
    log = ConversionLog()
    items = list(Ade20kConverter(root).items("train", log))
    assert list(items[0].rows(log)) == []
    assert log.left_out == {"pictures with a long side below 480 pixels": 1}
    write_ade20k(root, "validation")
    rows, _ = converted(Ade20kConverter(root), tmp_path / "out", "val")
    assert list(rows) == ["ade20k_panoptic/val/ADE_train_00000001#0"]


def damaged(name, root):
    names = {
        "picture": root / "images/training/ADE_train_00000001.jpg",
        "classes": root / "annotations/training/ADE_train_00000001.png",
        "instances": root / "annotations_instance/training/ADE_train_00000001.png",
    }
    what, _, how = name.partition(" ")
    if how == "missing":
        names[what].unlink()
    elif how == "truncated":
        truncate(names[what])
    elif how == "of another size" and what == "picture":
        picture(names[what], (64, 48), 5)
    elif how == "of another size":
        PIL.Image.fromarray(np.zeros((64, 48, 3), np.uint8)).save(names[what])
    elif how == "of another kind":
        PIL.Image.fromarray(np.zeros(SIZE, np.uint8)).save(names[what])
    else:
        instances = np.asarray(PIL.Image.open(names[what])).copy()
        instances[BED, 0] = 101
        if how == "of two classes":
            instances[BED, 0] = 1
            instances[30, 12, 0] = 2
        PIL.Image.fromarray(instances).save(names[what])


CASES = {
    "picture missing": ("missing_file", "video"),
    "classes missing": ("missing_file", "video"),
    "instances missing": ("missing_file", "video"),
    "picture truncated": ("unreadable_file", "video"),
    "classes truncated": ("unreadable_file", "video"),
    "instances truncated": ("unreadable_file", "video"),
    "picture of another size": ("size_mismatch", "video"),
    "instances of another size": ("size_mismatch", "video"),
    "instances of another kind": ("unreadable_file", "video"),
    "instances of an unknown class": ("unknown_category", "object"),
    "instances of two classes": ("unknown_category", "object"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    # Another picture, so that the split is not empty.
    for path in sorted(root.rglob("ADE_train_00000001.*")):
        (path.parent / f"ADE_train_00000002{path.suffix}").write_bytes(path.read_bytes())
    damaged(name, root)
    rows, conversion = convert_all(root, tmp_path)
    assert told(conversion) == [CASES[name]]
    assert "ADE_train_00000001" in conversion.splits[0].log.damages[0].path
    check(rows[KEY.replace("1#", "2#")])
    if CASES[name][1] == "video":
        assert KEY not in rows
    else:
        assert len(rows[KEY].entities) == 2
    with pytest.raises(DamageError, match="ADE_train_00000001"):
        convert_all(root, tmp_path, "fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))


def test_a_missing_folder_is_named(root, tmp_path):
    (root / "annotations_instance").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="maps of instances"):
        list(Ade20kConverter(root).items("train", ConversionLog()))
    with pytest.raises(ValueError, match="`form`"):
        Ade20kConverter(root, form="png")
