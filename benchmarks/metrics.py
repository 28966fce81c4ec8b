# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Times the metrics on loads of 100 videos, beside the seconds that the official evaluators take for such loads.

    python benchmarks/metrics.py [--rows vis vss ... --videos 100 --workers 2 --repeats 3 --json FILE]

The official seconds are quoted, not measured here: the least and the most of three runs of the official code in one
process, on a machine of two cores that was shared with other work, on loads of the same sizes (not the same content).
Ours are measured in this process and with `--workers` processes; "CPU s" is the processor time of this process alone,
which other work on the machine changes less. Ratios are those of the least seconds. What is timed is everything from
the files to the figures; the column `from` says which files. They have been read before, so that they lie in memory.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from metric_loads import write_burst, write_objects, write_vis, write_vps, write_vss

from univs_hf.data.layouts.frame_folders import read_label_map
from univs_hf.data.layouts.png_decoding import decode_png
from univs_hf.evaluation.reading_ahead import read_ahead
from univs_hf.metrics.burst import BurstHOTA
from univs_hf.metrics.parallel import score_videos
from univs_hf.metrics.pvos import PVOSMetric
from univs_hf.metrics.stq import STQMetric
from univs_hf.metrics.video_metric import VideoMetric
from univs_hf.metrics.vipseg_annotations import AnnotatedFrame, pair_annotations
from univs_hf.metrics.vis import VideoAP
from univs_hf.metrics.vos import DavisMetric
from univs_hf.metrics.vps import VPQMetric
from univs_hf.metrics.vss import VSSMetric

VPS_CATEGORIES = [{"id": number, "isthing": number % 2} for number in range(7)]
# One class for each of the ten objects, of all four groups.
PVOS_CLASSES = dict(enumerate((60, 89, 102, 99, 28, 66, 9, 71, 0, 14), start=1))


@dataclass(frozen=True)
class Load:
    """What one official figure was measured on.

    Attributes:
        seconds: Official evaluator to the least and the most of its seconds for 100 videos.
        data: The sizes.
        files: What both sides read.
        write: Writes the files of as many videos into a folder.
        videos: Finds the videos in the folder, which is timed.
        metric: An empty metric.
        score: Reads a video and updates the metric.
    """

    seconds: dict[str, tuple[float, float]]
    data: str
    files: str
    write: Callable[[Path, int], None]
    videos: Callable[[Path], Sequence[Any]]
    metric: Callable[[], VideoMetric]
    score: Callable[[VideoMetric, Any], None]


def read_png(path: Path | str) -> np.ndarray:
    """Labels (H, W), or the colours (H, W, 3) of a panoptic map."""
    with open(path, "rb", buffering=0) as file:
        samples = decode_png(file.read())
    return read_label_map(Path(path)) if samples is None else samples


def read_frames(folder: Path) -> Iterator[np.ndarray]:
    """Frames of a folder, one by one, read in another thread as the evaluation scripts do."""
    return read_ahead(lambda name: read_png(os.path.join(folder, name)), sorted(os.listdir(folder)))


def find_folders(folder: Path) -> list[tuple[Path, Path]]:
    """Folders of prediction and ground truth of each video."""
    names = sorted(os.listdir(folder / "ground_truth"))
    return [(folder / "prediction" / name, folder / "ground_truth" / name) for name in names]


def score_maps(metric: VideoMetric, video: tuple[Path, Path]) -> None:
    metric.update(video[0].name, *map(read_frames, video))


def score_pvos(metric: VideoMetric, video: tuple[Path, Path]) -> None:
    """All ten objects enter with the first frame, whose reference mask is read as well."""
    first = next(read_frames(video[1]))
    metric.update(
        video[0].name,
        *map(read_frames, video),
        reference_frames={0: np.unique(first[first > 0]).tolist()},
        object_classes=PVOS_CLASSES,
    )


def read_sides(folder: Path) -> tuple[Any, Any]:
    """Contents of prediction.json and ground_truth.json."""
    prediction, truth = ((folder / f"{side}.json").read_bytes() for side in ("prediction", "ground_truth"))
    return json.loads(prediction), json.loads(truth)


def find_vps(folder: Path) -> list[tuple[Path, str, list[AnnotatedFrame]]]:
    return [(folder, name, frames) for name, frames in pair_annotations(*read_sides(folder)).items()]


def score_vps(metric: VideoMetric, video: tuple[Path, str, list[AnnotatedFrame]]) -> None:
    folder, name, annotated = video
    metric.update(
        name,
        prediction=((read_png(folder / "prediction" / name / f.file_name), f.prediction) for f in annotated),
        ground_truth=((read_png(folder / "ground_truth" / name / f.file_name), f.ground_truth) for f in annotated),
    )


def find_vis(folder: Path) -> list[tuple[int, list[Any], list[Any]]]:
    results, truth = read_sides(folder)
    videos: dict[int, tuple[int, list[Any], list[Any]]] = {
        video["id"]: (video["id"], [], []) for video in truth["videos"]
    }
    for place, records in ((1, truth["annotations"]), (2, results)):
        for record in records:
            videos[record["video_id"]][place].append(record)
    return list(videos.values())


def score_vis(metric: VideoMetric, video: tuple[int, list[Any], list[Any]]) -> None:
    name, annotations, results = video
    metric.update(name, ground_truth=annotations, predictions=results)


