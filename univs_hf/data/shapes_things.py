# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The things of a moving-shapes video: what they look like, where they are, and how they are painted.

Masks are the pixels whose centre lies inside of a shape in the middle of the exposure. Pictures show how much of each
pixel a shape covers, on average over the time that the shutter is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes_geometry import SHAPES, Shape
from .shapes_motion import Pose, ThingPath
from .shapes_random import RandomStream
from .shapes_textures import Color, wave

COLORS: dict[str, Color] = {
    "red": (204, 42, 38),
    "orange": (238, 132, 30),
    "yellow": (244, 212, 52),
    "green": (52, 156, 64),
    "blue": (44, 92, 204),
    "purple": (132, 62, 174),
    "pink": (242, 136, 182),
    "brown": (120, 72, 36),
    "white": (238, 238, 234),
    "gray": (138, 138, 142),
    "black": (34, 34, 38),
}
"""Names of the colours of things, RGB in 0 to 255. A thing's own colour differs a little."""

SIMILAR_COLORS = frozenset(
    frozenset(pair)
    for pair in (
        ("red", "orange"),
        ("red", "pink"),
        ("red", "brown"),
        ("orange", "yellow"),
        ("orange", "brown"),
        ("purple", "blue"),
        ("purple", "pink"),
        ("white", "gray"),
        ("gray", "black"),
        ("brown", "black"),
    )
)
"""Pairs that could be taken for one another: neither is called by its colour to tell it from the other."""

PATTERNS = ("plain", "striped", "dotted", "checkered")
_PATTERN_WEIGHTS = {"plain": 0.46, "striped": 0.2, "dotted": 0.17, "checkered": 0.17}
# Pixels between a pattern's repetitions, at least; finer ones could not be seen.
_MIN_PERIOD = 5.0
_SHADE = 0.17
_OUTLINE = 0.5
# Of the shorter side.
_OUTLINE_WIDTH = 1.3 / 128
# A thing that moves by fewer pixels during the exposure is painted as if it stood.
_SHARP = 0.5
# Frames that are computed at once: few enough to stay in a processor's cache.
CHUNK = 8


@dataclass(frozen=True)
class Look:
    """What a thing looks like.

    Attributes:
        shape: Index into `SHAPES`.
        color: One of `COLORS`.
        main: Its own colour, RGB in 0 to 255.
        other: The second colour of a pattern, a darker or lighter kind of the first.
        pattern: One of `PATTERNS`.
        period: Distance between a pattern's repetitions, in radii.
        phase: Where a pattern begins, in periods.
        outline: Whether its border is dark.
    """

    shape: int
    color: str
    main: Color
    other: Color
    pattern: str
    period: float
    phase: float
    outline: bool

    @property
    def form(self) -> Shape:
        """The shape itself."""
        return SHAPES[self.shape]

    @classmethod
    def random(cls, stream: RandomStream, radius_in_pixels: float, earlier: list[Look]) -> Look:
        """Draws a look; things of one video often share their shape or colour, so that neither tells them apart."""
        shape = stream.integer(0, len(SHAPES) - 1)
        color = stream.choice(tuple(COLORS))
        if earlier and stream.chance(0.42):
            shape = stream.choice(earlier).shape
        if earlier and stream.chance(0.3):
            color = stream.choice(earlier).color
        gain = stream.uniform(0.88, 1.08)
        main = tuple(min(255, max(0, round(part * gain + stream.uniform(-10, 10)))) for part in COLORS[color])
        darker = color not in ("black", "brown", "blue", "purple")
        other = tuple(round(part * 0.58) if darker else round(part + 0.42 * (255 - part)) for part in main)
        period = max(stream.uniform(0.4, 0.62), _MIN_PERIOD / radius_in_pixels)
        return cls(
            shape,
            color,
            main,
            other,
            stream.weighted(_PATTERN_WEIGHTS),
            period,
            stream.uniform(),
            stream.chance(0.6),
        )


