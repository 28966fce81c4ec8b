# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""RefCOCO, RefCOCO+ and RefCOCOg as one dataset: a row per picture of COCO with the sentences of all three.

The published training takes the training splits of RefCOCO (UNC), RefCOCO+ (UNC) and RefCOCOg (UMD) and pictures whose
long side has 360 pixels or more, which are 321,007 sentences (training specification, sections 1.1 and 1.4). A picture
for training in one set may be for validation or test in another; `--exclude-evaluation` leaves those out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.damage import Damage
from ..layouts.json_records import read_records_at
from ..layouts.refcoco import REFCOCO_SETS, RefCocoSet, Reference
from ..schema import Expression
from .coco_objects import coco_objects
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .image_rows import (
    IMAGE_FOLDER_OPTION,
    ImageFacts,
    file_bytes,
    find_pictures,
    is_too_small,
    min_long_side_option,
    rows_of_image,
    size_of_record,
)
from .pictures import load_picture

PUBLISHED_MIN_LONG_SIDE = 360
_EVALUATION_SPLITS = ("val", "testA", "testB", "test")
_PICTURES = ("images/mscoco/images/train2014", "train2014", "images/train2014", "coco/train2014")


@dataclass(frozen=True)
class RefCocoImage(SourceItem):
    """A picture and all that the sets say about it.

    Attributes:
        facts: Names and the like.
        picture: The picture.
        size: Its (height, width) as recorded.
        references: Of all sets, in the order of sets and files.
        annotations: File and place of the annotation of each object, by its id.
        references_files: File of the sentences by set, for damage.
    """

    facts: ImageFacts
    picture: Path
    size: tuple[int, int]
    references: tuple[Reference, ...]
    annotations: dict[int, tuple[Path, tuple[int, ...]]]
    references_files: dict[str, Path]
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        return file_bytes(self.picture)

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        where = f"image {self.key}"
        picture = load_picture(self.picture, self.size, "video", where)
        objects = []
        for path, spans in self.annotations.values():
            annotations = read_records_at(path, spans)
            owner = annotations[0].get("image_id")
            if str(owner) != self.key:
                reason = f"annotation {annotations[0].get('id')} is of image {owner}, its reference of {self.key}."
                log.damage(Damage("bad_record", str(path), reason, "object", where))
                continue
            objects += coco_objects(annotations, self.size, log, path, where)
        place = {item.entity.id: position for position, item in enumerate(objects)}
        expressions: list[Expression] = []
        sources: list[list[Any]] = []
        for reference in self.references:
            if reference.annotation_id not in place:
                continue
            for number, text in reference.sentences:
                if not text.strip():
                    path = self.references_files[reference.source]
                    reason = f"sentence {number} has no text."
                    log.damage(Damage("bad_annotation", str(path), reason, "expression", where))
                    continue
                expressions.append(Expression(len(expressions), place[reference.annotation_id], text))
                sources.append([reference.source, reference.ref_id, number])
        if not expressions:
            log.leave_out("pictures without a sentence")
            return
        yield from rows_of_image(
            self.facts,
            picture,
            [item.entity for item in objects],
            log,
            [item.mask for item in objects],
            expressions=expressions,
            # Sentences are numbered anew in each set, and so within a row.
            meta={"expression_sources": sources},
        )


