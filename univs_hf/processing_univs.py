# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Processor of UniVS: frames, visual prompts, expressions and category names to model input, in one call.

Shapes: B videos, T frames, N prompts of one kind, P text templates, L tokens, K categories, (H, W) original frame
size, (Hp, Wp) padded model size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import logging

from .image_processing_univs import UniVSProcessedFrame, split_videos
from .label_sets import LabelSet, available_label_sets, is_label_set, load_label_set
from .packaged_checkpoints import PackagedCheckpointMixin
from .rle import encode_mask
from .text_prompts import (
    DEFAULT_MAX_LENGTH,
    clean_category_name,
    clean_expression,
    default_text_templates,
    tokenize_templates,
)

if TYPE_CHECKING:
    from .inference_univs import UniVSInferenceSession

logger = logging.get_logger(__name__)

# transformers gives tokenizers without a length limit a very large one.
_UNLIMITED_LENGTH = 10**6
# A point that the model's test for validity (0 <= x, y <= 1) rejects: stands where a video has fewer points.
_ABSENT_POINT = -1.0


@dataclass
class _VisualPrompts:
    """Checked visual prompts of one video, in the order masks, boxes, points.

    masks bool (Nm, H, W); boxes float64 (Nb, 4) and points float64 (Np, 2) in pixels of the original frame.
    """

    masks: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    obj_ids: list[int]
    frame_idx: list[int]

    def __len__(self) -> int:
        return len(self.masks) + len(self.boxes) + len(self.points)


