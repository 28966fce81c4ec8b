# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""BURST -> rows of the annotated frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...evaluation.label_names import plain_name
from ...label_sets import load_label_set
from ..layouts.annotation_json import field as json_field
from ..layouts.annotation_json import read_records
from ..layouts.burst import find_split
from ..layouts.damage import Damage, missing_file
from ..layouts.json_records import iterate_records, read_records_at
from ..schema import Entity
from .annotation_masks import compressed_mask
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .video_rows import VideoFacts, VideoFrame, in_time_order, rows_of_video

_LABEL_SET = "lvis"


class BurstConverter(DatasetConverter):
    """BURST. Rows have the annotated frames only, with their numbers among all frames of the video.

    Categories have the numbers of LVIS 0.5; rows have those of LVIS 1.0 by name and synonym, -1 where it has none.
    BURST is not exhaustive: categories that are known to be absent, and those of which not all objects are labelled,
    are kept.

    Args:
        annotation_file (`str`, *optional*): JSON file, absolute or below `root`, instead of the split's own.
        image_folder (`str`, *optional*): Likewise for the frames.
    """

    name = "burst"
    facts = DatasetFacts(
        title="BURST",
        summary="Videos of seven datasets with masks of objects of 482 categories.",
        homepage="https://github.com/Ali2500/BURST-benchmark",
        licence="mit",
        licence_note="The annotations are licensed under the MIT licence. The frames are those of TAO, whose sources "
        "(ArgoVerse, AVA, BDD, Charades, HACS, LaSOT, YFCC100M) have terms of their own.",
        papers=(
            "Athar et al., BURST: A Benchmark for Unifying Object Recognition, Segmentation and Tracking in Video, "
            "WACV 2023",
            "Dave et al., TAO: A Large-Scale Benchmark for Tracking Any Object, ECCV 2020",
        ),
    )
    splits = ("train", "val", "test")
    options = (
        Option("annotation_file", "JSON file instead of the split's own"),
        Option("image_folder", "folder of the frames instead of the split's own"),
    )

    def __init__(self, root: Path, annotation_file: str | None = None, image_folder: str | None = None):
        super().__init__(root)
        self.annotation_file, self.image_folder = annotation_file, image_folder

    def items(self, split: str, log: ConversionLog) -> Iterator[BurstSequence]:
        path, image_folder, categories_file = find_split(self.root, split, self.annotation_file, self.image_folder)
        sequences: dict[str, BurstSequence] = {}
        categories: dict[int, int] = {}
        records: list[Any] = []
        for record in iterate_records(path):
            if record.array == "categories":
                records.append(record.value)
            elif record.array == "sequences":
                sequence = self._sequence(record.value, split, path, image_folder, (record.start, record.end), log)
                if sequence is not None and sequence.key in sequences:
                    where = f"sequence {sequence.key!r}"
                    log.damage(Damage("bad_record", str(path), "is listed twice.", "video", where))
                elif sequence is not None:
                    sequences[sequence.key] = sequence
        if not records and categories_file is not None:
            path, records = categories_file, read_records(categories_file, "categories", list)
        categories.update(_categories(records, path))
        for _, sequence in sorted(sequences.items()):
            yield sequence.with_categories(categories)

    def _sequence(
        self, record: Any, split: str, path: Path, image_folder: Path, span: tuple[int, int], log: ConversionLog
    ) -> BurstSequence | None:
        try:
            parts = [json_field(record, part, "a sequence", str) for part in ("dataset", "seq_name")]
            name = "/".join(parts)
            where = f"sequence {name!r}"
            size = (json_field(record, "height", where, int), json_field(record, "width", where, int))
            frames = json_field(record, "annotated_image_paths", where, list)
            masks = json_field(record, "segmentations", where, list)
            json_field(record, "track_category_ids", where, dict)
            if len(frames) != len(masks):
                raise ValueError(f"{where} has {len(frames)} annotated frames, but {len(masks)} segmentations.")
        except ValueError as error:
            log.damage(Damage("bad_record", str(path), str(error), "video"))
            return None
        return BurstSequence(name, split, self.name, path, image_folder / name, span, size, tuple(map(str, frames)))


