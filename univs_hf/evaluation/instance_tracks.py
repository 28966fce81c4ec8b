# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Objects of a video as run lengths per frame: what JSON submissions hold, and all that is kept while a video runs."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from ..rle import encode_mask
from .benchmark import JobResults
from .prediction_frames import numbered_results, to_numpy


def collect_tracks(
    results: JobResults, num_frames: int, size: tuple[int, int], where: str, wanted: Container[int] | None = None
) -> dict[int, dict[int, dict[str, Any]]]:
    """Takes the results of a pass one by one and keeps the run lengths of the objects.

    Args:
        results ([`JobResults`]): Maps of ids or stacks of masks.
        num_frames (`int`): Frames of the pass.
        size (`tuple[int, int]`): (height, width) of the benchmark's masks, in pixels.
        where (`str`): Names the video in errors.
        wanted (container of `int`, *optional*): Frames to keep; by default all.

    Returns:
        `dict`: Object id to frame number to COCO RLE (`size`, `counts` as `str`), without empty masks.

    Raises:
        ValueError: If frames are missing, or masks have another size.
    """
    tracks: dict[int, dict[int, dict[str, Any]]] = {}
    for number, result in numbered_results(results, num_frames, where):
        if wanted is not None and number not in wanted:
            continue
        for object_id, mask in result_masks(result).items():
            if mask.shape != tuple(size):
                raise ValueError(
                    f"{where}, frame {number}: the frame has {mask.shape[0]}x{mask.shape[1]} pixels (height x width), "
                    f"the benchmark's masks {size[0]}x{size[1]}."
                )
            if mask.any():
                tracks.setdefault(object_id, {})[number] = encode_mask(mask)
    return tracks


def result_masks(result: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Masks of a frame's result: object id to bool (H, W)."""
    ids = [int(info["id"]) for info in result["segments_info"]]
    if "masks" in result:
        return dict(zip(ids, to_numpy(result["masks"]).astype(bool), strict=True))
    segmentation = to_numpy(result["segmentation"])
    return {object_id: segmentation == object_id for object_id in ids}
