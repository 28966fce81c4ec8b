# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Readers of frames by number, forwards and backwards: of a video file, of a sequence, of a stream.

A reader yields `(number, frame, time)`: the frame's number in the source from 0, a `uint8` RGB array of shape (height,
width, 3), and its time in seconds since the first frame, or `None` where the source has no clock.
"""

from __future__ import annotations

import re
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

NumberedFrame = tuple[int, np.ndarray, Fraction | None]

# Decoded frames that may wait at once while a file is read backwards.
BACKWARD_BUFFER_BYTES = 128 * 1024 * 1024


class FrameReader:
    """What the readers have in common.

    Attributes:
        names (`list[str]`, *optional*): A name per frame, where frames are files.
        truncated (`str`, *optional*): What is wrong, after a pass that came upon a break and was allowed to.
    """

    names: list[str] | None = None
    truncated: str | None = None

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[NumberedFrame]:
        """Yields frames `start`, `start + step`, ... before `stop` (`None`: to the end); `step` is positive."""
        raise NotImplementedError

    def read_backwards(self, numbers: range) -> Iterator[NumberedFrame]:
        """Yields the frames of a descending range of existing numbers."""
        raise NotImplementedError

    def count(self) -> int:
        """The exact number of frames, which may take a pass."""
        raise NotImplementedError


class StreamFrames(FrameReader):
    """Frames of an iterable that gives each once."""

    def __init__(self, frames: Iterable[Any], convert: Callable[[Any, int], np.ndarray]):
        self._frames = iter(frames)
        self._convert = convert
        self._next = 0

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[NumberedFrame]:
        if start < self._next:
            raise ValueError(f"The given frames can be read only once; frame {start} is over.")
        wanted = start
        # Asks for no frame that nobody wants: a live source would block on it.
        while stop is None or wanted < stop:
            for frame in self._frames:
                number, self._next = self._next, self._next + 1
                if number == wanted:
                    yield number, self._convert(frame, number), None
                    break
            else:
                return
            wanted += step

    def read_backwards(self, numbers: range) -> Iterator[NumberedFrame]:
        raise ValueError("The given frames can be read only once and forwards. Give a list, a file or a folder.")

    def count(self) -> int:
        raise ValueError("The given frames can be read only once, so they cannot be counted beforehand.")


class SequenceFrames(FrameReader):
    """Frames of a sequence: image files, a list of images, an array."""

    def __init__(
        self, items: Sequence[Any], convert: Callable[[Any, int], np.ndarray], names: list[str] | None = None
    ):
        self._items = items
        self._convert = convert
        self.names = names

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[NumberedFrame]:
        return self.read_backwards(range(start, self.count() if stop is None else min(stop, self.count()), step))

    def read_backwards(self, numbers: range) -> Iterator[NumberedFrame]:
        return ((number, self._convert(self._items[number], number), None) for number in numbers)

    def count(self) -> int:
        return len(self._items)


class FileFrames(FrameReader):
    """Frames of a video file, in the order in which they are shown.

    Args:
        path (`Path`): Anything that FFmpeg reads.
        allow_truncated (`bool`): Whether a file that breaks off gives the frames before the break, and says so in
            `truncated`, or raises.

    Attributes:
        rate (`Fraction`, *optional*): Mean frames per second, where the file tells.
        declared (`int`, *optional*): Number of frames that the file declares.

    Raises:
        ValueError: If the file is no video that can be read.
    """

    def __init__(self, path: Path, allow_truncated: bool = False):
        self.path = path
        self._allow_truncated = allow_truncated
        # Of each frame, once a pass has looked: presentation time, and a checksum of the picture.
        self._times: array[int] | None = None
        self._checksums: array[int] | None = None
        with self._opened() as (container, stream):
            rate = stream.average_rate or stream.guessed_rate
            self.rate = Fraction(rate) if rate else None
            # An AVI has a rate and no times. Those that FFmpeg makes up for pictures that are stored in another order
            # than they are shown in go back and forth.
            reorders = bool(stream.codec_context.has_b_frames)
            self._has_times = self.rate is None or container.format.name != "avi" or not reorders
            self.declared = stream.frames or None
            self._duration = _declared_duration(container, stream)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.path} is not a video that can be read: {_reason(error)}") from error
        with container:
            if not container.streams.video:
                raise ValueError(f"{self.path} has no video stream.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[NumberedFrame]:
        wanted = start
        if stop is not None and wanted >= stop:
            return
        with self._opened() as (container, stream):
            first_pts = None
            for number, frame in enumerate(self._decode(container, stream)):
                if number == 0:
                    first_pts = frame.pts
                if number < wanted:
                    continue
                yield number, _to_rgb(frame), self._time(number, frame, first_pts)
                wanted += step
                if stop is not None and wanted >= stop:
                    return

    def _time(self, number: int, frame: Any, first_pts: int | None) -> Fraction | None:
        """Seconds since the first frame, of frame `number`."""
        return _seconds(frame, first_pts) if self._has_times else number / self.rate

    def _decode(self, container: Any, stream: Any) -> Iterator[Any]:
        """All frames of an open file; notices where the file breaks off."""
        number, last, first_pts = 0, None, None
        try:
            for frame in container.decode(stream):
                if number == 0:
                    first_pts = frame.pts
                last = frame
                yield frame
                number += 1
        except av.FFmpegError as error:
            self._break_off(f"{self.path} is damaged: decoding stopped after {number} frames: {_reason(error)}")
            return
        problem = self._missing_part(number, last, first_pts)
        if problem:
            self._break_off(problem)

    def _break_off(self, problem: str) -> None:
        if not self._allow_truncated:
            raise ValueError(problem)
        self.truncated = problem

    def _missing_part(self, count: int, last: Any, first_pts: int | None) -> str | None:
        """What is wrong if the file ends before the length that it declares, else `None`."""
        interval = 1 / self.rate if self.rate else Fraction(1, 10)
        if last is None:
            return None
        end = _seconds(last, first_pts)
        if self._duration is not None and end is not None:
            end += last.duration * last.time_base if last.duration else interval
            # Declared lengths are rounded, and may count a frame that an edit hides.
            if end < self._duration - max(2 * interval, Fraction(1, 5)):
                return (
                    f"{self.path} is truncated: it breaks off after {count} frames ({float(end):.2f} of "
                    f"{float(self._duration):.2f} seconds)"
                )
            return None
        if self.declared is not None and count < self.declared - 2:
            return f"{self.path} is truncated: it breaks off after {count} of {self.declared} frames"
        return None

    def find_truncation(self) -> str | None:
        """Reads the packets, without decoding, and tells whether the file ends before the length that it declares."""
        with self._opened() as (container, stream):
            count, first, last = 0, None, None
            try:
                for packet in container.demux(stream):
                    if packet.pts is None:
                        # The end, or a file without times; such a file is judged when it is decoded.
                        continue
                    count += 1
                    first = packet if first is None or packet.pts < first.pts else first
                    last = packet if last is None or packet.pts > last.pts else last
            except av.FFmpegError as error:
                return f"{self.path} is damaged: reading stopped after {count} frames: {_reason(error)}"
            return None if first is None else self._missing_part(count, last, first.pts)

    def count(self) -> int:
        self._index()
        return len(self._times)

    def _index(self) -> None:
        if self._times is not None:
            return
        times, checksums = array("q"), array("L")
        with self._opened() as (container, stream):
            for number, frame in enumerate(self._decode(container, stream)):
                # Without times frames are told apart by their numbers, counted from the beginning.
                times.append(number if frame.pts is None else frame.pts)
                checksums.append(zlib.crc32(_to_rgb(frame)))
        self._times, self._checksums = times, checksums

    def read_backwards(self, numbers: range) -> Iterator[NumberedFrame]:
        if len(numbers) == 0:
            return
        self._index()
        with self._opened() as (_, stream):
            frame_bytes = max(1, 3 * stream.width * stream.height)
        size = max(1, BACKWARD_BUFFER_BYTES // frame_bytes)
        for offset in range(0, len(numbers), size):
            chunk = numbers[offset : offset + size]
            frames = self._read_chunk(chunk[::-1])
            while frames:
                yield frames.pop()

    def _read_chunk(self, numbers: range) -> list[NumberedFrame]:
        """The frames of an ascending range, read from a keyframe before it."""
        # After a seek a decoder may lack frames that the first pictures refer to, and some formats jump to where no
        # picture can be decoded; the checksums tell. Then the reading starts earlier, at last from the beginning.
        for seek_to in (numbers[0], max(0, numbers[0] - len(numbers)), 0):
            frames = self._decode_from(seek_to, numbers)
            if frames is not None:
                return frames
        raise ValueError(f"{self.path} gives other frames each time it is read.")

    def _decode_from(self, seek_to: int, numbers: range) -> list[NumberedFrame] | None:
        """As [`~FileFrames._read_chunk`] from one place; `None` if a frame is missing there or looks otherwise."""
        frames: list[NumberedFrame] = []
        number = 0 if seek_to == 0 else None
        with self._opened() as (container, stream):
            try:
                if seek_to > 0:
                    container.seek(self._times[seek_to], stream=stream, backward=True)
                for frame in container.decode(stream):
                    if number is None:
                        number = -1 if frame.pts is None else bisect_left(self._times, frame.pts)
                    wanted = numbers[len(frames)]
                    if not 0 <= number <= wanted:
                        return None
                    if number == wanted:
                        picture = _to_rgb(frame)
                        if zlib.crc32(picture) != self._checksums[number]:
                            return None
                        frames.append((number, picture, self._time(number, frame, self._times[0])))
                        if len(frames) == len(numbers):
                            return frames
                    number += 1
            except av.FFmpegError:
                # A break after the last frame of the index is known already; before it, this place does not serve.
                return None
        return None


def _to_rgb(frame: Any) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    # The display matrix turns counter-clockwise; phones store upright video with it.
    return np.ascontiguousarray(np.rot90(image, k=round(frame.rotation / 90))) if frame.rotation else image


def _seconds(frame: Any, first_pts: int | None) -> Fraction | None:
    if frame.pts is None or first_pts is None:
        return None
    return (frame.pts - first_pts) * Fraction(frame.time_base)


def _declared_duration(container: Any, stream: Any) -> Fraction | None:
    """Length of the video stream in seconds as the file declares it, as far as it does."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        # The duration of an AVI that breaks off is what FFmpeg makes of its size; the header has the number of frames.
        return stream.frames / Fraction(stream.average_rate)
    if stream.duration:
        return stream.duration * Fraction(stream.time_base)
    # Matroska writes the length of each stream as text, "00:00:04.680000000".
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "").strip())
    if match:
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    # The length of the whole file is that of its longest stream, which is the video only where it is alone.
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


def _reason(error: Exception) -> str:
    """FFmpeg's words, without the number and the file name that PyAV puts around them."""
    return getattr(error, "strerror", None) or str(error)
