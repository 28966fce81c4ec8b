# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""SA-1B: a JSON file beside each picture.

    <root>/sa_000000/sa_1.jpg, sa_1.json, ...       as the archives unpack, or all in <root>
    <root>/images/sa_1.jpg, annotations/sa_1.json   as some downloaders sort them

The JSON has `image` {image_id, width, height, file_name} and `annotations` {id, segmentation (COCO run lengths),
predicted_iou, stability_score, point_coords, crop_box, bbox, area}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from .annotation_json import read_records
from .frame_folders import read_lines

_SUFFIX = ".json"


def sa_1b_files(root: Path) -> Iterator[tuple[Path, Path]]:
    """Annotation files and the folder of the picture of each, folder by folder, sorted by name.

    Raises:
        FileNotFoundError: If there are no annotation files.
    """
    root = Path(root)
    found = False
    if (root / "annotations").is_dir() and (root / "images").is_dir():
        pairs = [(root / "annotations", root / "images")]
    else:
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        pairs = [(folder, folder) for folder in (root, *(root / name for name in folders))]
    for annotation_folder, images in pairs:
        with os.scandir(annotation_folder) as entries:
            names = sorted(entry.name for entry in entries if _is_annotation(entry.name))
        for name in names:
            found = True
            yield annotation_folder / name, images
    if not found:
        hint = " Unpack its archives first." if any(root.glob("*.tar")) else ""
        raise FileNotFoundError(f"The folder {root} holds no annotations of SA-1B (sa_*.json).{hint}")


def _is_annotation(name: str) -> bool:
    return name.startswith("sa_") and name.endswith(_SUFFIX)


def read_subset(path: Path) -> set[str]:
    """Names of annotation files, without suffix, of a list: a JSON array, or one name per line.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of that form, or empty.
    """
    if path.suffix == _SUFFIX:
        names = read_records(path, "names of annotation files", list)
    else:
        names = read_lines(path, "names of annotation files")
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} must list names of annotation files, got {json.dumps(names)[:60]}.")
    return {Path(name).stem for name in names}
