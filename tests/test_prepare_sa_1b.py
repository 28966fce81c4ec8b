# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""SA-1B -> rows -> clips, and its traps."""

import io
import json

import numpy as np
import PIL.Image
import pytest
from image_miniatures import (
    clip_masks,
    clips_of,
    converted,
    left_out,
    masks_of,
    picture,
    told,
    truncate,
    write_sa_1b,
)
from mini_datasets import box, rle

from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.data.prepare.sa_1b import Sa1bConverter

MASKS = [box(60, 90, 4, 5, 30), box(60, 90, 10, 12, 12), box(60, 90, 40, 20, 16)]
IDS = [600000100, 600000101, 600000102]


@pytest.fixture
def root(tmp_path):
    return write_sa_1b(tmp_path / "sa_1b")


def edit(root, change):
    path = root / "sa_000000/sa_10.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_rows_have_masks_and_their_quality(root, tmp_path):
    rows, conversion = converted(Sa1bConverter(root), tmp_path / "out")
    assert list(rows) == ["sa_1b/train/sa_10#0", "sa_1b/train/sa_2#0"]
    row = rows["sa_1b/train/sa_10#0"]
    assert row.tasks == ("sot",) and row.category_set == "" and not row.exhaustive
    assert row.entities.ids.tolist() == IDS and row.entities.categories.tolist() == [-1] * 3
    assert row.meta == {
        "image_id": 10,
        "stability_score": pytest.approx([0.95, 0.96, 0.97]),
        "predicted_iou": pytest.approx([0.88, 0.89, 0.90]),
    }
    masks = masks_of(row)
    assert all((masks[number] == mask).all() for number, mask in zip(IDS, MASKS, strict=True))
    assert row.frame_bytes(0).to_pybytes() == (root / "sa_000000/sa_10.jpg").read_bytes()
    assert told(conversion) == [] and left_out(conversion) == {}


def test_clips_have_overlapping_masks(root, tmp_path):
    _, conversion = converted(Sa1bConverter(root), tmp_path / "out")
    masks = clip_masks(clips_of(tmp_path / "out", conversion, "sot")[0])
    assert all((masks[number] == mask).all() for number, mask in zip(IDS, MASKS, strict=True))
    assert (masks[IDS[0]] & masks[IDS[1]]).any()


