# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The training loop: a function of a configuration, the same under `accelerate launch`, in a notebook and in tests.

One update of the weights is one step; with accumulation it takes several batches of each process. Everything random
follows from the seed, the step and the clips, so a run that goes on from a checkpoint repeats nothing and loses
nothing.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object
from torch import Tensor

from ..data.clip_dataset import ClipDataset
from ..data.clip_stream import ClipStream
from ..data.sampler import ClipBatchSampler
from .clip_loading import ClipBatches
from .clip_sources import clip_sources, stream_sources
from .config import TrainingConfig
from .config_files import config_to_dict, write_config
from .display import RunDisplay
from .ema import WeightAverage
from .evaluation import EvaluationHook, ShapesEvaluation
from .freezing import set_trainable_parameters, training_mode
from .model_inputs import ModelInputs, give_only_loss, shown_terms
from .model_start import FINAL_MODEL, align_memory, load_model, load_processor, load_start
from .optimizer import make_optimizer, set_learning_rate
from .processes import make_accelerator, prepare_sharding, rename_into_place
from .run_log import RunLog, read_log
from .run_state import RunState
from .step_figures import StepFigures

logger = logging.getLogger(__name__)


class NonFiniteLossError(FloatingPointError):
    """A loss or a gradient is not finite; the message names the clips and the terms.

    Attributes:
        keys: Rows of the batches of the step, over all processes.
    """

    def __init__(self, message: str, keys: list[str]):
        super().__init__(message)
        self.keys = keys


