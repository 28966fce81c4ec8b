# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VIS, OVIS, BURST and VIPSeg, from miniatures of their layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
from mini_datasets import (
    BURST_STEP,
    VIPSEG_VIDEOS,
    box,
    burst_sequences,
    rle,
    vipseg_values,
    write_burst,
    write_json,
    write_vipseg_converted,
    write_vipseg_downloaded,
    write_youtube_vis,
    youtube_vis_content,
)
from PIL import Image
from prepared_rows import clips, label_maps, masks_by_entity, prepare, rows_by_key

from univs_hf.data.prepare.conversion_log import DamageError
from univs_hf.label_sets import load_label_set
from univs_hf.rle import decode_mask


def one(conversion):
    (report,) = conversion.splits
    return report


def found(report) -> list[tuple[str, str, str]]:
    return sorted((damage.kind, damage.lost, damage.where) for damage in report.log.damages)


# --- YouTube-VIS and OVIS

PLACES = {
    "ytvis19": ("ytvis19", "train.json", "train/JPEGImages", 30),
    "ytvis21": ("ytvis21", "train/instances.json", "train/JPEGImages", 30),
    "ytvis22": ("ytvis21", "train/instances.json", "train/JPEGImages", 30),
    "ovis": ("ovis", "annotations_train.json", "train", 0),
}


@pytest.mark.parametrize("name", PLACES)
def test_youtube_vis(tmp_path, name):
    label_set, file, images, fps = PLACES[name]
    content = write_youtube_vis(tmp_path / "source", label_set, file, images)
    report = one(prepare(name, tmp_path / "source", tmp_path / "out"))
    rows = rows_by_key(tmp_path / "out", "train")
    assert not report.log.damages and report.counts.objects == len(content["annotations"]) == 4
    for video in content["videos"]:
        row = rows[f"{name}/train/{video['id']}#0"]
        annotations = [a for a in content["annotations"] if a["video_id"] == video["id"]]
        masks = masks_by_entity(row)
        for annotation in annotations:
            expected = {
                frame: decode_mask(segmentation)
                for frame, segmentation in enumerate(annotation["segmentations"])
                if segmentation is not None
            }
            assert masks[annotation["id"]].keys() == expected.keys()
            assert all(np.array_equal(masks[annotation["id"]][frame], mask) for frame, mask in expected.items())
        # Ids of the miniature begin at 1.
        assert row.entities.categories.tolist() == [a["category_id"] - 1 for a in annotations]
        assert row.category_set == label_set and row.entities.is_thing.all() and row.tasks == ("detection", "sot")
        assert row.time_index.tolist() == [5 * frame for frame in range(video["length"])] and row.fps == fps
        assert not row.exhaustive and row.meta["name"] == video["file_names"][0].split("/")[0]
    for task in ("detection", "sot"):
        assert clips(tmp_path / "out", "train", task, 4)


def test_categories_are_known_by_name(tmp_path):
    """Numbers with gaps and in another order."""
    content = write_youtube_vis(tmp_path / "source", "ytvis21", "train.json", "train/JPEGImages")
    numbers = {category["id"]: 1000 - 7 * category["id"] for category in content["categories"]}
    for category in content["categories"]:
        category["id"] = numbers[category["id"]]
    for annotation in content["annotations"]:
        annotation["category_id"] = numbers[annotation["category_id"]]
    # Annotations before videos, categories last.
    write_json(tmp_path / "source" / "train.json", dict(sorted(content.items())[:1] + sorted(content.items())[::-1]))
    prepare("ytvis21", tmp_path / "source", tmp_path / "out")
    expected = [a["category_id"] - 1 for a in youtube_vis_content("ytvis21")["annotations"] if a["video_id"] == 12]
    assert rows_by_key(tmp_path / "out", "train")["ytvis21/train/12#0"].entities.categories.tolist() == expected


def test_another_dataset_is_not_taken_for_this_one(tmp_path):
    write_youtube_vis(tmp_path / "source", "ovis", "train.json", "train/JPEGImages")
    with pytest.raises(ValueError, match="it is of another dataset"):
        prepare("ytvis19", tmp_path / "source", tmp_path / "out")


def test_splits_without_annotations(tmp_path):
    write_youtube_vis(tmp_path / "source", "ytvis21", "valid.json", "valid/JPEGImages", annotated=False)
    report = one(prepare("ytvis21", tmp_path / "source", tmp_path / "out", ["valid"]))
    rows = rows_by_key(tmp_path / "out", "valid")
    assert [row.tasks for row in rows.values()] == [(), ()] and report.counts.frames == 10
    assert not report.log.damages and report.counts.objects == 0


