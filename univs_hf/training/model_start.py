# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The model and the processor that a run begins with."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ..configuration_univs import UniVSConfig
from ..convert_mask2former import convert_mask2former
from ..modeling_univs import UniVSForVideoSegmentation
from ..packaged_checkpoints import resolve_checkpoint
from ..processing_univs import UniVSProcessor
from .config import TrainingConfig
from .model_inputs import training_fields

FINAL_MODEL = "final"
"""Directory of the trained model within the output of a run."""
_CONVERTED = "start"


def load_start(config: TrainingConfig, accelerator: Accelerator) -> tuple[UniVSForVideoSegmentation, UniVSProcessor]:
    """Loads or makes what a run begins with, in float32.

    A Mask2Former is converted once, into `start` within the output directory.

    Raises:
        ValueError: If the start is no model that training can begin with, or a field of the model's configuration is
            unknown or does not hold.
    """
    start = config.model.start
    if start is None:
        return _new_model(config), load_processor(config.model.processor, None)
    folder = find_start(start)
    if _model_type(folder) == "mask2former":
        folder = _convert(config, folder, accelerator)
    return load_model(folder, config), load_processor(config.model.processor, folder)


def load_model(folder: Path, config: TrainingConfig) -> UniVSForVideoSegmentation:
    """A UniVS model of a directory, with the fields that `config` changes."""
    model_config = UniVSConfig.from_pretrained(folder)
    values = {key: value for key, value in model_config.to_dict().items() if key != "model_type"}
    return UniVSForVideoSegmentation.from_pretrained(folder, config=_change(values, config), dtype=torch.float32)


@torch.no_grad()
def align_memory(model: nn.Module) -> None:
    """Moves all parameters and buffers to memory of their own.

    Weights of a file lie where the file has them. Sums over weights that begin at another place in a vector register
    are rounded otherwise, so a run that goes on would differ in the last bits from one that was not interrupted.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.preserve_format)


def find_start(start: str) -> Path:
    """The directory of the model that a start means.

    Raises:
        ValueError: If there is none.
    """
    folder = Path(resolve_checkpoint(start))
    for candidate in (folder, folder / FINAL_MODEL):
        if (candidate / "config.json").is_file():
            return candidate
    if (folder / "checkpoints").is_dir():
        raise ValueError(
            f"`model.start` {start} is the output of a run that is not finished: give the `model` of one of its "
            "checkpoints, or let it finish."
        )
    raise ValueError(
        f"`model.start` must be the directory of a UniVS model, of the output of a training run or of a Mask2Former, "
        f"got {start!r}, where there is no config.json."
    )


def _model_type(folder: Path) -> str:
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"`model.start`: {folder / 'config.json'} is not a configuration: {error}") from error
    if model_type not in ("univs", "mask2former"):
        raise ValueError(f"`model.start` must hold a UniVS or a Mask2Former, {folder} has a {model_type!r}.")
    return model_type


def _convert(config: TrainingConfig, source: Path, accelerator: Accelerator) -> Path:
    target = Path(config.output_dir) / _CONVERTED
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            convert_mask2former(
                source,
                target,
                text_encoder_path=config.model.text_encoder,
                category_table_path=config.model.category_table,
                tokenizer=config.model.tokenizer,
                num_queries=config.model.num_queries,
                allow_missing_text_encoder=config.model.allow_missing_text_encoder,
                seed=config.seed,
                overwrite=True,
            )
    return target


def _new_model(config: TrainingConfig) -> UniVSForVideoSegmentation:
    if config.model.processor is None:
        raise ValueError(
            "`model.start` must be given (a Mask2Former, a UniVS model or the output of a run), or `model.processor`, "
            "the directory of a processor, to begin with random weights."
        )
    base = UniVSConfig() if config.backbone is None else UniVSConfig.from_preset(config.backbone)
    values = {key: value for key, value in base.to_dict().items() if key != "model_type"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return UniVSForVideoSegmentation(_change(values, config))


def _change(values: Mapping[str, Any], config: TrainingConfig) -> UniVSConfig:
    """A configuration with the fields that are given otherwise; sub-configurations of the same type field by field."""
    model = config.model
    known = UniVSConfig.__dataclass_fields__
    changed = {**values, **training_fields(config)}
    for key, value in model.config.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 2)
            hint = f" Did you mean {' or '.join(f'`model.config.{name}`' for name in near)}?" if near else ""
            raise ValueError(f"Unknown key `model.config.{key}`: it is no field of UniVSConfig.{hint}")
        before = changed.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            kept = before if value.get("model_type", before.get("model_type")) == before.get("model_type") else {}
            value = {**kept, **value}
        changed[key] = value
    changed["freeze_text_encoder"] = not model.train_text_encoder
    if model.drop_path_rate is not None:
        backbone = dict(changed["backbone_config"])
        if "drop_path_rate" not in backbone:
            raise ValueError(
                f"`model.drop_path_rate` must be None for a backbone of type {backbone.get('model_type')!r}, which "
                f"has no stochastic depth; got {model.drop_path_rate}."
            )
        changed["backbone_config"] = {**backbone, "drop_path_rate": model.drop_path_rate}
    return UniVSConfig(**changed)


def load_processor(path: str | None, folder: Path | None) -> UniVSProcessor:
    source = folder if path is None else path
    try:
        return UniVSProcessor.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ValueError(f"`model.processor`: {source} holds no processor of a UniVS model: {error}") from error
