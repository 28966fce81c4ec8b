# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Geometry of clips: what is drawn, its composition into one map, and what the map does to pictures and labels."""

import numpy as np
import pytest
import torch
from data_rows import disc, ramp

from univs_hf.data.clip_geometry import Augmentation, ClipGeometry, reduction_factor, sample_geometry
from univs_hf.data.clip_random import Purpose, generator
from univs_hf.data.clip_warp import any_label_stays, warp_clip

SIZE = (90, 120)


def draw(seed: int, config: Augmentation, num_frames: int = 4, size: tuple[int, int] = SIZE) -> ClipGeometry:
    return sample_geometry(generator(Purpose.GEOMETRY, seed), size, num_frames, config)


def sources(geometry: ClipGeometry, frame: int) -> np.ndarray:
    """Where the centre of each valid pixel lies in the source, float64 (h, w, 2)."""
    height, width = geometry.valid_size
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x, y, np.ones_like(x)], -1) @ geometry.matrices[frame].T


def near_pixel_border(points: np.ndarray) -> np.ndarray:
    """Where float32 may choose the neighbour."""
    return (np.abs(points - np.round(points)) < 2e-3).any(-1)


SQUARE = Augmentation(square_size=64, scale_range=(0.25, 4.0))
KEEP_SHAPE = Augmentation(square_size=None, shortest_edges=(48, 60, 100), longest_edge=140)


def test_nothing_drawn_is_the_identity():
    geometry = draw(0, Augmentation.fixed(shortest_edge=90, longest_edge=None))
    assert geometry.size == geometry.valid_size == SIZE and not geometry.flipped and geometry.scale == 1
    np.testing.assert_allclose(geometry.matrices, np.broadcast_to([[1, 0, 0], [0, 1, 0]], (4, 2, 3)), atol=1e-12)


def test_each_step_alone():
    mirror = draw(0, Augmentation(1.0, 0.0, square_size=None, shortest_edges=(90,), longest_edge=None))
    assert mirror.flipped
    np.testing.assert_allclose(mirror.matrices[0], [[-1, 0, 120], [0, 1, 0]], atol=1e-12)
    double = draw(0, Augmentation.fixed(shortest_edge=180, longest_edge=None))
    np.testing.assert_allclose(double.matrices[0], [[0.5, 0, 0], [0, 0.5, 0]], atol=1e-12)
    assert double.scale == 2 and double.size == (180, 240)
    turned = draw(0, Augmentation(0.0, 90.0, (0.5, 0.5), None, shortest_edges=(90,), longest_edge=None), 50)
    center = np.array([60.0, 45.0, 1.0])
    np.testing.assert_allclose(turned.matrices @ center, np.broadcast_to([60, 45], (50, 2)), atol=1e-9)
    angles = np.rad2deg(np.arctan2(turned.matrices[:, 0, 1], turned.matrices[:, 0, 0]))
    assert (np.diff(angles) > 0).all() or (np.diff(angles) < 0).all()
    assert -90 <= angles.min() < -60 and 60 < angles.max() <= 90
    np.testing.assert_allclose(np.linalg.det(turned.matrices[:, :, :2]), 1)


@pytest.mark.parametrize("seed", range(20))
def test_square_output(seed):
    geometry = draw(seed, SQUARE)
    assert geometry.size == (64, 64)
    # At scale 1 the picture just fits: 64 / 120.
    assert 0.24 * 64 / 120 < geometry.scale < 4.1 * 64 / 120
    resized = [max(round(side * geometry.scale), 1) for side in SIZE]
    for valid, side in zip(geometry.valid_size, resized, strict=True):
        assert abs(valid - min(side, 64)) <= 1
    # All frames are scaled alike; the area of a pixel tells it.
    areas = np.abs(np.linalg.det(geometry.matrices[:, :, :2]))
    np.testing.assert_allclose(areas, areas[0])
    # Without rotation the crop stays within the picture.
    still = draw(seed, Augmentation(square_size=64, max_rotation=0.0))
    for frame in range(4):
        points = sources(still, frame)
        assert points[..., 0].min() >= 0 and points[..., 0].max() <= 120
        assert points[..., 1].min() >= 0 and points[..., 1].max() <= 90


