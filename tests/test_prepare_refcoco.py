# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""RefCOCO, RefCOCO+ and RefCOCOg -> one row per picture -> clips, and their traps."""

import json
import pickle

import pytest
from image_miniatures import (
    clip_masks,
    clips_of,
    converted,
    left_out,
    masks_of,
    picture,
    refcoco_records,
    square,
    told,
    truncate,
    write_refcoco,
)
from mini_datasets import box

from univs_hf.data.layouts.refcoco import read_plain_pickle
from univs_hf.data.prepare.conversion_log import ConversionLog, DamageError
from univs_hf.data.prepare.refcoco import RefCocoConverter


@pytest.fixture
def root(tmp_path):
    return write_refcoco(tmp_path / "refcoco")


def convert_all(root, tmp_path, split="train", folder="out", options=None, **settings):
    converter = RefCocoConverter(root, **{"min_long_side": 0, **(options or {})})
    return converted(converter, tmp_path / folder, split, **settings)


def sentences(row):
    return [(int(row.entities.ids[item.entity]), item.text) for item in row.expressions]


def test_the_three_sets_are_one_row_per_picture(root, tmp_path):
    rows, conversion = convert_all(root, tmp_path)
    assert list(rows) == [f"refcoco/train/{number}#0" for number in (11, 12, 14)]
    row = rows["refcoco/train/11#0"]
    # All sentences of all sets, as they were written; several of one object. Objects without one are not there.
    assert sentences(row) == [
        (500, "the left box"),
        (500, "box with a  dent"),
        (501, "big one"),
        (500, "dented box"),
        (501, "a large box that lies on the ground"),
    ]
    assert row.entities.ids.tolist() == [500, 501]
    # The sets number their sentences alike; in a row each has a number of its own.
    assert [item.id for item in row.expressions] == [0, 1, 2, 3, 4]
    assert row.meta["expression_sources"] == [
        ["refcoco", 0, 0],
        ["refcoco", 0, 1],
        ["refcoco", 1, 2],
        ["refcoco+", 0, 0],
        ["refcocog", 7, 1],
    ]
    assert row.meta["image_id"] == 11
    assert row.tasks == ("grounding",) and row.category_set == ""
    assert row.entities.categories.tolist() == [-1, -1]
    masks = masks_of(row)
    assert (masks[500] == (box(48, 64, 4, 6, 10) | box(48, 64, 20, 30, 8))).all()
    assert (masks[501] == box(48, 64, 8, 10, 10)).all()
    assert told(conversion) == []
    assert conversion.splits[0].counts.expressions == 7


def test_splits_are_those_of_each_set(root, tmp_path):
    for split, expected in {
        "val": {12: [(510, "lower thing")]},
        "testA": {13: [(520, "man")]},
        "test": {13: [(520, "a man who waits")]},
    }.items():
        rows, _ = convert_all(root, tmp_path, split, split)
        assert {key: sentences(row) for key, row in rows.items()} == {
            f"refcoco/{split}/{number}#0": told for number, told in expected.items()
        }
    with pytest.raises(FileNotFoundError, match="no references of split 'testB'"):
        list(RefCocoConverter(root).items("testB", ConversionLog()))


def test_crowds_have_uncompressed_masks_and_are_marked(root, tmp_path):
    rows, _ = convert_all(root, tmp_path)
    row = rows["refcoco/train/14#0"]
    assert row.entities.is_crowd.tolist() == [True]
    assert (masks_of(row)[530] == box(46, 46, 10, 10, 20)).all()


def test_clips_have_sentences_of_their_objects(root, tmp_path):
    _, conversion = convert_all(root, tmp_path, options={"sets": "refcoco,refcoco+"})
    clip = clips_of(tmp_path / "out", conversion, "grounding")[0]
    assert clip.expressions == ("the left box", "box with a  dent", "big one", "dented box")
    masks = clip_masks(clip)
    of_sentence = [int(clip.entity_ids[row]) for row in clip.expression_rows]
    assert of_sentence == [500, 500, 501, 500]
    assert (masks[501] == box(48, 64, 8, 10, 10)).all()


def test_options_choose_sets_and_pictures(root, tmp_path):
    rows, _ = convert_all(root, tmp_path, folder="one", options={"sets": "refcoco+"})
    assert [sentences(row) for row in rows.values()] == [[(500, "dented box")], [(510, "grey thing")]]
    # Picture 12 is for training in RefCOCO+ and for validation in RefCOCO.
    rows, conversion = convert_all(root, tmp_path, folder="two", options={"exclude_evaluation": True})
    assert list(rows) == ["refcoco/train/11#0", "refcoco/train/14#0"]
    assert left_out(conversion) == {"training pictures that are in an evaluation split of a set": 1}
    rows, conversion = convert_all(root, tmp_path, folder="three", options={"min_long_side": 46})
    assert list(rows) == ["refcoco/train/11#0", "refcoco/train/14#0"]
    assert left_out(conversion) == {"pictures with a long side below 46 pixels": 1}
    log = ConversionLog()
    assert list(RefCocoConverter(root).items("train", log)) == []
    assert log.left_out == {"pictures with a long side below 360 pixels": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sets": "refcoco,flickr"}, "`sets`"),
        ({"sets": ""}, "`sets`"),
        ({"refcocog_division": "unc"}, "division of refcocog"),
    ],
)
def test_options_are_checked(root, options, message):
    with pytest.raises(ValueError, match=message):
        RefCocoConverter(root, **options)


