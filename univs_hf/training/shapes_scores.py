# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Runs a model on generated videos and scores the six tasks with the metrics of the benchmarks.

Every task sees the whole video through a session, as a user's video would. Videos are moving shapes; their categories
are no benchmark's, so what a metric takes from a benchmark's label set is said here:

    vis      VideoAP over the thing categories
    vss      VSSMetric over all categories, mVC over all windows of 8 frames
    vps      VPQMetric over all categories
    vos      DavisMetric; masks of the things in the first frame are given, and these things are scored
    pvos     PVOSMetric; the first mask of every thing and stuff segment is given. Nothing is unseen, so `G` is the
             mean of the two groups that there are, things and stuff
    refvos   RefYouTubeVOSMetric; one expression of each thing that has any
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..data.moving_shapes import CATEGORIES, CATEGORY_SET, MovingShapesVideo
from ..evaluation.benchmark import JobResults
from ..evaluation.instance_tracks import collect_tracks, result_masks
from ..label_sets import load_label_set
from ..metrics.pvos import PVOSMetric, object_group
from ..metrics.refvos import RefYouTubeVOSMetric
from ..metrics.video_metric import VideoMetric
from ..metrics.vis import VideoAP
from ..metrics.vos import DavisMetric
from ..metrics.vps import VPQMetric
from ..metrics.vss import VSSMetric
from ..modeling_univs import UniVSForVideoSegmentation
from ..processing_univs import UniVSProcessor
from ..visualization import contact_sheet, overlay_segmentation

# What is told of each task: the metric's name -> the figure's name.
FIGURES: dict[str, dict[str, str]] = {
    "vis": {"AP": "AP", "AP50": "AP50"},
    "vss": {"mIoU": "mIoU", "mVC8": "mVC8"},
    "vps": {"VPQ": "VPQ", "VPQ_things": "VPQ_things", "VPQ_stuff": "VPQ_stuff"},
    "vos": {"J&F-Mean": "J&F", "J-Mean": "J", "F-Mean": "F"},
    "pvos": {"G": "G", "thing_seen_iou": "things", "stuff_seen_iou": "stuff"},
    "refvos": {"J&F": "J&F", "J": "J", "F": "F"},
}
_SHEET_FRAMES = 4
# Detections with a lower score are not shown.
_SHOWN_SCORE = 0.3


@dataclass(frozen=True)
class TaskRun:
    """What a model found in a video.

    Attributes:
        results: One of each frame, as a session gives them.
        objects: What is known of the objects of the whole video, see [`UniVSInferenceSession.summary`].
    """

    results: list[dict[str, Any]]
    objects: list[dict[str, Any]]


def _representative(group: str) -> int:
    """A class of VIPSeg that belongs to a group of VIPOSeg's metric."""
    return next(index for index in range(len(load_label_set("vipseg"))) if object_group(index, "") == group)


