# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Batches of clips from rows that are streamed: interleaved by weight, divided among processes and workers, resumable.

The dataset of a step is drawn as [`~univs_hf.data.sampler.ClipBatchSampler`] draws it, so weights do not depend on how
rows are read. Each worker of each process takes its own rows of every dataset (see
[`~univs_hf.data.row_stream.RowStream`]) and tells with each batch where it is. The main process keeps what the last
batch that it used told, not what workers have read ahead, and that is the state of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import fsspec.asyn
from torch.utils.data import IterableDataset, get_worker_info

from .clip import Clip, SourceClip
from .clip_attempts import first_clip
from .clip_from_row import ClipConfig
from .dataset_draws import DatasetDraws
from .row_shards import RowShards, missing_columns
from .row_stream import RowStream, StreamPosition, num_blocks
from .schema import Row

_LAYOUT = (
    "seed",
    "batch_size",
    "world_size",
    "num_workers",
    "one_dataset_per_step",
    "shards_together",
    "shards",
)


@dataclass(frozen=True)
class StreamSource:
    """Rows in pieces and what is made of them.

    Attributes:
        name: Unique name, such as the id of the dataset.
        shards: The rows.
        config: How clips are made.
        weight: Relative probability of a batch.
    """

    name: str
    shards: RowShards
    config: ClipConfig
    weight: float = 1.0


class StreamedBatch(NamedTuple):
    """What a worker gives.

    Attributes:
        clips: The clips of a batch, of one dataset.
        worker: Number of the worker within its process, as states count it.
        positions: Where the worker is in each dataset after this batch.
    """

    clips: list[Clip | SourceClip]
    worker: int
    positions: dict[str, tuple[int, ...]]


