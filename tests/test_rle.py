# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""COCO run-length encoding."""

import numpy as np
import pytest

from univs_hf.rle import compress_counts, decode_mask, decompress_counts, encode_mask, mask_to_counts


def test_counts_run_down_the_columns():
    mask = np.array([[0, 1, 1], [0, 0, 1]])
    assert mask_to_counts(mask).tolist() == [2, 1, 1, 2]
    assert mask_to_counts(1 - mask).tolist() == [0, 2, 1, 1, 2]


def test_compressed_characters():
    # Worked by hand: 5 -> '5'; 33 = 1 + 1 * 32 -> 'Q1'; 16 needs a second group, or its sign bit would read -16.
    assert compress_counts([5]) == "5"
    assert compress_counts([33]) == "Q1"
    assert compress_counts([16]) == "`0"
    # From the fourth count on the difference to two before is written: 3 - 4 = -1 -> 'O'.
    assert compress_counts([2, 4, 9, 3]) == "249O"


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (37, 1), (25, 31)])
def test_round_trip(shape):
    rng = np.random.default_rng(0)
    for density in (0.0, 0.02, 0.5, 0.98, 1.0):
        mask = rng.random(shape) < density
        rle = encode_mask(mask)
        assert rle["size"] == list(shape) and rle["counts"].isascii()
        np.testing.assert_array_equal(decode_mask(rle), mask)
        np.testing.assert_array_equal(decode_mask({**rle, "counts": mask_to_counts(mask).tolist()}), mask)


def test_long_runs():
    mask = np.zeros((1080, 1920), bool)
    mask[3:1000, 5:1900] = True
    mask[500, 700] = False
    rle = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(rle), mask)
    np.testing.assert_array_equal(decompress_counts(rle["counts"]), mask_to_counts(mask))


def test_bad_input():
    with pytest.raises(ValueError, match="height, width"):
        encode_mask(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="do not fill"):
        decode_mask({"size": [4, 4], "counts": [3]})
    with pytest.raises(ValueError, match="end within"):
        decompress_counts("Q")
