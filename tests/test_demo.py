# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What `make demo` runs: six overlays of the right length and size, a sheet, results; an error where weights lack."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from univs_hf.data.moving_shapes import MovingShapesConfig, generate_video, seed_of
from univs_hf.packaged_checkpoints import CHECKPOINTS_FOLDER
from univs_hf.rle import decode_mask
from univs_hf.tiny_shapes import build_model, build_processor
from univs_hf.video_io import open_video

TASKS = ["vis", "vss", "vps", "vos", "pvos", "refvos"]


def demo(project_root, out, *options):
    environment = {**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(project_root / "demo" / "run_demo.py"), "--out", str(out), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, cwd=out.parent)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "untrained"
    build_model().save_pretrained(folder)
    build_processor().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_all_six_tasks(tmp_path, project_root, model_folder):
    out = tmp_path / "out"
    done = demo(project_root, out, "--model", str(model_folder), "--frames", "9", "--video", "4")
    assert done.returncode == 0, done.stderr
    video = generate_video(seed_of("validation", 4), MovingShapesConfig(num_frames=9))
    files = {"clip.mp4", "first_frame.png", "results.json", "sheet.png", *(f"{task}.mp4" for task in TASKS)}
    assert set(os.listdir(out)) == files
    assert all(str(out / name) in done.stdout for name in files)
    for name, size in (("clip.mp4", (128, 128)), *((f"{task}.mp4", (552, 1028)) for task in TASKS)):
        with open_video(out / name) as written:
            assert (written.info.height, written.info.width, float(written.info.fps)) == (*size, 12.0)
            assert sum(1 for _ in written) == 9
    results = json.loads((out / "results.json").read_text())
    assert results["video"]["seed"] == video.seed and results["video"]["split"] == "validation"
    assert list(results["tasks"]) == TASKS
    for record in results["tasks"].values():
        assert [frame["frame_idx"] for frame in record["frames"]] == list(range(9))
        assert record["scores"] and all(value is None or 0 <= value <= 1 for value in record["scores"].values())
    # Objects of VOS are given in the first frame, and found again there even by a model without training.
    first = results["tasks"]["vos"]["frames"][0]["segments"]
    assert len(first) == sum(video.is_visible[0, thing.id - 1] for thing in video.things)
    masks = [decode_mask(segment["segmentation"]) for segment in first]
    things = [video.mask(thing.id)[0] for thing in video.things]
    for mask in masks:
        assert max((mask & thing).sum() / (mask | thing).sum() for thing in things) > 0.7
    expressions = {segment["label"] for segment in results["tasks"]["refvos"]["frames"][0]["segments"]}
    assert expressions <= {expression.text for expression in video.expressions}
    sheet = np.asarray(Image.open(out / "sheet.png"))
    assert sheet.shape[1] > 2000 and sheet.std() > 20


def test_missing_weights_are_told_at_once(tmp_path, project_root):
    done = demo(project_root, tmp_path / "out", "--model", str(tmp_path / "nothing"))
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert re.fullmatch(r"run_demo.py: .*nothing holds no model: config.json is missing.\n", done.stderr)


def test_missing_packaged_checkpoint_is_told(tmp_path, project_root):
    """In a copy of the package without the files of its checkpoint."""
    ignored = shutil.ignore_patterns("__pycache__", CHECKPOINTS_FOLDER.name)
    shutil.copytree(project_root / "univs_hf", tmp_path / "univs_hf", ignore=ignored)
    shutil.copytree(project_root / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("__pycache__", "out"))
    done = demo(tmp_path, tmp_path / "out")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.count("\n") == 1 and "'univs-tiny-shapes' are not part of this installation" in done.stderr
