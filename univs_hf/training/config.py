# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Everything that a training run can be told, as typed sections.

Files hold the same names (see [`~univs_hf.training.config_files.load_config`]), and `--section.name value` sets one
value on the command line. The defaults are those of the released ResNet-50 training where it has a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from ..data.mixtures import BACKBONES, RECIPES, STAGES

MIXED_PRECISIONS = ("no", "bf16", "fp16")
EVALUATION_TASKS = ("vis", "vss", "vps", "vos", "pvos", "refvos")
RESUME_CHOICES = ("auto", "never")


def _require(holds: bool, name: str, value: object, accepted: str) -> None:
    if not holds:
        raise ValueError(f"`{name}` must be {accepted}, got {value!r}.")


@dataclass
class ModelConfig:
    """What is trained, and what of it.

    Attributes:
        start: Directory to start from: a UniVS model, the output of a training run (its final model is taken), or a
            Mask2Former of transformers. None for random weights of `config`.
        config: Fields of [`UniVSConfig`] that win over those of the start. Without a start they make the model, on
            top of the preset of `backbone`.
        processor: Directory of the processor; by default that of the start.
        tokenizer: For a Mask2Former without `processor`: files of the tokenizer.
        text_encoder, category_table: For a Mask2Former: see [`convert_mask2former`].
        allow_missing_text_encoder: For a Mask2Former: go on with a text tower of random weights.
        num_queries: For a Mask2Former: learnable queries of the model.
        drop_path_rate: Stochastic depth of a Swin backbone in training; None keeps the model's.
        gradient_checkpointing: Compute activations again in the backward pass in place of keeping them.
        freeze_backbone: How much of the backbone takes no gradient: 0 nothing, 1 the stem, n the stem and the first
            n - 1 stages, 5 all stages. Norms that follow the stages of a Swin stay trainable. Frozen stages have no
            stochastic depth.
        freeze_pixel_decoder: The pixel decoder takes no gradient.
        train_text_encoder: The text tower takes gradients; the published models keep it frozen.
        freeze: Patterns (`*`, `?`) of names of parameters that take no gradient.
        train_only: Patterns of names; all other parameters take no gradient. Empty for no such limit.
    """

    start: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    processor: str | None = None
    tokenizer: str | None = None
    text_encoder: str | None = None
    category_table: str | None = None
    allow_missing_text_encoder: bool = False
    num_queries: int = 200
    drop_path_rate: float | None = None
    gradient_checkpointing: bool = False
    freeze_backbone: int = 0
    freeze_pixel_decoder: bool = False
    train_text_encoder: bool = False
    freeze: tuple[str, ...] = ()
    train_only: tuple[str, ...] = ()

    def check(self) -> None:
        _require(0 <= self.freeze_backbone <= 5, "model.freeze_backbone", self.freeze_backbone, "in [0, 5]")
        rate = self.drop_path_rate
        _require(rate is None or 0 <= rate < 1, "model.drop_path_rate", rate, "None or in [0, 1)")
        _require(self.num_queries >= 1, "model.num_queries", self.num_queries, "at least 1")


@dataclass
class DatasetConfig:
    """One dataset. What is None follows the recipe, for datasets that it names.

    Attributes:
        path: Directory with Parquet files or a saved `datasets.Dataset`; by default `data.root`/id. A directory of
            the hub is `hf://datasets/OWNER/NAME`. For `moving_shapes` None makes the videos while training.
        weight: Relative probability of a batch; 0 leaves the dataset out.
        task: `"detection"`, `"sot"` or `"grounding"`.
        rows: Id of the dataset whose rows are read, so that one dataset can be trained on for several tasks; by
            default the id itself.
        frame_range: Frames of a clip lie at most so far from a reference frame.
        square_size: Side of a square output of this dataset.
        generator: For `moving_shapes` without `path`: fields of [`MovingShapesConfig`].
        num_videos: For `moving_shapes` without `path`: how many videos of the split `train`.
    """

    path: str | None = None
    weight: float | None = None
    task: str | None = None
    rows: str | None = None
    frame_range: int | None = None
    square_size: int | None = None
    generator: dict[str, Any] = field(default_factory=dict)
    num_videos: int = 2**20


