# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the clips of a training batch are supervised with: rows (objects, segments, expressions) and prompts.

Rows of all clips lie one after another without padding. A row is what one learnable query is matched with: an object,
a stuff segment, or an expression with the mask of the object it describes. A prompt refers to a row, or to all rows
of a category, by the row's index and never by an object's number, so that several expressions of one object or
objects that left the clip can't shift one prompt onto another's mask.

Shape legend: B clips, R rows of all clips, T frames, (H, W) padded frame, P prompts of a clip (padded to the clip
with most), S masks that prompts refer to, K categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from .training_draws_univs import TrainingDraws

PROMPT_KINDS = ("visual", "category", "expression")


@dataclass
class UniVSTrainingTargets:
    """Rows of a batch of clips.

    Attributes:
        masks: `(R, T, H, W)` boolean.
        labels: `(R,)` int64, index of the category, -1 without one.
        ids: `(R,)` int64, identity: rows of a clip with the same number are the same object.
        visible: `(R, T)` boolean, whether the mask of the frame has a pixel.
        counts: Rows of each clip.
        source_rows: `(R,)` int64, index of the row among those that were given for its clip.
        given_labels: `(R',)` int64 per clip, the categories of all rows that were given, also of invisible ones.
        left_out: `(B, T, H, W)` boolean, pixels of objects that [`UniVSTrainingTargets.limit`] left out.
    """

    masks: Tensor
    labels: Tensor
    ids: Tensor
    visible: Tensor
    counts: list[int]
    source_rows: Tensor
    given_labels: list[Tensor]
    left_out: Tensor | None = None

    @property
    def clips(self) -> Tensor:
        """`(R,)` int64, clip of each row."""
        counts = torch.tensor(self.counts, device=self.labels.device)
        return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)

    @property
    def places(self) -> Tensor:
        """`(R,)` int64, index of each row among the rows of its clip."""
        starts = torch.tensor([0, *self.counts[:-1]], device=self.labels.device).cumsum(0)
        return torch.arange(len(self.labels), device=starts.device) - starts[self.clips]

    @property
    def frame_ids(self) -> Tensor:
        """`(R, T)` int64, identity where the row is visible, -1 elsewhere."""
        return torch.where(self.visible, self.ids[:, None], -1)

    def window(self, start: int, stop: int) -> UniVSTrainingTargets:
        """The same rows on frames `start` to `stop - 1`, including rows that these frames don't show."""
        return replace(
            self,
            masks=self.masks[:, start:stop],
            visible=self.visible[:, start:stop],
            left_out=None if self.left_out is None else self.left_out[:, start:stop],
        )

    def limit(self, max_rows: int, draws: TrainingDraws) -> UniVSTrainingTargets:
        """A random subset of at most `max_rows` rows of each clip.

        The original keeps the first rows, and queries that find one of the others are taught that they show nothing
        (bug B5). Here every row has the same chance, and where the others were is remembered in `left_out`, so that
        the criterion can leave out the queries found there.
        """
        if max(self.counts, default=0) <= max_rows:
            return self
        keep = torch.zeros_like(self.labels, dtype=torch.bool)
        start = 0
        for clip, count in enumerate(self.counts):
            chosen = draws.permutation("rows", clip, count)[:max_rows] if count > max_rows else torch.arange(count)
            keep[start + chosen.to(keep.device)] = True
            start += count
        left_out = _union(self.masks[~keep], self.clips[~keep], len(self.counts))
        return replace(
            self,
            masks=self.masks[keep],
            labels=self.labels[keep],
            ids=self.ids[keep],
            visible=self.visible[keep],
            counts=[min(count, max_rows) for count in self.counts],
            source_rows=self.source_rows[keep],
            left_out=left_out,
        )


@dataclass
class UniVSPromptTargets:
    """Prompts of a batch of clips and what they are supervised with. Absent prompts have -1 for their row.

    Attributes:
        kind: `"visual"`, `"category"` or `"expression"`.
        masks: `(S, T, H, W)` boolean, masks that the prompts refer to; the rows' own unless prompts are categories.
        rows: `(B, P)` int64, which of `masks`; -1 for a category that the clip lacks, and for padding.
        valid: `(B, P)` boolean, False for padding.
        labels: `(B, P)` int64, index of the category, -1 without one.
        ids: `(B, P)` int64, identity of the prompted object (or of the category); -1 for absent ones.
        visible: `(B, P, T)` boolean.
        key_frames: `(B,)` int64, frame of the clip that visual prompts are taken from.
    """

    kind: str
    masks: Tensor
    rows: Tensor
    valid: Tensor
    labels: Tensor
    ids: Tensor
    visible: Tensor
    key_frames: Tensor | None = None

    @property
    def present(self) -> Tensor:
        """`(B, P)` boolean, prompts whose object or category is in the clip."""
        return self.rows >= 0

    @property
    def numbers(self) -> list[int]:
        """Prompts of each clip without padding, which comes last."""
        return self.valid.sum(1).tolist()

    def window(self, start: int, stop: int) -> UniVSPromptTargets:
        """The same prompts on frames `start` to `stop - 1`; no key frame is set."""
        masks, visible = self.masks[:, start:stop], self.visible[:, :, start:stop]
        return replace(self, masks=masks, visible=visible, key_frames=None)


