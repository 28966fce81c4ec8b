# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Moving shapes as a data set of rows that are made when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ..data.moving_shapes import MovingShapes, MovingShapesConfig
from ..data.schema import ARROW_SCHEMA


class GeneratedRows:
    """Rows of generated videos, with as much of the interface of a `datasets.Dataset` as clips are made from.

    The same number always gives the same row, in whichever process. Videos must fit into one row.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        num_videos: How many.
        config: Settings of the generator.

    Attributes:
        column_names: Those of the row schema.
    """

    column_names = ARROW_SCHEMA.names

    def __init__(self, split: str, num_videos: int, config: MovingShapesConfig):
        self._videos = MovingShapes(split, num_videos, config)

    def with_format(self, type: str | None = None) -> GeneratedRows:
        """Rows are Arrow tables in any case."""
        return self

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> pa.Table:
        rows = self._videos[index].to_rows()
        if len(rows) != 1:
            raise ValueError(f"`num_frames` of generated videos must be at most 64, got {len(rows)} rows of a video.")
        return pa.Table.from_pylist(rows, schema=ARROW_SCHEMA)


def shapes_config(name: str, values: Mapping[str, Any]) -> MovingShapesConfig:
    """Settings of the generator from a configuration.

    Raises:
        TypeError: If a value is of another type.
        ValueError: If a name is unknown or a value out of range; `name` tells where.
    """
    known = MovingShapesConfig.__dataclass_fields__
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"`{name}` has no {unknown}; known are {sorted(known)}.")
    return MovingShapesConfig(**values)
