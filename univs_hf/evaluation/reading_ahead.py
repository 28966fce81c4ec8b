# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Files of a video that are read and decoded while the frames before are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Decoding lets go of Python's lock; to hand a result over takes a fifth of the time of reading it: a few go together.
_TOGETHER = 4


def read_ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map(read, items)` in another thread, a few items ahead, so that memory is bounded.

    What a call raises is raised where the first result of its few would have come.

    Args:
        read: Called once for each item, in order, never twice at a time.
        items: What to read.
    """

    def read_some(some: list[Item]) -> list[Result]:
        return [read(item) for item in some]

    waiting = iter(items)
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(read_some, list(islice(waiting, _TOGETHER)))
        while results := future.result():
            future = executor.submit(read_some, list(islice(waiting, _TOGETHER)))
            yield from results
