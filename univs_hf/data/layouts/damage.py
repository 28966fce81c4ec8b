# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Damage in a dataset: what is wrong, in which file, and what is lost by it.

A reader that meets damage calls a handler. The default one raises, as evaluation needs it; conversion hands in one
that keeps a list, and goes on without the part that is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAMAGE_KINDS = {
    "missing_file": "a file or folder that should be there is not",
    "unreadable_file": "a file is truncated or of another kind",
    "size_mismatch": "frames or masks of one video differ in size",
    "bad_annotation": "an annotation has no valid mask or points to nothing that exists",
    "unknown_category": "an annotation has a category that the dataset does not have",
    "bad_record": "a record of a list or JSON file is incomplete or contradicts another",
}

# From small to large.
LOSSES = ("mask", "expression", "object", "frame", "video")


@dataclass(frozen=True)
class Damage:
    """One damaged thing.

    Attributes:
        kind: One of `DAMAGE_KINDS`.
        path: The file (or folder) at fault.
        reason: What is wrong with it, a sentence that goes after the path.
        lost: What is left out by it, one of `LOSSES`; an image counts as a video.
        where: Which record of the file, such as `"video 12, annotation 7"`; empty for the file as a whole.
    """

    kind: str
    path: str
    reason: str
    lost: str
    where: str = ""

    def __post_init__(self) -> None:
        if self.kind not in DAMAGE_KINDS:
            raise ValueError(f"`kind` must be one of {list(DAMAGE_KINDS)}, got {self.kind!r}.")
        if self.lost not in LOSSES:
            raise ValueError(f"`lost` must be one of {list(LOSSES)}, got {self.lost!r}.")
        object.__setattr__(self, "path", str(self.path))

    def __str__(self) -> str:
        place = f"{self.path}: {self.where}" if self.where else self.path
        return f"{place}: {self.reason}"

    def error(self) -> ValueError | FileNotFoundError:
        """The exception that says the same."""
        return FileNotFoundError(str(self)) if self.kind == "missing_file" else ValueError(str(self))


DamageHandler = Callable[[Damage], None]


def raise_damage(damage: Damage) -> None:
    """The handler of those who cannot do with less.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If anything else is wrong.
    """
    raise damage.error()


def missing_file(path: Path, meaning: str, lost: str, where: str = "") -> Damage:
    """Damage by a file that does not exist; `meaning` says what it should hold."""
    return Damage("missing_file", str(path), f"does not exist; expected {meaning}.", lost, where)
