# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPOSeg: panoptic video object segmentation (specification of the metrics, sections 6 and 9)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layouts.frame_folders import first_masks, object_masks, read_label_map
from ..data.layouts.viposeg import VipoSegLayout
from ..label_sets import load_label_set
from ..metrics.pvos import GROUPS, PVOSMetric
from ..metrics.video_metric import VideoMetric
from .benchmark import Option, VideoJob
from .mask_folder_benchmark import MaskFolderBenchmark, label_maps

LABEL_SET = "viposeg"


class VipoSeg(MaskFolderBenchmark):
    """VIPOSeg: things and stuff, each given by its mask on the reference frame that shows it first.

    A prediction is `<video>/<frame>.png` for each frame of `Annotations_gt` (for each frame where there is none); the
    submission is the zip of these folders. The layout is that of [`~data.layouts.viposeg.VipoSegLayout`].

    Args:
        count_once (`bool`, *optional*, defaults to `False`): Count an object that several reference frames hold once;
            the official script counts it for each, see [`PVOSMetric`].
        root, split, videos: See [`Benchmark`].
    """

    name = "viposeg"
    task = "pvos"
    default_split = "valid"
    columns = {
        "overall_iou": "G th&sf",
        "thing_seen_iou": "thing seen",
        "thing_unseen_iou": "thing unseen",
        "stuff_seen_iou": "stuff seen",
        "stuff_unseen_iou": "stuff unseen",
    }
    worst_by = "IoU"
    options = (
        Option(
            "count_once",
            "count an object of several reference frames once, not for each as the official script",
            False,
            None,
            bool,
            True,
        ),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        count_once: bool = False,
    ):
        super().__init__(root, split, videos)
        self.count_once = count_once
        self.layout = VipoSegLayout(self.root, self.split)

    def all_video_ids(self) -> list[str]:
        return self.layout.video_ids

    @property
    def has_ground_truth(self) -> bool:
        return self.layout.has_ground_truth

    def frames(self, video_id: str) -> dict[str, Path]:
        return self.layout.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return self.layout.references(video_id)

    def truth(self, video_id: str) -> dict[str, Path]:
        return self.layout.ground_truth(video_id)

    def predicted_frames(self, video_id: str) -> list[str]:
        if not self.has_ground_truth:
            return list(self.frames(video_id))
        names = list(self.truth(video_id))
        missing = sorted(set(names) - set(self.frames(video_id)))
        if missing:
            raise FileNotFoundError(
                f"{self.name}: video {video_id!r} has no image of the annotated frames {missing[:5]}."
            )
        return names

    def segments(self, video_id: str) -> list[dict[str, Any]]:
        labels = load_label_set(LABEL_SET).id2label
        return [
            {"id": object_id, "label": labels.get(index, str(index))}
            for object_id, index in self.layout.classes(video_id).items()
        ]

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        frames = self.frames(video_id)
        prompts = first_masks(list(frames), self.annotations(video_id))
        if not prompts:
            raise ValueError(f"{self.name}: the reference frames of video {video_id!r} show no object.")
        known, classes = len(load_label_set(LABEL_SET)), self.layout.classes(video_id)
        given = {object_id for masks in prompts.values() for object_id in masks}
        yield VideoJob(
            self.task,
            list(frames.values()),
            prompts=prompts,
            categories=LABEL_SET,
            object_categories={
                object_id: index for object_id, index in classes.items() if object_id in given and 0 <= index < known
            },
        )

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"pvos": PVOSMetric(count_repeated=not self.count_once)}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        truth = self.truth(video_id)
        names = list(truth)
        references = self.annotations(video_id)
        unknown = sorted(set(references) - set(names))
        if unknown:
            raise ValueError(
                f"{self.name}: the reference frames {unknown} of video {video_id!r} have no ground truth."
            )
        metric = PVOSMetric(count_repeated=not self.count_once)
        metric.update(
            video_id,
            label_maps(self.predictions(predictions, video_id, names)),
            label_maps(list(truth.values())),
            reference_frames={
                names.index(name): list(object_masks(read_label_map(path))) for name, path in references.items()
            },
            object_classes=self.layout.classes(video_id),
        )
        metrics["pvos"].merge(metric)
        figures = metric.compute()
        groups = {group: figures[f"{group}_iou"] for group in GROUPS}
        known = [value for value in groups.values() if not math.isnan(value)]
        return {"IoU": float(np.mean(known)) if known else math.nan, **groups}
