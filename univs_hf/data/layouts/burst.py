# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""BURST: one JSON file of sequences per split, frames of TAO.

    <root>/annotations/val/all_classes.json            (or <root>/val/all_classes.json)
    <root>/annotations/info/categories.json
    <root>/frames/val/<dataset>/<sequence>/<frame>.jpg

A sequence has `annotated_image_paths` (about one frame a second) and, for each of them, `segmentations`: track id to
`{"rle": counts, "score": ...}`, where the size of the mask is that of the sequence; `track_category_ids` by track id;
`neg_category_ids` and `not_exhaustive_category_ids`. Categories have the numbers of LVIS 0.5, from 1 to 1230.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .annotation_json import field, find_path, read_records
from .frame_folders import require_file, require_folder


class BurstLayout:
    """A split of BURST.

    Args:
        root (`Path`): The dataset's folder.
        split (`str`, *optional*, defaults to `"val"`): `"train"`, `"val"` or `"test"`.
        annotation_file (`Path`, *optional*): JSON file, absolute or below `root`, instead of the split's own.
        image_folder (`Path`, *optional*): Folder with `<dataset>/<sequence>`, absolute or below `root`.

    Attributes:
        sequences (`dict[str, dict]`): The records of the file by `"<dataset>/<sequence>"`, sorted.
        categories (`dict[int, dict]`): Records by number, ascending: `name`, `synonyms`.
        has_ground_truth (`bool`): Whether the file holds more than the first mask of each object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of this layout; the message names the file.
    """

    def __init__(
        self,
        root: Path,
        split: str = "val",
        annotation_file: Path | None = None,
        image_folder: Path | None = None,
    ):
        self.root = Path(root)
        self.annotation_file, self.image_folder, self._categories_file = find_split(
            self.root, split, annotation_file, image_folder
        )
        content = read_records(self.annotation_file, "sequences in the form of BURST")
        self.split = content.get("split", split)
        self.has_ground_truth = self.annotation_file.name != "first_frame_annotations.json"
        self.sequences: dict[str, dict[str, Any]] = {}
        for record in field(content, "sequences", str(self.annotation_file), list):
            name = self._check_sequence(record)
            if name in self.sequences:
                raise ValueError(f"{self.annotation_file} has two sequences {name!r}.")
            self.sequences[name] = record
        self.sequences = dict(sorted(self.sequences.items()))
        self.categories = self._read_categories(content)

    def _check_sequence(self, record: Any) -> str:
        where = f"{self.annotation_file}: a sequence"
        name = f"{field(record, 'dataset', where, str)}/{field(record, 'seq_name', where, str)}"
        where = f"{self.annotation_file}: sequence {name!r}"
        for size in ("width", "height"):
            field(record, size, where, int)
        frames = field(record, "annotated_image_paths", where, list)
        segmentations = field(record, "segmentations", where, list)
        if len(frames) != len(segmentations):
            raise ValueError(f"{where} has {len(frames)} annotated frames, but {len(segmentations)} segmentations.")
        categories = field(record, "track_category_ids", where, dict)
        for number, frame in enumerate(segmentations):
            unknown = sorted(set(frame) - set(categories))
            if unknown:
                raise ValueError(f"{where}, frame {number}: track {unknown[0]} has no category.")
        return name

    def _read_categories(self, content: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
        where, records = self.annotation_file, content.get("categories") or []
        if not records and self._categories_file is not None:
            where = self._categories_file
            records = read_records(where, "categories", list)
        return {
            number: record
            for number, record in sorted(
                (field(record, "id", f"{where}: a category", int), record) for record in records
            )
        }

    def frame_paths(self, sequence: str, all_frames: bool = False) -> list[Path]:
        """Images of a sequence: those with annotations, or all.

        Raises:
            FileNotFoundError: If one does not exist.
            ValueError: If the file does not list all frames.
        """
        record = self.sequences[sequence]
        if not all_frames:
            names = record["annotated_image_paths"]
        else:
            names = record.get("all_image_paths") or []
            missing = sorted(set(record["annotated_image_paths"]) - set(names))
            if missing:
                raise ValueError(
                    f"{self.annotation_file}: sequence {sequence!r} does not list frame {missing[0]} among all frames."
                )
        return [require_file(self.image_folder / sequence / name, "a frame") for name in names]

    def masks(self, sequence: str, frame: int) -> dict[int, dict[str, Any]]:
        """Masks of an annotated frame: COCO RLE by track id."""
        record = self.sequences[sequence]
        size = [record["height"], record["width"]]
        return {
            int(track): {"size": size, "counts": field(mask, "rle", f"sequence {sequence!r}, frame {frame}", str)}
            for track, mask in record["segmentations"][frame].items()
        }

    def track_categories(self, sequence: str) -> dict[int, int]:
        """Category of each track."""
        return {int(track): category for track, category in self.sequences[sequence]["track_category_ids"].items()}

    def first_frames(self, sequence: str) -> dict[int, int]:
        """Number of the annotated frame on which each track is seen first, where exemplars are given."""
        first: dict[int, int] = {}
        for number, frame in enumerate(self.sequences[sequence]["segmentations"]):
            for track in frame:
                first.setdefault(int(track), number)
        return first


def find_split(
    root: Path, split: str, annotation_file: Path | None = None, image_folder: Path | None = None
) -> tuple[Path, Path, Path | None]:
    """Where a split is: its JSON file, the folder of its frames, and the file of all categories, if there is one.

    Arguments and errors are those of [`BurstLayout`].
    """
    places = [
        f"annotations/{split}/all_classes.json",
        f"{split}/all_classes.json",
        f"annotations/{split}/first_frame_annotations.json",
        f"{split}/first_frame_annotations.json",
    ]
    if annotation_file is not None:
        places = [str(annotation_file)]
    found = find_path(root, f"annotations of split {split!r}", places)
    if image_folder is None:
        folders = [f"frames/{split}", f"images/{split}", split]
        folder = next((root / name for name in folders if (root / name).is_dir()), root / folders[0])
    else:
        folder = require_folder(root / image_folder, "frames, folders <dataset>/<sequence>")
    categories = [root / name for name in ("annotations/info/categories.json", "info/categories.json")]
    return found, folder, next(filter(Path.is_file, categories), None)
