# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Masks as users hold them (arrays, label maps, COCO run lengths), checked and turned into what the metrics need.

Every function takes `where`, the words that name the mask in an error, such as
"`prediction` of video 'bear', frame 3" ([`name_frame`]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .run_lengths import read_run_lengths

Size = tuple[int, int]


def name_frame(argument: str, video_id: str | int, frame: int | str | None = None) -> str:
    """Words for errors: an argument, its video and, when given, its frame."""
    return f"`{argument}` of video {video_id!r}" + ("" if frame is None else f", frame {frame}")


def is_rle(mask: Any) -> bool:
    """Whether `mask` is a COCO RLE dict (`size` and `counts`)."""
    return isinstance(mask, Mapping) and "counts" in mask and "size" in mask


def to_binary(mask: Any, where: str, size: Size | None = None) -> np.ndarray:
    """Turns a binary mask into an array.

    Args:
        mask: Array of shape (height, width) of `bool`, of integers 0/1 or of integers 0/255; or a COCO RLE `dict`
            whose counts are `str`, `bytes` or a list.
        where: Names the mask in errors.
        size: (height, width) it must have, in pixels.

    Returns:
        `np.ndarray` of shape (height, width), dtype `bool`.

    Raises:
        TypeError: If `mask` is neither an array of `bool` or integers nor an RLE `dict`.
        ValueError: If it has not two dimensions, another size or other values, or its run lengths do not fill it.
    """
    if isinstance(mask, Mapping):
        return coco_mask.decode(to_rle(mask, where, size)).view(bool)
    array = _to_integers(mask, where, size)
    if array.dtype == bool:
        return array
    inside = array != 0
    largest = array.max(initial=0)
    if (array.dtype.kind == "i" and array.min(initial=0) < 0) or (
        largest > 1 and (largest != 255 or not np.array_equal(inside, array == largest))
    ):
        raise ValueError(f"{where} must be a binary mask (0/1, 0/255 or bool), got the values {_some_values(array)}.")
    return inside


def to_rle(mask: Any, where: str, size: Size | None = None) -> dict[str, Any]:
    """Turns a binary mask into COCO's compressed run lengths, as `pycocotools.mask` takes them.

    Arguments and errors are those of [`to_binary`].

    Returns:
        `dict` with `size` ([height, width] in pixels) and `counts` (`bytes`).
    """
    if not isinstance(mask, Mapping):
        return coco_mask.encode(np.asfortranarray(to_binary(mask, where, size), dtype=np.uint8))
    if not is_rle(mask):
        raise TypeError(f"{where} must be an RLE dict with `size` and `counts`, got the keys {list(mask)[:6]}.")
    height, width = _read_size(mask["size"], where)
    _check_size((height, width), where, size)
    counts = mask["counts"]
    if isinstance(counts, (list, tuple, np.ndarray)):
        runs = np.asarray(counts)
        if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
            raise TypeError(f"{where} must have `counts` of integers, got {counts[:6]!r}.")
        filled = -1 if (runs < 0).any() else int(runs.sum())
    elif isinstance(counts, (str, bytes)):
        # pycocotools does not check what it is given, and reads and writes beyond its memory.
        filled = int(read_run_lengths([counts]).totals[0])
    else:
        raise TypeError(f"{where} must have `counts` of type str, bytes or list, got {type(counts).__name__}.")
    if filled != height * width:
        reason = ": they are malformed or negative" if filled < 0 else ""
        raise ValueError(f"{where} has run lengths that do not fill its size of {height}x{width} pixels{reason}.")
    if isinstance(counts, (str, bytes)):
        return {"size": [height, width], "counts": counts.encode("ascii") if isinstance(counts, str) else counts}
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)


def to_labels(labels: Any, where: str, size: Size | None = None) -> np.ndarray:
    """Turns a frame of labels into a label map.

    Args:
        labels: Array of shape (height, width) of integers, one label per pixel; or a mapping from positive labels to
            binary masks ([`to_binary`]) that do not overlap, all other pixels being 0. An empty mapping needs `size`.
        where: Names the frame in errors.
        size: (height, width) it must have, in pixels.

    Returns:
        `np.ndarray` of shape (height, width) of some integer dtype, without negative values.

    Raises:
        TypeError: If `labels` is not an array of integers, or a label of a mapping is not an integer.
        ValueError: If it has not two dimensions, another size, negative values, or masks that overlap.
    """
    if not isinstance(labels, Mapping):
        array = _to_integers(labels, where, size)
        if array.dtype == bool:
            return array.view(np.uint8)
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"{where} must hold labels of 0 and above, got {array.min()}.")
        return array
    if is_rle(labels):
        raise TypeError(f"{where} must be a label map or a mapping of labels to masks, got a single RLE mask.")
    result = None if size is None else np.zeros(size, dtype=np.int64)
    for label, mask in labels.items():
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or label <= 0:
            raise TypeError(f"{where} must map positive integer labels to masks, got the label {label!r}.")
        mask = to_binary(mask, f"{where}, label {label}", size if result is None else result.shape)
        if result is None:
            result = np.zeros(mask.shape, dtype=np.int64)
        if result[mask].any():
            raise ValueError(f"{where} has overlapping masks: label {label} covers pixels of {result[mask].max()}.")
        result[mask] = label
    if result is None:
        raise ValueError(f"{where} is an empty mapping, which has no size: give at least one mask or a label map.")
    return result


def _to_integers(values: Any, where: str, size: Size | None) -> np.ndarray:
    """An array of `bool` or integers with two dimensions and the right size."""
    array = np.asarray(values)
    if array.dtype.kind not in "biu":
        raise TypeError(f"{where} must be an array of bool or integers, or RLE; got {type(values).__name__} of dtype "
                        f"{array.dtype}.")  # fmt: skip
    if array.ndim != 2:
        raise ValueError(f"{where} must have shape (height, width), got {array.shape}.")
    _check_size(array.shape, where, size)
    return array


def _check_size(found: Sequence[int], where: str, size: Size | None) -> None:
    if size is not None and tuple(found) != tuple(size):
        raise ValueError(f"{where} must have {size[0]}x{size[1]} pixels (height x width), got {found[0]}x{found[1]}.")


def _some_values(array: np.ndarray) -> list[int]:
    return np.unique(array)[:6].tolist()


def _read_size(size: Any, where: str) -> Size:
    """Height and width of an RLE dict."""
    values = list(size) if isinstance(size, (list, tuple, np.ndarray)) else []
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < 0 for v in values):
        raise ValueError(f"{where} must have a `size` of [height, width], got {size!r}.")
    return int(values[0]), int(values[1])
