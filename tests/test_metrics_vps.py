# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VPQ: against the definition tube by tube, merged, in other forms of input, and with bad input."""

import copy
import pickle
from collections import defaultdict

import numpy as np
import pytest
from panoptic_videos import CATEGORIES, random_panoptic_video

from univs_hf.metrics.panoptic_frames import panoptic_overlaps, rgb_to_ids
from univs_hf.metrics.vipseg_annotations import pair_annotations
from univs_hf.metrics.vps import VPQMetric


def slow_counts(videos, window: int) -> dict[int, dict[str, float]]:
    """Sums per class straight from the definition: every window, every pair of tubes, pixel by pixel."""
    sums = defaultdict(lambda: {"iou": 0.0, "tp": 0, "fp": 0, "fn": 0})
    for predicted_frames, true_frames in videos:
        for start in range(len(true_frames) - window + 1):
            sides = []
            for frames in (predicted_frames, true_frames):
                part = frames[start : start + window]
                tubes = {}
                for _, segments in part:
                    for segment in segments:
                        tubes.setdefault(segment["id"], dict(segment, area=0))
                        tubes[segment["id"]]["area"] += segment["area"]
                sides.append((np.stack([ids for ids, _ in part]), tubes))
            (predicted, predicted_tubes), (true, true_tubes) = sides
            matched = set()
            for g, tube in true_tubes.items():
                for p, other in predicted_tubes.items():
                    common = ((true == g) & (predicted == p)).sum()
                    if tube["iscrowd"] or tube["category_id"] != other["category_id"] or not common:
                        continue
                    on_void = ((true == 0) & (predicted == p)).sum()
                    iou = common / ((predicted == p).sum() + tube["area"] - common - on_void)
                    if iou > 0.5:
                        sums[tube["category_id"]]["tp"] += 1
                        sums[tube["category_id"]]["iou"] += iou
                        matched |= {("true", g), ("predicted", p)}
            last_crowd = {}
            for g, tube in true_tubes.items():
                if tube["iscrowd"]:
                    last_crowd[tube["category_id"]] = g
                elif ("true", g) not in matched:
                    sums[tube["category_id"]]["fn"] += 1
            for p, tube in predicted_tubes.items():
                pixels = predicted == p
                ignored = (pixels & (true == 0)).sum()
                if tube["category_id"] in last_crowd:
                    ignored += (pixels & (true == last_crowd[tube["category_id"]])).sum()
                if ("predicted", p) not in matched and not ignored / pixels.sum() > 0.5:
                    sums[tube["category_id"]]["fp"] += 1
    return sums


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("lengths", [(1, 3, 7, 9), (31, 33), (70,)])
def test_against_the_definition(lengths, crowds):
    """Videos shorter than a window, as long as a block of windows, and of several blocks."""
    videos = [random_panoptic_video(length, length, crowds) for length in lengths]
    metric = VPQMetric(CATEGORIES, (1, 2, 4, 6, 8))
    for i, video in enumerate(videos):
        metric.update(f"v{i}", *video)
    figures = metric.compute()
    means = []
    for window in metric.windows:
        expected = slow_counts(videos, window)
        found = metric.class_quality(window)
        by_group = defaultdict(list)
        for category in CATEGORIES:
            ours, sums = found[category["id"]], expected[category["id"]]
            assert {name: ours[name] for name in ("tp", "fp", "fn")} == {
                name: sums[name] for name in ("tp", "fp", "fn")
            }
            assert ours["iou"] == pytest.approx(sums["iou"], abs=1e-11)
            if sums["tp"] + sums["fp"] + sums["fn"]:
                quality = sums["iou"] / (sums["tp"] + sums["fp"] / 2 + sums["fn"] / 2)
                by_group["_things" if category["isthing"] else "_stuff"].append(quality)
        by_group[""] = by_group["_things"] + by_group["_stuff"]
        for ending, qualities in by_group.items():
            assert figures[f"VPQ_{window}{ending}"] == pytest.approx(np.mean(qualities), abs=1e-12)
        means.append(np.mean(by_group[""]))
    assert figures["VPQ"] == pytest.approx(np.mean(means), abs=1e-12)
    assert figures["VPQ_mean_1_2_4_6"] == pytest.approx(np.mean(means[:4]), abs=1e-12)
    assert sum(quality["tp"] for quality in metric.class_quality(1).values()) > 10


