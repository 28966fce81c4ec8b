# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Panoptic video object segmentation (VIPOSeg): mask and boundary IoU of seen and unseen things and stuff."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..label_sets import load_label_set
from .masks import name_frame
from .object_frames import Frame, ObjectFrame, check_object_id, require_frame, side_by_side
from .region_boundary import boundary_thickness
from .summed_metric import SummedMetric
from .video_metric import exact_sum

GROUPS = ("thing_seen", "thing_unseen", "stuff_seen", "stuff_unseen")
# Classes of VIPSeg (from 0) that VIPOSeg's training videos do not hold.
UNSEEN_CLASSES = frozenset(
    (46, 47, 55, 61, 64, 72, 86, 95, 96, 97, 99, 100, 101, 102, 109, 116, 118)
    + (5, 6, 9, 17, 20, 25, 26, 34, 38, 57, 58, 71, 81, 94, 112, 113, 120)
)
# This stuff class is unseen in these videos and seen in all others.
OTHER_MACHINE = 98
OTHER_MACHINE_VIDEOS = frozenset(
    "187_WUZUSD4477I 319_l1Dz12fxQzQ 320_nhKXemkIvh4 517_AWvYuplla_s 532_QmZyJuLlEec 774_devdFjIpDcc "
    "1016_HG0AsTOxI5g 1017_IAU0WGB9VPw 1020_TgCIv6bp3XM 1021_cPOxAMo28yk 1022_emSaDd2ddj0 1033_sh81AwYuihg "
    "1065_d2sHRyAHKqI 1067_fk3jhxBi1pA 1068_gxnZkf0LQfk 1069_jFHRbZxswz8 1070_uTJB31tuYes 1072_zvNEdUk5k0Q "
    "1230_AGY-gQ_3O8Y 1333__iprMPKLdOQ 1334_qlmfvYA3_rk 2004_1btxeVbyojs 2005_83KrhWajwfw".split()
)
# Decay looks at fewer objects than this.
DECAY_OBJECTS = 60


def object_group(class_id: int, video_id: str) -> str | None:
    """The group of [`GROUPS`] that an object of a class of VIPSeg (from 0) belongs to, None if the class is none."""
    label_set = load_label_set("vipseg")
    if not 0 <= class_id < len(label_set):
        return None
    unseen = video_id in OTHER_MACHINE_VIDEOS if class_id == OTHER_MACHINE else class_id in UNSEEN_CLASSES
    return f"{'thing' if label_set[class_id].is_thing else 'stuff'}_{'unseen' if unseen else 'seen'}"


