# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the runner knows of a benchmark: its videos, what the model is asked, what is written, and how it is scored.

A benchmark reads its official layout, writes its official submission and feeds its metrics. It neither loads a model
nor knows how videos are shared among processes: that is the runner's work. The life of one video is

    jobs(video_id) -> model -> write_prediction(...) -> score_video(...)

and `score_video` reads what was written, so that a fresh result, one of an interrupted run and one that somebody else
made are scored by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..label_sets import LabelSet
from ..metrics.video_metric import VideoMetric


@dataclass(frozen=True)
class Option:
    """A choice of a benchmark that the command line offers as `--name`; an argument of its constructor.

    Attributes:
        name: As in Python, with `_`.
        help: One line.
        default: Value without the option.
        choices: What is accepted; `None` for anything.
        type: Turns the text into the value. `bool` makes a flag.
        scoring_only: Whether predictions do not depend on it, so that a run may go on with another value.
    """

    name: str
    help: str
    default: Any = None
    choices: tuple[Any, ...] | None = None
    type: Callable[[str], Any] = str
    scoring_only: bool = False


@dataclass(frozen=True)
class VideoJob:
    """What the model is asked about one video, in one pass.

    Attributes:
        task: One of the six tasks.
        frames: Paths of the images, in order. None is opened here.
        prompts: Frame number (position in `frames`) to object id (from 1) to bool mask (H, W) in the frame's size.
        object_categories: For `"pvos"`: object id to name or index among `categories`.
        expressions: For `"refvos"`: object id (from 1) to text.
        categories: Names, a label set or its name; `None` where the task has none.
        thing_flags: Per category, whether it is a thing; `None` for what the label set says.
        settings: Fields of [`UniVSConfig`] that win over the settings of the task.
        part: Name of the subfolder that this pass is written to, where a video takes several; else empty.
    """

    task: str
    frames: Sequence[Path]
    prompts: Mapping[int, Mapping[int, np.ndarray]] = field(default_factory=dict)
    object_categories: Mapping[int, str | int] = field(default_factory=dict)
    expressions: Mapping[int, str] = field(default_factory=dict)
    categories: str | LabelSet | Sequence[str] | None = None
    thing_flags: Sequence[bool] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""


@dataclass(frozen=True)
class JobResults:
    """The results of one pass, on their way: iterate once, from frame to frame, in constant memory.

    Attributes:
        frames: Yields, for each frame in order, `frame_idx` (position in the job's `frames`), `segments_info`, and
            `segmentation` (int32 (H, W)) or `masks` (bool (N, H, W)); arrays are tensors on the CPU or elsewhere.
        summary: What is known of the objects once the iteration is over, see [`UniVSInferenceSession.summary`].
    """

    frames: Iterable[dict[str, Any]]
    summary: Callable[[], list[dict[str, Any]]] = list

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.frames)


@dataclass(frozen=True)
class ComparedFrame:
    """A frame for the report: prediction beside ground truth.

    Attributes:
        caption: What is written over it.
        image: Path of the picture.
        prediction, ground_truth: A map (H, W) of ids or a stack (N, H, W) of masks, as
            [`~visualization.overlay_segmentation`] takes them.
        prediction_info, ground_truth_info: Names and scores of the segments, or `None`.
        background: Id that is left unpainted; `None` if every id is a segment.
    """

    caption: str
    image: Path
    prediction: np.ndarray
    ground_truth: np.ndarray
    prediction_info: Sequence[Mapping[str, Any]] | None = None
    ground_truth_info: Sequence[Mapping[str, Any]] | None = None
    background: int | None = 0


