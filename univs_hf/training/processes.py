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
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, ProjectConfiguration

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


def rename_into_place(temporary: Path, target: Path) -> None:
    """Renames a directory, in place of one that is there."""
    replaced = target.with_name(f".replaced-{target.name}")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        os.rename(target, replaced)
    os.rename(temporary, target)
    shutil.rmtree(replaced, ignore_errors=True)
