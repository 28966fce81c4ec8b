# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Conversion of a dataset to Parquet files: shards are shared among processes, finished ones are kept.

A worker process converts one shard at a time, a row at a time, so memory depends on the size of rows and on the number
of workers, not on that of the dataset (lists and annotation files excepted, which the first process holds).
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .conversion_log import ON_DAMAGE, ConversionLog
from .conversion_report import SplitReport, report_json
from .converter import DatasetConverter, SourceItem
from .dataset_card import dataset_card
from .prepared_folder import PreparedFolder
from .shard_plan import SHARD_BYTES, ShardPlan, check_plan, plan_shards
from .shard_writing import ShardResult, write_shard

# How often the first process looks after progress and interruptions, in seconds.
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ConversionSettings:
    """How a dataset is converted; none of it changes rows.

    Attributes:
        workers: Processes; 1 works in this one.
        on_damage: `"skip"` or `"fail"`.
        overwrite: Begin again in place of what the folder holds.
        redo_damaged: Convert those finished shards again that met damage, say after the source was repaired.
        num_shards: Files per split; by default the size decides.
        shard_bytes: Size to aim at.
        quiet: Show no progress.

    Raises:
        ValueError: If a value is out of range.
    """

    workers: int = 1
    on_damage: str = "skip"
    overwrite: bool = False
    redo_damaged: bool = False
    num_shards: int | None = None
    shard_bytes: int = SHARD_BYTES
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.on_damage not in ON_DAMAGE:
            raise ValueError(f"`on_damage` must be one of {ON_DAMAGE}, got {self.on_damage!r}.")
        for name in ("workers", "num_shards", "shard_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")


@dataclass
class Conversion:
    """A finished conversion.

    Attributes:
        folder: Where it is.
        splits: What each split holds and what was met.
        kept_shards: How many files an earlier run had finished.
    """

    folder: Path
    splits: list[SplitReport] = field(default_factory=list)
    kept_shards: int = 0


def convert(
    converter: DatasetConverter,
    out: Path,
    splits: Sequence[str] | None = None,
    settings: ConversionSettings | None = None,
    options: dict[str, Any] | None = None,
) -> Conversion:
    """Converts splits of a dataset to Parquet files of rows, with card, report and checksums.

    When the folder holds a conversion of the same dataset with the same options, finished shards are kept if their
    checksums are right, and other splits are added to it.

    Args:
        converter: The dataset.
        out: Output folder, see [`~univs_hf.data.prepare.prepared_folder`].
        splits: By default `converter.default_splits`.
        settings: How.
        options: What the converter was made with, as far as rows depend on it; for the card and to tell requests
            apart.

    Raises:
        FileExistsError: If `out` holds something else.
        ValueError: If a split is unknown or empty, the folder was made with other options, or the source has other
            items than when it was begun.
        DamageError: At the first damage, if `settings.on_damage` is `"fail"`.
        KeyboardInterrupt: If the user ends it; finished shards are kept.
    """
    settings = settings or ConversionSettings()
    splits = list(converter.default_splits if splits is None else dict.fromkeys(splits))
    for split in splits:
        if converter.splits and split not in converter.splits:
            raise ValueError(f"{converter.name} has no split {split!r}; it has {list(converter.splits)}.")
    folder = PreparedFolder(out, {"dataset": converter.name, "options": options or {}})
    folder.check(settings.overwrite)
    conversion = Conversion(Path(out))
    with folder.working(settings.overwrite), _progress(settings.quiet) as progress:
        for split in splits:
            conversion.kept_shards += _convert_split(converter, split, folder, settings, progress)
        conversion.splits = _sealed(converter, folder, options or {})
    return conversion


