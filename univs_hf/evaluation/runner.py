# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Runs a benchmark: each video through the model, to the disk and into the metrics.

    videos -> shared among processes -> predictions/<video>, one at a time, atomically -> score_video
                                                                         all processes -> merged metrics -> figures

A video is scored as soon as it is written, from what is on the disk; one that an earlier run finished is scored in the
same way. Metrics merge exactly, so neither the number of processes nor an interruption changes a figure.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..metrics.video_metric import VideoMetric
from .benchmark import Benchmark
from .model_results import model_results
from .output_folder import OutputFolder
from .processes import Processes, share_videos

if TYPE_CHECKING:
    from ..modeling_univs import UniVSForVideoSegmentation
    from ..processing_univs import UniVSProcessor

    LoadedModel = tuple[UniVSForVideoSegmentation, UniVSProcessor]


@dataclass(frozen=True)
class Evaluation:
    """What came out of an evaluation, equal on all processes but for `submission`.

    Attributes:
        benchmark: What was evaluated.
        predictions: Folder with `<video_id>` for each video; that of a scratch folder is gone by now.
        figures: By key; fractions, unless the key says `percent`. `None` without ground truth.
        videos: Figures of each video.
        num_frames: Frames that this call has run, over all processes.
        num_processes: Processes that took part.
        seconds: How long the slowest process took for them, with reading, writing and scoring.
        submission: What is uploaded; on the first process, if one was written.
    """

    benchmark: Benchmark
    predictions: Path
    figures: Mapping[str, Any] | None
    videos: Mapping[str, Mapping[str, float]]
    num_frames: int = 0
    num_processes: int = 1
    seconds: float = 0.0
    submission: Path | None = None


@dataclass
class _Share:
    """What one process has done."""

    metrics: dict[str, VideoMetric]
    videos: dict[str, dict[str, float]] = field(default_factory=dict)
    num_frames: int = 0
    seconds: float = 0.0

    def payload(self) -> dict[str, Any]:
        """The same as plain objects that travel between processes."""
        states = {name: metric.state_dict() for name, metric in self.metrics.items()}
        return {"metrics": states, "videos": self.videos, "num_frames": self.num_frames, "seconds": self.seconds}


def evaluate(
    benchmark: Benchmark,
    model: str | LoadedModel,
    out: Path,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    dtype: str = "float32",
    quiet: bool = False,
) -> Evaluation:
    """Runs the model on a benchmark, writes its submission, and scores it where there is ground truth.

    Every process of an `accelerate launch` calls it with the same arguments. A run that was interrupted goes on when
    it is called again.

    Args:
        benchmark ([`Benchmark`]): The benchmark.
        model (`str` or `tuple`): Directory that `save_pretrained` wrote, or hub id; or a loaded model and processor.
            A name is loaded only if there is something left to run.
        out (`Path`): Folder of the results, see `output_folder`.
        overwrite (`bool`, *optional*, defaults to `False`): Begin again in place of results that are there.
        settings (mapping, *optional*): Fields of [`UniVSConfig`] that win over the settings of the task.
        device (`str`, *optional*): Where to put the model; by default a GPU if there is one.
        dtype (`str`, *optional*, defaults to `"float32"`): Number format of a model that is loaded by name.
        quiet (`bool`, *optional*, defaults to `False`): Show no progress.

    Returns:
        [`Evaluation`]: Figures and files.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: If the benchmark, the folder or a setting does not fit.
    """
    processes = Processes(device)
    video_ids = benchmark.video_ids()
    request = {
        **benchmark.settings(),
        "data": str(benchmark.root.absolute()),
        "model": _model_name(model),
        "dtype": dtype if isinstance(model, str) else str(model[0].dtype).removeprefix("torch."),
        "settings": dict(settings or {}),
    }
    folder = OutputFolder(out, request)
    folder.check(overwrite)
    processes.wait()
    if processes.is_main:
        folder.begin(overwrite)
    processes.wait()
    folder.check_shared()
    sizes = {video_id: benchmark.num_frames(video_id) for video_id in video_ids}
    finished = set(folder.finished(video_ids))
    # Nobody begins to write before everybody knows what was there.
    processes.wait()

    waiting = {video_id: size for video_id, size in sizes.items() if video_id not in finished}
    own = share_videos(waiting, processes.count)[processes.index]
    scored = share_videos({video_id: sizes[video_id] for video_id in finished}, processes.count)[processes.index]
    if own and isinstance(model, str):
        model = _load(model, processes.device, dtype)
    share = _Share(benchmark.new_metrics() if benchmark.has_ground_truth else {})
    total = sum(sizes[video_id] for video_id in [*scored, *own])
    with _progress(benchmark, total, processes, quiet) as advance:
        for video_id in scored:
            _score(benchmark, share, video_id, folder.predictions)
            advance(sizes[video_id], video_id, share)
        started = time.monotonic()
        for video_id in own:
            with folder.writing(video_id) as target:
                for job in benchmark.jobs(video_id):
                    part = target / job.part
                    part.mkdir(exist_ok=True)
                    benchmark.write_prediction(video_id, job, model_results(*model, job, settings), part)
            share.num_frames += sizes[video_id]
            _score(benchmark, share, video_id, folder.predictions)
            advance(sizes[video_id], video_id, share)
        share.seconds = time.monotonic() - started

    evaluation = _merge(benchmark, folder.predictions, processes.gather(share.payload()))
    if not processes.is_main:
        return evaluation
    folder.close()
    submission = benchmark.write_submission(folder.predictions, out)
    return Evaluation(**{**vars(evaluation), "submission": submission})


