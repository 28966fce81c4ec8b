# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The ground of a moving-shapes video: stuff regions painted once, then shown by a moving camera.

The ground has two points per pixel in each direction. A frame averages four of them around each pixel and over the
time that the shutter is open, which smooths edges and blurs what moves; the stuff of a pixel is that of the point
under its centre, in the middle of the exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes_motion import Pose
from .shapes_random import RandomStream
from .shapes_textures import STUFF, Canvas, NoiseTables, Palette

_POINTS_PER_PIXEL = 2
# Where the four points of a pixel lie, in pixels from its centre, in the order of exposure: a rotated grid.
_TAPS = ((-0.375, 0.125), (0.125, 0.375), (-0.125, -0.375), (0.375, -0.125))
NUM_TAPS = len(_TAPS)
# Three channels of 12 bits in a number of 64: the sum of four does not overflow the 16 bits of a channel.
_FULL = 4095
_CHANNEL_BITS = 16

# Rows that are painted at once: few enough to stay in a processor's cache.
_STRIP = 32

_WARP_CELLS = (0.24, 0.09)
# Points per side of the grid on which a layout is judged before anything is painted.
_SKETCH = 48
_MIN_SHARE = 0.05
# Part of another palette that is mixed into one, at most.
_MAX_MIX = 0.75
_MAX_TRIES = 10


@dataclass(frozen=True)
class Layout:
    """How stuff divides the world: the site with the lowest value owns a point.

    Attributes:
        classes: Index into `STUFF` of each stuff of the video.
        palettes: Colours of each.
        tables: Random numbers of each.
        sites: float64 (S, 3): the value of a site at (x, y) is its product with (x, y, 1).
        owner: For each site, which of `classes` it belongs to.
        warp: Random numbers that make borders uneven.
        warp_size: How far a border is shifted at most.
        light: How brightness changes to the right and downwards, per unit.
    """

    classes: tuple[int, ...]
    palettes: tuple[Palette, ...]
    tables: tuple[NoiseTables, ...]
    sites: np.ndarray
    owner: tuple[int, ...]
    warp: NoiseTables
    warp_size: float
    light: tuple[float, float]

    @classmethod
    def random(cls, stream: RandomStream, num_stuff: int, half_size: tuple[float, float]) -> Layout:
        """Draws a layout in which every stuff has a fair share of the picture.

        Args:
            stream: Source of the numbers.
            num_stuff: How many kinds of stuff.
            half_size: Half width and half height of the picture.
        """
        classes = tuple(stream.shuffled(range(len(STUFF)))[:num_stuff])
        palettes = tuple(_draw_palette(stream, index) for index in classes)
        tables = tuple(NoiseTables.random(stream) for _ in classes)
        light = (stream.uniform(-0.25, 0.25), stream.uniform(-0.25, 0.25))
        warp = NoiseTables.random(stream)
        grid = (np.arange(_SKETCH, dtype=np.float32) + 0.5) * np.float32(2 / _SKETCH) - np.float32(1)
        for _ in range(_MAX_TRIES):
            sites, owner = _draw_sites(stream, num_stuff, half_size)
            layout = cls(classes, palettes, tables, sites, owner, warp, stream.uniform(0.03, 0.16), light)
            sketch = layout.stuff_at(grid * np.float32(half_size[0]), grid * np.float32(half_size[1]))
            if np.bincount(sketch.ravel(), minlength=num_stuff).min() >= _MIN_SHARE * sketch.size:
                break
        return layout

    def stuff_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Which of `classes` owns each point of a grid.

        Args:
            x: float32 (width,).
            y: float32 (height,).

        Returns:
            uint8 (height, width).
        """
        canvas = Canvas(x, y, self.warp)
        shift_x, shift_y = (
            canvas.noise(_WARP_CELLS[0], _WARP_CELLS[0], layer) + 0.35 * canvas.noise(*_WARP_CELLS[1:] * 2, layer + 2)
            for layer in (0, 1)
        )
        shift_x *= self.warp_size
        shift_x += canvas.x
        shift_y *= self.warp_size
        shift_y += canvas.y
        stuff = np.full(shift_x.shape, self.owner[0], dtype=np.uint8)
        lowest = None
        for (a, b, c), owner in zip(self.sites.tolist(), self.owner, strict=True):
            value = a * shift_x
            value += b * shift_y
            value += c
            if lowest is None:
                lowest = value
                continue
            np.copyto(stuff, owner, where=value < lowest)
            np.minimum(lowest, value, out=lowest)
        return stuff


def _draw_palette(stream: RandomStream, stuff: int) -> Palette:
    """A palette of a stuff class, mixed with one of any class, so that colours alone do not tell what it is."""
    own = stream.choice(STUFF[stuff].palettes)
    other = stream.choice(stream.choice(STUFF).palettes)
    part = stream.uniform(0.0, _MAX_MIX)
    gain = stream.uniform(0.85, 1.12)
    colors = (
        tuple(min(255, round(gain * (a + part * (b - a)))) for a, b in zip(one, two, strict=True))
        for one, two in ((own.dark, other.dark), (own.light, other.light), (own.tint, other.tint))
    )
    return Palette(*colors)


def _draw_sites(
    stream: RandomStream, num_stuff: int, half_size: tuple[float, float]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Sites of a Voronoi diagram, stretched along some direction: from patches to bands."""
    t = stream.choice((0.0, 0.0, 1.0, stream.uniform(-1.0, 1.0)))
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    stretch = stream.choice((1.0, 0.6, 0.15))
    count = stream.integer(num_stuff, 2 * num_stuff + 1)
    sites, owner = np.zeros((count, 3)), []
    for index in range(count):
        x, y = (1.3 * half * stream.uniform(-1.0, 1.0) for half in half_size)
        # Distances along the direction count less. The square of the point's own place is the same for all sites.
        along, across = stretch * (cos * x + sin * y), cos * y - sin * x
        sites[index] = (
            -2 * (stretch * cos * along - sin * across),
            -2 * (stretch * sin * along + cos * across),
            along * along + across * across,
        )
        owner.append(index if index < num_stuff else stream.integer(0, num_stuff - 1))
    return sites, tuple(owner)


