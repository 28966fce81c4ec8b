# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPSeg, as it is downloaded and as its own scripts convert it to 720 lines.

    VIPSeg_720P/panoptic_gt_VIPSeg_val.json          videos, segments of every frame, categories
    VIPSeg_720P/images/<video>/<frame>.jpg
    VIPSeg_720P/panomasksRGB/<video>/<frame>.png     id = R + 256 G + 65536 B, one id per segment of a video, 0 void

    VIPSeg/val.txt                                   names of the videos
    VIPSeg/imgs/<video>/<frame>.jpg
    VIPSeg/panomasks/<video>/<frame>.png             0 void, class + 1 for stuff, 100 (class + 1) + instance for things

Scores are published on the converted form. As downloaded, the values of a mask serve as ids of its segments: they hold
for the whole video, too. In both forms the categories are numbered from 0 to 123.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...label_sets import load_label_set
from .annotation_json import field, find_path, read_records
from .frame_folders import list_frames, read_label_map, read_lines, require_folder
from .panoptic_png import read_panoptic_png

# Raw values below it are stuff.
_FIRST_THING_VALUE = 125


class VipSegLayout:
    """A split of VIPSeg.

    Args:
        root (`Path`): `VIPSeg_720P` or `VIPSeg`.
        split (`str`, *optional*, defaults to `"val"`): `"train"`, `"val"` or `"test"`.
        annotation_file (`Path`, *optional*): JSON file, absolute or below `root`, instead of the split's own.

    Attributes:
        videos (`list[str]`): Names, in the order of the file; as downloaded, sorted.
        categories (`dict[int, dict]`): Per number from 0: `name` and `isthing` (0 or 1).
        is_converted (`bool`): Whether it is the converted form.

    Raises:
        FileNotFoundError: If it is neither form.
        ValueError: If a file is not of this layout; the message names it.
    """

    def __init__(self, root: Path, split: str = "val", annotation_file: Path | None = None):
        self.root = Path(root)
        self.list_file = find_list(self.root, split, annotation_file)
        self.is_converted = self.list_file.suffix == ".json"
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._segments: dict[str, list[list[dict[str, Any]]]] = {}
        self._names: dict[str, list[str]] = {}
        if self.is_converted:
            self._read_converted()
        else:
            self._read_downloaded()

    def _read_converted(self) -> None:
        where = str(self.list_file)
        content = read_records(self.list_file, "videos, segments and categories of VIPSeg")
        self.image_folder, self.mask_folder = self.root / "images", self.root / "panomasksRGB"
        self.categories = _read_categories(field(content, "categories", where, list), where)
        for video in field(content, "videos", where, list):
            name = field(video, "video_id", f"{where}: a video", str)
            self._images[name] = field(video, "images", f"{where}: video {name!r}", list)
        for video in content.get("annotations") or []:
            name = field(video, "video_id", f"{where}: an annotation", str)
            where_video = f"{where}: annotation of video {name!r}"
            if name not in self._images:
                raise ValueError(f"{where_video}: there is no such video.")
            frames = {
                field(frame, "file_name", where_video, str): field(frame, "segments_info", where_video, list)
                for frame in field(video, "annotations", where_video, list)
            }
            missing = [image["file_name"] for image in self._images[name] if image["file_name"] not in frames]
            if missing:
                raise ValueError(f"{where_video} lacks frame {missing[0]}.")
            self._segments[name] = [frames[image["file_name"]] for image in self._images[name]]
        self.videos = list(self._images)

    def _read_downloaded(self) -> None:
        self.image_folder, self.mask_folder = self.root / "imgs", self.root / "panomasks"
        self.videos = sorted(set(read_lines(self.list_file, "names of videos")))
        names = self.root / "panoVIPSeg_categories.json"
        if names.is_file():
            self.categories = _read_categories(read_records(names, "categories", list), str(names))
        else:
            self.categories = {
                category.index: {"id": category.index, "name": category.label, "isthing": int(bool(category.is_thing))}
                for category in load_label_set("vipseg")
            }
        for video in self.videos:
            require_folder(self.image_folder / video, f"a video of {self.list_file.name}")

    @property
    def has_ground_truth(self) -> bool:
        """Whether all videos have panoptic maps."""
        if self.is_converted:
            return bool(self.videos) and self.mask_folder.is_dir() and len(self._segments) == len(self.videos)
        return bool(self.videos) and all((self.mask_folder / video).is_dir() for video in self.videos)

    def frame_names(self, video: str) -> list[str]:
        """Names of a video's frames without suffix, in the official order."""
        if self.is_converted:
            return [Path(image["file_name"]).stem for image in self._images[video]]
        if video not in self._names:
            self._names[video] = list(list_frames(self.image_folder / video))
        return self._names[video]

    def frame_paths(self, video: str) -> list[Path]:
        """Images of a video.

        Raises:
            FileNotFoundError: If one does not exist.
        """
        folder = self.image_folder / video
        files = list_frames(folder)
        names = self.frame_names(video)
        for name in names:
            if name not in files:
                raise FileNotFoundError(
                    f"There is no file {folder / name}.jpg; {self.list_file.name} lists that frame."
                )
        return [files[name] for name in names]

    def panoptic(self, video: str, frame: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Ground truth of a frame.

        Args:
            video (`str`): Its name.
            frame (`int`): Number in [`~VipSegLayout.frame_names`].

        Returns:
            Ids, `uint32` (height, width), 0 for void; and `id`, `category_id` (from 0), `iscrowd` and `area` (pixels)
            of each segment: in the file's order, or by id.

        Raises:
            FileNotFoundError: If there is no panoptic map.
            ValueError: If it is not of this layout.
        """
        path = self.mask_folder / video / f"{self.frame_names(video)[frame]}.png"
        if self.is_converted:
            return read_panoptic_png(path), self._segments[video][frame]
        ids = read_label_map(path).astype(np.uint32)
        segments = []
        for value, area in zip(*(array.tolist() for array in np.unique(ids, return_counts=True)), strict=True):
            if value == 0:
                continue
            category, _ = category_of_value(value)
            if category not in self.categories:
                raise ValueError(f"{path} has the value {value}, which stands for none of the categories.")
            segments.append({"id": value, "category_id": category, "iscrowd": 0, "area": area})
        return ids, segments


def find_list(root: Path, split: str, annotation_file: Path | None = None) -> Path:
    """The JSON file of a split in the converted form, else its list of videos.

    Raises:
        FileNotFoundError: If there is neither.
    """
    places = [f"panoptic_gt_VIPSeg_{split}.json", f"{split}.txt"]
    if annotation_file is not None:
        places = [str(annotation_file)]
    return find_path(root, f"list of split {split!r}", places)


def category_of_value(value: int) -> tuple[int, bool]:
    """What a value of the masks as downloaded stands for, void (0) excepted.

    Returns:
        The category from 0, which may be none of the 124, and whether the value tells an instance.
    """
    instance = value >= _FIRST_THING_VALUE
    return (value // 100 if instance else value) - 1, instance


def _read_categories(records: list[Any], where: str) -> dict[int, dict[str, Any]]:
    categories = {}
    for record in records:
        number = field(record, "id", f"{where}: a category", int)
        field(record, "isthing", f"{where}: category {number}", int)
        categories[number] = {"name": str(number), **record}
    return categories
