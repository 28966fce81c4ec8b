# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What all tasks of UniVS share when they work through the clips of a video: a clip, a task, and the formulas.

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .configuration_univs import UniVSConfig

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import UniVSForVideoSegmentation, UniVSFrameFeatures, UniVSVisualTokens


@dataclass(frozen=True)
class Clip:
    """Frames `start` to `stop - 1` of the video, encoded.

    Attributes:
        start, stop: Absolute frame numbers.
        previous_stop: Where the clip before ended; 0 for the first.
        features: [`UniVSFrameFeatures`] of the T frames.
        frame_idx: (1, T) int64 absolute frame numbers.
    """

    start: int
    stop: int
    previous_stop: int
    features: UniVSFrameFeatures
    frame_idx: torch.Tensor

    @property
    def num_frames(self) -> int:
        return self.stop - self.start


def count_pixels(masks: torch.Tensor) -> torch.Tensor:
    """Pixels that are set in binary masks (N, ...); (N,) int64."""
    # Eight pixels at a time: as bytes of an integer they are summed side by side, 255 times without an overflow.
    # On a CPU that is five times as fast as a sum of bools, which are widened one by one.
    flat = masks.flatten(1)
    num_masks, num_pixels = flat.shape
    num_groups = -(-num_pixels // (8 * 255))
    padded = flat.new_zeros(num_masks, num_groups * 8 * 255)
    padded[:, :num_pixels] = flat
    lanes = padded.view(torch.int64).view(num_masks, num_groups, 255).sum(dim=2)
    return lanes.view(torch.uint8).view(num_masks, num_groups * 8).sum(dim=1)


def mask_quality(logits: torch.Tensor, config: UniVSConfig) -> torch.Tensor:
    """How sharply masks are cut out: pixels above the high logit over pixels above the low one (section B.1).

    Args:
        logits (`torch.Tensor` of shape (N, ...)): Mask logits.

    Returns:
        `torch.Tensor` of shape (N,), in [0, 1].
    """
    low = count_pixels(logits > config.quality_low_logit).clamp(min=1)
    return count_pixels(logits > config.quality_high_logit) / low


def mask_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of binary masks (N, ...), each with its counterpart; (N,), 0 where both are empty."""
    return count_pixels(first & second) / count_pixels(first | second).clamp(min=1)


def temporal_consistency(memory: torch.Tensor, current: torch.Tensor, config: UniVSConfig) -> torch.Tensor:
    """Similarity of objects with what they looked like before, recent frames counting most (section B.1).

    Args:
        memory (`torch.Tensor` of shape (N, V, C)): Stored query embeddings, oldest first; all-zero slots do not count.
        current (`torch.Tensor` of shape (N, T, C)): Query embeddings of the clip.

    Returns:
        `torch.Tensor` of shape (N,): weighted mean cosine.
    """
    num_slots = memory.shape[1]
    age = torch.arange(1, num_slots + 1, device=memory.device, dtype=memory.dtype) / num_slots
    weights = torch.exp(config.temporal_weight * age) * (memory != 0).any(dim=-1)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-3)
    memory = memory / memory.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    current = current / current.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    cosine = torch.einsum("nvc,ntc->nvt", memory, current).mean(dim=-1)
    return (weights * cosine).sum(dim=1)


class ClipTask:
    """What a task does with the clips of a video. Subclasses hold the task's state between clips.

    Args:
        engine ([`ClipEngine`]): The engine that the task belongs to.
    """

    def __init__(self, engine: ClipEngine):
        self.engine = engine

    @property
    def clip_stride(self) -> int:
        """Frames between the starts of two clips."""
        return min(self.engine.config.clip_stride, self.engine.config.num_frames)

    def final_stop(self, next_clip: int, is_last: bool, stop: int) -> int:
        """Up to which frame results are final after a clip.

        Args:
            next_clip: First frame of the next clip.
            is_last: No clip follows.
            stop: Frame after the last of the clip.
        """
        return stop if is_last else next_clip

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        """Decodes a clip and updates the state."""
        raise NotImplementedError

    def finish_frame(self, frame_idx: int) -> dict[str, Any] | None:
        """Result of a frame that no later clip will change; what is kept of the frame is dropped. None: no result."""
        raise NotImplementedError

    def summary(self) -> list[dict[str, Any]]:
        """What is known of the objects of the whole video, once it is over; nothing for tasks without objects."""
        return []

    def remove_object(self, object_id: int) -> None:
        """Stops following an object.

        Raises:
            ValueError: If there is no such object.
        """
        raise ValueError(f"There is no object {object_id}: this task follows no objects.")

    def encode_masks(
        self, model: UniVSForVideoSegmentation, clip: Clip, position: int, masks: torch.Tensor, boxes: torch.Tensor
    ) -> UniVSVisualTokens:
        """Visual prompts of masks (N, Hp, Wp) with boxes (N, 4) on frame `position` of the clip."""
        engine = self.engine
        recorded = {} if engine.prompt_sampling is None else engine.prompt_sampling(clip.start + position, masks)
        return model.encode_visual_prompts(
            clip.features.frames(position, position + 1),
            frame_idx=clip.frame_idx[:, position : position + 1],
            prompt_masks=masks[None].float(),
            mask_boxes=boxes[None],
            num_prompt_pixels=engine.config.num_prompt_pixels,
            generator=engine.generator,
            **recorded,
        )


def pixel_owners(logits: torch.Tensor, weight: torch.Tensor, certain: torch.Tensor | None = None) -> torch.Tensor:
    """Which object each pixel belongs to.

    Args:
        logits (`torch.Tensor` of shape (N, T, Hp, Wp)): Mask logits.
        weight (`torch.Tensor` of shape (N,)): Factor on each object's mask probability.
        certain (`torch.Tensor` of shape (N, T, Hp, Wp), bool, *optional*): Pixels that surely belong to an object.

    Returns:
        `torch.Tensor` of shape (T, Hp, Wp), int64: the object with the largest weighted probability, the first of
        equals; N where no logit is positive and nothing is certain.
    """
    probability = logits.sigmoid()
    taken = logits.amax(dim=0) > 0
    if certain is not None:
        probability.masked_fill_(certain, 1.0)
        taken |= certain.any(dim=0)
    # Faster than argmax over a leading dimension.
    owner = probability.mul_(weight[:, None, None, None]).max(dim=0).indices
    return owner.masked_fill_(~taken, len(logits))


def assign_owners(logits: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As [`pixel_owners`], as a bool mask (N, T, Hp, Wp) of the pixels of each object."""
    indices = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return pixel_owners(logits, weight) == indices
