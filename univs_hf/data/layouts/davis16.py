# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""DAVIS 2016 on disk, as released then or as part of DAVIS 2017.

    DAVIS/ImageSets/480p/<split>.txt                a frame a line: /JPEGImages/480p/<video>/00000.jpg
                                                    /Annotations/480p/<video>/00000.png
    DAVIS/ImageSets/2016/<split>.txt                or, in DAVIS 2017, a video a line
    DAVIS/JPEGImages/<resolution>/<video>/00000.jpg
    DAVIS/Annotations/<resolution>/<video>/00000.png

There is one object per video. Its pixels are 255 in the first form; in the second, several ids are its parts.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from .annotation_json import find_path
from .frame_folders import read_lines, require_folder

RESOLUTIONS = ("480p", "1080p", "Full-Resolution")


class Davis16Layout:
    """One split of DAVIS 2016.

    Args:
        root (`Path`): The folder `DAVIS`, or the one that it lies in.
        split (`str`): `"train"`, `"val"` or `"trainval"`.
        resolution (`str`): One of `RESOLUTIONS`.

    Attributes:
        video_ids (`list[str]`): Sorted.

    Raises:
        FileNotFoundError: If a folder or the list of the split is missing.
        ValueError: If the list is empty or holds something else, or the resolution is unknown.
    """

    def __init__(self, root: Path, split: str, resolution: str = "480p"):
        if resolution not in RESOLUTIONS:
            raise ValueError(f"`resolution` must be one of {RESOLUTIONS}, got {resolution!r}.")
        if not (root / "ImageSets").is_dir() and (root / "DAVIS").is_dir():
            root = root / "DAVIS"
        places = [f"ImageSets/{folder}/{split}.txt" for folder in (resolution, "480p", "2016")]
        image_set = find_path(root, f"list of split {split!r} of DAVIS 2016", places)
        lines = read_lines(image_set, "the list of a split of DAVIS 2016")
        self.video_ids = sorted({_video_of(line, image_set) for line in lines})
        if not self.video_ids:
            raise ValueError(f"{image_set} lists no video.")
        self._images = require_folder(root / "JPEGImages" / resolution, "DAVIS frames, a folder per video")
        self._annotations = require_folder(root / "Annotations" / resolution, "DAVIS masks, a folder per video")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and the masks of a video are."""
        return self._images / video_id, self._annotations / video_id


def _video_of(line: str, image_set: Path) -> str:
    """The video of a line: the line itself, or the folder of the picture that it names first."""
    path = PurePosixPath(line.split()[0])
    if path.suffix == "" and len(path.parts) == 1:
        return line
    if len(path.parts) < 2 or path.suffix == "":
        raise ValueError(f"{image_set} has the line {line!r}; expected a video or the path of a frame.")
    return path.parts[-2]
