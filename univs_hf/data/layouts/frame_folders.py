# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Folders of frames, as most benchmarks have them: `<kind>/<video>/<frame>.jpg` beside `<kind>/<video>/<frame>.png`.

Frames are known by their names, which are the names of the files without the suffix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .png_decoding import decode_png

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
# Pixels of palette PNGs that are nobody's.
VOID = 255


def require_folder(path: Path, meaning: str) -> Path:
    """Returns `path` if it is a folder.

    Args:
        path (`Path`): Where it should be.
        meaning (`str`): What it should hold, for the message.

    Raises:
        FileNotFoundError: If it is none; the message names the path, what was expected, and what lies beside it.
    """
    if path.is_dir():
        return path
    raise FileNotFoundError(f"There is no folder {path}; expected {meaning}.{_what_is_there(path)}")


def require_file(path: Path, meaning: str) -> Path:
    """Returns `path` if it is a file. Arguments and errors are those of [`require_folder`]."""
    if path.is_file():
        return path
    raise FileNotFoundError(f"There is no file {path}; expected {meaning}.{_what_is_there(path)}")


def _what_is_there(path: Path) -> str:
    parent = next((folder for folder in path.parents if folder.is_dir()), None)
    if parent is None:
        return ""
    names = sorted(entry.name for entry in parent.iterdir())
    return f" {parent} holds {', '.join(names[:8]) + (', ...' if len(names) > 8 else '') if names else 'nothing'}."


def subfolders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted; those that begin with a dot are left out."""
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def list_frames(folder: Path, suffixes: Iterable[str] = FRAME_SUFFIXES) -> dict[str, Path]:
    """Names and paths of the images in a folder, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        ValueError: If two images have one name.
    """
    accepted = tuple(suffixes)
    require_folder(folder, f"images ({', '.join(accepted)})")
    frames: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in accepted and not path.name.startswith("."):
            if path.stem in frames:
                raise ValueError(f"{folder} holds two images of the name {path.stem}.")
            frames[path.stem] = path
    if not frames:
        raise FileNotFoundError(f"The folder {folder} holds no image ({', '.join(accepted)}).")
    return frames


def read_lines(path: Path, meaning: str) -> list[str]:
    """Lines of a text file that are not empty, without spaces at their ends.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    lines = (line.strip() for line in require_file(path, meaning).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def read_json(path: Path, meaning: str) -> Any:
    """Content of a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON.
    """
    try:
        return json.loads(require_file(path, meaning).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}; expected {meaning}.") from error


def read_label_map(path: Path) -> np.ndarray:
    """Reads a PNG whose pixel values are ids: a palette image (by index, not by colour) or a grey one.

    Returns:
        `np.ndarray` of shape (height, width), dtype `uint8` (`int32` for 16-bit images).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image of that kind.
    """
    try:
        content = path.read_bytes()
        array = decode_png(content)
        if array is not None and array.ndim == 2:
            return array
        with Image.open(BytesIO(content)) as image:
            if image.mode not in ("P", "L", "1", "I;16", "I"):
                raise ValueError(
                    f"{path} is an image of mode {image.mode}; expected a palette or grey image whose pixel values "
                    "are ids."
                )
            array = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(f"There is no file {path}; expected a PNG of ids.") from None
        raise ValueError(f"The image {path} cannot be read: {error}") from error
    return array.astype(np.uint8 if array.dtype.itemsize == 1 else np.int32)


def read_rgb(path: Path) -> np.ndarray:
    """Reads a frame; `uint8` (height, width, 3), without turning it by its metadata, which annotations ignore too.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"The image {path} cannot be read: {error}") from error


def object_masks(label_map: np.ndarray) -> dict[int, np.ndarray]:
    """Bool mask (H, W) of every id of a label map, without background (0) and void (255)."""
    ids = [object_id for object_id in np.unique(label_map).tolist() if object_id not in (0, VOID)]
    return {object_id: label_map == object_id for object_id in ids}


def first_masks(
    frames: list[str], annotations: dict[str, Path], wanted: Iterable[int] | None = None
) -> dict[int, dict[int, np.ndarray]]:
    """The mask of each object on the first frame that shows it.

    Args:
        frames (`list[str]`): Names of all frames of the video, in order.
        annotations (`dict[str, Path]`): Label maps by name of the frame; frames may lack one.
        wanted (iterable of `int`, *optional*): Ids to look for; the search ends when all are found. By default all
            ids of all maps.

    Returns:
        `dict[int, dict[int, np.ndarray]]`: Frame number to object id to bool mask (H, W).
    """
    missing = None if wanted is None else set(wanted)
    seen: set[int] = set()
    found: dict[int, dict[int, np.ndarray]] = {}
    for index, name in enumerate(frames):
        if name not in annotations:
            continue
        label_map = read_label_map(annotations[name])
        for object_id, mask in object_masks(label_map).items():
            if object_id not in seen and (wanted is None or object_id in missing):
                seen.add(object_id)
                found.setdefault(index, {})[object_id] = mask
        if missing is not None and missing <= seen:
            break
    return found
