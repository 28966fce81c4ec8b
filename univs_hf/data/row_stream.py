# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The rows that one data worker of one process takes from a dataset, without end and without those of the others.

Each epoch has its own order of the row groups, which is cut into blocks of a few; the rows of a block are shuffled.
Blocks, numbered over all epochs, are dealt to the workers of all processes one by one, so that in an epoch each row
belongs to one worker. Where there are fewer blocks than workers, rows are dealt in the same way, and every worker
reads all blocks. A position is three integers, so going on from one is exact and reads one block again; a shuffle
buffer would have to be lost or kept (data specification, section 2.3).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from .clip_random import Purpose, derive_seed, generator
from .row_shards import RowShards
from .schema import ARROW_SCHEMA, Row


class StreamPosition(NamedTuple):
    """Where a worker is in a dataset.

    Attributes:
        block: Number of the block, over all epochs.
        row: Rows of its order that are done with.
        before: Rows of all blocks before it; counted only where rows are dealt.
    """

    block: int
    row: int = 0
    before: int = 0


def num_blocks(num_shards: int, shards_together: int) -> int:
    """Blocks of an epoch."""
    return -(-num_shards // shards_together)


class RowStream:
    """Rows of one dataset for one of several workers; endless.

    Args:
        name: Name of the dataset, which keys all orders.
        shards: Its row groups.
        seed: Of all orders.
        worker, num_workers: This worker and the number of workers, over all processes.
        shards_together: Row groups of a block, which are in memory together.
    """

    def __init__(
        self, name: str, shards: RowShards, seed: int, worker: int, num_workers: int, shards_together: int = 1
    ):
        self.name = name
        self._shards = shards
        self._seed = (seed, zlib.crc32(name.encode()))
        self._worker, self._num_workers = worker, num_workers
        self._together = shards_together
        self._blocks_per_epoch = num_blocks(len(shards), shards_together)
        self._deals_rows = self._blocks_per_epoch < num_workers
        self._empty: set[int] = set()
        self._order: tuple[int, np.ndarray] | None = None
        self._loaded: tuple[int, pa.Table, np.ndarray] | None = None
        self.position = self.beginning(0)

    def beginning(self, epoch: int) -> StreamPosition:
        """Where this worker begins if all begin with an epoch."""
        first = epoch * self._blocks_per_epoch
        if not self._deals_rows:
            first += (self._worker - first) % self._num_workers
        return StreamPosition(first)

    def take(self) -> tuple[Row, int]:
        """The next row, and the seed of its clip.

        Raises:
            ValueError: If the dataset turns out to have no rows.
        """
        while True:
            block, row, before = self.position
            table, order = self._load(block)
            while row < len(order):
                number, place = int(order[row]), row
                row += 1
                if not self._deals_rows or (before + place) % self._num_workers == self._worker:
                    self.position = StreamPosition(block, row, before)
                    return Row(table, number), derive_seed(Purpose.CLIP_SEED, *self._seed, block, place)
            self._loaded = None
            if self._deals_rows:
                self.position = StreamPosition(block + 1, 0, before + len(order))
            else:
                self.position = StreamPosition(block + self._num_workers)

    def _load(self, block: int) -> tuple[pa.Table, np.ndarray]:
        """Rows of a block and their order."""
        if self._loaded is None or self._loaded[0] != block:
            epoch, place = divmod(block, self._blocks_per_epoch)
            if self._order is None or self._order[0] != epoch:
                rng = generator(Purpose.ROW_ORDER, *self._seed, epoch)
                self._order = (epoch, rng.permutation(len(self._shards)))
            tables = []
            for shard in self._order[1][place * self._together : (place + 1) * self._together].tolist():
                table = self._shards.read(shard)
                if table.num_rows:
                    tables.append(table)
                else:
                    self._empty.add(shard)
            if len(self._empty) == len(self._shards):
                raise ValueError(f"{self.name!r} has no rows.")
            table = pa.concat_tables(tables) if tables else ARROW_SCHEMA.empty_table()
            order = generator(Purpose.ROW_ORDER, *self._seed, epoch, place).permutation(table.num_rows)
            self._loaded = (block, table, order)
        return self._loaded[1:]
