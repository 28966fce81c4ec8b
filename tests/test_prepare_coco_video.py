# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A user's own COCO-video JSON -> rows -> clips: any categories, expressions, late objects, damage."""

import json

import numpy as np
import pytest
from image_miniatures import clip_masks, clips_of, converted, left_out, masks_of, picture, square, told, truncate
from mini_datasets import box, rle, write_json

from univs_hf.data.prepare.coco_video import CocoVideoConverter
from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.data.row_validation import validate_row
from univs_hf.data.schema import RowError

SIZE = (40, 56)
# Ids are neither ascending nor without gaps, nor do they begin at 1.
CATEGORIES = [
    {"id": 40, "name": "Rail Car"},
    {"id": 3, "name": "person"},
    {"id": 17, "name": "sky", "isthing": 0},
]
OWN_SIZES = {"yard": 3}


def place(video: int, frame: int, number: int) -> np.ndarray:
    return box(*SIZE, 2 + 8 * number, 2 + 3 * frame % 36 + video, 10)


def write_yard(root, lengths=(4, 1)):
    """Video 7 of four frames and picture 2; object 12 appears late, object 13 is a crowd."""
    videos, annotations = [], []
    for video, length in zip((7, 2), lengths, strict=True):
        names = [f"v{video}/{10 * frame:05d}.jpg" for frame in range(length)]
        for frame, name in enumerate(names):
            picture(root / "train/JPEGImages" / name, SIZE, 100 * video + frame)
        videos.append({"id": video, "height": SIZE[0], "width": SIZE[1], "length": length, "file_names": names})
        for number, category in ((11, 40), (12, 17), (13, 3)):
            late = number == 12 and video == 7
            segmentations = [
                None if late and frame < 2 else rle(place(video, frame, number - 11), compressed=frame % 2 == 0)
                for frame in range(length)
            ]
            annotations.append(
                {
                    "id": 100 * video + number,
                    "video_id": video,
                    "category_id": category,
                    "iscrowd": int(number == 13),
                    "segmentations": segmentations,
                }
            )
    return write_json(root / "train.json", {"videos": videos, "annotations": annotations, "categories": CATEGORIES})


@pytest.fixture
def root(tmp_path):
    write_yard(tmp_path / "yard")
    return tmp_path / "yard"


def edit(root, change):
    path = root / "train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def annotation(content, number):
    return next(item for item in content["annotations"] if item["id"] == number)


def test_own_categories_are_told_by_every_row(root, tmp_path):
    rows, conversion = converted(CocoVideoConverter(root, fps=25.0), tmp_path / "out", sizes=OWN_SIZES)
    # The data has the name of its folder.
    assert list(rows) == ["yard/train/2#0", "yard/train/7#0"]
    for row in rows.values():
        assert row.dataset == "yard" and row.category_set == "yard" and row.fps == 25.0
        assert row.meta["category_set"] == [
            {"name": "person", "is_thing": True},
            {"name": "sky", "is_thing": False},
            {"name": "Rail Car", "is_thing": True},
        ]
        assert row.entities.categories.tolist() == [2, 1, 0]
        assert row.entities.is_thing.tolist() == [True, False, True]
        assert row.entities.is_crowd.tolist() == [False, False, True]
        assert row.tasks == ("detection", "sot") and not row.exhaustive
    row = rows["yard/train/7#0"]
    assert row.num_frames == 4 and row.time_index.tolist() == [0, 10, 20, 30]
    assert row.frame_bytes(3).to_pybytes() == (root / "train/JPEGImages/v7/00030.jpg").read_bytes()
    for frame in range(4):
        masks = masks_of(row, frame)
        assert set(masks) == ({711, 713} if frame < 2 else {711, 712, 713})
        assert all((mask == place(7, frame, number - 711)).all() for number, mask in masks.items())
    assert told(conversion) == [] and left_out(conversion) == {}
    # A set that the package does not know can only be checked against its size.
    with pytest.raises(RowError, match="category_set"):
        validate_row(row)


