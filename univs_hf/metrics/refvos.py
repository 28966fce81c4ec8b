# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Referring video object segmentation: J&F of Ref-DAVIS 2017 and of Ref-YouTube-VOS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .masks import name_frame
from .object_frames import VOID, Frame, ObjectFrame, binary_region, check_object_id, require_frame, side_by_side
from .object_scores import ObjectScores, mean_scores, score_object
from .region_boundary import RegionMask, exact_mean
from .video_metric import VideoMetric

# The official program takes no more predicted objects in a video.
MAX_OBJECTS = 20


class MatchedObject(NamedTuple):
    """A ground-truth object, the predicted id that it was compared with, and the scores of the pair."""

    predicted_id: int
    object_id: int
    scores: ObjectScores


class RefDavisMetric(VideoMetric):
    """J&F of Ref-DAVIS 2017 as ReferFormer's script computes it with davis2017-evaluation ("unsupervised").

    Each annotator's expressions give a prediction of their own for the whole video. The objects are the ids 1 to the
    largest of the first ground-truth frame; all frames are scored; void pixels (255 in the ground truth) count for
    nothing. Mean, recall and decay are taken per object, averaged over the objects of all videos and then over
    annotators.

    The official program matches predicted ids to objects anew, video by video, so that the mean of J and F is largest:
    a prediction of the wrong object of the video costs little. That is the default; `rematch=False` compares equal
    ids, which is what the task asks for.

    Memory: six numbers per object and annotator; frames are read one at a time.

    Args:
        num_annotators (`int`, defaults to 4): Number of predictions per video. (UniVS' scripts of the larger models
            run one annotator only.)
        rematch (`bool`, defaults to `True`): See above.
        wrap_decay_bins (`bool`, defaults to `True`): As in [`DavisMetric`].
        keep_frames (`bool`, defaults to `False`): Keep J and F of each frame for [`~RefDavisMetric.object_scores`].

    Raises:
        ValueError: If `num_annotators` is no positive integer.

    Source: ReferFormer `eval_davis.py`; davis2017-evaluation (Caelles et al., "The 2019 DAVIS Challenge on VOS").
    """

    def __init__(
        self,
        num_annotators: int = 4,
        *,
        rematch: bool = True,
        wrap_decay_bins: bool = True,
        keep_frames: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(num_annotators, bool) or not isinstance(num_annotators, int) or num_annotators < 1:
            raise ValueError(f"`num_annotators` must be a positive int, got {num_annotators!r}.")
        self.num_annotators = num_annotators
        self.rematch = bool(rematch)
        self.wrap_decay_bins = bool(wrap_decay_bins)
        self.keep_frames = bool(keep_frames)

    def settings(self) -> dict[str, Any]:
        return {
            "num_annotators": self.num_annotators,
            "rematch": self.rematch,
            "wrap_decay_bins": self.wrap_decay_bins,
            "keep_frames": self.keep_frames,
        }

    def update(
        self, video_id: str, predictions: Sequence[Iterable[Frame | None]], ground_truth: Iterable[Frame | None]
    ) -> None:
        """Takes in one video.

        Args:
            video_id (`str`): Its id.
            predictions (sequence of videos): One per annotator, each an array (T, H, W) or anything that yields T
                frames: integer arrays (H, W) of object ids, or mappings from object id to mask or RLE.
            ground_truth (iterable of frames): The same.

        Raises:
            TypeError: If a frame is none of these, or `predictions` is no sequence.
            ValueError: If there is not one prediction per annotator, numbers or sizes of frames differ, a frame is
                missing, or an annotator's prediction has an id above 20 (the official program exits). The message
                names video and frame, the metric stays as it was.
        """
        video = self._new_video(video_id)
        names = [f"predictions[{annotator}]" for annotator in range(self.num_annotators)]
        if predictions is None:
            raise ValueError(f"{name_frame('predictions', video)} are missing.")
        if isinstance(predictions, (str, bytes, Mapping)) or not hasattr(predictions, "__len__"):
            raise TypeError(
                f"{name_frame('predictions', video)} must be a sequence of {self.num_annotators} videos, "
                f"got {type(predictions).__name__}."
            )
        if len(predictions) != self.num_annotators:
            raise ValueError(
                f"{name_frame('predictions', video)} must hold one video per annotator, {self.num_annotators}, "
                f"got {len(predictions)}."
            )
        videos = {"ground_truth": ground_truth, **dict(zip(names, predictions, strict=True))}
        num_objects = size = None
        # Per annotator and frame: J and F of each predicted id with each object, the last row being an empty mask's.
        tables: list[list[np.ndarray]] = [[] for _ in names]
        for index, (true_labels, *all_labels) in enumerate(side_by_side(video, videos)):
            where = name_frame("ground_truth", video, index)
            true = ObjectFrame(require_frame(true_labels, where), where, size)
            size = true.size
            if num_objects is None:
                num_objects = true.largest_id(void=VOID)
            void = true.region(VOID).bits
            true_regions = [_without(true.region(object_id), void) for object_id in range(1, num_objects + 1)]
            for name, labels, table in zip(names, all_labels, tables, strict=True):
                where = name_frame(name, video, index)
                predicted = ObjectFrame(require_frame(labels, where), where, size)
                if predicted.largest_id() > MAX_OBJECTS:
                    raise ValueError(
                        f"{where} holds the object id {predicted.largest_id()}, at most {MAX_OBJECTS} are scored."
                    )
                regions = [
                    _without(predicted.region(object_id), void) for object_id in range(1, predicted.largest_id() + 1)
                ]
                table.append(_score_pairs([*regions, RegionMask(true.grid, 0)], true_regions))
        self._videos[video] = [self._match(table, num_objects) for table in tables]

    def _match(self, table: list[np.ndarray], num_objects: int) -> list[MatchedObject]:
        """Pairs of predicted id and object, in order of predicted ids, as the official program lists them."""
        num_predicted = max(num_objects, *(len(scores) - 1 for scores in table))
        filled = [
            np.concatenate([scores[:-1], np.repeat(scores[-1:], num_predicted - len(scores) + 1, axis=0)])
            for scores in table
        ]
        # (2, predicted id, object, frame); frames last and contiguous, so that means round as the official ones do and
        # ties between pairs are resolved in the same way.
        both = np.ascontiguousarray(np.stack(filled, axis=-1).transpose(2, 0, 1, 3))
        if self.rematch:
            rows, columns = linear_sum_assignment(-((both[0].mean(axis=2) + both[1].mean(axis=2)) / 2))
        else:
            rows = columns = np.arange(num_objects)
        return [
            MatchedObject(
                int(row) + 1,
                int(column) + 1,
                score_object(both[0, row, column], both[1, row, column], self.wrap_decay_bins, self.keep_frames),
            )
            for row, column in zip(rows, columns, strict=True)
        ]

    def compute(self) -> dict[str, float]:
        """`J&F-Mean`, and `J-` and `F-` with `Mean`, `Recall`, `Decay`, averaged over annotators; NaN if no object."""
        by_annotator = self.annotator_scores()
        return {key: sum(figures[key] for figures in by_annotator) / self.num_annotators for key in by_annotator[0]}

    def annotator_scores(self) -> list[dict[str, float]]:
        """The figures of [`~RefDavisMetric.compute`] of each annotator alone."""
        return [
            mean_scores(matched.scores for video in self._videos.values() for matched in video[annotator])
            for annotator in range(self.num_annotators)
        ]

    def object_scores(self) -> list[dict[str, list[dict[str, Any]]]]:
        """Per annotator: video -> pairs in order of predicted ids.

        A pair has `predicted_id`, `object_id`, and `J` and `F`, each with `M`, `R`, `D`; with `keep_frames` also
        `J_frames` and `F_frames`.
        """
        return [
            {
                video: [
                    {"predicted_id": pair.predicted_id, "object_id": pair.object_id, **pair.scores.as_dict()}
                    for pair in self._videos[video][annotator]
                ]
                for video in self.video_ids
            }
            for annotator in range(self.num_annotators)
        ]


class RefYouTubeVOSMetric(VideoMetric):
    """J&F of Ref-YouTube-VOS: J and F averaged over the frames of an expression, then over all expressions.

    An expression is compared with the object it speaks of on all frames given (both masks empty: 1). The official
    server's code is not public; that it scores all annotated frames is inferred.

    Memory: a few numbers per expression; frames are read one at a time.

    Args:
        keep_frames (`bool`, defaults to `False`): Keep J and F of each frame for
            [`~RefYouTubeVOSMetric.expression_scores`].

    Source: Seo et al., "URVOS: Unified Referring Video Object Segmentation Network", ECCV 2020, and youtube-vos.org.
    """

    def __init__(self, *, keep_frames: bool = False) -> None:
        super().__init__()
        self.keep_frames = bool(keep_frames)

    def settings(self) -> dict[str, Any]:
        return {"keep_frames": self.keep_frames}

    def update(
        self,
        video_id: str,
        predictions: Mapping[str, Iterable[Any]],
        ground_truth: Iterable[Frame],
        *,
        expressions: Mapping[str, int],
    ) -> None:
        """Takes in one video.

        Args:
            video_id (`str`): Its id.
            predictions (`Mapping[str, Iterable]`): Expression -> an array (T, H, W) or anything that yields T binary
                masks: arrays (H, W) of bool, 0/1 or 0/255, or COCO RLE.
            ground_truth (iterable of frames): An array (T, H, W) or anything that yields T frames: integer arrays
                (H, W) of object ids, or mappings from object id to mask or RLE.
            expressions (`Mapping[str, int]`): Expression -> id of the object that it speaks of.

        Raises:
            TypeError: If a frame is none of these.
            ValueError: If `predictions` and `expressions` differ in their expressions, there is none, or numbers or
                sizes of frames differ, or a frame is missing. The message names video, expression and frame, the
                metric stays as it was.
        """
        video = self._new_video(video_id)
        _check_expressions(video, predictions, expressions)
        names = {expression: f"predictions[{expression!r}]" for expression in expressions}
        videos = {"ground_truth": ground_truth} | {names[key]: predictions[key] for key in expressions}
        similarity, accuracy = ({expression: [] for expression in expressions} for _ in range(2))
        size = None
        for index, (true_labels, *masks) in enumerate(side_by_side(video, videos)):
            where = name_frame("ground_truth", video, index)
            true = ObjectFrame(require_frame(true_labels, where), where, size)
            size = true.size
            for (expression, object_id), mask in zip(expressions.items(), masks, strict=True):
                where = name_frame(names[expression], video, index)
                region, predicted = true.region(object_id), binary_region(require_frame(mask, where), where, size)
                similarity[expression].append(region.similarity(predicted))
                accuracy[expression].append(region.boundary_accuracy(predicted))
        self._videos[video] = {
            expression: score_object(values, accuracy[expression], False, self.keep_frames)
            for expression, values in similarity.items()
        }

    def compute(self) -> dict[str, float]:
        """`J&F`, `J` and `F`; NaN while there is no expression."""
        scores = [scores for video in self._videos.values() for scores in video.values()]
        similarity = exact_mean([entry.J.mean for entry in scores])
        accuracy = exact_mean([entry.F.mean for entry in scores])
        return {"J&F": (similarity + accuracy) / 2, "J": similarity, "F": accuracy}

    def expression_scores(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Video -> expression -> `J` and `F` averaged over frames; with `keep_frames` also `J_frames`, `F_frames`."""
        return {
            video: {expression: scores.means() for expression, scores in self._videos[video].items()}
            for video in self.video_ids
        }


def _without(region: RegionMask, void: int) -> RegionMask:
    """The region without the void pixels."""
    common = region.bits & void
    return RegionMask(region.grid, region.bits ^ common) if common else region


def _score_pairs(predicted: list[RegionMask], true: list[RegionMask]) -> np.ndarray:
    """J and F of all pairs; shape (predicted, true, 2)."""
    scores = [[(t.similarity(p), t.boundary_accuracy(p)) for t in true] for p in predicted]
    return np.array(scores, dtype=np.float64).reshape(len(predicted), len(true), 2)


def _check_expressions(video: str, predictions: Any, expressions: Any) -> None:
    for name, value in (("predictions", predictions), ("expressions", expressions)):
        if not isinstance(value, Mapping):
            raise TypeError(f"`{name}` of video {video!r} must map expressions, got {type(value).__name__}.")
    if not expressions:
        raise ValueError(f"`expressions` of video {video!r} is empty.")
    for expression, object_id in expressions.items():
        check_object_id(object_id, f"`expressions` of video {video!r}, expression {expression!r}")
    missing = [expression for expression in expressions if expression not in predictions]
    unknown = [expression for expression in predictions if expression not in expressions]
    if missing or unknown:
        raise ValueError(
            f"`predictions` of video {video!r} must have the expressions {list(expressions)}: "
            f"missing are {missing}, unknown {unknown}."
        )
