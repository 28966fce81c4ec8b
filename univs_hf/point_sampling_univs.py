# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Reading maps and masks at points given by x and y in [0, 1], which makes their resolutions comparable."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sample_maps(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps at points; zero outside.

    Args:
        maps: `(N, C, h, w)` floating.
        points: `(N, P, 2)`, x and y in [0, 1] of the map.

    Returns:
        `(N, C, P)`.
    """
    grid = (2 * points - 1).to(maps.dtype).unsqueeze(2)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False).squeeze(3)


def sample_masks(masks: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of boolean masks at points, as [`sample_maps`] gives them for the same masks in float.

    Only the four neighbours of each point are read: training masks are kept at the size of the input, where a float
    copy of all of them would take more memory than the network's activations.

    Args:
        masks: `(R, T, H, W)` boolean.
        rows: `(M,)` int64, which masks.
        points: `(M, T, P, 2)`, x and y in [0, 1].

    Returns:
        `(M, T, P)` float32.
    """
    height, width = masks.shape[2:]
    x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    right_share, low_share = x - left, y - top
    values = torch.zeros_like(x)
    for column, row, share in (
        (left, top, (1 - right_share) * (1 - low_share)),
        (left + 1, top, right_share * (1 - low_share)),
        (left, top + 1, (1 - right_share) * low_share),
        (left + 1, top + 1, right_share * low_share),
    ):
        values += share * _read_pixels(masks, rows, column, row)
    return values


def sample_masks_nearest(masks: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """Value of the pixel of boolean masks nearest to each point; arguments as in [`sample_masks`], boolean result."""
    height, width = masks.shape[2:]
    # In the order of operations of `grid_sample`, whose choice between two equally near pixels depends on rounding.
    column, row = (
        (((2 * points[..., axis] - 1 + 1) * size - 1) / 2).round() for axis, size in ((0, width), (1, height))
    )
    return _read_pixels(masks, rows, column, row)


def _read_pixels(masks: Tensor, rows: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Pixels of `masks[rows]` at whole-numbered columns and rows `(M, T, P)`, False outside."""
    num_frames, height, width = masks.shape[1:]
    frames = rows[:, None] * num_frames + torch.arange(num_frames, device=masks.device)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = row.long().clamp(0, height - 1) * width + column.long().clamp(0, width - 1)
    return masks.reshape(-1)[frames[..., None] * (height * width) + index] & inside
