# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J&F of DAVIS and G of YouTube-VOS: conventions by hand, forms of input, merging, and what is refused."""

import math
import pickle

import numpy as np
import pytest
from object_videos import (
    Unsized,
    as_masks,
    as_run_lengths,
    check_merging,
    check_read_side_by_side,
    imperfect,
    moving_objects,
    watched,
)

from univs_hf.metrics.region_boundary import boundary_accuracy, region_similarity
from univs_hf.metrics.vos import DavisMetric, YouTubeVOSMetric

TRUE = moving_objects(0)
PREDICTED = imperfect(TRUE, 1)


def davis(prediction, ground_truth, **options) -> DavisMetric:
    metric = DavisMetric(keep_frames=True, **options)
    metric.update("bear", prediction, ground_truth)
    return metric


def youtube(prediction, ground_truth, first_frames, seen=None, **options) -> YouTubeVOSMetric:
    metric = YouTubeVOSMetric(keep_frames=True, **options)
    seen = seen or dict.fromkeys(first_frames, True)
    metric.update("bear", prediction, ground_truth, first_frames=first_frames, seen=seen)
    return metric


def test_davis_scores_each_object_on_the_inner_frames():
    objects = davis(PREDICTED, TRUE).object_scores()["bear"]
    assert list(objects) == [1, 2, 3]
    for object_id, scores in objects.items():
        pairs = [(true == object_id, predicted == object_id) for true, predicted in zip(TRUE, PREDICTED, strict=True)]
        assert scores["J_frames"] == [region_similarity(*pair) for pair in pairs[1:-1]]
        assert scores["F_frames"] == [boundary_accuracy(*pair) for pair in pairs[1:-1]]
        assert scores["J"]["M"] == pytest.approx(np.mean(scores["J_frames"]), abs=1e-15)
    everything = davis(PREDICTED, TRUE, skip_ends=False).object_scores()["bear"]
    assert everything[2]["J_frames"] == [
        region_similarity(t == 2, p == 2) for t, p in zip(TRUE, PREDICTED, strict=True)
    ]


def test_davis_frames_without_masks_may_be_empty_mappings():
    nothing = davis(np.zeros_like(TRUE), TRUE).object_scores()
    assert davis([{}] * 6, TRUE).object_scores() == nothing


def test_davis_averages_over_objects_not_over_videos():
    metric = DavisMetric()
    metric.update("one", np.zeros_like(TRUE), moving_objects(3, objects=1))
    metric.update("three", TRUE, TRUE)
    figures = metric.compute()
    assert figures["J-Mean"] == figures["F-Mean"] == figures["J&F-Mean"] == 0.75
    assert figures["J-Recall"] == 0.75 and figures["J-Decay"] == 0
    assert list(figures) == ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]


def test_davis_without_videos_is_undefined():
    assert all(math.isnan(value) for value in DavisMetric().compute().values())


def test_davis_objects_are_those_of_the_first_frame():
    true = TRUE.copy()
    true[0][true[0] == 3] = 0
    assert list(davis(np.where(PREDICTED == 3, 0, PREDICTED), true).object_scores()["bear"]) == [1, 2]
    # An id below the largest that the video never shows is an object that is always empty.
    gap = np.where(TRUE == 2, 0, TRUE)
    scores = davis(gap, gap).object_scores()["bear"]
    assert list(scores) == [1, 2, 3] and scores[2]["J"]["M"] == scores[2]["F"]["M"] == 1
    predicted_in_gap = davis(TRUE, gap).object_scores()["bear"][2]
    assert predicted_in_gap["J"]["M"] == predicted_in_gap["F"]["M"] == 0
    # No object at all: nothing is scored.
    empty = np.zeros_like(TRUE)
    assert davis(empty, empty).object_scores() == {"bear": {}}


def test_davis_void_is_background():
    true = TRUE.copy()
    true[:, :12] = 255
    background = np.where(true == 255, 0, true)
    assert davis(PREDICTED, true).object_scores() == davis(PREDICTED, background).object_scores()
    assert davis(PREDICTED, true).compute() != davis(PREDICTED, TRUE).compute()


