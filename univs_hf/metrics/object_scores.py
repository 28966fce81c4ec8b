# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J and F of one object over a video, and their means over objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .region_boundary import SeriesStatistics, exact_mean, series_statistics


class ObjectScores(NamedTuple):
    """Statistics of an object's J and F; the values of all frames (float64) where a metric was told to keep them."""

    J: SeriesStatistics
    F: SeriesStatistics
    J_frames: np.ndarray | None = None
    F_frames: np.ndarray | None = None

    def as_dict(self) -> dict[str, Any]:
        """`J` and `F`, each with `M`, `R` and `D` (mean, recall, decay), and `J_frames`, `F_frames` if kept."""
        figures: dict[str, Any] = {
            name: {"M": series.mean, "R": series.recall, "D": series.decay}
            for name, series in (("J", self.J), ("F", self.F))
        }
        if self.J_frames is not None and self.F_frames is not None:
            figures |= {"J_frames": self.J_frames.tolist(), "F_frames": self.F_frames.tolist()}
        return figures

    def means(self) -> dict[str, Any]:
        """`J` and `F` averaged over frames, and `J_frames`, `F_frames` if kept."""
        return self.as_dict() | {"J": self.J.mean, "F": self.F.mean}


def score_object(
    similarity: Sequence[float] | np.ndarray,
    accuracy: Sequence[float] | np.ndarray,
    wrap_decay_bins: bool,
    keep_frames: bool,
) -> ObjectScores:
    """Scores of an object from its J and F per frame."""
    series = [np.array(values, dtype=np.float64) for values in (similarity, accuracy)]
    statistics = [series_statistics(values, wrap_decay_bins) for values in series]
    return ObjectScores(*statistics, *(series if keep_frames else ()))


def mean_scores(objects: Iterable[ObjectScores]) -> dict[str, float]:
    """Means over objects of mean, recall and decay, under DAVIS' names; all NaN if there is no object."""
    objects = list(objects)
    figures = {}
    for name in ("J", "F"):
        series = [getattr(scores, name) for scores in objects]
        for key, statistic in (("Mean", "mean"), ("Recall", "recall"), ("Decay", "decay")):
            figures[f"{name}-{key}"] = exact_mean([getattr(values, statistic) for values in series])
    return {"J&F-Mean": (figures["J-Mean"] + figures["F-Mean"]) / 2, **figures}
