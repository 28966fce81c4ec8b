# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation results as JSON: one line per frame, masks as COCO run lengths.

{"version": 1, "video": "judo.mp4", "height": 480, "width": 854, "fps": 24.0, "task": "vos",
 "frames": [
  {"frame_idx": 0, "segments": [{"id": 1, "label_id": 1, "label": "1", "score": 1.0,
                                 "segmentation": {"size": [480, 854], "counts": "..."}}]},
  ...
 ], "objects": [], "complete": true, "num_frames": 16}

`objects` is what the task tells of the whole video (VIS: each object with its class and score). A file of an
interrupted run says `"complete": false`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .rle import decode_mask, encode_mask
from .video_writer import check_output_path, temporary_sibling

RESULTS_VERSION = 1


def encode_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """One frame's result with run lengths in place of the map or the masks.

    Args:
        result (mapping): `frame_idx`, `segments_info`, and `segmentation` (integer (H, W) map of ids) or `masks`
            ((N, H, W), in the order of `segments_info`), see [`ClipEngine`].

    Returns:
        `dict` with `frame_idx` and `segments`, ready for JSON.
    """
    infos = result["segments_info"]
    if "masks" in result:
        masks = np.asarray(result["masks"])
    else:
        segmentation = np.asarray(result["segmentation"])
        masks = (segmentation == info["id"] for info in infos)
    return {
        "frame_idx": result["frame_idx"],
        "segments": [{**info, "segmentation": encode_mask(mask)} for info, mask in zip(infos, masks, strict=True)],
    }


def decode_result(record: Mapping[str, Any], size: tuple[int, int], overlapping: bool) -> dict[str, Any]:
    """Inverse of [`encode_result`].

    Args:
        record (mapping): What [`encode_result`] returned.
        size (`tuple[int, int]`): (height, width) of the frame.
        overlapping (`bool`): Whether the task gives `masks` rather than a map.

    Returns:
        `dict`: The result, with numpy arrays.
    """
    infos = [{key: value for key, value in segment.items() if key != "segmentation"} for segment in record["segments"]]
    masks = [decode_mask(segment["segmentation"]) for segment in record["segments"]]
    result = {"frame_idx": record["frame_idx"], "segments_info": infos}
    if overlapping:
        return {**result, "masks": np.stack(masks) if masks else np.zeros((0, *size), dtype=bool)}
    segmentation = np.zeros(size, dtype=np.int32)
    for info, mask in zip(infos, masks, strict=True):
        segmentation[mask] = info["id"]
    return {**result, "segmentation": segmentation}


def json_line(value: Any) -> str:
    """Compact JSON without line breaks; numbers of numpy and tensors of one element become plain numbers."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=lambda number: number.item())


class ResultsWriter:
    """Writes results frame by frame to a temporary file, which is renamed when complete.

    As a context manager: on an exception nothing is left behind.

    Args:
        path (`str` or `os.PathLike`): Where the file is to appear; its suffix is `.json`.
        header (mapping): What is known of the video and the run, ready for JSON.
        overwrite (`bool`, *optional*, defaults to `True`): Whether an existing file may be replaced.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: As [`~video_writer.VideoWriter`].
    """

    def __init__(self, path: str | os.PathLike, header: Mapping[str, Any], overwrite: bool = True):
        self.path = Path(path)
        check_output_path(self.path, (".json",), overwrite)
        self.num_frames = 0
        self._header = json_line({"version": RESULTS_VERSION, **header})
        self._partial: Path | None = None
        self._file: TextIO | None = None

    def __enter__(self) -> ResultsWriter:
        self._partial = temporary_sibling(self.path)
        self._file = open(self._partial, "w", encoding="utf-8")
        self._file.write(self._header[:-1] + ',"frames":[')
        return self

    def write(self, result: Mapping[str, Any]) -> None:
        """Adds the result of one frame, as [`ClipEngine`] or [`encode_result`] gives it."""
        record = result if "segments" in result else encode_result(result)
        self._file.write((",\n" if self.num_frames else "\n") + json_line(record))
        self.num_frames += 1

    def finish(self, objects: Sequence[Mapping[str, Any]] = (), is_part: bool = False) -> None:
        """Writes the file to its end; it appears with [`~ResultsWriter.close`].

        Args:
            objects (sequence of mappings, *optional*): What is known of the objects of the whole video.
            is_part (`bool`, *optional*, defaults to `False`): Whether frames are missing at the end.
        """
        if not self._file.closed:
            end = {"objects": list(objects), "complete": not is_part, "num_frames": self.num_frames}
            self._file.write("\n]," + json_line(end)[1:] + "\n")
            self._file.close()

    def close(self, path: Path | None = None) -> None:
        """Finishes the file and moves it to its name, or to `path`."""
        try:
            self.finish()
            os.replace(self._partial, path or self.path)
            self._partial = None
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops what was written. Does nothing after [`~ResultsWriter.close`]."""
        if self._partial is not None:
            try:
                self._file.close()
            except OSError:
                # What could not be written is not wanted any more.
                pass
            self._partial.unlink(missing_ok=True)
            self._partial = None

    def __exit__(self, exc_type: type | None, *exc_info: object) -> None:
        if exc_type is None and self._partial is not None:
            self.close()
        else:
            self.abort()


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
