# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Image datasets in miniature, in the layouts they are published in, and what conversions make of them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
from mini_datasets import box, rle, write_frame, write_json

from univs_hf.data.clip import Clip
from univs_hf.data.clip_dataset import ClipDataset, ClipSource
from univs_hf.data.clip_frame_sampling import FrameSampling
from univs_hf.data.clip_from_row import ClipConfig
from univs_hf.data.clip_geometry import Augmentation
from univs_hf.data.prepare.conversion import Conversion, ConversionSettings, convert
from univs_hf.data.prepare.converter import DatasetConverter
from univs_hf.data.row_validation import validate_row
from univs_hf.data.sampler import ClipIndex
from univs_hf.data.schema import Row
from univs_hf.label_sets import load_label_set
from univs_hf.rle import decode_masks


def converted(
    converter: DatasetConverter, out: Path, split: str = "train", sizes: dict[str, int] | None = None, **settings: Any
) -> tuple[dict[str, Row], Conversion]:
    """Rows by key, valid ones, of a conversion to a new folder, and its report."""
    conversion = convert(converter, out, [split], ConversionSettings(quiet=True, **settings))
    rows: dict[str, Row] = {}
    for file in conversion.splits[0].files:
        for row in datasets.Dataset.from_parquet(str(out / file), cache_dir=str(out / "cache")):
            rows[row["key"]] = Row.from_dict(row)
            validate_row(rows[row["key"]], sizes)
    return rows, conversion


def masks_of(row: Row, frame: int = 0) -> dict[int, np.ndarray]:
    """Masks of a frame by entity id."""
    shown = row.masks_of_frames([frame])
    strings = [shown.data[a:b].tobytes() for a, b in zip(shown.offsets[:-1], shown.offsets[1:], strict=True)]
    masks = decode_masks(strings, row.height, row.width)
    return {int(row.entities.ids[entity]): mask for entity, mask in zip(shown.entity, masks, strict=True)}


def clips_of(out: Path, conversion: Conversion, task: str) -> list[Clip]:
    """A clip of every row as training makes it, but at the size of the picture and without a turn or flip."""
    files = [str(out / file) for file in conversion.splits[0].files]
    rows = datasets.Dataset.from_parquet(files, cache_dir=str(out / "cache"))
    clips = []
    for number in range(len(rows)):
        side = min(rows[number]["height"], rows[number]["width"])
        still = Augmentation(0.0, 0.0, square_size=None, shortest_edges=(side,), longest_edge=None)
        config = ClipConfig(task, FrameSampling(1 if rows[number]["num_frames"] == 1 else 2), still)
        dataset = ClipDataset([ClipSource("rows", rows, config)], max_attempts=1)
        clips.append(dataset[ClipIndex(0, number, 7)])
    return clips


def clip_masks(clip: Clip, frame: int = 0) -> dict[int, np.ndarray]:
    """Masks of a frame of a clip by entity id."""
    masks = clip.masks()[:, frame].numpy()
    return {int(number): mask for number, mask in zip(clip.entity_ids, masks, strict=True)}


def told(conversion: Conversion) -> list[tuple[str, str]]:
    """Kind of each damage, and what is lost by it."""
    return [(damage.kind, damage.lost) for damage in conversion.splits[0].log.damages]


def left_out(conversion: Conversion) -> dict[str, int]:
    return dict(conversion.splits[0].log.left_out)


def picture(path: Path, size: tuple[int, int], seed: int) -> bytes:
    write_frame(path, *size, seed)
    return path.read_bytes()


def truncate(path: Path) -> None:
    """Leaves the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def panoptic_png(path: Path, ids: np.ndarray) -> None:
    """R + 256 G + 65536 B."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    PIL.Image.fromarray(colours).save(path)


# --- COCO panoptic

COCO_CATEGORIES = [
    {"id": c.source_id, "name": c.dataset_name, "isthing": int(c.is_thing), "supercategory": "any"}
    for c in load_label_set("coco_panoptic")
]
# Picture -> size, and segments as (id, category, is it a crowd, box as top, left, side).
COCO_PICTURES: dict[int, tuple[tuple[int, int], list[tuple[int, int, int, tuple[int, int, int]]]]] = {
    139: ((48, 64), [(3226956, 1, 0, (2, 3, 20)), (16777215, 200, 0, (25, 5, 14)), (255, 90, 1, (4, 40, 18))]),
    285: ((40, 56), [(256, 92, 0, (1, 1, 15)), (65536, 2, 0, (20, 20, 19))]),
    632: ((50, 30), [(7, 184, 0, (5, 5, 20))]),
}


def panoptic_ids(number: int) -> np.ndarray:
    size, segments = COCO_PICTURES[number]
    ids = np.zeros(size, np.int64)
    for segment, _, _, place in segments:
        ids[box(*size, *place)] = segment
    return ids


