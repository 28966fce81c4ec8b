# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""mIoU family and video consistency: by hand, against slow ways to compute them, merged, and with bad input."""

import pickle

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from univs_hf.metrics.vss import VSSMetric, video_consistency

NUM_CLASSES = 7


def random_video(seed: int, length: int, void: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Prediction (0..C-1) and ground truth (raw ids) that mostly agree and change slowly."""
    rng = np.random.default_rng(seed)
    true = np.repeat(rng.integers(0, NUM_CLASSES + 1, (1, 9, 13)), length, axis=0)
    for frame in range(1, length):
        changed = rng.random((9, 13)) < 0.05
        true[frame:, changed] = rng.integers(0, NUM_CLASSES + 1, changed.sum())
    true[rng.random(true.shape) < void] = 255
    predicted = np.where((true == 0) | (true == 255), 3, true - 1)
    wrong = rng.random(true.shape) < 0.2
    predicted[wrong] = rng.integers(0, NUM_CLASSES, wrong.sum())
    return predicted.astype(np.uint8), true.astype(np.uint8)


def consistency(predicted: np.ndarray, true: np.ndarray, window: int, num_windows: int) -> list[float]:
    """Straight from the definition."""
    values = []
    for start in range(num_windows):
        same_true, same_predicted = (
            (labels[start : start + window] == labels[start]).all(axis=0) for labels in (true, predicted)
        )
        values.append((same_true & same_predicted).sum() / same_true.sum() if same_true.any() else float("nan"))
    return values


def test_figures_by_hand():
    """Class 2 never occurs in the ground truth and is not averaged; its pixels are misses of the others."""
    true = np.array([[[1, 1, 1, 1], [2, 2, 0, 255]]])
    predicted = np.array([[[0, 0, 0, 1], [1, 2, 2, 2]]])
    metric = VSSMetric(3, windows=())
    metric.update("a", predicted, true)
    figures = metric.compute()
    assert figures["mIoU"] == pytest.approx((3 / 4 + 1 / 3) / 2, abs=1e-15)
    assert figures["fwIoU"] == pytest.approx(4 / 6 * 3 / 4 + 2 / 6 * 1 / 3, abs=1e-15)
    assert figures["Acc"] == pytest.approx(4 / 6, abs=1e-15)
    assert figures["Acc_class"] == pytest.approx((3 / 4 + 1 / 2) / 2, abs=1e-15)
    np.testing.assert_array_equal(metric.confusion_matrix(), [[3, 1, 0], [0, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(metric.class_iou(), [3 / 4, 1 / 3, np.nan], atol=1e-15)


def test_ground_truth_with_reduced_labels():
    predicted, true = random_video(0, 5)
    raw, reduced = VSSMetric(NUM_CLASSES, (2,)), VSSMetric(NUM_CLASSES, (2,), reduce_labels=False)
    raw.update("a", predicted, true)
    reduced.update("a", predicted, np.where((true == 0) | (true == 255), 255, true.astype(int) - 1))
    assert raw.compute() == reduced.compute()


@pytest.mark.parametrize("window", [1, 2, 5, 8])
@pytest.mark.parametrize("length", [1, 5, 8, 30])
def test_consistency_of_windows(window, length):
    predicted, true = random_video(1, length, void=0.02)
    for all_windows in (False, True):
        expected = consistency(predicted, true, window, max(length - window + all_windows, 0))
        values = video_consistency(predicted, true, window, all_windows=all_windows)
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("window", [254, 255, 300])
def test_long_windows_do_not_wrap(window):
    """The frames that a pixel stays the same are counted in as few bits as the windows need."""
    true = np.zeros((620, 1, 3), dtype=np.uint8)
    predicted = true.copy()
    predicted[310, 0, 0] = 1
    values = video_consistency(predicted, true, window, all_windows=True)
    np.testing.assert_array_equal(values, consistency(predicted, true, window, 620 - window + 1))
    assert values.min() == pytest.approx(2 / 3, abs=1e-15)


def test_windows_without_constant_pixels_are_left_out():
    true = np.array([[[1]], [[2]], [[2]], [[2]]])
    predicted = np.zeros_like(true)
    np.testing.assert_array_equal(video_consistency(predicted, true, 2), [np.nan, 1.0])
    metric = VSSMetric(3, (2, 8))
    metric.update("a", predicted, true)
    assert metric.compute()["mVC2"] == 1.0
    assert np.isnan(metric.compute()["mVC8"])


def test_others_and_void_in_consistency():
    """Raw ids tell "others" from void; by default they are the same class."""
    true = np.array([[[0, 1]], [[255, 1]], [[255, 1]]])
    predicted = np.array([[[0, 0]], [[0, 1]], [[0, 1]]])
    figures = {}
    for raw_ids in (False, True):
        metric = VSSMetric(3, (2,), raw_ids=raw_ids, all_windows=True)
        metric.update("a", predicted, true)
        figures[raw_ids] = metric.compute()["mVC2"]
    assert figures == {False: pytest.approx((1 / 2 + 1) / 2), True: pytest.approx((0 / 1 + 1) / 2)}


def test_predicted_void():
    """Script: counted as class 255 % C of ground truth class g + 255 // C. Sane: a miss."""
    true = np.array([[[1, 1, 3, 3]]])
    predicted = np.array([[[0, 255, 2, 2]]])
    script, sane = VSSMetric(124), VSSMetric(124, void_prediction="miss")
    for metric in (script, sane):
        metric.update("a", predicted, true)
    confusion = script.confusion_matrix()
    assert (confusion[0, 0], confusion[2, 7], confusion[2, 2], confusion.sum()) == (1, 1, 2, 4)
    assert script.compute()["mIoU"] == pytest.approx((1 / 1 + 2 / 3) / 2, abs=1e-15)
    assert sane.compute()["mIoU"] == pytest.approx((1 / 2 + 2 / 2) / 2, abs=1e-15)
    assert sane.confusion_matrix()[0, 124] == 1


def test_predicted_void_that_the_script_fails_on():
    true, predicted = np.array([[[122, 123]]]), np.array([[[0, 255]]])
    VSSMetric(124, void_prediction="miss").update("a", predicted, true)
    with pytest.raises(ValueError, match=r"video 'a', frame 0 is 255 .* class 122 .*void_prediction"):
        VSSMetric(124).update("a", predicted, true)
    VSSMetric(124).update("a", predicted, np.array([[[1, 122]]]))
    # Pixels that are not scored have no class to be counted for.
    VSSMetric(124).update("a", predicted, np.array([[[1, 255]]]))


@pytest.mark.parametrize("num_classes", [100, 128, 200, 254])
def test_predicted_void_as_the_script_adds_it_up(num_classes):
    """C * g + 255 in one flat count, for other numbers of classes."""
    classes = np.arange(num_classes - 255 // num_classes)
    expected = np.bincount(num_classes * classes + 255, minlength=num_classes**2).reshape(num_classes, num_classes)
    metric = VSSMetric(num_classes, ())
    metric.update("a", np.full((1, 1, len(classes)), 255), classes[None, None] + 1)
    np.testing.assert_array_equal(metric.confusion_matrix(), expected)


def test_frames_from_generators_masks_and_rle():
    predicted, true = random_video(2, 6)
    whole, streamed, masks = (VSSMetric(NUM_CLASSES, (2, 3)) for _ in range(3))
    whole.update("a", predicted, true)

    buffer = np.empty_like(true[0])

    def reader():
        for labels in true:
            buffer[:] = labels  # A reader that fills one array again and again.
            yield buffer

    streamed.update("a", (labels.astype(np.int64) for labels in predicted), reader())
    as_masks = [{c: labels == c for c in range(NUM_CLASSES)} for labels in predicted]
    as_rle = [
        {
            c: coco_mask.encode(np.asfortranarray(labels == c, dtype=np.uint8))
            for c in (*range(1, NUM_CLASSES + 1), 255)
        }
        for labels in true
    ]
    masks.update("a", as_masks, as_rle)
    assert streamed.compute() == whole.compute()
    assert masks.compute() == whole.compute()


def test_merge_is_exact():
    videos = {f"v{i}": random_video(i, 5 + 7 * i) for i in range(6)}
    whole = VSSMetric(NUM_CLASSES)
    for video_id, video in videos.items():
        whole.update(video_id, *video)
    for split in range(1, 6):
        parts = [VSSMetric(NUM_CLASSES), VSSMetric(NUM_CLASSES)]
        for i, (video_id, video) in enumerate(reversed(videos.items())):
            parts[i >= split].update(video_id, *video)
        loaded = VSSMetric(NUM_CLASSES)
        loaded.load_state_dict(pickle.loads(pickle.dumps(parts[1].state_dict())))
        before = parts[0].compute()
        loaded.merge(parts[0])
        assert loaded.compute() == whole.compute()
        assert loaded.video_ids == whole.video_ids
        assert parts[0].compute() == before != whole.compute()
    whole.reset()
    assert np.isnan(list(whole.compute().values())).all() and len(whole) == 0
    whole.update("v1", *videos["v1"])
    assert whole.compute() != loaded.compute()


def test_state_does_not_grow_with_frames_or_videos():
    metric = VSSMetric(NUM_CLASSES)
    sizes = []
    for i in range(12):
        metric.update(f"{i:04d}", *random_video(i, 20))
        sizes.append(len(pickle.dumps(metric.state_dict())))
    # An id and exact sums that get a few digits longer.
    assert sizes[-1] - sizes[2] < 400


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (np.zeros((2, 4, 4), int), np.ones((3, 4, 4), int), r"video 'x' has 2 frames, `ground_truth` has 3"),
        (iter(np.zeros((2, 4, 4), int)), np.ones((3, 4, 4), int), r"`prediction` of video 'x' ends after 2 frames"),
        (np.zeros((3, 4, 4), int), iter(np.ones((2, 4, 4), int)), r"`ground_truth` of video 'x' ends after 2 frames"),
        ([], [], r"`ground_truth` of video 'x' has no frames"),
        ([np.zeros((4, 4), int), np.zeros((4, 5), int)], np.ones((2, 4, 4), int), r"video 'x', frame 1 .* 4x4 .* 4x5"),
        (np.zeros((2, 4, 4), int), [np.ones((4, 4), int), np.ones((5, 4), int)], r"`ground_truth` .*frame 1 .* 5x4"),
        (
            np.full((1, 4, 4), 7),
            np.ones((1, 4, 4), int),
            r"`prediction` of video 'x', frame 0 .* 0\.\.6 and 255.*\[7\]",
        ),
        (
            np.full((1, 4, 4), 256),
            np.ones((1, 4, 4), int),
            r"`prediction` of video 'x', frame 0 .* up to 255, got 256",
        ),
        (np.full((1, 4, 4), -1), np.ones((1, 4, 4), int), r"`prediction` of video 'x', frame 0 .* -1"),
        (
            np.zeros((1, 4, 4), int),
            np.full((1, 4, 4), 8),
            r"`ground_truth` of video 'x', frame 0 .* 1\.\.7 and 255.*8",
        ),
        (np.zeros((1, 4, 4), int), np.full((1, 4, 4), 254), r"`ground_truth` of video 'x', frame 0 .*254"),
    ],
)
def test_bad_values(predicted, true, message):
    metric = VSSMetric(NUM_CLASSES)
    metric.update("before", *random_video(0, 20))
    figures = metric.compute()
    with pytest.raises(ValueError, match=message):
        metric.update("x", predicted, true)
    assert metric.compute() == figures and metric.video_ids == ["before"]


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (None, np.ones((1, 4, 4), int), r"`prediction` of video 'x' is missing"),
        ([np.zeros((4, 4), int), None], np.ones((2, 4, 4), int), r"`prediction` of video 'x', frame 1 is missing"),
        (3, np.ones((1, 4, 4), int), r"`prediction` of video 'x' must be an iterable"),
        (np.full((1, 4, 4), np.nan), np.ones((1, 4, 4), int), r"`prediction` of video 'x', frame 0 .*float64"),
        ([{-1: np.ones((4, 4), bool)}], np.ones((1, 4, 4), int), r"`prediction` of video 'x', frame 0 .*-1"),
    ],
)
def test_bad_types(predicted, true, message):
    with pytest.raises(TypeError, match=message):
        VSSMetric(NUM_CLASSES).update("x", predicted, true)


def test_video_given_twice():
    metric = VSSMetric(NUM_CLASSES)
    metric.update("a", *random_video(0, 2))
    with pytest.raises(ValueError, match="'a' was given before"):
        metric.update("a", *random_video(1, 2))
    other = VSSMetric(NUM_CLASSES)
    other.update("a", *random_video(0, 2))
    with pytest.raises(ValueError, match="'a'"):
        metric.merge(other)
    with pytest.raises(ValueError, match="settings"):
        metric.merge(VSSMetric(NUM_CLASSES, void_prediction="miss"))


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 0},
        {"num_classes": 255},
        {"windows": (0,)},
        {"windows": (8, 8)},
        {"windows": (2.5,)},
        {"void_prediction": "ignore"},
        {"raw_ids": True, "reduce_labels": False},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        VSSMetric(**options)