class RefCocoConverter(DatasetConverter):
    """RefCOCO, RefCOCO+ and RefCOCOg."""

    name = "refcoco"
    facts = DatasetFacts(
        title="RefCOCO, RefCOCO+ and RefCOCOg",
        summary="Pictures of COCO 2014 with sentences that each refer to one object; rows have those of all three.",
        homepage="https://github.com/lichengunc/refer",
        licence="other",
        licence_note=(
            "The authors name no licence for the sentences; masks are COCO's, under CC BY 4.0. Pictures are from "
            "Flickr, under terms of their own."
        ),
        papers=(
            "ReferItGame: Referring to Objects in Photographs of Natural Scenes (EMNLP 2014)",
            "Modeling Context in Referring Expressions (ECCV 2016)",
            "Generation and Comprehension of Unambiguous Object Descriptions (CVPR 2016)",
        ),
    )
    splits = ("train", *_EVALUATION_SPLITS)
    options = (
        IMAGE_FOLDER_OPTION,
        Option("sets", f"which sets, with commas between; by default {','.join(REFCOCO_SETS)}"),
        Option("refcoco_division", "whose splits of RefCOCO", "unc", REFCOCO_SETS["refcoco"]),
        Option("refcocog_division", "whose splits of RefCOCOg", "umd", REFCOCO_SETS["refcocog"]),
        Option(
            "exclude_evaluation",
            "leave out training pictures that a set has in a validation or test split",
            default=False,
            type=bool,
        ),
        min_long_side_option(PUBLISHED_MIN_LONG_SIDE),
    )

    def __init__(
        self,
        root: Path,
        image_folder: str | None = None,
        sets: str | None = None,
        refcoco_division: str = "unc",
        refcocog_division: str = "umd",
        exclude_evaluation: bool = False,
        min_long_side: int | None = None,
    ):
        super().__init__(root)
        names = list(REFCOCO_SETS) if sets is None else [name.strip() for name in sets.split(",")]
        if not names or set(names) - set(REFCOCO_SETS) or len(set(names)) != len(names):
            raise ValueError(f"`sets` must be some of {list(REFCOCO_SETS)}, got {sets!r}.")
        divisions = {"refcoco": refcoco_division, "refcoco+": "unc", "refcocog": refcocog_division}
        for name, division in divisions.items():
            if division not in REFCOCO_SETS[name]:
                raise ValueError(f"The division of {name} must be one of {REFCOCO_SETS[name]}, got {division!r}.")
        self._wanted = {name: divisions[name] for name in names}
        self._image_folder, self._min_long_side = image_folder, min_long_side
        self._exclude_evaluation = exclude_evaluation
        self._loaded: list[RefCocoSet] = []

    def _sets(self) -> list[RefCocoSet]:
        if not self._loaded:
            self._loaded = [RefCocoSet(self.root / name, name, division) for name, division in self._wanted.items()]
        return self._loaded

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        sets = self._sets()
        pictures = find_pictures(self.root, self._image_folder, _PICTURES, "the pictures of COCO train2014")
        by_image: dict[int, list[Reference]] = defaultdict(list)
        for one_set in sets:
            for damage in one_set.damages:
                log.damage(damage)
            for reference in one_set.references:
                if reference.split == split:
                    by_image[reference.image_id].append(reference)
        if not by_image:
            raise FileNotFoundError(
                f"{self.root} has no references of split {split!r}; there are "
                f"{sorted({reference.split for one_set in sets for reference in one_set.references})}."
            )
        held_out: set[int] = set()
        if split == "train" and self._exclude_evaluation:
            held_out = set().union(*(one_set.images_of(_EVALUATION_SPLITS) for one_set in sets))
        least = self._min_long_side
        if least is None:
            least = PUBLISHED_MIN_LONG_SIDE if split == "train" else 0
        for image_id, references in sorted(by_image.items()):
            if image_id in held_out:
                log.leave_out("training pictures that are in an evaluation split of a set")
                continue
            item = self._item(split, image_id, references, sets, pictures, log)
            if item is not None and not is_too_small(item.size, least, log):
                yield item

    def _item(
        self,
        split: str,
        image_id: int,
        references: list[Reference],
        sets: list[RefCocoSet],
        pictures: Path,
        log: ConversionLog,
    ) -> RefCocoImage | None:
        by_name = {one_set.name: one_set for one_set in sets}
        first = by_name[references[0].source]
        where = f"image {image_id}"
        record = first.image(image_id)
        try:
            if record is None:
                raise ValueError("is referred to, but has no record.")
            size = size_of_record(record)
            if not isinstance(record.get("file_name"), str):
                raise ValueError("has no `file_name`.")
        except ValueError as error:
            log.damage(Damage("bad_record", str(first.instances_file), str(error), "video", where))
            return None
        annotations: dict[int, tuple[Path, tuple[int, ...]]] = {}
        for reference in references:
            one_set = by_name[reference.source]
            spans = one_set.annotation_spans(reference.annotation_id)
            if not spans:
                reason = (
                    f"reference {reference.ref_id} is about annotation {reference.annotation_id}, which is missing."
                )
                log.damage(Damage("bad_record", str(one_set.instances_file), reason, "object", where))
            elif reference.annotation_id not in annotations:
                annotations[reference.annotation_id] = (one_set.instances_file, spans)
        return RefCocoImage(
            ImageFacts(
                dataset=self.name,
                split=split,
                key=str(image_id),
                tasks=("grounding",),
                meta={"image_id": image_id},
            ),
            pictures / record["file_name"],
            size,
            tuple(references),
            annotations,
            {one_set.name: one_set.references_file for one_set in sets},
        )
