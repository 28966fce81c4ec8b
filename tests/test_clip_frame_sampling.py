# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Frames of a clip: reference, range, stills, time stamps."""

import numpy as np
import pytest
from scipy.stats import chisquare

from univs_hf.data.clip_frame_sampling import FrameSampling, sample_frames
from univs_hf.data.clip_random import Purpose, derive_seed, generator


def draw(num_video_frames: int, config: FrameSampling, count: int = 300):
    return [sample_frames(generator(Purpose.FRAMES, seed), num_video_frames, config) for seed in range(count)]


def test_videos():
    for sampled in draw(200, FrameSampling(5, 20)):
        frames = sampled.frame_idx
        assert frames.dtype == np.int64 and frames.shape == (5,)
        assert (np.diff(frames) >= 0).all() and frames[0] >= 0 and frames[-1] < 200
        # The reference is among them, so that all lie within the range of one of them.
        assert any((np.abs(frames - reference) <= 20).all() for reference in frames)


def test_range_is_used_in_full():
    spread = max(
        int(sampled.frame_idx[-1] - sampled.frame_idx[0]) for sampled in draw(200, FrameSampling(5, 20), 2000)
    )
    assert 36 <= spread <= 40


def test_reference_is_uniform():
    references = [int(sampled.frame_idx[0]) for sampled in draw(8, FrameSampling(1, 3), 4000)]
    assert chisquare(np.bincount(references, minlength=8)).pvalue > 1e-3


def test_twice_the_frames_by_default():
    assert FrameSampling(3, None).video_range == 6
    spread = max(int(s.frame_idx[-1] - s.frame_idx[0]) for s in draw(100, FrameSampling(3, None), 2000))
    assert 10 <= spread <= 12


def test_short_videos():
    for sampled in draw(2, FrameSampling(5, 40)):
        assert set(sampled.frame_idx.tolist()) <= {0, 1}
        # Others never repeat the reference, which is there once.
        assert sorted(np.bincount(sampled.frame_idx, minlength=2).tolist()) == [1, 4]


def test_images_are_stills():
    stamps = []
    for sampled in draw(1, FrameSampling(3, 40)):
        assert sampled.frame_idx.tolist() == [0, 0, 0]
        assert (np.diff(sampled.time_stamps) >= 0).all()
        stamps += sampled.time_stamps.tolist()
    assert (min(stamps), max(stamps)) == (0, 8)


def test_images_of_random_length():
    samples = draw(1, FrameSampling(3, 40, image_length=(16, 48)), 2000)
    largest = max(int(sampled.time_stamps[-1]) for sampled in samples)
    assert 44 <= largest <= 47
    assert all((sampled.frame_idx == 0).all() for sampled in samples)


def test_time_stamps_stay_within_the_encoding():
    shifted = 0
    for sampled in draw(1000, FrameSampling(5, 40), 500):
        assert (np.diff(sampled.time_stamps) == np.diff(sampled.frame_idx)).all()
        if sampled.frame_idx[-1] <= 128:
            assert (sampled.time_stamps == sampled.frame_idx).all()
        else:
            shifted += 1
            assert sampled.time_stamps[0] >= 1 and sampled.time_stamps[-1] <= 128
    assert shifted > 300


def test_streams_are_independent_and_repeatable():
    first = generator(Purpose.FRAMES, 3).random(4)
    np.testing.assert_array_equal(generator(Purpose.FRAMES, 3).random(4), first)
    others = [(Purpose.GEOMETRY, 3), (Purpose.FRAMES, 4), (Purpose.FRAMES, 3, 0), (Purpose.FRAMES, 3 + 2**32)]
    for purpose, *key in others:
        assert not (generator(purpose, *key).random(4) == first).any()
    seeds = {derive_seed(Purpose.CLIP_SEED, a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500 and 0 <= min(seeds) and max(seeds) < 2**63


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"num_frames": 0}, "`num_frames` must be at least 1, got 0"),
        ({"frame_range": 64}, r"\[1, 63\].*got 64"),
        ({"frame_range": 0}, r"\[1, 63\].*got 0"),
        ({"num_frames": 40, "frame_range": None}, r"\[1, 63\].*got 80"),
        ({"image_length": (5, 4)}, r"`image_length`.*\(5, 4\)"),
    ],
)
def test_bad_settings(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        FrameSampling(**arguments)
    with pytest.raises(ValueError, match="`num_video_frames` must be at least 1"):
        sample_frames(generator(Purpose.FRAMES, 0), 0, FrameSampling())
