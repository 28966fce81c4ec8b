# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What `univs segment` is asked to follow: masks, boxes, points and expressions, from options and from a JSON file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .video_io import VideoSource

# Mask PNGs are sometimes a pixel off the frames they belong to (854 and 853 columns in DAVIS-like sets).
ASPECT_TOLERANCE = 0.01

_NUMBER = r"-?\d+(?:\.\d*)?"
_PROMPT = re.compile(rf"(?:(?P<frame>\d+)=)?(?:(?P<id>\d+):)?(?P<numbers>{_NUMBER}(?:,{_NUMBER})*)")
_KINDS = {"box": 4, "point": 2}


@dataclass
class Prompts:
    """Prompts of a run.

    Attributes:
        visual: Frame (as the video source numbers it) to kind (`"mask"`, `"box"`, `"point"`) to object id to value: a
            bool mask (height, width), or coordinates in pixels.
        expressions: Object id to text.
    """

    visual: dict[int, dict[str, dict[int, Any]]] = field(default_factory=dict)
    expressions: dict[int, str] = field(default_factory=dict)

    def ids(self) -> set[int]:
        """All object ids."""
        kinds = (objects for kinds in self.visual.values() for objects in kinds.values())
        return {object_id for objects in kinds for object_id in objects} | set(self.expressions)


@dataclass(frozen=True)
class _Entry:
    """One prompt as it was asked for; `origin` names it in messages, `frame` is the source's number."""

    origin: str
    kind: str
    value: Any
    frame: int | None = None
    object_id: int | None = None


def read_prompts(
    video: VideoSource,
    masks: Sequence[str] = (),
    boxes: Sequence[str] = (),
    points: Sequence[str] = (),
    texts: Sequence[str] = (),
    file: Path | None = None,
) -> Prompts:
    """Reads and checks prompts.

    Args:
        video (`VideoSource`): What they belong to. Frame numbers are those of its file or folder, and a prompt without
            one lies on the first frame that is read.
        masks (sequence of `str`): `[FRAME=]PNG`.
        boxes, points (sequences of `str`): `[FRAME=][ID:]X1,Y1,X2,Y2` and `[FRAME=][ID:]X,Y`. Without an id the
            object gets the smallest that is free.
        texts (sequence of `str`): Expressions.
        file (`Path`, *optional*): A JSON list of objects with `"mask"` (a path relative to the file), `"box"`,
            `"point"` or `"text"`, and optionally `"frame"` and `"id"`.

    Raises:
        ValueError: If a prompt cannot be understood, lies outside of the video, or is given twice.
        FileNotFoundError: If a file does not exist.
    """
    entries = [] if file is None else _read_file(file)
    for argument in masks:
        frame, path = parse_mask(argument)
        entries.append(_Entry(f"--mask {argument}", "mask", path, frame))
    for kind, arguments in (("box", boxes), ("point", points)):
        entries += [_parse_coordinates(kind, argument) for argument in arguments]
    entries += [_Entry(f"--text {text!r}", "text", text) for text in texts]
    return _resolve(entries, video)


def parse_mask(argument: str) -> tuple[int | None, Path]:
    """Frame, if there is one, and path of `[FRAME=]PNG`."""
    number, separator, rest = argument.partition("=")
    return (int(number), Path(rest)) if separator and number.isdigit() else (None, Path(argument))


def _parse_coordinates(kind: str, argument: str) -> _Entry:
    match = _PROMPT.fullmatch(argument.replace(" ", ""))
    form = "X1,Y1,X2,Y2" if kind == "box" else "X,Y"
    numbers = [] if match is None else [float(number) for number in match["numbers"].split(",")]
    if len(numbers) != _KINDS[kind]:
        raise ValueError(f"--{kind} must be [FRAME=][ID:]{form}, got '{argument}'")
    frame, object_id = (None if match[name] is None else int(match[name]) for name in ("frame", "id"))
    return _Entry(f"--{kind} {argument}", kind, numbers, frame, object_id)


def _read_file(path: Path) -> list[_Entry]:
    if not path.is_file():
        raise FileNotFoundError(f"No such prompt file: {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The prompt file {path} is not JSON: {error}") from error
    if not isinstance(content, list) or not content or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"The prompt file {path} must hold a list of objects such as {{'frame': 0, 'box': [...]}}.")
    return [_file_entry(entry, index, path) for index, entry in enumerate(content)]


def _file_entry(entry: Mapping[str, Any], index: int, path: Path) -> _Entry:
    origin = f"Entry {index} of {path}"
    kinds = [kind for kind in ("mask", "box", "point", "text") if kind in entry]
    unknown = sorted(set(entry) - {"mask", "box", "point", "text", "frame", "id"})
    if len(kinds) != 1 or unknown:
        raise ValueError(
            f"{origin} must hold one of 'mask', 'box', 'point' and 'text', and may hold 'frame' and 'id'; it holds "
            f"{sorted(entry)}."
        )
    kind = kinds[0]
    value = entry[kind]
    numbers = {name: entry[name] for name in ("frame", "id") if name in entry}
    for name, number in numbers.items():
        if type(number) is not int or number < 0:
            raise ValueError(f"{origin}: '{name}' must be a whole number from 0, got {number!r}.")
    if kind == "text" and "frame" in numbers:
        raise ValueError(f"{origin}: a text belongs to the whole video and takes no 'frame'.")
    if kind in _KINDS:
        is_list = isinstance(value, list) and len(value) == _KINDS[kind]
        if not is_list or not all(type(number) in (int, float) for number in value):
            raise ValueError(f"{origin}: '{kind}' must be a list of {_KINDS[kind]} numbers, got {value!r}.")
        value = [float(number) for number in value]
    elif not isinstance(value, str):
        raise ValueError(f"{origin}: '{kind}' must be a string, got {value!r}.")
    elif kind == "mask":
        value = path.parent / value
    return _Entry(origin, kind, value, numbers.get("frame"), numbers.get("id"))


