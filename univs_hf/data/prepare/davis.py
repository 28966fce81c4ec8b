# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""DAVIS 2016, DAVIS 2017 and Ref-DAVIS 2017 -> rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..layouts.davis import RESOLUTIONS, DavisLayout
from ..layouts.davis16 import RESOLUTIONS as RESOLUTIONS_16
from ..layouts.davis16 import Davis16Layout
from ..layouts.ref_davis import NUM_ANNOTATORS, RefDavisLayout
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option
from .label_map_video import Foreground, LabelMapVideo
from .video_rows import VideoFacts

_HOMEPAGE = "https://davischallenge.org"
_LICENCE_NOTE = (
    "The authors publish frames and masks for research; the terms stand on the homepage. Rights in the videos stay "
    "with their owners."
)
_PAPER_2016 = "Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016"
_PAPER_2017 = "Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object Segmentation, arXiv:1704.00675"
_FPS = 24.0
_MASKS_OF_FIRST_FRAME = ("test-dev", "test-challenge")


class Davis16Converter(DatasetConverter):
    """DAVIS 2016: one object per video.

    Args:
        resolution (`str`, *optional*, defaults to `"480p"`): Which of the releases.
    """

    name = "davis16"
    facts = DatasetFacts(
        title="DAVIS 2016",
        summary="50 videos with the mask of one foreground object on every frame.",
        homepage=_HOMEPAGE,
        licence="other",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER_2016,),
    )
    splits = ("train", "val", "trainval")
    default_splits = ("train", "val")
    options = (Option("resolution", "which of the releases", "480p", RESOLUTIONS_16),)

    def __init__(self, root: Path, resolution: str = "480p"):
        super().__init__(root)
        self.resolution = resolution

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = Davis16Layout(self.root, split, self.resolution)
        for video_id in layout.video_ids:
            facts = VideoFacts(self.name, split, video_id, ("sot",), fps=_FPS, drop_empty=split == "train")
            yield LabelMapVideo(facts, *layout.folders(video_id), Foreground())


class Davis17Converter(DatasetConverter):
    """DAVIS 2017: several objects per video.

    Args:
        resolution (`str`, *optional*, defaults to `"480p"`): Which of the releases.
    """

    name = "davis17"
    facts = DatasetFacts(
        title="DAVIS 2017",
        summary="150 videos with masks of one or more objects; the test sets have those of the first frame only.",
        homepage=_HOMEPAGE,
        licence="other",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER_2017, _PAPER_2016),
    )
    splits = ("train", "val", *_MASKS_OF_FIRST_FRAME)
    default_splits = ("train", "val")
    options = (Option("resolution", "which of the releases", "480p", RESOLUTIONS),)

    def __init__(self, root: Path, resolution: str = "480p"):
        super().__init__(root)
        self.resolution = resolution

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = DavisLayout(self.root, split, self.resolution, check_videos=False)
        hidden = split in _MASKS_OF_FIRST_FRAME
        for video_id in layout.video_ids:
            facts = VideoFacts(
                self.name, split, video_id, () if hidden else ("sot",), fps=_FPS, drop_empty=split == "train"
            )
            yield LabelMapVideo(facts, *layout.folders(video_id), labelled="some" if hidden else "all")


class RefDavisConverter(DatasetConverter):
    """Ref-DAVIS 2017: DAVIS 2017 at 480p with sentences of four annotators.

    Expression `4 * n + a` is what annotator `a` said of the `n`-th object, as the converted form of the dataset
    numbers them; `meta` has the annotator of each as `annotators`.
    """

    name = "ref_davis"
    facts = DatasetFacts(
        title="Ref-DAVIS 2017",
        summary="Videos of DAVIS 2017 with sentences that describe each object, by four annotators: two who saw the "
        "first frame, two who saw the whole video.",
        homepage="https://www.mpi-inf.mpg.de/departments/computer-vision-and-machine-learning/research/"
        "video-segmentation/video-object-segmentation-with-language-referring-expressions",
        licence="other",
        licence_note=_LICENCE_NOTE,
        papers=(
            "Khoreva et al., Video Object Segmentation with Language Referring Expressions, ACCV 2018",
            _PAPER_2017,
        ),
    )
    splits = ("train", "val")
    default_splits = ("train", "val")

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        layout = RefDavisLayout(self.root, split, check_videos=False)
        for video_id in layout.video_ids:
            sentences = [layout.expressions(video_id, annotator) for annotator in range(NUM_ANNOTATORS)]
            expressions = tuple(
                (NUM_ANNOTATORS * number + annotator, object_id, sentences[annotator][object_id])
                for number, object_id in enumerate(sorted(set().union(*sentences)))
                for annotator in range(NUM_ANNOTATORS)
                if object_id in sentences[annotator]
            )
            facts = VideoFacts(
                self.name,
                split,
                video_id,
                ("sot", "grounding"),
                fps=_FPS,
                drop_empty=split == "train",
                meta={"annotators": {str(number): number % NUM_ANNOTATORS for number, _, _ in expressions}},
            )
            yield LabelMapVideo(
                facts, *layout.folders(video_id), expressions=expressions, source=layout.expressions_source
            )
