# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""HOTA, higher order tracking accuracy, of mask tracks (Luiten et al., IJCV 2021; specification, section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from .masks import Size, is_rle, name_frame, to_labels
from .tubes import Tube, read_tubes
from .video_metric import VideoMetric

# Similarities from which on a pair counts as found.
ALPHAS = np.arange(0.05, 0.99, 0.05)
SIMILARITIES = ("box", "mask")
_EPS = np.finfo(np.float64).eps
_LOWEST_SIMILARITIES = ALPHAS[:, None] - _EPS


@dataclass(frozen=True)
class HotaCounts:
    """What one video gives HOTA; each `np.ndarray` of shape (19,), `float64`, one value per alpha.

    Attributes:
        true_positives: Pairs found.
        false_negatives: Ground-truth masks without a pair.
        false_positives: Predicted masks without a pair.
        association: Mean over the pairs of how well their tracks agree; 0 without pairs.
        association_recall: The same, of the ground-truth track only.
        association_precision: The same, of the predicted track only.
        localisation: Mean similarity of the pairs; 1 without pairs.
    """

    true_positives: np.ndarray
    false_negatives: np.ndarray
    false_positives: np.ndarray
    association: np.ndarray
    association_recall: np.ndarray
    association_precision: np.ndarray
    localisation: np.ndarray


@dataclass(frozen=True)
class Tracks:
    """The tracks of a video.

    Attributes:
        ids: Per frame the ids of the tracks that have a mask there, in the order given.
        tubes: Track id -> its tube, in the order of first appearance.
    """

    ids: list[list[int]]
    tubes: dict[int, Tube]

    @property
    def num_frames(self) -> int:
        return len(self.ids)


class HOTA(VideoMetric):
    """HOTA of all tracks, whatever their class, as TrackEval computes it.

    In every frame masks are paired one to one so that the sum over the pairs of similarity times how well the two
    tracks agree over the whole video is largest; for each alpha the pairs of at least that similarity are true
    positives. DetA = TP / (TP + FN + FP); AssA is the mean over the true positives of TPA / (TPA + FNA + FPA);
    HOTA = sqrt(DetA AssA). Videos are pooled: DetA by their counts, AssA weighted by their true positives.

    Args:
        similarity: "mask" for the IoU of masks, "box" for that of their bounding boxes.

    Example:
        >>> metric = HOTA()
        >>> metric.update("bear", ground_truth=[{1: mask}, {1: mask}], prediction=[label_map, label_map])
        >>> metric.compute()["HOTA"]
    """

    def __init__(self, similarity: str = "mask") -> None:
        super().__init__()
        self.similarity = check_choice("similarity", similarity, SIMILARITIES)

    def settings(self) -> dict[str, Any]:
        return {"similarity": self.similarity}

    def update(self, video_id: str | int, prediction: Sequence[Any], ground_truth: Sequence[Any]) -> None:
        """Takes in one video.

        Args:
            video_id: Its id.
            prediction: Per frame a mapping from track id to mask (array of shape (height, width) or RLE), or a
                label map: an integer array of shape (height, width) of track ids, 0 where there is none.
            ground_truth: The same for the ground truth, with as many frames.

        Raises:
            TypeError: If a frame or a mask is neither of these.
            ValueError: If the video was given before, the numbers of frames or the sizes differ, or a mask is none.
        """
        key = self._new_video(video_id)
        truth, predicted = read_both_tracks(ground_truth, prediction, video_id)
        similarities = [
            frame_similarity(truth, truth.ids[t], predicted, predicted.ids[t], t, self.similarity)
            for t in range(truth.num_frames)
        ]
        self._videos[key] = count_hota(truth.ids, predicted.ids, similarities)

    def compute(self) -> dict[str, Any]:
        """Figures over all videos so far.

        Returns:
            `dict` of fractions: `HOTA`, `DetA`, `AssA`, `DetRe`, `DetPr`, `AssRe`, `AssPr`, `LocA`, `OWTA` are means
            over the 19 alphas, `HOTA(0)`, `LocA(0)` and `HOTALocA(0)` the values at the first one, `per_alpha` holds
            the fields of [`hota_fields`] and `per_video` the same for every video.
        """
        videos = {video_id: self._videos[video_id] for video_id in self.video_ids}
        per_alpha = hota_fields(pool_hota(videos.values()))
        means = {name: float(values.mean()) for name, values in per_alpha.items() if not name.startswith("HOTA_")}
        return {
            **means,
            **first_alpha(per_alpha),
            "per_alpha": per_alpha,
            "per_video": {video_id: hota_fields(counts) for video_id, counts in videos.items()},
        }


