# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Prompt queries of a training step: points, boxes and masks sampled from the targets, categories, expressions.

Visual prompts and memories are made without gradients (specification of training, sections 0, 4.5 and 4.7). They stay
in the order of the prompted objects from beginning to end: the three kinds of visual prompts are sampled in one go
from one set of candidate pixels per object, so contents and positions can't come apart (bug B2 of the original).

Shape legend: B clips, P prompts, T frames, R pixels per prompt, L memory tokens per prompt, C channels, (H, W) frames,
(h, w) maps at stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .modeling_univs import UniVSFrameFeatures, UniVSModel, UniVSPrompts, UniVSVisualTokens, mask_boxes
from .training_draws_univs import TrainingDraws
from .training_targets_univs import UniVSPromptTargets

# Shares of the kinds of visual prompts: a quarter points, a quarter boxes, half masks.
_POINT_SHARE = 0.25
_BOX_SHARE = 0.25
# Boxes over more than this share of the frame are moved and resized by up to so much of their size.
_JITTERED_AREA = 0.09
_JITTER = 0.1
_STRIDE = 8


def visual_training_prompts(
    model: UniVSModel,
    features: UniVSFrameFeatures,
    frame_idx: Tensor,
    prompts: UniVSPromptTargets,
    draws: TrainingDraws,
    memory: UniVSVisualTokens | None = None,
) -> UniVSPrompts:
    """Prompt queries of the objects of `prompts`, each with a point, a box or its mask on the clip's key frame.

    Args:
        model: Encodes the prompts.
        features: Of the clips' T frames.
        frame_idx: `(B, T)` int64, frame numbers in the video.
        prompts: Visual prompts with key frames.
        draws: Random choices.
        memory: Tokens `(B, P, L, C)` of earlier frames, which the prompts read as well.

    Returns:
        Prompts for the decoder; no gradient reaches the image encoder through them.
    """
    with torch.no_grad():
        tokens = sample_visual_tokens(model, features, frame_idx, prompts, draws)
    contents, positions = tokens.features, tokens.positions
    if memory is not None:
        contents = torch.cat((memory.features, contents), dim=2)
        positions = torch.cat((memory.positions, positions), dim=2)

    def repeat(states: Tensor) -> Tensor:
        return states.unsqueeze(2).expand(-1, -1, features.num_frames, -1, -1)

    coins = None
    if model.training:
        coins = torch.cat([draws.rand("query position", clip, 1) for clip in range(len(prompts.rows))]) <= 0.5
    return model.compose_visual_prompts(
        repeat(tokens.features),
        repeat(tokens.positions),
        contents,
        positions,
        attention_mask=prompt_attention_mask(prompts),
        content_positions=coins,
    )


def category_training_prompts(
    model: UniVSModel, features: UniVSFrameFeatures, prompts: UniVSPromptTargets, category_embeddings: Tensor
) -> UniVSPrompts:
    """Prompt queries of categories, `category_embeddings (K, D)` with the labels of `prompts` as index."""
    encoded = model.encode_categories(features, category_embeddings[prompts.labels.clamp(min=0)])
    return replace(encoded, attention_mask=prompt_attention_mask(prompts))


def prompt_attention_mask(prompts: UniVSPromptTargets) -> Tensor | None:
    """`(B, P)`, False for padding; None without padding, which spares the attention a mask."""
    return None if bool(prompts.valid.all()) else prompts.valid