def test_of_many_masks_training_keeps_the_good_ones(root, tmp_path):
    """Quality follows its mask into the row, past one that is left out before it."""

    def many(content):
        first = content["annotations"][0]
        content["annotations"] = [
            {
                **first,
                "id": n + 1,
                "segmentation": rle(box(60, 90, n // 10, n % 10, 8)),
                "stability_score": 0.98 if n in (7, 50) else 0.9,
                "predicted_iou": 0.95,
            }
            for n in range(110)
        ]
        content["annotations"][3]["segmentation"] = rle(np.zeros((60, 90), bool))

    edit(root, many)
    rows, conversion = converted(Sa1bConverter(root), tmp_path / "out")
    row = rows["sa_1b/train/sa_10#0"]
    assert len(row.entities) == 109 == len(row.meta["stability_score"])
    clip = clips_of(tmp_path / "out", conversion, "sot")[0]
    assert sorted(clip.entity_ids.tolist()) == [8, 51]


def test_pictures_are_reduced_by_option(root, tmp_path):
    rows, conversion = converted(Sa1bConverter(root, short_side=30), tmp_path / "out")
    row = rows["sa_1b/train/sa_10#0"]
    assert (row.height, row.width) == (30, 45) and row.meta["source_size"] == [60, 90]
    assert (rows["sa_1b/train/sa_2#0"].height, rows["sa_1b/train/sa_2#0"].width) == (45, 30)
    with PIL.Image.open(io.BytesIO(row.frame_bytes(0).to_pybytes())) as image:
        assert image.format == "JPEG" and image.size == (45, 30)
    masks = masks_of(row)
    # The middle of a pixel of the half size is a corner of four pixels; the lower right one is nearest by rounding.
    assert all((masks[number] == mask[1::2, 1::2]).all() for number, mask in zip(IDS, MASKS, strict=True))
    assert told(conversion) == []
    clips_of(tmp_path / "out", conversion, "sot")


def test_masks_that_vanish_take_their_quality_with_them(root, tmp_path):
    speck = np.zeros((60, 90), bool)
    speck[0, 0] = True
    edit(root, lambda content: content["annotations"][1].update(segmentation=rle(speck)))
    rows, conversion = converted(Sa1bConverter(root, short_side=20), tmp_path / "out")
    row = rows["sa_1b/train/sa_10#0"]
    assert row.entities.ids.tolist() == [IDS[0], IDS[2]]
    assert row.meta["stability_score"] == pytest.approx([0.95, 0.97])
    assert left_out(conversion) == {"objects whose mask covers no pixel": 1}


@pytest.mark.parametrize("folders", [("annotations", "images"), (".", "."), ("sa_000001", "sa_000001")])
def test_other_arrangements(folders, tmp_path):
    root = write_sa_1b(tmp_path / "sa_1b", *folders)
    rows, conversion = converted(Sa1bConverter(root), tmp_path / "out")
    assert list(rows) == ["sa_1b/train/sa_10#0", "sa_1b/train/sa_2#0"] and told(conversion) == []


@pytest.mark.parametrize("form", ["json", "txt"])
def test_a_part_by_list(form, root, tmp_path):
    names = ["sa_000000/sa_2.json", "sa_77.json"] if form == "json" else ["sa_2", "sa_77"]
    (root / f"part.{form}").write_text(json.dumps(names) if form == "json" else "\n".join(names) + "\n")
    rows, conversion = converted(Sa1bConverter(root, subset=f"part.{form}"), tmp_path / "out")
    assert list(rows) == ["sa_1b/train/sa_2#0"]
    assert told(conversion) == [("missing_file", "video")]
    assert "sa_77" in conversion.splits[0].log.damages[0].reason


def test_archives_are_to_be_unpacked(tmp_path):
    (tmp_path / "sa_000000.tar").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="Unpack"):
        list(Sa1bConverter(tmp_path).items("train", ConversionLog()))


def damaged(name, root):
    def annotation(**change):
        edit(root, lambda content: content["annotations"][1].update(change))

    if name == "missing picture":
        (root / "sa_000000/sa_10.jpg").unlink()
    elif name == "truncated picture":
        truncate(root / "sa_000000/sa_10.jpg")
    elif name == "picture of another size":
        picture(root / "sa_000000/sa_10.jpg", (90, 60), 5)
    elif name == "truncated annotations":
        truncate(root / "sa_000000/sa_10.json")
    elif name == "no picture in the record":
        edit(root, lambda content: content.pop("image"))
    elif name == "broken run lengths":
        annotation(segmentation={"size": [60, 90], "counts": "abc"})
    elif name == "mask of another size":
        annotation(segmentation=rle(box(90, 60, 1, 1)))
    elif name == "no quality":
        annotation(stability_score=None)
    elif name == "annotation of another kind":
        edit(root, lambda content: content["annotations"].insert(1, content["annotations"].pop(1)["id"]))


CASES = {
    "missing picture": ("missing_file", "video", "sa_10.jpg"),
    "truncated picture": ("unreadable_file", "video", "sa_10.jpg"),
    "picture of another size": ("size_mismatch", "video", "sa_10.jpg"),
    "truncated annotations": ("unreadable_file", "video", "sa_10.json"),
    "no picture in the record": ("bad_record", "video", "sa_10.json"),
    "broken run lengths": ("bad_annotation", "object", "sa_10.json"),
    "mask of another size": ("bad_annotation", "object", "sa_10.json"),
    "no quality": ("bad_record", "object", "sa_10.json"),
    "annotation of another kind": ("bad_record", "object", "sa_10.json"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    kind, lost, file = CASES[name]
    damaged(name, root)
    rows, conversion = converted(Sa1bConverter(root), tmp_path / "out")
    assert told(conversion) == [(kind, lost)]
    assert conversion.splits[0].log.damages[0].path.endswith(file)
    assert "sa_1b/train/sa_2#0" in rows
    row = rows.get("sa_1b/train/sa_10#0")
    if lost == "video":
        assert row is None
    else:
        assert row.entities.ids.tolist() == [IDS[0], IDS[2]]
        assert row.meta["stability_score"] == pytest.approx([0.95, 0.97])
    with pytest.raises(DamageError, match=file):
        converted(Sa1bConverter(root), tmp_path / "fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))
