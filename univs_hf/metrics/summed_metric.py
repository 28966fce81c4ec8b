# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Metrics whose figures come from sums over all videos, so that their memory does not grow with the videos."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from .video_metric import VideoMetric

Sum = int | Fraction | np.ndarray


class SummedMetric(VideoMetric):
    """A metric of exact sums over all videos.

    `self._sums` maps names to integers, `Fraction`s, or arrays of integers: adding them is exact, so that neither the
    order nor the grouping of the videos matters. Of each video only what `_add` is given as `record` is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[Hashable, Sum] = {}

    def reset(self) -> None:
        super().reset()
        self._sums = {}

    def merge(self, other: VideoMetric) -> None:
        super().merge(other)
        self._add_sums(other._sums)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "sums": dict(self._sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._sums = dict(state["sums"])

    def _add(self, video_id: str, sums: Mapping[Hashable, Sum], record: Any = None) -> None:
        """Takes in the sums of one video."""
        self._add_sums(sums)
        self._videos[video_id] = record

    def _add_sums(self, sums: Mapping[Hashable, Sum]) -> None:
        # A new object each time: states that were handed out keep their values.
        for name, value in sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
