# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A user's own data in the form of YouTube-VIS, with any categories and perhaps with expressions.

    <root>/train.json                         or train/instances.json, annotations/train.json, ...
    <root>/train/JPEGImages/<video>/<frame>   or <root>/train, <root>/JPEGImages

`videos` {id, width, height, file_names}, `categories` {id, name, and perhaps isthing}, `annotations` {id, video_id,
category_id, iscrowd, segmentations: one mask (run lengths or polygons) or null per frame, and perhaps `expressions`:
sentences about the object}. A picture is a video of one frame. As in the data of the original training, an object may
have several annotations with one id, each with a sentence of its own.

With `--category-set` categories are told apart by name and take their places in that label set of the package. Without
it the file's own categories, in the order of their ids, are a set with the name of the dataset; the `meta` of every
row has them: `{"category_set": [{"name": ..., "is_thing": ...}, ...]}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...label_sets import is_label_set, load_label_set
from ..layouts.damage import Damage
from ..layouts.json_records import read_records_at
from ..layouts.youtube_vis import find_split
from .annotated_video import AnnotatedVideo, AnnotationIndex, index_annotations
from .category_mapping import CategoryMapping, map_by_name, map_own
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option
from .video_rows import VideoFacts

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class CocoVideo(AnnotatedVideo):
    """A video of such a file, with the expressions that stand in its annotations."""

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        first: dict[Any, tuple[int, int]] = {}
        sentences: list[tuple[Any, str]] = []
        others: list[int] = []
        spans = list(zip(self.spans[0::2], self.spans[1::2], strict=True))
        for span, annotation in zip(spans, read_records_at(self.source, self.spans), strict=True):
            number = annotation.get("id")
            told = self._sentences(annotation, log)
            sentences += [(number, text) for text in told]
            # Further annotations of an object bring sentences; those without one are reported as ids that occur twice.
            if number not in first:
                first[number] = span
            elif not told:
                others += span
        track = replace(self, spans=(*(place for span in first.values() for place in span), *others))
        shown: set[int] = set()
        for row in AnnotatedVideo.rows(track, log):
            place = {entity["id"]: position for position, entity in enumerate(row["entities"])}
            shown |= set(place)
            row["expressions"] = [
                {"id": position, "entity": place[number], "text": text}
                for position, (number, text) in enumerate(sentences)
                if number in place
            ]
            if row["expressions"]:
                row["tasks"] = [*row["tasks"], "grounding"]
            yield row
        for number in sorted({number for number, _ in sentences if number in first and number not in shown}, key=str):
            reason = f"has sentences about annotation {number}, which is never seen."
            log.damage(Damage("bad_annotation", str(self.source), reason, "expression", f"video {self.key}"))

    def _sentences(self, annotation: dict[str, Any], log: ConversionLog) -> list[str]:
        """Texts of an annotation, from `expressions` (a list) or `expression`."""
        given = annotation.get("expressions", annotation.get("expression"))
        texts = [given] if isinstance(given, str) else given or []
        good = [text for text in texts if isinstance(text, str) and text.strip()] if isinstance(texts, list) else []
        if not isinstance(texts, list) or len(good) < len(texts):
            reason = f"annotation {annotation.get('id')} has the expressions {given!r:.60}."
            log.damage(Damage("bad_annotation", str(self.source), reason, "expression", f"video {self.key}"))
        return good


class CocoVideoConverter(DatasetConverter):
    """A user's own videos or pictures, annotated in a JSON file.

    Args:
        name (`str`, *optional*): Id of the dataset; by default the name of the folder.
        category_set (`str`, *optional*): Label set of the package that has the categories.
        annotation_file (`str`, *optional*): JSON file, absolute or below `root`, instead of the split's own.
        image_folder (`str`, *optional*): Likewise for the frames.
        exhaustive (`bool`): Whether all objects of the categories are annotated.
        fps (`float`): Frames per second, 0 if not known.
    """

    name = "coco_video"
    facts = DatasetFacts(
        title="Videos in the form of COCO-video JSON",
        summary="Videos or pictures with masks of objects over time.",
        homepage="",
        licence="unknown",
        licence_note="Whoever made the data says what may be done with it.",
        papers=(),
    )
    splits = ()
    options = (
        Option("name", "id of the dataset; by default the name of the folder"),
        Option("category_set", "label set of the package that has the categories; by default those of the file"),
        Option("annotation_file", "JSON file instead of the split's own"),
        Option("image_folder", "folder of the frames instead of the split's own"),
        Option("exhaustive", "all objects of the categories are annotated", default=False, type=bool),
        Option("fps", "frames per second, 0 if not known", default=0.0, type=float),
    )

    def __init__(
        self,
        root: Path,
        name: str | None = None,
        category_set: str | None = None,
        annotation_file: str | None = None,
        image_folder: str | None = None,
        exhaustive: bool = False,
        fps: float = 0.0,
    ):
        super().__init__(root)
        self.name = self.root.resolve().name if name is None else name
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"`name` must consist of letters, digits, `_`, `.` and `-`, got {self.name!r}.")
        if category_set is None and is_label_set(self.name):
            raise ValueError(
                f"`name` {self.name!r} is that of a label set of the package: give `category_set` if the categories "
                "are those, else another name."
            )
        self._label_set = None if category_set is None else load_label_set(category_set)
        self._annotation_file, self._image_folder = annotation_file, image_folder
        self._exhaustive, self._fps = exhaustive, fps

    def items(self, split: str, log: ConversionLog) -> Iterator[AnnotatedVideo]:
        path, image_folder = find_split(self.root, split, self._annotation_file, self._image_folder)
        index = index_annotations(path, log)
        categories = self._categories(index)
        annotated = index.num_annotations > 0
        for video in index.videos.values():
            yield CocoVideo(
                VideoFacts(
                    self.name,
                    split,
                    str(video.video_id),
                    ("detection", "sot") if annotated else (),
                    categories.category_set,
                    categories.sizes,
                    fps=self._fps,
                    exhaustive=self._exhaustive,
                    meta={"name": video.name, **categories.meta},
                    drop_empty=annotated and split == "train",
                ),
                path,
                video,
                image_folder,
                tuple(index.spans.get(video.video_id, ())),
                {number: (category.index, category.is_thing) for number, category in categories.by_id.items()},
            )

    def _categories(self, index: AnnotationIndex) -> CategoryMapping:
        if self._label_set is not None:
            return map_by_name(index.categories, self._label_set, index.path)
        return map_own(index.categories, self.name, index.path)
