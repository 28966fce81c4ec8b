# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sessions on disk, so that an interrupted run goes on with the numbers it would have had.

A session's memory is a handful of plain objects of this package around tensors. Tensors and arrays go to a file of
PyTorch that is read with `weights_only`; the objects around them are pickled, and read back by an unpickler that makes
nothing but what this package defines for inference and a few containers, so that a state file of doubtful origin
cannot run code.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .configuration_univs import UniVSConfig
from .image_processing_univs import UniVSImageProcessor
from .processing_univs import UniVSProcessor
from .video_writer import errors_named, temporary_sibling

_PACKAGE = __name__.rpartition(".")[0]
# Containers that the package's objects are made of, beside what pickle writes without naming a class.
_CONTAINERS = {
    ("builtins", "frozenset"),
    ("builtins", "range"),
    ("builtins", "set"),
    ("builtins", "slice"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("collections", "deque"),
    ("fractions", "Fraction"),
}


def save_session(path: Path, session: Any, **values: Any) -> None:
    """Writes a session, between two of its steps, to a temporary file that is renamed when complete.

    Args:
        path (`Path`): The file.
        session ([`UniVSInferenceSession`]): A live stream's session; without a generator of random numbers.
        **values: Plain values to keep with it.

    Raises:
        TypeError, pickle.PicklingError: If the session holds something that cannot be kept.
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump((session, values))
    partial = temporary_sibling(path)
    try:
        # torch reports a full disk as a RuntimeError; a file of our own says what it is.
        content = io.BytesIO()
        torch.save({"objects": buffer.getvalue(), "tensors": pickler.tensors}, content)
        with errors_named(path):
            with open(partial, "wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_session(path: Path, processor: UniVSProcessor) -> tuple[Any, dict[str, Any]]:
    """Reads what [`save_session`] wrote.

    Args:
        path (`Path`): The file.
        processor ([`UniVSProcessor`]): Takes the place of the session's own.

    Returns:
        The session and the values.

    Raises:
        ValueError: If the file is no such file.
    """
    try:
        content = torch.load(path, weights_only=True)
        return _Unpickler(content["objects"], content["tensors"], processor).load()
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not the state of a session: {error}") from error


class _Pickler(pickle.Pickler):
    """Leaves tensors to PyTorch, and what belongs to the model to the reader."""

    def __init__(self, buffer: io.BytesIO):
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors: list[torch.Tensor] = []
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> tuple[str, Any] | None:
        if isinstance(value, torch.Tensor):
            return "tensor", self._keep(value, value.detach())
        if isinstance(value, np.ndarray):
            return "array", self._keep(value, torch.from_numpy(np.ascontiguousarray(value)))
        if isinstance(value, np.generic):
            return "number", value.item()
        if isinstance(value, UniVSProcessor):
            return "processor", None
        if isinstance(value, UniVSImageProcessor):
            return "image_processor", value.to_dict()
        if isinstance(value, UniVSConfig):
            return "config", value.to_json_string(use_diff=False)
        if isinstance(value, torch.device):
            return "device", str(value)
        if isinstance(value, torch.dtype):
            return "dtype", str(value).removeprefix("torch.")
        return None

    def _keep(self, value: Any, tensor: torch.Tensor) -> int:
        if id(value) not in self._numbers:
            # The list holds what has been numbered, so that no other object can take its place in memory.
            self._numbers[id(value)] = len(self.tensors)
            self.tensors.append(tensor)
        return self._numbers[id(value)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, objects: bytes, tensors: list[torch.Tensor], processor: UniVSProcessor):
        super().__init__(io.BytesIO(objects))
        self._tensors = tensors
        self._processor = processor

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CONTAINERS:
            return super().find_class(module, name)
        if module.startswith(f"{_PACKAGE}.") and "." not in name:
            found = super().find_class(module, name)
            # A module's imports can be named through it, too, and functions elsewhere write files.
            is_ours = getattr(found, "__module__", None) == module
            if is_ours and (isinstance(found, type) or module.endswith("_univs")):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")

    def persistent_load(self, reference: tuple[str, Any]) -> Any:
        kind, value = reference
        if kind == "tensor":
            return self._tensors[value]
        if kind == "array":
            return self._tensors[value].numpy()
        if kind == "number":
            return value
        if kind == "processor":
            return self._processor
        if kind == "image_processor":
            return UniVSImageProcessor.from_dict(value)
        if kind == "config":
            return UniVSConfig.from_dict(json.loads(value))
        if kind == "device":
            return torch.device(value)
        if kind == "dtype":
            return getattr(torch, value)
        raise pickle.UnpicklingError(f"a reference of the kind {kind!r} has no place in it")