def test_davis_reads_no_prediction_of_the_first_and_last_frame():
    frames = [None, *PREDICTED[1:-1], None]
    assert davis(frames, TRUE).compute() == davis(PREDICTED, TRUE).compute()
    wild = PREDICTED.copy()
    wild[[0, -1]] = 77
    assert davis(wild, TRUE).compute() == davis(PREDICTED, TRUE).compute()


def test_davis_objects_that_are_not_predicted_are_missed():
    scores = davis(np.where(TRUE == 3, 0, TRUE), TRUE).object_scores()["bear"]
    assert [scores[object_id]["J"]["M"] for object_id in (1, 2, 3)] == [1, 1, 0]


@pytest.mark.parametrize("wrap", [True, False])
def test_davis_decay_of_long_videos(wrap):
    """259 frames, 257 of them scored: the 8-bit borders of the official program wrap and leave an empty quarter."""
    true = np.repeat(TRUE[:1], 259, axis=0)
    predicted = np.concatenate([true[:150], np.zeros_like(true[150:])])
    decay = davis(predicted, true, wrap_decay_bins=wrap).compute()["J-Decay"]
    assert math.isnan(decay) if wrap else decay == 1


@pytest.mark.parametrize("form", [as_masks, as_run_lengths])
def test_forms_of_frames_agree(form):
    frames = [[form(frame, 3) for frame in video] for video in (PREDICTED, TRUE)]
    assert davis(*frames).object_scores() == davis(PREDICTED, TRUE).object_scores()
    assert davis(PREDICTED.astype(np.int64), TRUE.tolist()).object_scores() == davis(PREDICTED, TRUE).object_scores()
    first_frames = {1: 0, 2: 2, 3: 4}
    assert youtube(*frames, first_frames).object_scores() == youtube(PREDICTED, TRUE, first_frames).object_scores()


def test_videos_are_read_side_by_side_and_only_numbers_are_kept():
    sizes = []
    for length in (6, 60):
        true = moving_objects(0, frames=length)
        log = []
        metric = DavisMetric()
        metric.update("bear", watched(imperfect(true, 1), log, "prediction"), watched(true, log, "truth"))
        check_read_side_by_side(log)
        sizes.append(len(pickle.dumps(metric.state_dict())))
    assert sizes[0] == sizes[1] < 1000


def test_davis_merges_exactly():
    updates = {}
    for seed in range(7):
        true = moving_objects(seed, frames=3 + seed % 4)
        updates[f"video{seed}"] = lambda metric, seed=seed, true=true: metric.update(
            f"video{seed}", imperfect(true, seed), true
        )
    check_merging(DavisMetric, updates)


def test_instances_with_other_settings_do_not_merge():
    with pytest.raises(ValueError, match="settings"):
        DavisMetric().merge(DavisMetric(wrap_decay_bins=False))
    with pytest.raises(TypeError, match="DavisMetric"):
        DavisMetric().merge(YouTubeVOSMetric())
    with pytest.raises(ValueError, match="bear"):
        davis(PREDICTED, TRUE).merge(davis(PREDICTED, TRUE))


