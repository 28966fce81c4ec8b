# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Video object segmentation: J&F of DAVIS 2017 (and MOSE), G of YouTube-VOS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, pairwise
from typing import Any

import numpy as np

from .masks import name_frame
from .object_frames import VOID, Frame, ObjectFrame, check_object_id, require_frame, side_by_side
from .object_scores import mean_scores, score_object
from .region_boundary import exact_mean
from .video_metric import VideoMetric

_FIGURES_OF_G = {"J_s": ("J", True), "J_u": ("J", False), "F_s": ("F", True), "F_u": ("F", False)}


class DavisMetric(VideoMetric):
    """J&F of semi-supervised video object segmentation as davis2017-evaluation computes it.

    The objects of a video are the ids 1 to the largest of the first ground-truth frame; what comes later is never
    scored, an id below the largest that is missing is scored as an empty object. 255 in the ground truth (void) counts
    as background. The first and the last frame are not scored: predictions of these may be `None`. Mean, recall and
    decay are taken per object and averaged over the objects of all videos.

    Memory: six numbers per object; frames are read one at a time.

    Args:
        wrap_decay_bins (`bool`, defaults to `True`): In objects scored on more than 256 frames the official decay is
            wrong or NaN, and a single NaN makes the mean NaN ([`series_statistics`]). `True` reproduces that,
            `False` gives the decay as it is defined.
        skip_ends (`bool`, defaults to `True`): Leave out the first and the last frame. `False` scores all frames.
        keep_frames (`bool`, defaults to `False`): Keep J and F of each frame for [`~DavisMetric.object_scores`].

    Source: davis2017-evaluation (Pont-Tuset et al., "The 2017 DAVIS Challenge on Video Object Segmentation").
    """

    def __init__(self, *, wrap_decay_bins: bool = True, skip_ends: bool = True, keep_frames: bool = False) -> None:
        super().__init__()
        self.wrap_decay_bins = bool(wrap_decay_bins)
        self.skip_ends = bool(skip_ends)
        self.keep_frames = bool(keep_frames)

    def settings(self) -> dict[str, Any]:
        return {
            "wrap_decay_bins": self.wrap_decay_bins,
            "skip_ends": self.skip_ends,
            "keep_frames": self.keep_frames,
        }

    def update(self, video_id: str, prediction: Iterable[Frame | None], ground_truth: Iterable[Frame | None]) -> None:
        """Takes in one video.

        Args:
            video_id (`str`): Its id.
            prediction (iterable of frames): An array (T, H, W) or anything that yields T frames: integer arrays
                (H, W) of object ids, or mappings from object id to mask or RLE. Objects without pixels are missed.
            ground_truth (iterable of frames): The same.

        Raises:
            TypeError: If a frame is none of these.
            ValueError: If numbers or sizes of frames differ, a frame is missing, there are fewer than 3 frames, or a
                predicted id is larger than the number of objects (the official program exits). The message names
                video and frame, the metric stays as it was.
        """
        video = self._new_video(video_id)
        frames = enumerate(side_by_side(video, {"ground_truth": ground_truth, "prediction": prediction}))
        first = next(frames)
        where = name_frame("ground_truth", video, 0)
        first_frame = ObjectFrame(require_frame(first[1][0], where), where)
        size, objects = first_frame.size, range(1, first_frame.largest_id(void=VOID) + 1)
        similarity, accuracy = ({object_id: [] for object_id in objects} for _ in range(2))
        num_scored = 0
        for index, (true_labels, predicted_labels) in (
            _without_last(frames) if self.skip_ends else chain([first], frames)
        ):
            num_scored += 1
            where = name_frame("ground_truth", video, index)
            true = ObjectFrame(require_frame(true_labels, where), where, size)
            where = name_frame("prediction", video, index)
            predicted = ObjectFrame(require_frame(predicted_labels, where), where, size)
            if predicted.largest_id() > len(objects):
                raise ValueError(
                    f"{where} holds the object id {predicted.largest_id()}, "
                    f"the first frame of `ground_truth` has the ids up to {len(objects)}."
                )
            for object_id in objects:
                pair = true.region(object_id), predicted.region(object_id)
                similarity[object_id].append(pair[0].similarity(pair[1]))
                accuracy[object_id].append(pair[0].boundary_accuracy(pair[1]))
        if not num_scored:
            raise ValueError(
                f"{name_frame('ground_truth', video)} has fewer than 3 frames: the first and the last are not scored."
            )
        self._videos[video] = {
            object_id: score_object(similarity[object_id], accuracy[object_id], self.wrap_decay_bins, self.keep_frames)
            for object_id in similarity
        }

    def compute(self) -> dict[str, float]:
        """`J&F-Mean`, and `J-` and `F-` with `Mean`, `Recall` and `Decay`; NaN while there is no object."""
        return mean_scores(scores for video in self._videos.values() for scores in video.values())

    def object_scores(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Video -> object -> `J` and `F`, each with `M`, `R`, `D`; with `keep_frames` also `J_frames`, `F_frames`."""
        return {
            video: {object_id: scores.as_dict() for object_id, scores in self._videos[video].items()}
            for video in self.video_ids
        }


class YouTubeVOSMetric(VideoMetric):
    """G of YouTube-VOS: the mean of J and F, each over the objects of seen and of unseen categories.

    An object is scored from its first annotated frame, whose mask the method is given, to the end of the video; frames
    after it has left count too (both masks empty: 1). J and F are averaged over its frames, then over objects.

    The official server's code is not public; which frames it scores is the community's reading.

    Memory: a few numbers per object; frames are read one at a time.

    Args:
        include_first (`bool`, defaults to `False`): Also score the frame whose mask is given.
        keep_frames (`bool`, defaults to `False`): Keep J and F of each frame for
            [`~YouTubeVOSMetric.object_scores`].

    Source: Xu et al., "YouTube-VOS: A Large-Scale Video Object Segmentation Benchmark", and youtube-vos.org.
    """

    def __init__(self, *, include_first: bool = False, keep_frames: bool = False) -> None:
        super().__init__()
        self.include_first = bool(include_first)
        self.keep_frames = bool(keep_frames)

    def settings(self) -> dict[str, Any]:
        return {"include_first": self.include_first, "keep_frames": self.keep_frames}

    def update(
        self,
        video_id: str,
        prediction: Iterable[Frame | None],
        ground_truth: Iterable[Frame],
        *,
        first_frames: Mapping[int, int],
        seen: Mapping[int, bool],
    ) -> None:
        """Takes in one video.

        Args:
            video_id (`str`): Its id.
            prediction (iterable of frames): An array (T, H, W) or anything that yields T frames, those that are
                annotated: integer arrays (H, W) of object ids, or mappings from object id to mask or RLE. What it says
                of an object up to its first frame is not looked at; frames without a scored object may be `None`.
            ground_truth (iterable of frames): The same; 255 (void) counts as background.
            first_frames (`Mapping[int, int]`): Object id -> index of its first annotated frame.
            seen (`Mapping[int, bool]`): Object id -> whether its category is one of the training set.

        Raises:
            TypeError: If a frame is none of these, or an entry of the mappings has another type.
            ValueError: If numbers or sizes of frames differ, a frame is missing, an id is not in `first_frames`, a
                first frame is not in the video, or `seen` has other objects. The message
                names video and frame, the metric stays as it was.
        """
        video = self._new_video(video_id)
        first_frames, seen = _check_objects(video, first_frames, seen)
        similarity, accuracy = ({object_id: [] for object_id in first_frames} for _ in range(2))
        size = None
        num_frames = 0
        videos = {"ground_truth": ground_truth, "prediction": prediction}
        for index, (true_labels, predicted_labels) in enumerate(side_by_side(video, videos)):
            num_frames += 1
            where = name_frame("ground_truth", video, index)
            true = ObjectFrame(require_frame(true_labels, where), where, size)
            size = true.size
            true.check_ids([*first_frames, VOID])
            scored = [
                object_id
                for object_id, first in first_frames.items()
                if index > first or (index == first and self.include_first)
            ]
            if not scored:
                continue
            where = name_frame("prediction", video, index)
            predicted = ObjectFrame(require_frame(predicted_labels, where), where, size)
            predicted.check_ids(first_frames)
            for object_id in scored:
                pair = true.region(object_id), predicted.region(object_id)
                similarity[object_id].append(pair[0].similarity(pair[1]))
                accuracy[object_id].append(pair[0].boundary_accuracy(pair[1]))
        late = {object_id: first for object_id, first in first_frames.items() if first >= num_frames}
        if late:
            raise ValueError(f"`first_frames` of video {video!r} names frames {late}, the video has {num_frames}.")
        self._videos[video] = {
            object_id: (seen[object_id], score_object(values, accuracy[object_id], False, self.keep_frames))
            for object_id, values in similarity.items()
            if values
        }

    def compute(self) -> dict[str, float]:
        """`J_s`, `J_u`, `F_s`, `F_u` (seen, unseen) and `G`; NaN where there is no object.

        An object whose first frame is the last of its video is in no mean: none of its frames are scored.
        """
        objects = [entry for video in self._videos.values() for entry in video.values()]
        figures = {
            key: exact_mean([getattr(scores, name).mean for is_seen, scores in objects if is_seen == group])
            for key, (name, group) in _FIGURES_OF_G.items()
        }
        return {**figures, "G": sum(figures.values()) / len(figures)}

    def object_scores(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Video -> object -> `seen`, and `J` and `F` averaged over frames; with `keep_frames` the values per frame."""
        return {
            video: {
                object_id: {"seen": is_seen, **scores.means()}
                for object_id, (is_seen, scores) in self._videos[video].items()
            }
            for video in self.video_ids
        }


def _without_last(items: Iterable[Any]) -> Iterator[Any]:
    """All items but the last, each when the next one shows that it is not the last."""
    return (earlier for earlier, _ in pairwise(items))


def _check_objects(
    video: str, first_frames: Mapping[int, int], seen: Mapping[int, bool]
) -> tuple[dict[int, int], dict[int, bool]]:
    """The objects of a YouTube-VOS video with their first frames, in order of their ids, and whether they are seen."""
    for object_id, first in first_frames.items():
        check_object_id(object_id, f"`first_frames` of video {video!r}")
        if isinstance(first, bool) or not isinstance(first, (int, np.integer)) or first < 0:
            raise TypeError(
                f"`first_frames` of video {video!r} must give frame indices of 0 and above, "
                f"got {first!r} for object {object_id}."
            )
    if first_frames.keys() != seen.keys():
        raise ValueError(
            f"`seen` of video {video!r} must have the objects of `first_frames`, {sorted(first_frames)}, "
            f"got {sorted(seen)}."
        )
    for object_id, is_seen in seen.items():
        if not isinstance(is_seen, (bool, np.bool_)):
            raise TypeError(f"`seen` of video {video!r} must hold bools, got {is_seen!r} for object {object_id}.")
    return dict(sorted(first_frames.items())), dict(seen)
