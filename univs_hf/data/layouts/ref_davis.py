# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Ref-DAVIS 2017 on disk: expressions of four annotators for every object of DAVIS 2017.

As published, beside the unsupervised release of DAVIS:

    davis_text_annotations/Davis17_annot1.txt              <video> <object id> "<expression>", from the first frame
    davis_text_annotations/Davis17_annot1_full_video.txt   the same, from the whole video
    davis_text_annotations/Davis17_annot2.txt, Davis17_annot2_full_video.txt
    DAVIS/...                                              see `DavisLayout`

Or converted to the form of Ref-YouTube-VOS, as ReferFormer and UniVS use it:

    meta_expressions/<split>/meta_expressions.json   expressions "0", "1", ...: the four of the first object, then of
                                                     the next
    <split>/JPEGImages/<video>/00000.jpg
    <split>/Annotations/<video>/00000.png
"""

from __future__ import annotations

import re
from pathlib import Path

from .davis import DavisLayout
from .frame_folders import list_frames, require_file, require_folder
from .ref_youtube_vos import read_expressions

NUM_ANNOTATORS = 4
_TEXT_FOLDER = "davis_text_annotations"
# In the order in which results are numbered: anno_0 to anno_3.
_TEXT_FILES = (
    "Davis17_annot1.txt",
    "Davis17_annot1_full_video.txt",
    "Davis17_annot2.txt",
    "Davis17_annot2_full_video.txt",
)
# Videos that the published lists misspell.
_MISSPELLED = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
_LINE = re.compile(r"(\S+)\s+(\d+)\s+(.*)")
# Split of DAVIS -> its name in the converted form.
_CONVERTED_SPLITS = {"val": "valid", "train": "train"}


class RefDavisLayout:
    """One split of Ref-DAVIS 2017, at 480p.

    Args:
        root (`Path`): The folder that holds `davis_text_annotations` or `meta_expressions`.
        split (`str`): `"val"` or `"train"`.
        check_videos (`bool`): Whether to see now that all videos have their folders.

    Attributes:
        video_ids (`list[str]`): Sorted.
        expressions_source (`Path`): Folder or file that the expressions were read from.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If a list holds something else, or lacks a video.
    """

    def __init__(self, root: Path, split: str, check_videos: bool = True):
        if split not in _CONVERTED_SPLITS:
            raise ValueError(f"`split` must be one of {list(_CONVERTED_SPLITS)}, got {split!r}.")
        if (root / _TEXT_FOLDER).is_dir():
            self._source: DavisLayout | _ConvertedFolders = DavisLayout(
                root, split, "480p", "Annotations_unsupervised", check_videos
            )
            self.video_ids = self._source.video_ids
            self.expressions_source = root / _TEXT_FOLDER
            self._expressions = _read_text_files(root / _TEXT_FOLDER, self.video_ids)
        elif (root / "meta_expressions").is_dir():
            converted = _CONVERTED_SPLITS[split]
            self.expressions_source = root / "meta_expressions" / converted / "meta_expressions.json"
            self._expressions = _read_converted(self.expressions_source)
            self.video_ids = sorted(self._expressions)
            self._source = _ConvertedFolders(root / converted, self.video_ids if check_videos else [])
        else:
            require_folder(root / _TEXT_FOLDER, "the expressions of Ref-DAVIS, or a folder meta_expressions")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and the label maps of a video are."""
        return self._source.folders(video_id)

    def frames(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the frames."""
        return self._source.frames(video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        """Names and paths of the label maps of all objects, on every frame."""
        return self._source.annotations(video_id)

    def expressions(self, video_id: str, annotator: int) -> dict[int, str]:
        """Object id to the expression of one annotator (0 to 3), ids ascending."""
        return self._expressions[video_id][annotator]


class _ConvertedFolders:
    """Frames and masks in the converted form."""

    def __init__(self, folder: Path, video_ids: list[str]):
        self._images = require_folder(folder / "JPEGImages", "frames, a folder per video")
        self._annotations = require_folder(folder / "Annotations", "palette PNGs, a folder per video")
        for video_id in video_ids:
            require_folder(self._images / video_id, f"the frames of video {video_id!r}, which is listed")
            require_folder(self._annotations / video_id, f"the masks of video {video_id!r}, which is listed")

    def folders(self, video_id: str) -> tuple[Path, Path]:
        return self._images / video_id, self._annotations / video_id

    def frames(self, video_id: str) -> dict[str, Path]:
        return list_frames(self._images / video_id)

    def annotations(self, video_id: str) -> dict[str, Path]:
        return list_frames(self._annotations / video_id, (".png",))


def _read_text_files(folder: Path, video_ids: list[str]) -> dict[str, list[dict[int, str]]]:
    expressions: dict[str, list[dict[int, str]]] = {
        video_id: [{} for _ in range(NUM_ANNOTATORS)] for video_id in video_ids
    }
    for annotator, name in enumerate(_TEXT_FILES):
        path = require_file(folder / name, 'lines of <video> <object id> "<expression>"')
        data = path.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            # The lists of the second annotator are published in Latin-1.
            text = data.decode("latin-1")
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise ValueError(f'{path}, line {number}: expected <video> <object id> "<expression>", got {line!r}.')
            video_id = _MISSPELLED.get(match[1], match[1])
            if video_id in expressions:
                expressions[video_id][annotator][int(match[2])] = match[3].strip().strip('"').strip()
    for video_id, annotators in expressions.items():
        for annotator, objects in enumerate(annotators):
            if not objects:
                raise ValueError(f"{folder / _TEXT_FILES[annotator]} has no expression for video {video_id!r}.")
            annotators[annotator] = dict(sorted(objects.items()))
    return expressions


def _read_converted(path: Path) -> dict[str, list[dict[int, str]]]:
    videos: dict[str, list[dict[int, str]]] = {}
    for video_id, video in read_expressions(path).items():
        annotators: list[dict[int, str]] = [{} for _ in range(NUM_ANNOTATORS)]
        for number, expression in enumerate(video.expressions.values()):
            if expression.obj_id is None:
                raise ValueError(f"{path}: expression {number} of video {video_id!r} has no `obj_id`.")
            annotators[number % NUM_ANNOTATORS][expression.obj_id] = expression.text
        if len({tuple(sorted(objects)) for objects in annotators}) != 1:
            raise ValueError(
                f"{path}: video {video_id!r} must have {NUM_ANNOTATORS} expressions for each object, one after the "
                "other."
            )
        videos[video_id] = [dict(sorted(objects.items())) for objects in annotators]
    return videos
