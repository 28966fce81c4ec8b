# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Decides from masks alone which things of a generated video an expression fits.

It reads the text and measures masks, and knows nothing of how the generator came to the expression: no poses, no
paths, no phrases. What a thing looks like (shape, colour, pattern) is taken from the entities, where it is in which
frame from the masks. Measures are plain: a thing moves left if the middle of its mask gets further to the left
between its first and its last frame than in any other direction.
"""

from __future__ import annotations

import re

import numpy as np

from univs_hf.data.moving_shapes import CATEGORIES, MovingShapesVideo, ShapesEntity
from univs_hf.data.shapes_things import COLORS, PATTERNS

SHAPE_NAMES = [category.text for category in CATEGORIES if category.is_thing]
GRAMMAR = re.compile(
    r"the (?:(?P<size>large|small|largest|smallest) )?"
    rf"(?:(?P<pattern>{'|'.join(PATTERNS)}) )?"
    rf"(?:(?P<color>{'|'.join(COLORS)}) )?"
    rf"(?P<shape>shape|{'|'.join(SHAPE_NAMES)})"
    r"(?: (?P<motion>moving (?:left|right|up|down)|standing still|(?:entering|leaving) the picture))?"
    r"(?: (?P<relation>behind|in front of|left of|right of|above|below) (?P<other>the .+))?"
)
# Moves of less than this part of the picture's shorter side are none.
MOVES = 0.06


class ExpressionChecker:
    """Finds the things of one video that an expression fits."""

    def __init__(self, video: MovingShapesVideo):
        self.video = video
        self.unit = min(video.frames.shape[1:3])
        self.things = {entity.id: entity for entity in video.things}
        self.full = {entity_id: video.full_mask(entity_id) for entity_id in self.things}
        self.visible = {entity_id: video.mask(entity_id) for entity_id in self.things}
        enough = video.config.min_visible_pixels
        self.shown = {entity_id: mask.sum(axis=(1, 2)) >= enough for entity_id, mask in self.visible.items()}

    def matches(self, text: str) -> list[int]:
        """Ids of the things that the text fits.

        Raises:
            ValueError: If the text is not understood, or refers to several things where it should refer to one.
        """
        parts = GRAMMAR.fullmatch(text)
        if parts is None:
            raise ValueError(f"not understood: {text!r}")
        found = [thing for thing in self.things.values() if self._looks_like(thing, parts)]
        if parts["motion"]:
            found = [thing for thing in found if self._moves(thing.id, parts["motion"])]
        if parts["relation"]:
            others = self.matches(parts["other"])
            if len(others) != 1:
                raise ValueError(f"{parts['other']!r} fits {len(others)} things")
            found = [
                thing
                for thing in found
                if thing.id != others[0] and self._is_related(thing.id, parts["relation"], others[0])
            ]
        ids = [thing.id for thing in found]
        if parts["size"] and len(ids) > 1:
            sizes = {entity_id: self._extent(entity_id) for entity_id in ids}
            pick = max if parts["size"].startswith("large") else min
            ids = [pick(sizes, key=sizes.get)]
        return ids

    def _looks_like(self, thing: ShapesEntity, parts: re.Match) -> bool:
        return (
            parts["shape"] in ("shape", thing.name)
            and parts["color"] in (None, thing.color)
            and parts["pattern"] in (None, thing.pattern)
        )

    def _middles(self, entity_id: int) -> np.ndarray:
        """(frames, 2): middle of the whole mask, as x and y, in the frames in which the thing is noticed."""
        middles = []
        for mask in self.full[entity_id][self.shown[entity_id]]:
            y, x = np.nonzero(mask)
            middles.append((x.mean(), y.mean()))
        return np.array(middles) / self.unit

    def _extent(self, entity_id: int) -> float:
        """Mean size of the whole mask where it is not cut by the border, else of the largest."""
        extents = []
        for mask in self.full[entity_id][self.shown[entity_id]]:
            y, x = np.nonzero(mask)
            whole = x.min() > 0 and y.min() > 0 and x.max() < mask.shape[1] - 1 and y.max() < mask.shape[0] - 1
            extents.append((whole, float(np.hypot(np.ptp(x) + 1, np.ptp(y) + 1))))
        inside = [extent for whole, extent in extents if whole]
        return float(np.mean(inside)) if inside else max(extent for _, extent in extents)

    def _moves(self, entity_id: int, motion: str) -> bool:
        middles = self._middles(entity_id)
        shift = middles[-1] - middles[0]
        if motion == "standing still":
            return bool(np.abs(middles - middles[0]).max() < MOVES)
        if motion == "entering the picture":
            return not self.full[entity_id][0].any()
        if motion == "leaving the picture":
            return not self.full[entity_id][-1].any()
        axis, sign = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}[motion.removeprefix("moving ")]
        return bool(sign * shift[axis] > MOVES and abs(shift[axis]) > abs(shift[1 - axis]))

    def _is_related(self, entity_id: int, relation: str, other: int) -> bool:
        if relation == "behind":
            return self._is_covered(entity_id, other)
        if relation == "in front of":
            return self._is_covered(other, entity_id)
        both = self.shown[entity_id] & self.shown[other]
        if not both.any():
            return False
        axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[relation]
        gaps = []
        for frame in np.flatnonzero(both):
            own, theirs = (np.argwhere(self.full[i][frame]).mean(axis=0)[::-1] for i in (entity_id, other))
            gaps.append(own - theirs)
        gaps = np.mean(gaps, axis=0)
        return bool(sign * gaps[axis] > 0 and abs(gaps[axis]) > 0.5 * abs(gaps[1 - axis]))

    def _is_covered(self, entity_id: int, other: int) -> bool:
        """Whether some pixel of a thing shows the other one."""
        return bool((self.full[entity_id] & self.visible[other]).any())
