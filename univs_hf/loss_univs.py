# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""UniVS criterion: what every prediction of the decoder is supervised with (specification of training, 5).

Learnable queries are matched with the rows of a clip for each prediction anew; prompt queries know what they are
supervised with. All terms are sums over clips, frames and queries divided by counts that are averaged over the
processes, so that the gradients do not depend on how the clips of a step are divided among processes and batches.

Shape legend: B clips, Q_l learnable queries, P prompts, T frames, K categories, M pairs of a query and a row, C
channels, (h, w) predicted maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from .configuration_univs import UniVSConfig
from .matcher_univs import UniVSMatches, match_queries
from .point_sampling_univs import sample_maps, sample_masks, sample_masks_nearest
from .reid_loss_univs import ReidEmbeddings, auxiliary_loss, contrastive_loss, interclip_losses, relate
from .training_draws_univs import TrainingDraws
from .training_targets_univs import UniVSPromptTargets, UniVSTrainingTargets

# An unmatched query that shows mostly left-out objects is neither a detection nor a false one.
_LEFT_OUT_SHARE = 0.5
_FOCAL_ALPHA = 0.5
_FOCAL_GAMMA = 2


@dataclass(frozen=True)
class UniVSLossConfig:
    """Weights of the terms and how masks are sampled. The defaults are those of the released ResNet-50 training.

    Attributes:
        class_weight, mask_weight, dice_weight: Of `loss_ce`, `loss_mask` and `loss_dice`.
        reid_weight: Of each of the ReID terms: 0.5 with ResNet-50 and 0.25 with Swin, half of that in stage 3.
        matching_class_weight, matching_mask_weight, matching_dice_weight: Of the costs of the matching.
        num_points: Points per mask and frame.
        oversample_ratio, importance_sample_ratio: See [`TrainingDraws.mask_points`].
    """

    class_weight: float = 5.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    reid_weight: float = 0.5
    matching_class_weight: float = 3.0
    matching_mask_weight: float = 5.0
    matching_dice_weight: float = 5.0
    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.5

    @classmethod
    def from_config(cls, config: UniVSConfig) -> UniVSLossConfig:
        """The settings of a model."""
        names = {name: name for name in cls.__dataclass_fields__} | {"num_points": "train_num_points"}
        return cls(**{name: getattr(config, source) for name, source in names.items()})

    def weight(self, name: str) -> float:
        """Weight of a term, `loss_reid_l2p_3` as `loss_reid_l2p`."""
        kind = name.split("_")[1]
        weights = {"ce": self.class_weight, "mask": self.mask_weight, "dice": self.dice_weight}
        return weights.get(kind, self.reid_weight)


@dataclass
class UniVSPrediction:
    """One of the decoder's predictions, of learnable queries first and then of prompts.

    Attributes:
        mask_logits: `(B, Q, T, h, w)`.
        embeddings: `(B, Q, T, C)`.
        class_logits: `(B, Q, K)`, or None where categories are not supervised.
    """

    mask_logits: Tensor
    embeddings: Tensor
    class_logits: Tensor | None = None

    def split(self, num_learnable: int) -> tuple[UniVSPrediction, UniVSPrediction]:
        """Predictions of learnable queries and of prompts."""

        def part(queries: slice) -> UniVSPrediction:
            logits = None if self.class_logits is None else self.class_logits[:, queries].float()
            return UniVSPrediction(self.mask_logits[:, queries], self.embeddings[:, queries].float(), logits)

        return part(slice(num_learnable)), part(slice(num_learnable, None))


@dataclass
class UniVSLosses:
    """Result of the criterion.

    Attributes:
        terms: Named scalar terms without their weights. Those of the last prediction have no suffix; those before
            the first decoder layer end in `_0`, those after layer i in `_i`.
        pools: Embeddings of each prediction in the order of the layers, for the comparison of windows.
    """

    terms: dict[str, Tensor]
    pools: list[ReidEmbeddings] = field(default_factory=list)


@dataclass
class _Normalisers:
    """What sums are divided by: counts of the batch, averaged over the processes, at least 1."""

    rows: Tensor
    prompt_slots: Tensor
    present_prompts: Tensor
    learnable_anchors: Tensor
    prompt_anchors: Tensor
    cross_anchors: Tensor
    clips: Tensor


