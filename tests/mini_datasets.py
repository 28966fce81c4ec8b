# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Small data in the official on-disk formats of category-guided benchmarks, and their ground truth as predictions."""

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from univs_hf.evaluation.benchmark import JobResults
from univs_hf.label_sets import load_label_set


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_frame(path: Path, height: int, width: int, seed: int) -> None:
    """A JPEG with soft blobs, so that a model finds something to tell apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)


def box(height: int, width: int, top: int, left: int, size: int = 14) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


def rle(mask: np.ndarray, compressed: bool = True) -> dict:
    """COCO RLE by pycocotools, with `str` or list counts as the official files have."""
    if compressed:
        encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, flat.size]).tolist()}


class Streamed:
    """Results of a pass that say when somebody keeps the arrays of frames gone by."""

    def __init__(self, results: Iterator[dict], key: str):
        self._results, self._key = results, key
        self._seen: list[weakref.ref] = []

    def __iter__(self) -> Iterator[dict]:
        for result in self._results:
            self._seen.append(weakref.ref(result[self._key]))
            yield result
            del result
            alive = sum(array() is not None for array in self._seen)
            assert alive <= 1, f"{alive} frames are held at once"


def streamed(results: Iterator[dict], key: str, summary=()) -> JobResults:
    return JobResults(Streamed(results, key), lambda: list(summary))


# --- YouTube-VIS, OVIS

# (video id, folder, frames, height, width)
YOUTUBE_VIS_VIDEOS = ((12, "b1", 4, 48, 64), (3, "a0", 6, 40, 56))


def youtube_vis_categories(label_set: str) -> list[dict]:
    return [{"id": c.source_id, "name": c.dataset_name, "supercategory": "object"} for c in load_label_set(label_set)]


def youtube_vis_content(label_set: str, annotated: bool = True) -> dict:
    """Content of `instances.json`: two objects in each video, one of them missing on a frame."""
    videos, annotations = [], []
    for video_id, name, length, height, width in YOUTUBE_VIS_VIDEOS:
        names = [f"{name}/{frame * 5:05d}.jpg" for frame in range(length)]
        videos.append({"id": video_id, "height": height, "width": width, "length": length, "file_names": names})
        for number in range(2):
            masks = [box(height, width, 4 + 10 * number, 3 + frame + 20 * number) for frame in range(length)]
            segmentations = [rle(mask, compressed=bool(number)) for mask in masks]
            if number:
                segmentations[1] = None
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "video_id": video_id,
                    "category_id": 5 + 4 * number + video_id,
                    "iscrowd": 0,
                    "height": height,
                    "width": width,
                    "length": length,
                    "segmentations": segmentations,
                    "areas": [None if s is None else int(m.sum()) for s, m in zip(segmentations, masks, strict=True)],
                    "bboxes": [None] * length,
                }
            )
    content = {"info": {}, "licenses": [], "videos": videos, "categories": youtube_vis_categories(label_set)}
    return {**content, "annotations": annotations if annotated else None}


def write_youtube_vis(root: Path, label_set: str, file: str, images: str, annotated: bool = True) -> dict:
    content = youtube_vis_content(label_set, annotated)
    write_json(root / file, content)
    for video in content["videos"]:
        for number, name in enumerate(video["file_names"]):
            write_frame(root / images / name, video["height"], video["width"], number)
    return content


# --- VSPW

VSPW_VIDEOS = (("127_b", 12, 36, 48), ("10_a", 9, 32, 44))


def vspw_labels(frame: int, height: int, width: int) -> np.ndarray:
    """Raw ids: "others", void and four classes, one of them the last."""
    labels = np.full((height, width), 15, dtype=np.uint8)
    labels[:6] = 29
    labels[8 : 8 + 10, frame : frame + 12] = 61
    labels[-6:, -9:] = 124
    labels[-3:, :10] = 0
    labels[:2, :7] = 255
    return labels


def write_vspw(root: Path, masks: bool = True) -> None:
    root.mkdir(parents=True, exist_ok=True)
    # Without a newline at the end, where the official script loses a letter.
    (root / "val.txt").write_text("\n".join(name for name, *_ in VSPW_VIDEOS))
    for name, length, height, width in VSPW_VIDEOS:
        for frame in range(length):
            stem = f"{frame * 15 + 2:08d}"
            write_frame(root / "data" / name / "origin" / f"{stem}.jpg", height, width, frame)
            if masks:
                path = root / "data" / name / "mask" / f"{stem}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(vspw_labels(frame, height, width)).save(path)


# --- VIPSeg

VIPSEG_VIDEOS = (("1643_T", 9, 36, 48), ("112_0", 5, 32, 44))
# Raw values: stuff wall (class 0) and sky (28), two persons (class 60) and a door (2), both things.
_WALL, _SKY, _PERSON_1, _PERSON_2, _DOOR = 1, 29, 6100, 6101, 300


def vipseg_values(frame: int, height: int, width: int) -> np.ndarray:
    values = np.full((height, width), _WALL, dtype=np.int32)
    values[:6] = _SKY
    values[8:18, frame : frame + 9] = _PERSON_1
    values[20:28, frame + 12 : frame + 20] = _PERSON_2
    if frame > 1:
        values[10:16, 30:38] = _DOOR
    values[-3:, :10] = 0
    return values


def vipseg_category(value: int) -> int:
    return (value if value < 125 else value // 100) - 1


def vipseg_categories() -> list[dict]:
    return [
        {"id": c.index, "name": c.dataset_name, "isthing": int(c.is_thing), "color": [c.index, 0, 255 - c.index]}
        for c in load_label_set("vipseg")
    ]


def write_vipseg_downloaded(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "val.txt").write_text("".join(f"{name}\n" for name, *_ in VIPSEG_VIDEOS))
    for name, length, height, width in VIPSEG_VIDEOS:
        for frame in range(length):
            write_frame(root / "imgs" / name / f"{frame:08d}.jpg", height, width, frame)
            path = root / "panomasks" / name / f"{frame:08d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(vipseg_values(frame, height, width).astype(np.uint16)).save(path)


def write_vipseg_converted(root: Path) -> None:
    """As the official converter leaves it: a colour per segment of a video, segments in order of raw values."""
    videos, annotations = [], []
    for name, length, height, width in VIPSEG_VIDEOS:
        colours: dict[int, int] = {}
        images, frames = [], []
        for frame in range(length):
            values = vipseg_values(frame, height, width)
            ids = np.zeros((height, width), dtype=np.int64)
            segments = []
            for value in np.unique(values)[1:].tolist():
                identifier = colours.setdefault(value, 70001 * (len(colours) + 1) + 3)
                ids[values == value] = identifier
                category, area = vipseg_category(value), int((values == value).sum())
                segments.append({"id": identifier, "category_id": category, "iscrowd": 0, "area": area})
            stem = f"{frame:08d}"
            rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
            path = root / "panomasksRGB" / name / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).save(path)
            write_frame(root / "images" / name / f"{stem}.jpg", height, width, frame)
            images.append({"id": stem, "width": width, "height": height, "file_name": f"{stem}.png"})
            frames.append({"image_id": stem, "file_name": f"{stem}.png", "segments_info": segments})
        videos.append({"video_id": name, "images": images})
        annotations.append({"video_id": name, "annotations": frames})
    content = {"videos": videos, "annotations": annotations, "categories": vipseg_categories()}
    write_json(root / "panoptic_gt_VIPSeg_val.json", content)


# --- BURST

# (dataset, sequence, annotated frames, height, width)
BURST_SEQUENCES = (("YFCC100M", "v_25", 4, 40, 56), ("LaSOT", "cup-2", 5, 36, 48))
# Numbers of LVIS 0.5, which are not those of LVIS 1.0: there, "airplane" is 3, "person" 793, and there is no "acorn".
BURST_CATEGORIES = (
    {"id": 1, "name": "acorn", "synset": "acorn.n.01", "def": "a nut", "synonyms": ["acorn"]},
    {"id": 4, "name": "airplane", "synset": "airplane.n.01", "def": "it flies", "synonyms": ["airplane", "aeroplane"]},
    {"id": 805, "name": "baby", "synset": "baby.n.01", "def": "a human", "synonyms": ["baby", "child", "person"]},
)
# An annotated frame after so many others.
BURST_STEP = 3


def burst_sequences() -> list[dict]:
    """Two tracks per sequence; the second begins on the second annotated frame and is missing on the fourth."""
    sequences = []
    for number, (dataset, name, length, height, width) in enumerate(BURST_SEQUENCES):
        frames = [f"frame{frame:04d}.jpg" for frame in range((length - 1) * BURST_STEP + 2)]
        segmentations = []
        for frame in range(length):
            masks = {"2": box(height, width, 3, 2 + 3 * frame, 12)}
            if frame not in (0, 3):
                masks["5"] = box(height, width, 20, 20 + 4 * frame, 9)
            segmentations.append(
                {track: {"rle": rle(mask)["counts"], "is_gt": True, "score": 1.0} for track, mask in masks.items()}
            )
        sequences.append(
            {
                "width": width,
                "height": height,
                "id": number + 1,
                "seq_name": name,
                "dataset": dataset,
                "fps": 1,
                "all_image_paths": frames,
                "annotated_image_paths": frames[::BURST_STEP],
                "neg_category_ids": [1],
                "not_exhaustive_category_ids": [],
                "track_category_ids": {"2": 4, "5": 805 if number else 4},
                "segmentations": segmentations,
            }
        )
    return sequences


def write_burst(root: Path) -> dict:
    content = {"sequences": burst_sequences(), "categories": list(BURST_CATEGORIES), "split": "val"}
    write_json(root / "annotations/val/all_classes.json", content)
    write_json(root / "annotations/info/categories.json", list(BURST_CATEGORIES))
    for dataset, name, _, height, width in BURST_SEQUENCES:
        sequence = next(s for s in content["sequences"] if s["seq_name"] == name)
        for number, file in enumerate(sequence["all_image_paths"]):
            write_frame(root / "frames/val" / dataset / name / file, height, width, number)
    return content