@dataclass
class AugmentationConfig:
    """Geometry of clips; see [`~univs_hf.data.clip_geometry.Augmentation`], whose fields these are."""

    flip_probability: float = 0.5
    max_rotation: float = 15.0
    rotation_center: tuple[float, float] = (0.4, 0.6)
    square_size: int | None = None
    scale_range: tuple[float, float] = (0.25, 4.0)
    crop_shift: float = 0.1
    shortest_edges: tuple[int, ...] = tuple(range(512, 801, 32))
    longest_edge: int | None = 1333


@dataclass
class DataConfig:
    """Which clips.

    Attributes:
        root: Directory of the datasets, one directory each, named by their ids; `hf://datasets/OWNER` for
            repositories of the hub.
        use_recipe_mixture: Train on the datasets of the recipe's stage. `datasets` then changes some of them or adds
            others; without, it names all.
        datasets: Id of a dataset -> what differs.
        num_frames: Frames of a clip.
        batch_size: Clips per process and step.
        one_dataset_per_step: All processes take the same dataset at a step; then the clips of a step depend on their
            total number only, not on the number of processes. By default each process draws its own.
        max_entities, max_expressions: Of a clip, a random subset of more; None for all.
        augmentation: Geometry.
        num_workers: Processes that load clips, per training process; 0 loads in the training process.
        prefetch: Batches that each of them makes ahead.
        geometry_on_device: Apply the geometry on the device of the model.
        cache_dir: Where Parquet files are turned into memory-mapped Arrow; by default that of `datasets`. Files of the
            hub are kept there, too.
        streaming: Read row groups of Parquet files as they are needed, and keep nothing on the disk. Rows are then
            shuffled among few, and a run goes on exactly with the same number of data workers only.
        row_groups_together: With `streaming`: row groups of a dataset whose rows are shuffled together; each data
            worker holds so many of each dataset in memory.
    """

    root: str = "data"
    use_recipe_mixture: bool = True
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    num_frames: int = 3
    batch_size: int = 1
    one_dataset_per_step: bool = False
    max_entities: int | None = None
    max_expressions: int | None = None
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    num_workers: int = 2
    prefetch: int = 4
    geometry_on_device: bool = False
    cache_dir: str | None = None
    streaming: bool = False
    row_groups_together: int = 2

    def check(self) -> None:
        for name in ("num_frames", "batch_size", "prefetch", "row_groups_together"):
            _require(getattr(self, name) >= 1, f"data.{name}", getattr(self, name), "at least 1")
        _require(self.num_workers >= 0, "data.num_workers", self.num_workers, "at least 0")
        if not self.use_recipe_mixture and not self.datasets:
            raise ValueError("`data.datasets` must name datasets where `data.use_recipe_mixture` is False.")


@dataclass
class PromptConfig:
    """What the prompt queries of a step are.

    Attributes:
        max_prompts: Prompts, and supervised rows, of a clip.
        visual_probability: With categories: how often the prompts are visual ones rather than categories. The
            original meant one half and draws 0.31.
        visual_only: Datasets whose categories are never prompts (many categories, or not all instances labelled).
        negative_ratio: Absent categories per present one among category prompts.
        window_frames: Frames that the decoder sees at a time; longer clips are taken in overlapping windows, and
            prompts of a window remember the one before (stage 3). None for whole clips.
    """

    max_prompts: int = 20
    visual_probability: float = 0.5
    visual_only: tuple[str, ...] = ("lvis", "entityseg_panoptic", "burst")
    negative_ratio: float = 1.0
    window_frames: int | None = None

    def check(self) -> None:
        _require(self.max_prompts >= 1, "prompts.max_prompts", self.max_prompts, "at least 1")
        probability = self.visual_probability
        _require(0 <= probability <= 1, "prompts.visual_probability", probability, "in [0, 1]")
        _require(self.negative_ratio >= 0, "prompts.negative_ratio", self.negative_ratio, "at least 0")
        window = self.window_frames
        _require(window is None or window >= 1, "prompts.window_frames", window, "None or at least 1")


@dataclass
class LossConfig:
    """Weights of the loss terms and how masks are sampled; see [`UniVSLossConfig`], whose fields these are."""

    class_weight: float = 5.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    reid_weight: float = 0.5
    matching_class_weight: float = 3.0
    matching_mask_weight: float = 5.0
    matching_dice_weight: float = 5.0
    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.5

    def check(self) -> None:
        _require(self.num_points >= 2, "loss.num_points", self.num_points, "at least 2")
        _require(self.oversample_ratio >= 1, "loss.oversample_ratio", self.oversample_ratio, "at least 1")
        ratio = self.importance_sample_ratio
        _require(0 <= ratio <= 1, "loss.importance_sample_ratio", ratio, "in [0, 1]")


