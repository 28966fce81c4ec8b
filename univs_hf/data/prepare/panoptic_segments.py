# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Panoptic maps and their lists of segments, as entities and label maps of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..layouts.damage import Damage
from ..schema import Entity
from .category_mapping import CategoryMapping
from .conversion_log import ConversionLog


def panoptic_entities(
    ids: np.ndarray,
    segments: Sequence[Any],
    categories: CategoryMapping,
    log: ConversionLog,
    path: Path,
    where: str = "",
    may_be_covered: bool = False,
) -> tuple[list[Entity], np.ndarray]:
    """Entities of a panoptic map and the label map that shows them.

    Segments that the map does not show, or that have no valid record, are damage and left out; so are pixels of ids
    that no record tells of.

    Args:
        ids: Integers (H, W), 0 for void.
        segments: `id`, `category_id` and perhaps `iscrowd` of each segment.
        categories: The dataset's categories.
        log: For damage.
        path: The map, for damage.
        where: Which picture, likewise.
        may_be_covered: Segments without a pixel are nothing wrong, as in maps that were painted one segment over the
            other.

    Returns:
        The entities, in the order of the list, and `n + 1` where entity `n` is, int32 (H, W).
    """
    flat = ids.ravel()
    # Of each run of equal ids along rows, where it begins; there are far fewer runs than pixels to sort.
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    values, index = np.unique(flat[starts], return_inverse=True)
    shown = {value: position for position, value in enumerate(values.tolist()) if value != 0}
    labels = np.zeros(len(values), np.int32)
    entities: list[Entity] = []
    listed: set[int] = set()
    for segment in segments:
        number = segment.get("id") if isinstance(segment, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or number in listed:
            reason = "is listed twice." if number in listed else "has no valid id."
            log.damage(Damage("bad_record", str(path), f"segment {number!r:.40} {reason}", "object", where))
            continue
        listed.add(number)
        if number not in shown and may_be_covered:
            log.leave_out("segments that others cover")
            continue
        if number not in shown:
            reason = f"no pixel is of segment {number}, which is listed."
            log.damage(Damage("bad_annotation", str(path), reason, "object", where))
            continue
        category = categories.by_id.get(segment.get("category_id"))
        if category is None:
            reason = f"segment {number} has the category {segment.get('category_id')!r:.40}, which does not exist."
            log.damage(Damage("unknown_category", str(path), reason, "object", where))
            continue
        labels[shown[number]] = len(entities) + 1
        entities.append(Entity(number, category.index, category.is_thing, bool(segment.get("iscrowd"))))
    for number in sorted(set(shown) - listed):
        log.damage(Damage("bad_annotation", str(path), f"has the id {number}, which is not listed.", "object", where))
    return entities, np.repeat(labels[index], np.diff(starts, append=flat.size)).reshape(ids.shape)
