# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Moving shapes: generated videos with everything that the six tasks need, from a seed.

Ten kinds of things (circle, square, ...) move, turn and grow in front of a ground of eight kinds of stuff (grass,
water, ...), cover one another in depth order, leave and come back, while the camera moves. Masks are exact; pictures
are anti-aliased, blurred by motion and noisy. Expressions fit exactly one thing each.

    video = generate_video(seed_of("train", 0))
    video.frames, video.labels, video.entities, video.expressions

The same seed and settings give the same bits in every process, whatever the number of threads: per pixel only
operations are used that every processor rounds alike. The seeds of the splits are disjoint (see
[`~univs_hf.data.shapes_config.seed_of`]).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..label_sets import Category
from ..video_writer import VideoWriter
from .shapes_config import SEEDS_PER_SPLIT, SPLITS, MovingShapesConfig, seed_of, split_of
from .shapes_expressions import describe
from .shapes_facts import Facts
from .shapes_geometry import SHAPES
from .shapes_ground import Ground
from .shapes_random import RandomStream
from .shapes_rendering import nearest_things, render_pictures, stuff_maps
from .shapes_scene import ENTITIES, EXPRESSIONS, Scene, plan_scene
from .shapes_textures import STUFF

if TYPE_CHECKING:
    import torch

__all__ = [
    "CATEGORIES",
    "CATEGORY_SET",
    "SPLITS",
    "MovingShapes",
    "MovingShapesConfig",
    "MovingShapesVideo",
    "ShapesEntity",
    "ShapesExpression",
    "generate_video",
    "seed_of",
    "split_of",
    "video_name",
]

CATEGORY_SET = "moving_shapes"
"""Name of the category set in rows."""

CATEGORIES: tuple[Category, ...] = tuple(
    Category(index=index, text=name, is_thing=index < len(SHAPES))
    for index, name in enumerate([shape.name for shape in SHAPES] + [stuff.name for stuff in STUFF])
)
"""The categories in the order of class indices: things, then stuff."""

# Rows hold at most as many frames (data specification, section 1).
_FRAMES_PER_ROW = 64


@dataclass(frozen=True)
class ShapesEntity:
    """A thing or a stuff segment of a video.

    Attributes:
        id: Its value in label maps: 1 to N for N entities, things first, in no particular order.
        category: Index into `CATEGORIES`.
        is_thing: False for stuff, of which each class is one entity.
        color: Name of a thing's colour, empty for stuff.
        pattern: Name of a thing's pattern, empty for stuff.
        depth: Things with a higher depth cover those with a lower one; -1 for stuff.
    """

    id: int
    category: int
    is_thing: bool
    color: str = ""
    pattern: str = ""
    depth: int = -1

    @property
    def name(self) -> str:
        """Name of the category."""
        return CATEGORIES[self.category].text


@dataclass(frozen=True)
class ShapesExpression:
    """An expression that fits exactly one thing of the video.

    Attributes:
        entity_id: Id of the thing.
        text: Such as "the large red star".
        kind: What tells the thing from the others: "look", "size", "motion" or "relation".
    """

    entity_id: int
    text: str
    kind: str


