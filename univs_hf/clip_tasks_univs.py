# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the tasks of UniVS do with the clips of a video, and the memory that they carry from clip to clip.

[`SemanticSegmentationTask`] (VSS) takes clips side by side and keeps nothing between them.
[`ObjectSegmentationTask`] (VOS) lets clips overlap and carries objects on by their visual prompts.

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .configuration_univs import UniVSConfig
from .modeling_univs import mask_boxes

if TYPE_CHECKING:
    from .inference_univs import UniVSInferenceSession
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


def mask_quality(logits: torch.Tensor, config: UniVSConfig) -> torch.Tensor:
    """How sharply masks are cut out: pixels above the high logit over pixels above the low one (section B.1).

    Args:
        logits (`torch.Tensor` of shape (N, ...)): Mask logits.

    Returns:
        `torch.Tensor` of shape (N,), in [0, 1].
    """
    flat = logits.flatten(1)
    low = (flat > config.quality_low_logit).sum(dim=1).clamp(min=1)
    return (flat > config.quality_high_logit).sum(dim=1) / low


def mask_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of binary masks (N, ...), each with its counterpart; (N,), 0 where both are empty."""
    first, second = first.flatten(1), second.flatten(1)
    union = (first | second).sum(dim=1).clamp(min=1)
    return (first & second).sum(dim=1) / union


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


class VisualPromptMemory:
    """Pool of visual prompts of the objects: one slot per frame, R tokens per object and slot (section A.3.7).

    Only the most recent `capacity` slots are held, and per object the slot of the frame on which it appeared first.
    A slot is overwritten while its frame is in the clip and constant afterwards, so this equals an unbounded pool.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.stop = 0  # frame after the newest slot
        # Each (2, N, S, R, C): features and positions side by side, since they are always written together.
        self._slots: torch.Tensor | None = None
        self._first: torch.Tensor | None = None  # (2, N, R, C)

    @property
    def start(self) -> int:
        """Frame of the oldest slot held."""
        return self.stop - (0 if self._slots is None else self._slots.shape[2])

    @property
    def num_objects(self) -> int:
        return 0 if self._slots is None else self._slots.shape[1]

    def add_objects(self, count: int) -> None:
        """Appends objects that have been absent so far: their slots are zero."""
        if count and self._slots is not None:
            self._slots = torch.cat([self._slots, self._slots.new_zeros(2, count, *self._slots.shape[2:])], dim=1)
            self._first = torch.cat([self._first, self._first.new_zeros(2, count, *self._first.shape[2:])], dim=1)

    def append_frames(self, count: int, num_objects: int, num_pixels: int, reference: torch.Tensor) -> None:
        """Appends blank slots of type and device of `reference`, whose last dimension is C, and drops the oldest."""
        channels = reference.shape[-1]
        blank = reference.new_zeros(2, num_objects, count, num_pixels, channels)
        if self._slots is None:
            self._slots, self._first = blank, blank.new_zeros(2, num_objects, num_pixels, channels)
        else:
            self._slots = torch.cat([self._slots, blank], dim=2)[:, :, -self.capacity :]
        self.stop += count

    def write(self, frame: int, features: torch.Tensor, positions: torch.Tensor, present: torch.Tensor) -> None:
        """Stores prompts in the slot of `frame` and in all newer ones.

        Args:
            frame: Absolute frame number on which the prompts lie.
            features, positions (`torch.Tensor` of shape (N, R, C)): Their tokens.
            present (`torch.Tensor` of shape (N,), bool): Objects to write; the others keep what they have.
        """
        tokens = torch.stack([features, positions])[:, present]
        self._slots[:, present, max(frame - self.start, 0) :] = tokens.unsqueeze(2)

    def keep_first(self, first_frames: Sequence[int]) -> None:
        """Copies the first-appearance slot of each object that still is in the pool (-1: not yet seen)."""
        for index, frame in enumerate(first_frames):
            if self.start <= frame < self.stop:
                self._first[:, index] = self._slots[:, index, frame - self.start]

    def read_clip(self, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and positions (1, N, T, R, C) of the newest `num_frames` slots."""
        features, positions = self._slots[:, None, :, -num_frames:]
        return features, positions

    def read_memory(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and positions (1, N, (1 + S) * R, C): the first-appearance slot, then all slots in time order."""
        features, positions = torch.cat([self._first.unsqueeze(2), self._slots], dim=2).flatten(2, 3).unsqueeze(1)
        return features, positions


class ClipTask:
    """What a task does with the clips of a video. Subclasses hold the task's state between clips.

    Args:
        session ([`UniVSInferenceSession`]): The session that the task belongs to.
    """

    def __init__(self, session: UniVSInferenceSession):
        self.session = session

    @property
    def clip_stride(self) -> int:
        """Frames between the starts of two clips."""
        return min(self.session.config.clip_stride, self.session.config.num_frames)

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        """Decodes a clip and updates the state."""
        raise NotImplementedError

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        """Result of a frame that no later clip will change; what is kept of the frame is dropped."""
        raise NotImplementedError

    def encode_masks(
        self, model: UniVSForVideoSegmentation, clip: Clip, position: int, masks: torch.Tensor, boxes: torch.Tensor
    ) -> UniVSVisualTokens:
        """Visual prompts of masks (N, Hp, Wp) with boxes (N, 4) on frame `position` of the clip."""
        session = self.session
        recorded = {} if session.prompt_sampling is None else session.prompt_sampling(clip.start + position, masks)
        return model.encode_visual_prompts(
            clip.features.frames(position, position + 1),
            frame_idx=clip.frame_idx[:, position : position + 1],
            prompt_masks=masks[None].float(),
            mask_boxes=boxes[None],
            num_prompt_pixels=session.config.num_prompt_pixels,
            generator=session.generator,
            **recorded,
        )


class SemanticSegmentationTask(ClipTask):
    """Video semantic segmentation (VSS, section B.3): the class of every pixel, clip by clip, without memory.

    Category prompts cannot change the learnable queries, which alone give the result, so none are decoded (C.2).
    """

    def __init__(self, session: UniVSInferenceSession):
        super().__init__(session)
        if session.category_embeddings is None:
            raise ValueError("Task 'vss' needs categories: give `categories` (names) or `category_embeddings`.")
        self._maps: dict[int, torch.Tensor] = {}

    @property
    def clip_stride(self) -> int:
        return self.session.config.num_frames

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        session = self.session
        outputs = model.decode_clip(
            clip.features, frame_idx=clip.frame_idx, category_embeddings=session.category_embeddings
        )
        (maps,) = session.image_processor.post_process_semantic_segmentation(
            outputs,
            original_sizes=[session.geometry.original_size],
            resized_sizes=[session.geometry.resized_size],
            quality_high_logit=session.config.quality_high_logit,
            quality_low_logit=session.config.quality_low_logit,
        )
        for position, frame_idx in enumerate(range(clip.start, clip.stop)):
            self._maps[frame_idx] = maps[position].to("cpu", torch.int32)

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        segmentation = self._maps.pop(frame_idx)
        names = self.session.category_names
        return {
            "frame_idx": frame_idx,
            "segmentation": segmentation,
            "segments_info": [
                {"id": label, "label_id": label, "label": names[label], "score": None}
                for label in torch.unique(segmentation).tolist()
            ],
        }


class ObjectSegmentationTask(ClipTask):
    """Video object segmentation (VOS, section B.4): objects given by masks, carried through the video.

    Every object is decoded from its visual prompts alone; learnable queries cannot reach them and are not run (C.2).
    A clip either continues an object that earlier clips have seen, if it still looks alike, or starts one whose
    annotated frame lies in the clip. Objects compete for pixels, and logits of overlapping clips are summed.
    """

    def __init__(self, session: UniVSInferenceSession):
        super().__init__(session)
        config = session.config
        self._memory_length = max(config.num_prev_frames_memory, config.num_frames)
        self._memory = VisualPromptMemory(self._memory_length)
        self._first_frames: list[int] = []  # per object, -1 before its annotation has come into a clip
        self._logits: dict[int, torch.Tensor] = {}  # frame -> (N, Hp, Wp) sums of logits
        self._boxes: dict[int, torch.Tensor] = {}  # frame -> (N, 4) boxes of the newest clip's masks
        self._scores: dict[int, torch.Tensor] = {}  # frame -> (N,)
        self._embeddings: torch.Tensor | None = None  # (N, V, C), newest frame last
        # Without overlap between clips: prompts on the last frame of the clip before, see `_update_memory`.
        self._carried: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @property
    def num_objects(self) -> int:
        return len(self._first_frames)

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        session = self.session
        self._add_new_objects()
        self._add_new_frames(clip)
        self._apply_annotations(clip)
        if self.num_objects == 0:
            return
        self._update_memory(model, clip)
        if any(frame >= 0 for frame in self._first_frames):
            self._decode(model, clip)
        if self.clip_stride >= session.config.num_frames:
            # The next clip does not overlap this one, so what it starts from is encoded while the features are here.
            self._carried = self._encode_frame(model, clip, clip.stop - 1)

    def _decode(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        session = self.session
        prompts = model.compose_visual_prompts(*self._memory.read_clip(clip.num_frames), *self._memory.read_memory())
        outputs = model.decode_clip(
            clip.features,
            frame_idx=clip.frame_idx,
            prompts=prompts,
            use_learnable_queries=False,
            self_attention_type=session.config.self_attention_type,
        )
        boxes = mask_boxes(outputs.masks_queries_logits[0] > 0)  # (N, T, 4)
        logits = session.geometry.to_padded(outputs.masks_queries_logits[0])  # (N, T, Hp, Wp)
        embeddings = outputs.query_embeddings[0].float()  # (N, T, C)
        quality = mask_quality(session.geometry.crop(logits), session.config)
        first = torch.tensor(self._first_frames, device=logits.device)
        self._start_objects(clip, (first >= clip.start).nonzero()[:, 0], logits, boxes, embeddings, quality)
        seen_before = ((first >= 0) & (first < clip.start)).nonzero()[:, 0]
        self._continue_objects(clip, seen_before, logits, boxes, embeddings, quality)

    def _add_new_objects(self) -> None:
        count = len(self.session.object_ids) - self.num_objects
        if count == 0:
            return
        self._first_frames += [-1] * count
        self._memory.add_objects(count)
        for kept in (self._logits, self._boxes, self._scores):
            for frame, values in kept.items():
                kept[frame] = torch.cat([values, values.new_zeros(count, *values.shape[1:])])
        if self._carried is not None:
            self._carried = tuple(
                torch.cat([values, values.new_zeros(count, *values.shape[1:])]) for values in self._carried
            )
        if self._embeddings is not None:
            blank = self._embeddings.new_zeros(count, *self._embeddings.shape[1:])
            self._embeddings = torch.cat([self._embeddings, blank])

    def _add_new_frames(self, clip: Clip) -> None:
        session = self.session
        count = clip.stop - clip.previous_stop
        for frame in range(clip.previous_stop, clip.stop):
            self._logits[frame] = torch.zeros(self.num_objects, *session.geometry.padded_size, device=session.device)
            self._boxes[frame] = torch.zeros(self.num_objects, 4, device=session.device)
            self._scores[frame] = torch.zeros(self.num_objects, device=session.device)
        channels = session.config.hidden_dim
        if self._embeddings is None:
            self._embeddings = torch.zeros(self.num_objects, count, channels, device=session.device)
        else:
            recent = self._embeddings[:, -self.clip_stride :].mean(dim=1, keepdim=True).expand(-1, count, -1)
            self._embeddings = torch.cat([self._embeddings, recent], dim=1)[:, -self._memory_length :]
        self._memory.append_frames(
            count, self.num_objects, session.config.num_prompt_pixels, clip.features.mask_features.new_empty(channels)
        )

    def _apply_annotations(self, clip: Clip) -> None:
        # Done in every clip that contains the frame: what clips have added there gives way to the annotation.
        for frame in range(clip.start, clip.stop):
            for index, mask in self.session.annotations.get(frame, {}).items():
                self._logits[frame][index] = mask.float()
                self._boxes[frame][index] = mask_boxes(mask, last=1)
                self._scores[frame][index] = 1.0
                if self._first_frames[index] < 0:
                    self._first_frames[index] = frame

    def _update_memory(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        # The frames that an earlier clip has segmented are the key frames; the first clip has its first frame only.
        key_frames = set(range(clip.start, clip.previous_stop)) if clip.previous_stop else {clip.start}
        # With a stride above half a clip, an annotated frame may lie in no overlap: this clip is its only chance.
        last_chance = min(clip.start + self.clip_stride, clip.stop)
        key_frames.update(frame for frame in self.session.annotations if clip.start <= frame < last_chance)
        if self._carried is not None:
            self._memory.write(clip.start - 1, *self._carried)
        for frame in sorted(key_frames):
            self._memory.write(frame, *self._encode_frame(model, clip, frame))
        self._memory.keep_first(self._first_frames)

    def _encode_frame(
        self, model: UniVSForVideoSegmentation, clip: Clip, frame: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features and positions (N, R, C) of the objects' masks on a frame, and which objects have one (N,)."""
        masks = self._logits[frame] > 0
        tokens = self.encode_masks(model, clip, frame - clip.start, masks, self._boxes[frame])
        return tokens.features[0], tokens.positions[0], masks.flatten(1).any(dim=1)

    def _start_objects(
        self,
        clip: Clip,
        objects: torch.Tensor,
        logits: torch.Tensor,
        boxes: torch.Tensor,
        embeddings: torch.Tensor,
        quality: torch.Tensor,
    ) -> None:
        """Objects whose annotated frame is in the clip: accepted if the prediction agrees with the annotation."""
        if len(objects) == 0:
            return
        config = self.session.config
        logits, boxes, embeddings, quality = (values[objects] for values in (logits, boxes, embeddings, quality))
        self._embeddings[objects, -clip.num_frames :] = embeddings

        frames = [self._first_frames[index] for index in objects.tolist()]
        rows = torch.arange(len(objects), device=logits.device)
        positions = torch.tensor(frames, device=logits.device) - clip.start
        annotated = torch.stack(
            [self._logits[frame][index] > 0 for frame, index in zip(frames, objects.tolist(), strict=True)]
        )
        weight = mask_iou(annotated, logits[rows, positions] > 0).square() * quality
        owned = _assign_owners(logits, weight)
        iou = mask_iou(annotated, owned[rows, positions])
        area = annotated.flatten(1).sum(dim=1)
        needed = config.vos_acceptance_iou * (area / config.vos_acceptance_area).clamp(max=1)
        accepted = iou > needed
        logits = logits * owned
        score = iou * quality
        for row in accepted.nonzero()[:, 0].tolist():
            index = int(objects[row])
            for frame in range(frames[row] + 1, clip.stop):
                self._logits[frame][index] = logits[row, frame - clip.start]
                self._boxes[frame][index] = boxes[row, frame - clip.start]
                self._scores[frame][index] = score[row]

    def _continue_objects(
        self,
        clip: Clip,
        objects: torch.Tensor,
        logits: torch.Tensor,
        boxes: torch.Tensor,
        embeddings: torch.Tensor,
        quality: torch.Tensor,
    ) -> None:
        """Objects seen by earlier clips: kept where they look as before and hold enough of their own mask."""
        if len(objects) == 0:
            return
        config = self.session.config
        logits, boxes, embeddings, quality = (values[objects] for values in (logits, boxes, embeddings, quality))
        similarity = temporal_consistency(self._embeddings[objects], embeddings, config)
        consistent = (similarity > config.temporal_consistency_threshold).float()
        logits = logits * consistent[:, None, None, None]
        boxes = boxes * consistent[:, None, None]
        embeddings = embeddings * consistent[:, None, None]
        similarity, quality = similarity * consistent, quality * consistent

        owned = _assign_owners(logits, similarity.square() * quality)
        owned_area = owned.flatten(1).sum(dim=1)
        area = (logits > 0).flatten(1).sum(dim=1).clamp(min=1)
        kept = (owned_area / area > config.vos_owned_area_ratio) & (owned_area > 0)
        logits = logits * (owned & kept[:, None, None, None])
        score = similarity * quality * kept
        for frame in range(clip.start, clip.stop):
            position = frame - clip.start
            annotated = self.session.annotations.get(frame, {})
            for row, index in enumerate(objects.tolist()):
                # A later annotation of a known object is a correction: it stands.
                if index not in annotated:
                    self._logits[frame][index] += logits[row, position]
                    self._boxes[frame][index] = boxes[row, position]
                    self._scores[frame][index] = score[row]

        stored = self._embeddings[objects, -clip.num_frames :]
        filled = (stored != 0).any(dim=-1, keepdim=True)
        self._embeddings[objects, -clip.num_frames :] = (stored + embeddings) / (1 + filled.float())

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        session = self.session
        scores = self._scores.pop(frame_idx, torch.zeros(0)).tolist()
        session.annotations.pop(frame_idx, None)
        self._boxes.pop(frame_idx, None)
        logits = self._logits.pop(frame_idx)
        masks = session.geometry.to_original(logits) > 0 if len(logits) else logits
        segmentation = torch.zeros(session.geometry.original_size, dtype=torch.int32, device=session.device)
        # Backwards, so that where masks meet after the resize the object that was given first keeps the pixel.
        for index in reversed(range(len(masks))):
            segmentation[masks[index]] = session.object_ids[index]
        segmentation = segmentation.cpu()
        present = set(torch.unique(segmentation).tolist())
        return {
            "frame_idx": frame_idx,
            "segmentation": segmentation,
            "segments_info": [
                {"id": object_id, "label_id": object_id, "label": session.object_names[object_id], "score": score}
                for object_id, score in zip(session.object_ids, scores, strict=False)
                if object_id in present
            ],
        }


def _assign_owners(logits: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Gives every pixel to one object.

    Args:
        logits (`torch.Tensor` of shape (N, T, Hp, Wp)): Mask logits.
        weight (`torch.Tensor` of shape (N,)): Factor on each object's mask probability.

    Returns:
        `torch.Tensor` of shape (N, T, Hp, Wp), bool: the object with the largest weighted probability, no object where
        no logit is positive.
    """
    owner = (logits.sigmoid() * weight[:, None, None, None]).argmax(dim=0)
    taken = (logits > 0).any(dim=0)
    indices = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return (owner == indices) & taken


TASKS: dict[str, type[ClipTask]] = {"vss": SemanticSegmentationTask, "vos": ObjectSegmentationTask}


def check_task(task: str) -> None:
    """Raises a `ValueError` that lists the tasks if `task` is none of them."""
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {sorted(TASKS)}, got {task!r}.")
