# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a run goes on from: weights, optimizer, average of the weights, position in the data."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from torch import nn
from transformers.utils import logging as transformers_logging

from ..data.clip_stream import ClipStream, merged_state
from ..data.sampler import ClipBatchSampler
from .checkpoints import CheckpointFolder, DamagedCheckpointError, verify
from .config import TrainingConfig
from .config_files import config_to_dict
from .ema import WeightAverage
from .processes import unsharded_shapes

logger = logging.getLogger(__name__)

_TRAINER_FILE = "trainer.json"
# Values that may differ when a run goes on, without a word.
_FREE_SECTIONS = ("output_dir", "checkpoint", "tracking", "evaluation", "cpu")


class RunState:
    """Saves and restores the state of a run in its checkpoints.

    Args:
        config: The run's.
        output_dir: Its directory.
        accelerator: Its accelerator.

    Attributes:
        folder: The checkpoints.
    """

    def __init__(self, config: TrainingConfig, output_dir: Path, accelerator: Accelerator):
        self.config = config
        self.accelerator = accelerator
        self.folder = CheckpointFolder(output_dir / "checkpoints", config.checkpoint.keep)

    def find(self) -> Path | None:
        """The checkpoint to go on from, the same on all processes; None to begin.

        Raises:
            DamagedCheckpointError: If a checkpoint that was asked for is not what was written, or all of a run are
                damaged.
            FileExistsError: If there are checkpoints and the run is not to go on.
        """
        resume = self.config.checkpoint.resume
        if resume == "never":
            if self.folder.steps():
                raise FileExistsError(
                    f"{self.folder.path} holds checkpoints of a run: choose another `output_dir`, or set "
                    "`checkpoint.resume` to auto to go on with it."
                )
            return None
        # Every process verifying for itself would read all files once more.
        found: list[Any] = [None]
        if self.accelerator.is_main_process:
            try:
                if resume == "auto":
                    found = [self.folder.newest_intact()]
                    if found == [None] and self.folder.steps():
                        raise DamagedCheckpointError(
                            f"No checkpoint in {self.folder.path} is what was written. Remove them to begin again."
                        )
                else:
                    verify(Path(resume))
                    found = [Path(resume)]
            except ValueError as error:
                found = [error]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def save(
        self,
        step: int,
        sampler: ClipBatchSampler | ClipStream,
        accumulation: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        processor: Any,
    ) -> Path:
        """Writes the checkpoint of a step, which all processes take part in; returns its directory."""
        accelerator = self.accelerator
        is_main = accelerator.is_main_process
        position = sampler.state_dict(step * accumulation)
        if isinstance(sampler, ClipStream):
            # Each process knows of its own data workers only.
            position = merged_state(gather_object([position]))
        accelerator.wait_for_everyone()
        with self.folder.writing(step) if is_main else contextlib.nullcontext(self.folder.temporary(step)) as folder:
            accelerator.wait_for_everyone()
            if self._is_sharded:
                _complete_state(optimizer)
            accelerator.save_state(str(folder / "state"), safe_serialization=True)
            if average is not None and (is_main or self._is_sharded):
                torch.save(average.state_dict(), folder / "state" / self._average_file())
            with contextlib.nullcontext() if average is None else average.applied():
                weights = accelerator.get_state_dict(model)
                if is_main:
                    bare = accelerator.unwrap_model(model)
                    with _without_progress_bars():
                        bare.save_pretrained(folder / "model", state_dict=unsharded_shapes(bare, weights))
                    processor.save_pretrained(folder / "model")
            if is_main:
                facts = {
                    "step": step,
                    "accumulation": accumulation,
                    "sampler": position,
                    "config": config_to_dict(self.config),
                }
                (folder / "state" / _TRAINER_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            accelerator.wait_for_everyone()
        accelerator.wait_for_everyone()
        return self.folder.of_step(step)

    def load(
        self, folder: Path, sampler: ClipBatchSampler | ClipStream, average: WeightAverage | None, accumulation: int
    ) -> int:
        """Restores weights, optimizer, average and sampler.

        Returns:
            The step of the checkpoint.

        Raises:
            ValueError: If the run would go on with other batches than it would have had, and that was not allowed; or
                with an average where it had none.
        """
        facts = json.loads((folder / "state" / _TRAINER_FILE).read_text(encoding="utf-8"))
        strict = self.config.checkpoint.strict
        if strict and facts["accumulation"] != accumulation:
            raise ValueError(
                f"{folder} is of a run with {facts['accumulation']} batches per update and process, this one has "
                f"{accumulation}. Set `checkpoint.strict` to false to go on nevertheless."
            )
        state = facts["sampler"]
        try:
            # Other accumulation counts batches otherwise.
            sampler.load_state_dict({**state, "step": facts["step"] * accumulation}, strict=strict)
        except ValueError as error:
            raise ValueError(f"{folder}: {error} Set `checkpoint.strict` to false to go on nevertheless.") from error
        for change in sorted(_differences(facts["config"], json.loads(json.dumps(config_to_dict(self.config))))):
            logger.warning("The run goes on with another %s", change)
        self.accelerator.load_state(str(folder / "state"))
        if average is not None:
            path = folder / "state" / self._average_file()
            if not path.is_file():
                raise ValueError(f"{folder} holds no average of the weights: go on with `ema.enabled` false.")
            average.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return int(facts["step"])

    @property
    def _is_sharded(self) -> bool:
        return self.accelerator.distributed_type == DistributedType.FSDP

    def _average_file(self) -> str:
        return f"average-{self.accelerator.process_index}.pt" if self._is_sharded else "average.pt"


def _complete_state(optimizer: torch.optim.Optimizer) -> None:
    """Gives parameters that have had no gradient yet the state that AdamW begins with, which FSDP expects of all."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter not in optimizer.state:
                optimizer.state[parameter] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """The run has a progress bar of its own."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()


def _differences(before: Any, now: Any, place: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            change
            for key in {**before, **now}
            if place or key not in _FREE_SECTIONS
            for change in _differences(before.get(key), now.get(key), f"{place}.{key}" if place else key)
        ]
    return [] if before == now else [f"`{place}`: {now!r}, it was {before!r}."]