def test_ground_truth_against_itself():
    _, true = random_panoptic_video(0, 12)
    figures = VPQMetric(CATEGORIES)
    figures.update("a", true, true)
    assert set(figures.compute().values()) == {1.0}


def test_a_match_needs_more_than_half():
    """|g| = 3, |p| = 3, common 2: IoU 2/4 is no match; without the pixel on void it is 2/3."""
    segments = [{"id": 5, "category_id": 1}]
    for rest, tp in ((9, 0), (0, 1)):
        true = np.array([[5, 5, 5, rest]])
        predicted = np.array([[0, 5, 5, 5]])
        listed = segments + ([{"id": 9, "category_id": 2}] if rest else [])
        metric = VPQMetric(CATEGORIES, (1,))
        metric.update("a", [(predicted, segments)], [(true, listed)])
        assert metric.class_quality(1)[1]["tp"] == tp
        assert metric.class_quality(1)[1]["fp"] == 1 - tp


@pytest.mark.parametrize(("on_void", "fp"), [(2, 1), (3, 0)])
def test_a_false_positive_lies_on_void_for_at_most_half(on_void, fp):
    true = np.array([[0] * on_void + [3] * (4 - on_void)])
    metric = VPQMetric(CATEGORIES, (1,))
    metric.update("a", [(np.full((1, 4), 5), [{"id": 5, "category_id": 2}])], [(true, [{"id": 3, "category_id": 1}])])
    assert metric.class_quality(1)[2]["fp"] == fp


def test_only_the_last_crowd_segment_of_a_class_counts():
    """Order of first appearance in the window, then of listing; not of ids."""
    true = np.array([[8, 8, 8, 3]])
    crowd = {8: {"id": 8, "category_id": 4, "iscrowd": 1}, 3: {"id": 3, "category_id": 4, "iscrowd": 1}}
    predicted = [(np.full((1, 4), 5), [{"id": 5, "category_id": 4}])]
    for order, fp in (((8, 3), 1), ((3, 8), 0)):
        metric = VPQMetric(CATEGORIES, (1,))
        metric.update("a", predicted, [(true, [crowd[identifier] for identifier in order])])
        assert metric.class_quality(1)[4]["fp"] == fp
    first = (np.array([[8, 8, 8, 0]]), [crowd[8]])
    metric = VPQMetric(CATEGORIES, (2,))
    metric.update("a", predicted * 2, [first, (true, [crowd[3], crowd[8]])])
    # 3 appears later, so that 7 of 8 pixels do not count as crowd; one lies on void.
    assert metric.class_quality(2)[4]["fp"] == 1


def test_area_of_ground_truth():
    """The script believes the listed area."""
    maps = np.array([[5, 5, 5, 5]])
    predicted = [(maps, [{"id": 5, "category_id": 1}])]
    true = [(maps, [{"id": 5, "category_id": 1, "area": 6}])]
    for area, iou in (("listed", 4 / 6), ("pixels", 1.0)):
        metric = VPQMetric(CATEGORIES, (1,), ground_truth_area=area)
        metric.update("a", predicted, true)
        assert metric.class_quality(1)[1]["iou"] == iou
    true[0][1][0]["area"] = 3
    with pytest.raises(ValueError, match=r"Video 'a', window of 1 frames from frame 0: .* segment 5 is too small"):
        VPQMetric(CATEGORIES, (1,)).update("a", predicted, true)


def test_forms_of_input_are_equal():
    predicted, true = random_panoptic_video(3, 10, crowds=True)
    whole = VPQMetric(CATEGORIES)
    whole.update("a", predicted, true)

    def as_rgb(frames):
        for ids, segments in frames:
            rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
            np.testing.assert_array_equal(rgb_to_ids(rgb), ids)
            yield {"segmentation": rgb, "segments_info": segments}

    def as_masks(frames):
        for ids, segments in frames:
            yield {segment["id"]: ids == segment["id"] for segment in segments}, segments

    by_flag = {category["id"]: bool(category["isthing"]) for category in CATEGORIES}
    for form in (as_rgb, as_masks):
        metric = VPQMetric(by_flag)
        metric.update("a", form(predicted), form(true))
        assert metric.compute() == whole.compute()
    shared = VPQMetric(CATEGORIES)
    shared.update_overlaps("a", panoptic_overlaps("a", predicted, true, shared.categories))
    assert shared.compute() == whole.compute()


