# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sizes and areas of compressed run lengths."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from univs_hf.metrics.run_lengths import read_run_lengths
from univs_hf.rle import compress_counts, mask_to_counts


def random_masks(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(1, 1), (1, 9), (17, 1), (40, 31), (480, 640), (2160, 3840)]
    masks = [rng.random(shape) < density for shape in shapes[:-1] for density in (0.0, 0.03, 0.5, 0.97, 1.0)]
    masks += [np.zeros(shapes[-1], bool), np.ones(shapes[-1], bool)]
    return [masks[i] for i in rng.permutation(len(masks))]


def encode(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]


def measure(counts: list) -> tuple[np.ndarray, np.ndarray]:
    table = read_run_lengths(counts)
    return table.totals, table.areas


def test_pixels_and_areas_of_masks_of_all_kinds():
    masks = random_masks(0)
    totals, areas = measure([encode(mask) for mask in masks])
    np.testing.assert_array_equal(totals, [mask.size for mask in masks])
    np.testing.assert_array_equal(areas, [mask.sum() for mask in masks])
    # One by one the same, so that nothing leaks from one mask into the next.
    for mask, total, area in zip(masks, totals, areas, strict=True):
        assert measure([encode(mask)]) == (total, area)
        assert measure([encode(mask).decode()]) == (total, area)


def test_no_masks_and_no_runs():
    totals, areas = measure([])
    assert totals.shape == areas.shape == (0,)
    totals, areas = measure([b"", encode(np.ones((3, 2), bool)), b""])
    assert totals.tolist() == [0, 6, 0] and areas.tolist() == [0, 6, 0]


@pytest.mark.parametrize(
    "bad",
    [
        b"Q",  # Ends within a number.
        b"5 5",  # A character below the alphabet.
        b"5\xff5",  # One above it.
        compress_counts([5, -2, 3]).encode(),  # A negative run.
        compress_counts([2**33]).encode(),  # A number that no frame has.
        compress_counts([0, 2**29 - 1, 0, 2**30 - 2, 0, 2**30 + 9]).encode(),  # Differences that add up to one.
        "5\u00e95".encode("latin-1"),  # Beyond ASCII.
    ],
)
def test_malformed_run_lengths_are_told_from_the_others(bad: bytes):
    good = encode(np.eye(6, dtype=bool))
    totals, areas = measure([good, bad, good])
    assert totals.tolist() == [36, -1, 36]
    assert areas.tolist() == [6, 0, 6]


def test_runs_that_do_not_fill_a_frame_show_in_the_total():
    totals, areas = measure([compress_counts([3, 4, 2]).encode(), compress_counts([0, 70]).encode()])
    assert totals.tolist() == [9, 70] and areas.tolist() == [4, 70]


def test_long_first_runs_in_large_frames():
    """Sums that pass 32 bits on the way: a long first run times many runs."""
    mask = np.zeros((4320, 7680), dtype=bool)
    mask[::2, 4000:] = True
    totals, areas = measure([encode(mask)])
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
    assert read_run_lengths([compress_counts([5, -2, 9]).encode()]).totals.tolist() == [-1]


def test_text_beyond_ascii_is_no_encoding():
    good = encode(np.eye(6, dtype=bool)).decode()
    totals, areas = measure([good, "5\u00e95", "\u20ac", good])
    assert totals.tolist() == [36, -1, -1, 36] and areas.tolist() == [6, 0, 0, 6]


def test_numbers_of_all_lengths_and_signs():
    """Runs that grow and shrink by numbers of one to six characters, in masks that end outside and inside."""
    rng = np.random.default_rng(5)
    lists = [
        (rng.integers(0, 2 ** rng.integers(1, 29, size), dtype=np.int64)).tolist()
        for size in rng.integers(1, 40, 300).tolist()
    ]
    table = read_run_lengths([compress_counts(counts).encode() for counts in lists])
    ends = np.append(table.first_row[1:], len(table.runs))
    for counts, begin, end, total in zip(lists, table.first_row, ends, table.totals, strict=True):
        assert table.runs[begin:end].ravel().tolist() == counts + [0] * (len(counts) % 2)
        assert total == sum(counts)
