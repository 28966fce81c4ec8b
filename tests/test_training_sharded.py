# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Training with sharded weights (FSDP) is training with whole ones, and goes on exactly where it was."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import run_config

from univs_hf.modeling_univs import UniVSForVideoSegmentation
from univs_hf.training.loop import _Run

STEPS = 6
OPTIONS = ["--ema.enabled", "true", "--ema.decay", "0.9", "--checkpoint.every", "3"]
OPTIONS += ["--data.one_dataset_per_step", "true"]


def run(folder, script, port, steps, project_root):
    """Losses and final weights of two processes."""
    folder.mkdir(exist_ok=True)
    run_config(folder)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(project_root)}
    command = [*launcher, str(project_root / "tests" / script), str(folder), *OPTIONS, "--schedule.max_steps", steps]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in log], load_file(folder / "run" / "final" / "model.safetensors")


def test_what_sharding_cannot_do_is_told(tmp_path):
    """Processes that draw different tasks have gradients of different weights: their sums do not fit together."""
    run = SimpleNamespace(evaluate=None, accelerator=SimpleNamespace(num_processes=2), config=run_config(tmp_path))
    with pytest.raises(ValueError, match="`data.one_dataset_per_step` must be true with FSDP"):
        _Run._check_sharded(run)
    run.config.data.one_dataset_per_step = True
    _Run._check_sharded(run)
    run.evaluate = print
    with pytest.raises(ValueError, match="`evaluation.every` must be 0 with FSDP"):
        _Run._check_sharded(run)


@pytest.mark.slow
def test_sharded_runs(tmp_path, project_root):
    losses, weights = run(tmp_path / "sharded", "sharded_runs.py", 29651, str(STEPS), project_root)
    assert len(losses) == STEPS
    # Each process has written its own part of the average.
    state = tmp_path / "sharded" / "run" / "checkpoints" / "step-00000006" / "state"
    assert {path.name for path in state.glob("average*")} == {"average-0.pt", "average-1.pt"}
    UniVSForVideoSegmentation.from_pretrained(tmp_path / "sharded" / "run" / "final")

    whole_losses, whole = run(tmp_path / "whole", "training_runs.py", 29652, str(STEPS), project_root)
    np.testing.assert_allclose(losses, whole_losses, rtol=1e-4)
    assert weights.keys() == whole.keys()
    assert all(weights[name].shape == whole[name].shape for name in whole)

    first, _ = run(tmp_path / "resumed", "sharded_runs.py", 29653, str(STEPS // 2), project_root)
    resumed, again = run(tmp_path / "resumed", "sharded_runs.py", 29654, str(STEPS), project_root)
    assert first == losses[: STEPS // 2] and resumed == losses
    assert all(torch.equal(again[name], weights[name]) for name in weights)