def _resolve(entries: Iterable[_Entry], video: VideoSource) -> Prompts:
    info = video.info
    prompts = Prompts()
    unnamed: list[_Entry] = []
    for entry in entries:
        if entry.object_id == 0:
            raise ValueError(f"{entry.origin}: ids count from 1, 0 is the background.")
        if entry.kind == "mask":
            label_map = read_label_map(entry.value, (info.height, info.width))
            if entry.object_id is None:
                objects = {int(number): label_map == number for number in np.unique(label_map) if number}
            else:
                objects = {entry.object_id: label_map > 0}
            for object_id, mask in objects.items():
                _add(prompts, entry, video, object_id, mask)
        elif entry.object_id is None:
            unnamed.append(entry)
        else:
            _add(prompts, entry, video, entry.object_id, entry.value)
    taken = prompts.ids()
    for entry in unnamed:
        object_id = next(number for number in range(1, len(taken) + 2) if number not in taken)
        taken.add(object_id)
        _add(prompts, entry, video, object_id, entry.value)
    return prompts


def _add(prompts: Prompts, entry: _Entry, video: VideoSource, object_id: int, value: Any) -> None:
    info = video.info
    if entry.kind == "text":
        if object_id in prompts.expressions:
            raise ValueError(f"{entry.origin}: the id {object_id} has an expression already.")
        prompts.expressions[object_id] = value
        return
    frame = 0 if entry.frame is None else video.index_of(entry.frame)
    if frame is None:
        first = video.source_index(0)
        last = "" if info.num_frames is None else f" to {video.source_index(info.num_frames - 1)}"
        step = video.source_index(1) - first
        raise ValueError(
            f"{entry.origin}: frame {entry.frame} is not read; read are frames {first}{last}"
            + (f" in steps of {step}" if step > 1 else "")
        )
    if entry.kind == "box":
        x1, y1, x2, y2 = value
        if not (x1 < x2 and y1 < y2 and x1 < info.width and y1 < info.height and x2 > 0 and y2 > 0):
            raise ValueError(
                f"{entry.origin}: a box is x1,y1,x2,y2 with x1 < x2 and y1 < y2, and overlaps the frame of "
                f"{info.width}x{info.height} pixels"
            )
    if entry.kind == "point" and not (0 <= value[0] <= info.width and 0 <= value[1] <= info.height):
        raise ValueError(f"{entry.origin}: a point lies in the frame of {info.width}x{info.height} pixels")
    kinds = prompts.visual.setdefault(frame, {})
    if any(object_id in objects for objects in kinds.values()):
        number = video.source_index(frame)
        raise ValueError(f"{entry.origin}: object {object_id} has a prompt on frame {number} twice")
    kinds.setdefault(entry.kind, {})[object_id] = value


def read_label_map(path: Path, frame_size: tuple[int, int]) -> np.ndarray:
    """Reads an image whose pixel values are object ids.

    Args:
        path (`Path`): Palette or grey image. In a grey image with the values 0 and 255 only, 255 means object 1.
        frame_size (`tuple[int, int]`): (height, width) of the frames. A map of the same shape but another size is
            resized by nearest neighbour.

    Returns:
        `np.ndarray` of shape (height, width), dtype int32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image, has colours in place of ids, or is of another shape than the frames.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such mask image: {path}")
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "P", "L", "I", "I;16"):
                raise ValueError(
                    f"The mask {path} is a {image.mode} image; accepted are palette and grey images whose values are "
                    "object ids."
                )
            image.load()
            height, width = frame_size
            if image.size != (width, height):
                if abs(image.width * height / (image.height * width) - 1) > ASPECT_TOLERANCE:
                    raise ValueError(
                        f"The mask {path} is {image.width}x{image.height}, which does not fit frames of "
                        f"{width}x{height}."
                    )
                print(
                    f"univs: note: the mask {path} is resized from {image.width}x{image.height} to {width}x{height}",
                    file=sys.stderr,
                )
                image = image.resize((width, height), Image.Resampling.NEAREST)
            label_map = np.asarray(image).astype(np.int32)
            is_grey = image.mode == "L"
    except (UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f"The mask {path} is no image that can be read: {error}") from error
    if is_grey and set(np.unique(label_map).tolist()) <= {0, 255}:
        label_map = (label_map > 0).astype(np.int32)
    if not label_map.any():
        raise ValueError(f"The mask {path} holds no object: all its pixels are 0.")
    return label_map
