# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Videos whose masks stand in a JSON file, object by object: an index of the file, and the rows of a video.

The form is that of YouTube-VIS: `videos` {id, width, height, file_names}, `categories`, and `annotations` {id,
video_id, category_id, iscrowd, segmentations} with one mask or null per frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.annotation_json import field as json_field
from ..layouts.damage import Damage, missing_file
from ..layouts.json_records import iterate_records, read_records_at
from ..layouts.youtube_vis import YouTubeVisVideo, read_video
from ..schema import Entity
from .annotation_masks import compressed_mask
from .conversion_log import ConversionLog
from .converter import SourceItem
from .video_rows import VideoFacts, VideoFrame, in_time_order, rows_of_video


@dataclass
class AnnotationIndex:
    """What a file holds, without the masks.

    Attributes:
        path: The file.
        videos: By id, ascending.
        spans: By video id, where the annotations of the video stand: start and end of each in bytes.
        categories: Records of the categories, in the file's order.
        num_annotations: Of all videos.
    """

    path: Path
    videos: dict[int, YouTubeVisVideo] = field(default_factory=dict)
    spans: dict[int, list[int]] = field(default_factory=dict)
    categories: list[dict[str, Any]] = field(default_factory=list)
    num_annotations: int = 0


def index_annotations(path: Path, log: ConversionLog) -> AnnotationIndex:
    """Reads a file once, keeping places of annotations only.

    Videos and annotations without the necessary fields, and annotations of videos that are not listed, are damage.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON object, or lists no videos.
    """
    index = AnnotationIndex(path)
    for record in iterate_records(path):
        if record.array == "videos":
            try:
                video = read_video(record.value, str(path))
            except ValueError as error:
                log.damage(Damage("bad_record", str(path), _without_path(error, path), "video"))
                continue
            if video.video_id in index.videos:
                log.damage(Damage("bad_record", str(path), "is listed twice.", "video", f"video {video.video_id}"))
                continue
            index.videos[video.video_id] = video
        elif record.array == "categories":
            index.categories.append(record.value)
        elif record.array == "annotations":
            index.num_annotations += 1
            try:
                video_id = json_field(record.value, "video_id", f"{path}: annotation {_id_of(record.value)}", int)
            except ValueError as error:
                log.damage(Damage("bad_record", str(path), _without_path(error, path), "object"))
                continue
            index.spans.setdefault(video_id, []).extend((record.start, record.end))
    if not index.videos:
        raise ValueError(f"{path} lists no videos.")
    for video_id in sorted(set(index.spans) - set(index.videos)):
        for _ in range(len(index.spans.pop(video_id)) // 2):
            reason = f"has an annotation of video {video_id}, which is not among the videos."
            log.damage(Damage("bad_record", str(path), reason, "object"))
    index.videos = dict(sorted(index.videos.items()))
    return index


@dataclass(frozen=True)
class AnnotatedVideo(SourceItem):
    """A video of such a file.

    Attributes:
        facts: What its rows have in common.
        source: The file.
        video: Its record.
        image_folder: What the names of its frames are relative to.
        spans: Where its annotations stand, see [`AnnotationIndex`].
        categories: Index in the category set and whether it is a thing, by the file's category id. Others are damage.
    """

    facts: VideoFacts
    source: Path
    video: YouTubeVisVideo
    image_folder: Path
    spans: tuple[int, ...]
    categories: Mapping[int, tuple[int, bool]]
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    @property
    def _paths(self) -> list[Path]:
        return [self.image_folder / name for name in self.video.file_names]

    def source_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._paths if path.is_file())

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        paths, size = self._paths, (self.video.height, self.video.width)
        folder = self.image_folder / self.video.name
        if not folder.is_dir():
            log.damage(missing_file(folder, "the frames of a video", "video", f"video {self.video.video_id}"))
            return
        entities: dict[int, Entity] = {}
        masks: list[dict[int, bytes]] = [{} for _ in paths]
        damaged: set[int] = set()
        for annotation in read_records_at(self.source, self.spans):
            entity = self._entity(annotation, entities, log)
            if entity is None:
                continue
            track, faults = self._track(annotation["segmentations"], size)
            where = f"video {self.video.video_id}, annotation {entity.id}"
            if faults and not track:
                frame, reason = next(iter(faults.items()))
                reason = f"has no valid mask; on frame {frame} {reason}"
                log.damage(Damage("bad_annotation", str(self.source), reason, "object", where))
                continue
            for frame, reason in faults.items():
                # Without the mask the frame would tell that the object is not there.
                log.damage(Damage("bad_annotation", str(self.source), reason, "frame", f"{where}, frame {frame}"))
                damaged.add(frame)
            entities[entity.id] = entity
            for frame, mask in track.items():
                masks[frame][entity.id] = mask
        names = [Path(name).stem for name in self.video.file_names]
        ordered, times = in_time_order(names)
        frames = [
            VideoFrame(path, time, shown, size)
            for number, (path, time, shown) in enumerate(
                zip(paths, times if ordered == names else range(len(paths)), masks, strict=True)
            )
            if number not in damaged
        ]
        yield from rows_of_video(self.facts, frames, entities, log)

    def _entity(self, annotation: Any, others: Mapping[int, Entity], log: ConversionLog) -> Entity | None:
        """The object of an annotation; None if the annotation is damaged."""
        video = f"{self.source}: video {self.video.video_id}"
        try:
            number = json_field(annotation, "id", f"{video}: an annotation", int)
            where = f"{video}: annotation {number}"
            length = len(json_field(annotation, "segmentations", where, list))
            category = json_field(annotation, "category_id", where, int)
            if number in others or number < 0:
                raise ValueError(f"{where} must have a number of its own.")
            if length != len(self.video.file_names):
                raise ValueError(f"{where} has {length} masks, the video {len(self.video.file_names)} frames.")
        except ValueError as error:
            log.damage(Damage("bad_record", str(self.source), _without_path(error, self.source), "object"))
            return None
        if category not in self.categories:
            where = f"video {self.video.video_id}, annotation {number}"
            reason = f"has the category {category}, which does not exist."
            log.damage(Damage("unknown_category", str(self.source), reason, "object", where))
            return None
        index, is_thing = self.categories[category]
        return Entity(number, index, is_thing, bool(annotation.get("iscrowd")))

    @staticmethod
    def _track(segmentations: list[Any], size: tuple[int, int]) -> tuple[dict[int, bytes], dict[int, str]]:
        """Masks by frame, and what is wrong with the others."""
        track: dict[int, bytes] = {}
        faults: dict[int, str] = {}
        for frame, segmentation in enumerate(segmentations):
            if segmentation is None:
                continue
            try:
                mask = compressed_mask(segmentation, size)
            except ValueError as error:
                faults[frame] = str(error)
                continue
            if mask is not None:
                track[frame] = mask
        return track, faults


def _id_of(record: Any) -> Any:
    return record.get("id") if isinstance(record, dict) else None


def _without_path(error: ValueError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
