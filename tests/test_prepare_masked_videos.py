# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""DAVIS, YouTube-VOS, MOSE, VIPOSeg, VSPW, the referring sets and own folders, from miniatures of their layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
from mask_benchmark_miniatures import (
    VOID,
    save_frames,
    save_labels,
    tiny_video,
    write_davis,
    write_mose,
    write_ref_davis,
    write_ref_davis_converted,
    write_ref_ytvos,
    write_viposeg,
    write_ytvos,
)
from mini_datasets import VSPW_VIDEOS, vspw_labels, write_vspw
from PIL import Image
from prepared_rows import clips, label_maps, prepare, rows_by_key

from univs_hf.data.prepare.conversion_log import DamageError
from univs_hf.label_sets import load_label_set


def one(conversion):
    (report,) = conversion.splits
    return report


def damages(report, root: Path) -> set[tuple[str, str, str]]:
    return {
        (Path(damage.path).relative_to(root).as_posix(), damage.kind, damage.lost) for damage in report.log.damages
    }


def relabelled(video, values: dict[int, int]):
    """The video with other ids."""
    labels = np.zeros_like(video.labels)
    for before, after in values.items():
        labels[video.labels == before] = after
    video.labels[:] = labels
    return video


# --- DAVIS


def test_davis17(tmp_path):
    videos = {video.name: video for video in write_davis(tmp_path / "source")}
    report = one(prepare("davis17", tmp_path / "source", tmp_path / "out", ["val"]))
    rows = rows_by_key(tmp_path / "out", "val")
    assert sorted(rows) == ["davis17/val/bear#0", "davis17/val/camel#0"] and not report.log.damages
    for key, row in rows.items():
        video = videos[key.split("/")[2].split("#")[0]]
        assert np.array_equal(label_maps(row), np.where(video.labels == VOID, 0, video.labels))
        assert row.time_index.tolist() == list(range(len(video.names))) and row.fps == 24
        assert (
            row.tasks == ("sot",)
            and row.category_set == ""
            and row.entities.categories.tolist() == [-1] * len(video.ids)
        )
    assert {clip.dataset for clip in clips(tmp_path / "out", "val", "sot")} == {"davis17"}


def test_davis17_at_full_resolution_and_without_masks(tmp_path):
    write_davis(tmp_path / "source" / "DAVIS")
    options = {"resolution": "Full-Resolution"}
    prepare("davis17", tmp_path / "source", tmp_path / "out", ["test-dev"], options=options)
    (row,) = rows_by_key(tmp_path / "out", "test_dev").values()
    # The masks of the first frame are there, but teach nothing.
    assert row.key == "davis17/test-dev/hidden#0" and row.tasks == () and row.num_frames == 4
    assert np.diff(row.mask_offsets).tolist() == [3, 0, 0, 0]
    with pytest.raises(ValueError, match="`resolution` must be one of"):
        prepare("davis17", tmp_path / "source", tmp_path / "b", ["val"], options={"resolution": "720p"})


@pytest.mark.parametrize("form", ["2016", "2017"])
def test_davis16(tmp_path, form):
    root = tmp_path / "DAVIS"
    video = tiny_video("bear", 4, [0, 1])
    save_frames(root / "JPEGImages" / "480p" / "bear", video)
    (root / "ImageSets" / ("480p" if form == "2016" else "2016")).mkdir(parents=True)
    if form == "2016":
        # One grey value, which elsewhere is nobody's.
        relabelled(video, {1: 255, 2: 255})
        folder = root / "Annotations" / "480p" / "bear"
        folder.mkdir(parents=True)
        for name, labels in zip(video.names, video.labels, strict=True):
            Image.fromarray(labels).save(folder / f"{name}.png")
        lines = [f"/JPEGImages/480p/bear/{name}.jpg /Annotations/480p/bear/{name}.png" for name in video.names]
        (root / "ImageSets" / "480p" / "train.txt").write_text("\n".join(lines) + "\n")
    else:
        save_labels(root / "Annotations" / "480p" / "bear", video)
        (root / "ImageSets" / "2016" / "train.txt").write_text("bear\n")
    prepare("davis16", tmp_path, tmp_path / "out", ["train"])
    (row,) = rows_by_key(tmp_path / "out", "train").values()
    assert np.array_equal(label_maps(row) == 1, video.labels != 0) and row.entities.ids.tolist() == [1]
    assert clips(tmp_path / "out", "train", "sot")[0].num_entities == 1


