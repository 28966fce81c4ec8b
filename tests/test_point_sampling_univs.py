# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Reading maps and masks at points."""

import torch
from torch.nn import functional as F

from univs_hf.point_sampling_univs import sample_maps, sample_masks, sample_masks_nearest


def float_samples(masks: torch.Tensor, points: torch.Tensor, mode: str) -> torch.Tensor:
    """Values `(M, T, P)` of a float copy of the masks, with torch's own sampling."""
    grid = 2 * points.flatten(0, 1)[:, :, None] - 1
    values = F.grid_sample(masks.float().flatten(0, 1)[:, None], grid, mode=mode, align_corners=False)
    return values[:, 0, :, 0].unflatten(0, masks.shape[:2])


def test_masks_are_read_as_their_float_copies_are() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 2, 13, 9, generator=generator) > 0.5
    points = torch.rand(3, 2, 500, 2, generator=generator)
    points[:, :, :4] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.0]])
    rows = torch.tensor([2, 0, 1])
    got = sample_masks(masks, rows, points)
    torch.testing.assert_close(got, float_samples(masks[rows], points, "bilinear"), atol=1e-5, rtol=0)
    assert 0 < got.mean() < 1
    nearest = sample_masks_nearest(masks, rows, points)
    assert nearest.dtype == torch.bool
    assert torch.equal(nearest.float(), float_samples(masks[rows], points, "nearest"))


def test_nearest_pixel_at_ties_is_torchs() -> None:
    """Points on the edge between two pixels go where `grid_sample` sends them."""
    masks = torch.rand(1, 1, 6, 10, generator=torch.Generator().manual_seed(1)) > 0.5
    x, y = torch.arange(11) / 10, torch.arange(7) / 6
    points = torch.cartesian_prod(x, y)[None, None]
    got = sample_masks_nearest(masks, torch.tensor([0]), points)
    assert torch.equal(got.float(), float_samples(masks, points, "nearest"))


def test_a_point_means_the_same_place_at_every_resolution() -> None:
    ramp = torch.linspace(0, 1, 64)[None].expand(64, 64)[None, None]
    small = F.interpolate(ramp, scale_factor=0.25, mode="area")
    points = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(2)) * 0.8 + 0.1
    torch.testing.assert_close(sample_maps(ramp, points), sample_maps(small, points), atol=1e-5, rtol=0)
