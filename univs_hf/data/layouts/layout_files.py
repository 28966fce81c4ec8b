# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Finding and reading the files of a dataset; every error names the path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")


def find_path(root: Path, what: str, candidates: Sequence[str]) -> Path:
    """The first of several places in a dataset's folder that exists.

    Args:
        root (`Path`): Folder of the dataset.
        what (`str`): What is looked for, in words.
        candidates (sequence of `str`): Paths below `root`, the official one first.

    Raises:
        FileNotFoundError: If `root` or all of the candidates do not exist.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"The folder {root} does not exist.")
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise FileNotFoundError(f"{root} holds no {what}: none of {', '.join(candidates)} exists there.")


def check_exists(path: Path, what: str) -> Path:
    """`path`, if it exists.

    Raises:
        FileNotFoundError: If it does not.
    """
    if not path.exists():
        raise FileNotFoundError(f"The {what} {path} does not exist.")
    return path


def read_json(path: Path, kind: type = dict) -> Any:
    """Content of a JSON file, whose outermost value has to be of type `kind`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, or JSON of another kind.
    """
    check_exists(path, "file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} must hold a JSON {kind.__name__}, got a {type(content).__name__}.")
    return content


def field(record: Any, name: str, where: str, kind: type | tuple[type, ...] | None = None) -> Any:
    """A field of a JSON object.

    Args:
        record: The object.
        name (`str`): The field.
        where (`str`): What the object is and in which file, for the message.
        kind (type or types, *optional*): What the value has to be.

    Raises:
        ValueError: If the object has no such field, or one of another type.
    """
    if not isinstance(record, dict) or name not in record:
        raise ValueError(f"{where} has no field {name!r}.")
    value = record[name]
    if kind is not None and not isinstance(value, kind):
        raise ValueError(f"{where} has {type(value).__name__} {value!r:.60} in its field {name!r}.")
    return value


def read_names(path: Path) -> list[str]:
    """Lines of a list of videos, without blank ones. Unlike in the official scripts, the last line needs no newline.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a name is there twice.
    """
    lines = check_exists(path, "list").read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{path} names {twice[:5]} more than once.")
    return names


def frame_files(folder: Path) -> list[Path]:
    """Images of a folder, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
    """
    check_exists(folder, "folder of frames")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in FRAME_SUFFIXES and file.name[0] != ".")
    if not files:
        raise FileNotFoundError(f"The folder {folder} holds no frame ({', '.join(FRAME_SUFFIXES)}).")
    return files


def read_labels(path: Path) -> np.ndarray:
    """A PNG with one integer per pixel.

    Returns:
        `np.ndarray` of shape (height, width): `uint8` from palette and grey images, `int32` from deeper ones.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image, or one with colours.
    """
    check_exists(path, "label map")
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
                raise ValueError(f"{path} must have one integer per pixel, got an image of mode {image.mode!r}.")
            values = np.asarray(image)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error
    return values.astype(np.uint8 if values.dtype.itemsize == 1 else np.int32)


def read_rgb_ids(path: Path) -> np.ndarray:
    """A panoptic PNG, where the id of a pixel is R + 256 G + 65536 B.

    Returns:
        `np.ndarray` of shape (height, width), dtype `uint32`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image of three colours.
    """
    check_exists(path, "panoptic map")
    try:
        with Image.open(path) as image:
            if image.mode != "RGB":
                raise ValueError(f"{path} must be an RGB image, got mode {image.mode!r}.")
            colours = np.asarray(image)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error
    ids = colours[..., 2].astype(np.uint32)
    for channel in (1, 0):
        ids <<= 8
        ids |= colours[..., channel]
    return ids


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Inverse of [`read_rgb_ids`]: colours `uint8` (height, width, 3) of ids from 0 to 2**24 - 1.

    Raises:
        ValueError: If an id does not fit.
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f"Panoptic ids must lie in 0..{(1 << 24) - 1}, got {ids.min()}..{ids.max()}.")
    return np.stack([(ids >> shift) & 0xFF for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