# --- YouTube-VOS


def write_ytvos_train(root: Path):
    """Objects 1 and 3, the second of which appears late."""
    videos = [
        relabelled(tiny_video("003234408d", 6, [0, 3], step=5), {1: 1, 2: 3}),
        tiny_video("0062f687f1", 5, [0, 0], step=5),
    ]
    meta = {}
    for video in videos:
        save_frames(root / "train" / "JPEGImages" / video.name, video)
        save_labels(root / "train" / "Annotations" / video.name, video)
        meta[video.name] = {"objects": {str(i): {"category": f"kind {i}", "frames": video.names} for i in video.ids}}
    (root / "train" / "meta.json").write_text(json.dumps({"videos": meta}))
    return videos


@pytest.mark.parametrize("name", ["ytvos18", "ytvos19"])
def test_youtube_vos(tmp_path, name):
    videos = {video.name: video for video in write_ytvos_train(tmp_path / "source")}
    report = one(prepare(name, tmp_path / "source", tmp_path / "out"))
    rows = rows_by_key(tmp_path / "out", "train")
    for video_id, video in videos.items():
        row = rows[f"{name}/train/{video_id}#0"]
        assert np.array_equal(label_maps(row), video.labels)
        assert row.time_index.tolist() == [int(number) for number in video.names] and row.fps == 30
        assert row.meta["categories"] == {str(i): f"kind {i}" for i in video.ids} and row.tasks == ("sot",)
    assert rows[f"{name}/train/003234408d#0"].entities.ids.tolist() == [1, 3]
    assert (report.counts.objects, report.counts.frames, report.log.damages) == (4, 11, [])
    assert clips(tmp_path / "out", "train", "sot", 6)


def test_objects_that_the_list_and_the_masks_do_not_share(tmp_path):
    write_ytvos_train(tmp_path / "source")
    meta = tmp_path / "source" / "train" / "meta.json"
    content = json.loads(meta.read_text())
    objects = content["videos"]["003234408d"]["objects"]
    objects["2"] = objects.pop("3")
    meta.write_text(json.dumps(content))
    report = one(prepare("ytvos18", tmp_path / "source", tmp_path / "out"))
    assert damages(report, tmp_path / "source" / "train") == {
        ("Annotations/003234408d/00015.png", "bad_annotation", "object"),
        ("meta.json", "bad_annotation", "object"),
    }
    # Once per object, not per frame.
    assert len(report.log.damages) == 2
    assert rows_by_key(tmp_path / "out", "train")["ytvos18/train/003234408d#0"].entities.ids.tolist() == [1]


def test_the_validation_set_has_first_masks_only(tmp_path):
    videos = {video.name: video for video in write_ytvos(tmp_path / "source")}
    report = one(prepare("ytvos18", tmp_path / "source", tmp_path / "out", ["valid"]))
    row = rows_by_key(tmp_path / "out", "valid")["ytvos18/valid/003234408d#0"]
    assert row.tasks == () and row.num_frames == 6 and not report.log.damages
    video = videos["003234408d"]
    assert np.diff(row.mask_offsets).tolist() == [1, 0, 1, 0, 0, 0]
    assert np.array_equal(label_maps(row)[2] == 2, video.labels[2] == 2)


# --- Ref-YouTube-VOS


