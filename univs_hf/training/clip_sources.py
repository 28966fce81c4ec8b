# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Datasets of a training run by id: which ones, where they are, and how clips are made of them."""

from __future__ import annotations

import glob
from dataclasses import asdict
from pathlib import Path

import datasets
from huggingface_hub.errors import HTTPError

from ..data.clip_dataset import ClipSource
from ..data.clip_from_row import ClipConfig
from ..data.clip_geometry import Augmentation
from ..data.clip_stream import StreamSource
from ..data.mixtures import MixtureEntry, stage_mixture
from ..data.moving_shapes import CATEGORY_SET
from ..data.parquet_files import is_remote, train_files
from ..data.prepare.registry import CONVERTERS
from ..data.row_shards import ParquetShards, RowsAtHand, RowShards
from .config import DataConfig, DatasetConfig, TrainingConfig
from .generated_rows import GeneratedRows, shapes_config

_DEFAULT_RANGE = 40


class MissingDatasetError(FileNotFoundError):
    """Datasets that a run is to be trained on are not there; the message says how to prepare them."""


def clip_sources(config: TrainingConfig) -> list[ClipSource]:
    """Opens the datasets of a run for random access.

    Returns:
        In the order of their names, so that runs with the same datasets are the same.

    Raises:
        MissingDatasetError: If some are not there; all of them are named.
        ValueError: If there are none, or one lacks a task or a weight.
    """
    entries, files = _found(config)
    return [
        ClipSource(name, _open_rows(config.data, name, files[name]), _clip_config(config, entry), entry.weight)
        for name, entry in entries.items()
    ]


def stream_sources(config: TrainingConfig) -> list[StreamSource]:
    """Opens the datasets of a run for reading row group by row group.

    Saved datasets and generated videos are read where they are.

    Returns, Raises:
        As [`clip_sources`].
    """
    entries, files = _found(config)
    return [
        StreamSource(name, _open_shards(config.data, name, files[name]), _clip_config(config, entry), entry.weight)
        for name, entry in entries.items()
    ]


def _found(config: TrainingConfig) -> tuple[dict[str, MixtureEntry], dict[str, list[str]]]:
    """Datasets in the order of their names, and the Parquet files of those that have some."""
    entries = dataset_entries(config)
    files: dict[str, list[str]] = {}
    missing = []
    for name in sorted(entries):
        given = config.data.datasets.get(name, DatasetConfig())
        path = dataset_path(config.data, name)
        if path is None or _is_saved(path):
            files[name] = []
            continue
        reason = "holds neither Parquet files nor a saved dataset"
        if is_remote(path):
            reason = "holds no Parquet files, or cannot be read with the token that is in use"
        elif not Path(path).exists():
            reason = "does not exist"
        try:
            files[name] = train_files(path)
        except (OSError, HTTPError, ValueError, ImportError) as error:
            # No network, or a protocol that is not known or not installed.
            files[name], reason = [], f"cannot be listed ({type(error).__name__}: {error})"
        if not files[name]:
            missing.append((given.rows or entries[name].dataset, name, path, reason))
    if missing:
        raise MissingDatasetError(_missing_message(missing))
    return {name: entries[name] for name in sorted(entries)}, files


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


def dataset_path(data: DataConfig, name: str) -> str | None:
    """Where the rows of a dataset lie; None for videos that are made while training."""
    given = data.datasets.get(name, DatasetConfig())
    rows = given.rows or name
    if given.path is None and rows == CATEGORY_SET:
        return None
    return f"{data.root.rstrip('/')}/{rows}" if given.path is None else given.path


def _is_saved(path: str) -> bool:
    return not is_remote(path) and (Path(path) / "dataset_info.json").is_file()


def _missing_message(missing: list[tuple[str, str, str, str]]) -> str:
    lines = [f"{len(missing)} dataset(s) to train on are not there:"]
    for rows, name, path, reason in missing:
        folder = "DIR" if is_remote(path) else path
        if rows == CATEGORY_SET:
            command = f"univs shapes --split train --num-videos 1000 --out {folder}/train.parquet"
        elif rows in CONVERTERS:
            command = f"univs prepare {rows} SRC {folder}"
        else:
            command = f"univs prepare mask_folder SRC {folder} --name {rows}` or `univs prepare coco_video ..."
        upload = f" and upload it with `univs push-dataset DIR {_repository(path)}`" if is_remote(path) else ""
        lines.append(f"  {name}: {path} {reason}. Prepare it with `{command}`{upload}.")
    lines.append(
        "Datasets that lie elsewhere are given with `--data.root DIR` or `--data.datasets.NAME.path DIR`, and left "
        "out with `--data.datasets.NAME.weight 0`."
    )
    return "\n".join(lines)


def _repository(path: str) -> str:
    """OWNER/NAME of `hf://datasets/OWNER/NAME`."""
    return path.partition("://")[2].removeprefix("datasets/")


def _clip_config(config: TrainingConfig, entry: MixtureEntry) -> ClipConfig:
    data = config.data
    return ClipConfig(
        task=entry.task,
        sampling=entry.sampling(data.num_frames),
        augmentation=entry.augmentation(Augmentation(**asdict(data.augmentation))),
        max_entities=data.max_entities,
        max_expressions=data.max_expressions,
    )


def _open_rows(data: DataConfig, name: str, files: list[str]) -> datasets.Dataset | GeneratedRows:
    if files:
        # Names are patterns there.
        names = [glob.escape(file) for file in files]
        return datasets.load_dataset("parquet", data_files=names, split="train", cache_dir=data.cache_dir)
    given = data.datasets.get(name, DatasetConfig())
    path = dataset_path(data, name)
    if path is None:
        return GeneratedRows(
            "train", given.num_videos, shapes_config(f"data.datasets.{name}.generator", given.generator)
        )
    return datasets.load_from_disk(path)


def _open_shards(data: DataConfig, name: str, files: list[str]) -> RowShards:
    return ParquetShards(files) if files else RowsAtHand(_open_rows(data, name, files))
