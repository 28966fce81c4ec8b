# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VIS 2019, 2021, 2022 and OVIS: AP of video instances (specification, sections 2 and 9 of the metrics)."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data.layouts.annotation_json import read_records
from ..data.layouts.frame_folders import read_lines, require_file
from ..data.layouts.youtube_vis import YouTubeVisLayout, YouTubeVisVideo, annotation_candidates
from ..label_sets import load_label_set
from ..metrics.masks import to_binary
from ..metrics.video_metric import VideoMetric
from ..metrics.vis import VideoAP
from .benchmark import Benchmark, ComparedFrame, JobResults, Option, VideoJob
from .instance_tracks import collect_tracks
from .label_names import dataset_category_ids
from .prediction_frames import spread
from .submission_files import unpack_zip, write_json_list, write_zip

RESULTS_FILE = "results.json"
# Objects that the report shows of a video.
_SHOWN_OBJECTS = 10


class YouTubeVisBenchmark(Benchmark):
    """What the four have in common.

    A prediction is `<video id>/results.json`: the video's entries of the submission, which is `results.json` in a zip.
    Entries have the dataset's category ids and a COCO RLE, or null, for every frame. The layout is that of
    [`~data.layouts.youtube_vis.YouTubeVisLayout`].

    Args:
        annotation_file (`str`, *optional*): JSON file, absolute or below `root`, instead of the split's own: say that
            of a development subset, since the ground truth of the validation sets is not public.
        image_folder (`str`, *optional*): Likewise for the frames.
        root, split, videos: See [`Benchmark`]; videos are named by their ids.
    """

    task = "vis"
    default_split = "valid"
    columns = {"AP": "mAP", "AP50": "AP50", "AP75": "AP75", "AR1": "AR1", "AR10": "AR10"}
    worst_by = "AP"
    options = (
        Option("annotation_file", "JSON file instead of the split's own, say of a development subset"),
        Option("image_folder", "folder of the frames instead of the split's own"),
    )
    label_set: ClassVar[str]

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        annotation_file: str | None = None,
        image_folder: str | None = None,
    ):
        super().__init__(root, split, videos)
        self.annotation_file, self.image_folder = annotation_file, image_folder
        self.layout = YouTubeVisLayout.find(self.root, self.split, annotation_file, image_folder)
        self._category_ids = dataset_category_ids(
            load_label_set(self.label_set), self.layout.categories, str(self.layout.annotation_file)
        )

    def all_video_ids(self) -> list[str]:
        return [str(video_id) for video_id in self.layout.videos]

    @property
    def has_ground_truth(self) -> bool:
        return self.layout.has_ground_truth

    def num_frames(self, video_id: str) -> int:
        return len(self.layout.videos[int(video_id)].file_names)

    # --- predictions

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        yield VideoJob(self.task, self.layout.frame_paths(int(video_id)), categories=self.label_set)

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        video = self.layout.videos[int(video_id)]
        num_frames = len(video.file_names)
        tracks = collect_tracks(results, num_frames, (video.height, video.width), self._where(video_id))
        entries = (
            {
                "video_id": video.video_id,
                "category_id": self._category_ids[found["label_id"]],
                "score": float(found["score"]),
                "segmentations": [tracks.get(found["id"], {}).get(number) for number in range(num_frames)],
            }
            for found in results.summary()
            if found["label_id"] in self._category_ids
        )
        write_json_list(folder / RESULTS_FILE, entries)

    def open_predictions(self, source: Path, scratch: Path) -> Path:
        """See [`Benchmark`]: also a submission, as the zip or as its `results.json`.

        Raises:
            ValueError: If an entry is of an unknown video.
        """
        file = source
        if source.suffix.lower() == ".zip" and source.is_file():
            file = require_file(unpack_zip(source, scratch / "unpacked") / RESULTS_FILE, "the results of a submission")
        elif source.is_dir() and (source / RESULTS_FILE).is_file():
            file = source / RESULTS_FILE
        elif source.is_dir():
            return source
        elif not source.is_file():
            return super().open_predictions(source, scratch)
        by_video: dict[str, list[Any]] = defaultdict(list)
        known = set(self.all_video_ids())
        for number, entry in enumerate(read_records(file, "the results of a submission", list)):
            if not isinstance(entry, dict) or str(entry.get("video_id")) not in known:
                found = entry.get("video_id") if isinstance(entry, dict) else entry
                raise ValueError(f"{file}: entry {number} is of video {found!r:.60}, which the split does not have.")
            by_video[str(entry["video_id"])].append(entry)
        # A video in which nothing was found has no entry.
        for video_id in known:
            (scratch / "videos" / video_id).mkdir(parents=True)
            write_json_list(scratch / "videos" / video_id / RESULTS_FILE, by_video[video_id])
        return scratch / "videos"

    def write_submission(self, predictions: Path, out: Path) -> Path:
        """Writes `submission.zip` with `results.json` at its root."""
        entries = (entry for video_id in self.video_ids() for entry in self._read_entries(predictions, video_id))
        out.mkdir(parents=True, exist_ok=True)
        # Through a file, since all entries together may not fit into the memory.
        with tempfile.TemporaryDirectory(prefix=".submission-", dir=out) as scratch:
            path = write_json_list(Path(scratch) / RESULTS_FILE, entries)
            return write_zip(out / "submission.zip", [(RESULTS_FILE, path)])

    # --- scores

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"vis": VideoAP(self.layout.categories)}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        single = VideoAP(self.layout.categories)
        single.update(
            video_id,
            self._read_entries(predictions, video_id),
            self.layout.annotations(int(video_id)),
            num_frames=self.num_frames(video_id),
        )
        metrics[self._metric_of(video_id)].merge(single)
        figures = self._named_figures(single)
        return {key: figures[key] for key in YouTubeVisBenchmark.columns}

    def figures(self, metrics: Mapping[str, VideoMetric]) -> dict[str, Any]:
        return self._named_figures(metrics["vis"])

    def _metric_of(self, video_id: str) -> str:
        """Key, in [`~Benchmark.new_metrics`], of the metric that a video goes into."""
        return "vis"

    def _named_figures(self, metric: VideoMetric) -> dict[str, Any]:
        """Figures of a metric, NaN in place of the official -1, and AP by the name of the category."""
        figures = metric.compute()
        by_category = figures.pop("AP_per_category")
        figures = {key: value if value > -1 else math.nan for key, value in figures.items()}
        names = self.layout.categories
        return {**figures, "AP_per_category": {names[number]: value for number, value in by_category.items()}}

    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        video = self.layout.videos[int(video_id)]
        images = self.layout.frame_paths(video.video_id)
        shown: list[dict[str, Any]] = []
        for entry in sorted(self._read_entries(predictions, video_id), key=lambda entry: -entry["score"]):
            # An object that may be of several classes has an entry for each; the best one is enough to look at.
            if all(entry["segmentations"] != other["segmentations"] for other in shown):
                shown.append(entry)
        shown = shown[:_SHOWN_OBJECTS]
        truth = self.layout.annotations(video.video_id) if self.has_ground_truth else []
        return [
            ComparedFrame(
                caption=Path(video.file_names[number]).stem,
                image=images[number],
                prediction=self._stack(shown, video, number),
                ground_truth=self._stack(truth, video, number),
                prediction_info=self._infos(shown),
                ground_truth_info=self._infos(truth),
            )
            for number in spread(len(images), limit)
        ]

    def _stack(self, objects: Sequence[Mapping[str, Any]], video: YouTubeVisVideo, frame: int) -> np.ndarray:
        """Masks (N, H, W) of a frame."""
        masks = np.zeros((len(objects), video.height, video.width), dtype=bool)
        for mask, entry in zip(masks, objects, strict=True):
            if entry["segmentations"][frame] is not None:
                mask[:] = to_binary(
                    entry["segmentations"][frame], f"{self._where(str(video.video_id))}, frame {frame}"
                )
        return masks

    def _infos(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        names = self.layout.categories
        return [
            {"id": number, "label": names.get(entry["category_id"]), "score": entry.get("score")}
            for number, entry in enumerate(objects, start=1)
        ]

    def _where(self, video_id: str) -> str:
        return f"{self.name}: video {video_id} ({self.layout.videos[int(video_id)].name})"

    def _read_entries(self, predictions: Path, video_id: str) -> list[dict[str, Any]]:
        path = predictions / video_id / RESULTS_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{self._where(video_id)}: there is no prediction {path}.")
        return read_records(path, "the results of a video", list)


class YouTubeVis19(YouTubeVisBenchmark):
    """YouTube-VIS 2019, see [`YouTubeVisBenchmark`]."""

    name = label_set = "ytvis19"


class YouTubeVis21(YouTubeVisBenchmark):
    """YouTube-VIS 2021, see [`YouTubeVisBenchmark`]."""

    name = label_set = "ytvis21"


class Ovis(YouTubeVisBenchmark):
    """OVIS, see [`YouTubeVisBenchmark`]."""

    name = label_set = "ovis"


class YouTubeVis22(YouTubeVisBenchmark):
    """YouTube-VIS 2022: the categories of 2021; long videos are scored apart from short ones, and the mean counts.

    See [`YouTubeVisBenchmark`]. Either one JSON file holds all videos, and the long ones are told apart by
    `long_videos`, or by `instances_long.json` (see [`~data.layouts.youtube_vis.annotation_candidates`]) beside it.
    Which videos are long matters for scores alone.

    Args:
        long_videos (`str`, *optional*): File that names the long videos, absolute or below `root`: a JSON file of the
            same form with these videos alone, or a text file with an id or a folder per line.
    """

    name = "ytvis22"
    label_set = "ytvis21"
    columns = {
        "AP": "mAP",
        "short_AP": "mAP short",
        "long_AP": "mAP long",
        "short_AP50": "AP50 short",
        "long_AP50": "AP50 long",
    }
    options = (*YouTubeVisBenchmark.options, Option("long_videos", "JSON or text file that names the long videos"))

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        annotation_file: str | None = None,
        image_folder: str | None = None,
        long_videos: str | None = None,
    ):
        super().__init__(root, split, videos, annotation_file, image_folder)
        self.long_videos = long_videos
        if long_videos is None:
            places = annotation_candidates(self.split, "_long")
            path = next((self.root / place for place in places if (self.root / place).is_file()), None)
        else:
            path = require_file(self.root / long_videos, "names of the long videos")
        self._long = None if path is None else self._read_long(path)
        if self._long is None and self.has_ground_truth:
            raise ValueError(
                f"{self.name}: `long_videos` must name the file that tells which of the videos in "
                f"{self.layout.annotation_file} are long: without it they can't be scored."
            )

    def _read_long(self, path: Path) -> set[int]:
        if path.suffix == ".json":
            named = [str(video_id) for video_id in YouTubeVisLayout(path).videos]
        else:
            named = read_lines(path, "names of the long videos")
        numbers = {video.name: video.video_id for video in self.layout.videos.values()}
        numbers |= {str(video_id): video_id for video_id in self.layout.videos}
        unknown = [name for name in named if name not in numbers]
        if unknown:
            raise ValueError(f"{path} names videos that {self.layout.annotation_file} does not have: {unknown[:5]}.")
        return {numbers[name] for name in named}

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {length: VideoAP(self.layout.categories) for length in ("short", "long")}

    def _metric_of(self, video_id: str) -> str:
        return "long" if int(video_id) in (self._long or ()) else "short"

    def figures(self, metrics: Mapping[str, VideoMetric]) -> dict[str, Any]:
        """Figures of both lengths, as `short_AP` and so on, and `AP`, the mean of the two APs."""
        by_length = {length: self._named_figures(metric) for length, metric in metrics.items()}
        figures: dict[str, Any] = {"AP": (by_length["short"]["AP"] + by_length["long"]["AP"]) / 2}
        for length, values in by_length.items():
            figures |= {f"{length}_{key}": value for key, value in values.items()}
        return figures
