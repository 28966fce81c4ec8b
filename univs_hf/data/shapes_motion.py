# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""How things and the camera of a moving-shapes video move: smooth curves through random points.

Lengths are in units of the picture's shorter side, the origin is the middle, x goes right and y down. A `Pose` says
where a thing, or the world as the camera shows it, is at several moments. Curves pass through a point every few
frames, so that speed does not depend on how long a video is. Angles and scales are rounded to a fixed grid after sine,
cosine and exponential function, whose last bit differs between mathematical libraries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .shapes_random import RandomStream

MOTION_KINDS = ("still", "wander", "drift", "enter", "leave", "cross", "return")
# How often each is drawn.
_KIND_WEIGHTS = {
    "still": 0.12,
    "wander": 0.2,
    "drift": 0.2,
    "enter": 0.12,
    "leave": 0.1,
    "cross": 0.1,
    "return": 0.16,
}
# Whether a path is inside (I) or outside (O) of the picture at its first points; longer paths go on at random.
_KIND_POINTS = {
    "still": "IIII",
    "wander": "IIII",
    "drift": "IIII",
    "enter": "OIII",
    "leave": "IIOO",
    "cross": "OIIO",
    "return": "IOII",
}
_LEAVE_AGAIN = 0.2
# How often a thing that stands neither turns nor grows.
_RESTS = 0.7

CAMERA_KINDS = ("fixed", "pan", "zoom", "roam", "shake")
_CAMERA_WEIGHTS = {"fixed": 0.25, "pan": 0.25, "zoom": 0.12, "roam": 0.26, "shake": 0.12}
# Frames between two points of the camera's path.
_CAMERA_LEG = {"fixed": 12.0, "pan": 14.0, "zoom": 12.0, "roam": 10.0, "shake": 2.5}

_GRID = 2.0**20


def rounded(values: np.ndarray) -> np.ndarray:
    """The values on a grid of 2**-20."""
    return np.rint(np.asarray(values, dtype=np.float64) * _GRID) / _GRID


@dataclass(frozen=True)
class Pose:
    """Place, size and angle at several moments; float64 arrays of one shape.

    Attributes:
        x: Of a thing: its centre. Of the camera: the point of the world in the middle of the picture.
        y: Likewise.
        scale: Of a thing: its radius. Of the camera: how many times larger it shows the world.
        cos: Cosine of the angle by which it is turned clockwise.
        sin: Its sine.
    """

    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray
    cos: np.ndarray
    sin: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, log_scale: np.ndarray, angle: np.ndarray) -> Pose:
        """From the logarithm of the scale and the angle in radians."""
        return cls(rounded(x), rounded(y), rounded(np.exp(log_scale)), rounded(np.cos(angle)), rounded(np.sin(angle)))

    def seen_by(self, camera: Pose) -> Pose:
        """A thing's pose in the picture, given that of the camera at the same moments."""
        x, y = self.x - camera.x, self.y - camera.y
        return Pose(
            camera.scale * (camera.cos * x - camera.sin * y),
            camera.scale * (camera.sin * x + camera.cos * y),
            camera.scale * self.scale,
            camera.cos * self.cos - camera.sin * self.sin,
            camera.sin * self.cos + camera.cos * self.sin,
        )

    def to_world(self, x: float, y: float, moment: int) -> tuple[float, float]:
        """The point of the world that this camera shows at (x, y) of the picture at one of its moments."""
        x, y = x / self.scale[moment], y / self.scale[moment]
        cos, sin = self.cos[moment], self.sin[moment]
        return float(cos * x + sin * y + self.x[moment]), float(cos * y - sin * x + self.y[moment])


def smooth_curve(points: np.ndarray, times: np.ndarray, leg: float) -> np.ndarray:
    """A Catmull-Rom curve: smooth, through all points but the first and the last.

    Args:
        points: float64 (P,); point `p` is passed at the time `(p - 1) * leg`.
        times: float64, any shape; outside of [0, (P - 3) * leg] the curve stands at its end.
        leg: Time between two points.

    Returns:
        float64 of the shape of `times`.
    """
    place = np.clip(times / leg, 0, len(points) - 3)
    first = np.minimum(place.astype(np.int64), len(points) - 4)
    f = place - first
    a, b, c, d = (points[first + k] for k in range(4))
    return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))


def num_points(last_time: float, leg: float) -> int:
    """Points that [`smooth_curve`] needs to reach `last_time`."""
    return int(last_time / leg) + 4


