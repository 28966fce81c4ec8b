# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The whole recipe of `univs-tiny-shapes`: videos, three stages, a model in half precision, scores on test videos.

    python training/train_tiny_shapes.py --processes 2

It can be stopped at any time, also by `kill -9`: the same command goes on from the last checkpoint, and what is
finished is not done again. Values of the configurations `training/configs/tiny_shapes_stage*.yaml` can be changed for
all stages by options such as `--schedule.max_steps 100`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
NUM_STAGES = 3
DATASETS = ("shapes_detection", "shapes_grounding")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not done yet; the exit status is that of the first step that fails, or 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=Path("runs/tiny_shapes"), help="folder; default: %(default)s")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of training; default: %(default)s")
    parser.add_argument("--train-videos", type=int, default=8000, metavar="N", help="default: %(default)s")
    parser.add_argument("--test-videos", type=int, default=200, metavar="N", help="default: %(default)s")
    options, overrides = parser.parse_known_args(arguments)
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    data, start = out / "data", out / "start"
    data.mkdir(exist_ok=True)
    if not (data / "train.parquet").is_file():
        shapes = ["--split", "train", "--num-videos", str(options.train_videos), "--workers", str(options.processes)]
        _run("-m", "univs_cli", "shapes", *shapes, "--out", str(data / "train.parquet"))
    _run("-m", "univs_hf.tiny_shapes", str(start))
    previous = start
    for stage in range(1, NUM_STAGES + 1):
        folder = out / f"stage{stage}"
        if not (folder / "final" / "config.json").is_file():
            config = ROOT / "configs" / f"tiny_shapes_stage{stage}.yaml"
            paths = [f"--data.datasets.{name}.path={data}" for name in DATASETS]
            options_of_stage = [f"--output_dir={folder}", f"--model.start={previous}", *paths, *overrides]
            _run(*_launcher(options.processes), str(ROOT / "train.py"), "--config", str(config), *options_of_stage)
        previous = folder
    model = out / "univs-tiny-shapes"
    if not (model / "model.safetensors").is_file():
        _write_half(previous / "final", model)
    videos = ["--split", "test", "--num-videos", str(options.test_videos), "--processes", str(options.processes)]
    _run("-m", "univs_hf.training.score_shapes", str(model), *videos, "--out", str(out / "test_scores.json"))
    return 0


def _launcher(processes: int) -> list[str]:
    if processes == 1:
        return []
    # Of accelerate's launchers only that for GPUs starts several processes by itself; without GPUs they use the CPU.
    settings = ["--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
    return ["-m", "accelerate.commands.launch", "--multi_gpu", *settings, "--dynamo_backend", "no"]


def _run(*command: str) -> None:
    # The model is so small that threads of one process would mostly wait for one another.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    print("+ python", " ".join(command), flush=True)
    done = subprocess.run([sys.executable, *command], env=environment)
    if done.returncode:
        raise SystemExit(done.returncode)


def _write_half(source: Path, target: Path) -> None:
    """Saves a model with its processor in half precision; the folder appears when it is complete."""
    import torch

    from univs_hf import UniVSForVideoSegmentation, UniVSProcessor

    temporary = target.with_name(target.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    UniVSForVideoSegmentation.from_pretrained(source, dtype=torch.float32).half().save_pretrained(temporary)
    UniVSProcessor.from_pretrained(source).save_pretrained(temporary)
    # Who loads the model computes in float32 unless told otherwise.
    config = json.loads((temporary / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, target)


if __name__ == "__main__":
    raise SystemExit(main())