def average_over_processes(counts: Tensor) -> Tensor:
    """Mean of `counts` over the processes of a distributed run; every process must call it equally often."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(counts)
        counts = counts / distributed.get_world_size()
    return counts


class UniVSCriterion:
    """Computes the terms of a batch of clips.

    Args:
        config: Weights and sampling.
    """

    def __init__(self, config: UniVSLossConfig):
        self.config = config

    def __call__(
        self,
        predictions: Sequence[UniVSPrediction],
        num_learnable: int,
        targets: UniVSTrainingTargets,
        prompts: UniVSPromptTargets | None,
        draws: TrainingDraws,
    ) -> UniVSLosses:
        """
        Args:
            predictions: In the order of the layers, the last one last.
            num_learnable: Q_l.
            targets: Rows of the clips.
            prompts: What the prompt queries show; None without prompt queries.
            draws: Random choices.

        Raises:
            ValueError: If predictions and targets differ in clips, frames or prompts.
        """
        self._check(predictions[-1], num_learnable, targets, prompts)
        if prompts is not None and not prompts.rows.shape[1]:
            prompts = None
        with torch.autocast(predictions[-1].mask_logits.device.type, enabled=False):
            return self._compute(predictions, num_learnable, targets, prompts, draws)

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Weighted sum of the terms, the loss."""
        return torch.stack([self.config.weight(name) * value for name, value in terms.items()]).sum()

    def interclip(self, windows: Sequence[UniVSLosses], draws: TrainingDraws) -> dict[str, Tensor]:
        """Terms between the windows of a video, for every prediction but the first (stage 3).

        Args:
            windows: Results of the windows.
        """
        num_layers = len(windows[0].pools)
        sums, num_objects = {}, 0
        for layer in range(1, num_layers):
            pool = ReidEmbeddings.cat([window.pools[layer] for window in windows])
            suffix = "" if layer == num_layers - 1 else f"_{layer}"
            contrastive, auxiliary, num_objects = interclip_losses(pool, draws)
            sums[f"loss_reid_interclip{suffix}"] = contrastive
            sums[f"loss_reid_interclip_aux{suffix}"] = auxiliary
        # The same objects are visible for every layer.
        device = windows[0].pools[0].ids.device
        norm = average_over_processes(torch.tensor(float(num_objects), device=device)).clamp(min=1)
        return {name: value / norm for name, value in sums.items()}

    @staticmethod
    def _check(
        prediction: UniVSPrediction,
        num_learnable: int,
        targets: UniVSTrainingTargets,
        prompts: UniVSPromptTargets | None,
    ) -> None:
        num_clips, num_queries, num_frames = prediction.mask_logits.shape[:3]
        if len(targets.counts) != num_clips or targets.visible.shape[1] != num_frames:
            raise ValueError(
                f"`targets` must describe {num_clips} clip(s) of {num_frames} frame(s) as the predictions do, got "
                f"{len(targets.counts)} of {targets.visible.shape[1]}."
            )
        num_prompts = 0 if prompts is None else prompts.rows.shape[1]
        if num_queries - num_learnable != num_prompts:
            raise ValueError(
                f"`prompts` must describe the {num_queries - num_learnable} prompt queries of the predictions, got "
                f"{num_prompts}."
            )

    def _compute(
        self,
        predictions: Sequence[UniVSPrediction],
        num_learnable: int,
        targets: UniVSTrainingTargets,
        prompts: UniVSPromptTargets | None,
        draws: TrainingDraws,
    ) -> UniVSLosses:
        norms = self._normalisers(targets, prompts)
        # Learnable and prompt queries share a term half and half. Where a clip has no prompts, its learnable queries
        # make up the whole term; the original halves it there too (bug B10).
        share = torch.ones(len(targets.counts), device=targets.labels.device)
        if prompts is not None:
            share = torch.where(prompts.valid.any(1), 0.5, share)

        last = len(predictions) - 1
        parts = [prediction.split(num_learnable) for prediction in predictions]
        terms: dict[str, Tensor] = {}
        pools: dict[int, ReidEmbeddings] = {}
        for index in (last, *range(last)):
            learnable, prompted = parts[index]
            found, pools[index] = self._learnable_terms(learnable, prompted, targets, prompts, share, norms, draws)
            suffix = "" if index == last else f"_{index}"
            terms.update({name + suffix: value for name, value in found.items()})
        if prompts is not None:
            for index in (last, *range(last)):
                suffix = "" if index == last else f"_{index}"
                for name, value in self._prompt_terms(parts[index][1], prompts, norms, draws).items():
                    terms[name + suffix] = terms[name + suffix] + 0.5 * value
        return UniVSLosses(terms, [pools[index] for index in range(len(predictions))])

    @staticmethod
    def _normalisers(targets: UniVSTrainingTargets, prompts: UniVSPromptTargets | None) -> _Normalisers:
        device = targets.labels.device
        num_frames = targets.visible.shape[1]
        counts = [len(targets.labels), 0, 0, targets.visible.sum(), 0, 0, len(targets.counts)]
        if prompts is not None:
            # Every row has a query in every prediction, so what is counted does not depend on the matching.
            rows = _row_embeddings(None, _compared_ids(targets, prompts), targets.clips, targets.counts)
            present = prompts.present.sum()
            counts[1:3] = prompts.valid.sum(), present
            counts[4:6] = present * num_frames, relate(rows, _prompt_columns(None, prompts))[1].any(1).sum()
        counts = torch.stack([torch.as_tensor(count, device=device).float() for count in counts])
        return _Normalisers(*average_over_processes(counts).clamp(min=1))

    # Learnable queries ----------------------------------------------------------------------------------------------

    def _learnable_terms(
        self,
        prediction: UniVSPrediction,
        prompted: UniVSPrediction,
        targets: UniVSTrainingTargets,
        prompts: UniVSPromptTargets | None,
        share: Tensor,
        norms: _Normalisers,
        draws: TrainingDraws,
    ) -> tuple[dict[str, Tensor], ReidEmbeddings]:
        """Terms of one prediction of the learnable queries, and the embeddings that windows are compared by."""
        config = self.config
        matches = match_queries(
            prediction.mask_logits,
            prediction.class_logits,
            targets,
            draws.matching_points("matching", config.num_points),
            class_weight=config.matching_class_weight,
            mask_weight=config.matching_mask_weight,
            dice_weight=config.matching_dice_weight,
        )
        terms = {"loss_ce": prediction.embeddings.sum() * 0}
        if prediction.class_logits is not None:
            counted = _counted_queries(prediction.mask_logits, targets, matches)
            labels = targets.labels[matches.rows]
            losses = _class_losses(prediction.class_logits, labels, matches.clips, matches.queries, counted)
            terms["loss_ce"] = (losses * share).sum() / norms.rows

        masks = prediction.mask_logits[matches.clips, matches.queries]
        mask_share = share[matches.clips] / (norms.rows * masks.shape[1])
        terms["loss_mask"], terms["loss_dice"] = self._mask_losses(
            masks, targets.masks, matches.rows, matches.counts, mask_share, draws, "learnable"
        )

        embeddings = prediction.embeddings[matches.clips, matches.queries]
        rows = _row_embeddings(embeddings, targets.frame_ids[matches.rows], matches.clips, matches.counts)
        row_share = share[rows.clips] / norms.learnable_anchors
        terms["loss_reid"] = (contrastive_loss(rows, rows, draws, "reid") * row_share).sum()
        terms["loss_reid_aux"] = (auxiliary_loss(rows, rows, draws, "reid aux") * row_share).sum()

        pool = rows.only_valid()
        terms["loss_reid_l2p"] = terms["loss_reid_l2p_aux"] = embeddings.sum() * 0
        if prompts is not None:
            ids = _compared_ids(targets, prompts)[matches.rows]
            compared = _row_embeddings(embeddings, ids, matches.clips, matches.counts)
            columns = _prompt_columns(prompted.embeddings, prompts)
            losses = contrastive_loss(compared, columns, draws, "reid l2p")
            terms["loss_reid_l2p"] = losses.sum() / norms.cross_anchors
            if prompts.kind != "category":
                losses = auxiliary_loss(compared, columns, draws, "reid l2p aux")
                terms["loss_reid_l2p_aux"] = losses.sum() / norms.cross_anchors
                pool = ReidEmbeddings.cat([columns.only_valid(), pool])
        return terms, pool

    # Prompt queries -------------------------------------------------------------------------------------------------

    def _prompt_terms(
        self, prediction: UniVSPrediction, prompts: UniVSPromptTargets, norms: _Normalisers, draws: TrainingDraws
    ) -> dict[str, Tensor]:
        """Terms of one prediction of the prompt queries."""
        clips, places = prompts.present.nonzero(as_tuple=True)
        counts = prompts.present.sum(1).tolist()
        terms = {}
        if prediction.class_logits is not None:
            labels = prompts.labels[clips, places]
            losses = _class_losses(prediction.class_logits, labels, clips, places, prompts.valid)
            terms["loss_ce"] = losses.sum() / norms.present_prompts

        masks = prediction.mask_logits[clips, places]
        share = 1 / (norms.prompt_slots * masks.shape[1]).expand(len(clips))
        terms["loss_mask"], terms["loss_dice"] = self._mask_losses(
            masks, prompts.masks, prompts.rows[clips, places], counts, share, draws, "prompt"
        )
        if prompts.kind == "category":
            terms["loss_mask"] = terms["loss_mask"] + self._semantic_losses(prediction, prompts, draws) / norms.clips

        ids = prompts.ids[clips, places][:, None].expand(-1, masks.shape[1])
        rows = _row_embeddings(prediction.embeddings[clips, places], ids, clips, counts)
        terms["loss_reid"] = contrastive_loss(rows, rows, draws, "reid").sum() / norms.prompt_anchors
        terms["loss_reid_aux"] = auxiliary_loss(rows, rows, draws, "reid aux").sum() / norms.prompt_anchors
        return terms

    def _semantic_losses(
        self, prediction: UniVSPrediction, prompts: UniVSPromptTargets, draws: TrainingDraws
    ) -> Tensor:
        """Which of a clip's category prompts covers a pixel: cross entropy over the prompts at uncertain points.

        Returns:
            Sum over the clips of the mean over their points that some prompt covers.
        """
        config = self.config
        num_clips, num_prompts, num_frames = prediction.mask_logits.shape[:3]
        logits = prediction.mask_logits.float().transpose(1, 2)
        logits = logits.masked_fill(~prompts.valid[:, None, :, None, None], torch.finfo(logits.dtype).min)
        logits = logits.flatten(0, 1)
        points = draws.mask_points(
            "semantic",
            logits.detach().amax(1),
            [num_frames] * num_clips,
            config.num_points,
            config.oversample_ratio,
            config.importance_sample_ratio,
        )
        clips, places = prompts.present.nonzero(as_tuple=True)
        clip_points = points.unflatten(0, (num_clips, num_frames))[clips]
        covers = prompts.masks.new_zeros(num_clips, num_prompts, num_frames, config.num_points)
        covers[clips, places] = sample_masks_nearest(prompts.masks, prompts.rows[clips, places], clip_points)
        # Where categories overlap, the first prompt that covers a point owns it.
        labels = torch.where(covers.any(1), covers.to(torch.uint8).argmax(1), -1).flatten(0, 1)
        losses = F.cross_entropy(sample_maps(logits, points), labels, ignore_index=-1, reduction="none")
        losses = losses.unflatten(0, (num_clips, num_frames)).sum((1, 2))
        covered = (labels >= 0).unflatten(0, (num_clips, num_frames)).sum((1, 2))
        return (losses / covered.clamp(min=1)).sum()

    # Masks ----------------------------------------------------------------------------------------------------------

    def _mask_losses(
        self,
        logits: Tensor,
        masks: Tensor,
        rows: Tensor,
        counts: Sequence[int],
        share: Tensor,
        draws: TrainingDraws,
        purpose: str,
    ) -> tuple[Tensor, Tensor]:
        """Binary cross entropy and dice at points of each frame.

        Args:
            logits: `(M, T, h, w)`.
            masks: `(S, T, H, W)` boolean.
            rows: `(M,)`, which mask belongs to which logits.
            counts: Pairs of each clip.
            share: `(M,)`, what each pair is multiplied by.
        """
        if not len(rows):
            return logits.sum() * 0, logits.sum() * 0
        config = self.config
        num_frames = logits.shape[1]
        logits = logits.float().flatten(0, 1)
        with torch.no_grad():
            points = draws.mask_points(
                purpose,
                logits.detach(),
                [count * num_frames for count in counts],
                config.num_points,
                config.oversample_ratio,
                config.importance_sample_ratio,
            )
            wanted = sample_masks(masks, rows, points.unflatten(0, (-1, num_frames)))
        found = sample_maps(logits[:, None], points).squeeze(1).unflatten(0, (-1, num_frames))
        entropy = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean(-1)
        probability = found.sigmoid()
        overlap = (probability * wanted).sum(-1)
        dice = 1 - (2 * overlap + 1) / (probability.sum(-1) + wanted.sum(-1) + 1)
        return (entropy.sum(1) * share).sum(), (dice.sum(1) * share).sum()


