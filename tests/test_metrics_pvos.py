# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPOSeg's figures: groups, references, decay, merging, and what is refused."""

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

from univs_hf.metrics.pvos import GROUPS, PVOSMetric, object_group
from univs_hf.metrics.region_boundary import boundary_iou, region_similarity

TRUE = moving_objects(0, objects=4)
PREDICTED = imperfect(TRUE, 1)
# One class of each group.
CLASSES = {1: 60, 2: 102, 3: 28, 4: 9}
ALL_AT_FIRST = {0: [1, 2, 3, 4]}


def pvos(prediction, ground_truth, references=ALL_AT_FIRST, classes=CLASSES, video="bear", **options) -> PVOSMetric:
    metric = PVOSMetric(**options)
    metric.update(video, prediction, ground_truth, reference_frames=references, object_classes=classes)
    return metric


def expected_pair(object_id: int, frames: range, prediction=PREDICTED, ground_truth=TRUE) -> tuple[float, float]:
    """Mean mask IoU and mean Boundary IoU of an object."""
    pairs = [(ground_truth[i] == object_id, prediction[i] == object_id) for i in frames]
    return tuple(np.mean([function(*pair) for pair in pairs]) for function in (region_similarity, boundary_iou))


def test_objects_are_scored_after_their_reference_frame_to_the_end():
    references = {0: [1, 4], 2: [3], 4: [2]}
    figures = pvos(PREDICTED, TRUE, references).compute()
    for object_id, group, first in (
        (1, "thing_seen", 0),
        (2, "thing_unseen", 4),
        (3, "stuff_seen", 2),
        (4, "stuff_unseen", 0),
    ):
        iou, boundary = expected_pair(object_id, range(first + 1, 6))
        assert figures[f"{group}_miou"] == pytest.approx(iou, abs=1e-15)
        assert figures[f"{group}_biou"] == pytest.approx(boundary, abs=1e-15)
        assert figures[f"{group}_iou"] == pytest.approx((iou + boundary) / 2, abs=1e-15)
    eight = [figures[f"{group}_{kind}"] for group in GROUPS for kind in ("miou", "biou")]
    assert figures["overall_iou"] == pytest.approx(np.mean(eight), abs=1e-15)
    assert list(figures) == [f"{g}_{kind}" for kind in ("miou", "biou", "iou") for g in GROUPS] + [
        "overall_iou",
        "decay",
    ]


def test_groups_are_means_over_pairs_of_object_and_frame():
    # Object 1 is scored on five frames, object 2 on one; both are seen things.
    classes = {**CLASSES, 2: 60}
    predicted = np.where(TRUE == 2, 0, TRUE)
    assert pvos(predicted, TRUE, {0: [1], 4: [2]}, classes).compute()["thing_seen_miou"] == pytest.approx(5 / 6)


def test_empty_masks_and_groups():
    gone = np.where((TRUE == 1) & (np.arange(6) > 2)[:, None, None], 0, TRUE)
    figures = pvos(gone, gone, {0: [1]}).compute()
    assert figures["thing_seen_miou"] == figures["thing_seen_biou"] == 1
    assert math.isnan(figures["stuff_seen_miou"]) and math.isnan(figures["overall_iou"])
    assert pvos(TRUE, gone, {0: [1]}).compute()["thing_seen_biou"] == pytest.approx(2 / 5)
    assert all(math.isnan(value) for value in PVOSMetric().compute().values())


def test_every_class_of_vipseg_has_a_group():
    groups = {class_id: object_group(class_id, "video") for class_id in range(124)}
    counts = {group: list(groups.values()).count(group) for group in GROUPS}
    assert counts == {"thing_seen": 41, "thing_unseen": 17, "stuff_seen": 49, "stuff_unseen": 17}
    for group, classes in {
        "thing_seen": (60, 89, 90, 8, 48, 2, 79),
        "thing_unseen": (102, 99, 109, 47),
        "stuff_seen": (28, 66, 0, 14, 15, 13, 98),
        "stuff_unseen": (9, 71, 120, 58, 26),
    }.items():
        assert {groups[class_id] for class_id in classes} == {group}
    assert object_group(98, "187_WUZUSD4477I") == "stuff_unseen"
    assert object_group(124, "video") is None and object_group(-1, "video") is None


