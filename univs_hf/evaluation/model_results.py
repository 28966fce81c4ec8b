# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A pass of a benchmark through the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..data.layouts.frame_folders import read_rgb
from .benchmark import JobResults, VideoJob
from .reading_ahead import read_ahead

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
        settings (mapping, *optional*): Fields of [`UniVSConfig`] that win over the settings of the task and
            over those of the job.

    Returns:
        [`JobResults`]: To be iterated once.
    """
    session = processor.init_video_session(
        read_ahead(read_rgb, job.frames, together=1, ahead=_READ_AHEAD, threads=_READER_THREADS),
        task=job.task,
        **{**job.settings, **(settings or {})},
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
