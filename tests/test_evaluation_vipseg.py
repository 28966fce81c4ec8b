# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPSeg: both forms of its layout, submission and scores of a miniature."""

import json
import zipfile

import numpy as np
import pytest
from decisive_model import decisive_model
from mini_datasets import (
    VIPSEG_VIDEOS,
    streamed,
    vipseg_category,
    vipseg_values,
    write_vipseg_converted,
    write_vipseg_downloaded,
)
from PIL import Image
from tiny_processor import tiny_processor

from univs_hf.data.layouts.panoptic_png import panoptic_colours, read_panoptic_png
from univs_hf.data.layouts.vipseg import VipSegLayout
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.evaluation.runner import evaluate, scored_predictions
from univs_hf.evaluation.vipseg import describe_segments

FORMS = {"converted": write_vipseg_converted, "downloaded": write_vipseg_downloaded}


@pytest.fixture(params=FORMS)
def benchmark(request, tmp_path):
    FORMS[request.param](tmp_path / "VIPSeg")
    return benchmark_class("vipseg")(tmp_path / "VIPSeg")


def perfect_results(length, height, width):
    """What the model would yield if it found the ground truth: small ids; a class that it corrects at the end."""

    def frames():
        for frame in range(length):
            values = vipseg_values(frame, height, width)
            found, ids = np.unique(values, return_inverse=True)
            numbers = np.array([number_of[value] for value in found.tolist()], dtype=np.int32)
            infos = [
                # Everything looks like a wall at first; stuff and things are told by the summary.
                {"id": number_of[value], "label_id": 0}
                for value in found.tolist()
                if value
            ]
            yield {
                "frame_idx": frame,
                "segmentation": numbers[ids].reshape(height, width),
                "segments_info": infos,
            }

    number_of = {0: 0, 1: 4, 29: 2, 6100: 1, 6101: 300, 300: 70000}
    summary = [{"id": number, "label_id": vipseg_category(value)} for value, number in number_of.items() if value]
    return streamed(frames(), "segmentation", summary)


def write_perfect(benchmark, folder):
    for name, length, height, width in VIPSEG_VIDEOS:
        (folder / name).mkdir(parents=True)
        (job,) = benchmark.jobs(name)
        benchmark.write_prediction(name, job, perfect_results(length, height, width), folder / name)
    return folder


