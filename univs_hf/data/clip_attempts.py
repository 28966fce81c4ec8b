# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The first of several rows that a clip can be made of: damaged rows and rows that show nothing are passed over."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from .clip import Clip, SourceClip
from .clip_from_row import ClipConfig, EmptyClipError, clip_from_row, source_clip_from_row
from .schema import Row, RowError

logger = logging.getLogger(__name__)


def first_clip(
    candidates: Iterable[tuple[Row, int]], config: ClipConfig, geometry_on_device: bool, name: str, place: str
) -> Clip | SourceClip:
    """Makes a clip of the first row that gives one.

    Args:
        candidates: Rows and the seeds of their clips, read one by one as they are needed.
        config: How clips are made.
        geometry_on_device: Make a [`~univs_hf.data.clip.SourceClip`].
        name: Of the dataset, for messages.
        place: Where in it the first row is, for messages.

    Returns:
        The clip, which tells in `skipped` what was passed over and why.

    Raises:
        RuntimeError: If no row gave one; names the rows and the reasons.
    """
    make = source_clip_from_row if geometry_on_device else clip_from_row
    skipped: list[str] = []
    for row, seed in candidates:
        try:
            clip = make(row, seed, config)
        except EmptyClipError as error:
            skipped.append(str(error))
        except RowError as error:
            logger.warning("%s: %s", name, error)
            skipped.append(str(error))
        else:
            return replace(clip, skipped=tuple(skipped)) if skipped else clip
    raise RuntimeError(f"No clip of {name!r} after {len(skipped)} attempts from {place}: {skipped}")
