# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Our own figures: reads the files that evaluations write."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class MeasuredScores:
    """Figures of one evaluation.

    Attributes:
        benchmark: Its name for `univs evaluate`.
        split: The part that was evaluated.
        num_videos: How many videos.
        figures: Name of the figure, with the task before a `/` where the benchmark has several, to percentage.
        settings: What was set for the run in place of the settings of the task.
        versions: Package -> version that measured.
        dtype: Number format of the model, if it was noted.
        task_settings: Task -> settings that the model's configuration has in place of the published ones.
    """

    benchmark: str
    split: str
    num_videos: int
    figures: Mapping[str, float]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    dtype: str | None = None
    task_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_scores(paths: Iterable[str | Path]) -> list[MeasuredScores]:
    """Reads files of figures.

    Args:
        paths: `scores.json` of `univs evaluate`: `table` has the percentages of the benchmark's main table. Or a
            file with the fields `benchmark`, `split`, `num_videos` and `figures`, fractions by name, such as
            `"vos/J&F": 0.853`. A file may also hold a list of these. Figures that are not defined (`null`, `"-"`)
            are left out.

    Returns:
        One entry per evaluation, in order.

    Raises:
        ValueError: If a file is no such thing, or an evaluation is there twice.
        OSError: If a file cannot be read.
    """
    every: dict[tuple[str, str], MeasuredScores] = {}
    for path in map(Path, paths):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        for entry in content if isinstance(content, list) else [content]:
            scores = _read_entry(entry, path)
            if (scores.benchmark, scores.split) in every:
                raise ValueError(f"{path}: figures of {scores.benchmark} {scores.split} were given already.")
            every[scores.benchmark, scores.split] = scores
    return list(every.values())


def _read_entry(entry: Any, path: Path) -> MeasuredScores:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{path} must hold an object or a list of objects, got {type(entry).__name__}.")
    missing = [name for name in ("benchmark", "split", "num_videos") if name not in entry]
    if missing or not ("table" in entry or "figures" in entry):
        raise ValueError(
            f"{path} has no field {missing[0] if missing else 'table or figures'!r}: it must be what `univs evaluate` "
            "writes as scores.json."
        )
    scale, source = (1.0, entry["table"]) if "table" in entry else (100.0, entry["figures"])
    if not isinstance(source, Mapping):
        raise ValueError(f"{path}: the figures must be an object, got {type(source).__name__}.")
    if not isinstance(entry["num_videos"], int) or entry["num_videos"] < 1:
        raise ValueError(f"{path}: `num_videos` must be a number of videos, got {entry['num_videos']!r}.")
    figures = {}
    for name, value in source.items():
        percentage = _percentage(value, scale, f"{path}: {name!r}")
        if percentage is not None:
            figures[name] = percentage
    if not figures:
        raise ValueError(f"{path} has no figure that is defined.")
    return MeasuredScores(
        str(entry["benchmark"]),
        str(entry["split"]),
        entry["num_videos"],
        figures,
        dict(entry.get("settings") or {}),
        dict(entry.get("versions") or {}),
        entry.get("dtype"),
        dict(entry.get("task_settings") or {}),
    )


def _percentage(value: Any, scale: float, where: str) -> float | None:
    if value is None or value == "-":
        return None
    try:
        number = float(value) * scale
    except (TypeError, ValueError):
        raise ValueError(f"{where} must be a number, got {value!r}.") from None
    if not math.isfinite(number):
        return None
    if not 0 <= number <= 100:
        raise ValueError(f"{where} is {number:g} %, which is no percentage.")
    return round(number, 1)


def scores_in(folder: Path) -> Sequence[Path]:
    """Files of figures in a folder, which need not exist, in the order of their names."""
    return sorted(folder.glob("*.json"))
