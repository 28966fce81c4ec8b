# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Metrics of the six tasks, equal to the official evaluators number by number.

The names are imported when they are used: numpy, scipy and pycocotools are all that they need.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

# Name -> its module. Classes are metrics to be fed video by video, the others plain functions.
_MODULES = {
    "boundary_accuracy": "region_boundary",
    "boundary_iou": "region_boundary",
    "BurstHOTA": "burst",
    "DavisMetric": "vos",
    "HOTA": "hota",
    "PVOSMetric": "pvos",
    "RefDavisMetric": "refvos",
    "RefYouTubeVOSMetric": "refvos",
    "region_similarity": "region_boundary",
    "score_burst": "burst",
    "score_videos": "parallel",
    "score_youtube_vis": "vis",
    "series_statistics": "region_boundary",
    "STQMetric": "stq",
    "tube_iou": "tubes",
    "video_consistency": "vss",
    "VideoAP": "vis",
    "VideoMetric": "video_metric",
    "VPQMetric": "vps",
    "VSSMetric": "vss",
    "YouTubeVOSMetric": "vos",
}

# Name of an `evaluate` module -> its metric.
EVALUATE_MODULES = {
    "burst": "BurstHOTA",
    "davis": "DavisMetric",
    "hota": "HOTA",
    "pvos": "PVOSMetric",
    "ref_davis": "RefDavisMetric",
    "ref_youtube_vos": "RefYouTubeVOSMetric",
    "stq": "STQMetric",
    "vis": "VideoAP",
    "vpq": "VPQMetric",
    "vss": "VSSMetric",
    "youtube_vos": "YouTubeVOSMetric",
}

__all__ = ["EVALUATE_MODULES", "evaluate_module_path", *sorted(_MODULES)]


def evaluate_module_path(name: str) -> str:
    """Folder of a metric as a module of the `evaluate` library.

    Args:
        name: One of `EVALUATE_MODULES`.

    Returns:
        The path that `evaluate.load` takes.

    Raises:
        ValueError: If there is no such module.

    Example:
        >>> davis = evaluate.load(evaluate_module_path("davis"))
    """
    if name not in EVALUATE_MODULES:
        raise ValueError(f"`name` must be one of {', '.join(map(repr, EVALUATE_MODULES))}, got {name!r}.")
    return str(Path(__file__).parent / "evaluate_modules" / name)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
