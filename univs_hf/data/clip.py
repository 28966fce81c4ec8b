# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a training step is given: a clip, or the decoded source of one whose geometry is applied on the device.

Shapes: T frames, N entities, E expressions, L label maps, S distinct source frames, (H, W) output, (h, w) source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch

from .clip_geometry import ClipGeometry
from .clip_warp import warp_clip

_ClipT = TypeVar("_ClipT", bound="ClipAnnotations")
_PER_ENTITY = ("entity_ids", "categories", "is_thing", "entity_layer", "entity_label", "areas")


@dataclass(kw_only=True)
class ClipAnnotations:
    """What a clip shows, apart from pixels.

    Attributes:
        key: Key of the row.
        dataset: Id of the dataset.
        task: `"detection"`, `"sot"` or `"grounding"`.
        seed: The clip seed that everything random followed from; prompts can be drawn from it too.
        frame_idx: int64 (T,), position of each frame in the row, ascending.
        time_stamps: int64 (T,), what the model is told as time, at most 128.
        entity_ids: int64 (N,), the dataset's numbers of the objects.
        categories: int64 (N,), index in the category set, -1 where not known.
        is_thing: bool (N,).
        category_set: Name of the category set, empty for none.
        entity_layer: int64 (N,), the label map that holds the entity.
        entity_label: int64 (N,), the entity's value there, 1 to 255.
        expressions: E sentences, with left and right exchanged if the clip is mirrored.
        expression_rows: int64 (E,), the entity that each refers to, as a row in 0 .. N - 1.
        expression_ids: int64 (E,), the dataset's numbers of the expressions.
        exhaustive: Whether all instances of the category set are labelled.
        neg_categories, not_exhaustive_categories: int64, LVIS's federated information; None without it.
        flipped: Whether the clip is mirrored.
        source_size: (height, width) of the frames of the row.
        skipped: Damaged or empty rows that were drawn before this one, with the reason.
    """

    key: str
    dataset: str
    task: str
    seed: int
    frame_idx: torch.Tensor
    time_stamps: torch.Tensor
    entity_ids: torch.Tensor
    categories: torch.Tensor
    is_thing: torch.Tensor
    category_set: str
    entity_layer: torch.Tensor
    entity_label: torch.Tensor
    expressions: tuple[str, ...]
    expression_rows: torch.Tensor
    expression_ids: torch.Tensor
    exhaustive: bool
    neg_categories: torch.Tensor | None
    not_exhaustive_categories: torch.Tensor | None
    flipped: bool
    source_size: tuple[int, int]
    skipped: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.frame_idx)

    @property
    def num_entities(self) -> int:
        """N."""
        return len(self.entity_ids)

    @property
    def has_classes(self) -> bool:
        """Whether categories are supervised: detection with a category set."""
        return self.task == "detection" and bool(self.category_set)

    def _map_tensors(self: _ClipT, function: Any) -> _ClipT:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {name: function(value) for name, value in values.items() if isinstance(value, torch.Tensor)}
        return replace(self, **changed)

    def to(self: _ClipT, device: torch.device | str, non_blocking: bool = False) -> _ClipT:
        """The same with all tensors on `device`."""
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self: _ClipT) -> _ClipT:
        """The same in page-locked memory; `DataLoader(pin_memory=True)` calls it."""
        return self._map_tensors(lambda tensor: tensor.pin_memory())


@dataclass(kw_only=True)
class Clip(ClipAnnotations):
    """A clip.

    Attributes:
        frames: uint8 or floating point (T, 3, H, W), RGB, 0 to 255; 0 outside the picture.
        label_maps: uint8 (L, T, H, W); entity `n` is where `label_maps[entity_layer[n]] == entity_label[n]`.
        valid_size: (height, width) of the part that shows the picture; the rest, at the bottom and the right, is
            padding.
        areas: int64 (N, T), pixels of each entity in each frame. Every entity has some in one frame at least.
    """

    frames: torch.Tensor
    label_maps: torch.Tensor
    valid_size: tuple[int, int]
    areas: torch.Tensor

    @property
    def visible(self) -> torch.Tensor:
        """bool (N, T): where an entity has pixels."""
        return self.areas > 0

    def masks(self, entities: Sequence[int] | None = None) -> torch.Tensor:
        """Expands the label maps.

        Args:
            entities: Rows of the entities; all by default.

        Returns:
            bool (N, T, H, W) on the device of the label maps.
        """
        rows = range(self.num_entities) if entities is None else list(entities)
        layers, labels = self.entity_layer.tolist(), self.entity_label.tolist()
        masks = torch.empty(len(rows), *self.label_maps.shape[1:], dtype=torch.bool, device=self.label_maps.device)
        for index, row in enumerate(rows):
            torch.eq(self.label_maps[layers[row]], labels[row], out=masks[index])
        return masks


@dataclass(kw_only=True)
class SourceClip(ClipAnnotations):
    """A decoded clip before its geometry, which [`~SourceClip.warp`] applies.

    Attributes:
        frames: uint8 (S, h / reduction, w / reduction, 3), RGB, the distinct frames.
        label_maps: uint8 (L, S, h, w), contiguous along columns.
        source_idx: The source frame of each of the T frames.
        geometry: What to do.
        reduction: By which factor the frames were reduced in decoding.
    """

    frames: torch.Tensor
    label_maps: torch.Tensor
    source_idx: tuple[int, ...]
    geometry: ClipGeometry
    reduction: int

    def warp(self, device: torch.device | str | None = None, dtype: torch.dtype = torch.uint8) -> Clip:
        """Applies the geometry. Entities that no frame shows any more, and their expressions, are dropped.

        Args:
            device: Where to do it, and where the clip will be; by default where the frames are.
            dtype: Of the frames, uint8 or a floating point type.
        """
        moved = self if device is None else self.to(device, non_blocking=True)
        frames, label_maps = warp_clip(
            moved.frames, moved.label_maps, self.source_idx, self.geometry, self.reduction, dtype
        )
        counts = torch.stack(
            [torch.stack([torch.bincount(frame.flatten(), minlength=256) for frame in layer]) for layer in label_maps]
        )
        annotations = {field.name: getattr(moved, field.name) for field in fields(ClipAnnotations)}
        clip = Clip(
            **annotations,
            frames=frames,
            label_maps=label_maps,
            valid_size=self.geometry.valid_size,
            areas=counts[moved.entity_layer, :, moved.entity_label],
        )
        return _drop_invisible(clip)


def _drop_invisible(clip: Clip) -> Clip:
    keep = clip.visible.any(1)
    if bool(keep.all()):
        return clip
    new_rows = torch.cumsum(keep, 0) - 1
    stays = keep[clip.expression_rows]
    return replace(
        clip,
        **{name: getattr(clip, name)[keep] for name in _PER_ENTITY},
        expressions=tuple(text for text, flag in zip(clip.expressions, stays.tolist(), strict=True) if flag),
        expression_rows=new_rows[clip.expression_rows[stays]],
        expression_ids=clip.expression_ids[stays],
    )
