# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Datasets of a training run by id: which ones, where they are, and how clips are made of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import datasets

from ..data.clip_dataset import ClipSource
from ..data.clip_from_row import ClipConfig
from ..data.clip_geometry import Augmentation
from ..data.mixtures import MixtureEntry, stage_mixture
from ..data.moving_shapes import CATEGORY_SET
from .config import DataConfig, DatasetConfig, TrainingConfig
from .generated_rows import GeneratedRows, shapes_config

_DEFAULT_RANGE = 40


class MissingDatasetError(FileNotFoundError):
    """Datasets that a run is to be trained on are not there; the message says how to prepare them."""


def clip_sources(config: TrainingConfig) -> list[ClipSource]:
    """Opens the datasets of a run.

    Returns:
        In the order of their names, so that runs with the same datasets are the same.

    Raises:
        MissingDatasetError: If some are not there; all of them are named.
        ValueError: If there are none, or one lacks a task or a weight.
    """
    entries = dataset_entries(config)
    missing = []
    for name, entry in entries.items():
        given = config.data.datasets.get(name, DatasetConfig())
        path = dataset_path(config.data, name)
        if path is not None and not _has_rows(path):
            missing.append((name, given.rows or entry.dataset, path))
    if missing:
        raise MissingDatasetError(_missing_message(missing))
    return [_source(config, name, entries[name]) for name in sorted(entries)]


def dataset_entries(config: TrainingConfig) -> dict[str, MixtureEntry]:
    """What is sampled of which dataset, by name; datasets of weight 0 are left out.

    Raises:
        ValueError: If there are none, or one that the recipe does not have lacks a task or a weight.
    """
    entries: dict[str, MixtureEntry] = {}
    if config.data.use_recipe_mixture:
        mixture = stage_mixture(config.recipe, config.stage, config.backbone)
        entries = {entry.dataset: entry for entry in mixture.entries}
    for name, given in config.data.datasets.items():
        known = entries.get(name)
        task, weight = given.task, given.weight
        if known is None:
            # A dataset that is named has the weight 1; its task cannot be guessed.
            weight = 1.0 if weight is None else weight
            if task is None:
                raise ValueError(
                    f"`data.datasets.{name}.task` must be given: the recipe's stage has no such dataset. It has "
                    f"{sorted(entries)}."
                )
            known = MixtureEntry(name, task, weight, _DEFAULT_RANGE)
        entries[name] = MixtureEntry(
            dataset=name,
            task=known.task if task is None else task,
            weight=known.weight if weight is None else weight,
            frame_range=known.frame_range if given.frame_range is None else given.frame_range,
            image_length=known.image_length,
            square_size=known.square_size if given.square_size is None else given.square_size,
        )
    for name, entry in entries.items():
        if entry.weight < 0:
            raise ValueError(f"`data.datasets.{name}.weight` must be at least 0, got {entry.weight}.")
    entries = {name: entry for name, entry in entries.items() if entry.weight > 0}
    if not entries:
        raise ValueError("`data.datasets` leaves nothing to train on: all weights are 0.")
    return entries


def dataset_path(data: DataConfig, name: str) -> Path | None:
    """Where the rows of a dataset lie; None for videos that are made while training."""
    given = data.datasets.get(name, DatasetConfig())
    rows = given.rows or name
    if given.path is None and rows == CATEGORY_SET:
        return None
    return Path(data.root) / rows if given.path is None else Path(given.path)


def _has_rows(path: Path) -> bool:
    return path.is_dir() and ((path / "dataset_info.json").is_file() or bool(_parquet_files(path)))


def _parquet_files(path: Path) -> list[str]:
    """Files of the split `train`, or all if no name tells the split."""
    files = sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")])
    train = [file for file in files if file.name.startswith("train")]
    return [str(file) for file in train or files]


def _missing_message(missing: list[tuple[str, str, Path]]) -> str:
    lines = [f"{len(missing)} dataset(s) to train on are not there:"]
    for name, rows, path in missing:
        what = "does not exist" if not path.exists() else "holds neither Parquet files nor a saved dataset"
        lines.append(f"  {name}: {path} {what}. Prepare it with `univs prepare {rows} SRC {path}`.")
    lines.append(
        "Datasets that lie elsewhere are given with `--data.root DIR` or `--data.datasets.NAME.path DIR`, and left "
        "out with `--data.datasets.NAME.weight 0`."
    )
    return "\n".join(lines)


def _source(config: TrainingConfig, name: str, entry: MixtureEntry) -> ClipSource:
    data = config.data
    augmentation = Augmentation(**asdict(data.augmentation))
    clips = ClipConfig(
        task=entry.task,
        sampling=entry.sampling(data.num_frames),
        augmentation=entry.augmentation(augmentation),
        max_entities=data.max_entities,
        max_expressions=data.max_expressions,
    )
    return ClipSource(name, _open_rows(data, name), clips, entry.weight)


def _open_rows(data: DataConfig, name: str) -> datasets.Dataset | GeneratedRows:
    given = data.datasets.get(name, DatasetConfig())
    path = dataset_path(data, name)
    if path is None:
        return GeneratedRows(
            "train", given.num_videos, shapes_config(f"data.datasets.{name}.generator", given.generator)
        )
    if (path / "dataset_info.json").is_file():
        return datasets.load_from_disk(str(path))
    return datasets.load_dataset("parquet", data_files=_parquet_files(path), split="train", cache_dir=data.cache_dir)