def test_crowds_and_objects_that_come_late_and_empty_videos(tmp_path):
    content = write_youtube_vis(tmp_path / "source", "ovis", "annotations_train.json", "train")
    first, second, *others = content["annotations"]
    first["iscrowd"] = 1
    second["segmentations"][:2] = [None, None]
    # All of the other video's masks are null or without a pixel.
    for annotation in others:
        video = next(v for v in content["videos"] if v["id"] == annotation["video_id"])
        empty = {"size": [video["height"], video["width"]], "counts": [video["height"] * video["width"]]}
        annotation["segmentations"] = [None, *[empty] * (video["length"] - 1)]
    write_json(tmp_path / "source" / "annotations_train.json", content)
    report = one(prepare("ovis", tmp_path / "source", tmp_path / "out"))
    (row,) = rows_by_key(tmp_path / "out", "train").values()
    assert row.entities.is_crowd.tolist() == [True, False]
    assert sorted(masks_by_entity(row)[second["id"]]) == [2, 3]
    assert report.log.left_out == {"rows in which no object is seen": 1} and not report.log.damages
    for clip in clips(tmp_path / "out", "train", "detection", 4):
        assert clip.entity_ids.tolist() == [second["id"]]


def test_damaged_annotations(tmp_path):
    source = tmp_path / "source"
    content = write_youtube_vis(source, "ytvis21", "train.json", "train/JPEGImages")
    good = json.loads(json.dumps(content["annotations"]))
    height, width = 48, 64

    def broken(number: int, **changes):
        content["annotations"].append({**json.loads(json.dumps(good[0])), "id": number, **changes})

    broken(50, category_id=41)
    broken(51, video_id=999)
    broken(52, segmentations=[None])
    broken(53, segmentations=[{"size": [width, height], "counts": [width * height]}] * 4)
    broken(1)
    del content["annotations"][-1]["iscrowd"]
    content["annotations"].append({"id": 54})
    content["annotations"].append("nonsense")
    # One damaged mask of an object that has others.
    content["annotations"][1]["segmentations"][2]["counts"] = [5, 5]
    content["videos"].append({"id": 77, "height": 4, "width": 4, "length": 2, "file_names": ["x/0.jpg"]})
    content["videos"].append(content["videos"][0])
    write_json(source / "train.json", content)
    (source / "train" / "JPEGImages" / "a0" / "00010.jpg").unlink()
    report = one(prepare("ytvis21", source, tmp_path / "out"))
    assert found(report) == [
        ("bad_annotation", "frame", "video 12, annotation 2, frame 2"),
        ("bad_annotation", "object", "video 12, annotation 53"),
        ("bad_record", "object", ""),
        ("bad_record", "object", ""),
        ("bad_record", "object", ""),
        ("bad_record", "object", ""),
        ("bad_record", "object", ""),
        ("bad_record", "video", ""),
        ("bad_record", "video", "video 12"),
        ("missing_file", "frame", "video 3"),
        ("unknown_category", "object", "video 12, annotation 50"),
    ]
    reasons = " ".join(damage.reason for damage in report.log.damages)
    for part in (
        "an annotation of video 999",
        "annotation 52 has 1 masks, the video 4 frames",
        "annotation 1 must have a number of its own",
        "annotation 54 has no field 'video_id'",
        "the category 41",
        "video 77 has the length 2, but 1 file names",
        "on frame 0 the mask has the size [64, 48]",
    ):
        assert part in reasons
    assert {Path(damage.path).name for damage in report.log.damages} == {"train.json", "00010.jpg"}
    rows = rows_by_key(tmp_path / "out", "train")
    assert rows["ytvis21/train/12#0"].time_index.tolist() == [0, 5, 15]
    assert rows["ytvis21/train/12#0"].entities.ids.tolist() == [1, 2]
    assert rows["ytvis21/train/3#0"].time_index.tolist() == [0, 5, 15, 20, 25]
    with pytest.raises(DamageError, match=r"train\.json"):
        prepare("ytvis21", source, tmp_path / "b", on_damage="fail")


def test_frames_of_another_size_than_the_annotations(tmp_path):
    content = write_youtube_vis(tmp_path / "source", "ytvis21", "train.json", "train/JPEGImages")
    name = content["videos"][0]["file_names"][1]
    Image.new("RGB", (32, 24)).save(tmp_path / "source" / "train" / "JPEGImages" / name)
    report = one(prepare("ytvis21", tmp_path / "source", tmp_path / "out"))
    assert found(report) == [("size_mismatch", "frame", "video 12")]
    assert rows_by_key(tmp_path / "out", "train")["ytvis21/train/12#0"].num_frames == 3


