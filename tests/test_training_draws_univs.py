# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Random choices of a training step."""

import pytest
import torch

from univs_hf.training_draws_univs import TrainingDraws


def seeded(*seeds: int) -> TrainingDraws:
    return TrainingDraws(len(seeds), [torch.Generator().manual_seed(seed) for seed in seeds])


def test_choices_of_a_clip_do_not_depend_on_its_batch() -> None:
    alone, batch = seeded(7), seeded(3, 7)
    logits = torch.randn(5, 8, 8)
    settings = {"num_points": 10, "oversample_ratio": 3.0, "importance_sample_ratio": 0.5}
    points = batch.mask_points("", logits, [2, 3], **settings)
    assert torch.equal(alone.mask_points("", logits[2:], [3], **settings), points[2:])

    candidates = torch.rand(30) > 0.3
    chosen = batch.subset("", candidates, [10, 20], torch.tensor([3, 4]))
    assert torch.equal(alone.subset("", candidates[10:], [20], torch.tensor([4])), chosen[10:])

    frames = batch.frame_permutations("", 5)
    assert torch.equal(alone.frame_permutations("", 5)[0], frames[1])
    assert torch.equal(alone.matching_points("", 6)[0], batch.matching_points("", 6)[1])

    counts = torch.tensor([[4, 50], [9, 40]])
    # The second clip has one row and one of padding.
    ranks = batch.pixel_ranks("", [2, 1], counts, 6, 64)
    assert torch.equal(alone.pixel_ranks("", [1], counts[1:, :1], 6, 64)[0], ranks[1, :1])
    assert torch.equal(alone.pixel("", [1], counts[1:, :1])[0], batch.pixel("", [2, 1], counts)[1, :1])

    same = torch.rand(4, 12) > 0.4
    same[:, 0] = True
    assert torch.equal(alone.choices("", same[3:], [1], 3)[0], batch.choices("", same, [3, 1], 3)[3])


def test_a_subset_holds_candidates_only_and_as_many_as_wanted() -> None:
    draws = seeded(0, 1, 2)
    counts = [10, 0, 6]
    candidates = torch.tensor([True, False] * 5 + [True] * 6)
    seen = torch.zeros(16)
    for _ in range(300):
        chosen = draws.subset("", candidates, counts, torch.tensor([2, 5, 100]))
        assert chosen[:10].sum() == 2
        assert chosen[10:].all()
        assert not (chosen & ~candidates).any()
        seen += chosen
    # Each of the five candidates is one of two, so is chosen in 120 of 300 draws; four standard deviations are 34.
    assert (seen[:10:2] - 120).abs().max() < 34


def test_half_of_the_points_lie_where_masks_are_least_certain() -> None:
    logits = torch.full((2, 16, 16), 9.0)
    logits[:, :, :4] = 0.1
    points = seeded(0).mask_points("", logits, [2], 100, 3.0, 0.5)
    assert points.shape == (2, 100, 2)
    # Of 300 candidates some 60 or more lie left of the middle of the last uncertain column; 50 of them are taken.
    assert (points[:, :50, 0] < 5 / 16).all()
    assert (points[:, 50:, 0] > 5 / 16).any()


def test_pixel_ranks_are_distinct_or_cyclic() -> None:
    ranks = seeded(0).pixel_ranks("", [4], torch.tensor([[3, 8, 50, 0]]), 8, 64)[0]
    assert ranks[0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert sorted(ranks[1].tolist()) == list(range(8))
    assert len(set(ranks[2].tolist())) == 8
    assert ranks[2].max() < 50
    assert ranks[3].tolist() == [0] * 8
    assert seeded(0).pixel_ranks("", [2], torch.tensor([[3, 70]]), 100, 64).shape == (1, 2, 100)


def test_choices_are_candidates_of_their_row() -> None:
    candidates = torch.zeros(2, 9, dtype=torch.bool)
    candidates[0, [2, 5]] = True
    candidates[1, 8] = True
    chosen = seeded(0).choices("", candidates, [2], 40)
    assert set(chosen[0].tolist()) == {2, 5}
    assert set(chosen[1].tolist()) == {8}


def test_numbers_of_generators() -> None:
    with pytest.raises(ValueError, match="one per clip \\(3\\), got 2"):
        TrainingDraws(3, [torch.Generator()] * 2)
    shared = TrainingDraws(2, torch.Generator().manual_seed(0))
    assert not torch.equal(*shared.matching_points("", 4))
    torch.manual_seed(5)
    first = TrainingDraws(1).rand("", 0, 3)
    torch.manual_seed(5)
    assert torch.equal(first, TrainingDraws(1).rand("", 0, 3))