TOO_MANY = PREDICTED.copy()
TOO_MANY[2, 0, 0] = 4
FLOATS = [*PREDICTED[:2], PREDICTED[2].astype(np.float32), *PREDICTED[3:]]
SMALLER = [*PREDICTED[:2], PREDICTED[2, 1:], *PREDICTED[3:]]
BAD_VIDEOS = [
    (None, TRUE, ValueError, "`prediction` of video 'bear' is missing"),
    (PREDICTED, None, ValueError, "`ground_truth` of video 'bear' is missing"),
    (PREDICTED[:4], TRUE, ValueError, "has 4 frames, `ground_truth` has 6"),
    (Unsized(PREDICTED[:4]), TRUE, ValueError, "`prediction` of video 'bear' ends after 4 frames"),
    (PREDICTED, Unsized(TRUE[:4]), ValueError, "`ground_truth` of video 'bear' ends after 4 frames"),
    ([*PREDICTED[:3], None, *PREDICTED[4:]], TRUE, ValueError, "`prediction` of video 'bear', frame 3 is missing"),
    (PREDICTED, [*TRUE[:3], None, *TRUE[4:]], ValueError, "`ground_truth` of video 'bear', frame 3 is missing"),
    (SMALLER, TRUE, ValueError, "frame 2 must have 30x40 pixels .* got 29x40"),
    (PREDICTED, [*TRUE[:4], TRUE[4, :, 1:], TRUE[5]], ValueError, "frame 4 must have 30x40 pixels .* got 30x39"),
    (FLOATS, TRUE, TypeError, "frame 2 .* float32"),
    (PREDICTED.astype(float) * np.nan, TRUE, TypeError, "`prediction` of video 'bear', frame 1 .* float64"),
    (TOO_MANY, TRUE, ValueError, "`prediction` of video 'bear', frame 2 holds .*4"),
    ("frames", TRUE, TypeError, "sequence or iterable of frames, got str"),
    ({0: PREDICTED[0]}, TRUE, TypeError, "sequence or iterable of frames, got dict"),
    (PREDICTED[0], TRUE[0], ValueError, r"\(height, width\), got \(40,\)"),
    ([{"1": TRUE[0] == 1}] * 6, TRUE, ValueError, "frame 1 must have positive integers"),
    (PREDICTED[:0], TRUE[:0], ValueError, "no frames"),
]


@pytest.mark.parametrize(("prediction", "ground_truth", "error", "words"), BAD_VIDEOS)
def test_davis_refuses_bad_videos_and_stays_as_it_was(prediction, ground_truth, error, words):
    metric = DavisMetric()
    with pytest.raises(error, match=words):
        metric.update("bear", prediction, ground_truth)
    assert len(metric) == 0
    metric.update("bear", PREDICTED, TRUE)
    assert metric.compute() == davis(PREDICTED, TRUE).compute()


@pytest.mark.parametrize("length", [1, 2])
def test_davis_needs_three_frames(length):
    with pytest.raises(ValueError, match="'bear' has fewer than 3 frames"):
        davis(PREDICTED[:length], TRUE[:length])
    assert davis(TRUE[:length], TRUE[:length], skip_ends=False).compute()["J&F-Mean"] == 1


def test_video_ids_are_checked():
    metric = davis(PREDICTED, TRUE)
    with pytest.raises(ValueError, match="'bear' was given before"):
        metric.update("bear", PREDICTED, TRUE)
    with pytest.raises(TypeError, match="`video_id`"):
        metric.update(None, PREDICTED, TRUE)


def test_youtube_vos_scores_objects_from_their_first_frame_on():
    first_frames = {3: 3, 1: 0}
    true, predicted = (np.where(video == 2, 0, video) for video in (TRUE, PREDICTED))
    for include_first in (False, True):
        scores = youtube(predicted, true, first_frames, include_first=include_first).object_scores()["bear"]
        assert list(scores) == [1, 3]
        for object_id, first in first_frames.items():
            frames = range(first + (not include_first), len(true))
            expected = [region_similarity(true[i] == object_id, predicted[i] == object_id) for i in frames]
            assert scores[object_id]["J_frames"] == expected
            expected = [boundary_accuracy(true[i] == object_id, predicted[i] == object_id) for i in frames]
            assert scores[object_id]["F_frames"] == expected
            assert scores[object_id]["F"] == pytest.approx(np.mean(expected), abs=1e-15)


def test_youtube_vos_g_is_the_mean_over_objects_of_seen_and_unseen():
    true = TRUE.copy()
    predicted = np.where(true == 2, 0, true)
    figures = youtube(predicted, true, {1: 0, 2: 0, 3: 0}, {1: True, 2: True, 3: False}).compute()
    assert figures == {"J_s": 0.5, "J_u": 1.0, "F_s": 0.5, "F_u": 1.0, "G": 0.75}


def test_youtube_vos_counts_frames_after_an_object_has_left():
    true = np.where(np.arange(6)[:, None, None] >= 3, 0, TRUE)
    scores = youtube(TRUE[[0, 1, 2, 2, 2, 2]], true, {1: 0, 2: 0, 3: 0}).object_scores()["bear"][1]
    assert scores["J_frames"] == [1, 1, 0, 0, 0]
    assert youtube(true, true, {1: 0, 2: 0, 3: 0}).object_scores()["bear"][1]["J_frames"] == [1] * 5


