# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Prompted tasks: objects that masks, boxes, points (VOS, PVOS) or expressions (RefVOS) name.

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .clip_tasks_univs import Clip, ClipTask, assign_owners, mask_iou, mask_quality, temporal_consistency
from .modeling_univs import mask_boxes
from .prompt_memory_univs import VisualPromptMemory

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import UniVSForVideoSegmentation


class ObjectSegmentationTask(ClipTask):
    """Video object segmentation (VOS, section B.4): objects given by masks, carried through the video.

    Every object is decoded from its visual prompts alone; learnable queries cannot reach them and are not run (C.2).
    A clip either continues an object that earlier clips have seen, if it still looks alike, or starts one whose
    annotated frame lies in the clip. Objects compete for pixels, and logits of overlapping clips are summed.
    """

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        config = engine.config
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
        engine = self.engine
        self._add_new_objects()
        self._add_new_frames(clip)
        self._apply_annotations(clip)
        if self.num_objects == 0:
            return
        self._update_memory(model, clip)
        if any(frame >= 0 for frame in self._first_frames):
            self._decode(model, clip)
        if self.clip_stride >= engine.config.num_frames:
            # The next clip does not overlap this one, so what it starts from is encoded while the features are here.
            self._carried = self._encode_frame(model, clip, clip.stop - 1)

    def _decode(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        engine = self.engine
        prompts = model.compose_visual_prompts(*self._memory.read_clip(clip.num_frames), *self._memory.read_memory())
        outputs = model.decode_clip(
            clip.features,
            frame_idx=clip.frame_idx,
            prompts=prompts,
            use_learnable_queries=False,
            self_attention_type=engine.config.self_attention_type,
        )
        boxes = mask_boxes(outputs.masks_queries_logits[0] > 0)  # (N, T, 4)
        logits = engine.geometry.to_padded(outputs.masks_queries_logits[0])  # (N, T, Hp, Wp)
        embeddings = outputs.query_embeddings[0].float()  # (N, T, C)
        quality = mask_quality(engine.geometry.crop(logits), engine.config)
        first = torch.tensor(self._first_frames, device=logits.device)
        self._start_objects(clip, (first >= clip.start).nonzero()[:, 0], logits, boxes, embeddings, quality)
        seen_before = ((first >= 0) & (first < clip.start)).nonzero()[:, 0]
        self._continue_objects(clip, seen_before, logits, boxes, embeddings, quality)

    def _add_new_objects(self) -> None:
        count = len(self.engine.object_ids) - self.num_objects
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
        engine = self.engine
        count = clip.stop - clip.previous_stop
        for frame in range(clip.previous_stop, clip.stop):
            self._logits[frame] = torch.zeros(self.num_objects, *engine.geometry.padded_size, device=engine.device)
            self._boxes[frame] = torch.zeros(self.num_objects, 4, device=engine.device)
            self._scores[frame] = torch.zeros(self.num_objects, device=engine.device)
        channels = engine.config.hidden_dim
        if self._embeddings is None:
            self._embeddings = torch.zeros(self.num_objects, count, channels, device=engine.device)
        else:
            recent = self._embeddings[:, -self.clip_stride :].mean(dim=1, keepdim=True).expand(-1, count, -1)
            self._embeddings = torch.cat([self._embeddings, recent], dim=1)[:, -self._memory_length :]
        self._memory.append_frames(
            count, self.num_objects, engine.config.num_prompt_pixels, clip.features.mask_features.new_empty(channels)
        )

    def _apply_annotations(self, clip: Clip) -> None:
        # Done in every clip that contains the frame: what clips have added there gives way to the annotation.
        for frame in range(clip.start, clip.stop):
            for index, mask in self.engine.annotations.get(frame, {}).items():
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
        key_frames.update(frame for frame in self.engine.annotations if clip.start <= frame < last_chance)
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
        config = self.engine.config
        logits, boxes, embeddings, quality = (values[objects] for values in (logits, boxes, embeddings, quality))
        self._embeddings[objects, -clip.num_frames :] = embeddings

        frames = [self._first_frames[index] for index in objects.tolist()]
        rows = torch.arange(len(objects), device=logits.device)
        positions = torch.tensor(frames, device=logits.device) - clip.start
        annotated = torch.stack(
            [self._logits[frame][index] > 0 for frame, index in zip(frames, objects.tolist(), strict=True)]
        )
        weight = mask_iou(annotated, logits[rows, positions] > 0).square() * quality
        owned = assign_owners(logits, weight)
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
        config = self.engine.config
        logits, boxes, embeddings, quality = (values[objects] for values in (logits, boxes, embeddings, quality))
        similarity = temporal_consistency(self._embeddings[objects], embeddings, config)
        consistent = (similarity > config.temporal_consistency_threshold).float()
        logits = logits * consistent[:, None, None, None]
        boxes = boxes * consistent[:, None, None]
        embeddings = embeddings * consistent[:, None, None]
        similarity, quality = similarity * consistent, quality * consistent

        owned = assign_owners(logits, similarity.square() * quality)
        owned_area = owned.flatten(1).sum(dim=1)
        area = (logits > 0).flatten(1).sum(dim=1).clamp(min=1)
        kept = (owned_area / area > config.vos_owned_area_ratio) & (owned_area > 0)
        logits = logits * (owned & kept[:, None, None, None])
        score = similarity * quality * kept
        for frame in range(clip.start, clip.stop):
            position = frame - clip.start
            annotated = self.engine.annotations.get(frame, {})
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
        engine = self.engine
        scores = self._scores.pop(frame_idx, torch.zeros(0)).tolist()
        engine.annotations.pop(frame_idx, None)
        self._boxes.pop(frame_idx, None)
        logits = self._logits.pop(frame_idx)
        masks = engine.geometry.to_original(logits) > 0 if len(logits) else logits
        segmentation = torch.zeros(engine.geometry.original_size, dtype=torch.int32, device=engine.device)
        # Backwards, so that where masks meet after the resize the object that was given first keeps the pixel.
        for index in reversed(range(len(masks))):
            segmentation[masks[index]] = engine.object_ids[index]
        segmentation = segmentation.cpu()
        present = set(torch.unique(segmentation).tolist())
        return {
            "frame_idx": frame_idx,
            "segmentation": segmentation,
            "segments_info": [
                {"id": object_id, "label_id": object_id, "label": engine.object_names[object_id], "score": score}
                for object_id, score in zip(engine.object_ids, scores, strict=False)
                if object_id in present
            ],
        }
