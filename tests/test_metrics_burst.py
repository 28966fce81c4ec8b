# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""BURST's rules about categories, frames and detections."""

import math
import pickle
from typing import Any

import numpy as np
import pytest

from univs_hf.metrics.burst import BurstHOTA, score_burst
from univs_hf.rle import encode_mask

SHAPE = (12, 40)
# Of BURST's categories: 4 and 13 are common, 1, 2 and 3 are not, 20 is a distractor.
COMMON, OTHER_COMMON, UNCOMMON, DISTRACTOR = 4, 13, 1, 20


def box(left: int, width: int = 6) -> str:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:8, left : left + width] = True
    return encode_mask(mask)["counts"]


def sequence(frames: list[dict[int, Any]], categories: dict[int, int], **values: Any) -> dict[str, Any]:
    """A sequence of frames: track id -> left edge of a box, or an entry."""
    return {
        "height": SHAPE[0],
        "width": SHAPE[1],
        "neg_category_ids": [],
        "not_exhaustive_category_ids": [],
        "track_category_ids": {str(track): category for track, category in categories.items()},
        "segmentations": [
            {str(track): entry if isinstance(entry, dict) else {"rle": box(entry)} for track, entry in frame.items()}
            for frame in frames
        ],
        **values,
    }


def false_positives(metric: BurstHOTA, category: int = COMMON) -> int:
    return int(metric.compute()["per_category"][category]["HOTA_FP"][0])


def test_ground_truth_as_prediction_is_perfect():
    metric = BurstHOTA()
    truth = sequence([{1: 0, 2: 20}, {1: 1}], {1: COMMON, 2: UNCOMMON})
    metric.update("a", truth, truth)
    figures = metric.compute()
    for name in ("HOTA", "DetA", "AssA", "AP"):
        for group in ("all", "common", "uncommon"):
            assert figures[f"{name}_{group}"] == pytest.approx(1.0, abs=1e-12)
    assert sorted(figures["per_category"]) == [UNCOMMON, COMMON]


def test_a_group_without_categories_is_undefined():
    metric = BurstHOTA()
    truth = sequence([{1: 0}], {1: COMMON})
    metric.update("a", None, truth)
    figures = metric.compute()
    assert figures["HOTA_all"] == figures["HOTA_common"] == figures["AP_all"] == 0.0
    assert math.isnan(figures["HOTA_uncommon"])
    assert all(math.isnan(BurstHOTA().compute()[f"{name}_all"]) for name in ("HOTA", "AP"))


def test_unmatched_detections_are_removed_unless_the_category_is_known_to_be_absent():
    # The first frame has the category, the second has another one only.
    frames, categories = [{1: 0}, {2: 20}], {1: COMMON, 2: UNCOMMON}
    prediction = sequence([{1: 0, 3: 30}, {3: 30}], {1: COMMON, 3: COMMON})
    cases = [
        ({}, "class_guided", 1),
        ({"neg_category_ids": [COMMON]}, "class_guided", 2),
        ({"not_exhaustive_category_ids": [COMMON]}, "class_guided", 0),
        ({"neg_category_ids": [COMMON], "not_exhaustive_category_ids": [COMMON]}, "class_guided", 0),
        ({}, "exemplar_guided", 2),
        ({"not_exhaustive_category_ids": [COMMON]}, "exemplar_guided", 2),
    ]
    for values, task, expected in cases:
        metric = BurstHOTA(task)
        metric.update("a", prediction, sequence(frames, categories, **values))
        assert false_positives(metric) == expected, (values, task)


def test_matched_detections_stay_at_half_overlap():
    # 6 wide, moved by 2: IoU 4/8 is enough to stay where not everything is annotated; moved by 3 it is not.
    for left, expected in ((2, 1), (3, 0)):
        metric = BurstHOTA()
        truth = sequence([{1: 0}], {1: COMMON}, not_exhaustive_category_ids=[COMMON])
        metric.update("a", sequence([{1: left}], {1: COMMON}), truth)
        assert metric.compute()["per_category"][COMMON]["HOTA_TP"][0] == expected