def count_hota(
    ground_truth_ids: Sequence[Sequence[int]],
    prediction_ids: Sequence[Sequence[int]],
    similarities: Sequence[np.ndarray],
) -> HotaCounts:
    """Counts the pairs of one video.

    Args:
        ground_truth_ids: Per frame the ids of the ground-truth tracks there.
        prediction_ids: Per frame the ids of the predicted tracks there.
        similarities: Per frame an array of shape (ground truth, predictions) with values in [0, 1].
    """
    rows, columns = _places(ground_truth_ids), _places(prediction_ids)
    row_lengths, column_lengths = np.zeros((len(rows), 1)), np.zeros((1, len(columns)))
    potential = np.zeros((len(rows), len(columns)))
    frames = []
    for theirs, ours, similarity in zip(ground_truth_ids, prediction_ids, similarities, strict=True):
        row = np.array([rows[i] for i in theirs], dtype=np.int64)
        column = np.array([columns[i] for i in ours], dtype=np.int64)
        frames.append((row, column, similarity))
        row_lengths[row, 0] += 1
        column_lengths[0, column] += 1
        if similarity.size:
            either = similarity.sum(axis=0)[None] + similarity.sum(axis=1)[:, None] - similarity
            # Similarities of nothing with nothing: 0.
            share = np.divide(similarity, either, out=np.zeros_like(similarity), where=either > _EPS)
            potential[row[:, None], column] += share
    alignment = potential / (row_lengths + column_lengths - potential)

    found, missed, wrong, localised = np.zeros((4, len(ALPHAS)))
    pairs = np.zeros((len(ALPHAS), *potential.shape))
    for row, column, similarity in frames:
        number = 0
        if similarity.size:
            matched = linear_sum_assignment(-(alignment[row[:, None], column] * similarity))
            reached = similarity[matched]
            counts = reached >= _LOWEST_SIMILARITIES
            pairs[:, row[matched[0]], column[matched[1]]] += counts
            localised += (counts * reached).sum(axis=1)
            number = counts.sum(axis=1)
        found += number
        missed += len(row) - number
        wrong += len(column) - number

    def mean(tracks: np.ndarray) -> np.ndarray:
        return (pairs * (pairs / np.maximum(1, tracks))).sum(axis=(1, 2)) / np.maximum(1, found)

    return HotaCounts(
        true_positives=found,
        false_negatives=missed,
        false_positives=wrong,
        association=mean(row_lengths + column_lengths - pairs),
        association_recall=mean(row_lengths),
        association_precision=mean(column_lengths),
        localisation=np.maximum(1e-10, localised) / np.maximum(1e-10, found),
    )


def pool_hota(videos: Iterable[HotaCounts]) -> HotaCounts:
    """Pools the counts of videos; the order matters only to the last bit."""
    videos = list(videos)
    sums = {field.name: np.zeros(len(ALPHAS)) for field in fields(HotaCounts)}
    for counts in videos:
        for name in sums:
            value = getattr(counts, name)
            is_mean = name.startswith("association") or name == "localisation"
            sums[name] = sums[name] + (value * counts.true_positives if is_mean else value)
    found = sums["true_positives"]
    for name in ("association", "association_recall", "association_precision"):
        sums[name] = sums[name] / np.maximum(1.0, found)
    sums["localisation"] = np.maximum(1e-10, sums["localisation"]) / np.maximum(1e-10, found)
    return HotaCounts(**sums)


def hota_fields(counts: HotaCounts) -> dict[str, np.ndarray]:
    """The fields by their usual names, each of shape (19,): fractions, and `HOTA_TP`, `HOTA_FN`, `HOTA_FP`."""
    found, missed, wrong = counts.true_positives, counts.false_negatives, counts.false_positives
    detection = found / np.maximum(1, found + missed + wrong)
    detection_recall = found / np.maximum(1, found + missed)
    return {
        "HOTA": np.sqrt(detection * counts.association),
        "DetA": detection,
        "AssA": counts.association,
        "DetRe": detection_recall,
        "DetPr": found / np.maximum(1, found + wrong),
        "AssRe": counts.association_recall,
        "AssPr": counts.association_precision,
        "LocA": counts.localisation,
        "OWTA": np.sqrt(detection_recall * counts.association),
        "HOTA_TP": found,
        "HOTA_FN": missed,
        "HOTA_FP": wrong,
    }


