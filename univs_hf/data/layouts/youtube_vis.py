# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VIS 2019, 2021, 2022 and OVIS: one JSON file of videos, categories and annotations; folders of JPEG frames.

    <root>/valid.json                          or valid/instances.json, annotations_valid.json (OVIS), ...
    <root>/valid/JPEGImages/<video>/<frame>.jpg    (OVIS: <root>/valid/<video>/<frame>.jpg)

The JSON holds `videos` {id, width, height, length, file_names}, `categories` {id, name} and, where the ground truth is
public, `annotations` {id, video_id, category_id, iscrowd, segmentations, areas, bboxes}: per object one COCO RLE or
null per frame (specification section 2 of the metrics, 1.4 of the training).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .annotation_json import field, find_path, read_records
from .frame_folders import require_file, require_folder

# The validation split is called both ways.
_OTHER_NAMES = {"valid": "val", "val": "valid"}


@dataclass(frozen=True)
class YouTubeVisVideo:
    """One video of the JSON.

    Attributes:
        video_id: Its number.
        name: Folder of its frames.
        height, width: Of frames and masks, in pixels.
        file_names: Its frames, in order, below the folder of all images.
    """

    video_id: int
    name: str
    height: int
    width: int
    file_names: tuple[str, ...]


class YouTubeVisLayout:
    """A split of YouTube-VIS or OVIS.

    Args:
        annotation_file (`Path`): The JSON file.
        image_folder (`Path`, *optional*): What the frames' names are relative to; not needed without frames.

    Attributes:
        videos (`dict[int, YouTubeVisVideo]`): By number, ascending.
        categories (`dict[int, str]`): Name by the dataset's number, ascending.

    Raises:
        FileNotFoundError: If the JSON file does not exist.
        ValueError: If it is not of this layout; the message names the file.
    """

    def __init__(self, annotation_file: Path, image_folder: Path | None = None):
        self.annotation_file, self.image_folder = Path(annotation_file), image_folder
        content = read_records(self.annotation_file, "videos and categories in the form of YouTube-VIS")
        where = str(self.annotation_file)
        self.videos: dict[int, YouTubeVisVideo] = {}
        for record in field(content, "videos", where, list):
            video = read_video(record, where)
            if video.video_id in self.videos:
                raise ValueError(f"{where} has two videos with the id {video.video_id}.")
            self.videos[video.video_id] = video
        self.videos = dict(sorted(self.videos.items()))
        categories = field(content, "categories", where, list)
        self.categories = dict(
            sorted(
                (field(record, "id", f"{where}: a category", int), str(record.get("name"))) for record in categories
            )
        )
        self._annotations: dict[int, list[dict[str, Any]]] = {video_id: [] for video_id in self.videos}
        annotations = content.get("annotations") or []
        for annotation in annotations:
            self._add_annotation(annotation)
        self._has_annotations = bool(annotations)

    def _add_annotation(self, annotation: dict[str, Any]) -> None:
        where = f"{self.annotation_file}: annotation {annotation.get('id')}"
        video_id = field(annotation, "video_id", where, int)
        if video_id not in self.videos:
            raise ValueError(f"{where} is of video {video_id}, which is not among the videos.")
        if field(annotation, "category_id", where, int) not in self.categories:
            raise ValueError(f"{where} has category {annotation['category_id']}, which is not among the categories.")
        length, expected = len(field(annotation, "segmentations", where, list)), len(self.videos[video_id].file_names)
        if length != expected:
            raise ValueError(f"{where} has {length} segmentations, but video {video_id} has {expected} frames.")
        self._annotations[video_id].append(annotation)

    @classmethod
    def find(
        cls, root: Path, split: str, annotation_file: Path | None = None, image_folder: Path | None = None
    ) -> YouTubeVisLayout:
        """Finds a split below the dataset's folder.

        Args:
            root (`Path`): The folder.
            split (`str`): `"valid"`, `"train"` or `"test"`.
            annotation_file (`Path`, *optional*): The JSON file, absolute or below `root`, instead of the split's own,
                such as that of a development subset.
            image_folder (`Path`, *optional*): Likewise for the frames.

        Raises:
            FileNotFoundError: If there is no JSON file; the message names what was tried.
            ValueError: See above.
        """
        return cls(*find_split(Path(root), split, annotation_file, image_folder))

    @property
    def has_ground_truth(self) -> bool:
        """Whether there are annotations. The validation and test sets come without."""
        return self._has_annotations

    def annotations(self, video_id: int) -> list[dict[str, Any]]:
        """Annotations of a video, as they stand in the file and in its order."""
        return self._annotations[video_id]

    def frame_paths(self, video_id: int) -> list[Path]:
        """Images of a video.

        Raises:
            FileNotFoundError: If one does not exist.
        """
        if self.image_folder is None:
            raise ValueError(f"`image_folder` must be given to read the frames of {self.annotation_file}.")
        return [require_file(self.image_folder / name, "a frame") for name in self.videos[video_id].file_names]


def find_split(
    root: Path, split: str, annotation_file: Path | None = None, image_folder: Path | None = None
) -> tuple[Path, Path]:
    """JSON file and folder of the frames of a split; arguments and errors are those of [`YouTubeVisLayout.find`]."""
    if annotation_file is None:
        annotation_file = find_path(root, f"annotations of split {split!r}", annotation_candidates(split))
    else:
        annotation_file = require_file(root / annotation_file, "videos and categories in the form of YouTube-VIS")
    if image_folder is None:
        names = _split_names(split)
        folders = [f"{name}/JPEGImages" for name in names] + names + ["JPEGImages"]
        image_folder = next((root / folder for folder in folders if (root / folder).is_dir()), root / folders[0])
    else:
        image_folder = require_folder(root / image_folder, "frames, a folder per video")
    return annotation_file, image_folder


def annotation_candidates(split: str, suffix: str = "") -> list[str]:
    """Where the JSON file of a split may lie below the dataset's folder, the official places first.

    Args:
        split (`str`): Name of the split.
        suffix (`str`, *optional*): What its name ends with, such as `"_long"`.
    """
    names = _split_names(split)
    return [
        *(f"{name}/instances{suffix}.json" for name in names),
        *(f"{name}{suffix}.json" for name in names),
        *(f"annotations_{name}{suffix}.json" for name in names),
        *(f"annotations/{name}{suffix}.json" for name in names),
        *(f"annotations/annotations_{name}{suffix}.json" for name in names),
        *(f"annotations/instances_{name}{suffix}.json" for name in names),
        *(f"instances_{name}{suffix}.json" for name in names),
        f"instances{suffix}.json",
    ]


def _split_names(split: str) -> list[str]:
    return [split, _OTHER_NAMES[split]] if split in _OTHER_NAMES else [split]


def read_video(record: Any, where: str) -> YouTubeVisVideo:
    """A record of `videos`.

    Args:
        record: The record.
        where (`str`): The file, for the message.

    Raises:
        ValueError: If a field is missing or of another kind, or fields contradict each other.
    """
    video_id = field(record, "id", f"{where}: a video", int)
    where = f"{where}: video {video_id}"
    names = field(record, "file_names", where, list)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where} must have the names of its frames in `file_names`, got {names[:3]}.")
    if record.get("length", len(names)) != len(names):
        raise ValueError(f"{where} has the length {record['length']}, but {len(names)} file names.")
    return YouTubeVisVideo(
        video_id=video_id,
        name=str(Path(names[0]).parent),
        height=field(record, "height", where, int),
        width=field(record, "width", where, int),
        file_names=tuple(names),
    )
