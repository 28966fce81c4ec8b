# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Average precision of video instance segmentation, as YouTube-VIS and OVIS define it (specification, section 2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from .average_precision import Matches, match_detections, precision_and_recall, recall_of_all
from .tubes import Tube, read_tubes, tube_iou, tube_ious, tubes_from_label_maps
from .video_metric import VideoMetric

__all__ = ["VideoAP", "score_youtube_vis", "tube_iou"]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = (1, 10, 100)
_LARGEST_AREA = 1e5**2
# Mean areas in pixels, both ends included.
AREA_RANGES = {
    "all": (0.0, _LARGEST_AREA),
    "small": (0.0, 128.0**2),
    "medium": (128.0**2, 256.0**2),
    "large": (256.0**2, _LARGEST_AREA),
}


class VideoAP(VideoMetric):
    """AP, AP50, AP75, AP and AR by area, AR1/10/100 of instance tubes.

    The figures are those of the official evaluator (ytvoseval of YouTube-VIS), with all its conventions:

    - the overlap of two tubes is pixels in both over pixels in either, each summed over the frames, also for crowds;
    - a video keeps the first 100 (for AR1 and AR10 the first 1 and 10) detections *of each category*;
    - ground truth of `iscrowd` and of a mean area outside the range is ignored, and so are detections matched to it
      and unmatched detections of such an area; the mean is over the frames with an area above 0, ground truth using
      its `areas`;
    - of detections with equal scores the one given first counts first, videos following one another by id: as
      numbers if the id is one, else as text;
    - frames that only one of two tubes has are left out;
    - detections of a category that is not evaluated are left out, with a warning;
    - **a ground-truth annotation of `id` 0 can never be found**: the official code writes the id where 0 means
      "unmatched". Whatever matches it is a false positive. `count_annotation_id_zero=True` gives the sane value.

    -1 means that there is no ground truth to measure the figure on. The official code fails on an empty list of
    results; here it gives 0.

    Args:
        category_ids: Ids of the categories evaluated: those of the ground-truth file.
        count_annotation_id_zero: Whether annotations of id 0 can be found like any others.
        unknown_categories: What to do with a detection of another category: "ignore" it with a warning, which is the
            official treatment, or raise an "error".

    Example:
        >>> metric = VideoAP(category_ids=[1, 2])
        >>> metric.update("bear", detections, [{"id": 1, "category_id": 2, "segmentations": masks}])
        >>> metric.compute()["AP"]
    """

    def __init__(
        self,
        category_ids: Iterable[int],
        count_annotation_id_zero: bool = False,
        unknown_categories: str = "ignore",
    ) -> None:
        super().__init__()
        category_ids = list(category_ids)
        wrong = [category for category in category_ids if not _is_integer(category)]
        if wrong:
            raise TypeError(f"`category_ids` must be integers, got {wrong[:5]}.")
        if unknown_categories not in ("ignore", "error"):
            raise ValueError(f"`unknown_categories` must be 'ignore' or 'error', got {unknown_categories!r}.")
        self.category_ids = sorted({int(category) for category in category_ids})
        self.count_annotation_id_zero = bool(count_annotation_id_zero)
        self.unknown_categories = unknown_categories

    def settings(self) -> dict[str, Any]:
        return {
            "category_ids": self.category_ids,
            "count_annotation_id_zero": self.count_annotation_id_zero,
            "unknown_categories": self.unknown_categories,
        }

    def update(
        self,
        video_id: str | int,
        predictions: Sequence[Mapping[str, Any]],
        ground_truth: Sequence[Mapping[str, Any]],
        *,
        ground_truth_label_maps: Sequence[np.ndarray] | None = None,
        prediction_label_maps: Sequence[np.ndarray] | None = None,
        num_frames: int | None = None,
    ) -> None:
        """Takes in one video.

        Args:
            video_id: Its id.
            predictions: Detections as in a results file, each with `category_id`, `score` and `segmentations`.
            ground_truth: Annotations as in a YouTube-VIS file, each with `category_id`, `segmentations` (per frame a
                mask as array or RLE, or None), and optionally `id`, `iscrowd` (0 or 1) and `areas` (per frame pixels
                or None; measured from the masks where absent).
            ground_truth_label_maps: Per frame an integer array of shape (height, width); an annotation may then give
                its `label` in these maps in place of `segmentations`.
            prediction_label_maps: The same for the predictions.
            num_frames: How many frames every tube must have. By default the lengths are not checked, as in the
                official evaluator.

        Raises:
            TypeError: If a value has the wrong type.
            ValueError: If the video was given before, a score is not finite, a mask has another size than the others
                of the video, an annotation has an unknown category or an id given before, or a key is missing.
        """
        key = self._new_video(video_id)
        objects = self._check_entries("ground_truth", ground_truth, ("category_id",), video_id)
        detections = self._check_entries("predictions", predictions, ("category_id", "score"), video_id)
        self._check_annotations(objects, video_id)
        scores = np.array([_score(entry, i, video_id) for i, entry in enumerate(detections)], dtype=np.float64)
        kept = self._known_predictions(detections, video_id)

        names = [f"ground_truth[{i}]" for i in range(len(objects))] + [f"predictions[{i}]" for i in kept]
        masks = _masks_of(objects, "ground_truth", ground_truth_label_maps, video_id)
        masks += _masks_of([detections[i] for i in kept], "predictions", prediction_label_maps, video_id)
        tubes = read_tubes(masks, names, video_id)
        for tube, name in zip(tubes, names, strict=True):
            if num_frames is not None and len(tube.areas) != num_frames:
                found = len(tube.areas)
                raise ValueError(f"`{name}` of video {video_id!r} must have {num_frames} frames, got {found}.")
        object_tubes, detection_tubes = tubes[: len(objects)], tubes[len(objects) :]
        areas = [_annotated_areas(entry, i, video_id, object_tubes[i]) for i, entry in enumerate(objects)]
        object_areas = _mean_areas(areas)
        outside = _outside_ranges(_mean_areas([tube.areas for tube in detection_tubes]))

        object_categories = np.array([int(entry["category_id"]) for entry in objects], dtype=np.int64)
        categories = np.array([int(detections[i]["category_id"]) for i in kept], dtype=np.int64)
        kept_scores = scores[kept]
        of_same_category = categories[:, None] == object_categories
        ious = tube_ious(detection_tubes, object_tubes, IOU_THRESHOLDS[0], of_same_category)
        crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in objects], dtype=bool)
        ignored = crowd | _outside_ranges(object_areas)
        lost_id = None if self.count_annotation_id_zero else 0
        findable = np.array(["id" not in entry or entry["id"] != lost_id for entry in objects], dtype=bool)
        by_score = np.argsort(-kept_scores, kind="stable")
        video = {}
        for category in sorted({*object_categories.tolist(), *categories.tolist()}):
            theirs = np.flatnonzero(object_categories == category)
            ours = by_score[categories[by_score] == category][: MAX_DETECTIONS[-1]]
            video[category] = _match(
                ious[ours[:, None], theirs],
                kept_scores[ours],
                outside[:, ours],
                ignored[:, theirs],
                crowd[theirs],
                findable[theirs],
            )
        self._videos[key] = video

    def compute(self) -> dict[str, Any]:
        """Figures over all videos so far.

        Returns:
            `dict` with the twelve figures of the official summary: `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`, `AR1`,
            `AR10`, `AR100`, `ARs`, `ARm`, `ARl` (fractions, -1 where there is no ground truth), and
            `AP_per_category`, category id -> AP (NaN where there is no ground truth).
        """
        precision, recall = self.curves()
        last = len(MAX_DETECTIONS) - 1
        figures = {
            "AP": _mean_of_defined(precision[:, :, :, 0]),
            "AP50": _mean_of_defined(precision[0, :, :, 0]),
            "AP75": _mean_of_defined(precision[5, :, :, 0]),
        }
        for r, suffix in ((1, "s"), (2, "m"), (3, "l")):
            figures[f"AP{suffix}"] = _mean_of_defined(precision[:, :, :, r])
        for m, limit in enumerate(MAX_DETECTIONS):
            figures[f"AR{limit}"] = _mean_of_defined(recall[:, :, 0, m])
        for r, suffix in ((1, "s"), (2, "m"), (3, "l")):
            figures[f"AR{suffix}"] = _mean_of_defined(recall[:, :, r, last])
        per_category = {}
        for k, category in enumerate(self.category_ids):
            value = _mean_of_defined(precision[:, :, k, 0])
            per_category[category] = value if value > -1 else math.nan
        return {**figures, "AP_per_category": per_category}

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """What the figures are means of; -1 where there is no ground truth.

        Returns:
            Precision with at most 100 detections, shape (10 IoU thresholds, 101 recalls, categories, 4 area ranges),
            and recall, shape (10 IoU thresholds, categories, 4 area ranges, 3 limits of detections); `float64`.
        """
        thresholds, ranges = len(IOU_THRESHOLDS), len(AREA_RANGES)
        precision = np.full((thresholds, 101, len(self.category_ids), ranges), -1.0)
        recall = np.full((thresholds, len(self.category_ids), ranges, len(MAX_DETECTIONS)), -1.0)
        videos = [self._videos[video_id] for video_id in sorted(self._videos, key=_video_order)]
        for k, category in enumerate(self.category_ids):
            matches = [video[category] for video in videos if category in video]
            if not matches:
                continue
            for m, limit in enumerate(MAX_DETECTIONS[:-1]):
                recall[:, k, :, m] = recall_of_all(matches, limit).T
            values, recalls = precision_and_recall(matches, MAX_DETECTIONS[-1])
            recall[:, k, :, -1] = recalls.T
            precision[:, :, k, :] = values.transpose(1, 2, 0)
        return precision, recall

    def _check_entries(self, argument: str, entries: Any, keys: tuple[str, ...], video_id: str | int) -> list[Any]:
        """Checks that the entries are dicts of this video with the keys that are needed."""
        if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Iterable):
            raise TypeError(
                f"`{argument}` of video {video_id!r} must be a list of dicts, got {type(entries).__name__}."
            )
        entries = list(entries)
        for i, entry in enumerate(entries):
            where = f"`{argument}[{i}]` of video {video_id!r}"
            if not isinstance(entry, Mapping):
                raise TypeError(f"{where} must be a dict, got {type(entry).__name__}.")
            missing = [key for key in keys if key not in entry]
            if "segmentations" not in entry and "label" not in entry:
                missing.append("segmentations")
            if missing:
                raise ValueError(f"{where} lacks {missing}, it has {sorted(map(str, entry))}.")
            if "video_id" in entry and str(entry["video_id"]) != str(video_id):
                raise ValueError(f"{where} belongs to another video, {entry['video_id']!r}.")
            if not _is_integer(entry["category_id"]):
                raise TypeError(f"{where} must have an integer `category_id`, got {entry['category_id']!r}.")
        return entries

    def _check_annotations(self, objects: list[Mapping[str, Any]], video_id: str | int) -> None:
        seen = set()
        for i, entry in enumerate(objects):
            where = f"`ground_truth[{i}]` of video {video_id!r}"
            if entry["category_id"] not in self.category_ids:
                raise ValueError(
                    f"{where} has the category {entry['category_id']}, which is not among the "
                    f"{len(self.category_ids)} `category_ids` {self.category_ids[:10]}."
                )
            if entry.get("iscrowd", 0) not in (0, 1):
                raise ValueError(f"{where} must have an `iscrowd` of 0 or 1, got {entry['iscrowd']!r}.")
            if "id" in entry:
                if entry["id"] in seen:
                    raise ValueError(f"{where} has the `id` {entry['id']!r} of an annotation before it.")
                seen.add(entry["id"])

    def _known_predictions(self, detections: list[Mapping[str, Any]], video_id: str | int) -> list[int]:
        """Places of the detections whose category is evaluated."""
        known = set(self.category_ids)
        unknown = sorted({int(entry["category_id"]) for entry in detections} - known)
        if unknown:
            message = f"`predictions` of video {video_id!r} have categories that are not evaluated: {unknown[:10]}."
            if self.unknown_categories == "error":
                raise ValueError(message)
            warnings.warn(f"{message} They are left out.", stacklevel=3)
        return [i for i, entry in enumerate(detections) if entry["category_id"] in known]