def test_crops_move_a_little_and_reach_everywhere():
    config = Augmentation(0.0, 0.0, square_size=64, scale_range=(4.0, 4.0), crop_shift=0.1)
    # 256 x 192 pixels, so 192 and 128 pixels of room, in pixels of the output.
    corners = np.stack([draw(seed, config).matrices[:, :, 2] / (120 / 256) for seed in range(400)])
    first = corners[:, 0]
    assert (first >= 0).all() and (first <= [192, 128]).all()
    assert (first.max(0) > [185, 120]).all() and (first.min(0) < [7, 8]).all()
    # The original draws one number for x and y; here they are independent.
    assert abs(np.corrcoef(first.T)[0, 1]) < 0.15
    steps = np.abs(corners[:, 1:] - first[:, None])
    # Both corners are rounded to whole pixels.
    assert 5.5 < steps.max() <= 6.4 + 1


def test_shape_kept():
    sizes = {draw(seed, KEEP_SHAPE).size for seed in range(60)}
    assert sizes == {(48, 64), (60, 80), (100, 133)}
    assert draw(0, Augmentation(square_size=None, shortest_edges=(200,), longest_edge=150)).size == (113, 150)


def test_half_are_mirrored():
    flips = [draw(seed, SQUARE, 1).flipped for seed in range(400)]
    assert 160 < sum(flips) < 240


@pytest.mark.parametrize("config", [SQUARE, KEEP_SHAPE], ids=["square", "shape"])
@pytest.mark.parametrize("seed", range(6))
def test_labels_follow_an_analytic_shape(config, seed):
    """A disc stays a disc: decided point by point at full precision, and on its continuous border."""
    geometry = draw(seed, config)
    center, radius = (66.0, 40.0), 21.0
    source = disc(*SIZE, center, radius)
    label_maps = torch.from_numpy((7 * source).astype(np.uint8))[None, None]
    frames = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    _, labels = warp_clip(frames, label_maps, [0] * 4, geometry)
    assert labels.shape == (1, 4, *geometry.size) and labels.dtype == torch.uint8
    height, width = geometry.valid_size
    for frame in range(4):
        points = sources(geometry, frame)
        warped = labels[0, frame, :height, :width].numpy()
        # The nearest pixel, exactly.
        inside = (points >= 0).all(-1) & (points < [SIZE[1], SIZE[0]]).all(-1)
        x, y = np.floor(np.where(inside[..., None], points, 0)).astype(int).transpose(2, 0, 1)
        expected = 7 * (source[y, x] & inside)
        sure = ~near_pixel_border(points)
        np.testing.assert_array_equal(warped[sure], expected[sure])
        # The disc itself: wrong only within the diagonal of a source pixel of its border.
        distance = np.hypot(points[..., 0] - center[0], points[..., 1] - center[1])
        far = np.abs(distance - radius) > 0.5**0.5 + 2e-3
        np.testing.assert_array_equal(warped[far & inside] == 7, (distance < radius)[far & inside])
        assert not labels[0, frame, height:].any() and not labels[0, frame, :, width:].any()


@pytest.mark.parametrize("config", [SQUARE, KEEP_SHAPE], ids=["square", "shape"])
@pytest.mark.parametrize("seed", range(6))
def test_pictures_follow_a_ramp(config, seed):
    """Bilinear sampling keeps a linear picture linear: each value tells the place it was taken from."""
    geometry = draw(seed, config)
    frames = torch.from_numpy(ramp(*SIZE))[None]
    label_maps = torch.ones(1, 1, *SIZE, dtype=torch.uint8)
    exact, labels = warp_clip(frames, label_maps, [0] * 4, geometry, dtype=torch.float32)
    rounded, _ = warp_clip(frames, label_maps, [0] * 4, geometry)
    assert exact.shape == (4, 3, *geometry.size) and rounded.dtype == torch.uint8
    np.testing.assert_array_equal(exact.round().numpy(), rounded.numpy())
    height, width = geometry.valid_size
    for frame in range(4):
        points = sources(geometry, frame)
        picture = exact[frame, :, :height, :width].numpy()
        # Up to the border; the outermost half pixel repeats the last one.
        within = (points > 0).all(-1) & (points < [SIZE[1], SIZE[0]]).all(-1)
        expected = np.clip(points - 0.5, 0, [SIZE[1] - 1, SIZE[0] - 1])
        assert within.any()
        np.testing.assert_allclose(picture[0][within], expected[..., 0][within], atol=3e-3)
        np.testing.assert_allclose(picture[1][within], expected[..., 1][within], atol=3e-3)
        np.testing.assert_allclose(picture[2][within], 100, atol=1e-3)
        outside = (points < -1.51).any(-1) | (points > [SIZE[1] + 1.51, SIZE[0] + 1.51]).any(-1)
        assert not picture[:, outside].any()
        # Labels end where the picture ends.
        sure = ~near_pixel_border(points)
        np.testing.assert_array_equal(labels[0, frame, :height, :width].numpy()[sure] == 1, within[sure])
        assert not exact[frame, :, height:].any() and not exact[frame, :, :, width:].any()


