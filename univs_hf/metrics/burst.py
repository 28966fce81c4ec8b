# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""BURST: HOTA and average precision of tracks by category, over all, common and uncommon categories.

The rules are those of BURST's evaluator (burstapi with TrackEval; specification, section 8).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from .average_precision import Matches, match_detections, precision_and_recall
from .burst_categories import (
    COMMON_CATEGORY_IDS,
    DISTRACTOR_CATEGORY_IDS,
)
from .burst_sequences import BurstSequence, read_category_ids, read_sequence, sequences_by_name
from .hota import (
    SIMILARITIES,
    HotaCounts,
    Tracks,
    check_choice,
    count_hota,
    frame_similarity,
    hota_fields,
    pool_hota,
    read_both_tracks,
)
from .masks import name_frame
from .tubes import tube_ious
from .video_metric import VideoMetric

TASKS = ("class_guided", "exemplar_guided")
MAX_DETECTIONS_PER_FRAME = 300
TRACK_IOU_THRESHOLDS = np.arange(0.5, 0.96, 0.05)
# From this similarity on a detection is that of a ground-truth object, when detections are removed.
REMOVAL_SIMILARITY = 0.5
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class _CategoryResult:
    """One category of one video; `hota` and `matches` are None where nothing of it is left."""

    in_ground_truth: bool
    hota: HotaCounts | None
    matches: Matches | None


