# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The ten shapes, as signed distances that tell what is inside, and how much of a pixel at the edge.

A shape lives in its own coordinates: `u` to the right, `v` down, sizes so chosen that all shapes look about equally
large. Distances are negative inside, and exact near straight and round edges; near corners, where two edges meet, they
may be too small. Only additions, multiplications, square roots and comparisons are used, which every processor rounds
alike: a mask is the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Cosines and sines of regular figures.
_COS_18, _SIN_18 = 0.9510565162951535, 0.3090169943749474
_COS_54, _SIN_54 = 0.5877852522924731, 0.8090169943749475
_COS_30 = 0.8660254037844386
_COS_45 = 0.7071067811865476


@dataclass(frozen=True)
class Shape:
    """One thing class.

    Attributes:
        name: What it is called in categories and expressions.
        distance: Signed distance in units of the radius, given `u` and `v` of equal shape (float32).
        reach: Distance from the centre to the farthest point, in units of the radius.
        area: In units of the squared radius.
        is_round: Whether turning it changes nothing but its pattern.
    """

    name: str
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    reach: float
    area: float
    is_round: bool = False


def _length(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    squares = u * u
    squares += v * v
    return np.sqrt(squares, out=squares)


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc of radius 0.86."""
    distance = _length(u, v)
    distance -= 0.86
    return distance


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A square of half side 0.76."""
    distance = np.maximum(np.abs(u), np.abs(v))
    distance -= 0.76
    return distance


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """An equilateral triangle that points up; its inner circle has radius 0.58."""
    distance = np.abs(u)
    distance *= _COS_30
    distance -= 0.5 * v
    np.maximum(distance, v, out=distance)
    distance -= 0.58
    return distance


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A star of five straight lines that points up."""
    # A point belongs to the star if it lies beyond at most one of the five lines: the second largest of the signed
    # distances to the lines decides. By symmetry the lower left line needs no look where u > 0.
    across = np.abs(u)
    top = -v
    side = across * _COS_18
    side -= _SIN_18 * v
    down = _SIN_54 * v
    across *= _COS_54
    far_down = down - across
    down += across
    higher = np.maximum(side, down)
    second = np.minimum(side, down, out=side)
    np.maximum(second, np.minimum(top, higher), out=second)
    np.maximum(higher, top, out=higher)
    np.maximum(second, np.minimum(far_down, higher, out=far_down), out=second)
    second -= 0.37
    return second


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Two bars of half length 1 and half width 0.33."""
    u, v = np.abs(u), np.abs(v)
    distance = np.maximum(u, v)
    distance -= 1.0
    np.minimum(u, v, out=u)
    u -= 0.33
    return np.maximum(distance, u, out=distance)


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A square that stands on a corner and two discs on its upper sides."""
    u = np.abs(u)
    low = v - 0.1
    distance = np.abs(low)
    distance += u
    distance -= 0.8
    distance *= _COS_45
    u -= 0.4
    low += 0.4
    lobes = _length(u, low)
    lobes -= 0.8 * _COS_45
    return np.minimum(distance, lobes, out=distance)


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A ring between radius 0.53 and 1.01."""
    distance = _length(u, v)
    distance -= 0.77
    np.abs(distance, out=distance)
    distance -= 0.24
    return distance


def moon(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A crescent, open to the right: a disc without another."""
    distance = _length(u - 0.28, v)
    distance -= 1.0
    hole = _length(u - 0.76, v)
    np.subtract(0.8, hole, out=hole)
    return np.maximum(distance, hole, out=distance)


def arrow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """An arrow that points to the right."""
    v = np.abs(v)
    head = 0.606 * u
    head += 0.7955 * v
    head -= 0.606 * 1.1
    np.maximum(head, 0.05 - u, out=head)
    shaft = np.abs(u + 0.45)
    shaft -= 0.6
    v -= 0.32
    np.maximum(shaft, v, out=shaft)
    return np.minimum(head, shaft, out=head)


def drop(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A drop that points up: a disc and its tangents from the tip."""
    low = v - 0.3
    disc = _length(u, low)
    disc -= 0.68
    cone = np.abs(u)
    cone *= 0.8741
    low += 1.4
    low *= 0.4857
    cone -= low
    np.maximum(cone, v + 0.03, out=cone)
    return np.minimum(disc, cone, out=disc)


SHAPES: tuple[Shape, ...] = (
    Shape("circle", circle, reach=0.86, area=2.324, is_round=True),
    Shape("square", square, reach=1.075, area=2.310),
    Shape("triangle", triangle, reach=1.16, area=1.748),
    Shape("star", star, reach=1.1975, area=1.610),
    Shape("cross", cross, reach=1.054, area=2.204),
    Shape("heart", heart, reach=1.067, area=2.285),
    Shape("ring", ring, reach=1.01, area=2.322, is_round=True),
    Shape("moon", moon, reach=1.193, area=1.498),
    Shape("arrow", arrow, reach=1.1, area=1.543),
    Shape("drop", drop, reach=1.1, area=1.793),
)
"""The thing classes, in the order of their categories."""
