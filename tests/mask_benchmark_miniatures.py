# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Benchmarks of a few small frames in their official layouts, for the tests of evaluation."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from univs_hf.evaluation.benchmark import JobResults
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.visualization import save_palette_png

SIZE = (36, 48)
VOID = 255


@dataclass(frozen=True)
class TinyVideo:
    """Frames uint8 (T, H, W, 3) and label maps uint8 (T, H, W) of boxes that move to the right."""

    name: str
    frames: np.ndarray
    labels: np.ndarray
    names: list[str]

    @property
    def ids(self) -> list[int]:
        return [value for value in np.unique(self.labels).tolist() if value not in (0, VOID)]


def tiny_video(name, num_frames, first_frames, step=1):
    """Object n + 1 comes into sight on `first_frames[n]`; frames are named by every `step`-th number."""
    generator = np.random.default_rng(len(name) + 7 * num_frames)
    labels = np.zeros((num_frames, *SIZE), dtype=np.uint8)
    for index, first in enumerate(first_frames):
        top = 2 + 11 * index
        for frame in range(first, num_frames):
            left = 3 + 2 * frame + 5 * index
            labels[frame, top : top + 9, left : left + 12] = index + 1
    colors = generator.integers(40, 255, (256, 3))
    frames = colors[labels] + generator.integers(-20, 20, (*labels.shape, 3))
    names = [f"{step * frame:05d}" for frame in range(num_frames)]
    return TinyVideo(name, frames.clip(0, 255).astype(np.uint8), labels, names)


def save_frames(folder, video):
    folder.mkdir(parents=True)
    for name, frame in zip(video.names, video.frames, strict=True):
        Image.fromarray(frame).save(folder / f"{name}.jpg", quality=95)


