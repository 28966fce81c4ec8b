# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VOS 2018 (specification of the metrics, sections 5 and 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.layouts.frame_folders import first_masks, read_lines
from ..data.layouts.youtube_vos import YouTubeVosLayout, category_names
from ..metrics.region_boundary import exact_mean
from ..metrics.video_metric import VideoMetric
from ..metrics.vos import YouTubeVOSMetric
from .benchmark import Option, VideoJob
from .mask_folder_benchmark import MaskFolderBenchmark, label_maps


class YouTubeVos18(MaskFolderBenchmark):
    """YouTube-VOS: each object is given by its mask on the first frame that shows it, which may be any.

    The ground truth of `valid` is kept by a server, whose code is not public; where masks are there (`train`, or a
    folder of the user's own) they are scored by [`YouTubeVOSMetric`]. On `train` all categories are seen, so that J
    and F of unseen ones, and with them G, are not defined. A prediction is `<video>/<frame>.png`, the submission the
    zip of these folders within a folder `Annotations`. The layout is that of
    [`~data.layouts.youtube_vos.YouTubeVosLayout`].

    Args:
        ground_truth (`Path`, *optional*): Folder of label maps, `<video>/<frame>.png`, for a split without.
        seen_categories (`Path`, *optional*): Text file of the categories of the training set, one a line; by default
            `train/meta.json` tells.
        root, split, videos: See [`Benchmark`].
    """

    name = "ytvos18"
    task = "vos"
    default_split = "valid"
    columns = {"G": "G", "J_s": "J seen", "F_s": "F seen", "J_u": "J unseen", "F_u": "F unseen"}
    worst_by = "J&F"
    zip_folder = "Annotations"
    options = (
        Option("ground_truth", "folder of label maps <video>/<frame>.png to score by", None, None, Path, True),
        Option("seen_categories", "text file of the training set's categories", None, None, Path, True),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        ground_truth: Path | None = None,
        seen_categories: Path | None = None,
    ):
        super().__init__(root, split, videos)
        self.ground_truth = ground_truth
        self.seen_categories = seen_categories
        self.layout = YouTubeVosLayout(self.root, self.split)

    def all_video_ids(self) -> list[str]:
        return self.layout.video_ids

    def frames(self, video_id: str) -> dict[str, Path]:
        return self.layout.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return self.layout.annotations(video_id)

    def segments(self, video_id: str) -> list[dict[str, Any]]:
        return [{"id": object_id, "label": name} for object_id, name in self.layout.categories(video_id).items()]

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        prompts = self._first_masks(video_id)
        if not prompts:
            raise ValueError(f"{self.name}: no mask of video {video_id!r} shows an object of meta.json.")
        yield VideoJob(self.task, list(self.frames(video_id).values()), prompts=prompts)

    def _first_masks(self, video_id: str) -> dict[int, dict[int, Any]]:
        objects = self.layout.categories(video_id)
        return first_masks(list(self.frames(video_id)), self.annotations(video_id), objects)

    @cached_property
    def _seen(self) -> set[str]:
        if self.seen_categories is not None:
            return set(read_lines(self.seen_categories, "the categories of the training set, one a line"))
        path = self.root / "train" / "meta.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no file {path}, which tells the seen categories; give them with --seen-categories."
            )
        return category_names(path)

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"ytvos": YouTubeVOSMetric()}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        truth = self.truth(video_id)
        first_frames = {
            object_id: frame for frame, masks in self._first_masks(video_id).items() for object_id in masks
        }
        categories = self.layout.categories(video_id)
        metric = YouTubeVOSMetric()
        metric.update(
            video_id,
            label_maps(self.predictions(predictions, video_id, list(truth))),
            label_maps(list(truth.values())),
            first_frames=first_frames,
            seen={object_id: categories[object_id] in self._seen for object_id in first_frames},
        )
        metrics["ytvos"].merge(metric)
        objects = metric.object_scores().get(video_id, {}).values()
        similarity, accuracy = (exact_mean([scores[key] for scores in objects]) for key in ("J", "F"))
        return {"J&F": (similarity + accuracy) / 2, "J": similarity, "F": accuracy}
