# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Category-guided tasks: the classes of all pixels (VSS), instances (VIS) or both (VPS), found without prompts.

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .clip_tasks_univs import Clip, ClipTask, count_pixels, pixel_owners
from .entity_memory_univs import box_iou_overlaps, mask_iou_overlaps, not_suppressed
from .entity_tasks_univs import EntitySegmentationTask
from .modeling_univs import mask_boxes

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import UniVSForVideoSegmentation


def count_owned(owner: torch.Tensor, num_objects: int) -> torch.Tensor:
    """Pixels of each object, (N,) int64, given the owner of every pixel (...), N where there is none."""
    counts = torch.zeros(num_objects + 1, dtype=torch.int64, device=owner.device)
    return counts.scatter_add_(0, owner.flatten(), torch.ones_like(owner).flatten())[:num_objects]


def drop_unclaimed(owner: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Takes pixels (...) from owners whose own mask, of masks (N, ...), does not hold them; N stands for no owner."""
    num_objects = len(masks)
    holds = masks.gather(0, owner.clamp(max=num_objects - 1)[None])[0]
    return owner.masked_fill(~holds, num_objects)


class SemanticSegmentationTask(ClipTask):
    """Video semantic segmentation (VSS, section B.3): the class of every pixel, clip by clip, without memory.

    Category prompts cannot change the learnable queries, which alone give the result, so none are decoded (C.2).
    """

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        if engine.category_embeddings is None:
            raise ValueError("Task 'vss' needs categories: give `categories` (names) or `category_embeddings`.")
        self._maps: dict[int, torch.Tensor] = {}

    @property
    def clip_stride(self) -> int:
        return self.engine.config.num_frames

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        engine = self.engine
        outputs = model.decode_clip(
            clip.features, frame_idx=clip.frame_idx, category_embeddings=engine.category_embeddings
        )
        (maps,) = engine.image_processor.post_process_semantic_segmentation(
            outputs,
            original_sizes=[engine.geometry.original_size],
            resized_sizes=[engine.geometry.resized_size],
            quality_high_logit=engine.config.quality_high_logit,
            quality_low_logit=engine.config.quality_low_logit,
        )
        for position, frame_idx in enumerate(range(clip.start, clip.stop)):
            self._maps[frame_idx] = maps[position].to("cpu", torch.int32)

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        segmentation = self._maps.pop(frame_idx)
        names = self.engine.category_names
        return {
            "frame_idx": frame_idx,
            "segmentation": segmentation,
            "segments_info": [
                {"id": label, "label_id": label, "label": names[label], "score": None}
                for label in torch.bincount(segmentation.flatten()).nonzero()[:, 0].tolist()
            ],
        }


class InstanceSegmentationTask(EntitySegmentationTask):
    """Video instance segmentation (VIS): one mask per object and frame; masks of different objects may overlap.

    Results hold the objects with a mask on the frame, each with its likeliest class so far. The scores of a whole
    video, for every object and class, are in [`~InstanceSegmentationTask.summary`].
    """

    name = "vis"

    @property
    def _mask_update_factor(self) -> float:
        return self.engine.config.mask_update_similarity_factor

    @property
    def _first_clip_threshold(self) -> float:
        config = self.engine.config
        return max(config.class_score_threshold, config.first_clip_score_threshold)

    def _choose_detections(
        self, logits: torch.Tensor, scores: torch.Tensor, quality: torch.Tensor, first_clip: bool
    ) -> torch.Tensor:
        config = self.engine.config
        best = scores.amax(dim=1)
        if config.stability_score_threshold > 0:
            best = torch.where(quality > config.stability_score_threshold, best, -1.0)
        values, chosen = best.topk(min(config.max_detections, len(best)))
        boxes = mask_boxes(logits[chosen] > 0)
        kept = not_suppressed(box_iou_overlaps(boxes, config.box_iou_min_union), config.box_nms_threshold)
        return chosen[kept & (values >= 0)]

    def _prompts_to_keep(self, logits: torch.Tensor, similarity: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        # An object whose mask mostly belongs to others has been lost to them.
        weight = self.memory.mean_class_scores.amax(dim=1) * similarity * quality
        owner = pixel_owners(logits, weight)
        positive = logits > 0
        share = count_owned(owner, len(logits)) / count_pixels(positive).clamp(min=1)
        visible = count_owned(drop_unclaimed(owner, positive), len(logits)) > 0
        return (share > self.engine.config.entity_overlap_threshold) & visible

    def _end_clip(self, next_clip: Clip) -> None:
        # Where the original writes a window of results, it also notes the scores so far; they are averaged at the end.
        memory, delay = self.memory, self.engine.config.num_prev_frames_memory
        if self._clip_start > delay and self._clip_start % self._output_length == delay:
            memory.score_sums += memory.mean_class_scores
            memory.score_counts += 1
        # Frames of this clip stay: the second clip still reads the first one's masks.
        memory.drop_frames(self._clip_start)

    def _mean_class_scores(self) -> torch.Tensor:
        """Class scores (N, K) of the video so far: mean over the outputs of the mean over the clips."""
        memory = self.memory
        return (memory.score_sums + memory.mean_class_scores) / (memory.score_counts[:, None] + 1)

    def _relative_quality(self) -> torch.Tensor:
        """Mask quality (N,) in units of the best object's, rounded up."""
        quality = self.memory.quality
        return quality / (quality.amax().floor() + 1) if len(quality) else quality

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        engine, memory = self.engine, self.memory
        logits = memory.logits[:, frame_idx - memory.start]
        present = (logits > 0).flatten(1).any(dim=1).nonzero()[:, 0]
        masks = engine.geometry.to_original(engine.geometry.to_padded(logits[present, None])[:, 0]) > 0
        # Little may be left of a mask without the padding.
        visible = masks.flatten(1).any(dim=1)
        masks, present = masks[visible], present[visible]
        best, labels = self._mean_class_scores()[present].max(dim=1)
        scores = best * self._relative_quality()[present]
        return {
            "frame_idx": frame_idx,
            "masks": masks.cpu(),
            "segments_info": [
                {"id": memory.ids[index], "label_id": label, "label": engine.category_names[label], "score": score}
                for index, label, score in zip(present.tolist(), labels.tolist(), scores.tolist(), strict=True)
            ],
        }

    def summary(self) -> list[dict[str, Any]]:
        """Objects of the video with their classes, best first; an object has an entry for every class it may be of.

        Returns:
            `list[dict]` with `id`, `label_id`, `label` and `score`, of the objects that are still in the memory.
        """
        engine, config = self.engine, self.engine.config
        means = self._mean_class_scores()
        objects, labels = (means >= config.min_result_score).nonzero(as_tuple=True)
        means = means[objects, labels]
        scores, order = (means * self._relative_quality()[objects]).sort(descending=True, stable=True)
        if len(scores):
            num_sure = int((means > config.result_score_threshold).sum())
            rank = max(int(config.result_count_factor * num_sure), config.max_detections)
            order = order[scores >= scores[min(rank, len(scores) - 1)]]
        return [
            {"id": self.memory.ids[index], "label_id": label, "label": engine.category_names[label], "score": score}
            for index, label, score in zip(
                objects[order].tolist(), labels[order].tolist(), scores[: len(order)].tolist(), strict=True
            )
        ]


class PanopticSegmentationTask(EntitySegmentationTask):
    """Video panoptic segmentation (VPS): every pixel belongs to a thing, to a stuff class or to the background.

    Masks of a window of frames are merged at once (section B.3), so results leave a window at a time. Each thing has
    a segment id of its own, each stuff class one for all its objects; both hold for the whole video. 0 is background.
    """

    name = "vps"

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        flags = [True] * len(engine.category_embeddings) if engine.thing_flags is None else engine.thing_flags
        if len(flags) != len(engine.category_embeddings):
            raise ValueError(
                f"`thing_flags` has {len(flags)} entries for {len(engine.category_embeddings)} categories."
            )
        # Where it is not known, a category is a thing: its objects are kept apart.
        flags = [flag is not False for flag in flags]
        self._thing_flags = torch.tensor(flags, device=engine.device)
        self._thing_segments: dict[int, int] = {}  # object -> id of its segment
        self._stuff_segments: dict[int, int] = {}  # class -> id of its segment
        self._last_segment = 0
        self._results: dict[int, dict[str, Any]] = {}

    @property
    def _new_object_threshold(self) -> float:
        config = self.engine.config
        return config.class_score_threshold * config.vps_new_object_score_factor

    def _choose_detections(
        self, logits: torch.Tensor, scores: torch.Tensor, quality: torch.Tensor, first_clip: bool
    ) -> torch.Tensor | slice:
        if not first_clip:
            return slice(None)
        config = self.engine.config
        best, labels = scores.max(dim=1)
        count = min(config.max_first_clip_things + config.max_first_clip_stuff, len(best))
        chosen = best.topk(count).indices
        is_thing = self._thing_flags[labels[chosen]]
        things = chosen[is_thing][: config.max_first_clip_things]
        overlaps = box_iou_overlaps(mask_boxes(logits[things] > 0), config.box_iou_min_union)
        things = things[not_suppressed(overlaps, config.box_nms_threshold)]
        stuff = chosen[~is_thing][: config.max_first_clip_stuff]
        masks = logits[stuff, :1] > 0
        overlaps = mask_iou_overlaps(masks, masks)[0]
        return torch.cat([things, stuff[not_suppressed(overlaps, config.stuff_nms_threshold)]])

    # --- windows

    def final_stop(self, next_clip: int, is_last: bool, stop: int) -> int:
        return stop if is_last else self.memory.start

    def _end_clip(self, next_clip: Clip) -> None:
        # The original writes the oldest window when clip number `delay + k * length` is done. With a stride that
        # jumps over such numbers it would wait for the next one it meets; here the window is written in passing.
        delay, length = self.engine.config.num_prev_frames_memory, self._output_length
        num_windows = (self._clip_start - delay) // length
        if num_windows > 0 and num_windows * length > self.memory.start:
            self._write_window(num_windows * length)

    def _write_window(self, stop: int) -> None:
        """Merges the masks of the stored frames before `stop` and lets them go."""
        memory = self.memory
        start, num_frames = memory.start, stop - memory.start
        if memory.num_objects:
            maps, infos = self._merge(memory.logits[:, :num_frames])
        else:
            maps = torch.zeros(num_frames, *self.engine.geometry.original_size, dtype=torch.int32)
            infos = [[] for _ in range(num_frames)]
        for position, (segmentation, segments) in enumerate(zip(maps, infos, strict=True)):
            self._results[start + position] = {
                "frame_idx": start + position,
                "segmentation": segmentation,
                "segments_info": segments,
            }
        memory.drop_frames(stop)

    def _original_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (N, H, W) of one frame at its original size, given (N, h4, w4)."""
        geometry = self.engine.geometry
        return geometry.to_original(geometry.to_padded(logits[:, None])[:, 0])

    def _merge(self, logits: torch.Tensor) -> tuple[torch.Tensor, list[list[dict[str, Any]]]]:
        """Panoptic maps of a window.

        Args:
            logits (`torch.Tensor` of shape (N, F, h4, w4)): Sums of mask logits.

        Returns:
            Segment ids, int32 (F, H, W) on the CPU, and per frame what is to be reported of its segments.
        """
        config, memory, num_objects = self.engine.config, self.memory, len(logits)
        frames = logits.unbind(dim=1)
        # One frame at a time at the original size: first for the quality over the window, then to share out pixels.
        high = low = 0
        for frame in frames:
            full = self._original_logits(frame)
            high = high + count_pixels(full > config.quality_high_logit)
            low = low + count_pixels(full > config.quality_low_logit)
        scores, labels = memory.mean_class_scores.max(dim=1)
        scores = scores * (high / low.clamp(min=1))
        is_thing = self._thing_flags[labels]
        shown = torch.tensor([index in self._thing_segments for index in memory.ids], device=logits.device)
        scores = torch.where(is_thing | shown, scores, scores * config.stuff_score_factor)

        owners, visible_areas = [], []
        area = owned_area = torch.zeros(num_objects, dtype=torch.int64, device=logits.device)
        for frame in frames:
            full = self._original_logits(frame)
            # In the original, a logit of 0 counts as half sure: on a frame for which nothing has been added to an
            # object (before it was found, say), it may own whatever no other object claims.
            positive = full > 0 if config.ignore_blank_masks else full.sigmoid() >= 0.5
            # As in the original, the scores weigh logits here, where VIS and VOS weigh probabilities.
            owner = full.mul_(scores[:, None, None]).max(dim=0).indices
            owner = owner.masked_fill_(~positive.any(dim=0), num_objects)
            area = area + count_pixels(positive)
            owned_area = owned_area + count_owned(owner, num_objects)
            owner = drop_unclaimed(owner, positive)
            visible_areas.append(count_owned(owner, num_objects))
            owners.append(owner)

        threshold = torch.where(shown, config.shown_thing_overlap_factor, 1.0) * config.overlap_threshold
        visible = torch.stack(visible_areas) > 0  # (F, N)
        kept = visible.any(dim=0)
        kept &= ~is_thing | (owned_area / area.clamp(min=1) >= threshold)
        table, segments = self._name_segments(kept.tolist(), is_thing.tolist(), labels.tolist(), scores.tolist())
        present = [sorted({table[index] for index, seen in enumerate(row) if seen} - {0}) for row in visible.tolist()]
        ids = torch.tensor([*table, 0], dtype=torch.int32, device=logits.device)
        maps = ids[torch.stack(owners)].cpu()
        return maps, [[dict(segments[segment]) for segment in row] for row in present]

    def _name_segments(
        self, kept: list[bool], is_thing: list[bool], labels: list[int], scores: list[float]
    ) -> tuple[list[int], dict[int, dict[str, Any]]]:
        """Segment id of every object (0 if it is not kept), and what is to be reported of each segment."""
        table, segments = [], {}
        # As in the original, a window's new ids begin one later than they could.
        next_segment = self._last_segment + 2 if self._last_segment else 1
        for object_id, keep, thing, label, score in zip(self.memory.ids, kept, is_thing, labels, scores, strict=True):
            if not keep:
                table.append(0)
                continue
            known, key = (self._thing_segments, object_id) if thing else (self._stuff_segments, label)
            if key not in known:
                known[key] = self._last_segment = next_segment
                next_segment += 1
            segment = known[key]
            table.append(segment)
            if segment not in segments or segments[segment]["score"] < score:
                segments[segment] = self._segment_info(segment, label, thing, score)
        return table, segments

    def _segment_info(self, segment: int, label: int, is_thing: bool, score: float | None) -> dict[str, Any]:
        name = self.engine.category_names[label]
        return {"id": segment, "label_id": label, "label": name, "score": score, "is_thing": is_thing}

    def _keep_objects(self, keep: torch.Tensor) -> None:
        super()._keep_objects(keep)
        kept = set(self.memory.ids)
        self._thing_segments = {key: segment for key, segment in self._thing_segments.items() if key in kept}

    def _reported_id(self, index: int) -> int | None:
        object_id = self.memory.ids[index]
        if object_id in self._thing_segments:
            return self._thing_segments[object_id]
        return self._stuff_segments.get(int(self.memory.class_sums[index].argmax()))

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        if frame_idx not in self._results:
            # The video is over: all that is left is one window.
            self._write_window(self.memory.stop)
        return self._results.pop(frame_idx)

    def summary(self) -> list[dict[str, Any]]:
        """Segments of the video, by id.

        As in the original, the class of a thing is that of its scores over the whole video, which need not be the one
        by which its pixels were merged.

        Returns:
            `list[dict]` with `id`, `label_id`, `label`, `score` (mean class score; `None` for stuff) and `is_thing`.
        """
        scores, labels = (values.tolist() for values in self.memory.mean_class_scores.max(dim=1))
        flags = self._thing_flags.tolist()
        segments = [
            self._segment_info(self._thing_segments[object_id], label, flags[label], score)
            for object_id, score, label in zip(self.memory.ids, scores, labels, strict=True)
            if object_id in self._thing_segments
        ]
        segments += [
            self._segment_info(segment, label, False, None) for label, segment in self._stuff_segments.items()
        ]
        return sorted(segments, key=lambda segment: segment["id"])
