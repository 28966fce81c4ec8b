# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""COCO panoptic 2017, and any panoptic dataset in its form.

    <root>/annotations/panoptic_train2017.json     images, categories, per picture the list of its segments
    <root>/annotations/panoptic_train2017/*.png    id = R + 256 G + 65536 B, 0 void
    <root>/train2017/*.jpg

Category ids have gaps (1 to 90 for things, 92 to 200 for stuff). The published training takes pictures whose long
side has 480 pixels or more (training specification, section 1.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...label_sets import load_label_set
from ..layouts.annotation_json import find_path
from ..layouts.coco_records import CocoRecords
from ..layouts.damage import Damage, missing_file
from ..layouts.frame_folders import require_file, require_folder
from ..layouts.json_records import read_records_at
from ..layouts.panoptic_png import read_panoptic_png
from .category_mapping import CategoryMapping, map_by_id
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .image_rows import (
    ANNOTATION_FILE_OPTION,
    IMAGE_FOLDER_OPTION,
    ImageFacts,
    file_bytes,
    find_pictures,
    is_too_small,
    min_long_side_option,
    rows_of_image,
    size_of_record,
)
from .panoptic_segments import panoptic_entities
from .pictures import load_picture

PUBLISHED_MIN_LONG_SIDE = 480


@dataclass(frozen=True)
class PanopticImage(SourceItem):
    """A picture with a panoptic map.

    Attributes:
        facts: Names, category set and the like.
        picture: The picture.
        size: Its (height, width) as recorded.
        map_folder: Folder of panoptic maps.
        json_file: The annotation file.
        spans: Where the picture's annotation lies in it.
        categories: The dataset's categories.
        may_be_covered: See [`~univs_hf.data.prepare.panoptic_segments.panoptic_entities`].
    """

    facts: ImageFacts
    picture: Path
    size: tuple[int, int]
    map_folder: Path
    json_file: Path
    spans: tuple[int, ...]
    categories: CategoryMapping
    may_be_covered: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        return file_bytes(self.picture)

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        where = f"image {self.key}"
        annotations = read_records_at(self.json_file, self.spans)
        name = annotations[0].get("file_name") if len(annotations) == 1 else None
        segments = annotations[0].get("segments_info") if len(annotations) == 1 else None
        if not isinstance(name, str) or not isinstance(segments, list):
            reason = f"has {len(annotations)} annotations."
            if len(annotations) == 1:
                reason = "has an annotation without `file_name` or `segments_info`."
            log.damage(Damage("bad_record", str(self.json_file), reason, "video", where))
            return
        picture = load_picture(self.picture, self.size, "video", where)
        path = self.map_folder / name
        if not path.is_file():
            log.damage(missing_file(path, "a panoptic map", "video", where))
            return
        try:
            ids = read_panoptic_png(path)
        except ValueError as error:
            log.damage(Damage("unreadable_file", str(path), str(error), "video", where))
            return
        if ids.shape != self.size:
            reason = f"is {ids.shape[0]}x{ids.shape[1]}, the picture {self.size[0]}x{self.size[1]}."
            log.damage(Damage("size_mismatch", str(path), reason, "video", where))
            return
        entities, label_map = panoptic_entities(ids, segments, self.categories, log, path, where, self.may_be_covered)
        yield from rows_of_image(self.facts, picture, entities, log, label_maps=label_map[None])


def panoptic_images(
    records: CocoRecords,
    categories: CategoryMapping,
    pictures: Path,
    map_folder: Path,
    log: ConversionLog,
    dataset: str,
    split: str,
    min_long_side: int,
    may_be_covered: bool = False,
) -> Iterator[PanopticImage]:
    """Items of a panoptic dataset in COCO's form.

    Args:
        records: The annotation file.
        categories: Its categories.
        pictures: Folder of pictures.
        map_folder: Folder of panoptic maps.
        log: For damage of records, and for pictures that are left out.
        dataset, split: Names.
        min_long_side: In pixels.
        may_be_covered: See [`PanopticImage`].
    """
    for damage in records.damages:
        log.damage(damage)
    for record in records.owner_records():
        where = f"image {record['id']}"
        try:
            size = size_of_record(record)
            if not isinstance(record.get("file_name"), str):
                raise ValueError("has no `file_name`.")
        except ValueError as error:
            log.damage(Damage("bad_record", str(records.path), str(error), "video", where))
            continue
        if is_too_small(size, min_long_side, log):
            continue
        yield PanopticImage(
            ImageFacts(
                dataset=dataset,
                split=split,
                key=str(record["id"]),
                tasks=("detection",),
                category_set=categories.category_set,
                exhaustive=True,
                meta=records.source_meta(record),
                drop_empty=split == "train",
            ),
            pictures / record["file_name"],
            size,
            map_folder,
            records.path,
            records.annotation_spans(record["id"]),
            categories,
            may_be_covered,
        )


class CocoPanopticConverter(DatasetConverter):
    """COCO panoptic 2017."""

    name = "coco_panoptic"
    facts = DatasetFacts(
        title="COCO panoptic 2017",
        summary="Everyday scenes in which every pixel belongs to one of 80 kinds of things or 53 kinds of stuff.",
        homepage="https://cocodataset.org",
        licence="other",
        licence_note=(
            "Annotations are under CC BY 4.0. Pictures are from Flickr, each under the terms that its row names in "
            "`meta`; COCO does not own them."
        ),
        papers=("Microsoft COCO: Common Objects in Context (ECCV 2014)", "Panoptic Segmentation (CVPR 2019)"),
        licence_link="https://cocodataset.org/#termsofuse",
    )
    splits = ("train", "val")
    options = (
        ANNOTATION_FILE_OPTION,
        IMAGE_FOLDER_OPTION,
        Option("map_folder", "folder of the panoptic PNGs, if it is not beside the annotation file"),
        min_long_side_option(PUBLISHED_MIN_LONG_SIDE),
    )

    def __init__(
        self,
        root: Path,
        annotation_file: str | None = None,
        image_folder: str | None = None,
        map_folder: str | None = None,
        min_long_side: int | None = None,
    ):
        super().__init__(root)
        self._annotation_file, self._image_folder, self._map_folder = annotation_file, image_folder, map_folder
        self._min_long_side = min_long_side
        self._records: dict[str, CocoRecords] = {}

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        stem = f"panoptic_{split}2017"
        if split not in self._records:
            meaning = f"panoptic annotations of {split}"
            if self._annotation_file is None:
                path = find_path(self.root, meaning, [f"annotations/{stem}.json", f"{stem}.json"])
            else:
                path = require_file(self.root / self._annotation_file, meaning)
            self._records[split] = CocoRecords(path)
        records = self._records[split]
        label_set = load_label_set("coco_panoptic")
        indices = {category.source_id: category.index for category in label_set}
        categories = map_by_id(records.categories, label_set, indices, records.path)
        names = [f"{split}2017", f"images/{split}2017"]
        pictures = find_pictures(self.root, self._image_folder, names, f"the pictures of {split}")
        if self._map_folder is None:
            maps = find_path(records.path.parent, "panoptic PNGs, unpacked", [records.path.stem, f"../{stem}"])
        else:
            maps = require_folder(self.root / self._map_folder, "panoptic PNGs")
        least = self._min_long_side
        if least is None:
            least = PUBLISHED_MIN_LONG_SIDE if split == "train" else 0
        yield from panoptic_images(records, categories, pictures, maps, log, self.name, split, least)
