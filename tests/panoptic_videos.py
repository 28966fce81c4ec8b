# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Random panoptic videos for the tests of VPQ and STQ."""

import numpy as np

CATEGORIES = [{"id": number, "isthing": int(number in (4, 7, 9))} for number in (1, 2, 4, 7, 9)]
Frames = list[tuple[np.ndarray, list[dict]]]


def random_panoptic_video(seed: int, length: int, crowds: bool = False) -> tuple[Frames, Frames]:
    """Prediction and ground truth that mostly agree; ids vanish and return, change class, are split, lie on void."""
    rng = np.random.default_rng(seed)
    size = (8, 12)
    regions = rng.integers(0, 7, size)
    regions[:, 6:] = np.sort(rng.integers(0, 7, (8, 6)))
    true_ids = rng.choice(np.arange(1, 2**24), 7, replace=False)
    predicted_ids = rng.choice(np.arange(1, 2**24), 9, replace=False)
    classes = rng.choice([category["id"] for category in CATEGORIES], 9)
    crowd_ids = set(true_ids[:3].tolist()) if crowds else set()
    sides: tuple[Frames, Frames] = ([], [])
    for frame in range(length):
        regions = np.where(rng.random(size) < 0.05, rng.integers(0, 7, size), regions)
        true = true_ids[regions]
        predicted = np.where(rng.random(size) < 0.15, rng.integers(0, 9, size), regions)
        if frame % 11 > 7:
            predicted = np.where(predicted == 2, 7, predicted)
        predicted = predicted_ids[predicted]
        true[rng.random(size) < 0.1] = 0
        true[regions == (frame // 9) % 7] *= rng.random() < 0.5
        predicted[rng.random(size) < 0.1] = 0
        for maps, ids, side in ((predicted, predicted_ids, sides[0]), (true, true_ids, sides[1])):
            segments = []
            for place in rng.permutation(len(ids)):
                area = int((maps == ids[place]).sum())
                if area:
                    changed = rng.random() < 0.05
                    category = rng.choice(classes) if changed else classes[place]
                    segment = {"id": int(ids[place]), "category_id": int(category), "area": area}
                    segment["iscrowd"] = int(int(ids[place]) in crowd_ids and rng.random() < 0.9)
                    segments.append(segment)
            side.append((maps.astype(np.uint32), segments))
    return sides