def test_google_division_reads_its_own_file(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"refs\(google\)\.p"):
        list(RefCocoConverter(root, refcocog_division="google").items("train", ConversionLog()))
    (root / "refcocog/refs(umd).p").rename(root / "refcocog/refs(google).p")
    rows, _ = convert_all(root, tmp_path, options={"sets": "refcocog", "refcocog_division": "google"})
    assert list(rows) == ["refcoco/train/11#0", "refcoco/train/14#0"]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_something_is_refused(root, tmp_path, protocol):
    victim = tmp_path / "victim"
    records = [*refcoco_records("refcoco"), Evil(victim)]
    path = root / "refcoco/refs(unc).p"
    path.write_bytes(pickle.dumps(records, protocol=protocol))
    with pytest.raises(ValueError, match="plain values") as error:
        list(RefCocoConverter(root).items("train", ConversionLog()))
    assert str(path) in str(error.value) and not victim.exists()
    # The pickle does what it is made for when it is read without care.
    pickle.loads(path.read_bytes())
    assert victim.exists()


def test_pickles_of_python_2_have_byte_strings(tmp_path):
    path = tmp_path / "refs.p"
    # `[{'sent': 'caf\xe9', u'other': u'\u20ac'}]` as Python 2 writes it, protocol 0.
    path.write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'caf\\xe9'\np3\nsVother\np4\nV\\u20ac\np5\nsa.")
    assert read_plain_pickle(path) == [{"sent": "café", "other": "€"}]
    path.write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'caf\\xc3\\xa9'\np3\nsa.")
    assert read_plain_pickle(path) == [{"sent": "café"}]


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x02]q\x00(K\x01"])
def test_broken_pickles_are_named(tmp_path, content):
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(ValueError, match=r"refs\.p is no pickle"):
        read_plain_pickle(tmp_path / "refs.p")


def change_records(root, name, change):
    records = refcoco_records(name)
    change(records)
    division = "umd" if name == "refcocog" else "unc"
    (root / name / f"refs({division}).p").write_bytes(pickle.dumps(records, protocol=2))


def change_instances(root, name, change):
    path = root / name / "instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def damaged(name, root):
    file = root / "images/mscoco/images/train2014/COCO_train2014_000000000012.jpg"
    if name == "missing picture":
        file.unlink()
    elif name == "truncated picture":
        truncate(file)
    elif name == "picture of another size":
        picture(file, (44, 40), 3)
    elif name == "picture without a record":
        change_instances(root, "refcoco+", lambda content: content["images"].pop(1))
    elif name == "missing annotation":
        change_instances(root, "refcoco+", lambda content: content["annotations"].pop())
    elif name == "annotation of another picture":
        change_instances(root, "refcoco+", lambda content: content["annotations"][-1].update(image_id=11))
    elif name == "broken mask":
        change_instances(root, "refcoco+", lambda content: content["annotations"][-1].update(segmentation=[[1.0]]))
    elif name == "no text":
        change_records(root, "refcoco+", lambda records: records[1]["sentences"][0].update(sent="  "))
    elif name == "reference without an annotation":
        change_records(root, "refcoco+", lambda records: records[1].pop("ann_id"))
    elif name == "reference of another kind":
        change_records(root, "refcoco+", lambda records: records.insert(0, 5))


# What is told, and whether the only sentence about picture 12 is still there.
CASES = {
    "missing picture": (("missing_file", "video"), False),
    "truncated picture": (("unreadable_file", "video"), False),
    "picture of another size": (("size_mismatch", "video"), False),
    "picture without a record": (("bad_record", "video"), False),
    "missing annotation": (("bad_record", "object"), False),
    "annotation of another picture": (("bad_record", "object"), False),
    "broken mask": (("bad_annotation", "object"), False),
    "no text": (("bad_annotation", "expression"), False),
    "reference without an annotation": (("bad_record", "object"), False),
    "reference of another kind": (("bad_record", "object"), True),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_with_its_path_and_skipped_or_fatal(name, root, tmp_path):
    expected, is_there = CASES[name]
    damaged(name, root)
    rows, conversion = convert_all(root, tmp_path)
    assert told(conversion) == [expected]
    assert str(root) in conversion.splits[0].log.damages[0].path
    assert ("refcoco/train/12#0" in rows) == is_there
    assert len(rows["refcoco/train/11#0"].expressions) == 5
    with pytest.raises(DamageError):
        convert_all(root, tmp_path, folder="fatal", on_damage="fail")
    assert not list((tmp_path / "fatal").rglob("*.parquet"))


def test_the_other_sentences_of_a_picture_stay(root, tmp_path):
    change_instances(
        root, "refcoco", lambda content: content["annotations"][1].update(segmentation=[square(999, 0, 5)])
    )
    rows, conversion = convert_all(root, tmp_path)
    assert sentences(rows["refcoco/train/11#0"]) == [
        (500, "the left box"),
        (500, "box with a  dent"),
        (500, "dented box"),
    ]
    assert told(conversion) == [("bad_annotation", "object")]
