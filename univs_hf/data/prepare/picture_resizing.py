# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and compressed masks at another size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from ...rle import (
    compress_packed,
    counts_to_runs,
    decompress_packed,
    pack_strings,
    runs_to_counts,
    unpack_strings,
)
from .conversion_log import DamageError
from .converter import Option
from .pictures import Picture, load_picture

# Where the sides of picture and annotations are in another ratio, one of them is cropped or is another picture.
_MAX_RATIO_DIFFERENCE = 0.02
_QUALITY = 92

SHORT_SIDE_OPTION = Option(
    "short_side", "make larger pictures so large and encode them anew; by default their bytes are kept", type=int
)


def resize_picture(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture at another size, as JPEG, or as PNG if it was one."""
    with PIL.Image.open(io.BytesIO(picture.data)) as image:
        image_format = "PNG" if image.format == "PNG" else "JPEG"
        resized = image.convert("RGB").resize((size[1], size[0]), PIL.Image.Resampling.BICUBIC, reducing_gap=3.0)
    sink = io.BytesIO()
    resized.save(sink, image_format, **({"quality": _QUALITY} if image_format == "JPEG" else {}))
    return Picture(sink.getvalue(), tuple(size))


def reduce_masks(masks: Sequence[bytes], size: tuple[int, int], new_size: tuple[int, int]) -> list[bytes | None]:
    """Compressed masks at a smaller size; each pixel is the nearest one, measured from middle to middle.

    Args:
        masks: Compressed run lengths.
        size: Their (height, width).
        new_size: The (height, width) wanted, in neither direction more.

    Returns:
        Compressed run lengths; None for masks of which no pixel is left.

    Raises:
        ValueError: If a mask cannot be read, or `new_size` is larger.
    """
    if new_size[0] > size[0] or new_size[1] > size[1]:
        raise ValueError(f"`new_size` must not exceed {tuple(size)}, got {tuple(new_size)}.")
    rows = ((np.arange(new_size[0]) + 0.5) * size[0] / new_size[0]).astype(np.int64)
    columns = ((np.arange(new_size[1]) + 0.5) * size[1] / new_size[1]).astype(np.int64)
    # Places of the new pixels among the old ones, column by column as run lengths go, so ascending.
    places = (columns[:, None] * size[0] + rows).ravel()
    mask, start, end = counts_to_runs(*decompress_packed(*pack_strings(masks)), size[0] * size[1])
    start, end = np.searchsorted(places, start), np.searchsorted(places, end)
    kept = end > start
    mask, start, end = mask[kept], start[kept], end[kept]
    # Runs whose gap has no new pixel have become one.
    touching = (mask[1:] == mask[:-1]) & (start[1:] == end[:-1])
    first, last = np.append(True, ~touching)[: len(mask)], np.append(~touching, True)[: len(mask)]
    counts, offsets = runs_to_counts(mask[first], start[first], end[last], len(masks), len(places))
    strings = unpack_strings(*compress_packed(counts, offsets))
    filled = np.isin(np.arange(len(masks)), mask)
    return [string if is_filled else None for string, is_filled in zip(strings, filled.tolist(), strict=True)]


def reduced_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """(height, width) with the short side at most so long."""
    if short_side is None or min(size) <= short_side:
        return tuple(size)
    height, width = (max(1, round(side * short_side / min(size))) for side in size)
    return height, width


def check_short_side(short_side: int | None) -> int | None:
    """The option's value.

    Raises:
        ValueError: If it is below 1.
    """
    if short_side is not None and short_side < 1:
        raise ValueError(f"`short_side` must be at least 1, got {short_side}.")
    return short_side


def load_fitting_picture(path: Path, size: tuple[int, int], lost: str, where: str) -> tuple[Picture, bool]:
    """A picture that may come in another resolution than its annotations, at theirs; and whether it was resized.

    Arguments and errors are those of [`~univs_hf.data.prepare.pictures.load_picture`]; other proportions than those of
    the annotations are a `size_mismatch`.
    """
    try:
        return load_picture(path, size, lost, where), False
    except DamageError as error:
        if error.damage.kind != "size_mismatch":
            raise
        picture = load_picture(path, None, lost, where)
        (height, width), (new_height, new_width) = picture.size, size
        if abs(width * new_height / (height * new_width) - 1) > _MAX_RATIO_DIFFERENCE:
            raise
    return resize_picture(picture, size), True
