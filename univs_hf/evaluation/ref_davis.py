# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Ref-DAVIS 2017 (specification of the metrics, sections 7 and 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layouts.ref_davis import NUM_ANNOTATORS, RefDavisLayout
from ..metrics.refvos import RefDavisMetric
from ..metrics.video_metric import VideoMetric
from ..visualization import save_palette_png
from .background_writer import BackgroundWriter
from .benchmark import JobResults, Option, VideoJob
from .mask_folder_benchmark import MaskFolderBenchmark, label_maps
from .prediction_frames import numbered_results, to_numpy
from .submission_files import write_folder


class RefDavis17(MaskFolderBenchmark):
    """Ref-DAVIS 2017: every object of DAVIS as four annotators have described it.

    The expressions of one annotator are decoded in one pass and painted into one map of object ids; where masks
    overlap the smaller id is kept. The official form, which `submission` has, is `anno_<0 to 3>/<video>/<frame>.png`;
    a run keeps `<video>/anno_<0 to 3>/<frame>.png`, and both are scored. The layout is that of
    [`~data.layouts.ref_davis.RefDavisLayout`].

    Args:
        num_annotators (`int`, *optional*, defaults to 4): Run and score only the first so many; UniVS' scripts of its
            larger models take 1.
        fixed_ids (`bool`, *optional*, defaults to `False`): Compare each object with its own expression. The official
            program matches predictions to objects anew, see [`RefDavisMetric`].
        root, split, videos: See [`Benchmark`].
    """

    name = "ref_davis"
    task = "refvos"
    default_split = "val"
    columns = {"J&F-Mean": "J&F", "J-Mean": "J", "F-Mean": "F"}
    worst_by = "J&F"
    options = (
        Option(
            "num_annotators",
            "run and score the first so many annotators",
            NUM_ANNOTATORS,
            tuple(range(1, NUM_ANNOTATORS + 1)),
            int,
        ),
        Option("fixed_ids", "score each object by its own expression, not by the best match", False, None, bool, True),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        num_annotators: int = NUM_ANNOTATORS,
        fixed_ids: bool = False,
    ):
        super().__init__(root, split, videos)
        if num_annotators not in range(1, NUM_ANNOTATORS + 1):
            raise ValueError(f"`num_annotators` must be 1 to {NUM_ANNOTATORS}, got {num_annotators!r}.")
        self.num_annotators, self.fixed_ids = num_annotators, fixed_ids
        self.layout = RefDavisLayout(self.root, self.split)

    def all_video_ids(self) -> list[str]:
        return self.layout.video_ids

    def frames(self, video_id: str) -> dict[str, Path]:
        return self.layout.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return self.layout.annotations(video_id)

    # --- predictions

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        frames = list(self.frames(video_id).values())
        for annotator in range(self.num_annotators):
            expressions = self.layout.expressions(video_id, annotator)
            yield VideoJob(self.task, frames, expressions=expressions, part=f"anno_{annotator}")

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        where = f"{self.name}: video {video_id!r}, {job.part}"
        with BackgroundWriter() as writer:
            for index, result in numbered_results(results, len(job.frames), where):
                masks = to_numpy(result["masks"])
                label_map = np.zeros(masks.shape[-2:], dtype=np.uint8)
                # Painted from the largest id to the smallest, which stays on top.
                ids = [segment["id"] for segment in result["segments_info"]]
                for place in np.argsort(ids)[::-1]:
                    label_map[masks[place]] = ids[place]
                writer.submit(save_palette_png, folder / f"{job.frames[index].stem}.png", label_map)

    def prediction_folder(self, predictions: Path, video_id: str, part: str) -> Path:
        part = part or "anno_0"
        if (predictions / "anno_0").is_dir():
            return predictions / part / video_id
        return predictions / video_id / part

    def write_submission(self, predictions: Path, out: Path) -> Path:
        return write_folder(out / "submission", self._members(predictions))

    def _members(self, predictions: Path) -> Iterator[tuple[str, Path]]:
        for part in self._parts():
            for video_id in self.video_ids():
                for path in self.predictions(predictions, video_id, self.predicted_frames(video_id), part):
                    yield f"{part}/{video_id}/{path.name}", path

    def _parts(self) -> list[str]:
        return [f"anno_{annotator}" for annotator in range(self.num_annotators)]

    # --- scores

    def _metric(self) -> RefDavisMetric:
        return RefDavisMetric(self.num_annotators, rematch=not self.fixed_ids)

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"ref_davis": self._metric()}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        truth = self.truth(video_id)
        names = list(truth)
        metric = self._metric()
        metric.update(
            video_id,
            [label_maps(self.predictions(predictions, video_id, names, part)) for part in self._parts()],
            label_maps(list(truth.values())),
        )
        metrics["ref_davis"].merge(metric)
        figures = metric.compute()
        return {"J&F": figures["J&F-Mean"], "J": figures["J-Mean"], "F": figures["F-Mean"]}

    def figures(self, metrics: Mapping[str, VideoMetric]) -> dict[str, Any]:
        metric = metrics["ref_davis"]
        by_annotator = {
            f"anno_{annotator}_J&F-Mean": figures["J&F-Mean"]
            for annotator, figures in enumerate(metric.annotator_scores())
        }
        return {**metric.compute(), **by_annotator}

    def segments(self, video_id: str) -> list[dict[str, Any]]:
        return [{"id": key, "label": text} for key, text in self.layout.expressions(video_id, 0).items()]