class BurstHOTA(VideoMetric):
    """HOTA, DetA, AssA and track AP of BURST, over all, common and uncommon categories.

    Every category with ground truth somewhere is measured by itself, then the mean over categories is taken. TAO's
    distractor categories are left out, merged ones count as the one they belong to, and at most 300 detections a frame
    are kept. HOTA looks only at frames with ground truth of any category; track AP at all frames, and only at
    categories that the video holds or is known not to hold (`neg_category_ids`).

    With task "class_guided" those detections are removed from HOTA that match no ground truth of their category
    (similarity below 0.5) in a frame, if either that frame has none of it and the video is not known to be without the
    category, or the category is not exhaustively annotated (`not_exhaustive_category_ids`). With "exemplar_guided"
    none are.

    The defaults give the numbers of the official evaluator, which has two bugs:

    - `similarity="box"`: HOTA compares the integer bounding boxes of the masks, because the boxes are loaded where
      masks are meant. "mask" compares the masks. Track AP always compares masks.
    - `exemplar_categories="prediction"`: in the exemplar-guided task a track's category is read from the prediction's
      `track_category_ids`, which the format says are ignored. "ground_truth" takes that of the ground-truth track of
      the same id, and leaves out tracks with another id.

    Equal scores in different videos follow one another by the videos' ids as text ("/" read as "-"), which is the
    official order if the ids are "<dataset>/<seq_name>".

    Args:
        task: "class_guided" or "exemplar_guided".
        similarity: "box" or "mask".
        exemplar_categories: "prediction" or "ground_truth"; matters only for the exemplar-guided task.
    """

    def __init__(
        self, task: str = "class_guided", similarity: str = "box", exemplar_categories: str = "prediction"
    ) -> None:
        super().__init__()
        self.task = check_choice("task", task, TASKS)
        self.similarity = check_choice("similarity", similarity, SIMILARITIES)
        self.exemplar_categories = check_choice(
            "exemplar_categories", exemplar_categories, ("prediction", "ground_truth")
        )

    def settings(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "similarity": self.similarity,
            "exemplar_categories": self.exemplar_categories,
        }

    def update(
        self, video_id: str | int, prediction: Mapping[str, Any] | None, ground_truth: Mapping[str, Any]
    ) -> None:
        """Takes in one video.

        Args:
            video_id: Its id, best "<dataset>/<seq_name>".
            prediction: A sequence in BURST's layout, of which `segmentations` and `track_category_ids` are used;
                frames are matched by `annotated_image_paths` where both have them, those the ground truth lacks are
                left out. None if there is no prediction for the video.
            ground_truth: The same: `segmentations` (per frame track id -> mask), `track_category_ids` (track id ->
                category), `neg_category_ids`, `not_exhaustive_category_ids`, `height` and `width` in pixels, and
                optionally `annotated_image_paths` (per frame).

            A mask is `{"rle": str}`, a COCO RLE `dict`, or an array of shape (height, width); the first form may have
            a `score` (1 by default) and a `category_id` of its own.

        Raises:
            TypeError: If a value has the wrong type.
            ValueError: If the video was given before, a key is missing, numbers of frames or sizes differ, a track has
                no category or one that is not in 1..1230, or a score is not finite.
        """
        key = self._new_video(video_id)
        truth = read_sequence("ground_truth", ground_truth, video_id)
        negative = read_category_ids("ground_truth", ground_truth, "neg_category_ids", video_id)
        not_exhaustive = read_category_ids("ground_truth", ground_truth, "not_exhaustive_category_ids", video_id)
        predicted = self._read_prediction(prediction, ground_truth, truth, video_id)
        size = (int(ground_truth["height"]), int(ground_truth["width"]))
        tracks = read_both_tracks(truth.masks, predicted.masks, video_id, size)
        self._videos[key] = self._evaluate(truth, predicted, *tracks, negative, not_exhaustive)

    def compute(self) -> dict[str, Any]:
        """Figures over all videos so far.

        Returns:
            `dict` of fractions `HOTA_all`, `HOTA_common`, `HOTA_uncommon`, the same of `DetA`, `AssA` and `AP` (NaN
            for a group without categories), and `per_category`: category id -> fields of [`~hota.hota_fields`], each
            of shape (19,), and `AP`.
        """
        videos = [self._videos[video_id] for video_id in sorted(self._videos, key=lambda i: i.replace("/", "-"))]
        categories = sorted({category for video in videos for category in video if video[category].in_ground_truth})
        per_category = {}
        for category in categories:
            if category in DISTRACTOR_CATEGORY_IDS:
                continue
            results = [video[category] for video in videos if category in video]
            pooled = pool_hota(result.hota for result in results if result.hota is not None)
            curves = precision_and_recall([result.matches for result in results if result.matches is not None])
            average = -1.0 if curves is None else float(curves[0][0].mean(axis=-1).mean())
            per_category[category] = {**hota_fields(pooled), "AP": average}
        figures: dict[str, Any] = {}
        for name in ("HOTA", "DetA", "AssA", "AP"):
            values = {category: float(np.mean(entry[name])) for category, entry in per_category.items()}
            common = [value for category, value in values.items() if category in COMMON_CATEGORY_IDS]
            uncommon = [value for category, value in values.items() if category not in COMMON_CATEGORY_IDS]
            for group, members in (("all", list(values.values())), ("common", common), ("uncommon", uncommon)):
                figures[f"{name}_{group}"] = sum(members) / len(members) if members else math.nan
        return {**figures, "per_category": per_category}

    def _read_prediction(
        self,
        prediction: Mapping[str, Any] | None,
        ground_truth: Mapping[str, Any],
        truth: BurstSequence,
        video_id: str | int,
    ) -> BurstSequence:
        """The prediction on the frames of the ground truth, with at most 300 detections a frame."""
        kept = BurstSequence()
        if prediction is None:
            for _ in range(truth.num_frames):
                kept.add_frame(kept, None)
            return kept
        where = name_frame("prediction", video_id)
        if not isinstance(prediction, Mapping):
            raise TypeError(f"{where} must be a dict or None, got {type(prediction).__name__}.")
        size = {key: ground_truth[key] for key in ("height", "width")}
        for key, value in size.items():
            if prediction.get(key, value) != value:
                raise ValueError(f"{where} must have the {key} {value}, got {prediction[key]!r}.")
        by_exemplar = self.task == "exemplar_guided" and self.exemplar_categories == "ground_truth"
        exemplars = truth.track_categories() if by_exemplar else None
        predicted = read_sequence("prediction", {**prediction, **size}, video_id, exemplars)
        theirs, ours = ground_truth.get("annotated_image_paths"), prediction.get("annotated_image_paths")
        if theirs is not None and ours is not None:
            places = {path: t for t, path in enumerate(ours)}
            frames = [places.get(path) for path in theirs]
        elif predicted.num_frames == truth.num_frames:
            frames = list(range(truth.num_frames))
        else:
            raise ValueError(f"{where} must have {truth.num_frames} frames, got {predicted.num_frames}.")
        for t in frames:
            tracks = [] if t is None else list(predicted.masks[t])
            if len(tracks) > MAX_DETECTIONS_PER_FRAME:
                tracks.sort(key=lambda track, t=t: -predicted.scores[t][track])
            kept.add_frame(predicted, t, tracks[:MAX_DETECTIONS_PER_FRAME])
        return kept

    def _evaluate(
        self,
        truth: BurstSequence,
        predicted: BurstSequence,
        truth_tracks: Tracks,
        predicted_tracks: Tracks,
        negative: set[int],
        not_exhaustive: set[int],
    ) -> dict[int, _CategoryResult]:
        """The results of every category that occurs in the video."""
        truth_categories = truth.track_categories()
        predicted_categories = predicted.track_categories()
        evaluated = [t for t, frame in enumerate(truth.masks) if frame]
        similarities = {
            t: frame_similarity(
                truth_tracks, truth_tracks.ids[t], predicted_tracks, predicted_tracks.ids[t], t, self.similarity
            )
            for t in evaluated
        }
        scores: dict[int, list[float]] = {}
        for frame in predicted.scores:
            for track, score in frame.items():
                scores.setdefault(track, []).append(score)
        mean_scores = {track: float(np.mean(values)) for track, values in scores.items()}

        present = set(truth_categories.values())
        detected = {category for frame in predicted.categories for category in frame.values()}
        results = {}
        for category in sorted(present | detected | set(predicted_categories.values())):
            removes_everywhere = category in not_exhaustive
            removes_where_absent = removes_everywhere or category not in negative
            if self.task == "exemplar_guided":
                removes_everywhere = removes_where_absent = False
            theirs, ours, kept_similarities = [], [], []
            for t in evaluated:
                rows = [i for i, c in enumerate(truth.categories[t].values()) if c == category]
                columns = [j for j, c in enumerate(predicted.categories[t].values()) if c == category]
                if not rows and not columns:
                    continue
                similarity = similarities[t][
                    np.array(rows, dtype=np.int64)[:, None], np.array(columns, dtype=np.int64)
                ]
                if columns and (removes_everywhere or (removes_where_absent and not rows)):
                    matched = _matched_columns(similarity)
                    columns = [columns[j] for j in matched]
                    similarity = similarity[:, matched]
                theirs.append([truth_tracks.ids[t][i] for i in rows])
                ours.append([predicted_tracks.ids[t][j] for j in columns])
                kept_similarities.append(similarity)
            results[category] = _CategoryResult(
                in_ground_truth=category in present,
                hota=count_hota(theirs, ours, kept_similarities) if any(theirs) or any(ours) else None,
                matches=_match_tracks(
                    [truth_tracks.tubes[i] for i, c in truth_categories.items() if c == category],
                    [i for i, c in predicted_categories.items() if c == category]
                    if category in present | negative
                    else [],
                    predicted_tracks,
                    mean_scores,
                    category in not_exhaustive,
                ),
            )
        return results