@dataclass
class OptimizerConfig:
    """AdamW.

    Attributes:
        learning_rate: Of everything but the backbone.
        backbone_multiplier: Times the learning rate for the backbone.
        weight_decay: Not for norms, embeddings, temperatures and the position tables of a Swin; for biases.
        betas, eps: Of Adam.
        max_gradient_norm: Gradients are scaled down to this total norm; None for no limit.
        clips_per_update: Clips over all processes that make one update of the weights; gradients are accumulated as
            often as needed. None takes `accumulation_steps` instead.
        accumulation_steps: Steps per update where `clips_per_update` is None.
    """

    learning_rate: float = 1e-4
    backbone_multiplier: float = 0.1
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_gradient_norm: float | None = 0.01
    clips_per_update: int | None = None
    accumulation_steps: int = 1

    def check(self) -> None:
        for name in ("learning_rate", "eps"):
            _require(getattr(self, name) > 0, f"optimizer.{name}", getattr(self, name), "above 0")
        for name in ("backbone_multiplier", "weight_decay"):
            _require(getattr(self, name) >= 0, f"optimizer.{name}", getattr(self, name), "at least 0")
        norm, clips = self.max_gradient_norm, self.clips_per_update
        _require(norm is None or norm > 0, "optimizer.max_gradient_norm", norm, "None or above 0")
        _require(clips is None or clips >= 1, "optimizer.clips_per_update", clips, "None or at least 1")
        steps = self.accumulation_steps
        _require(steps >= 1, "optimizer.accumulation_steps", steps, "at least 1")
        _require(all(0 <= beta < 1 for beta in self.betas), "optimizer.betas", self.betas, "in [0, 1)")

    def accumulation(self, batch_size: int, num_processes: int) -> int:
        """Steps per update.

        Raises:
            ValueError: If the clips of an update cannot be divided among the processes.
        """
        if self.clips_per_update is None:
            return self.accumulation_steps
        per_step = batch_size * num_processes
        if self.clips_per_update % per_step:
            raise ValueError(
                f"`optimizer.clips_per_update` must be a multiple of {per_step}, the clips of a step "
                f"(`data.batch_size` {batch_size} x {num_processes} processes), got {self.clips_per_update}."
            )
        return self.clips_per_update // per_step


