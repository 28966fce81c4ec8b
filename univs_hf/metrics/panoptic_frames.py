# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Frames of video panoptic segmentation: checks, and the pixels that each pair of segments shares.

All that VPQ and STQ need of a frame is a small table, so that every frame is read once, whatever the windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frame_pairs import count_codes, label_runs, pair_frames
from .masks import name_frame, to_labels

VOID = 0
Category = Mapping[str, Any]
Segment = Mapping[str, Any]
PanopticFrame = tuple[Any, Sequence[Segment]] | Mapping[str, Any]


class PanopticCategories:
    """The categories of a benchmark.

    Args:
        categories: Dictionaries with `id` and `isthing` (0/1 or bool) as in COCO's panoptic files, or a mapping from
            category id to whether it is a thing.

    Attributes:
        ids: Category ids, in ascending order.
        is_thing: bool array in that order.

    Raises:
        TypeError: If `categories` is something else.
        ValueError: If there is none, or an id occurs twice.
    """

    def __init__(self, categories: Sequence[Category] | Mapping[int, bool]) -> None:
        try:
            if isinstance(categories, Mapping):
                pairs = [(int(category), bool(is_thing)) for category, is_thing in categories.items()]
            else:
                pairs = [(int(category["id"]), bool(category["isthing"])) for category in categories]
        except (KeyError, TypeError, ValueError) as error:
            raise TypeError(
                "`categories` must be dictionaries with `id` and `isthing`, or a mapping from category id to whether "
                f"it is a thing; got {categories!r:.200}."
            ) from error
        pairs.sort()
        if not pairs:
            raise ValueError("`categories` must hold at least one category, got none.")
        self.ids = [category for category, _ in pairs]
        self.is_thing = np.array([is_thing for _, is_thing in pairs])
        self._index = {category: index for index, category in enumerate(self.ids)}
        if len(self._index) != len(self.ids):
            twice = sorted({category for category in self.ids if self.ids.count(category) > 1})
            raise ValueError(f"`categories` must have different ids, got {twice[:6]} more than once.")

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, category: Any, where: str) -> int:
        """Place of a category id in `ids`.

        Raises:
            ValueError: If there is no such category.
        """
        try:
            return self._index[category]
        except (KeyError, TypeError):
            known = f"{len(self)} categories from {self.ids[0]} to {self.ids[-1]}"
            raise ValueError(f"{where} has the unknown category_id {category!r}: there are {known}.") from None

    def settings(self) -> tuple[tuple[int, bool], ...]:
        """Ids with thing flags, to be compared."""
        return tuple(zip(self.ids, self.is_thing.tolist(), strict=True))


@dataclass(frozen=True)
class FrameSegments:
    """The segments of one side of a frame, in the order in which they are listed.

    Attributes:
        ids: Segment ids, int64 (N,).
        classes: Places of their categories in [`PanopticCategories`].ids, int64 (N,).
        is_crowd: bool (N,).
        areas: Pixels as listed under `area`, int64 (N,); counted pixels where it is not listed.
    """

    ids: np.ndarray
    classes: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class PanopticOverlap:
    """What a pair of frames has in common.

    Attributes:
        ground_truth, prediction: Segments of the two sides.
        counts: Pixels of each pair, int64 (1 + G, 1 + P): row and column 0 are void, then the segments in order.
    """

    ground_truth: FrameSegments
    prediction: FrameSegments
    counts: np.ndarray


def panoptic_overlaps(
    video_id: str,
    prediction: Iterable[PanopticFrame],
    ground_truth: Iterable[PanopticFrame],
    categories: PanopticCategories,
) -> Iterator[PanopticOverlap]:
    """Yields the overlaps of a video, frame by frame, without holding its frames.

    Args:
        video_id: For errors.
        prediction, ground_truth: Iterables of frames. A frame is a pair (map, segments), or a mapping with them under
            `segmentation` and `segments_info`. The map holds segment ids, 0 is void: integers (H, W), or uint8
            (H, W, 3) as VIPSeg's PNGs store them (id = R + 256 G + 65536 B), or a mapping from id to mask or RLE. A
            segment has `id`, `category_id`, and optionally `iscrowd` and `area` (pixels).
        categories: All categories.

    Raises:
        TypeError: If a frame has another form.
        ValueError: If numbers or sizes of frames differ, a map holds an id that is not listed or a listed id is not in
            the map, an id is listed twice or is 0, or a category is unknown. The message names video and frame.
    """
    for frame, (predicted, true) in enumerate(pair_frames(video_id, prediction, ground_truth)):
        where = {name: name_frame(name, video_id, frame) for name in ("prediction", "ground_truth")}
        true_map, true_segments = _read_frame(true, where["ground_truth"], None)
        predicted_map, predicted_segments = _read_frame(predicted, where["prediction"], true_map.shape)
        true_runs, predicted_runs, lengths = label_runs(true_map, predicted_map)
        true_ids = _listed_ids(true_segments, where["ground_truth"])
        predicted_ids = _listed_ids(predicted_segments, where["prediction"])
        rows = _places(true_ids, true_runs, where["ground_truth"])
        columns = _places(predicted_ids, predicted_runs, where["prediction"])
        shape = (len(true_ids) + 1, len(predicted_ids) + 1)
        counts = count_codes(rows * shape[1] + columns, lengths, shape[0] * shape[1]).reshape(shape)
        yield PanopticOverlap(
            _frame_segments(true_segments, true_ids, counts.sum(axis=1), categories, where["ground_truth"]),
            _frame_segments(predicted_segments, predicted_ids, counts.sum(axis=0), categories, where["prediction"]),
            counts,
        )


