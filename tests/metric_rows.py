# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""One compared figure of a metric case, and the comparison of nested figures with an official file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Absolute. Values agree to about 1e-14 when the definition is the same; a wrong definition misses by far more.
TOLERANCE = 1e-9
# Keys of the official files that hold prose.
PROSE = frozenset({"note"})


@dataclass(frozen=True)
class MetricRow:
    """One figure, or one array of figures under one key.

    Attributes:
        case: Task and case, `vis/seed0`.
        key: Path of the key within the official file, `stats/AP`; `published/...` for published.json.
        ours: The package's value; of an array the value that is farthest off.
        official: The official value in the same place.
        difference: Largest absolute difference. Infinite if a value is missing or one side alone is undefined.
        note: What is wrong, where a number does not say it.
        size: How many values the row stands for.
    """

    case: str
    key: str
    ours: Any
    official: Any
    difference: float
    note: str = ""
    size: int = 1

    @property
    def passed(self) -> bool:
        return bool(self.difference <= TOLERANCE)


def case_name(case_dir: Path) -> str:
    """`vis/seed0` for the folder of that case."""
    return f"{case_dir.parent.name}/{case_dir.name}"


def read_json(path: Path) -> Any:
    """Reads a JSON file, plain or gzip (`.gz`); NaN is allowed."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as file:
        return json.load(file)


def compare_figures(case: str, ours: Any, official: Any, key: str = "") -> list[MetricRow]:
    """Compares everything an official file holds below `key` with `ours`, which has the same nesting.

    Dictionaries are walked, lists of numbers become one row each. NaN and None (null) both mean undefined and equal
    each other only. A key or an entry that `ours` lacks, and another length, is a failed row.

    Args:
        case: Name of the case.
        ours: The package's values; may hold more keys than `official`.
        official: Contents of golden.json or published.json, or a part of it.
        key: Path of that part.
    """
    if isinstance(official, Mapping):
        rows = []
        for name, value in official.items():
            if name in PROSE:
                continue
            path = f"{key}/{name}" if key else str(name)
            if not isinstance(ours, Mapping) or name not in ours:
                rows.append(MetricRow(case, path, None, None, float("inf"), "missing key"))
            else:
                rows += compare_figures(case, ours[name], value, path)
        return rows
    if isinstance(official, (list, tuple)):
        return _compare_lists(case, ours, official, key)
    return [_compare_arrays(case, np.asarray(_number(ours)), np.asarray(_number(official)), key)]


def _compare_lists(case: str, ours: Any, official: list, key: str) -> list[MetricRow]:
    length = len(ours) if isinstance(ours, (list, tuple, np.ndarray)) else None
    if length != len(official):
        found = "no list" if length is None else f"{length} entries"
        return [MetricRow(case, key, None, None, float("inf"), f"{found}, official {len(official)}")]
    try:
        official_array, our_array = (np.array(_number(values), dtype=np.float64) for values in (official, ours))
    except (TypeError, ValueError):  # Dictionaries, text, or lists of unequal lengths.
        rows = []
        for i, (our_value, value) in enumerate(zip(ours, official, strict=True)):
            rows += compare_figures(case, our_value, value, f"{key}/{i}")
        return rows
    return [_compare_arrays(case, our_array, official_array, key)]


def _compare_arrays(case: str, ours: np.ndarray, official: np.ndarray, key: str) -> MetricRow:
    if ours.shape != official.shape:
        return MetricRow(case, key, None, None, float("inf"), f"shape {ours.shape}, official {official.shape}")
    if not official.size:
        return MetricRow(case, key, None, None, 0.0, "empty", 0)
    if official.dtype.kind not in "biuf" or ours.dtype.kind not in "biuf":
        same = bool((ours == official).all())
        note = "" if same else "other text"
        return MetricRow(case, key, ours.tolist(), official.tolist(), 0.0 if same else float("inf"), note)
    ours, official = ours.astype(np.float64), official.astype(np.float64)
    undefined = np.isnan(ours), np.isnan(official)
    # Infinities of the same sign subtract to NaN; they are equal.
    with np.errstate(invalid="ignore"):
        difference = np.where(ours == official, 0.0, np.abs(ours - official))
    difference[undefined[0] & undefined[1]] = 0.0
    difference[undefined[0] != undefined[1]] = np.inf
    worst = np.unravel_index(difference.argmax(), difference.shape)
    values = float(ours[worst]), float(official[worst]), float(difference[worst])
    return MetricRow(case, key, *values, size=official.size)


def _number(value: Any) -> Any:
    """The value with None replaced by NaN at any depth."""
    if value is None:
        return float("nan")
    if isinstance(value, (list, tuple)):
        return [_number(entry) for entry in value]
    return value


def leaf_keys(official: Any, key: str = "") -> Iterator[str]:
    """Paths of the values of an official file, down to the innermost dictionaries."""
    if isinstance(official, Mapping):
        for name, value in official.items():
            if name not in PROSE:
                yield from leaf_keys(value, f"{key}/{name}" if key else str(name))
    else:
        yield key


def uncompared_keys(rows: list[MetricRow], official: Any, key: str = "") -> list[str]:
    """Keys of an official file that no row speaks of."""
    seen = {row.key for row in rows}
    # A row of a list of dictionaries lies below the key of the list.
    seen |= {"/".join(parts[:i]) for row in rows for parts in [row.key.split("/")] for i in range(1, len(parts))}
    return [path for path in leaf_keys(official, key) if path not in seen]
