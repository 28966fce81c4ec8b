# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streaming video output: files that appear under their name only when they are complete, with the sound of others."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from .video_io import DEFAULT_FPS, IMAGE_SUFFIXES

VIDEO_OUTPUT_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")

# The clock of a video ticks at least this often per second, so that variable rates keep their times.
_TICKS_PER_SECOND = 10_000
# Times that differ by less from an even rate are that rate, rounded by the container (Matroska counts milliseconds).
_CLOCK_ROUNDING = Fraction(2, 1000)
# Seconds in a packet of sound, where the container does not tell.
_USUAL_PACKET = Fraction(1024, 44_100)


@dataclass(frozen=True)
class SoundSource:
    """Where the sound of a video comes from; its packets are copied, not encoded again.

    Attributes:
        path: A video file. One without sound gives none.
        start: Seconds after the file's first picture at which the video begins.
        to_end: Whether the sound goes on to its end, or stops with the last picture.
    """

    path: Path
    start: Fraction = Fraction(0)
    to_end: bool = True


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
        sound ([`SoundSource`], *optional*): Whose sound to copy.

    Attributes:
        num_frames (`int`): Frames written so far.
        notes (`list[str]`): What could not be kept, such as sound in a format that the container does not take.

    Raises:
        FileExistsError: If the file exists and `overwrite` is `False`.
        FileNotFoundError: If the folder of `path` does not exist.
        ValueError: If the suffix is not one of `VIDEO_OUTPUT_SUFFIXES` or `IMAGE_SUFFIXES`, or `fps` is not positive.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        fps: float | Fraction = DEFAULT_FPS,
        overwrite: bool = True,
        sound: SoundSource | None = None,
    ):
        self.path = Path(path)
        check_output_path(self.path, VIDEO_OUTPUT_SUFFIXES + IMAGE_SUFFIXES, overwrite)
        if not fps > 0:
            raise ValueError(f"`fps` must be positive, got {fps}.")
        # MPEG-4 part 2 stores the clock in 16 bits, which bounds the denominator of the frame duration.
        self.fps = Fraction(fps).limit_denominator(1001) if Fraction(fps).numerator > 65535 else Fraction(fps)
        self.num_frames = 0
        self.notes: list[str] = []
        self._sound = sound
        self._is_image = self.path.suffix.lower() in IMAGE_SUFFIXES
        # AVI has no times, only a rate.
        self._has_times = self.path.suffix.lower() != ".avi"
        ticks = max(1, _TICKS_PER_SECOND // self.fps.numerator) if self._has_times else 1
        self._clock = 1 / (ticks * Fraction(self.fps.numerator)) if self._has_times else 1 / self.fps
        self._next_tick = 0
        self._container: av.container.OutputContainer | None = None
        self._stream: Any = None
        self._sound_copy: _SoundCopy | None = None
        self._size: tuple[int, int] | None = None
        self._partial: Path | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, exc_type: type | None, *exc_info: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def write(self, frame: np.ndarray, time: Fraction | None = None) -> None:
        """Adds one frame.

        Args:
            frame: `uint8` RGB (height, width, 3), of the same size as those before.
            time: Seconds since the first frame, for a video of variable rate; by default the rate decides.

        Raises:
            ValueError: If the frame is of another kind or size.
            OSError: If the disk is full, or cannot be written.
        """
        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"A frame to write must be uint8 (height, width, 3), got {frame.dtype} {frame.shape}.")
        if self._size is not None and frame.shape[:2] != self._size:
            raise ValueError(f"Frame {self.num_frames} has size {frame.shape[:2]}, those before it {self._size}.")
        if self._is_image and self.num_frames:
            raise ValueError(f"{self.path} is an image and takes one frame; use a video suffix for more.")
        with errors_named(self.path):
            if self._size is None:
                self._size = frame.shape[:2]
                self._open()
            if self._is_image:
                Image.fromarray(frame).save(self._partial)
            else:
                self._encode(frame, time)
        self.num_frames += 1

    def _encode(self, frame: np.ndarray, time: Fraction | None) -> None:
        height, width = self._size
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        even = self.num_frames / self.fps
        if time is None or not self._has_times or abs(time - even) < _CLOCK_ROUNDING:
            time = even
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.time_base = self._clock
        picture.pts = max(self._next_tick, round(time / self._clock))
        picture.duration = round(1 / self.fps / self._clock)
        self._next_tick = picture.pts + 1
        self._container.mux(self._stream.encode(picture))
        if self._sound_copy is not None:
            self._sound_copy.copy_until(time)

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
        stream.codec_context.time_base = self._clock
        if codec == "libx264":
            stream.options = {"crf": "18", "preset": "veryfast"}
            if not self._has_times:
                # Without times no player can tell pictures that are stored in another order than they are shown in.
                stream.options = {**stream.options, "bf": "0"}
        elif codec == "libvpx-vp9":
            stream.options = {"crf": "28", "b:v": "0", "deadline": "realtime", "cpu-used": "6"}
        else:
            stream.options = {"qscale": "3"}
        self._stream = stream
        if self._sound is not None:
            self._sound_copy = _SoundCopy.begin(self._sound, self._container, self.notes)

    def finish(self, is_part: bool = False) -> None:
        """Writes the file to its end; it appears with [`~VideoWriter.close`].

        Args:
            is_part (`bool`, *optional*, defaults to `False`): Whether frames are missing at the end, so that the sound
                is to stop with the last one.

        Raises:
            ValueError: If no frame was written.
            OSError: If the disk is full, or cannot be written.
        """
        if self._partial is None:
            raise ValueError(f"No frame was written to {self.path}.")
        if self._container is None:
            return
        with errors_named(self.path):
            self._container.mux(self._stream.encode(None))
            if self._sound_copy is not None:
                ends = self._sound.to_end and not is_part
                self._sound_copy.copy_until(None if ends else self._next_tick * self._clock + 1 / self.fps)
            container, self._container = self._container, None
            container.close()

    def close(self, path: Path | None = None) -> None:
        """Finishes the file and moves it to its name.

        Args:
            path (`Path`, *optional*): Another name in the same folder.

        Raises:
            ValueError: If no frame was written.
            OSError: If the disk is full, or cannot be written.
        """
        try:
            self.finish()
            os.replace(self._partial, path or self.path)
            self._partial = None
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops what was written. Does nothing after [`~VideoWriter.close`]."""
        try:
            if self._sound_copy is not None:
                self._sound_copy.close()
            if self._container is not None:
                # The end of the file is written here; that it cannot be is of no interest any more.
                with contextlib.suppress(av.FFmpegError):
                    self._container.close()
        finally:
            self._container = self._sound_copy = None
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)
                self._partial = None


class _SoundCopy:
    """Copies the packets of a file's sound to another file, alongside its pictures."""

    def __init__(self, sound: SoundSource, source: Any, stream: Any, target: Any):
        self._source = source
        self._target = target
        self._target_stream = target.add_stream_from_template(stream)
        video = source.streams.video[0]
        begins = (video.start_time or 0) * Fraction(video.time_base)
        self._begin = begins + sound.start
        self._packets = source.demux(stream)
        self._waiting: Any = None

    @classmethod
    def begin(cls, sound: SoundSource, target: Any, notes: list[str]) -> _SoundCopy | None:
        """Adds a stream for the sound to `target`; `None` if there is no sound, or none that the container takes."""
        source = av.open(str(sound.path))
        streams = source.streams.audio
        if streams:
            codec = streams[0].codec.canonical_name
            if codec in target.supported_codecs:
                return cls(sound, source, streams[0], target)
            notes.append(f"the sound ({codec}) is left out, {target.format.name} files cannot hold it")
        source.close()
        return None

    def copy_until(self, time: Fraction | None) -> None:
        """Copies what sounds before `time` (seconds since the first picture written), or all that is left."""
        try:
            while True:
                packet = self._waiting or next(self._packets, None)
                self._waiting = None
                if packet is None:
                    return
                if packet.pts is None or packet.dts is None:
                    continue
                clock = Fraction(packet.time_base)
                begins = packet.pts * clock - self._begin
                if time is not None and begins >= time:
                    self._waiting = packet
                    return
                # The packet that ends where the video begins belongs to it: coders need one to warm up.
                length = packet.duration * clock if packet.duration else _USUAL_PACKET
                if begins + length > -_CLOCK_ROUNDING:
                    shift = round(self._begin / clock)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    packet.stream = self._target_stream
                    self._target.mux(packet)
        except av.InvalidDataError:
            # The sound breaks off where the file is damaged; the pictures tell about that.
            self._packets = iter(())

    def close(self) -> None:
        self._source.close()


@contextlib.contextmanager
def errors_named(path: Path | None) -> Iterator[None]:
    """Errors of the disk under the name of what is to appear, not that of its temporary sibling or none.

    Args:
        path: The name; with `None` errors stay as they are.
    """
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        if path is None or error.errno is None:
            raise
        # FFmpeg has numbers of its own beside those of the system.
        reason = error.strerror or str(error)
        reason = reason if isinstance(error, OSError) else f"cannot be written: {reason}"
        raise OSError(error.errno, reason, str(path)) from error


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
