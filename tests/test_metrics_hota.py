# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""HOTA of tracks, compared with its definition by hand and by trying all pairings."""

import itertools
import pickle

import numpy as np
import pytest

from univs_hf.metrics.hota import ALPHAS, HOTA, count_hota
from univs_hf.rle import compress_counts, encode_mask

SHAPE = (12, 16)


def box(left: int, width: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:8, left : left + width] = True
    return mask


def hota_by_trying(truth_ids, predicted_ids, similarities, alpha):
    """The definition with sets and permutations; similarities must leave the best pairing without ties."""
    tracks = sorted({i for ids in truth_ids for i in ids}), sorted({j for ids in predicted_ids for j in ids})
    potential = dict.fromkeys(itertools.product(*tracks), 0.0)
    for theirs, ours, similarity in zip(truth_ids, predicted_ids, similarities, strict=True):
        for (a, i), (b, j) in itertools.product(enumerate(theirs), enumerate(ours)):
            either = similarity[a].sum() + similarity[:, b].sum() - similarity[a, b]
            potential[i, j] += similarity[a, b] / either if either else 0.0
    length = {i: sum(i in ids for ids in truth_ids) for i in tracks[0]}
    predicted_length = {j: sum(j in ids for ids in predicted_ids) for j in tracks[1]}
    alignment = {pair: p / (length[pair[0]] + predicted_length[pair[1]] - p) for pair, p in potential.items()}
    pairs = []
    for theirs, ours, similarity in zip(truth_ids, predicted_ids, similarities, strict=True):
        short, long = sorted((range(len(theirs)), range(len(ours))), key=len)
        flip = len(theirs) > len(ours)
        best, chosen = -1.0, []
        for places in itertools.permutations(long, len(short)):
            matching = [(b, a) if flip else (a, b) for a, b in zip(short, places, strict=True)]
            total = sum(alignment[theirs[a], ours[b]] * similarity[a, b] for a, b in matching)
            if total > best:
                best, chosen = total, matching
        pairs += [(theirs[a], ours[b]) for a, b in chosen if similarity[a, b] >= alpha - 1e-12]
    number = len(pairs)
    detection = number / (sum(length.values()) + sum(predicted_length.values()) - number)
    common = {pair: pairs.count(pair) for pair in set(pairs)}
    association = sum(n * n / (length[i] + predicted_length[j] - n) for (i, j), n in common.items())
    association /= max(1, number)
    return np.sqrt(detection * association)


def test_agrees_with_trying_all_pairings():
    rng = np.random.default_rng(2)
    for _ in range(10):
        frames = int(rng.integers(1, 6))
        truth = [rng.permutation(5)[: rng.integers(0, 4)].tolist() for _ in range(frames)]
        predicted = [(10 + rng.permutation(5)[: rng.integers(0, 4)]).tolist() for _ in range(frames)]
        truth[0], predicted[0] = [0, 1], [10]
        similarities = [rng.random((len(a), len(b))) for a, b in zip(truth, predicted, strict=True)]
        metric = HOTA()
        metric._videos["a"] = count_hota(truth, predicted, similarities)
        hota = metric.compute()["per_alpha"]["HOTA"]
        expected = [hota_by_trying(truth, predicted, similarities, alpha) for alpha in ALPHAS]
        np.testing.assert_allclose(hota, expected, rtol=0, atol=1e-12)


def test_perfect_tracks_whatever_their_ids():
    metric = HOTA()
    truth = [{1: box(0), 2: box(8)}, {2: box(9)}]
    metric.update("a", [{7: box(8), 5: box(0)}, {7: box(9)}], truth)
    figures = metric.compute()
    for name in ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA", "HOTALocA(0)"):
        assert figures[name] == 1.0


def test_an_identity_switch_by_hand():
    # One object over four frames, found everywhere but as two tracks of two frames each.
    metric = HOTA()
    metric.update("a", [{1: box(0)}] * 2 + [{2: box(0)}] * 2, [{1: box(0)}] * 4)
    figures = metric.compute()
    assert figures["DetA"] == 1.0 and figures["AssA"] == 0.5
    assert figures["AssPr"] == 1.0 and figures["AssRe"] == 0.5
    assert figures["HOTA"] == pytest.approx(np.sqrt(0.5), abs=1e-15)


