# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VOS 2018 and 2019 and Ref-YouTube-VOS -> rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..layouts.damage import Damage
from ..layouts.ref_youtube_vos import ReferredVideo, RefYouTubeVosLayout
from ..layouts.youtube_vos import YouTubeVosLayout
from ..schema import Entity
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option
from .label_map_video import LabelMapVideo, ObjectIds
from .video_rows import VideoFacts

_LICENCE_NOTE = (
    "The annotations are licensed under CC BY 4.0; the data is released for non-commercial research only, and rights "
    "in the videos stay with their owners."
)
_PAPER = "Xu et al., YouTube-VOS: Sequence-to-Sequence Video Object Segmentation, ECCV 2018"
# Frames are every fifth of the video, named by their numbers there.
_FPS = 30.0


class YouTubeVosConverter(DatasetConverter):
    """What the two years have in common.

    All frames of `train` have masks; the other splits have those on which an object is seen first. The category of
    each object is in `meta`, under `categories`.
    """

    splits = ("train", "valid", "test")

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = YouTubeVosLayout(self.root, split, check_videos=False)
        for video_id in layout.video_ids:
            categories = layout.categories(video_id)
            train = split == "train"
            facts = VideoFacts(
                self.name,
                split,
                video_id,
                ("sot",) if train else (),
                fps=_FPS,
                meta={"categories": {str(object_id): name for object_id, name in categories.items()}},
                drop_empty=train,
            )
            yield LabelMapVideo(
                facts,
                *layout.folders(video_id),
                ObjectIds({object_id: Entity(object_id) for object_id in categories}),
                labelled="all" if train else "some",
                source=layout.meta_file,
            )


class YouTubeVos18Converter(YouTubeVosConverter):
    """YouTube-VOS 2018."""

    name = "ytvos18"
    facts = DatasetFacts(
        title="YouTube-VOS 2018",
        summary="Videos of three to six seconds with masks of objects on every fifth frame.",
        homepage="https://youtube-vos.org/dataset/vos/",
        licence="cc-by-4.0",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER,),
    )


class YouTubeVos19Converter(YouTubeVosConverter):
    """YouTube-VOS 2019."""

    name = "ytvos19"
    facts = DatasetFacts(
        title="YouTube-VOS 2019",
        summary="Videos of three to six seconds with masks of objects on every fifth frame; more than in 2018.",
        homepage="https://youtube-vos.org/dataset/vos/",
        licence="cc-by-4.0",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER,),
    )


class RefYouTubeVosConverter(DatasetConverter):
    """Ref-YouTube-VOS. Rows of `train` have all objects of YouTube-VOS and serve for both `sot` and `grounding`.

    What `valid` and `test` say of which object is not public; their expressions are in `meta`, by id.

    Args:
        min_seen_frames (`int`, *optional*, defaults to 5): Expressions about objects that are seen in fewer frames
            are left out, as UniVS was trained.
    """

    name = "ref_ytvos"
    facts = DatasetFacts(
        title="Ref-YouTube-VOS",
        summary="Videos of YouTube-VOS with sentences that describe objects, several per object.",
        homepage="https://youtube-vos.org/dataset/rvos/",
        licence="cc-by-4.0",
        licence_note=_LICENCE_NOTE,
        papers=(
            "Seo et al., URVOS: Unified Referring Video Object Segmentation Network with a Large-Scale Benchmark, "
            "ECCV 2020",
            _PAPER,
        ),
    )
    splits = ("train", "valid", "test")
    options = (Option("min_seen_frames", "leave out expressions about objects seen in fewer frames", 5, None, int),)

    def __init__(self, root: Path, min_seen_frames: int = 5):
        super().__init__(root)
        if min_seen_frames < 0:
            raise ValueError(f"`min_seen_frames` must be at least 0, got {min_seen_frames}.")
        self.min_seen_frames = min_seen_frames

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = RefYouTubeVosLayout(self.root, split, check_videos=False)
        for video_id, video in layout.videos.items():
            train = split == "train"
            meta = {} if train else {"expressions": {key: value.text for key, value in video.expressions.items()}}
            yield LabelMapVideo(
                VideoFacts(
                    self.name,
                    split,
                    video_id,
                    ("sot", "grounding") if train else (),
                    fps=_FPS,
                    meta=meta,
                    drop_empty=train,
                ),
                *layout.folders(video_id),
                labelled="all" if train else "some",
                names=tuple(video.frames),
                expressions=_expressions(video, video_id, layout.expressions_file, log) if train else (),
                source=layout.expressions_file,
                min_seen_frames=self.min_seen_frames,
            )


def _expressions(
    video: ReferredVideo, video_id: str, path: Path, log: ConversionLog
) -> tuple[tuple[int, int, str], ...]:
    """Id, object id and text; ids are those of the file where these are numbers."""
    numbered = all(key.isdecimal() for key in video.expressions)
    expressions = []
    for position, (key, value) in enumerate(video.expressions.items()):
        if value.obj_id is None:
            where = f"video {video_id}, expression {key}"
            log.damage(Damage("bad_record", str(path), "does not tell the object (`obj_id`).", "expression", where))
            continue
        expressions.append((int(key) if numbered else position, value.obj_id, value.text))
    return tuple(expressions)
