# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Row groups of Parquet files, here and behind a protocol, and which rows of them each worker takes."""

import shutil
from collections import Counter

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_rows import two_disc_row

from univs_hf.data.parquet_files import train_files
from univs_hf.data.row_builder import write_parquet
from univs_hf.data.row_shards import ParquetShards, RowsAtHand
from univs_hf.data.row_stream import RowStream, StreamPosition
from univs_hf.data.schema import ARROW_SCHEMA, Row


class Pieces:
    """Pieces of rows that hold nothing but a key."""

    def __init__(self, *sizes: int):
        self.sizes, self.reads = sizes, []
        self.column_names = ARROW_SCHEMA.names

    def __len__(self):
        return len(self.sizes)

    def read(self, index):
        self.reads.append(index)
        rows = [{"key": f"{index}-{row}"} for row in range(self.sizes[index])]
        return pa.Table.from_pylist(rows, schema=ARROW_SCHEMA)

    @property
    def keys(self):
        return {f"{index}-{row}" for index, size in enumerate(self.sizes) for row in range(size)}


def streams(pieces, count, together=1, seed=0):
    return [RowStream("toy", pieces, seed, worker, count, together) for worker in range(count)]


def taken_in_epochs(pieces, count, together, epochs):
    """Keys of the first epochs by epoch, as (key, worker), however fast each worker goes through them."""
    blocks = -(-len(pieces) // together)
    found = [[] for _ in range(epochs)]
    for worker, rows in enumerate(streams(pieces, count, together)):
        while True:
            row, _ = rows.take()
            epoch = rows.position.block // blocks
            if epoch >= epochs:
                break
            found[epoch].append((row.key, worker))
    return found


SIZES = (3, 5, 1, 4, 4, 2, 5)


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_each_epoch_has_every_row_once_over_all_workers(count, together):
    """Also where there are fewer blocks than workers, and where they do not divide evenly."""
    pieces = Pieces(*SIZES)
    epochs = taken_in_epochs(pieces, count, together, 4)
    orders = []
    for found in epochs:
        assert Counter(key for key, _ in found) == dict.fromkeys(pieces.keys, 1)
        orders.append(sorted(found))
    if count > 1:
        # Not always the same rows for the same worker, and every worker has some.
        assert orders[0] != orders[1]
        assert {worker for found in epochs for _, worker in found} == set(range(count))


def test_order_is_another_one_in_every_epoch():
    pieces = Pieces(*SIZES)
    epochs = [[key for key, _ in found] for found in taken_in_epochs(pieces, 1, 2, 3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # Rows of the row groups of a block are mixed.
    first = [int(key.split("-")[0]) for key in epochs[0]]
    assert sum(a != b for a, b in zip(first, first[1:], strict=False)) > len(SIZES)


def test_one_piece_for_many_workers():
    """Fewer rows than workers: nobody waits for ever, and no row comes twice in an epoch."""
    pieces = Pieces(3)
    rows = streams(pieces, 5)
    keys = [[one.take()[0].key for _ in range(3)] for one in rows]
    dealt = {worker + 5 * turn: keys[worker][turn] for worker in range(5) for turn in range(3)}
    for epoch in range(5):
        assert {dealt[3 * epoch + place] for place in range(3)} == pieces.keys


@pytest.mark.parametrize(("count", "together"), [(1, 1), (2, 2), (3, 3), (9, 1)])
def test_goes_on_from_a_position(count, together):
    pieces = Pieces(*SIZES)
    for worker in range(count):
        whole = streams(pieces, count, together)[worker]
        expected, positions = [], [whole.position]
        for _ in range(60):
            row, seed = whole.take()
            expected.append((row.key, seed))
            positions.append(whole.position)
        for start in (0, 1, 2, 7, 24, 25, 59):
            resumed = streams(pieces, count, together)[worker]
            resumed.position = positions[start]
            pieces.reads.clear()
            row, seed = resumed.take()
            assert (row.key, seed) == expected[start]
            if count <= 3:
                # What lies before is not read again; at most the rest of a block is.
                assert len(pieces.reads) <= 2 * together
            rest = [resumed.take() for _ in range(min(20, 59 - start))]
            assert [(row.key, seed) for row, seed in rest] == expected[start + 1 : start + 1 + len(rest)]


def test_seeds_belong_to_rows_not_to_workers():
    alone, among = streams(Pieces(*SIZES), 1)[0], streams(Pieces(*SIZES), 3)
    first = {}
    for _ in range(sum(SIZES)):
        row, seed = alone.take()
        first[row.key] = seed
    assert len(set(first.values())) == len(first)
    for rows in among:
        row, seed = rows.take()
        assert first[row.key] == seed
    later = {alone.take()[1] for _ in range(sum(SIZES))}
    assert not later & set(first.values())
    other = streams(Pieces(*SIZES), 1, seed=1)[0]
    assert not {other.take()[1] for _ in range(sum(SIZES))} & set(first.values())


def test_beginning_of_an_epoch():
    for count, together in ((1, 2), (3, 1), (9, 1)):
        pieces = Pieces(*SIZES)
        blocks = -(-len(pieces) // together)
        found = []
        for rows in streams(pieces, count, together):
            rows.position = rows.beginning(2)
            while True:
                row, _ = rows.take()
                if rows.position.block >= 3 * blocks:
                    break
                found.append(row.key)
        assert Counter(found) == dict.fromkeys(pieces.keys, 1)


def test_empty_row_groups():
    rows = streams(Pieces(0, 2, 0), 1)[0]
    assert {rows.take()[0].key for _ in range(2)} == {"1-0", "1-1"}
    with pytest.raises(ValueError, match="'toy' has no rows"):
        streams(Pieces(0, 0), 1, 1)[0].take()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files of the split train with row groups of 16, 2 and 5 rows, and one of another split."""
    folder = tmp_path_factory.mktemp("parquet")
    for number, count in enumerate((18, 5)):
        rows = [two_disc_row(1, (6, 8), key=f"toy/{number}-{n}") for n in range(count)]
        write_parquet(rows, folder / "data" / f"train-{number:05d}-of-00002.parquet")
    write_parquet([two_disc_row(1, (6, 8), key="toy/test")], folder / "data" / "test-00000-of-00001.parquet")
    return folder


@pytest.fixture
def remote(folder):
    """The same files behind a protocol, in no file system of this machine."""
    system = fsspec.filesystem("memory")
    for path in (folder / "data").iterdir():
        system.pipe(f"/toy-rows/data/{path.name}", path.read_bytes())
    yield "memory://toy-rows"
    system.rm("/toy-rows", recursive=True)


def test_files_of_the_split(folder, remote, tmp_path):
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert train_files(str(folder)) == [str(folder / "data" / name) for name in names]
    assert [name.rsplit("/", 1)[1] for name in train_files(remote)] == names
    assert all(name.startswith("memory://") for name in train_files(remote))
    assert train_files(str(folder / "data")) == train_files(str(folder)) == train_files(f"{folder}/")
    assert train_files(names_file := str(folder / "data" / names[0])) == [names_file]
    (tmp_path / "[a] *").mkdir()
    shutil.copy(folder / "data" / names[0], tmp_path / "[a] *")
    assert len(train_files(str(tmp_path / "[a] *"))) == 1
    (tmp_path / "[a] *" / "data").write_text("no folder")
    assert len(train_files(str(tmp_path / "[a] *"))) == 1
    assert train_files(str(tmp_path)) == train_files(str(tmp_path / "nothing")) == train_files("memory://none") == []


def test_shards_are_row_groups(folder, remote):
    for path in (str(folder), remote):
        shards = ParquetShards(train_files(path))
        assert len(shards) == 3 and set(shards.column_names) == set(ARROW_SCHEMA.names)
        tables = [shards.read(index) for index in range(3)]
        assert [table.num_rows for table in tables] == [16, 2, 5]
        keys = [key for table in tables for key in table.column("key").to_pylist()]
        assert keys == [f"toy/0-{n}" for n in range(18)] + [f"toy/1-{n}" for n in range(5)]
        row = Row(tables[2], 4)
        assert row.num_masks == 2 and bytes(row.frame_bytes(0)).startswith(b"\x89PNG")


def test_damaged_row_group_is_told(folder, tmp_path):
    path = tmp_path / "train.parquet"
    content = bytearray((folder / "data" / "train-00000-of-00002.parquet").read_bytes())
    start = pq.ParquetFile(folder / "data" / "train-00000-of-00002.parquet").metadata.row_group(0)
    first = min(start.column(index).data_page_offset for index in range(start.num_columns))
    content[first : first + 200] = bytes(200)
    path.write_bytes(content)
    shards = ParquetShards([str(path)])
    with pytest.raises(RuntimeError, match="Row group 0 of 2 cannot be read"):
        shards.read(0)
    assert shards.read(1).num_rows == 2


def test_rows_at_hand():
    class Rows(list):
        column_names = ARROW_SCHEMA.names

        def with_format(self, kind):
            return self

    rows = Rows(pa.Table.from_pylist([{"key": str(n)}], schema=ARROW_SCHEMA) for n in range(5))
    shards = RowsAtHand(rows, 2)
    assert [shards.read(index).column("key").to_pylist() for index in range(len(shards))] == [
        ["0", "1"],
        ["2", "3"],
        ["4"],
    ]
    with pytest.raises(ValueError, match="`rows_per_shard` must be at least 1, got 0"):
        RowsAtHand(rows, 0)


def test_positions_are_integers():
    rows = streams(Pieces(*SIZES), 2)[1]
    rows.take()
    assert rows.position == StreamPosition(1, 1, 0)
