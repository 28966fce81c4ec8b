# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The batch sampler as a function of seed, step and rank."""

import itertools
import json
import random

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from univs_hf.data.mixtures import stage_mixture
from univs_hf.data.sampler import ClipBatchSampler, ClipIndex, DatasetShare

SHARES = [DatasetShare("a", 7, 0.5), DatasetShare("b", 40, 1.5), DatasetShare("c", 1000, 3)]


def sampler(rank: int = 0, world_size: int = 1, batch_size: int = 2, **changes) -> ClipBatchSampler:
    return ClipBatchSampler(SHARES, batch_size, rank=rank, world_size=world_size, **{"seed": 3, **changes})


def take(source: ClipBatchSampler, count: int) -> list[list[ClipIndex]]:
    return list(itertools.islice(source, count))


def test_batches_are_homogeneous_and_in_range():
    for batch in take(sampler(), 300):
        assert len(batch) == 2 and len({index.dataset for index in batch}) == 1
        for index in batch:
            assert 0 <= index.row < SHARES[index.dataset].num_rows and 0 <= index.seed < 2**63


def test_datasets_are_drawn_by_weight():
    """Over steps and ranks, and in the first entries of the blocks in which numbers are drawn."""
    every = sampler(world_size=4)
    draws = np.array([[every.dataset_at(step, rank) for rank in range(4)] for step in range(5000)])
    expected = np.array([0.1, 0.3, 0.6])
    for part in (draws, draws[:, 0], draws[:, 3], draws[::16]):
        observed = np.bincount(part.ravel(), minlength=3)
        assert chisquare(observed, expected * observed.sum()).pvalue > 1e-3
    # Ranks draw independently.
    pairs = np.bincount(3 * draws[:, 0] + draws[:, 1], minlength=9)
    assert chisquare(pairs, np.outer(expected, expected).ravel() * pairs.sum()).pvalue > 1e-3


def test_published_weights():
    entries = stage_mixture("paper", 2).entries
    shares = [DatasetShare(entry.dataset, 50, entry.weight) for entry in entries]
    every = ClipBatchSampler(shares, 1)
    observed = np.bincount([every.dataset_at(step) for step in range(20_000)], minlength=len(shares))
    expected = np.array([entry.weight for entry in entries]) / 3.55
    assert chisquare(observed, expected * observed.sum()).pvalue > 1e-3


@pytest.mark.parametrize("one_dataset_per_step", [False, True])
def test_each_epoch_has_every_row_once_over_all_ranks(one_dataset_per_step):
    ranks = [sampler(rank, 3, one_dataset_per_step=one_dataset_per_step) for rank in range(3)]
    rows: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for step in range(600):
        for rank in ranks:
            for index in rank.batch_at(step):
                rows[index.dataset].append(index.row)
    for dataset, share in enumerate(SHARES):
        epochs = [rows[dataset][i : i + share.num_rows] for i in range(0, len(rows[dataset]), share.num_rows)]
        assert len(epochs) > 1
        for epoch in epochs[:-1]:
            assert sorted(epoch) == list(range(share.num_rows))
        assert len(set(epochs[-1])) == len(epochs[-1])
        assert epochs[0] != sorted(epochs[0]) and (len(epochs) < 3 or epochs[0] != epochs[1])


def test_ranks_do_not_overlap_within_a_step():
    ranks = [sampler(rank, 8, 4) for rank in range(8)]
    for step in range(100):
        # The small dataset wraps around; within the large one no row can come twice.
        large = [index.row for rank in ranks for index in rank.batch_at(step) if index.dataset == 2]
        assert len(set(large)) == len(large)


def test_clip_seeds_differ():
    seeds = [index.seed for rank in range(2) for batch in take(sampler(rank, 2), 500) for index in batch]
    assert len(set(seeds)) == len(seeds) == 2000
    first = {index.seed for batch in take(sampler(), 100) for index in batch}
    other = {index.seed for batch in take(sampler(seed=4), 100) for index in batch}
    assert not first & other