def test_merge_is_exact():
    videos = {f"v{i}": random_panoptic_video(i, 6 + i, crowds=True) for i in range(6)}
    whole = VPQMetric(CATEGORIES)
    for video_id, video in videos.items():
        whole.update(video_id, *video)
    for split in range(1, 6):
        parts = [VPQMetric(CATEGORIES), VPQMetric(CATEGORIES)]
        for i, (video_id, video) in enumerate(reversed(videos.items())):
            parts[i >= split].update(video_id, *video)
        loaded = VPQMetric(CATEGORIES)
        loaded.load_state_dict(pickle.loads(pickle.dumps(parts[1].state_dict())))
        before = parts[0].compute()
        loaded.merge(parts[0])
        assert loaded.compute() == whole.compute()
        assert parts[0].compute() == before != whole.compute()
    with pytest.raises(ValueError, match="settings"):
        whole.merge(VPQMetric(CATEGORIES[:-1]))
    whole.reset()
    assert np.isnan(list(whole.compute().values())).all()


def test_groups_without_a_class_are_undefined():
    metric = VPQMetric(CATEGORIES, (1, 2))
    frame = (np.array([[5]]), [{"id": 5, "category_id": 1}])
    metric.update("a", [frame], [frame])
    figures = metric.compute()
    assert figures["VPQ_1"] == figures["VPQ_1_stuff"] == 1.0
    assert np.isnan([figures["VPQ_1_things"], figures["VPQ_2"], figures["VPQ"]]).all()
    assert "VPQ_mean_1_2_4_6" not in figures


def frame_of(ids, *segments):
    return np.array(ids), [dict(segment) for segment in segments]


GOOD = {"id": 5, "category_id": 1}


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (frame_of([[5, 6]], GOOD), ValueError, r"has pixels of segment ids \[6\], which are not listed"),
        (
            frame_of([[5, 0]], GOOD, {"id": 6, "category_id": 1}),
            ValueError,
            r"lists the segment ids \[6\].* no pixels",
        ),
        (frame_of([[5, 5]], {"id": 5, "category_id": 3}), ValueError, r"segment 5 has the unknown category_id 3"),
        (
            frame_of([[5, 5]], {"id": 5, "category_id": None}),
            ValueError,
            r"segment 5 has the unknown category_id None",
        ),
        (frame_of([[5, 5]], GOOD, GOOD), ValueError, r"lists the segment ids \[5\] more than once"),
        (frame_of([[5, 0]], GOOD, {"id": 0, "category_id": 1}), ValueError, r"ids above 0 .* got 0"),
        (frame_of([[5, 5]], {"id": 5, "category_id": 1, "area": -4}), ValueError, r"segment 5: `area` .* -4"),
        (
            frame_of([[5, 5]], {"id": 5, "category_id": 1, "area": float("nan")}),
            ValueError,
            r"segment 5: `area` .* nan",
        ),
        (frame_of([[5, 5, 5]], GOOD), ValueError, r"1x2 pixels .* 1x3|1x3 pixels .* 1x2"),
        (frame_of([[5.0, 5.0]], GOOD), TypeError, r"float64"),
        (frame_of([[5, -1]], GOOD), ValueError, r"-1"),
        (frame_of([[5, 5]], {"id": 5}), TypeError, r"`id` and `category_id`"),
        ((np.array([[5, 5]]), 3), TypeError, r"must list its segments"),
        (np.array([[5, 5, 5]]), TypeError, r"must be a pair"),
        ((None, [GOOD]), TypeError, r"no map of segment ids"),
        (None, TypeError, r"is missing"),
    ],
)
@pytest.mark.parametrize("side", ["prediction", "ground_truth"])
def test_bad_frames(bad, error, message, side):
    good = frame_of([[5, 5]], GOOD)
    sides = {"prediction": [good, good, good], "ground_truth": [good, good, good]}
    sides[side][1] = bad
    metric = VPQMetric(CATEGORIES)
    # The size of a frame is that of its ground truth.
    named = "prediction" if "pixels" in message and "1x2" in message else side
    with pytest.raises(error, match=rf"`{named}` of video 'x', frame 1.*({message})"):
        metric.update("x", **sides)
    assert metric.video_ids == [] and np.isnan(metric.compute()["VPQ"])