def test_ref_youtube_vos(tmp_path):
    videos = {video.name: video for video in write_ref_ytvos(tmp_path / "source")}
    report = one(prepare("ref_ytvos", tmp_path / "source", tmp_path / "out", options={"min_seen_frames": 0}))
    rows = rows_by_key(tmp_path / "out", "train")
    row = rows["ref_ytvos/train/003234408d#0"]
    # Three expressions, two of them about one object; each points to its own.
    assert [(e.id, row.entities[e.entity].id, e.text) for e in row.expressions] == [
        (0, 1, "the box that is number a"),
        (1, 2, "the box that is number b"),
        (2, 1, "the box that is number a"),
    ]
    assert np.array_equal(label_maps(row), videos["003234408d"].labels)
    assert row.tasks == ("sot", "grounding") and report.counts.expressions == 5
    for clip in clips(tmp_path / "out", "train", "grounding", 6):
        assert clip.expressions and len(clip.expressions) == len(clip.expression_rows)


def test_expressions_about_nothing_and_about_what_is_rarely_seen(tmp_path):
    videos = write_ref_ytvos(tmp_path / "source")
    # The second object of the first video is seen twice in four frames, another never.
    videos[0].labels[2:][videos[0].labels[2:] == 2] = 0
    save_labels(tmp_path / "source" / "train" / "Annotations" / videos[0].name, videos[0])
    path = tmp_path / "source" / "meta_expressions" / "train" / "meta_expressions.json"
    content = json.loads(path.read_text())
    expressions = content["videos"][videos[0].name]["expressions"]
    expressions["3"] = {"exp": "a ghost", "obj_id": "9"}
    expressions["4"] = {"exp": "something"}
    expressions["5"] = {"exp": " ", "obj_id": "1"}
    path.write_text(json.dumps(content))
    report = one(prepare("ref_ytvos", tmp_path / "source", tmp_path / "out", options={"min_seen_frames": 3}))
    row = rows_by_key(tmp_path / "out", "train")["ref_ytvos/train/003234408d#0"]
    assert [expression.id for expression in row.expressions] == [0, 2]
    # The object stays for those who follow objects.
    assert row.entities.ids.tolist() == [1, 2]
    assert report.log.left_out == {"expressions about objects seen in fewer than 3 frames": 1}
    assert sorted((d.kind, d.lost, d.where[-12:]) for d in report.log.damages) == [
        ("bad_annotation", "expression", "expression 3"),
        ("bad_annotation", "expression", "expression 5"),
        ("bad_record", "expression", "expression 4"),
    ]
    assert all(damage.path == str(path) for damage in report.log.damages)


def test_expressions_of_the_validation_set_are_kept_without_objects(tmp_path):
    write_ref_ytvos(tmp_path / "source")
    prepare("ref_ytvos", tmp_path / "source", tmp_path / "out", ["valid"])
    rows = rows_by_key(tmp_path / "out", "valid")
    assert len(rows) == 2
    row = rows["ref_ytvos/valid/0062f687f1#0"]
    assert row.expressions == () and row.tasks == () and len(row.entities) == 0
    assert row.meta["expressions"] == {"0": "the box that is number a", "1": "the box that is number a"}


@pytest.mark.parametrize("write", [write_ref_davis, write_ref_davis_converted])
def test_ref_davis(tmp_path, write):
    videos = {video.name: video for video in write(tmp_path / "source")}
    report = one(prepare("ref_davis", tmp_path / "source", tmp_path / "out", ["val"]))
    row = rows_by_key(tmp_path / "out", "val")["ref_davis/val/bear#0"]
    assert np.array_equal(label_maps(row), videos["bear"].labels) and not report.log.damages
    told = {(e.id, row.entities[e.entity].id, row.meta["annotators"][str(e.id)]) for e in row.expressions}
    assert told == {(4 * n + a, n + 1, a) for n in range(2) for a in range(4)}
    assert all(f"annotator {row.meta['annotators'][str(e.id)]}" in e.text for e in row.expressions)
    assert clips(tmp_path / "out", "val", "grounding")[0].expressions


# --- MOSE, VIPOSeg, VSPW


