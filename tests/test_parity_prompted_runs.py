# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""How recorded runs are judged: what an attention bit may disturb passes, anything else fails."""

import math
from typing import Any

import pytest
import torch
from parity_prompted_runs import StepRecord, pixels_row
from torch import Tensor


class RecordedTensors(dict):
    """Tensors by name, as a fixture holds them."""

    name = "recorded"


STATE, PROMPT_OUTPUT, LEARN_OUTPUT = "state/embds_last3", "out/prompt_masks", "out/learn_masks_subset"
EXPECTED = torch.linspace(-10, 10, 50)


def judge(differences: dict[tuple[str, int], Any], num_steps: int = 8) -> dict[str, bool]:
    """Whether each tensor passes when the given (tensor, step) differ by a number or tensor."""
    names = (STATE, PROMPT_OUTPUT, LEARN_OUTPUT)
    fixture = RecordedTensors({f"step{step:02d}/{name}": EXPECTED for step in range(num_steps) for name in names})
    record = StepRecord(fixture)
    for step in range(num_steps):
        for name in names:
            record.add(step, name, EXPECTED + differences.get((name, step), 0.0))
    return {row.tensor.split(" (")[0]: row.passed for row in record.rows()}


def flip(size: float = 2.0) -> Tensor:
    """One value in fifty moves."""
    return torch.eye(50)[7] * size


def test_equal_runs_pass():
    assert judge({}) == {STATE: True, PROMPT_OUTPUT: True, LEARN_OUTPUT: True}


def test_state_that_differs_without_a_cause_fails():
    assert not judge({(STATE, 3): flip()})[STATE]
    assert not judge({(STATE, 3): flip(), (PROMPT_OUTPUT, 3): flip()})[STATE]
    assert not judge({(STATE, 3): flip(), (PROMPT_OUTPUT, 5): flip()})[STATE]
    assert not judge({(STATE, 0): 0.01})[STATE]


def test_state_may_follow_from_a_disturbed_step():
    passed = judge({(PROMPT_OUTPUT, 3): flip(), (STATE, 4): flip(), (PROMPT_OUTPUT, 4): flip(), (STATE, 5): flip()})
    assert all(passed.values())


def test_only_few_steps_may_be_disturbed_and_by_little():
    assert judge({(PROMPT_OUTPUT, 3): flip()})[PROMPT_OUTPUT]
    assert not judge({(PROMPT_OUTPUT, 3): flip(), (PROMPT_OUTPUT, 5): flip()})[PROMPT_OUTPUT]
    assert judge({(PROMPT_OUTPUT, 3): flip(), (PROMPT_OUTPUT, 5): flip()}, num_steps=12)[PROMPT_OUTPUT]
    assert not judge({(PROMPT_OUTPUT, 3): 2.0})[PROMPT_OUTPUT]
    # The first step must agree on the whole.
    assert not judge({(PROMPT_OUTPUT, 0): 0.05})[PROMPT_OUTPUT]


def test_learnable_queries_have_no_earlier_step_to_follow_from():
    steps = {(LEARN_OUTPUT, step): flip() for step in (3, 4, 5)}
    assert not judge({**steps, (STATE, 4): flip(), (STATE, 5): flip()})[LEARN_OUTPUT]


def test_other_shapes_and_nan_fail():
    fixture = RecordedTensors({"step00/out/prompt_masks": EXPECTED, "step01/out/prompt_masks": EXPECTED})
    record = StepRecord(fixture)
    record.add(0, PROMPT_OUTPUT, EXPECTED[:-1])
    record.add(1, PROMPT_OUTPUT, EXPECTED)
    (row,) = record.rows()
    assert not row.passed
    assert not judge({(PROMPT_OUTPUT, 2): math.nan})[PROMPT_OUTPUT]


@pytest.mark.parametrize(("changed", "passed"), [(0, True), (10, True), (11, False)])
def test_a_thousandth_of_the_pixels_may_differ(changed: int, passed: bool) -> None:
    expected = torch.zeros(4, 50, 50, dtype=torch.int32)
    got = expected.clone()
    got.view(-1)[:changed] = 1
    row = pixels_row(RecordedTensors(), "final/label_map", got, expected)
    assert row.passed == passed and row.absolute == changed
    assert not pixels_row(RecordedTensors(), "final/label_map", got[1:], expected).passed
