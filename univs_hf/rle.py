# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""COCO run-length encoding of binary masks, one mask or many at once.

A mask is read column by column; the counts are the lengths of its runs, beginning with a run (possibly empty) of
zeros.
The compressed form writes each count, from the fourth on as the difference to the count two before it, in groups of
five bits, lowest first, as printable characters: bit 5 says that more groups follow, 48 is added.

The functions for many masks take them packed: the characters, counts or runs of all masks in one array, and an
`offsets` array with one entry more than there are masks, which says where each begins and ends. None of them loops
over masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_OFFSET = 48
_MORE = 0x20
# Twelve groups are 60 bits, far beyond any count; one more could overflow.
_MAX_GROUPS = 12


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
        `np.ndarray` of shape (height, width), dtype `bool`, a transposed view.

    Raises:
        ValueError: If the counts do not add up to the size.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = decompress_counts(counts)
    counts = np.asarray(counts, dtype=np.int64)
    return decode_packed(counts, np.array([0, len(counts)]), height, width)[0]


def mask_to_counts(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of a (height, width) mask in column-major order, zeros first; `int64`."""
    flat = (np.asarray(mask) != 0).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges)
    return np.concatenate([[0], counts]) if flat.size and flat[0] else counts


def compress_counts(counts: np.ndarray) -> str:
    """Writes run lengths in COCO's compressed form."""
    data, _ = compress_packed(np.asarray(counts, dtype=np.int64), np.array([0, len(counts)]))
    return data.tobytes().decode("ascii")


def decompress_counts(counts: str | bytes) -> np.ndarray:
    """Reads COCO's compressed run lengths; `int64`.

    Raises:
        ValueError: If the text is not of that form.
    """
    data = np.frombuffer(counts.encode("latin-1") if isinstance(counts, str) else counts, dtype=np.uint8)
    return decompress_packed(data, np.array([0, len(data)]))[0]


def pack_strings(strings: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Characters of several compressed masks one after the other, uint8, and their offsets, int64 (N + 1,)."""
    pieces = [string.encode("latin-1") if isinstance(string, str) else bytes(string) for string in strings]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets


def unpack_strings(data: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """The reverse of [`pack_strings`]."""
    text = data.tobytes()
    return [text[first:end] for first, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]


def compress_packed(counts: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Writes the run lengths of N masks in COCO's compressed form.

    Args:
        counts: int64, run lengths of all masks.
        offsets: int (N + 1,), where each mask begins and ends in `counts`.

    Returns:
        The characters of all masks, uint8, and their offsets, int64 (N + 1,).
    """
    values = np.array(counts, dtype=np.int64)
    local = _local_index(offsets)
    late = np.flatnonzero(local > 2)
    values[late] -= np.asarray(counts, dtype=np.int64)[late - 2]
    # One pass per 5-bit group over the values that still have bits left; two or three passes in practice.
    characters: list[tuple[np.ndarray, np.ndarray]] = []
    lengths = np.zeros(len(values), dtype=np.int64)
    index = np.arange(len(values))
    while len(index):
        low = values & 0x1F
        values = values >> 5
        more = np.where(low & 0x10, values != -1, values != 0)
        characters.append((index, low + np.where(more, _MORE, 0) + _OFFSET))
        lengths[index] += 1
        values, index = values[more], index[more]
    first = np.concatenate([[0], np.cumsum(lengths)])
    data = np.empty(first[-1], dtype=np.uint8)
    for group, (index, codes) in enumerate(characters):
        data[first[index] + group] = codes
    return data, first[np.asarray(offsets)]


def decompress_packed(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads the compressed run lengths of N masks.

    Args:
        data: uint8, characters of all masks.
        offsets: int (N + 1,), where each mask begins and ends in `data`.

    Returns:
        The run lengths of all masks, int64, and their offsets, int64 (N + 1,).

    Raises:
        ValueError: If a mask has characters that COCO's form does not use, or ends within a number.
    """
    offsets = np.asarray(offsets, dtype=np.int64)
    data = data[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    codes = data - np.uint8(_OFFSET)
    bad = np.flatnonzero(codes > 0x3F)
    if len(bad):
        mask = int(np.searchsorted(offsets, bad[0], side="right")) - 1
        raise ValueError(
            f"The compressed run lengths of mask {mask} hold the character {chr(data[bad[0]])!r}, which is none of "
            "COCO's."
        )
    last = (codes & _MORE) == 0
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    broken = filled[~last[offsets[1:][filled] - 1]]
    if len(broken):
        raise ValueError(f"The compressed run lengths of mask {broken[0]} end within a number.")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    longest = int(lengths.max(initial=0))
    if longest > _MAX_GROUPS:
        raise ValueError(f"The compressed run lengths hold a number of {longest} characters; counts need at most 12.")
    low = (codes & 0x1F).astype(np.int64)
    values = low[starts]
    for group in range(1, longest):
        longer = np.flatnonzero(lengths > group)
        values[longer] |= low[starts[longer] + group] << (5 * group)
    # Bit 4 of the last group is the sign.
    negative = (codes[ends] & 0x10) != 0
    values -= negative.astype(np.int64) << (5 * lengths)
    count_offsets = np.searchsorted(ends, offsets)
    # Undo the differences, which run over every second count from the second on.
    local = _local_index(count_offsets)
    odd = (local & 1) == 1
    even = ~odd & (local > 0)
    for lane in (odd, even):
        sums = np.concatenate([[0], np.cumsum(np.where(lane, values, 0))])
        before = np.repeat(sums[count_offsets[:-1]], np.diff(count_offsets))
        values = np.where(lane, sums[1:] - before, values)
    return values, count_offsets


def counts_to_runs(
    counts: np.ndarray, offsets: np.ndarray, num_pixels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intervals of pixels that are inside, of N masks.

    Args:
        counts: int64, run lengths of all masks.
        offsets: int (N + 1,), where each mask begins and ends in `counts`.
        num_pixels: Height times width.

    Returns:
        `mask`, `start` and `end`, int64 (R,): run `r` covers the pixels `start[r] .. end[r] - 1`, counted column by
        column, of mask `mask[r]`. Runs are sorted by mask, then by start; none is empty.

    Raises:
        ValueError: If the counts of a mask do not add up to `num_pixels`.
    """
    sums = _check_filled(counts, offsets, num_pixels)
    inside = np.flatnonzero(((_local_index(offsets) & 1) == 1) & (np.asarray(counts) > 0))
    mask = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[inside]
    before = sums[np.asarray(offsets)[mask]]
    return mask, sums[inside] - before, sums[inside + 1] - before


def runs_to_counts(
    mask: np.ndarray, start: np.ndarray, end: np.ndarray, num_masks: int, num_pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """The reverse of [`counts_to_runs`], for runs that do not touch within a mask.

    Returns:
        The run lengths of all masks, int64, and their offsets, int64 (num_masks + 1,).
    """
    first = np.searchsorted(mask, np.arange(num_masks + 1))
    previous = np.concatenate([[0], end[:-1]])
    starts_mask = np.concatenate([[True], mask[1:] != mask[:-1]])[: len(mask)]
    gaps = start - np.where(starts_mask, 0, previous[: len(mask)])
    # What follows the last run; a mask that ends inside has no such count.
    empty = first[1:] == first[:-1]
    last_end = np.where(empty, 0, end[np.maximum(first[1:] - 1, 0)] if len(end) else 0)
    rest = num_pixels - last_end
    sizes = 2 * np.diff(first) + (rest > 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    counts = np.empty(offsets[-1], dtype=np.int64)
    position = offsets[mask] + 2 * (np.arange(len(mask)) - first[mask])
    counts[position] = gaps
    counts[position + 1] = end - start
    tail = np.flatnonzero(rest > 0)
    counts[offsets[tail + 1] - 1] = rest[tail]
    return counts, offsets


def decode_packed(counts: np.ndarray, offsets: np.ndarray, height: int, width: int) -> np.ndarray:
    """Decodes the run lengths of N masks.

    Args:
        counts: int64, run lengths of all masks.
        offsets: int (N + 1,), where each mask begins and ends in `counts`.
        height, width: Size of the masks in pixels.

    Returns:
        bool (N, height, width), a view that is contiguous along columns.

    Raises:
        ValueError: If the counts of a mask do not add up to its pixels.
    """
    _check_filled(counts, offsets, height * width)
    values = (_local_index(offsets) & 1).astype(bool)
    return np.repeat(values, counts).reshape(-1, width, height).transpose(0, 2, 1)


def decode_masks(strings: Sequence[str | bytes], height: int, width: int) -> np.ndarray:
    """Decodes several compressed masks of one size.

    Returns:
        bool (N, height, width), a view that is contiguous along columns.

    Raises:
        ValueError: If a string is not of COCO's form or does not fill the mask.
    """
    return decode_packed(*decompress_packed(*pack_strings(strings)), height, width)


def encode_label_map(label_map: np.ndarray, num_labels: int) -> list[bytes]:
    """Encodes a map of labels as one compressed mask per label.

    Args:
        label_map: Integers (height, width); 0 is nothing, `n` the mask number `n - 1`.
        num_labels: Number of masks.

    Returns:
        `num_labels` compressed strings; labels that do not occur give empty masks.

    Raises:
        ValueError: If the map has not two dimensions or holds other labels.
    """
    label_map = np.asarray(label_map)
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        raise ValueError(
            f"`label_map` must be integers of shape (height, width), got {label_map.dtype} {label_map.shape}."
        )
    flat = label_map.ravel(order="F")
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    labels = flat[edges[:-1]].astype(np.int64)
    if len(labels) and (labels.min() < 0 or labels.max() > num_labels):
        raise ValueError(f"`label_map` must hold 0 to {num_labels}, got {labels.min()} to {labels.max()}.")
    runs = np.flatnonzero(labels)
    runs = runs[np.argsort(labels[runs], kind="stable")]
    counts, offsets = runs_to_counts(labels[runs] - 1, edges[runs], edges[runs + 1], num_labels, flat.size)
    return unpack_strings(*compress_packed(counts, offsets))


def _check_filled(counts: np.ndarray, offsets: np.ndarray, num_pixels: int) -> np.ndarray:
    """Raises unless the counts of each mask fill it; returns the sums before each count, int64 (len(counts) + 1,)."""
    sums = np.concatenate([[0], np.cumsum(counts)])
    totals = np.diff(sums[np.asarray(offsets)])
    negative = np.flatnonzero(np.asarray(counts) < 0)
    if len(negative):
        mask = int(np.searchsorted(offsets, negative[0], side="right")) - 1
        raise ValueError(f"Run lengths of mask {mask} do not fill {num_pixels} pixels: one is {counts[negative[0]]}.")
    wrong = np.flatnonzero(totals != num_pixels)
    if len(wrong):
        raise ValueError(
            f"Run lengths of mask {wrong[0]} do not fill {num_pixels} pixels: they add up to {totals[wrong[0]]}."
        )
    return sums


def _local_index(offsets: np.ndarray) -> np.ndarray:
    """Position of each packed element within its own mask."""
    offsets = np.asarray(offsets)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
