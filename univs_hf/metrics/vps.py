# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Video panoptic quality VPQ (VIPSeg)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .panoptic_frames import Category, PanopticCategories, PanopticFrame, PanopticOverlap, panoptic_overlaps
from .summed_metric import SummedMetric
from .vss import check_windows

# IoUs of matches lie above 1/2, so in float64 they are multiples of this, and as such their sums are exact.
_IOU_UNIT = 2**-53
# First frames of windows that are looked at together: bounds the memory of a long video.
_BLOCK = 32
_GROUPS = ("All", "Things", "Stuff")


class VPQMetric(SummedMetric):
    """VPQ over windows of k frames, as VIPSeg's evaluation script computes it.

    Within a window of k consecutive frames, all pixels of a segment id are a tube; its class is that of the first
    frame that has it. A predicted tube p and a ground-truth tube g of one class, not crowd, match if
    |g & p| / (|g| + |p| - |g & p| - |p & void|) > 1/2. Ground truth without a match that is not crowd is a false
    negative; a prediction without a match is a false positive unless more than half of it lies on void or on the crowd
    tube of its class (the last one listed, if there are several). IoUs, TP, FP and FN are summed over all windows of
    all videos; PQ = IoU / (TP + FP/2 + FN/2) per class; the mean is over the classes that occur. Videos of fewer than
    k frames add nothing.

    The script uses k = 1, 2, 4, 6, 8 and reports the mean of the five (`VPQ`), although the VIPSeg paper defines the
    mean over 1, 2, 4, 6 (`VPQ_mean_1_2_4_6`). Where the script fails because no class of a group occurs, the figure is
    NaN.

    Args:
        categories (sequence of `dict`, or mapping): See [`PanopticCategories`].
        windows (sequence of `int`, defaults to `(1, 2, 4, 6, 8)`): The k, in frames.
        ground_truth_area (`str`, defaults to `"listed"`): |g| is the `area` listed with the segments, as in the
            script, or with `"pixels"` what the map holds, as in UniVS' copy. They are the same if the files are
            consistent.

    Raises:
        TypeError, ValueError: If an argument is none of these.

    Source: Kim et al., Video Panoptic Segmentation (CVPR 2020); VIPSeg-Dataset `eval_vpq_vspw.py`.
    """

    def __init__(
        self,
        categories: Sequence[Category] | Mapping[int, bool],
        windows: Sequence[int] = (1, 2, 4, 6, 8),
        *,
        ground_truth_area: str = "listed",
    ) -> None:
        super().__init__()
        if ground_truth_area not in ("listed", "pixels"):
            raise ValueError(f"`ground_truth_area` must be 'listed' or 'pixels', got {ground_truth_area!r}.")
        self.categories = PanopticCategories(categories)
        self.windows = check_windows(windows)
        if not self.windows:
            raise ValueError("`windows` must hold at least one number of frames, got none.")
        self.ground_truth_area = ground_truth_area

    def settings(self) -> dict[str, Any]:
        return {
            "categories": self.categories.settings(),
            "windows": self.windows,
            "ground_truth_area": self.ground_truth_area,
        }

    def update(
        self, video_id: str, prediction: Iterable[PanopticFrame], ground_truth: Iterable[PanopticFrame]
    ) -> None:
        """Takes in one video; frames may come from generators and are not kept.

        Args:
            video_id (`str`): Its id.
            prediction, ground_truth: See [`panoptic_overlaps`].

        Raises:
            TypeError, ValueError: As [`panoptic_overlaps`]; also if the video was given before, or an IoU above 1
                shows that a listed area is too small. The metric stays as it was.
        """
        self._new_video(video_id)
        self.update_overlaps(video_id, panoptic_overlaps(video_id, prediction, ground_truth, self.categories))

    def update_overlaps(self, video_id: str, overlaps: Iterable[PanopticOverlap]) -> None:
        """[`~VPQMetric.update`] with what [`panoptic_overlaps`] yields, which other metrics can share."""
        video_id = self._new_video(video_id)
        sums: dict[Any, Any] = {}
        for window in self.windows:
            sums["iou", window] = np.zeros(len(self.categories), dtype=object)
            for name in ("tp", "fp", "fn"):
                sums[name, window] = np.zeros(len(self.categories), dtype=np.int64)
        block: list[PanopticOverlap] = []
        first = 0
        length = _BLOCK + max(self.windows) - 1
        for overlap in overlaps:
            block.append(overlap)
            if len(block) == length:
                self._add_block(sums, block, _BLOCK, video_id, first)
                del block[:_BLOCK]
                first += _BLOCK
        if block:
            self._add_block(sums, block, len(block), video_id, first)
        self._add(video_id, sums)

    def compute(self) -> dict[str, float]:
        """Figures over all videos so far.

        For each window k `VPQ_{k}`, `VPQ_{k}_things` and `VPQ_{k}_stuff`; their means over all windows `VPQ`,
        `VPQ_things` and `VPQ_stuff`; with k = 1, 2, 4, 6 among the windows also their means over these four,
        `VPQ_mean_1_2_4_6`, `VPQ_mean_1_2_4_6_things` and `VPQ_mean_1_2_4_6_stuff`.
        """
        figures = {}
        endings = dict(zip(_GROUPS, ("", "_things", "_stuff"), strict=True))
        by_window = {window: self.group_quality(window) for window in self.windows}
        means = {"VPQ": self.windows}
        if {1, 2, 4, 6} <= set(self.windows):
            means["VPQ_mean_1_2_4_6"] = (1, 2, 4, 6)
        for name, windows in means.items():
            for group, ending in endings.items():
                figures[name + ending] = float(np.mean([by_window[window][group]["pq"] for window in windows]))
        for window, groups in by_window.items():
            for group, ending in endings.items():
                figures[f"VPQ_{window}{ending}"] = groups[group]["pq"]
        return figures

    def class_quality(self, window: int) -> dict[int, dict[str, float]]:
        """Per category id `pq`, `sq`, `rq`, `iou` (a sum), `tp`, `fp` and `fn` for windows of k frames.

        All are 0 for a category that does not occur.
        """
        qualities = {}
        zeros = [0] * len(self.categories)
        columns = [self._sums.get((name, window), zeros) for name in ("iou", "tp", "fp", "fn")]
        for category, iou_units, tp, fp, fn in zip(self.categories.ids, *columns, strict=True):
            iou = float(Fraction(int(iou_units)) * Fraction(_IOU_UNIT))
            tp, fp, fn = int(tp), int(fp), int(fn)
            halves = tp + 0.5 * fp + 0.5 * fn
            pq, rq = (iou / halves, tp / halves) if halves else (0.0, 0.0)
            sq = iou / tp if tp else 0.0
            qualities[category] = {"pq": pq, "sq": sq, "rq": rq, "iou": iou, "tp": tp, "fp": fp, "fn": fn}
        return qualities

    def group_quality(self, window: int) -> dict[str, dict[str, float]]:
        """Means of `pq`, `sq` and `rq` over the classes that occur, and their number `n`: All, Things and Stuff."""
        qualities = list(self.class_quality(window).values())
        is_thing = self.categories.is_thing
        groups = {}
        for group, members in zip(_GROUPS, (np.ones_like(is_thing), is_thing, ~is_thing), strict=True):
            chosen = [
                quality
                for quality, member in zip(qualities, members, strict=True)
                if member and quality["tp"] + quality["fp"] + quality["fn"]
            ]
            groups[group] = {
                name: float(np.mean([quality[name] for quality in chosen])) if chosen else float("nan")
                for name in ("pq", "sq", "rq")
            }
            groups[group]["n"] = len(chosen)
        return groups

    def _add_block(
        self, sums: dict[Any, Any], block: list[PanopticOverlap], num_starts: int, video_id: str, first: int
    ) -> None:
        """Adds the windows that begin in the first `num_starts` frames of a block, which begins at frame `first`."""
        true = _BlockSegments([overlap.ground_truth for overlap in block])
        predicted = _BlockSegments([overlap.prediction for overlap in block])
        counts = np.zeros((len(block) + 1, len(true.ids) + 1, len(predicted.ids) + 1), dtype=np.int64)
        areas = np.zeros((len(block) + 1, len(true.ids)), dtype=np.int64)
        for frame, overlap in enumerate(block):
            rows, columns = true.places[frame], predicted.places[frame]
            counts[frame + 1][np.ix_(np.append(0, rows + 1), np.append(0, columns + 1))] = overlap.counts
            pixels = overlap.counts[1:].sum(axis=1)
            areas[frame + 1, rows] = overlap.ground_truth.areas if self.ground_truth_area == "listed" else pixels
        # Sums over any window are differences of sums up to its ends.
        counts, areas = counts.cumsum(axis=0), areas.cumsum(axis=0)
        for window in self.windows:
            starts = min(num_starts, len(block) - window + 1)
            if starts > 0:
                ends = slice(window, window + starts)
                self._add_windows(
                    sums, window, counts[ends] - counts[:starts], areas[ends] - areas[:starts], true, predicted,
                    f"Video {video_id!r}, window of {window} frames from frame", first,
                )  # fmt: skip

    def _add_windows(
        self,
        sums: dict[Any, Any],
        window: int,
        counts: np.ndarray,
        true_areas: np.ndarray,
        true: _BlockSegments,
        predicted: _BlockSegments,
        where: str,
        first: int,
    ) -> None:
        """Matches tubes in S windows at once: `counts` is (S, 1 + G, 1 + P), `true_areas` (S, G)."""
        num_classes = len(self.categories)
        true_present, true_classes = true.in_windows(window, len(counts))
        predicted_present, predicted_classes = predicted.in_windows(window, len(counts))
        crowd = true_present & true.is_crowd[true.first_frames[: len(counts)], np.arange(len(true.ids))]
        predicted_areas = counts.sum(axis=1)[:, 1:]
        on_void = counts[:, 0, 1:]

        candidates = (counts[:, 1:, 1:] > 0) & (true_classes[:, :, None] == predicted_classes[:, None, :])
        candidates &= ~crowd[:, :, None]
        start, row, column = np.nonzero(candidates)
        common = counts[start, row + 1, column + 1]
        union = predicted_areas[start, column] + true_areas[start, row] - common - on_void[start, column]
        wrong = np.flatnonzero(common > union)
        if len(wrong):
            place = wrong[0]
            raise ValueError(
                f"{where} {first + start[place]}: the listed area of ground-truth segment {true.ids[row[place]]} is "
                f"too small for its overlap with predicted segment {predicted.ids[column[place]]} (IoU above 1)."
            )
        iou = common / union
        matches = iou > 0.5
        start, row, column, iou = start[matches], row[matches], column[matches], iou[matches]
        classes = true_classes[start, row]
        for index, units in zip(classes.tolist(), (iou / _IOU_UNIT).astype(np.int64).tolist(), strict=True):
            sums["iou", window][index] += units
        sums["tp", window] += np.bincount(classes, minlength=num_classes)

        unmatched = true_present & ~crowd
        unmatched[start, row] = False
        sums["fn", window] += np.bincount(true_classes[unmatched], minlength=num_classes)

        unmatched = predicted_present.copy()
        unmatched[start, column] = False
        ignored = on_void.copy()
        for s, crowd_row, class_index in true.last_crowds(crowd, true_classes):
            same_class = predicted_classes[s] == class_index
            ignored[s, same_class] += counts[s, crowd_row + 1, 1:][same_class]
        unmatched &= 2 * ignored <= predicted_areas
        sums["fp", window] += np.bincount(predicted_classes[unmatched], minlength=num_classes)


