# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Masks in every accepted form, and what is refused."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from univs_hf.metrics.masks import to_binary, to_labels, to_rle
from univs_hf.rle import mask_to_counts

WHERE = "`prediction` of video 'bear', frame 3"


def forms(mask: np.ndarray) -> dict[str, object]:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = mask_to_counts(mask)
    return {
        "bool": mask,
        "uint8": mask.astype(np.uint8),
        "255": mask.astype(np.uint8) * np.uint8(255),
        "int64": mask.astype(np.int64),
        "bytes": rle,
        "str": {**rle, "counts": rle["counts"].decode()},
        "list": {"size": list(mask.shape), "counts": counts.tolist()},
        "array of counts": {"size": mask.shape, "counts": counts},
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_form_of_a_mask_is_the_same_mask(share):
    mask = np.random.default_rng(0).random((7, 11)) < share
    for name, form in forms(mask).items():
        binary = to_binary(form, WHERE, (7, 11))
        assert binary.dtype == bool and np.array_equal(binary, mask), name
        assert np.array_equal(coco_mask.decode(to_rle(form, WHERE)), mask), name


def test_label_maps_and_mappings_of_masks_agree():
    labels = np.random.default_rng(1).integers(0, 4, (6, 9))
    masks = {label: labels == label for label in (1, 2)} | {3: forms(labels == 3)["str"]}
    assert np.array_equal(to_labels(masks, WHERE), labels)
    assert np.array_equal(to_labels(labels.astype(np.uint32), WHERE, (6, 9)), labels)
    assert np.array_equal(to_labels(labels == 2, WHERE), labels == 2)
    assert not to_labels({}, WHERE, (6, 9)).any()


MASK = np.zeros((4, 5), dtype=bool)
RLE = {"size": [4, 5], "counts": "d0"}


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (MASK[None], ValueError, r"\(height, width\), got \(1, 4, 5\)"),
        (MASK.T, ValueError, "4x5 pixels .* got 5x4"),
        (MASK.astype(np.float32), TypeError, "float32"),
        (np.full((4, 5), np.nan), TypeError, "float64"),
        (np.arange(20).reshape(4, 5), ValueError, r"binary mask .* values \[0, 1, 2"),
        (np.full((4, 5), 7), ValueError, r"binary mask .* values \[7\]"),
        (np.full((4, 5), -1), ValueError, r"binary mask .* values \[-1\]"),
        ("mask.png", TypeError, "str"),
        ({"size": [4, 5]}, TypeError, "`size` and `counts`"),
        ({**RLE, "size": [5, 4]}, ValueError, "4x5 pixels .* got 5x4"),
        ({**RLE, "size": [4]}, ValueError, r"`size` of \[height, width\]"),
        ({**RLE, "size": [4.0, 5.0]}, ValueError, r"`size` of \[height, width\]"),
        ({**RLE, "counts": 20}, TypeError, "str, bytes or list, got int"),
        ({**RLE, "counts": [19]}, ValueError, "do not fill its size of 4x5"),
        ({**RLE, "counts": [25, -5]}, ValueError, "do not fill its size of 4x5"),
        ({**RLE, "counts": [20.0]}, TypeError, "`counts` of integers"),
        ({**RLE, "counts": "d0d0"}, ValueError, "do not fill its size of 4x5"),
        ({**RLE, "counts": "d"}, ValueError, "do not fill its size of 4x5"),
        ({**RLE, "counts": ""}, ValueError, "do not fill its size of 4x5"),
        ({**RLE, "counts": "\x01\x02"}, ValueError, "do not fill its size of 4x5"),
        ({**RLE, "counts": "Maß"}, ValueError, "do not fill its size of 4x5"),
    ],
)
@pytest.mark.parametrize("function", [to_binary, to_rle])
def test_what_is_no_mask_of_that_size_is_refused(function, mask, error, words):
    with pytest.raises(error, match=words) as caught:
        function(mask, WHERE, (4, 5))
    assert str(caught.value).startswith(WHERE)


def test_the_empty_mask_passes_the_checks_that_the_wrong_ones_fail():
    assert not to_binary(RLE, WHERE, (4, 5)).any()


@pytest.mark.parametrize("seed", range(3))
def test_damaged_run_lengths_never_reach_pycocotools(seed):
    """pycocotools reads beyond its memory when the runs are longer than the mask."""
    rng = np.random.default_rng(seed)
    rle = coco_mask.encode(np.asfortranarray(rng.random((20, 30)) < 0.5, dtype=np.uint8))
    for place in range(0, len(rle["counts"]), 7):
        with pytest.raises(ValueError, match="do not fill"):
            to_binary({**rle, "counts": rle["counts"][:place]}, WHERE)
        with pytest.raises(ValueError, match="do not fill"):
            to_binary({**rle, "counts": rle["counts"][:place] + b"`" + rle["counts"][place:]}, WHERE)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (np.full((4, 5), -3), ValueError, "got -3"),
        (np.zeros((4, 5)), TypeError, "float64"),
        (RLE, TypeError, "single RLE"),
        ({0: MASK}, TypeError, "label 0"),
        ({"1": MASK}, TypeError, "label '1'"),
        ({True: MASK}, TypeError, "label True"),
        ({1: MASK, 2: MASK.T}, ValueError, "label 2 must have 4x5"),
        ({1: ~MASK, 2: ~MASK}, ValueError, "overlapping masks: label 2 covers pixels of 1"),
        ({}, ValueError, "empty mapping"),
    ],
)
def test_what_is_no_label_map_is_refused(labels, error, words):
    with pytest.raises(error, match=words) as caught:
        to_labels(labels, WHERE)
    assert str(caught.value).startswith(WHERE)