# --- BURST


def test_burst(tmp_path):
    write_burst(tmp_path / "source")
    report = one(prepare("burst", tmp_path / "source", tmp_path / "out", ["val"]))
    rows = rows_by_key(tmp_path / "out", "val")
    names = {category.label: category.index for category in load_label_set("lvis")}
    for sequence in burst_sequences():
        row = rows[f"burst/val/{sequence['dataset']}/{sequence['seq_name']}#0"]
        masks = masks_by_entity(row)
        for frame, shown in enumerate(sequence["segmentations"]):
            assert {track for track in masks if frame in masks[track]} == set(map(int, shown))
            for track, mask in shown.items():
                size = [sequence["height"], sequence["width"]]
                assert np.array_equal(masks[int(track)][frame], decode_mask({"size": size, "counts": mask["rle"]}))
        # Annotated frames only, numbered among all.
        assert row.time_index.tolist() == [BURST_STEP * n for n in range(len(sequence["annotated_image_paths"]))]
        # Numbers of LVIS 0.5 become those of 1.0: 4 is "airplane", 805 "baby" with the synonym "person".
        other = "person" if sequence["track_category_ids"]["5"] == 805 else "airplane"
        assert row.entities.categories.tolist() == [names["airplane"], names[other]]
        assert row.category_set == "lvis" and row.tasks == ("sot",) and not row.exhaustive
        # "acorn" has no number in 1.0.
        assert row.neg_categories.tolist() == [] and row.not_exhaustive_categories.tolist() == []
        assert row.meta["source_categories"] == sequence["track_category_ids"]
    assert not report.log.damages
    assert clips(tmp_path / "out", "val", "sot")


def test_burst_lists_of_categories_and_categories_without_counterpart(tmp_path):
    content = write_burst(tmp_path / "source")
    first = content["sequences"][0]
    first["neg_category_ids"], first["not_exhaustive_category_ids"] = [1, 805], [4]
    first["track_category_ids"]["5"] = 1
    # Categories in the folder beside, where the split's file has none.
    content["categories"] = []
    write_json(tmp_path / "source" / "annotations" / "val" / "all_classes.json", content)
    prepare("burst", tmp_path / "source", tmp_path / "out", ["val"])
    names = {category.label: category.index for category in load_label_set("lvis")}
    row = rows_by_key(tmp_path / "out", "val")[f"burst/val/{first['dataset']}/{first['seq_name']}#0"]
    assert row.entities.categories.tolist() == [names["airplane"], -1]
    assert row.neg_categories.tolist() == [names["person"]]
    assert row.not_exhaustive_categories.tolist() == [names["airplane"]]


def test_two_categories_of_burst_that_are_one(tmp_path):
    content = write_burst(tmp_path / "source")
    content["categories"].append({"id": 900, "name": "person", "synonyms": ["person"]})
    second = next(s for s in content["sequences"] if s["track_category_ids"]["5"] == 805)
    second["neg_category_ids"] = [900]
    write_json(tmp_path / "source" / "annotations" / "val" / "all_classes.json", content)
    prepare("burst", tmp_path / "source", tmp_path / "out", ["val"])
    row = rows_by_key(tmp_path / "out", "val")[f"burst/val/{second['dataset']}/{second['seq_name']}#0"]
    # What is there under one name is not absent under the other.
    assert row.neg_categories.tolist() == [] and len(row.entities) == 2


def test_damaged_sequences_of_burst(tmp_path):
    content = write_burst(tmp_path / "source")
    first, second = content["sequences"]
    first["segmentations"][1]["5"]["rle"] = "~"
    first["track_category_ids"]["2"] = 7777
    content["sequences"] += [{"seq_name": "x"}, {**second, "annotated_image_paths": []}, first]
    content["sequences"].append({**second, "seq_name": "not-downloaded"})
    write_json(tmp_path / "source" / "annotations" / "val" / "all_classes.json", content)
    report = one(prepare("burst", tmp_path / "source", tmp_path / "out", ["val"]))
    name = f"sequence '{first['dataset']}/{first['seq_name']}'"
    assert found(report) == [
        ("bad_annotation", "frame", f"{name}, frame 1"),
        ("bad_record", "video", ""),
        ("bad_record", "video", ""),
        ("bad_record", "video", name),
        ("missing_file", "video", f"sequence '{second['dataset']}/not-downloaded'"),
        ("unknown_category", "object", f"{name}, track 2"),
    ]
    rows = rows_by_key(tmp_path / "out", "val")
    assert len(rows) == 2
    row = rows[f"burst/val/{first['dataset']}/{first['seq_name']}#0"]
    assert row.entities.ids.tolist() == [5] and row.num_frames == len(first["segmentations"]) - 1