def write_coco_panoptic(root: Path, split: str = "train") -> Path:
    """Pictures, maps and annotations; the last picture has a small long side."""
    images, annotations = [], []
    for number, (size, segments) in COCO_PICTURES.items():
        name = f"{number:012d}"
        picture(root / f"{split}2017" / f"{name}.jpg", size, number)
        panoptic_png(root / f"annotations/panoptic_{split}2017" / f"{name}.png", panoptic_ids(number))
        images.append({"id": number, "file_name": f"{name}.jpg", "height": size[0], "width": size[1], "license": 3})
        segments_info = [
            {"id": segment, "category_id": category, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]}
            for segment, category, crowd, _ in segments
        ]
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments_info})
    content = {
        "info": {},
        "licenses": [{"id": 3, "name": "Attribution License"}],
        "images": images,
        # Neither array needs to have the order of the other.
        "annotations": annotations[::-1],
        "categories": COCO_CATEGORIES,
    }
    return write_json(root / f"annotations/panoptic_{split}2017.json", content)


# --- LVIS

LVIS_CATEGORIES = [
    {"id": c.source_id, "name": c.dataset_name, "frequency": "f", "synset": "x.n.01"} for c in load_label_set("lvis")
]


def square(top: float, left: float, side: float) -> list[float]:
    """A polygon."""
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def write_lvis(root: Path, split: str = "train", images: Path | None = None) -> Path:
    """Three pictures of which the second is in the other folder and the third has no object."""
    folders = {"train": ("train2017", "val2017", "train2017"), "val": ("val2017", "train2017", "val2017")}[split]
    records = []
    for number, folder in zip((30, 9, 25), folders, strict=True):
        picture((images or root) / folder / f"{number:012d}.jpg", (48, 64), number)
        records.append(
            {
                "id": number,
                "height": 48,
                "width": 64,
                "license": 1,
                "coco_url": f"http://images.cocodataset.org/{folder}/{number:012d}.jpg",
                "neg_category_ids": [1203, 5] if number == 30 else [],
                "not_exhaustive_category_ids": [2] if number == 30 else [7],
            }
        )
    annotations = [
        {"id": 100, "image_id": 30, "category_id": 1, "segmentation": [square(4, 6, 10), square(20, 30, 8)]},
        {"id": 101, "image_id": 30, "category_id": 2, "segmentation": [square(8, 10, 10)]},
        {"id": 102, "image_id": 9, "category_id": 1203, "segmentation": [square(0, 0, 30)]},
    ]
    content = {
        "licenses": [{"id": 1, "name": "Attribution"}],
        "images": records,
        "annotations": annotations,
        "categories": LVIS_CATEGORIES,
    }
    return write_json(root / f"lvis_v1_{split}.json", content)


# --- RefCOCO

# Set -> division, and references as (reference, annotation, picture, split, sentences as number and text).
REFCOCO: dict[str, tuple[str, list[tuple[int, int, int, str, list[tuple[int, str]]]]]] = {
    "refcoco": (
        "unc",
        [
            (0, 500, 11, "train", [(0, "the left box"), (1, "box with a  dent")]),
            (1, 501, 11, "train", [(2, "big one")]),
            (2, 510, 12, "val", [(3, "lower thing")]),
            (3, 520, 13, "testA", [(4, "man")]),
        ],
    ),
    "refcoco+": (
        "unc",
        [
            (0, 500, 11, "train", [(0, "dented box")]),
            (1, 510, 12, "train", [(1, "grey thing")]),
        ],
    ),
    "refcocog": (
        "umd",
        [
            (7, 501, 11, "train", [(1, "a large box that lies on the ground")]),
            (8, 520, 13, "test", [(2, "a man who waits")]),
            (9, 530, 14, "train", [(3, "someone in a crowd")]),
        ],
    ),
}
REFCOCO_SIZES = {11: (48, 64), 12: (40, 44), 13: (50, 60), 14: (46, 46)}
_CROWD = box(46, 46, 10, 10, 20)
REFCOCO_ANNOTATIONS: dict[int, dict[str, Any]] = {
    500: {"image_id": 11, "iscrowd": 0, "segmentation": [square(4, 6, 10), square(20, 30, 8)], "category_id": 90},
    501: {"image_id": 11, "iscrowd": 0, "segmentation": [square(8, 10, 10)], "category_id": 1},
    502: {"image_id": 11, "iscrowd": 0, "segmentation": [square(30, 10, 10)], "category_id": 1},
    510: {"image_id": 12, "iscrowd": 0, "segmentation": [square(0, 0, 20)], "category_id": 13},
    520: {"image_id": 13, "iscrowd": 0, "segmentation": [square(5, 5, 20)], "category_id": 1},
    530: {"image_id": 14, "iscrowd": 1, "segmentation": rle(_CROWD, compressed=False), "category_id": 1},
}


