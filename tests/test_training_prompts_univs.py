# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Visual prompts and memories of training: what they are sampled from, and that they stay in order (B2)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tiny_config import tiny_model
from torch.nn import functional as F
from training_cases import FRAME_SIZE, block_masks
from training_cases import random_targets as block_targets

from univs_hf.modeling_univs import UniVSForVideoSegmentation, UniVSFrameFeatures
from univs_hf.training_draws_univs import TrainingDraws
from univs_hf.training_prompts_univs import (
    add_memory,
    encode_training_memory,
    sample_visual_tokens,
    visual_training_prompts,
)
from univs_hf.training_targets_univs import UniVSPromptTargets, choose_visual_prompts, collect_targets

CHANNELS = 32


@pytest.fixture(scope="module")
def model() -> UniVSForVideoSegmentation:
    return tiny_model(num_prompt_pixels=8)


class ChosenKinds(TrainingDraws):
    """Draws whose prompts have the given kinds: `p`oint, `b`ox or `m`ask."""

    def __init__(self, kinds: str, seed: int = 0):
        super().__init__(1, torch.Generator().manual_seed(seed))
        self.kinds = torch.tensor([{"p": 0.1, "b": 0.4, "m": 0.9}[kind] for kind in kinds])

    def rand(self, purpose: str, clip: int, *shape: int) -> torch.Tensor:
        return self.kinds if purpose == "prompt kinds" else super().rand(purpose, clip, *shape)


