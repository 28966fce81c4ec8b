# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Comparison of recorded cases of video instance segmentation and of BURST with the package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from metric_rows import MetricRow, case_name, compare_figures, read_json

from univs_hf.metrics.burst import score_burst
from univs_hf.metrics.hota import HOTA, first_alpha
from univs_hf.metrics.vis import VideoAP, score_youtube_vis

SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def summary(metric: VideoAP) -> dict[str, float]:
    figures = metric.compute()
    return {name: figures[name] for name in SUMMARY}


def compare_vis(case: Path) -> list[MetricRow]:
    ground_truth, results = read_json(case / "gt.json.gz"), read_json(case / "results.json.gz")
    metric = score_youtube_vis(ground_truth, results)
    precision, recall = metric.curves()
    ours = {
        "stats": summary(metric),
        "per_class_AP": {str(key): value for key, value in metric.compute()["AP_per_category"].items()},
        "AP_per_iou_per_class_all_max100": precision[:, :, :, 0].mean(axis=1),
        "recall_TKAM": recall,
        "cat_ids": metric.category_ids,
    }
    rows = compare_figures(case_name(case), ours, read_json(case / "golden.json"))
    if (case / "published.json").exists():
        # Recorded with ids that begin at 1, where no annotation has the id 0.
        sane = score_youtube_vis(ground_truth, results, count_annotation_id_zero=True)
        published = read_json(case / "published.json")
        rows += compare_figures(case_name(case), {"stats": summary(sane)}, published, "published")
    return rows


def compare_burst(case: Path) -> list[MetricRow]:
    ground_truth = read_json(case / "gt.json.gz")
    predictions = {
        "class_guided": read_json(case / "pred.json.gz"),
        "exemplar_guided": read_json(case / "pred_exemplar.json.gz"),
    }
    golden = read_json(case / "golden.json")
    ours: dict[str, Any] = {}
    for task, prediction in predictions.items():
        for similarity, suffix in (("box", ""), ("mask", "_mask_iou")):
            figures = score_burst(ground_truth, prediction, task=task, similarity=similarity).compute()
            ours[f"{task}_percent{suffix}"] = {
                name: {group: 100 * figures[f"{name}_{group}"] for group in ("all", "common", "uncommon")}
                for name in ("HOTA", "DetA", "AssA", "AP")
            }
            if task == "class_guided" and similarity == "box":
                per_category = figures["per_category"]
    names = {category: name for name, category in golden["class_names"].items()}
    ours["class_names"] = {names.get(category, "not in the official file"): category for category in per_category}
    ours["per_class"] = {names.get(category): values for category, values in per_category.items()}
    ours["class_agnostic_HOTA"] = class_agnostic_figures(ground_truth, predictions["class_guided"])
    rows = compare_figures(case_name(case), ours, golden)
    return rows + compare_figures(case_name(case), len(per_category), len(golden["per_class"]), "per_class/number")


def class_agnostic_figures(ground_truth: dict[str, Any], prediction: dict[str, Any]) -> dict[str, Any]:
    metric = HOTA()
    predicted = {sequence["seq_name"]: sequence for sequence in prediction["sequences"]}
    for sequence in ground_truth["sequences"]:
        size = [sequence["height"], sequence["width"]]
        theirs, ours = (
            [{track: {"size": size, "counts": entry["rle"]} for track, entry in frame.items()} for frame in frames]
            for frames in (sequence["segmentations"], predicted[sequence["seq_name"]]["segmentations"])
        )
        metric.update(sequence["seq_name"], ours, theirs)
    figures = metric.compute()
    return {
        "combined": {**figures["per_alpha"], **first_alpha(figures["per_alpha"])},
        "per_seq": {name: {**values, **first_alpha(values)} for name, values in figures["per_video"].items()},
        "headline": figures,
    }


TASKS: dict[str, Callable[[Path], list[MetricRow]]] = {"burst": compare_burst, "vis": compare_vis}
