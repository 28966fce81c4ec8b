# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""From the plan of a moving-shapes video to pictures and label maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .shapes_ground import Ground
from .shapes_random import RandomStream
from .shapes_scene import NOISE, Scene
from .shapes_things import CHUNK

# Standard deviation of the sum of two random bytes.
_TWO_BYTES = (2 * (256**2 - 1) / 12) ** 0.5


def render_pictures(scene: Scene, ground: Ground) -> Iterator[np.ndarray]:
    """The frames of a video in order, uint8 (height, width, 3) RGB each."""
    config = scene.config
    sprites = [scene.sprite(index) for index in range(len(scene.things))]
    still = len(np.unique([scene.camera_pose.x, scene.camera_pose.y, scene.camera_pose.scale])) <= 2
    shown = None
    for first in range(0, config.num_frames, CHUNK):
        count = min(CHUNK, config.num_frames - first)
        pictures = np.empty((count, 3, config.height, config.width), dtype=np.float32)
        for index in range(count):
            if shown is None or not still:
                shown = ground.picture(scene.camera_pose, first + index)
            pictures[index] = shown
        for sprite in sprites:
            sprite.paint(pictures, first)
        for index, picture in enumerate(pictures):
            if scene.noise > 0:
                picture += _noise(scene, first + index, picture.shape)
            picture += 0.5
            np.clip(picture, 0, 255, out=picture)
            finished = np.empty((config.height, config.width, 3), dtype=np.uint8)
            for channel, values in enumerate(picture.astype(np.uint8)):
                finished[..., channel] = values
            yield finished


def _noise(scene: Scene, frame: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 noise with a triangular distribution."""
    count = int(np.prod(shape))
    bits = RandomStream(scene.seed, NOISE, frame).bits((2 * count + 7) // 8)
    # Bytes in the same order on every machine.
    raw = bits.astype("<u8", copy=False).view(np.uint8)
    noise = raw[:count].astype(np.float32)
    noise += raw[count : 2 * count]
    noise -= 255
    noise *= scene.noise / _TWO_BYTES
    return noise.reshape(shape)


def stuff_maps(scene: Scene, ground: Ground) -> np.ndarray:
    """Which of the layout's classes each pixel would show without things, uint8 (num_frames, height, width)."""
    maps = np.empty(scene.codes.shape, dtype=np.uint8)
    for frame in range(len(maps)):
        maps[frame] = ground.stuff_of_frame(scene.camera_pose, frame)
    return maps


def nearest_things(num_things: int) -> np.ndarray:
    """The nearest of the things that cover a pixel, for every combination of things as in `Scene.codes`.

    Returns:
        uint8 (2 ** num_things,): its number plus 1, or 0 for no thing.
    """
    nearest = np.zeros(1 << num_things, dtype=np.uint8)
    for thing in range(num_things):
        nearest[1 << thing : 2 << thing] = thing + 1
    return nearest