def test_mose(tmp_path):
    root = tmp_path / "source"
    videos = [
        relabelled(tiny_video("0a1b2c3d", 6, [0, 2]), {1: 7, 2: 40}),
        tiny_video("4e5f6a7b", 5, [0]),
        tiny_video("ffff0000", 7, []),
    ]
    for video in videos:
        save_frames(root / "train" / "JPEGImages" / video.name, video)
        save_labels(root / "train" / "Annotations" / video.name, video)
    report = one(prepare("mose", root, tmp_path / "out"))
    (row,) = rows_by_key(tmp_path / "out", "train").values()
    assert row.entities.ids.tolist() == [7, 40] and np.array_equal(label_maps(row), videos[0].labels)
    assert report.log.left_out == {"videos of fewer than 6 frames": 1, "rows in which no object is seen": 1}
    assert (report.listed, report.counts.items) == (3, 1)
    assert clips(tmp_path / "out", "train", "sot")


def test_mose_lists_videos_of_which_a_half_is_missing(tmp_path):
    write_mose(tmp_path / "source")
    for kind, name in (("JPEGImages", "0a1b2c3d"), ("Annotations", "4e5f6a7b")):
        folder = tmp_path / "source" / "train" / kind / name
        folder.rename(tmp_path / f"{kind}-elsewhere")
    options = {"min_frames": 0}
    with pytest.raises(DamageError, match="JPEGImages/0a1b2c3d: does not exist"):
        prepare("mose", tmp_path / "source", tmp_path / "out", options=options, on_damage="fail")
    report = one(prepare("mose", tmp_path / "source", tmp_path / "out", options=options))
    assert damages(report, tmp_path / "source" / "train") == {
        ("JPEGImages/0a1b2c3d", "missing_file", "video"),
        ("Annotations/4e5f6a7b", "missing_file", "video"),
    }


def test_viposeg(tmp_path):
    videos = {video.name: video for video in write_viposeg(tmp_path / "source")}
    report = one(prepare("viposeg", tmp_path / "source", tmp_path / "out", ["valid"]))
    row = rows_by_key(tmp_path / "out", "valid")["viposeg/valid/0_abc#0"]
    assert np.array_equal(label_maps(row), videos["0_abc"].labels) and not report.log.damages
    assert row.category_set == "vipseg" and row.entities.categories.tolist() == [60, 120, 28]
    assert row.entities.is_thing.tolist() == [bool(load_label_set("vipseg")[i].is_thing) for i in (60, 120, 28)]
    assert row.entities.is_thing.tolist() == [True, False, False]
    assert clips(tmp_path / "out", "valid", "sot")


def test_viposeg_with_unknown_classes_and_videos(tmp_path):
    write_viposeg(tmp_path / "source")
    path = tmp_path / "source" / "valid" / "obj_class.json"
    path.write_text(json.dumps({"0_abc": {"1": 60, "2": 124, "3": 28}}))
    report = one(prepare("viposeg", tmp_path / "source", tmp_path / "out", ["valid"]))
    assert {(d.kind, d.lost) for d in report.log.damages if d.path == str(path)} == {
        ("unknown_category", "object"),
        ("bad_record", "video"),
    }
    (row,) = rows_by_key(tmp_path / "out", "valid").values()
    assert row.entities.ids.tolist() == [1, 3]
    with pytest.raises(DamageError, match="obj_class.json"):
        prepare("viposeg", tmp_path / "source", tmp_path / "b", ["valid"], on_damage="fail")


def test_vspw(tmp_path):
    write_vspw(tmp_path / "source")
    report = one(prepare("vspw", tmp_path / "source", tmp_path / "out", ["val"]))
    rows = rows_by_key(tmp_path / "out", "val")
    for name, length, height, width in VSPW_VIDEOS:
        row = rows[f"vspw/val/{name}#0"]
        expected = np.stack([vspw_labels(frame, height, width) for frame in range(length)])
        expected[expected == 255] = 0
        assert np.array_equal(label_maps(row), expected)
        assert row.entities.categories.tolist() == [value - 1 for value in (15, 29, 61, 124)]
        assert row.category_set == "vipseg" and row.exhaustive and row.tasks == () and not row.entities.is_thing.any()
    assert not report.log.damages