class _BlockSegments:
    """The segments of one side of F consecutive frames under common numbers.

    Attributes:
        ids: The N ids.
        places: Per frame the numbers of its segments, in listed order.
        first_frames: (F, N): for each frame, the first one from there on that has the segment; F if none.
    """

    def __init__(self, frames: list[Any]) -> None:
        self.ids = np.unique(np.concatenate([segments.ids for segments in frames]))
        self.places = [np.searchsorted(self.ids, segments.ids) for segments in frames]
        shape = (len(frames) + 1, len(self.ids))
        self.classes = np.full(shape, -1, dtype=np.int64)
        self.is_crowd = np.zeros(shape, dtype=bool)
        self._listed_at = np.zeros(shape, dtype=np.int64)
        self.first_frames = np.full(shape, len(frames), dtype=np.int64)
        for frame in reversed(range(len(frames))):
            places, segments = self.places[frame], frames[frame]
            self.first_frames[frame] = self.first_frames[frame + 1]
            self.first_frames[frame, places] = frame
            self.classes[frame, places] = segments.classes
            self.is_crowd[frame, places] = segments.is_crowd
            self._listed_at[frame, places] = np.arange(len(places))

    def in_windows(self, window: int, num_starts: int) -> tuple[np.ndarray, np.ndarray]:
        """Which segments the windows hold, bool (S, N), and their classes there, int64 (S, N)."""
        first = self.first_frames[:num_starts]
        present = first < np.arange(num_starts)[:, None] + window
        return present, self.classes[first, np.arange(len(self.ids))]

    def last_crowds(self, crowd: np.ndarray, classes: np.ndarray) -> list[tuple[int, int, int]]:
        """(window, number, class) of the crowd segment of each window and class that is listed last."""
        last: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        for start, number in zip(*np.nonzero(crowd), strict=True):
            frame = self.first_frames[start, number]
            order = (int(frame), int(self._listed_at[frame, number]))
            key = (int(start), int(classes[start, number]))
            last[key] = max(last.get(key, ((-1, -1), -1)), (order, int(number)))
        return [(start, number, class_index) for (start, class_index), (_, number) in last.items()]
