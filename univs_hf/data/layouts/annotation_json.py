# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Finding annotation files below a dataset's folder, and reading their records with errors that name the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .frame_folders import read_json


def find_path(root: Path, meaning: str, candidates: Sequence[str]) -> Path:
    """The first of several places in a dataset's folder that exists.

    Args:
        root (`Path`): Folder of the dataset.
        meaning (`str`): What is looked for, in words.
        candidates (sequence of `str`): Paths below `root`, the official one first.

    Raises:
        FileNotFoundError: If `root` or all of the candidates do not exist.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}; expected one with {meaning}.")
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise FileNotFoundError(f"The folder {root} holds no {meaning}: none of {', '.join(candidates)} exists there.")


def read_records(path: Path, meaning: str, kind: type = dict) -> Any:
    """Content of a JSON file whose outermost value has to be of type `kind`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, or JSON of another kind.
    """
    content = read_json(path, meaning)
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}; expected {meaning}, a {kind.__name__}.")
    return content


def field(record: Any, name: str, where: str, kind: type) -> Any:
    """A field of a JSON object.

    Args:
        record: The object.
        name (`str`): The field.
        where (`str`): What the object is and in which file, for the message.
        kind (`type`): What the value has to be.

    Raises:
        ValueError: If it is no object, has no such field, or one of another type.
    """
    if not isinstance(record, dict) or name not in record:
        raise ValueError(f"{where} has no field {name!r}.")
    value = record[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where} must have a {kind.__name__} in its field {name!r}, got {value!r:.60}.")
    return value
