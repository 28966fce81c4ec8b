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
    if array.size and not (array.max() in (1, 255) and np.array_equal(inside, array == array.max())) and inside.any():
        raise ValueError(f"{where} must be a binary mask (0/1, 0/255 or bool), got the values {_some_values(array)}.")
    return inside


def to_rle(mask: Any, where: str, size: Size | None = None) -> dict[str, Any]:
    """Turns a binary mask into COCO's compressed run lengths, as `pycocotools.mask` takes them.

    Arguments and errors are those of [`to_binary`].

    Returns:
        `dict` with `size` ([height, width] in pixels) and `counts` (`bytes`).
    """
    return to_rles([mask], [where], size)[0]


def to_rles(masks: Sequence[Any], where: Sequence[str] | str, size: Size | None = None) -> list[dict[str, Any] | None]:
    """[`to_rle`] for many masks: their run lengths are checked together, which is much quicker than one by one.

    Args:
        masks: Binary masks as [`to_binary`] takes them; `None` stays `None`.
        where: Names each mask in errors; one name for all is followed by the place in `masks`.
        size: (height, width) they must have, in pixels.

    Raises:
        TypeError, ValueError: As [`to_binary`].
    """

    def name(place: int) -> str:
        return f"{where}[{place}]" if isinstance(where, str) else where[place]

    rles: list[dict[str, Any] | None] = []
    compressed = []
    for place, mask in enumerate(masks):
        if mask is None:
            rles.append(None)
        elif isinstance(mask, Mapping):
            rles.append(_checked_rle(mask, name, place, size))
            if not isinstance(mask["counts"], (list, tuple, np.ndarray)):
                compressed.append(place)
        else:
            rles.append(coco_mask.encode(np.asfortranarray(to_binary(mask, name(place), size), dtype=np.uint8)))
    wrong = _first_unfilled([rles[place] for place in compressed])
    if wrong is not None:
        place = compressed[wrong]
        height, width = rles[place]["size"]
        raise ValueError(f"{name(place)} has run lengths that do not fill its size of {height}x{width} pixels.")
    return rles


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


def _checked_rle(mask: Mapping[str, Any], name: Any, place: int, size: Size | None) -> dict[str, Any]:
    """An RLE dict of the right form and size with compressed counts; the compressed counts themselves are not read."""
    if not is_rle(mask):
        raise TypeError(f"{name(place)} must be an RLE dict with `size` and `counts`, got the keys {list(mask)[:6]}.")
    found, counts = mask["size"], mask["counts"]
    if len(found) != 2 or int(found[0]) != found[0] or int(found[1]) != found[1] or min(found) < 0:
        raise ValueError(f"{name(place)} must have a `size` of [height, width], got {found!r}.")
    height, width = int(found[0]), int(found[1])
    if size is not None and (height != size[0] or width != size[1]):
        _check_size((height, width), name(place), size)
    if isinstance(counts, bytes):
        return {"size": [height, width], "counts": counts}
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts.encode("latin-1", errors="replace")}
    if not isinstance(counts, (list, tuple, np.ndarray)):
        raise TypeError(f"{name(place)} must have `counts` of type str, bytes or list, got {type(counts).__name__}.")
    runs = np.asarray(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
        raise TypeError(f"{name(place)} must have `counts` of integers, got {counts[:6]!r}.")
    if (runs.size and runs.min() < 0) or int(runs.sum()) != height * width:
        raise ValueError(f"{name(place)} has run lengths that do not fill its size of {height}x{width} pixels.")
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)


_GROUP_OFFSET, _GROUP_MORE, _GROUP_SIGN = 48, 0x20, 0x10


def _first_unfilled(rles: Sequence[Mapping[str, Any]]) -> int | None:
    """Place of the first compressed RLE whose run lengths do not add up to its size, without a loop over runs.

    A count is written in groups of five bits, lowest first, and from the fourth on as the difference to the count
    two before it (see `univs_hf.rle`).
    """
    if not rles:
        return None
    lengths = np.array([len(rle["counts"]) for rle in rles])
    areas = np.array([rle["size"][0] * rle["size"][1] for rle in rles], dtype=np.int64)
    codes = np.frombuffer(b"".join(rle["counts"] for rle in rles), dtype=np.uint8).astype(np.int64) - _GROUP_OFFSET
    ends_of_rles = np.cumsum(lengths)
    bad = (lengths == 0) & (areas != 0)
    if not len(codes):
        return int(np.argmax(bad)) if bad.any() else None
    owner_of_code = np.repeat(np.arange(len(rles)), lengths)
    bad[owner_of_code[(codes < 0) | (codes >= 64)]] = True
    # A number must end with its mask; numbers longer than 8 groups (40 bits) are nonsense and could overflow.
    last = (codes & _GROUP_MORE) == 0
    bad[lengths > 0] |= ~last[ends_of_rles[lengths > 0] - 1]
    last[ends_of_rles[lengths > 0] - 1] = True
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    groups = ends - starts + 1
    owner = owner_of_code[ends]
    bad[owner[groups > 8]] = True
    position = np.minimum(np.arange(len(codes)) - np.repeat(starts, groups), 8)
    values = np.add.reduceat((codes & 0x1F) << (5 * position), starts)
    values -= np.where(codes[ends] & _GROUP_SIGN, np.int64(1) << (5 * np.minimum(groups, 9)), 0)
    # Undo the differences: sums over every second count of a mask from its second on (the first stands alone).
    first_count = np.searchsorted(owner, np.arange(len(rles)))
    place = np.arange(len(owner)) - first_count[owner]
    counts = values.copy()
    for parity in (0, 1):
        chosen = np.flatnonzero((place % 2 == parity) & (place > 0))
        running = np.cumsum(values[chosen])
        begins = np.flatnonzero(np.diff(owner[chosen], prepend=-1))
        before = np.concatenate([[0], running])[begins]
        counts[chosen] = running - np.repeat(before, np.diff(np.append(begins, len(chosen))))
    bad[owner[counts < 0]] = True
    bad |= np.bincount(owner, weights=counts, minlength=len(rles)) != areas
    return int(np.argmax(bad)) if bad.any() else None
