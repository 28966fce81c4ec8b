# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Region similarity J, boundary accuracy F, Boundary IoU, and the statistics of a series of them.

J and F are those of the DAVIS evaluation (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017), Boundary IoU that of
Cheng et al., CVPR 2021. All values lie in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .masks import Size, to_binary
from .packed_masks import PixelGrid, pixel_grid
from .video_metric import exact_sum

# Tolerance of F and thickness of the boundary in Boundary IoU, as shares of the frame's diagonal.
F_TOLERANCE = 0.008
BOUNDARY_THICKNESS = 0.02
# J and F are called right above this value.
RECALL_THRESHOLD = 0.5


def f_radius(height: int, width: int, tolerance: float = F_TOLERANCE) -> int:
    """Distance in pixels at which boundaries still match: a share of the diagonal, rounded up."""
    return math.ceil(tolerance * math.sqrt(height * height + width * width))


def boundary_thickness(height: int, width: int, share: float = BOUNDARY_THICKNESS) -> int:
    """Thickness in pixels of the boundary in Boundary IoU: a share of the diagonal, at least 1.

    Rounded half to even.
    """
    return max(1, round(share * math.sqrt(height * height + width * width)))


class RegionMask:
    """A binary mask on a pixel grid that computes its boundaries once, however often it is compared.

    Args:
        grid (`PixelGrid`): Grid of the frame.
        bits (`int`): The mask, packed by the grid.
    """

    def __init__(self, grid: PixelGrid, bits: int) -> None:
        self.grid = grid
        self.bits = bits
        self._rims: dict[int, int] = {}

    @cached_property
    def area(self) -> int:
        return self.bits.bit_count()

    @cached_property
    def boundary(self) -> int:
        return self.grid.boundary(self.bits)

    @cached_property
    def boundary_length(self) -> int:
        return self.boundary.bit_count()

    @cached_property
    def near_boundary(self) -> int:
        """Pixels within the grid's reach of the boundary."""
        return self.grid.dilate_by_disk(self.boundary, self.grid.reach)

    def rim(self, thickness: int) -> int:
        """Pixels of the mask at most `thickness` pixels from its outside, by chessboard distance."""
        if thickness not in self._rims:
            self._rims[thickness] = self.bits ^ self.grid.erode_by_square(self.bits, thickness)
        return self._rims[thickness]

    def similarity(self, other: RegionMask) -> float:
        """J with another mask."""
        common = (self.bits & other.bits).bit_count()
        union = self.area + other.area - common
        return common / union if union else 1.0

    def boundary_accuracy(self, prediction: RegionMask) -> float:
        """F of a prediction, `self` being the ground truth."""
        if self.bits == prediction.bits:
            return 1.0
        if not self.boundary or not prediction.boundary:
            return float(self.boundary == prediction.boundary)
        precision = (prediction.boundary & self.near_boundary).bit_count() / prediction.boundary_length
        recall = (self.boundary & prediction.near_boundary).bit_count() / self.boundary_length
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def boundary_iou(self, other: RegionMask, thickness: int) -> float:
        """Boundary IoU with another mask, its rims `thickness` pixels wide: 1 if both are empty, 0 if one is."""
        if not self.bits or not other.bits:
            return float(self.bits == other.bits)
        rim, other_rim = self.rim(thickness), other.rim(thickness)
        return (rim & other_rim).bit_count() / (rim | other_rim).bit_count()


def _pair(ground_truth: Any, prediction: Any, void: Any, reach: Any) -> tuple[RegionMask, RegionMask]:
    """Both masks on one grid, without the void pixels."""
    truth = to_binary(ground_truth, "`ground_truth`")
    size: Size = truth.shape
    predicted = to_binary(prediction, "`prediction`", size)
    if void is not None:
        valid = ~to_binary(void, "`void`", size)
        truth, predicted = truth & valid, predicted & valid
    grid = pixel_grid(*size, reach(*size))
    return RegionMask(grid, grid.pack(truth)), RegionMask(grid, grid.pack(predicted))


