# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Matching and precision, compared with loops that follow the written rules one by one."""

import numpy as np
import pytest

from univs_hf.metrics.average_precision import Matches, match_detections, precision_and_recall


def match_by_the_rules(ious, threshold, ignored, repeatable, tolerance):
    """Objects that count first, each kind in the order given; then the loop of the specification."""
    order = sorted(range(len(ignored)), key=lambda g: ignored[g])
    taken, result = set(), []
    for row in ious:
        best, match = min(threshold, 1 - 1e-10), -1
        for g in order:
            if g in taken and not repeatable[g]:
                continue
            if match >= 0 and not ignored[match] and ignored[g]:
                break
            if row[g] < best - tolerance:
                continue
            best, match = row[g], g
        taken.add(match)
        result.append(match)
    return result


@pytest.mark.parametrize("tolerance", [0.0, float(np.finfo(float).eps)])
def test_matches_follow_the_rules(tolerance: float):
    rng = np.random.default_rng(11)
    thresholds = np.linspace(0.5, 0.95, 10)
    for _ in range(150):
        num_detections, num_objects = rng.integers(0, 7, 2)
        # Few values, so that equal IoUs and IoUs equal to a threshold are common.
        ious = rng.choice([0.0, 0.3, 0.5, 0.55, 0.75, 0.8, 1.0], (num_detections, num_objects))
        repeatable = rng.random(num_objects) < 0.3
        ignored = (rng.random((3, num_objects)) < 0.4) | repeatable
        found = match_detections(ious, thresholds, ignored, repeatable, tolerance)
        assert found.shape == (3, 10, num_detections)
        for r in range(3):
            for t, threshold in enumerate(thresholds):
                expected = match_by_the_rules(ious, threshold, ignored[r], repeatable, tolerance)
                assert found[r, t].tolist() == expected


def test_equal_overlaps_take_the_later_object():
    ious = np.array([[0.8, 0.8], [0.8, 0.8]])
    none = np.zeros((1, 2), dtype=bool)
    assert match_detections(ious, np.array([0.5]), none, none[0])[0, 0].tolist() == [1, 0]


def entry(scores, matched, ignored=None, num_ground_truth=1) -> Matches:
    matched = np.array(matched, dtype=bool)[None, None]
    ignored = np.zeros_like(matched) if ignored is None else np.array(ignored, dtype=bool)[None, None]
    return Matches(np.array(scores, dtype=float), matched, ignored, np.array([num_ground_truth]))


def test_precision_by_hand():
    # By score: hit, miss, hit of 4 objects. Precision 1 up to recall 1/4, 2/3 up to 1/2, nothing beyond.
    precision, recall = precision_and_recall([entry([0.9, 0.4], [1, 1], num_ground_truth=3), entry([0.5], [0])])
    expected = np.zeros(101)
    expected[:26], expected[26:51] = 1.0, 2 / 3
    np.testing.assert_allclose(precision[0, 0], expected, rtol=0, atol=1e-15)
    assert recall[0, 0] == 0.5


def test_ties_keep_the_order_of_the_videos():
    first, second = entry([0.5], [1]), entry([0.5], [0])
    assert precision_and_recall([first, second])[0][0, 0, 50] == pytest.approx(1.0, abs=1e-15)
    assert precision_and_recall([second, first])[0][0, 0, 50] == pytest.approx(0.5, abs=1e-15)


def test_limits_ignored_detections_and_empty_lists():
    video = entry([0.9, 0.8, 0.7], [0, 1, 1], [1, 0, 0], num_ground_truth=2)
    assert precision_and_recall([video])[1][0, 0] == 1.0
    assert precision_and_recall([video])[0][0, 0, 100] == pytest.approx(1.0, abs=1e-15)
    # The first two of the video, one of them ignored.
    assert precision_and_recall([video], 2)[1][0, 0] == 0.5
    assert precision_and_recall([]) is None
    precision, recall = precision_and_recall([entry([], [], num_ground_truth=2)])
    assert recall[0, 0] == 0.0 and not precision.any()
    precision, recall = precision_and_recall([entry([0.5], [0], num_ground_truth=0)])
    assert recall[0, 0] == -1.0 and (precision == -1.0).all()