# --- VIPSeg


def category_of(value: int) -> int:
    return (value if value < 125 else value // 100) - 1


@pytest.mark.parametrize("write", [write_vipseg_downloaded, write_vipseg_converted])
def test_vipseg(tmp_path, write):
    write(tmp_path / "source")
    report = one(prepare("vipseg", tmp_path / "source", tmp_path / "out", ["val"]))
    rows = rows_by_key(tmp_path / "out", "val")
    label_set = load_label_set("vipseg")
    assert not report.log.damages
    for name, length, height, width in VIPSEG_VIDEOS:
        row = rows[f"vipseg/val/{name}#0"]
        values = np.stack([vipseg_values(frame, height, width) for frame in range(length)])
        maps = label_maps(row)
        # One entity per segment of the video, whatever its number.
        pairs = set(zip(values.ravel().tolist(), maps.ravel().tolist(), strict=True))
        assert len(pairs) == len(np.unique(values)) == len(np.unique(maps)) and (0, 0) in pairs
        entity = {number: index for index, number in enumerate(row.entities.ids.tolist())}
        for value, number in pairs - {(0, 0)}:
            category = int(row.entities.categories[entity[number]])
            assert category == category_of(value)
            assert bool(row.entities.is_thing[entity[number]]) == label_set[category].is_thing == (value >= 125)
        if write is write_vipseg_downloaded:
            assert np.array_equal(maps, values)
        assert row.exhaustive and row.tasks == ("detection", "sot") and not row.entities.is_crowd.any()
    assert clips(tmp_path / "out", "val", "detection")


def test_vipseg_values_that_stand_for_nothing(tmp_path):
    write_vipseg_downloaded(tmp_path / "source")
    name, _, height, width = VIPSEG_VIDEOS[0]
    path = tmp_path / "source" / "panomasks" / name / "00000001.png"
    values = vipseg_values(1, height, width)
    values[8:10, :4] = 12500
    # A person without a number of its own.
    values[10:12, :4] = 61
    Image.fromarray(values.astype(np.uint16)).save(path)
    report = one(prepare("vipseg", tmp_path / "source", tmp_path / "out", ["val"]))
    assert [(d.path, d.kind, d.lost) for d in report.log.damages] == [(str(path), "unknown_category", "object")]
    row = rows_by_key(tmp_path / "out", "val")[f"vipseg/val/{name}#0"]
    crowd = dict(zip(row.entities.ids.tolist(), row.entities.is_crowd.tolist(), strict=True))
    assert crowd[61] and sum(crowd.values()) == 1


def test_damaged_conversions_of_vipseg(tmp_path):
    source = tmp_path / "source"
    write_vipseg_converted(source)
    path = source / "panoptic_gt_VIPSeg_val.json"
    content = json.loads(path.read_text())
    frames = content["annotations"][0]["annotations"]
    name = content["videos"][0]["video_id"]
    frames[0]["segments_info"][0]["category_id"] = 124
    frames[1]["segments_info"].append({"id": 5, "category_id": 3})
    del frames[2]
    content["videos"].append({"video_id": "unlabelled", "images": []})
    write_json(path, content)
    (source / "panomasksRGB" / name / "00000003.png").unlink()
    broken = source / "panomasksRGB" / name / "00000004.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (source / "images" / name / "00000005.jpg").unlink()
    report = one(prepare("vipseg", source, tmp_path / "out", ["val"]))
    kinds = sorted((d.kind, d.lost, Path(d.path).name) for d in report.log.damages)
    assert kinds == [
        ("bad_annotation", "object", "00000001.png"),
        ("bad_record", "frame", path.name),
        ("bad_record", "video", path.name),
        ("missing_file", "frame", "00000003.png"),
        ("missing_file", "frame", "00000005.jpg"),
        ("unknown_category", "object", "00000000.png"),
        ("unreadable_file", "frame", "00000004.png"),
    ]
    row = rows_by_key(tmp_path / "out", "val")[f"vipseg/val/{name}#0"]
    assert row.time_index.tolist() == [0, 1, 6, 7, 8]


def test_rle_helper_agrees_with_the_box():
    # The miniature writes both forms of run lengths; the tests above rely on it.
    mask = box(20, 30, 2, 3, 5)
    assert np.array_equal(decode_mask(rle(mask)), mask) and np.array_equal(decode_mask(rle(mask, False)), mask)
