# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""DAVIS 2017 on disk.

DAVIS/ImageSets/2017/<split>.txt                            one video a line
DAVIS/JPEGImages/<resolution>/<video>/00000.jpg
DAVIS/Annotations/<resolution>/<video>/00000.png            palette: object ids; test sets have the first only
DAVIS/Annotations_unsupervised/<resolution>/<video>/00000.png
"""

from __future__ import annotations

from pathlib import Path

from .frame_folders import list_frames, read_lines, require_folder

RESOLUTIONS = ("480p", "Full-Resolution")


class DavisLayout:
    """One split of DAVIS 2017.

    Args:
        root (`Path`): The folder `DAVIS`, or the one that it lies in.
        split (`str`): `"train"`, `"val"`, `"test-dev"` or `"test-challenge"`.
        resolution (`str`): One of `RESOLUTIONS`.
        annotations (`str`): `"Annotations"`, or `"Annotations_unsupervised"`.
        check_videos (`bool`): Whether to see now that all videos have their folders.

    Attributes:
        video_ids (`list[str]`): As the split lists them, sorted.

    Raises:
        FileNotFoundError: If a folder, a video or the list of the split is missing.
        ValueError: If the list is empty or the resolution is unknown.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        resolution: str = "480p",
        annotations: str = "Annotations",
        check_videos: bool = True,
    ):
        if resolution not in RESOLUTIONS:
            raise ValueError(f"`resolution` must be one of {RESOLUTIONS}, got {resolution!r}.")
        if not (root / "ImageSets").is_dir() and (root / "DAVIS").is_dir():
            root = root / "DAVIS"
        image_set = root / "ImageSets" / "2017" / f"{split}.txt"
        self.video_ids = sorted(read_lines(image_set, "the list of a split of DAVIS 2017, a video a line"))
        if not self.video_ids:
            raise ValueError(f"{image_set} lists no video.")
        self._images = require_folder(root / "JPEGImages" / resolution, "DAVIS frames, a folder per video")
        self._annotations = require_folder(root / annotations / resolution, "DAVIS annotations, a folder per video")
        for video_id in self.video_ids if check_videos else ():
            require_folder(self._images / video_id, f"the frames of video {video_id!r}, which {image_set} lists")
            require_folder(self._annotations / video_id, f"the masks of video {video_id!r}, which {image_set} lists")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and the label maps of a video are."""
        return self._images / video_id, self._annotations / video_id

    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames."""
        return list_frames(self._images / video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps; test sets have that of the first frame only."""
        return list_frames(self._annotations / video_id, (".png",))
