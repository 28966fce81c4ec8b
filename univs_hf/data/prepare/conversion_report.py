# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a conversion made, left out and found damaged, as JSON and for the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from ..layouts.damage import Damage
from .conversion_log import ConversionLog
from .shard_plan import ShardPlan
from .shard_writing import Counts, ShardResult

# Damage that is printed one by one; all of it is in the JSON file.
_PRINTED_DAMAGES = 10


@dataclass
class SplitReport:
    """A complete split.

    Attributes:
        split: Its official name.
        files: Names of its files below the output folder.
        listed: Videos and images that the source lists.
        counts: What the files hold.
        log: Everything that was met.
    """

    split: str
    files: list[str]
    listed: int
    counts: Counts
    log: ConversionLog

    @classmethod
    def of(cls, plan: ShardPlan, list_log: ConversionLog, results: Sequence[ShardResult]) -> SplitReport:
        """Adds up the shards of a split."""
        report = cls(plan.split, [result.file for result in results], plan.num_items, Counts(), ConversionLog())
        report.log.add(list_log.to_dict())
        for result in results:
            report.counts.add(result.counts)
            report.log.add(result.log.to_dict())
        return report

    @property
    def damage_by_kind(self) -> dict[str, int]:
        """Number of damaged things of each kind, the most frequent first."""
        return dict(Counter(damage.kind for damage in self.log.damages).most_common())

    @property
    def lost(self) -> dict[str, int]:
        """Number of masks, expressions, objects, frames and videos that are left out because of damage."""
        return dict(Counter(damage.lost for damage in self.log.damages).most_common())

    def to_dict(self) -> dict[str, Any]:
        """In JSON."""
        return {
            "split": self.split,
            "files": self.files,
            "listed": self.listed,
            "counts": {**self.counts.to_dict(), "categories": len(self.counts.categories)},
            "left_out": dict(self.log.left_out),
            "damage": {
                "total": len(self.log.damages),
                "by_kind": self.damage_by_kind,
                "lost": self.lost,
                "list": [asdict(damage) for damage in self.log.damages],
            },
        }


def report_json(dataset: str, options: Mapping[str, Any], splits: Sequence[SplitReport]) -> str:
    """Content of `report.json`."""
    content = {"dataset": dataset, "options": dict(options), "splits": [split.to_dict() for split in splits]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def print_report(splits: Sequence[SplitReport], console: Console) -> None:
    """Prints counts of all splits, then what was left out and the first damaged things of each."""
    table = Table()
    table.add_column("split")
    for name in ("listed", "converted", "rows", "frames", "objects", "masks", "expressions", "files", "damage"):
        table.add_column(name, justify="right")
    for split in splits:
        counts = split.counts
        numbers = (counts.items, counts.rows, counts.frames, counts.objects, counts.masks, counts.expressions)
        table.add_row(split.split, *map(str, (split.listed, *numbers, len(split.files), len(split.log.damages))))
    console.print(table)
    for split in splits:
        for rule, count in sorted(split.log.left_out.items()):
            _print(console, f"{split.split}: left out by rule: {count} {rule}")
        if split.log.damages:
            kinds = ", ".join(f"{count} {kind}" for kind, count in split.damage_by_kind.items())
            lost = ", ".join(f"{count} {_plural(name, count)}" for name, count in split.lost.items())
            _print(console, f"{split.split}: damage: {kinds}; skipped: {lost}")
            _print_damages(split.log.damages, console)


def _print_damages(damages: Sequence[Damage], console: Console) -> None:
    for damage in damages[:_PRINTED_DAMAGES]:
        _print(console, f"  {damage}")
    if len(damages) > _PRINTED_DAMAGES:
        _print(console, f"  and {len(damages) - _PRINTED_DAMAGES} more")


def _plural(name: str, count: int) -> str:
    return name if count == 1 else f"{name}s"


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)