@dataclass(frozen=True)
class Thing:
    """A thing of a video: its look and its way through the world."""

    look: Look
    path: ThingPath


class Sprite:
    """A thing in the frames of a video, within windows just large enough.

    Args:
        look: What it looks like.
        pose: Its pose in the picture, arrays (num_frames, 1 + taps): in the middle of the exposure, then during it.
        height: Of the picture, in pixels.
        width: Likewise.
    """

    def __init__(self, look: Look, pose: Pose, height: int, width: int):
        self.look, self.height, self.width = look, height, width
        self._unit = min(height, width)
        self._x = pose.x * self._unit + width / 2
        self._y = pose.y * self._unit + height / 2
        self._radius = pose.scale * self._unit
        self._cos, self._sin = pose.cos, pose.sin
        reach = self._radius * look.form.reach
        # How far its points move during the exposure, along x, along y, and by turning.
        shifts = [np.ptp(values, axis=1) for values in (self._x, self._y, self._cos * reach, self._sin * reach)]
        num_taps = pose.x.shape[1] - 1
        self._moments = (0,) if max(shift.max() for shift in shifts) < _SHARP else tuple(range(1, num_taps + 1))
        # Edges are as soft as the taps are apart, or a fast thing would show several edges.
        self._softness = np.maximum(1.0, np.maximum(shifts[0], shifts[1]) / max(num_taps - 1, 1))
        reach += 0.5 + 0.5 * self._softness[:, None]
        low_x, low_y = ((at - reach).min(axis=1) for at in (self._x, self._y))
        high_x, high_y = ((at + reach).max(axis=1) for at in (self._x, self._y))
        self._left, self._top = np.floor(low_x).astype(np.int64), np.floor(low_y).astype(np.int64)
        self._size = int(np.ceil(max((high_x - self._left).max(), (high_y - self._top).max())))
        self.frames: np.ndarray = np.flatnonzero((high_x > 0) & (high_y > 0) & (low_x < width) & (low_y < height))

    def _local(self, frames: np.ndarray, moment: int) -> tuple[np.ndarray, np.ndarray]:
        """The shape's own coordinates of the pixels of the windows, float32 (frames, size, size) each."""
        pixels = np.arange(self._size) + 0.5
        radius = self._radius[frames, moment, None]
        x = (self._left[frames, None] + pixels - self._x[frames, moment, None]) / radius
        y = (self._top[frames, None] + pixels - self._y[frames, moment, None]) / radius
        cos, sin = self._cos[frames, moment, None], self._sin[frames, moment, None]
        u = (cos * x).astype(np.float32)[:, None, :] + (sin * y).astype(np.float32)[:, :, None]
        v = (cos * y).astype(np.float32)[:, :, None] + (-sin * x).astype(np.float32)[:, None, :]
        return u, v

    def _windows(self, frame: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns in the picture, and in the window, of the part that lies in the picture."""
        left, top = int(self._left[frame]), int(self._top[frame])
        begin_x, begin_y = max(left, 0), max(top, 0)
        end_x, end_y = min(left + self._size, self.width), min(top + self._size, self.height)
        return (
            (slice(begin_y, end_y), slice(begin_x, end_x)),
            (slice(begin_y - top, end_y - top), slice(begin_x - left, end_x - left)),
        )

    def mark(self, codes: np.ndarray, bit: int) -> None:
        """Sets a bit of `codes`, an integer array (num_frames, height, width), wherever the thing is."""
        for frames in _chunks(self.frames):
            inside = self.look.form.distance(*self._local(frames, 0)) <= 0
            marks = inside.astype(codes.dtype)
            marks *= codes.dtype.type(1 << bit)
            for index, frame in enumerate(frames):
                here, there = self._windows(frame)
                codes[frame][here] |= marks[index][there]

    def paint(self, pictures: np.ndarray, first_frame: int) -> None:
        """Paints the thing over pictures, float32 (frames, 3, height, width) that begin with `first_frame`."""
        seen = self.frames[(self.frames >= first_frame) & (self.frames < first_frame + len(pictures))]
        for frames in _chunks(seen):
            colors, alpha = self._colors(frames)
            for index, frame in enumerate(frames):
                here, there = self._windows(frame)
                target = pictures[frame - first_frame][(slice(None), *here)]
                source = colors[(slice(None), index, *there)]
                source -= target
                source *= alpha[index][there]
                target += source

    def _colors(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colours, float32 (3, frames, size, size) in 0 to 255, and covered parts, float32 (frames, size, size)."""
        look, shape = self.look, self.look.form
        u, v = self._local(frames, 0)
        pixels = self._radius[frames, 0].astype(np.float32)[:, None, None]
        distance = shape.distance(u, v)
        distance *= pixels
        alpha = None
        for moment in self._moments:
            part = shape.distance(*self._local(frames, moment)) if moment else distance.copy()
            scale = self._radius[frames, moment] if moment else np.ones(len(frames))
            part *= (-scale / self._softness[frames]).astype(np.float32)[:, None, None]
            part += 0.5
            np.clip(part, 0, 1, out=part)
            alpha = part if alpha is None else np.add(alpha, part, out=alpha)
        if len(self._moments) > 1:
            alpha *= 1 / len(self._moments)
        # Light from the upper left of the picture.
        offset = np.arange(self._size) + 0.5
        x = (self._left[frames, None] + offset - self._x[frames, 0, None]) / self._radius[frames, 0, None]
        y = (self._top[frames, None] + offset - self._y[frames, 0, None]) / self._radius[frames, 0, None]
        light = (1 - _SHADE * x).astype(np.float32)[:, None, :] - (_SHADE * y).astype(np.float32)[:, :, None]
        if look.outline:
            distance += _OUTLINE_WIDTH * self._unit + 0.5
            np.clip(distance, 0, 1, out=distance)
            distance *= -_OUTLINE
            distance += 1
            light *= distance
        mix = _pattern(look, u, v, pixels)
        colors = np.empty((3, *light.shape), dtype=np.float32)
        for channel in range(3):
            if mix is None:
                np.multiply(light, look.main[channel], out=colors[channel])
                continue
            np.multiply(mix, look.other[channel] - look.main[channel], out=colors[channel])
            colors[channel] += look.main[channel]
            colors[channel] *= light
        return colors, alpha


def _chunks(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[begin : begin + CHUNK] for begin in range(0, len(frames), CHUNK)]


def _pattern(look: Look, u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray | None:
    """How much of the second colour there is, 0 to 1, or None for a plain thing; overwrites `u` and `v`."""
    if look.pattern == "plain":
        return None
    u *= 1 / look.period
    u += look.phase
    # Pixels in half a period: how steep an edge has to be to fill one pixel.
    steep = radius * (0.5 * look.period)
    if look.pattern == "striped":
        mix = wave(u)
        mix -= 0.5
        mix *= steep
    elif look.pattern == "dotted":
        v *= 1 / look.period
        u -= np.rint(u)
        v -= np.rint(v)
        u *= u
        v *= v
        u += v
        mix = np.sqrt(u, out=u)
        np.subtract(0.31, mix, out=mix)
        mix *= 2 * steep
    else:
        v *= 1 / look.period
        v += look.phase
        u, v = wave(u), wave(v)
        u -= 0.5
        v -= 0.5
        # The smaller of both distances to an edge, with the sign of their product.
        sign = np.sign(u)
        sign *= np.sign(v)
        mix = np.minimum(np.abs(u, out=u), np.abs(v, out=v), out=u)
        mix *= sign
        mix *= steep
    mix += 0.5
    return np.clip(mix, 0, 1, out=mix)
