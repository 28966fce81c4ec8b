# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Masks of annotation files (run lengths or polygons) as the compressed run lengths that rows hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ...rle import compress_counts, decompress_counts

# How far polygons may reach beyond the picture: annotators overshoot its border, while those of another picture or
# size go far beyond. In pixels, and as a share of the side.
_MAX_OVERSHOOT = 2.0
_MAX_OVERSHOOT_SHARE = 0.05


def compressed_mask(segmentation: Any, size: tuple[int, int]) -> bytes | None:
    """The compressed run lengths of a COCO segmentation.

    Args:
        segmentation: A dictionary with `counts` (compressed as `str` or `bytes`, or a list) and `size`; compressed
            counts alone; or a list of polygons `[x1, y1, x2, y2, ...]` in pixels, whose union is meant.
        size: (height, width) of the picture.

    Returns:
        What `mask_rle` of a row holds; None if no pixel is inside.

    Raises:
        ValueError: If it is none of these, is of another size, does not fill the picture or lies outside of it.
    """
    if isinstance(segmentation, (str, bytes)):
        return _from_counts(segmentation, size)
    if isinstance(segmentation, Mapping):
        if "counts" not in segmentation:
            raise ValueError(f"the mask has the fields {sorted(segmentation)}, but no `counts`.")
        given = segmentation.get("size", list(size))
        if list(given) != list(size):
            raise ValueError(f"the mask has the size {list(given)}, the picture {list(size)}.")
        return _from_counts(segmentation["counts"], size)
    if isinstance(segmentation, Sequence):
        return _from_polygons(segmentation, size)
    raise ValueError(f"the mask must be run lengths or polygons, got {segmentation!r:.60}.")


def _from_counts(counts: Any, size: tuple[int, int]) -> bytes | None:
    packed = isinstance(counts, (str, bytes))
    try:
        numbers = decompress_counts(counts) if packed else np.asarray(counts, dtype=np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as error:
        raise ValueError(f"the run lengths cannot be read: {error}") from error
    if (numbers < 0).any() or numbers.sum() != size[0] * size[1]:
        raise ValueError(f"the run lengths add up to {numbers.sum()}, the picture has {size[0]}x{size[1]} pixels.")
    if not numbers[1::2].any():
        return None
    if not packed:
        return compress_counts(numbers).encode("ascii")
    return counts.encode("ascii") if isinstance(counts, str) else bytes(counts)


def _from_polygons(polygons: Sequence[Any], size: tuple[int, int]) -> bytes | None:
    if not polygons:
        raise ValueError("the mask is a list without a polygon.")
    height, width = size
    points: list[list[float]] = []
    for polygon in polygons:
        try:
            corners = np.asarray(polygon, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"a polygon must be a list of numbers, got {polygon!r:.60}.") from error
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
            raise ValueError(f"a polygon must have x and y of three corners or more, got {polygon!r:.60}.")
        for name, values, side in (("x", corners[0::2], width), ("y", corners[1::2], height)):
            margin = max(_MAX_OVERSHOOT, _MAX_OVERSHOOT_SHARE * side)
            if values.min() < -margin or values.max() > side + margin:
                raise ValueError(
                    f"a polygon reaches from {name} = {values.min():g} to {values.max():g}, the picture from 0 to "
                    f"{side}."
                )
        points.append(corners.tolist())
    merged = coco_mask.merge(coco_mask.frPyObjects(points, height, width))
    return _from_counts(merged["counts"], size)
