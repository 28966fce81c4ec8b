# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VSPW -> rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..layouts.vspw import NUM_CLASSES, VOID, VspwLayout
from ..schema import Entity
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts
from .label_map_video import LabelCode, LabelMapVideo, UnknownCategoryError
from .video_rows import VideoFacts


@dataclass(frozen=True)
class _VspwCode(LabelCode):
    """Values are classes from 1; 0 is "others"."""

    def entity(self, object_id: int) -> Entity | None:
        if object_id in (0, VOID):
            return None
        if object_id > NUM_CLASSES:
            raise UnknownCategoryError
        return Entity(object_id, object_id - 1, is_thing=False)


class VspwConverter(DatasetConverter):
    """VSPW, in the original size or 480p. Each class of a video is one entity.

    Since the regions of things do not tell instances apart, none is marked as a thing, and rows supervise no task:
    they are for evaluation and for whoever trains semantic segmentation.
    """

    name = "vspw"
    facts = DatasetFacts(
        title="VSPW",
        summary="Videos in the wild with one of 124 classes for every pixel.",
        homepage="https://www.vspwdataset.com",
        licence="other",
        licence_note="The authors publish the data for non-commercial research only; rights in the videos stay with "
        "their owners.",
        papers=("Miao et al., VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild, CVPR 2021",),
    )
    splits = ("train", "val", "test")
    default_splits = ("train", "val")

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = VspwLayout(self.root, split, check_videos=False)
        annotated, train = split != "test", split == "train"
        for video in layout.videos:
            yield LabelMapVideo(
                VideoFacts(
                    self.name,
                    split,
                    video,
                    category_set="vipseg",
                    exhaustive=annotated,
                    drop_empty=train,
                ),
                *layout.folders(video),
                _VspwCode(),
                labelled="all" if annotated else "none",
            )
