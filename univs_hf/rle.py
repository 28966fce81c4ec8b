# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""COCO run-length encoding of binary masks.

A mask is read column by column; the counts are the lengths of its runs, beginning with a run (possibly empty) of
zeros.
The compressed form writes each count, from the fourth on as the difference to the count two before it, in groups of
five bits, lowest first, as printable characters: bit 5 says that more groups follow, 48 is added.
"""

from __future__ import annotations

import numpy as np

_OFFSET = 48
_MORE = 0x20


def encode_mask(mask: np.ndarray) -> dict[str, object]:
    """Encodes a binary mask.

    Args:
        mask (`np.ndarray` of shape (height, width)): Non-zero is inside.

    Returns:
        `dict` with `size` ([height, width]) and `counts` (compressed `str`), as COCO's tools read it.

    Raises:
        ValueError: If `mask` has not two dimensions.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"`mask` must have shape (height, width), got {mask.shape}.")
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": compress_counts(mask_to_counts(mask))}


def decode_mask(rle: dict[str, object]) -> np.ndarray:
    """Decodes what [`encode_mask`] wrote, also with plain (uncompressed) counts.

    Returns:
        `np.ndarray` of shape (height, width), dtype `bool`.

    Raises:
        ValueError: If the counts do not add up to the size.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = decompress_counts(counts)
    counts = np.asarray(counts, dtype=np.int64)
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(f"Run lengths {counts[:8]}... do not fill a mask of {height}x{width} pixels.")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def mask_to_counts(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of a (height, width) mask in column-major order, zeros first; `int64`."""
    flat = (np.asarray(mask) != 0).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges)
    return np.concatenate([[0], counts]) if flat.size and flat[0] else counts


def compress_counts(counts: np.ndarray) -> str:
    """Writes run lengths in COCO's compressed form."""
    values = np.array(counts, dtype=np.int64)
    values[3:] -= np.asarray(counts, dtype=np.int64)[1:-2]
    characters, order = [], []
    index = np.arange(len(values))
    group = 0
    # One pass per 5-bit group over the values that still have bits left; five or six passes at most in practice.
    while len(values):
        low = values & 0x1F
        values = values >> 5
        more = np.where(low & 0x10, values != -1, values != 0)
        characters.append(low + np.where(more, _MORE, 0) + _OFFSET)
        order.append(index * 16 + group)
        values, index = values[more], index[more]
        group += 1
    if not characters:
        return ""
    codes = np.concatenate(characters)[np.argsort(np.concatenate(order))]
    return codes.astype(np.uint8).tobytes().decode("ascii")


def decompress_counts(counts: str | bytes) -> np.ndarray:
    """Reads COCO's compressed run lengths; `int64`."""
    data = counts.encode("ascii") if isinstance(counts, str) else counts
    codes = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - _OFFSET
    last = (codes & _MORE) == 0
    if len(codes) and not last[-1]:
        raise ValueError("The compressed run lengths end within a number.")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    position = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    parts = (codes & 0x1F) << (5 * position)
    values = np.add.reduceat(parts, starts) if len(starts) else np.zeros(0, dtype=np.int64)
    # Bit 4 of the last group is the sign.
    negative = (codes[ends] & 0x10) != 0
    values = values - np.where(negative, np.int64(1) << (5 * (ends - starts + 1)), 0)
    # Undo the differences, which run over every second count from the second on.
    for parity in (1, 2):
        values[parity::2] = np.cumsum(values[parity::2])
    return values
