# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""STQ: against the definition pixel by pixel, the script's two peculiarities, merged, and with bad input."""

import pickle

import numpy as np
import pytest
from panoptic_videos import CATEGORIES, random_panoptic_video

from univs_hf.metrics.stq import STQMetric

THINGS = {category["id"] for category in CATEGORIES if category["isthing"]}


def slow_figures(videos, crowd: str, void_is_class: bool) -> dict[str, float]:
    """From maps of (class, instance) per pixel, as deeplab2 packs them."""
    size = 300
    confusion = np.zeros((size, size), dtype=np.int64)
    association, num_tubes = 0.0, 0
    for predicted_frames, true_frames in videos:
        numbers: dict[int, int] = {}
        for _, segments in true_frames:
            for segment in segments:
                numbers.setdefault(segment["id"], len(numbers))
        packed = []
        for frames, is_true in ((predicted_frames, False), (true_frames, True)):
            maps = []
            for ids, segments in frames:
                values = np.full((2, *ids.shape), 255)
                for segment in segments:
                    instance = segment["id"]
                    if is_true and crowd == "first_segment":
                        instance = numbers[segment["id"]]
                    elif is_true and segment["iscrowd"]:
                        instance = 0
                    values[:, ids == segment["id"]] = [[segment["category_id"]], [instance]]
                maps.append(values)
            packed.append(np.stack(maps, axis=1))
        (predicted_class, predicted_id), (true_class, true_id) = packed
        valid = true_class != 255
        np.add.at(confusion, (true_class[valid], predicted_class[valid]), 1)
        true_thing = np.isin(true_class, list(THINGS))
        is_crowd = true_thing & (true_id == 0)
        predicted_thing = np.isin(predicted_class, list(THINGS)) & ~is_crowd
        true_tube, predicted_tube = true_class * 2**24 + true_id, predicted_class * 2**24 + predicted_id
        for tube in np.unique(true_tube[true_thing & ~is_crowd]):
            mine = true_thing & ~is_crowd & (true_tube == tube)
            num_tubes += 1
            for other in np.unique(predicted_tube[mine & predicted_thing]):
                theirs = predicted_thing & (predicted_tube == other)
                tpa = (mine & theirs).sum()
                association += tpa * tpa / (mine | theirs).sum() / mine.sum()
    right = np.diagonal(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    if not void_is_class:
        union[255] = 0
    sq = (right[union > 0] / union[union > 0]).mean()
    aq = association / num_tubes if num_tubes else 0.0
    return {"STQ": np.sqrt(sq * aq), "SQ": sq, "AQ": aq}


@pytest.mark.parametrize("void_is_class", [True, False])
@pytest.mark.parametrize("crowd", ["first_segment", "iscrowd"])
@pytest.mark.parametrize("crowds", [False, True])
def test_against_the_definition(crowd, void_is_class, crowds):
    videos = [random_panoptic_video(seed, length, crowds) for seed, length in enumerate((1, 2, 9, 20, 14))]
    metric = STQMetric(CATEGORIES, crowd=crowd, void_is_class=void_is_class)
    for i, video in enumerate(videos):
        metric.update(f"v{i}", *video)
    assert metric.compute() == pytest.approx(slow_figures(videos, crowd, void_is_class), abs=1e-13)
    for i, (video_id, figures) in enumerate(metric.per_video().items()):
        assert video_id == f"v{i}" and figures.pop("length") == len(videos[i][0])
        assert figures == pytest.approx(slow_figures([videos[i]], crowd, void_is_class), abs=1e-13)


def frame_of(ids, **classes):
    ids = np.array([ids])
    names = {"a": 1, "b": 2, "c": 3}
    return ids, [{"id": names[name], "category_id": category} for name, category in classes.items()]


def test_by_hand():
    """Two thing tubes; the first listed one does not count in the script. Half of the second is found, as void."""
    true = [frame_of([1, 1, 2, 2], a=4, b=7)]
    predicted = [frame_of([1, 1, 2, 0], a=4, b=7)]
    expected = {
        ("iscrowd", False): (2 / 2 + 1 / 2) / 2,
        ("iscrowd", True): (2 / 2 + 1 / 2) / 3,
    }
    for (crowd, void_is_class), sq in expected.items():
        metric = STQMetric(CATEGORIES, crowd=crowd, void_is_class=void_is_class)
        metric.update("x", predicted, true)
        aq = (2 * (2 / 2) / 2 + 1 * (1 / 2) / 2) / 2
        assert metric.compute() == pytest.approx({"SQ": sq, "AQ": aq, "STQ": np.sqrt(aq * sq)}, abs=1e-15)
    script = STQMetric(CATEGORIES)
    script.update("x", predicted, true)
    assert script.compute()["AQ"] == pytest.approx(1 * (1 / 2) / 2, abs=1e-15)
    # Stuff that is listed first does not bite.
    harmless = STQMetric(CATEGORIES)
    harmless.update("x", [frame_of([1, 1, 2, 0], a=4, b=7)], [frame_of([3, 1, 2, 2], c=1, a=4, b=7)])
    assert harmless.compute()["AQ"] == pytest.approx((1 * (1 / 2) / 1 + 1 * (1 / 2) / 2) / 2, abs=1e-15)


def test_the_script_takes_the_first_listed_segment_for_crowd():
    """Its pixels count for no predicted tube either; the first frame may list nothing."""
    empty = (np.zeros((1, 4), dtype=int), [])
    true = [empty, frame_of([1, 1, 2, 2], a=4, b=7)]
    predicted = [empty, frame_of([1, 1, 1, 1], a=7)]
    script = STQMetric(CATEGORIES)
    script.update("x", predicted, true)
    assert script.compute()["AQ"] == 1.0
    deeplab2 = STQMetric(CATEGORIES, crowd="iscrowd")
    deeplab2.update("x", predicted, true)
    assert deeplab2.compute()["AQ"] == pytest.approx((2 * (2 / 4) / 2 + 2 * (2 / 4) / 2) / 2, abs=1e-15)


def test_videos_without_things_or_without_pixels():
    metric = STQMetric(CATEGORIES)
    assert np.isnan(list(metric.compute().values())).all()
    void = (np.zeros((1, 4), dtype=int), [])
    metric.update("void", [frame_of([1, 1, 1, 1], a=4)], [void])
    assert metric.compute()["AQ"] == 0.0
    assert np.isnan(metric.compute()["SQ"])
    metric.update("stuff", [frame_of([1, 1, 1, 1], a=1)], [frame_of([1, 1, 1, 1], a=1)])
    assert metric.compute() == {"STQ": 0.0, "SQ": 1.0, "AQ": 0.0}


def test_ground_truth_against_itself():
    _, true = random_panoptic_video(0, 12)
    metric = STQMetric(CATEGORIES, crowd="iscrowd")
    metric.update("a", true, true)
    assert metric.compute() == pytest.approx({"STQ": 1.0, "SQ": 1.0, "AQ": 1.0}, abs=1e-15)


def test_merge_is_exact():
    videos = {f"v{i}": random_panoptic_video(i, 3 + 2 * i) for i in range(6)}
    whole = STQMetric(CATEGORIES)
    for video_id, video in videos.items():
        whole.update(video_id, *video)
    for split in range(1, 6):
        parts = [STQMetric(CATEGORIES), STQMetric(CATEGORIES)]
        for i, (video_id, video) in enumerate(reversed(videos.items())):
            parts[i >= split].update(video_id, *video)
        loaded = STQMetric(CATEGORIES)
        loaded.load_state_dict(pickle.loads(pickle.dumps(parts[1].state_dict())))
        before = parts[0].compute()
        loaded.merge(parts[0])
        assert loaded.compute() == whole.compute()
        assert {key: loaded.per_video()[key] for key in videos} == whole.per_video()
        assert parts[0].compute() == before != whole.compute()
    with pytest.raises(ValueError, match="settings"):
        whole.merge(STQMetric(CATEGORIES, crowd="iscrowd"))
    with pytest.raises(ValueError, match="'v1'"):
        whole.merge(parts[0])


def test_bad_input_leaves_the_metric_as_it_was():
    good = frame_of([1, 1], a=4)
    metric = STQMetric(CATEGORIES)
    metric.update("good", [good], [good])
    figures = metric.compute()
    for bad, message in (
        (frame_of([1, 2], a=4), r"`prediction` of video 'x', frame 1 has pixels of segment ids \[2\]"),
        (frame_of([1, 1], a=3), r"`prediction` of video 'x', frame 1, segment 1 has the unknown category_id 3"),
        (frame_of([1, 1], a=4, b=4), r"`prediction` of video 'x', frame 1 lists the segment ids \[2\]"),
        (frame_of([1, 1, 1], a=4), r"`prediction` of video 'x', frame 1 must have 1x2 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update("x", [good, bad], [good, good])
    with pytest.raises(ValueError, match="video 'x' has 1 frames, `ground_truth` has 2"):
        metric.update("x", [good], [good, good])
    with pytest.raises(ValueError, match="'good' was given before"):
        metric.update("good", [good], [good])
    assert metric.compute() == figures and metric.video_ids == ["good"]


@pytest.mark.parametrize(
    ("arguments", "options", "name"), [((CATEGORIES,), {"crowd": "json"}, "crowd"), (([],), {}, "categories")]
)
def test_bad_options(arguments, options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        STQMetric(*arguments, **options)