@dataclass(frozen=True)
class MovingShapesVideo:
    """A generated video with its annotation.

    Attributes:
        scene: The plan that it was made from.
        frames: uint8 (num_frames, height, width, 3), RGB.
        labels: uint8 (num_frames, height, width): id of the entity that each pixel shows. Every pixel shows one.
        entities: Those of which a pixel is visible, in the order of their ids.
        expressions: For the things, in the order of ids; a thing that nothing singles out has none.
    """

    scene: Scene
    frames: np.ndarray
    labels: np.ndarray
    entities: tuple[ShapesEntity, ...]
    expressions: tuple[ShapesExpression, ...]

    @property
    def seed(self) -> int:
        """The seed."""
        return self.scene.seed

    @property
    def config(self) -> MovingShapesConfig:
        """The settings."""
        return self.scene.config

    @property
    def key(self) -> str:
        """Unique name, `moving_shapes/split/number`."""
        return f"{CATEGORY_SET}/{split_of(self.seed)}/{video_name(self.seed)}"

    @property
    def things(self) -> tuple[ShapesEntity, ...]:
        """The entities that are things."""
        return tuple(entity for entity in self.entities if entity.is_thing)

    def _entity(self, entity_id: int) -> ShapesEntity:
        if not 1 <= entity_id <= len(self.entities):
            raise ValueError(f"`entity_id` must be in [1, {len(self.entities)}], got {entity_id}.")
        return self.entities[entity_id - 1]

    def mask(self, entity_id: int) -> np.ndarray:
        """Where an entity is visible, bool (num_frames, height, width).

        Raises:
            ValueError: If there is no such entity.
        """
        return self.labels == self._entity(entity_id).id

    def full_mask(self, entity_id: int) -> np.ndarray:
        """Where a thing is, whether covered or not, bool (num_frames, height, width).

        Raises:
            ValueError: If there is no such entity, or it is stuff.
        """
        entity = self._entity(entity_id)
        if not entity.is_thing:
            raise ValueError(f"`entity_id` must be that of a thing, {entity_id} is {entity.name}.")
        return (self.scene.codes >> np.uint16(entity.depth)) & 1 == 1

    @cached_property
    def masks(self) -> np.ndarray:
        """Where each entity is visible, bool (N, num_frames, height, width)."""
        return self.labels == np.arange(1, len(self.entities) + 1, dtype=np.uint8)[:, None, None, None]

    @cached_property
    def semantic_maps(self) -> np.ndarray:
        """The category of each pixel, uint8 (num_frames, height, width)."""
        return np.array([0, *(entity.category for entity in self.entities)], dtype=np.uint8)[self.labels]

    @cached_property
    def is_visible(self) -> np.ndarray:
        """Whether any pixel of an entity is visible in a frame, bool (num_frames, N)."""
        size = len(self.entities) + 1
        return np.stack([np.bincount(frame.ravel(), minlength=size)[1:] > 0 for frame in self.labels])

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """The video as tensors.

        Returns:
            `video` uint8 (num_frames, 3, height, width); `labels` uint8 (num_frames, height, width); `masks` bool
            (N, num_frames, height, width); `categories` int64 (N,); `is_thing` bool (N,).
        """
        import torch

        return {
            "video": torch.from_numpy(np.ascontiguousarray(self.frames.transpose(0, 3, 1, 2))),
            "labels": torch.from_numpy(self.labels),
            "masks": torch.from_numpy(self.masks),
            "categories": torch.tensor([entity.category for entity in self.entities]),
            "is_thing": torch.tensor([entity.is_thing for entity in self.entities]),
        }

    def write_video(self, path: str | os.PathLike, overwrite: bool = True) -> Path:
        """Writes the frames as a video file, which appears when it is complete.

        Args:
            path: With one of the suffixes of `univs_hf.video_writer.VIDEO_OUTPUT_SUFFIXES`.
            overwrite: Whether an existing file may be replaced.

        Raises:
            FileExistsError: If the file exists and `overwrite` is False.
            FileNotFoundError: If its folder does not exist.
            ValueError: If the suffix is none of a video.
        """
        with VideoWriter(path, self.config.fps, overwrite=overwrite) as writer:
            for frame in self.frames:
                writer.write(frame)
        return Path(path)

    def to_rows(self, image_format: str = "JPEG", quality: int = 95) -> list[dict[str, Any]]:
        """The video in the row schema (`univs_hf.data.schema`): a row, or several of at most 64 frames each.

        Entities have the same ids in all rows of a video; expressions hold for the frames of their row. Categories
        refer to the category set `"moving_shapes"`.

        Args:
            image_format: How frames are encoded, `"JPEG"` or `"PNG"` (without loss, about four times larger).
            quality: Of JPEG, 1 to 95.
        """
        from .row_builder import build_row
        from .schema import Entity, Expression

        rows = []
        entities = [Entity(entity.id, entity.category, entity.is_thing) for entity in self.entities]
        for begin in range(0, len(self.frames), _FRAMES_PER_ROW):
            end = min(begin + _FRAMES_PER_ROW, len(self.frames))
            whole = end - begin == len(self.frames)
            expressions = self.expressions if whole else _expressions(self.scene, self.entities, begin, end)
            rows.append(
                build_row(
                    key=self.key if whole else f"{self.key}#{begin // _FRAMES_PER_ROW}",
                    dataset=CATEGORY_SET,
                    frames=self.frames[begin:end],
                    tasks=["detection", "sot", *(["grounding"] if expressions else [])],
                    entities=entities,
                    label_maps=self.labels[begin:end],
                    expressions=[
                        Expression(index, expression.entity_id - 1, expression.text)
                        for index, expression in enumerate(expressions)
                    ],
                    category_set=CATEGORY_SET,
                    category_sizes={CATEGORY_SET: len(CATEGORIES)},
                    fps=self.config.fps,
                    time_index=range(begin, end),
                    exhaustive=True,
                    meta={"seed": self.seed},
                    image_format=image_format,
                    quality=quality,
                )
            )
        return rows


def video_name(seed: int) -> str:
    """Number of a video within its split, as files are named by it."""
    return f"{seed % SEEDS_PER_SPLIT:08d}"