def _read_frame(frame: Any, where: str, size: tuple[int, int] | None) -> tuple[np.ndarray, Sequence[Segment]]:
    """Map of segment ids and list of segments."""
    if isinstance(frame, Mapping) and {"segmentation", "segments_info"} <= frame.keys():
        segmentation, segments = frame["segmentation"], frame["segments_info"]
    elif isinstance(frame, (tuple, list)) and len(frame) == 2:
        segmentation, segments = frame
    else:
        raise TypeError(
            f"{where} must be a pair (map of segment ids, list of segments) or a mapping with `segmentation` and "
            f"`segments_info`, got {type(frame).__name__}."
        )
    if segmentation is None:
        raise TypeError(f"{where} has no map of segment ids: got None.")
    if isinstance(segments, (str, Mapping)) or not isinstance(segments, Iterable):
        raise TypeError(f"{where} must list its segments as dictionaries, got {type(segments).__name__}.")
    if not isinstance(segmentation, Mapping):
        segmentation = np.asarray(segmentation)
        if segmentation.ndim == 3 and segmentation.shape[2] == 3 and segmentation.dtype == np.uint8:
            segmentation = rgb_to_ids(segmentation)
    return to_labels(segmentation, where, size), list(segments)


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """Segment ids of a panoptic PNG: R + 256 G + 65536 B.

    Args:
        rgb: uint8 (H, W, 3).

    Returns:
        `np.ndarray` of shape (H, W), dtype uint32.
    """
    # Four bytes are read at every third one, the fourth is dropped: several times as fast as adding up channels.
    padded = np.zeros(rgb.size + 1, dtype=np.uint8)
    padded[:-1] = rgb.ravel()
    words = np.ndarray(rgb.shape[:2], dtype="<u4", buffer=padded, strides=(3 * rgb.shape[1], 3))
    return (words & 0xFFFFFF).astype(np.uint32, copy=False)


def _listed_ids(segments: Sequence[Segment], where: str) -> np.ndarray:
    ids = []
    for segment in segments:
        if not isinstance(segment, Mapping) or "id" not in segment or "category_id" not in segment:
            raise TypeError(f"{where} must list segments with `id` and `category_id`, got {segment!r:.200}.")
        if isinstance(segment["id"], bool) or not isinstance(segment["id"], (int, np.integer)) or segment["id"] < 1:
            raise ValueError(f"{where} must list ids above 0 (which is void), got {segment['id']!r}.")
        ids.append(int(segment["id"]))
    if len(set(ids)) != len(ids):
        twice = sorted({identifier for identifier in ids if ids.count(identifier) > 1})
        raise ValueError(f"{where} lists the segment ids {twice[:6]} more than once.")
    return np.array(ids, dtype=np.int64)


def _places(listed: np.ndarray, found: np.ndarray, where: str) -> np.ndarray:
    """For each id found in a map 0 for void, otherwise 1 + its place in the list."""
    order = np.argsort(listed)
    # Void stands first: ids are above it.
    known = np.concatenate([[VOID], listed[order]])
    places = np.concatenate([[0], order + 1])
    # Signed and unsigned 64 bits together would be compared as floating-point numbers.
    found = found.astype(np.int64, copy=False)
    nearest = np.minimum(np.searchsorted(known, found), len(known) - 1)
    unlisted = known[nearest] != found
    if unlisted.any():
        ids = np.unique(found[unlisted]).tolist()
        raise ValueError(f"{where} has pixels of segment ids {ids[:6]}, which are not listed.")
    return places[nearest]


def _frame_segments(
    segments: Sequence[Segment], ids: np.ndarray, counts: np.ndarray, categories: PanopticCategories, where: str
) -> FrameSegments:
    """Checks the listed segments against the map; `counts` are the pixels of void and of each segment."""
    empty = ids[counts[1:] == 0].tolist()
    if empty:
        raise ValueError(f"{where} lists the segment ids {empty[:6]}, which have no pixels.")
    classes, is_crowd, areas = [], [], []
    for segment, identifier, count in zip(segments, ids.tolist(), counts[1:].tolist(), strict=True):
        classes.append(categories.index(segment["category_id"], f"{where}, segment {identifier}"))
        is_crowd.append(bool(segment.get("iscrowd", 0)))
        area = segment.get("area")
        area = count if area is None else area
        if (
            isinstance(area, bool)
            or not isinstance(area, (int, float, np.number))
            or not area > 0
            or area != int(area)
        ):
            raise ValueError(f"{where}, segment {identifier}: `area` must be a number of pixels, got {area!r}.")
        areas.append(int(area))
    return FrameSegments(
        ids, np.array(classes, dtype=np.int64), np.array(is_crowd, dtype=bool), np.array(areas, dtype=np.int64)
    )
