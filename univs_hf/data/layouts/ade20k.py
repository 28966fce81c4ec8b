# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""ADE20K (SceneParse150): panoptic maps out of the published maps of classes and of instances.

    ADEChallengeData2016/images/training/ADE_train_00000001.jpg
    ADEChallengeData2016/annotations/training/ADE_train_00000001.png            class, 1 to 150; 0 for none
    ADEChallengeData2016/annotations_instance/training/ADE_train_00000001.png   R: thing class, 1 to 100; G: instance

The thing classes are the 100 things among the 150 classes, in their order. A panoptic map has stuff as the map of
classes shows it, and instances over it; what the map of classes calls a thing, but no instance covers, is void.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...label_sets import load_label_set

# Names of the splits' folders.
ADE20K_FOLDERS = {"train": "training", "val": "validation"}
# Where ids of instances begin in the panoptic map; stuff has its class as id.
_FIRST_INSTANCE = 1000


def read_instance_map(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Thing class and instance of each pixel, uint8 (H, W); 0 for none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image of three colours.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("RGB", "RGBA"):
                raise ValueError(f"{path} is an image of mode {image.mode}; maps of instances are RGB.")
            colours = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(f"There is no file {path}; expected a map of instances.") from None
        raise ValueError(f"The image {path} cannot be read: {error}") from error
    return colours[..., 0], colours[..., 1]


def panoptic_of_maps(
    classes: np.ndarray, thing_class: np.ndarray, instance: np.ndarray
) -> tuple[np.ndarray, list[dict[str, int]]]:
    """Panoptic map of a picture.

    Args:
        classes (`np.ndarray`): Integers (H, W), 1 to 150, 0 for none.
        thing_class (`np.ndarray`): Integers (H, W), 1 to 100 where an instance is.
        instance (`np.ndarray`): Integers (H, W), 0 for none.

    Returns:
        Ids, int32 (H, W), 0 for void, and `id` and `category_id` (1 to 150) of each segment that has pixels in the
        maps: stuff by class, then instances by number. An instance of a class that does not exist, or of several, has
        the `category_id` 0. Instances may cover stuff entirely.
    """
    label_set = load_label_set("ade20k")
    stuff = sorted(category.source_id for category in label_set if not category.is_thing)
    things = [category.source_id for category in label_set if category.is_thing]
    ids = np.where(np.isin(classes, stuff), classes, 0).astype(np.int32)
    segments = [{"id": number, "category_id": number} for number in np.unique(ids).tolist() if number]
    for number in np.unique(instance).tolist():
        if number == 0:
            continue
        inside = instance == number
        found = np.unique(thing_class[inside]).tolist()
        known = len(found) == 1 and 1 <= found[0] <= len(things)
        ids[inside] = _FIRST_INSTANCE + number
        segments.append({"id": _FIRST_INSTANCE + number, "category_id": things[found[0] - 1] if known else 0})
    return ids, segments
