# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""SA-1B, or a part of it. The quality of each mask is in the row's `meta`, in the order of its masks.

The layout is that of [`~univs_hf.data.layouts.sa_1b`]. Pictures come with a short side of 1500 pixels, clips are made
at 1024: `--short-side 1024` halves the size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.annotation_json import read_records
from ..layouts.damage import Damage, missing_file
from ..layouts.sa_1b import read_subset, sa_1b_files
from .coco_objects import NO_PIXEL, CocoObject, coco_objects
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .image_rows import ImageFacts, file_bytes, rows_of_image, size_of_record
from .picture_resizing import SHORT_SIDE_OPTION, check_short_side, reduce_masks, reduced_size, resize_picture
from .pictures import load_picture

# Of each mask; the training keeps the good ones of pictures with many.
_QUALITIES = ("stability_score", "predicted_iou")


@dataclass(frozen=True)
class Sa1bImage(SourceItem):
    """A picture of SA-1B.

    Attributes:
        facts: Names and the like.
        json_file: Its annotation file.
        picture_folder: Where its picture is.
        short_side: Reduce it to so many pixels.
    """

    facts: ImageFacts
    json_file: Path
    picture_folder: Path
    short_side: int | None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        # The name of the picture stands in the file, but is always its own.
        return file_bytes(self.picture_folder / f"{self.json_file.stem}.jpg")

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        if not self.json_file.is_file():
            log.damage(missing_file(self.json_file, "an annotation file", "video"))
            return
        try:
            content = read_records(self.json_file, "annotations of a picture")
        except ValueError as error:
            log.damage(Damage("unreadable_file", str(self.json_file), str(error), "video"))
            return
        record, annotations = content.get("image"), content.get("annotations")
        try:
            if not isinstance(record, dict) or not isinstance(annotations, list):
                raise ValueError("lacks `image` or `annotations`.")
            size = size_of_record(record)
            if not isinstance(record.get("file_name"), str):
                raise ValueError("has no `file_name`.")
        except ValueError as error:
            log.damage(Damage("bad_record", str(self.json_file), str(error), "video"))
            return
        picture = load_picture(self.picture_folder / record["file_name"], size, "video")
        records = [annotation for annotation in annotations if isinstance(annotation, dict)]
        if len(records) < len(annotations):
            reason = f"{len(annotations) - len(records)} annotations are no objects of JSON."
            log.damage(Damage("bad_record", str(self.json_file), reason, "object"))
        objects = [
            item for item in coco_objects(records, size, log, self.json_file, "") if self._has_quality(item, log)
        ]
        masks: list[bytes | None] = [item.mask for item in objects]
        new_size = reduced_size(size, self.short_side)
        meta: dict[str, Any] = {"image_id": record.get("image_id")}
        if new_size != size:
            picture = resize_picture(picture, new_size)
            masks = reduce_masks([item.mask for item in objects], size, new_size)
            meta["source_size"] = list(size)
        kept = [(item, mask) for item, mask in zip(objects, masks, strict=True) if mask is not None]
        if len(kept) < len(objects):
            log.leave_out(NO_PIXEL, len(objects) - len(kept))
        yield from rows_of_image(
            self.facts,
            picture,
            [item.entity for item, _ in kept],
            log,
            [mask for _, mask in kept],
            meta={**meta, **{name: [item.annotation[name] for item, _ in kept] for name in _QUALITIES}},
        )

    def _has_quality(self, item: CocoObject, log: ConversionLog) -> bool:
        for name in _QUALITIES:
            value = item.annotation.get(name)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                reason = f"annotation {item.entity.id} has the {name} {value!r:.40}."
                log.damage(Damage("bad_record", str(self.json_file), reason, "object"))
                return False
        return True


class Sa1bConverter(DatasetConverter):
    """SA-1B."""

    name = "sa_1b"
    facts = DatasetFacts(
        title="SA-1B",
        summary="Pictures with about a hundred masks each, of objects and parts without categories, made by SAM.",
        homepage="https://ai.meta.com/datasets/segment-anything/",
        licence="other",
        licence_note="SA-1B Dataset Research License: for research, and not to be passed on.",
        papers=("Segment Anything (ICCV 2023)",),
        licence_link="https://ai.meta.com/datasets/segment-anything-downloads/",
    )
    splits = ("train",)
    options = (
        SHORT_SIDE_OPTION,
        Option("subset", "file that lists the annotation files to take; by default all"),
    )

    def __init__(self, root: Path, short_side: int | None = None, subset: str | None = None):
        super().__init__(root)
        self._short_side = check_short_side(short_side)
        self._subset_file = None if subset is None else self.root / subset
        self._subset = None if self._subset_file is None else read_subset(self._subset_file)

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        missing = set(self._subset or ())
        for json_file, folder in sa_1b_files(self.root):
            name = json_file.stem
            if self._subset is not None and name not in self._subset:
                continue
            missing.discard(name)
            yield Sa1bImage(
                ImageFacts(self.name, split, name, ("sot",), drop_empty=True), json_file, folder, self._short_side
            )
        for name in sorted(missing):
            reason = f"lists {name}, which is not in the folder."
            log.damage(Damage("missing_file", str(self._subset_file), reason, "video"))