def test_frames_without_ground_truth_are_not_evaluated():
    metric = BurstHOTA()
    truth = sequence([{1: 0}, {}, {2: 20}], {1: COMMON, 2: DISTRACTOR}, neg_category_ids=[COMMON])
    metric.update("a", sequence([{1: 0}, {1: 0}, {1: 0}], {1: COMMON}), truth)
    entry = metric.compute()["per_category"][COMMON]
    assert entry["HOTA"].tolist() == [1.0] * 19
    # Track AP looks at them: the detection has three times the pixels of the object.
    assert entry["AP"] == 0.0


def test_categories_absent_from_the_video_count_for_track_ap_only_if_known_to_be():
    truth = sequence([{1: 0}], {1: COMMON})
    prediction = sequence([{1: {"rle": box(0), "score": 0.9}}], {1: COMMON})
    for negative, precision in (([], 1.0), ([COMMON], 0.5)):
        metric = BurstHOTA()
        metric.update("a", prediction, truth)
        other = sequence([{1: 0}], {1: UNCOMMON}, neg_category_ids=negative)
        metric.update("b", sequence([{1: {"rle": box(0), "score": 0.95}}], {1: COMMON}), other)
        assert metric.compute()["AP_common"] == pytest.approx(precision, abs=1e-12)


def test_tracks_without_a_match_are_dropped_where_not_everything_is_annotated():
    for values, precision in (({}, 0.5), ({"not_exhaustive_category_ids": [COMMON]}, 1.0)):
        metric = BurstHOTA()
        prediction = sequence([{1: {"rle": box(20), "score": 0.9}, 2: 0}], {1: COMMON, 2: COMMON})
        prediction["segmentations"][0]["2"]["score"] = 0.5
        metric.update("a", prediction, sequence([{1: 0}], {1: COMMON}, **values))
        assert metric.compute()["AP_common"] == pytest.approx(precision, abs=1e-12)


def test_at_most_300_detections_of_a_frame_count():
    def prediction(rank: int) -> dict[str, Any]:
        entries = {i: {"rle": box(30), "score": 0.5} for i in range(1, 301)}
        entries[999] = {"rle": box(0), "score": 0.6 if rank == 1 else 0.4}
        return sequence([entries], dict.fromkeys(entries, COMMON))

    for rank, expected in ((1, 1), (301, 0)):
        metric = BurstHOTA()
        metric.update("a", prediction(rank), sequence([{1: 0}], {1: COMMON}))
        entry = metric.compute()["per_category"][COMMON]
        assert entry["HOTA_TP"][0] == expected
        assert entry["HOTA_TP"][0] + entry["HOTA_FP"][0] == 300


def test_distractors_and_merged_categories():
    # 207 counts as 554; 967 counts as 529, which is a distractor, yet its annotations make a frame evaluated.
    metric = BurstHOTA()
    truth = sequence([{1: 0, 2: 10}, {3: 20}], {1: 207, 2: DISTRACTOR, 3: 967}, neg_category_ids=[554])
    metric.update("a", sequence([{1: 0}, {1: 0}], {1: 207}), truth)
    figures = metric.compute()
    assert sorted(figures["per_category"]) == [554]
    assert false_positives(metric, 554) == 1


def test_exemplar_categories():
    # The prediction names a wrong category, and has a track that the ground truth lacks.
    truth = sequence([{1: 0}], {1: COMMON})
    prediction = sequence([{1: 0, 2: 20}], {1: UNCOMMON, 2: COMMON})
    official = BurstHOTA("exemplar_guided")
    official.update("a", prediction, truth)
    assert official.compute()["HOTA_all"] == 0.0 and false_positives(official) == 1
    sane = BurstHOTA("exemplar_guided", exemplar_categories="ground_truth")
    sane.update("a", prediction, truth)
    assert sane.compute()["HOTA_all"] == 1.0 and false_positives(sane) == 0
    # Categories of the prediction are then not needed at all.
    sane.reset()
    del prediction["track_category_ids"]
    sane.update("a", prediction, truth)
    assert sane.compute()["HOTA_all"] == 1.0


