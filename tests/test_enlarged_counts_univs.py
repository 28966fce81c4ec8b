# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Counts of pixels of enlarged masks: equal to those of masks that are enlarged as a whole."""

import pytest
import torch
import torch.nn.functional as F

from univs_hf import enlarged_counts_univs
from univs_hf.enlarged_counts_univs import count_enlarged
from univs_hf.semantic_voting_univs import vote_for_classes

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


@pytest.mark.parametrize("certain", [0, 1, 3])
def test_queries_without_a_certain_pixel_do_not_vote(certain):
    logits = torch.full((3, 2, 4, 6), -0.5)
    logits[:certain, :, :2] = 3.0
    scores = torch.tensor([[0.1, 0.9, 0.2], [0.8, 0.1, 0.3], [0.1, 0.2, 0.7]])
    labels = vote_for_classes(logits, scores, (16, 24), (16, 24), 1.0, -1.0)
    large = F.interpolate(logits, scale_factor=4, mode="bilinear")
    quality = (large > 1).sum((1, 2, 3)) / (large > -1).sum((1, 2, 3))
    votes = torch.einsum("qc,qthw->cthw", scores * quality[:, None], large.sigmoid())
    assert torch.equal(labels, votes.argmax(0))