class PVOSMetric(SummedMetric):
    """Mask IoU and Boundary IoU of VIPOSeg as its evaluation script computes them.

    Objects come in through reference frames and are scored on every frame after that to the end of the video. Both
    IoUs are 1 if ground truth and prediction are empty and 0 if one of them is. The mean in each of the groups
    thing/stuff x seen/unseen is over pairs of object and frame; `overall_iou` is the mean of the eight and NaN if a
    group is empty. Predicted ids that are not in the reference frames are not looked at, nor is void.

    `decay` says how quality falls with the number of objects N that a video has shown so far: the slope through
    the origin, by least squares, of -ln(mean of both IoUs at N) against N/100, N < 60. It is infinite if all IoUs at
    one N are 0.

    The official numbers are the default; two things the script does have an option for the sane value:

    - An object that two reference frames hold is counted twice from the second on, in the groups and in N.
      `count_repeated=False` counts it once.
    - An object of a class outside VIPSeg's 124 is silently left out of the groups, but not of `decay`.
      `unknown_classes="error"` refuses it.

    With 80 objects and more the script stops with an error; here their frames count in the groups.

    Memory: sums of all videos; frames are read one at a time.

    Args:
        count_repeated (`bool`, defaults to `True`): See above.
        unknown_classes (`str`, defaults to `"skip"`): `"skip"` or `"error"`, see above.

    Raises:
        ValueError: If `unknown_classes` is neither.

    Source: VIPOSeg-Benchmark `vop_eval.py` (Xu et al., "Video Object Segmentation in Panoptic Wild Scenes").
    """

    def __init__(self, *, count_repeated: bool = True, unknown_classes: str = "skip") -> None:
        super().__init__()
        if unknown_classes not in ("skip", "error"):
            raise ValueError(f"`unknown_classes` must be 'skip' or 'error', got {unknown_classes!r}.")
        self.count_repeated = bool(count_repeated)
        self.unknown_classes = unknown_classes

    def settings(self) -> dict[str, Any]:
        return {"count_repeated": self.count_repeated, "unknown_classes": self.unknown_classes}

    def update(
        self,
        video_id: str,
        prediction: Iterable[Frame | None],
        ground_truth: Iterable[Frame],
        *,
        reference_frames: Mapping[int, Iterable[int]],
        object_classes: Mapping[int, int],
    ) -> None:
        """Takes in one video.

        Args:
            video_id (`str`): Its name in VIPOSeg, which decides whether its "other machines" are seen.
            prediction (iterable of frames): An array (T, H, W) or anything that yields T frames: integer arrays
                (H, W) of object ids, or mappings from object id to mask or RLE. Frames before the first that is
                scored may be `None`.
            ground_truth (iterable of frames): The same, all frames.
            reference_frames (`Mapping[int, Iterable[int]]`): Index of a reference frame -> ids of the objects in it.
            object_classes (`Mapping[int, int]`): Object id -> class of VIPSeg, from 0.

        Raises:
            TypeError: If a frame is none of these, or a class or frame index is no integer.
            ValueError: If numbers or sizes of frames differ, a frame is missing, a reference frame is not in the
                video, or an object has no class or, with `unknown_classes="error"`, an unknown one. The message names
                video and frame, the metric stays as it was.
        """
        video = self._new_video(video_id)
        references = _check_references(video, reference_frames, object_classes)
        groups = {object_id: self._group(object_classes[object_id], video, object_id)
                  for objects in references.values() for object_id in objects}  # fmt: skip
        similarity, boundary, by_number = (defaultdict(list) for _ in range(3))
        objects: list[int] = []
        size = None
        num_frames = 0
        videos = {"ground_truth": ground_truth, "prediction": prediction}
        for index, (true_labels, predicted_labels) in enumerate(side_by_side(video, videos)):
            num_frames += 1
            where = name_frame("ground_truth", video, index)
            true = ObjectFrame(require_frame(true_labels, where), where, size)
            size = true.size
            if objects:
                where = name_frame("prediction", video, index)
                predicted = ObjectFrame(require_frame(predicted_labels, where), where, size)
                thickness = boundary_thickness(*size)
                values = {}
                for object_id in dict.fromkeys(objects):
                    pair = true.region(object_id), predicted.region(object_id)
                    values[object_id] = pair[0].similarity(pair[1]), pair[0].boundary_iou(pair[1], thickness)
                for object_id in objects:
                    iou, boundary_iou = values[object_id]
                    similarity[groups[object_id]].append(iou)
                    boundary[groups[object_id]].append(boundary_iou)
                    by_number[len(objects)].append((iou + boundary_iou) / 2)
            for object_id in references.get(index, ()):
                if self.count_repeated or object_id not in objects:
                    objects.append(object_id)
        late = [index for index in references if index >= num_frames]
        if late:
            raise ValueError(
                f"`reference_frames` of video {video!r} names frame {late[0]}, the video has {num_frames}."
            )
        sums: dict[Any, int | Fraction] = {}
        for group in GROUPS:
            sums[group, "count"] = len(similarity[group])
            sums[group, "miou"] = exact_sum(similarity[group])
            sums[group, "biou"] = exact_sum(boundary[group])
        for number, values_of_number in by_number.items():
            if number < DECAY_OBJECTS:
                sums["decay", number] = exact_sum(values_of_number)
                sums["decay_count", number] = len(values_of_number)
        self._add(video, sums)

    def compute(self) -> dict[str, float]:
        """For each group `<group>_miou`, `<group>_biou` and their mean `<group>_iou`; `overall_iou` and `decay`."""
        figures: dict[str, float] = {}
        for kind in ("miou", "biou"):
            for group in GROUPS:
                count = self._sums.get((group, "count"), 0)
                figures[f"{group}_{kind}"] = float(self._sums[group, kind] / count) if count else math.nan
        for group in GROUPS:
            figures[f"{group}_iou"] = (figures[f"{group}_miou"] + figures[f"{group}_biou"]) / 2
        figures["overall_iou"] = sum(figures[f"{group}_iou"] for group in GROUPS) / len(GROUPS)
        return figures | {"decay": self._decay()}

    def _decay(self) -> float:
        counts = {key[1]: count for key, count in self._sums.items() if key[0] == "decay_count"}
        numbers = sorted(counts)
        if not numbers:
            return math.nan
        shares = np.array(numbers) / 100
        means = np.array([float(self._sums["decay", number] / counts[number]) for number in numbers])
        with np.errstate(divide="ignore"):
            return float(-(shares @ np.log(means)) / (shares @ shares))

    def _group(self, class_id: int, video: str, object_id: int) -> str | None:
        group = object_group(class_id, video)
        if group is None and self.unknown_classes == "error":
            raise ValueError(
                f"`object_classes` of video {video!r} gives class {class_id} for object {object_id}; "
                f"known are 0 to {len(load_label_set('vipseg')) - 1}."
            )
        return group


def _check_references(
    video: str, reference_frames: Mapping[int, Iterable[int]], object_classes: Mapping[int, int]
) -> dict[int, list[int]]:
    """Objects of each reference frame, in order of their ids."""
    references = {}
    for index, objects in reference_frames.items():
        where = f"`reference_frames` of video {video!r}, frame {index!r}"
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise TypeError(f"{where}: frames are given by their index, an integer.")
        if index < 0:
            raise ValueError(f"{where}: a frame's index is 0 or above.")
        objects = list(objects)
        for object_id in objects:
            check_object_id(object_id, where)
            if object_id not in object_classes:
                raise ValueError(f"{where} holds object {object_id}, which has no class in `object_classes`.")
            class_id = object_classes[object_id]
            if isinstance(class_id, bool) or not isinstance(class_id, (int, np.integer)):
                raise TypeError(f"`object_classes` of video {video!r} must hold integers, got {class_id!r}.")
        references[int(index)] = sorted(set(objects))
    return references