class ShapesScores:
    """Scores of a model on generated videos.

    Args:
        tasks: Some of the six tasks.
        settings: Fields of [`UniVSConfig`] that win over the settings of the tasks.

    Attributes:
        metrics: Task -> metric over the videos so far.
    """

    def __init__(self, tasks: Sequence[str], settings: Mapping[str, Any] | None = None):
        unknown = sorted(set(tasks) - set(FIGURES))
        if unknown or not tasks:
            raise ValueError(f"`tasks` must be some of {list(FIGURES)}, got {list(tasks)}.")
        things = [category.index for category in CATEGORIES if category.is_thing]
        makers = {
            "vis": lambda: VideoAP(things),
            "vss": lambda: VSSMetric(len(CATEGORIES), windows=(8,), all_windows=True, reduce_labels=False),
            "vps": lambda: VPQMetric({category.index: bool(category.is_thing) for category in CATEGORIES}),
            "vos": DavisMetric,
            "pvos": PVOSMetric,
            "refvos": RefYouTubeVOSMetric,
        }
        self.settings = dict(settings or {})
        self.metrics: dict[str, VideoMetric] = {task: makers[task]() for task in tasks}
        self._pvos_classes = {flag: _representative(f"{'thing' if flag else 'stuff'}_seen") for flag in (True, False)}

    def run(
        self, model: UniVSForVideoSegmentation, processor: UniVSProcessor, video: MovingShapesVideo
    ) -> dict[str, np.ndarray]:
        """Runs all tasks on a video and scores them.

        Args:
            model: In evaluation mode.
            processor: That of the model.
            video: With at least 3 frames.

        Returns:
            Task -> picture, uint8 (height, width, 3): some frames with what the model found. A task for which the
            video has nothing to look for has none.
        """
        pictures = {}
        for task in self.metrics:
            found = self.run_task(task, model, processor, video)
            if found is not None:
                pictures[task] = _picture(video, task, found.results)
        return pictures

    def run_task(
        self, task: str, model: UniVSForVideoSegmentation, processor: UniVSProcessor, video: MovingShapesVideo
    ) -> TaskRun | None:
        """Runs one of the tasks on a video and scores it.

        Args:
            task: One of those that are scored.
            model, processor, video: See [`ShapesScores.run`].

        Returns:
            None if the video has nothing for the task to look for.

        Raises:
            ValueError: If the task is none of those that are scored.
        """
        if task not in self.metrics:
            raise ValueError(f"`task` must be one of {list(self.metrics)}, got {task!r}.")
        return getattr(self, f"_{task}")(model, processor, video, self.metrics[task])

    def figures(self) -> dict[str, float]:
        """`task/figure` -> value over all videos so far, fractions; NaN where there was nothing to score."""
        named = {}
        for task, metric in self.metrics.items():
            values = metric.compute()
            if task == "pvos":
                groups = [values["thing_seen_iou"], values["stuff_seen_iou"]]
                defined = [value for value in groups if not math.isnan(value)]
                values["G"] = sum(defined) / len(defined) if defined else math.nan
            for name, shown in FIGURES[task].items():
                value = float(values[name])
                # The official evaluator says -1 where there is no ground truth.
                named[f"{task}/{shown}"] = math.nan if task == "vis" and value < 0 else value
        return named

    def merge(self, other: ShapesScores) -> None:
        """Takes in the videos of another process."""
        for task, metric in self.metrics.items():
            metric.merge(other.metrics[task])

    # Tasks -----------------------------------------------------------------------------------------------------------

    def _session(
        self, processor: UniVSProcessor, video: MovingShapesVideo, task: str, categories: bool = False
    ) -> Any:
        session = processor.init_video_session(list(video.frames), task=task, **self.settings)
        if categories:
            processor.set_categories(session, CATEGORY_SET)
        return session

    def _vis(self, model: Any, processor: Any, video: MovingShapesVideo, metric: VideoAP) -> TaskRun:
        session = processor.init_video_session(list(video.frames), task="vis", **self.settings)
        things = [category for category in CATEGORIES if category.is_thing]
        processor.set_categories(session, [thing.text for thing in things], [True] * len(things))
        results = list(model.propagate_in_video_iterator(session))
        num_frames = len(video.frames)
        tracks = collect_tracks(
            JobResults(iter(results), session.summary), num_frames, video.frames.shape[1:3], video.key
        )
        predictions = [
            {
                "category_id": things[found["label_id"]].index,
                "score": float(found["score"]),
                "segmentations": [tracks.get(found["id"], {}).get(frame) for frame in range(num_frames)],
            }
            for found in session.summary()
        ]
        truth = [
            {"id": thing.id, "category_id": thing.category, "segmentations": list(video.mask(thing.id))}
            for thing in video.things
        ]
        metric.update(video.key, predictions, truth)
        return TaskRun(results, session.summary())

    def _vss(self, model: Any, processor: Any, video: MovingShapesVideo, metric: VSSMetric) -> TaskRun:
        session = self._session(processor, video, "vss", True)
        results = list(model.propagate_in_video_iterator(session))
        metric.update(video.key, (_map(result) for result in results), video.semantic_maps)
        return TaskRun(results, session.summary())

    def _vps(self, model: Any, processor: Any, video: MovingShapesVideo, metric: VPQMetric) -> TaskRun:
        session = self._session(processor, video, "vps", True)
        results = list(model.propagate_in_video_iterator(session))
        # What an object is has been decided by the whole video.
        final = {int(found["id"]): int(found["label_id"]) for found in session.summary()}
        predicted = []
        for result in results:
            ids = _map(result)
            labels = {int(info["id"]): int(info["label_id"]) for info in result["segments_info"]} | final
            shown = np.unique(ids[ids > 0]).tolist()
            predicted.append((ids, [{"id": number, "category_id": labels[number]} for number in shown]))
        categories = {entity.id: entity.category for entity in video.entities}
        truth = [
            (labels, [{"id": number, "category_id": categories[number]} for number in np.unique(labels).tolist()])
            for labels in video.labels.astype(np.int32)
        ]
        metric.update(video.key, predicted, truth)
        return TaskRun(results, session.summary())

    def _vos(self, model: Any, processor: Any, video: MovingShapesVideo, metric: DavisMetric) -> TaskRun | None:
        first = [thing.id for thing in video.things if video.is_visible[0, thing.id - 1]]
        if not first:
            return None
        numbers = np.zeros(len(video.entities) + 1, np.int32)
        numbers[first] = np.arange(1, len(first) + 1)
        truth = numbers[video.labels]
        session = self._session(processor, video, "vos")
        session.add_inputs(0, "mask", {number: truth[0] == number for number in range(1, len(first) + 1)})
        results = list(model.propagate_in_video_iterator(session))
        metric.update(video.key, (_map(result) for result in results), truth)
        return TaskRun(results, session.summary())

    def _pvos(self, model: Any, processor: Any, video: MovingShapesVideo, metric: PVOSMetric) -> TaskRun:
        begins = video.is_visible.argmax(0)
        session = self._session(processor, video, "pvos", True)
        session.set_object_categories({entity.id: entity.category for entity in video.entities})
        references: dict[int, list[int]] = {}
        for entity in video.entities:
            references.setdefault(int(begins[entity.id - 1]), []).append(entity.id)
        for frame, ids in sorted(references.items()):
            session.add_inputs(frame, "mask", {number: video.labels[frame] == number for number in ids})
        results = list(model.propagate_in_video_iterator(session))
        metric.update(
            video.key,
            (_map(result) for result in results),
            video.labels,
            reference_frames=references,
            object_classes={entity.id: self._pvos_classes[entity.is_thing] for entity in video.entities},
        )
        return TaskRun(results, session.summary())

    def _refvos(
        self, model: Any, processor: Any, video: MovingShapesVideo, metric: RefYouTubeVOSMetric
    ) -> TaskRun | None:
        chosen: dict[int, str] = {}
        for expression in video.expressions:
            chosen.setdefault(expression.entity_id, expression.text)
        if not chosen:
            return None
        session = self._session(processor, video, "refvos")
        processor.add_text_prompt(session, list(chosen.values()), list(chosen))
        results = list(model.propagate_in_video_iterator(session))
        masks = [result_masks(result) for result in results]
        nothing = np.zeros(video.labels.shape[1:], bool)
        predictions = {str(number): [frame.get(number, nothing) for frame in masks] for number in chosen}
        metric.update(video.key, predictions, video.labels, expressions={str(number): number for number in chosen})
        return TaskRun(results, session.summary())


