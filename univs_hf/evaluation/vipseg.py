# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIPSeg: video panoptic segmentation; VPQ and STQ (specification, sections 4 and 9 of the metrics)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import find_objects

from ..data.layouts.annotation_json import field, read_records
from ..data.layouts.frame_folders import require_file, require_folder
from ..data.layouts.panoptic_png import panoptic_colours, read_panoptic_png
from ..data.layouts.vipseg import VipSegLayout
from ..label_sets import load_label_set
from ..metrics.panoptic_frames import panoptic_overlaps
from ..metrics.stq import STQMetric
from ..metrics.video_metric import VideoMetric
from ..metrics.vps import VPQMetric
from ..results_io import json_line
from .benchmark import Benchmark, ComparedFrame, JobResults, Option, VideoJob
from .label_names import dataset_category_ids
from .prediction_frames import numbered_results, spread, to_numpy
from .submission_files import link_or_copy, unpack_zip, write_folder, write_zip

MASKS_FOLDER = "pan_pred"
SEGMENTS_FILE = "pred.json"
# From here on a table with an entry for each possible id takes too much memory.
_MANY_IDS = 1 << 20


class VipSeg(Benchmark):
    """VIPSeg.

    A prediction is `<video>/pan_pred/<frame>.png`, in which a segment's id, the same in the whole video, is
    R + 256 G + 65536 B and 0 is void; and `<video>/pred.json`, the video's entry of the submission's `pred.json`. The
    submission holds `pan_pred/<video>/<frame>.png` and `pred.json`. The layout is that of
    [`~data.layouts.vipseg.VipSegLayout`]: scores are published on the converted form of 720 lines.

    Args:
        annotation_file (`str`, *optional*): JSON file, absolute or below `root`, instead of the split's own.
        crowd (`str`, *optional*, defaults to `"first_segment"`): See [`STQMetric`].
        root, split, videos: See [`Benchmark`].
    """

    name = "vipseg"
    task = "vps"
    default_split = "val"
    columns = {
        "VPQ": "VPQ",
        "VPQ_things": "VPQ things",
        "VPQ_stuff": "VPQ stuff",
        "STQ": "STQ",
        "SQ": "SQ",
        "AQ": "AQ",
    }
    worst_by = "VPQ"
    options = (
        Option("annotation_file", "JSON file instead of the split's own, say of a development subset"),
        Option(
            "crowd",
            "STQ: what is crowd; the first segment of each video, as in the official script, or what is marked",
            "first_segment",
            ("first_segment", "iscrowd"),
        ),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        annotation_file: str | None = None,
        crowd: str = "first_segment",
    ):
        super().__init__(root, split, videos)
        self.annotation_file, self.crowd = annotation_file, crowd
        self.layout = VipSegLayout(self.root, self.split, annotation_file)
        names = {number: category["name"] for number, category in self.layout.categories.items()}
        self._category_ids = dataset_category_ids(load_label_set(self.name), names, str(self.layout.list_file))
        self.new_metrics()

    def all_video_ids(self) -> list[str]:
        return self.layout.videos

    @property
    def has_ground_truth(self) -> bool:
        return self.layout.has_ground_truth

    def num_frames(self, video_id: str) -> int:
        return len(self.layout.frame_names(video_id))

    # --- predictions

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        yield VideoJob(self.task, self.layout.frame_paths(video_id), categories=self.name)

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        names = self.layout.frame_names(video_id)
        (folder / MASKS_FOLDER).mkdir()
        frames: list[dict[str, Any]] = []
        for number, result in numbered_results(results, len(names), self._where(video_id)):
            ids = to_numpy(result["segmentation"])
            Image.fromarray(panoptic_colours(ids)).save(folder / MASKS_FOLDER / f"{names[number]}.png")
            labels = {int(info["id"]): int(info["label_id"]) for info in result["segments_info"]}
            frames.append({"file_name": f"{names[number]}.png", "segments_info": describe_segments(ids, labels)})
        # What an object is has been decided by the whole video, which is known only now.
        final = {int(found["id"]): int(found["label_id"]) for found in results.summary()}
        for frame in frames:
            for segment in frame["segments_info"]:
                label = final.get(segment["id"], segment["category_id"])
                if label not in self._category_ids:
                    raise ValueError(f"{self._where(video_id)}: class {label} is not in {self.layout.list_file}.")
                segment["category_id"] = self._category_ids[label]
        entry = {"video_id": video_id, "annotations": frames}
        (folder / SEGMENTS_FILE).write_text(json_line(entry), encoding="utf-8")

    def open_predictions(self, source: Path, scratch: Path) -> Path:
        """See [`Benchmark`]: also a submission, as a zip or a folder with `pan_pred` and `pred.json`."""
        folder = source
        if source.suffix.lower() == ".zip" and source.is_file():
            folder = unpack_zip(source, scratch / "unpacked")
        elif not (source / SEGMENTS_FILE).is_file():
            return super().open_predictions(source, scratch)
        path = require_file(folder / SEGMENTS_FILE, "the segments of a submission")
        known = set(self.all_video_ids())
        for entry in field(read_records(path, "the segments of a submission"), "annotations", str(path), list):
            video_id = field(entry, "video_id", f"{path}: an entry", str)
            if video_id not in known:
                raise ValueError(f"{path} has segments of video {video_id!r}, which the split does not have.")
            masks = require_folder(folder / MASKS_FOLDER / video_id, f"the predictions of video {video_id!r}")
            target = scratch / "videos" / video_id
            (target / MASKS_FOLDER).mkdir(parents=True)
            for file in masks.glob("*.png"):
                link_or_copy(file, target / MASKS_FOLDER / file.name)
            (target / SEGMENTS_FILE).write_text(json_line(entry), encoding="utf-8")
        return scratch / "videos"

    def write_submission(self, predictions: Path, out: Path) -> Path:
        """Writes the folder `submission`, which the official scripts read, and the same as `submission.zip`."""
        entries, members = [], []
        for video_id in self.video_ids():
            entries.append(self._read_entry(predictions, video_id))
            for name in self.layout.frame_names(video_id):
                path = self._mask_file(predictions, video_id, name)
                members.append((f"{MASKS_FOLDER}/{video_id}/{name}.png", path))
        members.append((SEGMENTS_FILE, json_line({"annotations": entries})))
        write_folder(out / "submission", members)
        return write_zip(out / "submission.zip", members)

    # --- scores

    def new_metrics(self) -> dict[str, VideoMetric]:
        categories = list(self.layout.categories.values())
        return {"vpq": VPQMetric(categories), "stq": STQMetric(categories, crowd=self.crowd)}

    def figures(self, metrics: Mapping[str, VideoMetric]) -> dict[str, Any]:
        return {key: value for metric in metrics.values() for key, value in metric.compute().items()}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        single = self.new_metrics()
        overlaps = list(
            panoptic_overlaps(
                video_id,
                self._predicted_frames(predictions, video_id),
                (self.layout.panoptic(video_id, number) for number in range(self.num_frames(video_id))),
                single["vpq"].categories,
            )
        )
        for name, metric in single.items():
            metric.update_overlaps(video_id, overlaps)
            metrics[name].merge(metric)
        figures = self.figures(single)
        for ending in ("", "_things", "_stuff"):
            # A video that is shorter than some of the windows has figures for the others.
            by_window = [figures[f"VPQ_{window}{ending}"] for window in single["vpq"].windows]
            defined = [value for value in by_window if not math.isnan(value)]
            figures[f"VPQ{ending}"] = sum(defined) / len(defined) if defined else math.nan
        return {key: figures[key] for key in self.columns}

    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        names, images = self.layout.frame_names(video_id), self.layout.frame_paths(video_id)
        segments = self._predicted_segments(predictions, video_id)
        frames = []
        for number in spread(len(names), limit):
            truth, true_segments = self.layout.panoptic(video_id, number)
            frames.append(
                ComparedFrame(
                    caption=names[number],
                    image=images[number],
                    prediction=read_panoptic_png(self._mask_file(predictions, video_id, names[number])),
                    ground_truth=truth,
                    prediction_info=self._named(segments[number]),
                    ground_truth_info=self._named(true_segments),
                )
            )
        return frames

    def _named(self, segments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        categories = self.layout.categories
        return [
            {"id": segment["id"], "label": categories.get(segment["category_id"], {}).get("name")}
            for segment in segments
        ]

    # --- files

    def _where(self, video_id: str) -> str:
        return f"{self.name}: video {video_id!r}"

    def _mask_file(self, predictions: Path, video_id: str, frame: str) -> Path:
        path = predictions / video_id / MASKS_FOLDER / f"{frame}.png"
        if not path.is_file():
            raise FileNotFoundError(f"{self._where(video_id)}, frame {frame}: there is no prediction {path}.")
        return path

    def _read_entry(self, predictions: Path, video_id: str) -> dict[str, Any]:
        path = predictions / video_id / SEGMENTS_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{self._where(video_id)}: there is no prediction {path}.")
        return read_records(path, "the segments of a video")

    def _predicted_segments(self, predictions: Path, video_id: str) -> list[list[dict[str, Any]]]:
        """Segments of each frame, which must be those of the ground truth in number and order."""
        where = f"{self._where(video_id)}: {predictions / video_id / SEGMENTS_FILE}"
        frames = field(self._read_entry(predictions, video_id), "annotations", where, list)
        found = [Path(field(frame, "file_name", where, str)).stem for frame in frames]
        names = self.layout.frame_names(video_id)
        for number, (name, expected) in enumerate(zip(found, names, strict=False)):
            if name != expected:
                raise ValueError(f"{where}: frame {number} must be {expected!r}, got {name!r}.")
        if len(found) != len(names):
            raise ValueError(f"{where} has {len(found)} frames, the video {len(names)}.")
        return [field(frame, "segments_info", where, list) for frame in frames]

    def _predicted_frames(self, predictions: Path, video_id: str) -> Iterator[tuple[np.ndarray, list[dict[str, Any]]]]:
        names = self.layout.frame_names(video_id)
        for name, segments in zip(names, self._predicted_segments(predictions, video_id), strict=True):
            yield read_panoptic_png(self._mask_file(predictions, video_id, name)), segments


def describe_segments(ids: np.ndarray, labels: Mapping[int, int]) -> list[dict[str, Any]]:
    """Segments of a panoptic map as COCO lists them.

    Args:
        ids (`np.ndarray` of shape (height, width)): 0 is void.
        labels (`dict[int, int]`): Category of each id.

    Returns:
        `list[dict]`, by id: `id`, `category_id`, `iscrowd` (0), `area` (pixels), `bbox` (x, y, width, height).

    Raises:
        ValueError: If a pixel's id has no category.
    """
    present, places = _number_ids(np.asarray(ids))
    areas = np.bincount(places.ravel(), minlength=len(present))
    # `find_objects` passes over 0.
    boxes = find_objects(places + 1)
    segments = []
    for identifier, area, box in zip(present.tolist(), areas.tolist(), boxes, strict=True):
        if identifier == 0:
            continue
        if identifier not in labels:
            raise ValueError(
                f"The segmentation has pixels of segment {identifier}, which `segments_info` does not list."
            )
        rows, columns = box
        segments.append(
            {
                "id": identifier,
                "category_id": labels[identifier],
                "iscrowd": 0,
                "area": area,
                "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
            }
        )
    return segments


def _number_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids of a map, ascending, and for each pixel the place of its id among them, int32 (H, W)."""
    highest = int(ids.max(initial=0))
    if highest >= _MANY_IDS:
        present, places = np.unique(ids, return_inverse=True)
        return present, places.reshape(ids.shape).astype(np.int32)
    # Much quicker than sorting the pixels.
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=highest + 1))
    table = np.zeros(highest + 1, dtype=np.int32)
    table[present] = np.arange(len(present))
    return present, table[ids]