def test_frames_and_videos_that_do_not_fit():
    good = frame_of([[5, 5]], GOOD)
    metric = VPQMetric(CATEGORIES)
    with pytest.raises(ValueError, match="video 'x' has 2 frames, `ground_truth` has 3"):
        metric.update("x", [good] * 2, [good] * 3)
    with pytest.raises(ValueError, match="`prediction` of video 'x' ends after 2 frames"):
        metric.update("x", iter([good] * 2), [good] * 3)
    with pytest.raises(TypeError, match="`prediction` of video 'x' is missing"):
        metric.update("x", None, [good])
    metric.update("x", [good], [good])
    with pytest.raises(ValueError, match="'x' was given before"):
        metric.update("x", [good], [good])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "name"),
    [
        (([],), {}, ValueError, "categories"),
        (([{"id": 1}],), {}, TypeError, "categories"),
        ((3,), {}, TypeError, "categories"),
        ((CATEGORIES + CATEGORIES[:1],), {}, ValueError, "categories"),
        ((CATEGORIES,), {"windows": ()}, ValueError, "windows"),
        ((CATEGORIES,), {"windows": (0, 1)}, ValueError, "windows"),
        ((CATEGORIES,), {"ground_truth_area": "json"}, ValueError, "ground_truth_area"),
    ],
)
def test_bad_options(arguments, options, error, name):
    with pytest.raises(error, match=f"`{name}`"):
        VPQMetric(*arguments, **options)


def submission(*videos):
    return {
        "annotations": [
            {
                "video_id": video_id,
                "annotations": [{"file_name": name, "segments_info": [GOOD]} for name in names],
            }
            for video_id, names in videos
        ]
    }


TRUE = submission(("b", ["0.png", "1.png"]), ("a", ["0.png"]))


def test_annotations_are_paired_in_the_order_of_the_ground_truth():
    paired = pair_annotations(submission(("a", ["0.png"]), ("b", ["0.png", "1.png"])), TRUE)
    assert {video_id: [frame.file_name for frame in frames] for video_id, frames in paired.items()} == {
        "b": ["0.png", "1.png"],
        "a": ["0.png"],
    }
    assert list(paired) == ["b", "a"]
    assert paired["a"][0].prediction == paired["a"][0].ground_truth == [GOOD]


@pytest.mark.parametrize(
    ("prediction", "error", "message"),
    [
        (submission(("b", ["0.png", "1.png"])), ValueError, r"lacks 1 of 2 videos: \['a'\]"),
        (submission(("b", ["0.png"]), ("a", ["0.png"])), ValueError, r"video 'b' has 1 frames, `ground_truth` has 2"),
        (
            submission(("b", ["0.png", "2.png"]), ("a", ["0.png"])),
            ValueError,
            r"video 'b', frame 1 is '2.png', `ground_truth` has '1.png'",
        ),
        (
            submission(("b", ["0.png", "1.png"]), ("a", ["0.png"]), ("c", ["0.png"])),
            ValueError,
            r"does not: \['c'\]",
        ),
        (submission(("a", ["0.png"]), ("a", ["0.png"])), ValueError, r"video 'a' twice"),
        ({"annotations": [{"video_id": "a"}]}, TypeError, r"`prediction` must hold `annotations`"),
        ([], TypeError, r"`prediction` must hold `annotations`"),
    ],
)
def test_annotations_that_do_not_fit(prediction, error, message):
    with pytest.raises(error, match=message):
        pair_annotations(prediction, copy.deepcopy(TRUE))
