# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Semantic, panoptic and instance segmentation of single images (specification B.8).

An image is a video of one frame without prompts: its learnable queries alone give the result. A query counts with its
class score (sigmoid) times the quality of its mask, and where queries compete, with a softmax over the classes.

Shapes: Q queries, K classes, (h, w) mask logits at stride 4, (Hp, Wp) padded model input, (Hr, Wr) the part of it that
shows the image, (H, W) the original image. All functions are for one image. Full-size masks exist for a block of
queries or a strip of rows at a time only.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from .label_sets import LabelSet, load_label_set
from .mask_resizing_univs import bilinear_axis, block_elements, nearest_axis


class ImageQueries(NamedTuple):
    """The queries of one image that take part.

    Attributes:
        mask_logits: (Q, h, w) at stride 4.
        scores: float32 (Q, K), class score times mask quality.
        boxes: float32 (Q, 4), smallest and largest x and y of the positive pixels (x1, y1, x2, y2) at the resized
            size; zeros for an empty mask.
        resized_size, original_size: (height, width).
    """

    mask_logits: torch.Tensor
    scores: torch.Tensor
    boxes: torch.Tensor
    resized_size: tuple[int, int]
    original_size: tuple[int, int]

    def select(self, index: torch.Tensor) -> "ImageQueries":
        """The queries of an index or a bool mask."""
        return self._replace(mask_logits=self.mask_logits[index], scores=self.scores[index], boxes=self.boxes[index])

    def suppress_duplicates(self, iou_threshold: float) -> "ImageQueries":
        """Class-wise non-maximum suppression of the boxes; what is left is sorted by score, best first."""
        scores, labels = self.scores.max(dim=-1)
        return self.select(box_nms(self.boxes, scores, labels, iou_threshold))

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Slices of the queries, each with its mask logits float32 (q, Hr, Wr)."""
        height, width = self.resized_size
        for part, logits in _padded_blocks(self.mask_logits):
            yield part, logits[:, :height, :width]


def resolve_categories(
    categories: LabelSet | str | None, thing_flags: Sequence[bool | None] | None, num_classes: int
) -> tuple[list[bool], list[str] | None]:
    """Which classes are things, and their names as far as they are known.

    Args:
        categories: A [`LabelSet`] or the name of one.
        thing_flags: One flag per class; wins over the label set's. A class whose flag is None counts as a thing.
        num_classes: K.

    Returns:
        K flags and K names (None without a label set). Without flags all classes are things.

    Raises:
        ValueError: If the number of flags or categories is not K.
    """
    label_set = load_label_set(categories) if isinstance(categories, str) else categories
    if label_set is not None and len(label_set) != num_classes:
        raise ValueError(
            f"`categories` {label_set.name!r} has {len(label_set)} classes, but the class logits have {num_classes}."
        )
    if thing_flags is None and label_set is not None:
        thing_flags = [category.is_thing for category in label_set]
    if thing_flags is None:
        thing_flags = [True] * num_classes
    if len(thing_flags) != num_classes:
        raise ValueError(f"`thing_flags` has {len(thing_flags)} flags, but the class logits have {num_classes}.")
    return [flag is None or bool(flag) for flag in thing_flags], None if label_set is None else label_set.labels


def prepare_queries(
    mask_logits: torch.Tensor,
    class_logits: torch.Tensor,
    original_size: tuple[int, int],
    resized_size: tuple[int, int],
    stability_score_threshold: float = 0.0,
    quality_high_logit: float = 1.0,
    quality_low_logit: float = -1.0,
) -> ImageQueries:
    """Scores queries and finds the boxes of their masks.

    Args:
        mask_logits: (Q, h, w).
        class_logits: (Q, K), for a sigmoid.
        original_size, resized_size: (height, width).
        stability_score_threshold: Queries with a lower mask quality are dropped; 0 keeps all.
        quality_high_logit, quality_low_logit: The quality of a mask is #(logit > high) / #(logit > low) over the
            padded map.
    """
    height, width = resized_size
    quality = torch.zeros(len(mask_logits), device=mask_logits.device)
    boxes = torch.zeros(len(mask_logits), 4, device=mask_logits.device)
    for part, logits in _padded_blocks(mask_logits):
        possible = _count(logits > quality_low_logit).clamp(min=1)
        quality[part] = _count(logits > quality_high_logit) / possible
        shown = logits[:, :height, :width]
        boxes[part] = _boxes_of_profiles(shown.amax(dim=1) > 0, shown.amax(dim=2) > 0)
    scores = class_logits.float().sigmoid() * quality[:, None]
    queries = ImageQueries(mask_logits, scores, boxes, resized_size, original_size)
    return queries.select(quality > stability_score_threshold) if stability_score_threshold > 0 else queries


def segment_semantic(
    queries: ImageQueries, num_semantic_queries: int = 200, temperature: float = 0.06, return_scores: bool = False
) -> torch.Tensor:
    """Classes of all pixels: the best queries vote with softmax(score / temperature) x mask probability.

    Votes are counted at the resized size and interpolated to the original one (bilinear), strip by strip.

    Returns:
        int64 (H, W) class indices; with `return_scores`, float32 (K, H, W) votes. Zeros if there is no query.
    """
    best = queries.scores.amax(dim=-1)
    queries = queries.select(best.topk(min(num_semantic_queries, len(best))).indices)
    weights = (queries.scores / temperature).softmax(dim=-1).transpose(0, 1).contiguous()
    (resized_height, resized_width), (height, width) = queries.resized_size, queries.original_size
    num_classes, num_queries = weights.shape
    device = weights.device
    shape, dtype = ((num_classes, height, width), torch.float32) if return_scores else ((height, width), torch.int64)
    if not num_queries:
        return torch.zeros(shape, dtype=dtype, device=device)
    # Rows of the resized image between which each row of the original lies, and the same one level down.
    above, below, share = bilinear_axis(resized_height, height, device)
    first_row, last_row = above.tolist(), below.tolist()
    coarse_height, coarse_width = queries.mask_logits.shape[-2:]
    coarse_above, coarse_below, coarse_share = bilinear_axis(coarse_height, 4 * coarse_height, device)
    # Columns first, on the rows at stride 4, which are a quarter of all.
    wide = (coarse_height, 4 * coarse_width)
    masks = F.interpolate(queries.mask_logits[None].float(), size=wide, mode="bilinear", align_corners=False)[0]
    masks = masks[..., :resized_width]

    per_row = num_queries * resized_width + num_classes * max(resized_width, width)
    strip = max(block_elements(weights) // (2 * per_row), 1)
    result = torch.empty(shape, dtype=dtype, device=device)
    for start in range(0, height, strip):
        rows = slice(start, min(start + strip, height))
        top, bottom = first_row[rows.start], last_row[rows.stop - 1] + 1
        logits = torch.lerp(
            masks[:, coarse_above[top:bottom]], masks[:, coarse_below[top:bottom]], coarse_share[top:bottom, None]
        )
        votes = (weights @ logits.sigmoid().flatten(1)).view(num_classes, bottom - top, resized_width)
        if resized_width != width:
            votes = F.interpolate(votes[None], size=(bottom - top, width), mode="bilinear", align_corners=False)[0]
        votes = torch.lerp(votes[:, above[rows] - top], votes[:, below[rows] - top], share[rows, None])
        if return_scores:
            result[:, rows] = votes
        else:
            result[rows] = votes.max(dim=0).indices
    return result


def segment_panoptic(
    queries: ImageQueries,
    thing_flags: Sequence[bool],
    object_mask_threshold: float = 0.05,
    overlap_threshold: float = 0.8,
    box_nms_threshold: float = 0.9,
    temperature: float = 0.06,
) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """Every pixel to at most one segment: things one by one, stuff merged per class.

    Queries with a score above `object_mask_threshold` compete for pixels with softmax(score / temperature) x mask
    probability. A segment is what its query won where its own probability is at least 0.5; it is dropped if the query
    won less than `overlap_threshold` of what it claimed.

    Returns:
        int32 (H, W) segment ids, 0 for none, and a list of `{"id", "label_id", "is_thing", "score"}` of the segments
        that have a pixel; the score is the softmax weight (the best query's for merged stuff).
    """
    queries = queries.suppress_duplicates(box_nms_threshold)
    queries = queries.select(queries.scores.amax(dim=-1) > object_mask_threshold)
    device, num_queries = queries.scores.device, len(queries.scores)
    if not num_queries:
        return torch.zeros(queries.original_size, dtype=torch.int32, device=device), []
    weights, labels = (queries.scores / temperature).softmax(dim=-1).max(dim=-1)

    best = torch.full(queries.resized_size, -1.0, device=device)
    owner = torch.zeros(queries.resized_size, dtype=torch.int64, device=device)
    is_certain = torch.zeros(queries.resized_size, dtype=torch.bool, device=device)
    claimed = torch.zeros(num_queries, device=device)
    for part, logits in queries.blocks():
        probability = logits.sigmoid()
        claimed[part] = _count(probability >= 0.5)
        value, index = (probability * weights[part, None, None]).max(dim=0)
        # Strictly better, so that the first of equals keeps a pixel.
        better = value > best
        best = torch.where(better, value, best)
        owner = torch.where(better, index + part.start, owner)
        is_certain = torch.where(better, probability.gather(0, index[None])[0] >= 0.5, is_certain)
    won = owner.flatten().bincount(minlength=num_queries)
    shown = owner[is_certain].bincount(minlength=num_queries)
    kept = (shown > 0) & (won / claimed.clamp(min=1) >= overlap_threshold)

    ids, segments = [0] * num_queries, []
    stuff: dict[int, int] = {}
    table = zip(kept.tolist(), labels.tolist(), weights.tolist(), strict=True)
    for index, (is_kept, label, score) in enumerate(table):
        if not is_kept:
            continue
        is_thing = thing_flags[label]
        if not is_thing and label in stuff:
            ids[index] = stuff[label]
            segment = segments[stuff[label] - 1]
            segment["score"] = max(segment["score"], score)
            continue
        segments.append({"id": len(segments) + 1, "label_id": label, "is_thing": is_thing, "score": score})
        ids[index] = len(segments)
        if not is_thing:
            stuff[label] = len(segments)
    lookup = torch.tensor(ids, dtype=torch.int32, device=device)
    segmentation = torch.where(is_certain, lookup[owner], 0)
    rows = nearest_axis(queries.resized_size[0], queries.original_size[0], device)
    columns = nearest_axis(queries.resized_size[1], queries.original_size[1], device)
    segmentation = segmentation[rows][:, columns]
    present = set(segmentation.unique().tolist())
    return segmentation, [segment for segment in segments if segment["id"] in present]


def segment_instances(
    queries: ImageQueries,
    thing_flags: Sequence[bool],
    max_detections: int = 100,
    threshold: float = 0.0,
    box_nms_threshold: float = 0.85,
) -> dict[str, torch.Tensor]:
    """Instances of things, best first; masks may overlap.

    A query may give several instances, one for each class it scores high in. If some classes are stuff, only queries
    whose best class is a thing take part, or, if there is none, those with a thing score of at least 0.1 or the best.

    Returns:
        `masks` bool (N, H, W), `scores` float32 (N,), `label_ids` int64 (N,) and `boxes` float32 (N, 4): smallest and
        largest x and y of the mask's pixels, zeros if it has none.
    """
    device = queries.scores.device
    things = torch.tensor([index for index, flag in enumerate(thing_flags) if flag], device=device, dtype=torch.int64)
    if not len(things):
        raise ValueError("Instance segmentation needs a category that is a thing; all `thing_flags` are False.")
    if len(things) < len(thing_flags):
        is_thing = torch.tensor([bool(flag) for flag in thing_flags], device=device)[queries.scores.argmax(dim=-1)]
        queries = queries._replace(scores=queries.scores[:, things])
        if not is_thing.any():
            best = queries.scores.amax(dim=-1)
            is_thing = best >= best.amax().clamp(max=0.1) if len(best) else is_thing
        queries = queries.select(is_thing)
    queries = queries.suppress_duplicates(box_nms_threshold)
    scores, order = queries.scores.flatten().topk(min(max_detections, queries.scores.numel()))
    if threshold > 0:
        order, scores = order[scores >= threshold], scores[scores >= threshold]
    index = order.div(len(things), rounding_mode="floor")

    # A query is resized once, however many classes it was kept for.
    used, place = index.unique(return_inverse=True)
    masks = torch.empty((len(used), *queries.original_size), dtype=torch.bool, device=device)
    for part, logits in queries.select(used).blocks():
        if queries.resized_size != queries.original_size:
            size = queries.original_size
            logits = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
        masks[part] = logits > 0
    boxes = boxes_of_masks(masks)
    return {"masks": masks[place], "scores": scores, "label_ids": things[order % len(things)], "boxes": boxes[place]}


# Geometry -----------------------------------------------------------------------------------------------------------


def boxes_of_masks(masks: torch.Tensor) -> torch.Tensor:
    """Smallest and largest x and y of the pixels of bool masks (N, H, W): float32 (N, 4), zeros for an empty mask."""
    return _boxes_of_profiles(masks.any(dim=1), masks.any(dim=2))


def _boxes_of_profiles(columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Boxes (N, 4) from the columns (N, W) and rows (N, H) that have a pixel."""
    sides = []
    for has_pixel in (columns, rows):
        occupied = has_pixel.to(torch.uint8)
        low = occupied.argmax(dim=1)
        high = occupied.shape[1] - 1 - occupied.flip(1).argmax(dim=1)
        sides.append((low, high))
    (left, right), (top, bottom) = sides
    boxes = torch.stack((left, top, right, bottom), dim=1)
    return torch.where(columns.any(dim=1, keepdim=True), boxes, 0).float()


def _count(masks: torch.Tensor) -> torch.Tensor:
    """Pixels of bool masks (N, H, W), as float32 (N,)."""
    # Sums of floats are many times faster than sums of bools, and a row's is exact in float32.
    return masks.float().sum(dim=2).long().sum(dim=1).float()


def box_nms(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression within each class: a box goes if its IoU with a better one that stays is larger
    than the threshold.

    Args:
        boxes: (N, 4) corners; the area is (x2 - x1) * (y2 - y1).
        scores, labels: (N,).

    Returns:
        int64 indices of the boxes that stay, best first.
    """
    order = scores.sort(descending=True, stable=True).indices
    # A few rounds over a small matrix that each ask whether anything changed: not worth a wait for the device each.
    corners, classes = boxes[order].float().cpu(), labels[order].cpu()
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    low = torch.maximum(corners[:, None, :2], corners[None, :, :2])
    high = torch.minimum(corners[:, None, 2:], corners[None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=-1)
    # Two empty boxes give 0 / 0, which is not larger than any threshold.
    overlaps = intersection / (area[:, None] + area[None] - intersection) > iou_threshold
    suppresses = (overlaps & (classes[:, None] == classes[None])).triu(diagonal=1)
    keep = torch.ones(len(order), dtype=torch.bool)
    # Whether a box stays depends on better ones alone, so at most N rounds settle it; usually it takes three.
    while True:
        settled = ~(suppresses & keep[:, None]).any(dim=0)
        if torch.equal(settled, keep):
            return order[keep.to(order.device)]
        keep = settled


def _padded_blocks(mask_logits: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Slices of queries with their logits (q, Hp, Wp) float32."""
    size = (4 * mask_logits.shape[-2], 4 * mask_logits.shape[-1])
    block = max(block_elements(mask_logits) // (2 * math.prod(size)), 1)
    for start in range(0, len(mask_logits), block):
        part = slice(start, min(start + block, len(mask_logits)))
        yield part, F.interpolate(mask_logits[None, part].float(), size=size, mode="bilinear", align_corners=False)[0]