def test_video_name_decides_about_other_machines():
    for video, group in (("187_WUZUSD4477I", "stuff_unseen"), ("188_", "stuff_seen")):
        figures = pvos(TRUE, TRUE, {0: [1]}, {1: 98}, video).compute()
        assert [name for name in GROUPS if not math.isnan(figures[f"{name}_miou"])] == [group]


def test_decay_is_a_fit_through_the_origin():
    # One object on frame 1, three from frame 2 on.
    figures = pvos(PREDICTED, TRUE, {0: [1], 1: [2, 3]}).compute()
    one = np.mean(expected_pair(1, range(1, 2)))
    three = np.mean([expected_pair(object_id, range(2, 6)) for object_id in (1, 2, 3)])
    a, b = np.array([0.01, 0.03]), -np.log([one, three])
    assert figures["decay"] == pytest.approx(np.linalg.lstsq(a[:, None], b, rcond=None)[0][0], rel=1e-12)
    assert pvos(TRUE, TRUE).compute()["decay"] == 0
    assert pvos(np.zeros_like(TRUE), TRUE).compute()["decay"] == math.inf


def test_decay_leaves_out_sixty_objects_and_more():
    frame = np.arange(1, 91, dtype=np.uint8).reshape(9, 10).repeat(3, 0).repeat(3, 1)
    true = np.stack([frame] * 3)
    shown = {0: range(1, 60), 1: range(60, 91)}
    figures = pvos(np.concatenate([true[:2], 0 * true[2:]]), true, shown, dict.fromkeys(range(1, 91), 60)).compute()
    assert figures["decay"] == 0 and figures["thing_seen_miou"] == pytest.approx(59 / (59 + 90))


def test_object_in_two_references_counts_twice_unless_told_otherwise():
    references = {0: [1, 2], 3: [1]}
    classes = {1: 60, 2: 60}
    predicted = TRUE.copy()
    predicted[4:][predicted[4:] == 1] = 0
    twice, once = (pvos(predicted, TRUE, references, classes, count_repeated=flag).compute() for flag in (True, False))
    assert once["thing_seen_miou"] == pytest.approx(8 / 10) and twice["thing_seen_miou"] == pytest.approx(8 / 12)
    # With two objects, and officially three from frame 4 on: 2/2, 2/2, 2/2, then 1/2 or 1/3.
    assert once["decay"] == pytest.approx(-math.log(8 / 10) / 0.02)
    assert twice["decay"] == pytest.approx(-math.log(1 / 3) * 0.03 / (0.02**2 + 0.03**2))


def test_unknown_classes_are_left_out_of_the_groups_or_refused():
    classes = {1: 60, 2: 130}
    predicted = np.where(TRUE == 2, 0, TRUE)
    figures = pvos(predicted, TRUE, {0: [1, 2]}, classes).compute()
    assert figures["thing_seen_miou"] == 1 and figures["decay"] == pytest.approx(math.log(2) / 0.02)
    with pytest.raises(ValueError, match="video 'bear' gives class 130 for object 2; known are 0 to 123"):
        pvos(predicted, TRUE, {0: [1, 2]}, classes, unknown_classes="error")
    with pytest.raises(ValueError, match="`unknown_classes`"):
        PVOSMetric(unknown_classes="ignore")


def test_other_ids_and_void_are_not_looked_at():
    noisy = PREDICTED.copy()
    noisy[(PREDICTED == 0) & (TRUE == 0)] = 255
    true = np.where(TRUE == 0, 255, TRUE)
    assert pvos(noisy, true).compute() == pvos(PREDICTED, TRUE).compute()


