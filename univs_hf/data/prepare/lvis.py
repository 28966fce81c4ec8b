# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""LVIS v1: 1203 categories on the pictures of COCO 2017.

    <root>/lvis_v1_train.json
    <root>/train2017/*.jpg, <root>/val2017/*.jpg     or below `coco` in or beside <root>

Pictures are known by the end of their `coco_url`, since those of the validation split are from both folders. Each
picture is searched for some categories only: `neg_category_ids` are known to be absent, of
`not_exhaustive_category_ids` more objects may be there. The rows keep both lists. Category ids are from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...label_sets import load_label_set
from ..layouts.annotation_json import find_path
from ..layouts.coco_records import CocoRecords
from ..layouts.damage import Damage
from ..layouts.frame_folders import require_file
from ..layouts.json_records import read_records_at
from .category_mapping import CategoryMapping, map_by_id
from .coco_objects import coco_objects
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .image_rows import (
    ANNOTATION_FILE_OPTION,
    ImageFacts,
    file_bytes,
    find_pictures,
    is_too_small,
    rows_of_image,
    size_of_record,
)
from .pictures import load_picture

# Folders that may hold `train2017` and `val2017`.
_PICTURE_ROOTS = (".", "images", "coco", "coco2017")


@dataclass(frozen=True)
class LvisImage(SourceItem):
    """A picture of LVIS.

    Attributes:
        facts: Names, category set and the like.
        picture: The picture.
        size: Its (height, width) as recorded.
        json_file: The annotation file.
        spans: Where the picture's annotations lie in it.
        categories: The dataset's categories.
        negative, not_exhaustive: The dataset's own ids of the federated lists.
    """

    facts: ImageFacts
    picture: Path
    size: tuple[int, int]
    json_file: Path
    spans: tuple[int, ...]
    categories: CategoryMapping
    negative: tuple[Any, ...]
    not_exhaustive: tuple[Any, ...]
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        return file_bytes(self.picture)

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        where = f"image {self.key}"
        picture = load_picture(self.picture, self.size, "video", where)
        annotations = read_records_at(self.json_file, self.spans)
        objects = coco_objects(annotations, self.size, log, self.json_file, where, self.categories)
        # Also those whose annotation is damaged: the category is there.
        labelled = {annotation.get("category_id") for annotation in annotations}
        negative = []
        for number in self.negative:
            if number in labelled:
                reason = f"category {number} is said to be absent, but an annotation has it."
                log.damage(Damage("bad_record", str(self.json_file), reason, "object", where))
            else:
                negative.append(number)
        yield from rows_of_image(
            self.facts,
            picture,
            [item.entity for item in objects],
            log,
            [item.mask for item in objects],
            neg_categories=self._indices(negative, log, where),
            not_exhaustive_categories=self._indices(self.not_exhaustive, log, where),
        )

    def _indices(self, numbers: Sequence[Any], log: ConversionLog, where: str) -> list[int]:
        indices = set()
        for number in numbers:
            if number in self.categories.by_id:
                indices.add(self.categories.by_id[number].index)
                continue
            reason = f"lists the category {number!r:.40}, which does not exist."
            log.damage(Damage("unknown_category", str(self.json_file), reason, "object", where))
        return sorted(indices)


class LvisConverter(DatasetConverter):
    """LVIS v1."""

    name = "lvis"
    facts = DatasetFacts(
        title="LVIS v1",
        summary="Pictures of COCO 2017 with masks of objects of 1203 categories, many of them rare.",
        homepage="https://www.lvisdataset.org",
        licence="other",
        licence_note=(
            "Annotations are under CC BY 4.0. Pictures are those of COCO 2017, from Flickr, each under the terms that "
            "its row names in `meta`."
        ),
        papers=("LVIS: A Dataset for Large Vocabulary Instance Segmentation (CVPR 2019)",),
        licence_link="https://www.lvisdataset.org/dataset",
    )
    splits = ("train", "val")
    options = (
        ANNOTATION_FILE_OPTION,
        Option("image_folder", "folder of train2017 and val2017, if it is none of the usual places"),
        Option("min_long_side", "leave out pictures whose long side has fewer pixels", default=0, type=int),
    )

    def __init__(
        self, root: Path, annotation_file: str | None = None, image_folder: str | None = None, min_long_side: int = 0
    ):
        super().__init__(root)
        self._annotation_file, self._image_folder, self._min_long_side = annotation_file, image_folder, min_long_side
        self._records: dict[str, CocoRecords] = {}

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        if split not in self._records:
            name, meaning = f"lvis_v1_{split}.json", f"annotations of {split}"
            if self._annotation_file is None:
                path = find_path(self.root, meaning, [name, f"annotations/{name}", f"lvis/{name}"])
            else:
                path = require_file(self.root / self._annotation_file, meaning)
            self._records[split] = CocoRecords(path)
        records = self._records[split]
        label_set = load_label_set("lvis")
        indices = {category.source_id: category.index for category in label_set}
        categories = map_by_id(records.categories, label_set, indices, records.path)
        if self._image_folder is None:
            places = [f"{folder}/train2017" for folder in _PICTURE_ROOTS]
            pictures = find_pictures(self.root, None, places, "the pictures of COCO 2017").parent
        else:
            pictures = find_pictures(self.root, self._image_folder, (), "the pictures of COCO 2017")
        for damage in records.damages:
            log.damage(damage)
        for record in records.owner_records():
            try:
                size, name = size_of_record(record), _picture_name(record)
                lists = [_id_list(record, field) for field in ("neg_category_ids", "not_exhaustive_category_ids")]
            except ValueError as error:
                where = f"image {record['id']}"
                log.damage(Damage("bad_record", str(records.path), str(error), "video", where))
                continue
            if is_too_small(size, self._min_long_side, log):
                continue
            yield LvisImage(
                ImageFacts(
                    dataset=self.name,
                    split=split,
                    key=str(record["id"]),
                    tasks=("detection",),
                    category_set=categories.category_set,
                    meta=records.source_meta(record),
                    drop_empty=split == "train",
                ),
                pictures / name,
                size,
                records.path,
                records.annotation_spans(record["id"]),
                categories,
                *lists,
            )


def _picture_name(record: dict[str, Any]) -> str:
    """Folder and name, such as `train2017/000000000009.jpg`."""
    url = record.get("coco_url")
    parts = url.split("/") if isinstance(url, str) else []
    if len(parts) < 2 or not parts[-1] or parts[-2] in ("", "..") or parts[-1] == "..":
        raise ValueError(f"must have an address that ends with folder and name in `coco_url`, got {url!r:.60}.")
    return "/".join(parts[-2:])


def _id_list(record: dict[str, Any], name: str) -> tuple[Any, ...]:
    numbers = record.get(name)
    if not isinstance(numbers, list):
        raise ValueError(f"must have a list in `{name}`, got {numbers!r:.60}.")
    return tuple(numbers)
