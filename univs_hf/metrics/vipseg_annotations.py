# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pairs the annotations of a VIPSeg submission (`pred.json`) with those of the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Segments = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class AnnotatedFrame:
    """The segments of a frame.

    Attributes:
        file_name: PNG of the frame, in the video's folder.
        prediction, ground_truth: Listed segments, as [`~panoptic_frames.panoptic_overlaps`] takes them.
    """

    file_name: str
    prediction: Segments
    ground_truth: Segments


def pair_annotations(
    prediction: Mapping[str, Any], ground_truth: Mapping[str, Any]
) -> dict[str, list[AnnotatedFrame]]:
    """Frames of each video of the ground truth, in its order, with the segments of both sides.

    Args:
        prediction: Content of `pred.json`: `annotations`, a list of videos with `video_id` and `annotations`, a list
            of frames with `file_name` and `segments_info`, in the order of the ground truth.
        ground_truth: Content of `panoptic_gt_VIPSeg_*.json`, whose `annotations` have the same form.

    Returns:
        `dict[str, list[AnnotatedFrame]]`: Video id to frames.

    Raises:
        TypeError: If a file has another form.
        ValueError: If a video occurs twice, has no prediction or is unknown, or its frames are others.
    """
    predicted = _videos(prediction, "prediction")
    true = _videos(ground_truth, "ground_truth")
    unknown = sorted(predicted.keys() - true.keys())
    if unknown:
        raise ValueError(f"`prediction` holds videos that `ground_truth` does not: {unknown[:5]}.")
    missing = [video_id for video_id in true if video_id not in predicted]
    if missing:
        raise ValueError(f"`prediction` lacks {len(missing)} of {len(true)} videos: {missing[:5]}.")
    paired = {}
    for video_id, frames in true.items():
        names, expected = ([name for name, _ in side] for side in (predicted[video_id], frames))
        if len(names) != len(expected):
            raise ValueError(
                f"`prediction` of video {video_id!r} has {len(names)} frames, `ground_truth` has {len(expected)}."
            )
        for frame, (name, other) in enumerate(zip(names, expected, strict=True)):
            if name != other:
                where = f"`prediction` of video {video_id!r}, frame {frame}"
                raise ValueError(f"{where} is {name!r}, `ground_truth` has {other!r} there.")
        paired[video_id] = [
            AnnotatedFrame(name, segments, true_segments)
            for (name, segments), (_, true_segments) in zip(predicted[video_id], frames, strict=True)
        ]
    return paired


def _videos(content: Mapping[str, Any], side: str) -> dict[str, list[tuple[str, Segments]]]:
    """Video id to (file name, segments) of its frames."""
    videos: dict[str, list[tuple[str, Segments]]] = {}
    try:
        for video in content["annotations"]:
            video_id = video["video_id"]
            if video_id in videos:
                raise ValueError(f"`{side}` has the video {video_id!r} twice.")
            videos[video_id] = [(frame["file_name"], frame["segments_info"]) for frame in video["annotations"]]
    except (KeyError, TypeError) as error:
        raise TypeError(
            f"`{side}` must hold `annotations`, a list of videos with `video_id` and `annotations`, a list of frames "
            f"with `file_name` and `segments_info`; {error!r} was met."
        ) from error
    return videos
