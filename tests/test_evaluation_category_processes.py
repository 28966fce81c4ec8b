# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Category-guided benchmarks and BURST by their scripts: two processes give the figures of one, to the last bit."""

import json
import os
import subprocess
import sys

import pytest
from decisive_model import decisive_model
from mini_datasets import write_burst, write_vipseg_converted, write_vspw, write_youtube_vis
from tiny_processor import tiny_processor

WRITERS = {
    "ytvis19": lambda root: write_youtube_vis(root, "ytvis19", "valid.json", "valid/JPEGImages"),
    "vspw": write_vspw,
    "vipseg": write_vipseg_converted,
    "burst": write_burst,
}
SETTINGS = {"shortest_edge": 32, "longest_edge": 64, "num_frames": 3, "class_score_threshold": 0.001}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    decisive_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_two_processes_give_the_figures_of_one(name, model, tmp_path, project_root):
    WRITERS[name](tmp_path / "data")
    launchers = {
        "one": [sys.executable],
        "two": [
            # Of accelerate's launchers only that for GPUs starts several processes by itself.
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        ],
    }
    scores = {}
    for number, launcher in launchers.items():
        out = tmp_path / number
        command = [*launcher, str(project_root / "eval_scripts" / f"{name}.py"), "--data", str(tmp_path / "data")]
        command += ["--model", str(model), "--out", str(out), "--device", "cpu", "--quiet"]
        command += [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project_root)}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        scores[number] = json.loads((out / "scores.json").read_text())
        assert (out / "report.html").stat().st_size > 10_000
    assert [scores[number]["run"]["num_processes"] for number in launchers] == [1, 2]
    assert scores["one"]["figures"] == scores["two"]["figures"]
    assert scores["one"]["videos"] == scores["two"]["videos"] and len(scores["one"]["videos"]) == 2
