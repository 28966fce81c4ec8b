# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""ADE20K panoptic (SceneParse150), from the published maps or from the files that Mask2Former's script makes of them.

The published maps are described in [`~univs_hf.data.layouts.ade20k`]. The other form is that of COCO panoptic:

    ADEChallengeData2016/ade20k_panoptic_train.json, ade20k_panoptic_train/*.png

with category ids from 0 to 149; ids from 1 to 150 are accepted, too. The published conversion for training takes
pictures whose long side has 480 pixels or more (training specification, section 1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...label_sets import load_label_set
from ..layouts.ade20k import ADE20K_FOLDERS, panoptic_of_maps, read_instance_map
from ..layouts.coco_records import CocoRecords
from ..layouts.damage import Damage, missing_file
from ..layouts.frame_folders import list_frames, read_label_map, require_folder
from .category_mapping import CategoryMapping, MappedCategory, map_by_id
from .coco_panoptic import panoptic_images
from .conversion_log import ConversionLog, DamageError
from .converter import DatasetConverter, DatasetFacts, Option, SourceItem
from .image_rows import ImageFacts, file_bytes, is_too_small, min_long_side_option, rows_of_image
from .panoptic_segments import panoptic_entities
from .pictures import load_picture

PUBLISHED_MIN_LONG_SIDE = 480
_CATEGORY_SET = "ade20k"
FORMS = ("maps", "json")


@dataclass(frozen=True)
class Ade20kImage(SourceItem):
    """A picture with its published maps.

    Attributes:
        facts: Names, category set and the like.
        picture, class_map, instance_map: The files.
        categories: By class from 1 to 150.
        min_long_side: Smaller pictures are left out.
    """

    facts: ImageFacts
    picture: Path
    class_map: Path
    instance_map: Path
    categories: CategoryMapping
    min_long_side: int
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.facts.key)

    def source_bytes(self) -> int:
        return file_bytes(self.picture)

    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        classes = _read(self.class_map, read_label_map)
        thing_class, instance = _read(self.instance_map, read_instance_map)
        if instance.shape != classes.shape:
            reason = f"is {_by(instance.shape)}, the map of classes {_by(classes.shape)}."
            raise DamageError(Damage("size_mismatch", str(self.instance_map), reason, "video"))
        if is_too_small(classes.shape, self.min_long_side, log):
            return
        picture = load_picture(self.picture, classes.shape, "video")
        ids, segments = panoptic_of_maps(classes, thing_class, instance)
        entities, label_map = panoptic_entities(
            ids, segments, self.categories, log, self.instance_map, may_be_covered=True
        )
        yield from rows_of_image(self.facts, picture, entities, log, label_maps=label_map[None])


class Ade20kConverter(DatasetConverter):
    """ADE20K panoptic."""

    name = "ade20k_panoptic"
    facts = DatasetFacts(
        title="ADE20K panoptic (SceneParse150)",
        summary="Scenes in which every pixel belongs to one of 100 kinds of things or 50 kinds of stuff.",
        homepage="https://groups.csail.mit.edu/vision/datasets/ADE20K/",
        licence="other",
        licence_note=(
            "Annotations are under a BSD 3-clause licence. Pictures are for research and teaching that is not "
            "commercial; MIT does not own them."
        ),
        papers=("Scene Parsing through ADE20K Dataset (CVPR 2017)",),
        licence_link="https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
    )
    splits = ("train", "val")
    options = (
        Option("form", "published maps, or JSON and PNGs of COCO's form; by default what is there", None, FORMS),
        min_long_side_option(PUBLISHED_MIN_LONG_SIDE),
    )

    def __init__(self, root: Path, form: str | None = None, min_long_side: int | None = None):
        super().__init__(root)
        if form is not None and form not in FORMS:
            raise ValueError(f"`form` must be one of {FORMS}, got {form!r}.")
        self._form, self._min_long_side = form, min_long_side
        self._records: dict[str, CocoRecords] = {}

    def items(self, split: str, log: ConversionLog) -> Iterator[SourceItem]:
        # The archive has a folder of this name.
        inside = self.root / "ADEChallengeData2016"
        root = inside if inside.is_dir() else self.root
        least = self._min_long_side
        if least is None:
            least = PUBLISHED_MIN_LONG_SIDE if split == "train" else 0
        json_file = root / f"ade20k_panoptic_{split}.json"
        form = self._form or ("json" if json_file.is_file() else "maps")
        pictures = require_folder(root / "images" / ADE20K_FOLDERS[split], f"the pictures of {split}")
        if form == "maps":
            yield from self._map_items(root, split, pictures, least)
            return
        if split not in self._records:
            self._records[split] = CocoRecords(json_file)
        records = self._records[split]
        maps = require_folder(root / json_file.stem, "panoptic PNGs")
        categories = _categories_of(records)
        # The script paints things over stuff, and lists stuff that nothing is left of.
        yield from panoptic_images(
            records, categories, pictures, maps, log, self.name, split, least, may_be_covered=True
        )

    def _map_items(self, root: Path, split: str, pictures: Path, least: int) -> Iterator[SourceItem]:
        folder = ADE20K_FOLDERS[split]
        class_maps = require_folder(root / "annotations" / folder, "maps of classes")
        instance_maps = require_folder(root / "annotations_instance" / folder, "maps of instances")
        by_id = {
            category.source_id: MappedCategory(category.index, bool(category.is_thing))
            for category in load_label_set(_CATEGORY_SET)
        }
        categories = CategoryMapping(_CATEGORY_SET, by_id)
        for name in sorted(set(list_frames(pictures)) | set(list_frames(class_maps, (".png",)))):
            yield Ade20kImage(
                ImageFacts(
                    dataset=self.name,
                    split=split,
                    key=name,
                    tasks=("detection",),
                    category_set=_CATEGORY_SET,
                    exhaustive=True,
                    meta={"image_id": name},
                    drop_empty=split == "train",
                ),
                pictures / f"{name}.jpg",
                class_maps / f"{name}.png",
                instance_maps / f"{name}.png",
                categories,
                least,
            )


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except FileNotFoundError:
        raise DamageError(missing_file(path, "a map", "video")) from None
    except ValueError as error:
        raise DamageError(Damage("unreadable_file", str(path), str(error), "video")) from error


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _categories_of(records: CocoRecords) -> CategoryMapping:
    label_set = load_label_set(_CATEGORY_SET)
    numbers = [record.get("id") for record in records.categories if isinstance(record, dict)]
    first = 0 if 0 in numbers else 1
    indices = {category.index + first: category.index for category in label_set}
    return map_by_id(records.categories, label_set, indices, records.path)
