# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The one place where a training run touches what the model takes and gives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..data.clip_batch import ClipBatch
from ..modeling_univs import UniVSForVideoSegmentation, UniVSForVideoSegmentationOutput
from ..processing_univs import UniVSProcessor
from ..text_embeddings_univs import embed_categories
from ..text_prompts import clean_expression, tokenize_templates
from .config import PromptConfig, TrainingConfig

# Expressions whose tokens are remembered; of a data set that comes round again most are.
_EXPRESSIONS_REMEMBERED = 20000


def training_fields(config: TrainingConfig) -> dict[str, Any]:
    """Fields of [`UniVSConfig`] that the sections `loss` and `prompts` decide."""
    loss, prompts = config.loss, config.prompts
    return {
        "class_weight": loss.class_weight,
        "mask_weight": loss.mask_weight,
        "dice_weight": loss.dice_weight,
        "reid_weight": loss.reid_weight,
        "matching_class_weight": loss.matching_class_weight,
        "matching_mask_weight": loss.matching_mask_weight,
        "matching_dice_weight": loss.matching_dice_weight,
        "train_num_points": loss.num_points,
        "oversample_ratio": loss.oversample_ratio,
        "importance_sample_ratio": loss.importance_sample_ratio,
        "max_training_objects": prompts.max_prompts,
        "visual_prompt_probability": prompts.visual_probability,
        "negative_prompt_ratio": prompts.negative_ratio,
    }


class ModelInputs:
    """Makes the arguments of a training step.

    Random choices of the model are drawn for each clip from a generator of the clip's seed, and what holds for a whole
    batch is decided by a seed that the caller gives: so nothing depends on which clips share a process.

    Args:
        model: The model, not wrapped.
        processor: Its processor.
        config: What the prompts are.
        embed_in_forward: Names of categories are embedded in every step, as the text tower is trained.
    """

    def __init__(
        self,
        model: UniVSForVideoSegmentation,
        processor: UniVSProcessor,
        config: PromptConfig,
        embed_in_forward: bool,
    ):
        self._model = model
        self._processor = processor
        self._config = config
        self._embed_in_forward = embed_in_forward
        self._categories: dict[str, Tensor] = {}
        self._expressions: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, batch: ClipBatch, step_seed: int) -> dict[str, Any]:
        """Arguments of [`UniVSForVideoSegmentation.forward`] for a batch.

        Args:
            batch: On the device of the model.
            step_seed: Decides what holds for the whole batch. Processes that share the clips of a dataset at a step
                are given the same.
        """
        device = batch.pixel_values_videos.device
        arguments: dict[str, Any] = {
            "pixel_values_videos": batch.pixel_values_videos,
            "frame_idx": batch.frame_idx,
            "mask_labels": batch.mask_labels,
            "obj_ids": batch.obj_ids,
            "window_frames": self._config.window_frames,
            "generator": [torch.Generator(device).manual_seed(clip.seed) for clip in batch.clips],
        }
        clip = batch.clips[0]
        if clip.task == "grounding":
            return arguments | {"task": "refvos"} | self._expression_inputs(batch.expressions, device)
        if batch.class_labels is None:
            return arguments | {"task": "vos"}
        kind = "visual" if self._has_visual_prompts(clip.dataset, step_seed) else "category"
        return (
            arguments
            | {"task": "vis", "class_labels": batch.class_labels, "prompt_kind": kind}
            | self._category_inputs(clip.category_set, device)
        )

    def _has_visual_prompts(self, dataset: str, step_seed: int) -> bool:
        if dataset in self._config.visual_only:
            return True
        generator = torch.Generator().manual_seed(step_seed)
        return float(torch.rand((), generator=generator)) < self._config.visual_probability

    def _category_inputs(self, category_set: str, device: torch.device) -> dict[str, Tensor]:
        """Embeddings of all categories of a set, or their tokens."""
        known = self._categories.get(category_set)
        if known is None:
            if self._embed_in_forward:
                known = self._processor(categories=category_set, return_tensors="pt")["category_input_ids"].to(device)
            else:
                known = embed_categories(self._model, self._processor, category_set)[0].detach()
            self._categories[category_set] = known
        return {"category_input_ids" if self._embed_in_forward else "category_embeddings": known}

    def _expression_inputs(self, expressions: Sequence[Sequence[str]], device: torch.device) -> dict[str, Tensor]:
        tokens = [torch.stack([self._expression_tokens(text) for text in texts]) for texts in expressions]
        padded = nn.utils.rnn.pad_sequence(
            tokens, batch_first=True, padding_value=self._processor.tokenizer.pad_token_id
        )
        mask = torch.zeros(padded.shape[:2], dtype=torch.int64)
        for row, texts in zip(mask, expressions, strict=True):
            row[: len(texts)] = 1
        return {"input_ids": padded.to(device), "expression_attention_mask": mask.to(device)}

    def _expression_tokens(self, text: str) -> Tensor:
        """int64 (templates, length)."""
        known = self._expressions.pop(text, None)
        if known is None:
            processor = self._processor
            known = tokenize_templates(
                processor.tokenizer, [clean_expression(text)], processor.text_templates, processor.max_text_length
            )[0]
        self._expressions[text] = known
        if len(self._expressions) > _EXPRESSIONS_REMEMBERED:
            self._expressions.popitem(last=False)
        return known


def shown_terms(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Terms of the last prediction, without their weights; those of the others end in a number."""
    return {name: value for name, value in terms.items() if not name.rsplit("_", 1)[-1].isdigit()}


def give_only_loss(model: UniVSForVideoSegmentation) -> RemovableHandle:
    """Lets the model give nothing but its loss where it has labels.

    Data parallelism waits for the gradient of every parameter that any output depends on, and not all outputs are
    supervised in every batch.
    """

    def only_loss(
        module: nn.Module, arguments: tuple[Any, ...], output: UniVSForVideoSegmentationOutput
    ) -> UniVSForVideoSegmentationOutput:
        if getattr(output, "loss", None) is None:
            return output
        terms = {name: value.detach() for name, value in output.loss_dict.items()}
        return UniVSForVideoSegmentationOutput(loss=output.loss, loss_dict=terms)

    return model.register_forward_hook(only_loss)
