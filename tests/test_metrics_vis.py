# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Average precision of video instance segmentation."""

import math
import pickle
from typing import Any

import numpy as np
import pytest

from univs_hf.metrics.vis import VideoAP, score_youtube_vis
from univs_hf.rle import encode_mask

SHAPE = (20, 30)
SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def box(left: int, width: int = 6, frames: int = 3) -> list[dict[str, Any]]:
    """A box of 10 x `width` pixels that does not move."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:15, left : left + width] = True
    return [encode_mask(mask) for _ in range(frames)]


def truth(left: int = 0, category: int = 1, **values: Any) -> dict[str, Any]:
    return {"category_id": category, "segmentations": box(left), **values}


def found(left: int = 0, category: int = 1, score: float = 0.5, **values: Any) -> dict[str, Any]:
    return {"category_id": category, "score": score, "segmentations": box(left), **values}


def random_videos(count: int = 12) -> dict[int, tuple[list, list]]:
    """Videos with ties, crowds, several categories and unmatched detections."""
    rng = np.random.default_rng(5)
    videos = {}
    for video in rng.permutation(np.arange(1, 40))[:count].tolist():
        objects = [
            truth(int(rng.integers(0, 20)), int(rng.integers(1, 4)), id=i + 1, iscrowd=int(rng.random() < 0.2))
            for i in range(rng.integers(0, 5))
        ]
        detections = [
            found(int(rng.integers(0, 20)), int(rng.integers(1, 4)), float(rng.integers(0, 5)) / 5)
            for _ in range(rng.integers(0, 8))
        ]
        videos[video] = objects, detections
    return videos


def score(videos: dict[int, tuple[list, list]], order: list[int] | None = None, **options: Any) -> VideoAP:
    metric = VideoAP([1, 2, 3], **options)
    for video in order or videos:
        objects, detections = videos[video]
        metric.update(video, detections, objects)
    return metric


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return repr(a) == repr(b)


def test_ground_truth_as_prediction_is_perfect():
    metric = VideoAP([1, 2, 7])
    metric.update("a", [found(0, 1), found(10, 2)], [truth(0, 1), truth(10, 2)])
    metric.update("b", [found(20, 1, 0.9)], [truth(20, 1)])
    figures = metric.compute()
    assert figures["AP"] == figures["AP50"] == figures["AR100"] == pytest.approx(1.0, abs=1e-12)
    assert figures["AP_per_category"][2] == pytest.approx(1.0, abs=1e-12)
    assert math.isnan(figures["AP_per_category"][7])
    # All objects are small: nothing to measure the others on.
    assert figures["APs"] == pytest.approx(1.0, abs=1e-12)
    assert figures["APm"] == figures["APl"] == figures["ARl"] == -1.0


def test_no_detections_and_no_videos():
    metric = VideoAP([1])
    assert all(metric.compute()[name] == -1.0 for name in SUMMARY)
    metric.update("a", [], [truth()])
    assert metric.compute()["AP"] == metric.compute()["AR100"] == 0.0
    # The official code fails on an empty list of results.
    ground_truth = {"videos": [{"id": 4}], "categories": [{"id": 1}], "annotations": [truth(id=1, video_id=4)]}
    assert score_youtube_vis(ground_truth, []).compute()["AP"] == 0.0


def test_limits_of_detections_are_per_video_and_category():
    metric = VideoAP([1, 2])
    objects = [truth(0, 1), truth(10, 1), truth(0, 2), truth(10, 2)]
    metric.update("a", [found(0, 1, 0.9), found(10, 1, 0.8), found(0, 2, 0.7), found(10, 2, 0.6)], objects)
    figures = metric.compute()
    assert figures["AR1"] == 0.5 and figures["AR10"] == 1.0


def test_only_the_best_hundred_detections_of_a_category_count():
    wrong = [found(20, score=0.9) for _ in range(100)]
    metric = VideoAP([1])
    metric.update("a", [*wrong[1:], found(0, score=0.1)], [truth(0)])
    assert metric.compute()["AR100"] == 1.0
    metric.reset()
    metric.update("a", [*wrong, found(0, score=0.1)], [truth(0)])
    assert metric.compute()["AR100"] == 0.0


def test_crowds_use_the_ordinary_overlap_and_may_be_matched_twice():
    # A detection inside a crowd of twice its size: IoU 1/2, so that it is dropped at IoU 0.5 and counts above.
    crowd = {"category_id": 1, "segmentations": box(0, 12), "iscrowd": 1}
    metric = VideoAP([1])
    metric.update("a", [found(0, score=0.9), found(6, score=0.8), found(20, score=0.1)], [crowd, truth(20)])
    figures = metric.compute()
    assert figures["AP50"] == pytest.approx(1.0, abs=1e-12)
    assert figures["AP75"] == pytest.approx(1 / 3, abs=1e-12)


def test_areas_are_those_of_the_annotation():
    # 60 pixels by the masks; the annotation says that the object is large in the frames it names.
    metric = VideoAP([1])
    metric.update("a", [found(0)], [truth(0, areas=[None, 256**2 + 1, 0])])
    figures = metric.compute()
    assert figures["APl"] == pytest.approx(1.0, abs=1e-12) and figures["APs"] == -1.0
    # Bounds belong to both ranges.
    metric.reset()
    metric.update("a", [found(0)], [truth(0, areas=[128**2] * 3)])
    assert metric.compute()["APs"] == metric.compute()["APm"] == pytest.approx(1.0, abs=1e-12)


def test_annotation_id_zero():
    official, sane = VideoAP([1]), VideoAP([1], count_annotation_id_zero=True)
    for metric in (official, sane):
        metric.update("a", [found(0, score=0.9), found(10, score=0.8)], [truth(0, id=0), truth(10, id=1)])
    assert sane.compute()["AR100"] == 1.0
    # Found but never counted: a false positive and a miss.
    assert official.compute()["AR100"] == 0.5
    assert official.compute()["AP50"] == pytest.approx(0.5 * 51 / 101, abs=1e-12)
    with pytest.raises(ValueError, match="settings"):
        official.merge(sane)


def test_frames_beyond_the_other_tube_are_left_out_unless_lengths_are_given():
    metric = VideoAP([1])
    metric.update("a", [found(segmentations=box(0, frames=5))], [truth()])
    assert metric.compute()["AP"] == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match=r"`predictions\[0\]` of video 'b' must have 3 frames, got 5"):
        metric.update("b", [found(segmentations=box(0, frames=5))], [truth()], num_frames=3)


def test_label_maps_in_place_of_masks():
    maps = np.zeros((3, *SHAPE), dtype=np.int32)
    maps[:, 5:15, :6] = 4
    metric = VideoAP([1])
    metric.update(
        "a",
        [{"category_id": 1, "label": 4, "score": 0.3}, found(20, score=0.1)],
        [{"category_id": 1, "label": 4}],
        ground_truth_label_maps=maps,
        prediction_label_maps=maps,
    )
    assert metric.compute()["AP"] == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="needs `prediction_label_maps`"):
        metric.update("b", [{"category_id": 1, "label": 4, "score": 0.3}], [])


def test_figures_do_not_depend_on_order_or_division():
    videos = random_videos()
    whole = score(videos)
    assert -1 < whole.compute()["AP"] < 1
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(list(videos)).tolist()
        assert same(score(videos, order).compute(), whole.compute())
        parts = [score(videos, order[i::3]) for i in range(3)]
        parts[2].merge(parts[0])
        parts[2].merge(parts[1])
        assert same(parts[2].compute(), whole.compute())
        carried = VideoAP([1, 2, 3])
        carried.load_state_dict(pickle.loads(pickle.dumps(whole.state_dict())))
        assert same(carried.compute(), whole.compute())


def test_videos_with_equal_scores_follow_their_numbers():
    """Video 10 comes after video 9, so that the hit in 9 counts first; as text it would come before."""
    metric = VideoAP([1])
    metric.update(10, [found(0)], [])
    metric.update(9, [found(0)], [truth(0)])
    assert metric.compute()["AP"] == pytest.approx(1.0, abs=1e-12)


def test_a_failed_update_leaves_nothing_behind():
    metric = VideoAP([1])
    with pytest.raises(ValueError, match="finite"):
        metric.update("a", [found(score=math.nan)], [truth()])
    assert len(metric) == 0
    metric.update("a", [found()], [truth()])
    with pytest.raises(ValueError, match="'a' was given before"):
        metric.update("a", [], [truth()])


@pytest.mark.parametrize(
    ("objects", "detections", "error", "message"),
    [
        (
            [],
            [found(score=math.nan)],
            ValueError,
            r"`predictions\[0\]` of video 7 must have a finite `score`, got nan",
        ),
        ([], [found(), found(score=math.inf)], ValueError, r"`predictions\[1\]` of video 7 must have a finite"),
        ([], [found(score="high")], TypeError, "must have a number as `score`"),
        ([], [found(score=True)], TypeError, "must have a number as `score`"),
        ([], [{"category_id": 1, "segmentations": []}], ValueError, r"lacks \['score'\]"),
        ([], [{"category_id": 1, "score": 0.5}], ValueError, r"lacks \['segmentations'\]"),
        ([{"segmentations": []}], [], ValueError, r"`ground_truth\[0\]` of video 7 lacks \['category_id'\]"),
        ([], [found(category="dog")], TypeError, "must have an integer `category_id`"),
        ([], [found(video_id=8)], ValueError, "belongs to another video, 8"),
        ([truth(category=9)], [], ValueError, "has the category 9, which is not among the 2"),
        ([truth(iscrowd=2)], [], ValueError, "must have an `iscrowd` of 0 or 1, got 2"),
        (
            [truth(id=3), truth(id=3)],
            [],
            ValueError,
            r"`ground_truth\[1\]` of video 7 has the `id` 3 of an annotation",
        ),
        ([truth(areas=[1, 2])], [], ValueError, "has 2 `areas` for 3 frames"),
        ([truth(areas=[1, math.nan, 2])], [], ValueError, "frame 1 must have an area of 0 or more, got nan"),
        ([truth()], ["mask"], TypeError, r"`predictions\[0\]` of video 7 must be a dict, got str"),
        ([truth()], found(), TypeError, "`predictions` of video 7 must be a list of dicts, got dict"),
        ([truth()], None, TypeError, "`predictions` of video 7 must be a list of dicts, got NoneType"),
        (
            [truth()],
            [found(segmentations=[None, encode_mask(np.ones((30, 20)))])],
            ValueError,
            r"`predictions\[0\]` of video 7, frame 1 must have 20x30 pixels \(height x width\), got 30x20",
        ),
        (
            [truth()],
            [found(segmentations=[{"size": SHAPE, "counts": "5"}])],
            ValueError,
            r"`predictions\[0\]` of video 7, frame 0 has run lengths that do not fill",
        ),
    ],
)
def test_errors_name_video_and_place(objects, detections, error, message):
    metric = VideoAP([1, 2])
    with pytest.raises(error, match=message):
        metric.update(7, detections, objects)
    assert len(metric) == 0


def test_detections_of_unknown_categories():
    metric = VideoAP([1])
    with pytest.warns(UserWarning, match=r"`predictions` of video 'a' have categories that are not evaluated: \[5\]"):
        metric.update("a", [found(category=5, score=0.9), found()], [truth()])
    assert metric.compute()["AP"] == pytest.approx(1.0, abs=1e-12)
    strict = VideoAP([1], unknown_categories="error")
    with pytest.raises(ValueError, match=r"video 'a' have categories that are not evaluated: \[5\]"):
        strict.update("a", [found(category=5)], [truth()])


def test_constructor_checks_its_arguments():
    with pytest.raises(TypeError, match="`category_ids` must be integers"):
        VideoAP(["dog"])
    with pytest.raises(ValueError, match="`unknown_categories` must be"):
        VideoAP([1], unknown_categories="drop")


def test_results_files():
    ground_truth = {
        "videos": [{"id": 3}, {"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [truth(0, id=1, video_id=3), truth(9, id=2, video_id=1)],
    }
    metric = score_youtube_vis(ground_truth, [found(0, video_id=3)])
    assert metric.video_ids == ["1", "3"] and metric.compute()["AR100"] == 0.5
    with pytest.raises(ValueError, match="`results` entry 0 belongs to the video 4, which is not among the 2"):
        score_youtube_vis(ground_truth, [found(0, video_id=4)])
    with pytest.raises(ValueError, match="`ground_truth` entry 0 belongs to the video 3"):
        score_youtube_vis({**ground_truth, "videos": []}, [])
    with pytest.raises(ValueError, match=r"`ground_truth` lacks \['annotations'\]"):
        score_youtube_vis({"videos": [], "categories": []}, [])