def generate_video(seed: int, config: MovingShapesConfig | None = None) -> MovingShapesVideo:
    """Makes a video.

    Args:
        seed: Such as [`seed_of`] gives for a split and a number.
        config: Settings; by default 24 frames of 128 by 128 pixels.

    Raises:
        TypeError: If `seed` is no integer or `config` of another type.
        ValueError: If the seed belongs to no split.
    """
    config = MovingShapesConfig() if config is None else config
    if not isinstance(config, MovingShapesConfig):
        raise TypeError(f"`config` must be a MovingShapesConfig, got {type(config).__name__}.")
    split_of(seed)
    seed = int(seed)
    scene = plan_scene(seed, config)
    ground = Ground(scene.layout, scene.camera_pose, config.height, config.width)
    frames = np.empty((config.num_frames, config.height, config.width, 3), dtype=np.uint8)
    for index, picture in enumerate(render_pictures(scene, ground)):
        frames[index] = picture
    entities, labels = _label(scene, stuff_maps(scene, ground))
    return MovingShapesVideo(scene, frames, labels, entities, _expressions(scene, entities, 0, config.num_frames))


def _label(scene: Scene, stuff: np.ndarray) -> tuple[tuple[ShapesEntity, ...], np.ndarray]:
    """Entities, and label maps in which their ids stand; things come first."""
    num_things, num_stuff = len(scene.things), len(scene.layout.classes)
    # Only what is visible becomes an entity.
    shown = scene.coverage.visible.any(axis=0)
    seen = np.zeros(num_stuff + 1, dtype=np.int64)
    for codes, classes in zip(scene.codes, stuff, strict=True):
        seen += np.bincount(np.where(codes == 0, classes, np.uint8(num_stuff)).ravel(), minlength=num_stuff + 1)
    entities: list[ShapesEntity] = []
    thing_ids, stuff_ids = np.zeros(num_things + 1, dtype=np.uint8), np.zeros(num_stuff, dtype=np.uint8)
    for depth in RandomStream(scene.seed, ENTITIES).shuffled(range(num_things)):
        if shown[depth]:
            thing_ids[depth + 1] = len(entities) + 1
            look = scene.things[depth].look
            entities.append(ShapesEntity(len(entities) + 1, look.shape, True, look.color, look.pattern, depth))
    for index, stuff_class in enumerate(scene.layout.classes):
        if seen[index]:
            stuff_ids[index] = len(entities) + 1
            entities.append(ShapesEntity(len(entities) + 1, len(SHAPES) + stuff_class, False))
    id_of_code = thing_ids[nearest_things(num_things)]
    labels = np.empty(scene.codes.shape, dtype=np.uint8)
    for frame, codes in enumerate(scene.codes):
        np.take(id_of_code, codes, out=labels[frame])
        np.copyto(labels[frame], stuff_ids[stuff[frame]], where=codes == 0)
    return tuple(entities), labels


def _expressions(scene: Scene, entities: Sequence[ShapesEntity], begin: int, end: int) -> tuple[ShapesExpression, ...]:
    """Expressions that hold for some of the frames."""
    ids = {entity.depth: entity.id for entity in entities if entity.is_thing}
    descriptions = describe(
        Facts.of(scene, begin, end), RandomStream(scene.seed, EXPRESSIONS, begin), scene.config.expressions_per_object
    )
    expressions = [ShapesExpression(ids[item.thing], item.text, item.kind) for item in descriptions]
    return tuple(sorted(expressions, key=lambda expression: expression.entity_id))


class MovingShapes(Sequence):
    """The videos of a split, made when they are asked for; serves as a map-style dataset.

    Args:
        split: `"train"`, `"validation"` or `"test"`; no video is in two of them.
        num_videos: How many, at most 2**40.
        config: Settings.
        first: Number of the first video in the split.

    Attributes:
        seeds: `range` of the seeds of the videos.

    Raises:
        TypeError: If a number is no integer or `config` of another type.
        ValueError: If there is no such split, or a number is out of range.
    """

    def __init__(self, split: str, num_videos: int, config: MovingShapesConfig | None = None, first: int = 0):
        self.config = MovingShapesConfig() if config is None else config
        if not isinstance(self.config, MovingShapesConfig):
            raise TypeError(f"`config` must be a MovingShapesConfig, got {type(config).__name__}.")
        begin = seed_of(split, first)
        if isinstance(num_videos, bool) or not isinstance(num_videos, int):
            raise TypeError(f"`num_videos` must be an integer, got {num_videos!r}.")
        if not 1 <= num_videos <= SEEDS_PER_SPLIT - first:
            raise ValueError(f"`num_videos` must be in [1, {SEEDS_PER_SPLIT - first}], got {num_videos}.")
        self.split = split
        self.seeds = range(begin, begin + num_videos)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> MovingShapesVideo:
        if isinstance(index, slice):
            raise TypeError("Videos are made one at a time: `index` must be an integer, got a slice.")
        return generate_video(self.seeds[index], self.config)

    def rows(self, image_format: str = "JPEG", quality: int = 95) -> Iterator[dict[str, Any]]:
        """The rows of all videos (see [`MovingShapesVideo.to_rows`])."""
        for index in range(len(self)):
            yield from self[index].to_rows(image_format, quality)
