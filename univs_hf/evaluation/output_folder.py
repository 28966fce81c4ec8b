# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The folder of an evaluation.

run.json                     what was asked for; a run goes on only if it is asked for the same
predictions/<video>/         results of a video, in the benchmark's form; there when they are complete
predictions/.partial/        videos on their way
submission...                what is uploaded
scores.json, report.html     figures
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..results_io import json_line
from .submission_files import write_text


class OutputFolder:
    """Where an evaluation keeps its results.

    Args:
        path (`Path`): The folder; it is made if need be.
        request (mapping): What the predictions depend on, ready for JSON.

    Attributes:
        predictions (`Path`): Folder with `<video_id>` for each finished video.
    """

    def __init__(self, path: Path, request: Mapping[str, Any]):
        self.path = path
        self.predictions = path / "predictions"
        self._request = json.loads(json_line(request))
        self._partial = self.predictions / ".partial"

    def check(self, overwrite: bool) -> None:
        """Whether the run can begin or go on; writes nothing.

        Raises:
            FileExistsError: If the folder holds something else.
            ValueError: If its predictions were made for another request.
        """
        if overwrite or not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        run = self.path / "run.json"
        if not run.is_file():
            raise FileExistsError(f"{self.path} exists and is not the folder of an evaluation: there is no {run}.")
        try:
            before = json.loads(run.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{run} is no JSON: {error}") from error
        if not any(entry.name != self._partial.name for entry in self.predictions.glob("*")):
            # Nothing was finished, perhaps because what was asked for could not be done.
            return
        for name in sorted({*before, *self._request}):
            if before.get(name) != self._request.get(name):
                raise ValueError(
                    f"{self.path} holds predictions with {name} {json.dumps(before.get(name))}, now it is "
                    f"{json.dumps(self._request.get(name))}: give another folder, or --overwrite to begin again."
                )

    def begin(self, overwrite: bool) -> None:
        """Makes the folder; removes what an interrupted run left half done, or with `overwrite` all predictions."""
        self.path.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.predictions if overwrite else self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        write_text(self.path / "run.json", json_line(self._request) + "\n")

    def check_shared(self) -> None:
        """Whether another process, perhaps on another machine, has made this folder.

        Raises:
            FileNotFoundError: If it is not to be seen here.
        """
        if not self._partial.is_dir():
            raise FileNotFoundError(
                f"{self.path.absolute()} is not the folder that the first process has made: all machines must see it "
                "under this path."
            )

    def finished(self, video_ids: Iterable[str]) -> list[str]:
        """Those of the videos that are complete."""
        return [video_id for video_id in video_ids if (self.predictions / video_id).is_dir()]

    @contextmanager
    def writing(self, video_id: str) -> Iterator[Path]:
        """An empty folder that becomes that of a video once the block has ended without an error."""
        folder = Path(tempfile.mkdtemp(dir=self._partial))
        # mkdtemp's 0700 would survive the rename.
        folder.chmod(self._partial.stat().st_mode & 0o777)
        try:
            yield folder
            target = self.predictions / video_id
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def close(self) -> None:
        """Removes the room for half done videos, once all are complete."""
        shutil.rmtree(self._partial, ignore_errors=True)