@dataclass(frozen=True)
class BurstSequence(SourceItem):
    """A sequence.

    Attributes:
        key: `<dataset>/<sequence>`.
        split, dataset: Names for the rows.
        source: The JSON file.
        images: Folder of the frames.
        span: Where its record stands, in bytes.
        size: (height, width).
        frames: Names of the annotated frames.
        categories: Index among the categories of LVIS 1.0, or -1, by number.
    """

    key: str
    split: str
    dataset: str
    source: Path
    images: Path
    span: tuple[int, int]
    size: tuple[int, int]
    frames: tuple[str, ...]
    categories: Mapping[int, int] = field(default_factory=dict)

    def with_categories(self, categories: Mapping[int, int]) -> BurstSequence:
        """The same with its categories, which the file may tell later."""
        return BurstSequence(
            self.key,
            self.split,
            self.dataset,
            self.source,
            self.images,
            self.span,
            self.size,
            self.frames,
            categories,
        )

    def source_bytes(self) -> int:
        paths = (self.images / name for name in self.frames)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        where = f"sequence {self.key!r}"
        if not self.images.is_dir():
            log.damage(missing_file(self.images, "the frames of a sequence", "video", where))
            return
        (record,) = read_records_at(self.source, self.span)
        entities = self._entities(record, log)
        frames: list[VideoFrame] = []
        for number, (name, time) in enumerate(zip(self.frames, self._times(record), strict=True)):
            masks: dict[int, bytes] = {}
            try:
                for track, mask in record["segmentations"][number].items():
                    counts = json_field(mask, "rle", f"track {track}", str)
                    compressed = compressed_mask(counts, self.size)
                    if compressed is not None:
                        masks[int(track)] = compressed
            except (ValueError, AttributeError) as error:
                # Without the mask the frame would tell that the object is not there.
                reason = f"has a damaged mask: {error}"
                log.damage(Damage("bad_annotation", str(self.source), reason, "frame", f"{where}, frame {number}"))
                continue
            frames.append(VideoFrame(self.images / name, time, masks, self.size))
        yield from rows_of_video(self._facts(record, entities), frames, entities, log)

    def _entities(self, record: Mapping[str, Any], log: ConversionLog) -> dict[int, Entity]:
        tracks = sorted({track for frame in record["segmentations"] if isinstance(frame, dict) for track in frame})
        entities: dict[int, Entity] = {}
        for track in tracks:
            category = record["track_category_ids"].get(track)
            if category not in self.categories or not track.isdecimal():
                where = f"sequence {self.key!r}, track {track}"
                reason = f"has the category {category!r}, which does not exist."
                log.damage(Damage("unknown_category", str(self.source), reason, "object", where))
                continue
            entities[int(track)] = Entity(int(track), self.categories[category])
        return entities

    def _times(self, record: Mapping[str, Any]) -> Sequence[int]:
        """Numbers of the annotated frames among all frames of the video, as far as they can be told."""
        place = {name: number for number, name in enumerate(record.get("all_image_paths") or ())}
        times = [place.get(name, -1) for name in self.frames]
        if -1 not in times and sorted(set(times)) == times:
            return times
        ordered, numbers = in_time_order([Path(name).stem for name in self.frames])
        return numbers if ordered == [Path(name).stem for name in self.frames] else range(len(self.frames))

    def _facts(self, record: Mapping[str, Any], entities: Mapping[int, Entity]) -> VideoFacts:
        present = {entity.category for entity in entities.values()}
        lists = []
        for name in ("neg_category_ids", "not_exhaustive_category_ids"):
            indices = {self.categories.get(number, -1) for number in record.get(name) or ()}
            lists.append(indices - {-1})
        meta = {"annotated_fps": record.get("fps"), "source_categories": record["track_category_ids"]}
        return VideoFacts(
            self.dataset,
            self.split,
            self.key,
            ("sot",),
            _LABEL_SET,
            # Two categories of LVIS 0.5 may be one of LVIS 1.0, so that what is absent under one name is there.
            neg_categories=tuple(sorted(lists[0] - present)),
            not_exhaustive_categories=tuple(sorted(lists[1])),
            meta=meta,
            drop_empty=self.split == "train",
        )


def _categories(records: Sequence[Any], path: Path) -> dict[int, int]:
    """Index in LVIS 1.0 by number in LVIS 0.5: by name, else by the first synonym that is a name there, else -1."""
    indices = {plain_name(category.label): category.index for category in load_label_set(_LABEL_SET)}
    found: dict[int, int] = {}
    for record in records:
        number = json_field(record, "id", f"{path}: a category", int)
        names = [record.get("name", ""), *record.get("synonyms", [])]
        found[number] = next((indices[plain_name(name)] for name in names if plain_name(name) in indices), -1)
    if not found:
        raise ValueError(f"{path} has no categories, nor is there an info/categories.json beside the splits.")
    return found
