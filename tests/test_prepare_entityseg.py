# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""EntitySeg -> rows -> clips, and its traps."""

import io
import json

import PIL.Image
import pytest
from image_miniatures import (
    clip_masks,
    clips_of,
    converted,
    entityseg_categories,
    left_out,
    masks_of,
    picture,
    told,
    truncate,
    write_entityseg,
)
from mini_datasets import box, rle

from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.data.prepare.entityseg import EntitySegConverter
from univs_hf.label_sets import load_label_set

FIRST, SECOND = "entityseg_panoptic/train/entityseg_train_01/1#0", "entityseg_panoptic/train/entityseg_train_02/1#0"
MASKS = {1: box(48, 64, 2, 2), 2: box(48, 64, 9, 9), 5: box(48, 64, 30, 40)}


@pytest.fixture
def root(tmp_path):
    return write_entityseg(tmp_path / "entityseg")


def edit(root, change, part="01"):
    path = root / f"annotations/entityseg_train_{part}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_files_number_their_pictures_alike(root, tmp_path):
    rows, conversion = converted(EntitySegConverter(root), tmp_path / "out")
    assert list(rows) == [FIRST, SECOND]
    for row in rows.values():
        assert row.tasks == ("detection",) and row.category_set == "entityseg_panoptic" and row.exhaustive
        assert row.entities.ids.tolist() == [1, 2, 5]
        # Ids are from 0, and so are indices.
        assert row.entities.categories.tolist() == [0, 643, 3]
        # The package does not know which are things; the file does.
        assert row.entities.is_thing.tolist() == [True, True, False]
        assert all((masks_of(row)[number] == mask).all() for number, mask in MASKS.items())
    assert told(conversion) == []


def test_pictures_of_another_resolution_take_that_of_their_masks(root, tmp_path):
    rows, conversion = converted(EntitySegConverter(root), tmp_path / "out")
    first, second = rows[FIRST], rows[SECOND]
    assert first.frame_bytes(0).to_pybytes() == (root / "images/entity_01_11580/a.jpg").read_bytes()
    assert "picture_was_resized" not in first.meta
    assert (second.height, second.width) == (48, 64) and second.meta["picture_was_resized"] is True
    with PIL.Image.open(io.BytesIO(second.frame_bytes(0).to_pybytes())) as image:
        assert image.size == (64, 48)
    clips = clips_of(tmp_path / "out", conversion, "detection")
    assert all((clip_masks(clips[1])[number] == mask).all() for number, mask in MASKS.items())


def test_large_pictures_are_reduced_by_option(root, tmp_path):
    rows, conversion = converted(EntitySegConverter(root, short_side=24), tmp_path / "out")
    for row in rows.values():
        assert (row.height, row.width) == (24, 32) and row.meta["source_size"] == [48, 64]
        assert all((masks_of(row)[number] == mask[1::2, 1::2]).all() for number, mask in MASKS.items())
    assert told(conversion) == [] and left_out(conversion) == {}


@pytest.mark.parametrize("form", ["number", "text", "name"])
def test_the_class_aware_field_goes_before(form, root, tmp_path):
    """In files whose `category_id` is the same for all entities."""
    names = [category.text for category in load_label_set("entityseg_panoptic")]

    def class_agnostic(content):
        for annotation in content["annotations"]:
            number = annotation["category_id"]
            annotation["category_id_ori"] = {"number": number, "text": str(number), "name": names[number]}[form]
            annotation["category_id"] = 1

    edit(root, class_agnostic)
    rows, conversion = converted(EntitySegConverter(root), tmp_path / "out")
    assert rows[FIRST].entities.categories.tolist() == [0, 643, 3] and told(conversion) == []


def test_annotation_files_by_option(root, tmp_path):
    (root / "annotations/entityseg_train_02.json").rename(root / "other.json")
    rows, _ = converted(EntitySegConverter(root, annotation_file="other.json"), tmp_path / "out")
    assert list(rows) == ["entityseg_panoptic/train/other/1#0"]
    with pytest.raises(FileNotFoundError, match="entityseg_val_01.json"):
        list(EntitySegConverter(root).items("val", ConversionLog()))


def test_other_categories_are_refused(root):
    edit(root, lambda content: content.update(categories=entityseg_categories()[1:]))
    # Without the first the ids are still right.
    assert len(list(EntitySegConverter(root).items("train", ConversionLog()))) == 2
    shifted = [{**item, "id": item["id"] + 1} for item in entityseg_categories()]
    edit(root, lambda content: content.update(categories=shifted))
    with pytest.raises(ValueError, match="entityseg_train_01.json has other categories"):
        list(EntitySegConverter(root).items("train", ConversionLog()))


def damaged(name, root):
    def annotation(**change):
        edit(root, lambda content: content["annotations"][1].update(change))

    file = root / "images/entity_01_11580/a.jpg"
    if name == "missing picture":
        file.unlink()
    elif name == "truncated picture":
        truncate(file)
    elif name == "picture of other proportions":
        picture(file, (64, 48), 5)
    elif name == "mask of another size":
        annotation(segmentation=rle(box(96, 128, 1, 1)))
    elif name == "unknown category":
        annotation(category_id=644)
    elif name == "no size":
        edit(root, lambda content: content["images"][0].pop("width"))


CASES = {
    "missing picture": ("missing_file", "video"),
    "truncated picture": ("unreadable_file", "video"),
    "picture of other proportions": ("size_mismatch", "video"),
    "mask of another size": ("bad_annotation", "object"),
    "unknown category": ("unknown_category", "object"),
    "no size": ("bad_record", "video"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    damaged(name, root)
    rows, conversion = converted(EntitySegConverter(root), tmp_path / "out")
    assert told(conversion) == [CASES[name]]
    assert str(root) in conversion.splits[0].log.damages[0].path
    assert SECOND in rows
    if CASES[name][1] == "video":
        assert FIRST not in rows
    else:
        assert rows[FIRST].entities.ids.tolist() == [1, 5]
    with pytest.raises(DamageError):
        converted(EntitySegConverter(root), tmp_path / "fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))
