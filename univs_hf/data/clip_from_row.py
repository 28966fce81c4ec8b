# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Row -> clip: frames, entities, expressions and geometry are drawn from one clip seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .clip import Clip, SourceClip
from .clip_frame_sampling import FrameSampling, sample_frames
from .clip_frames import decode_frames
from .clip_geometry import Augmentation, reduction_factor, sample_geometry
from .clip_labels import entities_in_frames, paint_label_maps
from .clip_random import MAX_SEED, Purpose, generator
from .clip_warp import any_label_stays
from .expression_flip import swap_left_right
from .schema import TASKS, Expression, Row, RowError

# Pictures with more masks than this keep the good ones only (SA-1B; training specification, section 1.5).
_MANY_MASKS = 100
_MIN_STABILITY = 0.97
_MIN_PREDICTED_IOU = 0.9


class EmptyClipError(ValueError):
    """A clip would show no entity that its task can use.

    Attributes:
        key: Key of the row.
    """

    def __init__(self, key: str, reason: str):
        super().__init__(f"Row {key!r}: {reason}")
        self.key, self.reason = key, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return EmptyClipError, (self.key, self.reason)


@dataclass(frozen=True)
class ClipConfig:
    """How clips of a dataset are made.

    Attributes:
        task: What the clips supervise: `"detection"`, `"sot"` or `"grounding"`. For grounding only entities with
            expressions are kept.
        sampling: Which frames.
        augmentation: Which geometry.
        max_entities: Keep a random subset of so many entities; None for all.
        max_expressions: Keep a random subset of so many expressions, for grounding; None for all.
        float_frames: Frames in float32 in place of uint8.
    """

    task: str
    sampling: FrameSampling = field(default_factory=FrameSampling)
    augmentation: Augmentation = field(default_factory=Augmentation)
    max_entities: int | None = None
    max_expressions: int | None = None
    float_frames: bool = False

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"`task` must be one of {list(TASKS)}, got {self.task!r}.")
        for name in ("max_entities", "max_expressions"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 or None, got {getattr(self, name)}.")


def clip_from_row(row: Row, seed: int, config: ClipConfig) -> Clip:
    """Makes a clip. The same row, seed and configuration give the same clip, to the bit on one machine.

    Args:
        row: The row.
        seed: The clip seed, 0 to 2^63 - 1.
        config: How to make it.

    Raises:
        RowError: If the row cannot be used: damaged content, or a task that it does not have.
        EmptyClipError: If nothing that the task can use would be seen.
        ValueError: If the seed is out of range.
    """
    source = _source_clip(row, seed, config)
    clip = source.warp(dtype=torch.float32 if config.float_frames else torch.uint8)
    if clip.num_entities == 0:
        raise EmptyClipError(row.key, f"no entity is within the crop of seed {seed}.")
    return clip


def source_clip_from_row(row: Row, seed: int, config: ClipConfig) -> SourceClip:
    """Makes a clip whose geometry [`SourceClip.warp`] applies later, on a device.

    `clip_from_row(...)` is the same as `source_clip_from_row(...).warp()`; it raises for the same rows.

    Args, Raises:
        As for [`clip_from_row`].
    """
    source = _source_clip(row, seed, config)
    if not any_label_stays(source.label_maps, source.source_idx, source.geometry):
        raise EmptyClipError(row.key, f"no entity is within the crop of seed {seed}.")
    return source


def _source_clip(row: Row, seed: int, config: ClipConfig) -> SourceClip:
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"`seed` must be in [0, {MAX_SEED}], got {seed}.")
    if config.task not in row.tasks:
        raise RowError(row.key, "tasks", f"is {list(row.tasks)} without the wanted task {config.task!r}.")
    sampled = sample_frames(generator(Purpose.FRAMES, seed), row.num_frames, config.sampling)
    frames, source_idx = np.unique(sampled.frame_idx, return_inverse=True)
    geometry = sample_geometry(
        generator(Purpose.GEOMETRY, seed), (row.height, row.width), config.sampling.num_frames, config.augmentation
    )
    entities, expressions = _choose(row, frames.tolist(), seed, config)
    labels = paint_label_maps(row, frames.tolist(), entities)
    reduction = reduction_factor(geometry.scale)
    table = row.entities
    texts = [expression.text for expression in expressions]
    return SourceClip(
        key=row.key,
        dataset=row.dataset,
        task=config.task,
        seed=seed,
        frame_idx=torch.from_numpy(sampled.frame_idx),
        time_stamps=torch.from_numpy(sampled.time_stamps),
        entity_ids=torch.from_numpy(table.ids[entities].astype(np.int64)),
        categories=torch.from_numpy(table.categories[entities].astype(np.int64)),
        is_thing=torch.from_numpy(table.is_thing[entities]),
        category_set=row.category_set,
        entity_layer=torch.from_numpy(labels.layer),
        entity_label=torch.from_numpy(labels.label),
        expressions=tuple(map(swap_left_right, texts) if geometry.flipped else texts),
        expression_rows=torch.from_numpy(np.searchsorted(entities, [e.entity for e in expressions]).astype(np.int64)),
        expression_ids=torch.tensor([expression.id for expression in expressions], dtype=torch.int64),
        exhaustive=row.exhaustive,
        neg_categories=_optional_tensor(row.neg_categories),
        not_exhaustive_categories=_optional_tensor(row.not_exhaustive_categories),
        flipped=geometry.flipped,
        source_size=(row.height, row.width),
        frames=torch.from_numpy(decode_frames(row, frames.tolist(), reduction)),
        label_maps=torch.from_numpy(labels.maps),
        source_idx=tuple(source_idx.tolist()),
        geometry=geometry,
        reduction=reduction,
    )


