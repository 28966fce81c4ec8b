# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streaming video input and output.

Frames are `uint8` RGB arrays of shape (height, width, 3), one at a time: whatever the length of a video, no more than
a handful of decoded frames exist at once. Anything that FFmpeg reads is accepted, and so are folders of images, single
images and any iterable of frames; [`open_video`] tells them apart.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
VIDEO_OUTPUT_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
# Frames that come without a clock (folders, lists) are written at the rate of DAVIS, the usual home of frame folders.
DEFAULT_FPS = Fraction(24)


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a video before it is read.

    Attributes:
        name (`str`): Path or description of the source, for messages.
        height (`int`): Frame height in pixels, after rotation metadata.
        width (`int`): Frame width in pixels, after rotation metadata.
        fps (`Fraction`): Mean frames per second.
        num_frames (`int`, *optional*): Number of frames when the source declares one. A file's own claim is not
            verified and may be off by a few frames.
        is_image (`bool`): Whether the source is one image.
    """

    name: str
    height: int
    width: int
    fps: Fraction
    num_frames: int | None
    is_image: bool = False


class VideoSource:
    """One pass over the frames of a video, as returned by [`open_video`].

    Iterating yields `uint8` RGB arrays of shape (height, width, 3). The source can be iterated once; it is a context
    manager that releases the file.

    Attributes:
        info ([`VideoInfo`]): Size, rate and name.
    """

    def __init__(self, frames: Iterator[np.ndarray], info: VideoInfo, max_frames: int | None = None):
        self.info = info
        self._frames = frames
        self._max_frames = max_frames

    def __iter__(self) -> Iterator[np.ndarray]:
        expected = (self.info.height, self.info.width, 3)
        if self._max_frames == 0:
            return
        for index, frame in enumerate(self._frames, start=1):
            if frame.shape != expected:
                raise ValueError(
                    f"Frame {index - 1} of {self.info.name} is {frame.shape[1]}x{frame.shape[0]} pixels, but the "
                    f"video began with {self.info.width}x{self.info.height}. All frames must have one size."
                )
            yield frame
            # Stop before asking for another frame: a live source would block on it.
            if index == self._max_frames:
                return

    def close(self) -> None:
        """Releases the file behind the source. Safe to call twice."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_video(source: Any, fps: float | Fraction | None = None, max_frames: int | None = None) -> VideoSource:
    """Opens a video for one streaming pass.

    Args:
        source (`str`, `os.PathLike`, `PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or iterable of frames):
            A video file, a folder of images (read in natural order of their names), an image file, one image, a stack
            of frames (4 dimensions), or any iterable of frames (see [`frame_to_rgb`] for what a frame may be).
        fps (`float` or `Fraction`, *optional*): Frames per second, replacing what the source says.
        max_frames (`int`, *optional*): Read at most this many frames.

    Returns:
        [`VideoSource`]: The first frame has been decoded, so that a source without frames fails here.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the source cannot be read, has no video stream or no frame, or if an argument is out of range.
        TypeError: If `source` is none of the accepted kinds.
    """
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"`max_frames` must be at least 1, got {max_frames}.")
    if fps is not None:
        if not fps > 0:
            raise ValueError(f"`fps` must be positive, got {fps}.")
        fps = Fraction(fps).limit_denominator(100_000)

    is_image = False
    num_frames: int | None = None
    own_fps = DEFAULT_FPS
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name = str(path)
        if not path.exists():
            raise FileNotFoundError(f"No such video, image or folder of frames: {name}")
        if path.is_dir():
            files = _image_files(path)
            num_frames = len(files)
            frames = (_read_image(file) for file in files)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            is_image, num_frames = True, 1
            frames = iter([_read_image(path)])
        else:
            frames, own_fps, num_frames = _decode_file(path)
    elif isinstance(source, Image.Image) or (_is_array(source) and source.ndim in (2, 3)):
        name, is_image, num_frames = "the given image", True, 1
        frames = iter([frame_to_rgb(source)])
    elif isinstance(source, Iterable):
        name = "the given frames"
        num_frames = len(source) if hasattr(source, "__len__") else None
        frames = (frame_to_rgb(frame, index) for index, frame in enumerate(source))
    else:
        raise TypeError(
            "`source` must be a path, an image, an array of frames or an iterable of frames, "
            f"got {type(source).__name__}."
        )

    first = next(frames, None)
    if first is None:
        raise ValueError(f"{name} contains no frames.")
    if num_frames is not None and max_frames is not None:
        num_frames = min(num_frames, max_frames)
    info = VideoInfo(name, first.shape[0], first.shape[1], fps or own_fps, num_frames, is_image)
    return VideoSource(_with_first(first, frames), info, max_frames)


def _with_first(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    try:
        yield first
        yield from rest
    finally:
        close = getattr(rest, "close", None)
        if close is not None:
            close()


def _is_array(value: Any) -> bool:
    # Duck typing keeps torch out of this module: reading a video needs no tensor library.
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "ndim"))


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
        return np.asarray(frame.convert("RGB"))
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


def _image_files(folder: Path) -> list[Path]:
    def natural_key(path: Path) -> list[tuple[int, int | str]]:
        # "10.jpg" after "9.jpg": runs of digits compare as numbers.
        return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name)]

    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not files:
        raise ValueError(f"The folder {folder} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    return sorted(files, key=natural_key)


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"The image {path} cannot be read: {error}") from error


