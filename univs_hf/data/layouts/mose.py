# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""MOSE on disk.

<split>/JPEGImages/<video>/00000.jpg
<split>/Annotations/<video>/00000.png     palette: object ids; of every frame in train, of the first in valid
"""

from __future__ import annotations

from pathlib import Path

from .frame_folders import list_frames, require_folder, subfolders


class MoseLayout:
    """One split of MOSE.

    Args:
        root (`Path`): The folder that holds `train` and `valid`.
        split (`str`): Name of such a folder.
        check_videos (`bool`): Whether to see now that all videos have their folders.

    Attributes:
        video_ids (`list[str]`): Folders of frames, sorted; unchecked, those of masks as well.

    Raises:
        FileNotFoundError: If a folder is missing.
    """

    def __init__(self, root: Path, split: str, check_videos: bool = True):
        self._images = require_folder(root / split / "JPEGImages", "frames, a folder per video")
        self._annotations = require_folder(root / split / "Annotations", "palette PNGs, a folder per video")
        self.video_ids = subfolders(self._images)
        if not check_videos:
            self.video_ids = sorted({*self.video_ids, *subfolders(self._annotations)})
            return
        for video_id in self.video_ids:
            require_folder(self._annotations / video_id, f"the masks of video {video_id!r}")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and the label maps of a video are."""
        return self._images / video_id, self._annotations / video_id

    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames."""
        return list_frames(self._images / video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps; in `valid` that of the first frame."""
        return list_frames(self._annotations / video_id, (".png",))
