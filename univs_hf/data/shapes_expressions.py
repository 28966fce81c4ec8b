# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Expressions for the things of a moving-shapes video, each of which fits exactly one of them.

An expression is used if it plainly fits one thing and plainly does not fit any other of which a pixel is seen (see
`shapes_facts` for what is plain).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .shapes_facts import DIRECTIONS, MAYBE, NO, PLACES, YES, Facts
from .shapes_geometry import SHAPES
from .shapes_random import RandomStream

KINDS = ("look", "size", "motion", "relation")
"""What tells a thing from the others."""

_MOTION_TEXTS = {
    **{direction: f"moving {direction}" for direction in DIRECTIONS},
    "still": "standing still",
    "enters": "entering the picture",
    "leaves": "leaving the picture",
}
_DEPTHS = ("behind", "in front of")
_RELATIONS = (*_DEPTHS, *PLACES)


@dataclass(frozen=True)
class Description:
    """An expression about one thing.

    Attributes:
        thing: Number of the thing, farthest first.
        text: The expression.
        kind: One of `KINDS`.
    """

    thing: int
    text: str
    kind: str


@dataclass(frozen=True)
class _Phrase:
    """The parts of an expression; empty ones say nothing."""

    size: str = ""
    pattern: str = ""
    color: str = ""
    shape: int | None = None
    motion: str = ""
    relation: str = ""
    other: int = -1
    other_text: str = ""

    @property
    def text(self) -> str:
        noun = "shape" if self.shape is None else SHAPES[self.shape].name
        words = ["the", self.size, self.pattern, self.color, noun, _MOTION_TEXTS.get(self.motion, "")]
        return " ".join(word for word in (*words, self.relation, self.other_text) if word)

    @property
    def kind(self) -> str:
        return "relation" if self.relation else "motion" if self.motion else "size" if self.size else "look"


class _Judge:
    """Decides which things an expression fits."""

    def __init__(self, facts: Facts):
        self.facts = facts
        self.present = facts.present
        # The same few questions come up in every phrase.
        self._known: dict[tuple[str, int, int], int] = {}

    def fits(self, phrase: _Phrase, thing: int) -> int:
        """YES, NO or MAYBE."""
        answer = self._fits_without_size(phrase, thing)
        if answer == NO or not phrase.size:
            return answer
        return min(answer, self._has_size(phrase, thing))

    def _fits_without_size(self, phrase: _Phrase, thing: int) -> int:
        facts, look = self.facts, self.facts.looks[thing]
        if phrase.shape is not None and phrase.shape != look.shape:
            return NO
        if phrase.pattern and phrase.pattern != look.pattern:
            return NO
        answer = YES
        if phrase.color:
            answer = facts.has_color(thing, phrase.color)
        if phrase.motion and answer != NO:
            answer = min(answer, self.moves(thing, phrase.motion))
        if phrase.relation and answer != NO:
            answer = min(answer, self.is_related(thing, phrase.relation, phrase.other))
        return answer

    def moves(self, thing: int, motion: str) -> int:
        """Whether a thing moves as one of `_MOTION_TEXTS` says."""
        answer = self._known.get((motion, thing, thing))
        if answer is None:
            if motion in DIRECTIONS:
                answer = self.facts.is_moving(thing, motion)
            else:
                facts = self.facts
                answer = {"still": facts.is_still, "enters": facts.enters, "leaves": facts.leaves}[motion](thing)
            self._known[motion, thing, thing] = answer
        return answer

    def is_related(self, thing: int, relation: str, other: int) -> int:
        """Whether one of `_RELATIONS` holds between two things."""
        if thing == other:
            return NO
        answer = self._known.get((relation, thing, other))
        if answer is None:
            if relation == "behind":
                answer = self.facts.is_behind(thing, other)
            elif relation == "in front of":
                answer = self.facts.is_behind(other, thing)
            else:
                answer = self.facts.is_at(thing, relation, other)
            self._known[relation, thing, other] = answer
        return answer

    def _has_size(self, phrase: _Phrase, thing: int) -> int:
        """Large is what is larger than all others that the rest fits, and not smaller than most other things."""
        sign = 1 if phrase.size in ("large", "largest") else -1
        rivals = [other for other in self.present if other != thing]
        alike = [other for other in rivals if self._fits_without_size(phrase, other) != NO]
        answer = min((sign * self.facts.is_larger(thing, other) for other in alike), default=YES)
        if phrase.size in ("large", "small") and answer == YES:
            plain = sum(sign * self.facts.is_larger(thing, other) == YES for other in rivals)
            contrary = sum(sign * self.facts.is_larger(thing, other) == NO for other in rivals)
            if not plain or contrary > 0.34 * len(rivals):
                return MAYBE
        return answer

    def singles_out(self, phrase: _Phrase, thing: int) -> bool:
        """Whether a phrase fits a thing, and no other."""
        return self.fits(phrase, thing) == YES and all(
            self.fits(phrase, other) == NO for other in self.present if other != thing
        )


