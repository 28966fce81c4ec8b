# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""MOSE -> rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..layouts.mose import MoseLayout
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option
from .label_map_video import LabelMapVideo
from .video_rows import VideoFacts


class MoseConverter(DatasetConverter):
    """MOSE. Objects are whatever ids the masks show.

    Args:
        min_frames (`int`, *optional*, defaults to 6): Shorter videos of `train` are left out, as UniVS was trained.
    """

    name = "mose"
    facts = DatasetFacts(
        title="MOSE",
        summary="Videos of complex scenes with masks of objects that are crowded, hidden and come back; `valid` has "
        "those of the first frame.",
        homepage="https://henghuiding.github.io/MOSE/",
        licence="cc-by-nc-sa-4.0",
        licence_note="The dataset is licensed under CC BY-NC-SA 4.0, for non-commercial research; rights in the "
        "videos, some of which are of OVIS, stay with their owners.",
        papers=("Ding et al., MOSE: A New Dataset for Video Object Segmentation in Complex Scenes, ICCV 2023",),
    )
    splits = ("train", "valid")
    options = (Option("min_frames", "leave out videos of train with fewer frames", 6, None, int),)

    def __init__(self, root: Path, min_frames: int = 6):
        super().__init__(root)
        if min_frames < 0:
            raise ValueError(f"`min_frames` must be at least 0, got {min_frames}.")
        self.min_frames = min_frames

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = MoseLayout(self.root, split, check_videos=False)
        train = split == "train"
        for video_id in layout.video_ids:
            yield LabelMapVideo(
                VideoFacts(self.name, split, video_id, ("sot",) if train else (), drop_empty=train),
                *layout.folders(video_id),
                labelled="all" if train else "some",
                min_frames=self.min_frames if train else 0,
            )
