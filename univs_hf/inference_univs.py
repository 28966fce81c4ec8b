# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Inference on videos: sessions, and the propagation of a whole video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .clip_engine_univs import ClipEngine, FrameGeometry, check_task
from .configuration_univs import UniVSConfig
from .label_sets import COMBINED_TABLE_ROWS, load_label_set

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation
    from .processing_univs import UniVSProcessor


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


@torch.no_grad()
def embed_categories(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, categories: str | Sequence[str] | None = None
) -> tuple[torch.Tensor, list[str]]:
    """Text embeddings and names of categories.

    Args:
        model ([`UniVSForVideoSegmentation`]): Its text tower embeds the names; a label set of the published table is
            read from the model's own table where it has one.
        processor ([`UniVSProcessor`]): Tokenises the names.
        categories (`str` or sequence of `str`, *optional*): Name of a label set, or any names (open vocabulary). By
            default all categories of the model's own table.

    Returns:
        (K, D) embeddings on the model's device, and K names.

    Raises:
        ValueError: If there are no categories, or the name of a label set is unknown.
    """
    table = model.category_embeddings
    if categories is None:
        if table is None:
            raise ValueError("`categories` must be given: the model carries no categories of its own.")
        return table, [str(model.config.id2label.get(index, index)) for index in range(len(table))]
    if isinstance(categories, str):
        label_set = load_label_set(categories)
        if table is not None and len(table) == COMBINED_TABLE_ROWS:
            return table[slice(*label_set.rows)], label_set.labels
        texts, names = label_set.texts, label_set.labels
    else:
        texts = names = list(categories)
    input_ids = processor(categories=texts, return_tensors="pt")["category_input_ids"]
    return model.encode_text(input_ids.to(model.device))[1], names


def propagate(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    frames: Iterable[Any],
    task: str,
    prompts: Mapping[int, np.ndarray | Mapping[int, np.ndarray]] | None = None,
    categories: str | Sequence[str] | None = None,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Segments a stream of frames and yields the result of each frame as soon as it is final.

    Args:
        model ([`UniVSForVideoSegmentation`]): The model, in evaluation mode.
        processor ([`UniVSProcessor`]): The processor that belongs to it.
        frames (iterable of frames): Anything that yields single frames that the processor accepts, such as an
            [`~video_io.VideoSource`]; it is read once and no further ahead than a clip.
        task (`str`): `"vss"` or `"vos"`.
        prompts (mapping of `int` to label map or masks, *optional*): For `"vos"`: frame number to a map (H, W) of
            object ids (0 is background), or to a mapping of object id to mask (H, W).
        categories (`str` or sequence of `str`, *optional*): For `"vss"`: see [`embed_categories`].
        generator (`torch.Generator`, *optional*): See [`ClipEngine`].
        **settings: Fields of [`UniVSConfig`] that win over the published settings of the task.

    Yields:
        `dict`: See [`ClipEngine`].

    Raises:
        ValueError: If the task is unknown, or frames or prompts do not fit it or one another.

    Example:

        >>> with open_video("judo.mp4") as video:
        ...     for result in propagate(model, processor, video, task="vos", prompts={0: first_mask}):
        ...         print(result["frame_idx"], [segment["id"] for segment in result["segments_info"]])
    """
    check_task(task)
    if task == "vos" and not prompts:
        raise ValueError("Task 'vos' needs `prompts`: a mask of at least one object on at least one frame.")
    if task != "vos" and prompts:
        raise ValueError(f"Task {task!r} takes no `prompts`.")
    if task != "vss" and categories is not None:
        raise ValueError(f"Task {task!r} takes no `categories`.")
    masks = {
        frame_idx: value if isinstance(value, Mapping) else label_map_to_masks(value)
        for frame_idx, value in sorted((prompts or {}).items())
    }
    if masks and min(masks) < 0:
        raise ValueError(f"Frame numbers of `prompts` count from 0, got {min(masks)}.")
    config = model.config.for_task(task, **settings)
    return _propagate(model, processor, frames, task, config, masks, categories, generator)


def _propagate(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    frames: Iterable[Any],
    task: str,
    config: UniVSConfig,
    masks: Mapping[int, Mapping[int, np.ndarray]],
    categories: str | Sequence[str] | None,
    generator: torch.Generator | None,
) -> Iterator[dict[str, Any]]:
    session = None
    for frame in frames:
        processed = processor.image_processor.preprocess_frame(frame)
        pixel_values = processed.pixel_values[0, 0]
        if session is None:
            geometry = FrameGeometry(processed.original_size, processed.resized_size, tuple(pixel_values.shape[1:]))
            embeddings, names = embed_categories(model, processor, categories) if task == "vss" else (None, None)
            session = ClipEngine(
                config, task, geometry, processor.image_processor, model.device, embeddings, names, generator
            )
            # All objects are announced first, those of later frames too (see `add_object_masks`).
            for frame_idx, frame_masks in masks.items():
                session.add_object_masks(frame_idx, frame_masks)
        elif processed.original_size != session.geometry.original_size:
            raise ValueError(
                f"Frame {session.num_frames} has size {processed.original_size}, those before it "
                f"{session.geometry.original_size}. All frames of a video must have one size."
            )
        yield from session.step(model, pixel_values)
    if session is None:
        raise ValueError("`frames` holds no frame.")
    num_frames = session.num_frames
    yield from session.finish(model)
    if masks and max(masks) >= num_frames:
        raise ValueError(f"`prompts` names frame {max(masks)}, but the video has {num_frames} frames.")
