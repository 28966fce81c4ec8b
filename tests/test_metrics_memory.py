# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A video that comes frame by frame takes as much memory when it is four times as long."""

import tracemalloc

import numpy as np
import pytest
from panoptic_videos import CATEGORIES

from univs_hf.metrics.stq import STQMetric
from univs_hf.metrics.vps import VPQMetric
from univs_hf.metrics.vss import VSSMetric


def semantic_frames(length: int):
    rng = np.random.default_rng(0)
    for _ in range(length):
        yield rng.integers(1, 20, (64, 64), dtype=np.uint8)


def panoptic_frames(length: int):
    rng = np.random.default_rng(0)
    for _ in range(length):
        ids = rng.integers(0, 6, (64, 64), dtype=np.uint32) + 1
        yield ids, [{"id": i, "category_id": (1, 2, 4, 7, 9, 9)[i - 1]} for i in range(1, 7)]


@pytest.mark.parametrize(
    ("new_metric", "frames", "length"),
    [
        (lambda: VSSMetric(20), semantic_frames, 400),
        (lambda: VPQMetric(CATEGORIES), panoptic_frames, 100),
        (lambda: STQMetric(CATEGORIES), panoptic_frames, 100),
    ],
    ids=["vss", "vpq", "stq"],
)
def test_memory_does_not_grow_with_frames(new_metric, frames, length):
    peaks = []
    for times in (1, 4):
        metric = new_metric()
        tracemalloc.start()
        metric.update("a", frames(times * length), frames(times * length))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Less than the frames that the longer video has more, and far less than all of them.
    assert peaks[1] < 1.25 * peaks[0] + 64 * 64 * 8
