# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Prompted tasks: objects that masks, boxes or points name, carried through the video (VOS and PVOS).

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .clip_tasks_univs import Clip, ClipTask, assign_owners, count_pixels, mask_iou, pixel_owners
from .modeling_univs import mask_boxes
from .prompt_memory_univs import VisualPromptMemory
from .query_matching_univs import Match, QueryPredictions, follow_objects
from .semantic_voting_univs import vote_for_classes

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import UniVSForVideoSegmentation, UniVSForVideoSegmentationOutput

# Pixels of masks that are encoded, and values of maps that are made, at a time; more are done in parts.
_BLOCK_ELEMENTS = 2**24
# Logit of a pixel that the semantic map gives to a stuff object.
_STUFF_LOGIT = 10.0


def merge_masks(masks: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Merges masks that may overlap into one label map; where they do, the first in order keeps the pixel.

    The label maps of VOS and of Ref-DAVIS are made so. Ids that begin at 0 are shifted by 1, as 0 is background.

    Args:
        masks (`torch.Tensor` of shape (N, H, W), bool): Masks in order of precedence.
        ids (sequence of `int`): Their ids, from 0.

    Returns:
        `torch.Tensor` of shape (H, W), int32, on the CPU.

    Raises:
        ValueError: If there are not as many ids as masks, or an id is negative.
    """
    if len(ids) != len(masks):
        raise ValueError(f"`ids` must hold one id for each of the {len(masks)} masks, got {len(ids)}.")
    if min(ids, default=0) < 0:
        raise ValueError(f"`ids` must not be negative, got {min(ids)}.")
    shift = int(min(ids, default=1) == 0)
    labels = np.array([0, *(object_id + shift for object_id in reversed(ids))], dtype=np.int32)
    return torch.from_numpy(labels[_precedence(masks).cpu().numpy()])


def _precedence(masks: torch.Tensor) -> torch.Tensor:
    """N for pixels of the first of masks (N, H, W), N - 1 for the second where the first is not, ..., 0 for none."""
    dtype = torch.uint8 if len(masks) < 256 else torch.int32
    if len(masks) == 0:
        return torch.zeros(masks.shape[1:], dtype=dtype, device=masks.device)
    ranks = torch.arange(len(masks), 0, -1, device=masks.device).to(dtype)
    return (masks * ranks[:, None, None]).amax(dim=0)


class PromptedTask(ClipTask):
    """What prompted tasks share: a ring with a slot for each frame of a clip, and the embeddings of the last frames.

    With clips side by side the original loses the last frame of every clip but the last. The option
    `skip_last_clip_frame` repeats this.
    """

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        config = engine.config
        self._memory_length = max(config.num_prev_frames_memory, config.num_frames)
        self._embeddings: torch.Tensor | None = None  # (N, V, C), newest frame last
        self._num_slots = config.num_frames  # frame f is in slot f modulo their number
        self._clip_start = 0

    @property
    def _loses_frames(self) -> bool:
        config = self.engine.config
        return config.skip_last_clip_frame and self.clip_stride >= config.num_frames

    def final_stop(self, next_clip: int, is_last: bool, stop: int) -> int:
        # Whether the clip was the last shows when the next begins.
        return super().final_stop(next_clip, is_last, stop) - (self._loses_frames and not is_last)

    def _is_lost(self, frame_idx: int) -> bool:
        return self._loses_frames and frame_idx < self._clip_start

    def _slots(self, frames: Sequence[int]) -> torch.Tensor:
        return torch.tensor([frame % self._num_slots for frame in frames], device=self.engine.device)

    def _append_embeddings(self, count: int, num_objects: int) -> None:
        """New frames begin with the mean of the last ones, as many as are new."""
        if self._embeddings is None:
            channels = self.engine.config.hidden_dim
            self._embeddings = torch.zeros(num_objects, count, channels, device=self.engine.device)
        else:
            recent = self._embeddings[:, -count:].mean(dim=1, keepdim=True).expand(-1, count, -1)
            self._embeddings = torch.cat([self._embeddings, recent], dim=1)[:, -self._memory_length :]

    def _update_embeddings(self, rows: torch.Tensor | slice, embeddings: torch.Tensor) -> None:
        """Averages what is stored of the clip's frames with new embeddings (M, T, C)."""
        num_frames = embeddings.shape[1]
        stored = self._embeddings[rows, -num_frames:]
        filled = (stored != 0).any(dim=-1, keepdim=True)
        self._embeddings[rows, -num_frames:] = (stored + embeddings) / (1 + filled.float())


class ObjectSegmentationTask(PromptedTask):
    """Video object segmentation (VOS, section B.4): objects given by masks, boxes or points, and followed.

    A clip either continues an object that earlier clips have seen, if it still looks alike, or starts one whose
    prompt lies in the clip. Objects compete for pixels, and logits of overlapping clips are summed. In query mode
    `"prompt"` every object is decoded from its visual prompts alone; learnable queries cannot reach them and are not
    run (C.2).

    A mask is the result on its frame. A box or a point is not, and so its object begins with what the network makes of
    it on that frame: a mask that agrees with the box, or any mask for a point. A prompt for an object that is known
    corrects it: the object starts anew from there, and what earlier clips said of later frames is replaced.

    Objects best are announced with their prompts before the first clip, those of later frames too: with the `"sep"`
    self-attention their still empty queries have a part in the others' masks, and do so in the published results.
    """

    # How learnable queries are compared with the stored embeddings, see `match_learnable_queries`.
    bi_softmax = False

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        self._memory = VisualPromptMemory(self._memory_length)
        device = engine.device
        # Sums of logits: ownership is decided at this size, so they cannot be kept smaller (C.4-8).
        self._logits = torch.zeros(0, self._num_slots, *engine.geometry.padded_size, device=device)
        self._boxes = torch.zeros(0, self._num_slots, 4, device=device)  # of the newest clip's masks
        self._scores = torch.zeros(0, self._num_slots, device=device)
        # Frames, -1 for none: the first prompt that a clip has met, the one that the object goes by, the last result
        # that shows the object.
        self._born = np.zeros(0, dtype=np.int64)
        self._start = np.zeros(0, dtype=np.int64)
        self._shown = np.zeros(0, dtype=np.int64)
        # Without overlap between clips: prompts on the last frame of the clip before, see `_update_memory`.
        self._carried: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @property
    def num_objects(self) -> int:
        return len(self._start)

    # --- clips

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        self._clip_start = clip.start
        self._add_new_objects()
        self._drop_objects(clip)
        self._add_new_frames(clip)
        self._meet_prompts(clip)
        if self.num_objects == 0:
            return
        self._update_memory(model, clip)
        if (self._start >= 0).any():
            self._decode(model, clip)
        if self.clip_stride >= self.engine.config.num_frames:
            # The next clip does not overlap this one, so what it starts from is encoded while the features are here.
            features, positions, present = self._encode_frames(model, clip, [clip.stop - 1])
            self._carried = features[:, 0], positions[:, 0], present[:, 0]

    def _needs_learnable_queries(self) -> bool:
        return self.engine.config.query_mode != "prompt"

    def _categories(self) -> torch.Tensor:
        """Embeddings (K, D) of the categories that the learnable queries are classified by: none."""
        return torch.zeros(0, self.engine.config.text_config.projection_dim, device=self.engine.device)

    def _decode(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        engine = self.engine
        prompts = model.compose_visual_prompts(*self._memory.read_clip(clip.num_frames), *self._memory.read_memory())
        outputs = model.decode_clip(
            clip.features,
            frame_idx=clip.frame_idx,
            prompts=prompts,
            category_embeddings=self._categories(),
            use_learnable_queries=self._needs_learnable_queries(),
            self_attention_type=engine.config.self_attention_type,
        )
        semantic = self._semantic_map(outputs)
        num_learnable = outputs.masks_queries_logits.shape[1] - self.num_objects
        starting = np.flatnonzero(self._start >= clip.start)
        if len(starting):
            rows = torch.from_numpy(starting).to(engine.device)
            predictions = QueryPredictions.select(outputs, rows + num_learnable)
            match = Match.single(predictions, None, engine.config, engine.geometry)
            self._start_objects(clip, starting, rows, match, semantic)
        known = np.flatnonzero((self._start >= 0) & (self._start < clip.start))
        if len(known):
            rows = torch.from_numpy(known).to(engine.device)
            match = follow_objects(
                outputs,
                num_learnable,
                rows + num_learnable,
                self._embeddings[rows],
                engine.config,
                engine.geometry,
                self.bi_softmax,
            )
            self._continue_objects(clip, known, rows, match, semantic)

    # --- state

    def _per_object(self) -> dict[str, Any]:
        """What is kept for each object, by attribute; the first dimension is that of the objects."""
        return {name: getattr(self, name) for name in ("_logits", "_boxes", "_scores", "_embeddings")}

    def _add_new_objects(self) -> None:
        count = len(self.engine.object_ids) - self.num_objects
        if count == 0:
            return
        for name, values in self._per_object().items():
            if values is not None:
                setattr(self, name, torch.cat([values, values.new_zeros(count, *values.shape[1:])]))
        for name in ("_born", "_start", "_shown"):
            setattr(self, name, np.append(getattr(self, name), np.full(count, -1)))
        self._memory.add_objects(count)
        if self._carried is not None:
            self._carried = tuple(
                torch.cat([values, values.new_zeros(count, *values.shape[1:])]) for values in self._carried
            )

    def _drop_objects(self, clip: Clip) -> None:
        """Objects unseen for long leave, and those that are least sure if there are too many (off by default)."""
        config = self.engine.config
        if config.max_inactive_frames is None and config.max_objects is None:
            return
        # A prompt that is still to come keeps its object.
        inputs = (self.engine.annotations, self.engine.visual_inputs)
        prompted = {index for kind in inputs for entries in kind.values() for index in entries}
        free = (self._start >= 0) & ~np.isin(np.arange(self.num_objects), list(prompted))
        dropped = np.zeros(self.num_objects, dtype=bool)
        if config.max_inactive_frames is not None:
            dropped = free & (clip.start - 1 - self._shown >= config.max_inactive_frames)
        if config.max_objects is not None:
            excess = self.num_objects - int(dropped.sum()) - config.max_objects
            if excess > (free & ~dropped).sum():
                raise ValueError(
                    f"`max_objects` is {config.max_objects}, but {len(prompted)} objects have prompts that are in use."
                )
            if excess > 0:
                scores = self._scores[:, (clip.start - 1) % self._num_slots].cpu().numpy()
                order = np.argsort(np.where(free & ~dropped, scores, np.inf), kind="stable")
                dropped[order[:excess]] = True
        for object_id in [self.engine.object_ids[index] for index in np.flatnonzero(dropped)]:
            self.remove_object(object_id)

    def remove_object(self, object_id: int) -> None:
        engine = self.engine
        if object_id not in engine.object_ids:
            raise ValueError(f"There is no object {object_id}; there are {engine.object_ids}.")
        # An object given since the last clip has no state to remove.
        self._add_new_objects()
        kept = np.flatnonzero(np.array(engine.object_ids) != object_id)
        engine.forget_object(object_id)
        rows = torch.from_numpy(kept).to(engine.device)
        for name, values in self._per_object().items():
            if values is not None:
                setattr(self, name, values[rows])
        for name in ("_born", "_start", "_shown"):
            setattr(self, name, getattr(self, name)[kept])
        self._memory.select_objects(rows)
        if self._carried is not None:
            self._carried = tuple(values[rows] for values in self._carried)

    def _add_new_frames(self, clip: Clip) -> None:
        config = self.engine.config
        count = clip.stop - clip.previous_stop
        slots = self._slots(range(clip.previous_stop, clip.stop))
        for values in (self._logits, self._boxes, self._scores):
            values.index_fill_(1, slots, 0.0)
        self._append_embeddings(count, self.num_objects)
        reference = clip.features.mask_features.new_empty(config.hidden_dim)
        self._memory.append_frames(count, self.num_objects, config.num_prompt_pixels, reference)

    def _prompts_in(self, clip: Clip) -> list[tuple[int, int, tuple[str, torch.Tensor]]]:
        """(frame, object, (kind, mask, box or point)) of the prompts in the clip; a mask goes before others."""
        found = []
        for frame in range(clip.start, clip.stop):
            entries = dict(self.engine.visual_inputs.get(frame, {}))
            entries.update({index: ("mask", mask) for index, mask in self.engine.annotations.get(frame, {}).items()})
            found += [(frame, index, prompt) for index, prompt in sorted(entries.items())]
        return found

    def _meet_prompts(self, clip: Clip) -> None:
        """Prompts on frames of the clip. Done in every clip that contains the frame: what clips have added to the
        result there gives way to the mask."""
        prompts = self._prompts_in(clip)
        for frame, index, _ in reversed(prompts):
            self._start[index] = frame
        for frame, index, _ in prompts:
            self._born[index] = frame if self._born[index] < 0 else min(self._born[index], frame)
        given = [(frame, index, values) for frame, index, (kind, values) in prompts if kind == "mask"]
        if given:
            frames, objects, masks = zip(*given, strict=True)
            masks = torch.stack(masks)
            target = (torch.tensor(objects, device=masks.device), self._slots(frames))
            self._logits[target] = masks.float()
            self._boxes[target] = mask_boxes(masks, last=1)
            self._scores[target] = 1.0

    # --- prompt memory

    def _update_memory(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        # The frames that an earlier clip has segmented are the key frames; the first clip has its first frame only.
        key_frames = set(range(clip.start, clip.previous_stop)) if clip.previous_stop else {clip.start}
        # With a stride above half a clip, a prompt may lie in no overlap: this clip is its only chance.
        last_chance = min(clip.start + self.clip_stride, clip.stop)
        key_frames.update(frame for frame, _, _ in self._prompts_in(clip) if frame < last_chance)
        if self._carried is not None:
            self._memory.write(clip.start - 1, *self._carried)
        frames = sorted(key_frames)
        if frames:
            self._memory.write_frames(frames, *self._encode_frames(model, clip, frames))
        self._memory.keep_first(self._start.tolist())

    def _encode_frames(
        self, model: UniVSForVideoSegmentation, clip: Clip, frames: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features and positions (N, K, R, C) of the objects on K frames, and which objects are there (N, K).

        Boxes and points are encoded as such on their frames, everything else by its mask.
        """
        slots = self._slots(frames)
        per_call = max(_BLOCK_ELEMENTS // (self.num_objects * self._logits[0, 0].numel()), 1)
        parts = []
        for first in range(0, len(frames), per_call):
            part = frames[first : first + per_call]
            masks = torch.stack([self._logits[:, frame % self._num_slots] > 0 for frame in part])
            boxes = self._boxes[:, slots[first : first + per_call]].transpose(0, 1)
            parts.append(self._encode_masks(model, clip, [frame - clip.start for frame in part], masks, boxes))
        features, positions, present = (torch.cat(values) for values in zip(*parts, strict=True))

        others = [
            (frames.index(frame), index, frame - clip.start, prompt)
            for frame, index, prompt in self._prompts_in(clip)
            if prompt[0] != "mask" and frame in frames
        ]
        if others:
            # The model takes boxes before points.
            others.sort(key=lambda entry: entry[3][0])
            rows, objects, at, prompts = zip(*others, strict=True)
            stacks = {
                kind: torch.stack([values for k, values in prompts if k == kind])[None]
                for kind in dict.fromkeys(kind for kind, _ in prompts)
            }
            tokens = model.encode_visual_prompts(
                clip.features,
                frame_idx=clip.frame_idx,
                prompt_boxes=stacks.get("box"),
                prompt_points=stacks.get("point"),
                prompt_frame_idx=torch.tensor([at], device=slots.device),
                num_prompt_pixels=self.engine.config.num_prompt_pixels,
                generator=self.engine.generator,
            )
            target = (torch.tensor(rows, device=slots.device), torch.tensor(objects, device=slots.device))
            features[target], positions[target], present[target] = tokens.features[0], tokens.positions[0], True
        return features.transpose(0, 1), positions.transpose(0, 1), present.transpose(0, 1)

    def _encode_masks(
        self,
        model: UniVSForVideoSegmentation,
        clip: Clip,
        positions: Sequence[int],
        masks: torch.Tensor,
        boxes: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features and positions (K, N, R, C) of masks (K, N, Hp, Wp) on K frames, and which are not empty (K, N)."""
        engine = self.engine
        shape = masks.shape[:2]
        recorded: dict[str, torch.Tensor] = {}
        if engine.prompt_sampling is not None:
            draws = [engine.prompt_sampling(clip.start + at, mask) for at, mask in zip(positions, masks, strict=True)]
            recorded = {key: torch.cat([draw[key] for draw in draws], dim=1) for key in draws[0]}
        at = torch.tensor(positions, device=masks.device)
        tokens = model.encode_visual_prompts(
            clip.features,
            frame_idx=clip.frame_idx,
            prompt_masks=masks.flatten(0, 1)[None].float(),
            mask_boxes=boxes.flatten(0, 1)[None],
            prompt_frame_idx=at[:, None].expand(shape).flatten()[None],
            num_prompt_pixels=engine.config.num_prompt_pixels,
            generator=engine.generator,
            **recorded,
        )
        present = masks.flatten(2).any(dim=2)
        return tokens.features[0].unflatten(0, shape), tokens.positions[0].unflatten(0, shape), present

    # --- rules

    def _flat_slots(self, clip: Clip, rows: torch.Tensor) -> torch.Tensor:
        """Where the clip's frames of objects `rows` lie in what is kept, objects and slots taken as one dimension."""
        slots = self._slots(range(clip.start, clip.stop))
        return (rows[:, None] * self._num_slots + slots).flatten()

    def _reference_masks(self, clip: Clip, objects: np.ndarray, predicted: torch.Tensor) -> tuple[torch.Tensor, list]:
        """Masks (M, Hp, Wp) that first predictions are held against, and the kinds of the prompts.

        That of a box is the whole box; a point has none to tell, which the prediction itself stands for.
        """
        prompts = {(frame, index): prompt for frame, index, prompt in self._prompts_in(clip)}
        height, width = predicted.shape[-2:]
        rows = torch.arange(height, device=predicted.device)[:, None] + 0.5
        columns = torch.arange(width, device=predicted.device) + 0.5
        masks, kinds = [], []
        for row, index in enumerate(objects):
            kind, values = prompts[self._start[index], index]
            if kind == "box":
                left, top, right, bottom = values * values.new_tensor([width, height, width, height])
                values = (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
            elif kind == "point":
                values = predicted[row]
            masks.append(values)
            kinds.append(kind)
        return torch.stack(masks), kinds

    def _start_objects(
        self, clip: Clip, objects: np.ndarray, rows: torch.Tensor, match: Match, semantic: torch.Tensor | None
    ) -> None:
        """Objects whose prompt is in the clip: accepted if the prediction agrees with the prompt (step 4)."""
        config = self.engine.config
        predictions, logits = match.predictions, match.padded_logits
        self._embeddings[rows, -clip.num_frames :] = predictions.embeddings

        frames = np.arange(clip.start, clip.stop)
        starts = self._start[objects]
        at = (torch.arange(len(objects), device=rows.device), torch.from_numpy(starts - clip.start).to(rows.device))
        predicted = logits[at] > 0
        reference, kinds = self._reference_masks(clip, objects, predicted)
        owned = assign_owners(logits, mask_iou(reference, predicted).square() * match.quality)
        iou = mask_iou(reference, owned[at])
        area = count_pixels(reference)
        accepted = iou > config.vos_acceptance_iou * (area / config.vos_acceptance_area).clamp(max=1)
        # A correction says that the object is there; only where it is can be in doubt.
        known = self._born[objects] < clip.start
        accepted = accepted | torch.from_numpy(known).to(rows.device)
        logits = logits * owned
        stuff = self._stuff_region(objects, semantic)
        if stuff is not None:
            # The semantic map knows where the stuff is, whatever its query says.
            accepted = accepted | self._stuff_flags(objects)
            logits = logits.masked_fill(stuff, _STUFF_LOGIT)

        # Later frames are replaced, with the frame itself unless its mask was given. Frames before belong to an
        # object that was known before; it goes on there.
        given = np.array([kind == "mask" for kind in kinds])[:, None]
        replaced = (frames > starts[:, None]) | ((frames == starts[:, None]) & ~given)
        added = (frames < starts[:, None]) & known[:, None]
        for frame, index, (kind, _) in self._prompts_in(clip):
            if kind == "mask":
                replaced[objects == index, frame - clip.start] = False
        replaced, added = (torch.from_numpy(flags).to(rows.device) & accepted[:, None] for flags in (replaced, added))
        flat = self._flat_slots(clip, rows)
        replaced, added = replaced.flatten(), added.flatten()

        def write(kept: torch.Tensor, new: torch.Tensor, sums: bool) -> None:
            flags = (-1, *[1] * (kept.ndim - 2))
            kept, new = kept.flatten(0, 1), new.flatten(0, 1)
            current = kept[flat]
            other = current + new if sums else new
            current = torch.where(added.view(flags), other, current)
            kept.index_copy_(0, flat, torch.where(replaced.view(flags), new, current))

        write(self._logits, logits, sums=True)
        write(self._boxes, predictions.boxes, sums=False)
        write(self._scores, (iou * match.quality)[:, None].expand(-1, clip.num_frames), sums=False)

    def _continue_objects(
        self, clip: Clip, objects: np.ndarray, rows: torch.Tensor, match: Match, semantic: torch.Tensor | None
    ) -> None:
        """Objects seen by earlier clips: kept where they hold enough of their own mask (step 5)."""
        config = self.engine.config
        predictions, logits = match.predictions, match.padded_logits
        area = count_pixels(logits > 0).clamp(min=1)
        stuff = self._stuff_region(objects, semantic)
        owner = pixel_owners(logits, match.similarity.square() * match.quality, stuff)
        owned_area = torch.bincount(owner.flatten(), minlength=len(objects) + 1)[: len(objects)]
        kept = (owned_area / area > config.vos_owned_area_ratio) & (owned_area > 0)
        score = match.similarity * match.quality * kept

        # Only its owner's sum changes at a pixel.
        is_kept = torch.cat([kept, kept.new_zeros(1)])[owner]
        owner = owner.clamp_(max=len(objects) - 1)[None]
        values = logits.gather(0, owner)
        if stuff is not None:
            values = values.masked_fill(stuff.gather(0, owner), _STUFF_LOGIT)
        slots = self._slots(range(clip.start, clip.stop))
        addends = values.new_zeros(self._logits.shape[1:]).index_copy_(0, slots, values[0] * is_kept)
        targets = owner.new_zeros(self._logits.shape[1:]).index_copy_(0, slots, rows[owner[0]])
        self._logits.scatter_add_(0, targets[None], addends[None])

        flat = self._flat_slots(clip, rows)
        self._boxes.flatten(0, 1).index_copy_(0, flat, predictions.boxes.flatten(0, 1))
        self._scores.view(-1).index_copy_(0, flat, score.repeat_interleave(clip.num_frames))
        self._update_embeddings(rows, predictions.embeddings)

    # --- stuff; there is none here

    def _semantic_map(self, outputs: UniVSForVideoSegmentationOutput) -> torch.Tensor | None:
        """Category (T, Hp, Wp) of every pixel, if the objects need it."""
        return None

    def _stuff_flags(self, objects: np.ndarray) -> torch.Tensor:
        """Which objects are stuff (M,)."""
        return torch.zeros(len(objects), dtype=torch.bool, device=self.engine.device)

    def _stuff_region(self, objects: np.ndarray, semantic: torch.Tensor | None) -> torch.Tensor | None:
        """Pixels (M, T, Hp, Wp) that the semantic map gives to objects that are stuff."""
        return None

    # --- results

    def finish_frame(self, frame_idx: int) -> dict[str, Any] | None:
        engine = self.engine
        self._add_new_objects()
        for inputs in (engine.annotations, engine.visual_inputs):
            inputs.pop(frame_idx, None)
        if self._is_lost(frame_idx):
            return None
        slot = frame_idx % self._num_slots
        scores = self._scores[:, slot].tolist()
        logits = self._logits[:, slot]
        if len(logits):
            masks = engine.geometry.to_original(logits) > 0
        else:
            masks = torch.zeros(0, *engine.geometry.original_size, dtype=torch.bool, device=engine.device)
        # Where masks meet after the resize the object that was given first keeps the pixel.
        precedence = _precedence(masks).cpu().numpy()
        labels = np.array([0, *reversed(engine.object_ids)], dtype=np.int32)
        present = np.bincount(precedence.ravel(), minlength=len(labels))[:0:-1] > 0
        self._shown[present] = frame_idx
        return {
            "frame_idx": frame_idx,
            "segmentation": torch.from_numpy(labels[precedence]),
            "segments_info": [self._segment(engine.object_ids[i], scores[i]) for i in np.flatnonzero(present)],
        }

    def _segment(self, object_id: int, score: float) -> dict[str, Any]:
        name = self.engine.object_names[object_id]
        return {"id": object_id, "label_id": object_id, "label": name, "score": score}


class PanopticObjectSegmentationTask(ObjectSegmentationTask):
    """Panoptic video object segmentation (PVOS, section B.4): things and stuff given by masks, boxes or points.

    Objects have categories ([`~PanopticObjectSegmentationTask.set_object_categories`]), of those that the engine was
    made with. Where an object is stuff, the learnable queries tell by a semantic map where it is; without stuff they
    are not run in query mode `"prompt"`.
    """

    bi_softmax = True

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        self.object_categories: dict[int, int] = {}

    def set_object_categories(self, categories: Mapping[int, int]) -> None:
        """Says of which category objects are.

        Args:
            categories (mapping of `int` to `int`): Object id to category, from 0 in the order of the engine's.

        Raises:
            ValueError: If there is no such category.
        """
        count = len(self.engine.category_names)
        for object_id, category in categories.items():
            if not 0 <= category < count:
                raise ValueError(f"Object {object_id} has category {category}; the session has {count} categories.")
        self.object_categories.update(categories)

    def is_thing(self, object_id: int) -> bool:
        """Whether an object is a countable thing; what has no category is one."""
        category, flags = self.object_categories.get(object_id), self.engine.thing_flags
        return True if category is None or flags is None else bool(flags[category])

    def _is_stuff(self, objects: Sequence[int]) -> np.ndarray:
        return np.array([not self.is_thing(self.engine.object_ids[index]) for index in objects], dtype=bool)

    def _has_stuff(self) -> bool:
        return bool(self._is_stuff(np.flatnonzero(self._start >= 0)).any())

    def _needs_learnable_queries(self) -> bool:
        return super()._needs_learnable_queries() or self._has_stuff()

    def _categories(self) -> torch.Tensor:
        return self.engine.category_embeddings if self._has_stuff() else super()._categories()

    def _semantic_map(self, outputs: UniVSForVideoSegmentationOutput) -> torch.Tensor | None:
        if not self._has_stuff():
            return None
        num_learnable = outputs.masks_queries_logits.shape[1] - self.num_objects
        logits = outputs.masks_queries_logits[0, :num_learnable]
        scores = outputs.class_queries_logits[0, :num_learnable].float().sigmoid()
        geometry, config = self.engine.geometry, self.engine.config
        return vote_for_classes(
            logits,
            scores,
            geometry.padded_size,
            geometry.padded_size,
            config.quality_high_logit,
            config.quality_low_logit,
            counted_size=geometry.resized_size,
        )

    def _stuff_flags(self, objects: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._is_stuff(objects)).to(self.engine.device)

    def _stuff_region(self, objects: np.ndarray, semantic: torch.Tensor | None) -> torch.Tensor | None:
        if semantic is None or not self._is_stuff(objects).any():
            return None
        ids = [self.engine.object_ids[index] for index in objects]
        # -1 for things, which no pixel has.
        wanted = [-1 if self.is_thing(object_id) else self.object_categories[object_id] for object_id in ids]
        return semantic == torch.tensor(wanted, device=semantic.device)[:, None, None, None]

    def remove_object(self, object_id: int) -> None:
        super().remove_object(object_id)
        self.object_categories.pop(object_id, None)

    def _segment(self, object_id: int, score: float) -> dict[str, Any]:
        segment = super()._segment(object_id, score)
        category = self.object_categories.get(object_id)
        if category is not None:
            segment.update(label_id=category, label=self.engine.category_names[category])
        return {**segment, "is_thing": self.is_thing(object_id)}
