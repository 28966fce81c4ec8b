# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The examples run as their README says: the letters are what they claim, fine-tuning is scored before and after."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from univs_hf.tiny_shapes import build_model, build_processor


@pytest.fixture
def letters(project_root, monkeypatch):
    monkeypatch.syspath_prepend(str(project_root / "examples"))
    import draw_letters

    return draw_letters


def test_letters(letters):
    assert not set(letters.PARTS["train"]) & set(letters.PARTS["held_out"])
    for part, num_frames in letters.NUM_FRAMES.items():
        frames, labels = map(np.stack, zip(*letters.draw_video(part, 1), strict=True))
        again, _ = map(np.stack, zip(*letters.draw_video(part, 1), strict=True))
        assert frames.shape == (num_frames, 128, 160, 3) and frames.dtype == np.uint8
        assert labels.shape == (num_frames, 128, 160) and labels.dtype == np.uint8
        assert np.array_equal(frames, again)
        # Ids are 1 to N, each is in the first frame, and letters move.
        ids = np.unique(labels).tolist()
        assert ids == np.unique(labels[0]).tolist() == list(range(len(ids))) and len(ids) in (3, 4, 5)
        assert (labels[0] != labels[-1]).any()
    first, other = (next(letters.draw_video("train", 0, seed))[0] for seed in (0, 1))
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="`part` must be one of"):
        next(letters.draw_video("test", 0))


def test_dataset(letters, tmp_path):
    assert letters.main([str(tmp_path / "data"), "--train-videos", "1", "--held-out-videos", "1"]) == 0
    video = tmp_path / "data" / "train" / "Annotations" / "letters000"
    with Image.open(video / "00000.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), next(letters.draw_video("train", 0))[1])
    with pytest.raises(FileExistsError, match="`out` must be a new folder"):
        letters.write_dataset(tmp_path / "data", {"train": 1})


@pytest.mark.slow
def test_fine_tuning_runs_and_goes_on(tmp_path, project_root):
    """In small and from a model without training: what is asked is that figures of both models come out."""
    build_model().save_pretrained(tmp_path / "start")
    build_processor().save_pretrained(tmp_path / "start")
    script = project_root / "examples" / "finetune_letters.py"
    small = ["--train-videos", "2", "--held-out-videos", "1", "--shapes-videos", "1", "--schedule.max_steps", "2"]
    small += ["--schedule.milestones", "[]", "--data.num_workers", "0", "--model.start", "start"]
    environment = {**os.environ, "PYTHONPATH": str(project_root), "HF_HOME": str(tmp_path / "hub")}

    def run():
        command = [sys.executable, str(script), "--out", "out", "--results", "results", *small]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads((tmp_path / "results" / "finetune_letters.json").read_text())

    shown, report = run()
    assert set(report["figures"]) == {"held-out letters", "moving shapes"}
    for figures in report["figures"].values():
        for values in figures.values():
            assert set(values) == {"before", "after"} and all(0 <= value <= 1 for value in values.values())
    assert report["steps"] == 2 and report["training_seconds"] > 0
    lines = (tmp_path / "results" / "finetune_letters.md").read_text().splitlines()
    assert len(lines) == 8 and all(line in shown for line in lines)
    assert re.fullmatch(r"\| held-out letters \| J&F \| [\d.]+ \| [\d.]+ \| [+-][\d.]+ \|", lines[2])
    assert Image.open(tmp_path / "results" / "finetune_letters.jpg").size[0] > 300
    # The rows are those of the training part alone.
    assert len(list((tmp_path / "out" / "rows" / "data").glob("train-*.parquet"))) == 1
    _, again = run()
    assert again["figures"] == report["figures"] and again["training_seconds"] is None


def test_unknown_option_is_told(tmp_path, project_root):
    script = project_root / "examples" / "finetune_letters.py"
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    command = [sys.executable, str(script), "--out", "out", "--schedule.max_stepz", "3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert re.match(r"finetune_letters.py: .*schedule.max_stepz.*schedule.max_steps", done.stderr)
