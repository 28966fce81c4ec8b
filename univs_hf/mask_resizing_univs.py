# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the resizing of masks in pieces is made of: where pixels come from, and how large a piece may be."""

import torch
import torch.nn.functional as F

# Float values that a temporary may hold; the GPU wants larger pieces than the CPU's caches.
_CPU_BLOCK_ELEMENTS = 2**24
_ACCELERATOR_BLOCK_ELEMENTS = 2**28


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
