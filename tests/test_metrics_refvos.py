# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J&F of Ref-DAVIS and Ref-YouTube-VOS: matching of ids, void, averages, merging, and what is refused."""

import itertools
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
from pycocotools import mask as coco_mask

from univs_hf.metrics.refvos import RefDavisMetric, RefYouTubeVOSMetric
from univs_hf.metrics.region_boundary import boundary_accuracy, region_similarity

TRUE = moving_objects(0)
PREDICTED = imperfect(TRUE, 1)


def ref_davis(predictions, ground_truth, **options) -> RefDavisMetric:
    metric = RefDavisMetric(len(predictions), keep_frames=True, **options)
    metric.update("bear", predictions, ground_truth)
    return metric


def relabelled(video: np.ndarray, ids: dict[int, int]) -> np.ndarray:
    """The video with other object ids; those not named become background."""
    result = np.zeros_like(video)
    for old, new in ids.items():
        result[video == old] = new
    return result


def pair_table(prediction: np.ndarray, ground_truth: np.ndarray, num_predicted: int, num_true: int) -> np.ndarray:
    """(J + F) / 2 of each predicted id with each object, averaged over frames, from the plain functions."""
    void = ground_truth == 255
    table = np.zeros((num_predicted, num_true))
    for p, t in np.ndindex(table.shape):
        table[p, t] = np.mean(
            [
                (region_similarity(true == t + 1, predicted == p + 1, void_frame) + f) / 2
                for true, predicted, void_frame in zip(ground_truth, prediction, void, strict=True)
                for f in [boundary_accuracy(true == t + 1, predicted == p + 1, void_frame)]
            ]
        )
    return table


@pytest.mark.parametrize("seed", range(4))
def test_predicted_ids_are_matched_for_the_largest_mean(seed):
    true = moving_objects(seed)
    prediction = relabelled(imperfect(true, seed), {1: 2, 2: 5, 3: 1})
    true[:, 12:17, ::3] = 255
    table = pair_table(prediction, true, 5, 3)
    best = max(sum(table[p, t] for t, p in enumerate(rows)) / 3 for rows in itertools.permutations(range(5), 3))
    metric = ref_davis([prediction], true)
    assert metric.compute()["J&F-Mean"] == pytest.approx(best, abs=1e-14)
    pairs = metric.object_scores()[0]["bear"]
    assert [pair["predicted_id"] for pair in pairs] == sorted(pair["predicted_id"] for pair in pairs)
    assert {pair["object_id"] for pair in pairs} == {1, 2, 3}
    fixed = ref_davis([prediction], true, rematch=False)
    assert fixed.compute()["J&F-Mean"] == pytest.approx(np.trace(table[:3]) / 3, abs=1e-14)
    assert [pair["object_id"] for pair in fixed.object_scores()[0]["bear"]] == [1, 2, 3]


def test_the_wrong_object_costs_nothing_with_the_official_matching():
    swapped = relabelled(TRUE, {1: 2, 2: 3, 3: 1})
    assert ref_davis([swapped], TRUE).compute()["J&F-Mean"] == 1
    assert ref_davis([swapped], TRUE, rematch=False).compute()["J-Mean"] == 0
    pairs = ref_davis([swapped], TRUE).object_scores()[0]["bear"]
    assert [(pair["predicted_id"], pair["object_id"]) for pair in pairs] == [(1, 3), (2, 1), (3, 2)]


def test_all_frames_are_scored_even_a_single_one():
    pairs = ref_davis([PREDICTED], TRUE).object_scores()[0]["bear"]
    assert all(len(pair["J_frames"]) == len(pair["F_frames"]) == len(TRUE) for pair in pairs)
    assert ref_davis([TRUE[:1]], TRUE[:1]).compute() == {
        **dict.fromkeys(("J&F-Mean", "J-Mean", "J-Recall", "F-Mean", "F-Recall"), 1),
        **dict.fromkeys(("J-Decay", "F-Decay"), 0),
    }


