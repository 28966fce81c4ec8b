# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pairs the frames of a prediction with those of its ground truth, and counts pairs of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from .masks import name_frame

_MISSING = object()


def pair_frames(video_id: str, prediction: Iterable[Any], ground_truth: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yields (prediction, ground truth) frame by frame; either may be a generator, so that no video is held.

    Raises:
        TypeError: If either is no iterable, or one of their frames is `None`.
        ValueError: If one has more frames than the other, or there is none. Lengths that are known are compared
            before the first frame.
    """
    for name, frames in (("prediction", prediction), ("ground_truth", ground_truth)):
        if frames is None:
            raise TypeError(f"{name_frame(name, video_id)} is missing: got None.")
        if not isinstance(frames, Iterable):
            raise TypeError(
                f"{name_frame(name, video_id)} must be an iterable of frames, got {type(frames).__name__}."
            )
    if isinstance(prediction, Sized) and isinstance(ground_truth, Sized) and len(prediction) != len(ground_truth):
        counts = f"{len(prediction)} frames, `ground_truth` has {len(ground_truth)}"
        raise ValueError(f"{name_frame('prediction', video_id)} has {counts}.")
    frames = (iter(prediction), iter(ground_truth))
    frame = 0
    while True:
        predicted, true = (next(iterator, _MISSING) for iterator in frames)
        if predicted is _MISSING and true is _MISSING:
            break
        for name, value, other in (("prediction", predicted, "ground_truth"), ("ground_truth", true, "prediction")):
            if value is _MISSING:
                raise ValueError(f"{name_frame(name, video_id)} ends after {frame} frames, `{other}` goes on.")
            if value is None:
                raise TypeError(f"{name_frame(name, video_id, frame)} is missing: got None.")
        yield predicted, true
        frame += 1
    if not frame:
        raise ValueError(f"{name_frame('ground_truth', video_id)} has no frames.")


def label_runs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of pixels, in reading order, over which two label maps of one size are constant.

    There are far fewer runs than pixels in a label map, so what follows (looking labels up, counting) is much quicker
    on runs.

    Returns:
        `tuple`: The labels of `first`, those of `second` and the number of pixels of each run.
    """
    first, second = first.ravel(), second.ravel()
    if not first.size:
        return first, second, np.zeros(0, dtype=np.int64)
    differs = first[1:] != first[:-1]
    differs |= second[1:] != second[:-1]
    changes = np.flatnonzero(differs)
    bounds = np.empty(len(changes) + 2, dtype=np.int64)
    bounds[0], bounds[-1] = 0, first.size
    np.add(changes, 1, out=bounds[1:-1])
    starts = bounds[:-1]
    return first[starts], second[starts], bounds[1:] - starts


def count_codes(codes: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """Pixels per code 0..size-1, int64: the sum of `lengths` over the runs of that code."""
    # Counts are far below 2^53, so the sums in float64 are exact.
    return np.bincount(codes, weights=lengths, minlength=size).astype(np.int64)
