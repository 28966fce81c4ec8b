# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The log of a run: one line of JSON per entry, which goes on where a run goes on."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class RunLog:
    """Writes and reads the log of a run.

    Args:
        path: The file.

    Attributes:
        entries: All entries of the run up to now, each with its `step`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.entries: list[dict[str, Any]] = []

    def begin(self, step: int) -> None:
        """Keeps the entries up to a step, which the run goes on from; a last line that was cut off is dropped."""
        self.entries = [entry for entry in read_log(self.path) if entry["step"] <= step] if step else []
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.write_text("".join(map(_line, self.entries)), encoding="utf-8")
        os.replace(temporary, self.path)

    def write(self, entry: dict[str, Any]) -> None:
        """Adds an entry; figures that are not finite are told as null."""
        self.entries.append(entry)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(entry))


def read_log(path: Path) -> list[dict[str, Any]]:
    """Entries of a log; empty if there is none."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries


def _line(entry: dict[str, Any]) -> str:
    def finite(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps({key: finite(value) for key, value in entry.items()}) + "\n"