def test_clips_show_objects_but_no_crowd(root, tmp_path):
    _, conversion = converted(CocoVideoConverter(root), tmp_path / "out", sizes=OWN_SIZES)
    image, video = clips_of(tmp_path / "out", conversion, "detection")
    assert set(clip_masks(image)) == {211, 212} and image.category_set == "yard"
    assert image.categories.tolist() == [2, 1]
    for position, frame in enumerate(video.frame_idx.tolist()):
        masks = {number: mask for number, mask in clip_masks(video, position).items() if mask.any()}
        assert set(masks) == ({711} if frame < 2 else {711, 712})
        assert all((mask == place(7, frame, number - 711)).all() for number, mask in masks.items())


def test_categories_of_a_label_set_go_by_name(root, tmp_path):
    edit(root, lambda content: content["categories"][0].update(name="Sky_Other-Merged"))
    edit(root, lambda content: content["categories"][2].update(name="bicycle"))
    converter = CocoVideoConverter(root, name="mine", category_set="coco_panoptic", exhaustive=True)
    rows, conversion = converted(converter, tmp_path / "out")
    row = rows["mine/train/2#0"]
    assert row.category_set == "coco_panoptic" and row.exhaustive and "category_set" not in row.meta
    assert row.entities.categories.tolist() == [119, 1, 0]
    # The label set knows better than the file what is a thing.
    assert row.entities.is_thing.tolist() == [False, True, True]
    assert told(conversion) == []


def test_a_name_that_the_label_set_lacks_is_damage_where_it_is_used(root, tmp_path):
    converter = CocoVideoConverter(root, category_set="coco_panoptic")
    rows, conversion = converted(converter, tmp_path / "out")
    assert told(conversion) == [("unknown_category", "object")] * 4
    assert rows["yard/train/2#0"].entities.ids.tolist() == [213]
    edit(root, lambda content: content.update(categories=[{"id": 3, "name": "gadget"}]))
    with pytest.raises(ValueError, match="none of its categories"):
        list(CocoVideoConverter(root, category_set="coco_panoptic").items("train", ConversionLog()))


def test_expressions_of_annotations_become_those_of_the_row(root, tmp_path):
    def add(content):
        annotation(content, 711)["expressions"] = ["the car on the left", "a rail car"]
        annotation(content, 712)["expression"] = "the sky"
        # The form of the original training: a further annotation with the same id, and one sentence.
        content["annotations"].append({**annotation(content, 711), "expressions": ["a car that moves"]})

    edit(root, add)
    rows, conversion = converted(CocoVideoConverter(root), tmp_path / "out", sizes=OWN_SIZES)
    row = rows["yard/train/7#0"]
    assert row.tasks == ("detection", "sot", "grounding")
    assert [(int(row.entities.ids[item.entity]), item.text) for item in row.expressions] == [
        (711, "the car on the left"),
        (711, "a rail car"),
        (712, "the sky"),
        (711, "a car that moves"),
    ]
    assert len({item.id for item in row.expressions}) == 4
    assert row.entities.ids.tolist() == [711, 712, 713]
    assert rows["yard/train/2#0"].tasks == ("detection", "sot")
    assert told(conversion) == []
    assert conversion.splits[0].counts.expressions == 4


def test_long_videos_are_several_rows(tmp_path):
    root = tmp_path / "yard"
    write_yard(root, (70, 1))
    edit(root, lambda content: annotation(content, 712).update(expressions=["the sky", "what is blue"]))
    rows, conversion = converted(CocoVideoConverter(root), tmp_path / "out", sizes=OWN_SIZES)
    assert list(rows) == ["yard/train/2#0", "yard/train/7#0", "yard/train/7#1"]
    first, second = rows["yard/train/7#0"], rows["yard/train/7#1"]
    assert first.num_frames + second.num_frames == 70
    assert second.time_index[0] == 10 * first.num_frames
    assert [item.id for item in first.expressions] == [item.id for item in second.expressions] == [0, 1]
    counts = conversion.splits[0].counts
    assert (counts.items, counts.rows, counts.objects, counts.expressions) == (2, 3, 6, 2)