def test_void_counts_for_nothing():
    true = TRUE.copy()
    true[:, 10:14] = 255
    assert ref_davis([TRUE], true).compute()["J&F-Mean"] == 1
    noisy = TRUE.copy()
    noisy[:, 11:13] = 3
    assert ref_davis([noisy], true).compute()["J-Mean"] == 1
    assert ref_davis([noisy], TRUE).compute()["J-Mean"] < 1


def test_predictions_may_have_fewer_more_and_late_ids():
    assert ref_davis([np.zeros_like(TRUE)], TRUE).compute()["J&F-Mean"] == 0
    more = TRUE.copy()
    more[3:, :2] = 20
    pairs = ref_davis([more], TRUE).object_scores()[0]["bear"]
    assert [pair["predicted_id"] for pair in pairs] == [1, 2, 3]
    # Objects of the ground truth are those up to the largest id of the first frame; an id left out below is empty.
    gap = np.where(TRUE == 2, 0, TRUE)
    assert ref_davis([gap], gap).compute()["J&F-Mean"] == 1
    assert math.isnan(ref_davis([TRUE], 0 * TRUE).compute()["J&F-Mean"])


def test_figures_are_means_over_objects_and_then_over_annotators():
    metric = RefDavisMetric(2)
    metric.update("three", [TRUE, 0 * TRUE], TRUE)
    one = moving_objects(4, objects=1)
    metric.update("one", [0 * one, one], one)
    assert [figures["J-Mean"] for figures in metric.annotator_scores()] == [0.75, 0.25]
    assert metric.compute()["J-Mean"] == metric.compute()["J&F-Mean"] == 0.5
    assert all(math.isnan(value) for value in RefDavisMetric().compute().values())


@pytest.mark.parametrize("wrap", [True, False])
def test_decay_of_long_videos(wrap):
    true = np.repeat(TRUE[:1], 257, axis=0)
    predicted = np.concatenate([true[:150], np.zeros_like(true[150:])])
    decay = ref_davis([predicted], true, wrap_decay_bins=wrap).compute()["J-Decay"]
    assert math.isnan(decay) if wrap else decay == 1


@pytest.mark.parametrize("form", [as_masks, as_run_lengths])
def test_ref_davis_forms_of_frames_agree(form):
    frames = [[form(frame, 3) for frame in video] for video in (PREDICTED, TRUE)]
    assert ref_davis([frames[0]], frames[1]).object_scores() == ref_davis([PREDICTED], TRUE).object_scores()


def test_ref_davis_reads_side_by_side_and_keeps_only_numbers():
    sizes = []
    for length in (6, 60):
        true = moving_objects(0, frames=length)
        log = []
        metric = RefDavisMetric(2)
        predictions = [watched(imperfect(true, seed), log, str(seed)) for seed in range(2)]
        metric.update("bear", predictions, watched(true, log, "truth"))
        check_read_side_by_side(log)
        sizes.append(len(pickle.dumps(metric.state_dict())))
    assert max(sizes) < 1500 and max(sizes) - min(sizes) < 50


def test_ref_davis_merges_exactly():
    updates = {}
    for seed in range(6):
        true = moving_objects(seed)
        updates[f"video{seed}"] = lambda metric, seed=seed, true=true: metric.update(
            f"video{seed}", [imperfect(true, seed), imperfect(true, seed + 50)], true
        )
    check_merging(lambda: RefDavisMetric(2), updates)


HIGH = PREDICTED.copy()
HIGH[2, 0, 0] = 21


