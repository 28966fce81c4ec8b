# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What is true of the things of a moving-shapes video: size, motion, comings and goings, who is where.

Every question has three answers, and YES and NO are given only where nobody could disagree: a thing that moves a
little to the left is neither "moving left" nor not. Numbers keep their order, so that `min` is "and".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .shapes_motion import Pose
from .shapes_scene import Scene
from .shapes_things import SIMILAR_COLORS, Look

YES, MAYBE, NO = 1, 0, -1

DIRECTIONS = ("left", "right", "up", "down")
PLACES = ("left of", "right of", "above", "below")

# Lengths in units of the picture's shorter side.
_MOVES = 0.16
_MOVES_IN_WORLD = 0.08
_HARDLY_MOVES = 0.05
_STANDS = 0.035
_CLEARLY_MOVES = 0.14
_CLEARLY_BESIDE = 0.08
# Ratio of diameters and of areas.
_LARGER = 1.3
_SAME_SIZE = 1.15
# Cosine of the angle, about 11 degrees.
_SAME_ANGLE = 0.98
_MIN_SHARED_PIXELS = 12
_MIN_SHARED_FRAMES = 2


@dataclass(frozen=True)
class Facts:
    """Measurements of the N things of some frames of a video.

    Attributes:
        looks: What they look like.
        shown: bool (frames, N): where enough is visible to be noticed.
        x, y: float64 (frames, N): centres in the picture, to the right and downwards.
        world_x, world_y: float64 (frames, N): centres in the world.
        rests: Whether a thing keeps its angle and size as far as can be seen.
        diameters: Mean over the frames in which a thing is noticed.
        visible, full, shared: Pixel counts as in `Coverage`.
        areas: Pixels of the whole thing, mean over the frames in which it is noticed.
    """

    looks: tuple[Look, ...]
    shown: np.ndarray
    x: np.ndarray
    y: np.ndarray
    world_x: np.ndarray
    world_y: np.ndarray
    rests: tuple[bool, ...]
    diameters: tuple[float, ...]
    areas: tuple[float, ...]
    visible: np.ndarray
    full: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, scene: Scene, begin: int = 0, end: int | None = None) -> Facts:
        """Measures the frames from `begin` up to, but not including, `end`."""
        part = slice(begin, end)
        looks = tuple(thing.look for thing in scene.things)
        shown = scene.coverage.visible[part] >= scene.config.min_visible_pixels
        unit = min(scene.config.height, scene.config.width)
        # In the middle of the exposure.
        screen = [np.stack([getattr(pose, name)[part, 0] for pose in scene.poses], 1) for name in ("x", "y", "scale")]
        world = [np.stack([getattr(pose, name)[part, 0] for pose in scene.world_poses], 1) for name in ("x", "y")]
        radii = [_mean(screen[2][shown[:, n], n]) for n in range(len(looks))]
        rests = tuple(_rests(pose, look, part) for pose, look in zip(scene.poses, looks, strict=True))
        return cls(
            looks=looks,
            shown=shown,
            x=screen[0],
            y=screen[1],
            world_x=world[0],
            world_y=world[1],
            rests=rests,
            diameters=tuple(2 * radius * look.form.reach for radius, look in zip(radii, looks, strict=True)),
            areas=tuple(look.form.area * (radius * unit) ** 2 for radius, look in zip(radii, looks, strict=True)),
            visible=scene.coverage.visible[part],
            full=scene.coverage.full[part],
            shared=scene.coverage.shared[part],
        )

    @property
    def present(self) -> list[int]:
        """Things of which anything is visible at all."""
        return np.flatnonzero(self.visible.any(axis=0)).tolist()

    @property
    def noticed(self) -> list[int]:
        """Things that can be talked about."""
        return np.flatnonzero(self.shown.any(axis=0)).tolist()

    def has_color(self, thing: int, color: str) -> int:
        """Whether a thing has a colour."""
        own = self.looks[thing].color
        return YES if own == color else MAYBE if frozenset((own, color)) in SIMILAR_COLORS else NO

    def is_larger(self, thing: int, other: int) -> int:
        """Whether a thing is larger than another: YES or NO only if the difference is plain."""
        diameter = self.diameters[thing] - _LARGER * self.diameters[other]
        area = self.areas[thing] - _LARGER * self.areas[other]
        if diameter > 0 and area > 0:
            return YES
        smaller = (
            self.diameters[other] > _LARGER * self.diameters[thing] and self.areas[other] > _LARGER * self.areas[thing]
        )
        return NO if smaller else MAYBE

    @cached_property
    def _ways(self) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
        """For each thing, how far it gets to the left, right, up and down: in the picture, and in the world."""
        ways = []
        for thing in range(len(self.looks)):
            when = self.shown[:, thing]
            ways.append(
                tuple(
                    (_farthest(-x[when]), _farthest(x[when]), _farthest(-y[when]), _farthest(y[when]))
                    for x, y in (
                        (self.x[:, thing], self.y[:, thing]),
                        (self.world_x[:, thing], self.world_y[:, thing]),
                    )
                )
            )
        return ways

    def is_moving(self, thing: int, direction: str) -> int:
        """Whether a thing moves in one of `DIRECTIONS`, as seen in the picture and against the ground."""
        index = DIRECTIONS.index(direction)
        back = index ^ 1
        across = [k for k in range(4) if k not in (index, back)]
        picture, world = self._ways[thing]
        if (
            picture[index] >= _MOVES
            and world[index] >= _MOVES_IN_WORLD
            and all(
                way[back] <= 0.25 * way[index] and max(way[k] for k in across) <= 0.55 * way[index]
                for way in (picture, world)
            )
        ):
            return YES
        if all(way[index] <= max(_HARDLY_MOVES, 0.25 * max(way)) for way in (picture, world)):
            return NO
        return MAYBE

    def is_still(self, thing: int) -> int:
        """Whether a thing stays where and as it is; one that turns or grows on the spot is neither still nor not."""
        if all(max(way) <= _STANDS for way in self._ways[thing]):
            return YES if self.rests[thing] else MAYBE
        return NO if all(max(way) >= _CLEARLY_MOVES for way in self._ways[thing]) else MAYBE

    def _stays_in(self, thing: int) -> bool:
        return bool((self.full[:, thing] >= 0.5 * self.areas[thing]).all())

    def enters(self, thing: int) -> int:
        """Whether a thing comes into the picture."""
        if self.full[0, thing] == 0 and self.shown[:, thing].any():
            return YES
        return NO if self._stays_in(thing) else MAYBE

    def leaves(self, thing: int) -> int:
        """Whether a thing is out of the picture in the end."""
        if self.full[-1, thing] == 0 and self.shown[:, thing].any():
            return YES
        return NO if self._stays_in(thing) else MAYBE

    def is_behind(self, thing: int, other: int) -> int:
        """Whether a thing is at times covered by another. Things are sorted by depth, farthest first."""
        if thing > other:
            return NO
        shared = self.shared[:, thing, other]
        if not shared.any():
            return NO
        plain = max(_MIN_SHARED_PIXELS, 0.08 * self.areas[thing])
        # Enough frames in which both are seen and the cover is plain.
        both = self.shown[:, thing] & self.shown[:, other]
        return YES if (both & (shared >= plain)).sum() >= min(_MIN_SHARED_FRAMES, len(shared)) else MAYBE

    def is_at(self, thing: int, place: str, other: int) -> int:
        """Whether a thing is at one of `PLACES` relative to another, in all frames in which both are seen."""
        both = self.shown[:, thing] & self.shown[:, other]
        if both.sum() < min(3, len(both)):
            return MAYBE
        x = self.x[both, thing] - self.x[both, other]
        y = self.y[both, thing] - self.y[both, other]
        off, across = {"left of": (-x, y), "right of": (x, y), "above": (-y, x), "below": (y, x)}[place]
        if (off >= _CLEARLY_BESIDE).all() and (off >= np.abs(across)).all():
            return YES
        # Half a diagonal is neither: "left of" may be said of what is also far above.
        return NO if (off <= 0.25 * np.abs(across) - 0.02).all() else MAYBE


def _rests(pose: Pose, look: Look, part: slice) -> bool:
    cos, sin, scale = (values[part, 0] for values in (pose.cos, pose.sin, pose.scale))
    turns = bool((cos * cos[0] + sin * sin[0] < _SAME_ANGLE).any())
    turning_shows = not look.form.is_round or look.pattern != "plain"
    return bool(scale.max() <= _SAME_SIZE * scale.min()) and not (turns and turning_shows)


def _mean(values: np.ndarray) -> float:
    # Exactly rounded, in contrast to a sum whose order depends on the processor.
    return math.fsum(values.tolist()) / max(len(values), 1)


def _farthest(values: np.ndarray) -> float:
    """The largest rise from any value to a later one."""
    return float((values - np.minimum.accumulate(values)).max()) if len(values) else 0.0
