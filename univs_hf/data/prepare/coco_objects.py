# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Annotations in the form of COCO as objects with compressed masks; what is wrong with them is damage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..layouts.damage import Damage
from ..schema import Entity
from .annotation_masks import compressed_mask
from .category_mapping import CategoryMapping, MappedCategory
from .conversion_log import ConversionLog

NO_PIXEL = "objects whose mask covers no pixel"
_NO_CATEGORY = MappedCategory(-1, True)


@dataclass(frozen=True)
class CocoObject:
    """One object of a picture.

    Attributes:
        entity: What the row tells of it.
        mask: Compressed run lengths.
        annotation: As it stands in the file.
    """

    entity: Entity
    mask: bytes
    annotation: dict[str, Any]


def coco_objects(
    annotations: Iterable[Any],
    size: tuple[int, int],
    log: ConversionLog,
    path: Path,
    where: str,
    categories: CategoryMapping | None = None,
    category_field: str = "category_id",
) -> list[CocoObject]:
    """Objects of a picture.

    Args:
        annotations: `id`, `segmentation` (run lengths or polygons) and perhaps `iscrowd` and a category of each.
        size: (height, width) of the picture.
        log: For damage, and for objects without a pixel, which polygons smaller than one give.
        path: The annotation file, for damage.
        where: Which picture, likewise.
        categories: The dataset's categories; None if they do not matter.
        category_field: The field with the category.

    Returns:
        The objects, in the order of the annotations.
    """
    objects: list[CocoObject] = []
    taken: set[int] = set()

    def report(kind: str, reason: str) -> None:
        log.damage(Damage(kind, str(path), reason, "object", where))

    for annotation in annotations:
        number = object_id(annotation)
        if number is None:
            report("bad_record", f"an annotation has the id {annotation.get('id')!r:.40}, which is no number.")
            continue
        if number in taken:
            report("bad_record", f"two annotations have the id {number}.")
            continue
        taken.add(number)
        category = _NO_CATEGORY if categories is None else categories.by_id.get(annotation.get(category_field))
        if category is None:
            value = annotation.get(category_field)
            report("unknown_category", f"annotation {number} has the category {value!r:.40}, which does not exist.")
            continue
        try:
            mask = compressed_mask(annotation.get("segmentation"), size)
        except ValueError as error:
            report("bad_annotation", f"annotation {number}: {error}")
            continue
        if mask is None:
            log.leave_out(NO_PIXEL)
            continue
        entity = Entity(number, category.index, category.is_thing, bool(annotation.get("iscrowd")))
        objects.append(CocoObject(entity, mask, annotation))
    return objects


def object_id(annotation: Any) -> int | None:
    """The id of an annotation; None if it has none that a row can hold."""
    number = annotation.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        return None
    return number