def save_labels(folder, video, frames=None, only_new=False):
    """Palette PNGs of all frames, or of those given; with `only_new` of objects that no earlier one shows."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = [0]
    for index in range(len(video.names)) if frames is None else frames:
        labels = video.labels[index]
        if only_new:
            labels = np.where(np.isin(labels, seen), 0, labels)
            seen += np.unique(labels).tolist()
        save_palette_png(folder / f"{video.names[index]}.png", labels)


def write_davis(root):
    videos = [tiny_video("bear", 5, [0, 0]), tiny_video("camel", 6, [0])]
    # Pixels that nobody annotated count as background.
    videos[1].labels[3, 30:, :] = VOID
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("bear\ncamel\n")
    (root / "ImageSets" / "2017" / "test-dev.txt").write_text("hidden\n")
    hidden = tiny_video("hidden", 4, [0, 0, 0])
    for video in [*videos, hidden]:
        for kind in ("480p", "Full-Resolution"):
            save_frames(root / "JPEGImages" / kind / video.name, video)
            save_labels(root / "Annotations" / kind / video.name, video, [0] if video is hidden else None)
    return videos


def write_mose(root):
    videos = [tiny_video("0a1b2c3d", 5, [0, 0]), tiny_video("4e5f6a7b", 4, [0])]
    for video in videos:
        save_frames(root / "train" / "JPEGImages" / video.name, video)
        save_labels(root / "train" / "Annotations" / video.name, video)
        save_frames(root / "valid" / "JPEGImages" / video.name, video)
        save_labels(root / "valid" / "Annotations" / video.name, video, [0])
        save_labels(root / "masks" / video.name, video)
    return videos


def write_ytvos(root):
    videos = [tiny_video("003234408d", 6, [0, 2], step=5), tiny_video("0062f687f1", 5, [0, 0], step=5)]
    categories = {"003234408d": ["dog", "snail"], "0062f687f1": ["penguin", "dog"]}
    meta = {}
    for video in videos:
        save_frames(root / "valid" / "JPEGImages" / video.name, video)
        first = sorted({int(np.flatnonzero((video.labels == i).any((1, 2)))[0]) for i in video.ids})
        save_labels(root / "valid" / "Annotations" / video.name, video, first, only_new=True)
        save_labels(root / "masks" / video.name, video)
        meta[video.name] = {
            "objects": {str(i): {"category": categories[video.name][i - 1], "frames": video.names} for i in video.ids}
        }
    (root / "valid" / "meta.json").write_text(json.dumps({"videos": meta}))
    (root / "train").mkdir()
    train = {"x": {"objects": {"1": {"category": "dog", "frames": ["00000"]}}}}
    (root / "train" / "meta.json").write_text(json.dumps({"videos": train}))
    return videos


def write_viposeg(root):
    videos = [tiny_video("0_abc", 5, [0, 0, 2]), tiny_video("1_def", 4, [0])]
    # person (thing, seen), fruit (stuff, unseen), sky (stuff, seen); refrigerator (thing, unseen)
    classes = {"0_abc": {"1": 60, "2": 120, "3": 28}, "1_def": {"1": 99}}
    for video in videos:
        save_frames(root / "valid" / "JPEGImages" / video.name, video)
        first = sorted({int(np.flatnonzero((video.labels == i).any((1, 2)))[0]) for i in video.ids})
        save_labels(root / "valid" / "Annotations" / video.name, video, first, only_new=True)
        save_labels(root / "valid" / "Annotations_gt" / video.name, video)
    (root / "valid" / "obj_class.json").write_text(json.dumps(classes))
    return videos


def write_ref_davis(root):
    videos = [tiny_video("bear", 4, [0, 0]), tiny_video("camel", 3, [0])]
    davis = root / "DAVIS"
    (davis / "ImageSets" / "2017").mkdir(parents=True)
    (davis / "ImageSets" / "2017" / "val.txt").write_text("bear\ncamel\n")
    for video in videos:
        save_frames(davis / "JPEGImages" / "480p" / video.name, video)
        save_labels(davis / "Annotations_unsupervised" / "480p" / video.name, video)
    texts = root / "davis_text_annotations"
    texts.mkdir()
    names = ("annot1", "annot1_full_video", "annot2", "annot2_full_video")
    for annotator, name in enumerate(names):
        lines = [f'{v.name} {i} "box {"abc"[i - 1]} of annotator {annotator}, café"' for v in videos for i in v.ids]
        lines.append('clasic-car 1 "a video of another split"')
        encoding = "utf-8" if annotator < 2 else "latin-1"
        # The order of the lines is nobody's business.
        (texts / f"Davis17_{name}.txt").write_text("\n".join(lines[::-1]) + "\n", encoding=encoding)
    return videos


def write_ref_davis_converted(root):
    videos = [tiny_video("bear", 4, [0, 0]), tiny_video("camel", 3, [0])]
    meta = {}
    for video in videos:
        save_frames(root / "valid" / "JPEGImages" / video.name, video)
        save_labels(root / "valid" / "Annotations" / video.name, video)
        expressions = [(i, f"box {i} of annotator {annotator}") for i in video.ids for annotator in range(4)]
        meta[video.name] = {
            "frames": video.names,
            "expressions": {str(n): {"exp": text, "obj_id": str(i)} for n, (i, text) in enumerate(expressions)},
        }
    folder = root / "meta_expressions" / "valid"
    folder.mkdir(parents=True)
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": meta}))
    return videos


def write_ref_ytvos(root):
    videos = [tiny_video("003234408d", 4, [0, 0], step=5), tiny_video("0062f687f1", 3, [0], step=5)]
    meta = {"train": {}, "valid": {}, "test": {}}
    for video in videos:
        expressions = {
            str(n): f"the box that is number {'abc'[i - 1]}" for n, i in enumerate([*video.ids, video.ids[0]])
        }
        objects = dict(zip(expressions, [*video.ids, video.ids[0]], strict=True))
        for split in ("train", "valid"):
            save_frames(root / split / "JPEGImages" / video.name, video)
            meta[split][video.name] = {
                "frames": video.names,
                "expressions": {
                    key: {"exp": text} | ({"obj_id": str(objects[key])} if split == "train" else {})
                    for key, text in expressions.items()
                },
            }
        save_labels(root / "train" / "Annotations" / video.name, video)
    hidden = {"frames": ["00000"], "expressions": {"0": {"exp": "nothing"}}}
    meta["valid"]["ffff"] = meta["test"]["ffff"] = hidden
    for split, content in meta.items():
        (root / "meta_expressions" / split).mkdir(parents=True)
        (root / "meta_expressions" / split / "meta_expressions.json").write_text(json.dumps({"videos": content}))
    return videos


# Name of the miniature -> (benchmark, what writes it, options with which it has ground truth).
MINIATURES = {
    "davis17": ("davis17", write_davis, {}),
    "ytvos18": ("ytvos18", write_ytvos, {"ground_truth": "masks"}),
    "mose": ("mose", write_mose, {"ground_truth": "masks"}),
    "mose_train": ("mose", write_mose, {"split": "train"}),
    "viposeg": ("viposeg", write_viposeg, {}),
    "ref_davis": ("ref_davis", write_ref_davis, {}),
    "ref_davis_converted": ("ref_davis", write_ref_davis_converted, {}),
    "ref_ytvos": ("ref_ytvos", write_ref_ytvos, {"split": "train"}),
}


def open_miniature(name, root: Path):
    """Writes a miniature below `root` and opens it; returns the benchmark and its videos by name."""
    benchmark_name, write, options = MINIATURES[name]
    videos = write(root)
    options = {key: root / value if key == "ground_truth" else value for key, value in options.items()}
    return benchmark_class(benchmark_name)(root, **options), {video.name: video for video in videos}


def results_of_labels(job, labels, obj_ids=None):
    """What a model would give that knows the label maps: of the objects, or of each expression's object."""
    if job.task == "refvos":
        objects = [(number, obj_ids[number]) for number in job.expressions]
        frames = [
            {
                "frame_idx": index,
                "masks": np.stack([label_map == obj_id for _, obj_id in objects]),
                "segments_info": [{"id": number} for number, _ in objects],
            }
            for index, label_map in enumerate(labels)
        ]
    else:
        frames = [
            {"frame_idx": index, "segmentation": np.where(label_map == VOID, 0, label_map).astype(np.int32)}
            for index, label_map in enumerate(labels)
        ]
    return JobResults(iter(frames))


def objects_of(benchmark, video_id, job):
    """Object of each expression of a job."""
    if benchmark.name == "ref_ytvos":
        expressions = benchmark.layout.videos[video_id].expressions.values()
        return {number: expression.obj_id for number, expression in enumerate(expressions, start=1)}
    return {number: number for number in job.expressions}


def write_predictions(benchmark, labels_by_video, folder):
    """Writes label maps of every video as the runner writes the model's results."""
    for video_id in benchmark.video_ids():
        for job in benchmark.jobs(video_id):
            part = folder / video_id / job.part
            part.mkdir(parents=True, exist_ok=True)
            results = results_of_labels(job, labels_by_video[video_id], objects_of(benchmark, video_id, job))
            benchmark.write_prediction(video_id, job, results, part)
    return folder
