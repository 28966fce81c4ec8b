# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What benchmarks have in common whose predictions are `<video>/<frame>.png`, palette images of object ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data.layouts.frame_folders import VOID, list_frames, read_label_map, require_folder, subfolders
from ..visualization import save_palette_png
from .background_writer import BackgroundWriter
from .benchmark import Benchmark, ComparedFrame, JobResults, VideoJob
from .prediction_frames import numbered_results, spread, to_numpy
from .reading_ahead import read_ahead
from .submission_files import unpack_zip, write_zip


class MaskFolderBenchmark(Benchmark):
    """A benchmark with a folder of palette PNGs per video, named like the frames.

    Attributes:
        zip_folder: Folder of the submission's zip that holds the videos; empty if they lie directly in it.
        ground_truth: Folder of label maps, `<video>/<frame>.png`, where the benchmark comes without.
    """

    zip_folder: ClassVar[str] = ""
    ground_truth: Path | None = None

    @abstractmethod
    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames that the model sees."""

    @abstractmethod
    def annotations(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps that the benchmark comes with, perhaps of few frames."""

    def truth(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps to score by, in order of the frames.

        Raises:
            FileNotFoundError: If the folder that the user has named lacks the video or a frame.
        """
        if self.ground_truth is None:
            return self.annotations(video_id)
        folder = require_folder(self.ground_truth / video_id, f"the ground truth of video {video_id!r}")
        there, names = list_frames(folder, (".png",)), self.frames(video_id)
        missing = [name for name in names if name not in there]
        if missing:
            raise FileNotFoundError(f"The ground truth {folder} lacks {len(missing)} frames, first {missing[0]}.png.")
        return {name: there[name] for name in names}

    @cached_property
    def has_ground_truth(self) -> bool:
        return all(set(self.frames(video_id)) <= set(self.truth(video_id)) for video_id in self.video_ids())

    def predicted_frames(self, video_id: str) -> list[str]:
        """Names of the frames that a prediction holds: by default all that the model sees."""
        return list(self.frames(video_id))

    def num_frames(self, video_id: str) -> int:
        return len(self.frames(video_id))

    # --- predictions

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        names = [path.stem for path in job.frames]
        wanted = set(self.predicted_frames(video_id))
        with BackgroundWriter() as writer:
            for index, result in numbered_results(results, len(names), f"{self.name}: video {video_id!r}"):
                if names[index] in wanted:
                    label_map = to_numpy(result["segmentation"])
                    writer.submit(save_palette_png, folder / f"{names[index]}.png", label_map)

    def open_predictions(self, source: Path, scratch: Path) -> Path:
        if source.is_file():
            source = unpack_zip(source, scratch)
        require_folder(source, "predictions, a folder per video or their zip")
        if self.zip_folder and (source / self.zip_folder).is_dir():
            return source / self.zip_folder
        return source

    def predictions(self, predictions: Path, video_id: str, names: Sequence[str], part: str = "") -> list[Path]:
        """Paths of the predicted frames of a video, or of a part of it.

        Raises:
            FileNotFoundError: If the video or one of the frames is missing; the message names them.
        """
        folder = self.prediction_folder(predictions, video_id, part)
        if not folder.is_dir():
            there = ", ".join(subfolders(predictions)[:5]) or "no folder"
            raise FileNotFoundError(
                f"{self.name}: video {video_id!r} has no prediction: there is no folder {folder}. {predictions} holds "
                f"{there}."
            )
        missing = [name for name in names if not (folder / f"{name}.png").is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.name}: {len(missing)} of {len(names)} frames of video {video_id!r} have no prediction, the "
                f"first is {folder / missing[0]}.png."
            )
        return [folder / f"{name}.png" for name in names]

    def prediction_folder(self, predictions: Path, video_id: str, part: str) -> Path:
        """Where the predictions of a video, or of a part of it, are."""
        return predictions / video_id / part

    def write_submission(self, predictions: Path, out: Path) -> Path:
        return write_zip(out / "submission.zip", self._members(predictions))

    def _members(self, predictions: Path) -> Iterator[tuple[str, Path]]:
        prefix = f"{self.zip_folder}/" if self.zip_folder else ""
        for video_id in self.video_ids():
            for path in self.predictions(predictions, video_id, self.predicted_frames(video_id)):
                yield f"{prefix}{video_id}/{path.name}", path

    # --- report

    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        truth = self.truth(video_id)
        frames = self.frames(video_id)
        names = list(truth)
        infos = self.segments(video_id)
        compared = []
        for index in spread(len(names), limit):
            name = names[index]
            (path,) = self.predictions(predictions, video_id, [name])
            compared.append(
                ComparedFrame(
                    f"frame {name}",
                    frames[name],
                    read_label_map(path),
                    without_void(read_label_map(truth[name])),
                    infos,
                    infos,
                )
            )
        return compared

    def segments(self, video_id: str) -> list[dict[str, Any]] | None:
        """Names of the objects, for pictures; by default their ids."""
        return None


def without_void(label_map: np.ndarray) -> np.ndarray:
    """The label map with void (255) as background."""
    return np.where(label_map == VOID, 0, label_map)


def label_maps(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Reads label maps one at a time, as the metrics take them, a few ahead of them."""
    return read_ahead(read_label_map, paths)
