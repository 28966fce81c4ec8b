# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The plan of a moving-shapes video: camera, ground, things and who covers whom, all drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .shapes_config import MovingShapesConfig
from .shapes_ground import NUM_TAPS, Layout
from .shapes_motion import CameraPath, Pose, ThingPath
from .shapes_random import RandomStream
from .shapes_things import Look, Sprite, Thing

# Purposes of streams of random numbers. They are part of what a seed means and never change.
CAMERA, LAYOUT, THINGS, PATH, EXPOSURE, NOISE, ENTITIES, EXPRESSIONS = range(8)

# Radii in units of the shorter side, and how often each range is drawn.
_RADII = {(0.075, 0.1): 0.3, (0.115, 0.15): 0.4, (0.17, 0.22): 0.3}
# Ways that are tried for a thing that is hardly ever seen, the last of them without leaving the picture.
_MAX_TRIES = 8
_FREE_TRIES = 4
_KINDS_THAT_STAY = ("still", "wander", "drift")
# A thing that is met in the middle of its way is covered in part, not as a whole.
_MEETING_SHARE = 0.55
# A thing does not hurry to a meeting farther away than this, in units of the shorter side.
_MAX_DETOUR = 0.4


@dataclass(frozen=True)
class Coverage:
    """Pixel counts of the things of a video, farthest first.

    Attributes:
        visible: int64 (num_frames, N): pixels of the visible mask.
        full: int64 (num_frames, N): pixels in the picture, covered or not.
        shared: int64 (num_frames, N, N): pixels that lie in both things.
    """

    visible: np.ndarray
    full: np.ndarray
    shared: np.ndarray

    @classmethod
    def count(cls, codes: np.ndarray, num_things: int) -> Coverage:
        """Counts the pixels of each combination of things.

        Args:
            codes: (num_frames, height, width): bit `n` says that the pixel lies in thing `n`.
            num_things: N.
        """
        size = 1 << num_things
        counts = np.stack([np.bincount(frame.ravel(), minlength=size) for frame in codes])
        visible = [counts[:, 1 << n : 2 << n].sum(axis=1) for n in range(num_things)]
        has = (np.arange(size)[:, None] >> np.arange(num_things)) & 1
        both = has[:, :, None] * has[:, None, :]
        shared = np.tensordot(counts, both, axes=1)
        return cls(
            np.stack(visible, axis=1) if visible else np.zeros((len(codes), 0), np.int64),
            np.einsum("tnn->tn", shared).copy(),
            shared,
        )


@dataclass(frozen=True)
class Scene:
    """Everything that decides a video.

    Attributes:
        seed: What it was drawn from.
        config: The settings.
        camera: Path of the camera.
        camera_pose: Its poses, arrays (num_frames, 1 + taps): in the middle of the exposure, then during it.
        layout: The ground.
        things: Farthest first.
        world_poses: Pose of each thing in the world, arrays (num_frames, 1 + taps).
        poses: Pose of each thing in the picture, likewise.
        codes: uint16 (num_frames, height, width): bit `n` says that the pixel's centre lies in thing `n`.
        coverage: Pixel counts.
        noise: Standard deviation of the noise, in 0 to 255.
    """

    seed: int
    config: MovingShapesConfig
    camera: CameraPath
    camera_pose: Pose
    layout: Layout
    things: tuple[Thing, ...]
    world_poses: tuple[Pose, ...]
    poses: tuple[Pose, ...]
    codes: np.ndarray
    coverage: Coverage
    noise: float

    def sprite(self, index: int) -> Sprite:
        """A thing ready to be painted."""
        return Sprite(self.things[index].look, self.poses[index], self.config.height, self.config.width)


