# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What video instance and video panoptic segmentation share: objects found in a clip and followed as prompts.

Shape legend: N objects, M detections, T frames of a clip, Q queries, K categories, R pixels per visual prompt,
C channels, P key frames; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from scipy.optimize import linear_sum_assignment

from .clip_tasks_univs import Clip, ClipTask, mask_quality, temporal_consistency
from .entity_memory_univs import NUM_MATCHED_SLOTS, EntityMemory, bi_softmax, enlarged_and_back, mask_iou_overlaps
from .modeling_univs import mask_boxes
from .prompt_memory_univs import VisualPromptMemory

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import (
        UniVSForVideoSegmentation,
        UniVSForVideoSegmentationOutput,
        UniVSPrompts,
        UniVSVisualTokens,
    )

# With these the prompt queries see the learnable ones, which then have to be decoded in every clip.
_MIXING_ATTENTION_TYPES = ("sep-l2p", "none", "all")


class EntitySegmentationTask(ClipTask):
    """What VIS and VPS share (section B.3): objects are found by learnable queries and followed as visual prompts.

    Every clip first continues the known objects: each is decoded from a prompt made of its own masks. Then the
    detections of the learnable queries are matched with them, and what matches nothing becomes a new object.

    A clip is ended when the next begins: only then is it known not to be the last, which the original treats apart.
    """

    name: ClassVar[str]  # of the task

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        config = engine.config
        if engine.category_embeddings is None:
            raise ValueError(
                f"Task {self.name!r} needs categories: give `categories` (names) or `category_embeddings`."
            )
        self._num_read_slots = max(config.num_prev_frames_memory // self.clip_stride, NUM_MATCHED_SLOTS)
        self._output_length = 5 * (-(-max(config.num_frames_window, config.num_frames) // 5) + 1)
        height, width = engine.geometry.padded_size
        self.memory = EntityMemory(
            config,
            self._num_read_slots,
            len(engine.category_embeddings),
            (height // config.common_stride, width // config.common_stride),
            engine.device,
        )
        self.prompt_memory = VisualPromptMemory(max(config.num_prev_frames_memory, config.num_frames))
        self._clip_start: int | None = None  # of the newest clip
        self._found_nothing = False
        # Without overlap between clips: prompts on the last frame of the clip before, and who is there.
        self._carried: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        config = self.engine.config
        if self._clip_start is not None:
            self._end_clip(clip)
        self._clip_start = clip.start
        self.memory.begin_clip(clip)
        self.prompt_memory.append_frames(
            clip.stop - clip.previous_stop,
            self.memory.num_objects,
            config.num_prompt_pixels,
            clip.features.mask_features.new_empty(config.hidden_dim),
        )
        if self._found_nothing and not config.detect_after_empty_start:
            # As in the original, nothing is ever found after a first clip without objects.
            return
        num_known = self.memory.num_objects
        prompts = self._make_prompts(model, clip) if num_known else None
        detects = num_known == 0 or clip.start % config.new_object_interval == 0
        learnable = detects or config.self_attention_type in _MIXING_ATTENTION_TYPES
        outputs = model.decode_clip(
            clip.features,
            frame_idx=clip.frame_idx,
            prompts=prompts,
            category_embeddings=self.engine.category_embeddings,
            use_learnable_queries=learnable,
            self_attention_type=config.self_attention_type,
        )
        num_learnable = outputs.masks_queries_logits.shape[1] - num_known
        if num_known:
            self._continue_objects(
                clip,
                outputs.masks_queries_logits[0, num_learnable:].float(),
                outputs.query_embeddings[0, num_learnable:].float(),
            )
        if detects:
            self._detect_objects(clip, outputs, num_learnable)
            self._found_nothing = clip.previous_stop == 0 and self.memory.num_objects == 0
        self._forget_objects(clip)
        if self.clip_stride >= config.num_frames and self.memory.num_objects:
            self._carried = self._encode_frames(model, clip, range(clip.stop - 1, clip.stop))

    # --- prompts from the memory

    def _make_prompts(self, model: UniVSForVideoSegmentation, clip: Clip) -> UniVSPrompts:
        """Prompts of the known objects, from their masks on the frames that the clip has in common with the last."""
        if self._carried is not None:
            self.prompt_memory.write_frames([clip.start - 1], *self._carried)
            self._carried = None
        elif clip.start == self.clip_stride and min(self.memory.first_frames) == 0:
            self._write_first_slots(model, clip)
        frames = range(clip.start, clip.previous_stop)
        if frames:
            self.prompt_memory.write_frames(frames, *self._encode_frames(model, clip, frames))
        self.prompt_memory.keep_first(self.memory.first_frames)
        return model.compose_visual_prompts(
            *self.prompt_memory.read_clip(clip.num_frames), *self.prompt_memory.read_memory()
        )

    def _write_first_slots(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        # The original sets up its memory in the second clip, when the features of the first are gone: the masks of
        # the first frames are read with the features and positions of the second clip's. The published numbers
        # contain this (table D, 1).
        for position in range(self.clip_stride):
            frame = clip.start - self.clip_stride + position
            masks = self._padded_masks([frame])
            boxes = self.memory.boxes[:, frame - self.memory.start]
            recorded = self._recorded_sampling([frame], masks)
            tokens = self._encode(model, clip, masks, boxes, [position], clip.frame_idx, recorded)
            small = masks[:, 0, ::8, ::8].flatten(1).any(dim=1)
            vanished = masks.flatten(1).any(dim=1) & ~small & small.any()
            positions = tokens.positions[0]
            if vanished.any():
                # An object without a pixel at stride 8 is placed by its central point, on the frame of its mask.
                placed = self._encode(
                    model, clip, masks, boxes, [position], clip.frame_idx - self.clip_stride, recorded
                )
                positions = torch.where(vanished[:, None, None], placed.positions[0], positions)
            self.prompt_memory.write_slot(frame, tokens.features[0], positions, self.memory.first_frames)

    def _padded_masks(self, frames: Sequence[int]) -> torch.Tensor:
        """Masks (N, len(frames), Hp, Wp) of the known objects on consecutive frames, bool."""
        first = frames[0] - self.memory.start
        return self.engine.geometry.to_padded(self.memory.logits[:, first : first + len(frames)]) > 0

    def _recorded_sampling(self, frames: Sequence[int], masks: torch.Tensor) -> dict[str, torch.Tensor]:
        sampling = self.engine.prompt_sampling
        if sampling is None:
            return {}
        recorded = [sampling(frame, masks[:, position]) for position, frame in enumerate(frames)]
        return {key: torch.cat([entry[key] for entry in recorded], dim=1) for key in recorded[0]}

    def _encode(
        self,
        model: UniVSForVideoSegmentation,
        clip: Clip,
        masks: torch.Tensor,
        boxes: torch.Tensor,
        positions: Sequence[int],
        frame_idx: torch.Tensor,
        recorded: dict[str, torch.Tensor],
    ) -> UniVSVisualTokens:
        """Visual prompts (1, P * N, R, C) of masks (N, P, Hp, Wp), frame by frame, on P frames of the clip."""
        prompt_frame_idx = torch.tensor(positions, device=masks.device).repeat_interleave(len(masks))
        return model.encode_visual_prompts(
            clip.features,
            frame_idx=frame_idx,
            prompt_masks=masks.transpose(0, 1).flatten(0, 1)[None],
            prompt_frame_idx=prompt_frame_idx[None],
            mask_boxes=boxes.reshape(len(masks), -1, 4).transpose(0, 1).flatten(0, 1)[None],
            num_prompt_pixels=self.engine.config.num_prompt_pixels,
            generator=self.engine.generator,
            **recorded,
        )

    def _encode_frames(
        self, model: UniVSForVideoSegmentation, clip: Clip, frames: range
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features and positions (N, P, R, C) of the objects' masks on frames of the clip; which have one (N, P)."""
        masks = self._padded_masks(frames)
        first = frames[0] - self.memory.start
        boxes = self.memory.boxes[:, first : first + len(frames)]
        recorded = self._recorded_sampling(frames, masks)
        positions = [frame - clip.start for frame in frames]
        tokens = self._encode(model, clip, masks, boxes, positions, clip.frame_idx, recorded)
        shape = len(frames), len(masks)
        return (
            tokens.features[0].unflatten(0, shape).transpose(0, 1),
            tokens.positions[0].unflatten(0, shape).transpose(0, 1),
            masks.flatten(2).any(dim=2),
        )

    # --- one clip

    def _continue_objects(self, clip: Clip, logits: torch.Tensor, embeddings: torch.Tensor) -> None:
        """Adds what the prompts show, (N, T, h4, w4) and (N, T, C), to the objects that look as before."""
        engine, memory = self.engine, self.memory
        config, num_frames = engine.config, clip.num_frames
        cropped = engine.geometry.crop(engine.geometry.to_padded(logits))
        quality = mask_quality(cropped, config)
        similarity = temporal_consistency(memory.embeddings[:, -self._num_read_slots :], embeddings, config)
        threshold = config.temporal_consistency_threshold
        if clip.start < config.num_frames:
            threshold = threshold / 2
        kept = self._prompts_to_keep(cropped, similarity, quality) & (similarity > threshold)

        sums = memory.logits[:, -num_frames:]
        sums += logits * kept[:, None, None, None]
        boxes = mask_boxes(engine.geometry.to_padded(sums) > 0)
        stored = memory.boxes[:, -num_frames:]
        stored.copy_(torch.where(kept[:, None, None], boxes, stored))
        before = memory.embeddings[:, -1].clone()
        memory.update_embeddings(slice(None), embeddings.mean(dim=1))
        memory.embeddings[:, -1] = torch.where(kept[:, None], memory.embeddings[:, -1], before)
        memory.quality += quality * kept

    def _prompts_to_keep(self, logits: torch.Tensor, similarity: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        """Which objects (N,) may add to their masks, given logits (N, T, h, w) without padding."""
        return torch.ones_like(similarity, dtype=torch.bool)

    def _detect_objects(self, clip: Clip, outputs: UniVSForVideoSegmentationOutput, num_learnable: int) -> None:
        """Matches the learnable queries with the known objects; what is left may be new."""
        config, memory = self.engine.config, self.memory
        logits = outputs.masks_queries_logits[0, :num_learnable].float()
        quality = mask_quality(logits, config)
        scores = outputs.class_queries_logits[0, :num_learnable].float().sigmoid() * quality[:, None]
        first_clip = memory.num_objects == 0
        chosen = self._choose_detections(logits, scores, quality, first_clip)
        logits, scores, quality = logits[chosen], scores[chosen], quality[chosen]
        embeddings = outputs.query_embeddings[0, :num_learnable][chosen].float()
        if first_clip:
            new = (scores.amax(dim=1) > self._first_clip_threshold).nonzero()[:, 0]
        else:
            matched = self._match_detections(clip, logits, scores, quality, embeddings)
            new = (scores.amax(dim=1) > self._new_object_threshold) & ~matched
            new = new.nonzero()[:, 0]
            known = enlarged_and_back(memory.logits[:, -clip.num_frames :]) > 0
            overlap = mask_iou_overlaps(logits[new] > 0, known).amax(dim=(0, 2))
            new = new[overlap < config.new_object_iou_threshold]
        self.prompt_memory.add_objects(len(new))
        memory.add_objects(
            clip,
            scores[new],
            embeddings[new].mean(dim=1),
            logits[new],
            mask_boxes(logits[new] > 0),
            quality[new],
        )

    def _match_detections(
        self,
        clip: Clip,
        logits: torch.Tensor,
        scores: torch.Tensor,
        quality: torch.Tensor,
        embeddings: torch.Tensor,
    ) -> torch.Tensor:
        """Updates the known objects with the detections that are theirs; returns which detections (M,) these are."""
        config, memory = self.engine.config, self.memory
        similarity = bi_softmax(memory.embeddings[:, -NUM_MATCHED_SLOTS:], embeddings).cpu()
        similarity[similarity < config.new_object_similarity_threshold] = 0
        rows, columns = (torch.from_numpy(index) for index in linear_sum_assignment(1 - similarity.numpy()))
        values = similarity[rows, columns]

        def pairs(threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
            above = values > threshold
            return rows[above].to(logits.device), columns[above].to(logits.device)

        objects, detections = pairs(config.new_object_similarity_threshold)
        memory.update_class_scores(objects, scores[detections])
        memory.update_embeddings(objects, embeddings[detections].mean(dim=1))
        objects, detections = pairs(config.new_object_similarity_threshold * self._mask_update_factor)
        memory.logits[objects, -clip.num_frames :] += logits[detections]
        memory.quality[objects] += quality[detections]
        matched = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        matched[detections] = True
        return matched

    def _choose_detections(
        self, logits: torch.Tensor, scores: torch.Tensor, quality: torch.Tensor, first_clip: bool
    ) -> torch.Tensor | slice:
        """Indices (M,) of the detections to look at, given all (Q, T, h4, w4), (Q, K) and (Q,)."""
        raise NotImplementedError

    def _forget_objects(self, clip: Clip) -> None:
        """Drops objects that are not seen any more, and the weakest of too many."""
        config, memory = self.engine.config, self.memory
        if config.max_inactive_frames is None and config.max_objects is None:
            return
        memory.see(clip)
        keep = torch.ones(memory.num_objects, dtype=torch.bool, device=self.engine.device)
        if config.max_inactive_frames is not None:
            # Masks of frames that have not left yet must not go with the object.
            oldest = min(clip.stop - config.max_inactive_frames, memory.start)
            keep &= memory.last_seen >= oldest
        if config.max_objects is not None and memory.num_objects > config.max_objects:
            score = torch.where(keep, memory.class_scores.amax(dim=1), -1)
            weakest = score.argsort(descending=True, stable=True)[config.max_objects :]
            keep[weakest] = False
        self._keep_objects(keep)

    def _keep_objects(self, keep: torch.Tensor) -> None:
        """Forgets the objects where `keep` (N,) is False; their ids are not used again."""
        if not bool(keep.all()):
            kept = keep.nonzero()[:, 0]
            self.memory.select_objects(kept)
            self.prompt_memory.select_objects(kept)
            if self._carried is not None:
                self._carried = tuple(values[kept] for values in self._carried)

    def remove_object(self, object_id: int) -> None:
        belongs = [self._reported_id(index) == object_id for index in range(self.memory.num_objects)]
        if not any(belongs):
            ids = sorted({self._reported_id(index) for index in range(self.memory.num_objects)} - {None})
            raise ValueError(f"There is no object {object_id}; the ids are {ids}.")
        self._keep_objects(~torch.tensor(belongs, device=self.engine.device))

    def _reported_id(self, index: int) -> int | None:
        """The id that results give to an object; None if it has not been in a result."""
        return self.memory.ids[index]

    def _end_clip(self, next_clip: Clip) -> None:
        """Called when a clip turns out not to be the last."""
        raise NotImplementedError

    @property
    def _mask_update_factor(self) -> float:
        """Times the similarity threshold: the similarity from which a detection is an object's, masks and all."""
        return 1.0

    @property
    def _first_clip_threshold(self) -> float:
        """Score above which a detection of the first clip is an object."""
        return self.engine.config.class_score_threshold

    @property
    def _new_object_threshold(self) -> float:
        """Score above which an unmatched detection of a later clip is an object."""
        return self.engine.config.class_score_threshold
