# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Forward pass with labels: targets and prompts of a batch, the decoder as it runs in training, the loss.

What sets training apart from inference (specification of training, section 0): the mask embeddings of a query change
places among the frames in every prediction, visual prompts take their content for their position half of the time, and
masks of expressions are not averaged with those of learnable queries. In evaluation mode the loss is computed without
these three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .configuration_univs import TASK_PRESETS, UniVSConfig
from .loss_univs import UniVSCriterion, UniVSLossConfig, UniVSLosses, UniVSPrediction
from .modeling_univs import (
    UniVSForVideoSegmentation,
    UniVSForVideoSegmentationOutput,
    UniVSFrameFeatures,
    UniVSPrompts,
    UniVSVisualTokens,
)
from .training_draws_univs import TrainingDraws
from .training_prompts_univs import (
    add_memory,
    category_training_prompts,
    encode_training_memory,
    prompt_attention_mask,
    visual_training_prompts,
)
from .training_targets_univs import (
    UniVSPromptTargets,
    UniVSTrainingTargets,
    choose_category_prompts,
    choose_expression_prompts,
    choose_prompt_kind,
    choose_visual_prompts,
    collect_targets,
    draw_key_frames,
)

CATEGORY_TASKS = ("vis", "vss", "vps")
EXPRESSION_TASKS = ("refvos",)
LABELLED_PROMPT_KINDS = ("visual", "category")


def training_forward(
    model: UniVSForVideoSegmentation,
    pixel_values_videos: Tensor,
    mask_labels: Sequence[Tensor],
    class_labels: Sequence[Tensor] | None = None,
    obj_ids: Sequence[Tensor] | None = None,
    *,
    task: str | None = None,
    frame_idx: Tensor | None = None,
    input_ids: Tensor | None = None,
    expression_attention_mask: Tensor | None = None,
    category_input_ids: Tensor | None = None,
    category_embeddings: Tensor | None = None,
    prompt_kind: str | None = None,
    window_frames: int | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    draws: TrainingDraws | None = None,
) -> UniVSForVideoSegmentationOutput:
    """Predictions and loss of a batch of clips; see [`UniVSForVideoSegmentation.forward`] for the arguments.

    Args:
        category_embeddings: `(K, D)`; the checkpoint's table by default.
        draws: Random choices; made by `generator` by default. Without either, they are torch's own in training and
            the same for every clip in evaluation mode.

    Returns:
        Output with `loss` and `loss_dict`; of several windows, the predictions are those of the last.

    Raises:
        ValueError: If labels, task and prompts don't go together.
    """
    if category_embeddings is None:
        category_embeddings = model.category_embeddings
    categories = category_embeddings if category_input_ids is None else category_input_ids
    num_categories = 0 if categories is None else len(categories)
    task = _check_task(task, class_labels, input_ids, categories)
    config = model.config
    if prompt_kind is not None and (task not in CATEGORY_TASKS or prompt_kind not in LABELLED_PROMPT_KINDS):
        raise ValueError(
            f"`prompt_kind` must be None, or for {list(CATEGORY_TASKS)} one of {list(LABELLED_PROMPT_KINDS)}, got "
            f"{prompt_kind!r} for {task!r}."
        )
    num_clips, num_frames = pixel_values_videos.shape[:2]
    if len(mask_labels) != num_clips:
        raise ValueError(f"`mask_labels` must have one tensor per video ({num_clips}), got {len(mask_labels)}.")
    windows = window_starts(num_frames, window_frames)
    device = pixel_values_videos.device
    if generator is None and not model.training:
        # Losses of an evaluation should differ because models do.
        generator = [torch.Generator().manual_seed(0) for _ in range(num_clips)]
    if draws is None:
        draws = TrainingDraws(num_clips, generator, device)

    targets = collect_targets(
        mask_labels,
        class_labels if task in CATEGORY_TASKS else None,
        obj_ids,
        num_frames,
        tuple(pixel_values_videos.shape[-2:]),
        num_categories,
        device,
    )
    if task in EXPRESSION_TASKS:
        _check_expressions(mask_labels, input_ids, expression_attention_mask)
    size = num_frames if window_frames is None else min(window_frames, num_frames)
    prompts, targets = _choose_prompts(config, task, targets, prompt_kind, size, draws, num_categories)
    if category_input_ids is not None:
        category_embeddings = model.encode_text(category_input_ids)[1]

    features = model.encode_frames(pixel_values_videos)
    frame_idx = model.model._frame_idx(features, frame_idx)
    texts = None
    if prompts.kind == "expression":
        texts = _encode_expressions(model, input_ids, targets, prompts)

    criterion = UniVSCriterion(UniVSLossConfig.from_config(config))
    results: list[UniVSLosses] = []
    memory = None
    for start in windows:
        stop = start + size
        window = features.frames(start, stop), frame_idx[:, start:stop]
        window_prompts = prompts.window(start, stop)
        if prompts.kind == "visual":
            key_frames = prompts.key_frames if start == 0 else draw_key_frames(num_clips, size, draws)
            window_prompts = replace(window_prompts, key_frames=key_frames)
        encoded = _encode_prompts(model, *window, window_prompts, draws, category_embeddings, texts, memory)
        permutations = None
        if model.training:
            heads = range(len(model.model.decoder.layers) + 1)
            permutations = torch.stack([draws.frame_permutations("frames", size) for _ in heads])
        outputs = model.decode_clip(
            *window,
            prompts=encoded,
            category_embeddings=category_embeddings,
            output_auxiliary_logits=True,
            frame_permutations=permutations,
        )
        stages = [*outputs.auxiliary_logits, outputs]
        predictions = [
            UniVSPrediction(
                stage["masks_queries_logits"],
                stage["query_embeddings"],
                stage["class_queries_logits"] if task in CATEGORY_TASKS else None,
            )
            for stage in stages
        ]
        scored = None if encoded is None else window_prompts
        results.append(criterion(predictions, config.num_queries, targets.window(start, stop), scored, draws))
        if start == 0 and len(windows) > 1 and encoded is not None and prompts.kind != "category":
            memory = encode_training_memory(model.model, *window, window_prompts, draws)

    terms = {name: sum(result.terms[name] for result in results) / len(results) for name in results[0].terms}
    if len(windows) > 1:
        terms.update(criterion.interclip(results, draws))
    outputs.loss, outputs.loss_dict = criterion.total(terms), terms
    return outputs


