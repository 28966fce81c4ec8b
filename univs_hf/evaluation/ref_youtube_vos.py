# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Ref-YouTube-VOS (specification of the metrics, sections 7 and 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.layouts.frame_folders import read_label_map
from ..data.layouts.ref_youtube_vos import RefYouTubeVosLayout
from ..metrics.refvos import RefYouTubeVOSMetric
from ..metrics.video_metric import VideoMetric
from .background_writer import BackgroundWriter
from .benchmark import ComparedFrame, JobResults, Option, VideoJob
from .mask_folder_benchmark import MaskFolderBenchmark, label_maps
from .prediction_frames import numbered_results, spread, to_numpy


class RefYouTubeVos(MaskFolderBenchmark):
    """Ref-YouTube-VOS: one object for every expression.

    The ground truth of `valid` is kept by a server, whose code is not public; where expressions tell their objects and
    masks are there (`train`), they are scored by [`RefYouTubeVOSMetric`]. A prediction is
    `<video>/<expression>/<frame>.png`, grey, 0 and 255; the submission is the zip of these folders within a folder
    `Annotations`. The layout is that of [`~data.layouts.ref_youtube_vos.RefYouTubeVosLayout`].

    Args:
        ground_truth (`Path`, *optional*): Folder of label maps, `<video>/<frame>.png`, for a split without.
        root, split, videos: See [`Benchmark`].
    """

    name = "ref_ytvos"
    task = "refvos"
    default_split = "valid"
    columns = {"J&F": "J&F", "J": "J", "F": "F"}
    worst_by = "J&F"
    zip_folder = "Annotations"
    options = (Option("ground_truth", "folder of label maps <video>/<frame>.png to score by", None, None, Path, True),)

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        ground_truth: Path | None = None,
    ):
        super().__init__(root, split, videos)
        self.ground_truth = ground_truth
        self.layout = RefYouTubeVosLayout(self.root, self.split)

    def all_video_ids(self) -> list[str]:
        return list(self.layout.videos)

    def frames(self, video_id: str) -> dict[str, Path]:
        return self.layout.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return self.layout.annotations(video_id)

    def num_frames(self, video_id: str) -> int:
        return len(self.layout.videos[video_id].frames)

    def truth(self, video_id: str) -> dict[str, Path]:
        there = super().truth(video_id)
        return {name: there[name] for name in self.layout.videos[video_id].frames if name in there}

    @cached_property
    def has_ground_truth(self) -> bool:
        unknown = [
            (video_id, key)
            for video_id in self.video_ids()
            for key, expression in self.layout.videos[video_id].expressions.items()
            if expression.obj_id is None
        ]
        if unknown and self.ground_truth is not None:
            raise ValueError(
                f"{self.name}: expression {unknown[0][1]!r} of video {unknown[0][0]!r} has no `obj_id`, so that "
                "`ground_truth` cannot be compared with it."
            )
        return not unknown and all(
            set(self.layout.videos[video_id].frames) <= set(self.truth(video_id)) for video_id in self.video_ids()
        )

    # --- predictions

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        expressions = self.layout.videos[video_id].expressions.values()
        texts = {number: expression.text for number, expression in enumerate(expressions, start=1)}
        yield VideoJob(self.task, list(self.frames(video_id).values()), expressions=texts)

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        keys = dict(enumerate(self.layout.videos[video_id].expressions, start=1))
        for key in keys.values():
            (folder / key).mkdir()
        with BackgroundWriter() as writer:
            for index, result in numbered_results(results, len(job.frames), f"{self.name}: video {video_id!r}"):
                masks = to_numpy(result["masks"])
                for segment, mask in zip(result["segments_info"], masks, strict=True):
                    image = Image.fromarray(mask.astype(np.uint8) * 255)
                    writer.submit(image.save, folder / keys[segment["id"]] / f"{job.frames[index].stem}.png")

    def _members(self, predictions: Path) -> Iterator[tuple[str, Path]]:
        for video_id in self.video_ids():
            video = self.layout.videos[video_id]
            for key in video.expressions:
                for path in self.predictions(predictions, video_id, video.frames, key):
                    yield f"{self.zip_folder}/{video_id}/{key}/{path.name}", path

    # --- scores

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"ref_ytvos": RefYouTubeVOSMetric()}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        metric = self._scored(video_id, predictions)
        metrics["ref_ytvos"].merge(metric)
        return metric.compute()

    def _scored(self, video_id: str, predictions: Path) -> RefYouTubeVOSMetric:
        truth = self.truth(video_id)
        names = list(truth)
        expressions = self.layout.videos[video_id].expressions
        metric = RefYouTubeVOSMetric()
        metric.update(
            video_id,
            {key: label_maps(self.predictions(predictions, video_id, names, key)) for key in expressions},
            label_maps(list(truth.values())),
            expressions={key: expression.obj_id for key, expression in expressions.items()},
        )
        return metric

    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        """Frames of the expression with the lowest score."""
        scores = self._scored(video_id, predictions).expression_scores()[video_id]
        key = min(scores, key=lambda key: scores[key]["J"] + scores[key]["F"])
        expression = self.layout.videos[video_id].expressions[key]
        truth, frames = self.truth(video_id), self.frames(video_id)
        names = list(truth)
        infos = [{"id": expression.obj_id, "label": expression.text}]
        compared = []
        for index in spread(len(names), limit):
            (path,) = self.predictions(predictions, video_id, [names[index]], key)
            compared.append(
                ComparedFrame(
                    f'frame {names[index]}, "{expression.text}"',
                    frames[names[index]],
                    (read_label_map(path) != 0)[None],
                    (read_label_map(truth[names[index]]) == expression.obj_id)[None],
                    infos,
                    infos,
                )
            )
        return compared