def score_youtube_vis(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], **options: Any
) -> VideoAP:
    """Scores a results file of YouTube-VIS or OVIS.

    Args:
        ground_truth: Contents of an annotation file: `videos`, `categories`, `annotations`.
        results: Contents of a results file: detections with `video_id`, `category_id`, `score`, `segmentations`.
            Videos without any are videos in which nothing was found.
        options: For [`VideoAP`].

    Returns:
        The metric with all videos taken in: call its `compute`.

    Raises:
        ValueError: If a detection or an annotation belongs to a video that the ground truth does not list, or as
            [`VideoAP.update`].
    """
    missing = [key for key in ("videos", "categories", "annotations") if key not in ground_truth]
    if missing:
        raise ValueError(f"`ground_truth` lacks {missing}, it has {sorted(ground_truth)}.")
    metric = VideoAP([category["id"] for category in ground_truth["categories"]], **options)
    objects: dict[Any, list[Mapping[str, Any]]] = {video["id"]: [] for video in ground_truth["videos"]}
    detections: dict[Any, list[Mapping[str, Any]]] = {video_id: [] for video_id in objects}
    for argument, entries, target in (
        ("ground_truth", ground_truth["annotations"], objects),
        ("results", results, detections),
    ):
        for i, entry in enumerate(entries):
            if entry.get("video_id") not in target:
                raise ValueError(
                    f"`{argument}` entry {i} belongs to the video {entry.get('video_id')!r}, which is not among the "
                    f"{len(target)} videos of `ground_truth`."
                )
            target[entry["video_id"]].append(entry)
    for video_id in objects:
        metric.update(video_id, detections[video_id], objects[video_id])
    return metric


