# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation results as a compact JSON file: one line per frame, masks as COCO run lengths.

{"version": 1, "video": "judo.mp4", "height": 480, "width": 854, "fps": 24.0, "task": "vos",
 "frames": [
  {"frame_idx": 0, "segments": [{"id": 1, "label_id": 1, "label": "1", "score": 1.0,
                                 "segmentation": {"size": [480, 854], "counts": "..."}}]},
  ...
 ], "num_frames": 16}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .rle import decode_mask, encode_mask
from .video_writer import check_output_path, temporary_sibling

RESULTS_VERSION = 1


def encode_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """One frame's result with run lengths in place of the map.

    Args:
        result (mapping): `frame_idx`, `segmentation` (integer (H, W) map) and `segments_info`, see
            [`ClipEngine`].

    Returns:
        `dict` with `frame_idx` and `segments`, ready for JSON.
    """
    segmentation = np.asarray(result["segmentation"])
    return {
        "frame_idx": result["frame_idx"],
        "segments": [
            {**segment, "segmentation": encode_mask(segmentation == segment["id"])}
            for segment in result["segments_info"]
        ],
    }


class ResultsWriter:
    """Writes results frame by frame to a temporary file, which is renamed when complete.

    As a context manager: on an exception nothing is left behind.

    Args:
        path (`str` or `os.PathLike`): Where the file is to appear; its suffix is `.json`.
        header (mapping): What is known of the video and the run, ready for JSON.
        overwrite (`bool`, *optional*, defaults to `True`): Whether an existing file may be replaced.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: As [`~video_io.VideoWriter`].
    """

    def __init__(self, path: str | os.PathLike, header: Mapping[str, Any], overwrite: bool = True):
        self.path = Path(path)
        check_output_path(self.path, (".json",), overwrite)
        self.num_frames = 0
        self._header = json.dumps({"version": RESULTS_VERSION, **header}, ensure_ascii=False)
        self._partial: Path | None = None
        self._file: TextIO | None = None

    def __enter__(self) -> ResultsWriter:
        self._partial = temporary_sibling(self.path)
        self._file = open(self._partial, "w", encoding="utf-8")
        self._file.write(self._header[:-1] + ', "frames": [')
        return self

    def write(self, result: Mapping[str, Any]) -> None:
        """Adds the result of one frame."""
        line = json.dumps(encode_result(result), ensure_ascii=False, separators=(",", ":"))
        self._file.write((",\n" if self.num_frames else "\n") + line)
        self.num_frames += 1

    def __exit__(self, exc_type: type | None, *exc_info: object) -> None:
        try:
            if exc_type is None:
                self._file.write(f'\n], "num_frames": {self.num_frames}}}\n')
            self._file.close()
            if exc_type is None:
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a file that [`ResultsWriter`] wrote.

    Returns:
        `dict`: The file's content, where each segment has `mask` (bool (H, W)) in place of `segmentation`.

    Raises:
        ValueError: If the file is not such a file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        frames = content["frames"]
        if content["version"] != RESULTS_VERSION:
            raise ValueError(f"version {content['version']} is not {RESULTS_VERSION}")
        for frame in frames:
            for segment in frame["segments"]:
                segment["mask"] = decode_mask(segment.pop("segmentation"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a results file of univs: {error}") from error
    return content