def score_videos(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    videos: Iterable[MovingShapesVideo],
    tasks: Sequence[str] = tuple(FIGURES),
    settings: Mapping[str, Any] | None = None,
) -> Iterator[tuple[ShapesScores, MovingShapesVideo, dict[str, np.ndarray]]]:
    """Runs and scores videos one by one.

    Args:
        model: Set to evaluation mode meanwhile.
        processor: That of the model.
        videos: See [`ShapesScores.run`].
        tasks, settings: See [`ShapesScores`].

    Yields:
        The scores up to now, the video, and its pictures.
    """
    scores = ShapesScores(tasks, settings)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for video in videos:
            with torch.no_grad():
                pictures = scores.run(model, processor, video)
            yield scores, video, pictures
    finally:
        for module, mode in modes.items():
            module.training = mode


def _map(result: Mapping[str, Any]) -> np.ndarray:
    """Label map of a result, int32 (H, W)."""
    segmentation = result["segmentation"]
    return np.asarray(segmentation.cpu() if isinstance(segmentation, torch.Tensor) else segmentation, np.int32)


def _picture(video: MovingShapesVideo, task: str, results: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Some frames with what was found, side by side."""
    numbers = np.linspace(0, len(results) - 1, min(_SHEET_FRAMES, len(results))).round().astype(int).tolist()
    painted = []
    for number in numbers:
        result = results[number]
        infos = [
            info for info in result["segments_info"] if info.get("score") is None or info["score"] >= _SHOWN_SCORE
        ]
        if "masks" in result:
            masks = result_masks(result)
            segmentation = (
                np.stack([masks[int(info["id"])] for info in infos])
                if infos
                else np.zeros((0, *video.labels.shape[1:]), bool)
            )
        else:
            segmentation = _map(result)
        background = None if task == "vss" else 0
        painted.append(overlay_segmentation(video.frames[number], segmentation, infos, background))
    return contact_sheet(painted, columns=len(painted), captions=[f"frame {number}" for number in numbers])
