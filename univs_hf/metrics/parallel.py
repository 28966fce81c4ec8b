# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Scores videos in several processes; the figures are those of one process, to the last bit."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from .video_metric import VideoMetric

Video = TypeVar("Video")
Metrics = TypeVar("Metrics", bound=VideoMetric | dict[str, VideoMetric])

# Portions per process: enough that one long video does not leave the others waiting.
_PORTIONS = 4


def score_videos(
    metrics: Metrics,
    videos: Sequence[Video],
    score: Callable[[Metrics, Video], Any],
    num_workers: int = 0,
    *,
    start_method: str | None = None,
) -> Metrics:
    """Feeds videos to metrics, on `num_workers` processes.

    Args:
        metrics ([`VideoMetric`] or `dict` of them): What is updated. Workers get empty copies, whose videos are merged
            into it in the order of `videos`.
        videos (sequence): What identifies a video to `score`: better a path or an id than its pixels, since it is sent
            to a process.
        score (`Callable`): `score(metrics, video)` reads a video and updates the metrics. It is sent to the processes
            as well: a function of a module, or `functools.partial` of one.
        num_workers (`int`, defaults to 0): Processes; 0 stays in this one.
        start_method (`str`, *optional*): As [`multiprocessing.get_context`] takes it; by default Python's own.

    Returns:
        `metrics`.

    Raises:
        ValueError: If `num_workers` is negative.
        Exception: What `score` raises; `metrics` then holds an unknown part of the videos.
        BrokenProcessPool: If a process is killed.
    """
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(f"`num_workers` must be an int of 0 or more, got {num_workers!r}.")
    videos = list(videos)
    num_workers = min(num_workers, len(videos))
    if num_workers < 1:
        for video in videos:
            score(metrics, video)
        return metrics
    empty = copy.deepcopy(metrics)
    for metric in _named(empty).values():
        metric.reset()
    size = -(-len(videos) // (num_workers * _PORTIONS))
    portions = [videos[first : first + size] for first in range(0, len(videos), size)]
    context = multiprocessing.get_context(start_method)
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        futures = [pool.submit(_score_portion, empty, portion, score) for portion in portions]
        try:
            for future in futures:
                for name, metric in _named(future.result()).items():
                    _named(metrics)[name].merge(metric)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return metrics


def _score_portion(metrics: Metrics, videos: Sequence[Video], score: Callable[[Metrics, Video], Any]) -> Metrics:
    """Runs in a worker; `metrics` is a copy of its own."""
    for video in videos:
        score(metrics, video)
    return metrics


def _named(metrics: VideoMetric | Mapping[str, VideoMetric]) -> Mapping[str, VideoMetric]:
    return {"": metrics} if isinstance(metrics, VideoMetric) else metrics