def _class_losses(logits: Tensor, labels: Tensor, clips: Tensor, queries: Tensor, counted: Tensor) -> Tensor:
    """Focal term of all queries and softmax term of those that show something, summed over each clip.

    A clip without a labelled object has no class term.

    Args:
        logits: `(B, Q, K)`.
        labels: `(M,)`, category of each query that shows something; -1 if unknown, which leaves the query out.
        clips, queries: `(M,)`.
        counted: `(B, Q)` boolean, queries whose class is supervised.

    Returns:
        `(B,)`.
    """
    known = labels >= 0
    counted = counted.clone()
    counted[clips, queries] = known
    clips, queries, labels = clips[known], queries[known], labels[known]
    target = torch.zeros_like(logits)
    target[clips, queries, labels] = 1
    log_probability = F.logsigmoid(logits * (2 * target - 1))
    # Both sides have the same weight, as alpha is one half.
    focal = -_FOCAL_ALPHA * (1 - log_probability.exp()) ** _FOCAL_GAMMA * log_probability
    focal = torch.where(counted, focal.sum(-1), 0.0).sum(1)
    entropy = F.cross_entropy(logits[clips, queries], labels, reduction="none")
    has_label = torch.zeros_like(focal, dtype=torch.bool)
    has_label[clips] = True
    return torch.where(has_label, focal, 0.0).index_add(0, clips, entropy)


