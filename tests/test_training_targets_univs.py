# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Targets and prompts of training clips, and the faults of the original that they do not have (B1, B3, B4, B5)."""

import pytest
import torch
from training_cases import FRAME_SIZE, block_masks, random_targets

from univs_hf.training_draws_univs import TrainingDraws
from univs_hf.training_targets_univs import (
    choose_category_prompts,
    choose_expression_prompts,
    choose_prompt_kind,
    choose_visual_prompts,
    collect_targets,
)


def draws(num_clips: int = 1, seed: int = 0) -> TrainingDraws:
    return TrainingDraws(num_clips, torch.Generator().manual_seed(seed))


def collect(masks: list, labels: list | None = None, ids: list | None = None, num_categories: int = 20):
    return collect_targets(masks, labels, ids, masks[0].shape[1], FRAME_SIZE, num_categories, "cpu")


def test_rows_that_no_frame_shows_are_dropped_with_their_labels() -> None:
    masks = block_masks(4, 3)
    masks[1] = False
    masks[2, 0] = False
    targets = collect([masks, block_masks(1, 3)], [torch.tensor([3, 4, 5, -1]), torch.tensor([6])])
    assert targets.counts == [3, 1]
    assert targets.labels.tolist() == [3, 5, -1, 6]
    assert targets.source_rows.tolist() == [0, 2, 3, 0]
    assert targets.clips.tolist() == [0, 0, 0, 1]
    assert targets.places.tolist() == [0, 1, 2, 0]
    assert targets.frame_ids.tolist() == [[0, 0, 0], [-1, 2, 2], [3, 3, 3], [0, 0, 0]]
    assert torch.equal(targets.masks[1], masks[2])
    # Categories of invisible rows were in the clip, so they are no negative prompts.
    assert targets.given_labels[0].tolist() == [3, 4, 5]


def test_masks_are_padded_at_the_bottom_and_right() -> None:
    targets = collect_targets([torch.ones(2, 1, 60, 90)], None, None, 1, FRAME_SIZE, 0, "cpu")
    assert targets.masks.shape == (2, 1, *FRAME_SIZE)
    assert targets.masks.sum() == 2 * 60 * 90
    assert targets.masks[:, :, :60, :90].all()


def test_clips_without_rows() -> None:
    targets = collect([torch.zeros(0, 2, 8, 8), block_masks(2, 2)])
    assert targets.counts == [0, 2]
    prompts = choose_visual_prompts(targets, draws(2), 5)
    assert prompts.numbers == [0, 2]
    empty = collect([torch.zeros(0, 2, 8, 8)])
    for prompts in (
        choose_visual_prompts(empty, draws(), 5),
        choose_expression_prompts(empty),
        choose_category_prompts(empty, 20, draws(), 5, 0.25),
    ):
        assert prompts.rows.shape == (1, 0)
        assert prompts.visible.shape == (1, 0, 2)


