# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VOS on disk.

<split>/meta.json          {"videos": {<video>: {"objects": {"1": {"category": "dog", "frames": ["00000", ...]}}}}}
<split>/JPEGImages/<video>/00000.jpg      every fifth frame of the video
<split>/Annotations/<video>/00000.png     palette: object ids; of every frame in train, in valid and test of the
                                          frames on which an object is seen first
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .frame_folders import list_frames, read_json, require_folder


class YouTubeVosLayout:
    """One split of YouTube-VOS.

    Args:
        root (`Path`): The folder that holds `train` and `valid`.
        split (`str`): Name of such a folder.
        check_videos (`bool`): Whether to see now that all videos have their folders.

    Attributes:
        video_ids (`list[str]`): As `meta.json` lists them, sorted.
        meta_file (`Path`): That file.

    Raises:
        FileNotFoundError: If a folder or `meta.json` is missing.
        ValueError: If `meta.json` is something else.
    """

    def __init__(self, root: Path, split: str, check_videos: bool = True):
        folder = require_folder(root / split, "a split of YouTube-VOS")
        self.meta_file = folder / "meta.json"
        self._videos = read_meta(self.meta_file)
        self._images = require_folder(folder / "JPEGImages", "frames, a folder per video")
        self._annotations = require_folder(folder / "Annotations", "palette PNGs, a folder per video")
        self.video_ids = sorted(self._videos)
        for video_id in self.video_ids if check_videos else ():
            require_folder(self._images / video_id, f"the frames of video {video_id!r}, which meta.json lists")
            require_folder(self._annotations / video_id, f"the masks of video {video_id!r}, which meta.json lists")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and the label maps of a video are."""
        return self._images / video_id, self._annotations / video_id

    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames."""
        return list_frames(self._images / video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps; in `valid` those on which an object is seen first."""
        return list_frames(self._annotations / video_id, (".png",))

    def categories(self, video_id: str) -> dict[int, str]:
        """Category of each object."""
        return {int(object_id): entry["category"] for object_id, entry in self._videos[video_id]["objects"].items()}


def read_meta(path: Path) -> dict[str, Any]:
    """Videos of a `meta.json` of YouTube-VOS.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else.
    """
    expected = 'the list of videos and objects of YouTube-VOS, {"videos": {<video>: {"objects": {...}}}}'
    meta = read_json(path, expected)
    try:
        videos = dict(meta["videos"])
        for video_id, video in videos.items():
            for object_id, entry in video["objects"].items():
                if not isinstance(entry["category"], str) or int(object_id) < 1:
                    raise ValueError(f"object {object_id!r} of video {video_id!r} is {entry!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is something else than {expected}: {error!r}") from error
    return videos


def category_names(path: Path) -> set[str]:
    """All categories that a `meta.json` names: those of `train` are the seen ones."""
    return {entry["category"] for video in read_meta(path).values() for entry in video["objects"].values()}