@torch.no_grad()
def _counted_queries(mask_logits: Tensor, targets: UniVSTrainingTargets, matches: UniVSMatches) -> Tensor:
    """`(B, Q)` boolean: False for queries that show mostly objects that were left out of the targets."""
    num_clips, num_queries = mask_logits.shape[:2]
    if targets.left_out is None:
        return torch.ones(num_clips, num_queries, dtype=torch.bool, device=mask_logits.device)
    left_out = F.interpolate(targets.left_out.float(), size=mask_logits.shape[-2:], mode="area")
    positive = (mask_logits > 0).float()
    overlap = torch.einsum("bqthw,bthw->bq", positive, left_out)
    counted = overlap <= _LEFT_OUT_SHARE * positive.sum((2, 3, 4))
    counted[matches.clips, matches.queries] = True
    return counted


def _row_embeddings(embeddings: Tensor | None, ids: Tensor, clips: Tensor, counts: Sequence[int]) -> ReidEmbeddings:
    """Embeddings `(M, T, C)` with ids `(M, T)` and clips `(M,)`, one row per query and frame."""
    num_frames = ids.shape[1]
    if embeddings is None:
        embeddings = torch.empty(*ids.shape, 0, device=ids.device)
    return ReidEmbeddings(
        embeddings.flatten(0, 1),
        ids.flatten(),
        clips.repeat_interleave(num_frames),
        [count * num_frames for count in counts],
    )


def _compared_ids(targets: UniVSTrainingTargets, prompts: UniVSPromptTargets) -> Tensor:
    """`(R, T)`, what a query of a row has in common with prompts: the category, or else the object where visible."""
    if prompts.kind == "category":
        return targets.labels[:, None].expand_as(targets.visible)
    return targets.frame_ids


def _prompt_columns(embeddings: Tensor | None, prompts: UniVSPromptTargets) -> ReidEmbeddings:
    """Embeddings `(B, P, T, C)` of prompts as learnable queries are compared with them."""
    clips, places = prompts.present.nonzero(as_tuple=True)
    ids = torch.where(prompts.visible, prompts.ids[..., None], -1)[clips, places]
    embeddings = None if embeddings is None else embeddings[clips, places]
    return _row_embeddings(embeddings, ids, clips, prompts.present.sum(1).tolist())
