# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Targets and predictions that tests of training share."""

from collections.abc import Sequence

import torch

from univs_hf.loss_univs import UniVSLossConfig, UniVSPrediction
from univs_hf.training_targets_univs import UniVSTrainingTargets, collect_targets

FRAME_SIZE = (64, 96)


def block_masks(count: int, num_frames: int, offset: int = 0) -> torch.Tensor:
    """Masks `(count, T, 64, 96)` of separate blocks, four in a row, which move to the right a little."""
    masks = torch.zeros(count, num_frames, *FRAME_SIZE, dtype=torch.bool)
    for index in range(count):
        row, column = divmod(index + offset, 4)
        for frame in range(num_frames):
            masks[index, frame, 20 * row + 2 : 20 * row + 18, 24 * column + frame : 24 * column + frame + 16] = True
    return masks


def random_targets(
    counts: Sequence[int], num_frames: int, labels: int = 0, generator: torch.Generator | None = None
) -> UniVSTrainingTargets:
    """Targets of clips with so many block-shaped objects each; `labels` categories at random."""
    classes = None
    if labels:
        classes = [torch.randint(0, labels, (count,), generator=generator) for count in counts]
    masks = [block_masks(count, num_frames) for count in counts]
    return collect_targets(masks, classes, None, num_frames, FRAME_SIZE, labels, "cpu")


def random_predictions(
    num_clips: int,
    num_queries: int,
    num_frames: int,
    num_categories: int = 0,
    num_heads: int = 3,
    generator: torch.Generator | None = None,
) -> list[UniVSPrediction]:
    """Predictions of several heads, all of them leaves that take gradients."""

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    return [
        UniVSPrediction(
            leaf(num_clips, num_queries, num_frames, 16, 24),
            leaf(num_clips, num_queries, num_frames, 8),
            leaf(num_clips, num_queries, num_categories) if num_categories else None,
        )
        for _ in range(num_heads)
    ]


def small_loss_config(**settings: float) -> UniVSLossConfig:
    """The published weights with few points."""
    return UniVSLossConfig(**{"num_points": 64, **settings})
