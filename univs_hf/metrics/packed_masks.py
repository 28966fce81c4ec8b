# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Binary masks as long integers, one bit per pixel, and their boundaries, dilations and erosions.

A Python integer holds a whole mask: a shift moves every pixel at once, `&` and `|` are the set operations and
`bit_count` the area, at some thirty pixels a machine word and without a temporary array. Dilating by a disk or eroding
by a square then takes a number of such operations that grows with the radius (or its logarithm), not with the area
of the structuring element.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import isqrt

import numpy as np


class PixelGrid:
    """How the pixels of a frame lie in an integer: row by row, lowest bit first, each row followed by spare zeros.

    The spare zeros keep what is shifted over the end of a row out of the next one.

    Args:
        height, width (`int`): Size of the frame in pixels.
        reach (`int`): Largest radius of a dilation, in pixels.
    """

    def __init__(self, height: int, width: int, reach: int) -> None:
        self.height = height
        self.width = width
        self.reach = reach
        self.stride = width + max(reach, 1)

    @cached_property
    def _left_columns(self) -> int:
        """All pixels but those of the last column."""
        columns = np.ones((self.height, self.width), dtype=bool)
        columns[:, -1:] = False
        return self.pack(columns)

    def pad(self, frame: np.ndarray) -> np.ndarray:
        """The frame with its rows' spare zeros; shape (height, stride)."""
        padded = np.zeros((self.height, self.stride), dtype=frame.dtype)
        padded[:, : self.width] = frame
        return padded

    def pack(self, mask: np.ndarray) -> int:
        """Packs a `bool` mask of shape (height, width)."""
        return pack_padded(self.pad(mask))

    def boundary(self, bits: int) -> int:
        """Pixels that differ from their right, lower or lower right neighbour, where there is one."""
        if not bits:
            return 0
        stride = self.stride
        first_row = max(_lowest_bit(bits) // stride - 1, 0)
        mask = bits >> first_row * stride
        below = mask >> stride
        rows = (1 << (self.height - 1 - first_row) * stride) - 1
        found = (mask ^ mask >> 1) | (mask ^ below >> 1) & rows
        found = found & self._left_columns | (mask ^ below) & rows
        return found << first_row * stride

    def dilate_by_disk(self, bits: int, radius: int) -> int:
        """Pixels at a Euclidean distance of at most `radius` (no more than `reach`); may set spare bits as well."""
        if not bits:
            return 0
        stride = self.stride
        first_row = max(_lowest_bit(bits) // stride - radius, 0)
        # `run` holds each pixel widened to the right by 2 * half_width; shifting it left by half_width centres it.
        run, half_width = bits >> first_row * stride, 0
        result = 0
        for rows in range(radius, -1, -1):
            while half_width < isqrt(radius * radius - rows * rows):
                run |= run << 2 if half_width else run << 1 | run << 2
                half_width += 1
            result |= run >> rows * stride + half_width
            if rows:
                result |= run << rows * stride - half_width
        return result << first_row * stride

    def erode_by_square(self, bits: int, radius: int) -> int:
        """Pixels whose chessboard distance to the nearest pixel outside the mask or the frame exceeds `radius`."""
        if not bits:
            return 0
        first_row = _lowest_bit(bits) // self.stride
        inner = bits >> first_row * self.stride
        size = 2 * radius + 1
        for step in (1, self.stride):
            covered = 1
            while covered < size and inner:
                further = min(covered, size - covered)
                inner &= inner >> further * step
                covered += further
        # Each window was counted at its upper left pixel.
        return inner << (first_row + radius) * self.stride + radius


@lru_cache(maxsize=32)
def pixel_grid(height: int, width: int, reach: int) -> PixelGrid:
    """The grid of a frame size, made once."""
    return PixelGrid(height, width, reach)


def pack_padded(padded: np.ndarray) -> int:
    """Packs a `bool` array whose rows already have their spare zeros ([`PixelGrid.pad`])."""
    return int.from_bytes(np.packbits(padded, axis=None, bitorder="little").tobytes(), "little")


def _lowest_bit(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
