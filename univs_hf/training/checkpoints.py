# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of a run: complete or not there, with checksums, the newest few.

    checkpoints/step-00005000/
        manifest.json   size and SHA-256 of every other file; written last
        model/          the model as it would be used: the average of the weights where there is one, and the processor
        state/          what the run goes on from: weights, optimizer, average, position in the data

A checkpoint is written to a hidden directory that is renamed when all of it is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8,})")
_MANIFEST = "manifest.json"
_BLOCK = 2**22


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was written."""


class CheckpointFolder:
    """The checkpoints of a run. Only one process may write and remove.

    Args:
        path: Directory of the checkpoints.
        keep: How many to keep.
    """

    def __init__(self, path: Path, keep: int):
        self.path = path
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints, ascending, whether damaged or not."""
        if not self.path.is_dir():
            return []
        matches = [_NAME.fullmatch(entry.name) for entry in self.path.iterdir()]
        return sorted(int(match[1]) for match in matches if match)

    def of_step(self, step: int) -> Path:
        """Directory of the checkpoint of a step."""
        return self.path / f"step-{step:08d}"

    def newest_intact(self) -> Path | None:
        """The newest checkpoint whose content is what was written; damaged ones are passed over with a warning."""
        for step in reversed(self.steps()):
            folder = self.of_step(step)
            try:
                verify(folder)
            except DamagedCheckpointError as error:
                logger.warning("%s The one before it is used.", error)
            else:
                return folder
        return None

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """A directory to write a checkpoint to, which is complete under its own name when the block is left.

        If the block raises, nothing is changed. Checkpoints beyond the newest `keep` are removed afterwards.
        """
        target = self.of_step(step)
        temporary = self.temporary(step)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            seal(temporary, {"step": step})
            if target.exists():
                # From before a resume at an earlier step, or damaged.
                replaced = target.with_name(f".replaced-{target.name}")
                shutil.rmtree(replaced, ignore_errors=True)
                os.rename(target, replaced)
            os.rename(temporary, target)
            _sync(self.path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self.remove_old(step)

    def temporary(self, step: int) -> Path:
        """Where the checkpoint of a step is while it is written."""
        return self.path / f".writing-step-{step:08d}"

    def remove_old(self, newest: int) -> None:
        """Removes what an interrupted run left half written, and all but the newest checkpoints up to a step.

        Checkpoints of later steps were passed over when the run went on; they would be taken for its newest.
        """
        if not self.path.is_dir():
            return
        for entry in self.path.glob(".*step-*"):
            shutil.rmtree(entry, ignore_errors=True)
        steps = self.steps()
        kept = [step for step in steps if step <= newest][-self.keep :]
        for step in steps:
            if step not in kept:
                shutil.rmtree(self.of_step(step), ignore_errors=True)


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Writes the manifest of a directory; everything in it is on the disk afterwards."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": _digest(path)}
            _sync(path)
    manifest = folder / _MANIFEST
    manifest.write_text(json.dumps({**facts, "files": files}, indent=1) + "\n", encoding="utf-8")
    _sync(manifest)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        _sync(path)


def verify(folder: Path) -> dict[str, Any]:
    """Checks that all files of a checkpoint are what was written.

    Returns:
        The manifest.

    Raises:
        DamagedCheckpointError: Names the file that is missing or differs.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"].items()
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedCheckpointError(f"Checkpoint {folder} has no readable {_MANIFEST}: {error}") from error
    for name, expected in files:
        path = folder / name
        if not path.is_file():
            raise DamagedCheckpointError(f"Checkpoint {folder} is damaged: {name} is missing.")
        if path.stat().st_size != expected["size"] or _digest(path) != expected["sha256"]:
            raise DamagedCheckpointError(f"Checkpoint {folder} is damaged: {name} is not what was written.")
    return manifest


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Brings a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
