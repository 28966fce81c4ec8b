# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streaming video output: files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from .video_io import DEFAULT_FPS, IMAGE_SUFFIXES

VIDEO_OUTPUT_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


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
