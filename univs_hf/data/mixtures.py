# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Datasets and sampling weights of each training stage (training specification, section 2; paper, Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .clip_frame_sampling import FrameSampling
from .clip_geometry import Augmentation

RECIPES = ("paper", "released")
STAGES = (1, 2, 3)
BACKBONES = ("resnet50", "swin-tiny", "swin-base", "swin-large")

# Frames around the reference frame, for prompted objects in every stage and for everything else by stage.
_SOT_RANGE = 20
_STAGE_RANGE = {1: 10, 2: 40, 3: 40}
_SA_1B_LENGTH = (16, 48)
_SA_1B_SIDE = 1024

_TASKS = {
    "sa_1b": "sot",
    "coco_panoptic": "detection",
    "lvis": "detection",
    "entityseg_panoptic": "detection",
    "refcoco": "grounding",
    "ytvis21": "detection",
    "ovis": "detection",
    "vipseg": "detection",
    "ytvos18": "sot",
    "mose": "sot",
    "burst": "sot",
    "ref_ytvos": "grounding",
}

_PAPER_VIDEO = {
    "sa_1b": 0.25,
    "coco_panoptic": 0.5,
    "lvis": 0.25,
    "refcoco": 0.35,
    "ytvis21": 0.25,
    "ovis": 0.35,
    "vipseg": 0.5,
    "ytvos18": 0.25,
    "mose": 0.25,
    "burst": 0.25,
    "ref_ytvos": 0.35,
}
_RELEASED_VIDEO = {
    "sa_1b": 0.25,
    "coco_panoptic": 0.25,
    "lvis": 0.15,
    "entityseg_panoptic": 0.5,
    "refcoco": 0.5,
    "ytvis21": 0.25,
    "ovis": 0.35,
    "vipseg": 0.5,
    "ytvos18": 0.25,
    "mose": 0.15,
    "burst": 0.15,
    "ref_ytvos": 0.35,
}
_WEIGHTS: dict[tuple[str, int], Mapping[str, float]] = {
    ("paper", 1): {"sa_1b": 1.0, "coco_panoptic": 1.0, "lvis": 0.5, "refcoco": 1.0},
    ("paper", 2): _PAPER_VIDEO,
    ("paper", 3): _PAPER_VIDEO,
    ("released", 1): {
        "sa_1b": 1.0,
        "coco_panoptic": 1.0,
        "lvis": 0.5,
        "entityseg_panoptic": 1.0,
        "refcoco": 1.0,
    },
    ("released", 2): _RELEASED_VIDEO,
    ("released", 3): _RELEASED_VIDEO | {"refcoco": 0.35, "ref_ytvos": 0.5},
}


@dataclass(frozen=True)
class MixtureEntry:
    """One dataset of a mixture.

    Attributes:
        dataset: Id of the dataset.
        task: What its clips supervise.
        weight: Relative probability of a batch, not multiplied by the size of the dataset.
        frame_range: See [`~univs_hf.data.clip_frame_sampling.FrameSampling`].
        image_length: See there too.
        square_size: The output is square of this side whatever the stage says; None follows the stage.
    """

    dataset: str
    task: str
    weight: float
    frame_range: int | None
    image_length: tuple[int, int] | None = None
    square_size: int | None = None

    def sampling(self, num_frames: int) -> FrameSampling:
        """How frames are drawn for clips of `num_frames`."""
        return FrameSampling(num_frames, self.frame_range, self.image_length)

    def augmentation(self, base: Augmentation) -> Augmentation:
        """The stage's augmentation as this dataset uses it."""
        if self.square_size is None or base.square_size is not None:
            return base
        return replace(base, square_size=self.square_size)


@dataclass(frozen=True)
class Mixture:
    """Datasets that a stage is trained on.

    Attributes:
        entries: The datasets.
    """

    entries: tuple[MixtureEntry, ...]

    @property
    def probabilities(self) -> dict[str, float]:
        """Share of the batches that each dataset has."""
        total = sum(entry.weight for entry in self.entries)
        return {entry.dataset: entry.weight / total for entry in self.entries}


def stage_mixture(recipe: str, stage: int, backbone: str | None = None) -> Mixture:
    """The mixture of a published training stage.

    Args:
        recipe: `"paper"` for the weights of the paper's Table 2, `"released"` for those of the released scripts.
        stage: 1 (images), 2 (short clips) or 3 (long video).
        backbone: One of `BACKBONES`. The released stage 3 of `"swin-base"` has its own weights and range, the others
            are alike; None is any of those.

    Raises:
        ValueError: If there is no such recipe, stage or backbone.

    Example:
        >>> round(stage_mixture("paper", 2).probabilities["vipseg"], 3)
        0.141
    """
    if recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {list(RECIPES)}, got {recipe!r}.")
    if stage not in STAGES:
        raise ValueError(f"`stage` must be one of {list(STAGES)}, got {stage!r}.")
    if backbone is not None and backbone not in BACKBONES:
        raise ValueError(f"`backbone` must be one of {list(BACKBONES)} or None, got {backbone!r}.")
    weights, default_range = _WEIGHTS[recipe, stage], _STAGE_RANGE[stage]
    if (recipe, stage, backbone) == ("released", 3, "swin-base"):
        weights, default_range = {**weights, "refcoco": 0.75, "ref_ytvos": 0.5}, 20
    return Mixture(tuple(_entry(dataset, weight, default_range) for dataset, weight in weights.items()))


def _entry(dataset: str, weight: float, default_range: int) -> MixtureEntry:
    task = _TASKS[dataset]
    if dataset == "sa_1b":
        return MixtureEntry(dataset, task, weight, default_range, _SA_1B_LENGTH, _SA_1B_SIDE)
    # None is twice the number of frames.
    frame_range = None if dataset == "ovis" else _SOT_RANGE if task == "sot" else default_range
    return MixtureEntry(dataset, task, weight, frame_range)
