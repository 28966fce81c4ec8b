# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Rows in pieces that are read as a whole: row groups of Parquet files, wherever they are, or rows at hand."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from typing import Any, Protocol

import datasets
import pyarrow as pa

from .schema import ARROW_SCHEMA, FEATURES

# Arrow joins what it reads up to so many rows; row groups of `univs prepare` have at most 16.
_BATCH_ROWS = 64


class RowShards(Protocol):
    """A dataset as numbered pieces of a few rows.

    Attributes:
        column_names: Columns of the rows.
    """

    column_names: list[str]

    def __len__(self) -> int:
        """Number of pieces."""

    def read(self, index: int) -> pa.Table:
        """The rows of a piece."""


class ParquetShards:
    """Row groups of Parquet files, read with `load_dataset(..., streaming=True)` when they are wanted.

    Opening reads the end of every file, where its row groups are listed.

    Args:
        files: Paths of this machine or with a protocol that `fsspec` knows, such as `hf://`.

    Raises:
        FileNotFoundError: If a file is not there.
    """

    def __init__(self, files: Sequence[str]):
        # Names are patterns there.
        names = [glob.escape(file) for file in files]
        rows = datasets.load_dataset("parquet", data_files=names, split="train", streaming=True)
        self.column_names = rows.column_names
        # A shard of a Parquet file is a row group then.
        self._rows = rows.reshard().with_format("arrow")
        self._count = self._rows.num_shards

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> pa.Table:
        """The rows of a row group.

        Raises:
            RuntimeError: If it cannot be read; `datasets` has logged the file.
        """
        # `iter` reads all of the shard; `__iter__` would divide it among the data workers once more.
        shard = self._rows.shard(num_shards=self._count, index=index)
        try:
            tables = list(shard.iter(batch_size=_BATCH_ROWS))
        except (pa.ArrowException, OSError) as error:
            raise RuntimeError(f"Row group {index} of {self._count} cannot be read: {error}") from error
        return pa.concat_tables(tables) if tables else ARROW_SCHEMA.empty_table()


class RowsAtHand:
    """Rows with random access, in pieces of consecutive ones.

    Args:
        rows: A `datasets.Dataset` or what is used like one.
        rows_per_shard: Rows of a piece.
    """

    def __init__(self, rows: datasets.Dataset | Any, rows_per_shard: int = 1):
        if rows_per_shard < 1:
            raise ValueError(f"`rows_per_shard` must be at least 1, got {rows_per_shard}.")
        self.column_names = list(rows.column_names)
        self._rows = rows.with_format("arrow")
        self._size = rows_per_shard

    def __len__(self) -> int:
        return -(-len(self._rows) // self._size)

    def read(self, index: int) -> pa.Table:
        """The rows of a piece."""
        stop = min((index + 1) * self._size, len(self._rows))
        return pa.concat_tables([self._rows[number] for number in range(index * self._size, stop)])


def missing_columns(shards: RowShards) -> list[str]:
    """Columns of the row schema that a dataset lacks."""
    return sorted(set(FEATURES) - set(shards.column_names))