class Benchmark(ABC):
    """One benchmark on disk.

    The constructor looks at the layout and raises at once if it is another; it opens no image.

    Args:
        root (`Path`): The benchmark's folder, as it is unpacked.
        split (`str`, *optional*): Which part; by default `default_split`.
        videos (sequence of `str`, *optional*): Only these videos, say of a development subset.

    Attributes:
        name: What `univs evaluate` and the script in `eval_scripts` are called.
        task: One of the six tasks.
        default_split: Split that results are published on.
        columns: Key of a figure (see [`~Benchmark.figures`]) to its header, in the order of the paper's main table.
        worst_by: Key of the per-video figure of [`~Benchmark.score_video`] by which the report finds the worst videos.
        options: What the command line offers beside `--split` and `--videos`.

    Raises:
        FileNotFoundError: If the layout is another one; the message names the path and what was expected.
        ValueError: If the split, an option or a video does not exist.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    default_split: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    worst_by: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, root: Path, split: str | None = None, videos: Sequence[str] | None = None):
        self.root = Path(root)
        self.split = self.default_split if split is None else split
        self._chosen = None if videos is None else [str(video) for video in videos]

    # --- what there is

    @abstractmethod
    def all_video_ids(self) -> list[str]:
        """Ids of all videos of the split, in the benchmark's order; each is also the path of its folder.

        An id may hold `/`; no id may be another one followed by `/` and more.
        """

    def video_ids(self) -> list[str]:
        """Ids of the videos that are run and scored.

        Raises:
            ValueError: If a chosen video is none of the split, or there is none at all.
        """
        known = self.all_video_ids()
        if not known:
            raise ValueError(f"{self.name}: split {self.split!r} at {self.root} holds no video.")
        if self._chosen is None:
            return known
        unknown = sorted(set(self._chosen) - set(known))
        if unknown:
            raise ValueError(f"{self.name}: `videos` {unknown[:5]} are not among the {len(known)} of {self.split!r}.")
        wanted = set(self._chosen)
        return [video_id for video_id in known if video_id in wanted]

    @property
    @abstractmethod
    def has_ground_truth(self) -> bool:
        """Whether the videos can be scored; if not, the submission is all there is."""

    @abstractmethod
    def num_frames(self, video_id: str) -> int:
        """Frames that the model sees; cheap, since videos are shared among processes by it."""

    def settings(self) -> dict[str, Any]:
        """What predictions depend on, ready for JSON; a run goes on only if it is asked for the same."""
        scoring = {option.name for option in self.options if option.scoring_only}
        return {name: value for name, value in self.description().items() if name not in scoring}

    def description(self) -> dict[str, Any]:
        """Name, split and all options, ready for JSON."""
        options = {option.name: getattr(self, option.name) for option in self.options}
        paths = {name: str(value.absolute()) for name, value in options.items() if isinstance(value, Path)}
        return {"benchmark": self.name, "split": self.split, **options, **paths}

    # --- predictions

    @abstractmethod
    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        """The passes that a video takes: one, unless its prompts have to be given apart from each other."""

    @abstractmethod
    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        """Writes the results of one pass in the official form.

        Args:
            video_id (`str`): The video.
            job ([`VideoJob`]): The pass.
            results ([`JobResults`]): To be taken one by one.
            folder (`Path`): An empty folder, of this video or, where `job.part` is not empty, of this part. The
                video's folder appears as `<predictions>/<video_id>` when it is complete, `<predictions>/<video_id>/
                <part>` with parts. Whatever else is written there is found again by `score_video` and
                `write_submission`.
        """

    def open_predictions(self, source: Path, scratch: Path) -> Path:
        """Finds existing predictions: the folder that a run wrote, or what a submission looks like.

        Args:
            source (`Path`): What the user names.
            scratch (`Path`): An empty folder, for what has to be unpacked; it is removed after scoring.

        Returns:
            `Path`: The folder that holds `<video_id>` for each video, as the other methods expect it.

        Raises:
            FileNotFoundError, ValueError: If it is nothing of that kind.
        """
        if not source.is_dir():
            raise FileNotFoundError(f"{self.name}: predictions {source} are no folder.")
        return source

    @abstractmethod
    def write_submission(self, predictions: Path, out: Path) -> Path:
        """Writes the official submission (specification section 9) from the predictions of all videos.

        Args:
            predictions (`Path`): Folder with `<video_id>` for each video.
            out (`Path`): Folder in which it is to appear, under a temporary name first.

        Returns:
            `Path`: The file (or folder) to upload.
        """

    # --- scores

    @abstractmethod
    def new_metrics(self) -> dict[str, VideoMetric]:
        """Empty metrics, by a name of this benchmark's own."""

    @abstractmethod
    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        """Reads prediction and ground truth of one video and updates the metrics.

        Args:
            metrics (mapping): What [`~Benchmark.new_metrics`] gave.
            video_id (`str`): The video.
            predictions (`Path`): Folder with `<video_id>` for each video.

        Returns:
            `dict[str, float]`: Figures of this video alone, among them `worst_by`; NaN where one is not defined.

        Raises:
            FileNotFoundError, ValueError: If a prediction is missing or wrong; the message names video and frame.
        """

    def figures(self, metrics: Mapping[str, VideoMetric]) -> dict[str, Any]:
        """The figures of all videos by key; fractions, unless the key says `percent`.

        By default all keys of all metrics, with `<name of the metric>_` before each if there are several metrics.
        """
        if len(metrics) == 1:
            return dict(next(iter(metrics.values())).compute())
        return {f"{name}_{key}": value for name, metric in metrics.items() for key, value in metric.compute().items()}

    @abstractmethod
    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        """Up to `limit` frames of a video for the report, spread over its length."""
