# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Training on streamed rows: of Parquet files, and going on where a run was."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from training_runs import SHAPES, run_config

from univs_hf.data.moving_shapes import MovingShapes, MovingShapesConfig
from univs_hf.data.row_builder import write_parquet
from univs_hf.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """12 videos in row groups of 4 rows."""
    folder = tmp_path_factory.mktemp("rows")
    videos = list(MovingShapes("train", 12, MovingShapesConfig(**SHAPES)).rows())
    for number in range(3):
        write_parquet(videos[4 * number : 4 * number + 4], folder / "shapes" / f"train-{number:05d}-of-00003.parquet")
    return folder


def streaming(rows, **data):
    # One dataset from files, one that is made while training.
    return {
        "data": {
            "streaming": True,
            "datasets": {"detection": {"path": str(rows / "shapes")}, "grounding": {"weight": 0}},
            **data,
        }
    }


class Interrupted(Exception):
    pass


def interrupt_at_3(model, processor, step):
    if step == 3:
        raise Interrupted
    return {}


def weights(result):
    return load_file(result.model_path / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_goes_on_with_the_same_bits(rows, tmp_path, num_workers):
    changes = streaming(rows, num_workers=num_workers)
    whole = train(run_config(tmp_path / "whole", **changes))
    changes["evaluation"] = {"every": 1}
    # After step 3 there is a checkpoint of step 2 and work that is lost.
    with pytest.raises(Interrupted):
        train(run_config(tmp_path / "cut", **changes), evaluate=interrupt_at_3)
    result = train(run_config(tmp_path / "cut", **changes), evaluate=lambda model, processor, step: {})
    assert result.resumed_from.name == "step-00000002"
    assert result.losses == whole.losses
    first, second = weights(result), weights(whole)
    assert all(torch.equal(first[name], second[name]) for name in second)
    with pytest.raises(ValueError, match=r"saved with num_workers .*checkpoint.strict"):
        train(run_config(tmp_path / "cut", **streaming(rows, num_workers=1 if num_workers else 3)))


def test_state_is_in_the_checkpoint(rows, tmp_path):
    result = train(run_config(tmp_path, **streaming(rows), schedule={"max_steps": 2}))
    state = json.loads((result.model_path.parent / "checkpoints/step-00000002/state/trainer.json").read_text())
    position = state["sampler"]
    assert position["step"] == 2 and position["shards"] == {"detection": 3, "sot": 40}
    assert set(position["positions"]) == {"0"}
    used = sum(row for _, row, _ in position["positions"]["0"].values())
    assert used >= 2


@pytest.mark.slow
def test_two_processes_keep_the_positions_of_all_workers(rows, tmp_path, project_root):
    """Stopped after a checkpoint and gone on with: the losses of a run that was not."""
    script = str(project_root / "tests" / "training_runs.py")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(project_root),
    }

    def run(folder, steps):
        run_config_folder = tmp_path / folder
        if not run_config_folder.exists():
            run_config_folder.mkdir()
            run_config(run_config_folder)
        options = ["--data.streaming", "true", "--data.num_workers", "2", "--checkpoint.every", "4"]
        options += ["--data.datasets.detection.path", str(rows / "shapes"), "--schedule.max_steps", str(steps)]
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29643"]
        command = [sys.executable, *launcher, script, str(run_config_folder), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        log = (run_config_folder / "run" / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in log]

    whole = run("whole", 8)
    run("cut", 4)
    state = json.loads((tmp_path / "cut/run/checkpoints/step-00000004/state/trainer.json").read_text())
    assert set(state["sampler"]["positions"]) == {"0", "1", "2", "3"}
    assert run("cut", 8) == whole
