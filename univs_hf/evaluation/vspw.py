# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VSPW: video semantic segmentation; mIoU and mVC (specification, sections 3 and 9 of the metrics)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.layouts.frame_folders import read_label_map
from ..data.layouts.vspw import NUM_CLASSES, VOID, VspwLayout
from ..label_sets import load_label_set
from ..metrics.video_metric import VideoMetric
from ..metrics.vss import VSSMetric
from .benchmark import Benchmark, ComparedFrame, JobResults, Option, VideoJob
from .prediction_frames import numbered_results, spread, to_numpy
from .reading_ahead import read_ahead
from .submission_files import unpack_zip, write_folder, write_zip


class Vspw(Benchmark):
    """VSPW.

    A prediction is `<video>/<frame>.png`, grey, the class from 0 to 123 of each pixel (the dataset's number minus 1).
    The submission holds these folders as they are. The layout is that of [`~data.layouts.vspw.VspwLayout`].

    Args:
        void_prediction (`str`, *optional*, defaults to `"script"`): See [`VSSMetric`].
        all_windows (`bool`, *optional*, defaults to `False`): See [`VSSMetric`].
        root, split, videos: See [`Benchmark`].
    """

    name = "vspw"
    task = "vss"
    default_split = "val"
    columns = {"mIoU": "mIoU", "mVC8": "mVC8", "mVC16": "mVC16"}
    worst_by = "mIoU"
    options = (
        Option(
            "void_prediction",
            "predicted 255: as the official script counts it, or as a miss",
            "script",
            ("script", "miss"),
        ),
        Option("all_windows", "mVC over all windows; the official script leaves out the last one", False, None, bool),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        void_prediction: str = "script",
        all_windows: bool = False,
    ):
        super().__init__(root, split, videos)
        self.void_prediction, self.all_windows = void_prediction, all_windows
        self.layout = VspwLayout(self.root, self.split)
        self.new_metrics()

    def all_video_ids(self) -> list[str]:
        return self.layout.videos

    @property
    def has_ground_truth(self) -> bool:
        return self.layout.has_ground_truth

    def num_frames(self, video_id: str) -> int:
        return len(self.layout.frame_names(video_id))

    # --- predictions

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        yield VideoJob(self.task, self.layout.frame_paths(video_id), categories="vspw")

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        names = self.layout.frame_names(video_id)
        for number, result in numbered_results(results, len(names), f"{self.name}: video {video_id!r}"):
            labels = to_numpy(result["segmentation"])
            Image.fromarray(labels.astype(np.uint8)).save(folder / f"{names[number]}.png")

    def open_predictions(self, source: Path, scratch: Path) -> Path:
        """See [`Benchmark`]: also a zip that [`~Vspw.write_submission`] wrote, or anybody's of that form."""
        if source.suffix.lower() == ".zip" and source.is_file():
            return unpack_zip(source, scratch)
        return super().open_predictions(source, scratch)

    def write_submission(self, predictions: Path, out: Path) -> Path:
        """Writes the folder `submission` and the same as `submission.zip`, whose path is returned."""
        members = [
            (f"{video_id}/{name}.png", self._prediction_file(predictions, video_id, name))
            for video_id in self.video_ids()
            for name in self.layout.frame_names(video_id)
        ]
        write_folder(out / "submission", members)
        return write_zip(out / "submission.zip", members)

    # --- scores

    def new_metrics(self) -> dict[str, VideoMetric]:
        metric = VSSMetric(NUM_CLASSES, void_prediction=self.void_prediction, all_windows=self.all_windows)
        return {"vss": metric}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        names = self.layout.frame_names(video_id)
        (single,) = self.new_metrics().values()
        single.update(
            video_id,
            read_ahead(lambda name: read_label_map(self._prediction_file(predictions, video_id, name)), names),
            read_ahead(lambda name: self.layout.labels(video_id, name), names),
        )
        metrics["vss"].merge(single)
        return single.compute()

    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        names, images = self.layout.frame_names(video_id), self.layout.frame_paths(video_id)
        labels = load_label_set("vspw").labels
        frames = []
        for number in spread(len(names), limit):
            prediction = read_label_map(self._prediction_file(predictions, video_id, names[number]))
            truth = self.layout.labels(video_id, names[number])
            # Both from 0, "others" and void together.
            truth = np.where((truth == 0) | (truth == VOID), VOID, truth - 1)
            frames.append(
                ComparedFrame(
                    caption=names[number],
                    image=images[number],
                    prediction=prediction,
                    ground_truth=truth,
                    prediction_info=_named_classes(prediction, labels),
                    ground_truth_info=_named_classes(truth, labels),
                    background=VOID,
                )
            )
        return frames

    def _prediction_file(self, predictions: Path, video_id: str, frame: str) -> Path:
        path = predictions / video_id / f"{frame}.png"
        if not path.is_file():
            raise FileNotFoundError(f"{self.name}: video {video_id!r}, frame {frame}: there is no prediction {path}.")
        return path


def _named_classes(classes: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": index, "label": labels[index]} for index in np.unique(classes).tolist() if index < len(labels)]
