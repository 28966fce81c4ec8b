# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""AdamW with the groups of the original (training specification, 2.4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .config import OptimizerConfig

_NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.modules.batchnorm._NormBase,
)
# Position tables of a Swin; temperatures, which the original keeps as embeddings.
_UNDECAYED_LEAVES = (
    "relative_position_bias_table",
    "absolute_pos_embed",
    "position_embeddings",
    "class_logit_scale",
    "reid_logit_scale",
)


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Parameters that take gradients in up to four groups: backbone or not, with weight decay or without.

    Returns:
        Groups for an optimizer, each with its `name`, `lr` and `weight_decay`.
    """
    undecayed = _undecayed(model)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(("backbone" in name.split("."), name in undecayed), []).append(parameter)
    return [
        {
            "name": ("backbone" if in_backbone else "model") + ("_undecayed" if is_undecayed else ""),
            "params": parameters,
            "lr": config.learning_rate * (config.backbone_multiplier if in_backbone else 1.0),
            "weight_decay": 0.0 if is_undecayed else config.weight_decay,
        }
        for (in_backbone, is_undecayed), parameters in sorted(groups.items())
    ]


def _undecayed(model: nn.Module) -> set[str]:
    names = set()
    for module_name, module in model.named_modules():
        kept = isinstance(module, (*_NORMS, nn.Embedding)) or type(module).__name__.endswith("FrozenBatchNorm2d")
        for leaf, _ in module.named_parameters(recurse=False):
            if kept or leaf in _UNDECAYED_LEAVES:
                names.add(f"{module_name}.{leaf}" if module_name else leaf)
    return names


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over [`parameter_groups`]."""
    groups = parameter_groups(model, config)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps)


def set_learning_rate(optimizer: torch.optim.Optimizer, base_rates: list[float], factor: float) -> None:
    """Sets the learning rate of each group to its base rate times `factor`.

    The factor is a function of the step alone, so a run that goes on needs no state of a scheduler.
    """
    for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
        group["lr"] = rate * factor
