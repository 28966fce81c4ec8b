# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Tubes: one mask per frame of a video, and the overlap of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .masks import Size, name_frame, to_labels, to_rle
from .run_lengths import read_run_lengths

# The runs of this many masks are read together: few enough for the processor's cache, where it is quickest.
_MASKS_AT_ONCE = 600


@dataclass(frozen=True)
class Tube:
    """One object through a video, as read by [`read_tubes`].

    Attributes:
        masks: Per frame the mask as a COCO RLE dict with compressed counts, or None where the object is not there.
        areas: `np.ndarray` of shape (frames,), `float64`: pixels inside in each frame.
        runs: A run outside and the run inside that follows it, frame after frame; `np.ndarray` of shape (runs, 2),
            `int32`. Frames without a mask have none.
        first_runs: `np.ndarray` of shape (frames with a mask,), `int64`: where the runs of each begin.
        frame_size: Pixels of a frame.
    """

    masks: list[dict[str, Any] | None]
    areas: np.ndarray
    runs: np.ndarray
    first_runs: np.ndarray
    frame_size: int

    def places(self) -> np.ndarray:
        """Where each run inside begins and ends (exclusive), counting the pixels of one frame after the other.

        Returns:
            `np.ndarray` of shape (runs, 2), `int64`.
        """
        places = np.cumsum(self.runs, dtype=np.int64).reshape(-1, 2)
        if len(self.first_runs) < len(self.masks):
            present = np.array([t for t, mask in enumerate(self.masks) if mask is not None], dtype=np.int64)
            skipped = (present - np.arange(len(present))) * self.frame_size
            places += np.repeat(skipped, np.diff(self.first_runs, append=len(self.runs)))[:, None]
        return places


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


def tube_ious(
    first: Sequence[Tube], second: Sequence[Tube], lowest: float = 0.0, wanted: np.ndarray | None = None
) -> np.ndarray:
    """[`tube_iou`] of every tube of `first` with every tube of `second`, as read by [`read_tubes`].

    Args:
        first: Tubes.
        second: Tubes.
        lowest: An overlap that is certain to be below may be given as 0, which spares its computation.
        wanted: `bool` of shape (len(first), len(second)): which overlaps are of interest, all others are given as 0.

    Returns:
        `np.ndarray` of shape (len(first), len(second)), `float64`.
    """
    ious = np.zeros((len(first), len(second)))
    areas, lengths = _area_table(first)
    areas_up_to = np.concatenate([np.zeros((len(first), 1)), areas.cumsum(axis=1)], axis=1)
    places: dict[int, np.ndarray] = {}
    for j, other in enumerate(second):
        length = len(other.areas)
        # What one of them has beyond the end of the other does not count.
        common = np.minimum(lengths, length)
        other_areas = np.concatenate([[0.0], other.areas.cumsum()])[common]
        both = areas_up_to[np.arange(len(first)), common] + other_areas
        # No overlap in a frame exceeds the smaller mask, no union falls below the larger one.
        shared = min(length, areas.shape[1])
        smaller = np.minimum(areas[:, :shared], other.areas[:shared]).sum(axis=1)
        largest = np.divide(smaller, both - smaller, out=np.zeros_like(smaller), where=smaller > 0)
        compared = (smaller > 0) & (largest >= lowest)
        if wanted is not None:
            compared &= wanted[:, j]
        chosen = np.flatnonzero(compared)
        if not len(chosen):
            continue
        for i in chosen.tolist():
            if i not in places:
                places[i] = first[i].places().astype(np.float64)
        # How many pixels of the other tube lie before a place: a line that rises by 1 per pixel inside.
        bounds = other.places().astype(np.float64)
        before = np.zeros_like(bounds)
        before[:, 1] = np.cumsum(other.runs[:, 1], dtype=np.int64)
        before[1:, 0] = before[:-1, 1]
        ours = np.concatenate([places[i] for i in chosen.tolist()])
        counted = np.interp(ours.ravel(), bounds.ravel(), before.ravel()).reshape(-1, 2)
        numbers = np.array([len(places[i]) for i in chosen.tolist()])
        intersection = np.add.reduceat(counted[:, 1] - counted[:, 0], np.cumsum(numbers) - numbers)
        ious[chosen, j] = intersection / (both[chosen] - intersection)
    return ious


