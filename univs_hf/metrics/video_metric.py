# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What all metrics have in common: one video at a time, mergeable across processes, exact sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any

import numpy as np


class VideoMetric(ABC):
    """A metric that is fed one video at a time.

    `update` takes a video, `compute` gives the figures over the videos so far, `reset` forgets them, `merge` takes in
    the videos of another instance: the figures are the same, to the last bit, however the videos were divided among
    instances and in whatever order they came. `state_dict` and `load_state_dict` carry the state between processes as
    plain Python and numpy objects.

    A subclass keeps per-video figures under the video's id in `self._videos`, as small as its definition allows.
    """

    def __init__(self) -> None:
        self._videos: dict[str, Any] = {}

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos seen so far, sorted."""
        return sorted(self._videos)

    def __len__(self) -> int:
        return len(self._videos)

    @abstractmethod
    def update(self, video_id: str, *args: Any, **kwargs: Any) -> None:
        """Takes in one video. Subclasses name what they need."""

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """Figures over all videos so far; fractions in [0, 1]."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments: instances merge only when they agree."""

    def reset(self) -> None:
        """Forgets all videos."""
        self._videos.clear()

    def merge(self, other: VideoMetric) -> None:
        """Takes in the videos of `other`, which is left as it is.

        Raises:
            TypeError: If `other` is another kind of metric.
            ValueError: If its settings differ, or both have seen the same video.
        """
        if type(other) is not type(self):
            raise TypeError(f"`other` must be a {type(self).__name__}, got a {type(other).__name__}.")
        if other.settings() != self.settings():
            raise ValueError(f"`other` has the settings {other.settings()}, this instance {self.settings()}.")
        twice = sorted(self._videos.keys() & other._videos.keys())
        if twice:
            raise ValueError(f"Videos seen by both metrics: {twice[:5]}.")
        self._videos.update(other._videos)

    def state_dict(self) -> dict[str, Any]:
        """The state as plain objects that `pickle` carries to another process."""
        return {"settings": self.settings(), "videos": dict(self._videos)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the state by one of [`~VideoMetric.state_dict`].

        Raises:
            ValueError: If the state comes from other settings.
        """
        if state["settings"] != self.settings():
            raise ValueError(f"`state` has the settings {state['settings']}, this instance {self.settings()}.")
        self._videos = dict(state["videos"])

    def _new_video(self, video_id: str) -> str:
        """Checks an id before anything is computed for it."""
        if not isinstance(video_id, (str, int)):
            raise TypeError(f"`video_id` must be a str or an int, got {type(video_id).__name__}.")
        if str(video_id) in self._videos:
            raise ValueError(f"Video {video_id!r} was given before.")
        return str(video_id)


def exact_sum(values: np.ndarray | list[float]) -> Fraction:
    """Sum without rounding, so that neither order nor grouping of the values matters. No NaN, no infinities."""
    return sum(map(Fraction, np.asarray(values, dtype=np.float64).ravel().tolist()), Fraction(0))
