# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Decodes chosen frames of a row, from pictures or from a video, reduced where they are shown small."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
import PIL.Image

from .schema import Row, RowError

# The scaled transforms of JPEG.
_MAX_DRAFT = 8


def decode_frames(row: Row, frames: Sequence[int], reduction: int = 1) -> np.ndarray:
    """Decodes some frames.

    Args:
        row: The row.
        frames: S distinct frames, ascending.
        reduction: Power of two. Each pixel becomes the mean of a block of so many by so many pixels, as far as
            possible within the JPEG decoder; blocks at the right and the bottom may be cut off.

    Returns:
        uint8 (S, ceil(height / reduction), ceil(width / reduction), 3), RGB.

    Raises:
        RowError: If a frame cannot be decoded or has another size than the row says.
    """
    height, width = -(-row.height // reduction), -(-row.width // reduction)
    pictures = np.empty((len(frames), height, width, 3), np.uint8)
    if row.has_encoded_frames:
        for index, frame in enumerate(frames):
            pictures[index] = _decode_picture(row, frame, reduction)
        return pictures
    for index, (frame, picture) in enumerate(zip(frames, _decode_video(row, frames), strict=True)):
        if picture.shape[:2] != (row.height, row.width):
            raise RowError(row.key, "video", _size_fault(row, frame, picture.shape[:2]))
        pictures[index] = PIL.Image.fromarray(picture).reduce(reduction) if reduction > 1 else picture
    return pictures


def _size_fault(row: Row, frame: int, size: tuple[int, ...]) -> str:
    return f"frame {frame} is {size[0]}x{size[1]}, the row says {row.height}x{row.width}."


def _decode_picture(row: Row, frame: int, reduction: int) -> np.ndarray:
    try:
        with PIL.Image.open(io.BytesIO(row.frame_bytes(frame))) as image:
            if (image.height, image.width) != (row.height, row.width):
                raise RowError(row.key, "frames", _size_fault(row, frame, (image.height, image.width)))
            if reduction > 1:
                # Asks the JPEG decoder for the smallest of its sizes that is at least so large; others ignore it.
                draft = min(reduction, _MAX_DRAFT)
                image.draft("RGB", (max(row.width // draft, 1), max(row.height // draft, 1)))
            done = _reduction_of(image.size, (row.width, row.height))
            image = image.convert("RGB")
            return np.asarray(image.reduce(reduction // done) if reduction > done else image)
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        # PIL reports some damaged PNG files as SyntaxError.
        raise RowError(row.key, "frames", f"frame {frame} cannot be decoded: {error}") from error


def _reduction_of(size: tuple[int, int], full_size: tuple[int, int]) -> int:
    """By which power of two a JPEG was reduced; its sides are rounded up."""
    factor = 1
    while size != (-(-full_size[0] // factor), -(-full_size[1] // factor)):
        factor *= 2
        if factor > _MAX_DRAFT:
            raise ValueError(f"A JPEG of size {full_size} was reduced to {size}, which is no power of two.")
    return factor


def _decode_video(row: Row, frames: Sequence[int]) -> list[np.ndarray]:
    """Frames of an encoded video by number, in the order they are shown."""
    try:
        # PyAV reads the file object in pieces; nothing but the bytes of the row is held.
        with av.open(io.BytesIO(row.video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            packets = [
                (packet.pts, packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.pts is not None and not packet.is_discard
            ]
            shown = sorted(pts for pts, _ in packets)
            if len(shown) != row.num_frames:
                raise RowError(row.key, "video", f"has {len(shown)} frames, the row says {row.num_frames}.")
            keys = np.array(sorted(pts for pts, is_key in packets if is_key))
            return _decode_at(row, container, stream, [(frame, shown[frame]) for frame in frames], keys)
    except (av.FFmpegError, IndexError) as error:
        raise RowError(row.key, "video", f"cannot be decoded: {error}") from error


def _decode_at(
    row: Row,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    wanted: list[tuple[int, int]],
    keys: np.ndarray,
) -> list[np.ndarray]:
    """Pictures at ascending time stamps; jumps only where a later key frame leads there sooner."""
    pictures: list[np.ndarray] = []
    decoded = iter(())
    position: int | None = None
    for frame, pts in wanted:
        before = keys[keys <= pts]
        key = int(before[-1]) if len(before) else int(keys[0])
        if position is None or key > position:
            container.seek(key, stream=stream, backward=True)
            decoded = container.decode(stream)
        for picture in decoded:
            position = picture.pts
            if picture.pts == pts:
                pictures.append(picture.to_ndarray(format="rgb24"))
                break
        else:
            raise RowError(row.key, "video", f"frame {frame} cannot be decoded.")
    return pictures
