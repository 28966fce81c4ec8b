# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Scores a model on generated videos that it was not trained on, with the metrics of the benchmarks.

    python -m univs_hf.training.score_shapes MODEL --split test --num-videos 200 --out scores.json

Seeds of the splits are disjoint, so videos of `validation` and `test` are in no training set. Settings are chosen on
`validation`; `test` is for figures that are told. The file is one of those that model cards are made from.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml

from ..configuration_univs import UniVSConfig
from ..data.moving_shapes import CATEGORY_SET, MovingShapes, MovingShapesConfig
from ..modeling_univs import UniVSForVideoSegmentation
from ..packaged_checkpoints import resolve_checkpoint
from ..processing_univs import UniVSProcessor
from ..video_writer import temporary_sibling
from .config import EVALUATION_TASKS
from .shapes_scores import ShapesScores, score_videos

HELD_OUT_SPLITS = ("validation", "test")


def score_model(
    model: str | os.PathLike,
    split: str,
    num_videos: int,
    tasks: Sequence[str] = EVALUATION_TASKS,
    settings: Mapping[str, Any] | None = None,
    generator: MovingShapesConfig | None = None,
    num_processes: int = 1,
) -> dict[str, float]:
    """Scores of a model on the first videos of a split.

    Args:
        model: Directory, or name of a packaged checkpoint.
        split: `"validation"` or `"test"`.
        num_videos: At least 1.
        tasks: Some of the six tasks.
        settings: Fields of [`UniVSConfig`] that win over the settings of the tasks.
        generator: What the videos are like.
        num_processes: That share the videos, one thread each; the figures do not depend on it.

    Returns:
        `task/figure` -> value, fractions; NaN where there was nothing to score.

    Raises:
        ValueError: If a value is not accepted.
    """
    if split not in HELD_OUT_SPLITS:
        raise ValueError(f"`split` must be one of {list(HELD_OUT_SPLITS)}, got {split!r}.")
    for name, value in (("num_videos", num_videos), ("num_processes", num_processes)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    total = ShapesScores(tasks, settings)
    generator = MovingShapesConfig() if generator is None else generator
    parts = [
        (os.fspath(resolve_checkpoint(model)), split, num_videos, tuple(tasks), dict(settings or {}), generator, part)
        for part in (range(start, num_videos, num_processes) for start in range(min(num_processes, num_videos)))
    ]
    if len(parts) == 1:
        total.merge(_score_part(*parts[0]))
    else:
        # Not forked: a child would never see locks released that other threads of the parent hold.
        with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
            for scores in [pool.submit(_score_part, *part) for part in parts]:
                total.merge(scores.result())
    return total.figures()


def _score_part(
    model: str,
    split: str,
    num_videos: int,
    tasks: Sequence[str],
    settings: Mapping[str, Any],
    generator: MovingShapesConfig,
    numbers: range,
) -> ShapesScores:
    """Scores of some of the videos."""
    # The model is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    videos = MovingShapes(split, num_videos, generator)
    loaded = UniVSForVideoSegmentation.from_pretrained(model, dtype=torch.float32)
    processor = UniVSProcessor.from_pretrained(model)
    scores = ShapesScores(tasks, settings)
    for so_far, _, _ in score_videos(loaded, processor, (videos[number] for number in numbers), tasks, settings):
        scores = so_far
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Scores a model, prints the figures and writes them if wanted; the exit status.

    Args:
        arguments: Those of the command line by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m univs_hf.training.score_shapes",
        description="Score a model on generated videos that it was not trained on.",
        allow_abbrev=False,
    )
    parser.add_argument("model", help="directory, or name of a packaged checkpoint")
    parser.add_argument("--split", choices=HELD_OUT_SPLITS, default="validation", help="default: %(default)s")
    parser.add_argument("--num-videos", type=int, default=200, metavar="N", help="default: %(default)s")
    parser.add_argument("--num-frames", type=int, default=24, metavar="N", help="of a video; default: %(default)s")
    parser.add_argument("--tasks", nargs="+", choices=EVALUATION_TASKS, default=EVALUATION_TASKS, metavar="TASK")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="setting; repeatable")
    parser.add_argument("--out", type=Path, metavar="JSON", help="file to write")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        settings = dict(_setting(text) for text in options.set)
        generator = MovingShapesConfig(num_frames=options.num_frames)
        figures = score_model(
            options.model,
            options.split,
            options.num_videos,
            options.tasks,
            settings,
            generator,
            options.processes,
        )
    except (OSError, TypeError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for name, value in figures.items():
        print(f"{name:20}{100 * value:6.1f}")
    if options.out is not None:
        report = {
            "benchmark": CATEGORY_SET,
            "split": options.split,
            "num_videos": options.num_videos,
            "num_frames": generator.num_frames,
            "frame_size": [generator.height, generator.width],
            "settings": settings,
            "task_settings": UniVSConfig.from_pretrained(options.model).task_settings or {},
            "seconds": round(time.monotonic() - started, 1),
            "figures": {name: None if value != value else value for name, value in figures.items()},
        }
        temporary = temporary_sibling(options.out)
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, options.out)
    return 0


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"`--set` must be NAME=VALUE, got {text!r}.")
    return name, yaml.safe_load(value)


if __name__ == "__main__":
    raise SystemExit(main())