@pytest.mark.parametrize("form", [as_masks, as_run_lengths])
def test_forms_of_frames_agree(form):
    frames = [[form(frame, 4) for frame in video] for video in (PREDICTED, TRUE)]
    assert pvos(*frames).compute() == pvos(PREDICTED, TRUE).compute()


def test_videos_are_read_side_by_side_and_only_sums_are_kept():
    log = []
    metric = pvos(watched(PREDICTED, log, "prediction"), watched(TRUE, log, "truth"))
    check_read_side_by_side(log)
    size = len(pickle.dumps(metric.state_dict()))
    for seed in range(20):
        metric.update(
            f"video{seed}", imperfect(TRUE, seed), TRUE, reference_frames=ALL_AT_FIRST, object_classes=CLASSES
        )
    # Sums grow by the digits they need, videos by their ids.
    assert len(pickle.dumps(metric.state_dict())) < size + 1000


def test_merges_exactly():
    updates = {}
    for seed in range(7):
        true = moving_objects(seed, objects=4)
        updates[f"video{seed}"] = lambda metric, seed=seed, true=true: metric.update(
            f"video{seed}",
            imperfect(true, seed),
            true,
            reference_frames={0: [1, 2], 1: [3], 3: [4]},
            object_classes=CLASSES,
        )
    check_merging(PVOSMetric, updates)


@pytest.mark.parametrize(
    ("prediction", "ground_truth", "error", "words"),
    [
        (None, TRUE, ValueError, "`prediction` of video 'bear' is missing"),
        (PREDICTED, None, ValueError, "`ground_truth` of video 'bear' is missing"),
        (PREDICTED[:4], TRUE, ValueError, "has 4 frames, `ground_truth` has 6"),
        (Unsized(PREDICTED[:4]), TRUE, ValueError, "`prediction` of video 'bear' ends after 4 frames"),
        ([*PREDICTED[:5], None], TRUE, ValueError, "`prediction` of video 'bear', frame 5 is missing"),
        (PREDICTED, [None, *TRUE[1:]], ValueError, "`ground_truth` of video 'bear', frame 0 is missing"),
        (PREDICTED[:, 1:], TRUE, ValueError, "frame 1 must have 30x40 pixels .* got 29x40"),
        (PREDICTED / np.nan, TRUE, TypeError, "`prediction` of video 'bear', frame 1 .* float64"),
        (-PREDICTED.astype(int), TRUE, ValueError, "frame 1 must hold labels of 0 and above"),
    ],
)
def test_bad_videos_are_refused(prediction, ground_truth, error, words):
    metric = PVOSMetric()
    with np.errstate(invalid="ignore"), pytest.raises(error, match=words):
        metric.update("bear", prediction, ground_truth, reference_frames=ALL_AT_FIRST, object_classes=CLASSES)
    assert len(metric) == 0 and math.isnan(metric.compute()["decay"])


@pytest.mark.parametrize(
    ("references", "classes", "error", "words"),
    [
        ({6: [1]}, CLASSES, ValueError, "names frame 6, the video has 6"),
        ({-1: [1]}, CLASSES, ValueError, "frame -1"),
        ({"0": [1]}, CLASSES, TypeError, "frame '0': frames are given by their index"),
        (
            {0: [5]},
            CLASSES,
            ValueError,
            "`reference_frames` of video 'bear', frame 0 holds object 5, which has no class",
        ),
        ({0: [255]}, CLASSES, ValueError, "object 255, which has no class"),
        ({0: [0]}, CLASSES, ValueError, "positive integers as object ids, got 0"),
        ({0: [1]}, {1: "person"}, TypeError, "`object_classes` .* got 'person'"),
    ],
)
def test_references_and_classes_are_checked(references, classes, error, words):
    with pytest.raises(error, match=words):
        pvos(PREDICTED, TRUE, references, classes)


def test_no_prediction_is_needed_before_the_first_scored_frame():
    references = {2: [1, 2, 3, 4]}
    frames = [None, None, None, *PREDICTED[3:]]
    assert pvos(frames, TRUE, references).compute() == pvos(PREDICTED, TRUE, references).compute()