def test_boxes_by_default_and_masks_on_request():
    mask, other = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    mask[0, 0] = mask[5, 5] = other[0, 5] = other[5, 0] = True
    truth, prediction = (sequence([{1: {"rle": encode_mask(m)["counts"]}}], {1: COMMON}) for m in (mask, other))
    for options, value in (({}, 1.0), ({"similarity": "mask"}, 0.0)):
        metric = BurstHOTA(**options)
        metric.update("a", prediction, truth)
        assert metric.compute()["HOTA_all"] == value
        # Tracks are compared by their masks in any case.
        assert metric.compute()["AP_all"] == 0.0


def test_arrays_and_rle_dicts_as_masks():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:8, :6] = True
    truth = sequence([{1: 0}], {1: COMMON})
    metric = BurstHOTA()
    for name, entry in (("array", mask), ("rle", encode_mask(mask)), ("entry", {"rle": encode_mask(mask)})):
        metric.update(name, {**truth, "segmentations": [{1: entry}]}, truth)
    assert metric.compute()["HOTA_all"] == 1.0


def test_frames_are_matched_by_their_names():
    truth = sequence([{1: 0}, {1: 10}], {1: COMMON}, annotated_image_paths=["0.jpg", "4.jpg"])
    prediction = sequence([{1: 10}, {1: 5}, {1: 0}], {1: COMMON}, annotated_image_paths=["4.jpg", "2.jpg", "0.jpg"])
    metric = BurstHOTA()
    metric.update("a", prediction, truth)
    assert metric.compute()["HOTA_all"] == 1.0
    # A frame without results is one in which nothing was found.
    metric.update("b", sequence([{1: 0}], {1: COMMON}, annotated_image_paths=["0.jpg"]), truth)
    assert metric.compute()["per_category"][COMMON]["HOTA_FN"][0] == 1


