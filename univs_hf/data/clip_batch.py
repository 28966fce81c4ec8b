# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Clips of one batch as the model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .clip import Clip

# ImageNet statistics of RGB in 0 .. 255.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class ClipBatch:
    """A batch of B clips of one task and T frames each.

    Attributes:
        pixel_values_videos: float32 (B, T, 3, H, W), normalised; 0 on padding.
        frame_idx: int64 (B, T), time stamps for the model.
        mask_labels: Per clip bool (R, T, h, w), the masks of its rows: one row per entity, for grounding one per
            expression.
        class_labels: Per clip int64 (R,), index of the category, -1 where unknown; None where the task or dataset has
            no classes.
        obj_ids: Per clip int64 (R,), identity of each row: expressions of one object share a number.
        expressions: Per clip the sentence of each row for grounding, else nothing.
        clips: The clips.
    """

    pixel_values_videos: torch.Tensor
    frame_idx: torch.Tensor
    mask_labels: list[torch.Tensor]
    class_labels: list[torch.Tensor] | None
    obj_ids: list[torch.Tensor]
    expressions: list[tuple[str, ...]]
    clips: tuple[Clip, ...]


def collate_clips(
    clips: Sequence[Clip],
    image_mean: Sequence[float] = IMAGE_MEAN,
    image_std: Sequence[float] = IMAGE_STD,
    size_divisor: int = 32,
) -> ClipBatch:
    """Normalises and pads clips to a common size.

    Args:
        clips: Clips of one task, dataset and length, on one device.
        image_mean, image_std: Of RGB values 0 to 255.
        size_divisor: Height and width are padded to multiples of it.

    Raises:
        ValueError: If there are no clips, or they differ in task, dataset or length.
    """
    kinds = {(clip.task, clip.dataset, clip.category_set, clip.num_frames) for clip in clips}
    if len(kinds) != 1:
        raise ValueError(f"`clips` must be of one task, dataset, category set and length, got {sorted(kinds)}.")
    device = clips[0].frames.device
    sides = [max(clip.valid_size[axis] for clip in clips) for axis in (0, 1)]
    height, width = (-(-side // size_divisor) * size_divisor for side in sides)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (image_mean, image_std))
    pixels = torch.zeros(len(clips), clips[0].num_frames, 3, height, width, device=device)
    for clip, target in zip(clips, pixels, strict=True):
        valid_height, valid_width = clip.valid_size
        picture = clip.frames[..., :valid_height, :valid_width].to(torch.float32)
        target[..., :valid_height, :valid_width] = (picture - mean) / std
    rows = [clip.expression_rows if clip.task == "grounding" else torch.arange(clip.num_entities) for clip in clips]
    return ClipBatch(
        pixel_values_videos=pixels,
        frame_idx=torch.stack([clip.time_stamps for clip in clips]),
        mask_labels=[
            clip.masks(row.tolist())[..., : clip.valid_size[0], : clip.valid_size[1]]
            for clip, row in zip(clips, rows, strict=True)
        ],
        class_labels=[clip.categories for clip in clips] if clips[0].has_classes else None,
        obj_ids=[clip.entity_ids[row.to(device)] for clip, row in zip(clips, rows, strict=True)],
        expressions=[clip.expressions if clip.task == "grounding" else () for clip in clips],
        clips=tuple(clips),
    )
