# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The engine that slides over a stream of frames: encodes each once, decodes clips, lets finished frames go.

A video is read once. A window of at most `config.num_frames` frames (a clip) slides over the stream and is decoded
with the prompts that the memory of the video gives; a frame leaves as soon as no later clip can change it. What is
kept is bounded by the clip length, the memory length and the number of objects, never by the length of the video.

    frames -> ClipEngine.step -> encode new frames -> [clip complete] -> task.run_clip -> finished frames

What a clip does with prompts and memory is the task's business, see `category_tasks_univs`, `prompted_tasks_univs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from .category_tasks_univs import InstanceSegmentationTask, PanopticSegmentationTask, SemanticSegmentationTask
from .clip_tasks_univs import Clip, ClipTask
from .configuration_univs import UniVSConfig
from .image_processing_univs import UniVSImageProcessor
from .prompted_tasks_univs import ObjectSegmentationTask, PanopticObjectSegmentationTask
from .referring_task_univs import ReferringSegmentationTask

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation, UniVSFrameFeatures

TASKS: dict[str, type[ClipTask]] = {
    "vis": InstanceSegmentationTask,
    "vss": SemanticSegmentationTask,
    "vps": PanopticSegmentationTask,
    "vos": ObjectSegmentationTask,
    "pvos": PanopticObjectSegmentationTask,
    "refvos": ReferringSegmentationTask,
}


def check_task(task: str) -> None:
    """Raises a `ValueError` that lists the tasks if `task` is none of them."""
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {sorted(TASKS)}, got {task!r}.")


