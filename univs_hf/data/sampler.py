# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which rows make the batch of a step: a pure function of (seed, step, rank), resumed from a few integers.

Each batch comes from one dataset, drawn by weight. Rows are taken in the order of a permutation that is keyed by
(seed, dataset, epoch), at a cursor that counts the rows all processes have taken from the dataset. Every process
simulates the draws of all others, so that cursors agree without communication. The clip seed follows from (seed,
dataset, position of the cursor). Nothing depends on the number of data workers (data specification, section 3).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from .clip_random import Purpose, derive_seed, generator
from .dataset_draws import DatasetDraws


class ClipIndex(NamedTuple):
    """What a data worker is asked for.

    Attributes:
        dataset: Position of the dataset in the list of datasets.
        row: Row of the dataset.
        seed: The clip seed.
    """

    dataset: int
    row: int
    seed: int


@dataclass(frozen=True)
class DatasetShare:
    """A dataset as the sampler sees it.

    Attributes:
        name: Unique name. The order of rows is keyed by it, so that other datasets can come and go.
        num_rows: Number of rows.
        weight: Relative probability of a batch, of any scale.
    """

    name: str
    num_rows: int
    weight: float = 1.0


class ClipBatchSampler(Sampler[list[ClipIndex]]):
    """Yields the batches of one process, for `DataLoader(batch_sampler=...)`; must not go through `prepare`.

    A step is one batch per process; with gradient accumulation several steps make one update of the weights.

    Args:
        datasets: The datasets and their weights.
        batch_size: Clips per batch and process.
        seed: Of everything.
        rank, world_size: This process and the number of processes.
        num_steps: Step to stop before; None goes on for ever.
        one_dataset_per_step: All processes take the same dataset at a step. Then the clips of a step, over all
            processes, depend on their total number only: two processes with batches of 2 take what one with 4 takes.
            By default each process draws its own, as the original does.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        datasets: Sequence[DatasetShare],
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_steps: int | None = None,
        one_dataset_per_step: bool = False,
    ):
        names = [share.name for share in datasets]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"`datasets` must be one or more with distinct names, got {names}.")
        for share in datasets:
            if share.num_rows < 1:
                raise ValueError(f"`datasets`: {share.name!r} must have at least one row, got {share.num_rows}.")
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        self.datasets = tuple(datasets)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.num_steps = num_steps
        self.one_dataset_per_step = one_dataset_per_step
        weights = {share.name: share.weight for share in datasets}
        self._draws = DatasetDraws(weights, seed, rank, world_size, num_steps, one_dataset_per_step)
        self._keys = [zlib.crc32(name.encode()) for name in names]
        self._start_step = 0
        self._start_cursors = np.zeros(len(names), np.int64)
        self._known = (0, self._start_cursors)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        if self.num_steps is None:
            raise TypeError("The sampler is endless: `num_steps` is None.")
        return max(self.num_steps - self._start_step, 0)

    def __iter__(self) -> Iterator[list[ClipIndex]]:
        """Batches from the step of the loaded state on, 0 by default."""
        for step in self._draws.steps(self._start_step):
            yield self.batch_at(step)

    def batch_at(self, step: int) -> list[ClipIndex]:
        """The batch of this process at a step.

        Raises:
            ValueError: If the step lies before that of the loaded state.
        """
        cursors = self._cursors_at(step)
        draws = self._draws.at(step)
        dataset = int(draws[self.rank])
        position = int(cursors[dataset]) + self.batch_size * int((draws[: self.rank] == dataset).sum())
        return [self._index(dataset, position + offset) for offset in range(self.batch_size)]

    def dataset_at(self, step: int, rank: int | None = None) -> int:
        """Position of the dataset that a process, by default this one, draws at a step."""
        return int(self._draws.at(step)[self.rank if rank is None else rank])

    def state_dict(self, step: int) -> dict[str, Any]:
        """State from which the batches of `step` and later follow; plain integers and names.

        Workers read ahead: give the number of steps that were trained, not that were loaded.
        """
        cursors = self._cursors_at(step)
        return {
            "step": step,
            "cursors": {share.name: int(cursor) for share, cursor in zip(self.datasets, cursors, strict=True)},
            "seed": self.seed,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "one_dataset_per_step": self.one_dataset_per_step,
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Goes on from a state.

        Args:
            state: From [`~ClipBatchSampler.state_dict`].
            strict: Refuse a state whose batches would differ from those of the run that wrote it. Otherwise other
                processes, batch sizes and datasets are accepted: rows go on where they were, new datasets at their
                beginning.

        Raises:
            ValueError: If something is missing or, when strict, differs.
        """
        expected = self.state_dict(self._start_step)
        missing = sorted((set(expected) if strict else {"step"}) - set(state))
        if missing:
            raise ValueError(f"`state` lacks {missing}.")
        if strict:
            for name in ("seed", "batch_size", "world_size", "one_dataset_per_step"):
                if state[name] != expected[name]:
                    raise ValueError(f"`state` was saved with {name} {state[name]}, the sampler has {expected[name]}.")
            if set(state["cursors"]) != set(expected["cursors"]):
                raise ValueError(
                    f"`state` was saved with the datasets {sorted(state['cursors'])}, the sampler has "
                    f"{sorted(expected['cursors'])}."
                )
        # Streamed data has none.
        cursors = state.get("cursors", {})
        self._start_step = int(state["step"])
        self._start_cursors = np.array([int(cursors.get(share.name, 0)) for share in self.datasets], np.int64)
        self._known = (self._start_step, self._start_cursors)

    def _cursors_at(self, step: int) -> np.ndarray:
        """Rows that all processes have taken from each dataset before a step, int64 (number of datasets,)."""
        known, cursors = self._known
        if step < known:
            known, cursors = self._start_step, self._start_cursors
        if step < known:
            raise ValueError(f"`step` must be at least {known}, where the loaded state begins, got {step}.")
        cursors = cursors + self.batch_size * self._draws.counts(known, step)
        self._known = (step, cursors)
        return cursors

    def _index(self, dataset: int, position: int) -> ClipIndex:
        num_rows = self.datasets[dataset].num_rows
        epoch, place = divmod(position, num_rows)
        order = self._orders.get(dataset)
        if order is None or order[0] != epoch:
            rng = generator(Purpose.ROW_ORDER, self.seed, self._keys[dataset], epoch)
            order = (epoch, rng.permutation(num_rows))
            self._orders[dataset] = order
        seed = derive_seed(Purpose.CLIP_SEED, self.seed, self._keys[dataset], position)
        return ClipIndex(dataset, int(order[1][place]), seed)
