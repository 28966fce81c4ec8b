# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VSPW (also in its 480p form): frames and label maps per video, a list of videos per split.

<root>/val.txt                             names of the videos
<root>/data/<video>/origin/<frame>.jpg
<root>/data/<video>/mask/<frame>.png       0 "others", 1 to 124 classes, 255 void; absent in the test split
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .annotation_json import find_path
from .frame_folders import list_frames, read_label_map, read_lines, require_folder

NUM_CLASSES = 124
VOID = 255


class VspwLayout:
    """A split of VSPW.

    Args:
        root (`Path`): The dataset's folder.
        split (`str`, *optional*, defaults to `"val"`): `"train"`, `"val"`, `"test"` or the name of another list.
        check_videos (`bool`, *optional*, defaults to `True`): Whether to see now that all videos have their folders.

    Attributes:
        videos (`list[str]`): Names, sorted.

    Raises:
        FileNotFoundError: If the list, the folder of the data or that of a video does not exist.
    """

    def __init__(self, root: Path, split: str = "val", check_videos: bool = True):
        self.root = Path(root)
        self.data = find_path(self.root, "folder of videos", ["data"])
        self.list_file = find_path(self.root, f"list of split {split!r}", [f"{split}.txt", f"data/{split}.txt"])
        self.videos = sorted(set(read_lines(self.list_file, "names of videos")))
        for video in self.videos if check_videos else ():
            require_folder(self.data / video, f"a video of {self.list_file.name}")
        self._frame_names: dict[str, list[str]] = {}

    @property
    def has_ground_truth(self) -> bool:
        """Whether all videos have label maps."""
        return bool(self.videos) and all((self.data / video / "mask").is_dir() for video in self.videos)

    def folders(self, video: str) -> tuple[Path, Path]:
        """Where the frames and the label maps of a video are; the test split has none of the latter."""
        return self.data / video / "origin", self.data / video / "mask"

    def frame_names(self, video: str) -> list[str]:
        """Names of a video's frames without suffix, in order: those of its label maps, else those of its images."""
        if video not in self._frame_names:
            masks = self.data / video / "mask"
            self._frame_names[video] = list(list_frames(masks if masks.is_dir() else self.data / video / "origin"))
        return self._frame_names[video]

    def frame_paths(self, video: str) -> list[Path]:
        """Images of a video.

        Raises:
            FileNotFoundError: If a frame has no image.
        """
        folder = self.data / video / "origin"
        files = list_frames(folder)
        for name in self.frame_names(video):
            if name not in files:
                raise FileNotFoundError(f"There is no file {folder / name}.jpg; expected the frame of a label map.")
        return [files[name] for name in self.frame_names(video)]

    def labels(self, video: str, frame: str) -> np.ndarray:
        """A label map as it is in the file: `uint8` (height, width).

        Raises:
            FileNotFoundError: If it does not exist.
            ValueError: If it has values other than 0 to 124 and 255.
        """
        path = self.data / video / "mask" / f"{frame}.png"
        labels = read_label_map(path)
        wrong = (labels > NUM_CLASSES) & (labels != VOID)
        if wrong.any():
            raise ValueError(f"{path} must hold 0..{NUM_CLASSES} and {VOID}, got {int(labels[wrong][0])}.")
        return labels
