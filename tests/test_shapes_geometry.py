# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Masks of shapes against analytic figures in double precision, drawn in another way: polygons and discs."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from univs_hf.data.shapes_geometry import SHAPES
from univs_hf.data.shapes_motion import Pose
from univs_hf.data.shapes_things import Look, Sprite

HEIGHT, WIDTH = 96, 120
NAMES = [shape.name for shape in SHAPES]
Points = np.ndarray


def polygon(corners: list[tuple[float, float]]) -> Callable[[Points], Points]:
    """Even-odd rule, point by point against each side."""

    def inside(points: Points) -> Points:
        x, y = points[..., 0], points[..., 1]
        odd = np.zeros(x.shape, dtype=bool)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
            crosses = (ay > y) != (by > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                odd ^= crosses & (x < ax + (y - ay) * (bx - ax) / (by - ay))
        return odd

    return inside


def disc(x: float, y: float, radius: float) -> Callable[[Points], Points]:
    return lambda points: np.hypot(points[..., 0] - x, points[..., 1] - y) <= radius


def regular(count: int, radius: float, begin: float) -> list[tuple[float, float]]:
    """Corners of a regular polygon, the first at the angle `begin` (degrees)."""
    angles = [math.radians(begin + 360 * k / count) for k in range(count)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def star_corners() -> list[tuple[float, float]]:
    # Outer and inner radius of a pentagram whose lines are 0.37 away from the middle.
    outer, inner = 0.37 / math.cos(math.radians(72)), 0.37 / math.cos(math.radians(36))
    tips, dents = regular(5, outer, -90), regular(5, inner, -54)
    return [corner for pair in zip(tips, dents, strict=True) for corner in pair]


def drop_inside(points: Points) -> Points:
    radius, middle, tip = 0.68, 0.3, -1.1
    # Where the tangents from the tip touch the disc.
    sin = radius / (middle - tip)
    touch_x, touch_y = radius * math.sqrt(1 - sin * sin), middle - radius * sin
    cone = polygon([(0, tip), (touch_x, touch_y), (-touch_x, touch_y)])
    return disc(0, middle, radius)(points) | cone(points)


def heart_inside(points: Points) -> Points:
    lobe = 0.8 * math.sqrt(0.5)
    body = polygon([(0, -0.7), (0.8, 0.1), (0, 0.9), (-0.8, 0.1)])
    return body(points) | disc(-0.4, -0.3, lobe)(points) | disc(0.4, -0.3, lobe)(points)


ANALYTIC: dict[str, Callable[[Points], Points]] = {
    "circle": disc(0, 0, 0.86),
    "square": polygon([(-0.76, -0.76), (0.76, -0.76), (0.76, 0.76), (-0.76, 0.76)]),
    "triangle": polygon(regular(3, 1.16, -90)),
    "star": polygon(star_corners()),
    "cross": lambda points: (
        polygon([(-1, -0.33), (1, -0.33), (1, 0.33), (-1, 0.33)])(points)
        | polygon([(-0.33, -1), (0.33, -1), (0.33, 1), (-0.33, 1)])(points)
    ),
    "heart": heart_inside,
    "ring": lambda points: disc(0, 0, 1.01)(points) & ~disc(0, 0, 0.53)(points),
    "moon": lambda points: disc(0.28, 0, 1.0)(points) & ~disc(0.76, 0, 0.8)(points),
    "arrow": lambda points: (
        polygon([(-1.05, -0.32), (0.15, -0.32), (0.15, 0.32), (-1.05, 0.32)])(points)
        | polygon([(0.05, -0.606 * 1.05 / 0.7955), (1.1, 0), (0.05, 0.606 * 1.05 / 0.7955)])(points)
    ),
    "drop": drop_inside,
}


def look(name: str) -> Look:
    return Look(NAMES.index(name), "red", (204, 42, 38), (118, 24, 22), "plain", 0.5, 0.0, False)


def pose(x: list[float], y: list[float], radius: list[float], angle: list[float]) -> Pose:
    """In units of the shorter side from the middle of the picture; nothing moves during the exposure."""
    columns = [np.repeat(np.array(values)[:, None], 5, axis=1) for values in (x, y, radius)]
    turned = np.repeat(np.array(angle)[:, None], 5, axis=1)
    return Pose(*columns, np.cos(turned), np.sin(turned))


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_those_of_the_analytic_shape(name):
    rng = np.random.default_rng(NAMES.index(name))
    count = 24
    x, y = rng.uniform(-0.7, 0.7, count), rng.uniform(-0.55, 0.55, count)
    radius, angle = rng.uniform(0.06, 0.4, count), rng.uniform(-7, 7, count)
    codes = np.zeros((count, HEIGHT, WIDTH), dtype=np.uint16)
    Sprite(look(name), pose(x, y, radius, angle), HEIGHT, WIDTH).mark(codes, 3)
    assert set(np.unique(codes)) <= {0, 8}
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    pixels_compared = 0
    for frame in range(count):
        off_x = (columns - WIDTH / 2) / HEIGHT - x[frame]
        off_y = (rows - HEIGHT / 2) / HEIGHT - y[frame]
        cos, sin = math.cos(angle[frame]), math.sin(angle[frame])
        local = np.stack([cos * off_x + sin * off_y, cos * off_y - sin * off_x], axis=-1) / radius[frame]
        inside = ANALYTIC[name](local)
        # Closer to the edge than 1/5000 of the radius, the four digits in which corners are given decide.
        u, v = local[..., 0].astype(np.float32), local[..., 1].astype(np.float32)
        clear = np.abs(SHAPES[NAMES.index(name)].distance(u, v)) > 2e-4
        pixels_compared += int(clear.sum())
        np.testing.assert_array_equal((codes[frame] == 8)[clear], inside[clear])
    assert pixels_compared > 0.999 * codes.size


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_reach_and_area_are_those_of_the_shape(shape):
    axis = np.linspace(-1.3, 1.3, 1301, dtype=np.float32)
    u, v = np.meshgrid(axis, axis)
    inside = shape.distance(u, v) <= 0
    assert inside.mean() * (1301 * 0.002) ** 2 == pytest.approx(shape.area, rel=4e-3)
    assert np.hypot(u, v)[inside].max() == pytest.approx(shape.reach, abs=4e-3)
    assert np.hypot(u, v)[inside].max() <= shape.reach


@pytest.mark.parametrize("name", ["circle", "square", "star"])
def test_pictures_are_anti_aliased_around_exact_masks(name):
    """What covers a pixel by more than half is in the mask, and the covered area is that of the shape."""
    still = pose([0.013], [-0.021], [0.31], [0.4])
    sprite = Sprite(look(name), still, HEIGHT, WIDTH)
    codes = np.zeros((1, HEIGHT, WIDTH), dtype=np.uint16)
    sprite.mark(codes, 0)
    red, black = np.zeros((2, 1, 3, HEIGHT, WIDTH), dtype=np.float32)
    red += 1000.0
    sprite.paint(red, 0)
    sprite.paint(black, 0)
    # Whatever is below shines through where the shape does not cover.
    covered = 1 - (red - black)[0, 0] / 1000.0
    assert 0 <= covered.min() and covered.max() <= 1 + 1e-5
    inside = codes[0] == 1
    assert (covered[inside] >= 0.5 - 1e-4).all() and (covered[~inside] <= 0.5 + 1e-4).all()
    partly = (covered > 0.01) & (covered < 0.99)
    assert 0.4 * math.sqrt(inside.sum()) < partly.sum() < 12 * math.sqrt(inside.sum())
    area = SHAPES[NAMES.index(name)].area * (0.31 * HEIGHT) ** 2
    assert covered.sum() == pytest.approx(area, rel=0.004)


def test_motion_blur_spreads_an_edge_over_the_way_of_the_exposure():
    """A square that moves 8 pixels to the right while the shutter is open, the mask in the middle of it."""
    radius, way = 0.25, 8 / HEIGHT
    moments = np.array([[0.0, -0.375, -0.125, 0.125, 0.375]])
    still = np.zeros((1, 5))
    sprite = Sprite(look("square"), Pose(moments * way, still, still + radius, still + 1, still), HEIGHT, WIDTH)
    red, black = np.zeros((2, 1, 3, HEIGHT, WIDTH), dtype=np.float32)
    red += 1000.0
    sprite.paint(red, 0)
    sprite.paint(black, 0)
    covered = 1 - (red - black)[0, 0] / 1000.0
    codes = np.zeros((1, HEIGHT, WIDTH), dtype=np.uint16)
    sprite.mark(codes, 0)
    half = 0.76 * radius * HEIGHT
    row, column = covered[HEIGHT // 2], covered[:, WIDTH // 2]
    x = np.arange(WIDTH) + 0.5 - WIDTH / 2
    np.testing.assert_array_equal(codes[0, HEIGHT // 2] == 1, np.abs(x) < half)
    # From nothing to everything over 8 pixels, give or take one, without steps of more than a third.
    exact = np.clip((half + 4 - np.abs(x)) / 8, 0, 1)
    assert np.abs(row - exact).max() < 0.2
    assert np.abs(np.diff(row)).max() < 1 / 3
    assert 6 <= ((row[: WIDTH // 2] > 0.01) & (row[: WIDTH // 2] < 0.99)).sum() <= 10
    assert ((column[: HEIGHT // 2] > 0.01) & (column[: HEIGHT // 2] < 0.99)).sum() <= 3
    assert covered.sum() == pytest.approx((2 * half) ** 2, rel=0.01)


def test_nearer_things_are_painted_over_farther_ones():
    pictures = np.zeros((1, 3, HEIGHT, WIDTH), dtype=np.float32)
    far = Sprite(look("square"), pose([0.0], [0.0], [0.4], [0.0]), HEIGHT, WIDTH)
    blue = Look(0, "blue", (0, 0, 200), (0, 0, 100), "plain", 0.5, 0.0, False)
    near = Sprite(blue, pose([0.0], [0.0], [0.2], [0.0]), HEIGHT, WIDTH)
    far.paint(pictures, 0)
    near.paint(pictures, 0)
    middle, side = pictures[0, :, HEIGHT // 2, WIDTH // 2], pictures[0, :, HEIGHT // 2, WIDTH // 2 + 26]
    assert middle[2] > 150 and middle[0] == 0
    assert side[0] > 150 and side[2] < 60
