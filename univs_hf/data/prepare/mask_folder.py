# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Anybody's folders of frames and palette PNGs -> rows.

    SRC/<images>/<video>/<frame>.jpg        or .png
    SRC/<masks>/<video>/<frame>.png         palette or grey: values are ids of objects, 0 background
    SRC/<split>.txt                         perhaps: names of the videos of the split
    SRC/objects.json                        perhaps: {<video>: {"1": {"category": "dog", "expressions": ["a dog"]}}}

Or each split has a folder of its own, SRC/<split>/<images> and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ...evaluation.label_names import plain_name
from ...label_sets import is_label_set, load_label_set
from ..layouts.annotation_json import find_path, read_records
from ..layouts.damage import Damage
from ..layouts.frame_folders import VOID, read_lines, subfolders
from ..schema import Entity
from .conversion_log import ConversionLog
from .converter import DatasetConverter, DatasetFacts, Option
from .label_map_video import LabelMapVideo, ObjectIds
from .video_rows import VideoFacts

_OBJECTS_FILE = "objects.json"
_IMAGE_FOLDERS = ("JPEGImages", "images", "frames")
_MASK_FOLDERS = ("Annotations", "masks")
_LABELLED = ("all", "some")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class MaskFolderConverter(DatasetConverter):
    """Folders of frames and palette PNGs, in the form that DAVIS has made common.

    With `objects.json` objects have categories and expressions; the file has to list all objects of the videos that
    it names.

    Args:
        images, masks (`str`, *optional*): Folders, absolute or below the split's; by default the first that exists of
            `JPEGImages`, `images`, `frames`, and of `Annotations`, `masks`.
        name (`str`, *optional*, defaults to `"mask_folder"`): Id of the dataset.
        labelled (`str`, *optional*, defaults to `"all"`): `"some"` if not all frames have masks, such as the first
            alone; such rows supervise nothing.
        void (`int`, *optional*, defaults to 255): Value of pixels that are left open; -1 for none.
        category_set (`str`, *optional*): Label set of the package in which the categories of `objects.json` are.
    """

    name = "mask_folder"
    facts = DatasetFacts(
        title="Videos with palette masks",
        summary="Frames and masks of objects, converted from folders.",
        homepage="",
        licence="unknown",
        licence_note="Whatever the owner of the folders says.",
        papers=(),
    )
    splits = ()
    options = (
        Option("images", "folder of frames (default: the first of JPEGImages, images, frames)"),
        Option("masks", "folder of palette PNGs (default: the first of Annotations, masks)"),
        Option("name", "id of the dataset", "mask_folder"),
        Option("labelled", "whether all frames have masks or some", "all", _LABELLED),
        Option("void", "value of pixels that are left open, -1 for none", VOID, None, int),
        Option("category_set", "label set in which the categories of objects.json are"),
    )

    def __init__(
        self,
        root: Path,
        images: str | None = None,
        masks: str | None = None,
        name: str = "mask_folder",
        labelled: str = "all",
        void: int = VOID,
        category_set: str | None = None,
    ):
        super().__init__(root)
        if labelled not in _LABELLED:
            raise ValueError(f"`labelled` must be one of {_LABELLED}, got {labelled!r}.")
        if not _NAME.fullmatch(name):
            raise ValueError(f"`name` must consist of letters, digits, `_`, `.` and `-`, got {name!r}.")
        if category_set is not None and not is_label_set(category_set):
            raise ValueError(f"`category_set` must be a label set of the package, got {category_set!r}.")
        self.name, self.images, self.masks, self.labelled = name, images, masks, labelled
        self.void, self.category_set = None if void < 0 else void, category_set or ""

    def items(self, split: str, log: ConversionLog) -> Iterator[LabelMapVideo]:
        root = self.root / split if (self.root / split).is_dir() else self.root
        images = find_path(root, "folder of frames", [self.images] if self.images else list(_IMAGE_FOLDERS))
        masks = find_path(root, "folder of masks", [self.masks] if self.masks else list(_MASK_FOLDERS))
        lists = [path for path in (self.root / f"{split}.txt", root / f"{split}.txt") if path.is_file()]
        videos = sorted(set(read_lines(lists[0], "names of videos"))) if lists else subfolders(images)
        path = root / _OBJECTS_FILE
        listed = read_records(path, "objects by video") if path.is_file() else {}
        for video in videos:
            objects, names, expressions = self._objects(video, listed.get(video), path, log)
            tasks = ("sot", *(("detection",) if self.category_set else ()), *(("grounding",) if expressions else ()))
            yield LabelMapVideo(
                VideoFacts(
                    self.name,
                    split,
                    video,
                    tasks if self.labelled == "all" else (),
                    category_set=self.category_set,
                    meta={"categories": names} if names else {},
                    drop_empty=split == "train",
                ),
                images / video,
                masks / video,
                ObjectIds(objects, self.void),
                labelled=self.labelled,
                expressions=expressions,
                source=path if video in listed else None,
            )

    def _objects(
        self, video: str, listed: Any, path: Path, log: ConversionLog
    ) -> tuple[dict[int, Entity] | None, dict[str, str], tuple[tuple[int, int, str], ...]]:
        """Objects of a video by id, their categories by name, and expressions; None if they are not listed."""
        if listed is None:
            return None, {}, ()
        objects: dict[int, Entity] = {}
        names: dict[str, str] = {}
        expressions: list[tuple[int, int, str]] = []
        if not isinstance(listed, dict):
            log.damage(Damage("bad_record", str(path), "must have an object of objects.", "object", f"video {video}"))
            return None, {}, ()
        for key, record in listed.items():
            where = f"video {video}, object {key}"
            if not key.isdecimal() or not isinstance(record, dict):
                reason = "must be a number with `category` and `expressions`."
                log.damage(Damage("bad_record", str(path), reason, "object", where))
                continue
            name = record.get("category")
            index = -1 if name is None or not self.category_set else _indices(self.category_set).get(plain_name(name))
            if index is None:
                reason = f"the category {name!r} is not in the label set {self.category_set!r}."
                log.damage(Damage("unknown_category", str(path), reason, "object", where))
                continue
            is_thing = index < 0 or load_label_set(self.category_set)[index].is_thing is not False
            objects[int(key)] = Entity(int(key), index, is_thing)
            if name is not None:
                names[key] = str(name)
            for text in record.get("expressions") or ():
                expressions.append((len(expressions), int(key), str(text)))
        return objects, names, tuple(expressions)


@cache
def _indices(label_set: str) -> dict[str, int]:
    return {plain_name(category.label): category.index for category in load_label_set(label_set)}
