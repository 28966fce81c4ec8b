# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Checks of a row against the schema; the first fault is raised with the row's key and the field."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image

from ..label_sets import available_label_sets, is_label_set, load_label_set
from ..rle import counts_to_runs, decompress_packed
from .schema import TASKS, Row, RowError


def validate_row(
    row: Row | Mapping[str, Any],
    category_sizes: Mapping[str, int] | None = None,
    check_masks: bool = True,
    check_frames: bool = True,
) -> None:
    """Checks one row.

    Args:
        row: The row, or a dictionary with its columns.
        category_sizes: Number of categories of category sets that are not label sets of the package.
        check_masks: Decompress every mask and see that it fills the frame.
        check_frames: Read the header of every frame and compare its size; pixels are not decoded.

    Raises:
        RowError: If the row breaks the schema; names the row and the field.
    """
    row = row if isinstance(row, Row) else Row.from_dict(row)
    _check_identity(row)
    _check_geometry(row)
    if check_frames:
        _check_frame_headers(row)
    num_categories = _count_categories(row, category_sizes or {})
    _check_entities(row, num_categories)
    _check_mask_table(row)
    if check_masks:
        _check_mask_counts(row)
    _check_expressions(row)
    _check_category_lists(row, num_categories)
    _ = row.meta


def _check_identity(row: Row) -> None:
    for field in ("key", "dataset"):
        if not getattr(row, field):
            raise RowError(row.key, field, "must not be empty.")
    unknown = [task for task in row.tasks if task not in TASKS]
    if unknown or len(set(row.tasks)) != len(row.tasks):
        raise RowError(row.key, "tasks", f"must be distinct names out of {list(TASKS)}, got {list(row.tasks)}.")


def _check_geometry(row: Row) -> None:
    for field in ("height", "width", "num_frames"):
        if getattr(row, field) < 1:
            raise RowError(row.key, field, f"must be at least 1, got {getattr(row, field)}.")
    if not (np.isfinite(row.fps) and row.fps >= 0):
        raise RowError(row.key, "fps", f"must be a finite number, 0 for unknown, got {row.fps}.")
    if len(row.time_index) != row.num_frames:
        raise RowError(
            row.key, "time_index", f"must have one entry per frame ({row.num_frames}), got {len(row.time_index)}."
        )
    if (np.diff(row.time_index) <= 0).any() or row.time_index[0] < 0:
        raise RowError(row.key, "time_index", f"must increase from 0 or more, got {row.time_index[:8].tolist()}...")
    if row.has_encoded_frames:
        if row.video is not None:
            raise RowError(row.key, "video", "must be null where `frames` holds pictures.")
        if row.num_encoded_frames != row.num_frames:
            raise RowError(row.key, "frames", f"holds {row.num_encoded_frames} pictures for {row.num_frames} frames.")
    elif row.video is None:
        raise RowError(row.key, "frames", "is empty, and `video` is null.")


def _check_frame_headers(row: Row) -> None:
    if not row.has_encoded_frames:
        return
    for frame in range(row.num_frames):
        try:
            with PIL.Image.open(io.BytesIO(row.frame_bytes(frame))) as image:
                width, height = image.size
        except (OSError, PIL.Image.DecompressionBombError) as error:
            raise RowError(row.key, "frames", f"frame {frame} is not a picture that PIL reads: {error}") from error
        if (height, width) != (row.height, row.width):
            raise RowError(
                row.key, "frames", f"frame {frame} is {height}x{width}, the row says {row.height}x{row.width}."
            )


def _count_categories(row: Row, category_sizes: Mapping[str, int]) -> int:
    if not row.category_set:
        return 0
    if row.category_set in category_sizes:
        return category_sizes[row.category_set]
    if is_label_set(row.category_set):
        return len(load_label_set(row.category_set))
    accepted = [*available_label_sets(include_aliases=True), *sorted(category_sizes)]
    raise RowError(row.key, "category_set", f"{row.category_set!r} is not known; known are {accepted}.")


