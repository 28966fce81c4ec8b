# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""BURST: objects of 482 classes, found (class-guided) or followed (exemplar-guided); HOTA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layouts.annotation_json import field, read_records
from ..data.layouts.burst import BurstLayout
from ..label_sets import load_label_set
from ..metrics.burst import BurstHOTA
from ..metrics.masks import to_binary
from ..metrics.video_metric import VideoMetric
from ..results_io import json_line
from .benchmark import Benchmark, ComparedFrame, JobResults, Option, VideoJob
from .instance_tracks import collect_tracks
from .label_names import match_by_synonyms
from .prediction_frames import spread
from .submission_files import write_json_list

SEQUENCE_FILE = "sequence.json"
LABEL_SET = "burst"
# What a predicted sequence has in common with that of the ground truth.
_COMMON_FIELDS = (
    "width",
    "height",
    "id",
    "seq_name",
    "dataset",
    "fps",
    "all_image_paths",
    "annotated_image_paths",
    "neg_category_ids",
    "not_exhaustive_category_ids",
)


class Burst(Benchmark):
    """BURST.

    Class-guided: the objects of all classes are to be found. The model is asked for the classes of LVIS 1.0 (label set
    `"burst"`), as the original is. BURST has the classes of LVIS 0.5 under their numbers there, so results are matched
    by name and synonym (1150 of 1230 have a counterpart), and what has none is left out. Each object has one class:
    its best.

    Exemplar-guided: the first mask of each object is given, the others are to be found (task `"vos"`).

    A prediction is `<dataset>/<sequence>/sequence.json`: the sequence in the form of the ground truth, as the
    submission, one JSON file, holds it. The layout is that of [`~data.layouts.burst.BurstLayout`].

    Args:
        guidance (`str`, *optional*, defaults to `"class"`): `"class"` or `"exemplar"`.
        all_frames (`bool`, *optional*, defaults to `False`): Show the model all frames rather than the annotated ones,
            about one a second, as the original has it. Scored are those with annotations.
        min_score (`float`, *optional*, defaults to 0): Class-guided: objects with a lower score are left out, since
            HOTA, unlike AP, counts all alike.
        similarity (`str`, *optional*, defaults to `"box"`): See [`BurstHOTA`]; the official scores compare boxes.
        annotation_file (`str`, *optional*): JSON file, absolute or below `root`, instead of the split's own.
        image_folder (`str`, *optional*): Likewise for the frames.
        root, split, videos: See [`Benchmark`]; videos are named `<dataset>/<sequence>`.
    """

    name = "burst"
    task = "vis"
    default_split = "val"
    columns = {
        "HOTA_all": "HOTA all",
        "HOTA_common": "HOTA common",
        "HOTA_uncommon": "HOTA uncommon",
        "DetA_all": "DetA",
        "AssA_all": "AssA",
        "AP_all": "AP",
    }
    worst_by = "HOTA_all"
    options = (
        Option("guidance", "find the objects of all classes, or follow given ones", "class", ("class", "exemplar")),
        Option("all_frames", "show the model all frames, not only the annotated ones", False, None, bool),
        Option("min_score", "class-guided: leave out objects with a lower score", 0.0, None, float),
        Option("similarity", "what HOTA compares: boxes, as the official script, or masks", "box", ("box", "mask")),
        Option("annotation_file", "JSON file instead of the split's own"),
        Option("image_folder", "folder of the frames instead of the split's own"),
    )

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        videos: Sequence[str] | None = None,
        guidance: str = "class",
        all_frames: bool = False,
        min_score: float = 0.0,
        similarity: str = "box",
        annotation_file: str | None = None,
        image_folder: str | None = None,
    ):
        super().__init__(root, split, videos)
        if guidance not in ("class", "exemplar"):
            raise ValueError(f"`guidance` must be 'class' or 'exemplar', got {guidance!r}.")
        self.guidance, self.all_frames, self.min_score = guidance, all_frames, min_score
        self.similarity = similarity
        self.annotation_file, self.image_folder = annotation_file, image_folder
        self.new_metrics()
        self.layout = BurstLayout(self.root, self.split, annotation_file, image_folder)
        self._category_ids: dict[int, int] = {}
        if guidance == "class":
            names = {
                number: [record["name"], *record.get("synonyms", [])]
                for number, record in self.layout.categories.items()
            }
            self._category_ids = match_by_synonyms(load_label_set(LABEL_SET), names)
            if not self._category_ids:
                raise ValueError(
                    f"{self.layout.annotation_file} names no category of the label set {LABEL_SET!r}, neither under "
                    "`categories` nor in info/categories.json beside the splits; class-guided results need them."
                )

    def all_video_ids(self) -> list[str]:
        return list(self.layout.sequences)

    @property
    def has_ground_truth(self) -> bool:
        return self.layout.has_ground_truth

    def num_frames(self, video_id: str) -> int:
        record = self.layout.sequences[video_id]
        return len(record["all_image_paths" if self.all_frames else "annotated_image_paths"])

    # --- predictions

    def jobs(self, video_id: str) -> Iterator[VideoJob]:
        frames = self.layout.frame_paths(video_id, self.all_frames)
        if self.guidance == "class":
            yield VideoJob("vis", frames, categories=LABEL_SET)
            return
        numbers = self._annotated_numbers(video_id)
        prompts: dict[int, dict[int, np.ndarray]] = {}
        for track, first in self.layout.first_frames(video_id).items():
            where = f"{self._where(video_id)}, frame {first}, track {track}"
            mask = to_binary(self.layout.masks(video_id, first)[track], where)
            prompts.setdefault(numbers[first], {})[track] = mask
        if prompts:
            yield VideoJob("vos", frames, prompts=prompts)

    def _annotated_numbers(self, video_id: str) -> list[int]:
        """Place of each annotated frame among those that the model sees."""
        record = self.layout.sequences[video_id]
        annotated = record["annotated_image_paths"]
        if not self.all_frames:
            return list(range(len(annotated)))
        places = {name: number for number, name in enumerate(record["all_image_paths"])}
        return [places[name] for name in annotated]

    def write_prediction(self, video_id: str, job: VideoJob, results: JobResults, folder: Path) -> None:
        record = self.layout.sequences[video_id]
        numbers = self._annotated_numbers(video_id)
        size = (record["height"], record["width"])
        tracks = collect_tracks(results, len(job.frames), size, self._where(video_id), set(numbers))
        if self.guidance == "class":
            found = self._best_categories(results.summary())
        else:
            found = {track: (category, 1.0) for track, category in self.layout.track_categories(video_id).items()}
        segmentations: list[dict[str, Any]] = [
            # An empty mask must not be written: it would count as a wrong one.
            {
                str(track): {"rle": masks[number]["counts"], "is_gt": False, "score": found[track][1]}
                for track, masks in sorted(tracks.items())
                if number in masks and track in found
            }
            for number in numbers
        ]
        seen = {int(track) for frame in segmentations for track in frame}
        sequence = {name: record[name] for name in _COMMON_FIELDS if name in record}
        sequence["track_category_ids"] = {str(track): found[track][0] for track in sorted(seen)}
        sequence["segmentations"] = segmentations
        (folder / SEQUENCE_FILE).write_text(json_line(sequence), encoding="utf-8")

    def _best_categories(self, summary: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, float]]:
        """BURST's category and the score of each object."""
        found: dict[int, tuple[int, float]] = {}
        for entry in summary:
            category, score = self._category_ids.get(entry["label_id"]), float(entry["score"])
            if category is not None and score >= self.min_score and score > found.get(entry["id"], (0, -1.0))[1]:
                found[int(entry["id"])] = (category, score)
        return found

    def open_predictions(self, source: Path, scratch: Path) -> Path:
        """See [`Benchmark`]: also a submission, which is a JSON file in the form of the ground truth."""
        if not source.is_file():
            return super().open_predictions(source, scratch)
        found: dict[str, dict[str, Any]] = {}
        for record in field(read_records(source, "predicted sequences"), "sequences", str(source), list):
            where = f"{source}: a sequence"
            video_id = f"{field(record, 'dataset', where, str)}/{field(record, 'seq_name', where, str)}"
            if video_id not in self.layout.sequences:
                raise ValueError(f"{source} has the sequence {video_id!r}, which the split does not have.")
            found[video_id] = record
        for video_id, record in self.layout.sequences.items():
            # The official evaluator, too, takes a sequence that is not there for one in which nothing was found.
            (scratch / video_id).mkdir(parents=True)
            sequence = found.get(video_id) or _without_tracks(record)
            (scratch / video_id / SEQUENCE_FILE).write_text(json_line(sequence), encoding="utf-8")
        return scratch

    def write_submission(self, predictions: Path, out: Path) -> Path:
        """Writes `submission.json`."""
        out.mkdir(parents=True, exist_ok=True)
        sequences = (self._read_sequence(predictions, video_id) for video_id in self.video_ids())
        header = {"split": self.layout.split, "categories": list(self.layout.categories.values())}
        return write_json_list(out / "submission.json", sequences, header, "sequences")

    # --- scores

    def new_metrics(self) -> dict[str, VideoMetric]:
        return {"burst": BurstHOTA(f"{self.guidance}_guided", self.similarity)}

    def score_video(self, metrics: Mapping[str, VideoMetric], video_id: str, predictions: Path) -> dict[str, float]:
        (single,) = self.new_metrics().values()
        single.update(video_id, self._read_sequence(predictions, video_id), self.layout.sequences[video_id])
        metrics["burst"].merge(single)
        figures = single.compute()
        return {key: figures[key] for key in self.columns}

    def figures(self, metrics: Mapping[str, VideoMetric]) -> dict[str, Any]:
        """Figures of [`BurstHOTA`], those of categories by name and as means over the thresholds."""
        figures = metrics["burst"].compute()
        figures["per_category"] = {
            self._category_name(number): {
                name: float(np.mean(values[name])) for name in ("HOTA", "DetA", "AssA", "AP")
            }
            for number, values in figures["per_category"].items()
        }
        return figures

    def compared_frames(self, video_id: str, predictions: Path, limit: int) -> list[ComparedFrame]:
        record = self.layout.sequences[video_id]
        predicted = self._read_sequence(predictions, video_id)
        images = self.layout.frame_paths(video_id)
        frames = []
        for number in spread(len(images), limit):
            sides = []
            for sequence in (predicted, record):
                tracks = sequence["segmentations"][number]
                masks = np.zeros((len(tracks), record["height"], record["width"]), dtype=bool)
                infos = []
                for mask, (track, entry) in zip(masks, tracks.items(), strict=True):
                    rle = {"size": masks.shape[1:], "counts": entry["rle"]}
                    mask[:] = to_binary(rle, f"{self._where(video_id)}, frame {number}, track {track}")
                    infos.append(
                        {"id": int(track), "label": self._category_name(sequence["track_category_ids"][track])}
                    )
                sides.append((masks, infos))
            (prediction, prediction_info), (truth, truth_info) = sides
            caption = Path(record["annotated_image_paths"][number]).stem
            frames.append(ComparedFrame(caption, images[number], prediction, truth, prediction_info, truth_info))
        return frames

    def _category_name(self, number: int) -> str:
        return str(self.layout.categories.get(number, {}).get("name", number))

    def _where(self, video_id: str) -> str:
        return f"{self.name}: sequence {video_id!r}"

    def _read_sequence(self, predictions: Path, video_id: str) -> dict[str, Any]:
        """A predicted sequence, checked against that of the ground truth.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it has another size or number of frames.
        """
        path = predictions / video_id / SEQUENCE_FILE
        record = self.layout.sequences[video_id]
        if self.guidance == "exemplar" and path.parent.is_dir() and not self.layout.first_frames(video_id):
            # Nothing was asked, so nothing was written.
            return _without_tracks(record)
        if not path.is_file():
            raise FileNotFoundError(f"{self._where(video_id)}: there is no prediction {path}.")
        where = f"{self._where(video_id)}: {path}"
        sequence = read_records(path, "a predicted sequence")
        field(sequence, "track_category_ids", where, dict)
        segmentations = field(sequence, "segmentations", where, list)
        names, expected = sequence.get("annotated_image_paths"), record["annotated_image_paths"]
        if names is not None and names != expected and len(names) == len(segmentations):
            # Other frames than the annotated ones may be there as well; they don't count.
            by_name = dict(zip(names, segmentations, strict=True))
            segmentations = [by_name.get(name, {}) for name in expected]
        shape = [len(segmentations), *(sequence.get(side, record[side]) for side in ("height", "width"))]
        if shape != [len(expected), record["height"], record["width"]]:
            raise ValueError(
                f"{where} must have [frames, height, width] {[len(expected), record['height'], record['width']]}, got "
                f"{shape}."
            )
        return {**sequence, "annotated_image_paths": expected, "segmentations": segmentations}


def _without_tracks(record: Mapping[str, Any]) -> dict[str, Any]:
    """A sequence in which nothing was found."""
    sequence = {name: record[name] for name in _COMMON_FIELDS if name in record}
    segmentations: list[dict[str, Any]] = [{} for _ in record["annotated_image_paths"]]
    return {**sequence, "track_category_ids": {}, "segmentations": segmentations}
