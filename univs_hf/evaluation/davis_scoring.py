# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Benchmarks that are scored as DAVIS 2017: objects of the first frame, J&F per object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..data.layouts.frame_folders import first_masks
from ..metrics.video_metric import VideoMetric
from ..metrics.vos import DavisMetric
from .benchmark import VideoJob
from .mask_folder_benchmark import MaskFolderBenchmark, label_maps


class DavisScoredBenchmark(MaskFolderBenchmark):
    """The objects are given by their masks on the first frame and scored by [`DavisMetric`]."""

    task = "vos"
    columns = {"J&F-Mean": "J&F", "J-Mean": "J", "F-Mean": "F"}
    worst_by = "J&F"

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        frames, annotations = self.frames(video_id), self.annotations(video_id)
        first = next(iter(frames))
        if first not in annotations:
            raise FileNotFoundError(f"{self.name}: video {video_id!r} has no mask of its first frame {first}.")
        prompts = first_masks([first], annotations)
        if not prompts:
            raise ValueError(f"{annotations[first]}, the first mask of video {video_id!r}, shows no object.")
        yield VideoJob(self.task, list(frames.values()), prompts=prompts)

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"davis": DavisMetric()}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        truth = self.truth(video_id)
        predicted = self.predictions(predictions, video_id, list(truth))
        metric = DavisMetric()
        metric.update(video_id, label_maps(predicted), label_maps(list(truth.values())))
        metrics["davis"].merge(metric)
        figures = metric.compute()
        return {"J&F": figures["J&F-Mean"], "J": figures["J-Mean"], "F": figures["F-Mean"]}