@dataclass
class TrainingResult:
    """What a run came to.

    Attributes:
        step: Updates that were made, with those of earlier runs that this one went on from.
        model_path: Directory of the final model and processor, for `from_pretrained`.
        history: Entries of the log. Those of the training have `loss`, its terms, `learning_rate`, `gradient_norm`,
            `clips_per_second`, `data_wait`, `memory_gib`; those of evaluations `evaluation/...`. All have `step`.
        resumed_from: Checkpoint that the run went on from, if any.
    """

    step: int
    model_path: Path
    history: list[dict[str, Any]]
    resumed_from: Path | None = None

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(step, loss) of all entries of the training."""
        return [(entry["step"], entry["loss"]) for entry in self.history if "loss" in entry]

    @property
    def evaluations(self) -> dict[int, dict[str, float]]:
        """Step -> figures of the evaluation at it."""
        found: dict[int, dict[str, float]] = {}
        for entry in self.history:
            figures = {
                key.removeprefix("evaluation/"): value for key, value in entry.items() if key.startswith("evaluation/")
            }
            if figures:
                found[entry["step"]] = figures
        return found


def train(
    config: TrainingConfig, evaluate: EvaluationHook | None = None, accelerator: Accelerator | None = None
) -> TrainingResult:
    """Trains a model; goes on from the newest intact checkpoint of the output directory, if there is one.

    Args:
        config: Everything about the run.
        evaluate: Called every `evaluation.every` updates, and at the end, on every process, in place of the
            evaluation on moving shapes.
        accelerator: One that exists already; by default made from the configuration and the launch.

    Raises:
        FileExistsError: If the output directory holds a run and `checkpoint.resume` is `"never"`.
        MissingDatasetError: If datasets are not there.
        NonFiniteLossError: If a loss is not finite. Checkpoints stay as they are.
        ValueError: If the configuration does not hold.

    Example:
        >>> config = load_config("training/configs/resnet50_stage2.yaml", ["--output_dir", "runs/stage2"])
        >>> result = train(config)
        >>> result.losses[-1]
    """
    config.check()
    return _Run(config, evaluate, make_accelerator(config) if accelerator is None else accelerator).train()


def step_seed(*numbers: int) -> int:
    """A seed for torch that depends on its arguments only."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class _Run:
    """One call of [`train`]."""

    def __init__(self, config: TrainingConfig, evaluate: EvaluationHook | None, accelerator: Accelerator):
        self.config = config
        self.accelerator = accelerator
        self.output_dir = Path(config.output_dir)
        self.accumulation = config.optimizer.accumulation(config.data.batch_size, accelerator.num_processes)
        accelerator.gradient_accumulation_steps = self.accumulation
        # Whatever can be wrong with the data or the evaluation is told before anything is loaded or written.
        self.dataset, self.sampler = self._open_dataset()
        if evaluate is None and config.evaluation.every:
            evaluate = ShapesEvaluation(config.evaluation, self.output_dir, accelerator)
        self.evaluate = evaluate if config.evaluation.every else None
        if accelerator.distributed_type == DistributedType.FSDP:
            self._check_sharded()
        self.state = RunState(config, self.output_dir, accelerator)
        self.resumed_from = self.newest_checkpoint = self.state.find()
        self._load_model()
        self.log = RunLog(self.output_dir / "log.jsonl")
        self.step = 0

    def _open_dataset(self) -> tuple[ClipDataset | ClipStream, ClipBatchSampler | ClipStream]:
        """The clips, and what says which are next: a stream is both."""
        config, data = self.config, self.config.data
        place = {
            "seed": config.seed,
            "rank": self.accelerator.process_index,
            "world_size": self.accelerator.num_processes,
            "num_steps": config.schedule.max_steps * self.accumulation,
            "one_dataset_per_step": data.one_dataset_per_step,
        }
        if data.streaming:
            stream = ClipStream(
                stream_sources(config),
                data.batch_size,
                data.num_workers,
                shards_together=data.row_groups_together,
                geometry_on_device=data.geometry_on_device,
                **place,
            )
            return stream, stream
        # The first process turns Parquet into Arrow for all.
        with self.accelerator.local_main_process_first():
            dataset = ClipDataset(clip_sources(config), geometry_on_device=data.geometry_on_device)
        return dataset, ClipBatchSampler(dataset.shares, data.batch_size, **place)

    def _check_sharded(self) -> None:
        if self.evaluate is not None:
            raise ValueError("`evaluation.every` must be 0 with FSDP: videos need the whole model in each process.")
        # Weights that a task does not use have no gradient, and FSDP reduces those of all processes together.
        if self.accelerator.num_processes > 1 and not self.config.data.one_dataset_per_step:
            raise ValueError(
                "`data.one_dataset_per_step` must be true with FSDP: processes have to use the same weights."
            )

    def _load_model(self) -> None:
        config, accelerator = self.config, self.accelerator
        if self.resumed_from is None:
            model, self.processor = load_start(config, accelerator)
        else:
            # The start may be gone by now; weights follow with the rest of the state.
            model = load_model(self.resumed_from / "model", config)
            self.processor = load_processor(None, self.resumed_from / "model")
        align_memory(model)
        set_trainable_parameters(model, config.model)
        if config.model.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # The text tower of a sharded model works within the forward pass of the whole only.
        embed_in_forward = config.model.train_text_encoder or (
            accelerator.distributed_type == DistributedType.FSDP and model.category_embeddings is None
        )
        self.inputs = ModelInputs(model, self.processor, config.prompts, embed_in_forward)
        prepare_sharding(accelerator, model)
        optimizer = make_optimizer(model, config.optimizer)
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.bare_model = accelerator.unwrap_model(self.model)
        self.average = WeightAverage(self.bare_model, config.ema) if config.ema.enabled else None

    def train(self) -> TrainingResult:
        config, accelerator = self.config, self.accelerator
        if self.resumed_from is not None:
            self.step = self.state.load(self.resumed_from, self.sampler, self.average, self.accumulation)
        if accelerator.is_main_process:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self.log.begin(self.step)
            write_config(config, self.output_dir / "config.yaml")
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            self.log.entries = read_log(self.log.path)
        accelerator.init_trackers(config.tracking.project, config=_flat(config_to_dict(config)))
        batches = ClipBatches(
            self.dataset,
            self.sampler,
            config.data,
            accelerator.device,
            self.bare_model.config.image_mean,
            self.bare_model.config.image_std,
            self.bare_model.config.size_divisibility,
        )
        shown = config.tracking.progress and accelerator.is_main_process
        self.display = RunDisplay(self.step, config.schedule.max_steps, shown)
        only_loss = give_only_loss(self.bare_model)
        try:
            with self.display, batches.open():
                if self.resumed_from is not None:
                    self.display.line(f"going on from {self.resumed_from}")
                self._train_steps(batches)
            self._write_final_model()
        finally:
            only_loss.remove()
            accelerator.end_training()
        return TrainingResult(self.step, self.output_dir / FINAL_MODEL, self.log.entries, self.resumed_from)

    def _train_steps(self, batches: ClipBatches) -> None:
        config = self.config
        self.figures = StepFigures(self.accelerator)
        training_mode(self.bare_model, config.model)
        while self.step < config.schedule.max_steps:
            factor = config.schedule.factor(self.step)
            set_learning_rate(self.optimizer, self.base_rates, factor)
            norm = self._update(batches)
            self.step += 1
            self.display.step(self.step)
            is_last = self.step == config.schedule.max_steps
            if self.step % config.tracking.log_every == 0 or is_last:
                entry = {"step": self.step, **self.figures.collect()}
                entry |= {"learning_rate": config.optimizer.learning_rate * factor, "gradient_norm": norm}
                self._tell(entry)
                self.display.figures(self.step, entry)
            began = time.perf_counter()
            if self.step % config.checkpoint.every == 0 or is_last:
                self.newest_checkpoint = self.state.save(
                    self.step,
                    self.sampler,
                    self.accumulation,
                    self.model,
                    self.optimizer,
                    self.average,
                    self.processor,
                )
            if self.evaluate is not None and (self.step % config.evaluation.every == 0 or is_last):
                self._evaluate()
            self.figures.leave_out(time.perf_counter() - began)

    def _update(self, batches: ClipBatches) -> float:
        """One update of the weights; returns the norm of the gradients."""
        accelerator, config = self.accelerator, self.config
        losses: list[dict[str, Tensor]] = []
        keys: list[str] = []
        for place in range(self.accumulation):
            batch = next(batches)
            keys += [clip.key for clip in batch.clips]
            number = self.step * self.accumulation + place
            rank = 0 if config.data.one_dataset_per_step else accelerator.process_index
            # What the model draws without a clip's generator, such as stochastic depth.
            torch.manual_seed(step_seed(config.seed, number, accelerator.process_index, 0))
            with accelerator.accumulate(self.model):
                arguments = self.inputs(batch, step_seed(config.seed, number, rank, 1))
                try:
                    output = self.model(**arguments)
                except Exception:
                    logger.error("Step %d failed in the forward pass of the clips %s", self.step + 1, keys)
                    raise
                accelerator.backward(output.loss)
            losses.append({"loss": output.loss.detach(), **shown_terms(output.loss_dict)})
            self.figures.add(losses[-1], len(batch.clips), batches.waited)
        limit = config.optimizer.max_gradient_norm
        norm = float(accelerator.clip_grad_norm_(self.model.parameters(), float("inf") if limit is None else limit))
        self._check_finite(losses, norm, keys)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        return norm

    def _check_finite(self, losses: list[dict[str, Tensor]], norm: float, keys: list[str]) -> None:
        """Stops the run before anything that is not finite reaches the weights.

        Raises:
            NonFiniteLossError: On all processes, if something is not finite on one.
        """
        total = torch.stack([terms["loss"] for terms in losses]).sum()
        # In float16 gradients overflow now and then; the scaler then passes over the update.
        is_bad = not bool(total.isfinite()) or (not np.isfinite(norm) and self.config.mixed_precision != "fp16")
        mine = {}
        if is_bad:
            bad = sorted({name for terms in losses for name, value in terms.items() if not bool(value.isfinite())})
            mine = {"terms": bad or ["gradient_norm"], "keys": keys}
        flag = torch.tensor([float(is_bad)], device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            flag = self.accelerator.reduce(flag, "sum")
        if not flag.item():
            return
        every = [found for found in (gather_object([mine]) if self.accelerator.num_processes > 1 else [mine]) if found]
        terms = sorted({name for found in every for name in found["terms"]})
        bad_keys = [key for found in every for key in found["keys"]]
        raise NonFiniteLossError(
            f"Step {self.step + 1}: {', '.join(terms)} not finite for the clips {bad_keys}. No weight was changed, "
            f"and checkpoints are as they were: the newest is of step {max(self.state.folder.steps(), default=0)}.",
            bad_keys,
        )

    def _evaluate(self) -> None:
        if self.average is None:
            figures = self._evaluated()
        else:
            with self.average.applied():
                figures = self._evaluated()
        training_mode(self.bare_model, self.config.model)
        entry = {"step": self.step, **{f"evaluation/{key}": value for key, value in figures.items()}}
        self._tell(entry)
        shown = "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
        self.display.line(f"step {self.step}  evaluation  {shown}")

    def _evaluated(self) -> dict[str, float]:
        self.bare_model.eval()
        return self.evaluate(self.bare_model, self.processor, self.step)

    def _tell(self, entry: dict[str, Any]) -> None:
        figures = {key: value for key, value in entry.items() if key != "step"}
        self.accelerator.log(figures, step=entry["step"])
        if self.accelerator.is_main_process:
            self.log.write(entry)
        else:
            self.log.entries.append(entry)

    def _write_final_model(self) -> None:
        """The model of the last checkpoint, as the start of another run or for use."""
        target = self.output_dir / FINAL_MODEL
        if self.accelerator.is_main_process:
            temporary = target.with_name(f".writing-{FINAL_MODEL}")
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(self.newest_checkpoint / "model", temporary)
            rename_into_place(temporary, target)
        self.accelerator.wait_for_everyone()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as trackers take them: `section.name` -> number or text."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return flat
