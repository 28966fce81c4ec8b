# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Videos as a folder of frames and a folder of PNGs whose pixel values are ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...rle import encode_label_map
from ..layouts.damage import Damage, missing_file
from ..layouts.frame_folders import FRAME_SUFFIXES, VOID, list_frames, read_label_map
from ..schema import Entity
from .conversion_log import ConversionLog
from .converter import SourceItem
from .video_rows import VideoFacts, VideoFrame, in_time_order, rows_of_video

# Of frames, which of them have label maps.
LABELLED = ("all", "some", "none")


class UnknownCategoryError(LookupError):
    """A value of a label map stands for a category that does not exist."""


class LabelCode(ABC):
    """What the values of label maps mean; can be pickled."""

    def ids(self, label_map: np.ndarray) -> np.ndarray:
        """Ids of objects, integers (H, W), of the values (H, W) of a file."""
        return label_map

    @abstractmethod
    def entity(self, object_id: int) -> Entity | None:
        """The object that an id stands for; None for what is nobody's.

        Raises:
            LookupError: If there is no such object, [`UnknownCategoryError`] if its category does not exist.
        """


@dataclass(frozen=True)
class ObjectIds(LabelCode):
    """Values are ids of objects, 0 is background.

    Attributes:
        objects: All objects; None if any id may occur and nothing more is known of it.
        void: Value of pixels that are left open; None if there is none.
    """

    objects: Mapping[int, Entity] | None = None
    void: int | None = VOID

    def entity(self, object_id: int) -> Entity | None:
        if object_id in (0, self.void):
            return None
        return Entity(object_id) if self.objects is None else self.objects[object_id]


@dataclass(frozen=True)
class Foreground(LabelCode):
    """All values but 0 are the one object, also 255."""

    def ids(self, label_map: np.ndarray) -> np.ndarray:
        return (label_map != 0).astype(np.uint8)

    def entity(self, object_id: int) -> Entity | None:
        return Entity(object_id) if object_id else None


@dataclass(frozen=True)
class LabelMapVideo(SourceItem):
    """A video in two folders.

    Attributes:
        facts: What its rows have in common.
        images: Folder of frames.
        label_maps: Folder of PNGs with the names of the frames; None without annotations.
        code: What their values mean.
        labelled: Which frames have label maps: `"all"`, so that a missing one is damage, `"some"` or `"none"`.
        names: Frames that are listed; by default those of the folders.
        expressions: Id, object id and text.
        source: File of the expressions and objects, for damage.
        min_seen_frames: Expressions about objects that are seen in fewer frames are left out.
        min_frames: The video is left out if it has fewer frames.
    """

    facts: VideoFacts
    images: Path
    label_maps: Path | None
    code: LabelCode = ObjectIds()
    labelled: str = "all"
    names: tuple[str, ...] | None = None
    expressions: tuple[tuple[int, int, str], ...] = ()
    source: Path | None = None
    min_seen_frames: int = 0
    min_frames: int = 0
    key: str = field(init=False)

    def __post_init__(self) -> None:
        if self.labelled not in LABELLED:
            raise ValueError(f"`labelled` must be one of {LABELLED}, got {self.labelled!r}.")
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        if not self.images.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.images.iterdir() if path.suffix.lower() in FRAME_SUFFIXES)

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        if not self.images.is_dir():
            log.damage(missing_file(self.images, "the frames of a video", "video"))
            return
        images = list_frames(self.images)
        labels: dict[str, Path] = {}
        if self.labelled != "none" and self.label_maps is not None:
            if self.label_maps.is_dir():
                labels = list_frames(self.label_maps, (".png",))
            elif self.labelled == "all":
                log.damage(missing_file(self.label_maps, "the masks of a video", "video"))
                return
        names, times = in_time_order(self._all_names(images, labels, log))
        if len(names) < self.min_frames:
            log.leave_out(f"videos of fewer than {self.min_frames} frames")
            return
        frames: list[VideoFrame] = []
        entities: dict[int, Entity] = {}
        unknown: set[int] = set()
        for name, time in zip(names, times, strict=True):
            if name not in labels:
                frames.append(VideoFrame(images[name], time))
                continue
            try:
                label_map = read_label_map(labels[name])
            except (ValueError, OSError) as error:
                reason = str(error).removeprefix(f"The image {labels[name]} ")
                log.damage(Damage("unreadable_file", str(labels[name]), reason, "frame"))
                continue
            masks = self._masks(label_map, labels[name], entities, unknown, log)
            frames.append(VideoFrame(images[name], time, masks, label_map.shape))
        self._report_unseen(entities, log)
        yield from rows_of_video(self.facts, frames, entities, log, self._expressions(frames, log), self.source)

    def _all_names(self, images: Mapping[str, Path], labels: Mapping[str, Path], log: ConversionLog) -> list[str]:
        """Frames that are complete; what others lack is damage."""
        wanted = set(images) | set(labels) if self.names is None else set(self.names)
        complete = []
        for name in sorted(wanted):
            if name not in images:
                log.damage(missing_file(self.images / f"{name}.jpg", "a frame", "frame", f"video {self.key}"))
            elif self.labelled == "all" and name not in labels:
                path = self.label_maps / f"{name}.png"
                log.damage(missing_file(path, "the masks of a frame", "frame", f"video {self.key}"))
            else:
                complete.append(name)
        return complete

    def _masks(
        self,
        label_map: np.ndarray,
        path: Path,
        entities: dict[int, Entity],
        unknown: set[int],
        log: ConversionLog,
    ) -> dict[int, bytes]:
        """Compressed masks of a label map by object id; adds to `entities` and `unknown`."""
        ids = self.code.ids(label_map)
        present = np.flatnonzero(np.bincount(ids.ravel())).tolist()
        shown = []
        for object_id in present:
            if object_id not in entities and object_id not in unknown:
                try:
                    entity = self.code.entity(object_id)
                except LookupError as error:
                    unknown.add(object_id)
                    known = not isinstance(error, UnknownCategoryError)
                    reason = f"shows {object_id}, which stands for no {'object' if known else 'category'}."
                    kind = "bad_annotation" if known else "unknown_category"
                    log.damage(Damage(kind, str(path), reason, "object", f"video {self.key}"))
                    continue
                if entity is None:
                    continue
                entities[object_id] = entity
            if object_id in entities:
                shown.append(object_id)
        number = np.zeros(max(present, default=0) + 1, np.int32)
        number[shown] = np.arange(1, len(shown) + 1)
        return dict(zip(shown, encode_label_map(number[ids], len(shown)), strict=True))

    def _report_unseen(self, entities: Mapping[int, Entity], log: ConversionLog) -> None:
        """Objects that are listed, but in no label map."""
        objects = getattr(self.code, "objects", None)
        if self.labelled == "none" or objects is None:
            return
        for object_id in sorted(set(objects) - set(entities)):
            reason = f"lists object {object_id}, which no label map shows."
            log.damage(
                Damage("bad_annotation", str(self.source or self.images), reason, "object", f"video {self.key}")
            )

    def _expressions(self, frames: list[VideoFrame], log: ConversionLog) -> list[tuple[int, int, str]]:
        seen = Counter(object_id for frame in frames for object_id in frame.masks)
        # Objects that are never seen are damage, which is noted later.
        rare = {object_id for object_id, count in seen.items() if count < self.min_seen_frames}
        dropped = sum(expression[1] in rare for expression in self.expressions)
        if dropped:
            log.leave_out(f"expressions about objects seen in fewer than {self.min_seen_frames} frames", dropped)
        return [expression for expression in self.expressions if expression[1] not in rare]
