# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Inference on videos: the session of one video, and one call that segments a whole video.

    session = processor.init_video_session("judo.mp4", task="vos")
    processor.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=[1, 2], input_masks=masks)
    for result in model.propagate_in_video_iterator(session):
        ...

A session gathers what the user gives (prompts, expressions, categories) in units of the original frames. Once the
model and the size of the frames are known it starts a `ClipEngine`, which does the work.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from .clip_engine_univs import ClipEngine, FrameGeometry, check_task
from .configuration_univs import UniVSConfig
from .image_processing_univs import UniVSImageProcessor
from .label_sets import LabelSet, load_label_set
from .text_embeddings_univs import (
    category_labels,
    category_thing_flags,
    embed_categories,
    embed_expressions,
)
from .video_io import VideoSource, open_video

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation
    from .processing_univs import UniVSProcessor

PROMPTED_TASKS = ("vos", "pvos", "refvos")
CATEGORY_TASKS = ("vis", "vss", "vps")

# A live stream has no end, so the objects that it is searched for are bounded unless the caller says otherwise; and it
# may begin with an empty scene, after which the original would never find anything.
STREAM_SETTINGS: dict[str, Any] = {"max_inactive_frames": 300, "max_objects": 100, "detect_after_empty_start": True}

# Results are maps of int32.
_LARGEST_ID = 2**31 - 1

# What decides the size of the model input; the rest of a task's settings is the engine's business.
_SIZE_FIELDS = ("shortest_edge", "longest_edge", "square_size")


