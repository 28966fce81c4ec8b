# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Small videos of objects with predictions of middling quality, and checks that every metric of objects must pass."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from univs_hf.metrics.video_metric import VideoMetric


def moving_objects(seed: int, frames: int = 6, objects: int = 3, size: tuple[int, int] = (30, 40)) -> np.ndarray:
    """Label maps (frames, height, width), uint8, of ellipses 1..objects that drift; the first frame shows them all."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    video = np.zeros((frames, *size), dtype=np.uint8)
    for object_id in range(1, objects + 1):
        centre = np.array([size[0] * 0.5, size[1] * object_id / (objects + 1)])
        step, radii = rng.normal(size=2), rng.uniform(3, size[1] / (2 * objects + 3), 2)
        for frame in range(frames):
            at = centre + step * frame
            video[frame][((y - at[0]) / radii[0]) ** 2 + ((x - at[1]) / radii[1]) ** 2 <= 1] = object_id
    return video


def imperfect(video: np.ndarray, seed: int) -> np.ndarray:
    """The video moved a little, frame by frame, without some objects in some frames."""
    rng = np.random.default_rng(seed)
    result = np.stack([np.roll(frame, rng.integers(-2, 3, 2), (0, 1)) for frame in video])
    for frame in result:
        if rng.random() < 0.3:
            frame[frame == rng.integers(1, video.max(), endpoint=True)] = 0
    return result


def as_masks(frame: np.ndarray, objects: int) -> dict[int, np.ndarray]:
    return {object_id: frame == object_id for object_id in range(1, objects + 1)}


def as_run_lengths(frame: np.ndarray, objects: int) -> dict[int, Any]:
    return {
        object_id: coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        for object_id, mask in as_masks(frame, objects).items()
    }


class Unsized:
    """Frames whose number is not known before they are read."""

    def __init__(self, frames: Any) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Any]:
        return iter(self.frames)


def watched(frames: Any, log: list[tuple[str, int]], name: str) -> Iterator[Any]:
    """The frames, each noted in `log` when it is asked for."""
    for index, frame in enumerate(frames):
        log.append((name, index))
        yield frame


def check_read_side_by_side(log: list[tuple[str, int]]) -> None:
    """Two generators must have advanced together: no video is read ahead of the other or kept."""
    position = {name: 0 for name, _ in log}
    assert len(position) > 1
    for name, index in log:
        position[name] = index + 1
        assert max(position.values()) - min(position.values()) <= 1


def check_merging(new_metric: Callable[[], VideoMetric], updates: dict[str, Callable[[VideoMetric], None]]) -> None:
    """However videos are divided among instances, and in whatever order, the figures are equal to the last bit.

    Args:
        new_metric: Makes an empty metric.
        updates: Video id -> gives that video to a metric.
    """
    whole = new_metric()
    for update in updates.values():
        update(whole)
    expected = whole.compute()
    for seed in range(4):
        order = list(updates)
        random.Random(seed).shuffle(order)
        parts = [new_metric() for _ in range(3)]
        for i, video in enumerate(order):
            updates[video](parts[i % 2])
        merged = parts[2]
        for part in parts[:2]:
            received = new_metric()
            received.load_state_dict(pickle.loads(pickle.dumps(part.state_dict())))
            assert repr(received.compute()) == repr(part.compute())
            merged.merge(received)
        assert merged.video_ids == whole.video_ids
        # repr tells every bit, and takes NaN for equal to NaN.
        assert repr(merged.compute()) == repr(expected)
    whole.reset()
    assert len(whole) == 0
    updates[order[0]](whole)
    alone = new_metric()
    updates[order[0]](alone)
    assert repr(whole.compute()) == repr(alone.compute())
