# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which items go into which Parquet file, settled before the first is written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .converter import SourceItem

# Size of a file (data specification, section 1.3).
SHARD_BYTES = 384 * 2**20
_MIN_SHARD_BYTES, _MAX_SHARD_BYTES = 256 * 2**20, 512 * 2**20
# A number of files that processes and workers, mostly powers of two, can share evenly.
_PREFERRED_MULTIPLE = 64


@dataclass(frozen=True)
class ShardPlan:
    """The shards of a split.

    Attributes:
        split: Its official name.
        bounds: Shard `s` has the items from `bounds[s]` to before `bounds[s + 1]`.
        digests: SHA-256 of the keys of each shard's items.
    """

    split: str
    bounds: tuple[int, ...]
    digests: tuple[str, ...]

    @property
    def num_shards(self) -> int:
        """Number of files."""
        return len(self.digests)

    @property
    def num_items(self) -> int:
        """Number of items."""
        return self.bounds[-1]

    def file_name(self, shard: int) -> str:
        """Name of a file below the output folder, as `datasets` and the hub name shards."""
        return f"data/{hub_split(self.split)}-{shard:05d}-of-{self.num_shards:05d}.parquet"

    def to_dict(self) -> dict[str, Any]:
        """The plan in JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ShardPlan:
        """The reverse of [`~ShardPlan.to_dict`]."""
        return cls(content["split"], tuple(content["bounds"]), tuple(content["digests"]))


def hub_split(split: str) -> str:
    """Name of a split for `datasets`, which allows letters, digits, `_` and `.` only."""
    return "".join(letter if letter.isalnum() or letter in "_." else "_" for letter in split)


def plan_shards(
    split: str, items: Iterable[SourceItem], num_shards: int | None = None, shard_bytes: int = SHARD_BYTES
) -> ShardPlan:
    """Cuts a split into shards of about the same size; items stay in order and whole.

    Args:
        split: Name of the split.
        items: Its items; only their keys and sizes are kept.
        num_shards: So many shards, at most one per item. By default the size decides: a multiple of 64 where that
            makes files of 256 to 512 MiB.
        shard_bytes: Size to aim at.

    Raises:
        ValueError: If there are no items or two have the same key.
    """
    keys: list[str] = []
    sizes: list[int] = []
    for item in items:
        keys.append(item.key)
        sizes.append(item.source_bytes())
    if not keys:
        raise ValueError(f"Split {split!r} has nothing to convert.")
    if len(set(keys)) != len(keys):
        raise ValueError(f"Split {split!r} has several items with the key {Counter(keys).most_common(1)[0][0]!r}.")
    count = num_shards if num_shards is not None else _suitable_count(sum(sizes), shard_bytes)
    bounds = _even_bounds(sizes, min(count, len(keys)))
    return ShardPlan(split, bounds, _digests(keys, bounds))


def check_plan(plan: ShardPlan, items: Iterable[SourceItem]) -> None:
    """Whether a plan of an earlier run fits the items as they are now.

    Raises:
        ValueError: If there are other items.
    """
    keys = [item.key for item in items]
    if len(keys) != plan.num_items or _digests(keys, plan.bounds) != plan.digests:
        raise ValueError(
            f"Split {plan.split!r} has other videos or images than when its conversion was begun (now {len(keys)}, "
            f"then {plan.num_items}): give another folder, or --overwrite to begin again."
        )


def _even_bounds(sizes: list[int], count: int) -> tuple[int, ...]:
    # An item goes to the shard in which its middle lies; then every shard gets one item at least.
    weights = np.array(sizes, dtype=np.float64) + 1.0
    ends = np.cumsum(weights)
    shard = np.minimum(((ends - weights / 2) / ends[-1] * count).astype(np.int64), count - 1)
    bounds = np.searchsorted(shard, np.arange(count + 1))
    for number in range(1, count):
        bounds[number] = max(bounds[number], bounds[number - 1] + 1)
    for number in range(count - 1, 0, -1):
        bounds[number] = min(bounds[number], bounds[number + 1] - 1)
    return tuple(bounds.tolist())


def _digests(keys: list[str], bounds: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(hashlib.sha256("\n".join(keys[first:end]).encode()).hexdigest() for first, end in pairwise(bounds))


def _suitable_count(total: int, shard_bytes: int) -> int:
    count = max(1, round(total / shard_bytes))
    if shard_bytes != SHARD_BYTES:
        return count
    multiple = _PREFERRED_MULTIPLE * max(1, round(count / _PREFERRED_MULTIPLE))
    return multiple if _MIN_SHARD_BYTES <= total / multiple <= _MAX_SHARD_BYTES else count