class UniVSProcessor(PackagedCheckpointMixin, ProcessorMixin):
    r"""Turns frames and prompts into the input of [`UniVSForVideoSegmentation`], and its output into masks.

    Args:
        image_processor: A [`UniVSImageProcessor`].
        tokenizer: Tokenizer of the text tower, with start, end and padding token.
        text_templates: Sentences with one `{}` each that a text is put into; the first gives the word features.
            Defaults to the 81 of the published models. They are saved with the processor.

    Example:
        >>> inputs = processor(videos=frames, boxes=[[10, 20, 200, 180]], text="a dog running", return_tensors="pt")
        >>> outputs = model(**inputs)
        >>> masks = processor.post_process_masks(
        ...     outputs.masks_queries_logits, inputs["original_sizes"], inputs["resized_sizes"]
        ... )
    """

    def __init__(self, image_processor: Any, tokenizer: Any, text_templates: Sequence[str] | None = None) -> None:
        super().__init__(image_processor, tokenizer)
        self.text_templates = list(default_text_templates() if text_templates is None else text_templates)

    @property
    def max_text_length(self) -> int:
        """L: the tokenizer's length limit, or CLIP's 77 if it has none."""
        limit = self.tokenizer.model_max_length
        return limit if limit is not None and limit < _UNLIMITED_LENGTH else DEFAULT_MAX_LENGTH

    @property
    def model_input_names(self) -> list[str]:
        """Names of everything a call can return."""
        return [
            *self.image_processor.model_input_names,
            "original_sizes",
            "resized_sizes",
            "frame_idx",
            "prompt_masks",
            "prompt_boxes",
            "prompt_points",
            "prompt_frame_idx",
            "prompt_obj_ids",
            "input_ids",
            "expression_attention_mask",
            "category_input_ids",
        ]

    def __call__(
        self,
        videos: Any = None,
        prompt_masks: Any = None,
        boxes: Any = None,
        points: Any = None,
        text: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        categories: str | LabelSet | Sequence[str] | None = None,
        obj_ids: Any = None,
        prompt_frame_idx: Any = None,
        frame_idx: Any = None,
        clean_text: bool = True,
        return_tensors: str | None = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepares one clip per video with its prompts.

        For a batch, `prompt_masks`, `boxes`, `points`, `obj_ids` and `text` are lists with one entry per video, None
        where a video has none.

        Args:
            videos: One video or a batch, see [`UniVSImageProcessor`]. A list of frames is one video. May be None if
                only text or categories are wanted.
            prompt_masks: Per video, in the original frame size: a label map (H, W), where each non-zero value is an
                object id (a bool map is object 1), or a stack (N, H, W) of 0/1 (or 0/255) masks.
            boxes: Per video (N, 4): x1, y1, x2, y2 in pixels of the original frame. Clipped to the frame.
            points: Per video (N, 2): x, y in pixels of the original frame, one point per object.
            text: Expressions: one, or a list for one video; for a batch one entry (string or list) per video, or one
                string for all.
            categories: Names shared by the batch: a list of names, or the name of a label set (`"vspw"`).
            obj_ids: Per video, ids greater than 0 of the objects in the order masks, boxes, points. With a label map
                its ids are the values of the map to use. Default: the values of the map, and for the rest the
                smallest ids that are free.
            prompt_frame_idx: Frame that each visual prompt lies on, counted inside the given frames from 0: one
                number for all, or per video one number or a list in the order masks, boxes, points.
            frame_idx: Numbers of the given frames in the whole video, (T,) or (B, T); the model's default is 0..T-1.
            clean_text: Clean expressions as the training data was cleaned (lower case, no digits, no punctuation).
                Category names are cleaned always.
            return_tensors: `"pt"` or `"np"`.
            **kwargs: Settings of the image processor for this call, such as `size` or `do_resize`.

        Returns:
            BatchFeature with, as far as given (float32, int64):
                pixel_values_videos (B, T, 3, Hp, Wp), pixel_mask (B, Hp, Wp), original_sizes and resized_sizes (B, 2);
                prompt_masks (B, N, Hp, Wp), prompt_boxes (B, N, 4) and prompt_points (B, N, 2) as shares of the padded
                size, prompt_frame_idx and prompt_obj_ids (B, N of all kinds; id 0 fills up a video that has fewer);
                input_ids (B, N, P, L) and expression_attention_mask (B, N); category_input_ids (K, P, L); frame_idx.

        Raises:
            ValueError: Nothing to process, or input that cannot be meant; the message says what is accepted.
            TypeError: An argument of another kind than those listed.
        """
        has_visual_prompts = any(value is not None for value in (prompt_masks, boxes, points))
        if videos is None and (has_visual_prompts or frame_idx is not None):
            raise ValueError("`prompt_masks`, `boxes`, `points` and `frame_idx` need the frames: give `videos`.")
        if videos is None and text is None and categories is None:
            raise ValueError("Nothing to process: give at least one of `videos`, `text` and `categories`.")
        for name, value in (("obj_ids", obj_ids), ("prompt_frame_idx", prompt_frame_idx)):
            if value is not None and not has_visual_prompts:
                raise ValueError(f"`{name}` belongs to visual prompts: give `prompt_masks`, `boxes` or `points`.")

        frames, is_batch = split_videos(videos) if videos is not None else ([[]], False)
        # Texts are checked before the frames are touched, which takes longer.
        data: dict[str, Any] = {}
        if text is not None:
            data.update(self._expression_inputs(text, len(frames), is_batch, clean_text))
        if categories is not None:
            data["category_input_ids"] = self._tokenize(self.category_texts(categories))
        if videos is not None:
            images = self.image_processor(frames, return_tensors="pt", **kwargs)
            if has_visual_prompts:
                arguments = {
                    "prompt_masks": prompt_masks,
                    "boxes": boxes,
                    "points": points,
                    "obj_ids": obj_ids,
                    "prompt_frame_idx": prompt_frame_idx,
                }
                data = {**self._visual_prompt_inputs(arguments, images, is_batch), **data}
            if frame_idx is not None:
                data["frame_idx"] = _frame_numbers(frame_idx, images["pixel_values_videos"].shape[:2])
            data = {**images, **data}
        elif kwargs:
            raise ValueError(f"{sorted(kwargs)} are settings for frames: give `videos`.")
        return BatchFeature(data, tensor_type=return_tensors)

    # --- frames

    def preprocess_frame(self, frame: Any) -> UniVSProcessedFrame:
        """One frame of a stream; see [`UniVSImageProcessor.preprocess_frame`]."""
        return self.image_processor.preprocess_frame(frame)

    # --- visual prompts

    def _visual_prompt_inputs(
        self, arguments: dict[str, Any], images: BatchFeature, is_batch: bool
    ) -> dict[str, torch.Tensor]:
        num_videos, num_frames = images["pixel_values_videos"].shape[:2]
        padded_size = tuple(images["pixel_values_videos"].shape[-2:])
        per_video = {name: _per_video(name, value, num_videos, is_batch) for name, value in arguments.items()}
        original_sizes = [tuple(size) for size in images["original_sizes"].tolist()]
        resized_sizes = [tuple(size) for size in images["resized_sizes"].tolist()]
        videos = [
            _check_visual_prompts(
                {name: values[index] for name, values in per_video.items()}, original_sizes[index], num_frames, index
            )
            for index in range(num_videos)
        ]
        if not any(len(prompts) for prompts in videos):
            raise ValueError("`prompt_masks`, `boxes` and `points` hold no prompt at all.")

        counts = {
            kind: max(len(getattr(prompts, kind)) for prompts in videos) for kind in ("masks", "boxes", "points")
        }
        tensors = {
            "masks": torch.zeros(num_videos, counts["masks"], *padded_size),
            "boxes": torch.zeros(num_videos, counts["boxes"], 4),
            "points": torch.full((num_videos, counts["points"], 2), _ABSENT_POINT),
        }
        obj_ids = torch.zeros(num_videos, sum(counts.values()), dtype=torch.int64)
        frame_idx = torch.zeros_like(obj_ids)
        for index, (prompts, original, resized) in enumerate(zip(videos, original_sizes, resized_sizes, strict=True)):
            masks = self.image_processor.resize_masks(prompts.masks, resized, padded_size)
            vanished = [prompts.obj_ids[n] for n in (~masks.flatten(1).any(dim=1)).nonzero().flatten().tolist()]
            if vanished:
                logger.warning(
                    f"The masks of objects {vanished} of video {index} are so small that nothing is left of them "
                    f"at the model's frame size {resized}: these objects will not be found."
                )
            # Pixels of the original frame -> shares of the padded size.
            scale = np.array([resized[1] / original[1] / padded_size[1], resized[0] / original[0] / padded_size[0]])
            values = {"masks": masks, "boxes": prompts.boxes * np.tile(scale, 2), "points": prompts.points * scale}
            given = start = 0
            for kind, tensor in tensors.items():
                count = len(values[kind])
                tensor[index, :count] = torch.as_tensor(values[kind], dtype=torch.float32)
                obj_ids[index, start : start + count] = torch.tensor(prompts.obj_ids[given : given + count])
                frame_idx[index, start : start + count] = torch.tensor(prompts.frame_idx[given : given + count])
                given, start = given + count, start + counts[kind]
        data = {f"prompt_{kind}": tensor for kind, tensor in tensors.items() if counts[kind]}
        return {**data, "prompt_frame_idx": frame_idx, "prompt_obj_ids": obj_ids}

    # --- text

    def _tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        return tokenize_templates(self.tokenizer, texts, self.text_templates, self.max_text_length)

    def _expression_inputs(
        self, text: Any, num_videos: int, is_batch: bool, clean_text: bool
    ) -> dict[str, torch.Tensor]:
        videos = [text] * num_videos if isinstance(text, str) else _per_video("text", text, num_videos, is_batch)
        expressions = [_check_expressions(video, index, clean_text) for index, video in enumerate(videos)]
        count = max(len(video) for video in expressions)
        if not count:
            raise ValueError("`text` must hold at least one expression, got none.")
        tokens = self._tokenize([expression for video in expressions for expression in video])
        input_ids = tokens.new_full((num_videos, count, *tokens.shape[1:]), self.tokenizer.pad_token_id)
        attention_mask = tokens.new_zeros(num_videos, count)
        start = 0
        for index, video in enumerate(expressions):
            input_ids[index, : len(video)] = tokens[start : start + len(video)]
            attention_mask[index, : len(video)] = 1
            start += len(video)
        return {"input_ids": input_ids, "expression_attention_mask": attention_mask}

    def category_texts(self, categories: str | LabelSet | Iterable[str]) -> list[str]:
        """Cleaned category names, as the text tower is given them.

        Args:
            categories: A list of names, a [`LabelSet`], or the name of a label set.

        Raises:
            ValueError: If there is no name, a name is empty, or a string names no label set.
            TypeError: If a name is not a string.
        """
        if isinstance(categories, str):
            if not is_label_set(categories):
                raise ValueError(
                    f"`categories` must be a list of names or the name of a label set, got the string {categories!r}. "
                    f"Label sets are {available_label_sets(include_aliases=True)}; for one category give "
                    f"[{categories!r}]."
                )
            categories = load_label_set(categories)
        names = categories.texts if isinstance(categories, LabelSet) else list(categories)
        if not names:
            raise ValueError("`categories` must hold at least one name, got none.")
        cleaned = []
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"Each of `categories` must be a string, got {name!r} ({type(name).__name__}).")
            cleaned.append(clean_category_name(name))
            if not cleaned[-1].strip():
                raise ValueError(
                    f"Each of `categories` must hold letters (digits and punctuation are dropped), got {name!r}."
                )
        return cleaned

    # --- output

    # --- sessions

    def init_video_session(
        self,
        video: Any = None,
        task: str = "vos",
        inference_device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        **settings: Any,
    ) -> UniVSInferenceSession:
        """Begins the inference on one video.

        Args:
            video: A path, a frame or list of frames, an array (T, H, W, C), any iterable of frames; or None for a
                live stream, whose frames are given one by one.
            task: `"vis"`, `"vss"`, `"vps"`, `"vos"`, `"pvos"` or `"refvos"`.
            inference_device: Where the state of the video is kept; by default where the model is.
            generator: Draws the pixels of visual prompts at random, as the original does; deterministic without.
            **settings: Fields of [`UniVSConfig`] that win over the settings of the task.

        Example:
            >>> session = processor.init_video_session("judo.mp4", task="vos")
            >>> processor.add_inputs_to_inference_session(session, 0, obj_ids=[1], input_boxes=[[20, 10, 200, 180]])
            >>> for result in model.propagate_in_video_iterator(session):
            ...     print(result["frame_idx"], result["segments_info"])
        """
        # The session decodes files; a processor that only prepares tensors does not need what that takes.
        from .inference_univs import UniVSInferenceSession

        return UniVSInferenceSession(self, task, video, inference_device, generator, **settings)

    def add_inputs_to_inference_session(
        self,
        inference_session: UniVSInferenceSession,
        frame_idx: int,
        obj_ids: int | Sequence[int],
        input_masks: Any = None,
        input_boxes: Any = None,
        input_points: Any = None,
        obj_categories: Sequence[str | int] | None = None,
    ) -> None:
        """Gives masks, boxes or points of objects on one frame, before the video runs or while it does.

        Args:
            inference_session: The session.
            frame_idx: Number of the frame in the video, from 0.
            obj_ids: One id per object, from 1. A new id is a new object, a known one a correction.
            input_masks: (N, H, W) masks, or (H, W) for one object, in the size of the original frames.
            input_boxes: (N, 4) x1, y1, x2, y2 in pixels of the original frames.
            input_points: (N, 2) x, y in pixels of the original frames, one point per object.
            obj_categories: For `"pvos"`: what each object is, by name or index among the session's categories; stuff
                needs it.

        Raises:
            ValueError: If not exactly one kind is given, or it does not fit the ids, the frames or the task.
        """
        given = {"mask": input_masks, "box": input_boxes, "point": input_points}
        given = {kind: value for kind, value in given.items() if value is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of `input_masks`, `input_boxes` and `input_points` must be given.")
        ((kind, value),) = given.items()
        ids = np.atleast_1d(_to_numpy(obj_ids)).tolist()
        value = [_to_numpy(entry) for entry in value] if isinstance(value, (list, tuple)) else _to_numpy(value)
        try:
            values = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"`input_{kind}s` must have entries of one shape: {error}") from error
        if kind == "mask" and values.ndim == 2 or kind != "mask" and values.ndim == 1:
            values = values[None]
        shape = {"mask": "(objects, height, width)", "box": "(objects, 4)", "point": "(objects, 2)"}[kind]
        last = {"mask": None, "box": 4, "point": 2}[kind]
        expected_ndim = 3 if kind == "mask" else 2
        if values.ndim != expected_ndim or (last is not None and values.shape[-1] != last):
            raise ValueError(f"`input_{kind}s` must be of shape {shape}, got {values.shape}.")
        if values.dtype.kind not in ("biuf" if kind == "mask" else "iuf"):
            raise ValueError(f"`input_{kind}s` must hold numbers, got {value!r}.")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"`input_{kind}s` must hold finite numbers.")
        if len(ids) != len(values) or len(set(ids)) != len(ids):
            raise ValueError(f"`obj_ids` must hold one id for each of {len(values)} objects, each once, got {ids}.")
        if obj_categories is not None:
            if len(obj_categories) != len(ids):
                raise ValueError(f"`obj_categories` must hold one category for each of {len(ids)} objects.")
            inference_session.set_object_categories(dict(zip(ids, obj_categories, strict=True)))
        inference_session.add_inputs(frame_idx, kind, dict(zip(ids, values, strict=True)))

    def add_text_prompt(
        self,
        inference_session: UniVSInferenceSession,
        text: str | Sequence[str],
        obj_ids: Sequence[int] | None = None,
    ) -> list[int]:
        """Gives expressions to look for, all decoded in one pass; returns their object ids."""
        return inference_session.add_expressions([text] if isinstance(text, str) else text, obj_ids)

    def set_categories(
        self,
        inference_session: UniVSInferenceSession,
        categories: str | LabelSet | Sequence[str],
        thing_flags: Sequence[bool] | None = None,
    ) -> None:
        """Says which categories to look for: any names (open vocabulary) or the name of a label set.

        Args:
            inference_session: The session.
            categories: Names, the name of a label set, or a label set.
            thing_flags: Per category, whether it is a thing rather than stuff; by default what the label set says, or
                things.
        """
        inference_session.set_categories(categories, thing_flags)

    def post_process_video(self, results: Iterable[dict[str, Any]], rle: bool = False) -> Iterator[dict[str, Any]]:
        """Results of a session with one mask per segment, whatever the task.

        Args:
            results: What `propagate_in_video_iterator` yields; taken one by one.
            rle: Give COCO run lengths (`{"size": [H, W], "counts": str}`) instead of bool arrays (H, W).

        Yields:
            `{"frame_idx", "masks", "segments_info"}`, the masks in the order of the segments.
        """
        for result in results:
            segments = result["segments_info"]
            if "masks" in result:
                masks = [np.asarray(mask) for mask in result["masks"]]
            else:
                segmentation = np.asarray(result["segmentation"])
                masks = [segmentation == segment["id"] for segment in segments]
            encoded = [encode_mask(mask) for mask in masks] if rle else masks
            yield {"frame_idx": result["frame_idx"], "masks": encoded, "segments_info": segments}

    def post_process_masks(
        self, masks_queries_logits: torch.Tensor, original_sizes: Any, resized_sizes: Any, mask_threshold: float = 0.0
    ) -> list[torch.Tensor]:
        """Masks in the original frame size; see [`UniVSImageProcessor.post_process_masks`]."""
        return self.image_processor.post_process_masks(
            masks_queries_logits, original_sizes, resized_sizes, mask_threshold=mask_threshold
        )

    def post_process_semantic_segmentation(
        self, outputs: Any, original_sizes: Any, resized_sizes: Any, **kwargs: Any
    ) -> list[torch.Tensor]:
        """Label maps of one clip; see [`UniVSImageProcessor.post_process_semantic_segmentation`]."""
        return self.image_processor.post_process_semantic_segmentation(
            outputs, original_sizes, resized_sizes, **kwargs
        )

    def post_process_image_semantic_segmentation(
        self, outputs: Any, original_sizes: Any, resized_sizes: Any, **kwargs: Any
    ) -> list[torch.Tensor]:
        """Label maps of images; see [`UniVSImageProcessor.post_process_image_semantic_segmentation`]."""
        return self.image_processor.post_process_image_semantic_segmentation(
            outputs, original_sizes, resized_sizes, **kwargs
        )

    def post_process_image_panoptic_segmentation(
        self, outputs: Any, original_sizes: Any, resized_sizes: Any, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Segments of images; see [`UniVSImageProcessor.post_process_image_panoptic_segmentation`]."""
        return self.image_processor.post_process_image_panoptic_segmentation(
            outputs, original_sizes, resized_sizes, **kwargs
        )

    def post_process_image_instance_segmentation(
        self, outputs: Any, original_sizes: Any, resized_sizes: Any, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Instances in images; see [`UniVSImageProcessor.post_process_image_instance_segmentation`]."""
        return self.image_processor.post_process_image_instance_segmentation(
            outputs, original_sizes, resized_sizes, **kwargs
        )


def _per_video(name: str, value: Any, num_videos: int, is_batch: bool) -> list[Any]:
    """One entry per video."""
    if value is None:
        return [None] * num_videos
    if not is_batch:
        return [value]
    # One frame number may hold for the whole batch.
    if name == "prompt_frame_idx" and isinstance(value, int | np.integer):
        return [value] * num_videos
    is_array = isinstance(value, np.ndarray | torch.Tensor) and value.ndim > 0
    if not (isinstance(value, list | tuple) or is_array) or len(value) != num_videos:
        given = f"{len(value)} entries" if hasattr(value, "__len__") else type(value).__name__
        raise ValueError(f"`{name}` must have one entry per video of the batch ({num_videos}), got {given}.")
    return list(value)


def _to_numpy(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def _check_visual_prompts(
    prompts: dict[str, Any], frame_size: tuple[int, int], num_frames: int, video: int
) -> _VisualPrompts:
    """Checks the prompts of one video against its frames."""
    boxes = _check_boxes(prompts["boxes"], frame_size, video)
    points = _check_points(prompts["points"], frame_size, video)
    obj_ids = None if prompts["obj_ids"] is None else _check_integers("obj_ids", prompts["obj_ids"], video)
    if obj_ids is not None:
        if any(obj_id < 1 for obj_id in obj_ids):
            raise ValueError(f"`obj_ids` must be greater than 0 (0 is the background), video {video} has {obj_ids}.")
        if len(set(obj_ids)) < len(obj_ids):
            raise ValueError(
                f"`obj_ids` must differ from one another (one prompt per object), video {video} has {obj_ids}."
            )
    num_mask_ids = None if obj_ids is None else len(obj_ids) - len(boxes) - len(points)
    wanted = None if obj_ids is None else obj_ids[: max(num_mask_ids, 0)]
    masks, map_ids = _check_masks(prompts["prompt_masks"], frame_size, wanted, video)
    total = len(masks) + len(boxes) + len(points)
    if obj_ids is None:
        free = (obj_id for obj_id in range(1, total + len(map_ids) + 1) if obj_id not in set(map_ids))
        obj_ids = map_ids + [next(free) for _ in range(total - len(map_ids))]
    elif len(obj_ids) != total:
        raise ValueError(
            f"`obj_ids` must have one id per prompt, but video {video} has {len(obj_ids)} ids for {len(masks)} masks, "
            f"{len(boxes)} boxes and {len(points)} points."
        )
    return _VisualPrompts(
        masks, boxes, points, obj_ids, _check_frame_idx(prompts["prompt_frame_idx"], total, num_frames, video)
    )


def _check_integers(name: str, value: Any, video: int) -> list[int]:
    numbers = np.atleast_1d(_to_numpy(value))
    if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
        raise ValueError(f"`{name}` must be a list of whole numbers per video, video {video} has {value!r}.")
    return [int(number) for number in numbers]


def _check_frame_idx(value: Any, num_prompts: int, num_frames: int, video: int) -> list[int]:
    """Frame of each prompt, inside the clip."""
    numbers = [0] if value is None else _check_integers("prompt_frame_idx", value, video)
    if value is None or np.ndim(_to_numpy(value)) == 0:
        numbers = numbers * num_prompts
    if len(numbers) != num_prompts:
        raise ValueError(
            f"`prompt_frame_idx` must be one number, or one per prompt ({num_prompts}), video {video} has {numbers}."
        )
    if any(not 0 <= number < num_frames for number in numbers):
        raise ValueError(
            f"`prompt_frame_idx` must lie in 0..{num_frames - 1} (positions in the given frames), video {video} has "
            f"{numbers}."
        )
    return numbers


def _check_masks(
    value: Any, frame_size: tuple[int, int], wanted_ids: list[int] | None, video: int
) -> tuple[np.ndarray, list[int]]:
    """Masks bool (N, H, W) of one video, and the object ids if they came from a label map."""
    no_ids: list[int] = []
    if value is None or (isinstance(value, list | tuple) and not value):
        return np.zeros((0, *frame_size), dtype=bool), no_ids
    name = f"`prompt_masks` of video {video}"
    if isinstance(value, list | tuple):
        arrays = [_to_numpy(item) for item in value]
        shapes = sorted({array.shape for array in arrays})
        if len(shapes) > 1:
            raise ValueError(f"{name} must have one size, got shapes {shapes}.")
        array = np.stack(arrays)
    else:
        array = _to_numpy(value)
    if isinstance(value, PIL.Image.Image) and array.ndim != 2:
        raise ValueError(
            f"{name} is a PIL image of mode {value.mode!r}; accepted is a label map (palette or grey), whose pixel "
            "values are object ids."
        )
    if array.ndim not in (2, 3) or array.shape[-2:] != tuple(frame_size):
        raise ValueError(
            f"{name} must be a label map (H, W) or a stack (N, H, W) in the size of the frames "
            f"{tuple(frame_size)}, got shape {array.shape}."
        )
    if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{name} must be bool, integer or float, got {array.dtype}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or infinite values.")
    if array.ndim == 2:
        return _split_label_map(array, wanted_ids, name)
    if np.issubdtype(array.dtype, np.floating):
        if array.size and (array.min() < 0 or array.max() > 1):
            raise ValueError(f"{name}: float masks must lie in [0, 1], got {array.min():g} to {array.max():g}.")
        array = array > 0.5
    elif array.dtype != bool and not set(np.unique(array).tolist()) <= {0, 1, 255}:
        raise ValueError(
            f"{name}: a stack holds one mask of 0 and 1 (or 255) per object, got values "
            f"{np.unique(array)[:10].tolist()}. A label map of one frame has shape (H, W)."
        )
    masks = array.astype(bool)
    empty = (~masks.reshape(len(masks), -1).any(axis=1)).nonzero()[0].tolist()
    if empty:
        raise ValueError(f"{name} must hold at least one pixel per object, but masks {empty} are empty.")
    return masks, no_ids


def _split_label_map(array: np.ndarray, wanted_ids: list[int] | None, name: str) -> tuple[np.ndarray, list[int]]:
    """One mask per object of a label map (H, W), and their ids unless a binary map leaves the id open."""
    values = np.unique(array)
    if array.dtype.kind == "f" and (values != np.round(values)).any():
        raise ValueError(f"{name}: a label map holds whole numbers (object ids), got {array.dtype} with fractions.")
    if values[0] < 0:
        raise ValueError(f"{name}: object ids of a label map must not be negative, got {values[0]}.")
    present = [int(value) for value in values if value]
    if not present:
        raise ValueError(f"{name} is empty: a label map must hold at least one value other than 0.")
    if wanted_ids is not None and len(wanted_ids) == 1 and present in ([1], [255]):
        # The mask of one object: whoever names its id means that one, whatever value the pixels have.
        return (array != 0)[None], []
    ids = present if wanted_ids is None else wanted_ids
    absent = sorted(set(ids) - set(present))
    if absent:
        raise ValueError(f"{name} has no pixel of `obj_ids` {absent}; its label map holds {present}.")
    return (array[None] == np.array(ids)[:, None, None]).reshape(len(ids), *array.shape), list(ids)


def _check_coordinates(name: str, value: Any, width: int, video: int) -> np.ndarray:
    """Coordinates float64 (N, width) of one video; a single prompt may come without its list."""
    if value is None:
        return np.zeros((0, width))
    try:
        array = _to_numpy(value).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` of video {video} must be numbers of shape (N, {width}), got {value!r}.") from error
    if array.size == 0:
        return np.zeros((0, width))
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"`{name}` of video {video} must have shape (N, {width}), got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` of video {video} must be finite, got {array.tolist()}.")
    return array


def _check_boxes(value: Any, frame_size: tuple[int, int], video: int) -> np.ndarray:
    boxes = _check_coordinates("boxes", value, 4, video)
    height, width = frame_size
    for box in boxes:
        x1, y1, x2, y2 = box
        if x2 <= x1 or y2 <= y1:
            raise ValueError(
                f"`boxes` must be (x1, y1, x2, y2) with x1 < x2 and y1 < y2, video {video} has {box.tolist()}."
            )
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise ValueError(
                f"`boxes` must overlap the frame, which is {width} wide and {height} high, video {video} has "
                f"{box.tolist()}."
            )
    return boxes.clip(0, [width, height, width, height])


def _check_points(value: Any, frame_size: tuple[int, int], video: int) -> np.ndarray:
    points = _check_coordinates("points", value, 2, video)
    height, width = frame_size
    for point in points:
        if not (0 <= point[0] < width and 0 <= point[1] < height):
            raise ValueError(
                f"`points` must be (x, y) inside the frame, which is {width} wide and {height} high, video {video} "
                f"has {point.tolist()}."
            )
    return points


def _check_expressions(text: Any, video: int, clean: bool) -> list[str]:
    """Expressions of one video, cleaned if wanted."""
    if text is None:
        return []
    if not isinstance(text, str | list | tuple):
        raise TypeError(f"`text` must be a string or a list of strings, video {video} has {type(text).__name__}.")
    expressions = []
    for expression in [text] if isinstance(text, str) else text:
        if not isinstance(expression, str):
            raise TypeError(
                f"Each expression of `text` must be a string, video {video} has {type(expression).__name__}."
            )
        expressions.append(clean_expression(expression) if clean else expression)
        if not expressions[-1].strip():
            reason = " (after cleaning: digits and punctuation are dropped)" if expression.strip() else ""
            raise ValueError(f"`text` must not be empty{reason}, video {video} has {expression!r}.")
    return expressions


def _frame_numbers(value: Any, shape: tuple[int, int]) -> torch.Tensor:
    """Absolute frame numbers int64 (B, T)."""
    numbers = _to_numpy(value)
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.shape not in (tuple(shape), tuple(shape[1:])):
        raise ValueError(
            f"`frame_idx` must be whole numbers of shape ({shape[1]},) or {tuple(shape)}, got {numbers.dtype} of "
            f"shape {numbers.shape}."
        )
    if (numbers < 0).any():
        raise ValueError(f"`frame_idx` must not be negative, got {numbers.tolist()}.")
    return torch.as_tensor(numbers, dtype=torch.int64).expand(*shape).clone()
