# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Scores of a model directory on held-out generated videos, and the whole recipe of univs-tiny-shapes in miniature."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch

from univs_hf.data.moving_shapes import MovingShapes, MovingShapesConfig
from univs_hf.tiny_shapes import TASK_SETTINGS, build_model, build_processor
from univs_hf.training.score_shapes import main, score_model
from univs_hf.training.shapes_scores import score_videos

SMALL = MovingShapesConfig(height=64, width=64, num_frames=4, min_visible_frames=2)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model whose masks have shapes; what it says is wrong, but not always the same."""
    folder = tmp_path_factory.mktemp("model")
    model = build_model(seed=1, num_queries=8)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
    model.save_pretrained(folder)
    build_processor().save_pretrained(folder)
    return folder


def test_figures_are_those_of_the_videos_one_after_another(model_folder):
    from univs_hf import UniVSForVideoSegmentation, UniVSProcessor

    tasks = ("pvos", "refvos")
    figures = score_model(model_folder, "validation", 2, tasks, generator=SMALL)
    model = UniVSForVideoSegmentation.from_pretrained(model_folder)
    videos = MovingShapes("validation", 2, SMALL)
    *_, (scores, _, _) = score_videos(model, UniVSProcessor.from_pretrained(model_folder), videos, tasks)
    assert figures.keys() == scores.figures().keys()
    assert any(0 < value < 1 for value in figures.values())
    for name, value in scores.figures().items():
        assert figures[name] == value or math.isnan(figures[name]) and math.isnan(value)


def test_videos_of_training_are_refused(model_folder):
    with pytest.raises(ValueError, match="`split` must be one of .*validation.*got 'train'"):
        score_model(model_folder, "train", 1)
    with pytest.raises(ValueError, match="`num_processes` must be at least 1, got 0"):
        score_model(model_folder, "test", 1, num_processes=0)


def test_command_writes_figures_and_tells_mistakes(model_folder, tmp_path, capsys):
    out = tmp_path / "scores.json"
    arguments = [str(model_folder), "--num-videos", "1", "--num-frames", "8", "--tasks", "vss", "--out", str(out)]
    assert main([*arguments, "--set", "num_frames=2"]) == 0
    report = json.loads(out.read_text())
    assert (report["split"], report["num_videos"], report["num_frames"]) == ("validation", 1, 8)
    assert (report["settings"], report["task_settings"]) == ({"num_frames": 2}, TASK_SETTINGS)
    assert f"{100 * report['figures']['vss/mIoU']:6.1f}" in capsys.readouterr().out
    assert main([*arguments, "--set", "num_frame=2"]) == 2
    assert "num_frame" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2


@pytest.mark.slow
def test_two_processes_give_the_same_figures(model_folder):
    tasks = ("vss", "vps")
    one, two = (score_model(model_folder, "test", 3, tasks, None, SMALL, count) for count in (1, 2))
    assert one == pytest.approx(two, abs=1e-12, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"], ids=["alone", "accelerate_launch"])
def test_recipe_runs_from_nothing_and_does_nothing_twice(project_root, tmp_path, processes):
    command = [sys.executable, str(project_root / "training" / "train_tiny_shapes.py"), "--out", str(tmp_path)]
    command += ["--processes", processes, "--train-videos", "4", "--test-videos", "1"]
    command += ["--schedule.max_steps", "1", "--schedule.milestones=[]"]
    command += ["--schedule.warmup_steps", "0", "--evaluation.every", "0", "--data.num_workers", "0", "--cpu", "true"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    weights = tmp_path / "univs-tiny-shapes" / "model.safetensors"
    assert weights.stat().st_size <= 16e6
    report = json.loads((tmp_path / "test_scores.json").read_text())
    assert report["split"] == "test" and set(report["figures"]) >= {"vis/AP", "vos/J&F", "refvos/J&F"}
    written = weights.stat().st_mtime_ns
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0 and weights.stat().st_mtime_ns == written
    assert "train.py" not in again.stdout
