# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The row schema that every dataset is stored in, and typed access to a row without copying frames or masks.

One row is one image, one video or one chunk of a long video (data specification, section 1). Masks are a sparse list
sorted by frame: the masks of frame `t` are `mask_offsets[t] .. mask_offsets[t + 1]`, each a COCO run-length string
and the row of its object in `entities`. Expressions point to a row of `entities` too.

Rows are made with [`~univs_hf.data.row_builder.build_row`] and checked with
[`~univs_hf.data.row_validation.validate_row`].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features, List, Value

# What a row can supervise (data specification, section 1).
TASKS = ("detection", "sot", "grounding")

FEATURES = Features(
    {
        "key": Value("string"),
        "dataset": Value("string"),
        "tasks": List(Value("string")),
        "category_set": Value("string"),
        "height": Value("int32"),
        "width": Value("int32"),
        "num_frames": Value("int32"),
        "fps": Value("float32"),
        "time_index": List(Value("int32")),
        "frames": List(Value("binary")),
        "video": Value("binary"),
        "entities": List(
            {"id": Value("int64"), "category": Value("int32"), "is_thing": Value("bool"), "is_crowd": Value("bool")}
        ),
        "mask_offsets": List(Value("int32")),
        "mask_entity": List(Value("int32")),
        "mask_rle": List(Value("binary")),
        "expressions": List({"id": Value("int64"), "entity": Value("int32"), "text": Value("string")}),
        "neg_categories": List(Value("int32")),
        "not_exhaustive_categories": List(Value("int32")),
        "exhaustive": Value("bool"),
        "meta": Value("string"),
    }
)
"""Columns of a row, as `datasets.Features`; see [`Row`] for their meaning."""

ARROW_SCHEMA: pa.Schema = FEATURES.arrow_schema
"""The same columns as an Arrow schema whose metadata lets `datasets` restore the features."""


class RowError(ValueError):
    """A row breaks the schema, or its content cannot be decoded.

    Attributes:
        key: Key of the row.
        field: The column at fault.
        reason: What is wrong with it.
    """

    def __init__(self, key: str, field: str, reason: str):
        super().__init__(f"Row {key!r}, field `{field}`: {reason}")
        self.key, self.field, self.reason = key, field, reason

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross the borders of worker processes.
        return RowError, (self.key, self.field, self.reason)


@dataclass(frozen=True)
class Entity:
    """One object or stuff segment of a row.

    Attributes:
        id: The dataset's own number, unique within the row.
        category: Index in the row's category set, from 0; -1 where it is not known.
        is_thing: False for stuff.
        is_crowd: The masks cover a group; such entities are not trained on.
    """

    id: int
    category: int = -1
    is_thing: bool = True
    is_crowd: bool = False


@dataclass(frozen=True)
class Expression:
    """One sentence about one entity.

    Attributes:
        id: The dataset's own number, unique within the row.
        entity: Row of the entity it refers to in `entities`.
        text: The sentence as written.
    """

    id: int
    entity: int
    text: str


@dataclass(frozen=True)
class EntityTable:
    """The entities of a row as columns, each of length N.

    Attributes:
        ids: int64.
        categories: int32, -1 where not known.
        is_thing: bool.
        is_crowd: bool.
    """

    ids: np.ndarray
    categories: np.ndarray
    is_thing: np.ndarray
    is_crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Entity:
        return Entity(
            int(self.ids[row]), int(self.categories[row]), bool(self.is_thing[row]), bool(self.is_crowd[row])
        )


@dataclass(frozen=True)
class MaskSlice:
    """Compressed masks of some frames, frame after frame, as views into the row.

    Attributes:
        frame: int64 (M,), position in the list of frames that was asked for.
        entity: int32 (M,), row of the entity.
        data: uint8, characters of the M run-length strings, one after the other.
        offsets: int64 (M + 1,), where each string begins and ends in `data`.
    """

    frame: np.ndarray
    entity: np.ndarray
    data: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.entity)


