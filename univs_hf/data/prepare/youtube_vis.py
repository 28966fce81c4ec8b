# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VIS 2019, 2021, 2022 and OVIS -> rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ...evaluation.label_names import dataset_category_ids
from ...label_sets import load_label_set
from ..layouts.annotation_json import field
from ..layouts.youtube_vis import find_split
from .annotated_video import AnnotatedVideo, AnnotationIndex, index_annotations
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option
from .video_rows import VideoFacts

_HOMEPAGE = "https://youtube-vos.org/dataset/vis/"
_LICENCE_NOTE = (
    "The annotations are licensed under CC BY 4.0; the data is released for non-commercial research only, and rights "
    "in the videos stay with their owners."
)
_PAPER = "Yang et al., Video Instance Segmentation, ICCV 2019"


class YouTubeVisConverter(DatasetConverter):
    """What the four have in common. Splits without public annotations have rows without objects.

    Categories are told apart by name, so ids may begin anywhere and have gaps.

    Args:
        annotation_file (`str`, *optional*): JSON file, absolute or below `root`, instead of the split's own.
        image_folder (`str`, *optional*): Likewise for the frames.
    """

    splits = ("train", "valid", "test")
    options = (
        Option("annotation_file", "JSON file instead of the split's own, say of a development subset"),
        Option("image_folder", "folder of the frames instead of the split's own"),
    )
    label_set: ClassVar[str]
    fps: ClassVar[float] = 0.0

    def __init__(self, root: Path, annotation_file: str | None = None, image_folder: str | None = None):
        super().__init__(root)
        self.annotation_file, self.image_folder = annotation_file, image_folder

    def items(self, split: str, log: ConversionLog) -> Iterator[AnnotatedVideo]:
        path, image_folder = find_split(self.root, split, self.annotation_file, self.image_folder)
        index = index_annotations(path, log)
        annotated = index.num_annotations > 0
        categories = self._categories(index)
        for video in index.videos.values():
            yield AnnotatedVideo(
                VideoFacts(
                    self.name,
                    split,
                    str(video.video_id),
                    ("detection", "sot") if annotated else (),
                    self.label_set,
                    fps=self.fps,
                    meta={"name": video.name},
                    drop_empty=annotated and split == "train",
                ),
                path,
                video,
                image_folder,
                tuple(index.spans.get(video.video_id, ())),
                categories,
            )

    def _categories(self, index: AnnotationIndex) -> dict[int, tuple[int, bool]]:
        names = {
            field(record, "id", f"{index.path}: a category", int): str(record.get("name"))
            for record in index.categories
        }
        numbers = dataset_category_ids(load_label_set(self.label_set), names, str(index.path))
        return {number: (position, True) for position, number in numbers.items()}


class YouTubeVis19Converter(YouTubeVisConverter):
    """YouTube-VIS 2019."""

    name = "ytvis19"
    facts = DatasetFacts(
        title="YouTube-VIS 2019",
        summary="Videos of YouTube-VOS with all objects of 40 categories on every fifth frame.",
        homepage=_HOMEPAGE,
        licence="cc-by-4.0",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER,),
    )
    label_set = "ytvis19"
    fps = 30.0


class YouTubeVis21Converter(YouTubeVisConverter):
    """YouTube-VIS 2021."""

    name = "ytvis21"
    facts = DatasetFacts(
        title="YouTube-VIS 2021",
        summary="Videos with all objects of 40 categories; more videos and objects than in 2019, other categories.",
        homepage=_HOMEPAGE,
        licence="cc-by-4.0",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER,),
    )
    label_set = "ytvis21"
    fps = 30.0


class YouTubeVis22Converter(YouTubeVisConverter):
    """YouTube-VIS 2022: the training set of 2021, and long videos beside those of 2021 in the validation set."""

    name = "ytvis22"
    facts = DatasetFacts(
        title="YouTube-VIS 2022",
        summary="Videos with all objects of 40 categories; the training set of 2021, long videos for validation.",
        homepage=_HOMEPAGE,
        licence="cc-by-4.0",
        licence_note=_LICENCE_NOTE,
        papers=(_PAPER,),
    )
    label_set = "ytvis21"
    fps = 30.0


class OvisConverter(YouTubeVisConverter):
    """OVIS."""

    name = "ovis"
    facts = DatasetFacts(
        title="OVIS",
        summary="Videos in which objects of 25 categories hide each other.",
        homepage="https://songbai.site/ovis/",
        licence="cc-by-nc-sa-4.0",
        licence_note="The annotations are licensed under CC BY-NC-SA 4.0, for non-commercial research; rights in the "
        "videos stay with their owners.",
        papers=("Qi et al., Occluded Video Instance Segmentation: A Benchmark, IJCV 2022",),
    )
    label_set = "ovis"
