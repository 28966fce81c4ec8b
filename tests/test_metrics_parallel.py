# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Metrics over several processes give the figures of one."""

import functools
import os

import pytest
from panoptic_videos import CATEGORIES, random_panoptic_video

from univs_hf.metrics.parallel import score_videos
from univs_hf.metrics.stq import STQMetric
from univs_hf.metrics.vps import VPQMetric


def score(metrics, seed, crowds):
    for metric in metrics.values():
        metric.update(f"v{seed}", *random_panoptic_video(seed, 5 + seed, crowds))


def score_or_fail(metric, seed):
    if seed == 3:
        raise ValueError("Video 'v3' is broken.")
    metric.update(f"v{seed}", *random_panoptic_video(seed, 3))


def die(metric, seed):
    os._exit(1)


def new_metrics():
    return {"vpq": VPQMetric(CATEGORIES), "stq": STQMetric(CATEGORIES)}


def test_as_many_processes_as_there_are_give_the_same_figures():
    videos = list(range(7))
    expected = score_videos(new_metrics(), videos, functools.partial(score, crowds=True))
    assert expected["stq"].video_ids == [f"v{seed}" for seed in videos]
    for num_workers in (1, 2, 20):
        metrics = new_metrics()
        found = score_videos(metrics, iter(videos), functools.partial(score, crowds=True), num_workers)
        assert found is metrics
        for name, metric in found.items():
            assert metric.compute() == expected[name].compute()
            assert list(metric._videos) == list(expected[name]._videos)


def test_videos_join_those_of_before():
    metric = STQMetric(CATEGORIES)
    score_or_fail(metric, 0)
    score_videos(metric, [1, 2], score_or_fail, num_workers=2)
    one_by_one = STQMetric(CATEGORIES)
    for seed in range(3):
        score_or_fail(one_by_one, seed)
    assert metric.compute() == one_by_one.compute()
    with pytest.raises(ValueError, match="'v1'"):
        score_videos(metric, [1], score_or_fail, num_workers=1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_errors_arrive(num_workers):
    with pytest.raises(ValueError, match="Video 'v3' is broken"):
        score_videos(STQMetric(CATEGORIES), range(6), score_or_fail, num_workers)


def test_a_killed_process_is_an_error():
    with pytest.raises(RuntimeError, match="terminated abruptly"):
        score_videos(STQMetric(CATEGORIES), range(4), die, num_workers=2)


def test_no_videos():
    metric = STQMetric(CATEGORIES)
    assert score_videos(metric, [], score_or_fail, num_workers=4) is metric
    assert len(metric) == 0


@pytest.mark.parametrize("num_workers", [-1, 1.5, True])
def test_bad_number_of_workers(num_workers):
    with pytest.raises(ValueError, match="`num_workers`"):
        score_videos(STQMetric(CATEGORIES), [1], score_or_fail, num_workers)
