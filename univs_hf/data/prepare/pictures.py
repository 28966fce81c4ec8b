# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a dataset as rows keep them: the original bytes wherever possible, checked to be whole and upright."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageOps

from ..layouts.damage import Damage, missing_file
from .conversion_log import DamageError

# Formats that rows hold; pictures of others are encoded anew. MPO is a JPEG with further pictures behind it.
_KEPT_FORMATS = ("JPEG", "MPO", "PNG")
_ORIENTATION = 0x0112
_UPRIGHT = 1
_QUALITY = 95
# Reduction at which a JPEG is decoded to see whether it is whole: all of its data is read, few pixels are computed.
_CHECK_REDUCTION = 8


@dataclass(frozen=True)
class Picture:
    """An encoded picture.

    Attributes:
        data: JPEG or PNG without a turn by metadata.
        size: (height, width) in pixels.
    """

    data: bytes
    size: tuple[int, int]


def load_picture(path: Path, size: tuple[int, int] | None = None, lost: str = "frame", where: str = "") -> Picture:
    """Reads a picture and checks that all of it can be decoded.

    The bytes of JPEG and PNG files are kept. A picture that its EXIF data turns is turned and encoded anew, at JPEG
    quality 95, except where `size` tells that annotations ignore the turn: then only the EXIF data is taken out.

    Args:
        path: The file.
        size: (height, width) that the annotations have.
        lost: What is left out without the picture, for the damage.
        where: Which record asks for it, likewise.

    Raises:
        DamageError: If the file is missing, truncated, no picture, or of another size.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DamageError(missing_file(path, "a picture", lost, where)) from None
    except OSError as error:
        raise DamageError(Damage("unreadable_file", str(path), f"cannot be read: {error}", lost, where)) from error
    try:
        picture = _checked(data, size)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        # PIL reports some damaged PNG files as SyntaxError. Its messages name the stream, which means nothing here.
        reason = "it is no picture" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
        raise DamageError(Damage("unreadable_file", str(path), f"cannot be decoded: {reason}", lost, where)) from error
    if size is not None and picture.size != tuple(size):
        reason = f"is {picture.size[0]}x{picture.size[1]}, its annotations are {size[0]}x{size[1]}."
        raise DamageError(Damage("size_mismatch", str(path), reason, lost, where))
    return picture


def _checked(data: bytes, size: tuple[int, int] | None) -> Picture:
    with PIL.Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        image_format = image.format
        turn = _turn(image)
        if image_format in _KEPT_FORMATS and turn == _UPRIGHT:
            image.draft(None, (max(width // _CHECK_REDUCTION, 1), max(height // _CHECK_REDUCTION, 1)))
            image.load()
            return Picture(data, (height, width))
        upright = PIL.ImageOps.exif_transpose(image) if turn != _UPRIGHT else image
        ignored = size == (height, width) != (upright.height, upright.width)
        if ignored and image_format == "JPEG":
            image.load()
            return Picture(_without_exif(data), (height, width))
        kept = image if ignored else upright
        return Picture(
            _encoded(kept, "PNG" if image_format == "PNG" else "JPEG", image.info.get("icc_profile")),
            (kept.height, kept.width),
        )


def _turn(image: PIL.Image.Image) -> int:
    """EXIF orientation, 1 to 8."""
    try:
        turn = image.getexif().get(_ORIENTATION, _UPRIGHT)
    except Exception:  # Whatever is wrong with EXIF data, decoders do not look at it.
        return _UPRIGHT
    return turn if turn in range(1, 9) else _UPRIGHT


def _encoded(image: PIL.Image.Image, image_format: str, profile: bytes | None) -> bytes:
    sink = io.BytesIO()
    options = {"quality": _QUALITY, "subsampling": 0} if image_format == "JPEG" else {}
    image.convert("RGB").save(sink, image_format, icc_profile=profile, exif=b"", **options)
    return sink.getvalue()


def _without_exif(data: bytes) -> bytes:
    """A JPEG without its EXIF segments (APP1); the picture itself is not touched."""
    pieces, position = [data[:2]], 2
    while data[position] == 0xFF and data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if not (data[position + 1] == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0"):
            pieces.append(data[position:end])
        position = end
    return b"".join([*pieces, data[position:]])
