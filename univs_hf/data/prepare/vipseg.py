# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPSeg -> rows, as downloaded or as its own scripts convert it to 720 lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ...label_sets import load_label_set
from ...rle import encode_label_map
from ..layouts.annotation_json import field as json_field
from ..layouts.damage import Damage, missing_file
from ..layouts.frame_folders import read_lines
from ..layouts.json_records import iterate_records, read_records_at
from ..layouts.panoptic_png import read_panoptic_png
from ..layouts.vipseg import category_of_value, find_list
from ..schema import Entity
from .category_mapping import CategoryMapping, map_by_id
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .label_map_video import LabelCode, LabelMapVideo, UnknownCategoryError
from .panoptic_segments import panoptic_entities
from .video_rows import VideoFacts, VideoFrame, in_time_order, rows_of_video

_LABEL_SET = "vipseg"


class VipSegConverter(DatasetConverter):
    """VIPSeg: things and stuff, all of them labelled.

    As downloaded, the values of the masks are the ids of the entities; in the converted form, the ids of the file are.

    Args:
        annotation_file (`str`, *optional*): JSON file or list, absolute or below `root`, instead of the split's own.
    """

    name = "vipseg"
    facts = DatasetFacts(
        title="VIPSeg",
        summary="Videos in the wild with panoptic labels: 58 kinds of things, told apart, and 66 of stuff.",
        homepage="https://github.com/VIPSeg-Dataset/VIPSeg-Dataset",
        licence="other",
        licence_note="The data is released for non-commercial research only; rights in the videos, which are those of "
        "VSPW, stay with their owners.",
        papers=("Miao et al., Large-Scale Video Panoptic Segmentation in the Wild: A Benchmark, CVPR 2022",),
    )
    splits = ("train", "val", "test")
    default_splits = ("train", "val")
    options = (Option("annotation_file", "JSON file or list of videos instead of the split's own"),)

    def __init__(self, root: Path, annotation_file: str | None = None):
        super().__init__(root)
        self.annotation_file = annotation_file

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        path = find_list(self.root, split, self.annotation_file)
        items = self._converted_videos if path.suffix == ".json" else self._downloaded_videos
        yield from items(path, split, log)

    def _facts(self, split: str, video: str, annotated: bool) -> VideoFacts:
        tasks = ("detection", "sot") if annotated else ()
        return VideoFacts(
            self.name, split, video, tasks, _LABEL_SET, exhaustive=annotated, drop_empty=split == "train"
        )

    def _downloaded_videos(self, path: Path, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        masks = self.root / "panomasks"
        for video in sorted(set(read_lines(path, "names of videos"))):
            # The masks of the test set are not public.
            annotated = split != "test" or (masks / video).is_dir()
            yield LabelMapVideo(
                self._facts(split, video, annotated),
                self.root / "imgs" / video,
                masks / video,
                _VipSegCode(),
                labelled="all" if annotated else "none",
            )

    def _converted_videos(self, path: Path, split: str, log: ConversionLog) -> Iterator[_ConvertedVideo]:
        names: dict[str, tuple[str, ...]] = {}
        spans: dict[str, tuple[int, int]] = {}
        records: list[Any] = []
        for record in iterate_records(path):
            if record.array == "categories":
                records.append(record.value)
                continue
            if record.array not in ("videos", "annotations"):
                continue
            try:
                name = json_field(record.value, "video_id", f"an element of {record.array}", str)
                if record.array == "annotations":
                    spans[name] = (record.start, record.end)
                    continue
                where = f"video {name!r}"
                images = json_field(record.value, "images", where, list)
                names[name] = tuple(json_field(image, "file_name", where, str) for image in images)
            except ValueError as error:
                log.damage(Damage("bad_record", str(path), str(error), "video"))
        annotated = bool(spans)
        categories = map_by_id(records, load_label_set(_LABEL_SET), {n: n for n in range(len(_things()))}, path)
        for video, files in names.items():
            if annotated and video not in spans:
                log.damage(Damage("bad_record", str(path), "has no annotation.", "video", f"video {video!r}"))
                continue
            facts = self._facts(split, video, annotated)
            yield _ConvertedVideo(facts, path, self.root, files, spans.get(video), categories)


@dataclass(frozen=True)
class _VipSegCode(LabelCode):
    """Values are class + 1, or 100 (class + 1) + instance for things."""

    def entity(self, object_id: int) -> Entity | None:
        if object_id == 0:
            return None
        category, is_instance = category_of_value(object_id)
        if not 0 <= category < len(_things()):
            raise UnknownCategoryError
        # Things without a number of their own are not told apart.
        is_thing = _things()[category]
        return Entity(object_id, category, is_thing, is_crowd=is_thing and not is_instance)


@dataclass(frozen=True)
class _ConvertedVideo(SourceItem):
    """A video of the converted form.

    Attributes:
        facts: What its rows have in common.
        source: The JSON file.
        root: Folder of the dataset.
        files: Names of the panoptic maps in order; frames have the same with another suffix.
        span: Where its annotation stands, in bytes; None without.
        categories: Of the file.
    """

    facts: VideoFacts
    source: Path
    root: Path
    files: tuple[str, ...]
    span: tuple[int, int] | None
    categories: CategoryMapping
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def _picture(self, file: str) -> Path:
        return (self.root / "images" / self.key / file).with_suffix(".jpg")

    def source_bytes(self) -> int:
        paths = map(self._picture, self.files)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        where = f"video {self.key!r}"
        for kind in ("images", "panomasksRGB") if self.span else ("images",):
            if not (self.root / kind / self.key).is_dir():
                log.damage(missing_file(self.root / kind / self.key, f"the {kind} of a video", "video", where))
                return
        segments: dict[str, list[Any]] = {}
        if self.span:
            (record,) = read_records_at(self.source, self.span)
            for frame in json_field(record, "annotations", where, list):
                segments[json_field(frame, "file_name", where, str)] = json_field(frame, "segments_info", where, list)
        ordered, numbers = in_time_order([Path(file).stem for file in self.files])
        times = numbers if ordered == [Path(file).stem for file in self.files] else range(len(self.files))
        entities: dict[int, Entity] = {}
        frames = []
        for file, time in zip(self.files, times, strict=True):
            frame = (
                self._frame(file, time, segments, entities, log)
                if self.span
                else VideoFrame(self._picture(file), time)
            )
            if frame is not None:
                frames.append(frame)
        yield from rows_of_video(self.facts, frames, entities, log)

    def _frame(
        self, file: str, time: int, segments: dict[str, list[Any]], entities: dict[int, Entity], log: ConversionLog
    ) -> VideoFrame | None:
        """A frame with its masks; None if it is damaged. Adds to `entities`."""
        where, path = f"video {self.key!r}, frame {file}", self.root / "panomasksRGB" / self.key / file
        if file not in segments:
            log.damage(Damage("bad_record", str(self.source), "has no segments.", "frame", where))
            return None
        if not path.is_file():
            log.damage(missing_file(path, "the panoptic map of a frame", "frame", where))
            return None
        try:
            ids = read_panoptic_png(path)
        except ValueError as error:
            reason = str(error).removeprefix(f"The image {path} ")
            log.damage(Damage("unreadable_file", str(path), reason, "frame", where))
            return None
        shown, labels = panoptic_entities(ids, segments[file], self.categories, log, path, where)
        masks: dict[int, bytes] = {}
        for entity, mask in zip(shown, encode_label_map(labels, len(shown)), strict=True):
            if entities.setdefault(entity.id, entity).category != entity.category:
                reason = f"segment {entity.id} has another category than on the frames before."
                log.damage(Damage("bad_annotation", str(self.source), reason, "mask", where))
                continue
            masks[entity.id] = mask
        return VideoFrame(self._picture(file), time, masks, ids.shape)


@cache
def _things() -> tuple[bool, ...]:
    """Which categories are things."""
    return tuple(bool(category.is_thing) for category in load_label_set(_LABEL_SET))