def window_starts(num_frames: int, window_frames: int | None) -> list[int]:
    """First frames of the windows of a video: each begins with the last frame of the one before, and the last one is
    moved back to end with the video.

    Args:
        num_frames: Frames of the video.
        window_frames: Frames of a window; None for a single one.
    """
    if window_frames is None or window_frames >= num_frames:
        return [0]
    if window_frames < 1:
        raise ValueError(f"`window_frames` must be None or greater than 0, got {window_frames}.")
    last = num_frames - window_frames
    return [*range(0, last, max(window_frames - 1, 1)), last]


def _check_task(
    task: str | None,
    class_labels: Sequence[Tensor] | None,
    input_ids: Tensor | None,
    categories: Tensor | None,
) -> str:
    """The task, by default the one that the labels are for."""
    if task is None:
        task = "refvos" if input_ids is not None else "vos" if class_labels is None else "vis"
    if task not in TASK_PRESETS:
        raise ValueError(f"`task` must be None or one of {list(TASK_PRESETS)}, got {task!r}.")
    if (input_ids is not None) != (task in EXPRESSION_TASKS):
        given = "given" if input_ids is not None else "missing"
        raise ValueError(f"`input_ids` (expressions) must be given for 'refvos' only; they are {given} for {task!r}.")
    if task in CATEGORY_TASKS:
        if class_labels is None:
            raise ValueError(f"`class_labels` must be given with `mask_labels` for {task!r}.")
        if categories is None:
            raise ValueError(
                f"`category_input_ids` or `category_embeddings` must be given for {task!r}: the model has no table of "
                "categories of its own."
            )
    return task


def _check_expressions(
    mask_labels: Sequence[Tensor], input_ids: Tensor, expression_attention_mask: Tensor | None
) -> None:
    for clip, masks in enumerate(mask_labels):
        if expression_attention_mask is None:
            count = input_ids.shape[1]
        else:
            count = int(expression_attention_mask[clip].sum())
        if len(masks) != count:
            raise ValueError(
                f"`mask_labels[{clip}]` must have one row per expression of the video ({count}), got {len(masks)}."
            )


def _choose_prompts(
    config: UniVSConfig,
    task: str,
    targets: UniVSTrainingTargets,
    prompt_kind: str | None,
    window_frames: int,
    draws: TrainingDraws,
    num_categories: int,
) -> tuple[UniVSPromptTargets, UniVSTrainingTargets]:
    """Prompts of the batch, and the rows that its learnable queries are matched with."""
    # Each row needs a query of its own.
    max_rows = min(config.max_training_objects, config.num_queries)
    if task in EXPRESSION_TASKS:
        targets = targets.limit(max_rows, draws)
        return choose_expression_prompts(targets), targets
    if task in CATEGORY_TASKS and prompt_kind is None:
        prompt_kind = choose_prompt_kind(draws, config.visual_prompt_probability)
    if prompt_kind == "category":
        # Before rows are left out, as a category is everything that bears its name.
        prompts = choose_category_prompts(
            targets, num_categories, draws, config.max_training_objects, config.negative_prompt_ratio
        )
        return prompts, targets.limit(max_rows, draws)
    targets = targets.limit(max_rows, draws)
    return choose_visual_prompts(targets, draws, config.max_training_objects, window_frames), targets


def _encode_expressions(
    model: UniVSForVideoSegmentation, input_ids: Tensor, targets: UniVSTrainingTargets, prompts: UniVSPromptTargets
) -> tuple[Tensor, Tensor] | None:
    """Word features `(B, P, length, D)` and sentence features `(B, P, D)` of the prompts' expressions."""
    if not prompts.rows.shape[1]:
        return None
    index = targets.source_rows[prompts.rows.clamp(min=0)]
    clips = torch.arange(len(index), device=index.device)[:, None]
    words, sentences = model.encode_text(input_ids[clips, torch.where(prompts.valid, index, 0)].flatten(0, 1))
    return words.unflatten(0, index.shape), sentences.unflatten(0, index.shape)


def _encode_prompts(
    model: UniVSForVideoSegmentation,
    features: UniVSFrameFeatures,
    frame_idx: Tensor,
    prompts: UniVSPromptTargets,
    draws: TrainingDraws,
    category_embeddings: Tensor | None,
    texts: tuple[Tensor, Tensor] | None,
    memory: UniVSVisualTokens | None,
) -> UniVSPrompts | None:
    """Prompt queries of a window; None if no clip has a prompt."""
    if not prompts.rows.shape[1]:
        return None
    if prompts.kind == "visual":
        return visual_training_prompts(model.model, features, frame_idx, prompts, draws, memory)
    if prompts.kind == "category":
        return category_training_prompts(model.model, features, prompts, category_embeddings)
    words, sentences = texts
    encoded = model.encode_expressions(
        features,
        word_features=words,
        sentence_features=sentences,
        attention_mask=prompt_attention_mask(prompts),
    )
    return encoded if memory is None else add_memory(encoded, memory)
