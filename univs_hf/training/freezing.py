# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which parameters take gradients, and which parts of the backbone are then in evaluation mode."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from torch import nn

from .config import ModelConfig

_ALL_STAGES = 5
# Norms of the outputs of a Swin's stages, which the original trains when all stages are frozen.
_OUTPUT_NORMS = "hidden_states_norms"


def set_trainable_parameters(model: nn.Module, config: ModelConfig) -> None:
    """Sets `requires_grad` of all parameters of a UniVS model.

    Raises:
        ValueError: If a pattern fits no parameter, nothing would be trained, or the backbone has no stages to freeze
            one by one.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.model.text_encoder.requires_grad_(config.train_text_encoder)
    if config.freeze_pixel_decoder:
        model.model.pixel_decoder.requires_grad_(False)
    for module in frozen_backbone_modules(model.model.backbone, config.freeze_backbone):
        module.requires_grad_(False)
    _freeze_matching(model, config.freeze, "model.freeze", keep=False)
    if config.train_only:
        _freeze_matching(model, config.train_only, "model.train_only", keep=True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("`model.freeze` and `model.train_only` leave no parameter to train.")


def training_mode(model: nn.Module, config: ModelConfig) -> None:
    """Sets the model to training mode, and frozen stages of the backbone to evaluation mode: no stochastic depth."""
    model.train()
    for module in frozen_backbone_modules(model.model.backbone, config.freeze_backbone):
        module.eval()


def frozen_backbone_modules(backbone: nn.Module, amount: int) -> Sequence[nn.Module]:
    """Modules that make up the first part of a backbone.

    Args:
        backbone: A ResNet or Swin of transformers; of others only nothing or everything can be frozen.
        amount: See [`ModelConfig`].
    """
    if amount == 0:
        return []
    inner = getattr(backbone, "swin", backbone)
    stem = getattr(inner, "embedder", getattr(inner, "embeddings", None))
    encoder = getattr(inner, "encoder", None)
    stages = getattr(encoder, "stages", getattr(encoder, "layers", None))
    if amount == _ALL_STAGES:
        return [module for name, module in backbone.named_children() if name != _OUTPUT_NORMS]
    if stem is None or stages is None:
        raise ValueError(
            f"`model.freeze_backbone` must be 0 or {_ALL_STAGES} for a {type(backbone).__name__}, whose stages are "
            f"not known; got {amount}."
        )
    return [stem, *stages[: amount - 1]]


def _freeze_matching(model: nn.Module, patterns: Sequence[str], key: str, keep: bool) -> None:
    """Freezes the parameters that fit a pattern or, with `keep`, those that fit none."""
    names = [name for name, _ in model.named_parameters()]
    matching = {pattern: set(fnmatch.filter(names, pattern)) for pattern in patterns}
    for pattern, found in matching.items():
        if not found:
            raise ValueError(f"`{key}`: no parameter is named {pattern!r}. The first are named {names[:5]}.")
    chosen = set().union(*matching.values())
    for name, parameter in model.named_parameters():
        if (name in chosen) != keep:
            parameter.requires_grad_(False)
