# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VSPW: layout, submission and scores of a miniature."""

import zipfile

import numpy as np
import pytest
from decisive_model import decisive_model
from mini_datasets import VSPW_VIDEOS, streamed, vspw_labels, write_vspw
from PIL import Image
from tiny_processor import tiny_processor

from univs_hf.data.layouts.vspw import VspwLayout
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.evaluation.runner import evaluate, scored_predictions


@pytest.fixture
def benchmark(tmp_path):
    write_vspw(tmp_path / "VSPW")
    return benchmark_class("vspw")(tmp_path / "VSPW")


def classes_of(frame, height, width):
    """Ground truth as a prediction: classes from 0; something where there is no class."""
    labels = vspw_labels(frame, height, width)
    return np.where((labels == 0) | (labels == 255), 7, labels - 1).astype(np.int32)


def write_perfect(benchmark, folder):
    for name, length, height, width in VSPW_VIDEOS:
        results = ({"frame_idx": t, "segmentation": classes_of(t, height, width)} for t in range(length))
        (folder / name).mkdir(parents=True)
        (job,) = benchmark.jobs(name)
        benchmark.write_prediction(name, job, streamed(results, "segmentation"), folder / name)
    return folder


def test_ground_truth_as_results_scores_100(benchmark, tmp_path):
    assert benchmark.video_ids() == ["10_a", "127_b"]
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
        assert evaluation.figures["mIoU"] == 1
        # "Others" and void are each constant in places, and so is the prediction there.
        assert evaluation.figures["mVC8"] == 1
        assert [video["mIoU"] for video in evaluation.videos.values()] == [1, 1]
    path = benchmark.write_submission(predictions, tmp_path / "out")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert len(names) == 21 and "127_b/00000002.png" in names and "10_a/00000122.png" in names
        with archive.open("127_b/00000017.png") as file, Image.open(file) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), classes_of(1, 36, 48))
    with scored_predictions(benchmark, path, quiet=True) as evaluation:
        assert evaluation.figures["mIoU"] == 1
    with scored_predictions(benchmark, tmp_path / "out" / "submission", quiet=True) as evaluation:
        assert evaluation.figures["mIoU"] == 1


def test_one_wrong_class_costs_its_share(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    for path in predictions.glob("*/*.png"):
        classes = np.asarray(Image.open(path)).copy()
        classes[classes == 60] = 14
        Image.fromarray(classes).save(path)
    with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
        # The person is gone; the ground has its pixels too.
        pixels = {value: 0 for value in (15, 61)}
        for _, length, height, width in VSPW_VIDEOS:
            for frame in range(length):
                for value in pixels:
                    pixels[value] += int((vspw_labels(frame, height, width) == value).sum())
        ground = pixels[15] / (pixels[15] + pixels[61])
        assert evaluation.figures["mIoU"] == pytest.approx((2 + ground) / 4, abs=1e-12)


def test_report_frames_share_their_classes(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    first, last = benchmark.compared_frames("127_b", predictions, 2)
    assert (first.caption, last.caption) == ("00000002", "00000167")
    valid = first.ground_truth != first.background
    np.testing.assert_array_equal(first.prediction[valid], first.ground_truth[valid])
    assert {"id": 60, "label": "person"} in first.ground_truth_info


def test_tiny_model_end_to_end(benchmark, tmp_path):
    settings = {"shortest_edge": 32, "longest_edge": 64, "num_frames": 3}
    evaluation = evaluate(
        benchmark, (decisive_model(), tiny_processor()), tmp_path / "out", settings=settings, quiet=True
    )
    assert 0 <= evaluation.figures["mIoU"] < 1 and 0 <= evaluation.figures["mVC8"] <= 1
    for name, length, height, width in VSPW_VIDEOS:
        files = sorted((evaluation.predictions / name).glob("*.png"))
        assert [file.stem for file in files] == [f"{frame * 15 + 2:08d}" for frame in range(length)]
        classes = np.asarray(Image.open(files[0]))
        assert classes.shape == (height, width) and classes.max() < 124
    with scored_predictions(benchmark, evaluation.submission, quiet=True) as again:
        assert repr(again.figures) == repr(evaluation.figures)


def test_the_test_split_has_no_masks(tmp_path):
    write_vspw(tmp_path, masks=False)
    benchmark = benchmark_class("vspw")(tmp_path)
    assert not benchmark.has_ground_truth and benchmark.num_frames("10_a") == 9


def test_a_layout_that_is_not_there_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*data"):
        VspwLayout(tmp_path)
    write_vspw(tmp_path)
    with pytest.raises(FileNotFoundError, match="dev.txt"):
        VspwLayout(tmp_path, "dev")
    (tmp_path / "val.txt").write_text("127_b\nmissing\n")
    with pytest.raises(FileNotFoundError, match="data/missing.*val.txt"):
        VspwLayout(tmp_path)
    (tmp_path / "val.txt").write_text("127_b\n")
    layout = VspwLayout(tmp_path)
    (tmp_path / "data/127_b/origin/00000017.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="127_b/origin/00000017.jpg"):
        layout.frame_paths("127_b")
    Image.fromarray(np.full((36, 48), 125, np.uint8)).save(tmp_path / "data/127_b/mask/00000002.png")
    with pytest.raises(ValueError, match="127_b/mask/00000002.png.*125"):
        layout.labels("127_b", "00000002")
    (tmp_path / "data/127_b/mask/00000002.png").write_text("no image")
    with pytest.raises(ValueError, match="127_b/mask/00000002.png"):
        layout.labels("127_b", "00000002")


def test_a_missing_or_wrong_prediction_names_the_frame(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    path = predictions / "127_b" / "00000017.png"
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(path)
    with (
        pytest.raises(ValueError, match="'127_b', frame 1.*20x20"),
        scored_predictions(benchmark, predictions, quiet=True),
    ):
        pass
    path.unlink()
    with (
        pytest.raises(FileNotFoundError, match="'127_b', frame 00000017"),
        scored_predictions(benchmark, predictions, quiet=True),
    ):
        pass
    with pytest.raises(FileNotFoundError, match="'127_b', frame 00000017"):
        benchmark.write_submission(predictions, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