def test_ground_truth_as_results_scores_100(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
        for key in benchmark.columns:
            assert evaluation.figures[key] == pytest.approx(1, abs=1e-12)
            assert all(video[key] == pytest.approx(1, abs=1e-12) for video in evaluation.videos.values())

    path = benchmark.write_submission(predictions, tmp_path / "out")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert len(names) == 15 and "pan_pred/1643_T/00000008.png" in names
        content = json.loads(archive.read("pred.json"))
        with archive.open("pan_pred/1643_T/00000003.png") as file, Image.open(file) as image:
            assert image.mode == "RGB"
            rgb = np.asarray(image).astype(int)
    assert [video["video_id"] for video in content["annotations"]] == benchmark.video_ids()
    video = next(video for video in content["annotations"] if video["video_id"] == "1643_T")
    frame = video["annotations"][3]
    assert [entry["file_name"] for entry in video["annotations"]] == [f"{number:08d}.png" for number in range(9)]
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    values = vipseg_values(3, 36, 48)
    assert {s["id"]: s["category_id"] for s in frame["segments_info"]} == {4: 0, 2: 28, 1: 60, 300: 60, 70000: 2}
    for segment in frame["segments_info"]:
        assert set(segment) == {"id", "category_id", "iscrowd", "area", "bbox"} and segment["iscrowd"] == 0
        assert segment["area"] == (ids == segment["id"]).sum()
    door = next(segment for segment in frame["segments_info"] if segment["id"] == 70000)
    assert door["bbox"] == [30, 10, 8, 6] and door["area"] == (values == 300).sum() == 48

    for source in (path, tmp_path / "out" / "submission"):
        with scored_predictions(benchmark, source, quiet=True) as evaluation:
            assert evaluation.figures["VPQ"] == pytest.approx(1, abs=1e-12)
            assert evaluation.figures["STQ"] == pytest.approx(1, abs=1e-12)


def test_both_forms_hold_the_same_ground_truth(tmp_path):
    for name, write in FORMS.items():
        write(tmp_path / name)
    layouts = [VipSegLayout(tmp_path / name) for name in FORMS]
    assert layouts[0].is_converted and not layouts[1].is_converted
    assert sorted(layouts[0].videos) == sorted(layouts[1].videos)
    assert {n: (c["name"], c["isthing"]) for n, c in layouts[0].categories.items()} == {
        n: (c["name"], c["isthing"]) for n, c in layouts[1].categories.items()
    }
    seen = {}
    for frame in range(9):
        (first, first_segments), (second, second_segments) = (layout.panoptic("1643_T", frame) for layout in layouts)
        assert [(s["category_id"], s["area"]) for s in first_segments] == [
            (s["category_id"], s["area"]) for s in second_segments
        ]
        for one, other in zip(first_segments, second_segments, strict=True):
            np.testing.assert_array_equal(first == one["id"], second == other["id"])
            # An id belongs to one segment of the video.
            assert seen.setdefault(one["id"], other["id"]) == other["id"]


def test_confused_persons_cost_association_but_no_classes(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    for path in sorted((predictions / "1643_T/pan_pred").glob("*.png"))[4:]:
        ids = read_panoptic_png(path)
        swapped = ids.copy()
        swapped[ids == 1], swapped[ids == 300] = 300, 1
        Image.fromarray(panoptic_colours(swapped)).save(path)
    with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
        assert evaluation.figures["SQ"] == pytest.approx(1, abs=1e-12)
        assert evaluation.figures["AQ"] < 0.9 and evaluation.figures["VPQ"] < 1
        assert evaluation.figures["VPQ_1"] == pytest.approx(1, abs=1e-12)
        assert evaluation.figures["VPQ_stuff"] == pytest.approx(1, abs=1e-12)
        assert evaluation.videos["112_0"]["AQ"] == pytest.approx(1, abs=1e-12)


def test_report_names_the_segments(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    (frame,) = benchmark.compared_frames("1643_T", predictions, 1)
    assert frame.caption == "00000004"
    assert sorted(info["label"] for info in frame.prediction_info) == ["door", "person", "person", "sky", "wall"]
    assert sorted(info["label"] for info in frame.ground_truth_info) == ["door", "person", "person", "sky", "wall"]
    assert ((frame.prediction == 0) == (frame.ground_truth == 0)).all()


def test_tiny_model_end_to_end(benchmark, tmp_path):
    settings = {"shortest_edge": 32, "longest_edge": 64, "num_frames": 3, "class_score_threshold": 0.001}
    model = decisive_model(), tiny_processor()
    evaluation = evaluate(benchmark, model, tmp_path / "out", settings=settings, quiet=True)
    assert 0 <= evaluation.figures["VPQ"] < 1 and 0 <= evaluation.figures["STQ"] < 1
    num_segments = 0
    for name, length, height, width in VIPSEG_VIDEOS:
        entry = json.loads((evaluation.predictions / name / "pred.json").read_text())
        assert len(entry["annotations"]) == length
        classes = {}
        for frame in entry["annotations"]:
            ids = read_panoptic_png(evaluation.predictions / name / "pan_pred" / frame["file_name"])
            assert ids.shape == (height, width)
            assert set(np.unique(ids).tolist()) - {0} == {segment["id"] for segment in frame["segments_info"]}
            for segment in frame["segments_info"]:
                # One class per segment in the whole video.
                assert classes.setdefault(segment["id"], segment["category_id"]) == segment["category_id"]
                assert 0 <= segment["category_id"] < 124
                num_segments += 1
    assert num_segments, "the model must find something, or the test shows nothing"
    with scored_predictions(benchmark, evaluation.submission, quiet=True) as again:
        assert repr(again.figures) == repr(evaluation.figures)


def test_two_processes_merge_to_the_same_figures(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    for path in (predictions / "112_0/pan_pred").glob("*.png"):
        Image.fromarray(panoptic_colours(np.roll(read_panoptic_png(path), 3, axis=1))).save(path)
    together, parts = benchmark.new_metrics(), []
    for video in benchmark.video_ids():
        benchmark.score_video(together, video, predictions)
        part = benchmark.new_metrics()
        benchmark.score_video(part, video, predictions)
        parts.append(part)
    for name, metric in parts[1].items():
        fresh = benchmark.new_metrics()[name]
        fresh.load_state_dict(parts[0][name].state_dict())
        metric.merge(fresh)
    assert repr(benchmark.figures(parts[1])) == repr(benchmark.figures(together))
    assert benchmark.figures(together)["VPQ"] < 1


# --- what is wrong


def test_a_layout_that_is_not_there_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*panoptic_gt_VIPSeg_val.json, val.txt"):
        VipSegLayout(tmp_path)
    write_vipseg_converted(tmp_path)
    path = tmp_path / "panoptic_gt_VIPSeg_val.json"
    content = json.loads(path.read_text())
    (tmp_path / "images/112_0/00000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="images/112_0/00000002.jpg"):
        VipSegLayout(tmp_path).frame_paths("112_0")
    (tmp_path / "panomasksRGB/112_0/00000002.png").unlink()
    with pytest.raises(FileNotFoundError, match="panomasksRGB/112_0/00000002.png"):
        VipSegLayout(tmp_path).panoptic("112_0", 2)
    content["annotations"][0]["annotations"].pop(3)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{path}.*'1643_T' lacks frame 00000003.png"):
        VipSegLayout(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match=str(path)):
        VipSegLayout(tmp_path)


def test_wrong_raw_values_name_the_file(tmp_path):
    write_vipseg_downloaded(tmp_path)
    path = tmp_path / "panomasks/112_0/00000001.png"
    Image.fromarray(np.full((32, 44), 12600, np.uint16)).save(path)
    with pytest.raises(ValueError, match=f"{path}.*12600"):
        VipSegLayout(tmp_path).panoptic("112_0", 1)


def test_wrong_predictions_name_video_and_frame(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    path = predictions / "112_0/pred.json"
    entry = json.loads(path.read_text())

    def fails(error, message, annotations):
        path.write_text(json.dumps({**entry, "annotations": annotations}))
        with pytest.raises(error, match=message), scored_predictions(benchmark, predictions, quiet=True):
            pass

    frames = entry["annotations"]
    fails(
        ValueError, "112_0.*frame 1 must be '00000001', got '00000002'", [frames[0], frames[2], frames[1], *frames[3:]]
    )
    fails(ValueError, "112_0.*has 4 frames, the video 5", frames[:-1])
    fails(ValueError, "112_0", [{**frames[0], "segments_info": []}, *frames[1:]])
    fails(ValueError, "112_0.*category_id 124", [
        {**frames[0], "segments_info": [{**s, "category_id": 124} for s in frames[0]["segments_info"]]}, *frames[1:]
    ])  # fmt: skip
    path.write_text(json.dumps(entry))
    (predictions / "112_0/pan_pred/00000004.png").unlink()
    fails(FileNotFoundError, "112_0', frame 00000004", frames)


@pytest.mark.parametrize("offset", [0, 1 << 22])
def test_segments_are_measured(offset):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 5, (6, 9)).repeat(4, axis=0).repeat(3, axis=1) * 7
    ids[ids > 0] += offset
    labels = {number: number % 11 for number in np.unique(ids).tolist() if number}
    found = describe_segments(ids, labels)
    assert [segment["id"] for segment in found] == sorted(labels)
    for segment in found:
        rows, columns = np.nonzero(ids == segment["id"])
        left, top = columns.min(), rows.min()
        assert segment["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert segment["area"] == len(rows) and segment["category_id"] == labels[segment["id"]]
    assert describe_segments(np.zeros((3, 4), int), {}) == []


def test_segments_without_a_class_are_refused():
    with pytest.raises(ValueError, match="segment 5"):
        describe_segments(np.array([[0, 5]]), {4: 1})


def test_ids_survive_their_colours(tmp_path):
    ids = np.array([[0, 1, 255, 256], [65535, 65536, 70000, (1 << 24) - 1]])
    Image.fromarray(panoptic_colours(ids)).save(tmp_path / "ids.png")
    np.testing.assert_array_equal(read_panoptic_png(tmp_path / "ids.png"), ids)
    with pytest.raises(ValueError, match="16777216"):
        panoptic_colours(np.array([[1 << 24]]))
    Image.fromarray(ids.astype(np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match="grey.png"):
        read_panoptic_png(tmp_path / "grey.png")
