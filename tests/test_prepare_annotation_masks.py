# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Run lengths and polygons of annotation files against pycocotools; damaged ones are told."""

import numpy as np
import pytest
from data_rows import disc
from pycocotools import mask as coco_mask

from univs_hf.data.prepare.annotation_masks import compressed_mask
from univs_hf.rle import decode_masks, mask_to_counts

SIZE = (30, 40)


def decoded(mask: bytes) -> np.ndarray:
    return decode_masks([mask], *SIZE)[0]


@pytest.mark.parametrize("form", ["str", "bytes", "list", "counts alone", "without size"])
def test_run_lengths_of_every_form(form):
    mask = disc(*SIZE, (18, 12), 9)
    packed = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    segmentation = {
        "str": {"size": list(SIZE), "counts": packed.decode()},
        "bytes": {"size": SIZE, "counts": packed},
        "list": {"size": list(SIZE), "counts": mask_to_counts(mask).tolist()},
        "counts alone": packed.decode(),
        "without size": {"counts": packed.decode()},
    }[form]
    assert compressed_mask(segmentation, SIZE) == packed


def test_polygons_are_those_of_pycocotools():
    polygons = [[2.5, 3.0, 30.0, 4.5, 12.0, 28.0], [25, 20, 38, 20, 38, 28, 25, 28]]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *SIZE))).astype(bool)
    assert expected.any() and np.array_equal(decoded(compressed_mask(polygons, SIZE)), expected)


def test_polygons_may_overshoot_a_little():
    mask = decoded(compressed_mask([[-1.5, 5, 41, 5, 41, 20, -1.5, 20]], SIZE))
    assert mask[6:19].all() and not mask[:4].any()


@pytest.mark.parametrize("segmentation", [{"size": SIZE, "counts": [1200]}, [[3, 3, 3, 3, 3, 3]]])
def test_masks_without_a_pixel_are_none(segmentation):
    assert compressed_mask(segmentation, SIZE) is None


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [40, 30], "counts": [1200]}, r"has the size \[40, 30\], the picture \[30, 40\]"),
        ({"size": [30, 40], "counts": [1000, 100]}, "add up to 1100, the picture has 30x40"),
        ({"size": [30, 40], "counts": [-100, 1300]}, "add up to"),
        ({"size": [30, 40], "counts": "~~~"}, "cannot be read"),
        ({"size": [30, 40], "counts": "é"}, "cannot be read"),
        ({"size": [30, 40], "counts": ["a"]}, "cannot be read"),
        ({"size": [30, 40]}, "no `counts`"),
        ([], "list without a polygon"),
        ([[1, 2, 3, 4]], "three corners or more"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three corners or more"),
        ([[1, 2, 3, 4, 5, float("nan")]], "three corners or more"),
        ([["a"] * 6], "list of numbers"),
        ([[1, 2, 100, 2, 5, 9]], "reaches from x = 1 to 100, the picture from 0 to 40"),
        ([[1, -20, 10, 2, 5, 9]], "reaches from y = -20"),
        (7, "run lengths or polygons"),
    ],
)
def test_damaged_masks(segmentation, message):
    with pytest.raises(ValueError, match=message):
        compressed_mask(segmentation, SIZE)
