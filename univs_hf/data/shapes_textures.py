# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The eight stuff classes of the moving shapes: textures that can be told apart by structure, not by colour.

A texture is a tone and a tint for every point of the world, both about 0 to 1; a palette turns them into colours.
Palettes of different classes resemble each other (brown is wood, sand, bricks or dry grass), and things have such
colours too. Lengths are in units of the picture's shorter side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .shapes_random import RandomStream

_LATTICE = 64
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Colours of a texture, RGB in 0 to 255.

    Attributes:
        dark: Where the tone is 0.
        light: Where the tone is 1.
        tint: What the colour shifts towards, by up to a third, where the tint is 1.
    """

    dark: Color
    light: Color
    tint: Color


@dataclass(frozen=True)
class NoiseTables:
    """The random numbers of one texture.

    Attributes:
        layers: float32 (4, size, size), repeated over the world.
        tilt: Tangent of half the angle by which patterns are turned.
    """

    layers: np.ndarray
    tilt: float

    @classmethod
    def random(cls, stream: RandomStream) -> NoiseTables:
        """Draws the numbers."""
        return cls(np.stack([stream.lattice(_LATTICE) for _ in range(4)]), stream.uniform(-0.25, 0.25))


class Canvas:
    """A grid of points of the world to paint on; what a point becomes does not depend on the others.

    Args:
        x: float32 (width,).
        y: float32 (height,).
        tables: The random numbers.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, tables: NoiseTables):
        self.x, self.y, self.tables = x[None, :], y[:, None], tables

    def turned(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates along two directions at right angles, turned by up to 28 degrees; float32 (height, width)."""
        # (1 - t^2, 2 t) / (1 + t^2) is a point of the unit circle, without cosine and sine.
        t = self.tables.tilt
        cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        return cos * self.x + sin * self.y, cos * self.y - sin * self.x

    def noise(self, cell_x: float, cell_y: float, layer: int = 0) -> np.ndarray:
        """Smooth noise between 0 and 1, float32 (height, width).

        Args:
            cell_x: Width of the features.
            cell_y: Height of the features.
            layer: One of four independent tables of random numbers.
        """
        first_x, part_x = _cells(self.x[0], cell_x)
        first_y, part_y = _cells(self.y[:, 0], cell_y)
        lattice = self.tables.layers[layer]
        left, right = lattice[:, first_x % _LATTICE], lattice[:, (first_x + 1) % _LATTICE]
        across = left + part_x * (right - left)
        top, bottom = across[first_y % _LATTICE], across[(first_y + 1) % _LATTICE]
        bottom -= top
        bottom *= part_y[:, None]
        top += bottom
        return top

    def number_of(self, column: np.ndarray, row: np.ndarray, layer: int = 0) -> np.ndarray:
        """A random number in [0, 1) for each cell, given whole numbers (float32) of its column and row."""
        flat = (row.astype(np.int32) % _LATTICE) * _LATTICE + column.astype(np.int32) % _LATTICE
        return self.tables.layers[layer].ravel().take(flat)


def _cells(values: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Number of the cell of each value, int64, and the smoothed place within it, float32."""
    place = values / np.float32(cell)
    first = np.floor(place)
    part = place - first
    return first.astype(np.int64), part * part * (3 - 2 * part)


def wave(values: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 between 0 (at whole numbers) and 1; works in place."""
    values -= np.rint(values)
    np.abs(values, out=values)
    values *= 2
    return values


def grass(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Upright blades."""
    tone = canvas.noise(0.016, 0.075, 0)
    tone += canvas.noise(0.026, 0.11, 1)
    tone -= 0.5
    return tone, canvas.noise(0.3, 0.25, 2)


def water(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Level ripples with glints."""
    glint = wave(canvas.noise(0.15, 0.042, 0) + 0.5 * canvas.noise(0.4, 0.2, 1))
    glint *= glint * glint
    glint *= 0.75
    glint += 0.35 * canvas.noise(0.2, 0.07, 2)
    return glint, canvas.noise(0.5, 0.3, 3)


def sand(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Fine grains on gentle dunes."""
    along, across = canvas.turned()
    across *= 7.0
    across += 2.2 * canvas.noise(0.3, 0.25, 0)
    tone = wave(across)
    tone *= 0.35
    tone += 0.75 * canvas.noise(0.012, 0.012, 1)
    tone -= 0.05
    return tone, canvas.noise(0.4, 0.4, 2)


def bricks(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Courses of bricks with light mortar."""
    along, across = canvas.turned()
    across *= 1 / 0.068
    row = np.floor(across)
    across -= row
    along *= 1 / 0.145
    along += 0.5 * (row - 2 * np.floor(0.5 * row))
    column = np.floor(along)
    along -= column
    tone = 0.5 * canvas.number_of(column, row)
    tone += 0.18 * canvas.noise(0.02, 0.02, 1)
    # Distance to the nearest joint, in units of the height of a brick.
    joint = np.minimum(along, 1 - along)
    joint *= 0.145 / 0.068
    np.minimum(joint, across, out=joint)
    np.minimum(joint, 1 - across, out=joint)
    joint -= 0.06
    joint *= 14.0
    np.clip(joint, 0, 1, out=joint)
    tone -= 1.0
    tone *= joint
    tone += 1.0
    return tone, canvas.noise(0.3, 0.3, 2)


def wood(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Level boards with grain."""
    place = canvas.y * np.float32(1 / 0.15)
    board = np.floor(place)
    gap = np.minimum(place - board, board + 1 - place)
    gap = np.clip(gap * 16, 0, 1)
    tone = wave(3.5 * canvas.noise(0.6, 0.06, 0) + board * np.float32(0.37))
    tone *= 0.4
    tone += 0.35 * canvas.noise(0.25, 0.011, 1)
    tone += 0.35 * canvas.number_of(np.zeros_like(board), board, 2)
    tone *= gap
    return tone, canvas.number_of(np.zeros_like(board), board, 3) + np.zeros_like(tone)


def tiles(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """A chequered floor with dark joints."""
    along, across = canvas.turned()
    along *= 1 / 0.12
    across *= 1 / 0.12
    column, row = np.floor(along), np.floor(across)
    along -= column
    across -= row
    column += row
    parity = column - 2 * np.floor(0.5 * column)
    gloss = along + across
    joint = np.minimum(np.minimum(along, 1 - along), np.minimum(across, 1 - across))
    joint -= 0.02
    joint *= 16.0
    np.clip(joint, 0, 1, out=joint)
    parity *= 0.55
    parity += 0.18
    parity += 0.12 * gloss
    parity *= joint
    return parity, canvas.noise(0.25, 0.25, 0)


def stones(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Round cobbles with dark gaps."""
    along, across = canvas.turned()
    along *= 1 / 0.1
    across *= 1 / 0.1
    # Each stone's middle lies in the inner half of its cell, so that the nearest two are among the four cells around.
    corner_x, corner_y = np.rint(along), np.rint(across)
    along -= corner_x
    across -= corner_y
    column, row = corner_x.astype(np.int32), corner_y.astype(np.int32)
    places = canvas.tables.layers[:2].reshape(2, -1) * 0.5
    nearest = second = closest = None
    for step_y in (-1, 0):
        of_row = (row + step_y) % _LATTICE
        of_row *= _LATTICE
        for step_x in (-1, 0):
            cell = (column + step_x) % _LATTICE
            cell += of_row
            off_x, off_y = places[0].take(cell), places[1].take(cell)
            off_x -= along
            off_x += 0.25 + step_x
            off_x *= off_x
            off_y -= across
            off_y += 0.25 + step_y
            off_y *= off_y
            off_x += off_y
            distance = np.sqrt(off_x, out=off_x)
            if nearest is None:
                nearest, closest, second = distance, cell, np.full_like(distance, 9.0)
                continue
            np.copyto(closest, cell, where=distance < nearest)
            np.minimum(second, np.maximum(nearest, distance), out=second)
            np.minimum(nearest, distance, out=nearest)
    tone = canvas.tables.layers[2].ravel().take(closest)
    second -= nearest
    second *= 4.0
    np.clip(second, 0, 1, out=second)
    tone *= 0.5
    tone += 0.65
    nearest *= 0.55
    tone -= nearest
    tone *= second
    return tone, canvas.noise(0.3, 0.3, 3)


def clouds(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Soft clouds."""
    tone = canvas.noise(0.42, 0.22, 0)
    tone += 0.5 * canvas.noise(0.19, 0.11, 1)
    tone += 0.25 * canvas.noise(0.085, 0.06, 2)
    tone -= 0.45
    tone *= 1.5
    np.clip(tone, 0, 1, out=tone)
    return tone, canvas.noise(0.8, 0.5, 3)


@dataclass(frozen=True)
class Stuff:
    """One stuff class.

    Attributes:
        name: What it is called.
        texture: Paints tone and tint on a canvas, float32 (height, width) each.
        palettes: The colours that it comes in.
    """

    name: str
    texture: Callable[[Canvas], tuple[np.ndarray, np.ndarray]]
    palettes: tuple[Palette, ...]


STUFF: tuple[Stuff, ...] = (
    Stuff(
        "grass",
        grass,
        (
            Palette((34, 74, 30), (122, 168, 74), (150, 150, 50)),
            Palette((92, 84, 38), (190, 176, 98), (96, 128, 48)),
            Palette((24, 70, 62), (96, 158, 132), (60, 110, 60)),
        ),
    ),
    Stuff(
        "water",
        water,
        (
            Palette((28, 72, 122), (150, 196, 222), (30, 110, 120)),
            Palette((30, 88, 84), (150, 208, 190), (40, 80, 110)),
            Palette((62, 72, 88), (186, 194, 204), (50, 70, 110)),
            Palette((70, 52, 96), (226, 168, 160), (120, 70, 100)),
        ),
    ),
    Stuff(
        "sand",
        sand,
        (
            Palette((168, 136, 88), (236, 214, 164), (206, 160, 106)),
            Palette((142, 84, 60), (218, 160, 120), (170, 90, 70)),
            Palette((120, 118, 112), (214, 212, 204), (160, 150, 130)),
            Palette((70, 76, 58), (150, 152, 118), (96, 110, 70)),
        ),
    ),
    Stuff(
        "bricks",
        bricks,
        (
            Palette((112, 44, 34), (206, 190, 172), (150, 70, 40)),
            Palette((82, 82, 88), (190, 190, 190), (90, 90, 120)),
            Palette((140, 108, 62), (226, 212, 180), (170, 120, 60)),
            Palette((48, 80, 96), (180, 196, 196), (60, 90, 70)),
        ),
    ),
    Stuff(
        "wood",
        wood,
        (
            Palette((72, 44, 24), (176, 122, 72), (130, 70, 40)),
            Palette((128, 92, 54), (226, 188, 132), (200, 150, 90)),
            Palette((78, 78, 74), (172, 170, 162), (110, 120, 120)),
            Palette((56, 72, 50), (150, 164, 112), (110, 110, 60)),
        ),
    ),
    Stuff(
        "tiles",
        tiles,
        (
            Palette((40, 60, 98), (214, 220, 224), (120, 150, 190)),
            Palette((62, 62, 64), (212, 208, 200), (150, 140, 130)),
            Palette((120, 58, 36), (222, 170, 130), (180, 100, 60)),
            Palette((36, 84, 62), (206, 218, 196), (90, 140, 100)),
        ),
    ),
    Stuff(
        "stones",
        stones,
        (
            Palette((44, 44, 46), (190, 188, 182), (120, 120, 130)),
            Palette((60, 44, 32), (196, 162, 122), (140, 100, 80)),
            Palette((36, 48, 66), (160, 178, 196), (90, 110, 130)),
            Palette((40, 52, 30), (166, 174, 128), (90, 120, 70)),
        ),
    ),
    Stuff(
        "clouds",
        clouds,
        (
            Palette((86, 140, 204), (244, 246, 248), (120, 170, 220)),
            Palette((104, 108, 118), (216, 218, 222), (130, 130, 150)),
            Palette((196, 112, 92), (252, 216, 176), (170, 100, 130)),
            Palette((34, 44, 78), (130, 136, 168), (60, 50, 90)),
        ),
    ),
)
"""The stuff classes, in the order of their categories."""