class Ground:
    """The painted ground, as large as the camera needs it.

    Args:
        layout: What is where.
        poses: All poses of the camera that will be shown.
        height: Of the picture, in pixels.
        width: Likewise.
    """

    def __init__(self, layout: Layout, poses: Pose, height: int, width: int):
        self.layout, self.height, self.width = layout, height, width
        self._unit = min(height, width)
        step = 1 / (self._unit * _POINTS_PER_PIXEL)
        first, count = [], []
        # The corners of the picture, and half a pixel more for the four points around its centres.
        half_x, half_y = (width + 1) / (2 * self._unit), (height + 1) / (2 * self._unit)
        reach_x = (np.abs(poses.cos) * half_x + np.abs(poses.sin) * half_y) / poses.scale
        reach_y = (np.abs(poses.sin) * half_x + np.abs(poses.cos) * half_y) / poses.scale
        for low, high in (
            ((poses.x - reach_x).min(), (poses.x + reach_x).max()),
            ((poses.y - reach_y).min(), (poses.y + reach_y).max()),
        ):
            first.append(int(np.floor(low / step)) - 1)
            count.append(int(np.ceil(high / step)) + 1 - first[-1])
        self._first = tuple(first)
        x, y = (
            ((np.arange(number) + begin + 0.5) * step).astype(np.float32)
            for begin, number in zip(first, count, strict=True)
        )
        self.stuff = layout.stuff_at(x, y)
        self.colors = self._paint(x, y)

    def _paint(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Packed colours, uint64 of the shape of `stuff`."""
        layout = self.layout
        colors = np.zeros(self.stuff.shape, dtype=np.uint64)
        light = np.float32(layout.light[0]) * x[None, :] + np.float32(layout.light[1]) * y[:, None]
        light += 1
        light *= _FULL / 255
        for index, stuff_class in enumerate(layout.classes):
            paint = STUFF[stuff_class].texture
            region = self.stuff == index
            for begin in range(0, len(y), _STRIP):
                rows, columns = _bounds(region[begin : begin + _STRIP])
                if rows is None:
                    continue
                window = slice(begin + rows.start, begin + rows.stop), columns
                tone, tint = paint(Canvas(x[columns], y[window[0]], layout.tables[index]))
                np.clip(tone, 0, 1, out=tone)
                tint *= 1 / 3
                packed = _pack(layout.palettes[index], tone, tint, light[window])
                np.copyto(colors[window], packed, where=region[window])
        return colors

    def _place(self, pose: Pose, moment: tuple[int, ...], off_x: float, off_y: float) -> np.ndarray:
        """Index of the point of the ground under each pixel, intp (height, width).

        Args:
            pose: Of the camera.
            moment: Which of its moments.
            off_x: Distance from the centre of the pixel, in pixels.
            off_y: Likewise.
        """
        per_unit = self._unit * _POINTS_PER_PIXEL
        x = (np.arange(self.width) + (0.5 + off_x - self.width / 2)) * (_POINTS_PER_PIXEL / pose.scale[moment])
        y = (np.arange(self.height) + (0.5 + off_y - self.height / 2)) * (_POINTS_PER_PIXEL / pose.scale[moment])
        cos, sin = pose.cos[moment], pose.sin[moment]
        middle_x = pose.x[moment] * per_unit - self._first[0]
        middle_y = pose.y[moment] * per_unit - self._first[1]
        column, row = (
            (cos * x + middle_x).astype(np.float32)[None, :],
            (cos * y + middle_y).astype(np.float32)[:, None],
        )
        # A camera that is not turned sees whole rows and columns.
        if sin:
            column = column + (sin * y).astype(np.float32)[:, None]
            row = row + (-sin * x).astype(np.float32)[None, :]
        # All are positive, where cutting off is rounding down.
        place = row.astype(np.intp)
        place *= self.stuff.shape[1]
        return place + column.astype(np.int32)

    def picture(self, pose: Pose, frame: int) -> np.ndarray:
        """What the camera sees of the ground, float32 (3, height, width) in 0 to 255.

        Args:
            pose: Of the camera: arrays (num_frames, 1 + taps), the middle of the exposure first.
            frame: Which frame.
        """
        total = None
        for tap, (off_x, off_y) in enumerate(_TAPS, start=1):
            seen = self.colors.ravel().take(self._place(pose, (frame, tap), off_x, off_y), mode="clip")
            total = seen if total is None else np.add(total, seen, out=total)
        picture = np.empty((3, self.height, self.width), dtype=np.float32)
        channels = total.view(np.uint16).reshape(self.height, self.width, 4)
        if np.little_endian:
            channels = channels[..., :3]
        else:
            channels = channels[..., :0:-1]
        for channel in range(3):
            np.multiply(channels[..., channel], np.float32(255 / (_FULL * NUM_TAPS)), out=picture[channel])
        return picture

    def stuff_of_frame(self, pose: Pose, frame: int) -> np.ndarray:
        """Which of the layout's classes each pixel shows, uint8 (height, width)."""
        return self.stuff.ravel().take(self._place(pose, (frame, 0), 0.0, 0.0), mode="clip")


def _bounds(region: np.ndarray) -> tuple[slice | None, slice | None]:
    """Rows and columns that hold all that is True."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        return None, None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _pack(palette: Palette, tone: np.ndarray, tint: np.ndarray, light: np.ndarray) -> np.ndarray:
    """uint64: three channels of a palette's colours."""
    packed = np.zeros(tone.shape, dtype=np.uint64)
    for channel in (2, 1, 0):
        dark, bright, other = palette.dark[channel], palette.light[channel], palette.tint[channel]
        color = tone * np.float32(bright - dark)
        color += dark
        color += tint * np.float32(other - 0.5 * (dark + bright))
        color *= light
        np.clip(color, 0, _FULL, out=color)
        packed <<= _CHANNEL_BITS
        packed |= color.astype(np.uint64)
    return packed
