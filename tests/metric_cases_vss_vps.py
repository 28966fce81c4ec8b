# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Computes what golden.json and published.json of a VSS or VPS case hold (specification of the metrics, 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from metric_rows import MetricRow, case_name, compare_figures, read_json

from univs_hf.metrics.vss import VSSMetric, video_consistency

# The official script has VSPW's number of classes wired in, whatever a case uses.
SCRIPT_CLASSES = 124


def compare_vss(case_dir: Path) -> list[MetricRow]:
    """Rows of a VSS case."""
    meta = read_json(case_dir / "meta.json")
    classes = meta["num_classes"]
    with np.load(case_dir / "inputs.npz") as inputs:
        videos = {f"v{i}": (inputs[f"v{i}_pred"], inputs[f"v{i}_gt"]) for i in range(meta["num_videos"])}

    def score(**options: Any) -> VSSMetric:
        metric = VSSMetric(SCRIPT_CLASSES, **options)
        for video_id, (prediction, ground_truth) in videos.items():
            metric.update(video_id, prediction, ground_truth)
        return metric

    metric, raw = score(), score(raw_ids=True).compute()
    figures = metric.compute()
    ours: dict[str, Any] = {
        "headline": figures,
        "confusion_matrix": metric.confusion_matrix()[:classes, :classes].tolist(),
        "per_class_IoU": metric.class_iou()[:classes].tolist(),
    }
    for window in (8, 16):
        ours[f"mVC{window}"] = figures[f"mVC{window}"]
        ours[f"mVC{window}_raw_ids_VSPW_baseline"] = raw[f"mVC{window}"]
        windows = {}
        for video_id, (prediction, ground_truth) in videos.items():
            void_only = np.where(ground_truth == 0, 255, ground_truth)
            values = video_consistency(prediction, void_only, window)
            if len(values):
                windows[video_id] = values.tolist()
        ours[f"VC{window}_windows"] = windows
    rows = compare_figures(case_name(case_dir), ours, read_json(case_dir / "golden.json"))
    if (case_dir / "published.json").exists():
        sane = score(void_prediction="miss", all_windows=True).compute()
        sane |= {f"mVC{window}_all_windows": sane[f"mVC{window}"] for window in (8, 16)}
        rows += compare_figures(case_name(case_dir), sane, read_json(case_dir / "published.json"), "published")
    return rows


TASKS: dict[str, Callable[[Path], list[MetricRow]]] = {"vss": compare_vss}
