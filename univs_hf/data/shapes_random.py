# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Random numbers of the moving shapes: the same on every machine, with every version of numpy.

Only the raw bits of numpy's Philox are used, which numpy promises never to change, and turned into numbers by exact
arithmetic. Every purpose (camera, ground, object 3 in its second attempt, ...) has a stream of its own, so that a
number more drawn for one leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

_POOL = 64
_TO_UNIT = 2.0**-53
_BITS_PER_PART = 16
_MAX_PARTS = 4

# Numbers below this are seeds; what is left of Philox's 128-bit key names the purpose.
SEED_LIMIT = 2**64


class RandomStream:
    """A stream of random numbers for one purpose of one seed.

    Args:
        seed: In [0, 2**64).
        *purpose: Up to four numbers in [0, 65535) that name the stream.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, seed: int, *purpose: int):
        if not 0 <= seed < SEED_LIMIT:
            raise ValueError(f"`seed` must be in [0, 2**64), got {seed}.")
        if len(purpose) > _MAX_PARTS or any(not 0 <= part < 2**_BITS_PER_PART - 1 for part in purpose):
            raise ValueError(f"`purpose` must be up to {_MAX_PARTS} numbers in [0, 65535), got {purpose}.")
        name = 0
        for part in purpose:
            # Parts count from 1, so that (1,) and (1, 0) are different streams.
            name = (name << _BITS_PER_PART) | (part + 1)
        self._source = np.random.Philox(key=seed | (name << 64))
        self._pool: list[int] = []

    def bits(self, count: int) -> np.ndarray:
        """uint64 (count,): random bits."""
        return self._source.random_raw(count)

    def _next(self) -> int:
        if not self._pool:
            self._pool = self.bits(_POOL).tolist()
        return self._pool.pop()

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((self._next() >> 11) * _TO_UNIT)

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], ends included."""
        return low + (self._next() >> 11) % (high - low + 1)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def sign(self) -> int:
        """-1 or 1."""
        return 1 if self._next() >> 63 else -1

    def choice(self, items: Sequence[Item]) -> Item:
        """One of `items`."""
        return items[self.integer(0, len(items) - 1)]

    def weighted(self, weights: dict[Item, float]) -> Item:
        """One of the keys, as often as its weight says."""
        rest = self.uniform(0.0, sum(weights.values()))
        for item, weight in weights.items():
            rest -= weight
            if rest < 0:
                return item
        return next(reversed(weights))

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in random order."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.integer(0, last)
            order[last], order[other] = order[other], order[last]
        return order

    def lattice(self, size: int) -> np.ndarray:
        """float32 (size, size): independent numbers in [0, 1)."""
        count = size * size
        numbers = self.bits((count + 3) // 4).view(np.uint16)[:count]
        return (numbers.astype(np.float32) * np.float32(2.0**-16)).reshape(size, size)
