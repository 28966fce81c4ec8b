# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Results of a video frame by frame: one for each, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def numbered_results(
    results: Iterable[dict[str, Any]], num_frames: int, where: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Passes results on with their frame numbers, and sees to it that each frame has one.

    Args:
        results (iterable of `dict`): With `frame_idx`.
        num_frames (`int`): Frames of the video.
        where (`str`): Names the video in errors.

    Raises:
        ValueError: If a frame is missing, comes twice or out of order, or there are too many.
    """
    count = 0
    for result in results:
        if result["frame_idx"] != count or count >= num_frames:
            raise ValueError(
                f"{where}: a result is of frame {result['frame_idx']}, expected was {count} of {num_frames}."
            )
        yield count, result
        count += 1
    if count != num_frames:
        raise ValueError(f"{where} has {num_frames} frames, but only {count} results.")


def spread(num_frames: int, limit: int) -> list[int]:
    """Up to `limit` frame numbers, spread evenly from the first frame to the last; one frame is the middle one."""
    if limit == 1:
        return [num_frames // 2]
    return np.unique(np.linspace(0, num_frames - 1, min(limit, num_frames)).round().astype(int)).tolist()


def to_numpy(value: Any) -> np.ndarray:
    """An array, or a tensor wherever it is, as an array."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