def test_boxes_in_place_of_masks():
    # Two halves of a box in opposite corners: their masks do not touch, their boxes are the same.
    mask, other = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    mask[0, 0] = mask[5, 5] = other[0, 5] = other[5, 0] = True
    for similarity, value in (("mask", 0.0), ("box", 1.0)):
        metric = HOTA(similarity)
        metric.update("a", [{1: other}], [{1: mask}])
        assert metric.compute()["HOTA"] == value
    with pytest.raises(ValueError, match="`similarity` must be one of 'box', 'mask', got 'tube'"):
        HOTA("tube")


def test_forms_of_masks():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[box(0)], labels[box(8)] = 3, 5
    frames = {
        "arrays": [{3: box(0), 5: box(8)}],
        "label maps": labels[None],
        "rle": [{"3": encode_mask(box(0)), "5": encode_mask(box(8))}],
    }
    prediction = [{1: box(1), 2: box(8)}]
    results = set()
    for frame in frames.values():
        metric = HOTA()
        metric.update("a", prediction, frame)
        results.add(repr(metric.compute()))
    assert len(results) == 1


def test_videos_without_objects_or_predictions():
    metric = HOTA()
    metric.update("nothing", [{}, {}], [{}, {}])
    metric.update("missed", [{}, {}], [{1: box(0)}, {1: box(0)}])
    metric.update("wrong", [{1: box(0)}, {}], [{}, {}])
    figures = metric.compute()
    assert figures["HOTA"] == 0.0 and figures["LocA"] == 1.0
    assert figures["per_alpha"]["HOTA_FN"].tolist() == [2.0] * 19
    assert figures["per_alpha"]["HOTA_FP"].tolist() == [1.0] * 19
    # An empty mask is a detection all the same.
    metric.reset()
    metric.update("empty", [{1: np.zeros(SHAPE, dtype=bool)}], [{1: box(0)}])
    assert metric.compute()["per_alpha"]["HOTA_FP"].tolist() == [1.0] * 19


def test_figures_do_not_depend_on_order_or_division():
    rng = np.random.default_rng(1)
    videos = {
        f"v{i}": tuple(
            [{int(j): box(int(rng.integers(0, 12))) for j in rng.permutation(4)[:2]} for _ in range(4)]
            for _ in range(2)
        )
        for i in range(7)
    }

    def score(names):
        metric = HOTA()
        for name in names:
            truth, prediction = videos[name]
            metric.update(name, prediction, truth)
        return metric

    whole = score(videos)
    for _ in range(4):
        order = rng.permutation(list(videos)).tolist()
        first, second = score(order[:3]), score(order[3:])
        second.merge(pickle.loads(pickle.dumps(first)))
        assert repr(second.compute()) == repr(score(order).compute()) == repr(whole.compute())


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        ([{1: box(0)}], [], ValueError, "`prediction` of video 'a' must have 1 frames like the ground truth, got 0"),
        ([{1: box(0)}], [{"x": box(0)}], TypeError, "`prediction` of video 'a', frame 0 must map integer track ids"),
        ([{1: box(0)}], [{"1": box(0), 1: box(0)}], ValueError, "frame 0 has the track 1 twice"),
        ([{1: box(0)}], [{1: None}], TypeError, "frame 0 has no mask of track 1"),
        ([{1: box(0)}], [{1: box(0).T}], ValueError, "`prediction, track 1,` of video 'a', frame 0 must have 12x16"),
        ([{1: box(0)}], [{1: box(0).astype(float)}], TypeError, "must be an array of bool or integers"),
        ([{1: box(0)}], [None], TypeError, "`prediction` of video 'a', frame 0 must"),
        ([{1: box(0)}], [encode_mask(box(0))], TypeError, "got a single RLE mask"),
        ({1: box(0)}, [], TypeError, "`ground_truth` of video 'a' must have a mapping or a label map per frame"),
    ],
)
def test_errors_name_video_and_frame(truth, prediction, error, message):
    metric = HOTA()
    with pytest.raises(error, match=message):
        metric.update("a", prediction, truth)
    assert len(metric) == 0


def test_negative_run_lengths_that_cancel_out():
    bad = {"size": list(SHAPE), "counts": compress_counts([2, -3, 4, 9, 180])}
    with pytest.raises(
        ValueError, match="`prediction, track 1,` of video 'a', frame 0 has run lengths .* malformed or negative"
    ):
        HOTA().update("a", [{1: bad}], [{1: box(0)}])