@dataclass(frozen=True)
class FrameGeometry:
    """The three sizes of a frame, each (height, width) in pixels.

    Attributes:
        original_size: Of the frame as it came; results have this size.
        resized_size: After the image processor's resize.
        padded_size: Of the model input; the frame is at its top left.
    """

    original_size: tuple[int, int]
    resized_size: tuple[int, int]
    padded_size: tuple[int, int]

    def crop(self, maps: torch.Tensor) -> torch.Tensor:
        """Removes the padding from maps (..., Hp, Wp)."""
        return maps[..., : self.resized_size[0], : self.resized_size[1]]

    def to_padded(self, logits: torch.Tensor) -> torch.Tensor:
        """Stride-4 mask logits (N, T, h4, w4) at the size of the model input (N, T, Hp, Wp), bilinear, float32."""
        if not len(logits):
            return logits.float().new_zeros(*logits.shape[:2], *self.padded_size)
        return F.interpolate(logits.float(), size=self.padded_size, mode="bilinear", align_corners=False)

    def to_original(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask logits (N, Hp, Wp) without padding and at the original size (N, H, W), bilinear."""
        logits = self.crop(logits)
        if not len(logits):
            return logits.new_zeros(0, *self.original_size)
        if tuple(self.resized_size) == tuple(self.original_size):
            return logits
        return F.interpolate(logits[None], size=self.original_size, mode="bilinear", align_corners=False)[0]


@dataclass(frozen=True)
class Expressions:
    """Expressions of a video, embedded (specification A.3.5).

    Attributes:
        word_features: (N, L, D), of the bare expressions.
        sentence_features: (N, D), mean over the templates.
        ids: N object ids.
        names: N texts.
    """

    word_features: torch.Tensor
    sentence_features: torch.Tensor
    ids: list[int]
    names: list[str]


class FeatureWindow:
    """The encoded frames of the current clip, in memory that is allocated once.

    Frames are written one after the other into room for two clips; at its end, the newest frames of a clip move back
    to its beginning. So a clip always is one slice, and a frame is copied less than twice on average.

    Args:
        num_frames: T, frames of a clip.
    """

    def __init__(self, num_frames: int):
        self._capacity = 2 * num_frames
        self._keep = num_frames - 1
        self._buffer: UniVSFrameFeatures | None = None
        self._stop = 0

    def append(self, features: UniVSFrameFeatures) -> None:
        """Writes at most T new frames behind those before."""
        count = features.num_frames
        if self._buffer is None:
            self._buffer = features.map_tensors(
                lambda tensor: tensor.new_empty(tensor.shape[0], self._capacity, *tensor.shape[2:])
            )
        if self._stop + count > self._capacity:
            kept = min(self._keep, self._stop, self._capacity - count)
            start = self._stop - kept
            # The two ranges may overlap if few frames are added, hence the copy in between.
            self._buffer.map_tensors(lambda tensor: tensor[:, :kept].copy_(tensor[:, start : start + kept].clone()))
            self._stop = kept
        start, self._stop = self._stop, self._stop + count
        self._buffer.map_tensors(lambda room, new: room[:, start : self._stop].copy_(new), features)

    def last(self, count: int) -> UniVSFrameFeatures:
        """Features of the newest `count` frames; views."""
        return self._buffer.frames(self._stop - count, self._stop)


class ClipEngine:
    """One video on its way through the model: the window of encoded frames, the objects and the task's memory.

    Frames are given in order with [`~ClipEngine.step`], which returns the results that have become final;
    [`~ClipEngine.finish`] returns the rest. A result is a dictionary with `frame_idx`, `segmentation`
    (int32 (H, W) tensor on the CPU, original size) and `segments_info` (a list of dictionaries with `id`, `label_id`,
    `label` and `score`; `None` as score where the task has none). For `"vss"` the ids are category indices from 0; for
    `"vos"` they are the given object ids, and 0 is background.

    Args:
        config ([`UniVSConfig`]): Inference settings, from [`UniVSConfig.for_task`].
        task (`str`): `"vss"` or `"vos"`.
        geometry ([`FrameGeometry`]): Sizes of the frames.
        image_processor ([`UniVSImageProcessor`]): Resizes prompts and results.
        device (`torch.device` or `str`, *optional*, defaults to `"cpu"`): Where the model is; the state is there too.
        category_embeddings (`torch.Tensor` of shape (K, D), *optional*): Text embeddings of the categories (`"vss"`).
        category_names (sequence of `str`, *optional*): Their names.
        thing_flags (sequence of `bool`, *optional*): Which of them are things (`"vps"`); by default all.
        expressions ([`Expressions`], *optional*): What to look for (`"refvos"`).
        generator (`torch.Generator`, *optional*): Source of the random choice of prompt pixels. Without it the choice
            is deterministic.
        prompt_sampling (callable, *optional*): Called as `prompt_sampling(frame_idx, masks)` for every key frame, with
            masks (N, Hp, Wp); returns further keyword arguments for `encode_visual_prompts`: a recorded choice.

    Raises:
        ValueError: If the task is unknown, or lacks the categories it needs.
    """

    def __init__(
        self,
        config: UniVSConfig,
        task: str,
        geometry: FrameGeometry,
        image_processor: UniVSImageProcessor,
        device: torch.device | str = "cpu",
        category_embeddings: torch.Tensor | None = None,
        category_names: Sequence[str] | None = None,
        thing_flags: Sequence[bool] | None = None,
        expressions: Expressions | None = None,
        generator: torch.Generator | None = None,
        prompt_sampling: Callable[[int, torch.Tensor], Mapping[str, Any]] | None = None,
    ):
        check_task(task)
        if category_embeddings is not None:
            if category_names is None:
                category_names = [str(index) for index in range(len(category_embeddings))]
            if len(category_names) != len(category_embeddings):
                raise ValueError(
                    f"`category_names` has {len(category_names)} names for {len(category_embeddings)} embeddings."
                )
        self.config = config
        self.geometry = geometry
        self.image_processor = image_processor
        self.device = torch.device(device)
        self.category_embeddings = category_embeddings
        self.category_names = list(category_names or ())
        self.thing_flags = None if thing_flags is None else list(thing_flags)
        self.expressions = expressions
        self.generator = generator
        self.prompt_sampling = prompt_sampling
        self.object_ids: list[int] = []
        self.object_names: dict[int, str] = {}
        # frame -> {index of the object: (Hp, Wp) bool mask}; an entry goes when its frame is finished.
        self.annotations: dict[int, dict[int, torch.Tensor]] = {}
        # frame -> {index of the object: ("box", xyxy) or ("point", xy)}, shares of the padded size.
        self.visual_inputs: dict[int, dict[int, tuple[str, torch.Tensor]]] = {}
        self.num_encoded_frames = 0
        self._waiting: list[torch.Tensor] = []  # model inputs (3, Hp, Wp) of frames not yet encoded
        self._window = FeatureWindow(config.num_frames)
        self._next_clip = 0
        self._clip_stop = 0  # where the last decoded clip ended
        self._next_result = 0
        self._finished = False
        self.task = TASKS[task](self)
        # Keys and values pay where clips overlap, so that a frame is decoded more than once.
        overlaps = self.task.clip_stride < config.num_frames
        self._cache_attention = overlaps and config.temporal_position_type == "absolute"

    @property
    def num_frames(self) -> int:
        """Frames given so far."""
        return self.num_encoded_frames + len(self._waiting)

    def add_object_masks(
        self, frame_idx: int, masks: Mapping[int, np.ndarray | torch.Tensor], names: Mapping[int, str] | None = None
    ) -> None:
        """Gives the masks of objects on a frame. An object's first mask introduces it, later ones correct it.

        Objects that appear later in the video are best announced before the first frame is decoded, as the benchmarks
        do: with the `"sep"` self-attention their still empty queries have a part in the result.

        Args:
            frame_idx (`int`): Frame whose result has not been given yet.
            masks (mapping of `int` to array of shape (H, W)): Object id (from 1) to binary mask, original size.
            names (mapping of `int` to `str`, *optional*): Names to report as labels; by default the ids.

        Raises:
            ValueError: If the frame is over, an id is not positive, or a mask has another size than the frames, is
                empty, or is so small that nothing is left of it at the size of the model input.
        """
        height, width = self.geometry.original_size
        for object_id, mask in masks.items():
            if tuple(mask.shape) != (height, width):
                raise ValueError(
                    f"The mask of object {object_id} on frame {frame_idx} has shape {tuple(mask.shape)}; "
                    f"the frames are {(height, width)} (height, width)."
                )
            if not (mask > 0).any():
                raise ValueError(f"The mask of object {object_id} on frame {frame_idx} is empty.")
        stack = np.stack([np.asarray(mask) > 0 for mask in masks.values()]) if masks else np.zeros((0, 1, 1), bool)
        resized = self.image_processor.resize_masks(stack, self.geometry.resized_size, self.geometry.padded_size)
        self.annotate(frame_idx, dict(zip(masks, resized, strict=True)))
        for object_id, name in (names or {}).items():
            if object_id in self.object_names:
                self.object_names[object_id] = name

    def annotate(self, frame_idx: int, masks: Mapping[int, torch.Tensor]) -> None:
        """As [`~ClipEngine.add_object_masks`], with masks (Hp, Wp) at the size of the model input."""
        self._check_frame(frame_idx)
        for object_id, mask in masks.items():
            if object_id < 1:
                raise ValueError(f"Object ids must be positive (0 is background), got {object_id}.")
            if tuple(mask.shape) != tuple(self.geometry.padded_size):
                raise ValueError(
                    f"The mask of object {object_id} has shape {tuple(mask.shape)}; the model input has "
                    f"{tuple(self.geometry.padded_size)}."
                )
            if not (mask > 0).any():
                raise ValueError(
                    f"Nothing is left of object {object_id} on frame {frame_idx} at the model's size "
                    f"{tuple(self.geometry.resized_size)}; give a larger mask or a larger `shortest_edge`."
                )
        for object_id, mask in masks.items():
            index = self._index_of(object_id)
            self.annotations.setdefault(frame_idx, {})[index] = (mask > 0).to(self.device)

    def add_object_boxes(self, frame_idx: int, boxes: Mapping[int, Sequence[float]]) -> None:
        """Gives boxes of objects on a frame: x1, y1, x2, y2 in pixels of the original frame, clipped to it.

        Raises:
            ValueError: If the frame is over, an id is not positive, or a box is inverted or outside of the frame.
        """
        self._check_frame(frame_idx)
        height, width = self.geometry.original_size
        clipped = {}
        for object_id, box in boxes.items():
            x1, y1, x2, y2 = (float(value) for value in box)
            inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
            if not (x1 < x2 and y1 < y2 and inside[0] < inside[2] and inside[1] < inside[3]):
                raise ValueError(
                    f"The box of object {object_id} on frame {frame_idx} must be (x1, y1, x2, y2) with x1 < x2 and "
                    f"y1 < y2 and overlap the frame of {width}x{height} pixels, got {(x1, y1, x2, y2)}."
                )
            clipped[object_id] = inside
        for object_id, box in clipped.items():
            self._add_visual_input(frame_idx, object_id, "box", box)

    def add_object_points(self, frame_idx: int, points: Mapping[int, Sequence[float]]) -> None:
        """Gives a point of each object on a frame: x, y in pixels of the original frame.

        Raises:
            ValueError: If the frame is over, an id is not positive, or a point is outside of the frame.
        """
        self._check_frame(frame_idx)
        height, width = self.geometry.original_size
        for object_id, (x, y) in points.items():
            if not (0 <= x <= width and 0 <= y <= height):
                raise ValueError(
                    f"The point of object {object_id} on frame {frame_idx} must lie in the frame of {width}x{height} "
                    f"pixels, got {(float(x), float(y))}."
                )
        for object_id, point in points.items():
            self._add_visual_input(frame_idx, object_id, "point", point)

    def remove_object(self, object_id: int) -> None:
        """Stops following an object; its id is not used again.

        Raises:
            ValueError: If there is no such object.
        """
        self.task.remove_object(object_id)

    def forget_object(self, object_id: int) -> None:
        """Takes an object off the list of given objects, for a task that has dropped it."""
        index = self.object_ids.index(object_id)
        del self.object_ids[index]
        for inputs in (self.annotations, self.visual_inputs):
            for frame, entries in inputs.items():
                kept = {(i if i < index else i - 1): entry for i, entry in entries.items() if i != index}
                inputs[frame] = kept

    def summary(self) -> list[dict[str, Any]]:
        """What is known of the objects of the whole video, once it is finished."""
        return self.task.summary()

    def _check_frame(self, frame_idx: int) -> None:
        if frame_idx < self._next_result:
            raise ValueError(
                f"`frame_idx` {frame_idx} is over: results up to frame {self._next_result - 1} have been given."
            )

    def _index_of(self, object_id: int) -> int:
        """Index of a given object, which is introduced if it is new."""
        if object_id < 1:
            raise ValueError(f"Object ids must be positive (0 is background), got {object_id}.")
        if object_id not in self.object_ids:
            if object_id in self.object_names:
                raise ValueError(f"Object {object_id} has been removed; its id can't be used again.")
            self.object_ids.append(object_id)
            self.object_names[object_id] = str(object_id)
        return self.object_ids.index(object_id)

    def _add_visual_input(self, frame_idx: int, object_id: int, kind: str, values: Sequence[float]) -> None:
        geometry = self.geometry
        scale = [
            resized / original / padded
            for resized, original, padded in zip(
                geometry.resized_size, geometry.original_size, geometry.padded_size, strict=True
            )
        ]
        per_axis = torch.tensor([scale[1], scale[0]] * (len(values) // 2))
        shares = torch.tensor([float(value) for value in values]) * per_axis
        self.visual_inputs.setdefault(frame_idx, {})[self._index_of(object_id)] = (kind, shares.to(self.device))

    @torch.no_grad()
    def step(self, model: UniVSForVideoSegmentation, pixel_values: torch.Tensor) -> list[dict[str, Any]]:
        """Takes the next frame.

        Args:
            model ([`UniVSForVideoSegmentation`]): The model.
            pixel_values (`torch.Tensor` of shape (3, Hp, Wp)): The frame as the image processor gives it.

        Returns:
            `list[dict]`: Results that became final, in order of frames; empty while a clip is incomplete.

        Raises:
            ValueError: If the session has been finished, or the frame has another size than those before.
        """
        if self._finished:
            raise ValueError("The video is finished; begin a new session for another video.")
        if tuple(pixel_values.shape) != (3, *self.geometry.padded_size):
            raise ValueError(
                f"`pixel_values` has shape {tuple(pixel_values.shape)}, expected {(3, *self.geometry.padded_size)}."
            )
        self._waiting.append(pixel_values)
        if self.num_frames < self._next_clip + self.config.num_frames:
            return []
        self._run_clip(model)
        return self._finish_frames(self.task.final_stop(self._next_clip, is_last=False, stop=self._clip_stop))

    @torch.no_grad()
    def finish(self, model: UniVSForVideoSegmentation) -> list[dict[str, Any]]:
        """Ends the video: decodes the frames that did not fill a clip and returns all results that are left."""
        if self.num_frames > self._clip_stop:
            self._run_clip(model)
        self._finished = True
        return self._finish_frames(self.task.final_stop(self._next_clip, is_last=True, stop=self.num_frames))

    def _run_clip(self, model: UniVSForVideoSegmentation) -> None:
        # Frames wait until a clip needs them, so that they are encoded as one batch.
        start, first_new = self._next_clip, self.num_encoded_frames
        self.num_encoded_frames += len(self._waiting)
        stop = self.num_encoded_frames
        features = model.encode_frames(
            torch.stack(self._waiting)[None].to(self.device, model.dtype),
            frame_idx=torch.arange(first_new, stop, device=self.device)[None],
            cache_attention=self._cache_attention,
        )
        self._waiting = []
        self._window.append(features)
        clip = Clip(
            start=start,
            stop=stop,
            previous_stop=self._clip_stop,
            features=self._window.last(stop - start),
            frame_idx=torch.arange(start, stop, device=self.device)[None],
        )
        self.task.run_clip(model, clip)
        self._clip_stop = stop
        self._next_clip = start + self.task.clip_stride

    def _finish_frames(self, stop: int) -> list[dict[str, Any]]:
        results = [self.task.finish_frame(frame_idx) for frame_idx in range(self._next_result, stop)]
        self._next_result = max(stop, self._next_result)
        return [result for result in results if result is not None]
