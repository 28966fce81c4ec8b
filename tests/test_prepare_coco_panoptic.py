# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""COCO panoptic -> rows -> clips, and its traps."""

import json

import numpy as np
import PIL.Image
import pytest
from image_miniatures import (
    COCO_PICTURES,
    clip_masks,
    clips_of,
    converted,
    left_out,
    masks_of,
    panoptic_ids,
    panoptic_png,
    picture,
    told,
    truncate,
    write_coco_panoptic,
)

from univs_hf.data.prepare.coco_panoptic import CocoPanopticConverter
from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.label_sets import load_label_set


@pytest.fixture
def root(tmp_path):
    write_coco_panoptic(tmp_path / "coco")
    return tmp_path / "coco"


def edit(root, change):
    path = root / "annotations/panoptic_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def convert_all(root, tmp_path, **settings):
    return converted(CocoPanopticConverter(root, min_long_side=0), tmp_path / "out", **settings)


def test_rows_have_all_segments_exactly(root, tmp_path):
    rows, conversion = convert_all(root, tmp_path)
    assert list(rows) == [f"coco_panoptic/train/{number}#0" for number in COCO_PICTURES]
    label_set = load_label_set("coco_panoptic")
    for number, (size, segments) in COCO_PICTURES.items():
        row = rows[f"coco_panoptic/train/{number}#0"]
        assert (row.height, row.width) == size and row.num_frames == 1
        assert row.tasks == ("detection",) and row.category_set == "coco_panoptic" and row.exhaustive
        assert row.meta == {"image_id": number, "licence": "Attribution License"}
        assert row.frame_bytes(0).to_pybytes() == (root / f"train2017/{number:012d}.jpg").read_bytes()
        assert row.entities.ids.tolist() == [segment for segment, *_ in segments]
        # The dataset's ids have gaps: 90 is the last thing and the 80th category, 92 the 81st, 200 the 133rd.
        for entity, (_, category, crowd, _) in enumerate(segments):
            known = label_set[int(row.entities.categories[entity])]
            assert known.source_id == category
            assert row.entities.is_thing[entity] == (category <= 90)
            assert row.entities.is_crowd[entity] == bool(crowd)
        masks, ids = masks_of(row), panoptic_ids(number)
        assert set(masks) == set(np.unique(ids).tolist()) - {0}
        assert all((mask == (ids == segment)).all() for segment, mask in masks.items())
    assert rows["coco_panoptic/train/139#0"].entities.categories.tolist() == [0, 132, 79]
    assert told(conversion) == []


def test_clips_show_the_segments_but_not_the_crowd(root, tmp_path):
    _, conversion = convert_all(root, tmp_path)
    clips = clips_of(tmp_path / "out", conversion, "detection")
    assert len(clips) == 3
    ids = panoptic_ids(139)
    masks = clip_masks(clips[0])
    assert set(masks) == {3226956, 16777215}
    assert all((mask == (ids == segment)).all() for segment, mask in masks.items())


def test_small_pictures_are_left_out_in_train_as_published(root, tmp_path):
    assert [item.key for item in CocoPanopticConverter(root, min_long_side=56).items("train", ConversionLog())] == [
        "139",
        "285",
    ]
    log = ConversionLog()
    assert list(CocoPanopticConverter(root).items("train", log)) == []
    assert log.left_out == {"pictures with a long side below 480 pixels": 3}
    write_coco_panoptic(root, "val")
    rows, conversion = converted(CocoPanopticConverter(root), tmp_path / "out", "val")
    assert len(rows) == 3 and left_out(conversion) == {}


def damaged(name, root):
    """Damages the second picture or its records."""

    def segments(content):
        return next(item for item in content["annotations"] if item["image_id"] == 285)["segments_info"]

    picture_file = root / "train2017/000000000285.jpg"
    map_file = root / "annotations/panoptic_train2017/000000000285.png"
    if name == "missing picture":
        picture_file.unlink()
    elif name == "truncated picture":
        truncate(picture_file)
    elif name == "picture of another size":
        picture(picture_file, (56, 40), 5)
    elif name == "missing map":
        map_file.unlink()
    elif name == "truncated map":
        truncate(map_file)
    elif name == "map of another size":
        panoptic_png(map_file, np.zeros((56, 40), np.int64))
    elif name == "map of another kind":
        PIL.Image.fromarray(np.zeros((40, 56), np.uint8)).save(map_file)
    elif name == "unknown category":
        edit(root, lambda content: segments(content)[0].update(category_id=91))
    elif name == "segment that is not shown":
        edit(root, lambda content: segments(content)[0].update(id=257))
    elif name == "segment that is listed twice":
        edit(root, lambda content: segments(content).append(segments(content)[0]))
    elif name == "no annotation":
        edit(root, lambda content: content["annotations"].pop(1))
    elif name == "two annotations":
        edit(root, lambda content: content["annotations"].append(content["annotations"][1]))
    elif name == "no size":
        edit(root, lambda content: content["images"][1].update(height="40"))
    elif name == "annotation of no picture":
        edit(root, lambda content: content["images"].pop(1))


