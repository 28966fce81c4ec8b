# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPOSeg -> rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from ...label_sets import load_label_set
from ..layouts.damage import Damage
from ..layouts.viposeg import VipoSegLayout
from ..schema import Entity
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts
from .label_map_video import LabelMapVideo, ObjectIds
from .video_rows import VideoFacts

_LABEL_SET = "vipseg"


class VipoSegConverter(DatasetConverter):
    """VIPOSeg: things and stuff of VIPSeg as objects to be followed.

    Masks are those of `Annotations_gt` where the split has it, else those of `Annotations`: in `train` these are on
    all frames, in a `valid` without ground truth on those that show objects first.
    """

    name = "viposeg"
    facts = DatasetFacts(
        title="VIPOSeg",
        summary="Videos of VIPSeg for panoptic video object segmentation: each thing and stuff segment is an object.",
        homepage="https://github.com/yoxu515/VIPOSeg-Benchmark",
        licence="other",
        licence_note="As for VIPSeg, on which it is built: for non-commercial research only; rights in the videos "
        "stay with their owners.",
        papers=(
            "Xu et al., Video Object Segmentation in Panoptic Wild Scenes, IJCAI 2023",
            "Miao et al., Large-Scale Video Panoptic Segmentation in the Wild: A Benchmark, CVPR 2022",
        ),
    )
    splits = ("train", "valid")
    default_splits = ("train", "valid")

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = VipoSegLayout(self.root, split, check_videos=False)
        complete = split == "train" or layout.has_ground_truth
        for video_id in layout.video_ids:
            images, references, ground_truth = layout.folders(video_id)
            try:
                classes = layout.classes(video_id)
            except ValueError:
                reason = "does not list the objects of the video."
                log.damage(Damage("bad_record", str(layout.classes_file), reason, "video", f"video {video_id}"))
                continue
            objects: dict[int, Entity] = {}
            for object_id, category in classes.items():
                if not 0 <= category < len(_things()):
                    where = f"video {video_id}, object {object_id}"
                    reason = f"the class {category} is not in [0, {len(_things())})."
                    log.damage(Damage("unknown_category", str(layout.classes_file), reason, "object", where))
                    continue
                objects[object_id] = Entity(object_id, category, _things()[category])
            yield LabelMapVideo(
                VideoFacts(
                    self.name,
                    split,
                    video_id,
                    ("sot",) if complete else (),
                    category_set=_LABEL_SET,
                    drop_empty=split == "train",
                ),
                images,
                ground_truth if layout.has_ground_truth else references,
                ObjectIds(objects),
                labelled="all" if complete else "some",
                source=layout.classes_file,
            )


@cache
def _things() -> tuple[bool, ...]:
    """Which categories are things."""
    return tuple(bool(category.is_thing) for category in load_label_set(_LABEL_SET))