def sample_visual_tokens(
    model: UniVSModel,
    features: UniVSFrameFeatures,
    frame_idx: Tensor,
    prompts: UniVSPromptTargets,
    draws: TrainingDraws,
) -> UniVSVisualTokens:
    """R tokens per prompt from the clips' key frames.

    A mask gives random pixels of the object at stride 8, a box random pixels of the box, in both cases with one on
    each of their four sides; a point gives the feature at a random pixel of the object, R times. Objects that the key
    frame does not show have zero tokens.

    Returns:
        Features and positions `(B, P, R, C)`, points `(B, P, 2)`.
    """
    height, width = features.frame_size
    num_prompts = prompts.rows.shape[1]
    numbers = prompts.numbers
    key_frames = prompts.key_frames[:, None].expand(-1, num_prompts)
    masks = prompts.masks[prompts.rows.clamp(min=0), key_frames]
    valid = prompts.visible.gather(2, key_frames[..., None])[..., 0]
    boxes = mask_boxes(masks, last=1)

    kinds = draws.rand_padded("prompt kinds", numbers)
    is_point = kinds <= _POINT_SHARE
    is_box = ~is_point & (kinds <= _POINT_SHARE + _BOX_SHARE)
    points = _random_pixels(masks, numbers, draws, "point")
    size_noise, centre_noise = (
        draws.rand_padded(purpose, numbers, 2) * 2 - 1 for purpose in ("box size", "box centre")
    )
    boxes = _jitter_boxes(boxes, size_noise, centre_noise)
    points = torch.where(is_box[..., None], (boxes[..., :2] + boxes[..., 2:]) / 2, points)

    encoder = model.prompt_encoder
    size = (height // _STRIDE, width // _STRIDE)
    of_mask = _mask_pixels(masks, ~is_point & ~is_box)
    pixels = torch.where(is_box[..., None, None], encoder.box_pixels(boxes, *size), of_mask)
    pixels = (pixels & ~is_point[..., None, None]).flatten(2)
    ranks = draws.pixel_ranks("pixels", numbers, pixels.sum(-1), model.config.num_prompt_pixels, pixels.shape[-1])
    ranks = _include_extremes(ranks, pixels, size[1])

    source, temporal = _source_and_times(model, features, frame_idx)
    sampled = encoder.sample_points(source, points, key_frames)
    # As in inference, a mask without a pixel at stride 8 has no content but a position.
    fallback = torch.where((is_point | is_box)[..., None], sampled, 0.0)
    return encoder.sample_tokens(
        source, temporal, pixels, valid, points, fallback, key_frames, model.config.num_prompt_pixels, ranks=ranks
    )


@torch.no_grad()
def encode_training_memory(
    model: UniVSModel,
    features: UniVSFrameFeatures,
    frame_idx: Tensor,
    prompts: UniVSPromptTargets,
    draws: TrainingDraws,
) -> UniVSVisualTokens:
    """Mask tokens of the prompted objects on the last frames of a window, for the window that follows.

    The masks are those of the targets. The number of frames is the larger of a number from 0 to T - 1, which the first
    clip draws for the batch, and a third of T, rounded down, plus one.

    Args:
        frame_idx: `(B, T)` int64. The original counts from the start of the window here, and gives the frames their
            numbers in the video everywhere else.
        prompts: Prompts of the window, of any kind that refers to rows.

    Returns:
        Features and positions `(B, P, L, C)`, frame after frame with R tokens each.
    """
    num_clips, num_prompts = prompts.rows.shape
    num_frames = features.num_frames
    counts = [int(draws.permutation("memory frames", clip, num_frames)[0]) for clip in range(num_clips)]
    count = max(counts[0], num_frames // 3 + 1)
    frames = torch.arange(num_frames - count, num_frames, device=prompts.rows.device)

    masks = prompts.masks[:, -count:][prompts.rows.clamp(min=0)].flatten(1, 2)
    valid = prompts.visible[..., -count:].flatten(1)
    numbers = [number * count for number in prompts.numbers]
    points = _random_pixels(masks, numbers, draws, "memory point")
    by_frame = masks.unflatten(1, (num_prompts, count)).transpose(1, 2).flatten(0, 1)
    pixels = _mask_pixels(by_frame, torch.ones_like(by_frame[..., 0, 0]))
    pixels = pixels.unflatten(0, (num_clips, count)).transpose(1, 2).flatten(1, 2).flatten(2)
    ranks = draws.pixel_ranks(
        "memory pixels", numbers, pixels.sum(-1), model.config.num_prompt_pixels, pixels.shape[-1]
    )
    source, temporal = _source_and_times(model, features, frame_idx)
    tokens = model.prompt_encoder.sample_tokens(
        source,
        temporal,
        pixels,
        valid,
        points,
        torch.zeros_like(source[:, :1, :, 0, 0]).expand(-1, count * num_prompts, -1),
        frames.repeat(num_prompts).expand(num_clips, -1),
        model.config.num_prompt_pixels,
        ranks=ranks,
    )

    def by_prompt(states: Tensor) -> Tensor:
        return states.unflatten(1, (num_prompts, count)).flatten(2, 3)

    return replace(tokens, features=by_prompt(tokens.features), positions=by_prompt(tokens.positions), points=None)


def add_memory(prompts: UniVSPrompts, memory: UniVSVisualTokens) -> UniVSPrompts:
    """Expression prompts that read visual tokens too, before their words; neither have positions then."""
    num_sets = prompts.tokens.shape[2]
    contents = memory.features.unsqueeze(2).expand(-1, -1, num_sets, -1, -1)
    return replace(prompts, tokens=torch.cat((contents, prompts.tokens), dim=3), token_positions=None)


def _source_and_times(model: UniVSModel, features: UniVSFrameFeatures, frame_idx: Tensor) -> tuple[Tensor, Tensor]:
    """Stride-8 maps with their level embedding and the temporal positions, which visual prompts are sampled from."""
    level = len(features.multi_scale_features) - 1
    source = model.decoder.add_level_embed(features.multi_scale_features[level], level)
    return source, model.prompt_encoder.position_embedding.temporal(frame_idx)


def _mask_pixels(masks: Tensor, prompted: Tensor) -> Tensor:
    """Stride-8 pixels of masks `(N, P, H, W)`: the whole frame if none of the `prompted (N, P)` has one, as in
    inference."""
    small = masks[..., ::_STRIDE, ::_STRIDE]
    none = ~(small.flatten(2).any(-1) & prompted).any(1)
    return small | none[:, None, None, None]


def _random_pixels(masks: Tensor, numbers: Sequence[int], draws: TrainingDraws, purpose: str) -> Tensor:
    """Centre of a random pixel of each mask `(B, N, H, W)` -> `(B, N, 2)`, x and y normalised.

    Args:
        numbers: Masks of each clip; the others are padding.
    """
    height, width = masks.shape[-2:]
    per_row = masks.sum(-1)
    ends = per_row.cumsum(-1)
    ranks = draws.pixel(purpose, numbers, ends[..., -1])[..., None]
    row = torch.searchsorted(ends, ranks + 1).clamp(max=height - 1)
    line = masks.gather(2, row[..., None].expand(-1, -1, -1, width)).squeeze(2)
    before = ends.gather(2, row) - per_row.gather(2, row)
    column = torch.searchsorted(line.cumsum(-1), ranks - before + 1).clamp(max=width - 1)
    return torch.cat(((column + 0.5) / width, (row + 0.5) / height), dim=-1)


def _jitter_boxes(boxes: Tensor, size_noise: Tensor, centre_noise: Tensor) -> Tensor:
    """Boxes `(B, P, 4)`, the large ones with another size and centre; the noise `(B, P, 2)` lies in [-1, 1]."""
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    moved = (centre + _JITTER * size * centre_noise).clamp(0, 1)
    resized = (size + _JITTER * size * size_noise).clamp(0, 1)
    jittered = torch.cat((moved - resized / 2, moved + resized / 2), dim=-1)
    return torch.where(size.prod(-1, keepdim=True) > _JITTERED_AREA, jittered, boxes)


def _include_extremes(ranks: Tensor, pixels: Tensor, width: int) -> Tensor:
    """Replaces the first four ranks of sets with enough pixels: the first pixel on each side of the set.

    Args:
        ranks: `(B, P, R)` int64.
        pixels: `(B, P, h * w)` boolean.
        width: w.
    """
    num_sides = min(4, ranks.shape[-1])
    grid = pixels.unflatten(-1, (-1, width))
    before = pixels.cumsum(-1) - 1
    lines = []
    for axis in (-2, -1):
        used = grid.any(axis).to(torch.uint8)
        first, last = used.argmax(-1), used.shape[-1] - 1 - used.flip(-1).argmax(-1)
        lines.append((first, last))
    (left, right), (top, bottom) = lines
    sides = []
    for column, row in ((left, None), (None, top), (right, None), (None, bottom)):
        if row is None:
            line = grid.gather(-1, column[..., None, None].expand(*grid.shape[:-1], 1)).squeeze(-1)
            row = line.to(torch.uint8).argmax(-1)
        else:
            line = grid.gather(-2, row[..., None, None].expand(*grid.shape[:2], 1, width)).squeeze(-2)
            column = line.to(torch.uint8).argmax(-1)
        sides.append(before.gather(-1, (row * width + column)[..., None]))
    sides = torch.cat(sides[:num_sides], dim=-1)
    enough = (pixels.sum(-1, keepdim=True) >= ranks.shape[-1]).expand_as(sides)
    return torch.cat((torch.where(enough, sides, ranks[..., :num_sides]), ranks[..., num_sides:]), dim=-1)
