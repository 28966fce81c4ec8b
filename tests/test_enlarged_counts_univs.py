# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Counts of pixels of enlarged masks: equal to those of masks that are enlarged as a whole."""

import pytest
import torch
import torch.nn.functional as F

from univs_hf import enlarged_counts_univs
from univs_hf.enlarged_counts_univs import count_enlarged

THRESHOLDS = (1.0, -1.0, 0.0)


def _counted_directly(logits, row_weights, column_weights):
    size = (4 * logits.shape[2], 4 * logits.shape[3])
    large = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    weights = row_weights[:, None].double() * column_weights
    return torch.stack([((large > threshold) * weights).sum((1, 2, 3)) for threshold in THRESHOLDS])


@pytest.mark.parametrize("block", [2**24, 2**10])
@pytest.mark.parametrize("kind", ["noise", "smooth", "whole", "empty"])
def test_counts_are_those_of_enlarged_masks(kind, block, monkeypatch):
    monkeypatch.setattr(enlarged_counts_univs, "block_elements", lambda tensor: block)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 3, 9, 13, generator=generator) * 3
    if kind == "smooth":
        logits = F.interpolate(logits[..., :3, :4], size=(9, 13), mode="bilinear")
    elif kind != "noise":
        logits = torch.full_like(logits, 4.0 if kind == "whole" else -4.0)
    rows = torch.randint(0, 3, (36,), generator=generator).float()
    columns = torch.randint(0, 3, (52,), generator=generator).float()
    counts = count_enlarged(logits, THRESHOLDS, rows, columns)
    assert counts.dtype == torch.float64 and counts.shape == (3, 5)
    assert torch.equal(counts, _counted_directly(logits, rows, columns))


def test_every_pixel_of_a_border_counts_once():
    logits = torch.full((1, 1, 2, 2), 2.0)
    counts = count_enlarged(logits, (0.0,), torch.ones(8), torch.ones(8))
    assert counts.tolist() == [[64.0]]


def test_half_precision_is_counted_in_float32():
    logits = torch.randn(2, 1, 6, 7, generator=torch.Generator().manual_seed(0)).half()
    weights = torch.ones(24), torch.ones(28)
    assert torch.equal(
        count_enlarged(logits, THRESHOLDS, *weights), count_enlarged(logits.float(), THRESHOLDS, *weights)
    )
