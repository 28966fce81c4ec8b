# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Files that are compressed and written while the model goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

# Compression of pictures lets go of Python's lock, so that a few threads do keep up with a GPU.
_THREADS = 2
_MAX_WAITING = 16


class BackgroundWriter:
    """Calls functions that write files, in other threads; a context, which ends when all are written.

    What a call raises is raised again by a later `submit` or at the end of the context. Few calls wait at a time, so
    that memory is bounded.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[Future[Any]] = deque()

    def submit(self, write: Callable[..., Any], *args: Any) -> None:
        """Calls `write(*args)` soon; the arguments may not be changed any more."""
        if len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._executor.submit(write, *args))

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, exc_type: type | None, *exc_info: object) -> None:
        try:
            while self._waiting and exc_type is None:
                self._waiting.popleft().result()
        finally:
            # Nothing may be written any more when the folder is removed or renamed.
            self._executor.shutdown(wait=True, cancel_futures=True)
