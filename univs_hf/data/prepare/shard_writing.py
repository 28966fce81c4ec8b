# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""One shard: its items become rows, the rows a Parquet file, and what was met and counted is returned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..layouts.damage import Damage
from ..row_builder import write_parquet
from .conversion_log import ConversionLog, DamageError
from .converter import SourceItem

_READ_BYTES = 1 << 20


class Stopped(Exception):
    """The conversion ends for another reason; nothing of this shard is kept."""


@dataclass
class Counts:
    """What a part of a dataset holds.

    Attributes:
        items: Videos and images of the source.
        rows: Rows made of them.
        frames: Pictures.
        objects: Objects and stuff segments, of which one that goes through several rows of a video counts once.
        masks: Masks of all frames.
        expressions: Sentences, likewise once per video.
        categories: Distinct categories.
        bytes: Size of the file or files.
    """

    items: int = 0
    rows: int = 0
    frames: int = 0
    objects: int = 0
    masks: int = 0
    expressions: int = 0
    bytes: int = 0
    categories: set[int] = field(default_factory=set)

    def add(self, other: Counts) -> None:
        """Adds the counts of another part."""
        for name in (item.name for item in fields(self) if item.name != "categories"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.categories |= other.categories

    def to_dict(self) -> dict[str, Any]:
        """In JSON."""
        return {**asdict(self), "categories": sorted(self.categories)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Counts:
        """The reverse of [`~Counts.to_dict`]."""
        return cls(**{**content, "categories": set(content["categories"])})


@dataclass
class ShardResult:
    """A finished shard.

    Attributes:
        file: Name below the output folder.
        sha256: Checksum of the file.
        items_digest: Of the keys of its items, see [`~univs_hf.data.prepare.shard_plan.ShardPlan`].
        counts: What it holds.
        log: What was met on the way.
    """

    file: str
    sha256: str
    items_digest: str
    counts: Counts
    log: ConversionLog

    def to_dict(self) -> dict[str, Any]:
        """In JSON."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "items_digest": self.items_digest,
            "counts": self.counts.to_dict(),
            "log": self.log.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ShardResult:
        """The reverse of [`~ShardResult.to_dict`]."""
        log = ConversionLog()
        log.add(content["log"])
        counts = Counts.from_dict(content["counts"])
        return cls(content["file"], content["sha256"], content["items_digest"], counts, log)


def write_shard(
    items: Iterable[SourceItem],
    folder: Path,
    file: str,
    items_digest: str,
    on_damage: str,
    progress: Callable[[int, int], None] = lambda items, frames: None,
    stopped: Callable[[], bool] = lambda: False,
) -> ShardResult:
    """Converts the items of a shard; the file appears when it is complete.

    Args:
        items: The items.
        folder: The output folder.
        file: Name of the file below it.
        items_digest: Kept in the result.
        on_damage: `"skip"` or `"fail"`.
        progress: Called with the number of items and of frames that were finished since the last call.
        stopped: Asked between rows whether to give up.

    Raises:
        DamageError: At the first damage, if `on_damage` is `"fail"`.
        Stopped: If `stopped` says so.
    """
    log, counts = ConversionLog(on_damage), Counts()
    write_parquet(_rows(items, log, counts, progress, stopped), folder / file)
    counts.bytes = (folder / file).stat().st_size
    return ShardResult(file, sha256_of(folder / file), items_digest, counts, log)


def _rows(
    items: Iterable[SourceItem],
    log: ConversionLog,
    counts: Counts,
    progress: Callable[[int, int], None],
    stopped: Callable[[], bool],
) -> Iterator[dict[str, Any]]:
    for item in items:
        if stopped():
            raise Stopped
        objects: set[int] = set()
        expressions: set[int] = set()
        rows_before, frames_before = counts.rows, counts.frames
        for row in _rows_of_item(item, log):
            if stopped():
                raise Stopped
            counts.rows += 1
            counts.frames += row["num_frames"]
            counts.masks += len(row["mask_entity"])
            objects.update(entity["id"] for entity in row["entities"])
            expressions.update(expression["id"] for expression in row["expressions"])
            counts.categories.update(entity["category"] for entity in row["entities"] if entity["category"] >= 0)
            yield row
        counts.items += counts.rows > rows_before
        counts.objects += len(objects)
        counts.expressions += len(expressions)
        progress(1, counts.frames - frames_before)


def _rows_of_item(item: SourceItem, log: ConversionLog) -> Iterator[dict[str, Any]]:
    """The rows of an item up to the first thing that it cannot do without."""
    try:
        yield from item.rows(log)
    except DamageError as error:
        log.damage(error.damage)
    except (ValueError, OSError) as error:
        kind = "missing_file" if isinstance(error, FileNotFoundError) else "bad_record"
        path = getattr(error, "filename", None) or item.key
        log.damage(Damage(kind, str(path), str(error), "video", item.key if path != item.key else ""))


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