def _choose(row: Row, frames: Sequence[int], seed: int, config: ClipConfig) -> tuple[np.ndarray, list[Expression]]:
    """Rows of the entities to keep, ascending, and the expressions about them."""
    entities = entities_in_frames(row, frames)
    entities = entities[~row.entities.is_crowd[entities]]
    expressions = []
    if config.task == "grounding":
        shown = set(entities.tolist())
        expressions = _subset(
            [expression for expression in row.expressions if expression.entity in shown],
            config.max_expressions,
            generator(Purpose.EXPRESSIONS, seed),
        )
        entities = np.unique([expression.entity for expression in expressions]).astype(np.int64)
    elif row.num_masks > _MANY_MASKS:
        entities = entities[np.isin(entities, _reliable_entities(row))]
    kept = _subset(entities.tolist(), config.max_entities, generator(Purpose.ENTITIES, seed))
    if not kept:
        raise EmptyClipError(row.key, f"no entity for {config.task} in the frames {list(frames)}.")
    return np.array(kept, np.int64), [expression for expression in expressions if expression.entity in set(kept)]


def _subset(items: list[Any], count: int | None, rng: np.random.Generator) -> list[Any]:
    """`count` of the items at random, in their order."""
    if count is None or len(items) <= count:
        return items
    return [items[index] for index in sorted(rng.choice(len(items), count, replace=False).tolist())]


def _reliable_entities(row: Row) -> np.ndarray:
    """Entities with a mask of high quality, where the row tells the quality of its masks; else all."""
    good = np.ones(row.num_masks, bool)
    for name, limit in (("stability_score", _MIN_STABILITY), ("predicted_iou", _MIN_PREDICTED_IOU)):
        values = row.meta.get(name)
        if values is None:
            continue
        if len(values) != row.num_masks:
            raise RowError(row.key, "meta", f"`{name}` has {len(values)} values for {row.num_masks} masks.")
        good &= np.asarray(values, dtype=np.float64) > limit
    return row.mask_entity[good]


def _optional_tensor(values: np.ndarray | None) -> torch.Tensor | None:
    return None if values is None else torch.from_numpy(values.astype(np.int64))