@pytest.mark.parametrize(
    ("predictions", "ground_truth", "error", "words"),
    [
        (None, TRUE, ValueError, "`predictions` of video 'bear' are missing"),
        ([PREDICTED], TRUE, ValueError, "one video per annotator, 2, got 1"),
        (iter([PREDICTED] * 2), TRUE, TypeError, "sequence of 2 videos"),
        ([PREDICTED, None], TRUE, ValueError, r"`predictions\[1\]` of video 'bear' is missing"),
        ([PREDICTED] * 2, None, ValueError, "`ground_truth` of video 'bear' is missing"),
        ([PREDICTED, PREDICTED[:5]], TRUE, ValueError, r"`predictions\[1\]` .* has 5 frames, `ground_truth` has 6"),
        ([PREDICTED, Unsized(PREDICTED[:5])], TRUE, ValueError, r"`predictions\[1\]` .* ends after 5 frames"),
        ([PREDICTED, [*PREDICTED[:5], None]], TRUE, ValueError, r"`predictions\[1\]` .* frame 5 is missing"),
        ([PREDICTED, PREDICTED[:, :, 1:]], TRUE, ValueError, r"`predictions\[1\]` .* frame 0 must have 30x40 pixels"),
        ([PREDICTED, PREDICTED * 1.0], TRUE, TypeError, r"`predictions\[1\]` .* frame 0 .* float64"),
        ([PREDICTED, HIGH], TRUE, ValueError, r"`predictions\[1\]` .* frame 2 holds the object id 21, at most 20"),
        ([PREDICTED] * 2, [*TRUE[:5], None], ValueError, "`ground_truth` of video 'bear', frame 5 is missing"),
        ([PREDICTED[:0]] * 2, TRUE[:0], ValueError, "no frames"),
    ],
)
def test_ref_davis_refuses_bad_videos_and_stays_as_it_was(predictions, ground_truth, error, words):
    metric = RefDavisMetric(2)
    with pytest.raises(error, match=words):
        metric.update("bear", predictions, ground_truth)
    assert len(metric) == 0


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_number_of_annotators_is_checked(number):
    with pytest.raises(ValueError, match="`num_annotators`"):
        RefDavisMetric(number)


EXPRESSIONS = {"0": 1, "1": 3, "2": 1}


def masks_of(prediction: np.ndarray, expressions=EXPRESSIONS) -> dict[str, np.ndarray]:
    return {expression: prediction == object_id for expression, object_id in expressions.items()}


def ref_youtube(predictions, ground_truth, expressions=EXPRESSIONS) -> RefYouTubeVOSMetric:
    metric = RefYouTubeVOSMetric(keep_frames=True)
    metric.update("bear", predictions, ground_truth, expressions=expressions)
    return metric


def test_each_expression_is_compared_with_its_object_on_all_frames():
    scores = ref_youtube(masks_of(PREDICTED), TRUE).expression_scores()["bear"]
    assert list(scores) == ["0", "1", "2"]
    for expression, object_id in EXPRESSIONS.items():
        pairs = [(true == object_id, predicted == object_id) for true, predicted in zip(TRUE, PREDICTED, strict=True)]
        assert scores[expression]["J_frames"] == [region_similarity(*pair) for pair in pairs]
        assert scores[expression]["F_frames"] == [boundary_accuracy(*pair) for pair in pairs]
        assert scores[expression]["J"] == pytest.approx(np.mean(scores[expression]["J_frames"]), abs=1e-15)


def test_expressions_weigh_the_same():
    metric = RefYouTubeVOSMetric()
    metric.update("many", masks_of(TRUE), TRUE, expressions=EXPRESSIONS)
    metric.update("one", {"0": 0 * TRUE[:2]}, TRUE[:2], expressions={"0": 2})
    assert metric.compute() == {"J&F": 0.75, "J": 0.75, "F": 0.75}
    assert all(math.isnan(value) for value in RefYouTubeVOSMetric().compute().values())


def test_absent_objects_and_single_frames():
    gone = TRUE.copy()
    gone[3:][gone[3:] == 2] = 0
    scores = ref_youtube({"0": TRUE == 2, "1": gone == 2}, gone, {"0": 2, "1": 2}).expression_scores()["bear"]
    assert scores["0"]["J_frames"] == scores["0"]["F_frames"] == [1, 1, 1, 0, 0, 0]
    assert scores["1"]["J"] == scores["1"]["F"] == 1
    assert ref_youtube(masks_of(TRUE[:1]), TRUE[:1]).compute()["J&F"] == 1


