# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A video with its masks -> rows of at most 64 frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..layouts.damage import Damage
from ..row_builder import build_row
from ..schema import Entity, Expression
from .conversion_log import ConversionLog, DamageError
from .converter import MAX_ROW_FRAMES, row_key
from .pictures import Picture, load_picture

NO_OBJECT = "rows in which no object is seen"
_LAST_NUMBER = re.compile(r"(.*?)(\d+)")
_MAX_TIME = 2**31 - 1


@dataclass(frozen=True)
class VideoFacts:
    """What the rows of a video have in common.

    Attributes:
        dataset, split, key: Names; `key` is that of the video.
        tasks: What the rows can supervise; empty where not all masks are given.
        category_set, category_sizes, fps, exhaustive, neg_categories, not_exhaustive_categories, meta: As for
            [`~univs_hf.data.row_builder.build_row`].
        drop_empty: Whether rows without an object are left out: they teach nothing, but are needed for evaluation.
    """

    dataset: str
    split: str
    key: str
    tasks: tuple[str, ...] = ()
    category_set: str = ""
    category_sizes: Mapping[str, int] = field(default_factory=dict)
    fps: float = 0.0
    exhaustive: bool = False
    neg_categories: tuple[int, ...] | None = None
    not_exhaustive_categories: tuple[int, ...] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    drop_empty: bool = False


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        path: The picture.
        time: Its number in the original video.
        masks: Compressed run lengths by object id; objects that are not seen are missing.
        size: (height, width) of the masks, where there are some.
    """

    path: Path
    time: int
    masks: Mapping[int, bytes] = field(default_factory=dict)
    size: tuple[int, int] | None = None


def rows_of_video(
    facts: VideoFacts,
    frames: Sequence[VideoFrame],
    entities: Mapping[int, Entity],
    log: ConversionLog,
    expressions: Sequence[tuple[int, int, str]] = (),
    source: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Makes the rows of a video, reading the pictures of one row at a time.

    A row has the objects that are seen in it, by ascending id, and the expressions about them.

    Args:
        facts: What the rows have in common.
        frames: Frames in order.
        entities: Objects by id; masks of others are left out.
        log: Frames whose picture is damaged or of another size go there.
        expressions: Id, object id and text.
        source: The file of the expressions, for damage.
    """
    seen = {object_id for frame in frames for object_id in frame.masks if object_id in entities}
    told = []
    for number, object_id, text in expressions:
        if object_id in seen and text.strip():
            told.append((number, object_id, text))
            continue
        reason = f"is about object {object_id}, which is never seen." if text.strip() else "has no text."
        where = f"video {facts.key}, expression {number}"
        log.damage(Damage("bad_annotation", str(source or facts.key), reason, "expression", where))
    if not frames:
        return
    size: tuple[int, int] | None = None
    for chunk, indices in enumerate(np.array_split(np.arange(len(frames)), -(-len(frames) // MAX_ROW_FRAMES))):
        shown: list[VideoFrame] = []
        pictures: list[Picture] = []
        for frame in (frames[index] for index in indices):
            try:
                pictures.append(_picture_of(frame, size, facts.key))
            except DamageError as error:
                log.damage(error.damage)
                continue
            shown.append(frame)
            size = pictures[-1].size
        if not shown:
            continue
        ids = sorted({object_id for frame in shown for object_id in frame.masks if object_id in entities})
        if not ids and facts.drop_empty:
            log.leave_out(NO_OBJECT)
            continue
        place = {object_id: position for position, object_id in enumerate(ids)}
        told_here = [
            Expression(number, place[object_id], text) for number, object_id, text in told if object_id in place
        ]
        yield build_row(
            key=row_key(facts.dataset, facts.split, facts.key, chunk),
            dataset=facts.dataset,
            frames=[picture.data for picture in pictures],
            # Nothing can be learned of expressions where none is.
            tasks=[task for task in facts.tasks if task != "grounding" or told_here],
            entities=[entities[object_id] for object_id in ids],
            frame_masks=[
                (position, place[object_id], rle)
                for position, frame in enumerate(shown)
                for object_id, rle in frame.masks.items()
                if object_id in place
            ],
            expressions=told_here,
            category_set=facts.category_set,
            category_sizes=facts.category_sizes,
            fps=facts.fps,
            time_index=[frame.time for frame in shown],
            size=size,
            neg_categories=facts.neg_categories,
            not_exhaustive_categories=facts.not_exhaustive_categories,
            exhaustive=facts.exhaustive,
            meta={**facts.meta, "num_video_frames": len(frames)},
        )


def _picture_of(frame: VideoFrame, size: tuple[int, int] | None, key: str) -> Picture:
    where = f"video {key}"
    if size is not None and frame.size not in (None, size):
        reason = f"has masks of {frame.size[0]}x{frame.size[1]}, the video before is {size[0]}x{size[1]}."
        raise DamageError(Damage("size_mismatch", str(frame.path), reason, "frame", where))
    return load_picture(frame.path, frame.size or size, "frame", where)


def in_time_order(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names of frames in order, and the number of each in the original video.

    Names that end with numbers, the rest being alike, are ordered by them (`9` before `10`) and tell the numbers;
    others are in alphabetical order and numbered from 0.
    """
    matches = [_LAST_NUMBER.fullmatch(name) for name in names]
    if names and all(matches) and len({match[1] for match in matches}) == 1:
        numbers = [int(match[2]) for match in matches]
        if len(set(numbers)) == len(numbers) and max(numbers) <= _MAX_TIME:
            order = sorted(range(len(names)), key=numbers.__getitem__)
            return [names[index] for index in order], [numbers[index] for index in order]
    return sorted(names), list(range(len(names)))