CASES = {
    "missing picture": ([("missing_file", "video")], None, "000000000285.jpg"),
    "truncated picture": ([("unreadable_file", "video")], None, "000000000285.jpg"),
    "picture of another size": ([("size_mismatch", "video")], None, "000000000285.jpg"),
    "missing map": ([("missing_file", "video")], None, "000000000285.png"),
    "truncated map": ([("unreadable_file", "video")], None, "000000000285.png"),
    "map of another size": ([("size_mismatch", "video")], None, "000000000285.png"),
    "map of another kind": ([("unreadable_file", "video")], None, "000000000285.png"),
    "unknown category": ([("unknown_category", "object")], [65536], "000000000285.png"),
    "segment that is not shown": ([("bad_annotation", "object")] * 2, [65536], "000000000285.png"),
    "segment that is listed twice": ([("bad_record", "object")], [256, 65536], "000000000285.png"),
    "no annotation": ([("bad_record", "video")], None, "panoptic_train2017.json"),
    "two annotations": ([("bad_record", "video")], None, "panoptic_train2017.json"),
    "no size": ([("bad_record", "video")], None, "panoptic_train2017.json"),
    "annotation of no picture": ([("bad_record", "object")], None, "panoptic_train2017.json"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    expected, ids, file = CASES[name]
    damaged(name, root)
    rows, conversion = convert_all(root, tmp_path)
    assert told(conversion) == expected
    assert all(damage.path.endswith(file) for damage in conversion.splits[0].log.damages)
    assert {"coco_panoptic/train/139#0", "coco_panoptic/train/632#0"} <= set(rows)
    row = rows.get("coco_panoptic/train/285#0")
    assert (None if row is None else row.entities.ids.tolist()) == ids
    with pytest.raises(DamageError, match=file):
        converted(CocoPanopticConverter(root, min_long_side=0), tmp_path / "fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))


def test_a_file_of_another_dataset_is_refused(root):
    names = [category.label for category in load_label_set("ade20k")]

    def rename(content):
        content["categories"] = [{"id": n + 1, "name": name} for n, name in enumerate(names)]

    edit(root, rename)
    with pytest.raises(ValueError, match="other categories than coco_panoptic"):
        list(CocoPanopticConverter(root).items("train", ConversionLog()))


def test_missing_parts_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="panoptic_val2017.json"):
        list(CocoPanopticConverter(root).items("val", ConversionLog()))
    with pytest.raises(FileNotFoundError, match="no folder"):
        CocoPanopticConverter(tmp_path / "nowhere")
    for folder, message in (("train2017", "pictures"), ("annotations/panoptic_train2017", "panoptic PNGs")):
        (root / folder).rename(tmp_path / "away")
        with pytest.raises(FileNotFoundError, match=message):
            list(CocoPanopticConverter(root).items("train", ConversionLog()))
        (tmp_path / "away").rename(root / folder)


def test_parts_elsewhere_are_found_by_option(root, tmp_path):
    (root / "train2017").rename(tmp_path / "pictures")
    (root / "annotations/panoptic_train2017").rename(root / "maps")
    (root / "annotations/panoptic_train2017.json").rename(root / "other.json")
    converter = CocoPanopticConverter(
        root, annotation_file="other.json", image_folder=str(tmp_path / "pictures"), map_folder="maps", min_long_side=0
    )
    rows, conversion = converted(converter, tmp_path / "out")
    assert len(rows) == 3 and told(conversion) == []


@pytest.mark.slow
def test_several_processes_write_the_same_rows(root, tmp_path):
    alone, _ = convert_all(root, tmp_path)
    converter = CocoPanopticConverter(root, min_long_side=0)
    together, conversion = converted(converter, tmp_path / "together", workers=2, num_shards=3)
    assert len(conversion.splits[0].files) == 3
    assert list(together) == list(alone)
    for key, row in alone.items():
        assert together[key].frame_bytes(0).to_pybytes() == row.frame_bytes(0).to_pybytes()
        assert masks_of(together[key]).keys() == masks_of(row).keys()
