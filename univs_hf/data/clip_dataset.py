# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Map-style dataset of clips over several memory-mapped sets of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import datasets
from torch.utils.data import Dataset

from .clip import Clip, SourceClip
from .clip_attempts import first_clip
from .clip_from_row import ClipConfig
from .clip_random import MAX_SEED, Purpose, derive_seed
from .sampler import ClipIndex, DatasetShare
from .schema import FEATURES, Row


@dataclass(frozen=True)
class ClipSource:
    """Rows and what is made of them.

    Attributes:
        name: Unique name, such as the id of the dataset.
        rows: Rows of the schema, of any format; they are read as Arrow, which copies nothing.
        config: How clips are made.
        weight: Relative probability of a batch.
    """

    name: str
    rows: datasets.Dataset
    config: ClipConfig
    weight: float = 1.0


class ClipDataset(Dataset):
    """Clips of several sources, indexed by [`~univs_hf.data.sampler.ClipIndex`].

    Rows that are damaged or show nothing are passed over: the next attempt takes a row that follows from the clip
    seed and the number of the attempt, and the clip tells in `skipped` what was passed over. So the same index always
    gives the same clip, in whichever worker.

    Args:
        sources: The sources; a position in this list is what `ClipIndex.dataset` refers to.
        geometry_on_device: Give [`~univs_hf.data.clip.SourceClip`]s, whose `warp(device)` makes the clips.
        max_attempts: Rows to try before giving up.

    Raises:
        ValueError: If a source has no rows, other columns, or a name that another one has.
    """

    def __init__(self, sources: Sequence[ClipSource], geometry_on_device: bool = False, max_attempts: int = 10):
        names = [source.name for source in sources]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"`sources` must be one or more with distinct names, got {names}.")
        if max_attempts < 1:
            raise ValueError(f"`max_attempts` must be at least 1, got {max_attempts}.")
        for source in sources:
            missing = sorted(set(FEATURES) - set(source.rows.column_names))
            if missing:
                raise ValueError(f"`sources`: the rows of {source.name!r} lack the columns {missing}.")
            if len(source.rows) == 0:
                raise ValueError(f"`sources`: {source.name!r} has no rows.")
        self.sources = tuple(replace(source, rows=source.rows.with_format("arrow")) for source in sources)
        self.geometry_on_device = geometry_on_device
        self.max_attempts = max_attempts

    @property
    def shares(self) -> list[DatasetShare]:
        """The sources as [`~univs_hf.data.sampler.ClipBatchSampler`] takes them."""
        return [DatasetShare(source.name, len(source.rows), source.weight) for source in self.sources]

    def __len__(self) -> int:
        """Number of rows of all sources."""
        return sum(len(source.rows) for source in self.sources)

    def row(self, dataset: int, row: int) -> Row:
        """One row, as views into the memory-mapped table."""
        return Row(self.sources[dataset].rows[row])

    def __getitem__(self, index: ClipIndex) -> Clip | SourceClip:
        """Makes a clip.

        Raises:
            RuntimeError: If no attempt gave a clip; names the rows and the reasons.
        """
        source = self.sources[index.dataset]
        place = f"row {index.row}, seed {index.seed}"
        return first_clip(self._candidates(index), source.config, self.geometry_on_device, source.name, place)

    def _candidates(self, index: ClipIndex) -> Iterator[tuple[Row, int]]:
        dataset, row, seed = index
        for attempt in range(self.max_attempts):
            yield self.row(dataset, row), (seed + attempt) & MAX_SEED
            row = derive_seed(Purpose.RETRY, seed, attempt + 1) % len(self.sources[dataset].rows)


def list_of_clips(clips: list[Clip | SourceClip]) -> list[Clip | SourceClip]:
    """For `DataLoader(collate_fn=...)`: clips differ in size and number of objects and stay a list."""
    return clips