def first_alpha(per_alpha: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`HOTA(0)`, `LocA(0)` and their product: the values at the smallest alpha."""
    hota, localisation = float(per_alpha["HOTA"][0]), float(per_alpha["LocA"][0])
    return {"HOTA(0)": hota, "LocA(0)": localisation, "HOTALocA(0)": hota * localisation}


def frame_similarity(
    truth: Tracks,
    truth_ids: Sequence[int],
    predicted: Tracks,
    predicted_ids: Sequence[int],
    frame: int,
    similarity: str,
) -> np.ndarray:
    """IoU of masks, or of their integer bounding boxes, of the given tracks in a frame; (truth, predicted)."""
    theirs = [truth.tubes[i].masks[frame] for i in truth_ids]
    ours = [predicted.tubes[i].masks[frame] for i in predicted_ids]
    if not theirs or not ours:
        return np.zeros((len(theirs), len(ours)))
    if similarity == "box":
        theirs, ours = coco_mask.toBbox(theirs), coco_mask.toBbox(ours)
    return np.asarray(coco_mask.iou(theirs, ours, [0] * len(ours)))


def read_both_tracks(
    ground_truth: Sequence[Any], prediction: Sequence[Any], video_id: str | int, size: Size | None = None
) -> tuple[Tracks, Tracks]:
    """Reads the tracks of ground truth and prediction, which must have as many frames and one size.

    Raises:
        TypeError, ValueError: As [`HOTA.update`].
    """
    frames = []
    for argument, given in (("ground_truth", ground_truth), ("prediction", prediction)):
        if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__len__"):
            where = name_frame(argument, video_id)
            raise TypeError(f"{where} must have a mapping or a label map per frame, got {type(given).__name__}.")
        frames.append([_read_frame(frame, name_frame(argument, video_id, t), size) for t, frame in enumerate(given)])
    if len(frames[0]) != len(frames[1]):
        where = name_frame("prediction", video_id)
        raise ValueError(f"{where} must have {len(frames[0])} frames like the ground truth, got {len(frames[1])}.")
    tubes, names, ids = [], [], []
    for argument, given in zip(("ground_truth", "prediction"), frames, strict=True):
        tracks: dict[int, list[Any]] = {}
        for t, frame in enumerate(given):
            for track, mask in frame.items():
                tracks.setdefault(track, [None] * len(given))[t] = mask
        tubes += tracks.values()
        names += [f"{argument}, track {track}," for track in tracks]
        ids.append(list(tracks))
    read = iter(read_tubes(tubes, names, video_id, size))
    truth, predicted = (
        Tracks([list(frame) for frame in given], {track: next(read) for track in tracks})
        for given, tracks in zip(frames, ids, strict=True)
    )
    return truth, predicted


def _read_frame(frame: Any, where: str, size: Size | None) -> dict[int, Any]:
    """Track id -> mask; of a label map the masks of its labels."""
    if isinstance(frame, Mapping) and not is_rle(frame):
        masks: dict[int, Any] = {}
        for track, mask in frame.items():
            try:
                number = int(track)
            except (TypeError, ValueError):
                raise TypeError(f"{where} must map integer track ids to masks, got the id {track!r}.") from None
            if number in masks:
                raise ValueError(f"{where} has the track {number} twice.")
            if mask is None:
                raise TypeError(f"{where} has no mask of track {number}: leave the track out of the frame.")
            masks[number] = mask
        return masks
    labels = to_labels(frame, where, size)
    return {int(label): labels == label for label in np.unique(labels) if label}


def _places(ids: Sequence[Sequence[int]]) -> dict[int, int]:
    """Id -> its place among all ids, in ascending order."""
    return {track: place for place, track in enumerate(sorted({track for frame in ids for track in frame}))}


def check_choice(argument: str, value: Any, choices: Sequence[str]) -> str:
    """The value if it is one of the choices.

    Raises:
        ValueError: If it is not.
    """
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value