def test_pure_function_of_the_step():
    in_order = take(sampler(1, 2), 2500)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    jumping = sampler(1, 2)
    for step in (2400, 0, 1023, 1024, 1025, 2047, 2048, 7, 2499):
        assert jumping.batch_at(step) == in_order[step]
    assert take(sampler(1, 2, seed=4), 50) != in_order[:50]
    assert take(sampler(0, 2), 50) != in_order[:50]


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("step", [0, 1, 1000, 1024, 2050])
def test_resume(world_size, step):
    for rank in range(world_size):
        whole = take(sampler(rank, world_size), step + 40)
        state = json.loads(json.dumps(sampler(rank, world_size).state_dict(step)))
        resumed = sampler(rank, world_size)
        resumed.load_state_dict(state)
        assert take(resumed, 40) == whole[step:]
        # The state of a resumed run is that of the uninterrupted one.
        assert resumed.state_dict(step + 30) == sampler(rank, world_size).state_dict(step + 30)
        with pytest.raises(ValueError, match="`step` must be at least") if step else pytest.raises(ValueError):
            resumed.batch_at(step - 1)


def test_state_is_a_dozen_integers_and_alike_for_all_ranks():
    states = [sampler(rank, 4).state_dict(777) for rank in range(4)]
    assert all(state == states[0] for state in states)
    assert sum(states[0]["cursors"].values()) == 777 * 4 * 2


def test_state_tells_what_was_trained_not_what_was_read():
    source = sampler()
    ahead = iter(source)
    batches = [next(ahead) for _ in range(50)]
    state = source.state_dict(20)
    resumed = sampler()
    resumed.load_state_dict(state)
    assert take(resumed, 30) == batches[20:]


def test_one_dataset_per_step_does_not_depend_on_the_number_of_processes():
    single = take(sampler(0, 1, 4, one_dataset_per_step=True), 200)
    for world_size in (2, 4):
        ranks = [
            take(sampler(rank, world_size, 4 // world_size, one_dataset_per_step=True), 200)
            for rank in range(world_size)
        ]
        for step in range(200):
            assert [index for rank in ranks for index in rank[step]] == single[step]


def test_other_datasets_do_not_change_the_order_of_rows():
    alone = ClipBatchSampler([SHARES[2]], 1, seed=3)
    rows = [batch[0].row for batch in take(alone, 60)]
    among = [
        index for batch in take(ClipBatchSampler(SHARES, 1, seed=3), 200) for index in batch if index.dataset == 2
    ]
    assert [index.row for index in among][:60] == rows


def test_length():
    bounded = sampler(num_steps=30)
    assert len(bounded) == 30 and len(list(bounded)) == 30
    bounded.load_state_dict(sampler().state_dict(12))
    assert len(bounded) == 18 and len(list(bounded)) == 18
    with pytest.raises(TypeError, match="endless"):
        len(sampler())


def test_states_that_do_not_fit():
    state = sampler().state_dict(10)
    for changes, reason in (
        ({"seed": 4}, "seed 4, the sampler has 3"),
        ({"batch_size": 1}, "batch_size 1"),
        ({"world_size": 2}, "world_size 2"),
        ({"one_dataset_per_step": True}, "one_dataset_per_step"),
        ({"cursors": {"a": 0}}, r"datasets \['a'\]"),
    ):
        with pytest.raises(ValueError, match=reason):
            sampler().load_state_dict({**state, **changes})
    with pytest.raises(ValueError, match=r"lacks \['step'\]"):
        sampler().load_state_dict({name: value for name, value in state.items() if name != "step"})
    # Not strict: rows go on, a new dataset begins.
    wider = ClipBatchSampler([*SHARES, DatasetShare("d", 5, 1)], 1, seed=3, world_size=2)
    wider.load_state_dict(state, strict=False)
    assert wider.state_dict(10)["cursors"] == {**state["cursors"], "d": 0}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"datasets": []}, "one or more with distinct names"),
        ({"datasets": [SHARES[0], SHARES[0]]}, r"distinct names, got \['a', 'a'\]"),
        ({"datasets": [DatasetShare("x", 0)]}, "'x' must have at least one row"),
        ({"datasets": [DatasetShare("x", 1, 0.0)]}, "weight of 'x' must be above 0, got 0.0"),
        ({"datasets": [DatasetShare("x", 1, float("nan"))]}, "weight of 'x'"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"seed": -1}, "`seed`"),
        ({"rank": 2, "world_size": 2}, "got rank 2 of 2"),
        ({"num_steps": -1}, "`num_steps`"),
    ],
)
def test_bad_arguments(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        ClipBatchSampler(**{"datasets": SHARES, "batch_size": 1, **arguments})
