# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Referring video object segmentation: the objects that expressions name.

Shape legend: N expressions, T frames of a clip, V stored frames, Q queries, L tokens, C channels; (h4, w4) stride-4
maps, (Hp, Wp) padded model input. Section numbers refer to the specification of the published inference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from .clip_tasks_univs import Clip
from .modeling_univs import UniVSPrompts
from .prompted_tasks_univs import PromptedTask
from .query_matching_univs import Match, QueryPredictions, follow_objects

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import UniVSForVideoSegmentation, UniVSForVideoSegmentationOutput


def most_similar_query(outputs: UniVSForVideoSegmentationOutput) -> torch.Tensor:
    """The learnable query that each expression (N,) is most like in the clip, by the cosine of their embeddings."""
    num_expressions = outputs.prompt_similarity.shape[-1]
    return outputs.prompt_similarity[0, :-num_expressions].float().max(dim=0).indices


class ReferringSegmentationTask(PromptedTask):
    """Referring video object segmentation (RefVOS, section B.4): all expressions of a video in one pass.

    Expressions are text alone, so there is no prompt memory; they do not compete for pixels, and their masks may
    overlap. What a clip says of an expression is added to what the clips before have said if its query still looks as
    before. The sums are kept at stride 4 and enlarged once, which is the same as summing large masks (C.4-8). A
    frame's text prompts depend on that frame alone and are encoded once.

    In the query modes with learnable queries an expression begins with a learnable query, that which
    `choose_first_queries` picks from the output of the first clip. The original means to pick it by box and mask
    overlap, but compares with masks that are still empty: the order in which its library sorts equal zeros decides,
    and picks one and the same query for every expression. The default is the query that the expression is most like.

    Args:
        engine ([`ClipEngine`]): The engine, with `expressions`.

    Raises:
        ValueError: If the engine has no expressions.
    """

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        if engine.expressions is None or not len(engine.expressions.ids):
            raise ValueError("Task 'refvos' needs at least one expression.")
        num_expressions = len(engine.expressions.ids)
        self.choose_first_queries: Callable[[UniVSForVideoSegmentationOutput], torch.Tensor] = most_similar_query
        self._sums: torch.Tensor | None = None  # (N, slots, h4, w4)
        self._scores = torch.zeros(num_expressions, self._num_slots, device=engine.device)
        self._prompts: UniVSPrompts | None = None  # of the clip before

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        engine = self.engine
        self._clip_start = clip.start
        if not engine.expressions.ids:
            return
        self._add_new_frames(clip)
        self._prompts = self._encode_expressions(model, clip)
        outputs = model.decode_clip(
            clip.features,
            frame_idx=clip.frame_idx,
            prompts=self._prompts,
            self_attention_type=engine.config.self_attention_type,
        )
        if clip.previous_stop == 0:
            self._start(clip, self._first_match(outputs))
        else:
            num_expressions = len(engine.expressions.ids)
            num_learnable = outputs.masks_queries_logits.shape[1] - num_expressions
            rows = torch.arange(num_expressions, device=engine.device) + num_learnable
            self._continue(
                clip,
                follow_objects(outputs, num_learnable, rows, self._embeddings, engine.config, engine.geometry),
            )

    def _add_new_frames(self, clip: Clip) -> None:
        num_expressions = len(self.engine.expressions.ids)
        if self._sums is None:
            size = clip.features.mask_features.shape[-2:]
            self._sums = torch.zeros(num_expressions, self._num_slots, *size, device=self.engine.device)
        else:
            slots = self._slots(range(clip.previous_stop, clip.stop))
            self._sums.index_fill_(1, slots, 0.0)
            self._scores.index_fill_(1, slots, 0.0)
        self._append_embeddings(clip.stop - clip.previous_stop, num_expressions)

    def _encode_expressions(self, model: UniVSForVideoSegmentation, clip: Clip) -> UniVSPrompts:
        """Prompts of the clip: those of frames that the clip before had are taken over."""
        expressions = self.engine.expressions
        known = max(clip.previous_stop - clip.start, 0) if self._prompts is not None else 0
        new = model.encode_expressions(
            clip.features.frames(known, clip.num_frames),
            word_features=expressions.word_features[None],
            sentence_features=expressions.sentence_features[None],
        )
        if not known:
            return new
        old = self._prompts
        return UniVSPrompts(
            queries=torch.cat([old.queries[:, -known:], new.queries], dim=1),
            query_positions=torch.cat([old.query_positions[:, -known:], new.query_positions], dim=1),
            tokens=torch.cat([old.tokens[:, :, -known:], new.tokens], dim=2),
            sentence_features=new.sentence_features,
        )

    def _first_match(self, outputs: UniVSForVideoSegmentationOutput) -> Match:
        """Predictions of the first clip (section B.4, step 4): prompt queries, learnable ones, or both by quality."""
        config, geometry = self.engine.config, self.engine.geometry
        num_expressions = len(self.engine.expressions.ids)
        prompted = learned = None
        if config.query_mode != "learn":
            predictions = QueryPredictions.select(outputs, slice(-num_expressions, None))
            prompted = Match.single(predictions, None, config, geometry)
        if config.query_mode != "prompt":
            predictions = QueryPredictions.select(outputs, self.choose_first_queries(outputs))
            learned = Match.single(predictions, None, config, geometry)
        if learned is None or prompted is None:
            return prompted if learned is None else learned
        total = (prompted.quality + learned.quality).clamp(min=1e-5)
        weights = prompted.quality / total, learned.quality / total
        return Match.fused(prompted, learned, weights, prompted.similarity, config)

    def _start(self, clip: Clip, match: Match) -> None:
        slots = self._slots(range(clip.start, clip.stop))
        self._embeddings[:, -clip.num_frames :] = match.predictions.embeddings
        self._sums.index_copy_(1, slots, match.predictions.logits)
        self._write_scores(slots, match)

    def _continue(self, clip: Clip, match: Match) -> None:
        slots = self._slots(range(clip.start, clip.stop))
        self._sums.index_add_(1, slots, match.predictions.logits)
        self._write_scores(slots, match)
        self._update_embeddings(slice(None), match.predictions.embeddings)

    def _write_scores(self, slots: torch.Tensor, match: Match) -> None:
        scores = (match.similarity * match.quality)[:, None].expand(-1, len(slots))
        self._scores.index_copy_(1, slots, scores.contiguous())

    def remove_object(self, object_id: int) -> None:
        expressions = self.engine.expressions
        if object_id not in expressions.ids:
            raise ValueError(f"There is no expression {object_id}; there are {expressions.ids}.")
        kept = [index for index, other in enumerate(expressions.ids) if other != object_id]
        rows = torch.tensor(kept, dtype=torch.int64, device=self.engine.device)
        self.engine.expressions = replace(
            expressions,
            word_features=expressions.word_features[rows],
            sentence_features=expressions.sentence_features[rows],
            ids=[expressions.ids[index] for index in kept],
            names=[expressions.names[index] for index in kept],
        )
        self._scores = self._scores[rows]
        if self._embeddings is not None:
            self._embeddings, self._sums = self._embeddings[rows], self._sums[rows]
            old = self._prompts
            self._prompts = UniVSPrompts(
                queries=old.queries[:, :, rows],
                query_positions=old.query_positions[:, :, rows],
                tokens=old.tokens[:, rows],
                sentence_features=old.sentence_features[:, rows],
            )

    def finish_frame(self, frame_idx: int) -> dict[str, Any] | None:
        if self._is_lost(frame_idx):
            return None
        engine, expressions = self.engine, self.engine.expressions
        slot = frame_idx % self._num_slots
        if expressions.ids:
            logits = engine.geometry.to_padded(self._sums[:, slot, None])[:, 0]
            masks = (engine.geometry.to_original(logits) > 0).cpu()
        else:
            masks = torch.zeros(0, *engine.geometry.original_size, dtype=torch.bool)
        scores = self._scores[:, slot].tolist()
        return {
            "frame_idx": frame_idx,
            "masks": masks,
            "segments_info": [
                {"id": object_id, "label_id": object_id, "label": name, "score": score}
                for object_id, name, score in zip(expressions.ids, expressions.names, scores, strict=True)
            ],
        }
