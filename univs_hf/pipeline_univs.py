# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("video-segmentation")`: the six tasks on whole videos, and images.

Registered when `univs_hf` is imported; a folder written by [`VideoSegmentationPipeline.save_pretrained`] also loads
where the package is not installed (`trust_remote_code=True`).
"""

from __future__ import annotations

import itertools
import mimetypes
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset
from transformers import AutoModelForUniversalSegmentation
from transformers.pipelines.base import Pipeline

from .batched_tasks_univs import IMAGE_KINDS, check_batch_size, segment_images, segment_videos
from .configuration_univs import TASK_PRESETS, UniVSConfig
from .feature_extraction_univs import frames_of
from .inference_univs import label_map_to_masks
from .video_io import VideoSource

PIPELINE_TASK = "video-segmentation"
SUBTASKS = (*TASK_PRESETS, *IMAGE_KINDS)

_VISUAL_PROMPTS = ("prompt_masks", "boxes", "points")
# Arguments that belong to one video each.
_PROMPTS = (*_VISUAL_PROMPTS, "obj_ids", "obj_categories", "prompt_frame_idx", "text")
_DOWNLOAD_CHUNK_BYTES = 2**20


class VideoSegmentationPipeline(Pipeline):
    """Segments videos with UniVS.

    ```python
    >>> from transformers import pipeline
    >>> import univs_hf

    >>> segmenter = pipeline("video-segmentation", model="path/to/univs")
    >>> frames = segmenter("street.mp4", subtask="vps", categories="coco_panoptic")
    >>> frames[0]  # of frame 0
    [{"id": 1, "label": "person", "score": 0.93, "mask": <PIL.Image.Image>}, ...]
    >>> for segments in segmenter("street.mp4", subtask="refvos", text=["the red car"], stream=True):
    ...     ...
    ```

    Arguments of a call may also be given to `pipeline()`, for all calls.
    """

    _load_processor = True
    _load_image_processor = False
    # Left open, transformers looks for one and asks at the terminal whether it may run the code in the folder.
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(self.model, "propagate_in_video_iterator"):
            raise ValueError(
                f"The {PIPELINE_TASK} pipeline needs a `UniVSForVideoSegmentation`, got {type(self.model).__name__}."
            )
        if self.processor is None:
            raise ValueError(f"The {PIPELINE_TASK} pipeline needs a `processor`.")
        self.model.eval()

    def _sanitize_parameters(
        self,
        subtask: str | None = None,
        stream: bool | None = None,
        threshold: float | None = None,
        timeout: float | None = None,
        **parameters: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if subtask is not None and subtask not in SUBTASKS:
            raise ValueError(f"`subtask` must be one of {list(SUBTASKS)}, got {subtask!r}.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` must lie in [0, 1], got {threshold}.")
        known = (*_PROMPTS, "categories", "thing_flags", "generator")
        preprocess = {name: parameters.pop(name) for name in known if parameters.get(name) is not None}
        for name in known:
            parameters.pop(name, None)
        unknown = [name for name in parameters if name not in UniVSConfig.__dataclass_fields__]
        if unknown:
            accepted = ["subtask", "stream", "threshold", "timeout", *known]
            raise ValueError(
                f"The {PIPELINE_TASK} pipeline has no arguments {unknown}. It takes {accepted} and the fields of "
                "`UniVSConfig`."
            )
        preprocess.update({"subtask": subtask} if subtask is not None else {})
        preprocess.update({"timeout": timeout} if timeout is not None else {})
        preprocess.update(parameters)
        postprocess: dict[str, Any] = {} if stream is None else {"stream": bool(stream)}
        postprocess.update({"threshold": threshold} if threshold is not None else {})
        return preprocess, {}, postprocess

    def __call__(
        self, inputs: Any, num_workers: int | None = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Segments a video or several.

        Args:
            inputs: One video: a path (video file, folder of frames or image), a URL, an image, a list of frames, an
                array (T, H, W, C) or (T, C, H, W), or a generator of frames. Or several: a list, generator or dataset
                of paths, URLs, lists of frames or 4-dimensional arrays. Frames are PIL images or arrays; strings in a
                list are videos each. An image is a video of one frame.
            subtask: `"vis"`, `"vss"`, `"vps"` (found by category), `"vos"`, `"pvos"` (given by masks, boxes or
                points), `"refvos"` (given by text); or `"semantic"`, `"panoptic"`, `"instance"`, which segment every
                frame for itself as an image. By default `"vos"` with visual prompts, `"refvos"` with text, else
                `"vps"`.
            categories: What to look for: any names, or the name of a label set. By default the checkpoint's table.
            thing_flags: Per category, whether it is a thing (countable) rather than stuff (`"vps"`, `"pvos"`,
                `"panoptic"`, `"instance"`); by default what the label set says, or things.
            text: Expressions (`"refvos"`): one or a list.
            prompt_masks: A map (H, W) of object ids or masks (N, H, W) on the frame `prompt_frame_idx`; or a mapping
                of frame numbers to those or to `{object id: mask}`.
            boxes: (N, 4) x1, y1, x2, y2 in pixels, on the frame `prompt_frame_idx`; or a mapping of frame numbers to
                those or to `{object id: box}`.
            points: (N, 2) x, y in pixels, in the same ways.
            obj_ids: Ids of the objects in the order masks, boxes, points, where they have none; by default 1, 2, ...
            obj_categories: For `"pvos"`: object id to category, by name or index among `categories`; stuff needs it.
            prompt_frame_idx: Frame of the prompts that come without frame numbers; 0 by default.
            threshold: Segments with a lower score are left out (segments without a score stay); 0 by default.
            stream: Return an iterator over the frames that holds constant memory, whatever the length of the video.
            timeout: Seconds that a server may take to answer; no limit by default.
            batch_size: `"vss"`: videos that go through the network together (they must agree in size and length).
                `"semantic"`, `"panoptic"`, `"instance"`: frames that do. Other tasks have a memory for every video
                and take one at a time.
            num_workers: Not used: frames are decoded when they are wanted.
            **kwargs: `generator` (see [`UniVSInferenceSession`]), and fields of [`UniVSConfig`] such as
                `num_frames` or `class_score_threshold` that win over the settings of the task.

            With several videos, prompts and `text` are lists with one entry per video, None where there is none; one
            string as `text` holds for all.

        Returns:
            For a video, a list with an entry per frame: a list of `{"id", "label", "score", "mask"}`, one for each
            segment to be seen in the frame. `id` is stable over the video, `mask` is a PIL image of mode L (255 is the
            segment) of the frame's size; `score` is None where the task has none. For `"vss"` and `"semantic"` there
            is one entry per class. For several videos, a list of these; for a generator or dataset of videos, an
            iterator over them. With `stream=True`, an iterator takes the place of every list over frames or videos.

        Raises:
            ValueError, TypeError: If the input or an argument is not as said, or does not fit the task.
            FileNotFoundError: If there is no such file.
        """
        batch_size = batch_size or self._batch_size or 1
        check_batch_size(batch_size)
        preprocess, _, postprocess = self._sanitize_parameters(**kwargs)
        preprocess = {**self._preprocess_params, **preprocess}
        postprocess = {**self._postprocess_params, **postprocess}
        preprocess["subtask"] = subtask = resolve_subtask(preprocess)
        self.call_count += 1

        videos, is_batch, count = _split_inputs(inputs)
        if not is_batch:
            return self.run_single(next(videos), {**preprocess, "batch_size": batch_size}, {}, postprocess)
        prompts = _per_video({name: preprocess.pop(name) for name in _PROMPTS if name in preprocess}, count)
        if batch_size > 1 and subtask not in IMAGE_KINDS:
            if subtask != "vss":
                raise ValueError(
                    f"Task {subtask!r} has a memory of its own for every video, so videos can't share a batch: use "
                    f"`batch_size=1`, got {batch_size}."
                )
            if postprocess.get("stream"):
                raise ValueError("`stream=True` reads one video after the other: use `batch_size=1`.")
            results = self._run_batches(videos, batch_size, preprocess, postprocess)
        else:
            results = (
                self.run_single(video, {**preprocess, **next(prompts), "batch_size": batch_size}, {}, postprocess)
                for video in videos
            )
        return results if count is None or postprocess.get("stream") else list(results)

    def preprocess(
        self, video: Any, subtask: str, batch_size: int = 1, timeout: float | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """Prepares the run over one video; no frame is read yet."""
        categories, generator = parameters.pop("categories", None), parameters.pop("generator", None)
        thing_flags = parameters.pop("thing_flags", None)
        prompts = {name: parameters.pop(name) for name in _PROMPTS if name in parameters}
        frames = _open(video, timeout)
        if subtask in IMAGE_KINDS:
            if prompts:
                raise ValueError(f"Task {subtask!r} takes no {list(prompts)}.")
            return {
                "frames": frames,
                "kind": subtask,
                "categories": categories,
                "thing_flags": thing_flags,
                "batch_size": batch_size,
                **parameters,
            }
        session = self.processor.init_video_session(
            frames, task=subtask, inference_device=self.device, generator=generator, **parameters
        )
        # Checked before a frame is read.
        self.model.config.for_task(subtask, **parameters)
        if categories is not None:
            self.processor.set_categories(session, categories, thing_flags)
        elif thing_flags is not None:
            raise ValueError("`thing_flags` belong to `categories`, which are not given.")
        if "text" in prompts:
            self.processor.add_text_prompt(session, prompts.pop("text"), prompts.pop("obj_ids", None))
        obj_categories = prompts.pop("obj_categories", None)
        if obj_categories is not None:
            if not isinstance(obj_categories, Mapping):
                raise ValueError(
                    f"`obj_categories` must be a mapping of object id to category, got {obj_categories!r}."
                )
            session.set_object_categories(obj_categories)
        for frame_idx, kind, objects in visual_inputs(**prompts):
            session.add_inputs(frame_idx, kind, objects)
        return {"session": session}

    def _forward(self, model_inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "session" in model_inputs:
            return self.model.propagate_in_video_iterator(model_inputs["session"])
        return segment_images(self.model, self.processor, model_inputs.pop("frames"), **model_inputs)

    def postprocess(
        self, model_outputs: Iterable[dict[str, Any]], threshold: float = 0.0, stream: bool = False
    ) -> Iterator[list[dict[str, Any]]] | list[list[dict[str, Any]]]:
        """Segments of each frame, as they become final."""
        frames = (frame_segments(result, threshold) for result in model_outputs)
        return frames if stream else list(frames)

    def _run_batches(
        self, videos: Iterator[Any], batch_size: int, preprocess: dict[str, Any], postprocess: dict[str, Any]
    ) -> Iterator[list[list[dict[str, Any]]]]:
        parameters = {
            name: value
            for name, value in preprocess.items()
            if name not in ("subtask", "timeout", "generator", "thing_flags")
        }
        while batch := list(itertools.islice(videos, batch_size)):
            frames = [_open(video, preprocess.get("timeout")) for video in batch]
            with self.device_placement():
                steps = segment_videos(self.model, self.processor, frames, **parameters)
                steps = [self.postprocess(step, **postprocess) for step in steps]
            yield from (list(results) for results in zip(*steps, strict=True))

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves weights, configuration and processor, and the code of all of them.

        The folder loads as a pipeline, a model or a processor, with the installed package or without it
        (`trust_remote_code=True`).

        Args:
            save_directory: Folder; made if it does not exist.
            **kwargs: For `save_pretrained` of the model and of the processor, such as `push_to_hub`.

        Raises:
            NotADirectoryError: If `save_directory` is a file.
        """
        if os.path.isfile(save_directory):
            raise NotADirectoryError(f"`save_directory` must be a folder, {save_directory} is a file.")
        config = self.model.config
        with _code_is_saved(self.model, config, self.processor, self.processor.image_processor):
            try:
                super().save_pretrained(save_directory, **kwargs)
            finally:
                # Only the copy on disk needs to say where the pipeline's code is.
                vars(config).pop("custom_pipelines", None)
            self.processor.save_pretrained(save_directory, **kwargs)


# What `PIPELINE_REGISTRY.register_pipeline` would note, so that a class from a hub's folder can be saved again.
VideoSegmentationPipeline._registered_impl = {
    PIPELINE_TASK: {"impl": VideoSegmentationPipeline, "pt": (AutoModelForUniversalSegmentation,)}
}


@contextmanager
def _code_is_saved(model: Any, config: Any, processor: Any, image_processor: Any) -> Iterator[None]:
    """Within it, `save_pretrained` copies the code of these objects and notes where their classes are."""
    names = {
        type(model): "AutoModelForUniversalSegmentation",
        type(config): "AutoConfig",
        type(processor): "AutoProcessor",
        type(image_processor): "AutoImageProcessor",
    }
    before = {cls: cls._auto_class for cls in names}
    for cls, name in names.items():
        cls._auto_class = name
    try:
        yield
    finally:
        for cls, name in before.items():
            cls._auto_class = name


# Inputs -------------------------------------------------------------------------------------------------------------


def resolve_subtask(parameters: Mapping[str, Any]) -> str:
    """The task that the arguments ask for; see [`VideoSegmentationPipeline`]."""
    if "subtask" in parameters:
        return parameters["subtask"]
    if any(name in parameters for name in _VISUAL_PROMPTS):
        return "vos"
    return "refvos" if "text" in parameters else "vps"


def _is_array(value: Any, *dimensions: int) -> bool:
    return isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim in dimensions


def _is_frame(value: Any) -> bool:
    return isinstance(value, Image.Image) or _is_array(value, 2, 3)


def _is_video(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike, list, tuple, VideoSource, Iterator)) or _is_array(value, 4)


def _split_inputs(inputs: Any) -> tuple[Iterator[Any], bool, int | None]:
    """The videos of a call, whether they are several, and how many, None if that is not known before they end.

    Raises:
        ValueError: If there is no video or frame.
        TypeError: If something else was given.
    """
    if isinstance(inputs, (str, os.PathLike, VideoSource)) or _is_frame(inputs) or _is_array(inputs, 4):
        return iter([inputs]), False, 1
    if isinstance(inputs, Dataset):
        # One with indices need not be iterable.
        streams = isinstance(inputs, IterableDataset)
        return iter(inputs) if streams else (inputs[index] for index in range(len(inputs))), True, None
    if isinstance(inputs, (list, tuple)) or _is_array(inputs, 5):
        if not len(inputs):
            raise ValueError("`inputs` must hold at least one frame or video, got none.")
        if all(map(_is_frame, inputs)):
            return iter([inputs]), False, 1
        if all(map(_is_video, inputs)):
            return iter(inputs), True, len(inputs)
        kinds = sorted({type(item).__name__ for item in inputs})
        raise TypeError(f"`inputs` must hold frames or videos, and not both, got a list of {kinds}.")
    if isinstance(inputs, Iterator):
        first = next(inputs, None)
        if first is None:
            raise ValueError("`inputs` must yield at least one frame or video, got none.")
        items = itertools.chain([first], inputs)
        if _is_frame(first):
            return iter([items]), False, 1
        if _is_video(first):
            return items, True, None
        raise TypeError(f"`inputs` must yield frames or videos, got {type(first).__name__}.")
    raise TypeError(
        "`inputs` must be a path, a URL, an image, a list or generator of frames, an array, or several of those, got "
        f"{type(inputs).__name__}."
    )


def _per_video(prompts: dict[str, Any], count: int | None) -> Iterator[dict[str, Any]]:
    """Prompts of each of several videos; `count` is None if there is no telling how many."""
    shared = {name: prompts.pop(name) for name in ("text",) if isinstance(prompts.get(name), str)}
    for name, value in prompts.items():
        if not isinstance(value, (list, tuple)) or (count is not None and len(value) != count):
            given = f"{len(value)} entries" if isinstance(value, (list, tuple)) else type(value).__name__
            expected = "video" if count is None else f"video ({count})"
            raise ValueError(f"`{name}` must be a list with one entry per {expected}, got {given}.")

    def of_video(index: int) -> dict[str, Any]:
        for name, value in prompts.items():
            if index >= len(value):
                raise ValueError(f"`{name}` has {len(value)} entries, but there are more videos.")
        own = {name: value[index] for name, value in prompts.items() if value[index] is not None}
        return {**shared, **own}

    return map(of_video, itertools.count())


def _is_url(video: Any) -> bool:
    return isinstance(video, str) and video.startswith(("http://", "https://"))


def _open(video: Any, timeout: float | None) -> Iterable[Any]:
    return _download_frames(video, timeout) if _is_url(video) else frames_of(video, "inputs")


def _download_frames(url: str, timeout: float | None) -> Iterator[Any]:
    """Frames of the video or image behind a URL, by way of a temporary file."""
    with tempfile.TemporaryDirectory() as folder:
        # Some servers turn away the standard library's own name.
        request = urllib.request.Request(url, headers={"User-Agent": "univs-hf"})
        try:
            with urllib.request.urlopen(request, **({} if timeout is None else {"timeout": timeout})) as response:
                # The suffix tells an image from a video.
                suffix = PurePosixPath(urlparse(url).path).suffix
                suffix = suffix or mimetypes.guess_extension(response.headers.get_content_type()) or ""
                path = os.path.join(folder, f"download{suffix}")
                with open(path, "wb") as file:
                    shutil.copyfileobj(response, file, _DOWNLOAD_CHUNK_BYTES)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise ValueError(f"`inputs`: {url} could not be fetched: {error}") from error
        yield from frames_of(path)


def visual_inputs(
    prompt_masks: Any = None,
    boxes: Any = None,
    points: Any = None,
    obj_ids: Sequence[int] | None = None,
    prompt_frame_idx: int | None = None,
) -> list[tuple[int, str, dict[int, Any]]]:
    """Visual prompts of one video as a session takes them, see [`VideoSegmentationPipeline`].

    Returns:
        `(frame number, "mask" | "box" | "point", {object id: value})`, one for each kind and frame.

    Raises:
        ValueError: If shapes or the number of ids do not fit.
    """
    given = [
        (frame_idx, kind, objects)
        for kind, value in (("mask", prompt_masks), ("box", boxes), ("point", points))
        if value is not None
        for frame_idx, objects in (value if isinstance(value, Mapping) else {prompt_frame_idx or 0: value}).items()
    ]
    named = [_objects_with_ids(kind, objects) for _, kind, objects in given]
    taken = {number for objects in named if objects is not None for number in objects}
    # Without ids of their own, prompts get those that are left, in the order masks, boxes, points.
    if obj_ids is None:
        ids = (number for number in itertools.count(1) if number not in taken)
    else:
        ids = iter([int(number) for number in obj_ids])
    prompts = []
    for (frame_idx, kind, objects), with_ids in zip(given, named, strict=True):
        if with_ids is None:
            values = _check_objects(kind, objects)
            with_ids = dict(zip(itertools.islice(ids, len(values)), values, strict=False))
            if len(with_ids) < len(values):
                raise ValueError(f"`obj_ids` must have one id per prompt, each once, got only {list(obj_ids)}.")
        prompts.append((int(frame_idx), kind, with_ids))
    if obj_ids is not None and next(ids, None) is not None:
        raise ValueError(f"`obj_ids` {list(obj_ids)} has more ids than there are prompts without one.")
    return prompts


def _objects_with_ids(kind: str, objects: Any) -> dict[int, Any] | None:
    """Objects of a frame that say their ids: a mapping, or a map (H, W) of ids. None if they do not."""
    if isinstance(objects, Mapping):
        return {number: _to_numpy(value) for number, value in objects.items()}
    array = _to_numpy(objects)
    return label_map_to_masks(array) if kind == "mask" and array.ndim == 2 else None


def _check_objects(kind: str, objects: Any) -> np.ndarray:
    """Masks (N, H, W), boxes (N, 4) or points (N, 2)."""
    array = _to_numpy(objects)
    if kind == "mask":
        if array.ndim != 3:
            raise ValueError(
                f"`prompt_masks` must be a map (H, W) of ids or masks (N, H, W), got shape {array.shape}."
            )
        return array > 0
    name, width = {"box": ("boxes", 4), "point": ("points", 2)}[kind]
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iuf":
        raise ValueError(f"`{name}` must be numbers of shape (N, {width}), got {objects!r}.")
    return array


def _to_numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


# Outputs ------------------------------------------------------------------------------------------------------------


def frame_segments(result: Mapping[str, Any], threshold: float = 0.0) -> list[dict[str, Any]]:
    """Segments of a frame as image segmentation pipelines give them; those without a pixel are left out."""
    segments = []
    for index, info in enumerate(result["segments_info"]):
        if info["score"] is not None and info["score"] < threshold:
            continue
        mask = result["masks"][index] if "masks" in result else result["segmentation"] == info["id"]
        if not mask.any():
            continue
        image = Image.fromarray(mask.numpy().astype(np.uint8) * 255)
        segments.append({"id": info["id"], "label": info["label"], "score": info["score"], "mask": image})
    return segments


__all__ = ["PIPELINE_TASK", "SUBTASKS", "VideoSegmentationPipeline"]
