# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Tasks that remember nothing from one clip to the next, several inputs at a time: images, and VSS of videos.

Everything else needs a session per video, see `inference_univs`. Results have the form that sessions give.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .configuration_univs import UniVSConfig
from .feature_extraction_univs import frames_of
from .image_processing_univs import UniVSProcessedFrame
from .inference_univs import image_processor_for
from .label_sets import LabelSet
from .text_embeddings_univs import category_thing_flags, embed_categories

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation, UniVSForVideoSegmentationOutput
    from .processing_univs import UniVSProcessor

IMAGE_KINDS = ("semantic", "panoptic", "instance")


def segment_images(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    images: Any,
    kind: str = "panoptic",
    categories: str | LabelSet | Sequence[str] | None = None,
    batch_size: int = 1,
    thing_flags: Sequence[bool] | None = None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Segments images, each for itself (specification B.8).

    Args:
        model: The model, in evaluation mode.
        processor: The processor that belongs to it.
        images: A path, an image, or anything that yields images (a video too: its frames are then unrelated).
        kind: `"semantic"`, `"panoptic"` or `"instance"`.
        categories: Names or a label set, see [`embed_categories`].
        batch_size: Images of one size that go through the network together.
        thing_flags: Per category, whether it is a thing rather than stuff; by default what the label set says, or
            things.
        **settings: Fields of [`UniVSConfig`], such as `object_mask_threshold`.

    Yields:
        One dictionary per image: `frame_idx` (number of the image), `segments_info` (a list of
        `{"id", "label_id", "label", "score"}`, with `is_thing` for `"panoptic"`), and `segmentation` (int32 (H, W)
        tensor on the CPU: class indices for `"semantic"`, else segment ids and 0 for none) or, for `"instance"`,
        `masks` (bool (N, H, W)), best first.

    Raises:
        ValueError: If the kind, a setting or the categories are unknown, or there is no image.

    Example:
        >>> (result,) = segment_images(model, processor, "street.jpg", "panoptic", categories="coco_panoptic")
    """
    if kind not in IMAGE_KINDS:
        raise ValueError(f"`kind` must be one of {list(IMAGE_KINDS)}, got {kind!r}.")
    check_batch_size(batch_size)
    config = model.config.for_task("vss", **settings)
    max_detections = {"max_detections": config.max_detections} if "max_detections" in settings else {}
    flags = category_thing_flags(categories) if thing_flags is None else list(thing_flags)
    return _segment_images(
        model, processor, frames_of(images, "images"), kind, categories, flags, batch_size, config, max_detections
    )


@torch.no_grad()
def _segment_images(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    images: Any,
    kind: str,
    categories: str | LabelSet | Sequence[str] | None,
    flags: list[bool] | None,
    batch_size: int,
    config: UniVSConfig,
    max_detections: dict[str, int],
) -> Iterator[dict[str, Any]]:
    embeddings, names = embed_categories(model, processor, categories)
    image_processor = image_processor_for(processor.image_processor, model.config, config)
    common = {"stability_score_threshold": config.stability_score_threshold}
    count = 0
    for batch in _batches(map(image_processor.preprocess_frame, images), batch_size):
        outputs = _decode(model, [[frame] for frame in batch], 0, embeddings)
        sizes = {
            "original_sizes": [frame.original_size for frame in batch],
            "resized_sizes": [frame.resized_size for frame in batch],
        }
        if kind == "semantic":
            maps = image_processor.post_process_image_semantic_segmentation(
                outputs,
                **sizes,
                **common,
                num_semantic_queries=config.num_semantic_queries,
                class_temperature=config.class_temperature,
            )
            results = [semantic_result(count + index, labels, names) for index, labels in enumerate(maps)]
        elif kind == "panoptic":
            results = image_processor.post_process_image_panoptic_segmentation(
                outputs,
                **sizes,
                **common,
                thing_flags=flags,
                object_mask_threshold=config.object_mask_threshold,
                overlap_threshold=config.overlap_threshold,
                box_nms_threshold=config.image_box_nms_threshold,
                class_temperature=config.class_temperature,
            )
        else:
            results = image_processor.post_process_image_instance_segmentation(
                outputs,
                **sizes,
                **common,
                **max_detections,
                thing_flags=flags,
                box_nms_threshold=config.image_instance_nms_threshold,
            )
        for index, result in enumerate(results):
            for segment in result["segments_info"]:
                segment["label"] = names[segment["label_id"]]
            tensors = {key: value.cpu() for key, value in result.items() if isinstance(value, torch.Tensor)}
            yield {**result, **tensors, "frame_idx": count + index}
        count += len(batch)
    if not count:
        raise ValueError("`images` holds no image.")


def segment_videos(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    videos: Sequence[Any],
    categories: str | LabelSet | Sequence[str] | None = None,
    **settings: Any,
) -> Iterator[list[dict[str, Any]]]:
    """Video semantic segmentation (VSS) of several videos in step: their clips go through the network together.

    Args:
        model: The model, in evaluation mode.
        processor: The processor that belongs to it.
        videos: Paths, lists of frames or anything else that yields frames; all of one frame size and one length.
        categories: Names or a label set, see [`embed_categories`].
        **settings: Fields of [`UniVSConfig`] that win over the settings of the task.

    Yields:
        For every frame number, the results of the videos.

    Raises:
        ValueError: If the videos differ in frame size or length, or hold no frame.
    """
    if not videos:
        raise ValueError("`videos` must hold at least one video, got none.")
    config = model.config.for_task("vss", **settings)
    return _segment_videos(
        model, processor, [iter(frames_of(video, "videos")) for video in videos], categories, config
    )


@torch.no_grad()
def _segment_videos(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    videos: list[Iterator[Any]],
    categories: str | LabelSet | Sequence[str] | None,
    config: UniVSConfig,
) -> Iterator[list[dict[str, Any]]]:
    embeddings, names = embed_categories(model, processor, categories)
    image_processor = image_processor_for(processor.image_processor, model.config, config)
    start, size = 0, None
    while True:
        clips = [
            [image_processor.preprocess_frame(frame) for frame in itertools.islice(video, config.num_frames)]
            for video in videos
        ]
        lengths = [start + len(clip) for clip in clips]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"Videos of a batch must have one length, but have {lengths} frames (or more). Use `batch_size=1`."
            )
        if not clips[0]:
            break
        sizes = {frame.original_size for clip in clips for frame in clip} | ({size} if size else set())
        if len(sizes) > 1:
            raise ValueError(
                f"Videos of a batch must have frames of one size, got (height, width) {sorted(sizes)}. Use "
                "`batch_size=1`."
            )
        (size,) = sizes
        outputs = _decode(model, clips, start, embeddings)
        maps = image_processor.post_process_semantic_segmentation(
            outputs,
            original_sizes=[size] * len(clips),
            resized_sizes=[clip[0].resized_size for clip in clips],
            quality_high_logit=config.quality_high_logit,
            quality_low_logit=config.quality_low_logit,
        )
        for index in range(len(clips[0])):
            yield [semantic_result(start + index, video_maps[index], names) for video_maps in maps]
        start += len(clips[0])
    if not start:
        raise ValueError("`videos` hold no frame.")


def check_batch_size(batch_size: Any) -> None:
    """Raises a `ValueError` if `batch_size` is no whole number from 1."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be a whole number from 1, got {batch_size!r}.")


