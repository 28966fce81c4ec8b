# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Runs, sizes and areas of many compressed COCO run-length encodings at once, without decoding to pixels.

The format: a mask is read down its columns; the lengths of its runs, the first one outside, are written as numbers of
five bits a character, lowest first. Character 48 + 32 + bits says that the number goes on, 48 + bits that it ends; bit
4 of the last character is the sign. From the fourth number on the difference to the length two before is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_OFFSET = np.uint8(48)
_MORE = 0x20
_BITS = 5
# Six characters hold lengths up to 2^29 pixels, more than any frame has.
_LONGEST_NUMBER = 6


@dataclass(frozen=True)
class RunTable:
    """The runs of many masks, one mask after the other.

    Attributes:
        runs: `np.ndarray` of shape (rows, 2), `int32`: a run outside the mask and the run inside that follows it.
        first_row: `np.ndarray` of shape (number of masks,), `int64`: where each mask begins.
        areas: `np.ndarray` of shape (number of masks,), `int64`: pixels inside; 0 where a run is negative.
        totals: `np.ndarray` of shape (number of masks,), `int64`: all pixels; -1 where a run is negative.
    """

    runs: np.ndarray
    first_row: np.ndarray
    areas: np.ndarray
    totals: np.ndarray


def measure_run_lengths(counts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and inner pixels of masks in compressed run lengths.

    Args:
        counts: The `counts` of each mask, as `bytes`.

    Returns:
        Two `np.ndarray` of shape (number of masks,), `int64`: how many pixels the runs of each mask fill, -1 where
        `counts` is no proper encoding; and the area of each mask in pixels, 0 where it is no proper encoding.
    """
    totals = np.array([-1 if entry else 0 for entry in counts], dtype=np.int64)
    areas = np.zeros(len(counts), dtype=np.int64)
    written = np.flatnonzero(totals)
    if not len(written):
        return totals, areas
    malformed = _find_malformed(*_read_codes([counts[i] for i in written]))
    readable = written[~malformed]
    if len(readable):
        table = read_run_lengths([counts[i] for i in readable])
        totals[readable], areas[readable] = table.totals, table.areas
    return totals, areas


def read_run_lengths(counts: Sequence[bytes]) -> RunTable | None:
    """Reads the runs of at least one mask; None if one of `counts` is empty or no proper encoding."""
    codes, lengths, ends, characters = _read_codes(counts)
    if not lengths.all() or _find_malformed(codes, lengths, ends, characters).any():
        return None
    values = _read_numbers(codes, ends, characters)
    numbers = np.diff(np.searchsorted(ends, np.cumsum(lengths)), prepend=0)
    rows = (numbers + 1) // 2
    after_last = np.cumsum(rows)
    first_row = after_last - rows
    unpaired = after_last[numbers % 2 == 1] - 1
    if len(unpaired):
        # A mask that ends with a run outside leaves the place of the run inside empty.
        filled = np.ones(2 * int(after_last[-1]), dtype=bool)
        filled[2 * unpaired + 1] = False
        runs = np.zeros(len(filled), dtype=np.int32)
        runs[filled] = values
    else:
        runs = values
    runs = runs.reshape(-1, 2)
    # The differences are undone by sums down both columns. A mask begins anew, which taking off the last sums of the
    # mask before it does; its first number is no part of any difference.
    leading = runs[first_row, 0]
    runs[first_row, 0] = 0
    runs[first_row[1:]] -= np.add.reduceat(runs, first_row, axis=0)[:-1]
    np.cumsum(runs, axis=0, dtype=np.int32, out=runs)
    runs[first_row, 0] = leading
    runs[unpaired, 1] = 0
    areas = np.add.reduceat(runs[:, 1], first_row, dtype=np.int64)
    totals = areas + np.add.reduceat(runs[:, 0], first_row, dtype=np.int64)
    if runs.min() < 0:
        negative = np.minimum.reduceat(runs.min(axis=1), first_row) < 0
        totals[negative], areas[negative] = -1, 0
    return RunTable(runs, first_row, areas, totals)


def _read_codes(counts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All characters less 48 and how many each mask has; where each number ends and how many characters it has."""
    codes = np.frombuffer(b"".join(counts), dtype=np.uint8) - _OFFSET
    lengths = np.fromiter(map(len, counts), dtype=np.int64, count=len(counts))
    ends = np.flatnonzero(codes < _MORE)
    characters = ends + 1
    characters[1:] -= characters[:-1].copy()
    return codes, lengths, ends, characters


def _find_malformed(codes: np.ndarray, lengths: np.ndarray, ends: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Which masks, none of them without characters, hold other characters or end within a number."""
    after_last = np.cumsum(lengths)
    malformed = codes[after_last - 1] >= _MORE
    wrong = np.concatenate([np.flatnonzero(codes >= 2 * _MORE), ends[characters > _LONGEST_NUMBER]])
    malformed[np.searchsorted(after_last, wrong, side="right")] = True
    return malformed


def _read_numbers(codes: np.ndarray, ends: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """The numbers that end at the given places, with their signs; `int32`."""
    # The highest five bits with their sign, then the lower ones of the numbers that have more characters.
    values = codes[ends].view(np.int8)
    values ^= 0x10
    values -= 0x10
    values = values.astype(np.int32)
    longer = np.flatnonzero(characters > 1)
    place = 1
    while len(longer):
        values[longer] = (values[longer] << _BITS) | (codes[ends[longer] - place] & 0x1F)
        place += 1
        longer = longer[characters[longer] > place]
    return values
