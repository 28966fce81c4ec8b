# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The processes of `accelerate launch`, and how videos are shared among them."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

# Processes wait for one another at the end; one may have hours more to do than another.
_PATIENCE = timedelta(days=30)


class Processes:
    """This process among those of a launch; alone if there was none.

    Args:
        device (`str`, *optional*): Device that the user asked for; by default what accelerate assigns.

    Raises:
        ImportError: If accelerate is not installed.
        ValueError: If several processes were launched that cannot work together, or not on that device.

    Attributes:
        index (`int`): Number of this process, from 0.
        count (`int`): Number of processes.
        device: Device of this process.
    """

    def __init__(self, device: str | None = None):
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise ImportError("Evaluation needs accelerate: pip install 'univs-hf[eval]'.") from error
        import torch

        # accelerate wants to be told that processes have no accelerator; else each takes itself for the only one.
        has_accelerator = torch.accelerator.is_available() and os.environ.get("ACCELERATE_USE_CPU") != "true"
        self._state = PartialState(cpu=device == "cpu" or not has_accelerator, timeout=_PATIENCE)
        self.index: int = self._state.process_index
        self.count: int = self._state.num_processes
        launched = int(os.environ.get("WORLD_SIZE", 1))
        if self.count != launched:
            raise ValueError(
                f"{launched} processes were launched, but accelerate knows of {self.count} with the device "
                f"{self._state.device}: give --device cpu, or launch one process."
            )
        if self.count > 1 and device not in (None, "cpu", self._state.device.type):
            raise ValueError(
                f"With {self.count} processes accelerate chooses the devices, but {device!r} was asked for."
            )
        self.device = self._state.device if device is None else device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes what all have in common."""
        return self._state.is_main_process

    def wait(self) -> None:
        """Waits until all processes are here."""
        self._state.wait_for_everyone()

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in their order, on every process."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])


def share_videos(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Shares videos so that each process gets about as many frames: the longest first, each to whom has least.

    Args:
        sizes (mapping of `str` to `int`): Frames of each video.
        count (`int`): Number of processes.

    Returns:
        `list[list[str]]`: Videos of each process, the longest first. It depends on the arguments only.
    """
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [(0, index) for index in range(count)]
    for video_id in _longest_first(sizes):
        load, index = heapq.heappop(loads)
        shares[index].append(video_id)
        heapq.heappush(loads, (load + sizes[video_id], index))
    return shares


def _longest_first(sizes: Mapping[str, int]) -> Sequence[str]:
    return sorted(sizes, key=lambda video_id: (-sizes[video_id], video_id))
