# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Tubes: one mask per frame of a video, and the overlap of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .masks import Size, name_frame, to_labels, to_rle
from .run_lengths import measure_run_lengths, read_run_lengths

# The runs of this many masks are read together: few enough for the processor's cache, where it is quickest.
_MASKS_AT_ONCE = 150


@dataclass
class Tube:
    """One object through a video, as read by [`read_tubes`].

    Attributes:
        masks: Per frame the mask as a COCO RLE dict with compressed counts, or None where the object is not there.
        areas: `np.ndarray` of shape (frames,), `float64`: pixels inside in each frame.
        where: Names the tube in errors.
        runs: Where each run inside begins and ends (exclusive), counting the pixels down the columns of one frame
            after the other; `np.ndarray` of shape (runs, 2), `float64`. None until [`read_runs`] was there.
    """

    masks: list[dict[str, Any] | None]
    areas: np.ndarray
    where: str
    runs: np.ndarray | None = None


def tube_iou(prediction: Sequence[Any], ground_truth: Sequence[Any]) -> float:
    """Overlap of two tubes: pixels in both over pixels in either, each summed over the frames.

    Frames that only one of them has are left out, as the official evaluator of YouTube-VIS does; the value is 0 if
    both tubes are empty (specification, section 2).

    Args:
        prediction: One mask per frame: array of shape (height, width) of `bool` or 0/1, RLE `dict` or `None` (empty).
            An array of shape (frames, height, width) will do.
        ground_truth: The same for the other tube.

    Returns:
        A fraction in [0, 1].

    Raises:
        TypeError, ValueError: If a mask is none, or masks have different sizes.
    """
    tubes = read_tubes([prediction, ground_truth], ["prediction", "ground_truth"])
    return float(tube_ious(tubes[:1], tubes[1:])[0, 0])


def tube_ious(first: Sequence[Tube], second: Sequence[Tube], lowest: float = 0.0) -> np.ndarray:
    """[`tube_iou`] of every tube of `first` with every tube of `second`, as read by [`read_tubes`].

    Args:
        first: Tubes.
        second: Tubes.
        lowest: An overlap that is certain to be below may be given as 0, which spares its computation.

    Returns:
        `np.ndarray` of shape (len(first), len(second)), `float64`.
    """
    ious = np.zeros((len(first), len(second)))
    pairs = overlapping_pairs(first, second, lowest)
    read_runs([first[i] for i in np.flatnonzero(pairs.any(axis=1))])
    read_runs([second[j] for j in np.flatnonzero(pairs.any(axis=0))])
    for j in np.flatnonzero(pairs.any(axis=0)):
        other = second[j]
        # How many pixels of the other tube lie before a place: a line that rises by 1 per pixel inside.
        before = np.zeros_like(other.runs)
        before[:, 1] = np.cumsum(other.runs[:, 1] - other.runs[:, 0])
        before[1:, 0] = before[:-1, 1]
        for i in np.flatnonzero(pairs[:, j]):
            tube = first[i]
            counted = np.interp(tube.runs.ravel(), other.runs.ravel(), before.ravel()).reshape(-1, 2)
            intersection = (counted[:, 1] - counted[:, 0]).sum()
            # What one of them has beyond the end of the other does not count.
            areas = tube.areas[: len(other.areas)].sum() + other.areas[: len(tube.areas)].sum()
            ious[i, j] = intersection / (areas - intersection)
    return ious


def overlapping_pairs(first: Sequence[Tube], second: Sequence[Tube], lowest: float = 0.0) -> np.ndarray:
    """Which pairs may overlap by `lowest` or more, judged by their areas; `bool` of shape (first, second)."""
    result = np.zeros((len(first), len(second)), dtype=bool)
    for i, tube in enumerate(first):
        for j, other in enumerate(second):
            length = min(len(tube.areas), len(other.areas))
            areas = tube.areas[:length], other.areas[:length]
            # No overlap in a frame exceeds the smaller mask, no union falls below the larger one.
            smaller = np.minimum(*areas).sum()
            result[i, j] = smaller > 0 and smaller / (areas[0].sum() + areas[1].sum() - smaller) >= lowest
    return result


def read_runs(tubes: Sequence[Tube]) -> None:
    """Fills in the runs of the tubes that have none yet; quickest for all tubes of a video at once.

    Raises:
        ValueError: If a run length is negative.
    """
    pending = [tube for tube in tubes if tube.runs is None]
    while pending:
        some: list[Tube] = []
        frames: list[int] = []
        while pending and len(frames) < _MASKS_AT_ONCE:
            some.append(pending.pop())
            frames += [t for t, mask in enumerate(some[-1].masks) if mask is not None]
        _read_some_runs(some, np.array(frames, dtype=np.int64))