def collect_targets(
    mask_labels: Sequence[Tensor],
    class_labels: Sequence[Tensor] | None,
    obj_ids: Sequence[Tensor] | None,
    num_frames: int,
    frame_size: tuple[int, int],
    num_categories: int,
    device: torch.device | str,
) -> UniVSTrainingTargets:
    """Checks the labels of a batch and lays the rows of all clips one after another.

    Rows that no frame shows are dropped.

    Args:
        mask_labels: Per clip `(N, T, H', W')` masks, not 0 on the object; at most as large as the padded frames, which
            they are padded to at the bottom and right. N may be 0 and differs from clip to clip.
        class_labels: Per clip `(N,)` int64, index of the category, -1 where it is unknown. None without categories.
        obj_ids: Per clip `(N,)` int64, identity of each row, not negative: rows of a clip with the same number are
            the same object (several expressions may describe one). By default each row is an object of its own.
        num_frames, frame_size: T and (H, W) of the frames that the model sees.
        num_categories: K, the categories that are classified.
        device: Where the targets are wanted.

    Raises:
        ValueError: If a list has another length than the batch, or a tensor another shape or range than said.
    """
    num_clips = len(mask_labels)
    for name, labels in (("class_labels", class_labels), ("obj_ids", obj_ids)):
        if labels is not None and len(labels) != num_clips:
            raise ValueError(f"`{name}` must have one tensor per clip ({num_clips}), got {len(labels)}.")
    height, width = frame_size
    masks, labels, ids = [], [], []
    for clip, mask in enumerate(mask_labels):
        if mask.ndim != 4 or mask.shape[1] != num_frames or mask.shape[2] > height or mask.shape[3] > width:
            raise ValueError(
                f"`mask_labels[{clip}]` must be of shape (rows, {num_frames} frames, height up to {height}, width up "
                f"to {width}), got {tuple(mask.shape)}."
            )
        mask = mask.to(device) > 0
        masks.append(F.pad(mask, (0, width - mask.shape[3], 0, height - mask.shape[2])))
        given = torch.full((len(mask),), -1) if class_labels is None else class_labels[clip]
        _check_rows("class_labels", clip, given, len(mask), -1, num_categories - 1)
        labels.append(given.to(device, torch.int64))
        given = torch.arange(len(mask)) if obj_ids is None else obj_ids[clip]
        _check_rows("obj_ids", clip, given, len(mask), 0, None)
        ids.append(given.to(device, torch.int64))

    visible = [mask.flatten(2).any(-1) for mask in masks]
    shown = [rows.any(-1) for rows in visible]

    def only_shown(tensors: list[Tensor]) -> Tensor:
        return torch.cat([tensor[keep] for tensor, keep in zip(tensors, shown, strict=True)])

    return UniVSTrainingTargets(
        masks=only_shown(masks),
        labels=only_shown(labels),
        ids=only_shown(ids),
        visible=only_shown(visible),
        counts=[int(keep.sum()) for keep in shown],
        source_rows=torch.cat([keep.nonzero()[:, 0] for keep in shown]),
        given_labels=[label[label >= 0].unique() for label in labels],
    )


def _check_rows(name: str, clip: int, given: Tensor, count: int, low: int, high: int | None) -> None:
    if given.ndim != 1 or len(given) != count or given.is_floating_point():
        raise ValueError(
            f"`{name}[{clip}]` must be a tensor of integers of shape ({count},), as `mask_labels[{clip}]` has "
            f"{count} rows, got {given.dtype} of shape {tuple(given.shape)}."
        )
    if count and (given.min() < low or (high is not None and given.max() > high)):
        accepted = f"{low} or more" if high is None else f"{low} to {high}"
        raise ValueError(
            f"`{name}[{clip}]` must hold numbers of {accepted}, got {int(given.min())} to {int(given.max())}."
        )


