# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Contrastive losses that tie queries of the same object together over frames, prompts and clips.

Terms compare rows (anchors) with columns, both embeddings of one query in one frame, and only within a clip: what a
clip adds to the loss does not depend on the other clips of its batch. Specification of training, 5.5.

Shape legend: R rows, J columns (of all clips one after another), B clips, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from .training_draws_univs import TrainingDraws

# Columns that a clip compares its rows with, and how many of them per row at most.
_MAX_COLUMNS = 20
_COLUMNS_PER_ROW = 3
# Share of them that is the positive of some row; the others are the positive of none.
_POSITIVE_SHARE = 0.75
# Beyond this difference of similarities, an exponential takes no gradient.
_MAX_EXPONENT = 10.0
# Columns and positives of the comparison between clips of a video.
_INTERCLIP_COLUMNS = 30
_INTERCLIP_POSITIVES = 3


@dataclass
class ReidEmbeddings:
    """Embeddings of queries, one row per query and frame, those of clip 0 first.

    Attributes:
        embeddings: `(R, C)` float32.
        ids: `(R,)` int64, what the row shows; -1 where it shows nothing and takes no part.
        clips: `(R,)` int64.
        counts: Rows of each clip.
    """

    embeddings: Tensor
    ids: Tensor
    clips: Tensor
    counts: list[int]

    def only_valid(self) -> ReidEmbeddings:
        """Without the rows that take no part."""
        keep = self.ids >= 0
        counts = torch.bincount(self.clips[keep], minlength=len(self.counts)).tolist()
        return ReidEmbeddings(self.embeddings[keep], self.ids[keep], self.clips[keep], counts)

    @classmethod
    def cat(cls, parts: Sequence[ReidEmbeddings]) -> ReidEmbeddings:
        """Rows of several sets of the same clips, clip by clip and within a clip in the order of the sets."""
        clips = torch.cat([part.clips for part in parts])
        order = clips.argsort(stable=True)
        counts = [sum(numbers) for numbers in zip(*(part.counts for part in parts), strict=True)]
        embeddings, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("embeddings", "ids"))
        return cls(embeddings[order], ids[order], clips[order], counts)


def relate(rows: ReidEmbeddings, columns: ReidEmbeddings) -> tuple[Tensor, Tensor]:
    """Which pairs of a row and a column lie in the same clip and take part, and which of these show the same.

    Returns:
        Two boolean tensors `(R, J)`.
    """
    comparable = (rows.clips[:, None] == columns.clips) & (rows.ids >= 0)[:, None] & (columns.ids >= 0)
    return comparable, comparable & (rows.ids[:, None] == columns.ids)


def contrastive_loss(rows: ReidEmbeddings, columns: ReidEmbeddings, draws: TrainingDraws, purpose: str) -> Tensor:
    """Pulls each row to the columns that show the same, and away from a random choice of the others (QDTrack).

    The similarity is the product divided by the root of C. Each row has two positives: its first, and their mean.

    Returns:
        `(R,)`, zero for rows without a positive.
    """
    comparable, same = relate(rows, columns)
    if not same.numel():
        return rows.embeddings.sum(1) * 0
    anchors = same.any(1)
    similarity = rows.embeddings @ columns.embeddings.T / rows.embeddings.shape[-1] ** 0.5
    first = similarity.gather(1, same.to(torch.uint8).argmax(1, keepdim=True))
    mean = (similarity * same).sum(1, keepdim=True) / same.sum(1, keepdim=True).clamp(min=1)
    chosen = _choose_columns(rows, columns, comparable, same, draws, purpose)
    negative = comparable & ~same & chosen & anchors[:, None]
    return _log_sum(similarity, torch.cat((first, mean), dim=1), negative)


def auxiliary_loss(rows: ReidEmbeddings, columns: ReidEmbeddings, draws: TrainingDraws, purpose: str) -> Tensor:
    """Brings the cosine of a row and a column, where it is positive, to 1 if they show the same and to 0 if not.

    Returns:
        `(R,)`, smooth L1 summed over a random choice of columns; zero for rows without a positive.
    """
    comparable, same = relate(rows, columns)
    if not same.numel():
        return rows.embeddings.sum(1) * 0
    cosine = F.normalize(rows.embeddings, dim=-1) @ F.normalize(columns.embeddings, dim=-1).T
    chosen = _choose_columns(rows, columns, comparable, same, draws, purpose)
    counted = comparable & chosen & same.any(1)[:, None]
    return _smooth_l1(cosine, same, counted)


