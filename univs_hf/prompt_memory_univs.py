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
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.stop = 0  # frame after the newest slot
        # Each (2, N, S, R, C): features and positions side by side, since they are always written together.
        self._slots: torch.Tensor | None = None
        self._first: torch.Tensor | None = None  # (2, N, R, C)

    @property
    def start(self) -> int:
        """Frame of the oldest slot held."""
        return self.stop - (0 if self._slots is None else self._slots.shape[2])

    @property
    def num_objects(self) -> int:
        return 0 if self._slots is None else self._slots.shape[1]

    def add_objects(self, count: int) -> None:
        """Appends objects that have been absent so far: their slots are zero."""
        if count and self._slots is not None:
            self._slots = torch.cat([self._slots, self._slots.new_zeros(2, count, *self._slots.shape[2:])], dim=1)
            self._first = torch.cat([self._first, self._first.new_zeros(2, count, *self._first.shape[2:])], dim=1)

    def append_frames(self, count: int, num_objects: int, num_pixels: int, reference: torch.Tensor) -> None:
        """Appends blank slots of type and device of `reference`, whose last dimension is C, and drops the oldest."""
        channels = reference.shape[-1]
        blank = reference.new_zeros(2, num_objects, count, num_pixels, channels)
        if self._slots is None:
            self._slots, self._first = blank, blank.new_zeros(2, num_objects, num_pixels, channels)
        else:
            self._slots = torch.cat([self._slots, blank], dim=2)[:, :, -self.capacity :]
        self.stop += count

    def write(self, frame: int, features: torch.Tensor, positions: torch.Tensor, present: torch.Tensor) -> None:
        """Stores prompts in the slot of `frame` and in all newer ones.

        Args:
            frame: Absolute frame number on which the prompts lie.
            features, positions (`torch.Tensor` of shape (N, R, C)): Their tokens.
            present (`torch.Tensor` of shape (N,), bool): Objects to write; the others keep what they have.
        """
        tokens = torch.stack([features, positions]).unsqueeze(2)
        newer = self._slots[:, :, max(frame - self.start, 0) :]
        newer.copy_(torch.where(present[:, None, None, None], tokens, newer))

    def write_slot(
        self, frame: int, features: torch.Tensor, positions: torch.Tensor, first_frames: Sequence[int]
    ) -> None:
        """Stores prompts (N, R, C) in the slot of `frame` alone, and as first slot of objects that appeared there.

        The slot may have left the pool: the first appearance is remembered nevertheless.
        """
        tokens = torch.stack([features, positions])
        if self.start <= frame < self.stop:
            self._slots[:, :, frame - self.start] = tokens
        for index, first_frame in enumerate(first_frames):
            if first_frame == frame:
                self._first[:, index] = tokens[:, index]

    def select_objects(self, indices: torch.Tensor) -> None:
        """Keeps the objects with these indices and forgets the others."""
        if self._slots is not None:
            self._slots, self._first = self._slots[:, indices], self._first[:, indices]

    def keep_first(self, first_frames: Sequence[int]) -> None:
        """Copies the first-appearance slot of each object that still is in the pool (-1: not yet seen)."""
        for index, frame in enumerate(first_frames):
            if self.start <= frame < self.stop:
                self._first[:, index] = self._slots[:, index, frame - self.start]

    def read_clip(self, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and positions (1, N, T, R, C) of the newest `num_frames` slots."""
        features, positions = self._slots[:, None, :, -num_frames:]
        return features, positions

    def read_memory(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and positions (1, N, (1 + S) * R, C): the first-appearance slot, then all slots in time order."""
        features, positions = torch.cat([self._first.unsqueeze(2), self._slots], dim=2).flatten(2, 3).unsqueeze(1)
        return features, positions
