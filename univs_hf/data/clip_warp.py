# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Applies the affine map of each frame once: pictures bilinearly, label maps at the nearest pixel, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .clip_geometry import ClipGeometry


def warp_clip(
    frames: torch.Tensor,
    label_maps: torch.Tensor,
    source_idx: Sequence[int],
    geometry: ClipGeometry,
    reduction: int = 1,
    dtype: torch.dtype = torch.uint8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Warps the frames and label maps of a clip.

    A pixel of the output shows what lies at its centre. Pictures go on for half a source pixel over their border and
    fade to black within the next; label maps are 0 from the border on.

    Args:
        frames: uint8 (S, h, w, 3), the distinct source frames, reduced by `reduction` in both directions.
        label_maps: uint8 (L, S, H, W), their label maps at full size.
        source_idx: T positions in S.
        geometry: The map of each of the T frames.
        reduction: Length of the side of the block of source pixels that a pixel of `frames` covers.
        dtype: uint8 (rounded) or a floating point type.

    Returns:
        Frames of `dtype` (T, 3, *size), 0 to 255, and label maps uint8 (L, T, *size); zero outside the valid size.
    """
    device = frames.device
    num_layers = label_maps.shape[0]
    height, width = geometry.size
    valid_height, valid_width = geometry.valid_size
    out_frames = torch.zeros(len(source_idx), 3, height, width, dtype=dtype, device=device)
    out_labels = torch.zeros(num_layers, len(source_idx), height, width, dtype=torch.uint8, device=device)
    # One set of buffers for all frames. Sources get a border of one pixel, so that the same kind of grid serves both.
    picture = torch.empty(1, 3, frames.shape[1] + 2, frames.shape[2] + 2, device=device)
    labels = _label_buffer(label_maps)
    grid = torch.empty(1, valid_height, valid_width, 2, device=device)
    for index, source in enumerate(source_idx):
        if index == 0 or source != source_idx[index - 1]:
            _fill_with_border(picture[0], frames[source].permute(2, 0, 1))
            labels[0, :, 1:-1, 1:-1] = label_maps[:, source]
        matrix = geometry.matrices[index]
        _write_grid(grid, matrix / reduction, tuple(frames.shape[1:3]))
        warped = F.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        if not dtype.is_floating_point:
            warped.round_()
        out_frames[index, :, :valid_height, :valid_width] = warped
        if reduction > 1:
            _write_grid(grid, matrix, geometry.source_size)
        out_labels[:, index, :valid_height, :valid_width] = _sample_labels(labels, grid)
    return out_frames, out_labels


def any_label_stays(label_maps: torch.Tensor, source_idx: Sequence[int], geometry: ClipGeometry) -> bool:
    """Whether [`warp_clip`] leaves any label; looks at a few pixels first, and at all only if those are empty.

    Args:
        label_maps, source_idx, geometry: As for [`warp_clip`].
    """
    labels = _label_buffer(label_maps)
    height, width = geometry.valid_size
    for stride in (8, 1):
        grid = torch.empty(1, -(-height // stride), -(-width // stride), 2, device=label_maps.device)
        for matrix, source in zip(geometry.matrices, source_idx, strict=True):
            labels[0, :, 1:-1, 1:-1] = label_maps[:, source]
            _write_grid(grid, matrix, geometry.source_size, stride)
            if bool(_sample_labels(labels, grid).any()):
                return True
    return False


def _label_buffer(label_maps: torch.Tensor) -> torch.Tensor:
    """Zeros (1, L, H + 2, W + 2) for one frame of label maps; float32 holds 0 to 255 exactly."""
    num_layers, _, height, width = label_maps.shape
    # Run lengths are painted column by column; the memory of maps and buffer has the same order.
    return torch.zeros(1, num_layers, width + 2, height + 2, device=label_maps.device).transpose(2, 3)


def _sample_labels(labels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(labels, grid, mode="nearest", padding_mode="zeros", align_corners=False)[0]


def _fill_with_border(buffer: torch.Tensor, picture: torch.Tensor) -> None:
    """Copies (3, h, w) into the middle of (3, h + 2, w + 2) and repeats its outermost pixels once."""
    buffer[:, 1:-1, 1:-1] = picture
    buffer[:, 0], buffer[:, -1] = buffer[:, 1], buffer[:, -2]
    buffer[:, :, 0], buffer[:, :, -1] = buffer[:, :, 1], buffer[:, :, -2]


def _write_grid(grid: torch.Tensor, matrix: np.ndarray, source_size: tuple[int, int], stride: int = 1) -> None:
    """Writes where each output pixel lies in a source of `source_size` with a border of one pixel on each side.

    Args:
        grid: float32 (1, h, w, 2), as `grid_sample` takes it: (x, y), -1 to 1 from edge to edge.
        matrix: (2, 3), from coordinates of the output to coordinates of the source without its border.
        source_size: (height, width) of the source without its border.
        stride: Take every so many-th pixel of the output only.
    """
    unit = 2.0 / np.array([source_size[1] + 2, source_size[0] + 2])
    # An affine map is a sum of what x and what y contribute, computed in float64.
    constant = (matrix[:, 2] + 1) * unit - 1
    from_x = (stride * np.arange(grid.shape[2])[:, None] + 0.5) * (matrix[:, 0] * unit)
    from_y = (stride * np.arange(grid.shape[1])[:, None] + 0.5) * (matrix[:, 1] * unit) + constant
    from_x = torch.from_numpy(from_x.astype(np.float32)).to(grid.device)
    from_y = torch.from_numpy(from_y.astype(np.float32)).to(grid.device)
    torch.add(from_y[:, None], from_x[None], out=grid[0])
