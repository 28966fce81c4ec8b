# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which queries of a clip carry an object on: its own prompt query, the learnable query most like it, or both.

The three query modes of the paper (`UniVSConfig.query_mode`). Shape legend: N objects, T frames of a clip, V stored
frames, Q queries, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment

from .clip_tasks_univs import mask_iou, mask_quality, temporal_consistency
from .configuration_univs import UniVSConfig
from .modeling_univs import mask_boxes

if TYPE_CHECKING:
    from .clip_engine_univs import FrameGeometry
    from .modeling_univs import UniVSForVideoSegmentationOutput


@dataclass
class QueryPredictions:
    """What queries of a clip predict, one row per object.

    Attributes:
        logits: (N, T, h4, w4) mask logits, float32.
        boxes: (N, T, 4) boxes of the masks, xyxy, normalised.
        embeddings: (N, T, C), float32.
    """

    logits: torch.Tensor
    boxes: torch.Tensor
    embeddings: torch.Tensor

    @classmethod
    def select(cls, outputs: UniVSForVideoSegmentationOutput, rows: torch.Tensor | slice) -> QueryPredictions:
        """Predictions of the queries `rows` of a single video."""
        logits = outputs.masks_queries_logits[0, rows]
        return cls(logits.float(), mask_boxes(logits > 0), outputs.query_embeddings[0, rows].float())

    def only(self, keep: torch.Tensor) -> QueryPredictions:
        """Predictions that are zero in the rows where `keep` (N,) is False."""
        drop = ~keep
        return QueryPredictions(
            self.logits.masked_fill(drop[:, None, None, None], 0.0),
            self.boxes.masked_fill(drop[:, None, None], 0.0),
            self.embeddings.masked_fill(drop[:, None, None], 0.0),
        )

    @staticmethod
    def mix(
        first: QueryPredictions, second: QueryPredictions, weights: tuple[torch.Tensor, torch.Tensor]
    ) -> QueryPredictions:
        """Sum of two predictions, each row with its weight (N,)."""

        def mixed(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            shape = (-1, *[1] * (one.ndim - 1))
            return weights[0].view(shape) * one + weights[1].view(shape) * other

        return QueryPredictions(
            mixed(first.logits, second.logits),
            mixed(first.boxes, second.boxes),
            mixed(first.embeddings, second.embeddings),
        )


@dataclass
class Match:
    """Predictions chosen for objects, with what the choice rests on.

    Attributes:
        predictions: [`QueryPredictions`] of the N objects.
        padded_logits: (N, T, Hp, Wp) their mask logits at the size of the model input.
        quality: (N,) sharpness of the masks.
        similarity: (N,) likeness with the stored embeddings; 1 on first appearance.
    """

    predictions: QueryPredictions
    padded_logits: torch.Tensor
    quality: torch.Tensor
    similarity: torch.Tensor

    @classmethod
    def single(
        cls,
        predictions: QueryPredictions,
        similarity: torch.Tensor | None,
        config: UniVSConfig,
        geometry: FrameGeometry,
    ) -> Match:
        """A match of one query per object; its quality is that of the frame without padding."""
        padded = geometry.to_padded(predictions.logits)
        quality = mask_quality(geometry.crop(padded), config)
        return cls(predictions, padded, quality, torch.ones_like(quality) if similarity is None else similarity)

    @classmethod
    def fused(
        cls,
        first: Match,
        second: Match,
        weights: tuple[torch.Tensor, torch.Tensor],
        similarity: torch.Tensor,
        config: UniVSConfig,
    ) -> Match:
        """Weighted sum of two matches. The quality of the sum counts the padding too, as in the original."""
        one, other = (weight[:, None, None, None] for weight in weights)
        padded = one * first.padded_logits + other * second.padded_logits
        predictions = QueryPredictions.mix(first.predictions, second.predictions, weights)
        return cls(predictions, padded, mask_quality(padded, config), similarity)


def match_learnable_queries(
    memory: torch.Tensor, embeddings: torch.Tensor, config: UniVSConfig, bi_softmax: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Assigns to each object a learnable query of its own, so that the sum of similarities is largest (section B.4).

    Args:
        memory (`torch.Tensor` of shape (N, V, C)): Stored embeddings of the objects; all-zero ones do not count.
        embeddings (`torch.Tensor` of shape (M, T, C)): Embeddings of the learnable queries in the clip.
        bi_softmax (`bool`, *optional*, defaults to `False`): Compare by softmax over queries and over objects of the
            scaled dot product, as panoptic objects are; by default by cosine, recent frames counting most.

    Returns:
        (N,) query of each object, and (N,) similarity; 0 for objects that are left over when N > M.
    """
    if bi_softmax:
        products = torch.einsum("nvc,mc->nmv", memory, embeddings.mean(dim=1)) / memory.shape[-1] ** 0.5
        similarity = (products.softmax(dim=1) + products.softmax(dim=0)).mean(dim=-1) / 2
    else:
        num_slots = memory.shape[1]
        age = torch.arange(1, num_slots + 1, device=memory.device, dtype=memory.dtype) / num_slots
        weights = torch.exp(config.temporal_weight * age) * (memory != 0).any(dim=-1)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-3)
        memory = memory / memory.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        embeddings = embeddings / embeddings.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        # The cosine is linear in either side, so both means come first.
        similarity = torch.einsum("nv,nvc->nc", weights, memory) @ embeddings.mean(dim=1).T
    objects, queries = (torch.from_numpy(index) for index in linear_sum_assignment(1 - similarity.cpu().numpy()))
    rows = torch.zeros(len(memory), dtype=torch.int64).index_copy_(0, objects, queries).to(memory.device)
    chosen = similarity.gather(1, rows[:, None])[:, 0]
    if len(objects) < len(memory):
        assigned = torch.zeros(len(memory), dtype=torch.bool).index_fill_(0, objects, True).to(memory.device)
        chosen = chosen.masked_fill(~assigned, 0.0)
    return rows, chosen


def follow_objects(
    outputs: UniVSForVideoSegmentationOutput,
    num_learnable: int,
    prompt_rows: torch.Tensor,
    memory: torch.Tensor,
    config: UniVSConfig,
    geometry: FrameGeometry,
    bi_softmax: bool = False,
) -> Match:
    """Predictions of a clip for objects that earlier clips have seen (section B.4, step 5).

    An object whose prompt query no longer looks as before gets an empty prediction, and so does one without a
    learnable query that is like it. Where both are found and their masks overlap they are averaged by similarity;
    where the masks differ the prompt query counts.

    Args:
        outputs: Of the clip: `num_learnable` learnable queries, then the prompt queries.
        prompt_rows (`torch.Tensor` of shape (N,)): Query of each object among all queries.
        memory (`torch.Tensor` of shape (N, V, C)): Stored embeddings of the objects.
        bi_softmax: See [`match_learnable_queries`].
    """
    prompted = learned = None
    if config.query_mode != "learn":
        predictions = QueryPredictions.select(outputs, prompt_rows)
        similarity = temporal_consistency(memory, predictions.embeddings, config)
        keep = similarity > config.temporal_consistency_threshold
        prompted = Match.single(predictions.only(keep), similarity * keep, config, geometry)
    if config.query_mode != "prompt":
        embeddings = outputs.query_embeddings[0, :num_learnable].float()
        rows, similarity = match_learnable_queries(memory, embeddings, config, bi_softmax)
        keep = similarity >= config.learnable_similarity_threshold
        predictions = QueryPredictions.select(outputs, rows).only(keep)
        learned = Match.single(predictions, similarity * keep, config, geometry)
    if learned is None or prompted is None:
        return prompted if learned is None else learned
    total = prompted.similarity + learned.similarity
    found = (prompted.similarity > 0).float() + (learned.similarity > 0).float()
    alike = mask_iou(prompted.padded_logits > 0, learned.padded_logits > 0) >= config.fusion_iou_threshold
    share = torch.where(alike, prompted.similarity / total.clamp(min=1e-5), 1.0)
    learned_share = torch.where(alike, learned.similarity / total.clamp(min=1e-5), 0.0)
    return Match.fused(prompted, learned, (share, learned_share), total / found.clamp(min=1), config)
