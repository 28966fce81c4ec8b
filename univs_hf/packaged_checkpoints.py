# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that the package carries, by name: `from_pretrained("univs-tiny-shapes")` reads no network.

A directory of that name in the working directory goes first, as with every other name that transformers is given.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import transformers.pipelines

PACKAGED_CHECKPOINTS = ("univs-tiny-shapes",)
"""Names of the checkpoints."""

CHECKPOINTS_FOLDER = Path(__file__).parent / "checkpoints"
_MARK = "_takes_packaged_names"


def checkpoint_path(name: str) -> Path:
    """Directory of a checkpoint that the package carries.

    Args:
        name: One of `PACKAGED_CHECKPOINTS`.

    Raises:
        ValueError: If it is none of them.
        FileNotFoundError: If this installation lacks its files.
    """
    if name not in PACKAGED_CHECKPOINTS:
        raise ValueError(f"`name` must be one of {list(PACKAGED_CHECKPOINTS)}, got {name!r}.")
    folder = CHECKPOINTS_FOLDER / name
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"The files of the checkpoint {name!r} are not part of this installation ({folder} holds none). "
            "Install a release of univs-hf, or train it with `training/train_tiny_shapes.py` of the repository."
        )
    return folder


def resolve_checkpoint(name: Any) -> Any:
    """The directory of a packaged checkpoint as a string; anything else is given back as it is.

    Raises:
        FileNotFoundError: See [`checkpoint_path`].
    """
    if not isinstance(name, str) or name not in PACKAGED_CHECKPOINTS or os.path.isdir(name):
        return name
    return str(checkpoint_path(name))


class PackagedCheckpointMixin:
    """Lets `from_pretrained` of a class take the name of a packaged checkpoint. Comes first among the base classes."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; also takes the name of a checkpoint that the package carries."""
        return super().from_pretrained(resolve_checkpoint(pretrained_model_name_or_path), *args, **kwargs)


def accept_packaged_names(*auto_classes: type) -> None:
    """Lets `from_pretrained` of Auto classes and `pipeline` take the names of packaged checkpoints.

    They look for files before they know which class will load them, so there is no hook of our own classes that a
    name would pass first. Everything else goes through unchanged; doing it again changes nothing.
    """
    for auto_class in auto_classes:
        original = auto_class.from_pretrained.__func__
        if not hasattr(original, _MARK):
            auto_class.from_pretrained = classmethod(_resolve_first(original))
    # `pipeline` asks the hub about its model by itself, too.
    if not hasattr(transformers.pipelines.pipeline, _MARK):
        transformers.pipeline = transformers.pipelines.pipeline = _resolve_first(transformers.pipelines.pipeline)


def _resolve_first(function: Any) -> Any:
    @functools.wraps(function)
    def resolved(*args: Any, **kwargs: Any) -> Any:
        return function(*map(resolve_checkpoint, args), **{name: resolve_checkpoint(kwargs[name]) for name in kwargs})

    setattr(resolved, _MARK, True)
    return resolved


__all__ = [
    "PACKAGED_CHECKPOINTS",
    "PackagedCheckpointMixin",
    "accept_packaged_names",
    "checkpoint_path",
    "resolve_checkpoint",
]
