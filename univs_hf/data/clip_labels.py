# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Masks of a clip as few label maps, painted from run lengths.

Masks that do not overlap share one map, which is warped once. Where they overlap, entities are coloured greedily: two
entities that share a pixel in any frame go to different maps (data specification, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..rle import counts_to_runs, decompress_packed
from .schema import Row, RowError

MAX_LABELS = 255
# Pairs of overlapping runs that are listed at once.
_PAIR_CHUNK = 2_000_000


@dataclass(frozen=True)
class LabelMaps:
    """Masks of N entities in S frames.

    Attributes:
        maps: uint8 (L, S, H, W), a view that is contiguous along columns.
        layer: int64 (N,), the map that each entity is in.
        label: int64 (N,), its value there, 1 to 255.
    """

    maps: np.ndarray
    layer: np.ndarray
    label: np.ndarray


def entities_in_frames(row: Row, frames: Sequence[int]) -> np.ndarray:
    """Rows of the entities that have a mask in one of `frames`, ascending, int64."""
    return np.unique(row.masks_of_frames(frames).entity).astype(np.int64)


def paint_label_maps(row: Row, frames: Sequence[int], entities: np.ndarray) -> LabelMaps:
    """Paints the masks of some entities in some frames.

    Args:
        row: The row.
        frames: S distinct frames.
        entities: int64 (N,), rows of the entities, ascending.

    Raises:
        RowError: If the run lengths cannot be read or do not fill a frame.
    """
    masks = row.masks_of_frames(frames)
    num_pixels = row.height * row.width
    try:
        mask, start, end = counts_to_runs(*decompress_packed(masks.data, masks.offsets), num_pixels)
    except ValueError as error:
        raise RowError(row.key, "mask_rle", f"frames {list(frames)}: {error}") from error
    position = np.full(len(row.entities), -1)
    position[entities] = np.arange(len(entities))
    entity = position[masks.entity[mask]]
    # All frames in a line, so that runs of different frames cannot meet.
    line = masks.frame[mask] * num_pixels
    chosen = np.flatnonzero(entity >= 0)
    entity, start, end = entity[chosen], (start + line)[chosen], (end + line)[chosen]
    order = np.argsort(start, kind="stable")
    entity, start, end = entity[order], start[order], end[order]
    layer, label = _colour(len(entities), _find_conflicts(entity, start, end, len(entities)))
    num_layers = int(layer.max(initial=-1)) + 1
    maps = np.empty((num_layers, len(frames), row.width, row.height), np.uint8)
    for number in range(num_layers):
        runs = np.flatnonzero(layer[entity] == number)
        maps[number] = _paint(start[runs], end[runs], label[entity[runs]], maps[number].size).reshape(maps.shape[1:])
    return LabelMaps(maps.transpose(0, 1, 3, 2), layer, label)


def _paint(start: np.ndarray, end: np.ndarray, label: np.ndarray, num_pixels: int) -> np.ndarray:
    """Pixels uint8 (num_pixels,) of runs that are sorted and do not overlap."""
    lengths = np.empty(2 * len(start) + 1, np.int64)
    lengths[0::2] = np.append(start, num_pixels) - np.concatenate([[0], end])
    lengths[1::2] = end - start
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = label
    return np.repeat(values, lengths)


def _find_conflicts(entity: np.ndarray, start: np.ndarray, end: np.ndarray, num_entities: int) -> np.ndarray:
    """Which entities share a pixel, symmetric bool (N, N); runs are sorted by start."""
    conflicts = np.zeros((num_entities, num_entities), bool)
    # Run `i` overlaps the runs after it that start before it ends.
    following = np.searchsorted(start, end) - np.arange(len(start)) - 1
    sums = np.concatenate([[0], np.cumsum(following)])
    first = 0
    while first < len(start) and sums[-1] > sums[first]:
        last = max(int(np.searchsorted(sums, sums[first] + _PAIR_CHUNK, side="right")) - 1, first + 1)
        run = np.repeat(np.arange(first, last), following[first:last])
        other = run + 1 + np.arange(len(run)) - (sums[run] - sums[first])
        conflicts[entity[run], entity[other]] = True
        first = last
    return conflicts | conflicts.T


def _colour(num_entities: int, conflicts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map and label of each entity: the first map without a conflict, entities with most conflicts first."""
    layer = np.full(num_entities, -1)
    label = np.zeros(num_entities, np.int64)
    used: list[int] = []
    for entity in np.argsort(-conflicts.sum(1), kind="stable"):
        taken = set(layer[conflicts[entity]].tolist())
        number = next((n for n, count in enumerate(used) if n not in taken and count < MAX_LABELS), len(used))
        if number == len(used):
            used.append(0)
        used[number] += 1
        layer[entity], label[entity] = number, used[number]
    return layer, label
