# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A picture with its masks -> one row; what the converters of image datasets have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.annotation_json import find_path
from ..layouts.frame_folders import require_folder
from ..row_builder import build_row
from ..schema import Entity
from .conversion_log import ConversionLog
from .converter import Option, row_key
from .pictures import Picture
from .video_rows import NO_OBJECT

ANNOTATION_FILE_OPTION = Option("annotation_file", "JSON file instead of the split's own")
IMAGE_FOLDER_OPTION = Option("image_folder", "folder of the pictures, if it is none of the usual places")


def min_long_side_option(published: int) -> Option:
    """The option of a dataset whose published training recipe leaves small pictures out."""
    text = f"leave out pictures whose long side has fewer pixels; by default {published} in train, as published"
    return Option("min_long_side", text, type=int)


@dataclass(frozen=True)
class ImageFacts:
    """What a picture's row tells beside its objects.

    Attributes:
        dataset, split, key: Names; `key` is that of the picture.
        tasks, category_set, category_sizes, exhaustive, meta: As for [`~univs_hf.data.row_builder.build_row`].
        drop_empty: Whether a row without an object is left out: it teaches nothing, but is needed for evaluation.
    """

    dataset: str
    split: str
    key: str
    tasks: tuple[str, ...] = ()
    category_set: str = ""
    category_sizes: Mapping[str, int] = field(default_factory=dict)
    exhaustive: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)
    drop_empty: bool = False


def rows_of_image(
    facts: ImageFacts,
    picture: Picture,
    entities: Sequence[Entity],
    log: ConversionLog,
    masks: Sequence[bytes] = (),
    meta: Mapping[str, Any] | None = None,
    **content: Any,
) -> Iterator[dict[str, Any]]:
    """Makes the row of a picture, if it is to have one.

    Args:
        facts: What it tells beside the objects.
        picture: The picture.
        entities: Its objects.
        log: For pictures without objects.
        masks: Compressed run lengths of each object, unless `content` has masks in another form.
        meta: Added to that of the facts.
        content: Further arguments of [`~univs_hf.data.row_builder.build_row`].
    """
    if not entities and facts.drop_empty:
        log.leave_out(NO_OBJECT)
        return
    if "label_maps" not in content:
        content["frame_masks"] = [(0, position, mask) for position, mask in enumerate(masks)]
    yield build_row(
        key=row_key(facts.dataset, facts.split, facts.key),
        dataset=facts.dataset,
        frames=[picture.data],
        size=picture.size,
        tasks=facts.tasks,
        entities=entities,
        category_set=facts.category_set,
        category_sizes=facts.category_sizes,
        exhaustive=facts.exhaustive,
        meta={**facts.meta, **(meta or {})},
        **content,
    )


def size_of_record(record: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) as a record of COCO's form has them.

    Raises:
        ValueError: If it has no such fields.
    """
    size = tuple(record.get(name) for name in ("height", "width"))
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in size):
        raise ValueError(f"must have its size in `height` and `width`, got {size!r:.60}.")
    return size


def is_too_small(size: tuple[int, int], least: int, log: ConversionLog) -> bool:
    """Whether a picture is left out for its size; notes it."""
    if max(size) >= least:
        return False
    log.leave_out(f"pictures with a long side below {least} pixels")
    return True


def find_pictures(root: Path, given: str | None, candidates: Sequence[str], meaning: str) -> Path:
    """Folder of pictures: the given one, else the first that exists of some places, also beside the dataset's folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    if given is not None:
        return require_folder(root / given, meaning)
    return find_path(root, meaning, [*candidates, *(f"../{candidate}" for candidate in candidates)])


def file_bytes(path: Path) -> int:
    """Size of a file; a missing one counts nothing."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