class UniVSInferenceSession:
    """One video on its way through the model, and everything that the user said about it.

    Made by [`UniVSProcessor.init_video_session`]; filled by [`UniVSProcessor.add_inputs_to_inference_session`],
    [`UniVSProcessor.add_text_prompt`] and [`UniVSProcessor.set_categories`], before the first frame or while the
    video runs; advanced by [`UniVSForVideoSegmentation.propagate_in_video_iterator`] or, frame by frame, by calling
    the model with `inference_session=` and `frame=`.

    Args:
        processor: Prepares frames and tokenises text.
        task: `"vis"`, `"vss"`, `"vps"`, `"vos"`, `"pvos"` or `"refvos"`.
        video: A path, a frame or list of frames, an array (T, H, W, C), a [`VideoSource`], any iterable of frames; or
            None for a live stream.
        device: Where the model is; by default wherever it turns out to be.
        generator: Draws the pixels of visual prompts at random, as the original does; deterministic without.
        **settings: Fields of [`UniVSConfig`] that win over the settings of the task.

    Raises:
        ValueError: If the task is none of the six.
        TypeError: If the video is nothing that gives frames.
    """

    def __init__(
        self,
        processor: UniVSProcessor,
        task: str,
        video: Any = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        **settings: Any,
    ):
        check_task(task)
        if video is not None and not isinstance(video, (os.PathLike, Iterable, Image.Image)):
            raise TypeError(
                "`video` must be a path, an image, an array, frames or None for a live stream, got "
                f"{type(video).__name__}."
            )
        self.processor = processor
        self.task = task
        self.video = video
        self.device = device
        self.generator = generator
        self.settings = settings if video is not None else {**STREAM_SETTINGS, **settings}
        self.engine: ClipEngine | None = None
        # What the user gave, by video frame: (kind, {object id: mask, box or point}) in the order given.
        self.inputs: dict[int, list[tuple[str, dict[int, Any]]]] = {}
        self.removed_objects: set[int] = set()
        self.object_names: dict[int, str] = {}
        self.object_categories: dict[int, int] = {}
        self.expressions: dict[int, str] = {}
        self.categories: str | LabelSet | list[str] | None = None
        self.thing_flags: list[bool] | None = None
        self._first_frame, self._direction = 0, 1
        self._has_run = False
        self._image_processor: UniVSImageProcessor | None = None

    # --- what the user gives

    @property
    def obj_ids(self) -> list[int]:
        """Ids of the objects and expressions given so far."""
        ids = [object_id for entries in self.inputs.values() for _, objects in entries for object_id in objects]
        return [object_id for object_id in dict.fromkeys([*ids, *self.expressions])]

    def add_inputs(self, frame_idx: int, kind: str, objects: Mapping[int, Any]) -> None:
        """Gives prompts of one kind (`"mask"`, `"box"` or `"point"`) on a frame of the video.

        Args:
            frame_idx: Number of the frame in the video.
            kind: What the values of `objects` are.
            objects: Object id (from 1) to mask (H, W), box x1, y1, x2, y2 or point x, y, in pixels of the original
                frame.

        Raises:
            ValueError: If the task takes no visual prompts, the frame is over, or a prompt does not fit.
        """
        if self.task not in ("vos", "pvos"):
            raise ValueError(f"Task {self.task!r} takes no masks, boxes or points; tasks 'vos' and 'pvos' do.")
        frame_idx = _whole_number("frame_idx", frame_idx, 0)
        objects = {_object_id(object_id): value for object_id, value in objects.items()}
        for object_id in objects:
            if object_id in self.removed_objects:
                raise ValueError(f"Object {object_id} has been removed; its id can't be used again.")
        if self.engine is not None:
            self._give(self.engine, self._engine_frame(frame_idx), kind, objects)
        self.inputs.setdefault(frame_idx, []).append((kind, objects))

    def set_object_categories(self, categories: Mapping[int, str | int]) -> None:
        """Says of which category objects of `"pvos"` are, by name or index: stuff is segmented with the help of its
        category, and a category is reported as the object's label.

        Args:
            categories: Object id to name, or index from 0, among the categories of [`set_categories`].

        Raises:
            ValueError: If the task is another, or there is no such category.
        """
        if self.task != "pvos":
            raise ValueError(f"Task {self.task!r} takes no categories of objects; task 'pvos' does.")
        if self.categories is None:
            raise ValueError("Categories of objects need the categories: call `set_categories` first.")
        labels = category_labels(self.categories)
        indices = {}
        for object_id, category in categories.items():
            index = labels.index(category) if category in labels else category
            if not isinstance(index, int) or not 0 <= index < len(labels):
                raise ValueError(
                    f"Object {object_id} has category {category!r}; accepted are the names {labels[:5]} ... and the "
                    f"indices 0 to {len(labels) - 1}."
                )
            indices[_object_id(object_id)] = index
        self.object_categories.update(indices)
        if self.engine is not None:
            self.engine.task.set_object_categories(indices)

    def add_expressions(self, texts: Sequence[str], obj_ids: Sequence[int] | None = None) -> list[int]:
        """Gives expressions to look for; all of a video are decoded in one pass. Returns their ids.

        Raises:
            ValueError: If the task takes no text, it has begun, a text is empty or an id is taken.
        """
        if self.task != "refvos":
            raise ValueError(f"Task {self.task!r} takes no text prompts; task 'refvos' does.")
        if self.engine is not None:
            raise ValueError(
                "Text prompts must be given before the first frame; call `session.reset()` to begin anew."
            )
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts or any(not isinstance(text, str) or not text.strip() for text in texts):
            raise ValueError(f"`text` must be one or more expressions that are not empty, got {texts!r}.")
        free = (
            number for number in range(1, len(self.expressions) + len(texts) + 1) if number not in self.expressions
        )
        obj_ids = [next(free) for _ in texts] if obj_ids is None else list(obj_ids)
        if len(obj_ids) != len(texts) or len(set(obj_ids)) != len(obj_ids):
            raise ValueError(
                f"`obj_ids` must hold one id for each of the {len(texts)} texts, each once, got {obj_ids}."
            )
        obj_ids = [_object_id(object_id) for object_id in obj_ids]
        for object_id in obj_ids:
            if object_id in self.expressions:
                raise ValueError(f"`obj_ids` must not be in use, but {object_id} has an expression already.")
        self.expressions.update(zip(obj_ids, texts, strict=True))
        return obj_ids

    def set_categories(
        self, categories: str | LabelSet | Sequence[str], thing_flags: Sequence[bool] | None = None
    ) -> None:
        """Says which categories to look for: any names, or the name of a label set.

        Args:
            categories: Names, the name of a label set, or a label set.
            thing_flags: Per category, whether it is a thing (countable) rather than stuff; by default what the label
                set says, or things.

        Raises:
            ValueError: If the task takes no categories, it has begun, there is no such label set, or the flags are
                not as many as the categories.
        """
        if self.task not in (*CATEGORY_TASKS, "pvos"):
            raise ValueError(f"Task {self.task!r} takes no `categories`; tasks {list(CATEGORY_TASKS)} do.")
        if self.engine is not None:
            raise ValueError("Categories must be set before the first frame; call `session.reset()` to begin anew.")
        if isinstance(categories, str):
            load_label_set(categories)
        elif not isinstance(categories, LabelSet):
            self.processor.category_texts(categories)
            categories = list(categories)
        if thing_flags is not None:
            count = len(self.processor.category_texts(categories))
            if len(thing_flags) != count:
                raise ValueError(f"`thing_flags` must hold a flag for each of {count} categories, got {thing_flags}.")
        self.categories = categories
        self.thing_flags = None if thing_flags is None else [bool(flag) for flag in thing_flags]

    def remove_object(self, object_id: int) -> None:
        """Stops following an object, given or found. Its id is not used again.

        Raises:
            ValueError: If there is no such object.
        """
        if self.engine is not None:
            self.engine.remove_object(object_id)
        elif object_id not in self.obj_ids:
            raise ValueError(f"There is no object {object_id}; there are {self.obj_ids}.")
        self.removed_objects.add(object_id)
        self.expressions.pop(object_id, None)
        for entries in self.inputs.values():
            for _, objects in entries:
                objects.pop(object_id, None)

    def reset(self) -> None:
        """Forgets the frames seen; what the user gave stays."""
        self.engine = None

    # --- frames

    @torch.no_grad()
    def step(self, model: UniVSForVideoSegmentation, frame: Any) -> list[dict[str, Any]]:
        """Takes the next frame of a stream.

        Args:
            model: The model, in evaluation mode.
            frame: An image of any kind that the processor takes.

        Returns:
            Results that became final, in order of frames: none while a clip is incomplete.

        Raises:
            ValueError: If the frame has another size than those before, or something the task needs is missing.
        """
        if self.engine is None:
            self._check_ready()
            config = model.config.for_task(self.task, **self.settings)
            self._image_processor = image_processor_for(self.processor.image_processor, model.config, config)
        processed = self._image_processor.preprocess_frame(frame)
        pixel_values = processed.pixel_values[0, 0]
        if self.engine is None:
            geometry = FrameGeometry(processed.original_size, processed.resized_size, tuple(pixel_values.shape[1:]))
            self.engine = self._start(model, config, geometry)
        elif processed.original_size != self.engine.geometry.original_size:
            raise ValueError(
                f"Frame {self.engine.num_frames} has size {processed.original_size}, those before it "
                f"{self.engine.geometry.original_size}. All frames of a video must have one size."
            )
        return self._name_frames(self.engine.step(model, pixel_values))

    @torch.no_grad()
    def finish(self, model: UniVSForVideoSegmentation) -> list[dict[str, Any]]:
        """Ends a stream and returns the results that are left."""
        if self.engine is None:
            raise ValueError("The session has had no frame.")
        return self._name_frames(self.engine.finish(model))

    def propagate(
        self,
        model: UniVSForVideoSegmentation,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """See [`UniVSForVideoSegmentation.propagate_in_video_iterator`]."""
        if self.video is None:
            raise ValueError("The session is a live stream: call the model with `inference_session=` and `frame=`.")
        if start_frame_idx is not None:
            start_frame_idx = _whole_number("start_frame_idx", start_frame_idx, 0)
        if max_frame_num_to_track is not None:
            max_frame_num_to_track = _whole_number("max_frame_num_to_track", max_frame_num_to_track, 1)
        self._check_ready()
        self.reset()
        self._direction = -1 if reverse else 1
        first, frames = self._frames(start_frame_idx, reverse)
        self._first_frame = first
        if self.inputs and not any(self._engine_frame(frame_idx) >= 0 for frame_idx in self.inputs):
            raise ValueError(
                f"No prompt lies on a frame that is visited from frame {first} "
                f"{'back' if reverse else 'on'}; there are prompts on frames {sorted(self.inputs)}."
            )
        return self._propagate(model, frames, max_frame_num_to_track)

    def _propagate(
        self, model: UniVSForVideoSegmentation, frames: Iterable[Any], max_frames: int | None
    ) -> Iterator[dict[str, Any]]:
        count, engine = 0, None
        for frame in frames:
            self._check_engine(engine)
            results = self.step(model, frame)
            engine = self.engine
            yield from results
            count += 1
            if count == max_frames:
                break
        self._check_engine(engine)
        if self.engine is None:
            again = " It gives its frames once, and they have been read." if isinstance(self.video, Iterator) else ""
            raise ValueError(f"`video` holds no frame.{again if self._has_run else ''}")
        self._has_run = True
        yield from self.finish(model)
        if max_frames is None:
            last = max((self._engine_frame(frame_idx) for frame_idx in self.inputs), default=0)
            if last >= count:
                raise ValueError(
                    f"A prompt lies on frame {self._video_frame(last)}, but the video has {count} frames."
                )

    def _check_engine(self, engine: ClipEngine | None) -> None:
        if self.engine is not engine:
            raise ValueError("The session was reset, or run anew, before this run over its video had ended.")

    def summary(self) -> list[dict[str, Any]]:
        """What is known of the objects of the whole video, once it is over: for `"vis"` the (object, class, score)
        results of the benchmark, for `"vps"` the final segments, for the others nothing.
        """
        return [] if self.engine is None else self.engine.summary()

    def _frames(self, start_frame_idx: int | None, reverse: bool) -> tuple[int, Iterator[Any]]:
        """Number of the first frame to visit, and the frames from there on."""
        if reverse:
            frames = self.video if isinstance(self.video, (list, tuple, np.ndarray, torch.Tensor)) else None
            if frames is not None:
                first = len(frames) - 1 if start_frame_idx is None else start_frame_idx
                if first >= len(frames):
                    raise ValueError(f"`start_frame_idx` {first} is beyond the {len(frames)} frames of the video.")
                return first, iter(frames[index] for index in range(first, -1, -1))
            return reversed_frames(self.video, start_frame_idx)
        opens = isinstance(self.video, (str, os.PathLike, np.ndarray, torch.Tensor, Image.Image))
        # Anything else yields frames by itself, and perhaps not before each is wanted.
        frames, first = iter(open_video(self.video) if opens else self.video), start_frame_idx or 0
        for index in range(first):
            if next(frames, None) is None:
                raise ValueError(f"`start_frame_idx` {first} is beyond the {index} frames of the video.")
        return first, frames

    def _engine_frame(self, frame_idx: int) -> int:
        return (frame_idx - self._first_frame) * self._direction

    def _video_frame(self, engine_frame: int) -> int:
        return self._first_frame + engine_frame * self._direction

    def _name_frames(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for result in results:
            result["frame_idx"] = self._video_frame(result["frame_idx"])
        return results

    # --- the engine

    def _check_ready(self) -> None:
        if self.task in ("vos", "pvos") and self.video is not None and not self.inputs:
            raise ValueError(
                f"Task {self.task!r} needs prompts: a mask, box or point of at least one object on at least one frame."
            )
        if self.task == "refvos" and not self.expressions:
            raise ValueError("Task 'refvos' needs at least one expression: call `add_text_prompt`.")

    def _start(self, model: UniVSForVideoSegmentation, config: UniVSConfig, geometry: FrameGeometry) -> ClipEngine:
        embeddings = names = things = expressions = None
        if self.task in CATEGORY_TASKS or self.categories is not None:
            embeddings, names = embed_categories(model, self.processor, self.categories)
            things = self.thing_flags or category_thing_flags(self.categories)
        if self.expressions:
            expressions = embed_expressions(model, self.processor, self.expressions)
        engine = ClipEngine(
            config,
            self.task,
            geometry,
            self._image_processor,
            device=model.device if self.device is None else self.device,
            category_embeddings=embeddings,
            category_names=names,
            thing_flags=things,
            expressions=expressions,
            generator=self.generator,
        )
        if self.object_categories:
            engine.task.set_object_categories(self.object_categories)
        # All objects are announced first, those of later frames too (see `ClipEngine.add_object_masks`).
        for frame_idx in sorted(self.inputs, key=self._engine_frame):
            for kind, objects in self.inputs[frame_idx]:
                if self._engine_frame(frame_idx) >= 0 and objects:
                    self._give(engine, self._engine_frame(frame_idx), kind, objects)
        return engine

    def _give(self, engine: ClipEngine, frame: int, kind: str, objects: Mapping[int, Any]) -> None:
        if kind == "mask":
            engine.add_object_masks(frame, objects, self.object_names)
        elif kind == "box":
            engine.add_object_boxes(frame, objects)
        else:
            engine.add_object_points(frame, objects)


def _whole_number(name: str, value: Any, low: int) -> int:
    """`value` as an `int`, also where it comes from numpy or torch."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low:
        raise ValueError(f"`{name}` must be a whole number from {low}, got {value!r}.")
    return number


def _object_id(value: Any) -> int:
    try:
        number = _whole_number("obj_ids", value, 1)
    except ValueError:
        number = None
    if number is None or number > _LARGEST_ID:
        raise ValueError(f"Object ids must be whole numbers from 1 to {_LARGEST_ID} (0 is background), got {value!r}.")
    return number


def image_processor_for(
    image_processor: UniVSImageProcessor, model_config: UniVSConfig, task_config: UniVSConfig
) -> UniVSImageProcessor:
    """The image processor with the input size of a task, where that is another than the model's own."""
    changed = {name for name in _SIZE_FIELDS if getattr(task_config, name) != getattr(model_config, name)}
    if not changed:
        return image_processor
    settings = image_processor.to_dict()
    size = dict(settings["size"])
    for name in changed - {"square_size"}:
        size[name] = getattr(task_config, name)
    settings["size"] = size
    if "square_size" in changed:
        settings["square_size"] = task_config.square_size
    return type(image_processor).from_dict(settings)


def reversed_frames(video: Any, start_frame_idx: int | None) -> tuple[int, Iterator[Any]]:
    """Frames of a file or folder from `start_frame_idx` (the last by default) back to the first."""
    source = video if isinstance(video, VideoSource) else open_video(video)
    return source.reversed_frames(start_frame_idx)


def label_map_to_masks(label_map: np.ndarray) -> dict[int, np.ndarray]:
    """Splits a label map (H, W), 0 for background, into a bool mask per id, ids ascending.

    Raises:
        ValueError: If the map has not two dimensions or names no object.
    """
    label_map = np.asarray(label_map)
    if label_map.ndim != 2:
        raise ValueError(f"A label map must have shape (height, width), got {label_map.shape}.")
    ids = [object_id for object_id in np.unique(label_map).tolist() if object_id != 0]
    if not ids:
        raise ValueError("The label map holds no object: all pixels are 0.")
    return {int(object_id): label_map == object_id for object_id in ids}


def propagate(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    frames: Any,
    task: str,
    prompts: Mapping[int, np.ndarray | Mapping[int, np.ndarray]] | None = None,
    categories: str | Sequence[str] | None = None,
    expressions: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Segments a video and yields the result of each frame as soon as it is final: a session in one call.

    Args:
        model: The model, in evaluation mode.
        processor: The processor that belongs to it.
        frames: A path, frames, or anything that yields single frames, such as a [`VideoSource`]; it is read once and
            no further ahead than a clip.
        task: `"vis"`, `"vss"`, `"vps"`, `"vos"`, `"pvos"` or `"refvos"`.
        prompts: For `"vos"` and `"pvos"`: frame number to a map (H, W) of object ids (0 is background), or to a
            mapping of object id to mask (H, W).
        categories: For `"vis"`, `"vss"`, `"vps"`: see [`embed_categories`].
        expressions: For `"refvos"`.
        generator: See [`UniVSInferenceSession`].
        **settings: Fields of [`UniVSConfig`] that win over the settings of the task.

    Yields:
        `dict`: See [`ClipEngine`].

    Raises:
        ValueError: If the task is unknown, or frames or prompts do not fit it or one another.

    Example:

        >>> with open_video("judo.mp4") as video:
        ...     for result in propagate(model, processor, video, task="vos", prompts={0: first_mask}):
        ...         print(result["frame_idx"], [segment["id"] for segment in result["segments_info"]])
    """
    session = UniVSInferenceSession(processor, task, video=frames, generator=generator, **settings)
    for frame_idx, value in (prompts or {}).items():
        session.add_inputs(frame_idx, "mask", value if isinstance(value, Mapping) else label_map_to_masks(value))
    if categories is not None:
        session.set_categories(categories)
    if expressions is not None:
        session.add_expressions(expressions)
    # Checked now rather than when the first result is asked for.
    model.config.for_task(task, **settings)
    return session.propagate(model)
