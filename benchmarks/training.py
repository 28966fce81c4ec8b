# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Times training: clips per second, where the time of a step goes, and memory.

    python benchmarks/training.py [--model tiny|resnet50 --size 128 --frames 3 --clips 4 --steps 10 --json FILE]

The training loop runs as it is, on generated videos, for each kind of clip: detection with category prompts and with
visual prompts, object tracking, expressions, and a long clip in windows (stage 3). Its parts are timed from outside:
waiting for data, arguments (texts and prompts), encoding of frames, decoding, criterion (matching and losses, within
which everything that the decoder gives is compared), backward pass, and update (clipping, AdamW, average of the
weights). The rest is prompts and bookkeeping. On a GPU every part waits for the device, which costs a little.
`resnet50` is the published architecture with random weights and a small text tower.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import accelerate
import torch

from univs_hf import UniVSConfig, UniVSForVideoSegmentation, tiny_shapes
from univs_hf.loss_univs import UniVSCriterion
from univs_hf.training import loop, train
from univs_hf.training.config_files import config_from_dict
from univs_hf.training.step_figures import memory_gib

# Steps before the clock runs: workers start, memory is allocated, kernels are chosen.
WARM_UP = 3
CASES: dict[str, dict[str, Any]] = {
    "detection, category prompts": {"task": "detection", "prompts": {"visual_probability": 0.0}},
    "detection, visual prompts": {"task": "detection", "prompts": {"visual_probability": 1.0}},
    "object tracking": {"task": "sot"},
    "expressions": {"task": "grounding"},
    "long clip, windows of 3": {"task": "sot", "num_frames": 5, "prompts": {"window_frames": 3}},
}
PARTS = ("data", "arguments", "encode", "decode", "criterion", "backward", "update")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("tiny", "resnet50"), default="tiny")
    parser.add_argument("--size", type=int, default=128, help="side of the frames")
    parser.add_argument("--frames", type=int, default=3, help="frames of a clip, but for the long one")
    parser.add_argument("--clips", type=int, default=4, help="clips per step")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--workers", type=int, default=1, help="data workers")
    parser.add_argument("--points", type=int, default=None, help="points per mask; 512 or 12544 by default")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--json", type=Path, default=None, help="file for all numbers")
    return parser.parse_args(arguments)


class Clock:
    """Seconds of named parts of the steps after the warm-up."""

    def __init__(self, num_steps: int):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.total, self.steps = 0.0, 0
        self._num_steps = num_steps

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time counts for `part`."""

        def call(*arguments: Any, **options: Any) -> Any:
            began = self._now()
            result = function(*arguments, **options)
            if self.steps >= WARM_UP:
                self.seconds[part] += self._now() - began
            return result

        return call

    def step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which makes one update of the weights."""

        def call(*arguments: Any, **options: Any) -> Any:
            began = self._now()
            result = function(*arguments, **options)
            if self.steps >= WARM_UP:
                self.total += self._now() - began
            self.steps += 1
            return result

        return call


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Everything that is timed tells the clock."""
    places = {
        "data": [(loop.ClipBatches, "__next__")],
        "arguments": [(loop.ModelInputs, "__call__")],
        "encode": [(UniVSForVideoSegmentation, "encode_frames")],
        "decode": [(UniVSForVideoSegmentation, "decode_clip")],
        "criterion": [(UniVSCriterion, "__call__")],
        "backward": [(accelerate.Accelerator, "backward")],
        "update": [
            (accelerate.Accelerator, "clip_grad_norm_"),
            (accelerate.optimizer.AcceleratedOptimizer, "step"),
            (loop.WeightAverage, "update"),
        ],
    }
    patches = [
        mock.patch.object(owner, name, clock.timed(part, getattr(owner, name)))
        for part, members in places.items()
        for owner, name in members
    ]
    patches.append(mock.patch.object(loop._Run, "_update", clock.step(loop._Run._update)))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def make_start(options: argparse.Namespace, folder: Path) -> Path:
    """A model with random weights and its processor."""
    processor = tiny_shapes.build_processor()
    if options.model == "tiny":
        model = tiny_shapes.build_model()
    else:
        text = tiny_shapes.build_config().text_config
        config = UniVSConfig.from_preset("resnet50", text_config=text, num_text_templates=2)
        model = UniVSForVideoSegmentation(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def measure(options: argparse.Namespace, case: dict[str, Any], start: Path, folder: Path) -> dict[str, float]:
    """Figures of one kind of clip."""
    shapes = {"height": options.size, "width": options.size, "num_frames": 8}
    config = config_from_dict(
        {
            "output_dir": str(folder),
            "backbone": None,
            "mixed_precision": options.precision,
            "model": {"start": str(start)},
            "data": {
                "use_recipe_mixture": False,
                "datasets": {"clips": {"rows": "moving_shapes", "task": case["task"], "generator": shapes}},
                "num_frames": case.get("num_frames", options.frames),
                "batch_size": options.clips,
                "num_workers": options.workers,
                "augmentation": {"square_size": options.size, "scale_range": [1.0, 1.0]},
            },
            "prompts": case.get("prompts", {}),
            "loss": {"num_points": options.points or (512 if options.model == "tiny" else 12544)},
            "schedule": {"max_steps": WARM_UP + options.steps},
            "ema": {"enabled": True},
            "checkpoint": {"every": 10**6},
            "tracking": {"log_every": 10**6, "trackers": [], "progress": False},
        }
    )
    clock = Clock(options.steps)
    with watched(clock):
        result = train(config)
    step = clock.total / options.steps
    shares = {part: seconds / clock.total for part, seconds in clock.seconds.items()}
    return {
        "clips_per_second": options.clips / step,
        "seconds_per_step": step,
        **shares,
        "rest": 1 - sum(shares.values()),
        "memory_gib": result.history[-1].get("memory_gib", memory_gib(torch.device("cpu"))),
    }


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    found = {}
    columns = [*PARTS, "rest"]
    print(f"{'':30}{'clips/s':>9}{'s/step':>8}" + "".join(f"{part:>10}" for part in columns) + f"{'GiB':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        start = make_start(options, Path(scratch) / "start")
        for number, (name, case) in enumerate(CASES.items()):
            found[name] = figures = measure(options, case, start, Path(scratch) / str(number))
            line = f"{name:30}{figures['clips_per_second']:9.2f}{figures['seconds_per_step']:8.2f}"
            line += "".join(f"{figures[part]:10.0%}" for part in columns)
            print(line + f"{figures['memory_gib']:7.2f}", flush=True)
    if options.json is not None:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        report = {"settings": settings, "device": device, "threads": torch.get_num_threads(), "cases": found}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