class ClipStream(IterableDataset):
    """Batches of clips of one process, for `DataLoader(stream, batch_size=None)` with as many workers as it is told.

    Must not go through `prepare` of accelerate, which would divide it once more. Call [`~ClipStream.took`] with every
    batch that is used.

    Args:
        sources: The datasets.
        batch_size: Clips per batch and process.
        num_workers: Data workers of each process; 0 loads in the process itself.
        seed: Of everything.
        rank, world_size: This process and the number of processes.
        num_steps: Step to stop before; None goes on for ever.
        one_dataset_per_step: All processes take the same dataset at a step.
        shards_together: Row groups of a dataset whose rows are shuffled together. A worker holds so many of each
            dataset in memory.
        geometry_on_device: Give [`~univs_hf.data.clip.SourceClip`]s, whose `warp(device)` makes the clips.
        max_attempts: Damaged or empty rows in succession before giving up.

    Raises:
        ValueError: If an argument is out of range, or a source has no rows, other columns, or a name that another one
            has.
    """

    def __init__(
        self,
        sources: Sequence[StreamSource],
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_steps: int | None = None,
        one_dataset_per_step: bool = False,
        shards_together: int = 1,
        geometry_on_device: bool = False,
        max_attempts: int = 10,
    ):
        names = [source.name for source in sources]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"`sources` must be one or more with distinct names, got {names}.")
        for source in sources:
            missing = missing_columns(source.shards)
            if missing:
                raise ValueError(f"`sources`: the rows of {source.name!r} lack the columns {missing}.")
            if not len(source.shards):
                raise ValueError(f"`sources`: {source.name!r} has no rows.")
        numbers = {"batch_size": batch_size, "shards_together": shards_together, "max_attempts": max_attempts}
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        if num_workers < 0:
            raise ValueError(f"`num_workers` must be at least 0, got {num_workers}.")
        self.sources = tuple(sources)
        self.batch_size = batch_size
        self.num_workers = max(num_workers, 1)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.num_steps = num_steps
        self.one_dataset_per_step = one_dataset_per_step
        self.shards_together = shards_together
        self.geometry_on_device = geometry_on_device
        self.max_attempts = max_attempts
        weights = {source.name: source.weight for source in sources}
        self._draws = DatasetDraws(weights, seed, rank, world_size, num_steps, one_dataset_per_step)
        self._step = 0
        self._positions = {
            worker: {name: tuple(rows.position) for name, rows in self._streams(worker).items()}
            for worker in range(self.num_workers)
        }

    def __iter__(self) -> Iterator[StreamedBatch]:
        """Batches of this data worker from where the last batch that was used left off.

        Raises:
            RuntimeError: If there are other data workers than `num_workers`, or no row of many gives a clip.
            ValueError: If a dataset turns out to have no rows.
        """
        info = get_worker_info()
        place, count = (0, 1) if info is None else (info.id, info.num_workers)
        if count != self.num_workers:
            raise RuntimeError(f"The stream is for {self.num_workers} data workers, the loader has {count}.")
        if info is not None:
            # File systems that work with threads of their own, as those of clouds, were copied in use.
            fsspec.asyn.reset_lock()
        first_step = self._step + place
        # The loader asks its workers in turn, beginning with the first; states count from step 0.
        worker = first_step % count
        streams = self._streams(worker)
        for name, rows in streams.items():
            rows.position = StreamPosition(*self._positions[worker][name])
        for step in self._draws.steps(first_step, count):
            source = self.sources[self._draws.at(step)[self.rank]]
            clips = [self._clip(source, streams[source.name]) for _ in range(self.batch_size)]
            yield StreamedBatch(clips, worker, {name: tuple(rows.position) for name, rows in streams.items()})

    def took(self, batch: StreamedBatch) -> None:
        """Notes that a batch is used; batches have to come in the order of the loader.

        Raises:
            ValueError: If it is not the next one.
        """
        expected = self._step % self.num_workers
        if batch.worker != expected:
            raise ValueError(f"`batch` must be of worker {expected} at step {self._step}, got one of {batch.worker}.")
        self._positions[batch.worker] = dict(batch.positions)
        self._step += 1

    def state_dict(self, step: int) -> dict[str, Any]:
        """State from which the batches of `step` and later follow; plain integers and names.

        Each process knows of its own workers only: [`merged_state`] makes one state of those of all.

        Raises:
            ValueError: If `step` is not the number of batches that were used.
        """
        if step != self._step:
            raise ValueError(f"`step` must be {self._step}, the number of batches that were used, got {step}.")
        return {
            "step": step,
            **self._layout,
            "positions": {
                str(self._global(worker)): {name: list(position) for name, position in positions.items()}
                for worker, positions in self._positions.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Goes on from a state.

        Args:
            state: From [`~ClipStream.state_dict`], merged where there are several processes.
            strict: Refuse a state whose batches would differ from those of the run that wrote it. Otherwise, if
                something differs, each dataset goes on with the epoch after those that were begun; new ones, and all
                of a run whose data was not streamed, with the first.

        Raises:
            ValueError: If something is missing or, when strict, differs.
        """
        missing = sorted(({"step", "positions", *_LAYOUT} if strict else {"step"}) - set(state))
        if missing:
            raise ValueError(f"`state` lacks {missing}: it is not of a run with streamed data.")
        differing = [name for name in _LAYOUT if state.get(name) != self._layout[name]]
        if differing and strict:
            name = differing[0]
            raise ValueError(f"`state` was saved with {name} {state[name]}, the stream has {self._layout[name]}.")
        workers = {worker: str(self._global(worker)) for worker in range(self.num_workers)}
        absent = sorted(set(workers.values()) - set(state.get("positions", {})))
        if absent and not differing:
            raise ValueError(
                f"`state` lacks the positions of the workers {absent}: merge the states of all processes."
            )
        self._step = int(state["step"])
        for worker, number in workers.items():
            if not differing:
                self._positions[worker] = {name: tuple(at) for name, at in state["positions"][number].items()}
                continue
            for name, rows in self._streams(worker).items():
                self._positions[worker][name] = tuple(rows.beginning(_epochs_begun(state, name)))

    @property
    def _layout(self) -> dict[str, Any]:
        """What the batches depend on besides the positions."""
        own = {name: getattr(self, name) for name in _LAYOUT if name != "shards"}
        return own | {"shards": {source.name: len(source.shards) for source in self.sources}}

    def _global(self, worker: int) -> int:
        """Number of a worker of this process among those of all processes."""
        return self.rank * self.num_workers + worker

    def _streams(self, worker: int) -> dict[str, RowStream]:
        number, count = self._global(worker), self.world_size * self.num_workers
        return {
            source.name: RowStream(source.name, source.shards, self.seed, number, count, self.shards_together)
            for source in self.sources
        }

    def _clip(self, source: StreamSource, rows: RowStream) -> Clip | SourceClip:
        place = f"block {rows.position.block}, row {rows.position.row}"
        return first_clip(self._candidates(rows), source.config, self.geometry_on_device, source.name, place)

    def _candidates(self, rows: RowStream) -> Iterator[tuple[Row, int]]:
        for _ in range(self.max_attempts):
            yield rows.take()


def merged_state(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One state of those of all processes, from which each can go on."""
    positions = {number: place for state in states for number, place in state["positions"].items()}
    return {**states[0], "positions": positions}


def _epochs_begun(state: Mapping[str, Any], name: str) -> int:
    """How many epochs of a dataset the workers of a state have begun."""
    if name not in state.get("shards", {}):
        return 0
    blocks = [positions[name][0] for positions in state["positions"].values()]
    return max(blocks) // num_blocks(state["shards"][name], state["shards_together"]) + 1