def test_vspw_with_a_class_that_does_not_exist(tmp_path):
    write_vspw(tmp_path / "source")
    path = tmp_path / "source" / "data" / "10_a" / "mask" / "00000002.png"
    labels = vspw_labels(0, *VSPW_VIDEOS[1][2:])
    labels[:5] = 200
    Image.fromarray(labels).save(path)
    report = one(prepare("vspw", tmp_path / "source", tmp_path / "out", ["val"]))
    assert [(d.path, d.kind) for d in report.log.damages] == [(str(path), "unknown_category")]
    assert "shows 200" in report.log.damages[0].reason


# --- own folders


def test_own_folders_with_objects_and_expressions(tmp_path):
    source = tmp_path / "source"
    for split, names in (("train", ["a", "b"]), ("test", ["c"])):
        for name in names:
            video = relabelled(tiny_video(name, 11, [0, 1]), {1: 3, 2: 255})
            # Names without leading zeros.
            video.names[:] = [f"frame{number}" for number in range(11)]
            save_frames(source / split / "frames" / name, video)
            save_labels(source / split / "masks" / name, video)
    objects = {
        "a": {
            "3": {"category": "Person", "expressions": ["the box", "a box"]},
            "255": {"category": "dragon"},
        }
    }
    (source / "train" / "objects.json").write_text(json.dumps(objects))
    options = {"name": "my_boxes", "category_set": "ytvis21", "void": -1}
    conversion = prepare("mask_folder", source, tmp_path / "out", ["train", "test"], options=options)
    assert [(d.kind, d.where) for d in conversion.splits[0].log.damages] == [
        ("unknown_category", "video a, object 255"),
        ("bad_annotation", "video a"),
    ]
    rows = rows_by_key(tmp_path / "out", "train")
    row = rows["my_boxes/train/a#0"]
    video = relabelled(tiny_video("a", 11, [0, 1]), {1: 3, 2: 255})
    assert row.time_index.tolist() == list(range(11)) and row.dataset == "my_boxes"
    assert np.array_equal(label_maps(row), np.where(video.labels == 3, 3, 0))
    assert load_label_set("ytvis21")[int(row.entities.categories[0])].label.lower() == "person"
    assert [(e.entity, e.text) for e in row.expressions] == [(0, "the box"), (0, "a box")]
    assert row.tasks == ("sot", "detection", "grounding")
    assert rows["my_boxes/train/b#0"].entities.ids.tolist() == [3, 255]
    assert rows["my_boxes/train/b#0"].tasks == ("sot", "detection")
    assert list(rows_by_key(tmp_path / "out", "test")) == ["my_boxes/test/c#0"]
    assert clips(tmp_path / "out", "train", "sot")


def test_own_folders_with_lists_and_few_masks(tmp_path):
    source = tmp_path / "source"
    for name in "abc":
        video = tiny_video(name, 4, [0])
        save_frames(source / "images" / name, video)
        save_labels(source / "Annotations" / name, video, [0, 2])
    (source / "small.txt").write_text("c\na\n")
    prepare("mask_folder", source, tmp_path / "out", ["small"], options={"labelled": "some"})
    rows = rows_by_key(tmp_path / "out", "small")
    assert sorted(rows) == ["mask_folder/small/a#0", "mask_folder/small/c#0"]
    assert all(np.diff(row.mask_offsets).tolist() == [1, 0, 1, 0] and row.tasks == () for row in rows.values())
    # Where all frames should have masks, the others are damaged.
    report = one(prepare("mask_folder", source, tmp_path / "all", ["small"]))
    assert report.lost == {"frame": 4} and report.counts.frames == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labelled": "none"}, "`labelled`"),
        ({"name": "my boxes"}, "`name`"),
        ({"category_set": "pokemon"}, "`category_set`"),
        ({"images": "nowhere"}, "nowhere"),
    ],
)
def test_own_folders_with_wrong_options(tmp_path, options, message):
    (tmp_path / "Annotations").mkdir()
    with pytest.raises((ValueError, OSError), match=message):
        prepare("mask_folder", tmp_path, tmp_path / "out", options=options)
