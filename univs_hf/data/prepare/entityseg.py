# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""EntitySeg with all of its 644 categories.

    <root>/annotations/entityseg_train_01.json, _02.json, _03.json    or in <root>
    <root>/images/<folder>/<picture>

The files number their pictures from the beginning each, so names of rows have that of the file, too. Category ids are
from 0 (`unknown`). Pictures come in other resolutions than recorded when they are downloaded from their first source:
these are brought to the size of their masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...label_sets import load_label_set
from ..layouts.coco_records import CocoRecords
from ..layouts.damage import Damage
from ..layouts.frame_folders import require_file
from ..layouts.json_records import read_records_at
from .category_mapping import CategoryMapping, MappedCategory, map_by_id
from .coco_objects import NO_PIXEL, coco_objects
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .image_rows import IMAGE_FOLDER_OPTION, ImageFacts, file_bytes, find_pictures, rows_of_image, size_of_record
from .picture_resizing import (
    SHORT_SIDE_OPTION,
    check_short_side,
    load_fitting_picture,
    reduce_masks,
    reduced_size,
    resize_picture,
)

# In the files of the first release `category_id` is the same for all, and this one tells them apart.
_CLASS_AWARE = "category_id_ori"


@dataclass(frozen=True)
class EntitySegImage(SourceItem):
    """A picture of EntitySeg.

    Attributes:
        facts: Names, category set and the like.
        picture: The picture.
        size: (height, width) of its masks.
        json_file: The annotation file.
        spans: Where the picture's annotations lie in it.
        categories: The dataset's categories.
        short_side: Reduce it to so many pixels.
    """

    facts: ImageFacts
    picture: Path
    size: tuple[int, int]
    json_file: Path
    spans: tuple[int, ...]
    categories: CategoryMapping
    short_side: int | None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        return file_bytes(self.picture)

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        where = f"image {self.key}"
        picture, resized = load_fitting_picture(self.picture, self.size, "video", where)
        annotations = read_records_at(self.json_file, self.spans)
        for annotation in annotations:
            annotation.setdefault(_CLASS_AWARE, annotation.get("category_id"))
        objects = coco_objects(annotations, self.size, log, self.json_file, where, self.categories, _CLASS_AWARE)
        masks: list[bytes | None] = [item.mask for item in objects]
        new_size = reduced_size(self.size, self.short_side)
        if new_size != self.size:
            picture = resize_picture(picture, new_size)
            masks = reduce_masks([item.mask for item in objects], self.size, new_size)
        kept = [(item.entity, mask) for item, mask in zip(objects, masks, strict=True) if mask is not None]
        if len(kept) < len(objects):
            log.leave_out(NO_PIXEL, len(objects) - len(kept))
        meta: dict[str, Any] = {"picture_was_resized": True} if resized else {}
        if new_size != self.size:
            meta["source_size"] = list(self.size)
        yield from rows_of_image(
            self.facts, picture, [entity for entity, _ in kept], log, [mask for _, mask in kept], meta=meta
        )


class EntitySegConverter(DatasetConverter):
    """EntitySeg."""

    name = "entityseg_panoptic"
    facts = DatasetFacts(
        title="EntitySeg",
        summary="Pictures of high resolution in which all entities, things and stuff of 644 categories, have masks.",
        homepage="https://github.com/adobe-research/EntitySeg-Dataset",
        licence="other",
        licence_note=(
            "Annotations are under the Adobe Research License, for research that is not commercial. Pictures are from "
            "several sources, each with terms of its own."
        ),
        papers=("High-Quality Entity Segmentation (ICCV 2023)",),
        licence_link="https://github.com/adobe-research/EntitySeg-Dataset/blob/main/LICENSE.md",
    )
    splits = ("train", "val")
    options = (
        Option("annotation_file", "JSON files instead of the split's own, with commas between"),
        IMAGE_FOLDER_OPTION,
        SHORT_SIDE_OPTION,
    )

    def __init__(
        self,
        root: Path,
        annotation_file: str | None = None,
        image_folder: str | None = None,
        short_side: int | None = None,
    ):
        super().__init__(root)
        self._annotation_file, self._image_folder = annotation_file, image_folder
        self._short_side = check_short_side(short_side)
        self._records: dict[str, list[CocoRecords]] = {}

    def _files(self, split: str) -> list[Path]:
        if self._annotation_file is not None:
            return [require_file(self.root / name.strip(), "annotations") for name in self._annotation_file.split(",")]
        for folder in (self.root / "annotations", self.root):
            for pattern in (f"entityseg_{split}_[0-9][0-9].json", f"entityseg_{split}.json"):
                files = sorted(folder.glob(pattern))
                if files:
                    return files
        raise FileNotFoundError(
            f"The folder {self.root} holds no annotations of {split}: neither annotations/entityseg_{split}_01.json "
            f"nor entityseg_{split}_01.json exists there."
        )

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        if split not in self._records:
            self._records[split] = [CocoRecords(path) for path in self._files(split)]
        pictures = find_pictures(self.root, self._image_folder, ("images",), "pictures")
        label_set = load_label_set("entityseg_panoptic")
        indices = {category.index: category.index for category in label_set}
        for records in self._records[split]:
            for damage in records.damages:
                log.damage(damage)
            categories = _with_texts(map_by_id(records.categories, label_set, indices, records.path), records)
            for record in records.owner_records():
                try:
                    size = size_of_record(record)
                    if not isinstance(record.get("file_name"), str):
                        raise ValueError("has no `file_name`.")
                except ValueError as error:
                    where = f"image {record['id']}"
                    log.damage(Damage("bad_record", str(records.path), str(error), "video", where))
                    continue
                yield EntitySegImage(
                    ImageFacts(
                        dataset=self.name,
                        split=split,
                        key=f"{records.path.stem}/{record['id']}",
                        tasks=("detection",),
                        category_set=categories.category_set,
                        exhaustive=True,
                        meta=records.source_meta(record),
                        drop_empty=split == "train",
                    ),
                    pictures / record["file_name"],
                    size,
                    records.path,
                    records.annotation_spans(record["id"]),
                    categories,
                    self._short_side,
                )


def _with_texts(categories: CategoryMapping, records: CocoRecords) -> CategoryMapping:
    """Also known by id and name as text, as the class-aware field may have them; not by names that occur twice."""
    names = [record.get("name") for record in records.categories]
    by_text: dict[Any, MappedCategory] = {}
    for record in records.categories:
        mapped = categories.by_id.get(record["id"])
        if mapped is not None:
            by_text[str(record["id"])] = mapped
            if isinstance(record.get("name"), str) and names.count(record["name"]) == 1:
                by_text[record["name"]] = mapped
    return replace(categories, by_id={**by_text, **categories.by_id})