@pytest.mark.parametrize(
    ("masks", "labels", "ids", "message"),
    [
        ([torch.zeros(2, 3, 8, 8)], None, None, r"mask_labels\[0\].*2 frames.*\(2, 3, 8, 8\)"),
        ([torch.zeros(2, 2, 65, 8)], None, None, r"height up to 64.*\(2, 2, 65, 8\)"),
        ([torch.zeros(2, 8, 8)], None, None, r"mask_labels\[0\]"),
        ([torch.zeros(2, 2, 8, 8)], [], None, r"`class_labels` must have one tensor per clip \(1\), got 0"),
        ([torch.zeros(2, 2, 8, 8)], [torch.zeros(3).long()], None, r"class_labels\[0\].*\(2,\).*\(3,\)"),
        ([torch.zeros(2, 2, 8, 8)], [torch.zeros(2)], None, r"class_labels\[0\].*integers.*float32"),
        ([torch.zeros(2, 2, 8, 8)], [torch.tensor([0, 20])], None, r"class_labels\[0\].*-1 to 19, got 0 to 20"),
        ([torch.zeros(2, 2, 8, 8)], [torch.tensor([0, -2])], None, r"-1 to 19, got -2 to 0"),
        ([torch.zeros(2, 2, 8, 8)], None, [torch.tensor([0, -1])], r"obj_ids\[0\].*0 or more, got -1 to 0"),
    ],
)
def test_labels_that_do_not_fit_are_named(masks: list, labels: list | None, ids: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collect_targets(masks, labels, ids, 2, FRAME_SIZE, 20, "cpu")


# B1 ------------------------------------------------------------------------------------------------------------------


def test_expressions_are_prompted_with_the_mask_of_their_own_object() -> None:
    """Two expressions of object A and two of B: rows are A, A, B, B, and the objects' numbers 0 and 1 are no rows."""
    a, b = block_masks(2, 2)
    targets = collect([torch.stack([a, a, b, b])], None, [torch.tensor([7, 7, 9, 9])])
    prompts = choose_expression_prompts(targets)
    shown = prompts.masks[prompts.rows[0]]
    for prompt, mask in enumerate((a, a, b, b)):
        assert torch.equal(shown[prompt], mask)
    # The two expressions of an object are positives of each other, and of the object's rows.
    assert prompts.ids[0].tolist() == [7, 7, 9, 9]
    assert targets.frame_ids[:, 0].tolist() == [7, 7, 9, 9]


def test_expressions_stay_with_their_rows_when_others_are_dropped() -> None:
    masks = torch.stack([*block_masks(4, 2)])
    masks[0] = False
    targets = collect([masks], None, [torch.tensor([5, 5, 6, 8])])
    prompts = choose_expression_prompts(targets)
    assert targets.source_rows[prompts.rows[0]].tolist() == [1, 2, 3]
    assert torch.equal(prompts.masks[prompts.rows[0]], masks[1:])
    assert prompts.ids[0].tolist() == [5, 6, 8]


# B3 ------------------------------------------------------------------------------------------------------------------


def test_the_probability_of_visual_prompts_is_the_one_asked_for() -> None:
    """A normal draw against 0.5 would give 309 of 1000, thirteen standard deviations away from 500."""
    source = draws()
    for probability in (0.5, 0.2):
        visual = sum(choose_prompt_kind(source, probability) == "visual" for _ in range(1000))
        assert abs(visual - 1000 * probability) < 65
    assert choose_prompt_kind(source, 0) == "category"
    assert choose_prompt_kind(source, 1) == "visual"
    with pytest.raises(ValueError, match="visual_probability"):
        choose_prompt_kind(source, 1.5)


# B4 ------------------------------------------------------------------------------------------------------------------


def test_a_single_clip_has_prompts_of_categories_that_it_lacks() -> None:
    labels = torch.tensor([3, 7, 3, 12, 9])
    seen = set()
    for seed in range(60):
        targets = collect([block_masks(5, 2)], [labels])
        prompts = choose_category_prompts(targets, 20, draws(seed=seed), 10, 0.5)
        assert prompts.labels[0, :4].tolist() == [3, 7, 9, 12]
        assert prompts.present[0].tolist() == [True] * 4 + [False] * 2
        assert prompts.valid.all()
        assert prompts.ids[0, 4:].tolist() == [-1, -1]
        seen |= set(prompts.labels[0, 4:].tolist())
    # Two of the sixteen others each time: all of them have come up, and none that the clip has.
    assert seen == set(range(20)) - {3, 7, 9, 12}
    assert torch.equal(prompts.masks[prompts.rows[0, 0]], targets.masks[0] | targets.masks[2])


def test_negative_prompts_round_up_and_fit() -> None:
    targets = collect([block_masks(3, 1)], [torch.tensor([0, 1, 2])], num_categories=4)
    for ratio, limit, expected in ((0.0, 9, 3), (0.25, 9, 4), (5.0, 9, 4), (0.25, 3, 3)):
        prompts = choose_category_prompts(targets, 4, draws(), limit, ratio)
        assert prompts.rows.shape[1] == expected
    with pytest.raises(ValueError, match="negative_ratio"):
        choose_category_prompts(targets, 4, draws(), 9, -1)


def test_categories_of_a_batch_refer_to_masks_of_their_own_clip() -> None:
    first, second = block_masks(2, 1), block_masks(3, 1, offset=4)
    targets = collect([first, second], [torch.tensor([5, 5]), torch.tensor([5, 2, -1])])
    prompts = choose_category_prompts(targets, 20, draws(2), 10, 0.0)
    assert prompts.labels.tolist() == [[5, -1], [2, 5]]
    assert prompts.valid.tolist() == [[True, False], [True, True]]
    assert torch.equal(prompts.masks[prompts.rows[0, 0]], first.any(0))
    assert torch.equal(prompts.masks[prompts.rows[1]], second[[1, 0]])


# B5 ------------------------------------------------------------------------------------------------------------------


def test_rows_are_left_out_at_random_and_remembered() -> None:
    kept = torch.zeros(10)
    for seed in range(400):
        targets = random_targets([10], 2, labels=4)
        limited = targets.limit(3, draws(seed=seed))
        assert limited.counts == [3]
        assert torch.equal(limited.masks, targets.masks[limited.source_rows])
        assert torch.equal(limited.labels, targets.labels[limited.source_rows])
        others = torch.ones(10, dtype=torch.bool)
        others[limited.source_rows] = False
        assert torch.equal(limited.left_out[0], targets.masks[others].any(0))
        kept[limited.source_rows] += 1
    # Each row stays in 120 of 400 draws; four standard deviations are 37.
    assert (kept - 120).abs().max() < 37


def test_only_clips_with_too_many_rows_lose_some() -> None:
    targets = random_targets([5, 2], 1)
    limited = targets.limit(3, draws(2))
    assert limited.counts == [3, 2]
    assert limited.left_out[0].any()
    assert not limited.left_out[1].any()
    assert targets.limit(5, draws(2)) is targets


def test_a_category_prompt_covers_rows_that_are_left_out_later() -> None:
    targets = collect([block_masks(4, 1)], [torch.tensor([1, 1, 1, 2])])
    prompts = choose_category_prompts(targets, 20, draws(), 10, 0.0)
    targets.limit(1, draws())
    assert torch.equal(prompts.masks[prompts.rows[0, 0]], block_masks(4, 1)[:3].any(0))


# Visual prompts ------------------------------------------------------------------------------------------------------


def test_visual_prompts_are_objects_of_the_key_frame_in_random_order() -> None:
    masks = block_masks(4, 3)
    masks[1, 0] = masks[2, 2] = False
    orders, frames = set(), set()
    for seed in range(80):
        targets = collect([masks])
        prompts = choose_visual_prompts(targets, draws(seed=seed), 3)
        frame = int(prompts.key_frames[0])
        frames.add(frame)
        shown = [row for row in range(4) if masks[row, frame].any()]
        rows = prompts.rows[0].tolist()
        assert set(rows) <= set(shown)
        assert len(rows) == min(len(shown), 3)
        assert torch.equal(prompts.visible[0], targets.visible[rows])
        orders.add(tuple(rows))
    assert frames == {0, 1, 2}
    assert len(orders) > 10


def test_clips_with_fewer_objects_are_padded() -> None:
    prompts = choose_visual_prompts(random_targets([1, 3], 2), draws(2), 5)
    assert prompts.valid.tolist() == [[True, False, False], [True, True, True]]
    assert prompts.rows[0].tolist() == [0, -1, -1]
    assert sorted(prompts.rows[1].tolist()) == [1, 2, 3]
    assert prompts.ids[0].tolist() == [0, -1, -1]
    assert not prompts.visible[0, 1:].any()


def test_windows_keep_rows_and_prompts() -> None:
    masks = block_masks(2, 5)
    masks[1, 3:] = False
    targets = collect([masks])
    prompts = choose_visual_prompts(targets, draws(), 5, num_frames=2)
    assert int(prompts.key_frames[0]) < 2
    later, later_prompts = targets.window(3, 5), prompts.window(3, 5)
    assert later.frame_ids.tolist() == [[0, 0], [-1, -1]]
    assert torch.equal(later_prompts.rows, prompts.rows)
    assert torch.equal(later_prompts.visible[0], later.visible[prompts.rows[0]])
    assert later_prompts.ids.tolist() == prompts.ids.tolist()