def random_video(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    sides = []
    for _ in range(2):
        tracks = {int(track): int(rng.choice([1, 2, 4, 13])) for track in range(1, 5)}
        frames = [
            {
                track: {"rle": box(int(rng.integers(0, 34))), "score": float(rng.integers(0, 3)) / 2}
                for track in tracks
                if rng.random() < 0.7
            }
            for _ in range(4)
        ]
        sides.append(sequence(frames, tracks, neg_category_ids=[int(rng.choice([1, 13]))]))
    return sides[0], sides[1]


def test_figures_do_not_depend_on_order_or_division():
    rng = np.random.default_rng(4)
    videos = {f"d/{i}": random_video(rng) for i in range(8)}

    def score(names):
        metric = BurstHOTA()
        for name in names:
            truth, prediction = videos[name]
            metric.update(name, prediction, truth)
        return metric

    whole = repr(score(videos).compute())
    for _ in range(4):
        order = rng.permutation(list(videos)).tolist()
        first, second = score(order[:5]), score(order[5:])
        carried = BurstHOTA()
        carried.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        second.merge(carried)
        assert repr(second.compute()) == repr(score(order).compute()) == whole


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        ({"neg_category_ids": None}, {}, ValueError, r"`ground_truth` of video 'a' lacks \['neg_category_ids'\]"),
        ({"height": None}, {}, ValueError, r"lacks \['height'\]"),
        ({}, {"segmentations": None}, ValueError, r"`prediction` of video 'a' lacks \['segmentations'\]"),
        ({}, {"segmentations": []}, ValueError, "`prediction` of video 'a' must have 1 frames, got 0"),
        ({}, {"height": 13}, ValueError, "`prediction` of video 'a' must have the height 12, got 13"),
        (
            {},
            {"track_category_ids": {"7": 4}},
            ValueError,
            "frame 0 has the track 1, which `track_category_ids` lacks",
        ),
        ({}, {"track_category_ids": {"1": 1231}}, ValueError, "must have a category id in 1..1230, got 1231"),
        ({}, {"track_category_ids": {"1": "cat"}}, TypeError, "must have an integer category id, got 'cat'"),
        ({}, {"track_category_ids": {"x": 4}}, TypeError, "must have integer track ids, got 'x'"),
        ({"not_exhaustive_category_ids": [0]}, {}, ValueError, "`not_exhaustive_category_ids`, must have a category"),
        ({}, {"annotated_image_paths": ["a", "b"]}, ValueError, "has 1 frames, but 2 `annotated_image_paths`"),
        ({}, {"segmentations": [[]]}, TypeError, "`prediction` of video 'a', frame 0 must map track ids to masks"),
        (
            {},
            {"segmentations": [{"1": {"rle": box(0), "score": math.nan}}]},
            ValueError,
            "`prediction` of video 'a', frame 0, track 1 must have a finite `score`, got nan",
        ),
        (
            {},
            {"segmentations": [{"1": {"rle": box(0), "score": "1"}}]},
            TypeError,
            "frame 0, track 1 must have a number as `score`",
        ),
        (
            {},
            {"segmentations": [{"1": {"rle": "51"}}]},
            ValueError,
            "`prediction, track 1,` of video 'a', frame 0 has run lengths that do not fill its size of 12x40",
        ),
        ({}, {"segmentations": [{"1": {"rle": box(0)}, 1: {"rle": box(0)}}]}, ValueError, "has the track 1 twice"),
    ],
)
def test_errors_name_video_and_frame(truth, prediction, error, message):
    def changed(values: dict[str, Any]) -> dict[str, Any]:
        merged = {**sequence([{1: 0}], {1: COMMON}), **values}
        return {key: value for key, value in merged.items() if value is not None}

    metric = BurstHOTA()
    with pytest.raises(error, match=message):
        metric.update("a", changed(prediction), changed(truth))
    assert len(metric) == 0


def test_choices_are_checked():
    with pytest.raises(ValueError, match="`task` must be one of 'class_guided', 'exemplar_guided', got 'open_world'"):
        BurstHOTA("open_world")
    with pytest.raises(ValueError, match="`similarity` must be one of"):
        BurstHOTA(similarity="iou")
    with pytest.raises(ValueError, match="`exemplar_categories` must be one of"):
        BurstHOTA(exemplar_categories="none")
    with pytest.raises(TypeError, match="`prediction` of video 'a' must be a dict or None, got list"):
        BurstHOTA().update("a", [], sequence([{1: 0}], {1: COMMON}))


def test_results_files():
    def file(*names: str, **values: Any) -> dict[str, Any]:
        sequences = [{**sequence([{1: 0}], {1: COMMON}), "dataset": "LaSOT", "seq_name": name} for name in names]
        return {"split": "val", "sequences": sequences, **values}

    metric = score_burst(file("x", "y"), file("y"))
    assert metric.video_ids == ["LaSOT/x", "LaSOT/y"]
    assert metric.compute()["per_category"][COMMON]["HOTA_FN"][0] == 1
    with pytest.warns(UserWarning, match=r"sequences that the ground truth lacks: \['LaSOT/z'\]"):
        score_burst(file("x"), file("x", "z"))
    with pytest.raises(ValueError, match="`prediction` must be of the split 'val', got 'test'"):
        score_burst(file("x"), file("x", split="test"))
    with pytest.raises(ValueError, match="`prediction` has the sequence 'LaSOT/x' twice"):
        score_burst(file("x"), file("x", "x"))
    with pytest.raises(ValueError, match="`ground_truth` lacks `sequences`"):
        score_burst({}, file("x"))
    with pytest.raises(ValueError, match=r"`prediction` sequence 0 lacks \['dataset'\]"):
        score_burst(file("x"), {"sequences": [{"seq_name": "x"}]})
