# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A run of training_runs.py whose weights are sharded among processes (FSDP), on CPUs.

    torchrun --nproc_per_node 2 tests/sharded_runs.py DIR [--section.name value ...]

accelerate chooses FSDP only where there are GPUs. What it then does works on CPUs as well, so the choice is made here;
all else is as in a launch with `fsdp_version: 2`.
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from training_runs import run_config

from univs_hf.training import train
from univs_hf.training.config import TrainingConfig
from univs_hf.training.config_files import parse_overrides
from univs_hf.training.processes import make_accelerator


def sharding_accelerator(config: TrainingConfig) -> Accelerator:
    accelerator = make_accelerator(config)
    for state in (PartialState(), accelerator.state):
        state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", reshard_after_forward=True
    )
    return accelerator


def main() -> None:
    torch.set_num_threads(1)
    config = run_config(Path(sys.argv[1]), **parse_overrides(sys.argv[2:]))
    result = train(config, accelerator=sharding_accelerator(config))
    assert result.step == config.schedule.max_steps


if __name__ == "__main__":
    main()
