# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Panoptic maps as RGB images: the id of a pixel is R + 256 G + 65536 B."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...metrics.panoptic_frames import rgb_to_ids
from .png_decoding import decode_png


def read_panoptic_png(path: Path) -> np.ndarray:
    """Reads a panoptic map.

    Returns:
        `np.ndarray` of shape (height, width), dtype `uint32`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image of three colours.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; expected a panoptic map.")
    try:
        content = path.read_bytes()
        colours = decode_png(content)
        if colours is None or colours.ndim != 3:
            with Image.open(BytesIO(content)) as image:
                if image.mode != "RGB":
                    raise ValueError(
                        f"{path} is an image of mode {image.mode}; expected a panoptic map, which is RGB."
                    )
                colours = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"The image {path} cannot be read: {error}") from error
    return rgb_to_ids(colours)


def panoptic_colours(ids: np.ndarray) -> np.ndarray:
    """Inverse of [`read_panoptic_png`]: colours `uint8` (height, width, 3) of ids from 0 to 2**24 - 1.

    Raises:
        ValueError: If an id does not fit.
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f"Panoptic ids must lie in 0..{(1 << 24) - 1}, got {ids.min()}..{ids.max()}.")
    return np.stack([(ids >> shift) & 0xFF for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
