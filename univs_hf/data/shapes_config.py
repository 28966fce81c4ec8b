# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Settings of the moving shapes, and which seeds belong to which split."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .shapes_textures import STUFF

SPLITS = ("train", "validation", "test")
SEEDS_PER_SPLIT = 2**40
MAX_OBJECTS = 12
_MIN_SIDE = 32
_MAX_FRAMES = 60_000


@dataclass(frozen=True)
class MovingShapesConfig:
    """Settings of the generator. A seed means another video under other settings.

    Args:
        height (`int`, *optional*, defaults to 128): Pixels, at least 32.
        width (`int`, *optional*, defaults to 128): Pixels, at least 32.
        num_frames (`int`, *optional*, defaults to 24): At least 1. Speed does not depend on it.
        fps (`float`, *optional*, defaults to 12.0): Frames per second of files.
        min_objects (`int`, *optional*, defaults to 2): Things per video, at least 1; a thing for which no place is
            found where it is seen is left out.
        max_objects (`int`, *optional*, defaults to 6): At most 12.
        min_stuff (`int`, *optional*, defaults to 2): Kinds of stuff on the ground, at least 1.
        max_stuff (`int`, *optional*, defaults to 4): At most 8.
        object_scale (`float`, *optional*, defaults to 1.0): Size of things; with 1 radii are 0.075 to 0.22 of the
            shorter side.
        camera_motion (`float`, *optional*, defaults to 1.0): 0 for a camera that stands, 1 for the usual motion.
        motion_blur (`float`, *optional*, defaults to 1.0): 0 for none; with 1 the shutter is open for up to 0.85 of
            the time between frames.
        noise (`float`, *optional*, defaults to 1.0): 0 for none; with 1 its standard deviation is up to 6.5 of 255.
        occlusion (`float`, *optional*, defaults to 0.4): How often a thing is led past one that lies behind it, on
            top of what happens by chance.
        min_visible_area (`float`, *optional*, defaults to 0.002): Every thing shows at least this part of the picture
            in `min_visible_frames` frames.
        min_visible_frames (`int`, *optional*, defaults to 8): Likewise; in all frames of a shorter video.
        expressions_per_object (`int`, *optional*, defaults to 4): At most as many expressions for each thing.

    Raises:
        TypeError: If a count is no integer.
        ValueError: If a value is out of range.
    """

    height: int = 128
    width: int = 128
    num_frames: int = 24
    fps: float = 12.0
    min_objects: int = 2
    max_objects: int = 6
    min_stuff: int = 2
    max_stuff: int = 4
    object_scale: float = 1.0
    camera_motion: float = 1.0
    motion_blur: float = 1.0
    noise: float = 1.0
    occlusion: float = 0.4
    min_visible_area: float = 0.002
    min_visible_frames: int = 8
    expressions_per_object: int = 4

    def __post_init__(self) -> None:
        for name, low, high in (
            ("height", _MIN_SIDE, 2**13),
            ("width", _MIN_SIDE, 2**13),
            ("num_frames", 1, _MAX_FRAMES),
            ("min_objects", 1, MAX_OBJECTS),
            ("max_objects", self.min_objects, MAX_OBJECTS),
            ("min_stuff", 1, len(STUFF)),
            ("max_stuff", self.min_stuff, len(STUFF)),
            ("min_visible_frames", 1, _MAX_FRAMES),
            ("expressions_per_object", 0, 100),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"`{name}` must be an integer, got {value!r}.")
            if not low <= value <= high:
                raise ValueError(f"`{name}` must be in [{low}, {high}], got {value}.")
        for name, low, high in (
            ("fps", 0.01, 1000.0),
            ("object_scale", 0.2, 2.0),
            ("camera_motion", 0.0, 2.0),
            ("motion_blur", 0.0, 1.15),
            ("noise", 0.0, 10.0),
            ("occlusion", 0.0, 1.0),
            ("min_visible_area", 0.0, 0.02),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"`{name}` must be a number, got {value!r}.")
            if not low <= value <= high:
                raise ValueError(f"`{name}` must be in [{low}, {high}], got {value}.")

    @property
    def min_visible_pixels(self) -> int:
        """`min_visible_area` in pixels, at least 1."""
        return max(1, math.ceil(self.min_visible_area * self.height * self.width))


def seed_of(split: str, index: int) -> int:
    """The seed of a video of a split. Each split has 2**40 seeds of its own.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        index: Number of the video in the split, from 0.

    Raises:
        ValueError: If there is no such split or video.
    """
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {list(SPLITS)}, got {split!r}.")
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        raise TypeError(f"`index` must be an integer, got {index!r}.")
    index = int(index)
    if not 0 <= index < SEEDS_PER_SPLIT:
        raise ValueError(f"`index` must be in [0, 2**40), got {index}.")
    return SPLITS.index(split) * SEEDS_PER_SPLIT + index


def split_of(seed: int) -> str:
    """The split that a seed belongs to.

    Raises:
        ValueError: If it belongs to none.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"`seed` must be an integer, got {seed!r}.")
    if not 0 <= seed < len(SPLITS) * SEEDS_PER_SPLIT:
        raise ValueError(f"`seed` must be in [0, {len(SPLITS)} * 2**40), got {seed}.")
    return SPLITS[int(seed) // SEEDS_PER_SPLIT]
