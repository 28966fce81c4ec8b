# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Converts small datasets for tests, and reads the rows back as a user does."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np

from univs_hf.data.clip_dataset import ClipDataset, ClipSource
from univs_hf.data.clip_frame_sampling import FrameSampling
from univs_hf.data.clip_from_row import ClipConfig
from univs_hf.data.clip_geometry import Augmentation
from univs_hf.data.prepare.conversion import Conversion, ConversionSettings, convert
from univs_hf.data.prepare.registry import converter_class
from univs_hf.data.row_validation import validate_row
from univs_hf.data.sampler import ClipIndex
from univs_hf.data.schema import Row
from univs_hf.rle import decode_masks


def prepare(name: str, source: Path, out: Path, splits=None, *, options=None, **settings) -> Conversion:
    """Converts splits of a dataset quietly."""
    options = options or {}
    converter = converter_class(name)(source, **options)
    return convert(converter, out, splits, ConversionSettings(quiet=True, **settings), options)


def load_rows(out: Path, split: str) -> datasets.Dataset:
    """Rows of a split, by `load_dataset` from local files."""
    return datasets.load_dataset(
        "parquet", data_files=str(out / "data" / f"{split}-*.parquet"), split="train", cache_dir=str(out / ".cache")
    )


def rows_by_key(out: Path, split: str) -> dict[str, Row]:
    """Valid rows of a split by key."""
    loaded = load_rows(out, split).with_format("arrow")
    rows = [Row(loaded[index]) for index in range(len(loaded))]
    for row in rows:
        validate_row(row)
    return {row.key: row for row in rows}


def masks_by_entity(row: Row) -> dict[int, dict[int, np.ndarray]]:
    """Entity id -> position of the frame -> bool mask (H, W)."""
    found: dict[int, dict[int, np.ndarray]] = {}
    for frame in range(row.num_frames):
        piece = row.masks_of_frames([frame])
        strings = [piece.data[a:b].tobytes() for a, b in zip(piece.offsets[:-1], piece.offsets[1:], strict=True)]
        for entity, mask in zip(piece.entity, decode_masks(strings, row.height, row.width), strict=True):
            found.setdefault(int(row.entities.ids[entity]), {})[frame] = mask
    return found


def label_maps(row: Row) -> np.ndarray:
    """Ids of entities, int64 (T, H, W), 0 for nothing; fails where masks overlap."""
    maps = np.zeros((row.num_frames, row.height, row.width), np.int64)
    for entity_id, masks in masks_by_entity(row).items():
        for frame, mask in masks.items():
            assert not maps[frame][mask].any(), "masks overlap"
            maps[frame][mask] = entity_id
    return maps


def clips(out: Path, split: str, task: str, count: int = 3) -> list:
    """Clips of a converted dataset for training."""
    config = ClipConfig(task, FrameSampling(2, 5), Augmentation(square_size=32, scale_range=(0.9, 1.1)))
    dataset = ClipDataset([ClipSource("prepared", load_rows(out, split), config)])
    return [dataset[ClipIndex(0, number % len(dataset), 100 + number)] for number in range(count)]