def _read_some_runs(tubes: list[Tube], frames: np.ndarray) -> None:
    """[`read_runs`] of tubes with masks in the given frames, one tube after the other."""
    for tube in tubes:
        tube.runs = np.zeros((0, 2))
    counts = [_as_bytes(mask["counts"]) for tube in tubes for mask in tube.masks if mask is not None]
    if not counts:
        return
    table = read_run_lengths(counts)
    numbers = [sum(mask is not None for mask in tube.masks) for tube in tubes]
    owners = np.repeat(np.arange(len(tubes)), numbers)
    if table is None or (table.totals < 0).any():
        wrong = 0 if table is None else int(np.argmax(table.totals < 0))
        raise ValueError(f"{tubes[owners[wrong]].where}, frame {frames[wrong]} has a negative run length.")
    first_row = np.append(table.first_row, len(table.runs))
    begin = 0
    for tube, number in zip(tubes, numbers, strict=True):
        rows = first_row[begin : begin + number + 1]
        places = np.cumsum(table.runs[rows[0] : rows[-1]], dtype=np.int64).reshape(-1, 2)
        skipped = frames[begin : begin + number] - np.arange(number)
        if skipped.any():
            places += np.repeat(skipped * table.totals[0], np.diff(rows))[:, None]
        tube.runs = places.astype(np.float64)
        begin += number


def read_tubes(
    tubes: Sequence[Any], names: Sequence[str], video_id: str | int | None = None, size: Size | None = None
) -> list[Tube]:
    """Checks tubes and reads their masks.

    Args:
        tubes: Tubes as [`tube_iou`] takes them; all masks of a video have the same size.
        names: Names the tubes in errors.
        video_id: Names the video in errors.
        size: (height, width) the masks must have, in pixels; by default that of the first mask.

    Raises:
        TypeError, ValueError: If a mask is none, has another size, or its run lengths do not fill it.
    """
    for tube, name in zip(tubes, names, strict=True):
        if isinstance(tube, (str, bytes, Mapping)) or not hasattr(tube, "__len__"):
            where = _where(name, video_id)
            raise TypeError(f"{where} must have one mask or None per frame, got {type(tube).__name__}.")
    flat = [mask for tube in tubes for mask in tube]
    present = [i for i, mask in enumerate(flat) if mask is not None]
    masks = [flat[i] for i in present]
    measured = _measure_if_plain(masks, size)
    if measured is None:
        places = [(name, t) for tube, name in zip(tubes, names, strict=True) for t in range(len(tube))]
        for k, i in enumerate(present):
            name, t = places[i]
            masks[k] = flat[i] = to_rle(masks[k], _where(name, video_id, t), size)
            size = size or tuple(masks[k]["size"])
        measured = measure_run_lengths([mask["counts"] for mask in masks])[1]
    areas = np.zeros(len(flat))
    areas[present] = measured
    result, begin = [], 0
    for tube, name in zip(tubes, names, strict=True):
        end = begin + len(tube)
        result.append(Tube(flat[begin:end], areas[begin:end], _where(name, video_id)))
        begin = end
    return result


def _measure_if_plain(masks: list[Any], size: Size | None) -> np.ndarray | None:
    """Areas of the masks if all are proper compressed RLE dicts of one size, which is the usual case; else None."""
    if any(type(mask) is not dict for mask in masks):
        return None
    try:
        counts = [_as_bytes(mask["counts"]) for mask in masks]
        sizes = {tuple(mask["size"]) for mask in masks}
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return None
    if len(sizes) > 1 or (size is not None and sizes - {tuple(size)}):
        return None
    pixels = [height * width for height, width in sizes]
    totals, areas = measure_run_lengths(counts)
    return areas if (totals == (pixels[0] if pixels else 0)).all() else None


def _as_bytes(counts: str | bytes) -> bytes:
    return counts if type(counts) is bytes else counts.encode("ascii")


def tubes_from_label_maps(
    label_maps: Sequence[np.ndarray], labels: Sequence[int], video_id: str | int | None = None
) -> list[list[dict[str, Any] | None]]:
    """The masks of each label of a video of label maps.

    Args:
        label_maps: Per frame an integer array of shape (height, width).
        labels: The labels wanted; one that never occurs gives a list of `None`.
        video_id: Names the video in errors.

    Returns:
        Per label, in the order of `labels`, one RLE `dict` or `None` per frame.

    Raises:
        TypeError, ValueError: If a frame is no label map, or frames have different sizes.
    """
    tubes: list[list[dict[str, Any] | None]] = [[] for _ in labels]
    size: Size | None = None
    for t, label_map in enumerate(label_maps):
        array = to_labels(label_map, _where("label_maps", video_id, t), size)
        size = array.shape
        found = set(np.unique(array).tolist())
        for tube, label in zip(tubes, labels, strict=True):
            inside = np.asfortranarray(array == label, dtype=np.uint8) if label in found else None
            tube.append(None if inside is None else coco_mask.encode(inside))
    return tubes


def _where(name: str, video_id: str | int | None, frame: int | None = None) -> str:
    if video_id is not None:
        return name_frame(name, video_id, frame)
    return f"`{name}`" + ("" if frame is None else f", frame {frame}")