@contextmanager
def scored_predictions(
    benchmark: Benchmark, predictions: Path, out: Path | None = None, quiet: bool = False
) -> Iterator[Evaluation]:
    """Scores results that are there, without a model; a context, since unpacked predictions are removed at its end.

    Every process of an `accelerate launch` calls it with the same arguments.

    Args:
        benchmark ([`Benchmark`]): The benchmark.
        predictions (`Path`): The folder of an evaluation, its `predictions`, or a submission.
        out (`Path`, *optional*): Folder to write a submission to.
        quiet (`bool`, *optional*, defaults to `False`): Show no progress.

    Yields:
        [`Evaluation`]: Figures and files.

    Raises:
        FileNotFoundError: If the predictions are not there.
        ValueError: If there is no ground truth and no `out` either, so that there is nothing to do; or a prediction is
            wrong.
    """
    if not benchmark.has_ground_truth and out is None:
        raise ValueError(
            f"{benchmark.name}: split {benchmark.split!r} at {benchmark.root} has no ground truth to score by."
        )
    processes = Processes()
    with tempfile.TemporaryDirectory(prefix="univs-") as scratch:
        source = predictions / "predictions" if (predictions / "run.json").is_file() else predictions
        if not source.exists():
            raise FileNotFoundError(f"There are no predictions at {predictions}.")
        folder = benchmark.open_predictions(source, Path(scratch))
        sizes = {video_id: benchmark.num_frames(video_id) for video_id in benchmark.video_ids()}
        share = _Share(benchmark.new_metrics() if benchmark.has_ground_truth else {})
        own = share_videos(sizes, processes.count)[processes.index]
        with _progress(benchmark, sum(sizes[video_id] for video_id in own), processes, quiet) as advance:
            for video_id in own:
                _score(benchmark, share, video_id, folder)
                advance(sizes[video_id], video_id, share)
        evaluation = _merge(benchmark, folder, processes.gather(share.payload()))
        submission = None
        if out is not None and processes.is_main and not benchmark.has_ground_truth:
            out.mkdir(parents=True, exist_ok=True)
            submission = benchmark.write_submission(folder, out)
        yield Evaluation(**{**vars(evaluation), "submission": submission})


def _score(benchmark: Benchmark, share: _Share, video_id: str, predictions: Path) -> None:
    if share.metrics:
        share.videos[video_id] = benchmark.score_video(share.metrics, video_id, predictions)


def _merge(benchmark: Benchmark, predictions: Path, payloads: list[dict[str, Any]]) -> Evaluation:
    """The figures of all processes together."""
    figures, videos = None, {}
    for payload in payloads:
        videos.update(payload["videos"])
    if benchmark.has_ground_truth:
        total = benchmark.new_metrics()
        for payload in payloads:
            part = benchmark.new_metrics()
            for name, state in payload["metrics"].items():
                part[name].load_state_dict(state)
                total[name].merge(part[name])
        figures = benchmark.figures(total)
    return Evaluation(
        benchmark,
        predictions,
        figures,
        dict(sorted(videos.items())),
        sum(payload["num_frames"] for payload in payloads),
        len(payloads),
        max(payload["seconds"] for payload in payloads),
    )


def _model_name(model: str | LoadedModel) -> str:
    name = model if isinstance(model, str) else model[0].name_or_path
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def _load(name: str, device: Any, dtype: str) -> LoadedModel:
    from ..segment_command import load_model

    return load_model(name, str(device), dtype)


@contextmanager
def _progress(benchmark: Benchmark, total: int, processes: Processes, quiet: bool) -> Iterator[Any]:
    """Yields what is called after each video; the first process shows its own share."""
    title = f"{benchmark.name} {benchmark.split}"
    if processes.count > 1:
        title += f" (1 of {processes.count} processes)"
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=console, disable=quiet or not processes.is_main) as progress:
        bar = progress.add_task(title, total=total, last="")

        def advance(num_frames: int, video_id: str, share: _Share) -> None:
            score = share.videos.get(video_id, {}).get(benchmark.worst_by, math.nan)
            last = video_id if math.isnan(score) else f"{video_id} {benchmark.worst_by} {100 * score:.1f}"
            progress.update(bar, advance=num_frames, last=last)

        yield advance