@dataclass(frozen=True)
class CameraPath:
    """Where the camera looks, for any time.

    Attributes:
        kind: One of `CAMERA_KINDS`.
        points: float64 (4, P): x, y, logarithm of the magnification and angle at the points of the path.
        leg: Frames between two points.
    """

    kind: str
    points: np.ndarray
    leg: float

    @classmethod
    def random(cls, stream: RandomStream, last_time: float, amount: float) -> CameraPath:
        """Draws a path.

        Args:
            stream: Source of the numbers.
            last_time: In frames; the path reaches at least as far.
            amount: How much the camera moves, 1 for the usual, 0 for a camera that stands.
        """
        kind = stream.weighted(_CAMERA_WEIGHTS) if amount > 0 else "fixed"
        leg = _CAMERA_LEG[kind] * stream.uniform(0.85, 1.2)
        count = num_points(last_time, leg)
        # Half widths of shift, zoom and angle.
        shift, zoom, turn = {
            "fixed": (0.0, 0.0, 0.0),
            "pan": (0.15, 0.0, 0.0),
            "zoom": (0.02, 0.16, 0.0),
            "roam": (0.12, 0.1, 0.1),
            "shake": (0.018, 0.012, 0.012),
        }[kind]
        points = np.zeros((4, count))
        side = (stream.sign(), stream.sign())
        tilt = stream.uniform(0.1, 1.0)
        for index in range(count):
            # A pan swings from one side to the other, everything else goes anywhere.
            swing = 1.0 if index % 2 else -1.0
            for row, (width, factor) in enumerate(((shift, 1.0), (shift, tilt), (zoom, 1.0), (turn, 1.0))):
                drawn = stream.uniform(-1.0, 1.0)
                if kind == "pan" and row < 2:
                    drawn = swing * side[row] * (0.6 + 0.4 * abs(drawn))
                elif kind == "zoom" and row == 2:
                    drawn = swing * side[0] * (0.6 + 0.4 * abs(drawn))
                points[row, index] = amount * width * factor * drawn
        return cls(kind, points, leg)

    def pose(self, times: np.ndarray) -> Pose:
        """The camera at some times (in frames, any shape); it stands before 0 and after the path's end."""
        return Pose.of(*(smooth_curve(row, times, self.leg) for row in self.points))


@dataclass(frozen=True)
class ThingPath:
    """Where a thing is in the world, for any time.

    Attributes:
        kind: One of `MOTION_KINDS`.
        points: float64 (3, P): x, y and logarithm of the radius at the points of the path.
        leg: Frames between two points.
        angle: Radians at time 0, clockwise.
        spin: Radians per frame.
    """

    kind: str
    points: np.ndarray
    leg: float
    angle: float
    spin: float

    @classmethod
    def random(
        cls,
        stream: RandomStream,
        camera: CameraPath,
        last_time: float,
        half_size: tuple[float, float],
        radius: float,
        kinds: tuple[str, ...] = MOTION_KINDS,
    ) -> ThingPath:
        """Draws a path.

        Args:
            stream: Source of the numbers.
            camera: Its path; points are chosen in the picture that it shows.
            last_time: In frames; the path reaches at least as far.
            half_size: Half width and half height of the picture.
            radius: Mean radius of the thing.
            kinds: The kinds of motion to choose from.
        """
        kind = stream.weighted({name: _KIND_WEIGHTS[name] for name in kinds})
        leg = stream.uniform(6.5, 10.0)
        count = num_points(last_time, leg)
        moments = camera.pose((np.arange(count) - 1) * leg)
        points = np.zeros((3, count))
        places = _places(stream, kind, count, half_size, radius)
        for index, place in enumerate(places):
            # A thing that stands does so in the world, whatever the camera does.
            standing = kind == "still"
            points[:2, index] = moments.to_world(*places[1], 1) if standing else moments.to_world(*place, index)
        growth = stream.choice((0.0, 0.1, 0.22))
        spin = stream.choice((0.0, 0.02, 0.05, 0.09)) * stream.sign()
        if kind == "still" and stream.chance(_RESTS):
            growth = spin = 0.0
        points[2] = float(rounded(np.log(radius)))
        for index in range(count):
            points[2, index] += growth * stream.uniform(-1.0, 1.0)
        angle = stream.uniform(-0.5, 0.5) if stream.chance(0.5) else stream.uniform(-math.pi, math.pi)
        return cls(kind, points, leg, angle, spin)

    def pose(self, times: np.ndarray) -> Pose:
        """The thing in the world at some times (in frames, any shape); it stands before 0 and after the path's end."""
        x, y, log_radius = (smooth_curve(row, times, self.leg) for row in self.points)
        return Pose.of(x, y, log_radius, self.angle + self.spin * np.maximum(times, 0.0))