def _check_entities(row: Row, num_categories: int) -> None:
    entities = row.entities
    if len(entities) and entities.ids.min() < 0:
        raise RowError(row.key, "entities", f"ids must be at least 0, got {entities.ids.min()}.")
    if len(np.unique(entities.ids)) != len(entities):
        values, counts = np.unique(entities.ids, return_counts=True)
        raise RowError(row.key, "entities", f"the id {values[counts > 1][0]} occurs more than once.")
    bad = np.flatnonzero((entities.categories < -1) | (entities.categories >= num_categories))
    if len(bad):
        in_set = f"{row.category_set!r} has {num_categories}" if row.category_set else "the row has no category set"
        raise RowError(
            row.key,
            "entities",
            f"entity {bad[0]} has category {entities.categories[bad[0]]}, but {in_set} (-1 is for unknown).",
        )


def _check_mask_table(row: Row) -> None:
    offsets, entity, count = row.mask_offsets, row.mask_entity, row.num_masks
    if len(offsets) != row.num_frames + 1:
        raise RowError(row.key, "mask_offsets", f"must have {row.num_frames + 1} entries, got {len(offsets)}.")
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise RowError(row.key, "mask_offsets", f"must begin with 0 and not fall, got {offsets[:8].tolist()}...")
    if offsets[-1] != count:
        raise RowError(row.key, "mask_offsets", f"must end with the number of masks ({count}), got {offsets[-1]}.")
    if len(entity) != count:
        raise RowError(row.key, "mask_entity", f"has {len(entity)} entries for {count} masks in `mask_rle`.")
    bad = np.flatnonzero((entity < 0) | (entity >= len(row.entities)))
    if len(bad):
        raise RowError(
            row.key,
            "mask_entity",
            f"mask {bad[0]} belongs to entity {entity[bad[0]]}, but there are {len(row.entities)}.",
        )
    frame = np.repeat(np.arange(row.num_frames), np.diff(offsets))
    order = np.lexsort((entity, frame))
    twice = np.flatnonzero((np.diff(frame[order]) == 0) & (np.diff(entity[order]) == 0))
    if len(twice):
        first = order[twice[0]]
        raise RowError(row.key, "mask_entity", f"entity {entity[first]} has two masks in frame {frame[first]}.")


def _check_mask_counts(row: Row) -> None:
    for frame in range(row.num_frames):
        masks = row.masks_of_frames([frame])
        try:
            counts_to_runs(*decompress_packed(masks.data, masks.offsets), row.height * row.width)
        except ValueError as error:
            raise RowError(row.key, "mask_rle", f"frame {frame}: {error}") from error


def _check_expressions(row: Row) -> None:
    ids = [expression.id for expression in row.expressions]
    if len(set(ids)) != len(ids):
        raise RowError(row.key, "expressions", "an id occurs more than once.")
    for expression in row.expressions:
        if not 0 <= expression.entity < len(row.entities):
            raise RowError(
                row.key,
                "expressions",
                f"expression {expression.id} points to entity {expression.entity}, but there are {len(row.entities)}.",
            )
        if not expression.text.strip():
            raise RowError(row.key, "expressions", f"expression {expression.id} has no text.")


def _check_category_lists(row: Row, num_categories: int) -> None:
    for field in ("neg_categories", "not_exhaustive_categories"):
        values = getattr(row, field)
        if values is None:
            continue
        bad = values[(values < 0) | (values >= num_categories)]
        if len(bad):
            raise RowError(row.key, field, f"category {bad[0]} is not in [0, {num_categories}).")
    if row.neg_categories is not None:
        both = np.intersect1d(row.neg_categories, row.entities.categories)
        if len(both):
            raise RowError(
                row.key, "neg_categories", f"category {both[0]} is said to be absent, but an entity has it."
            )