def _decode_file(path: Path) -> tuple[Iterator[np.ndarray], Fraction, int | None]:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(f"{path} is not a video that can be read: {error}") from error
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path} has no video stream.")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS

    def frames() -> Iterator[np.ndarray]:
        count = 0
        with container:
            try:
                for frame in container.decode(stream):
                    image = frame.to_ndarray(format="rgb24")
                    # The display matrix turns counter-clockwise; phones store upright video with it.
                    if frame.rotation:
                        image = np.ascontiguousarray(np.rot90(image, k=round(frame.rotation / 90)))
                    yield image
                    count += 1
            except av.FFmpegError as error:
                raise ValueError(f"{path} is damaged: decoding stopped after frame {count}: {error}") from error

    return frames(), Fraction(rate), stream.frames or None


class VideoWriter:
    """Streaming video encoder that writes to a temporary file and renames it when complete.

    As a context manager: on a normal exit the file is finished and appears under its name; on an exception nothing is
    left behind. Video is H.264 in 4:2:0 where the installed FFmpeg has it (VP9 for `.webm`), and MPEG-4 part 2
    otherwise. 4:2:0 needs even sides, so an odd width or height gains one column or row that repeats the border. A
    path with an image suffix takes exactly one frame.

    Args:
        path (`str` or `os.PathLike`): Where the file is to appear.
        fps (`float` or `Fraction`): Frames per second.
        overwrite (`bool`, *optional*, defaults to `True`): Whether an existing file may be replaced.

    Raises:
        FileExistsError: If the file exists and `overwrite` is `False`.
        FileNotFoundError: If the folder of `path` does not exist.
        ValueError: If the suffix is not one of `VIDEO_OUTPUT_SUFFIXES` or `IMAGE_SUFFIXES`, or `fps` is not positive.
    """

    def __init__(self, path: str | os.PathLike, fps: float | Fraction = DEFAULT_FPS, overwrite: bool = True):
        self.path = Path(path)
        check_output_path(self.path, VIDEO_OUTPUT_SUFFIXES + IMAGE_SUFFIXES, overwrite)
        if not fps > 0:
            raise ValueError(f"`fps` must be positive, got {fps}.")
        # MPEG-4 part 2 stores the clock in 16 bits, which bounds the denominator of the frame duration.
        self.fps = Fraction(fps).limit_denominator(1001) if Fraction(fps).numerator > 65535 else Fraction(fps)
        self.num_frames = 0
        self._is_image = self.path.suffix.lower() in IMAGE_SUFFIXES
        self._container: av.container.OutputContainer | None = None
        self._stream: Any = None
        self._size: tuple[int, int] | None = None
        self._partial: Path | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, exc_type: type | None, *exc_info: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame, `uint8` RGB (height, width, 3), of the same size as those before."""
        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"A frame to write must be uint8 (height, width, 3), got {frame.dtype} {frame.shape}.")
        if self._size is None:
            self._size = frame.shape[:2]
            self._open()
        if frame.shape[:2] != self._size:
            raise ValueError(f"Frame {self.num_frames} has size {frame.shape[:2]}, those before it {self._size}.")
        if self._is_image:
            if self.num_frames:
                raise ValueError(f"{self.path} is an image and takes one frame; use a video suffix for more.")
            Image.fromarray(frame).save(self._partial)
        else:
            height, width = self._size
            if height % 2 or width % 2:
                frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = self.num_frames
            picture.time_base = 1 / self.fps
            self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def _open(self) -> None:
        suffix = self.path.suffix.lower()
        self._partial = temporary_sibling(self.path)
        if self._is_image:
            return
        codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
        if codec == "libx264" and codec not in av.codecs_available:
            codec = "mpeg4"
        height, width = self._size
        self._container = av.open(str(self._partial), mode="w")
        stream = self._container.add_stream(codec, rate=self.fps)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / self.fps
        if codec == "libx264":
            stream.options = {"crf": "18", "preset": "veryfast"}
        elif codec == "libvpx-vp9":
            stream.options = {"crf": "28", "b:v": "0", "deadline": "realtime", "cpu-used": "6"}
        else:
            stream.options = {"qscale": "3"}
        self._stream = stream

    def close(self) -> None:
        """Finishes the file and moves it to its name.

        Raises:
            ValueError: If no frame was written.
        """
        if self._partial is None:
            raise ValueError(f"No frame was written to {self.path}.")
        try:
            if self._container is not None:
                self._container.mux(self._stream.encode(None))
                self._container.close()
                self._container = None
            os.replace(self._partial, self.path)
            self._partial = None
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops what was written. Does nothing after [`~VideoWriter.close`]."""
        try:
            if self._container is not None:
                self._container.close()
        finally:
            self._container = None
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)
                self._partial = None


def check_output_path(path: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Raises before any work if `path` cannot become an output file with one of `suffixes`."""
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path} has the suffix '{path.suffix}'; accepted are {', '.join(suffixes)}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} of the output {path.name} does not exist.")
    if path.is_dir():
        raise IsADirectoryError(f"The output {path} is a folder.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already.")


def temporary_sibling(path: Path) -> Path:
    """A new empty file beside `path` with the same suffix, to be renamed to `path` when its content is complete."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    # mkstemp's 0600 would survive the rename; give the file the mode that an ordinary open() gives.
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    return Path(name)
