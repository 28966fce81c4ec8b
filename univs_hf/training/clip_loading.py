# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""From the sampler's indices to batches on the device, and how long the model waits for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader

from ..data.clip import Clip, SourceClip
from ..data.clip_batch import ClipBatch, collate_clips
from ..data.clip_dataset import ClipDataset, list_of_clips
from ..data.clip_stream import ClipStream, StreamedBatch
from ..data.sampler import ClipBatchSampler
from .config import DataConfig


class ClipBatches:
    """Batches of this process, one after the other, from where the sampler or the stream is.

    Args:
        dataset: The clips.
        sampler: Which of them; for a stream the stream.
        config: Workers.
        device: Where batches are wanted.
        image_mean, image_std: Of RGB values 0 to 255.
        size_divisor: Heights and widths are padded to multiples of it.

    Attributes:
        waited: Seconds that the last batch was waited for.
    """

    def __init__(
        self,
        dataset: ClipDataset | ClipStream,
        sampler: ClipBatchSampler | ClipStream,
        config: DataConfig,
        device: torch.device,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        size_divisor: int,
    ):
        self._stream = dataset if isinstance(dataset, ClipStream) else None
        # A stream gives batches.
        batching = {"batch_sampler": sampler} if self._stream is None else {"batch_size": None}
        self._loader = DataLoader(
            dataset,
            **batching,
            collate_fn=list_of_clips,
            num_workers=config.num_workers,
            prefetch_factor=config.prefetch if config.num_workers else None,
            pin_memory=device.type == "cuda",
        )
        self._device = device
        self._collation = {"image_mean": image_mean, "image_std": image_std, "size_divisor": size_divisor}
        self._clips: Iterator[list[Clip | SourceClip] | StreamedBatch] | None = None
        self.waited = 0.0

    @contextmanager
    def open(self) -> Iterator[ClipBatches]:
        """Workers run meanwhile."""
        self._clips = iter(self._loader)
        try:
            yield self
        finally:
            # Ends the workers.
            self._clips = None

    def __next__(self) -> ClipBatch:
        began = time.perf_counter()
        clips = next(self._clips)
        self.waited = time.perf_counter() - began
        if self._stream is not None:
            self._stream.took(clips)
            clips = clips.clips
        moved = [
            clip.warp(self._device) if isinstance(clip, SourceClip) else clip.to(self._device, non_blocking=True)
            for clip in clips
        ]
        return collate_clips(moved, **self._collation)
