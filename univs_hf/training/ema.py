# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .config import EmaConfig


class WeightAverage:
    """Moving average of all parameters that take gradients, and of buffers such as the statistics of batch norms.

    The average lives beside the model, and [`applied`] puts it into the model for a while. The original overwrites
    the trained weights for an evaluation and never brings them back.

    Args:
        model: The model, not wrapped. Sharded parameters have sharded averages.
        config: How to average.
    """

    def __init__(self, model: nn.Module, config: EmaConfig):
        self.config = config
        self.num_updates = 0
        self._parameters = {name for name, value in model.named_parameters() if value.requires_grad}
        self._trained: dict[str, Tensor] = {
            name: value for name, value in model.named_parameters() if name in self._parameters
        }
        self._trained |= {name: value for name, value in model.named_buffers() if value.is_floating_point()}
        self._average = {name: value.detach().clone() for name, value in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights of the model, after an update of these."""
        share = 1 - self.config.decay_at(self.num_updates)
        for name, average in self._average.items():
            average.lerp_(self._trained[name].detach(), share)
        self.num_updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights meanwhile, and its own to the bit afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, average in self._average.items():
            trained = self._trained[name]
            kept = trained.detach().clone()
            trained.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """The averages by name, and the number of updates."""
        return {"num_updates": self.num_updates, "average": dict(self._average)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state; buffers that it lacks stay as they are.

        Raises:
            ValueError: If it is of other parameters.
        """
        # Names of a model that was wrapped for several processes.
        saved: dict[str, Tensor] = {name.removeprefix("module."): value for name, value in state["average"].items()}
        other = sorted((self._parameters - set(saved)) | (set(saved) - set(self._average)))
        if other:
            raise ValueError(f"`state` averages other parameters than those that are trained: {other[:5]}.")
        self.num_updates = int(state["num_updates"])
        for name, value in saved.items():
            self._average[name].copy_(value)
