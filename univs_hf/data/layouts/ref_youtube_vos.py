# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Ref-YouTube-VOS on disk.

    meta_expressions/<split>/meta_expressions.json   {"videos": {<video>: {"frames": ["00000", ...], "expressions":
                                                     {"0": {"exp": "a dog", "obj_id": "1"}}}}}; obj_id in train only
    <split>/JPEGImages/<video>/00000.jpg
    <split>/Annotations/<video>/00000.png            palette: object ids; in train

The list of `valid` holds the videos of `test` as well, without masks on any server; they are left out where the list
of `test` is there (202 of 507 videos stay).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .frame_folders import list_frames, read_json, require_folder


@dataclass(frozen=True)
class Expression:
    """What somebody said of an object.

    Attributes:
        text: The sentence.
        obj_id: The object, where it is told.
    """

    text: str
    obj_id: int | None = None


@dataclass(frozen=True)
class ReferredVideo:
    """A video of `meta_expressions.json`.

    Attributes:
        frames: Names of the frames, in order.
        expressions: By the expression's own id, in the order of the file.
    """

    frames: list[str]
    expressions: dict[str, Expression]


class RefYouTubeVosLayout:
    """One split of Ref-YouTube-VOS.

    Args:
        root (`Path`): The folder that holds `meta_expressions`.
        split (`str`): Name of a folder there.
        check_videos (`bool`): Whether to see now that all videos have their folders.

    Attributes:
        videos (`dict[str, ReferredVideo]`): Videos by id, sorted.
        expressions_file (`Path`): Their list.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If a file is something else.
    """

    def __init__(self, root: Path, split: str, check_videos: bool = True):
        folder = require_folder(root / "meta_expressions", "the expressions of Ref-YouTube-VOS")
        self.expressions_file = folder / split / "meta_expressions.json"
        videos = read_expressions(self.expressions_file)
        test = folder / "test" / "meta_expressions.json"
        hidden = read_expressions(test) if split == "valid" and test.is_file() else {}
        self.videos = {video_id: videos[video_id] for video_id in sorted(videos) if video_id not in hidden}
        self._images = require_folder(root / split / "JPEGImages", "frames, a folder per video")
        self._annotations = root / split / "Annotations"
        for video_id in self.videos if check_videos else ():
            require_folder(self._images / video_id, f"the frames of video {video_id!r}, which {folder / split} lists")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and, in `train`, the label maps of a video are."""
        return self._images / video_id, self._annotations / video_id

    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames that `meta_expressions.json` lists.

        Raises:
            FileNotFoundError: If one is missing.
        """
        there = list_frames(self._images / video_id)
        missing = [name for name in self.videos[video_id].frames if name not in there]
        if missing:
            raise FileNotFoundError(f"{self._images / video_id} lacks the frames {missing[:5]}, which are listed.")
        return {name: there[name] for name in self.videos[video_id].frames}

    def annotations(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps; none where the split has none."""
        folder = self._annotations / video_id
        return list_frames(folder, (".png",)) if folder.is_dir() else {}


def read_expressions(path: Path) -> dict[str, ReferredVideo]:
    """Videos of a `meta_expressions.json`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else.
    """
    expected = 'expressions as Ref-YouTube-VOS has them, {"videos": {<video>: {"frames", "expressions"}}}'
    content = read_json(path, expected)
    try:
        videos = {
            video_id: ReferredVideo(
                [str(name) for name in video["frames"]],
                {
                    str(key): Expression(str(value["exp"]), None if "obj_id" not in value else int(value["obj_id"]))
                    for key, value in video["expressions"].items()
                },
            )
            for video_id, video in content["videos"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is something else than {expected}: {error!r}") from error
    for video_id, video in videos.items():
        if not video.frames or not video.expressions:
            raise ValueError(f"{path}: video {video_id!r} must have frames and expressions.")
    return videos
