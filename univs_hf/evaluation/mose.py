# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""MOSE (specification of the metrics, sections 5 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.layouts.mose import MoseLayout
from .benchmark import Option
from .davis_scoring import DavisScoredBenchmark


class Mose(DavisScoredBenchmark):
    """MOSE: objects of the first frame, followed to the end.

    The ground truth of `valid` is kept by a server, whose code is not public; where masks are there (`train`, or a
    folder of the user's own) they are scored by the rules of DAVIS. A prediction is `<video>/<frame>.png`, the
    submission the zip of these folders. The layout is that of [`~data.layouts.mose.MoseLayout`].

    Args:
        ground_truth (`Path`, *optional*): Folder of label maps, `<video>/<frame>.png`, for a split without.
        root, split, videos: See [`Benchmark`].
    """

    name = "mose"
    default_split = "valid"
    options = (Option("ground_truth", "folder of label maps <video>/<frame>.png to score by", None, None, Path, True),)

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        ground_truth: Path | None = None,
    ):
        super().__init__(root, split, videos)
        self.ground_truth = ground_truth
        self.layout = MoseLayout(self.root, self.split)

    def all_video_ids(self) -> list[str]:
        return self.layout.video_ids

    def frames(self, video_id: str) -> dict[str, Path]:
        return self.layout.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return self.layout.annotations(video_id)
