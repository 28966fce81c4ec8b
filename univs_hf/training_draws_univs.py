# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Every random choice of a training step: points, prompts, frame permutations, subsets of queries.

All of them are made for one clip at a time from that clip's generator, so that a clip's loss does not depend on which
other clips share its batch or process. Recorded choices are replayed by overriding the methods.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .point_sampling_univs import sample_maps


class TrainingDraws:
    """Source of random choices.

    Every method is told what the choice is for (`purpose`), which the methods here ignore and a replay can look at.

    Args:
        num_clips: Clips of the batch, B.
        generator: One generator for all clips or a sequence with one for each; torch's own by default.
        device: Where the choices are wanted. A generator may live elsewhere.

    Raises:
        ValueError: If a sequence holds another number of generators than there are clips.
    """

    def __init__(
        self,
        num_clips: int,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        device: torch.device | str = "cpu",
    ):
        if generator is None or isinstance(generator, torch.Generator):
            generators = [generator] * num_clips
        else:
            generators = list(generator)
        if len(generators) != num_clips:
            raise ValueError(
                f"`generator` must be None, one generator or one per clip ({num_clips}), got {len(generators)}."
            )
        self.generators = generators
        self.device = torch.device(device)

    @property
    def num_clips(self) -> int:
        """B."""
        return len(self.generators)

    def rand(self, purpose: str, clip: int, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) for one clip, float32 of `shape`."""
        generator = self.generators[clip]
        device = self.device if generator is None else generator.device
        return torch.rand(shape, generator=generator, device=device).to(self.device)

    def rand_rows(self, purpose: str, counts: Sequence[int], *shape: int) -> Tensor:
        """Uniform numbers for rows that lie clip after clip, `counts[b]` of clip b -> `(sum of counts, *shape)`."""
        return torch.cat([self.rand(purpose, clip, count, *shape) for clip, count in enumerate(counts)])

    def rand_padded(self, purpose: str, counts: Sequence[int], *shape: int) -> Tensor:
        """Uniform numbers for `counts[b]` rows of clip b, then zeros -> `(B, largest count, *shape)`."""
        drawn = [self.rand(purpose, clip, count, *shape) for clip, count in enumerate(counts)]
        return torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)

    def permutation(self, purpose: str, clip: int, count: int) -> Tensor:
        """A random order of 0..`count`-1 for one clip, int64."""
        return self.rand(purpose, clip, count).argsort()

    def pixel(self, purpose: str, rows: Sequence[int], counts: Tensor) -> Tensor:
        """A rank below each count, `(B, N)` int64 -> `(B, N)`; 0 for a count of 0.

        Args:
            rows: How many of the N counts of each clip are no padding, which comes last.
            counts: `(B, N)` int64.
        """
        drawn = self.rand_padded(purpose, rows)
        return torch.minimum((drawn * counts).long(), (counts - 1).clamp(min=0))

    def pixel_ranks(self, purpose: str, rows: Sequence[int], counts: Tensor, num_ranks: int, max_count: int) -> Tensor:
        """A random subset of ranks below each count, cyclic where there are fewer.

        Args:
            rows, counts: As in [`TrainingDraws.pixel`].
            num_ranks: R.
            max_count: Largest possible count.

        Returns:
            `(B, N, R)` int64.
        """
        size = max(max_count, num_ranks)
        keys = self.rand_padded(purpose, rows, size)
        index = torch.arange(size, device=keys.device)
        drawn = keys.masked_fill(index >= counts[..., None], 2.0).argsort(-1)[..., :num_ranks]
        cyclic = index[:num_ranks] % counts[..., None].clamp(min=1)
        return torch.where(counts[..., None] >= num_ranks, drawn, cyclic)

    def frame_permutations(self, purpose: str, num_frames: int) -> Tensor:
        """A random order of the frames of each clip, `(B, T)` int64."""
        return torch.stack([self.permutation(purpose, clip, num_frames) for clip in range(self.num_clips)])

    def matching_points(self, purpose: str, num_points: int) -> Tensor:
        """Points of each clip on which queries and targets are compared, `(B, P, 2)` in [0, 1)."""
        return torch.stack([self.rand(purpose, clip, num_points, 2) for clip in range(self.num_clips)])

    def mask_points(
        self,
        purpose: str,
        logits: Tensor,
        counts: Sequence[int],
        num_points: int,
        oversample_ratio: float,
        importance_sample_ratio: float,
    ) -> Tensor:
        """Points on which maps are supervised: partly where they are most uncertain, partly anywhere (PointRend).

        Args:
            logits: `(M, h, w)` maps, those of clip 0 first.
            counts: Maps of each clip.
            num_points: P, points per map.
            oversample_ratio: Candidates per point.
            importance_sample_ratio: Share of the points that is chosen among the candidates, nearest to 0 first.

        Returns:
            `(M, P, 2)`, x and y in [0, 1).
        """
        candidates = self.rand_rows(purpose, counts, int(num_points * oversample_ratio), 2)
        num_uncertain = int(importance_sample_ratio * num_points)
        certainty = sample_maps(logits[:, None], candidates)[:, 0].abs()
        chosen = certainty.topk(num_uncertain, dim=1, largest=False).indices
        uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat((uncertain, self.rand_rows(purpose, counts, num_points - num_uncertain, 2)), dim=1)

    def subset(self, purpose: str, candidates: Tensor, counts: Sequence[int], limits: Tensor) -> Tensor:
        """A random subset of the candidates of each clip.

        Args:
            candidates: `(R,)` boolean, rows of clip 0 first.
            counts: Rows of each clip.
            limits: `(B,)` int64, how many to choose at most.

        Returns:
            `(R,)` boolean.
        """
        keys = self.rand_rows(purpose, counts)
        repeats = torch.tensor(counts, device=self.device)
        clip = torch.arange(len(counts), device=self.device).repeat_interleave(repeats, output_size=sum(counts))
        # Clip by clip, candidates before the others, in random order; the place in its clip is a row's rank.
        order = (keys + torch.where(candidates, 0.0, 1.0) + 2.0 * clip).argsort()
        starts = (repeats.cumsum(0) - repeats)[clip]
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order), device=self.device)
        return candidates & (ranks - starts < limits[clip])

    def choices(self, purpose: str, candidates: Tensor, counts: Sequence[int], num_choices: int) -> Tensor:
        """Random candidates of each row, with replacement.

        Args:
            candidates: `(A, R)` boolean, at least one True in each row; rows of clip 0 first.
            counts: Rows of each clip.
            num_choices: k.

        Returns:
            `(A, k)` int64, columns.
        """
        totals = candidates.cumsum(1)
        ranks = (self.rand_rows(purpose, counts, num_choices) * totals[:, -1:]).long()
        ranks = torch.minimum(ranks, totals[:, -1:] - 1)
        return torch.searchsorted(totals, ranks + 1)
