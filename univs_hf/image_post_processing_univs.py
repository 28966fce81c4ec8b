# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Results of single images from the output of the model: semantic, panoptic and instance segmentation."""

from collections.abc import Sequence
from typing import Any

import torch

from .image_segmentation_univs import (
    ImageQueries,
    prepare_queries,
    resolve_categories,
    segment_instances,
    segment_panoptic,
    segment_semantic,
)
from .label_sets import LabelSet
from .mask_resizing_univs import padded_size_of, paired_sizes


class ImagePostProcessingMixin:
    """What the image processor makes of videos of one frame (specification B.8)."""

    def post_process_image_semantic_segmentation(
        self,
        outputs: Any,
        original_sizes: Any,
        resized_sizes: Any,
        num_queries: int | None = None,
        num_semantic_queries: int = 200,
        class_temperature: float = 0.06,
        stability_score_threshold: float = 0.0,
        return_scores: bool = False,
    ) -> list[torch.Tensor]:
        """Semantic segmentation of single images (specification B.8).

        Args:
            outputs: Model output for videos of one frame, with `masks_queries_logits` (B, Q, 1, h, w) and
                `class_queries_logits` (B, Q, K).
            original_sizes, resized_sizes: (B, 2) tensors or lists of (height, width), as the processor returned them.
            num_queries: Use the first `num_queries` queries (the learnable ones); None uses all.
            num_semantic_queries: So many of the best queries vote.
            class_temperature: Temperature of the softmax over the classes.
            stability_score_threshold: Queries with a lower mask quality are dropped.
            return_scores: Return the votes of all classes, float32 (K, H, W), in place of the best class.

        Returns:
            B int64 tensors (H, W) of class indices from 0.

        Raises:
            ValueError: If the model gave no class logits, a video has more than one frame, or sizes do not fit.
        """
        images = _image_queries(outputs, original_sizes, resized_sizes, num_queries, stability_score_threshold)
        return [segment_semantic(image, num_semantic_queries, class_temperature, return_scores) for image in images]

    def post_process_image_panoptic_segmentation(
        self,
        outputs: Any,
        original_sizes: Any,
        resized_sizes: Any,
        categories: LabelSet | str | None = None,
        thing_flags: Sequence[bool | None] | None = None,
        num_queries: int | None = None,
        object_mask_threshold: float = 0.05,
        overlap_threshold: float = 0.8,
        box_nms_threshold: float = 0.9,
        class_temperature: float = 0.06,
        stability_score_threshold: float = 0.0,
    ) -> list[dict[str, Any]]:
        """Panoptic segmentation of single images (specification B.8).

        Args:
            outputs, original_sizes, resized_sizes, num_queries, class_temperature, stability_score_threshold: As for
                [`~UniVSImageProcessor.post_process_image_semantic_segmentation`].
            categories: Label set that the classes belong to, or its name; says which are things and how they are
                called.
            thing_flags: For other categories, one flag per class: countable things are kept apart, stuff is merged.
                By default all are things.
            object_mask_threshold: Lowest score of a query.
            overlap_threshold: Segments that lost more than the rest of their area to others are dropped.
            box_nms_threshold: Box IoU within a class from which the lesser query is a duplicate.

        Returns:
            B dictionaries with `segmentation`, an int32 tensor (H, W) of segment ids, 0 for none, and
            `segments_info`, a list of `{"id", "label_id", "is_thing", "score"}`, with a label set also `"label"`.

        Raises:
            ValueError: As for semantic segmentation, or if categories or flags do not fit the class logits.
        """
        images = _image_queries(outputs, original_sizes, resized_sizes, num_queries, stability_score_threshold)
        flags, names = resolve_categories(categories, thing_flags, outputs.class_queries_logits.shape[-1])
        results = []
        for image in images:
            segmentation, segments = segment_panoptic(
                image, flags, object_mask_threshold, overlap_threshold, box_nms_threshold, class_temperature
            )
            results.append({"segmentation": segmentation, "segments_info": _with_labels(segments, names)})
        return results

    def post_process_image_instance_segmentation(
        self,
        outputs: Any,
        original_sizes: Any,
        resized_sizes: Any,
        categories: LabelSet | str | None = None,
        thing_flags: Sequence[bool | None] | None = None,
        num_queries: int | None = None,
        max_detections: int = 100,
        threshold: float = 0.0,
        box_nms_threshold: float = 0.85,
        stability_score_threshold: float = 0.0,
    ) -> list[dict[str, Any]]:
        """Instance segmentation of single images (specification B.8). Masks may overlap.

        Args:
            outputs, original_sizes, resized_sizes, num_queries, stability_score_threshold: As for
                [`~UniVSImageProcessor.post_process_image_semantic_segmentation`].
            categories, thing_flags: As for
                [`~UniVSImageProcessor.post_process_image_panoptic_segmentation`]; only things are returned.
            max_detections: Highest number of instances of an image.
            threshold: Instances with a lower score are dropped; the published evaluation drops none.
            box_nms_threshold: Box IoU within a class from which the lesser query is a duplicate.

        Returns:
            B dictionaries, best instance first, with `masks` bool (N, H, W), `boxes` float32 (N, 4) (smallest and
            largest x and y of the pixels) and `segments_info`, a list of `{"id", "label_id", "score"}` in the order
            of the masks, with a label set also `"label"`.

        Raises:
            ValueError: As for panoptic segmentation, or if no category is a thing.
        """
        images = _image_queries(outputs, original_sizes, resized_sizes, num_queries, stability_score_threshold)
        flags, names = resolve_categories(categories, thing_flags, outputs.class_queries_logits.shape[-1])
        results = []
        for image in images:
            found = segment_instances(image, flags, max_detections, threshold, box_nms_threshold)
            pairs = zip(found["label_ids"].tolist(), found["scores"].tolist(), strict=True)
            segments = [
                {"id": index, "label_id": label, "score": score} for index, (label, score) in enumerate(pairs, start=1)
            ]
            results.append(
                {"masks": found["masks"], "boxes": found["boxes"], "segments_info": _with_labels(segments, names)}
            )
        return results


def _image_queries(
    outputs: Any, original_sizes: Any, resized_sizes: Any, num_queries: int | None, stability_score_threshold: float
) -> list[ImageQueries]:
    """The queries of each image of a batch of videos of one frame."""
    if outputs.class_queries_logits is None:
        raise ValueError("`outputs.class_queries_logits` must not be None: give the model categories.")
    mask_logits = outputs.masks_queries_logits[:, :num_queries]
    class_logits = outputs.class_queries_logits[:, :num_queries]
    originals, resizeds = paired_sizes(mask_logits, original_sizes, resized_sizes)
    if mask_logits.shape[2] != 1:
        raise ValueError(
            f"Segmentation of images takes videos of one frame, `outputs` has {mask_logits.shape[2]} frames per video."
        )
    images = []
    for masks, classes, original, resized in zip(mask_logits, class_logits, originals, resizeds, strict=True):
        padded_size_of(masks, resized)
        images.append(prepare_queries(masks[:, 0], classes, original, resized, stability_score_threshold))
    return images


def _with_labels(segments: list[dict[str, Any]], names: Sequence[str] | None) -> list[dict[str, Any]]:
    return segments if names is None else [{**segment, "label": names[segment["label_id"]]} for segment in segments]
