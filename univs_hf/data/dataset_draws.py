# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which dataset each process takes its batch of a step from: a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np

from .clip_random import Purpose, generator

_BLOCK = 1024


class DatasetDraws:
    """Draws of datasets by weight.

    Args:
        weights: Name -> relative probability of a batch, of any scale. Positions in this order are what is drawn.
        seed: Of everything.
        rank, world_size: This process and the number of processes.
        num_steps: Step to stop before; None goes on for ever.
        one_dataset_per_step: All processes take the same dataset at a step. By default each draws its own.

    Raises:
        ValueError: If a weight is not a number above 0, or another argument is out of range.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        num_steps: int | None = None,
        one_dataset_per_step: bool = False,
    ):
        for name, weight in weights.items():
            if not (np.isfinite(weight) and weight > 0):
                raise ValueError(f"`datasets`: the weight of {name!r} must be above 0, got {weight}.")
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, got {seed}.")
        if not 0 <= rank < world_size:
            raise ValueError(f"`rank` must be in [0, `world_size`), got rank {rank} of {world_size}.")
        if num_steps is not None and num_steps < 0:
            raise ValueError(f"`num_steps` must be at least 0 or None, got {num_steps}.")
        self.seed = seed
        self.world_size = world_size
        self.num_steps = num_steps
        self.one_dataset_per_step = one_dataset_per_step
        values = np.array(list(weights.values()), np.float64)
        self._bounds = np.cumsum(values / values.sum())[:-1]
        self._block: tuple[int, np.ndarray] | None = None

    def at(self, step: int) -> np.ndarray:
        """Position of the dataset of every process at a step, int64 (world_size,)."""
        return self._of_block(step // _BLOCK)[step % _BLOCK]

    def steps(self, start: int, stride: int = 1) -> Iterator[int]:
        """Every `stride`-th step from `start` on."""
        return count(start, stride) if self.num_steps is None else iter(range(start, self.num_steps, stride))

    def counts(self, start: int, stop: int) -> np.ndarray:
        """How often each dataset is drawn by all processes in the steps from `start` to before `stop`, int64."""
        counts = np.zeros(len(self._bounds) + 1, np.int64)
        while start < stop:
            end = min(stop, (start // _BLOCK + 1) * _BLOCK)
            first = start % _BLOCK
            draws = self._of_block(start // _BLOCK)[first : first + end - start]
            counts += np.bincount(draws.ravel(), minlength=len(counts))
            start = end
        return counts

    def _of_block(self, block: int) -> np.ndarray:
        """Datasets of `_BLOCK` steps, int64 (_BLOCK, world_size)."""
        if self._block is None or self._block[0] != block:
            columns = 1 if self.one_dataset_per_step else self.world_size
            uniform = generator(Purpose.DATASET_DRAW, self.seed, block).random((_BLOCK, columns))
            draws = np.searchsorted(self._bounds, uniform, side="right")
            self._block = (block, np.broadcast_to(draws, (_BLOCK, self.world_size)))
        return self._block[1]
