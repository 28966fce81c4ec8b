# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Figures of the updates between two lines of the log: means of the losses, speed, waiting, memory."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

_GIB = 2**30


class StepFigures:
    """Collects figures of the steps of this process, and combines them over the processes.

    Losses stay on the device until they are asked for.

    Args:
        accelerator: The run's.
    """

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._clips = 0
        self._data_seconds = 0.0
        self._began = time.perf_counter()
        if self._accelerator.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._accelerator.device)

    def add(self, losses: Mapping[str, Tensor], num_clips: int, data_seconds: float) -> None:
        """Takes in a step.

        Args:
            losses: Scalars by name.
            num_clips: Clips of this process.
            data_seconds: How long it waited for them.
        """
        for name, value in losses.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._clips += num_clips
        self._data_seconds += data_seconds

    def leave_out(self, seconds: float) -> None:
        """Time that was spent on something else, such as an evaluation."""
        self._began += seconds

    def collect(self) -> dict[str, float]:
        """Figures since the last call, over all processes; every process must call it.

        Returns:
            Means of the losses by name; `clips_per_second` of all processes, `data_wait` (share of the time, mean),
            `memory_gib` (of the process with most).
        """
        seconds = max(time.perf_counter() - self._began, 1e-9)
        mine = {
            "sums": {name: value.item() for name, value in self._sums.items()},
            "counts": self._counts,
            "clips": self._clips,
            "data_wait": self._data_seconds / seconds,
            "memory_gib": memory_gib(self._accelerator.device),
        }
        every = gather_object([mine]) if self._accelerator.num_processes > 1 else [mine]
        names = sorted({name for figures in every for name in figures["sums"]})
        entry = {}
        for name in names:
            having = [figures for figures in every if name in figures["sums"]]
            total = sum(figures["sums"][name] for figures in having)
            entry[name] = total / sum(figures["counts"][name] for figures in having)
        entry["clips_per_second"] = sum(figures["clips"] for figures in every) / seconds
        entry["data_wait"] = min(sum(figures["data_wait"] for figures in every) / len(every), 1.0)
        entry["memory_gib"] = max(figures["memory_gib"] for figures in every)
        self._reset()
        return entry


def memory_gib(device: torch.device) -> float:
    """Largest memory since the last reset on a CUDA device; elsewhere what the process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _GIB
    return psutil.Process().memory_info().rss / _GIB
