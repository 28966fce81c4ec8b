# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sequences in the layout of BURST's annotation and result files, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from .burst_categories import DISTRACTOR_CATEGORY_IDS, MERGED_CATEGORY_IDS, NUM_CATEGORIES
from .masks import is_rle, name_frame


@dataclass(frozen=True)
class BurstSequence:
    """What a sequence holds; merged categories are replaced.

    Attributes:
        masks: Per frame track id -> mask (array or COCO RLE dict).
        scores: Per frame track id -> score.
        categories: Per frame track id -> category.
    """

    masks: list[dict[int, Any]] = field(default_factory=list)
    scores: list[dict[int, float]] = field(default_factory=list)
    categories: list[dict[int, int]] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return len(self.masks)

    def add_frame(self, other: BurstSequence, frame: int | None, tracks: Iterable[int] = ()) -> None:
        """Appends the given tracks of a frame of another sequence; an empty frame if `frame` is None."""
        for mine, theirs in zip(
            (self.masks, self.scores, self.categories), (other.masks, other.scores, other.categories), strict=True
        ):
            mine.append({} if frame is None else {track: theirs[frame][track] for track in tracks})

    def track_categories(self) -> dict[int, int]:
        """Track id -> category where it first appears, in the order of first appearance."""
        categories: dict[int, int] = {}
        for frame in self.categories:
            for track, category in frame.items():
                categories.setdefault(track, category)
        return categories


def sequences_by_name(argument: str, file: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The sequences of a file by "<dataset>/<seq_name>"."""
    if "sequences" not in file:
        raise ValueError(f"`{argument}` lacks `sequences`, it has {sorted(file)}.")
    result: dict[str, Mapping[str, Any]] = {}
    for i, sequence in enumerate(file["sequences"]):
        missing = [key for key in ("dataset", "seq_name") if key not in sequence]
        if missing:
            raise ValueError(f"`{argument}` sequence {i} lacks {missing}.")
        name = f"{sequence['dataset']}/{sequence['seq_name']}"
        if name in result:
            raise ValueError(f"`{argument}` has the sequence {name!r} twice.")
        result[name] = sequence
    return result


def read_sequence(
    argument: str,
    sequence: Mapping[str, Any],
    video_id: str | int,
    exemplars: Mapping[int, int] | None = None,
) -> BurstSequence:
    """Checks a sequence with `segmentations`, `track_category_ids`, `height` and `width`.

    Args:
        argument: "ground_truth", of which distractor categories are left out, or "prediction".
        sequence: The sequence.
        video_id: Names the video in errors.
        exemplars: Track id -> category. If given, `track_category_ids` are not looked at: tracks have the category of
            their id here, and tracks of another id are left out.

    Raises:
        TypeError, ValueError: As `BurstHOTA.update`.
    """
    where = name_frame(argument, video_id)
    if not isinstance(sequence, Mapping):
        raise TypeError(f"{where} must be a dict, got {type(sequence).__name__}.")
    require(where, sequence, ("segmentations", "height", "width"))
    segmentations = sequence["segmentations"]
    paths = sequence.get("annotated_image_paths")
    if paths is not None and len(paths) != len(segmentations):
        raise ValueError(f"{where} has {len(segmentations)} frames, but {len(paths)} `annotated_image_paths`.")
    size = [int(sequence["height"]), int(sequence["width"])]
    categories = exemplars
    if exemplars is None:
        require(where, sequence, ("track_category_ids",))
        categories = {
            _read_track_id(track, where): _read_category(category, f"{where}, track {track}")
            for track, category in sequence["track_category_ids"].items()
        }
    result = BurstSequence()
    for t, frame in enumerate(segmentations):
        here = name_frame(argument, video_id, t)
        if not isinstance(frame, Mapping) or is_rle(frame):
            raise TypeError(f"{here} must map track ids to masks, got {type(frame).__name__}.")
        masks: dict[int, Any] = {}
        scores: dict[int, float] = {}
        of_detections: dict[int, int] = {}
        for given, entry in frame.items():
            track = _read_track_id(given, here)
            if track in masks:
                raise ValueError(f"{here} has the track {track} twice.")
            if exemplars is not None and track not in exemplars:
                continue
            own = entry if isinstance(entry, Mapping) and "rle" in entry else {}
            if "category_id" in own and exemplars is None:
                category = _read_category(own["category_id"], f"{here}, track {track}")
            elif track in categories:
                category = categories[track]
            else:
                raise ValueError(f"{here} has the track {track}, which `track_category_ids` lacks.")
            if argument == "ground_truth" and category in DISTRACTOR_CATEGORY_IDS:
                continue
            mask = own.get("rle", entry)
            masks[track] = {"size": size, "counts": mask} if isinstance(mask, (str, bytes)) else mask
            scores[track] = _read_score(own.get("score", 1.0), f"{here}, track {track}")
            of_detections[track] = MERGED_CATEGORY_IDS.get(category, category)
        result.masks.append(masks)
        result.scores.append(scores)
        result.categories.append(of_detections)
    return result


def read_category_ids(argument: str, sequence: Mapping[str, Any], key: str, video_id: str | int) -> set[int]:
    """The category ids a sequence lists under `key`."""
    where = name_frame(argument, video_id)
    require(where, sequence, (key,))
    return {_read_category(category, f"{where}, `{key}`,") for category in sequence[key]}


def require(where: str, sequence: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raises a ValueError if the sequence lacks one of the keys."""
    missing = [key for key in keys if key not in sequence]
    if missing:
        raise ValueError(f"{where} lacks {missing}, it has {sorted(map(str, sequence))}.")


def _read_track_id(track: Any, where: str) -> int:
    try:
        return int(track)
    except (TypeError, ValueError):
        raise TypeError(f"{where} must have integer track ids, got {track!r}.") from None


def _read_category(category: Any, where: str) -> int:
    try:
        number = int(category)
    except (TypeError, ValueError):
        raise TypeError(f"{where} must have an integer category id, got {category!r}.") from None
    if not 1 <= number <= NUM_CATEGORIES:
        raise ValueError(f"{where} must have a category id in 1..{NUM_CATEGORIES}, got {category!r}.")
    return number


def _read_score(score: Any, where: str) -> float:
    if type(score) is not float and (isinstance(score, bool) or not isinstance(score, Real)):
        raise TypeError(f"{where} must have a number as `score`, got {score!r}.")
    if not math.isfinite(score):
        raise ValueError(f"{where} must have a finite `score`, got {score!r}.")
    return float(score)