def _match(
    ious: np.ndarray,
    scores: np.ndarray,
    outside: np.ndarray,
    ignored: np.ndarray,
    crowd: np.ndarray,
    findable: np.ndarray,
) -> Matches:
    """Matches the detections of one category, best score first, with its ground truth.

    Args:
        ious: Shape (detections, objects).
        scores: Shape (detections,).
        outside: Which detections are outside each range of areas; shape (ranges, detections).
        ignored: Which objects do not count in each range; shape (ranges, objects).
        crowd: Which objects may be found many times; shape (objects,).
        findable: Which objects make what matches them a true positive; shape (objects,).
    """
    matched = to_ignored = np.zeros((len(AREA_RANGES), len(IOU_THRESHOLDS), len(scores)), dtype=bool)
    if ious.size:
        match = match_detections(ious, IOU_THRESHOLDS, ignored, crowd)
        found = match >= 0
        matched = found & findable[match]
        to_ignored = found & np.take_along_axis(ignored[:, None], np.maximum(match, 0), axis=-1)
    return Matches(
        scores=scores,
        matched=matched,
        ignored=to_ignored | (~matched & outside[:, None]),
        num_ground_truth=(~ignored).sum(axis=1),
    )


def _masks_of(
    entries: list[Mapping[str, Any]], argument: str, label_maps: Sequence[np.ndarray] | None, video_id: str | int
) -> list[Any]:
    """Per entry its masks, of those with a label from the label maps."""
    labels = [entry["label"] for entry in entries if "segmentations" not in entry]
    if labels and label_maps is None:
        name = "ground_truth_label_maps" if argument == "ground_truth" else "prediction_label_maps"
        raise ValueError(f"`{argument}` of video {video_id!r} name labels, which needs `{name}`.")
    tubes = iter(tubes_from_label_maps(label_maps, labels, video_id) if labels else ())
    return [entry["segmentations"] if "segmentations" in entry else next(tubes) for entry in entries]