def test_forms_of_masks_agree():
    expected = ref_youtube(masks_of(PREDICTED), TRUE).expression_scores()
    images = {key: masks.astype(np.uint8) * np.uint8(255) for key, masks in masks_of(PREDICTED).items()}
    rles = {
        key: [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
        for key, masks in masks_of(PREDICTED).items()
    }
    for predictions in (images, rles):
        assert ref_youtube(predictions, [as_run_lengths(frame, 3) for frame in TRUE]).expression_scores() == expected


def test_ref_youtube_vos_reads_side_by_side():
    log = []
    predictions = {key: watched(masks, log, key) for key, masks in masks_of(PREDICTED).items()}
    metric = ref_youtube(predictions, watched(TRUE, log, "truth"))
    check_read_side_by_side(log)
    assert metric.compute() == ref_youtube(masks_of(PREDICTED), TRUE).compute()


def test_ref_youtube_vos_merges_exactly():
    updates = {}
    for seed in range(6):
        true = moving_objects(seed)
        predicted = masks_of(imperfect(true, seed))
        updates[f"video{seed}"] = lambda metric, seed=seed, true=true, predicted=predicted: metric.update(
            f"video{seed}", predicted, true, expressions=EXPRESSIONS
        )
    check_merging(RefYouTubeVOSMetric, updates)


GOOD = masks_of(PREDICTED)


@pytest.mark.parametrize(
    ("predictions", "ground_truth", "expressions", "error", "words"),
    [
        (None, TRUE, EXPRESSIONS, TypeError, "`predictions` of video 'bear' must map expressions, got NoneType"),
        (GOOD, TRUE, {}, ValueError, "`expressions` of video 'bear' is empty"),
        (GOOD, TRUE, {**EXPRESSIONS, "3": 2}, ValueError, r"missing are \['3'\], unknown \[\]"),
        (GOOD, TRUE, {"0": 1, "1": 3}, ValueError, r"missing are \[\], unknown \['2'\]"),
        (GOOD, TRUE, {**EXPRESSIONS, "2": 0}, ValueError, "expression '2' .* positive integers as object ids, got 0"),
        ({**GOOD, "1": None}, TRUE, EXPRESSIONS, ValueError, r"`predictions\['1'\]` of video 'bear' is missing"),
        (GOOD, None, EXPRESSIONS, ValueError, "`ground_truth` of video 'bear' is missing"),
        ({**GOOD, "1": GOOD["1"][:4]}, TRUE, EXPRESSIONS, ValueError, r"`predictions\['1'\]` .* has 4 frames"),
        (
            {**GOOD, "1": [*GOOD["1"][:4], None, None]},
            TRUE,
            EXPRESSIONS,
            ValueError,
            r"\['1'\]` .* frame 4 is missing",
        ),
        (
            {**GOOD, "1": GOOD["1"][:, 1:]},
            TRUE,
            EXPRESSIONS,
            ValueError,
            r"\['1'\]` .* frame 0 must have 30x40 pixels",
        ),
        ({**GOOD, "1": PREDICTED}, TRUE, EXPRESSIONS, ValueError, r"\['1'\]` .* frame 0 must be a binary mask"),
        ({**GOOD, "1": GOOD["1"] * np.nan}, TRUE, EXPRESSIONS, TypeError, r"\['1'\]` .* frame 0 .* float64"),
        (GOOD, [*TRUE[:5], None], EXPRESSIONS, ValueError, "`ground_truth` of video 'bear', frame 5 is missing"),
        (masks_of(PREDICTED[:0]), TRUE[:0], EXPRESSIONS, ValueError, "no frames"),
    ],
)
def test_ref_youtube_vos_refuses_bad_videos_and_stays_as_it_was(predictions, ground_truth, expressions, error, words):
    metric = RefYouTubeVOSMetric()
    with pytest.raises(error, match=words):
        metric.update("bear", predictions, ground_truth, expressions=expressions)
    assert len(metric) == 0
