# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Flip, rotation, scale and crop of a clip, composed into one affine map per frame that is applied once.

Coordinates are continuous, (x, y), with the centre of pixel `i` at `i + 0.5` (training specification, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..image_processing_univs import compute_resized_size

_SHORTEST_EDGES = tuple(range(512, 801, 32))


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for a clip. The defaults are those of the paper with scale drawn once per clip.

    Attributes:
        flip_probability: Of mirroring the whole clip.
        max_rotation: Degrees; each frame has an angle up to it either way, and angles rise or fall through the clip.
        rotation_center: Range of the centre of rotation as a share of width and height.
        square_size: Side of a square output: the picture is scaled by the drawn scale, cropped, and padded at the
            bottom and the right. None for pictures that keep their shape.
        scale_range: With `square_size`: at scale 1 the picture just fits into the square.
        crop_shift: With `square_size`: from the second frame on the crop moves by up to this share of the side.
        shortest_edges: Without `square_size`: the short side becomes one of these. There is no crop, and no
            `scale_range`, which would only take detail away.
        longest_edge: Without `square_size`: limit of the long side.
    """

    flip_probability: float = 0.5
    max_rotation: float = 15.0
    rotation_center: tuple[float, float] = (0.4, 0.6)
    square_size: int | None = 1024
    scale_range: tuple[float, float] = (0.25, 4.0)
    crop_shift: float = 0.1
    shortest_edges: tuple[int, ...] = field(default=_SHORTEST_EDGES)
    longest_edge: int | None = 1333

    def __post_init__(self) -> None:
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"`flip_probability` must be in [0, 1], got {self.flip_probability}.")
        if not 0 <= self.max_rotation <= 180:
            raise ValueError(f"`max_rotation` must be in [0, 180] degrees, got {self.max_rotation}.")
        if not 0 <= self.rotation_center[0] <= self.rotation_center[1] <= 1:
            raise ValueError(f"`rotation_center` must be (low, high) within [0, 1], got {self.rotation_center}.")
        if self.square_size is not None and self.square_size < 1:
            raise ValueError(f"`square_size` must be at least 1 or None, got {self.square_size}.")
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"`scale_range` must be (low, high) above 0, got {self.scale_range}.")
        if not 0 <= self.crop_shift <= 1:
            raise ValueError(f"`crop_shift` must be in [0, 1], got {self.crop_shift}.")
        if not self.shortest_edges or min(self.shortest_edges) < 1:
            raise ValueError(f"`shortest_edges` must be lengths from 1 on, got {self.shortest_edges}.")

    @classmethod
    def fixed(cls, square_size: int | None = None, shortest_edge: int = 800, longest_edge: int | None = 1333):
        """No randomness: a resize only."""
        return cls(0.0, 0.0, (0.5, 0.5), square_size, (1.0, 1.0), 0.0, (shortest_edge,), longest_edge)


@dataclass(frozen=True)
class ClipGeometry:
    """The geometry of one clip.

    Attributes:
        matrices: float64 (T, 2, 3), from coordinates of the output to coordinates of the source.
        source_size: (height, width) of the source frames.
        size: (height, width) of the output.
        valid_size: (height, width) of the part of the output that shows the picture; the rest is padding.
        flipped: Whether the clip is mirrored.
        scale: Length in the output of a unit of length in the source, the smaller of both axes.
    """

    matrices: np.ndarray
    source_size: tuple[int, int]
    size: tuple[int, int]
    valid_size: tuple[int, int]
    flipped: bool
    scale: float


def sample_geometry(
    rng: np.random.Generator, source_size: tuple[int, int], num_frames: int, config: Augmentation
) -> ClipGeometry:
    """Draws the geometry of a clip.

    Args:
        rng: Source of all random numbers.
        source_size: (height, width) of the frames in pixels.
        num_frames: Frames of the clip, T.
        config: What to draw.
    """
    height, width = source_size
    flipped = bool(rng.random() < config.flip_probability)
    angles = np.sort(rng.uniform(-config.max_rotation, config.max_rotation, num_frames))
    if rng.random() < 0.5:
        angles = angles[::-1]
    center = rng.uniform(*config.rotation_center, 2) * (width, height)
    if config.square_size is None:
        edge = config.shortest_edges[int(rng.integers(len(config.shortest_edges)))]
        resized = compute_resized_size(height, width, edge, config.longest_edge)
        size = valid_size = resized
        offsets = np.zeros((num_frames, 2))
    else:
        side = config.square_size
        fit = rng.uniform(*config.scale_range) * side / max(height, width)
        resized = (max(round(height * fit), 1), max(round(width * fit), 1))
        size, valid_size = (side, side), (min(resized[0], side), min(resized[1], side))
        offsets = _sample_crops(rng, resized, side, num_frames, config.crop_shift)
    scale = np.array([resized[1] / width, resized[0] / height])
    radians = np.deg2rad(angles)
    # Output -> scaled picture -> source before the rotation -> source before the flip.
    turn = np.stack([np.cos(radians), np.sin(radians), -np.sin(radians), np.cos(radians)], -1).reshape(-1, 2, 2)
    linear = turn / scale
    shift = np.einsum("tij,tj->ti", turn, offsets / scale - center) + center
    matrices = np.concatenate([linear, shift[..., None]], -1)
    if flipped:
        matrices[:, 0] *= -1
        matrices[:, 0, 2] += width
    return ClipGeometry(matrices, (height, width), size, valid_size, flipped, float(scale.min()))


def _sample_crops(
    rng: np.random.Generator, resized: tuple[int, int], side: int, num_frames: int, crop_shift: float
) -> np.ndarray:
    """Left upper corners (T, 2), as (x, y), of a crop that moves a little."""
    room = np.maximum(np.array([resized[1], resized[0]]) - side, 0)
    first = rng.random(2) * room
    steps = rng.uniform(-1, 1, (num_frames - 1, 2)) * np.minimum(room, crop_shift * side)
    return np.round(np.clip(np.concatenate([first[None], first + steps]), 0, room))


def reduction_factor(scale: float) -> int:
    """The largest power of two by which a picture can be reduced before it is scaled by `scale` without loss."""
    factor = 1
    while factor * 2 * scale <= 1:
        factor *= 2
    return factor
