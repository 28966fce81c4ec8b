# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation and tracking quality STQ, with SQ and AQ (VIPSeg, STEP)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .panoptic_frames import Category, PanopticCategories, PanopticFrame, PanopticOverlap, panoptic_overlaps
from .summed_metric import SummedMetric

Tube = tuple[int, int]


class STQMetric(SummedMetric):
    """STQ = sqrt(AQ * SQ), as VIPSeg's evaluation script computes it.

    SQ is the mean IoU over the classes that ground truth or predictions hold, from one confusion matrix over all
    pixels whose ground truth is not void.

    AQ looks at tubes, the pixels of a segment id with one thing class over the whole video, whatever their class:
    AQ = 1/G sum_g 1/|g| sum_p TPA^2 / (|g| + |p| - TPA), TPA = |g & p|, over the G ground-truth tubes of all videos.
    |p| counts pixels on void and stuff as well, but none on ground-truth crowd. A segment that changes its class is
    two tubes.

    By default the figures are those of the script. They differ from the definition (STEP, NeurIPS 2021) in two ways,
    each with an option for the sane value:

    - Void that is predicted on valid ground truth makes one more class with IoU 0 in SQ. With
      `void_is_class=False` it is only a miss. (deeplab2 has `True`, too.)
    - The segment of a video's ground truth that is listed first is taken for crowd if it is a thing, and `iscrowd` is
      not looked at, because the script numbers segments from 0 and deeplab2 reserves the instance 0.
      `crowd="iscrowd"` (as deeplab2 means it) takes what is marked as such.

    Args:
        categories (sequence of `dict`, or mapping): See [`PanopticCategories`].
        crowd (`str`, defaults to `"first_segment"`): `"first_segment"` or `"iscrowd"`, see above.
        void_is_class (`bool`, defaults to `True`): See above.

    Raises:
        TypeError, ValueError: If an argument is none of these.

    Source: deeplab2 `segmentation_and_tracking_quality.py`; VIPSeg-Dataset `eval_stq_vspw.py`.
    """

    def __init__(
        self,
        categories: Sequence[Category] | Mapping[int, bool],
        *,
        crowd: str = "first_segment",
        void_is_class: bool = True,
    ) -> None:
        super().__init__()
        if crowd not in ("first_segment", "iscrowd"):
            raise ValueError(f"`crowd` must be 'first_segment' or 'iscrowd', got {crowd!r}.")
        self.categories = PanopticCategories(categories)
        self.crowd = crowd
        self.void_is_class = bool(void_is_class)

    def settings(self) -> dict[str, Any]:
        return {
            "categories": self.categories.settings(),
            "crowd": self.crowd,
            "void_is_class": self.void_is_class,
        }

    def update(
        self, video_id: str, prediction: Iterable[PanopticFrame], ground_truth: Iterable[PanopticFrame]
    ) -> None:
        """Takes in one video; frames may come from generators and are not kept.

        Args:
            video_id (`str`): Its id.
            prediction, ground_truth: See [`panoptic_overlaps`].

        Raises:
            TypeError, ValueError: As [`panoptic_overlaps`]; also if the video was given before. The metric stays as it
                was.
        """
        self._new_video(video_id)
        self.update_overlaps(video_id, panoptic_overlaps(video_id, prediction, ground_truth, self.categories))

    def update_overlaps(self, video_id: str, overlaps: Iterable[PanopticOverlap]) -> None:
        """[`~STQMetric.update`] with what [`panoptic_overlaps`] yields, which other metrics can share."""
        video_id = self._new_video(video_id)
        num_classes = len(self.categories)
        right, true, predicted = (np.zeros(num_classes, dtype=np.int64) for _ in range(3))
        void = 0
        tubes = _Tubes()
        first_id = None
        length = 0
        for overlap in overlaps:
            length += 1
            valid = overlap.counts[1:]
            true_classes, predicted_classes = overlap.ground_truth.classes, overlap.prediction.classes
            np.add.at(true, true_classes, valid.sum(axis=1))
            np.add.at(predicted, predicted_classes, valid[:, 1:].sum(axis=0))
            row, column = np.nonzero(true_classes[:, None] == predicted_classes[None, :])
            np.add.at(right, true_classes[row], valid[row, column + 1])
            void += int(valid[:, 0].sum())
            if first_id is None and len(overlap.ground_truth.ids):
                first_id = overlap.ground_truth.ids[0]
            crowd = overlap.ground_truth.is_crowd
            if self.crowd == "first_segment":
                crowd = overlap.ground_truth.ids == first_id
            tubes.add(overlap, crowd, self.categories.is_thing)
        association = tubes.association()
        sums = {
            "right": right,
            "true": true,
            "predicted": predicted,
            "void": void,
            "association": Fraction(association),
            "tubes": len(tubes.true),
        }
        self._add(video_id, sums, {**self._figures(sums), "length": length})

    def compute(self) -> dict[str, float]:
        """Figures over all videos so far: `STQ`, `SQ` and `AQ`.

        AQ is 0 without any tube, as in the script; SQ is NaN without any pixel to score.
        """
        if not self._sums:
            return dict.fromkeys(("STQ", "SQ", "AQ"), float("nan"))
        return self._figures(self._sums)

    def per_video(self) -> dict[str, dict[str, float]]:
        """`STQ`, `SQ`, `AQ` and `length` (frames) of each video alone, in the order in which they came."""
        return {video_id: dict(record) for video_id, record in self._videos.items()}

    def _figures(self, sums: Mapping[Any, Any]) -> dict[str, float]:
        union = sums["true"] + sums["predicted"] - sums["right"]
        occurs = union > 0
        num_classes = int(occurs.sum()) + int(self.void_is_class and sums["void"] > 0)
        sq = float(np.sum(sums["right"][occurs] / union[occurs]) / num_classes) if num_classes else float("nan")
        aq = float(sums["association"] / sums["tubes"]) if sums["tubes"] else 0.0
        return {"STQ": float(np.sqrt(aq * sq)), "SQ": sq, "AQ": aq}


