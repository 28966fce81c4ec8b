# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which learnable query is responsible for which object of a clip: Hungarian matching over whole clips.

Shape legend: B clips, Q queries, R target rows of all clips one after another, N rows of the clip with most, T frames,
P points, K categories, (h, w) predicted maps, (H, W) target masks.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from .point_sampling_univs import sample_maps, sample_masks
from .training_targets_univs import UniVSTrainingTargets

# Stands for a cost that is not a number, so that the assignment avoids it and does not fail.
_WORST_COST = 1e6


@dataclass
class UniVSMatches:
    """Pairs of queries and target rows, those of clip 0 first, in the order of the queries.

    Attributes:
        clips: `(M,)` int64, clip of each pair.
        queries: `(M,)` int64, learnable query.
        rows: `(M,)` int64, row among the rows of all clips.
        counts: Pairs of each clip.
    """

    clips: Tensor
    queries: Tensor
    rows: Tensor
    counts: list[int]


@torch.no_grad()
def matching_cost(
    mask_logits: Tensor,
    class_logits: Tensor | None,
    targets: UniVSTrainingTargets,
    points: Tensor,
    class_weight: float = 3.0,
    mask_weight: float = 5.0,
    dice_weight: float = 5.0,
) -> Tensor:
    """Cost of every pair of a query and a row of the same clip (specification of training, 5.5).

    Args:
        mask_logits: `(B, Q, T, h, w)`.
        class_logits: `(B, Q, K)`, or None where nothing is classified.
        targets: Rows of the clips.
        points: `(B, P, 2)`, shared by all rows, queries and frames of a clip.
        class_weight, mask_weight, dice_weight: Of class probability, binary cross entropy and dice.

    Returns:
        `(B, Q, N)` float32; columns beyond a clip's own rows mean nothing.
    """
    num_clips, num_queries, num_frames = mask_logits.shape[:3]
    num_points = points.shape[1]
    predicted = sample_maps(mask_logits.float().flatten(1, 2), points)
    predicted = predicted.unflatten(1, (num_queries, num_frames)).flatten(2)

    row_points = points[targets.clips][:, None].expand(-1, num_frames, -1, -1)
    sampled = sample_masks(targets.masks, torch.arange(len(targets.clips), device=points.device), row_points)
    place = targets.places
    wanted = predicted.new_zeros(num_clips, max(targets.counts, default=0), num_frames * num_points)
    wanted[targets.clips, place] = sampled.flatten(1)

    common = torch.matmul(predicted, wanted.transpose(1, 2))
    cost_mask = (F.softplus(predicted).sum(-1, keepdim=True) - common) / predicted.shape[-1]
    probability = predicted.sigmoid()
    overlap = torch.matmul(probability, wanted.transpose(1, 2))
    area = probability.sum(-1, keepdim=True) + wanted.sum(-1)[:, None]
    cost = mask_weight * cost_mask + dice_weight * (1 - (2 * overlap + 1) / (area + 1))

    if class_logits is not None and class_logits.shape[-1]:
        scores = (5 * class_logits.float().sigmoid()).softmax(-1)
        labels = targets.labels.new_full(wanted.shape[:2], -1)
        labels[targets.clips, place] = targets.labels
        labels = labels[:, None].expand(-1, num_queries, -1)
        cost_class = -scores.gather(2, labels.clamp(min=0))
        cost = cost + class_weight * torch.where(labels >= 0, cost_class, 0.0)
    return cost


def match_queries(
    mask_logits: Tensor,
    class_logits: Tensor | None,
    targets: UniVSTrainingTargets,
    points: Tensor,
    **weights: float,
) -> UniVSMatches:
    """The assignment of least cost of each clip; arguments as in [`matching_cost`].

    Every row gets a query, unless a clip has more rows than queries.
    """
    cost = matching_cost(mask_logits, class_logits, targets, points, **weights)
    cost = torch.nan_to_num(cost, nan=_WORST_COST, posinf=_WORST_COST, neginf=-_WORST_COST).cpu().numpy()
    queries, rows, counts = [], [], []
    start = 0
    for clip, count in enumerate(targets.counts):
        query, place = linear_sum_assignment(cost[clip, :, :count])
        queries.append(torch.from_numpy(query))
        rows.append(torch.from_numpy(place + start))
        counts.append(len(query))
        start += count
    device = mask_logits.device
    clips = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return UniVSMatches(clips.to(device), torch.cat(queries).to(device), torch.cat(rows).to(device), counts)