def _score(entry: Mapping[str, Any], place: int, video_id: str | int) -> float:
    score = entry["score"]
    if type(score) is not float and (
        isinstance(score, bool) or not isinstance(score, (Real, np.ndarray)) or np.ndim(score)
    ):
        raise TypeError(f"`predictions[{place}]` of video {video_id!r} must have a number as `score`, got {score!r}.")
    if not math.isfinite(score):
        raise ValueError(f"`predictions[{place}]` of video {video_id!r} must have a finite `score`, got {score!r}.")
    return float(score)


def _annotated_areas(entry: Mapping[str, Any], place: int, video_id: str | int, tube: Tube) -> np.ndarray:
    """Areas per frame of an annotation by its `areas`, or of its masks where it has none."""
    if entry.get("areas") is None:
        return tube.areas
    areas = np.array([0.0 if area is None else area for area in entry["areas"]], dtype=np.float64)
    where = f"`ground_truth[{place}]` of video {video_id!r}"
    if len(areas) != len(tube.areas):
        raise ValueError(f"{where} has {len(areas)} `areas` for {len(tube.areas)} frames.")
    wrong = np.flatnonzero(~np.isfinite(areas) | (areas < 0))
    if wrong.size:
        raise ValueError(f"{where}, frame {wrong[0]} must have an area of 0 or more, got {areas[wrong[0]]}.")
    return areas


def _mean_areas(areas: list[np.ndarray]) -> np.ndarray:
    """Mean of each array over the frames where the area is not 0; 0 if it is 0 everywhere."""
    owners = np.repeat(np.arange(len(areas)), [len(entry) for entry in areas])
    values = np.concatenate([*areas, np.zeros(0)])
    sums = np.bincount(owners, weights=values, minlength=len(areas))
    return sums / np.maximum(1, np.bincount(owners, weights=values > 0, minlength=len(areas)))


def _outside_ranges(areas: np.ndarray) -> np.ndarray:
    """Which areas lie outside each range; shape (ranges, len(areas)), `bool`."""
    lowest, highest = np.array(list(AREA_RANGES.values())).T[:, :, None]
    return (areas < lowest) | (areas > highest)


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0


def _video_order(video_id: str) -> tuple[int, int, str]:
    """Sorts ids that are numbers as numbers, before all others."""
    try:
        return 0, int(video_id), video_id
    except ValueError:
        return 1, 0, video_id


def _is_integer(value: Any) -> bool:
    # The first is the usual case and much quicker to see.
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
