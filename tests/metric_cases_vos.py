# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Compares DAVIS, YouTube-VOS, VIPOSeg, Ref-DAVIS and Ref-YouTube-VOS with recorded results of the official ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from metric_rows import MetricRow, case_name, compare_figures, read_json

from univs_hf.metrics.pvos import PVOSMetric
from univs_hf.metrics.refvos import RefDavisMetric, RefYouTubeVOSMetric
from univs_hf.metrics.vos import DavisMetric, YouTubeVOSMetric


def compare_davis(case: Path) -> list[MetricRow]:
    """Official figures, and those without the wrap of the decay bins where published.json has them."""
    name = case_name(case)
    inputs = np.load(case / "inputs.npz")
    rows = []
    for file, key, wrap in (("golden.json", "", True), ("published.json", "published", False)):
        if not (case / file).exists():
            continue
        metric = DavisMetric(wrap_decay_bins=wrap, keep_frames=True)
        for video in video_keys(inputs):
            metric.update(video, inputs[f"{video}_pred"], inputs[f"{video}_gt"])
        objects = by_object(metric.object_scores())
        ours = {
            **metric.compute(),
            "global": metric.compute(),
            "per_object": objects,
            "per_frame": {key: {kind: scores[f"{kind}_frames"] for kind in "JF"} for key, scores in objects.items()},
            "per_object_decay": {kind: [scores[kind]["D"] for scores in objects.values()] for kind in "JF"},
        }
        rows += compare_figures(name, ours, read_json(case / file), key)
    return rows


def compare_youtube_vos(case: Path) -> list[MetricRow]:
    """Both readings of G: without and with the frame whose mask is given."""
    inputs = np.load(case / "inputs.npz")
    ours: dict[str, Any] = {}
    for key, include_first in (("exclude_first", False), ("include_first", True)):
        metric = YouTubeVOSMetric(include_first=include_first, keep_frames=True)
        for video in read_json(case / "meta.json")["videos"]:
            objects = {int(object_id): entry for object_id, entry in video["objects"].items()}
            metric.update(
                video["name"],
                inputs[f"{video['name']}_pred"],
                inputs[f"{video['name']}_gt"],
                first_frames={object_id: entry["first_frame"] for object_id, entry in objects.items()},
                seen={object_id: entry["seen"] for object_id, entry in objects.items()},
            )
        ours[key] = metric.compute()
        ours.setdefault("per_object", by_object(metric.object_scores()))
    return compare_figures(case_name(case), ours, read_json(case / "golden.json"))


def compare_pvos(case: Path) -> list[MetricRow]:
    """All figures of VIPOSeg's script."""
    inputs, meta = np.load(case / "inputs.npz"), read_json(case / "meta.json")
    metric = PVOSMetric()
    for video in meta["videos"]:
        metric.update(
            video["name"],
            inputs[f"{video['key']}_pred"],
            inputs[f"{video['key']}_gt"],
            reference_frames={int(frame): objects for frame, objects in video["ref_frames"].items()},
            object_classes={int(key): class_id for key, class_id in meta["obj_class"][video["name"]].items()},
        )
    return compare_figures(case_name(case), {"result": metric.compute()}, read_json(case / "golden.json"))


def compare_ref_davis(case: Path) -> list[MetricRow]:
    """With the official matching of ids, per annotator and averaged, and with the ids as they are."""
    inputs = np.load(case / "inputs.npz")
    official = read_json(case / "golden.json")
    num_annotators = len(official["per_annotator"])
    metrics = [RefDavisMetric(num_annotators, rematch=rematch) for rematch in (True, False)]
    for video in video_keys(inputs):
        for metric in metrics:
            predictions = [inputs[f"{video}_anno{annotator}"] for annotator in range(num_annotators)]
            metric.update(video, predictions, inputs[f"{video}_gt"])
    matched, fixed = metrics
    # The official lists number the pairs of a video in order of their predicted ids.
    objects = [
        {f"{video}_{i}": pair for video, pairs in of_annotator.items() for i, pair in enumerate(pairs, start=1)}
        for of_annotator in matched.object_scores()
    ]
    ours = {
        "per_annotator": matched.annotator_scores(),
        "per_object": objects,
        "mean": matched.compute(),
        "no_rematching_per_annotator": [short_names(figures) for figures in fixed.annotator_scores()],
        "no_rematching_mean": short_names(fixed.compute()),
    }
    return compare_figures(case_name(case), ours, official)


def compare_ref_youtube_vos(case: Path) -> list[MetricRow]:
    """J and F over all expressions, per expression and per frame."""
    inputs = np.load(case / "inputs.npz")
    metric = RefYouTubeVOSMetric(keep_frames=True)
    for video in read_json(case / "meta.json")["videos"]:
        name = video["name"]
        metric.update(
            name,
            {expression: inputs[f"{name}_exp{expression}"] for expression in video["expressions"]},
            inputs[f"{name}_gt"],
            expressions={expression: entry["obj_id"] for expression, entry in video["expressions"].items()},
        )
    ours = {
        **metric.compute(),
        "per_expression": {
            f"{video}/{expression}": scores
            for video, expressions in metric.expression_scores().items()
            for expression, scores in expressions.items()
        },
    }
    return compare_figures(case_name(case), ours, read_json(case / "golden.json"))


def video_keys(inputs: Any) -> list[str]:
    """Videos of a case in their order: `v0`, `v1`, ..."""
    keys = [key.removesuffix("_gt") for key in inputs if key.endswith("_gt")]
    return sorted(keys, key=lambda key: int(key[1:]))


def by_object(scores: dict[str, dict[int, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """`v0_1` -> scores of that object."""
    return {f"{video}_{key}": entry for video, objects in scores.items() for key, entry in objects.items()}


def short_names(figures: dict[str, float]) -> dict[str, float]:
    """`J`, `F` and `J&F` for the means."""
    return {key.removesuffix("-Mean"): value for key, value in figures.items() if key.endswith("-Mean")}


TASKS: dict[str, Callable[[Path], list[MetricRow]]] = {
    "davis": compare_davis,
    "ytvos": compare_youtube_vos,
    "pvos": compare_pvos,
    "refdavis": compare_ref_davis,
    "refytvos": compare_ref_youtube_vos,
}