def marked_features(model: UniVSForVideoSegmentation, masks: torch.Tensor) -> UniVSFrameFeatures:
    """Features whose stride-8 map has, in channel n, 1 where object n has a pixel and 0 elsewhere.

    The level embedding, which is added to them, is taken away beforehand.
    """
    num_frames = masks.shape[1]
    height, width = FRAME_SIZE
    level = torch.zeros(1, num_frames, CHANNELS, height // 8, width // 8)
    level[0, :, : len(masks)] = F.max_pool2d(masks.transpose(0, 1).float(), 8)
    level -= model.model.decoder.level_embed.weight[2].detach()[:, None, None]
    coarse = [torch.zeros(1, num_frames, CHANNELS, height // s, width // s) for s in (32, 16)]
    return UniVSFrameFeatures(
        mask_features=torch.zeros(1, num_frames, CHANNELS, height // 4, width // 4),
        multi_scale_features=(*coarse, level),
    )


def distances(states: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Of every state to every row of the table, without the rounding of the fast way."""
    return torch.cdist(states, table, compute_mode="donot_use_mm_for_euclid_dist")


def prompts_of(masks: torch.Tensor, order: Sequence[int], key_frame: int = 0) -> UniVSPromptTargets:
    """Prompts of all objects in the given order."""
    targets = collect_targets([masks], None, None, masks.shape[1], FRAME_SIZE, 0, "cpu")
    rows = torch.tensor([list(order)])
    return UniVSPromptTargets(
        kind="visual",
        masks=targets.masks,
        rows=rows,
        valid=torch.ones_like(rows, dtype=torch.bool),
        labels=targets.labels[rows],
        ids=targets.ids[rows],
        visible=targets.visible[rows],
        key_frames=torch.tensor([key_frame]),
    )


# B2 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", ["pbmm", "bmpb", "mpmp", "mmmm", "bbpp"])
def test_every_prompt_has_the_content_and_the_position_of_its_own_object(
    model: UniVSForVideoSegmentation, kinds: str
) -> None:
    """Whatever kinds the prompts are of; the original gives contents in the order of kinds, masks first."""
    masks = block_masks(4, 2)
    order = [2, 0, 3, 1]
    prompts = prompts_of(masks, order)
    features = marked_features(model, masks)
    frame_idx = torch.tensor([[3, 4]])
    tokens = sample_visual_tokens(model.model, features, frame_idx, prompts, ChosenKinds(kinds))
    encoder = model.model.prompt_encoder
    table = encoder.position_embedding.spatial(8, 12, torch.device("cpu"))
    table = table + encoder.position_embedding.temporal(frame_idx)[0, 0]
    for prompt, row in enumerate(order):
        content = tokens.features[0, prompt]
        mine = content[:, row]
        others = content[:, [other for other in range(4) if other != row]]
        assert others.abs().max() < 1e-6
        if kinds[prompt] == "m":
            torch.testing.assert_close(mine, torch.ones(8))
            # Positions are those of pixels of the object.
            pixels = table[masks[row, 0, ::8, ::8].flatten()]
            distance = distances(tokens.positions[0, prompt], pixels).amin(1)
            assert distance.max() < 1e-4
        else:
            assert mine.mean() >= 0.25
        x, y = tokens.points[0, prompt].tolist()
        assert masks[row, 0, int(y * 64), int(x * 96)]


def test_contents_stay_in_place_through_the_whole_prompt(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(4, 2)
    order = [3, 1, 0, 2]
    encoded = visual_training_prompts(
        model.model,
        marked_features(model, masks),
        torch.tensor([[0, 1]]),
        prompts_of(masks, order),
        ChosenKinds("bmpm"),
    )
    contents = encoded.queries - model.model.prompt_encoder.visual_embed.weight[0]
    assert encoded.queries.shape == (1, 2, 4, CHANNELS)
    assert contents[0, 0, :, :4].argmax(1).tolist() == order
    assert encoded.tokens[0, :, 0, :, :4].mean(1).argmax(1).tolist() == order
    assert encoded.attention_mask is None


# Kinds of prompts ----------------------------------------------------------------------------------------------------


def test_kinds_come_in_their_shares() -> None:
    """Points and boxes a quarter each, masks half: told apart by how many different tokens they have."""
    model = tiny_model(num_prompt_pixels=4)
    masks = block_masks(1, 1).expand(300, -1, -1, -1)
    features = replace(
        marked_features(model, masks[:1]),
        multi_scale_features=(*[torch.zeros(1, 1, CHANNELS, 2, 3)] * 2, torch.randn(1, 1, CHANNELS, 8, 12)),
    )
    draws = TrainingDraws(1, torch.Generator().manual_seed(0))
    tokens = sample_visual_tokens(model.model, features, torch.zeros(1, 1), prompts_of(masks, range(300)), draws)
    one_pixel = (tokens.features[0] == tokens.features[0, :, :1]).all(2).all(1)
    assert abs(int(one_pixel.sum()) - 75) < 30


def test_masks_and_boxes_include_a_pixel_on_each_side(model: UniVSForVideoSegmentation) -> None:
    mask = torch.zeros(1, 1, *FRAME_SIZE, dtype=torch.bool)
    mask[:, :, 8:48, 16:80] = True
    mask[:, :, :16, 40:48] = True
    features = marked_features(model, mask)
    table = model.model.prompt_encoder.position_embedding.spatial(8, 12, torch.device("cpu"))
    table = table + model.model.prompt_encoder.position_embedding.temporal(torch.zeros(1, 1))[0, 0]
    for seed in range(5):
        tokens = sample_visual_tokens(
            model.model, features, torch.zeros(1, 1), prompts_of(mask, [0]), ChosenKinds("m", seed)
        )
        pixels = distances(tokens.positions[0, 0], table).argmin(1)
        # Left column, top row, right column, bottom row of the object at stride 8.
        assert [int(p) for p in pixels[:4]] == [1 * 12 + 2, 0 * 12 + 5, 1 * 12 + 9, 5 * 12 + 2]
        assert len(set(pixels[4:].tolist())) == 4


def test_small_objects_repeat_their_pixels(model: UniVSForVideoSegmentation) -> None:
    mask = torch.zeros(1, 1, *FRAME_SIZE, dtype=torch.bool)
    mask[:, :, 8:24, 8:16] = True  # two pixels at stride 8
    tokens = sample_visual_tokens(
        model.model, marked_features(model, mask), torch.zeros(1, 1), prompts_of(mask, [0]), ChosenKinds("m")
    )
    assert len(tokens.positions[0, 0].unique(dim=0)) == 2
    assert torch.equal(tokens.positions[0, 0, ::2], tokens.positions[0, 0, :1].expand(4, -1))


def test_objects_without_a_pixel_at_stride_8_have_a_position_only(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(2, 1)
    masks[0] = False
    masks[0, :, 3:6, 3:6] = True
    tokens = sample_visual_tokens(
        model.model, marked_features(model, masks), torch.zeros(1, 1), prompts_of(masks, [0, 1]), ChosenKinds("mm")
    )
    assert not tokens.features[0, 0].any()
    assert tokens.positions[0, 0].any()
    # If no other mask has a pixel there either, the whole frame is sampled, as in inference.
    masks[1] = False
    masks[1, :, 11:14, 11:14] = True
    tokens = sample_visual_tokens(
        model.model, marked_features(model, masks), torch.zeros(1, 1), prompts_of(masks, [0, 1]), ChosenKinds("mm")
    )
    assert len(tokens.positions[0, 0].unique(dim=0)) >= 5


@pytest.mark.parametrize("kind", ["p", "b", "m"])
def test_objects_that_the_key_frame_does_not_show_have_zero_tokens(
    model: UniVSForVideoSegmentation, kind: str
) -> None:
    masks = block_masks(3, 2)
    masks[1, 1] = False
    tokens = sample_visual_tokens(
        model.model,
        marked_features(model, masks),
        torch.tensor([[0, 1]]),
        prompts_of(masks, [0, 1, 2], 1),
        ChosenKinds(kind * 3),
    )
    assert not tokens.features[0, 1].any()
    assert not tokens.positions[0, 1].any()
    assert tokens.features[0, [0, 2]].flatten(1).any(1).all()


def test_large_boxes_are_moved_and_small_ones_are_not(model: UniVSForVideoSegmentation) -> None:
    masks = torch.zeros(2, 1, *FRAME_SIZE, dtype=torch.bool)
    masks[0, :, 8:56, 16:88] = True
    masks[1, :, 16:32, 32:48] = True
    features = marked_features(model, masks)
    centres = {
        tuple(
            sample_visual_tokens(
                model.model, features, torch.zeros(1, 1), prompts_of(masks, [0, 1]), ChosenKinds("bb", seed)
            )
            .points[0]
            .flatten()
            .tolist()
        )
        for seed in range(6)
    }
    moved = torch.tensor(sorted(centres))
    assert len(moved) == 6
    assert (moved[:, 2:] - torch.tensor([40 / 96, 24 / 64])).abs().max() < 1e-6
    shift = (moved[:, :2] - torch.tensor([52 / 96, 32 / 64])).abs()
    assert (shift <= 0.1 * torch.tensor([72 / 96, 48 / 64])).all()
    assert shift.max() > 0.01


def test_no_gradient_reaches_the_features(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(3, 2)
    features = marked_features(model, masks)
    features.multi_scale_features[2].requires_grad_()
    encoded = visual_training_prompts(
        model.model, features, torch.tensor([[0, 1]]), prompts_of(masks, [0, 1, 2]), ChosenKinds("pbm")
    )
    assert encoded.queries.requires_grad  # through the task's embedding
    for states in (encoded.tokens, encoded.token_positions, encoded.query_positions):
        assert not states.requires_grad
    encoded.queries.sum().backward()
    assert features.multi_scale_features[2].grad is None


def test_positions_are_contents_half_of_the_time_in_training_only(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(2, 2)
    features, prompts = marked_features(model, masks), prompts_of(masks, [0, 1])

    def is_content(seed: int) -> bool:
        encoded = visual_training_prompts(
            model.model, features, torch.tensor([[0, 1]]), prompts, ChosenKinds("mm", seed)
        )
        content = encoded.queries - model.model.prompt_encoder.visual_embed.weight[0]
        return torch.allclose(encoded.query_positions, content, atol=1e-5)

    assert not any(is_content(seed) for seed in range(10))
    model.train()
    try:
        count = sum(is_content(seed) for seed in range(100))
    finally:
        model.eval()
    assert abs(count - 50) < 20


# Memory --------------------------------------------------------------------------------------------------------------


def test_memory_holds_the_last_frames_of_each_prompt_in_order(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(3, 5)
    masks[2, 4] = False
    prompts = replace(prompts_of(masks, [2, 0, 1]), key_frames=None)
    frame_idx = torch.tensor([[10, 11, 12, 13, 14]])
    position = model.model.prompt_encoder.position_embedding
    lengths = set()
    for seed in range(12):
        draws = TrainingDraws(1, torch.Generator().manual_seed(seed))
        memory = encode_training_memory(model.model, marked_features(model, masks), frame_idx, prompts, draws)
        count = memory.features.shape[2] // 8
        lengths.add(count)
        contents = memory.features[0].unflatten(1, (count, 8))
        positions = memory.positions[0].unflatten(1, (count, 8))
        for prompt, row in enumerate([2, 0, 1]):
            for index in range(count):
                frame = 5 - count + index
                if not masks[row, frame].any():
                    assert not contents[prompt, index].any()
                    assert not positions[prompt, index].any()
                    continue
                assert contents[prompt, index, :, row].min() == 1
                table = position.spatial(8, 12, torch.device("cpu")) + position.temporal(frame_idx)[0, frame]
                assert distances(positions[prompt, index], table).amin(1).max() < 1e-4
    assert lengths == {2, 3, 4}


def test_prompts_read_the_memory_before_their_own_tokens(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(2, 5)
    features, prompts = marked_features(model, masks), prompts_of(masks, [1, 0])
    frame_idx = torch.arange(5)[None]
    memory = encode_training_memory(model.model, features, frame_idx, prompts, TrainingDraws(1))
    encoded = visual_training_prompts(model.model, features, frame_idx, prompts, ChosenKinds("mm"), memory)
    length = memory.features.shape[2]
    assert encoded.tokens.shape[3] == length + 8
    assert torch.equal(encoded.tokens[0, :, 0, :length], memory.features[0])
    assert torch.equal(encoded.token_positions[0, :, 0, :length], memory.positions[0])


def test_expressions_read_the_memory_before_their_words_without_positions(model: UniVSForVideoSegmentation) -> None:
    masks = block_masks(2, 5)
    features, prompts = marked_features(model, masks), prompts_of(masks, [0, 1])
    memory = encode_training_memory(model.model, features, torch.arange(5)[None], prompts, TrainingDraws(1))
    encoded = model.encode_expressions(
        features, word_features=torch.randn(1, 2, 7, 16), sentence_features=torch.randn(1, 2, 16)
    )
    joined = add_memory(encoded, memory)
    assert joined.token_positions is None
    assert torch.equal(joined.tokens[0, :, 3, :-8], memory.features[0])
    assert torch.equal(joined.tokens[:, :, :, -8:], encoded.tokens)
    assert torch.equal(joined.queries, encoded.queries)


def test_clips_of_a_batch_are_prompted_as_if_they_were_alone(model: UniVSForVideoSegmentation) -> None:
    targets = block_targets([3, 2], 2)
    generators = [torch.Generator().manual_seed(seed) for seed in (4, 5)]
    draws = TrainingDraws(2, generators)
    prompts = choose_visual_prompts(targets, draws, 5)
    one = marked_features(model, block_masks(3, 2))
    both = UniVSFrameFeatures(
        mask_features=one.mask_features.expand(2, -1, -1, -1, -1),
        multi_scale_features=tuple(level.expand(2, -1, -1, -1, -1) for level in one.multi_scale_features),
    )
    frame_idx = torch.arange(2).expand(2, -1)
    tokens = sample_visual_tokens(model.model, both, frame_idx, prompts, draws)

    alone = TrainingDraws(1, torch.Generator().manual_seed(5))
    prompts = choose_visual_prompts(block_targets([2], 2), alone, 5)
    expected = sample_visual_tokens(model.model, one, frame_idx[:1], prompts, alone)
    torch.testing.assert_close(tokens.features[1, :2], expected.features[0])
    torch.testing.assert_close(tokens.positions[1, :2], expected.positions[0])
