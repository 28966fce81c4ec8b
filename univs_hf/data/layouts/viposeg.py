# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPOSeg on disk.

<split>/JPEGImages/<video>/<frame>.jpg
<split>/Annotations/<video>/<frame>.png       palette: object ids; the first mask of each object (references)
<split>/Annotations_gt/<video>/<frame>.png    palette: object ids on every frame
<split>/obj_class.json                        {<video>: {"1": 60}}, classes of VIPSeg from 0
"""

from __future__ import annotations

from pathlib import Path

from .frame_folders import list_frames, read_json, require_folder, subfolders


class VipoSegLayout:
    """One split of VIPOSeg.

    Args:
        root (`Path`): The folder that holds `train` and `valid`.
        split (`str`): Name of such a folder.
        check_videos (`bool`): Whether to see now that all videos have their folders.

    Attributes:
        video_ids (`list[str]`): Folders of references, sorted.
        has_ground_truth (`bool`): Whether there is `Annotations_gt`.
        classes_file (`Path`): `obj_class.json`.

    Raises:
        FileNotFoundError: If a folder or `obj_class.json` is missing.
        ValueError: If `obj_class.json` is something else.
    """

    def __init__(self, root: Path, split: str, check_videos: bool = True):
        folder = require_folder(root / split, "a split of VIPOSeg")
        self._images = require_folder(folder / "JPEGImages", "frames, a folder per video")
        self._references = require_folder(folder / "Annotations", "the first mask of each object, a folder per video")
        self._ground_truth = folder / "Annotations_gt"
        self.has_ground_truth = self._ground_truth.is_dir()
        expected = 'the classes of the objects of VIPOSeg, {<video>: {"1": 60}}'
        self.classes_file = folder / "obj_class.json"
        content = read_json(self.classes_file, expected)
        try:
            self._classes = {
                video_id: {int(object_id): int(index) for object_id, index in objects.items()}
                for video_id, objects in content.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{self.classes_file} is something else than {expected}: {error!r}") from error
        self.video_ids = subfolders(self._references)
        for video_id in self.video_ids if check_videos else ():
            require_folder(self._images / video_id, f"the frames of video {video_id!r}")
            if self.has_ground_truth:
                require_folder(self._ground_truth / video_id, f"the ground truth of video {video_id!r}")

    def folders(self, video_id: str) -> tuple[Path, Path, Path]:
        """Where the frames, the references and the ground truth of a video are."""
        return self._images / video_id, self._references / video_id, self._ground_truth / video_id

    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames."""
        return list_frames(self._images / video_id)

    def references(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps that show objects for the first time."""
        return list_frames(self._references / video_id, (".png",))

    def ground_truth(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps of all frames that are scored."""
        return list_frames(self._ground_truth / video_id, (".png",))

    def classes(self, video_id: str) -> dict[int, int]:
        """Class of each object, an index from 0 among those of VIPSeg.

        Raises:
            ValueError: If the video is not listed.
        """
        if video_id not in self._classes:
            raise ValueError(f"{self.classes_file} does not list video {video_id!r}.")
        return self._classes[video_id]
