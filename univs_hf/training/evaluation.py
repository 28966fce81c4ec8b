# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a run does with its model every so many updates: generated validation videos, figures and pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image

from ..data.moving_shapes import MovingShapes, video_name
from ..modeling_univs import UniVSForVideoSegmentation
from ..processing_univs import UniVSProcessor
from .config import EvaluationConfig
from .generated_rows import shapes_config
from .shapes_scores import ShapesScores, score_videos

EvaluationHook = Callable[[UniVSForVideoSegmentation, UniVSProcessor, int], dict[str, float]]
"""Takes the model with the weights to evaluate, its processor and the step, on every process; gives named figures."""


class ShapesEvaluation:
    """The hook that a run has by default: the six tasks on moving shapes of the split `validation`.

    The videos are shared among the processes. Pictures are written to `pictures/step-<step>/<task>-<video>.jpg` of the
    output directory.

    Args:
        config: What to evaluate.
        output_dir: The run's.
        accelerator: The run's.

    Raises:
        ValueError: If settings of the generator do not hold.
    """

    def __init__(self, config: EvaluationConfig, output_dir: Path, accelerator: Accelerator):
        self._config = config
        self._folder = output_dir / "pictures"
        self._accelerator = accelerator
        self._videos = MovingShapes(
            "validation", config.num_videos, shapes_config("evaluation.generator", config.generator)
        )

    def __call__(self, model: UniVSForVideoSegmentation, processor: UniVSProcessor, step: int) -> dict[str, float]:
        index, count = self._accelerator.process_index, self._accelerator.num_processes
        numbers = range(index, len(self._videos), count)
        config = self._config
        scores = ShapesScores(config.tasks, config.settings)
        shared = zip(
            numbers,
            score_videos(
                model, processor, (self._videos[number] for number in numbers), config.tasks, config.settings
            ),
            strict=True,
        )
        for number, (found, video, pictures) in shared:
            scores = found
            if number < config.num_overlays:
                for task, picture in pictures.items():
                    self._write(step, f"{task}-{video_name(video.seed)}.jpg", picture)
        every = gather_object([scores]) if count > 1 else [scores]
        first, *others = every
        for other in others:
            first.merge(other)
        return first.figures()

    def _write(self, step: int, name: str, picture: np.ndarray) -> None:
        folder = self._folder / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}.jpg"
        Image.fromarray(picture).save(temporary, quality=90)
        os.replace(temporary, folder / name)