class _Walker:
    """Chooses the points of a path in the picture, one after the other."""

    def __init__(self, stream: RandomStream, kind: str, half_size: tuple[float, float], radius: float):
        self.stream, self.kind, self.half_size, self.radius = stream, kind, half_size, radius
        # Things may stick out of the picture a little.
        self.bounds = [max(0.3 * half, half - 0.7 * radius) for half in half_size]
        # It mostly moves along one axis, to the side `sign`.
        self.axis, self.sign = stream.integer(0, 1), stream.sign()
        self.slope = stream.uniform(-0.3, 0.3)
        self.step = stream.uniform(0.14, 0.3)
        self.here = [stream.uniform(-bound, bound) for bound in self.bounds]
        if kind in ("drift", "enter"):
            self.here[self.axis] = -self.sign * self.bounds[self.axis] * stream.uniform(0.3, 1.0)
        elif kind in ("leave", "return"):
            # Close to the side where it leaves, or it would have to hurry.
            self.here[self.axis] = self.sign * self.bounds[self.axis] * stream.uniform(0.2, 0.75)
            self.step *= 0.6
        elif kind == "cross":
            self.step = 2 * half_size[self.axis] * stream.uniform(0.3, 0.4)

    def states(self, count: int) -> str:
        """For each point, whether it is inside (I) or outside (O) of the picture."""
        states = _KIND_POINTS[self.kind]
        while len(states) < count:
            leaves = states[-1] == "I" and self.kind != "wander" and self.stream.chance(_LEAVE_AGAIN)
            states += "O" if leaves else "I"
        return states[:count]

    def begin_outside(self) -> None:
        """Goes beyond the side opposite of where it will move."""
        self._go_beyond(-self.sign)

    def leave(self) -> None:
        """Goes beyond the side that it moves to, or the opposite one if it has just turned round there."""
        far = self.sign * self.here[self.axis] < -0.2 * self.half_size[self.axis]
        self._go_beyond(-self.sign if far else self.sign)

    def _go_beyond(self, side: int) -> None:
        """Goes so far beyond a side that nothing of it is seen."""
        beyond = 1.55 * self.radius + self.stream.uniform(0.02, 0.08)
        self.here[self.axis] = side * (self.half_size[self.axis] + beyond)

    def come_back(self) -> None:
        """Enters by the side where it is, and moves on from there."""
        side = 1 if self.here[self.axis] > 0 else -1
        self.sign = -side
        self.here[self.axis] = side * self.bounds[self.axis] * self.stream.uniform(0.45, 0.95)
        self._move(1 - self.axis, self.stream.uniform(-0.2, 0.2))

    def go_on(self) -> None:
        """Moves on within the picture; turns round at its border."""
        if self.kind == "wander":
            for axis in (0, 1):
                self._move(axis, self.step * self.stream.uniform(-1.4, 1.4))
            return
        self._move(1 - self.axis, self.step * self.slope)
        if self._move(self.axis, self.sign * self.step):
            self.sign = -self.sign

    def _move(self, axis: int, way: float) -> bool:
        """Moves along an axis; True if the border is in the way."""
        bound = self.bounds[axis]
        wanted = self.here[axis] + way
        self.here[axis] = max(-bound, min(bound, wanted))
        return self.here[axis] != wanted


def _places(
    stream: RandomStream, kind: str, count: int, half_size: tuple[float, float], radius: float
) -> list[tuple[float, float]]:
    """`count` points in the picture, a leg apart, the first of them a leg before the video begins."""
    walker = _Walker(stream, kind, half_size, radius)
    places: list[tuple[float, float]] = []
    states = walker.states(count - 1)
    for before, state in zip(" " + states, states, strict=False):
        match before + state:
            case " O":
                walker.begin_outside()
            case "IO":
                walker.leave()
            case "OI":
                walker.come_back()
            case "II":
                walker.go_on()
        places.append((walker.here[0], walker.here[1]))
    # It comes from where it would have been, had it always moved as it does first.
    return [(2 * places[0][0] - places[1][0], 2 * places[0][1] - places[1][1]), *places]
