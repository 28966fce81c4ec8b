# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sizes and areas of compressed run lengths."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from univs_hf.metrics.run_lengths import measure_run_lengths, read_run_lengths
from univs_hf.rle import compress_counts, mask_to_counts


def random_masks(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(1, 1), (1, 9), (17, 1), (40, 31), (480, 640), (2160, 3840)]
    masks = [rng.random(shape) < density for shape in shapes[:-1] for density in (0.0, 0.03, 0.5, 0.97, 1.0)]
    masks += [np.zeros(shapes[-1], bool), np.ones(shapes[-1], bool)]
    return [masks[i] for i in rng.permutation(len(masks))]


def encode(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]


def test_pixels_and_areas_of_masks_of_all_kinds():
    masks = random_masks(0)
    totals, areas = measure_run_lengths([encode(mask) for mask in masks])
    np.testing.assert_array_equal(totals, [mask.size for mask in masks])
    np.testing.assert_array_equal(areas, [mask.sum() for mask in masks])
    # One by one the same, so that nothing leaks from one mask into the next.
    for mask, total, area in zip(masks, totals, areas, strict=True):
        assert measure_run_lengths([encode(mask)]) == (total, area)


def test_no_masks_and_no_runs():
    totals, areas = measure_run_lengths([])
    assert totals.shape == areas.shape == (0,)
    totals, areas = measure_run_lengths([b"", encode(np.ones((3, 2), bool)), b""])
    assert totals.tolist() == [0, 6, 0] and areas.tolist() == [0, 6, 0]


@pytest.mark.parametrize(
    "bad",
    [
        b"Q",  # Ends within a number.
        b"5 5",  # A character below the alphabet.
        b"5\xff5",  # One above it.
        compress_counts([5, -2, 3]).encode(),  # A negative run.
        compress_counts([2**33]).encode(),  # A number that no frame has.
    ],
)
def test_malformed_run_lengths_are_told_from_the_others(bad: bytes):
    good = encode(np.eye(6, dtype=bool))
    totals, areas = measure_run_lengths([good, bad, good])
    assert totals.tolist() == [36, -1, 36]
    assert areas.tolist() == [6, 0, 6]


def test_runs_that_do_not_fill_a_frame_show_in_the_total():
    totals, areas = measure_run_lengths([compress_counts([3, 4, 2]).encode(), compress_counts([0, 70]).encode()])
    assert totals.tolist() == [9, 70] and areas.tolist() == [4, 70]


def test_long_first_runs_in_large_frames():
    """Sums that pass 32 bits on the way: a long first run times many runs."""
    mask = np.zeros((4320, 7680), dtype=bool)
    mask[::2, 4000:] = True
    totals, areas = measure_run_lengths([encode(mask)])
    assert totals.tolist() == [mask.size] and areas.tolist() == [mask.sum()]


def test_runs_are_those_of_the_masks():
    masks = [mask for mask in random_masks(1) if mask.size < 10**6]
    table = read_run_lengths([encode(mask) for mask in masks])
    ends = np.append(table.first_row[1:], len(table.runs))
    for mask, begin, end in zip(masks, table.first_row, ends, strict=True):
        counts = mask_to_counts(mask)
        np.testing.assert_array_equal(table.runs[begin:end].ravel()[: len(counts)], counts)
        assert not table.runs[begin:end].ravel()[len(counts) :].any()
    np.testing.assert_array_equal(table.areas, [mask.sum() for mask in masks])
    np.testing.assert_array_equal(table.totals, [mask.size for mask in masks])
    assert read_run_lengths([b"", encode(masks[0])]) is None
    assert read_run_lengths([b"Q"]) is None
    assert read_run_lengths([compress_counts([5, -2, 9]).encode()]).totals.tolist() == [-1]