def semantic_result(frame_idx: int, labels: torch.Tensor, names: Sequence[str]) -> dict[str, Any]:
    """Result of a frame from its class indices (H, W)."""
    segmentation = labels.to("cpu", torch.int32)
    segments = [
        {"id": label, "label_id": label, "label": names[label], "score": None}
        for label in segmentation.unique().tolist()
    ]
    return {"frame_idx": frame_idx, "segmentation": segmentation, "segments_info": segments}


def _batches(frames: Iterator[UniVSProcessedFrame], batch_size: int) -> Iterator[list[UniVSProcessedFrame]]:
    """Up to `batch_size` frames in a row whose model input has one size."""
    batch: list[UniVSProcessedFrame] = []
    for frame in frames:
        if batch and (len(batch) == batch_size or frame.pixel_values.shape != batch[0].pixel_values.shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _decode(
    model: UniVSForVideoSegmentation,
    videos: Sequence[Sequence[UniVSProcessedFrame]],
    start: int,
    category_embeddings: torch.Tensor,
) -> UniVSForVideoSegmentationOutput:
    """Output of the learnable queries for one clip per video."""
    pixel_values = torch.cat([torch.cat([frame.pixel_values for frame in clip], dim=1) for clip in videos])
    features = model.encode_frames(pixel_values.to(model.device))
    frame_idx = torch.arange(start, start + len(videos[0]), device=model.device).expand(len(videos), -1)
    return model.decode_clip(features, frame_idx=frame_idx, category_embeddings=category_embeddings)
