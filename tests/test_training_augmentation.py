# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What is drawn for a clip holds for all of its frames, however many they are (bug B6 of the original)."""

import numpy as np
import torch

from univs_hf.data.clip_geometry import Augmentation, sample_geometry
from univs_hf.data.clip_warp import warp_clip

# The original draws anew after five frames, while clips of stage 3 have seven.
NUM_FRAMES = 7


def centres(label_maps: torch.Tensor, label: int) -> torch.Tensor:
    """Column of the centre of an object in each frame `(T, H, W)`."""
    masks = (label_maps == label).float()
    columns = torch.arange(label_maps.shape[-1], dtype=torch.float32)
    return (masks.sum(1) @ columns) / masks.sum((1, 2))


def test_a_clip_of_seven_frames_is_mirrored_as_a_whole() -> None:
    """A still picture with an object on the left and one on the right: they change sides in all frames or in none."""
    picture = torch.zeros(1, 1, 60, 100, dtype=torch.uint8)
    picture[..., 20:40, 15:35] = 1
    picture[..., 20:40, 65:85] = 2
    frames = torch.zeros(1, 60, 100, 3, dtype=torch.uint8)
    config = Augmentation(square_size=None, shortest_edges=(60,), longest_edge=None)
    sides = set()
    for seed in range(40):
        geometry = sample_geometry(np.random.default_rng(seed), (60, 100), NUM_FRAMES, config)
        _, maps = warp_clip(frames, picture, (0,) * NUM_FRAMES, geometry, 1, torch.uint8)
        on_the_left = centres(maps[0], 1) < centres(maps[0], 2)
        assert on_the_left.all() or not on_the_left.any()
        assert bool(on_the_left[0]) != geometry.flipped
        sides.add(geometry.flipped)
    assert sides == {True, False}


def test_scale_and_sense_of_rotation_hold_for_the_whole_clip() -> None:
    config = Augmentation(square_size=128)
    for seed in range(40):
        matrices = sample_geometry(np.random.default_rng(seed), (60, 100), NUM_FRAMES, config).matrices
        determinants = np.linalg.det(matrices[:, :, :2])
        np.testing.assert_allclose(determinants, determinants[0])
        angles = np.arctan2(matrices[:, 1, 0], matrices[:, 1, 1])
        steps = np.diff(angles)
        assert (steps >= 0).all() or (steps <= 0).all()