class Row:
    """One row, read from Arrow on demand; frames and masks are views into the (memory-mapped) table.

    Args:
        table: A table or record batch with the columns of `FEATURES`, in any order; others are ignored.
        index: Which of its rows.

    Raises:
        ValueError: If a column is missing.
        IndexError: If `index` is out of range.
    """

    def __init__(self, table: pa.Table | pa.RecordBatch, index: int = 0):
        missing = [name for name in FEATURES if name not in table.schema.names]
        if missing:
            raise ValueError(f"`table` lacks the columns {missing} of the row schema; it has {table.schema.names}.")
        if not 0 <= index < table.num_rows:
            raise IndexError(f"`index` must be in [0, {table.num_rows}), got {index}.")
        self._table, self._index = table, index

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Row:
        """A row given as a dictionary of Python values, as `datasets` yields without a format; copies its content.

        Raises:
            RowError: If a value does not fit its column.
        """
        return cls(rows_to_table([row]))

    def _scalar(self, name: str) -> pa.Scalar:
        return self._table.column(name)[self._index]

    def _value(self, name: str, default: Any = None) -> Any:
        value = self._scalar(name).as_py()
        return default if value is None else value

    def _list(self, name: str) -> pa.Array | None:
        """Values of a list column, a view; None for null."""
        scalar = self._scalar(name)
        return scalar.values if scalar.is_valid else None

    def _numbers(self, name: str, dtype: type) -> np.ndarray | None:
        values = self._list(name)
        if values is None:
            return None
        if values.null_count:
            raise RowError(self.key, name, f"{values.null_count} of its {len(values)} values are null.")
        # Without nulls, numbers are views.
        return values.to_numpy(zero_copy_only=False).astype(dtype, copy=False)

    @cached_property
    def key(self) -> str:
        """Unique name, `dataset/split/video#chunk`."""
        return self._value("key", "")

    @cached_property
    def dataset(self) -> str:
        """Id of the dataset."""
        return self._value("dataset", "")

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Those of `TASKS` that the row can supervise."""
        return tuple(self._value("tasks", ()))

    @cached_property
    def category_set(self) -> str:
        """Name of the category set, empty if objects have no categories."""
        return self._value("category_set", "")

    @cached_property
    def height(self) -> int:
        """Height of frames and masks in pixels."""
        return self._value("height", 0)

    @cached_property
    def width(self) -> int:
        """Width of frames and masks in pixels."""
        return self._value("width", 0)

    @cached_property
    def num_frames(self) -> int:
        """Number of frames, 1 for an image."""
        return self._value("num_frames", 0)

    @cached_property
    def fps(self) -> float:
        """Frames per second of the original; 0 where not known."""
        return self._value("fps", 0.0)

    @cached_property
    def time_index(self) -> np.ndarray:
        """int32 (num_frames,): number of each frame in the original video."""
        numbers = self._numbers("time_index", np.int32)
        return np.zeros(0, np.int32) if numbers is None else numbers

    @property
    def is_image(self) -> bool:
        """Whether the row is a single picture."""
        return self.num_frames == 1

    @property
    def has_encoded_frames(self) -> bool:
        """Whether frames are stored one by one, not as `video`."""
        values = self._list("frames")
        return values is not None and len(values) > 0

    @property
    def num_encoded_frames(self) -> int:
        """Number of frames stored one by one."""
        values = self._list("frames")
        return 0 if values is None else len(values)

    def frame_bytes(self, frame: int) -> pa.Buffer:
        """Encoded picture of one frame, a view (supports the buffer protocol).

        Raises:
            IndexError: If `frame` is out of range.
            RowError: If the frame is null or frames are not stored one by one.
        """
        values = self._list("frames")
        if values is None or len(values) == 0:
            raise RowError(self.key, "frames", "is empty: the frames are in `video`.")
        if not 0 <= frame < len(values):
            raise IndexError(f"Row {self.key!r}: `frame` must be in [0, {len(values)}), got {frame}.")
        if not values.is_valid()[frame].as_py():
            raise RowError(self.key, "frames", f"frame {frame} is null.")
        data, ends = self._frame_strings
        return data.slice(int(ends[frame]), int(ends[frame + 1] - ends[frame]))

    @cached_property
    def _frame_strings(self) -> tuple[pa.Buffer, np.ndarray]:
        return _binary_views(self._list("frames"))

    @property
    def video(self) -> pa.Buffer | None:
        """The encoded video, a view; None where frames are stored one by one."""
        column = self._table.column("video")
        value = column.slice(self._index, 1)
        if value.null_count:
            return None
        chunk = value.chunk(0) if isinstance(value, pa.ChunkedArray) else value
        data, ends = _binary_views(chunk)
        return data.slice(int(ends[0]), int(ends[1] - ends[0]))

    @cached_property
    def entities(self) -> EntityTable:
        """The objects and stuff segments of the row."""
        values = self._list("entities")
        if values is None:
            return EntityTable(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0, bool))
        # `flatten` heeds the slice that `values` is, `field` does not.
        columns = dict(zip([field.name for field in values.type], values.flatten(), strict=True))
        for name, column in columns.items():
            if column.null_count:
                raise RowError(self.key, "entities", f"`{name}` is null for {column.null_count} entities.")
        return EntityTable(
            columns["id"].to_numpy(),
            columns["category"].to_numpy(),
            columns["is_thing"].to_numpy(zero_copy_only=False),
            columns["is_crowd"].to_numpy(zero_copy_only=False),
        )

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        """The sentences of the row."""
        return tuple(Expression(**expression) for expression in self._value("expressions", ()))

    @cached_property
    def mask_offsets(self) -> np.ndarray:
        """int32 (num_frames + 1,): where the masks of each frame begin and end."""
        numbers = self._numbers("mask_offsets", np.int32)
        return np.zeros(0, np.int32) if numbers is None else numbers

    @cached_property
    def mask_entity(self) -> np.ndarray:
        """int32 (M,): row of the entity of each mask."""
        numbers = self._numbers("mask_entity", np.int32)
        return np.zeros(0, np.int32) if numbers is None else numbers

    @property
    def num_masks(self) -> int:
        """Number of masks of all frames."""
        values = self._list("mask_rle")
        return 0 if values is None else len(values)

    def masks_of_frames(self, frames: Sequence[int]) -> MaskSlice:
        """Compressed masks of some frames, in their order; for one frame nothing is copied.

        Raises:
            IndexError: If a frame is out of range.
        """
        offsets = self.mask_offsets
        for frame in frames:
            if not 0 <= frame < len(offsets) - 1:
                raise IndexError(f"Row {self.key!r}: `frames` must be in [0, {len(offsets) - 1}), got {frame}.")
        spans = [(int(offsets[frame]), int(offsets[frame + 1])) for frame in frames]
        data, ends = self._mask_strings
        pieces = [data[ends[first] : ends[end]] for first, end in spans]
        lengths = [np.diff(ends[first : end + 1]) for first, end in spans]
        entities = [self.mask_entity[first:end] for first, end in spans]
        return MaskSlice(
            frame=np.repeat(np.arange(len(spans)), [end - first for first, end in spans]),
            entity=_joined(entities, np.int32),
            data=_joined(pieces, np.uint8),
            offsets=np.concatenate([[0], np.cumsum(_joined(lengths, np.int64))]).astype(np.int64),
        )

    @cached_property
    def _mask_strings(self) -> tuple[np.ndarray, np.ndarray]:
        """All run-length strings as one uint8 view, and where each begins; int64 (M + 1,)."""
        values = self._list("mask_rle")
        if values is None or len(values) == 0:
            return np.zeros(0, np.uint8), np.zeros(1, np.int64)
        if values.null_count:
            raise RowError(self.key, "mask_rle", f"{values.null_count} of its {len(values)} masks are null.")
        data, ends = _binary_views(values)
        return np.frombuffer(data, np.uint8), ends

    @cached_property
    def neg_categories(self) -> np.ndarray | None:
        """int32: categories known to be absent (LVIS); None without such information."""
        return self._numbers("neg_categories", np.int32)

    @cached_property
    def not_exhaustive_categories(self) -> np.ndarray | None:
        """int32: categories of which not all instances are labelled (LVIS); None without such information."""
        return self._numbers("not_exhaustive_categories", np.int32)

    @cached_property
    def exhaustive(self) -> bool:
        """Whether all instances of the category set are labelled."""
        return self._value("exhaustive", False)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What else the source tells, such as `stability_score` and `predicted_iou` per mask.

        Raises:
            RowError: If it is not a JSON object.
        """
        text = self._value("meta", "")
        if not text:
            return {}
        try:
            meta = json.loads(text)
        except json.JSONDecodeError as error:
            raise RowError(self.key, "meta", f"is not JSON ({error}).") from error
        if not isinstance(meta, dict):
            raise RowError(self.key, "meta", f"must be a JSON object, got {type(meta).__name__}.")
        return meta