@dataclass
class ScheduleConfig:
    """Length of the run and learning rate over it. All counts are updates of the weights.

    Attributes:
        max_steps: Updates of the whole run.
        milestones: After so many updates the learning rate is multiplied by `gamma`.
        gamma: See `milestones`.
        warmup_steps: Updates over which the learning rate rises from `warmup_factor` times its value.
        warmup_factor: See `warmup_steps`.
    """

    max_steps: int = 1000
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_steps: int = 0
    warmup_factor: float = 0.01

    def check(self) -> None:
        _require(self.max_steps >= 1, "schedule.max_steps", self.max_steps, "at least 1")
        _require(self.warmup_steps >= 0, "schedule.warmup_steps", self.warmup_steps, "at least 0")
        _require(0 < self.gamma <= 1, "schedule.gamma", self.gamma, "in (0, 1]")
        _require(0 <= self.warmup_factor <= 1, "schedule.warmup_factor", self.warmup_factor, "in [0, 1]")
        steps = self.milestones
        _require(
            list(steps) == sorted(set(steps)) and all(step > 0 for step in steps),
            "schedule.milestones",
            steps,
            "positive and ascending",
        )

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by for update `step`, counted from 0."""
        factor = self.gamma ** sum(step >= milestone for milestone in self.milestones)
        if step < self.warmup_steps:
            factor *= self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup_steps
        return factor


@dataclass
class EmaConfig:
    """Moving average of the weights, which is then what is evaluated and given back.

    Attributes:
        enabled: Keep one.
        decay: Share of the average that an update keeps.
        warmup: Let the share grow from 0.1, as (1 + n) / (10 + n) after n updates, until it reaches `decay`.
    """

    enabled: bool = False
    decay: float = 0.9999
    warmup: bool = False

    def check(self) -> None:
        _require(0 <= self.decay < 1, "ema.decay", self.decay, "in [0, 1)")

    def decay_at(self, num_updates: int) -> float:
        """Share that the average keeps at its update number `num_updates`, counted from 0."""
        return min(self.decay, (1 + num_updates) / (10 + num_updates)) if self.warmup else self.decay


@dataclass
class CheckpointConfig:
    """When the run is saved.

    Attributes:
        every: Updates between checkpoints; the last update is always saved.
        keep: Checkpoints that are kept, the newest.
        resume: `"auto"` goes on from the newest intact checkpoint of the output directory, or begins if there is
            none; `"never"` refuses a directory with checkpoints; else the directory of one checkpoint.
        strict: Go on only if the batches will be those of the run that was interrupted: same seed, datasets, batch
            size and number of processes.
    """

    every: int = 5000
    keep: int = 3
    resume: str = "auto"
    strict: bool = True

    def check(self) -> None:
        _require(self.every >= 1, "checkpoint.every", self.every, "at least 1")
        _require(self.keep >= 1, "checkpoint.keep", self.keep, "at least 1")


@dataclass
class EvaluationConfig:
    """Evaluation on generated videos (moving shapes, split `validation`) while training.

    Attributes:
        every: Updates between evaluations, 0 for none.
        tasks: Which tasks.
        num_videos: Videos.
        num_overlays: Videos of which pictures are written for each task.
        generator: Fields of [`MovingShapesConfig`].
        settings: Fields of [`UniVSConfig`] that win over the settings of the tasks.
    """

    every: int = 0
    tasks: tuple[str, ...] = EVALUATION_TASKS
    num_videos: int = 8
    num_overlays: int = 1
    generator: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        _require(self.every >= 0, "evaluation.every", self.every, "at least 0")
        _require(self.num_videos >= 1, "evaluation.num_videos", self.num_videos, "at least 1")
        _require(self.num_overlays >= 0, "evaluation.num_overlays", self.num_overlays, "at least 0")
        unknown = [task for task in self.tasks if task not in EVALUATION_TASKS]
        _require(bool(self.tasks) and not unknown, "evaluation.tasks", self.tasks, f"among {list(EVALUATION_TASKS)}")


@dataclass
class TrackingConfig:
    """What is told of the run.

    Attributes:
        log_every: Updates between two lines of the log; figures are means over these updates.
        trackers: Names of accelerate's trackers, such as `tensorboard` or `wandb`.
        project: Name that the trackers file the run under.
        progress: Show a progress bar; on what is no terminal, lines.
    """

    log_every: int = 20
    trackers: tuple[str, ...] = ("tensorboard",)
    project: str = "univs"
    progress: bool = True

    def check(self) -> None:
        _require(self.log_every >= 1, "tracking.log_every", self.log_every, "at least 1")


@dataclass
class TrainingConfig:
    """A training run.

    Attributes:
        output_dir: Where checkpoints, the log, pictures and the final model are written.
        recipe: `"paper"` or `"released"`: where the mixture of datasets comes from, and which of the variants of a
            configuration file.
        stage: 1 (images), 2 (short clips) or 3 (long video): which mixture.
        backbone: One of the four published backbones, or None for another.
        seed: Of everything random.
        mixed_precision: `"no"`, `"bf16"` or `"fp16"`.
        cpu: Train on the CPU although there is an accelerator.
    """

    output_dir: str = "runs/univs"
    recipe: str = "paper"
    stage: int = 2
    backbone: str | None = "resnet50"
    seed: int = 0
    mixed_precision: str = "bf16"
    cpu: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def check(self) -> None:
        """Checks all values.

        Raises:
            ValueError: Names the key, its value and what is accepted.
        """
        _require(self.recipe in RECIPES, "recipe", self.recipe, f"one of {list(RECIPES)}")
        _require(self.stage in STAGES, "stage", self.stage, f"one of {list(STAGES)}")
        known = self.backbone is None or self.backbone in BACKBONES
        _require(known, "backbone", self.backbone, f"None or one of {list(BACKBONES)}")
        precision = self.mixed_precision
        _require(precision in MIXED_PRECISIONS, "mixed_precision", precision, f"one of {list(MIXED_PRECISIONS)}")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        for section in fields(self):
            value = getattr(self, section.name)
            if is_dataclass(value):
                value.check()
        window, frames = self.prompts.window_frames, self.data.num_frames
        if window is not None and window > frames:
            raise ValueError(f"`prompts.window_frames` must be at most `data.num_frames` ({frames}), got {window}.")
