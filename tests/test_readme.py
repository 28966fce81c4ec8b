# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The Python examples of the README run, one after the other as a reader would type them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_config import tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf import training
from univs_hf.video_writer import VideoWriter

NUM_FRAMES, HEIGHT, WIDTH = 6, 96, 160


def python_blocks(readme: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", readme, flags=re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small model `DIR` and a clip `video.mp4`."""
    tiny_model(num_frames=3, text_config=text_config()).save_pretrained(tmp_path / "DIR")
    tiny_processor().save_pretrained(tmp_path / "DIR")
    generator = np.random.default_rng(0)
    with VideoWriter(tmp_path / "video.mp4", fps=10) as writer:
        for _ in range(NUM_FRAMES):
            writer.write(generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_run(folder: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    masks[0, 10:50, 20:60], masks[1, 40:90, 80:150] = True, True
    names: dict[str, Any] = {
        "masks": masks,
        "prediction": np.arange(4 * 20 * 30).reshape(4, 20, 30) % 3,
        "ground_truth": np.arange(4 * 20 * 30).reshape(4, 20, 30) // 2 % 3,
        "frames": list(np.random.default_rng(1).integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)),
    }
    blocks = python_blocks((project_root / "README.md").read_text())
    # A stage takes days: its configuration is read as the example says, and not trained with.
    monkeypatch.setattr(training, "train", lambda config: config, raising=False)
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    (folder / "training").symlink_to(project_root / "training", target_is_directory=True)
    with torch.no_grad():
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    assert names["result"].data.root == "DATA"
    told = set(re.findall(r'task="(\w+)"|"(vss)", "(vps)"', "".join(blocks)))
    tasks = {task for match in told for task in match if task}
    assert tasks == {"vis", "vss", "vps", "vos", "pvos", "refvos"}
    assert names["masks"][0].shape[-2:] == (HEIGHT, WIDTH)
