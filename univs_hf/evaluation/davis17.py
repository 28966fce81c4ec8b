# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""DAVIS 2017, semi-supervised (specification of the metrics, sections 5 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.layouts.davis import RESOLUTIONS, DavisLayout
from .benchmark import Option
from .davis_scoring import DavisScoredBenchmark


class Davis17(DavisScoredBenchmark):
    """DAVIS 2017: objects of the first frame, followed to the end.

    A prediction is `<video>/<frame>.png`, as the official evaluation takes it; the submission of the test sets is the
    zip of these folders. The layout is that of [`~data.layouts.davis.DavisLayout`].

    Args:
        resolution (`str`, *optional*, defaults to `"480p"`): Of frames and masks. 480p is the official one; UniVS'
            published J&F is of `"Full-Resolution"`.
        root, split, videos: See [`Benchmark`].
    """

    name = "davis17"
    default_split = "val"
    options = (
        Option(
            "resolution",
            "of frames and masks; the published figures of UniVS are of Full-Resolution",
            RESOLUTIONS[0],
            RESOLUTIONS,
        ),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        resolution: str = RESOLUTIONS[0],
    ):
        super().__init__(root, split, videos)
        self.resolution = resolution
        self.layout = DavisLayout(self.root, self.split, resolution)

    def all_video_ids(self) -> list[str]:
        return self.layout.video_ids

    def frames(self, video_id: str) -> dict[str, Path]:
        return self.layout.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return self.layout.annotations(video_id)