def test_frames_keep_their_source():
    """Each frame is warped from its own source, with its own map."""
    geometry = draw(1, SQUARE)
    frames = torch.stack([torch.full((*SIZE, 3), value, dtype=torch.uint8) for value in (50, 150)])
    label_maps = torch.stack([torch.full(SIZE, value, dtype=torch.uint8) for value in (3, 9)])[None]
    pictures, labels = warp_clip(frames, label_maps, [0, 1, 1, 0], geometry)
    assert [int(pictures[frame].max()) for frame in range(4)] == [50, 150, 150, 50]
    assert [int(labels[0, frame].max()) for frame in range(4)] == [3, 9, 9, 3]


def test_reduced_sources_land_at_the_same_place():
    """A source reduced by 2 gives the ramp at the same places, also where its sides are odd."""
    size = (91, 121)
    geometry = draw(2, Augmentation(square_size=48, scale_range=(0.9, 1.0)), size=size)
    assert reduction_factor(geometry.scale) == 2
    ys, xs = np.mgrid[:46, :61].astype(np.float32)
    # Means of blocks of two; the last block is cut off.
    picture = np.stack([2 * xs + 0.5, 2 * ys + 0.5, np.full_like(xs, 100)], -1)
    picture = torch.from_numpy(np.round(picture).astype(np.uint8))[None]
    labels = torch.from_numpy(disc(*size, (60, 45), 30).astype(np.uint8))[None, None]
    reduced, small_labels = warp_clip(picture, labels, [0] * 4, geometry, reduction=2, dtype=torch.float32)
    full = torch.from_numpy(ramp(*size))[None]
    expected, full_labels = warp_clip(full, labels, [0] * 4, geometry, dtype=torch.float32)
    np.testing.assert_array_equal(small_labels.numpy(), full_labels.numpy())
    height, width = geometry.valid_size
    points = sources(geometry, 0)
    within = (points > 2).all(-1) & (points < [size[1] - 3, size[0] - 3]).all(-1)
    difference = (reduced - expected)[0, :2, :height, :width].numpy()[:, within]
    # 2 x + 0.5 was rounded to even, half a level away; no shift remains on top of that.
    assert np.abs(difference).max() <= 0.5 + 1e-2


@pytest.mark.parametrize(("scale", "factor"), [(4, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.06, 16)])
def test_reduction_factor(scale, factor):
    assert reduction_factor(scale) == factor


def test_labels_that_stay():
    geometry = draw(3, Augmentation(0.0, 0.0, square_size=64, scale_range=(4, 4)))
    label_maps = torch.zeros(1, 1, *SIZE, dtype=torch.uint8)
    assert not any_label_stays(label_maps, [0] * 4, geometry)
    frames = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    agreed = set()
    for y in range(0, 90, 6):
        for x in range(0, 120, 6):
            label_maps.zero_()
            label_maps[0, 0, y, x] = 1
            stays = any_label_stays(label_maps, [0] * 4, geometry)
            assert stays == bool(warp_clip(frames, label_maps, [0] * 4, geometry)[1].any())
            agreed.add(stays)
    assert agreed == {True, False}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flip_probability": 1.5}, r"\[0, 1\], got 1.5"),
        ({"max_rotation": -1}, "degrees, got -1"),
        ({"rotation_center": (0.6, 0.4)}, "rotation_center"),
        ({"square_size": 0}, "square_size"),
        ({"scale_range": (0, 1)}, r"above 0, got \(0, 1\)"),
        ({"crop_shift": 2}, "crop_shift"),
        ({"shortest_edges": ()}, "shortest_edges"),
    ],
)
def test_bad_settings(changes, reason):
    with pytest.raises(ValueError, match=reason):
        Augmentation(**changes)
