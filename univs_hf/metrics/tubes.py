# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Tubes: one mask per frame of a video, and the overlap of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .masks import Size, name_frame, to_labels, to_rle
from .run_lengths import RunTable, read_run_lengths

# The runs of this many masks are read together: few enough for the processor's cache, where it is quickest.
_MASKS_AT_ONCE = 150


@dataclass(frozen=True)
class Tube:
    """One object through a video, as read by [`read_tubes`].

    Attributes:
        lengths: `np.ndarray` of shape (runs, 2), `int32`: a run of pixels outside and the run inside that follows it,
            down the columns of one frame with a mask after the other.
        skipped: `np.ndarray` of shape (runs,), `int64`: pixels of the frames without a mask before each run; None if
            every frame up to the last mask has one.
        areas: `np.ndarray` of shape (frames,), `float64`: pixels inside in each frame.
        masks: Per frame the mask as a COCO RLE dict with compressed counts, or None.
    """

    lengths: np.ndarray
    skipped: np.ndarray | None
    areas: np.ndarray
    masks: list[dict[str, Any] | None]

    @cached_property
    def runs(self) -> np.ndarray:
        """Where each run inside begins and ends (exclusive) among the pixels of all frames; (runs, 2), `float64`."""
        places = np.cumsum(self.lengths, dtype=np.int64).astype(np.float64).reshape(-1, 2)
        if self.skipped is not None:
            places += self.skipped[:, None]
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


def tube_ious(first: Sequence[Tube], second: Sequence[Tube]) -> np.ndarray:
    """[`tube_iou`] of every tube of `first` with every tube of `second`, as read by [`read_tubes`].

    Returns:
        `np.ndarray` of shape (len(first), len(second)), `float64`.
    """
    ious = np.zeros((len(first), len(second)))
    for j, other in enumerate(second):
        # How many pixels of the other tube lie before a place: a line that rises by 1 per pixel along its runs.
        places = other.runs.ravel()
        before = np.zeros_like(other.runs)
        before[:, 1] = np.cumsum(other.runs[:, 1] - other.runs[:, 0])
        before[1:, 0] = before[:-1, 1]
        for i, tube in enumerate(first):
            if not (len(tube.runs) and len(places)):
                continue
            counted = np.interp(tube.runs.ravel(), places, before.ravel()).reshape(-1, 2)
            intersection = (counted[:, 1] - counted[:, 0]).sum()
            # What one of them has beyond the end of the other does not count.
            areas = tube.areas[: len(other.areas)].sum() + other.areas[: len(tube.areas)].sum()
            ious[i, j] = intersection / (areas - intersection) if areas else 0.0
    return ious


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
    result: list[Tube] = []
    step = max(1, _MASKS_AT_ONCE // max(map(len, tubes), default=1))
    for k in range(0, len(tubes), step):
        read, size = _read_some_tubes(tubes[k : k + step], names[k : k + step], video_id, size)
        result += read
    return result


def _read_some_tubes(
    tubes: Sequence[Any], names: Sequence[str], video_id: str | int | None, size: Size | None
) -> tuple[list[Tube], Size | None]:
    """[`read_tubes`] without a limit on memory; also the size of the masks."""
    masks, frames, owners = [], [], []
    for k, tube in enumerate(tubes):
        for t, mask in enumerate(tube):
            if mask is not None:
                masks.append(mask)
                frames.append(t)
                owners.append(k)
    num_frames = [len(tube) for tube in tubes]
    no_runs = np.zeros((0, 2), dtype=np.int32)
    empty = [Tube(no_runs, None, np.zeros(length), [None] * length) for length in num_frames]
    if not masks:
        return empty, size
    table = _read_if_plain(masks, size)
    if table is None:
        for i, mask in enumerate(masks):
            masks[i] = to_rle(mask, _where(names[owners[i]], video_id, frames[i]), size)
            size = size or tuple(masks[i]["size"])
        if 0 in size:
            return empty, size
        table = read_run_lengths([mask["counts"] for mask in masks])
    frames = np.array(frames)
    first_mask = np.searchsorted(owners, np.arange(len(tubes) + 1))
    first_row = np.append(table.first_row, len(table.runs))
    result = []
    for k, length in enumerate(num_frames):
        begin, end = first_mask[k], first_mask[k + 1]
        rows = first_row[begin : end + 1]
        without_mask = frames[begin:end] - np.arange(end - begin)
        skipped = np.repeat(without_mask * table.totals[0], np.diff(rows)) if without_mask.any() else None
        areas = np.zeros(length)
        areas[frames[begin:end]] = table.areas[begin:end]
        present = dict(zip(frames[begin:end].tolist(), masks[begin:end], strict=True))
        result.append(Tube(table.runs[rows[0] : rows[-1]], skipped, areas, [present.get(t) for t in range(length)]))
    return result, size or tuple(masks[0]["size"])


def _read_if_plain(masks: list[Any], size: Size | None) -> RunTable | None:
    """The runs of the masks if all are proper compressed RLE dicts of one size, which is the usual case; else None."""
    if any(type(mask) is not dict for mask in masks):
        return None
    try:
        counts = [mask["counts"] for mask in masks]
        counts = [entry if type(entry) is bytes else entry.encode("ascii") for entry in counts]
        sizes = {tuple(mask["size"]) for mask in masks}
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return None
    if len(sizes) > 1 or (size is not None and sizes - {tuple(size)}):
        return None
    table = read_run_lengths(counts)
    height, width = sizes.pop()
    return table if table is not None and (table.totals == height * width).all() else None


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
