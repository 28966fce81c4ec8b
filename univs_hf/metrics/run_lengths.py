# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sizes and areas of many compressed COCO run-length encodings at once, without decoding to pixels.

The format: a mask is read down its columns; the lengths of its runs, the first one outside, are written as numbers of
five bits a character, lowest first. Character 48 + 32 + bits says that the number goes on, 48 + bits that it ends; bit
4 of the last character is the sign. From the fourth number on the difference to the length two before is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_OFFSET = np.uint8(48)
_MORE = 0x20
_BITS = 5
# Six characters hold lengths up to 2^29 pixels, more than any frame has.
_LONGEST_NUMBER = 6


def measure_run_lengths(counts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and inner pixels of masks in compressed run lengths.

    Args:
        counts: The `counts` of each mask, as `bytes`.

    Returns:
        Two `np.ndarray` of shape (number of masks,), `int64`: how many pixels the runs of each mask fill, -1 where
        `counts` is no proper encoding; and the area of each mask in pixels, 0 where it is no proper encoding.
    """
    totals = np.zeros(len(counts), dtype=np.int64)
    areas = np.zeros(len(counts), dtype=np.int64)
    lengths = np.fromiter(map(len, counts), dtype=np.int64, count=len(counts))
    written = np.flatnonzero(lengths)
    if not len(written):
        return totals, areas
    data = b"".join(counts)
    malformed = _find_malformed(data, lengths[written])
    if malformed.any():
        totals[written[malformed]] = -1
        sound = written[~malformed]
        totals[sound], areas[sound] = measure_run_lengths([counts[i] for i in sound])
        return totals, areas
    runs, first_row = _read_runs(data, lengths[written])
    # Each row is a run outside and the run inside that follows it.
    areas[written] = np.add.reduceat(runs[:, 1], first_row)
    totals[written] = areas[written] + np.add.reduceat(runs[:, 0], first_row)
    if runs.min() < 0:
        negative = written[np.minimum.reduceat(runs.min(axis=1), first_row) < 0]
        totals[negative], areas[negative] = -1, 0
    return totals, areas


def _find_malformed(data: bytes, lengths: np.ndarray) -> np.ndarray:
    """Which of the masks written one after the other in `data` hold other characters or end within a number."""
    codes = np.frombuffer(data, dtype=np.uint8) - _OFFSET
    last = np.cumsum(lengths) - 1
    malformed = codes[last] >= _MORE
    wrong = np.flatnonzero(codes >= 2 * _MORE)
    malformed[np.searchsorted(last, wrong)] = True
    ends = np.flatnonzero(codes < _MORE)
    too_long = ends[np.diff(ends, prepend=-1) > _LONGEST_NUMBER]
    malformed[np.searchsorted(last, too_long)] = True
    return malformed


def _read_runs(data: bytes, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run lengths as rows of (outside, inside), all masks one after the other, and the first row of each mask."""
    codes = np.frombuffer(data, dtype=np.uint8) - _OFFSET
    ends = np.flatnonzero(codes < _MORE)
    # The highest five bits of each number with their sign, then the lower ones of those that have more characters.
    values = (codes[ends].astype(np.int32) ^ 0x10) - 0x10
    characters = np.diff(ends, prepend=-1)
    longer = np.flatnonzero(characters > 1)
    place = 1
    while len(longer):
        values[longer] = (values[longer] << _BITS) | (codes[ends[longer] - place] & 0x1F)
        place += 1
        longer = longer[characters[longer] > place]

    after_last = np.searchsorted(ends, np.cumsum(lengths))
    first = np.concatenate([[0], after_last[:-1]])
    numbers = after_last - first
    rows = (numbers + 1) // 2
    first_row = np.concatenate([[0], np.cumsum(rows)[:-1]])
    table = np.zeros(2 * int(rows.sum()), dtype=np.int64)
    table[np.arange(len(values)) + np.repeat(2 * first_row - first, numbers)] = values
    table = table.reshape(-1, 2)
    # The differences are undone by sums down both columns, from each mask's first row on. The first number of a mask
    # is no part of them, and neither is the empty place after an odd number of runs.
    leading = table[first_row, 0].copy()
    table[first_row, 0] = 0
    sums = np.cumsum(table, axis=0)
    before = np.zeros((len(rows), 2), dtype=np.int64)
    before[1:] = sums[first_row[1:] - 1]
    sums -= np.repeat(before, rows, axis=0)
    sums[first_row, 0] = leading
    sums[(first_row + rows - 1)[numbers % 2 == 1], 1] = 0
    return sums, first_row
