# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Computes what golden.json and published.json of a VSS or VPS case hold (specification of the metrics, 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from metric_rows import MetricRow, case_name, compare_figures, read_json

from univs_hf.metrics.panoptic_frames import panoptic_overlaps
from univs_hf.metrics.stq import STQMetric
from univs_hf.metrics.vipseg_annotations import pair_annotations
from univs_hf.metrics.vps import VPQMetric
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


def compare_vps(case_dir: Path) -> list[MetricRow]:
    """Rows of a VPS case: VPQ, and STQ in the two official readings."""
    ground_truth, prediction = (read_json(case_dir / f"{side}.json.gz") for side in ("gt", "pred"))
    categories = ground_truth["categories"]
    annotations = pair_annotations(prediction, ground_truth)
    vpq = VPQMetric(categories)
    stq, deeplab2, sane = (
        STQMetric(categories, **options)
        for options in ({}, {"crowd": "iscrowd"}, {"crowd": "iscrowd", "void_is_class": False})
    )
    with np.load(case_dir / "inputs.npz") as inputs:
        for i, video in enumerate(ground_truth["videos"]):
            video_id = video["video_id"]
            frames = [
                [(ids, getattr(frame, name)) for ids, frame in zip(maps, annotations[video_id], strict=True)]
                for name, maps in (("prediction", inputs[f"v{i}_pred"]), ("ground_truth", inputs[f"v{i}_gt"]))
            ]
            overlaps = list(panoptic_overlaps(video_id, *frames, vpq.categories))
            for metric in (vpq, stq, deeplab2, sane):
                metric.update_overlaps(video_id, overlaps)
    video_ids = [video["video_id"] for video in ground_truth["videos"]]
    windows = [1, 2, 4, 6, 8]
    figures = vpq.compute()
    ours: dict[str, Any] = {"VPQ_k": {}}
    for k in windows:
        per_class = {str(category): quality for category, quality in vpq.class_quality(k).items()}
        ours["VPQ_k"][str(k)] = {**vpq.group_quality(k), "per_class": per_class}
    for group, ending in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        ours[f"VPQ_{group}"] = {
            "per_k_percent": {str(k): 100 * figures[f"VPQ_{k}{ending}"] for k in windows},
            "mean_1_2_4_6": 100 * figures[f"VPQ_mean_1_2_4_6{ending}"],
            "mean_1_2_4_6_8": 100 * figures[f"VPQ{ending}"],
        }
    # The script names videos by their number.
    ours["STQ_vipseg_script"] = _stq_figures(stq, video_ids) | {"ID_per_seq": list(range(len(video_ids)))}
    ours["STQ_deeplab2"] = _stq_figures(deeplab2, video_ids)
    rows = compare_figures(case_name(case_dir), ours, read_json(case_dir / "golden.json"))
    if (case_dir / "published.json").exists():
        rows += compare_figures(
            case_name(case_dir), sane.compute(), read_json(case_dir / "published.json"), "published"
        )
    return rows


def _stq_figures(metric: STQMetric, video_ids: list[str]) -> dict[str, Any]:
    """The figures under the names of deeplab2."""
    figures, per_video = metric.compute(), metric.per_video()
    ours: dict[str, Any] = {"STQ": figures["STQ"], "AQ": figures["AQ"], "IoU": figures["SQ"], "ID_per_seq": video_ids}
    for name, key in (("STQ", "STQ"), ("AQ", "AQ"), ("IoU", "SQ"), ("Length", "length")):
        ours[f"{name}_per_seq"] = [per_video[video_id][key] for video_id in video_ids]
    return ours


TASKS: dict[str, Callable[[Path], list[MetricRow]]] = {"vss": compare_vss, "vps": compare_vps}
