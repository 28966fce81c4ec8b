# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Overlap of tubes, and the masks they may be given as."""

import numpy as np
import pytest

from univs_hf.metrics.tubes import read_tubes, tube_iou, tube_ious, tubes_from_label_maps
from univs_hf.rle import compress_counts, encode_mask, mask_to_counts


def random_tube(rng: np.random.Generator, frames: int, shape: tuple[int, int] = (13, 17)) -> np.ndarray:
    """Boxes with ragged edges, in some frames nothing."""
    masks = np.zeros((frames, *shape), dtype=bool)
    for mask in masks:
        if rng.random() < 0.8:
            top, left = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
            mask[top : top + rng.integers(1, 9), left : left + rng.integers(1, 12)] = True
            mask &= rng.random(shape) < 0.9
    return masks


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    length = min(len(a), len(b))
    union = (a[:length] | b[:length]).sum()
    return (a[:length] & b[:length]).sum() / union if union else 0.0


def as_rles(masks: np.ndarray, form: str) -> list:
    rles = []
    for mask in masks:
        rle = encode_mask(mask)
        if form == "bytes":
            rle["counts"] = rle["counts"].encode()
        elif form == "list":
            rle["counts"] = mask_to_counts(mask).tolist()
        rles.append(rle if mask.any() else None)
    return rles


@pytest.mark.parametrize("form", ["array", "str", "bytes", "list", "mixed"])
@pytest.mark.filterwarnings("error")
def test_overlap_of_many_tubes(form: str):
    rng = np.random.default_rng(3)
    # More than 600 masks, so that they are read in several portions; tubes of unequal lengths.
    arrays = [random_tube(rng, frames) for frames in [12] * 20 + [1, 5, 30] + [12] * 50]
    tubes = arrays
    if form == "mixed":
        tubes = [as_rles(tube, "str") if i % 2 else tube for i, tube in enumerate(arrays)]
    elif form != "array":
        tubes = [as_rles(tube, form) for tube in arrays]
    read = read_tubes(tubes, [f"tube {i}" for i in range(len(tubes))])
    np.testing.assert_array_equal(read[0].areas, arrays[0].sum(axis=(1, 2)))
    expected = [[overlap(a, b) for b in arrays[10:23]] for a in arrays[:14]]
    np.testing.assert_allclose(tube_ious(read[:14], read[10:23]), expected, rtol=0, atol=1e-15)
    expected = [[overlap(a, b) for b in arrays[19:24]] for a in arrays[60:]]
    np.testing.assert_allclose(tube_ious(read[60:], read[19:24]), expected, rtol=0, atol=1e-15)
    wanted = rng.random((14, 13)) < 0.5
    np.testing.assert_array_equal(
        tube_ious(read[:14], read[10:23], 0.0, wanted), tube_ious(read[:14], read[10:23]) * wanted
    )


def test_single_overlaps_by_hand():
    a = np.zeros((2, 4, 4), dtype=bool)
    b = np.zeros((2, 4, 4), dtype=bool)
    a[0, :2], b[0, 1:3] = True, True  # 8 and 8 pixels, 4 in common.
    b[1, 0] = True  # 4 pixels that `a` lacks.
    assert tube_iou(a, b) == 4 / 16
    assert tube_iou(a, a) == 1.0
    # Frames that only one has are left out.
    assert tube_iou(a[:1], b) == 4 / 12
    assert tube_iou([None, None], [None, None]) == 0.0
    assert tube_iou([], b) == 0.0
    # A frame without a mask in between moves those after it.
    assert tube_iou([None, b[0]], [a[0], b[0]]) == 8 / 16


def test_full_frames_touch_across_frames():
    full = np.ones((3, 5, 4), dtype=bool)
    assert tube_iou(full, full) == 1.0
    half = full.copy()
    half[1] = False
    assert tube_iou(half, full) == 40 / 60


def test_label_maps():
    maps = np.zeros((3, 6, 5), dtype=np.uint8)
    maps[0, :2], maps[1, 2:4], maps[1, 4] = 7, 7, 9
    sevens, nothing, nines = tubes_from_label_maps(maps, [7, 8, 9], "bear")
    assert nothing == [None] * 3 and nines[0] is None
    assert tube_iou(sevens, maps == 7) == 1.0
    assert tube_iou(nines, maps == 9) == 1.0
    with pytest.raises(ValueError, match="`label_maps` of video 'bear', frame 1 must have 6x5"):
        tubes_from_label_maps([maps[0], maps[0, :4]], [7], "bear")


@pytest.mark.parametrize("form", ["array", "str", "list"])
def test_sizes_must_agree(form: str):
    def masks(shape: tuple[int, int]) -> list:
        arrays = np.ones((2, *shape), dtype=bool)
        return list(arrays) if form == "array" else as_rles(arrays, form)

    wrong = masks((4, 5)) + masks((5, 4))
    with pytest.raises(ValueError, match="`b` of video 3, frame 2 must have 4x5 pixels.*got 5x4"):
        read_tubes([masks((4, 5)), wrong], ["a", "b"], 3)
    # Also over the portions in which masks are read.
    many = [masks((4, 5)) for _ in range(400)]
    with pytest.raises(ValueError, match="`b` of video 3, frame 2 must have 4x5 pixels.*got 5x4"):
        read_tubes([*many, wrong], ["a"] * 400 + ["b"], 3)


def test_masks_that_are_none():
    good = encode_mask(np.eye(4, dtype=bool))
    for bad, message in (
        ({"size": [4, 4], "counts": "03"}, "frame 1 has run lengths that do not fill"),
        ({"size": [4, 4], "counts": "Q"}, "frame 1 has run lengths that do not fill"),
        ({"size": [4, 4], "counts": [3, 4]}, "frame 1 has run lengths that do not fill"),
        ({"counts": "03"}, "frame 1 must be an RLE dict"),
        ("03", "frame 1 must be an array"),
        (np.zeros((4, 4)), "frame 1 must be an array of bool or integers"),
        (np.arange(16).reshape(4, 4), "frame 1 must be a binary mask"),
        (np.zeros((1, 4, 4), dtype=bool), r"frame 1 must have shape \(height, width\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            tube_iou([good, bad], [good])
    for bad in (None, 3, "abc", good):
        with pytest.raises(TypeError, match="`ground_truth` must have one mask or None per frame"):
            tube_iou([good], bad)


def test_pairs_that_cannot_overlap_enough_are_left_out():
    rng = np.random.default_rng(8)
    arrays = [random_tube(rng, 6) for _ in range(30)]
    read = read_tubes(arrays, [f"tube {i}" for i in range(30)])
    exact = tube_ious(read, read)
    found = tube_ious(read, read, 0.4)
    np.testing.assert_array_equal(found[exact >= 0.4], exact[exact >= 0.4])
    assert (found[exact < 0.4] <= exact[exact < 0.4]).all() and (found != exact).any()


def test_negative_run_lengths_that_cancel_out():
    """The sums of the runs are right, which is why they are looked at one by one."""
    bad = {"size": [4, 5], "counts": compress_counts([2, -3, 4, 9, 8])}
    with pytest.raises(ValueError, match="`prediction`, frame 1 has run lengths .* malformed or negative"):
        tube_iou([None, bad], [None, np.ones((4, 5), dtype=bool)])
