# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The accelerator of a run, as the configuration and the launch say."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    InitProcessGroupKwargs,
    ProjectConfiguration,
)
from torch import Tensor, nn
from transformers import PreTrainedModel

from .config import TrainingConfig

# One process may evaluate, or convert a data set, while the others wait.
_PATIENCE = timedelta(hours=12)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """The accelerator of this process.

    Raises:
        ValueError: If several processes were launched that do not know of one another, or a tracker is unknown.
    """
    has_accelerator = torch.accelerator.is_available() and os.environ.get("ACCELERATE_USE_CPU") != "true"
    output_dir = Path(config.output_dir)
    if PartialState._shared_state and PartialState().num_processes == 1:
        # accelerate has one state per process, which an earlier run with other settings would decide.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=config.cpu or not has_accelerator,
        mixed_precision=config.mixed_precision,
        log_with=list(config.tracking.trackers) or None,
        project_config=ProjectConfiguration(str(output_dir), logging_dir=str(output_dir / "logs")),
        kwargs_handlers=[
            # A batch with text prompts does not touch what visual ones need, nor the other way round.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=_PATIENCE),
        ],
    )
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != launched:
        raise ValueError(
            f"{launched} processes were launched, but accelerate knows of {accelerator.num_processes} on the device "
            f"{accelerator.device}. On CPUs set ACCELERATE_USE_CPU=true and launch with `torchrun --nproc_per_node "
            f"{launched}`."
        )
    known = {getattr(tracker, "value", str(tracker)) for tracker in accelerator.log_with}
    missing = sorted(set(config.tracking.trackers) - known - {"all"})
    if missing:
        raise ValueError(f"`tracking.trackers`: {missing} are not installed or not known to accelerate.")
    return accelerator


def prepare_sharding(accelerator: Accelerator, model: PreTrainedModel) -> None:
    """Makes a model fit for FSDP and tells which layers are sharded each by itself, unless the launch did.

    By default accelerate takes what transformers names. That includes layers of CLIP's image tower, which is not in
    the model, embeddings that accelerate shards a second time, and the prompt encoder and the decoder's layers, which
    work through methods other than `forward` too, of which FSDP does not know. These are sharded with the whole.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return
    # FSDP takes no scalars.
    for name, parameter in list(model.named_parameters(recurse=False)):
        if not parameter.ndim:
            setattr(model, name, nn.Parameter(parameter.detach().reshape(1), parameter.requires_grad))
    plugin = accelerator.state.fsdp_plugin
    if plugin.transformer_cls_names_to_wrap:
        return
    parts = (model.model.backbone, model.model.pixel_decoder)
    present = {type(module).__name__ for part in parts for module in part.modules()}
    plugin.transformer_cls_names_to_wrap = sorted(present & set(model._no_split_modules))


def unsharded_shapes(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model of [`prepare_sharding`] with the scalars that it had."""
    scalars = {name for name, parameter in model.named_parameters(recurse=False) if parameter.numel() == 1}
    return {name: value.reshape(()) if name in scalars else value for name, value in weights.items()}


def rename_into_place(temporary: Path, target: Path) -> None:
    """Renames a directory, in place of one that is there."""
    replaced = target.with_name(f".replaced-{target.name}")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        os.rename(target, replaced)
    os.rename(temporary, target)
    shutil.rmtree(replaced, ignore_errors=True)
