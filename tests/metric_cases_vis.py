# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Comparison of recorded cases of video instance segmentation and of BURST with the package."""

from collections.abc import Callable
from pathlib import Path

from metric_rows import MetricRow, case_name, compare_figures, read_json

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


TASKS: dict[str, Callable[[Path], list[MetricRow]]] = {"vis": compare_vis}