class _Tubes:
    """Pixels of the thing tubes of a video and of their overlaps.

    Attributes:
        true, predicted: Pixels by (class, segment id).
        common: Pixels by (true tube, predicted tube).
    """

    def __init__(self) -> None:
        self.true: Counter[Tube] = Counter()
        self.predicted: Counter[Tube] = Counter()
        self.common: Counter[tuple[Tube, Tube]] = Counter()

    def add(self, overlap: PanopticOverlap, crowd: np.ndarray, is_thing: np.ndarray) -> None:
        """Takes in a frame; `crowd` says which ground-truth segments are crowd if they are things."""
        true_things = is_thing[overlap.ground_truth.classes]
        rows = np.flatnonzero(true_things & ~crowd)
        columns = np.flatnonzero(is_thing[overlap.prediction.classes])
        # Crowd pixels belong to no tube, also of the prediction.
        counts = overlap.counts[np.append(True, ~(true_things & crowd))].sum(axis=0)
        true = _tubes(overlap.ground_truth, rows)
        predicted = _tubes(overlap.prediction, columns)
        for tube, pixels in zip(true, overlap.counts[rows + 1].sum(axis=1).tolist(), strict=True):
            self.true[tube] += pixels
        for tube, pixels in zip(predicted, counts[columns + 1].tolist(), strict=True):
            if pixels:
                self.predicted[tube] += pixels
        common = overlap.counts[np.ix_(rows + 1, columns + 1)]
        for row, column in zip(*np.nonzero(common), strict=True):
            self.common[true[row], predicted[column]] += int(common[row, column])

    def association(self) -> float:
        """Sum over the ground-truth tubes."""
        inner: Counter[Tube] = Counter()
        for (true, predicted), pixels in self.common.items():
            union = self.true[true] + self.predicted[predicted] - pixels
            inner[true] += pixels * (pixels / union)
        return sum(value / self.true[tube] for tube, value in inner.items())


def _tubes(segments: Any, chosen: np.ndarray) -> list[Tube]:
    return list(zip(segments.classes[chosen].tolist(), segments.ids[chosen].tolist(), strict=True))