def _choose_columns(
    rows: ReidEmbeddings,
    columns: ReidEmbeddings,
    comparable: Tensor,
    same: Tensor,
    draws: TrainingDraws,
    purpose: str,
) -> Tensor:
    """Random columns of each clip, `(J,)` boolean: mostly those that some row has for a positive."""
    num_anchors = torch.bincount(rows.clips, weights=same.any(1).float(), minlength=len(rows.counts)).long()
    limit = (_COLUMNS_PER_ROW * num_anchors).clamp(max=_MAX_COLUMNS)
    positive = same.any(0)
    background = (columns.ids >= 0) & ~positive
    num_positive, num_background = ((limit * share).floor().long() for share in (_POSITIVE_SHARE, 1 - _POSITIVE_SHARE))
    chosen = draws.subset(f"{purpose}: positive columns", positive, columns.counts, num_positive)
    return chosen | draws.subset(f"{purpose}: background columns", background, columns.counts, num_background)


def _log_sum(similarity: Tensor, positives: Tensor, negative: Tensor) -> Tensor:
    """Of each row, log(1 + sum over negatives and positives of exp(negative - positive))."""
    difference = (similarity[..., None] - positives[:, None]).clamp(max=_MAX_EXPONENT)
    return torch.where(negative[..., None], difference.exp(), 0.0).sum((1, 2)).log1p()


def _smooth_l1(cosine: Tensor, same: Tensor, counted: Tensor) -> Tensor:
    loss = F.smooth_l1_loss(cosine.clamp(min=0), same.to(cosine.dtype), reduction="none")
    return torch.where(counted, loss, 0.0).sum(1)


def interclip_losses(pool: ReidEmbeddings, draws: TrainingDraws) -> tuple[Tensor, Tensor, int]:
    """Contrastive and auxiliary term over the queries of all windows of a video (stage 3).

    One random appearance of each object is compared with the others; rows with a negative id show something else
    than every object.

    Args:
        pool: Queries of all windows that take part.

    Returns:
        Sums over the objects, and the number of objects.
    """
    starts = [sum(pool.counts[:clip]) for clip in range(len(pool.counts))]
    order = [
        draws.permutation("interclip: order", clip, count).to(pool.ids.device) + start
        for clip, (count, start) in enumerate(zip(pool.counts, starts, strict=True))
    ]
    order = torch.cat(order)
    embeddings, ids, clips = pool.embeddings[order], pool.ids[order], pool.clips[order]
    # One number per clip and object, in the order of clips.
    keys = clips * (ids.max() + 1 if len(ids) else 1) + ids
    objects = keys[ids >= 0].unique()
    if not len(objects):
        zero = pool.embeddings.sum() * 0
        return zero, zero, 0
    same = (keys == objects[:, None]) & (ids >= 0)
    anchors = same.to(torch.uint8).argmax(1)
    anchor_clips = clips[anchors]
    object_counts = torch.bincount(anchor_clips, minlength=len(pool.counts)).tolist()
    comparable = anchor_clips[:, None] == clips
    limits = torch.full((len(pool.counts),), _INTERCLIP_COLUMNS, device=ids.device)
    everything = torch.ones_like(ids, dtype=torch.bool)

    similarity = embeddings[anchors] @ embeddings.T / embeddings.shape[-1] ** 0.5
    positives = draws.choices("interclip: positives", same, object_counts, _INTERCLIP_POSITIVES)
    chosen = draws.subset("interclip: columns", everything, pool.counts, limits)
    contrastive = _log_sum(similarity, similarity.gather(1, positives), comparable & ~same & chosen).sum()

    normalised = F.normalize(embeddings, dim=-1)
    chosen = draws.subset("interclip: auxiliary columns", everything, pool.counts, limits)
    auxiliary = _smooth_l1(normalised[anchors] @ normalised.T, same, comparable & chosen).sum()
    return contrastive, auxiliary, len(objects)
