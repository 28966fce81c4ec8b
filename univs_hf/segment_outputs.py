# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What `univs segment` writes: overlay video, palette PNGs, contact sheet, results as JSON or as lines.

Each output takes the frames one by one and appears under its name when it is complete, or, if the run is interrupted,
with `.part` in its name.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from .results_io import ResultsWriter, json_line
from .video_writer import VideoWriter, check_output_path, errors_named, temporary_sibling
from .visualization import contact_sheet, flatten_masks, overlay_segmentation, save_palette_png

SHEET_PICTURES = 12
_LARGEST_PNG_ID = 2**16 - 1
_SHEET_CELL_WIDTH = 320


@dataclass(frozen=True)
class FinishedFrame:
    """A frame and its result.

    Attributes:
        name: Name for a file of its own.
        frame: `uint8` RGB (height, width, 3).
        time: Seconds since the first frame, or `None` where the video has no clock.
        result: As [`ClipEngine`] gives it, with numpy arrays; `frame_idx` is the number in the video's file.
        record: The same, ready for JSON.
        is_new: Whether this run has made it, rather than the one that it goes on with.
    """

    name: str
    frame: np.ndarray
    time: Fraction | None
    result: Mapping[str, Any]
    record: Mapping[str, Any]
    is_new: bool = True


def part_path(path: Path) -> Path:
    """Name of an output that holds the finished part of an interrupted run."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def remove_leftovers(path: Path) -> None:
    """Removes the temporary files of an output that a run which was killed has left."""
    # The names that `tempfile` gives to what `temporary_sibling` and `PaletteOutput` make.
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}"):
        _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Output:
    """One thing that a run writes.

    Attributes:
        path: Where it is to appear; `None` for a stream.
    """

    path: Path | None = None

    def write(self, finished: FinishedFrame) -> None:
        """Takes the next frame."""
        raise NotImplementedError

    def finish(self, complete: bool, objects: Sequence[Mapping[str, Any]]) -> None:
        """Writes it to its end, under a temporary name. `objects` is what is known of the whole video."""

    def appear(self, path: Path) -> None:
        """Gives it its name."""

    def abort(self) -> None:
        """Drops it; without effect once it has appeared."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about it."""
        return []


class OverlayOutput(Output):
    """The video (or image) with its segments painted on."""

    def __init__(self, writer: VideoWriter, background: int | None, alpha: float, labels: bool):
        self.path = writer.path
        self._writer = writer
        self._background = background
        self._alpha = alpha
        self._labels = labels

    def write(self, finished: FinishedFrame) -> None:
        result = finished.result
        segments = result["masks"] if "masks" in result else result["segmentation"]
        painted = overlay_segmentation(
            finished.frame, segments, result["segments_info"], self._background, self._alpha, labels=self._labels
        )
        self._writer.write(painted, finished.time)

    def finish(self, complete: bool, objects: Sequence[Mapping[str, Any]]) -> None:
        self._writer.finish(is_part=not complete)

    def appear(self, path: Path) -> None:
        self._writer.close(path)

    def abort(self) -> None:
        self._writer.abort()

    @property
    def notes(self) -> list[str]:
        return self._writer.notes


class ResultsOutput(Output):
    """The results as a JSON file."""

    def __init__(self, writer: ResultsWriter):
        self.path = writer.path
        self._writer = writer.__enter__()

    def write(self, finished: FinishedFrame) -> None:
        self._writer.write(finished.record)

    def finish(self, complete: bool, objects: Sequence[Mapping[str, Any]]) -> None:
        self._writer.finish(objects, is_part=not complete)

    def appear(self, path: Path) -> None:
        self._writer.close(path)

    def abort(self) -> None:
        self._writer.abort()


