# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Random numbers of a clip: everything drawn for it follows from one integer, the clip seed."""

from __future__ import annotations

import enum

import numpy as np

MAX_SEED = 2**63 - 1


class Purpose(enum.IntEnum):
    """What numbers are drawn for. Each purpose has its own stream, so that one draw more does not shift the rest."""

    FRAMES = 1
    GEOMETRY = 2
    ENTITIES = 3
    EXPRESSIONS = 4
    RETRY = 5
    DATASET_DRAW = 6
    ROW_ORDER = 7
    CLIP_SEED = 8


def generator(purpose: Purpose, *key: int) -> np.random.Generator:
    """A counter-based generator that depends on its arguments only.

    Args:
        purpose: What is drawn.
        key: Integers in [0, 2^64), for a clip its seed.
    """
    return np.random.Generator(np.random.Philox(_seed_sequence(purpose, key)))


def derive_seed(purpose: Purpose, *key: int) -> int:
    """An integer in [0, 2^63) that depends on its arguments only."""
    state = _seed_sequence(purpose, key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def _seed_sequence(purpose: Purpose, key: tuple[int, ...]) -> np.random.SeedSequence:
    # Numbers of a fixed width and their count: numpy takes (3,) and (3, 0), or (2^32,) and (0, 1), for the same.
    words = [word for number in key for word in (number & 0xFFFFFFFF, number >> 32)]
    return np.random.SeedSequence([int(purpose), len(key), *words])