def find_burst(folder: Path) -> list[tuple[str, Any, Any]]:
    sides = (side["sequences"] for side in read_sides(folder))
    return [(f"{true['dataset']}/{true['seq_name']}", predicted, true) for predicted, true in zip(*sides, strict=True)]


def score_burst(metric: VideoMetric, video: tuple[str, Any, Any]) -> None:
    name, predicted, true = video
    metric.update(name, ground_truth=true, prediction=predicted)


def vps_load(official: str, seconds: tuple[float, float], metric: Callable[[Any], VideoMetric]) -> Load:
    files = "PNGs, 2 JSON files"
    return Load(
        {official: seconds},
        "10 frames 240x320",
        files,
        write_vps,
        find_vps,
        partial(metric, VPS_CATEGORIES),
        score_vps,
    )


LOADS = {
    "vis": Load(
        {"cocoapi of YouTube-VIS": (4.3, 5.1), "UniVS' copy of it": (2.7, 3.9)},
        "25 frames 360x640, 3 objects + 21 detections, 40 classes",
        "2 JSON files",
        write_vis,
        find_vis,
        partial(VideoAP, range(1, 41)),
        score_vis,
    ),
    "vss": Load(
        {"UniVS' VSPW scripts": (9.5, 13.5)},
        "20 frames 240x428, mIoU + mVC8 + mVC16",
        "PNGs",
        write_vss,
        find_folders,
        VSSMetric,
        score_maps,
    ),
    "vpq": vps_load("VIPSeg's VPQ function", (107.8, 134.8), VPQMetric),
    "stq": vps_load("VIPSeg's STQ script", (11.9, 15.3), STQMetric),
    "davis": Load(
        {"davis2017-evaluation": (18.9, 23.0)},
        "20 frames 240x428, 2 objects",
        "PNGs",
        partial(write_objects, num_frames=20, num_objects=2),
        find_folders,
        DavisMetric,
        score_maps,
    ),
    "pvos": Load(
        {"VIPOSeg's vop_eval.py": (10.7, 12.3)},
        "8 frames 240x428, 10 objects",
        "PNGs",
        partial(write_objects, num_frames=8, num_objects=10),
        find_folders,
        PVOSMetric,
        score_pvos,
    ),
    "burst": Load(
        {"burstapi: HOTA and track AP": (4.2, 6.7)},
        "15 frames 240x428, 5 objects, 7 classes",
        "2 JSON files",
        write_burst,
        find_burst,
        BurstHOTA,
        score_burst,
    ),
}


def time_scoring(
    load: Load, folder: Path, num_workers: int, repeats: int
) -> tuple[list[float], list[float], dict[str, Any]]:
    """Seconds and seconds of this process' processor of each repeat, and the figures."""
    seconds, cpu_seconds, figures = [], [], {}
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        figures = score_videos(load.metric(), load.videos(folder), load.score, num_workers).compute()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return seconds, cpu_seconds, figures


def time_load(name: str, load: Load, options: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one load."""
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        load.write(folder, options.videos)
        time_scoring(load, folder, 0, 1)  # Brings the files to memory.
        # What lies in memory by now (PyTorch, above all) is none of the collector's business while it counts.
        gc.collect()
        gc.freeze()
        seconds, cpu_seconds, figures = time_scoring(load, folder, 0, options.repeats)
        result = {
            "load": name,
            "data": f"{options.videos} videos x {load.data}",
            "files": load.files,
            "official_seconds": {official: list(values) for official, values in load.seconds.items()},
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "figures": {key: value for key, value in figures.items() if isinstance(value, float)},
        }
        if options.workers:
            seconds, _, shared_figures = time_scoring(load, folder, options.workers, options.repeats)
            if repr(shared_figures) != repr(figures):
                raise RuntimeError(f"{name}: {options.workers} processes give other figures than one.")
            result["seconds_of_workers"] = seconds
    return result


def print_load(result: dict[str, Any], options: argparse.Namespace, header: bool) -> None:
    """A line per official evaluator; ratios are per video if there are not 100."""
    titles = {"seconds": "seconds", "cpu_seconds": "CPU s", "seconds_of_workers": f"{options.workers} processes"}
    if header:
        columns = " ".join(f"{title:>13} ratio" for key, title in titles.items() if key in result)
        print(f"{'':5} {'official, seconds':44} {columns}  {'from':18} load of {options.videos} videos")
    for official, quoted in result["official_seconds"].items():
        line = f"{result['load']:5} {official:28} {quoted[0]:7.1f} -{quoted[1]:6.1f}"
        for key in titles:
            if key in result:
                ratio = quoted[0] * options.videos / 100 / min(result[key])
                line += f" {min(result[key]):6.2f} -{max(result[key]):5.2f} {ratio:5.1f}"
        print(f"{line}  {result['files']:18} {result['data'].partition(' x ')[2]}", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=list(LOADS), choices=LOADS)
    parser.add_argument("--videos", type=int, default=100, help="the official seconds are of 100")
    parser.add_argument("--workers", type=int, default=2, help="processes of the second measurement; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where the loads are written (default: temporary)")
    parser.add_argument("--json", type=Path, default=None, help="file for all numbers")
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> None:
    results = []
    for name in options.rows:
        results.append(time_load(name, LOADS[name], options))
        print_load(results[-1], options, header=len(results) == 1)
    if options.json is not None:
        numbers = {"workers": options.workers, "cpus": os.cpu_count(), "loads": results}
        temporary = options.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(numbers, indent=2) + "\n")
        temporary.replace(options.json)


if __name__ == "__main__":
    main(parse(None))
