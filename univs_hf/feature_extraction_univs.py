# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Features of whole videos for other models: object tokens and dense maps of every frame (specification B.9).

The video passes through in clips that lie side by side, each decoded with the learnable queries alone; no more than a
clip of frames is held, whatever the length of the video.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from transformers.utils import ModelOutput

from .image_processing_univs import UniVSImageProcessor, UniVSProcessedFrame
from .mask_resizing_univs import bilinear_axis, nearest_axis
from .video_io import open_video

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation


@dataclass
class UniVSVideoFeatures(ModelOutput):
    """Features of T frames of a video.

    Args:
        frame_idx (`torch.Tensor` of shape `(T,)`): int64, numbers of the frames in the video.
        object_tokens (`torch.Tensor` of shape `(T, C, Q)`): Learnable queries after the last decoder layer, before its
            norm.
        mask_features (`torch.Tensor` of shape `(T, C, H // ratio, W // ratio)`): Per-pixel embeddings of the frame
            without padding, H and W being its original size.
        feature_map (`torch.Tensor` of shape `(T, C, Hp / 32, Wp / 32)`): The pixel decoder's map at stride 32 of the
            padded frame.
    """

    frame_idx: torch.Tensor | None = None
    object_tokens: torch.Tensor | None = None
    mask_features: torch.Tensor | None = None
    feature_map: torch.Tensor | None = None


def sample_mask_features(
    mask_features: torch.Tensor, original_size: tuple[int, int], resized_size: tuple[int, int], ratio: int
) -> torch.Tensor:
    """Mask features at 1 / `ratio` of the original size: bilinear to the padded size, cropped, nearest neighbour.

    Only the pixels that are wanted are interpolated (specification C.4).

    Args:
        mask_features: (T, C, h, w) at stride 4 of the padded frame.
        original_size, resized_size: (height, width).
        ratio: The result has int(H / ratio) rows and int(W / ratio) columns.

    Returns:
        (T, C, H // ratio, W // ratio), in the dtype given.
    """
    sampled = mask_features
    for dim, original, resized in zip((-2, -1), original_size, resized_size, strict=True):
        first, second, share = bilinear_axis(sampled.shape[dim], 4 * sampled.shape[dim], sampled.device)
        wanted = nearest_axis(resized, original // ratio, sampled.device)
        share = share[wanted].to(sampled.dtype)
        share = share[:, None] if dim == -2 else share
        sampled = torch.lerp(
            sampled.index_select(dim, first[wanted]), sampled.index_select(dim, second[wanted]), share
        )
    return sampled


def frames_of(video: Any, name: str = "video") -> Iterable[Any]:
    """Single frames of a path, an image, an array or anything that yields frames.

    Raises:
        TypeError: If `video`, which the message calls `name`, is none of these.
    """
    if isinstance(video, (str, os.PathLike, np.ndarray, torch.Tensor, Image.Image)):
        return open_video(video)
    if not isinstance(video, Iterable):
        raise TypeError(f"`{name}` must be a path, an image, an array or frames, got {type(video).__name__}.")
    return video


def extract_features(
    model: UniVSForVideoSegmentation,
    video: Any,
    image_processor: UniVSImageProcessor,
    compression_ratio: int = 32,
    temporal_compression: int = 1,
    num_frames: int | None = None,
) -> Iterator[UniVSVideoFeatures]:
    """See [`UniVSForVideoSegmentation.extract_features`]."""
    num_frames = model.config.num_frames if num_frames is None else num_frames
    for name, value in (
        ("compression_ratio", compression_ratio),
        ("temporal_compression", temporal_compression),
        ("num_frames", num_frames),
    ):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be a whole number from 1, got {value!r}.")
    frames = frames_of(video)
    return _extract(model, frames, image_processor, compression_ratio, temporal_compression, num_frames)


def _extract(
    model: UniVSForVideoSegmentation,
    frames: Iterable[Any],
    image_processor: UniVSImageProcessor,
    ratio: int,
    temporal_compression: int,
    num_frames: int,
) -> Iterator[UniVSVideoFeatures]:
    clip: list[UniVSProcessedFrame] = []
    start, size = 0, None
    for frame in frames:
        processed = image_processor.preprocess_frame(frame)
        if size is None:
            size = processed.original_size
            if min(size) < ratio:
                raise ValueError(
                    f"`compression_ratio` must not exceed the sides of the frames, which are {size[1]}x{size[0]}, got "
                    f"{ratio}."
                )
        elif processed.original_size != size:
            raise ValueError(
                f"Frame {start + len(clip)} has size {processed.original_size}, those before it {size}. All frames of "
                "a video must have one size."
            )
        clip.append(processed)
        if len(clip) == num_frames:
            yield from _extract_clip(model, clip, start, ratio, temporal_compression)
            start, clip = start + num_frames, []
    if size is None:
        raise ValueError("`video` holds no frame.")
    if clip:
        yield from _extract_clip(model, clip, start, ratio, temporal_compression)


@torch.no_grad()
def _extract_clip(
    model: UniVSForVideoSegmentation,
    clip: list[UniVSProcessedFrame],
    start: int,
    ratio: int,
    temporal_compression: int,
) -> list[UniVSVideoFeatures]:
    """Features of those frames of a clip whose number is a multiple of `temporal_compression`, if there are any."""
    # All frames of the clip are decoded together, as they see each other; only then some are left out.
    kept = [index for index in range(len(clip)) if (start + index) % temporal_compression == 0]
    if not kept:
        return []
    pixel_values = torch.cat([frame.pixel_values for frame in clip], dim=1).to(model.device)
    features = model.encode_frames(pixel_values)
    frame_idx = torch.arange(start, start + len(clip), device=pixel_values.device)
    decoded = model.model.decode_clip(features, frame_idx[None])
    mask_features = sample_mask_features(
        features.mask_features[0, kept], clip[0].original_size, clip[0].resized_size, ratio
    )
    return [
        UniVSVideoFeatures(
            frame_idx=frame_idx[kept],
            object_tokens=decoded.last_hidden_state[0, kept].transpose(1, 2),
            mask_features=mask_features,
            feature_map=features.multi_scale_features[0][0, kept],
        )
    ]