def region_similarity(ground_truth: Any, prediction: Any, void: Any = None) -> float:
    """J: intersection over union of two binary masks without the void pixels; 1 if both are empty.

    Args:
        ground_truth, prediction: Binary masks of equal size: arrays (height, width) of bool, 0/1
            or 0/255, or COCO RLE.
        void: Binary mask of the pixels that do not count.

    Raises:
        TypeError, ValueError: If a mask is none, or sizes differ.
    """
    return RegionMask.similarity(*_pair(ground_truth, prediction, void, lambda height, width: 1))


def boundary_accuracy(ground_truth: Any, prediction: Any, void: Any = None, tolerance: float = F_TOLERANCE) -> float:
    """F: harmonic mean of the precision and recall of boundary pixels.

    A boundary pixel differs from its right, lower or lower right neighbour; the frame's edge is no boundary. It is
    right if the other mask has a boundary pixel within ceil(tolerance * diagonal) pixels. Void pixels are taken out
    of both masks before. Both boundaries empty: 1, one empty: 0.

    Args:
        ground_truth, prediction, void: As for [`region_similarity`].
        tolerance (`float`): Share of the frame's diagonal.

    Raises:
        TypeError, ValueError: As [`region_similarity`]; also if `tolerance` is not positive.
    """
    _check_share(tolerance, "tolerance")
    masks = _pair(ground_truth, prediction, void, lambda height, width: f_radius(height, width, tolerance))
    return RegionMask.boundary_accuracy(*masks)


def boundary_iou(ground_truth: Any, prediction: Any, thickness: float = BOUNDARY_THICKNESS) -> float:
    """Boundary IoU: intersection over union of the inner rims of two masks.

    A rim holds the pixels of a mask at a chessboard distance of at most max(1, round(thickness * diagonal)) pixels
    from one outside the mask or the frame. Both masks empty: 1, one empty: 0.

    Args:
        ground_truth, prediction: As for [`region_similarity`].
        thickness (`float`): Share of the frame's diagonal.

    Raises:
        TypeError, ValueError: As [`region_similarity`]; also if `thickness` is not positive.
    """
    _check_share(thickness, "thickness")
    truth, predicted = _pair(ground_truth, prediction, None, lambda height, width: 1)
    return truth.boundary_iou(predicted, boundary_thickness(truth.grid.height, truth.grid.width, thickness))


class SeriesStatistics(NamedTuple):
    """Statistics of one object's J or F over the frames."""

    mean: float
    recall: float
    decay: float


def series_statistics(values: Sequence[float] | np.ndarray, wrap_decay_bins: bool = True) -> SeriesStatistics:
    """Mean, recall and decay of a series of J or F, one value per frame.

    Recall is the share of values above 0.5. Decay is the mean of the first quarter less that of the last; the
    quarters share their border frames.

    Args:
        values: One value per frame, at least one.
        wrap_decay_bins (`bool`): The DAVIS evaluation stores the borders of the quarters in 8 bits. Over 256 frames
            they wrap, and decay is wrong or NaN. `True` reproduces that; `False` uses the true borders.

    Raises:
        ValueError: If `values` is empty, not one-dimensional or holds NaN.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or not series.size:
        raise ValueError(f"`values` must hold one value per frame, got the shape {series.shape}.")
    if np.isnan(series).any():
        raise ValueError(f"`values` must not hold NaN, got NaN in frame {int(np.isnan(series).argmax())}.")
    # round_half_up(1 + (n - 1) * i / 4) - 1
    borders = [((len(series) - 1) * i + 2) // 4 for i in range(5)]
    if wrap_decay_bins:
        borders = [border % 256 for border in borders]
    first, last = (series[borders[i] : borders[i + 1] + 1] for i in (0, 3))
    decay = float(first.mean() - last.mean()) if len(first) and len(last) else math.nan
    return SeriesStatistics(float(series.mean()), float((series > RECALL_THRESHOLD).mean()), decay)


def exact_mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean that does not depend on the order of the values; NaN if one is NaN or there are none."""
    array = np.asarray(values, dtype=np.float64).ravel()
    if not array.size or np.isnan(array).any():
        return math.nan
    return float(exact_sum(array) / array.size)


def _check_share(value: float, name: str) -> None:
    if not value > 0 or math.isinf(value):
        raise ValueError(f"`{name}` must be a positive share of the diagonal, got {value}.")
