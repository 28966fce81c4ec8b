# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Fast decoding of the PNGs that hold labels: FFmpeg undoes their row filters two to three times as fast as Pillow."""

from __future__ import annotations

import struct
import threading

import av
import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
# Colour type to FFmpeg's name and the bytes of a pixel, for 8 bits per sample. Grey and palette index are one byte.
_FORMATS = {0: ("gray", 1), 2: ("rgb24", 3), 3: ("pal8", 1)}

_local = threading.local()


def decode_png(content: bytes) -> np.ndarray | None:
    """Samples of a grey, palette or RGB PNG of 8 bits.

    Args:
        content: The file.

    Returns:
        `np.ndarray`, uint8: (height, width), of a palette image the indices, or (height, width, 3). `None` for a PNG
        of another kind (other depths, transparency, interlaced) and for a broken one: Pillow reads it or says what is
        wrong.
    """
    if len(content) < 57 or not content.startswith(_SIGNATURE) or not content.endswith(_END):
        return None
    width, height, depth, colour_type, _, _, interlace = struct.unpack(">2I5B", content[16:29])
    if depth != 8 or interlace or colour_type not in _FORMATS:
        return None
    name, channels = _FORMATS[colour_type]
    packet = av.Packet(content)
    # FFmpeg would add the picture before to one that is not a key frame.
    packet.is_keyframe = True
    try:
        (frame,) = _decoder().decode(packet)
    except (av.error.FFmpegError, ValueError):
        return None
    if frame.format.name != name or (frame.height, frame.width) != (height, width):
        return None
    plane = frame.planes[0]
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[:height, : width * channels]
    samples = np.ascontiguousarray(rows)
    return samples if channels == 1 else samples.reshape(height, width, channels)


def _decoder() -> av.CodecContext:
    """The decoder of this thread."""
    if not hasattr(_local, "decoder"):
        decoder = av.CodecContext.create("png", "r")
        decoder.thread_count = 1
        # Anything wrong is an error; by default FFmpeg shows what it has.
        decoder.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        _local.decoder = decoder
    return _local.decoder
