# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""COCO run-length encoding."""

import numpy as np
import pytest

from univs_hf.rle import (
    compress_counts,
    compress_packed,
    counts_to_runs,
    decode_mask,
    decode_masks,
    decompress_counts,
    decompress_packed,
    encode_label_map,
    encode_mask,
    mask_to_counts,
    pack_strings,
    runs_to_counts,
    unpack_strings,
)

DENSITIES = (0.0, 0.02, 0.5, 0.98, 1.0)
SHAPES = [(1, 1), (1, 37), (37, 1), (25, 31), (120, 200)]


def random_masks(shape: tuple[int, int]) -> np.ndarray:
    """One random mask per density, and one with large regions."""
    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < density for density in DENSITIES]
    blocks = np.kron(rng.random((shape[0] // 8 + 1, shape[1] // 8 + 1)) < 0.5, np.ones((8, 8)))
    return np.stack([*masks, blocks[: shape[0], : shape[1]] > 0])


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


def test_stored_strings():
    """Strings that COCO's tools wrote, of masks with known pixels; no tools needed to check them."""
    expected = np.zeros((20, 30), bool)
    expected[2:5, 3:9] = True
    assert encode_mask(expected)["counts"] == "n13a0000000000R="
    np.testing.assert_array_equal(decode_masks(["n13a0000000000R="], 20, 30)[0], expected)
    # A column of 700 pixels and a difference of more than 2^15 between counts two apart.
    expected = np.zeros((1000, 80), bool)
    expected[100:800, 0] = True
    expected[5, 70] = True
    assert encode_mask(expected)["counts"] == encode_mask(decode_mask(encode_mask(expected)))["counts"]
    assert decompress_counts(encode_mask(expected)["counts"]).tolist() == [100, 700, 69205, 1, 9994]


@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(shape):
    for mask in random_masks(shape):
        rle = encode_mask(mask)
        assert rle["size"] == list(shape) and rle["counts"].isascii()
        np.testing.assert_array_equal(decode_mask(rle), mask)
        np.testing.assert_array_equal(decode_mask({**rle, "counts": mask_to_counts(mask).tolist()}), mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_pycocotools(shape):
    coco = pytest.importorskip("pycocotools.mask")
    masks = random_masks(shape)
    official = [coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"] for mask in masks]
    assert [encode_mask(mask)["counts"].encode() for mask in masks] == official
    np.testing.assert_array_equal(decode_masks(official, *shape), masks)
    rles = [{"size": list(shape), "counts": counts} for counts in official]
    np.testing.assert_array_equal(decode_masks(official, *shape), coco.decode(rles).transpose(2, 0, 1))
    # As a label map: labels 1 to 4 at random, label 5 nowhere.
    labels = np.random.default_rng(1).integers(0, 5, shape)
    expected = [coco.encode(np.asfortranarray((labels == n).astype(np.uint8)))["counts"] for n in range(1, 6)]
    assert encode_label_map(labels, 5) == expected


def test_packed_masks_are_the_single_ones():
    masks = random_masks((25, 31))
    strings = [encode_mask(mask)["counts"].encode() for mask in masks]
    data, offsets = pack_strings(strings)
    assert unpack_strings(data, offsets) == strings
    counts, count_offsets = decompress_packed(data, offsets)
    singles = [mask_to_counts(mask) for mask in masks]
    np.testing.assert_array_equal(counts, np.concatenate(singles))
    np.testing.assert_array_equal(np.diff(count_offsets), [len(single) for single in singles])
    packed, packed_offsets = compress_packed(counts, count_offsets)
    assert unpack_strings(packed, packed_offsets) == strings
    # A part of the masks, as a slice of the offsets.
    part, part_offsets = decompress_packed(data, offsets[2:5])
    np.testing.assert_array_equal(part, np.concatenate(singles[2:4]))
    assert part_offsets.tolist() == [0, len(singles[2]), len(singles[2]) + len(singles[3])]


def test_runs():
    masks = random_masks((25, 31))
    strings = [encode_mask(mask)["counts"] for mask in masks]
    counts, offsets = decompress_packed(*pack_strings(strings))
    mask, start, end = counts_to_runs(counts, offsets, 25 * 31)
    painted = np.zeros((len(masks), 31 * 25), bool)
    for number, first, last in zip(mask, start, end, strict=True):
        assert first < last
        painted[number, first:last] = True
    np.testing.assert_array_equal(painted.reshape(-1, 31, 25).transpose(0, 2, 1), masks)
    again, again_offsets = runs_to_counts(mask, start, end, len(masks), 25 * 31)
    np.testing.assert_array_equal(again, counts)
    np.testing.assert_array_equal(again_offsets, offsets)


def test_no_masks():
    counts, offsets = decompress_packed(*pack_strings([]))
    assert len(counts) == 0 and offsets.tolist() == [0]
    assert decode_masks([], 4, 5).shape == (0, 4, 5)
    assert encode_label_map(np.zeros((4, 5), int), 0) == []


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
    with pytest.raises(ValueError, match="one is -1"):
        decode_mask({"size": [4, 4], "counts": [3, -1, 14]})
    with pytest.raises(ValueError, match="end within"):
        decompress_counts("Q")
    with pytest.raises(ValueError, match="mask 1 hold the character '!'"):
        decompress_packed(*pack_strings(["5", "5!"]))
    with pytest.raises(ValueError, match="mask 1 end within"):
        decompress_packed(*pack_strings(["5", "Q", "5"]))
    with pytest.raises(ValueError, match="13 characters"):
        decompress_counts("P" * 12 + "0")
    with pytest.raises(ValueError, match="mask 1 do not fill 16 pixels: they add up to 15"):
        decode_masks([compress_counts([16]), compress_counts([15])], 4, 4)
    with pytest.raises(ValueError, match="0 to 2, got 0 to 3"):
        encode_label_map(np.array([[0, 3]]), 2)
    with pytest.raises(ValueError, match="integers"):
        encode_label_map(np.zeros((2, 2)), 2)
