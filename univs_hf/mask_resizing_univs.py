# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the resizing of masks is made of: sizes, where pixels come from, and how large a piece may be."""

from typing import Any

import torch
import torch.nn.functional as F

# Float values that a temporary may hold; the GPU wants larger pieces than the CPU's caches.
_CPU_BLOCK_ELEMENTS = 2**24
_ACCELERATOR_BLOCK_ELEMENTS = 2**28

# Where the four pixels between two neighbours at stride 4 lie, as the share of the second.
STRIDE_4_SHARES = (0.125, 0.375, 0.625, 0.875)


def bilinear_axis(source: int, target: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bilinear resize of one axis (half-pixel centres): the two source indices of each target pixel, and the share of
    the second."""
    position = (torch.arange(target, device=device) + 0.5) * (source / target) - 0.5
    position = position.clamp(min=0)
    first = position.long().clamp(max=source - 1)
    return first, (first + 1).clamp(max=source - 1), position - first


def nearest_axis(source: int, target: int, device: torch.device) -> torch.Tensor:
    """Source index of each target pixel in a nearest-neighbour resize of one axis, as torch computes it."""
    positions = torch.arange(source, dtype=torch.float32, device=device)
    return F.interpolate(positions[None, None], size=target, mode="nearest")[0, 0].long()


def block_elements(tensor: torch.Tensor) -> int:
    """Float values that a temporary on the device of `tensor` may hold."""
    return _CPU_BLOCK_ELEMENTS if tensor.device.type == "cpu" else _ACCELERATOR_BLOCK_ELEMENTS


def paired_sizes(
    mask_logits: torch.Tensor, original_sizes: Any, resized_sizes: Any
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Both lists of sizes as integers, checked against the mask logits (B, N, T, h, w)."""
    if mask_logits.ndim != 5:
        raise ValueError(f"Mask logits must have shape (B, N, T, h, w), got {tuple(mask_logits.shape)}.")
    pairs = []
    for name, sizes in (("original_sizes", original_sizes), ("resized_sizes", resized_sizes)):
        sizes = sizes.tolist() if hasattr(sizes, "tolist") else sizes
        sizes = [tuple(int(side) for side in size) for size in sizes]
        if len(sizes) != len(mask_logits) or any(len(size) != 2 for size in sizes):
            raise ValueError(f"`{name}` must hold (height, width) of {len(mask_logits)} video(s), got {sizes}.")
        pairs.append(sizes)
    return pairs[0], pairs[1]


def padded_size_of(
    mask_logits: torch.Tensor, resized_size: tuple[int, int], padded_size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Padded model size of mask logits (..., h, w), checked against the resized size."""
    # Mask logits are at stride 4, and padded sizes are multiples of 4.
    padded = tuple(4 * side for side in mask_logits.shape[-2:]) if padded_size is None else tuple(padded_size)
    if resized_size[0] > padded[0] or resized_size[1] > padded[1]:
        raise ValueError(
            f"The resized size {tuple(resized_size)} must lie within the padded size {padded} of the mask logits."
        )
    return padded
