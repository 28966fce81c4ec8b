# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J, F and Boundary IoU against brute force by other algorithms, and the statistics of a series."""

import math
import random

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage

from univs_hf.metrics.packed_masks import PixelGrid
from univs_hf.metrics.region_boundary import (
    boundary_accuracy,
    boundary_iou,
    boundary_thickness,
    exact_mean,
    f_radius,
    region_similarity,
    series_statistics,
)


def boundary_by_neighbours(mask: np.ndarray) -> np.ndarray:
    """Compares each pixel with those neighbours to the right, below and to the lower right that exist."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y, x in np.ndindex(height, width):
        neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
        found[y, x] = any(mask[n] != mask[y, x] for n in neighbours if n[0] < height and n[1] < width)
    return found


def f_by_distances(true: np.ndarray, predicted: np.ndarray, radius: int) -> float:
    """F from the distance of each boundary pixel to the other boundary."""
    boundaries = [boundary_by_neighbours(mask) for mask in (true, predicted)]
    if not boundaries[0].any() or not boundaries[1].any():
        return float(boundaries[0].any() == boundaries[1].any())
    near = [ndimage.distance_transform_edt(~boundary) <= radius + 1e-9 for boundary in boundaries]
    recall, precision = near[1][boundaries[0]].mean(), near[0][boundaries[1]].mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_iou_by_distances(true: np.ndarray, predicted: np.ndarray, thickness: int) -> float:
    """Boundary IoU from chessboard distances to the outside, the frame's surroundings included."""
    if not true.any() or not predicted.any():
        return float(true.any() == predicted.any())
    rims = []
    for mask in (true, predicted):
        distance = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
        rims.append(mask & (distance <= thickness))
    return (rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum()


def random_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two masks alike, of any size from one pixel on; sometimes empty, full, ragged or touching the edge."""
    shape = tuple(rng.integers(1, 30, 2))
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.choice([0, 1, 3]))
    noise /= noise.std() + 1e-9
    moved = noise + rng.random() * ndimage.gaussian_filter(rng.normal(size=shape), 1)
    levels = rng.choice([-9, 0, 0.5, 9], size=2, p=[0.1, 0.4, 0.4, 0.1])
    return noise > levels[0], moved > levels[1]


@pytest.mark.parametrize("seed", range(8))
def test_random_masks_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        true, predicted = random_pair(rng)
        void = rng.random(true.shape) < rng.choice([0, 0.2])
        share = rng.choice([0.008, 0.06, 0.2, 0.7])
        valid = true & ~void, predicted & ~void
        union = (valid[0] | valid[1]).sum()
        assert region_similarity(true, predicted, void) == ((valid[0] & valid[1]).sum() / union if union else 1)
        diagonal = np.linalg.norm(true.shape)
        expected = f_by_distances(*valid, math.ceil(share * diagonal))
        assert boundary_accuracy(true, predicted, void, share) == pytest.approx(expected, abs=1e-14)
        expected = boundary_iou_by_distances(true, predicted, max(1, round(share * diagonal)))
        assert boundary_iou(true, predicted, share) == pytest.approx(expected, abs=1e-14)


def test_edges_of_the_definitions():
    empty, full = np.zeros((20, 30), dtype=bool), np.ones((20, 30), dtype=bool)
    assert region_similarity(empty, empty) == boundary_accuracy(empty, empty) == boundary_iou(empty, empty) == 1
    assert region_similarity(empty, full) == boundary_iou(empty, full) == boundary_iou(full, empty) == 0
    # The frame's edge is no boundary for F, so that an empty and a full mask have the same, no boundary at all.
    assert boundary_accuracy(empty, full) == 1
    # All is void: the union is empty.
    assert region_similarity(empty, full, void=full) == 1
    half = full.copy()
    half[:, 15:] = False
    assert boundary_accuracy(half, full) == boundary_accuracy(full, half) == 0
    # For Boundary IoU the edge is a boundary: thickness 1, rims of 96 and 66 pixels, three sides of the half in both.
    assert boundary_thickness(20, 30) == 1
    assert boundary_iou(full, half) == pytest.approx(48 / (96 + 66 - 48))


def test_corner_pixel_is_never_boundary():
    true = np.zeros((9, 9), dtype=bool)
    true[4:, 4:] = True
    without_corner = true.copy()
    without_corner[-1, -1] = False
    grid = PixelGrid(9, 9, 1)
    expected = boundary_by_neighbours(without_corner)
    assert not expected[-1, -1]
    assert grid.boundary(grid.pack(without_corner)) == grid.pack(expected)


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 9])
def test_dilation_is_by_the_disk_and_erosion_by_the_square(radius):
    rng = np.random.default_rng(radius)
    mask = rng.random((23, 37)) < 0.02
    grid = PixelGrid(23, 37, radius)
    pixels = grid.pack(np.ones((23, 37), dtype=bool))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    dilated = ndimage.binary_dilation(mask, x * x + y * y <= radius * radius)
    assert grid.dilate_by_disk(grid.pack(mask), radius) & pixels == grid.pack(dilated)
    solid = ~ndimage.binary_dilation(rng.random((23, 37)) < 0.01, iterations=2)
    eroded = ndimage.binary_erosion(solid, np.ones((2 * radius + 1,) * 2))
    assert grid.erode_by_square(grid.pack(solid), radius) == grid.pack(eroded)


@pytest.mark.parametrize(
    ("height", "width", "radius", "thickness"),
    [(480, 854, 8, 20), (1080, 1920, 18, 44), (75, 100, 1, 2), (1, 1, 1, 1)],
)
def test_tolerances_in_pixels(height, width, radius, thickness):
    # 75x100 has a diagonal of 125: 0.008 of it is exactly 1, 0.02 of it is 2.5, which rounds to the even 2.
    assert (f_radius(height, width), boundary_thickness(height, width)) == (radius, thickness)


def test_masks_may_be_run_lengths():
    true, predicted = random_pair(np.random.default_rng(5))
    rles = [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in (true, predicted)]
    for function in (region_similarity, boundary_accuracy, boundary_iou):
        assert function(*rles) == function(true, predicted)


@pytest.mark.parametrize("function", [region_similarity, boundary_accuracy, boundary_iou])
def test_unequal_sizes_are_refused(function):
    with pytest.raises(ValueError, match="`prediction` must have 4x5 pixels"):
        function(np.zeros((4, 5), bool), np.zeros((5, 4), bool))
    with pytest.raises(TypeError, match="`ground_truth`"):
        function(None, np.zeros((5, 4), bool))


def test_void_of_another_size_is_refused():
    with pytest.raises(ValueError, match="`void` must have 4x5 pixels"):
        region_similarity(np.zeros((4, 5), bool), np.zeros((4, 5), bool), np.zeros((4, 4), bool))


@pytest.mark.parametrize("share", [0, -1, math.nan, math.inf])
def test_shares_of_the_diagonal_are_checked(share):
    masks = np.zeros((2, 4, 5), dtype=bool)
    with pytest.raises(ValueError, match="`tolerance`"):
        boundary_accuracy(*masks, tolerance=share)
    with pytest.raises(ValueError, match="`thickness`"):
        boundary_iou(*masks, thickness=share)


def test_series_statistics_by_hand():
    # n = 5: borders 0..4, each quarter holds two neighbouring frames. 0.5 itself is not above 0.5.
    statistics = series_statistics([0.9, 0.7, 0.5, 0.3, 0.2])
    assert statistics == (pytest.approx(0.52), pytest.approx(0.4), pytest.approx(0.8 - 0.25))
    assert series_statistics([0.7]) == (0.7, 1.0, 0.0)
    # n = 3: borders 1, 1.5, 2, 2.5, 3, halves rounded up: 0, 1, 1, 2, 2.
    assert series_statistics([1.0, 0.5, 0.0]).decay == pytest.approx(0.75 - 0.0)


def test_decay_bins_wrap_above_256_frames_unless_told_otherwise():
    falling = np.linspace(1, 0, 400)
    assert series_statistics(falling[:256]) == series_statistics(falling[:256], wrap_decay_bins=False)
    assert math.isnan(series_statistics(falling[:257]).decay)
    first, last = falling[:101].mean(), falling[299:].mean()
    assert series_statistics(falling, wrap_decay_bins=False).decay == pytest.approx(first - last)
    # Borders 299 and 399 stored in 8 bits are 43 and 143.
    assert series_statistics(falling).decay == pytest.approx(first - falling[43:144].mean())


@pytest.mark.parametrize("values", [[], [[0.5]], [0.1, math.nan]])
def test_series_are_checked(values):
    with pytest.raises(ValueError, match="`values`"):
        series_statistics(values)


def test_exact_mean_does_not_depend_on_the_order():
    values = list(np.random.default_rng(0).random(1000) ** 9)
    mean = exact_mean(values)
    assert mean == pytest.approx(math.fsum(values) / 1000, rel=1e-15)
    for seed in range(5):
        random.Random(seed).shuffle(values)
        assert exact_mean(values) == mean
    assert math.isnan(exact_mean([])) and math.isnan(exact_mean([0.1, math.nan]))
