# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streaming video input.

Frames are `uint8` RGB arrays of shape (height, width, 3), one at a time: whatever the length of a video, no more than
a handful of decoded frames exist at once. Anything that FFmpeg reads is accepted, and so are folders of images, globs,
single images and any iterable of frames; [`open_video`] tells them apart. All but iterables without a length can be
read again, from any frame, and backwards.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .video_frames import FileFrames, FrameReader, NumberedFrame, SequenceFrames, StreamFrames

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Frames that come without a clock (folders, lists) are written at the rate of DAVIS, the usual home of frame folders.
DEFAULT_FPS = Fraction(24)


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a video before it is read.

    Attributes:
        name (`str`): Path or description of the source, for messages.
        height (`int`): Frame height in pixels, after rotation metadata.
        width (`int`): Frame width in pixels, after rotation metadata.
        fps (`Fraction`): Mean frames per second; a stride divides it.
        num_frames (`int`, *optional*): Number of frames when the source declares one. A file's own claim is not
            verified and may be off by a few frames; [`VideoSource.count_frames`] counts.
        is_image (`bool`): Whether the source is one image.
    """

    name: str
    height: int
    width: int
    fps: Fraction
    num_frames: int | None
    is_image: bool = False


class VideoSource:
    """The frames of a video, as returned by [`open_video`].

    Iterating yields `uint8` RGB arrays of shape (height, width, 3). Files, folders and sequences can be iterated again
    and in any direction ([`~VideoSource.frames`], `reversed`); a generator of frames gives one pass. The source is a
    context manager that releases the file.

    Frames are numbered from 0, after `start` and `stride`; [`~VideoSource.source_index`] tells the number in the file.

    Attributes:
        info ([`VideoInfo`]): Size, rate and name.
        path (`Path`, *optional*): The video file, where the frames come from one.
        start_time (`Fraction`, *optional*): Time of frame 0 in seconds since the file's first frame.
    """

    def __init__(self, reader: FrameReader, info: VideoInfo, start: int, stop: int | None, stride: int):
        self.info = info
        self.path: Path | None = getattr(reader, "path", None)
        self.start_time: Fraction | None = None
        self._reader = reader
        self._start, self._stop, self._stride = start, stop, stride
        self._first_pass: Iterator[NumberedFrame] | None = None

    @property
    def truncated(self) -> str | None:
        """What is wrong, once an iteration with `allow_truncated` has come upon a break; else `None`."""
        return self._reader.truncated

    def source_index(self, index: int) -> int:
        """Number in the file or folder of frame `index`."""
        return self._start + index * self._stride

    def index_of(self, source_index: int) -> int | None:
        """Inverse of [`~VideoSource.source_index`]; `None` if the frame is not among those of this source."""
        index, rest = divmod(source_index - self._start, self._stride)
        count = self.info.num_frames
        beyond = (self._stop is not None and source_index >= self._stop) or (count is not None and index >= count)
        return None if rest or index < 0 or beyond else index

    def frame_name(self, index: int) -> str:
        """Name of frame `index` for files: that of its image, else its number in the source with five digits."""
        number = self.source_index(index)
        return f"{number:05d}" if self._reader.names is None else self._reader.names[number]

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames()

    def __reversed__(self) -> Iterator[np.ndarray]:
        return self.frames(step=-1)

    def __len__(self) -> int:
        """The declared number of frames. Raises a `TypeError` if the source declares none, as a generator does."""
        if self.info.num_frames is None:
            raise TypeError(f"The number of frames of {self.info.name} is not known before it has been read.")
        return self.info.num_frames

    def __bool__(self) -> bool:
        return True

    def count_frames(self) -> int:
        """The exact number of frames. A file is decoded once for it; the count is kept.

        Raises:
            ValueError: If the source is a stream that can be read only once.
        """
        return len(range(*slice(self._start, self._stop, self._stride).indices(self._reader.count())))

    def frames(self, start: int | None = None, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Yields the frames `start`, `start + step`, ... before `stop`, like a slice without negative numbers.

        Args:
            start (`int`, *optional*): First frame; by default 0, or the last frame for a negative step.
            stop (`int`, *optional*): Where to end, exclusive; by default after the last frame, or after frame 0 for a
                negative step.
            step (`int`, *optional*, defaults to 1): Backwards where negative. A file is then decoded once to find its
                frames, and read in pieces of bounded size, each from the keyframe before it. The frames are the same
                ones, bit for bit, as forwards.

        Raises:
            ValueError: If a number is out of range, the source can be read only once and forwards, or a frame cannot
                be read or has another size than the first.
        """
        return (frame for frame, _ in self.timed_frames(start, stop, step))

    def reversed_frames(self, start: int | None = None) -> tuple[int, Iterator[np.ndarray]]:
        """Number of the frame to begin with (`start`, by default the last), and the frames from there back to 0.

        Raises:
            ValueError: As [`~VideoSource.frames`], and if there is no frame `start`.
        """
        count = self.count_frames()
        first = count - 1 if start is None else start
        if not 0 <= first < count:
            raise ValueError(f"`start` {first} is none of the {count} frames of {self.info.name}.")
        return first, self.frames(first, None, -1)

    def timed_frames(
        self, start: int | None = None, stop: int | None = None, step: int = 1
    ) -> Iterator[tuple[np.ndarray, Fraction | None]]:
        """As [`~VideoSource.frames`], each with its time in seconds since the file's first frame.

        The time is `None` where the source has no clock.
        """
        for name, value in (("start", start), ("stop", stop)):
            if value is not None and value < 0:
                raise ValueError(f"`{name}` must not be negative, got {value}.")
        if step == 0:
            raise ValueError("`step` must not be 0.")
        return self._checked(self._numbered(start, stop, step))

    def _numbered(self, start: int | None, stop: int | None, step: int) -> Iterator[NumberedFrame]:
        if step < 0:
            numbers = range(self.count_frames())[slice(start, stop, step)]
            ends = (self.source_index(numbers.start), self.source_index(numbers.stop))
            return self._reader.read_backwards(range(*ends, step * self._stride))
        if self._first_pass is not None and (start or 0, stop, step) == (0, None, 1):
            frames, self._first_pass = self._first_pass, None
            return frames
        limits = [self._stop, None if stop is None else self.source_index(stop)]
        limit = min((value for value in limits if value is not None), default=None)
        return self._reader.read(self.source_index(start or 0), limit, step * self._stride)

    def _checked(self, frames: Iterator[NumberedFrame]) -> Iterator[tuple[np.ndarray, Fraction | None]]:
        expected = (self.info.height, self.info.width, 3)
        for number, frame, time in frames:
            if frame.shape != expected:
                raise ValueError(
                    f"Frame {number} of {self.info.name} is {frame.shape[1]}x{frame.shape[0]} pixels, but the video "
                    f"began with {self.info.width}x{self.info.height}. All frames must have one size."
                )
            yield frame, time

    def check_complete(self) -> None:
        """Looks through the packets of a whole file, which takes little time, whether it breaks off.

        A damaged picture shows only when it is decoded. Files of which a part is read are not looked at.

        Raises:
            ValueError: If the file ends before the length that it declares.
        """
        if isinstance(self._reader, FileFrames) and self._stop is None:
            problem = self._reader.find_truncation()
            if problem:
                raise ValueError(problem)

    def close(self) -> None:
        """Releases the file behind the source. Safe to call twice."""
        if self._first_pass is not None:
            self._first_pass.close()
            self._first_pass = None

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_video(
    source: Any,
    fps: float | Fraction | None = None,
    max_frames: int | None = None,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    allow_truncated: bool = False,
) -> VideoSource:
    """Opens a video.

    Args:
        source (`str`, `os.PathLike`, `PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or iterable of frames):
            A video file, a folder of images or a glob of them (read in natural order of their names), an image file,
            one image, a stack of frames (4 dimensions), or any iterable of frames (see [`frame_to_rgb`] for what a
            frame may be).
        fps (`float` or `Fraction`, *optional*): Frames per second, replacing what the source says.
        max_frames (`int`, *optional*): Read at most this many frames.
        start, stop, stride (`int`, *optional*): Read the frames `start`, `start + stride`, ... before `stop` of the
            source; they are numbered from 0 then.
        allow_truncated (`bool`, *optional*, defaults to `False`): Whether a file that breaks off gives its frames
            before the break, and [`VideoSource.truncated`] tells, or is an error when the break is reached.

    Returns:
        [`VideoSource`]: The first frame has been decoded, so that a source without frames fails here.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the source cannot be read, has no video stream or no frame, or if an argument is out of range.
        TypeError: If `source` is none of the accepted kinds.
    """
    for argument, value, least in (
        ("max_frames", max_frames, 1),
        ("start", start, 0),
        ("stop", stop, start + 1),
        ("stride", stride, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"`{argument}` must be at least {least}, got {value}.")
    if fps is not None:
        if not fps > 0:
            raise ValueError(f"`fps` must be positive, got {fps}.")
        fps = Fraction(fps).limit_denominator(100_000)

    is_image = False
    own_fps: Fraction | None = None
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        is_image = Path(name).suffix.lower() in IMAGE_SUFFIXES and Path(name).is_file()
        reader = _open_path(name, allow_truncated)
        own_fps = getattr(reader, "rate", None)
    elif isinstance(source, Image.Image) or (_is_array(source) and source.ndim in (2, 3)):
        name, is_image = "the given image", True
        reader = SequenceFrames([source], frame_to_rgb)
    elif isinstance(source, Sequence) or _is_array(source):
        name, reader = "the given frames", SequenceFrames(source, frame_to_rgb)
    elif isinstance(source, Iterable):
        name, reader = "the given frames", StreamFrames(source, frame_to_rgb)
    else:
        raise TypeError(
            "`source` must be a path, an image, an array of frames or an iterable of frames, "
            f"got {type(source).__name__}."
        )
    if max_frames is not None:
        end = start + max_frames * stride
        stop = end if stop is None else min(stop, end)

    frames = reader.read(start, stop, stride)
    first = next(frames, None)
    if first is None:
        if start and next(iter(reader.read()), None) is not None:
            raise ValueError(f"{name} has no frame {start}, which `start` names.")
        raise ValueError(f"{name} contains no frames.")
    declared = _declared_frames(reader, source)
    num_frames = None if declared is None else len(range(*slice(start, stop, stride).indices(declared)))
    info = VideoInfo(
        name, first[1].shape[0], first[1].shape[1], fps or (own_fps or DEFAULT_FPS) / stride, num_frames, is_image
    )
    video = VideoSource(reader, info, start, stop, stride)
    video.start_time = first[2]
    video._first_pass = _with_first(first, frames)
    return video


def _declared_frames(reader: FrameReader, source: Any) -> int | None:
    if isinstance(reader, FileFrames):
        return reader.declared
    if isinstance(reader, SequenceFrames):
        return reader.count()
    return len(source) if hasattr(source, "__len__") else None


def _open_path(name: str, allow_truncated: bool) -> FrameReader:
    path = Path(name)
    if path.is_dir():
        # Hidden files are left out, as a glob leaves them out: some systems put one beside every image.
        shown = (file for file in path.iterdir() if not file.name.startswith("."))
        files = [file for file in shown if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
        if not files:
            raise ValueError(f"The folder {name} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    elif path.exists():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            return FileFrames(path, allow_truncated)
        files = [path]
    elif glob.has_magic(name):
        matches = [Path(match) for match in glob.glob(name, recursive=True)]
        files = [match for match in matches if match.suffix.lower() in IMAGE_SUFFIXES and match.is_file()]
        if not files:
            raise FileNotFoundError(f"No image fits {name}")
    else:
        raise FileNotFoundError(f"No such video, image or folder of frames: {name}")
    files.sort(key=_natural_key)
    return SequenceFrames(files, _read_image, [file.stem for file in files])


def _natural_key(path: Path) -> list[tuple[int, int | str]]:
    # "10.jpg" after "9.jpg": runs of digits compare as numbers.
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", str(path))]


def _with_first(first: NumberedFrame, rest: Iterator[NumberedFrame]) -> Iterator[NumberedFrame]:
    try:
        yield first
        yield from rest
    finally:
        rest.close()


def _is_array(value: Any) -> bool:
    # Duck typing keeps torch out of this module: reading a video needs no tensor library.
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "ndim"))


def _pil_to_rgb(image: Image.Image, name: str) -> np.ndarray:
    # PIL would clip what does not fit into 8 bits: most of such a picture turns white.
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(f"{name} has PIL mode {image.mode!r}; accepted are images of 8 bits per channel.")
    return np.asarray(image.convert("RGB"))


def _read_image(path: Path, index: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return _pil_to_rgb(ImageOps.exif_transpose(image), f"The image {path}")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"The image {path} cannot be read: {error}") from error


def frame_to_rgb(frame: Any, index: int = 0) -> np.ndarray:
    """Converts one frame to a `uint8` RGB array.

    Args:
        frame (`PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            An image; or an array (height, width), (height, width, C) or (C, height, width) with C in 1, 3, 4, either
            `uint8` or floating point in [0, 1]. Grey is repeated to three channels, an alpha channel is dropped.
        index (`int`, *optional*, defaults to 0): Number of the frame, for messages.

    Returns:
        `np.ndarray` of shape (height, width, 3), dtype `uint8`.

    Raises:
        TypeError: If `frame` is no image or array.
        ValueError: If its shape, dtype or values are not as above.
    """
    if isinstance(frame, Image.Image):
        return _pil_to_rgb(frame, f"Frame {index}")
    if not _is_array(frame):
        raise TypeError(f"Frame {index} must be a PIL image, numpy array or torch tensor, got {type(frame).__name__}.")
    array = frame if isinstance(frame, np.ndarray) else frame.detach().cpu().numpy()
    shape = array.shape
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim == 3 and shape[-1] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"Frame {index} has shape {shape}; accepted are (height, width), (height, width, C) and (C, height, width)"
            " with C in 1, 3, 4."
        )
    if np.issubdtype(array.dtype, np.floating):
        # The negated comparison also catches NaN.
        if not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"Frame {index} is {array.dtype} with values outside [0, 1].")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"Frame {index} has dtype {array.dtype}; accepted are uint8 and floating point in [0, 1].")
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return np.ascontiguousarray(array[..., :3])