def _union(masks: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Union of the masks `(R, T, H, W)` of each group -> `(num_groups, T, H, W)` boolean."""
    return masks.new_zeros(num_groups, *masks.shape[1:]).index_add_(0, groups, masks)


def draw_key_frames(num_clips: int, num_frames: int, draws: TrainingDraws) -> Tensor:
    """A random frame of each clip, `(B,)` int64, that visual prompts are taken from."""
    return torch.stack([draws.permutation("key frame", clip, num_frames)[0] for clip in range(num_clips)])


def choose_visual_prompts(
    targets: UniVSTrainingTargets, draws: TrainingDraws, max_prompts: int, num_frames: int | None = None
) -> UniVSPromptTargets:
    """Prompts the objects that a random frame of each clip shows, in random order (specification 4.5).

    Clips with fewer objects than the one with most are padded; the original repeats objects instead.

    Args:
        max_prompts: M, prompts of a clip at most.
        num_frames: The frame is one of so many at the beginning; any by default.
    """
    device = targets.labels.device
    num_frames = targets.visible.shape[1] if num_frames is None else num_frames
    key_frames, chosen, start = [], [], 0
    for clip, count in enumerate(targets.counts):
        frame = draws.permutation("key frame", clip, num_frames)[0]
        shown = targets.visible[start : start + count, frame].nonzero()[:, 0] + start
        order = draws.permutation("prompted objects", clip, len(shown)).to(device)
        chosen.append(shown[order[:max_prompts]])
        key_frames.append(frame)
        start += count
    return replace(_row_prompts("visual", targets, chosen), key_frames=torch.stack(key_frames).to(device))


def choose_expression_prompts(targets: UniVSTrainingTargets) -> UniVSPromptTargets:
    """Prompts every row with its expression; the rows' `source_rows` tell which of the given expressions it is."""
    rows = torch.arange(len(targets.labels), device=targets.labels.device)
    return _row_prompts("expression", targets, list(rows.split(targets.counts)))


def _row_prompts(kind: str, targets: UniVSTrainingTargets, chosen: Sequence[Tensor]) -> UniVSPromptTargets:
    """Prompts that refer to rows; `chosen` has the rows of each clip."""
    rows = torch.nn.utils.rnn.pad_sequence(list(chosen), batch_first=True, padding_value=-1)
    if not len(targets.labels):
        return _no_prompts(kind, targets)
    valid = rows >= 0
    index = rows.clamp(min=0)
    return UniVSPromptTargets(
        kind=kind,
        masks=targets.masks,
        rows=rows,
        valid=valid,
        labels=torch.where(valid, targets.labels[index], -1),
        ids=torch.where(valid, targets.ids[index], -1),
        visible=targets.visible[index] & valid[..., None],
    )


def _no_prompts(kind: str, targets: UniVSTrainingTargets) -> UniVSPromptTargets:
    none = targets.labels.new_zeros(len(targets.counts), 0)
    return UniVSPromptTargets(
        kind=kind,
        masks=targets.masks,
        rows=none,
        valid=none.bool(),
        labels=none,
        ids=none,
        visible=none.bool()[..., None].expand(-1, -1, targets.visible.shape[1]),
    )


def choose_category_prompts(
    targets: UniVSTrainingTargets,
    num_categories: int,
    draws: TrainingDraws,
    max_prompts: int,
    negative_ratio: float,
) -> UniVSPromptTargets:
    """Prompts the categories of each clip, followed by random ones that it lacks (specification 4.3).

    A prompt is supervised with the union of all rows of its category. In the original, categories that the clip lacks
    only fill up clips with fewer categories than another of the same batch, so there are none with one clip per
    process (bug B4); here every clip gets its share.

    Args:
        num_categories: K.
        max_prompts: M, prompts of a clip at most; more categories than that are cut at random.
        negative_ratio: Absent categories per present one, rounded up.
    """
    if not 0 <= negative_ratio:
        raise ValueError(f"`negative_ratio` must not be negative, got {negative_ratio}.")
    device = targets.labels.device
    labelled = targets.labels >= 0
    keys, groups = (targets.clips * num_categories + targets.labels)[labelled].unique(return_inverse=True)
    masks = _union(targets.masks[labelled], groups, len(keys))
    rows, labels = [], []
    for clip in range(len(targets.counts)):
        group = (keys.div(num_categories, rounding_mode="floor") == clip).nonzero()[:, 0]
        if len(group) > max_prompts:
            kept = draws.permutation("prompted categories", clip, len(group))[:max_prompts]
            group = group[kept.to(device)].sort().values
        absent = torch.ones(num_categories, dtype=torch.bool, device=device)
        absent[targets.given_labels[clip]] = False
        absent = absent.nonzero()[:, 0]
        absent = absent[draws.permutation("absent categories", clip, len(absent)).to(device)]
        wanted = -int(-negative_ratio * len(group) // 1)
        absent = absent[: min(wanted, max_prompts - len(group))]
        rows.append(torch.cat((group, torch.full_like(absent, -1))))
        labels.append(torch.cat((keys[group] % num_categories, absent)))
    rows = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-1)
    num_frames = targets.visible.shape[1]
    return UniVSPromptTargets(
        kind="category",
        masks=masks,
        rows=rows,
        valid=labels >= 0,
        labels=labels,
        ids=torch.where(rows >= 0, labels, -1),
        # A category counts as shown on every frame of a clip that has it.
        visible=(rows >= 0)[..., None].expand(-1, -1, num_frames),
    )


def choose_prompt_kind(draws: TrainingDraws, visual_probability: float) -> str:
    """Kind of the prompts of a batch with categories: `"visual"` with the given probability, else `"category"`.

    The original compares a normal draw with 0.5, which gives visual prompts 31 % of the batches (bug B3); one uniform
    draw of the first clip decides here for the batch.
    """
    if not 0 <= visual_probability <= 1:
        raise ValueError(f"`visual_probability` must lie in [0, 1], got {visual_probability}.")
    drawn = draws.rand_rows("prompt kind", [1] * draws.num_clips)
    return "visual" if float(drawn[0]) < visual_probability else "category"
