# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Hungarian matching of learnable queries and target rows."""

import torch
from torch.nn import functional as F
from training_cases import random_targets

from univs_hf.matcher_univs import match_queries, matching_cost
from univs_hf.point_sampling_univs import sample_maps


def test_costs_are_those_of_every_pair_on_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = random_targets([3, 1], num_frames=2, labels=5, generator=generator)
    masks = torch.randn(2, 4, 2, 8, 12, generator=generator)
    classes = torch.randn(2, 4, 5, generator=generator)
    points = torch.rand(2, 50, 2, generator=generator)
    cost = matching_cost(masks, classes, targets, points, class_weight=3.0, mask_weight=5.0, dice_weight=2.0)
    assert cost.shape == (2, 4, 3)
    for row, (clip, place) in enumerate(zip(targets.clips.tolist(), targets.places.tolist(), strict=True)):
        at = points[clip].expand(2, -1, -1)
        wanted = sample_maps(targets.masks[row][:, None].float(), at).flatten()
        for query in range(4):
            logits = sample_maps(masks[clip, query][:, None], at).flatten()
            entropy = F.binary_cross_entropy_with_logits(logits, wanted)
            found = logits.sigmoid()
            dice = 1 - (2 * (found * wanted).sum() + 1) / (found.sum() + wanted.sum() + 1)
            score = (5 * classes[clip, query].sigmoid()).softmax(0)[targets.labels[row]]
            expected = 5 * entropy + 2 * dice - 3 * score
            torch.testing.assert_close(cost[clip, query, place], expected, atol=1e-5, rtol=1e-5)


def test_rows_without_a_label_have_no_class_cost() -> None:
    targets = random_targets([2], num_frames=1, labels=5)
    targets.labels[1] = -1
    masks, points = torch.randn(1, 3, 1, 8, 8), torch.rand(1, 20, 2)
    classes = torch.randn(1, 3, 5)
    with_classes = matching_cost(masks, classes, targets, points)
    without = matching_cost(masks, None, targets, points)
    assert torch.equal(with_classes[0, :, 1], without[0, :, 1])
    assert not torch.equal(with_classes[0, :, 0], without[0, :, 0])


def test_each_clip_of_a_batch_is_matched_as_if_it_were_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    targets = random_targets([3, 0, 2], num_frames=2, generator=generator)
    # Queries 5, 4, 3, ... predict the rows of their clip exactly, so the assignment is known.
    masks = torch.randn(3, 6, 2, 64, 96, generator=generator)
    for row, (clip, place) in enumerate(zip(targets.clips.tolist(), targets.places.tolist(), strict=True)):
        masks[clip, 5 - place] = targets.masks[row].float() * 20 - 10
    matches = match_queries(masks, None, targets, torch.rand(3, 200, 2, generator=generator))
    assert matches.counts == [3, 0, 2]
    assert matches.clips.tolist() == [0, 0, 0, 2, 2]
    assert matches.queries.tolist() == [3, 4, 5, 4, 5]
    assert matches.rows.tolist() == [2, 1, 0, 4, 3]


def test_predictions_that_are_not_numbers_do_not_stop_the_matching() -> None:
    targets = random_targets([2], num_frames=1)
    masks = torch.randn(1, 3, 1, 16, 24)
    masks[:, 0] = float("nan")
    matches = match_queries(masks, None, targets, torch.rand(1, 50, 2))
    assert matches.queries.tolist() == [1, 2]


def test_more_rows_than_queries() -> None:
    targets = random_targets([4], num_frames=1)
    matches = match_queries(torch.randn(1, 3, 1, 16, 24), None, targets, torch.rand(1, 50, 2))
    assert matches.counts == [3]
    assert len(set(matches.rows.tolist())) == 3