def test_splits_without_annotations_have_rows_without_objects(root, tmp_path):
    content = json.loads((root / "train.json").read_text())
    write_json(root / "holdout.json", {**content, "annotations": []})
    converter = CocoVideoConverter(root, image_folder="train/JPEGImages")
    rows, conversion = converted(converter, tmp_path / "out", "holdout", sizes=OWN_SIZES)
    assert [len(row.entities) for row in rows.values()] == [0, 0] and rows["yard/holdout/7#0"].tasks == ()
    assert told(conversion) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "`name` must consist"),
        ({"name": "ovis"}, "is that of a label set"),
        ({"category_set": "nothing"}, "Unknown label set"),
    ],
)
def test_options_are_checked(root, options, message):
    with pytest.raises(ValueError, match=message):
        CocoVideoConverter(root, **options)


def damaged(name, root):
    frames = root / "train/JPEGImages/v7"
    if name == "missing frame":
        (frames / "00010.jpg").unlink()
    elif name == "truncated frame":
        truncate(frames / "00010.jpg")
    elif name == "frame of another size":
        picture(frames / "00010.jpg", (56, 40), 3)
    elif name == "missing video":
        frames.rename(root / "away")
    elif name == "unknown category":
        edit(root, lambda content: annotation(content, 711).update(category_id=1))
    elif name == "annotation of no video":
        edit(root, lambda content: annotation(content, 711).update(video_id=8))
    elif name == "masks for other frames":
        edit(root, lambda content: annotation(content, 711)["segmentations"].pop())
    elif name == "id of another object":
        edit(root, lambda content: annotation(content, 711).update(id=713))
    elif name == "polygon outside":
        outside = [[square(500, 500, 10)]] * 4
        edit(root, lambda content: annotation(content, 711).update(segmentations=outside))
    elif name == "sentence without text":
        edit(root, lambda content: annotation(content, 711).update(expressions=["", "a car"]))
    elif name == "sentences of another kind":
        edit(root, lambda content: annotation(content, 711).update(expressions={"a": 1}))
    elif name == "sentence about nothing that is seen":
        edit(root, lambda content: annotation(content, 711).update(expression="a car", segmentations=[None] * 4))


# What is told, how many frames are left, and which objects.
ALL, OTHERS = [711, 712, 713], [712, 713]
CASES = {
    "missing frame": (("missing_file", "frame"), 3, ALL),
    "truncated frame": (("unreadable_file", "frame"), 3, ALL),
    "frame of another size": (("size_mismatch", "frame"), 3, ALL),
    "missing video": (("missing_file", "video"), 0, []),
    "unknown category": (("unknown_category", "object"), 4, OTHERS),
    "annotation of no video": (("bad_record", "object"), 4, OTHERS),
    "masks for other frames": (("bad_record", "object"), 4, OTHERS),
    "id of another object": (("bad_record", "object"), 4, OTHERS),
    "polygon outside": (("bad_annotation", "object"), 4, OTHERS),
    "sentence without text": (("bad_annotation", "expression"), 4, ALL),
    "sentences of another kind": (("bad_annotation", "expression"), 4, ALL),
    "sentence about nothing that is seen": (("bad_annotation", "expression"), 4, OTHERS),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    expected, num_frames, ids = CASES[name]
    damaged(name, root)
    rows, conversion = converted(CocoVideoConverter(root), tmp_path / "out", sizes=OWN_SIZES)
    assert told(conversion) == [expected]
    assert str(root) in conversion.splits[0].log.damages[0].path
    assert rows["yard/train/2#0"].entities.ids.tolist() == [211, 212, 213]
    row = rows.get("yard/train/7#0")
    assert (0 if row is None else row.num_frames) == num_frames
    assert ([] if row is None else row.entities.ids.tolist()) == ids
    if name == "sentence without text":
        assert [item.text for item in row.expressions] == ["a car"]
    with pytest.raises(DamageError):
        converted(CocoVideoConverter(root), tmp_path / "fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))


def test_categories_without_a_name_are_refused(root):
    edit(root, lambda content: content["categories"][1].pop("name"))
    with pytest.raises(ValueError, match="category 3 has no name"):
        list(CocoVideoConverter(root).items("train", ConversionLog()))
    edit(root, lambda content: content.update(categories=CATEGORIES[:1] * 2))
    with pytest.raises(ValueError, match="two categories have one id"):
        list(CocoVideoConverter(root).items("train", ConversionLog()))
