# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Videos for the benchmark of the metrics, written in the benchmarks' own formats.

A frame of labels is cut out of a large picture of smooth regions, from a place that moves; the prediction is cut out
of a picture whose borders run slightly differently. How compressible a frame is decides how long reading it takes:
semantic predictions are given single pixels of other classes (1 in 100), all else has regions of one piece. Where run
lengths are written, they are of objects with a wavy outline, detected with errors of it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

PIXELS_OFF = 1 / 100


def label_video(
    rng: np.random.Generator, num_frames: int, size: tuple[int, int], num_labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and ground truth, uint8 (T, H, W), of labels 0..num_labels-1."""
    canvas = (size[0] + 2 * num_frames, size[1] + 3 * num_frames)
    coarse = rng.standard_normal((num_labels, 9, 14))
    sides = []
    for fields in (coarse + 0.15 * rng.standard_normal(coarse.shape), coarse):
        best, labels = np.full(canvas, -np.inf, dtype=np.float32), np.zeros(canvas, dtype=np.uint8)
        for label, field in enumerate(fields):
            scale = [side / part for side, part in zip(canvas, field.shape, strict=True)]
            height = ndimage.zoom(field.astype(np.float32), scale, order=1)
            labels[height > best] = label
            np.maximum(best, height, out=best)
        frames = [labels[2 * t : 2 * t + size[0], 3 * t : 3 * t + size[1]] for t in range(num_frames)]
        sides.append(np.stack(frames))
    return sides[0], sides[1]


def video_name(number: int) -> str:
    return f"video{number:03d}"


def write_maps(folder: Path, maps: np.ndarray) -> None:
    """Writes frames as grey PNGs (H, W) or panoptic PNGs (H, W, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, labels in enumerate(maps):
        Image.fromarray(np.ascontiguousarray(labels)).save(folder / f"{frame:05d}.png")


def write_vss(folder: Path, num_videos: int) -> None:
    """20 frames 240x428 of 124 classes, 13 of them in a video; "others" and void as well."""
    for number in range(num_videos):
        rng = np.random.default_rng(number)
        predicted, true = label_video(rng, 20, (240, 428), 13)
        off = rng.random(predicted.shape) < PIXELS_OFF
        predicted[off] = rng.integers(0, 13, off.sum())
        classes = rng.permutation(124)[:13].astype(np.uint8)
        true = np.where(true == 0, 0, classes[true] + 1)
        true[:, :8] = 255
        write_maps(folder / "prediction" / video_name(number), classes[predicted])
        write_maps(folder / "ground_truth" / video_name(number), true.astype(np.uint8))


def write_vps(folder: Path, num_videos: int) -> None:
    """10 frames 240x320 of 8 segments of 7 classes and void; the segments are listed in one JSON file per side."""
    listed: dict[str, list[Any]] = {"prediction": [], "ground_truth": []}
    for number in range(num_videos):
        rng = np.random.default_rng(number)
        for side, labels in zip(listed, label_video(rng, 10, (240, 320), 9), strict=True):
            ids = rng.choice(np.arange(1, 2**24), 9, replace=False)
            ids[0] = 0
            colours = np.stack([ids[labels] >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
            write_maps(folder / side / video_name(number), colours)
            frames = []
            for frame, pixels in enumerate(labels):
                areas = np.bincount(pixels.ravel(), minlength=9)
                segments = [
                    {"id": int(ids[label]), "category_id": label % 7, "iscrowd": 0, "area": int(areas[label])}
                    for label in range(1, 9)
                    if areas[label]
                ]
                frames.append({"file_name": f"{frame:05d}.png", "segments_info": segments})
            listed[side].append({"video_id": video_name(number), "annotations": frames})
    for side, videos in listed.items():
        (folder / f"{side}.json").write_text(json.dumps({"annotations": videos}))


def write_objects(folder: Path, num_videos: int, num_frames: int, num_objects: int) -> None:
    """Id maps 240x428 of objects, all of them there from the first frame on."""
    for number in range(num_videos):
        sides = label_video(np.random.default_rng(number), num_frames, (240, 428), num_objects + 3)
        for side, labels in zip(("prediction", "ground_truth"), sides, strict=True):
            # The regions beyond the objects are background.
            objects = np.where(labels > num_objects, 0, labels).astype(np.uint8)
            objects[0, :2, : 4 * num_objects] = np.repeat(np.arange(1, num_objects + 1), 4)
            write_maps(folder / side / video_name(number), objects)


class MovingObject:
    """An object with a wavy outline that moves over frames and out of them.

    Args:
        rng: Decides form and path.
        size: (height, width) of the frames.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.size = size
        self.radii = rng.uniform(0.1, 0.3, 2) * size[0]
        self.start = rng.uniform(0, 1, 2) * size
        self.step = rng.uniform(-0.02, 0.02, 2) * size
        self.waves = rng.uniform(0, 0.06, 5), rng.uniform(0, 2 * np.pi, 5)

    def tube(self, rng: np.random.Generator, num_frames: int, error: float) -> list[dict[str, Any] | None]:
        """COCO RLE of each frame, `None` where nothing is to be seen; `error` moves the outline and the path."""
        strengths, phases = self.waves[0] + error * rng.normal(0, 0.1, 5), self.waves[1]
        half = np.ceil(1.7 * self.radii).astype(int)
        y, x = np.ogrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
        y, x = y / self.radii[0], x / self.radii[1]
        angle = np.arctan2(y, x)
        outline = 1 + sum(s * np.sin(k * angle + p) for k, (s, p) in enumerate(zip(strengths, phases, strict=True), 2))
        picture = x * x + y * y < outline**2
        tube: list[dict[str, Any] | None] = []
        for frame in range(num_frames):
            place = self.start + frame * self.step + error * rng.normal(0, 0.1, 2) * self.radii
            first = np.round(place).astype(int) - half
            begin, end = np.clip(first, 0, self.size), np.clip(first + picture.shape, 0, self.size)
            mask = np.zeros(self.size, dtype=np.uint8, order="F")
            rows, columns = (slice(b, e) for b, e in zip(begin, end, strict=True))
            part = tuple(slice(b, e) for b, e in zip(begin - first, end - first, strict=True))
            mask[rows, columns] = picture[part]
            rle = coco_mask.encode(mask)
            tube.append({"size": rle["size"], "counts": rle["counts"].decode()} if mask.any() else None)
        return tube


def write_vis(folder: Path, num_videos: int) -> None:
    """25 frames 360x640 with 3 objects and 21 detections each, of 40 categories, as one JSON file per side."""
    videos, annotations, results = [], [], []
    size = (360, 640)
    for number in range(1, num_videos + 1):
        rng = np.random.default_rng(number)
        videos.append({"id": number, "height": size[0], "width": size[1], "length": 25})
        objects = [MovingObject(rng, size) for _ in range(3)]
        categories = rng.integers(1, 41, 3)
        for moving, category in zip(objects, categories, strict=True):
            tube = moving.tube(rng, 25, 0.0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "video_id": number,
                    "category_id": int(category),
                    "iscrowd": 0,
                    "areas": [None if rle is None else int(coco_mask.area(rle)) for rle in tube],
                    "segmentations": tube,
                }
            )
        # Four detections of each object, the first three of its category, and nine of other things.
        for place in range(21):
            moving = objects[place % 3] if place < 12 else MovingObject(rng, size)
            category = categories[place % 3] if place < 9 else rng.integers(1, 41)
            # Run lengths of about as many characters as those of the recorded cases of this size.
            tube = moving.tube(rng, 25, 1 + 0.2 * (place // 3))
            detection = {"video_id": number, "category_id": int(category), "score": float(rng.random())}
            results.append({**detection, "segmentations": tube})
    truth = {"videos": videos, "annotations": annotations, "categories": [{"id": i} for i in range(1, 41)]}
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    (folder / "prediction.json").write_text(json.dumps(results))


# Three common categories of BURST and four others.
BURST_CATEGORIES = (4, 13, 34, 100, 200, 300, 400)


def write_burst(folder: Path, num_videos: int) -> None:
    """Sequences of 15 frames 240x428 with 5 objects and as many predicted tracks, as one JSON file per side."""
    sequences: dict[str, list[Any]] = {"prediction": [], "ground_truth": []}
    for number in range(num_videos):
        rng = np.random.default_rng(number)
        categories = rng.choice(BURST_CATEGORIES, 5)
        objects = [MovingObject(rng, (240, 428)) for _ in range(5)]
        for side, error in (("prediction", 1.0), ("ground_truth", 0.0)):
            tubes = {str(track): moving.tube(rng, 15, error) for track, moving in enumerate(objects, start=1)}
            scores = rng.random(15)
            sequences[side].append(
                {
                    "dataset": "load",
                    "seq_name": video_name(number),
                    "height": 240,
                    "width": 428,
                    "annotated_image_paths": [f"{frame:05d}.jpg" for frame in range(15)],
                    "neg_category_ids": [int(rng.choice(BURST_CATEGORIES))],
                    "not_exhaustive_category_ids": [],
                    "track_category_ids": {track: int(categories[int(track) - 1]) for track in tubes},
                    "segmentations": [
                        {
                            track: {"rle": tube[frame]["counts"], "score": float(scores[frame])}
                            for track, tube in tubes.items()
                            if tube[frame] is not None
                        }
                        for frame in range(15)
                    ],
                }
            )
    for side, records in sequences.items():
        (folder / f"{side}.json").write_text(json.dumps({"split": "val", "categories": [], "sequences": records}))