def describe(facts: Facts, stream: RandomStream, per_thing: int) -> list[Description]:
    """Expressions for the things, in the order of the things; none for a thing that no expression singles out.

    Args:
        facts: What is true.
        stream: Source of the choice among what could be said.
        per_thing: At most as many for each thing; they differ in kind where possible.
    """
    judge = _Judge(facts)
    names = {thing: _name(judge, thing) for thing in facts.noticed}
    descriptions = []
    for thing in facts.noticed:
        candidates = {kind: iter(stream.shuffled(list(_phrases(judge, thing, kind, names)))) for kind in KINDS}
        waiting = stream.shuffled(KINDS)
        texts: set[str] = set()
        while waiting and len(texts) < per_thing:
            kind = waiting.pop(0)
            for phrase in candidates[kind]:
                if phrase.text not in texts and judge.singles_out(phrase, thing):
                    texts.add(phrase.text)
                    descriptions.append(Description(thing, phrase.text, kind))
                    waiting.append(kind)
                    break
    return descriptions


def _name(judge: _Judge, thing: int) -> str | None:
    """The shortest expression by looks that singles out a thing, to name it in expressions about others."""
    look = judge.facts.looks[thing]
    for phrase in (
        _Phrase(shape=look.shape),
        _Phrase(shape=look.shape, color=look.color),
        _Phrase(shape=look.shape, pattern=look.pattern),
    ):
        if judge.singles_out(phrase, thing):
            return phrase.text
    return None


def _phrases(judge: _Judge, thing: int, kind: str, names: dict[int, str | None]) -> Iterator[_Phrase]:
    """What could be said of a thing, whether it singles it out or not."""
    look = judge.facts.looks[thing]
    plain = _Phrase(shape=look.shape)
    colored = replace(plain, color=look.color)
    any_shape = _Phrase()
    if kind == "look":
        yield from (plain, colored, replace(any_shape, color=look.color))
        if look.pattern != "plain":
            yield from (replace(noun, pattern=look.pattern) for noun in (plain, colored, any_shape))
    elif kind == "size":
        for size in ("large", "small"):
            yield from (replace(noun, size=size) for noun in (plain, colored, replace(any_shape, color=look.color)))
        for size in ("largest", "smallest"):
            yield replace(any_shape, size=size)
    elif kind == "motion":
        for motion in _MOTION_TEXTS:
            if judge.moves(thing, motion) != YES:
                continue
            yield from (replace(noun, motion=motion) for noun in (plain, colored, any_shape))
    else:
        for other, name in names.items():
            if other == thing or name is None:
                continue
            for relation in _RELATIONS:
                if judge.is_related(thing, relation, other) != YES:
                    continue
                for noun in (plain, colored, replace(plain, size="large"), replace(plain, size="small"), any_shape):
                    yield replace(noun, relation=relation, other=other, other_text=name)
