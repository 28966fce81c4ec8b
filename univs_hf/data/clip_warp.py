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
    height, width = geometry.size
    valid_height, valid_width = geometry.valid_size
    out_frames = torch.zeros(len(source_idx), 3, height, width, dtype=dtype, device=device)
    out_labels = torch.zeros(label_maps.shape[0], len(source_idx), height, width, dtype=torch.uint8, device=device)
    # One set of buffers for all frames; memory that is new costs more than what is computed.
    picture = torch.empty(1, 3, frames.shape[1] + 2, frames.shape[2] + 2, device=device)
    labels = _LabelSampler(label_maps, geometry.valid_size)
    grid = torch.empty(1, valid_height, valid_width, 2, device=device)
    for index, source in enumerate(source_idx):
        if index == 0 or source != source_idx[index - 1]:
            _fill_with_border(picture[0], frames[source].permute(2, 0, 1))
            labels.load(source)
        matrix = geometry.matrices[index]
        _write_grid(grid, matrix / reduction, tuple(frames.shape[1:3]))
        warped = F.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        if not dtype.is_floating_point:
            warped.round_()
        out_frames[index, :, :valid_height, :valid_width] = warped
        labels.sample(matrix)
        for layer in range(len(label_maps)):
            out_labels[layer, index, :valid_height, :valid_width] = labels.of_layer(layer)
    return out_frames, out_labels


def any_label_stays(label_maps: torch.Tensor, source_idx: Sequence[int], geometry: ClipGeometry) -> bool:
    """Whether [`warp_clip`] leaves any label; looks at a few pixels first, and at all only if those are empty.

    Args:
        label_maps, source_idx, geometry: As for [`warp_clip`].
    """
    for stride in (8, 1):
        labels = _LabelSampler(label_maps, geometry.valid_size, stride)
        for matrix, source in zip(geometry.matrices, source_idx, strict=True):
            labels.load(source)
            labels.sample(matrix)
            if any(bool(labels.of_layer(layer).any()) for layer in range(len(label_maps))):
                return True
    return False


class _LabelSampler:
    """Takes label maps at the nearest pixel: its index is computed once for all maps of a frame.

    Args:
        label_maps: uint8 (L, S, H, W).
        size: (height, width) of the output.
        stride: Take every so many-th pixel of the output only.
    """

    def __init__(self, label_maps: torch.Tensor, size: tuple[int, int], stride: int = 1):
        num_layers, _, height, width = label_maps.shape
        device = label_maps.device
        self.label_maps, self.stride = label_maps, stride
        self.shape = (-(-size[0] // stride), -(-size[1] // stride))
        # A border of zeros stands for everything outside. Run lengths are painted column by column, and so is this.
        self.padded = torch.zeros(num_layers, width + 2, height + 2, dtype=torch.uint8, device=device)
        self.coordinate = torch.empty(self.shape, device=device)
        self.index = torch.empty(self.shape, dtype=torch.int32, device=device)
        self.part = torch.empty_like(self.index)

    def load(self, source: int) -> None:
        """Reads the maps of one source frame."""
        self.padded[:, 1:-1, 1:-1] = self.label_maps[:, source].transpose(1, 2)

    def sample(self, matrix: np.ndarray) -> None:
        """Finds the pixel of each output pixel, for a map (2, 3) from the output to the source."""
        _, columns, rows = self.padded.shape
        for axis, target, end in ((0, self.index, columns), (1, self.part, rows)):
            from_x, from_y = _separate(matrix[axis], self.shape, self.stride, 1.0, 1.0)
            from_x, from_y = from_x.to(self.coordinate.device), from_y.to(self.coordinate.device)
            torch.add(from_y[:, None], from_x[None], out=self.coordinate)
            # Conversion cuts off the fraction, which is what the nearest pixel needs from 0 on.
            target.copy_(self.coordinate.clamp_(0, end - 1))
        self.index.mul_(rows).add_(self.part)

    def of_layer(self, layer: int) -> torch.Tensor:
        """One label map of the output, uint8."""
        return self.padded[layer].flatten().index_select(0, self.index.flatten()).view(self.shape)


def _fill_with_border(buffer: torch.Tensor, picture: torch.Tensor) -> None:
    """Copies (3, h, w) into the middle of (3, h + 2, w + 2) and repeats its outermost pixels once."""
    buffer[:, 1:-1, 1:-1] = picture
    buffer[:, 0], buffer[:, -1] = buffer[:, 1], buffer[:, -2]
    buffer[:, :, 0], buffer[:, :, -1] = buffer[:, :, 1], buffer[:, :, -2]


def _write_grid(grid: torch.Tensor, matrix: np.ndarray, source_size: tuple[int, int]) -> None:
    """Writes where each output pixel lies in a source of `source_size` with a border of one pixel on each side.

    Args:
        grid: float32 (1, h, w, 2), as `grid_sample` takes it: (x, y), -1 to 1 from edge to edge.
        matrix: (2, 3), from coordinates of the output to coordinates of the source without its border.
        source_size: (height, width) of the source without its border.
    """
    for axis, side in ((0, source_size[1]), (1, source_size[0])):
        from_x, from_y = _separate(matrix[axis], tuple(grid.shape[1:3]), 1, 1.0, 2.0 / (side + 2), -1.0)
        torch.add(from_y.to(grid.device)[:, None], from_x.to(grid.device)[None], out=grid[0, ..., axis])


def _separate(
    row: np.ndarray, size: tuple[int, int], stride: int, shift: float, factor: float, constant: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """One coordinate of an affine map as a sum of what x and what y contribute, computed in float64.

    Args:
        row: (3,), a row of the map.
        size: (height, width) of the output.
        stride: Take every so many-th pixel of the output only.
        shift, factor, constant: The result is `factor * (coordinate + shift) + constant`.

    Returns:
        float32 (width,) and (height,).
    """
    from_x = factor * row[0] * (stride * np.arange(size[1]) + 0.5)
    from_y = factor * (row[1] * (stride * np.arange(size[0]) + 0.5) + row[2] + shift) + constant
    return torch.from_numpy(from_x.astype(np.float32)), torch.from_numpy(from_y.astype(np.float32))
