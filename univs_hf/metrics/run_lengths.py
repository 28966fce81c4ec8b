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
_MORE = np.uint8(0x20)
_LOW_BITS = np.uint8(0x1F)
_SIGN = np.int8(0x10)
_BITS = 5
# Six characters hold numbers from -2^29 to 2^29 - 1, more than any frame has.
_LONGEST_NUMBER = 6
# Sums of such numbers have a value from here to 2^31 before they pass 2^31.
_TOO_LONG = 1 << 30
_HALF = 1 << 31
# Read in place of what cannot be read: one run outside, of no pixels.
_NO_PIXELS = b"0"
# Stands for all that is not ASCII; it is part of no encoding either.
_FOREIGN = "\x7f"


@dataclass(frozen=True)
class RunTable:
    """The runs of many masks, one mask after the other.

    Attributes:
        runs: `np.ndarray` of shape (rows, 2), `int32`: a run outside the mask and the run inside that follows it.
        first_row: `np.ndarray` of shape (number of masks,), `int64`: where each mask begins.
        areas: `np.ndarray` of shape (number of masks,), `int64`: pixels inside; 0 where `totals` is -1.
        totals: `np.ndarray` of shape (number of masks,), `int64`: all pixels; -1 where the mask is no proper encoding
            or has a run that is negative or of 2^30 pixels and more.
    """

    runs: np.ndarray
    first_row: np.ndarray
    areas: np.ndarray
    totals: np.ndarray


def read_run_lengths(counts: Sequence[str] | Sequence[bytes]) -> RunTable:
    """Reads the runs of any number of masks.

    Args:
        counts: The compressed `counts` of each mask, all `str` or all `bytes`. One without any character is a mask of
            no pixels.
    """
    if not len(counts):
        nothing = np.zeros(0, dtype=np.int64)
        return RunTable(np.zeros((0, 2), dtype=np.int32), nothing, nothing, nothing)
    codes, lengths = _read_codes(counts)
    goes_on = codes >= _MORE
    more = np.flatnonzero(goes_on)
    unreadable = _find_malformed(codes, np.cumsum(lengths), more)
    left_out = unreadable | (lengths == 0)
    if left_out.any():
        sound = [_NO_PIXELS if bad else _as_bytes(entry) for entry, bad in zip(counts, left_out, strict=True)]
        codes, lengths = _read_codes(sound)
        goes_on = codes >= _MORE
        more = np.flatnonzero(goes_on)
    numbers = lengths - np.diff(np.searchsorted(more, np.cumsum(lengths)), prepend=0)
    runs, first_row = _sum_differences(_read_numbers(codes, goes_on, more), numbers)
    # A negative one is large without its sign.
    if runs.view(np.uint32).max() >= _TOO_LONG:
        unreadable |= np.maximum.reduceat(runs.view(np.uint32).max(axis=1), first_row) >= _TOO_LONG
    areas = np.add.reduceat(runs[:, 1], first_row, dtype=np.int64)
    totals = areas + np.add.reduceat(runs[:, 0], first_row, dtype=np.int64)
    totals[unreadable], areas[unreadable] = -1, 0
    return RunTable(runs, first_row, areas, totals)


def _as_bytes(entry: str | bytes) -> bytes:
    return entry.encode("ascii") if isinstance(entry, str) else entry


def _read_codes(counts: Sequence[str] | Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """All characters less 48, and how many each mask has."""
    if isinstance(counts[0], bytes):
        joined = b"".join(counts)
    else:
        text = "".join(counts)
        if not text.isascii():
            counts = [entry if entry.isascii() else _FOREIGN for entry in counts]
            text = "".join(counts)
        joined = text.encode("ascii")
    codes = np.frombuffer(joined, dtype=np.uint8) - _OFFSET
    return codes, np.fromiter(map(len, counts), dtype=np.int64, count=len(counts))


def _find_malformed(codes: np.ndarray, after_last: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Which masks hold other characters, end within a number or have a number of too many characters.

    `after_last` says where the characters of each mask end, `more` which ones do not end a number.
    """
    malformed = np.diff(after_last, prepend=0) > 0
    malformed[malformed] = codes[after_last[malformed] - 1] >= _MORE
    reach = _LONGEST_NUMBER - 1
    too_long = more[reach:][more[reach:] - more[:-reach] == reach] if len(more) > reach else more[:0]
    wrong = np.concatenate([more[codes[more] >= 2 * _MORE], too_long])
    malformed[np.searchsorted(after_last, wrong, side="right")] = True
    return malformed


def _read_numbers(codes: np.ndarray, goes_on: np.ndarray, more: np.ndarray) -> np.ndarray:
    """All numbers, with their signs; `int32`."""
    low = codes & _LOW_BITS
    last = low.view(np.int8) ^ _SIGN
    last -= _SIGN
    # Nearly all numbers have one or two characters: those are read everywhere, whether a number ends there or not.
    values = last.astype(np.int16)
    values[1:] *= 1 + goes_on[:-1] * np.int16(31)
    values[1:] += low[:-1] * goes_on[:-1]
    values = values.astype("<i4")
    # Where a number of three and more ends, all its characters are put together.
    second = more[1:][np.diff(more) == 1]
    ends = second[~goes_on[second + 1]] + 1
    longer = np.arange(len(ends))
    whole = last[ends].astype(np.int32)
    place = 1
    while len(longer):
        whole[longer] = (whole[longer] << _BITS) | low[ends[longer] - place]
        place += 1
        longer = longer[goes_on[ends[longer] - place]]
    values[ends] = whole
    return values[~goes_on]


def _sum_differences(values: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs, two in a row, of masks of so many numbers, and the first row of each mask."""
    odd = numbers % 2 == 1
    if odd.any():
        # A mask that ends with a run outside leaves the place of the run inside empty.
        values = np.insert(values, np.cumsum(numbers)[odd], 0)
    runs = values.reshape(-1, 2)
    after_last = np.cumsum((numbers + 1) // 2)
    first_row = after_last - (numbers + 1) // 2
    # The differences are undone by sums down both columns. A mask begins anew, which taking off the last sums of the
    # mask before it does; its first number is no part of any difference.
    leading = runs[first_row, 0]
    runs[first_row, 0] = 0
    # Both columns are summed as the halves of one number, from which the lower half borrows where it is negative.
    pairs = runs.view("<i8").ravel()
    pairs ^= _HALF
    pairs -= _HALF
    pairs[first_row[1:]] -= np.add.reduceat(pairs, first_row)[:-1]
    np.cumsum(pairs, out=pairs)
    pairs += _HALF
    pairs ^= _HALF
    runs[first_row, 0] = leading
    runs[after_last[odd] - 1, 1] = 0
    return runs, first_row