def rows_to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """An Arrow table of rows given as dictionaries.

    Raises:
        RowError: If a row lacks a column, has an unknown one, or a value does not fit its column.
    """
    columns: dict[str, list[pa.Array]] = {name: [] for name in FEATURES}
    for row in rows:
        key = str(row.get("key", ""))
        unknown = sorted(set(row) - set(FEATURES))
        if unknown:
            raise RowError(key, unknown[0], f"is not a column of the row schema {list(FEATURES)}.")
        for name, field in zip(FEATURES, ARROW_SCHEMA, strict=True):
            if name not in row:
                raise RowError(key, name, "is missing.")
            try:
                columns[name].append(pa.array([row[name]], field.type))
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                raise RowError(key, name, f"does not fit {field.type}: {error}") from error
    arrays = [pa.chunked_array(columns[field.name], field.type) for field in ARROW_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)


def _binary_views(values: pa.Array) -> tuple[pa.Buffer, np.ndarray]:
    """All bytes of a binary array as one view, and where each value begins, int64 (length + 1,).

    A scalar of a binary array would be a copy.
    """
    _, ends, data = values.buffers()
    width = np.int64 if pa.types.is_large_binary(values.type) else np.int32
    ends = np.frombuffer(ends, width)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    return pa.py_buffer(b"") if data is None else data, ends


def _joined(pieces: list[np.ndarray], dtype: type) -> np.ndarray:
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype)
