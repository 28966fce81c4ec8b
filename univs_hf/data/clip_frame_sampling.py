# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which frames of a video make a clip (training specification, sections 1.5 and 2.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The sine encoding of time repeats after this many frames.
MAX_TIME_STAMP = 128


@dataclass(frozen=True)
class FrameSampling:
    """How frames are drawn.

    Attributes:
        num_frames: Frames of a clip, T.
        frame_range: Frames are drawn from at most so many before and after a reference frame; None for 2T. Images
            use 2T unless `image_length` is set.
        image_length: Smallest and largest length of the virtual video that an image is repeated to (SA-1B: 16 to 48,
            with `frame_range`); None for 3T frames.
    """

    num_frames: int = 3
    frame_range: int | None = 40
    image_length: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError(f"`num_frames` must be at least 1, got {self.num_frames}.")
        if not 1 <= self.video_range < MAX_TIME_STAMP // 2:
            raise ValueError(
                f"The range of frames must be in [1, {MAX_TIME_STAMP // 2 - 1}] so that time stamps of a clip stay "
                f"within {MAX_TIME_STAMP}, got {self.video_range} (None in `frame_range` is twice `num_frames`)."
            )
        if self.image_length is not None and not 1 <= self.image_length[0] <= self.image_length[1]:
            raise ValueError(f"`image_length` must be (smallest, largest) from 1 on, got {self.image_length}.")

    @property
    def video_range(self) -> int:
        """The range that holds for videos."""
        return 2 * self.num_frames if self.frame_range is None else self.frame_range


@dataclass(frozen=True)
class SampledFrames:
    """Frames of one clip.

    Attributes:
        frame_idx: int64 (T,), position in the row, ascending, with repeats.
        time_stamps: int64 (T,), what the model is told as time: the same positions (of the virtual video for an
            image), shifted so that none exceeds 128.
    """

    frame_idx: np.ndarray
    time_stamps: np.ndarray


def sample_frames(rng: np.random.Generator, num_video_frames: int, config: FrameSampling) -> SampledFrames:
    """Draws the frames of a clip: a reference frame and others around it, with replacement, in order of time.

    A video's clip holds its reference frame. An image is taken as a still video.

    Args:
        rng: Source of all random numbers.
        num_video_frames: Frames of the row; 1 for an image.
        config: How to draw.

    Raises:
        ValueError: If the row has no frames.
    """
    if num_video_frames < 1:
        raise ValueError(f"`num_video_frames` must be at least 1, got {num_video_frames}.")
    is_image = num_video_frames == 1
    length, reach, keep_reference = num_video_frames, config.video_range, True
    if is_image and config.image_length is None:
        length, reach, keep_reference = 3 * config.num_frames, 2 * config.num_frames, False
    elif is_image:
        length = int(rng.integers(config.image_length[0], config.image_length[1], endpoint=True))
    reference = int(rng.integers(length))
    around = np.arange(max(reference - reach, 0), min(reference + reach, length - 1) + 1)
    around = around[around != reference]
    if len(around) == 0:
        chosen = np.full(config.num_frames, reference)
    else:
        chosen = rng.choice(around, config.num_frames, replace=True)
        if keep_reference:
            chosen[-1] = reference
    chosen = np.sort(chosen).astype(np.int64)
    return SampledFrames(
        frame_idx=np.zeros_like(chosen) if is_image else chosen, time_stamps=_shift_time_stamps(rng, chosen)
    )


def _shift_time_stamps(rng: np.random.Generator, positions: np.ndarray) -> np.ndarray:
    smallest, largest = int(positions[0]), int(positions[-1])
    if largest <= MAX_TIME_STAMP:
        return positions.copy()
    return positions - int(rng.integers(largest - MAX_TIME_STAMP, smallest))