class LinesOutput(Output):
    """The results as JSON lines, each as soon as it is final; the objects of the video on a last line."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, finished: FinishedFrame) -> None:
        if finished.is_new:
            self._print(finished.record)

    def finish(self, complete: bool, objects: Sequence[Mapping[str, Any]]) -> None:
        if complete and objects:
            self._print({"objects": list(objects)})

    def _print(self, value: Mapping[str, Any]) -> None:
        self._file.write(json_line(value) + "\n")
        self._file.flush()


class PaletteOutput(Output):
    """A folder with a palette PNG per frame, as DAVIS has them: pixel values are ids."""

    def __init__(self, path: Path, overwrite: bool):
        if path.name in ("", ".."):
            raise ValueError(f"The output folder must have a name, got '{path}'.")
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"The output {path} is not a folder.")
        if path.exists() and any(path.iterdir()) and not overwrite:
            raise FileExistsError(f"The folder {path} is not empty.")
        others = [entry.name for entry in sorted(path.glob("*")) if entry.suffix != ".png" or entry.is_dir()]
        if others:
            # What a run has made is PNGs and nothing else; a folder of the user's is not replaced.
            raise FileExistsError(
                f"The folder {path} is not replaced: it holds {others[0]!r}, which no run has written."
            )
        if not path.parent.is_dir():
            raise FileNotFoundError(f"The folder {path.parent} of the output {path.name} does not exist.")
        self.path = path
        self._partial: Path | None = Path(
            tempfile.mkdtemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        )
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(self._partial, 0o777 & ~mask)
        self._notes: list[str] = []

    def write(self, finished: FinishedFrame) -> None:
        result = finished.result
        if "masks" in result:
            ids = [info["id"] for info in result["segments_info"]]
            scores = [info.get("score") or 0.0 for info in result["segments_info"]]
            segmentation = flatten_masks(result["masks"], ids, scores)
        else:
            segmentation = result["segmentation"]
        path = self._partial / f"{finished.name}.png"
        largest = int(segmentation.max(initial=0))
        if largest > _LARGEST_PNG_ID:
            raise ValueError(f"--png takes ids up to {_LARGEST_PNG_ID}, frame {finished.name} has {largest}.")
        if largest < 256:
            save_palette_png(path, segmentation)
        else:
            Image.fromarray(segmentation.astype(np.uint16)).save(path)
            if not self._notes:
                self._notes.append(f"from frame {finished.name} on, PNGs with ids above 255 are grey with 16 bits")

    def appear(self, path: Path) -> None:
        if path.exists():
            shutil.rmtree(path)
        os.replace(self._partial, path)
        self._partial = None

    def abort(self) -> None:
        if self._partial is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial = None

    @property
    def notes(self) -> list[str]:
        return self._notes


class SheetOutput(Output):
    """A picture with frames from the whole video. Holds few of them, whatever the length of the video."""

    def __init__(self, path: Path, overwrite: bool, background: int | None, alpha: float, labels: bool):
        check_output_path(path, (".png",), overwrite)
        self.path = path
        self._background = background
        self._alpha = alpha
        self._labels = labels
        self._pictures: list[tuple[str, np.ndarray]] = []
        self._interval = 1
        self._count = 0
        self._partial: Path | None = None

    def write(self, finished: FinishedFrame) -> None:
        if self._count % self._interval == 0:
            if len(self._pictures) == 4 * SHEET_PICTURES:
                # Twice the interval: every second picture goes.
                self._pictures = self._pictures[::2]
                self._interval *= 2
            if self._count % self._interval == 0:
                self._pictures.append((finished.name, self._paint(finished)))
        self._count += 1

    def _paint(self, finished: FinishedFrame) -> np.ndarray:
        # Made small before it is painted, so that the names can be read.
        result = finished.result
        height, width = finished.frame.shape[:2]
        small_width = min(_SHEET_CELL_WIDTH, width)
        small_height = max(1, round(height * small_width / width))
        picture = Image.fromarray(finished.frame).resize((small_width, small_height), Image.Resampling.LANCZOS)
        segments = result["masks"] if "masks" in result else result["segmentation"]
        rows = (np.arange(small_height) + 0.5) * height / small_height
        columns = (np.arange(small_width) + 0.5) * width / small_width
        small = segments[..., rows.astype(int)[:, None], columns.astype(int)]
        return overlay_segmentation(
            np.asarray(picture), small, result["segments_info"], self._background, self._alpha, labels=self._labels
        )

    def finish(self, complete: bool, objects: Sequence[Mapping[str, Any]]) -> None:
        count = min(SHEET_PICTURES, len(self._pictures))
        chosen = np.linspace(0, len(self._pictures) - 1, count).round().astype(int)
        names = [self._pictures[index][0] for index in chosen]
        sheet = contact_sheet(
            [self._pictures[index][1] for index in chosen], cell_width=_SHEET_CELL_WIDTH, captions=names
        )
        self._partial = temporary_sibling(self.path)
        Image.fromarray(sheet).save(self._partial)

    def appear(self, path: Path) -> None:
        os.replace(self._partial, path)
        self._partial = None

    def abort(self) -> None:
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
            self._partial = None


class Outputs:
    """All outputs of a run. As a context manager: what has not been published is dropped."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []

    def add(self, output: Output) -> None:
        """Adds an output, before the first frame."""
        self._outputs.append(output)

    def write(self, finished: FinishedFrame) -> None:
        """Gives the next frame to all."""
        for output in self._outputs:
            with errors_named(output.path):
                output.write(finished)

    def publish(self, complete: bool, objects: Sequence[Mapping[str, Any]] = ()) -> list[Path]:
        """Makes all appear, under their names if the run is complete, else as parts; returns where."""
        # None appears before all are written, so that a full disk leaves nothing.
        for output in self._outputs:
            with errors_named(output.path):
                output.finish(complete, objects)
        paths = []
        for output in self._outputs:
            if output.path is not None:
                part = part_path(output.path)
                paths.append(output.path if complete else part)
                output.appear(paths[-1])
                if complete:
                    _remove(part)
        return paths

    def notes(self) -> list[str]:
        """What the user should know."""
        return [note for output in self._outputs for note in output.notes]

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.ExitStack() as stack:
            for output in self._outputs:
                stack.callback(output.abort)
