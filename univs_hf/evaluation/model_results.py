# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A pass of a benchmark through the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.layouts.frame_folders import read_rgb
from .benchmark import JobResults, VideoJob

if TYPE_CHECKING:
    from ..modeling_univs import UniVSForVideoSegmentation
    from ..processing_univs import UniVSProcessor

# Frames that are decoded before the model asks for them, and threads that do it.
_READ_AHEAD = 8
_READER_THREADS = 2


def model_results(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    job: VideoJob,
    settings: Mapping[str, Any] | None = None,
) -> JobResults:
    """Runs one pass; frames are read and results made as they are asked for.

    Args:
        model ([`UniVSForVideoSegmentation`]): In evaluation mode.
        processor ([`UniVSProcessor`]): That of the model.
        job ([`VideoJob`]): What is asked.
        settings (mapping, *optional*): Fields of [`UniVSConfig`] that win over the published settings of the task and
            over those of the job.

    Returns:
        [`JobResults`]: To be iterated once.
    """
    session = processor.init_video_session(
        read_ahead(job.frames), task=job.task, **{**job.settings, **(settings or {})}
    )
    if job.categories is not None:
        processor.set_categories(session, job.categories, job.thing_flags)
    for frame_idx, objects in sorted(job.prompts.items()):
        session.add_inputs(frame_idx, "mask", objects)
    if job.object_categories:
        session.set_object_categories(job.object_categories)
    if job.expressions:
        processor.add_text_prompt(session, list(job.expressions.values()), list(job.expressions))
    return JobResults(model.propagate_in_video_iterator(session), session.summary)


def read_ahead(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yields the images in order; a few are decoded by other threads while the model works."""
    with ThreadPoolExecutor(_READER_THREADS) as executor:
        waiting: deque[Future[np.ndarray]] = deque()
        try:
            for path in paths:
                waiting.append(executor.submit(read_rgb, path))
                if len(waiting) > _READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