def plan_scene(seed: int, config: MovingShapesConfig) -> Scene:
    """Draws the plan of a video.

    Things that are too rarely seen get another way through the picture, and are dropped if none is found; one thing
    always stays.
    """
    height, width, num_frames = config.height, config.width, config.num_frames
    unit = min(height, width)
    half_size = width / (2 * unit), height / (2 * unit)
    last_time = num_frames - 0.5

    exposure = RandomStream(seed, EXPOSURE)
    shutter = exposure.uniform(0.0, 0.85) * config.motion_blur
    noise = exposure.uniform(0.0, 6.5) * config.noise
    # The order is that of the taps of a pixel.
    taps = (np.arange(NUM_TAPS) - (NUM_TAPS - 1) / 2) / NUM_TAPS
    times = np.arange(num_frames)[:, None] + shutter * np.concatenate([[0.0], taps])

    camera = CameraPath.random(RandomStream(seed, CAMERA), last_time, config.camera_motion)
    camera_pose = camera.pose(times)
    ground = RandomStream(seed, LAYOUT)
    layout = Layout.random(ground, ground.integer(config.min_stuff, config.max_stuff), half_size)

    looks, radii = _draw_looks(seed, config, unit)
    paths: list[ThingPath] = []
    for index, radius in enumerate(radii):
        paths.append(_draw_path(seed, index, 0, camera, last_time, half_size, radius))
    _plan_meetings(RandomStream(seed, THINGS, 1), config, paths, radii, num_frames)

    def seen(path: ThingPath) -> tuple[Pose, Pose]:
        world = path.pose(times)
        return world, world.seen_by(camera_pose)

    poses = [seen(path) for path in paths]
    codes = np.zeros((num_frames, height, width), dtype=np.uint16)
    for index, (_, pose) in enumerate(poses):
        Sprite(looks[index], pose, height, width).mark(codes, index)
    for attempt in range(1, _MAX_TRIES + 1):
        coverage = Coverage.count(codes, len(looks))
        rare = _rarely_seen(coverage, config)
        if not rare or attempt == _MAX_TRIES:
            break
        for index in rare:
            paths[index] = _draw_path(seed, index, attempt, camera, last_time, half_size, radii[index])
            poses[index] = seen(paths[index])
            codes &= np.uint16(0xFFFF ^ (1 << index))
            Sprite(looks[index], poses[index][1], height, width).mark(codes, index)
    kept = [index for index in range(len(looks)) if index not in rare] or [len(looks) - 1]
    if rare:
        codes = np.zeros_like(codes)
        for bit, index in enumerate(kept):
            Sprite(looks[index], poses[index][1], height, width).mark(codes, bit)
        coverage = Coverage.count(codes, len(kept))
    return Scene(
        seed=seed,
        config=config,
        camera=camera,
        camera_pose=camera_pose,
        layout=layout,
        things=tuple(Thing(looks[index], paths[index]) for index in kept),
        world_poses=tuple(poses[index][0] for index in kept),
        poses=tuple(poses[index][1] for index in kept),
        codes=codes,
        coverage=coverage,
        noise=noise,
    )


def _draw_looks(seed: int, config: MovingShapesConfig, unit: int) -> tuple[list[Look], list[float]]:
    """Looks and radii of the things, farthest first."""
    stream = RandomStream(seed, THINGS)
    looks: list[Look] = []
    radii = []
    for _ in range(stream.integer(config.min_objects, config.max_objects)):
        radius = stream.uniform(*stream.weighted(_RADII)) * config.object_scale
        radii.append(radius)
        looks.append(Look.random(stream, radius * unit, looks))
    # Large things tend to be far, or they would hide all others.
    depth = [radius + stream.uniform(-0.09, 0.09) * config.object_scale for radius in radii]
    order = sorted(range(len(looks)), key=lambda index: -depth[index])
    return [looks[index] for index in order], [radii[index] for index in order]


def _draw_path(
    seed: int,
    index: int,
    attempt: int,
    camera: CameraPath,
    last_time: float,
    half_size: tuple[float, float],
    radius: float,
) -> ThingPath:
    stream = RandomStream(seed, PATH, index, attempt)
    # The farthest thing is there from the beginning.
    stays = attempt >= _FREE_TRIES or (index == 0 and not attempt)
    kinds = {"kinds": _KINDS_THAT_STAY} if stays else {}
    return ThingPath.random(stream, camera, last_time, half_size, radius, **kinds)


def _plan_meetings(
    stream: RandomStream, config: MovingShapesConfig, paths: list[ThingPath], radii: list[float], num_frames: int
) -> None:
    """Leads some things past others that lie behind them, so that many videos have occlusion."""
    for near in range(1, len(paths)):
        if not stream.chance(config.occlusion):
            continue
        far = stream.integer(0, near - 1)
        path = paths[near]
        # Points 0 and 1 lie before the video and at its beginning.
        inner = np.arange(2, path.points.shape[1] - 1)
        inner = inner[(inner - 1) * path.leg < num_frames - 1]
        if not len(inner) or path.kind == "still":
            continue
        met = paths[far].pose((inner - 1) * path.leg)
        off_x, off_y = met.x - path.points[0, inner], met.y - path.points[1, inner]
        nearest = int(np.argmin(off_x * off_x + off_y * off_y))
        if off_x[nearest] ** 2 + off_y[nearest] ** 2 > _MAX_DETOUR**2:
            continue
        distance = _MEETING_SHARE * (radii[near] + radii[far])
        points = path.points.copy()
        points[0, inner[nearest]] = met.x[nearest] + stream.uniform(-1.0, 1.0) * distance
        points[1, inner[nearest]] = met.y[nearest] + stream.uniform(-1.0, 1.0) * distance
        paths[near] = replace(path, points=points)


def _rarely_seen(coverage: Coverage, config: MovingShapesConfig) -> list[int]:
    """Things that do not show enough of themselves in enough frames."""
    enough = (coverage.visible >= config.min_visible_pixels).sum(axis=0)
    return [index for index, frames in enumerate(enough) if frames < min(config.min_visible_frames, config.num_frames)]
