# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The memory of visual prompts that a video carries from clip to clip.

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class VisualPromptMemory:
    """Pool of visual prompts of the objects: one slot per frame, R tokens per object and slot (section A.3.7).

    Only the most recent `capacity` slots are held, and per object the slot of the frame on which it appeared first.
    A slot is overwritten while its frame is in the clip and constant afterwards, so this equals an unbounded pool.

    Slots lie in a ring, behind the first appearance, so that new frames and reading move nothing.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.stop = 0  # frame after the newest slot
        # (2, N, 1 + capacity, R, C): features and positions side by side, since they are always written together; the
        # first appearance, then frame f in slot 1 + f modulo the capacity.
        self._slots: torch.Tensor | None = None

    @property
    def start(self) -> int:
        """Frame of the oldest slot held."""
        return max(self.stop - self.capacity, 0)

    @property
    def num_objects(self) -> int:
        return 0 if self._slots is None else self._slots.shape[1]

    def _index(self, start: int, stop: int) -> torch.Tensor:
        """Where frames `start` to `stop - 1` are."""
        return 1 + torch.arange(start, stop, device=self._slots.device) % self.capacity

    def add_objects(self, count: int) -> None:
        """Appends objects that have been absent so far: their slots are zero."""
        if count and self._slots is not None:
            self._slots = torch.cat([self._slots, self._slots.new_zeros(2, count, *self._slots.shape[2:])], dim=1)

    def select_objects(self, indices: torch.Tensor) -> None:
        """Keeps the objects with these indices and forgets the others."""
        if self._slots is not None:
            self._slots = self._slots[:, indices]

    def append_frames(self, count: int, num_objects: int, num_pixels: int, reference: torch.Tensor) -> None:
        """Appends blank slots of type and device of `reference`, whose last dimension is C, and drops the oldest."""
        if self._slots is None:
            self._slots = reference.new_zeros(2, num_objects, 1 + self.capacity, num_pixels, reference.shape[-1])
        self._slots.index_fill_(2, self._index(self.stop, self.stop + count), 0.0)
        self.stop += count

    def write(self, frame: int, features: torch.Tensor, positions: torch.Tensor, present: torch.Tensor) -> None:
        """Stores prompts in the slot of `frame` and in all newer ones.

        Args:
            frame: Absolute frame number on which the prompts lie.
            features, positions (`torch.Tensor` of shape (N, R, C)): Their tokens.
            present (`torch.Tensor` of shape (N,), bool): Objects to write; the others keep what they have.
        """
        self.write_frames([frame], features[:, None], positions[:, None], present[:, None])

    def write_frames(
        self, frames: Sequence[int], features: torch.Tensor, positions: torch.Tensor, present: torch.Tensor
    ) -> None:
        """As [`~VisualPromptMemory.write`] for one frame after the other.

        Args:
            frames: K absolute frame numbers, ascending.
            features, positions (`torch.Tensor` of shape (N, K, R, C)): Tokens of the prompts on them.
            present (`torch.Tensor` of shape (N, K), bool): Objects to write on each.
        """
        first = max(frames[0], self.start)
        slots = self._index(first, self.stop)
        # Each slot is given the last prompt on a frame that is not newer.
        newest = torch.tensor(
            [sum(other <= frame for other in frames) - 1 for frame in range(first, self.stop)], device=slots.device
        )
        candidates = torch.arange(len(frames), device=slots.device)
        source = torch.where(present, candidates, -1).cummax(dim=1).values[:, newest]  # (N, slots)
        index = source.clamp(min=0)[:, :, None, None].expand(-1, -1, *features.shape[2:])
        is_written = (source >= 0)[:, :, None, None]
        for kept, tokens in zip(self._slots, (features, positions), strict=True):
            kept.index_copy_(1, slots, torch.where(is_written, tokens.gather(1, index), kept[:, slots]))

    def write_slot(
        self, frame: int, features: torch.Tensor, positions: torch.Tensor, first_frames: Sequence[int]
    ) -> None:
        """Stores prompts (N, R, C) in the slot of `frame` alone, and as first slot of objects that appeared there.

        The slot may have left the pool: the first appearance is remembered nevertheless.
        """
        tokens = torch.stack([features, positions])
        if self.start <= frame < self.stop:
            self._slots[:, :, 1 + frame % self.capacity] = tokens
        rows = torch.tensor(
            [index for index, first_frame in enumerate(first_frames) if first_frame == frame],
            dtype=torch.int64,
            device=tokens.device,
        )
        self._slots[:, rows, 0] = tokens[:, rows]

    def keep_first(self, first_frames: Sequence[int]) -> None:
        """Copies the first-appearance slot of each object that still is in the pool (-1: not yet seen)."""
        held = [(index, frame) for index, frame in enumerate(first_frames) if self.start <= frame < self.stop]
        if held:
            rows, frames = torch.tensor(held, device=self._slots.device).unbind(dim=1)
            self._slots[:, rows, 0] = self._slots[:, rows, 1 + frames % self.capacity]

    def read_clip(self, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and positions (1, N, T, R, C) of the newest `num_frames` slots, in time order."""
        features, positions = self._slots[:, None, :, self._index(self.stop - num_frames, self.stop)]
        return features, positions

    def read_memory(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and positions (1, N, (1 + S) * R, C): the first-appearance slot, then all slots.

        They are not in time order, which attention does not see, and are views of what is kept.
        """
        held = self._slots[:, :, : 1 + min(self.stop, self.capacity)]
        features, positions = held.flatten(2, 3).unsqueeze(1)
        return features, positions
