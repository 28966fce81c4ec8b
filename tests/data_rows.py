# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Small rows for tests of the data package."""

from __future__ import annotations

from typing import Any

import numpy as np

from univs_hf.data.row_builder import build_row
from univs_hf.data.schema import Entity, Expression


def disc(height: int, width: int, center: tuple[float, float], radius: float) -> np.ndarray:
    """bool (height, width): pixels whose centre is within `radius` of `center`, given as (x, y)."""
    y, x = np.mgrid[:height, :width] + 0.5
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2


def ramp(height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3): red rises with x, green with y, by one per pixel; blue is 100."""
    picture = np.full((height, width, 3), 100, np.uint8)
    picture[..., 0] = np.arange(width)
    picture[..., 1] = np.arange(height)[:, None]
    return picture


def two_disc_row(
    num_frames: int = 6, size: tuple[int, int] = (60, 80), key: str = "toy/train/0#0", **changes: Any
) -> dict[str, Any]:
    """A PNG video of a ramp with two discs that overlap and move right; the second is absent in frame 1."""
    height, width = size
    masks = np.zeros((2, num_frames, height, width), bool)
    for frame in range(num_frames):
        masks[0, frame] = disc(height, width, (0.3 * width + frame, 0.5 * height), 0.2 * height)
        masks[1, frame] = disc(height, width, (0.45 * width + frame, 0.5 * height), 0.2 * height)
    if num_frames > 1:
        masks[1, 1] = False
    options: dict[str, Any] = {
        "key": key,
        "dataset": "toy",
        "frames": [ramp(height, width)] * num_frames,
        "image_format": "PNG",
        "tasks": ["detection", "sot", "grounding"],
        "entities": [Entity(11, category=3), Entity(5, category=7)],
        "masks": masks,
        "category_set": "ovis",
        "expressions": [
            Expression(100, 1, "the disc on the right"),
            Expression(101, 0, "the bright disc on the Left"),
            Expression(102, 1, "a disc"),
        ],
    }
    return build_row(**{**options, **changes})
