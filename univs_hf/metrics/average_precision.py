# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Matching of scored detections with ground truth, and the precision and recall they give, as COCO defines them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Where the precision is read off: recalls 0, 0.01, ..., 1.
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Matches:
    """How the detections of one category in one video were matched.

    Attributes:
        scores: `np.ndarray` of shape (detections,), `float64`, falling.
        matched: `np.ndarray` of shape (ranges, thresholds, detections), `bool`: matched to ground truth.
        ignored: `np.ndarray` of the same shape: neither a true nor a false positive.
        num_ground_truth: `np.ndarray` of shape (ranges,), `int64`: ground truth that is not ignored.
    """

    scores: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    num_ground_truth: np.ndarray


def match_detections(
    ious: np.ndarray, thresholds: np.ndarray, ignored: np.ndarray, repeatable: np.ndarray, tolerance: float = 0.0
) -> np.ndarray:
    """Matches detections, best score first, with the ground truth they overlap most.

    A detection takes a free object of the largest IoU that reaches the threshold, of equal ones the last; an object
    that counts is preferred to an ignored one however small its IoU. An object is free until a detection takes it, a
    repeatable one always.

    Args:
        ious: `np.ndarray` of shape (detections, objects).
        thresholds: `np.ndarray` of shape (thresholds,).
        ignored: `bool` of shape (ranges, objects): objects that do not count.
        repeatable: `bool` of shape (objects,).
        tolerance: An IoU this much smaller than the best so far, or than the threshold, still is as large.

    Returns:
        `np.ndarray` of shape (ranges, thresholds, detections), `int64`: the object's index, or -1.
    """
    num_detections, num_objects = ious.shape
    result = np.full((len(ignored), len(thresholds), num_detections), -1, dtype=np.int64)
    # A threshold of 1 still lets an IoU of 1 through that rounding has made a little smaller.
    lowest = np.minimum(thresholds, 1 - 1e-10)
    least = lowest.min(initial=1.0) - tolerance
    free = np.ones((num_objects, len(ignored), len(thresholds)), dtype=bool)
    for d, row in enumerate(ious):
        candidates = np.flatnonzero(row >= least)
        if not len(candidates):
            continue
        match = result[:, :, d]
        if len(candidates) == 1:
            (g,) = candidates
            taken = free[g] & (row[g] >= lowest - tolerance)
            match[taken] = g
            if not repeatable[g]:
                free[g] &= ~taken
            continue
        best = np.empty(match.shape)
        best[:] = lowest
        for takes_ignored in (False, True):
            # Objects that count come first; an ignored one is looked at only where none of them was found.
            open_places = match < 0
            for g in candidates:
                taken = open_places & free[g] & (ignored[:, g] == takes_ignored)[:, None]
                taken &= row[g] >= best - tolerance
                match[taken], best[taken] = g, row[g]
        for g in candidates:
            if not repeatable[g]:
                free[g] &= match != g
    return result


def precision_and_recall(
    matches: list[Matches], max_detections: int | None = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Precision at fixed recalls, and the recall of all detections, of one category over many videos.

    Args:
        matches: One entry per video, in the order that decides between equal scores.
        max_detections: How many detections of each video count; None: all.

    Returns:
        Precision, shape (ranges, thresholds, 101), and recall, shape (ranges, thresholds), both -1 in ranges without
        ground truth; None if there is no video.
    """
    if not matches:
        return None
    scores = np.concatenate([entry.scores[:max_detections] for entry in matches])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([entry.matched[..., :max_detections] for entry in matches], axis=-1)[..., order]
    counted = ~np.concatenate([entry.ignored[..., :max_detections] for entry in matches], axis=-1)[..., order]
    num_ground_truth = np.sum([entry.num_ground_truth for entry in matches], axis=0)
    ranges, thresholds, num_detections = matched.shape
    precision = np.full((ranges, thresholds, len(RECALLS)), -1.0)
    recall = np.full((ranges, thresholds), -1.0)
    true_positives = np.cumsum(matched & counted, axis=-1)
    positives = np.cumsum(counted, axis=-1)
    for r in np.flatnonzero(num_ground_truth):
        number = int(num_ground_truth[r])
        recall[r] = true_positives[r, :, -1] / number if num_detections else 0.0
        # The official code adds this to the divisor, which makes a full precision 1 - 2^-52 and 0 out of 0 nothing.
        values = true_positives[r] / (positives[r] + np.spacing(1))
        # The best precision at this recall or a higher one; 0 where the recall is never reached.
        values = np.maximum.accumulate(values[:, ::-1], axis=-1)[:, ::-1]
        values = np.concatenate([values, np.zeros((thresholds, 1))], axis=-1)
        # Each recall is that of so many true positives, which are looked for in all rows at once.
        needed = np.searchsorted(np.arange(number + 1) / number, RECALLS, side="left")
        rows = np.arange(thresholds)[:, None]
        apart = max(num_detections, number) + 1
        places = np.searchsorted((true_positives[r] + rows * apart).ravel(), (needed + rows * apart).ravel())
        precision[r] = np.take_along_axis(values, places.reshape(thresholds, -1) - rows * num_detections, axis=-1)
    return precision, recall


def recall_of_all(matches: list[Matches], max_detections: int) -> np.ndarray:
    """The recall that [`precision_and_recall`] gives for at least one video; shape (ranges, thresholds)."""
    found = [(entry.matched & ~entry.ignored)[..., :max_detections].sum(axis=-1) for entry in matches]
    num_ground_truth = np.sum([entry.num_ground_truth for entry in matches], axis=0)[:, None]
    return np.where(num_ground_truth > 0, np.sum(found, axis=0) / np.maximum(1, num_ground_truth), -1.0)
