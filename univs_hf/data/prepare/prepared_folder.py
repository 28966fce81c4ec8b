# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The folder of a converted dataset.

data/<split>-00000-of-000NN.parquet    rows; a file is there when it is complete
README.md, report.json, SHA256SUMS     card, what was met, checksums; there when all splits are complete
.prepare/                              what was asked for, the plan of each split, and a record per finished shard
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...video_writer import temporary_sibling
from .conversion_log import ConversionLog
from .shard_plan import ShardPlan, hub_split
from .shard_writing import ShardResult, sha256_of

STATE_FOLDER = ".prepare"
CARD, REPORT, CHECKSUMS = "README.md", "report.json", "SHA256SUMS"
# Of rows and folder; a folder of another version is not gone on with.
_FORMAT = 1


class PreparedFolder:
    """Output of a conversion, which can be gone on with.

    Args:
        path: The folder; it is made when the conversion begins.
        request: What rows depend on (the dataset and its options), ready for JSON.
    """

    def __init__(self, path: Path, request: Mapping[str, Any]):
        self.path = Path(path)
        self._state = self.path / STATE_FOLDER
        self._request = json.loads(json.dumps({"format": _FORMAT, **request}))

    def check(self, overwrite: bool) -> None:
        """Whether the conversion can begin or go on; writes nothing.

        Raises:
            FileExistsError: If the folder holds something else, whatever `overwrite` says.
            ValueError: If it holds the result of another request.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        request = self._state / "request.json"
        if not request.is_file():
            raise FileExistsError(f"{self.path} exists and is not the folder of a conversion: there is no {request}.")
        if overwrite:
            return
        before = _read_json(request)
        for name in sorted({*before, *self._request}):
            if before.get(name) != self._request.get(name):
                raise ValueError(
                    f"{self.path} was made with {name} {json.dumps(before.get(name))}, now it is "
                    f"{json.dumps(self._request.get(name))}: give another folder, or --overwrite to begin again."
                )

    @contextmanager
    def working(self, overwrite: bool) -> Iterator[None]:
        """Makes the folder and keeps other conversions out of it; removes what an interrupted one left half done.

        Raises:
            ValueError: If another conversion is at work in it.
        """
        self._state.mkdir(parents=True, exist_ok=True)
        with open(self._state / "lock", "w") as lock:
            _lock(lock, self.path)
            if overwrite:
                for split in self.planned_splits():
                    self.forget(split)
            for partial in (self.path / "data").glob(".*.tmp"):
                partial.unlink()
            (self.path / "data").mkdir(exist_ok=True)
            _write_text(self._state / "request.json", json.dumps(self._request, indent=1) + "\n")
            yield

    # --- plans

    def planned_splits(self) -> list[str]:
        """Splits that this folder has, finished or not, in the order they were asked for first."""
        path = self._state / "splits.json"
        return _read_json(path) if path.is_file() else []

    def plan(self, split: str) -> ShardPlan | None:
        """The plan of a split, if there is one."""
        path = self._plan_file(split)
        return ShardPlan.from_dict(_read_json(path)) if path.is_file() else None

    def keep_plan(self, plan: ShardPlan) -> None:
        """Keeps the plan of a split for a later run."""
        _write_text(self._plan_file(plan.split), json.dumps(plan.to_dict()) + "\n")
        if plan.split not in self.planned_splits():
            _write_text(self._state / "splits.json", json.dumps([*self.planned_splits(), plan.split]) + "\n")

    def keep_list_log(self, plan: ShardPlan, log: ConversionLog) -> None:
        """Keeps what was met in the lists and annotation files of a split."""
        _write_text(self._plan_file(plan.split).parent / "lists.json", json.dumps(log.to_dict()) + "\n")

    def list_log(self, plan: ShardPlan) -> ConversionLog:
        """What was met in the lists and annotation files of a split."""
        log = ConversionLog()
        log.add(_read_json(self._plan_file(plan.split).parent / "lists.json"))
        return log

    def forget(self, split: str) -> None:
        """Removes a split, its files included."""
        plan = self.plan(split)
        if plan is not None:
            for shard in range(plan.num_shards):
                (self.path / plan.file_name(shard)).unlink(missing_ok=True)
        shutil.rmtree(self._plan_file(split).parent, ignore_errors=True)
        self.unseal()

    def _plan_file(self, split: str) -> Path:
        return self._state / hub_split(split) / "plan.json"

    # --- shards

    def _record_file(self, plan: ShardPlan, shard: int) -> Path:
        return self._plan_file(plan.split).parent / f"shard-{shard:05d}.json"

    def keep_result(self, plan: ShardPlan, shard: int, result: ShardResult) -> None:
        """Keeps the record of a finished shard."""
        _write_text(self._record_file(plan, shard), json.dumps(result.to_dict()) + "\n")

    def result(self, plan: ShardPlan, shard: int) -> ShardResult | None:
        """The record of a shard, if it was finished; its file is not looked at."""
        path = self._record_file(plan, shard)
        return ShardResult.from_dict(_read_json(path)) if path.is_file() else None

    def verified_result(self, plan: ShardPlan, shard: int) -> ShardResult | None:
        """The record of a shard whose items are those of the plan and whose file is as it was written; else None."""
        result = self.result(plan, shard)
        if result is None or result.items_digest != plan.digests[shard] or result.file != plan.file_name(shard):
            return None
        path = self.path / result.file
        if not path.is_file() or path.stat().st_size != result.counts.bytes or sha256_of(path) != result.sha256:
            return None
        return result

    # --- the end

    def unseal(self) -> None:
        """Removes card, report and checksums, since the folder is going to change."""
        for name in (CHECKSUMS, REPORT, CARD):
            (self.path / name).unlink(missing_ok=True)

    def seal(self, card: str, report: str, results: list[ShardResult]) -> None:
        """Writes card and report, and last the checksums of all files in the form of `sha256sum`."""
        _write_text(self.path / CARD, card)
        _write_text(self.path / REPORT, report)
        sums = {result.file: result.sha256 for result in results}
        sums |= {name: sha256_of(self.path / name) for name in (CARD, REPORT)}
        _write_text(self.path / CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def _lock(file: Any, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        # Windows has no such locks; there, it is up to the user.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"Another conversion is at work in {path}.") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def _write_text(path: Path, text: str) -> None:
    """The file appears when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_sibling(path)
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
