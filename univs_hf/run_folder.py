# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a run of `univs segment` keeps on disk so that it can go on after an interruption.

The folder lies beside the first output while the run lasts, and holds

    run.json        what was asked for; a run goes on only if it is asked for the same
    results.jsonl   the results of the frames that are finished, one line each
    state           the session and how many results it had given, from the last checkpoint

A run goes on at its last checkpoint: results up to there are kept, later ones are computed again from the same state,
so that nothing differs from a run that was never interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .results_io import json_line
from .video_writer import errors_named


class RunFolder:
    """The folder of one run.

    Args:
        path (`Path`): Where it is, or is to be.
        request (mapping): What the run is asked for, ready for JSON.

    Attributes:
        num_frames (`int`): Results in the folder.
    """

    def __init__(self, path: Path, request: Mapping[str, Any]):
        self.path = path
        self.num_frames = 0
        self._request = json.loads(json_line(request))
        self._results = path / "results.jsonl"
        self._file: Any = None

    @property
    def state_path(self) -> Path:
        """The file of the session's state."""
        return self.path / "state"

    @property
    def has_state(self) -> bool:
        """Whether a checkpoint was reached."""
        return self.state_path.is_file()

    def check(self, resume: bool, overwrite: bool) -> None:
        """Whether the run can begin or go on.

        Raises:
            FileExistsError: If there is an interrupted run, and nothing says what is to become of it.
            FileNotFoundError: If there is none to go on with.
            ValueError: If the run was asked for something else.
        """
        if not resume:
            if self.path.exists() and not (self.path / "run.json").is_file():
                raise FileExistsError(f"{self.path}, where the run is to be kept, exists and is something else.")
            if self.path.exists() and not overwrite:
                raise FileExistsError(
                    f"{self.path} holds an interrupted run: give --resume to go on with it, or --overwrite to begin "
                    "again."
                )
            return
        try:
            before = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"--resume: there is no interrupted run at {self.path}") from error
        except ValueError as error:
            raise ValueError(f"--resume: {self.path} is not the folder of a run: {error}") from error
        for name in sorted({*before, *self._request}):
            if before.get(name) != self._request.get(name):
                raise ValueError(
                    f"--resume: the run was begun with {name} {json.dumps(before.get(name))}, now it is "
                    f"{json.dumps(self._request.get(name))}"
                )

    def begin(self) -> None:
        """Makes the folder, in place of one that is there."""
        shutil.rmtree(self.path, ignore_errors=True)
        with errors_named(self.path):
            self.path.mkdir()
            (self.path / "run.json").write_text(json_line(self._request), encoding="utf-8")
            self._file = open(self._results, "w", encoding="utf-8")

    def resume(self, num_frames: int) -> None:
        """Keeps the first `num_frames` results of the folder and goes on behind them.

        Raises:
            ValueError: If there are fewer.
        """
        size = 0
        with open(self._results, "rb") as file:
            for index in range(num_frames):
                line = file.readline()
                if not line.endswith(b"\n"):
                    raise ValueError(f"{self._results} holds {index} results, but the state is of {num_frames}.")
                size += len(line)
        os.truncate(self._results, size)
        self.num_frames = num_frames
        self._file = open(self._results, "a", encoding="utf-8")

    def records(self, num_frames: int) -> Iterator[dict[str, Any]]:
        """The first results, as they were written."""
        with open(self._results, encoding="utf-8") as file:
            for _, line in zip(range(num_frames), file, strict=False):
                yield json.loads(line)

    def write(self, record: Mapping[str, Any]) -> None:
        """Adds the result of one frame."""
        with errors_named(self.path):
            self._file.write(json_line(record) + "\n")
        self.num_frames += 1

    def flush(self) -> None:
        """Brings all results to the disk, so that a state can refer to them."""
        with errors_named(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the files and leaves the folder, to go on later."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Removes the folder: the run is over, or has failed."""
        try:
            self.close()
        except OSError:
            # Nothing of it is wanted any more, on a full disk either.
            self._file = None
        shutil.rmtree(self.path, ignore_errors=True)
