# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What category-guided tasks remember of the objects they have found, and the formulas that compare objects.

Shape legend: N objects, M detections, T frames of a clip, F stored frames, V embedding slots, K categories,
C channels; (h4, w4) stride-4 maps. Section numbers refer to the specification of the published inference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .clip_tasks_univs import Clip
from .configuration_univs import UniVSConfig

# Embedding slots that are matched with detections, and averaged to start the next slot (section B.3).
NUM_MATCHED_SLOTS = 3


def box_iou_overlaps(boxes: torch.Tensor, min_union: float) -> torch.Tensor:
    """Largest IoU over the frames between any two boxes sequences.

    Args:
        boxes (`torch.Tensor` of shape (M, T, 4)): x1, y1, x2, y2, normalised.
        min_union (`float`): Lower bound of the union (normalised area); it makes small boxes overlap less.

    Returns:
        `torch.Tensor` of shape (M, M).
    """
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    low = torch.maximum(boxes[:, None, :, :2], boxes[None, :, :, :2])
    high = torch.minimum(boxes[:, None, :, 2:], boxes[None, :, :, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=-1)
    union = (area[:, None] + area[None] - intersection).clamp(min=min_union)
    return (intersection / union).amax(dim=-1)


def mask_iou_overlaps(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """IoU on each frame between any two mask sequences.

    Args:
        first (`torch.Tensor` of shape (M, T, h4, w4), bool), second (`torch.Tensor` of shape (N, T, h4, w4), bool).

    Returns:
        `torch.Tensor` of shape (T, M, N).
    """
    first = first.flatten(2).transpose(0, 1).float()
    second = second.flatten(2).transpose(0, 1).float()
    intersection = first @ second.transpose(1, 2)
    union = first.sum(dim=-1)[:, :, None] + second.sum(dim=-1)[:, None] - intersection
    return intersection / union.clamp(min=1)


def not_suppressed(overlaps: torch.Tensor, threshold: float) -> torch.Tensor:
    """Which of M detections, the best first, overlap less than `threshold` with each better one: (M,) bool."""
    return torch.triu(overlaps, diagonal=1).amax(dim=0) < threshold if len(overlaps) else overlaps.new_zeros(0).bool()


def bi_softmax(memory: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
    """Similarity of known objects and detections: how much each is the other's likeliest partner (section B.1).

    Args:
        memory (`torch.Tensor` of shape (N, V, C)): Stored query embeddings.
        current (`torch.Tensor` of shape (M, T, C)): Query embeddings of the clip.

    Returns:
        `torch.Tensor` of shape (N, M), in [0, 1].
    """
    products = torch.einsum("nvc,mtc->vtnm", memory, current).flatten(0, 1)
    return ((products.softmax(dim=1) + products.softmax(dim=2)) / 2).mean(dim=0)


def enlarged_and_back(logits: torch.Tensor) -> torch.Tensor:
    """Logits (..., h4, w4) after a bilinear resize to four times their size and back, computed in one go.

    Going back, the resize takes the mean of the middle two of four pixels per axis, each a blend of two
    neighbours with weights 7/8 and 1/8; together that is a filter (1/16, 14/16, 1/16) that repeats the border.
    """

    def blend(maps: torch.Tensor, dim: int) -> torch.Tensor:
        first, last = maps.narrow(dim, 0, 1), maps.narrow(dim, -1, 1)
        padded, size = torch.cat([first, maps, last], dim=dim), maps.shape[dim]
        neighbours = padded.narrow(dim, 0, size) + padded.narrow(dim, 2, size)
        return neighbours.add_(maps, alpha=14)

    return blend(blend(logits, -1), -2) / 256


class EntityMemory:
    """The objects of a video: masks of recent frames, embeddings, class scores, in the order they were found.

    The published inference keeps class scores and embeddings of every clip, and mask logits at the size of the model
    input. Here the class scores are a running sum, the embeddings those slots that are still read, and the logits
    sums at stride 4: the same numbers (section C.1) in bounded memory.

    Attributes:
        ids (`list[int]`): Running number of each object, from 1; never used again.
        first_frames (`list[int]`): First frame of the clip that found the object.
        class_sums, class_scores (`torch.Tensor` of shape (N, K)): Class scores, summed over the clips (clips before
            an object was found count as 0), and of the current clip.
        num_clips (`int`): Clips so far.
        embeddings (`torch.Tensor` of shape (N, V, C)): Embeddings, one slot per clip, the current one last.
        quality (`torch.Tensor` of shape (N,)): Sum of mask qualities.
        logits (`torch.Tensor` of shape (N, F, h4, w4)): Sums of mask logits, of frames from `start` on.
        boxes (`torch.Tensor` of shape (N, F, 4)): Their boxes, normalised.
        last_seen (`torch.Tensor` of shape (N,), int64): Newest frame with a mask.
        score_sums (`torch.Tensor` of shape (N, K)), score_counts (`torch.Tensor` of shape (N,)): Mean class scores
            summed over the outputs so far, and their number.
    """

    def __init__(
        self,
        config: UniVSConfig,
        num_slots: int,
        num_categories: int,
        map_size: tuple[int, int],
        device: torch.device,
    ):
        self.num_slots = num_slots
        self.ids: list[int] = []
        self.first_frames: list[int] = []
        self.next_id = 1
        self.num_clips = 0
        self.start = 0
        self.class_sums = torch.zeros(0, num_categories, device=device)
        self.class_scores = torch.zeros(0, num_categories, device=device)
        self.embeddings = torch.zeros(0, 0, config.hidden_dim, device=device)
        self.quality = torch.zeros(0, device=device)
        self.logits = torch.zeros(0, 0, *map_size, device=device)
        self.boxes = torch.zeros(0, 0, 4, device=device)
        self.last_seen = torch.zeros(0, dtype=torch.int64, device=device)
        self.score_sums = torch.zeros(0, num_categories, device=device)
        self.score_counts = torch.zeros(0, device=device)

    @property
    def num_objects(self) -> int:
        return len(self.ids)

    @property
    def stop(self) -> int:
        """Frame after the newest one stored."""
        return self.start + self.logits.shape[1]

    @property
    def mean_class_scores(self) -> torch.Tensor:
        """Class scores (N, K) averaged over all clips."""
        return self.class_sums / max(self.num_clips, 1)

    def begin_clip(self, clip: Clip) -> None:
        """Adds blank masks for the new frames of the clip, and slots that start from what is known."""
        if self.num_clips == 0:
            recent = self.embeddings.new_zeros(0, 1, self.embeddings.shape[2])
        else:
            # Blank slots of clips before the object was found count in the mean, as in the original.
            recent = self.embeddings[:, -NUM_MATCHED_SLOTS:].mean(dim=1, keepdim=True)
        self.embeddings = torch.cat([self.embeddings, recent], dim=1)[:, -self.num_slots :]
        self.class_sums = self.class_sums + self.class_scores
        self.num_clips += 1
        blank = self.num_objects, clip.stop - clip.previous_stop
        self.logits = torch.cat([self.logits, self.logits.new_zeros(*blank, *self.logits.shape[2:])], dim=1)
        self.boxes = torch.cat([self.boxes, self.boxes.new_zeros(*blank, 4)], dim=1)

    def see(self, clip: Clip) -> None:
        """Notes which objects have a mask on the frames of the clip."""
        present = (self.logits[:, -clip.num_frames :] > 0).flatten(2).any(dim=2)
        newest = torch.where(present, clip.frame_idx, -1).amax(dim=1)
        self.last_seen = torch.maximum(self.last_seen, newest)

    def update_embeddings(self, rows: torch.Tensor | slice, embeddings: torch.Tensor) -> None:
        """Averages embeddings (n, C) into the current slot of the objects `rows`; a blank slot takes them as is."""
        stored = self.embeddings[rows, -1]
        filled = (stored != 0).any(dim=-1, keepdim=True)
        self.embeddings[rows, -1] = (stored + embeddings) / (1 + filled)

    def update_class_scores(self, rows: torch.Tensor, scores: torch.Tensor) -> None:
        """Averages class scores (n, K) with those of the current clip of the objects `rows`."""
        updated = (self.class_scores[rows] + scores) / 2
        self.class_sums[rows] += updated - self.class_scores[rows]
        self.class_scores[rows] = updated

    def add_objects(
        self,
        clip: Clip,
        scores: torch.Tensor,
        embeddings: torch.Tensor,
        logits: torch.Tensor,
        boxes: torch.Tensor,
        quality: torch.Tensor,
    ) -> None:
        """Appends objects found in the clip.

        Args:
            scores (`torch.Tensor` of shape (n, K)), embeddings (`torch.Tensor` of shape (n, C)),
            logits (`torch.Tensor` of shape (n, T, h4, w4)), boxes (`torch.Tensor` of shape (n, T, 4)),
            quality (`torch.Tensor` of shape (n,)).
        """
        count = len(scores)
        self.ids += range(self.next_id, self.next_id + count)
        self.next_id += count
        self.first_frames += [clip.start] * count
        num_blank = self.stop - self.start - clip.num_frames

        def extend(stored: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            return torch.cat([stored, new.to(stored.dtype)])

        self.class_sums = extend(self.class_sums, scores)
        self.class_scores = extend(self.class_scores, scores)
        self.quality = extend(self.quality, quality)
        self.embeddings = extend(
            self.embeddings, F.pad(embeddings.unsqueeze(1), (0, 0, self.embeddings.shape[1] - 1, 0))
        )
        self.logits = extend(self.logits, F.pad(logits, (0, 0, 0, 0, num_blank, 0)))
        self.boxes = extend(self.boxes, F.pad(boxes, (0, 0, num_blank, 0)))
        self.last_seen = extend(self.last_seen, self.last_seen.new_full((count,), clip.start))
        self.score_sums = extend(self.score_sums, torch.zeros_like(scores))
        self.score_counts = extend(self.score_counts, torch.zeros_like(quality))

    def select_objects(self, indices: torch.Tensor) -> None:
        """Keeps the objects with these indices, (n,) int64 ascending, and forgets the others."""
        kept = indices.tolist()
        self.ids = [self.ids[index] for index in kept]
        self.first_frames = [self.first_frames[index] for index in kept]
        for name in (
            "class_sums class_scores embeddings quality logits boxes last_seen score_sums score_counts"
        ).split():
            setattr(self, name, getattr(self, name)[indices])

    def drop_frames(self, stop: int) -> None:
        """Drops the masks of frames before `stop`."""
        if stop > self.start:
            # A copy, so that the storage of what is dropped becomes free.
            self.logits = self.logits[:, stop - self.start :].clone()
            self.boxes = self.boxes[:, stop - self.start :].clone()
            self.start = stop