def _convert_split(
    converter: DatasetConverter, split: str, folder: PreparedFolder, settings: ConversionSettings, progress: Progress
) -> int:
    """Converts what is missing of a split; returns the number of shards that were there."""
    task = progress.add_task(f"{split}: lists", total=None, frames="")
    log = ConversionLog(settings.on_damage)
    plan = folder.plan(split)
    if plan is None:
        plan = plan_shards(split, converter.items(split, log), settings.num_shards, settings.shard_bytes)
        folder.keep_plan(plan)
    else:
        if settings.num_shards not in (None, plan.num_shards):
            raise ValueError(
                f"{folder.path} has {plan.num_shards} files for split {split!r}, now {settings.num_shards} are asked "
                "for: give another folder, or --overwrite to begin again."
            )
        check_plan(plan, converter.items(split, log))
    folder.keep_list_log(plan, log)
    progress.update(task, description=f"{split}: checksums")
    with ThreadPoolExecutor(settings.workers) as threads:
        results = list(threads.map(partial(folder.verified_result, plan), range(plan.num_shards)))
    wanted = [shard for shard, result in enumerate(results) if result is None or not _may_stay(result, settings)]
    num_items = sum(plan.bounds[shard + 1] - plan.bounds[shard] for shard in wanted)
    progress.reset(task, total=num_items, description=split)
    if not wanted:
        return plan.num_shards
    folder.unseal()
    frames = 0

    def advance(items: int, new_frames: int) -> None:
        nonlocal frames
        frames += new_frames
        progress.update(task, advance=items, frames=f"{frames} frames")

    jobs = _jobs(plan, converter.items(split, ConversionLog()), set(wanted))
    run = _run_here if settings.workers == 1 else _run_in_processes
    for shard, result in run(jobs, plan, folder.path, settings, advance):
        folder.keep_result(plan, shard, result)
    return plan.num_shards - len(wanted)


def _may_stay(result: ShardResult, settings: ConversionSettings) -> bool:
    return not result.log.damages or not (settings.redo_damaged or settings.on_damage == "fail")


def _sealed(converter: DatasetConverter, folder: PreparedFolder, options: Mapping[str, Any]) -> list[SplitReport]:
    """Reports of the complete splits of the folder, after card, report and checksums were written."""
    reports: list[SplitReport] = []
    results: list[ShardResult] = []
    for plan in filter(None, map(folder.plan, folder.planned_splits())):
        shards = [folder.result(plan, shard) for shard in range(plan.num_shards)]
        if all(shards):
            reports.append(SplitReport.of(plan, folder.list_log(plan), shards))
            results += shards
    folder.seal(dataset_card(converter, reports, options), report_json(converter.name, options, reports), results)
    return reports


def _jobs(plan: ShardPlan, items: Iterable[SourceItem], wanted: set[int]) -> Iterator[tuple[int, list[SourceItem]]]:
    """Shards to convert, each with its items; the others' items are passed over."""
    remaining = iter(items)
    for shard, (first, end) in enumerate(pairwise(plan.bounds)):
        group = islice(remaining, end - first)
        if shard in wanted:
            yield shard, list(group)
        else:
            deque(group, maxlen=0)


def _run_here(
    jobs: Iterator[tuple[int, list[SourceItem]]],
    plan: ShardPlan,
    folder: Path,
    settings: ConversionSettings,
    advance: Callable[[int, int], None],
) -> Iterator[tuple[int, ShardResult]]:
    for shard, items in jobs:
        file, digest = plan.file_name(shard), plan.digests[shard]
        yield shard, write_shard(items, folder, file, digest, settings.on_damage, advance)


def _run_in_processes(
    jobs: Iterator[tuple[int, list[SourceItem]]],
    plan: ShardPlan,
    folder: Path,
    settings: ConversionSettings,
    advance: Callable[[int, int], None],
) -> Iterator[tuple[int, ShardResult]]:
    # Not forked: the parent runs threads whose locks a child would never see released.
    context = multiprocessing.get_context("spawn")
    progress, stop = context.Queue(), context.Event()
    pool = ProcessPoolExecutor(settings.workers, context, _begin_worker, (progress, stop))
    running: dict[Future[ShardResult], int] = {}
    try:
        while True:
            # One job is ready for each worker beside that at work.
            for shard, items in islice(jobs, 2 * settings.workers - len(running)):
                file, digest = plan.file_name(shard), plan.digests[shard]
                running[pool.submit(_work, items, folder, file, digest, settings.on_damage)] = shard
            if not running:
                break
            done, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            _pass_on(progress, advance)
            for future in done:
                yield running.pop(future), future.result()
        _pass_on(progress, advance)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _pass_on(progress: multiprocessing.Queue, advance: Callable[[int, int], None]) -> None:
    while True:
        try:
            advance(*progress.get_nowait())
        except queue.Empty:
            return


_worker: dict[str, Any] = {}


def _begin_worker(progress: multiprocessing.Queue, stop: Event) -> None:
    # Ctrl-C reaches all processes; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(progress=progress, stop=stop)


def _work(items: list[SourceItem], folder: Path, file: str, digest: str, on_damage: str) -> ShardResult:
    def advance(num_items: int, num_frames: int) -> None:
        _worker["progress"].put((num_items, num_frames))

    return write_shard(items, folder, file, digest, on_damage, advance, _worker["stop"].is_set)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[frames]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        yield progress