def score_burst(ground_truth: Mapping[str, Any], prediction: Mapping[str, Any], **options: Any) -> BurstHOTA:
    """Scores a results file of BURST.

    Args:
        ground_truth: Contents of an annotation file: `sequences` and optionally `split`.
        prediction: Contents of a results file in the same layout. Sequences are matched by `dataset` and `seq_name`;
            a sequence without results is one in which nothing was found, results of an unknown sequence are left out
            with a warning, as the official evaluator leaves them out.
        options: For [`BurstHOTA`].

    Returns:
        The metric with all videos taken in: call its `compute`.

    Raises:
        ValueError: If the splits differ, a sequence occurs twice, or as [`BurstHOTA.update`].
    """
    if "split" in ground_truth and prediction.get("split", ground_truth["split"]) != ground_truth["split"]:
        raise ValueError(f"`prediction` must be of the split {ground_truth['split']!r}, got {prediction['split']!r}.")
    theirs, ours = sequences_by_name("ground_truth", ground_truth), sequences_by_name("prediction", prediction)
    unknown = sorted(ours.keys() - theirs.keys())
    if unknown:
        warnings.warn(f"Left out results of sequences that the ground truth lacks: {unknown[:5]}.", stacklevel=2)
    metric = BurstHOTA(**options)
    for name, sequence in theirs.items():
        metric.update(name, ours.get(name), sequence)
    return metric


def _matched_columns(similarity: np.ndarray) -> list[int]:
    """Detections that an object matches with at least the similarity that spares them from removal."""
    similarity = np.where(similarity < REMOVAL_SIMILARITY - _EPS, 0.0, similarity)
    rows, columns = linear_sum_assignment(-similarity)
    return sorted(columns[similarity[rows, columns] > _EPS].tolist())


def _match_tracks(
    objects: Sequence[Any],
    detections: list[int],
    tracks: Tracks,
    scores: Mapping[int, float],
    not_exhaustive: bool,
) -> Matches | None:
    """Matches the tracks of one category with its ground truth by the overlap of the tubes; None without either."""
    if not objects and not detections:
        return None
    values = np.array([scores[track] for track in detections], dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    lowest = TRACK_IOU_THRESHOLDS[0] - _EPS
    ious = tube_ious([tracks.tubes[detections[i]] for i in order], objects, lowest)
    nothing_ignored = np.zeros((1, len(objects)), dtype=bool)
    match = match_detections(ious, TRACK_IOU_THRESHOLDS, nothing_ignored, nothing_ignored[0], tolerance=_EPS)
    matched = match >= 0
    # Where not everything is annotated, a track without a match may be right.
    ignored = ~matched if not_exhaustive else np.zeros_like(matched)
    return Matches(values[order], matched, ignored, np.array([len(objects)]))