def refcoco_records(name: str) -> list[dict[str, Any]]:
    """The list that a `refs(*).p` file holds."""
    return [
        {
            "ref_id": reference,
            "ann_id": annotation,
            "image_id": image,
            "split": split,
            "category_id": 1,
            "file_name": f"COCO_train2014_{image:012d}_{reference}.jpg",
            "sent_ids": [number for number, _ in sentences],
            "sentences": [
                {"sent_id": number, "sent": text, "raw": text.upper(), "tokens": text.split()}
                for number, text in sentences
            ],
        }
        for reference, annotation, image, split, sentences in REFCOCO[name][1]
    ]


def write_refcoco(root: Path) -> Path:
    for name, (division, references) in REFCOCO.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        # As Python 2 wrote them.
        (root / name / f"refs({division}).p").write_bytes(pickle.dumps(refcoco_records(name), protocol=0))
        pictures = {reference[2] for reference in references}
        write_json(
            root / name / "instances.json",
            {
                "images": [
                    {
                        "id": number,
                        "file_name": f"COCO_train2014_{number:012d}.jpg",
                        "height": REFCOCO_SIZES[number][0],
                        "width": REFCOCO_SIZES[number][1],
                    }
                    for number in sorted(pictures)
                ],
                "annotations": [
                    {"id": number, **annotation}
                    for number, annotation in REFCOCO_ANNOTATIONS.items()
                    if annotation["image_id"] in pictures
                ],
                "categories": [{"id": 1, "name": "person"}],
            },
        )
    for number, size in REFCOCO_SIZES.items():
        picture(root / "images/mscoco/images/train2014" / f"COCO_train2014_{number:012d}.jpg", size, number)
    return root


# --- SA-1B


def write_sa_1b(root: Path, annotation_folder: str = "sa_000000", image_folder: str = "sa_000000") -> Path:
    """Two pictures; masks overlap, and their qualities differ."""
    for number, size in ((10, (60, 90)), (2, (72, 48))):
        picture(root / image_folder / f"sa_{number}.jpg", size, number)
        masks = [box(*size, 4, 5, 30), box(*size, 10, 12, 12), box(*size, 40, 20, 16)]
        annotations = [
            {
                "id": 600000000 + 10 * number + index,
                "segmentation": rle(mask),
                "area": int(mask.sum()),
                "bbox": [0.0, 0.0, 1.0, 1.0],
                "predicted_iou": 0.88 + 0.01 * index,
                "stability_score": 0.95 + 0.01 * index,
                "point_coords": [[5.5, 6.5]],
                "crop_box": [0.0, 0.0, float(size[1]), float(size[0])],
            }
            for index, mask in enumerate(masks)
        ]
        image = {"image_id": number, "width": size[1], "height": size[0], "file_name": f"sa_{number}.jpg"}
        write_json(root / annotation_folder / f"sa_{number}.json", {"image": image, "annotations": annotations})
    return root


# --- EntitySeg


def entityseg_categories() -> list[dict[str, Any]]:
    return [
        {"id": c.index, "name": c.text, "type": "stuff" if c.index % 6 == 3 else "thing"}
        for c in load_label_set("entityseg_panoptic")
    ]


def write_entityseg(root: Path, split: str = "train") -> Path:
    """Two files whose pictures have the same ids; the second file's picture comes twice as large as recorded."""
    for part, scale in (("01", 1), ("02", 2)):
        name = f"entity_{part}_11580/a.jpg"
        picture(root / "images" / name, (48 * scale, 64 * scale), int(part))
        write_json(
            root / f"annotations/entityseg_{split}_{part}.json",
            {
                "images": [{"id": 1, "file_name": name, "height": 48, "width": 64}],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 0, "iscrowd": 0, "segmentation": rle(box(48, 64, 2, 2))},
                    {"id": 2, "image_id": 1, "category_id": 643, "iscrowd": 0, "segmentation": rle(box(48, 64, 9, 9))},
                    {"id": 5, "image_id": 1, "category_id": 3, "iscrowd": 0, "segmentation": rle(box(48, 64, 30, 40))},
                ],
                "categories": entityseg_categories(),
            },
        )
    return root


# --- ADE20K


def write_ade20k(root: Path, folder: str = "training") -> Path:
    """Wall (1) and sky (3), a bed (8), a person (13) that covers the sky, and a window without an instance."""
    size = (48, 64)
    picture(root / f"images/{folder}/ADE_train_00000001.jpg", size, 1)
    classes = np.zeros(size, np.uint8)
    classes[:24] = 1
    classes[box(*size, 4, 4, 6)] = 3
    classes[box(*size, 26, 10, 14)] = 8
    classes[box(*size, 26, 40, 10)] = 9
    instances = np.zeros((*size, 3), np.uint8)
    # Class 1 of the instances is the bed, class 4 the person.
    instances[box(*size, 26, 10, 14), :2] = (1, 1)
    instances[box(*size, 2, 2, 12), :2] = (4, 2)
    (root / f"annotations/{folder}").mkdir(parents=True, exist_ok=True)
    (root / f"annotations_instance/{folder}").mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(classes).save(root / f"annotations/{folder}/ADE_train_00000001.png")
    PIL.Image.fromarray(instances).save(root / f"annotations_instance/{folder}/ADE_train_00000001.png")
    return root