def test_youtube_vos_groups_without_objects_are_undefined():
    figures = youtube(TRUE, TRUE, {1: 0, 2: 0, 3: 0}).compute()
    assert figures["J_s"] == 1 and all(math.isnan(figures[key]) for key in ("J_u", "F_u", "G"))


def test_youtube_vos_object_of_the_last_frame_alone_is_not_scored():
    metric = youtube(TRUE, TRUE, {1: 0, 2: 5, 3: 0})
    assert list(metric.object_scores()["bear"]) == [1, 3]
    metric = youtube(TRUE[:1], TRUE[:1], {1: 0, 2: 0, 3: 0})
    assert metric.object_scores() == {"bear": {}} and metric.video_ids == ["bear"]


def test_youtube_vos_needs_no_prediction_before_something_is_scored():
    first_frames = {1: 2, 2: 2, 3: 3}
    frames = [None, None, None, *PREDICTED[3:]]
    assert (
        youtube(frames, TRUE, first_frames).compute()["J_s"] == youtube(PREDICTED, TRUE, first_frames).compute()["J_s"]
    )
    with pytest.raises(ValueError, match="`prediction` of video 'bear', frame 2 is missing"):
        youtube(frames, TRUE, first_frames, include_first=True)


def test_youtube_vos_void_is_background():
    true = TRUE.copy()
    true[:, :12] = 255
    first_frames = {1: 0, 2: 0, 3: 0}
    background = youtube(PREDICTED, np.where(true == 255, 0, true), first_frames)
    assert youtube(PREDICTED, true, first_frames).object_scores() == background.object_scores()


def test_youtube_vos_merges_exactly():
    updates = {}
    for seed in range(6):
        true = moving_objects(seed)
        updates[f"video{seed}"] = lambda metric, seed=seed, true=true: metric.update(
            f"video{seed}",
            imperfect(true, seed),
            true,
            first_frames={1: 0, 2: 1, 3: 3},
            seen={1: True, 2: seed % 2 == 0, 3: False},
        )
    check_merging(YouTubeVOSMetric, updates)


@pytest.mark.parametrize(
    ("first_frames", "seen", "error", "words"),
    [
        ({1: 0, 2: 0}, None, ValueError, r"`ground_truth` of video 'bear', frame 0 holds the object ids \[3\]"),
        ({1: 0, 2: 0, 3: 6}, None, ValueError, r"names frames \{3: 6\}, the video has 6"),
        ({1: 0, 2: 0, 3: -1}, None, TypeError, "frame indices .* got -1 for object 3"),
        ({1: 0, 2: 0, 3: 1.0}, None, TypeError, "frame indices .* got 1.0 for object 3"),
        ({1: 0, 2: 0, 0: 1}, None, ValueError, "positive integers as object ids, got 0"),
        ({1: 0, 2: 0, 3: 0}, {1: True, 2: True}, ValueError, r"`seen` .* \[1, 2, 3\], got \[1, 2\]"),
        ({1: 0, 2: 0, 3: 0}, {1: True, 2: True, 3: "yes"}, TypeError, "`seen` .* 'yes' for object 3"),
    ],
)
def test_youtube_vos_checks_its_objects(first_frames, seen, error, words):
    with pytest.raises(error, match=words):
        youtube(PREDICTED, TRUE, first_frames, seen)


@pytest.mark.parametrize(("prediction", "ground_truth", "error", "words"), BAD_VIDEOS)
def test_youtube_vos_refuses_bad_videos_and_stays_as_it_was(prediction, ground_truth, error, words):
    metric = YouTubeVOSMetric()
    objects = {"first_frames": {1: 0, 2: 0, 3: 0}, "seen": {1: True, 2: True, 3: True}}
    with pytest.raises(error, match=words):
        metric.update("bear", prediction, ground_truth, **objects)
    assert len(metric) == 0
