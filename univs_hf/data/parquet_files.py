# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Parquet files of a directory on this machine or elsewhere, such as `hf://datasets/OWNER/NAME`."""

from __future__ import annotations

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs


def is_remote(path: str) -> bool:
    """Whether a path names its protocol, such as `hf://` or `s3://`, and so is not of this machine's file system."""
    return "://" in path


def train_files(path: str) -> list[str]:
    """Files of the split `train`, or all if no name tells the split.

    Args:
        path: Directory, with `data` below it or not. `hf://datasets/OWNER/NAME`, `hf://datasets/OWNER/NAME@REVISION`
            or whatever else `fsspec` knows, too.

    Returns:
        Paths in alphabetical order, with their protocol if `path` has one. Nothing if there is no such directory.

    Raises:
        OSError: If a remote directory cannot be listed, for reasons other than that it is not there.
    """
    system, root = url_to_fs(path)
    root = root.rstrip("/")
    names = sorted(name for folder in (root, f"{root}/data") for name in _files_in(system, folder))
    train = [name for name in names if name.rsplit("/", 1)[-1].startswith("train")]
    return [system.unstrip_protocol(name) if is_remote(path) else name for name in train or names]


def _files_in(system: AbstractFileSystem, folder: str) -> list[str]:
    # Not by a pattern, in which letters of the folder could have a meaning.
    try:
        return [name for name in system.ls(folder, detail=False) if name.endswith(".parquet")]
    except (FileNotFoundError, NotADirectoryError):
        return []