def _area_table(tubes: Sequence[Tube]) -> tuple[np.ndarray, np.ndarray]:
    """Areas of shape (tubes, frames of the longest), 0 after the end of a tube, and the lengths of the tubes."""
    lengths = np.array([len(tube.areas) for tube in tubes], dtype=np.int64)
    areas = np.zeros((len(tubes), lengths.max(initial=0)))
    for row, tube in zip(areas, tubes, strict=True):
        row[: len(tube.areas)] = tube.areas
    return areas, lengths


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
    flat = list(chain.from_iterable(tubes))
    present = [i for i, mask in enumerate(flat) if mask is not None]
    masks = [flat[i] for i in present]
    counts = _plain_counts(masks, size)
    read = None if counts is None else _read_counts(counts, masks)
    if read is None:
        places = [(name, t) for tube, name in zip(tubes, names, strict=True) for t in range(len(tube))]
        for k, i in enumerate(present):
            name, t = places[i]
            masks[k] = flat[i] = to_rle(masks[k], _where(name, video_id, t), size)
            size = size or tuple(masks[k]["size"])
        read = _read_counts([mask["counts"] for mask in masks], masks)
        if read is None:
            raise ValueError(
                f"{_where(names[0], video_id)} has frames of {size[0]}x{size[1]} pixels, which is too many."
            )
    return _split_into_tubes(flat, [len(tube) for tube in tubes], np.array(present, dtype=np.int64), *read)


def _plain_counts(masks: list[Any], size: Size | None) -> list[str] | list[bytes] | None:
    """`counts` of the masks if all are compressed RLE dicts of one size, which is the usual case; else None."""
    if set(map(type, masks)) - {dict}:
        return None
    try:
        counts = list(map(itemgetter("counts"), masks))
        sizes = list(map(itemgetter("size"), masks))
    except KeyError:
        return None
    kinds = set(map(type, counts))
    if len(kinds) > 1 or kinds - {str, bytes} or set(map(type, sizes)) - {list, tuple}:
        return None
    if sizes and (sizes.count(sizes[0]) < len(sizes) or [type(side) for side in sizes[0]] != [int, int]):
        return None
    return counts if not sizes or size is None or tuple(sizes[0]) == tuple(size) else None


def _read_counts(counts: list[str] | list[bytes], masks: list[dict[str, Any]]) -> tuple[Any, ...] | None:
    """Runs, the number of rows of each mask, areas and pixels of a frame; None if runs do not fill the frame."""
    height, width = masks[0]["size"] if masks else (0, 0)
    frame_size = height * width
    tables = [read_run_lengths(counts[i : i + _MASKS_AT_ONCE]) for i in range(0, len(counts), _MASKS_AT_ONCE)]
    if not tables:
        return np.zeros((0, 2), dtype=np.int32), np.zeros(0, dtype=np.int64), np.zeros(0), frame_size
    if any((table.totals != frame_size).any() for table in tables):
        return None
    rows = [np.diff(table.first_row, append=len(table.runs)) for table in tables]
    runs = tables[0].runs if len(tables) == 1 else np.concatenate([table.runs for table in tables])
    return runs, np.concatenate(rows), np.concatenate([table.areas for table in tables]), frame_size


def _split_into_tubes(
    masks: list[dict[str, Any] | None],
    lengths: list[int],
    present: np.ndarray,
    runs: np.ndarray,
    rows: np.ndarray,
    areas: np.ndarray,
    frame_size: int,
) -> list[Tube]:
    """The tubes of so many frames each; `rows` and `areas` are of the masks that are `present`."""
    all_areas = np.zeros(len(masks))
    all_areas[present] = areas
    ends = np.cumsum(lengths, dtype=np.int64)
    places = np.searchsorted(present, np.concatenate([[0], ends])).tolist()
    first_run = np.concatenate([[0], np.cumsum(rows)])
    tubes = []
    for k, (end, length) in enumerate(zip(ends.tolist(), lengths, strict=True)):
        first = first_run[places[k] : places[k + 1] + 1]
        tubes.append(
            Tube(
                masks[end - length : end],
                all_areas[end - length : end],
                runs[first[0] : first[-1]],
                first[:-1] - first[0],
                frame_size,
            )
        )
    return tubes


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
