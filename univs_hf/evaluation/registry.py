# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The benchmarks by name. Each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .benchmark import Benchmark

# Name of the benchmark -> module of this package, class.
BENCHMARKS: dict[str, tuple[str, str]] = {
    "ytvis19": ("youtube_vis", "YouTubeVis19"),
    "ytvis21": ("youtube_vis", "YouTubeVis21"),
    "ytvis22": ("youtube_vis", "YouTubeVis22"),
    "ovis": ("youtube_vis", "Ovis"),
    "vspw": ("vspw", "Vspw"),
    "vipseg": ("vipseg", "VipSeg"),
    "davis17": ("davis17", "Davis17"),
    "ytvos18": ("youtube_vos", "YouTubeVos18"),
    "mose": ("mose", "Mose"),
    "viposeg": ("viposeg", "VipoSeg"),
    "ref_davis": ("ref_davis", "RefDavis17"),
    "ref_ytvos": ("ref_youtube_vos", "RefYouTubeVos"),
    "burst": ("burst", "Burst"),
}

DESCRIPTIONS: dict[str, str] = {
    "ytvis19": "YouTube-VIS 2019: video instance segmentation, mAP",
    "ytvis21": "YouTube-VIS 2021: video instance segmentation, mAP",
    "ytvis22": "YouTube-VIS 2022: video instance segmentation, mean mAP of short and long videos",
    "ovis": "OVIS: video instance segmentation under occlusion, mAP",
    "vspw": "VSPW: video semantic segmentation, mIoU and mVC",
    "vipseg": "VIPSeg: video panoptic segmentation, VPQ and STQ",
    "davis17": "DAVIS 2017: video object segmentation, J&F",
    "ytvos18": "YouTube-VOS 2018: video object segmentation, G over seen and unseen categories",
    "mose": "MOSE: video object segmentation in crowds, J&F",
    "viposeg": "VIPOSeg: panoptic video object segmentation, mask and boundary IoU of things and stuff",
    "ref_davis": "Ref-DAVIS 2017: referring segmentation, J&F over four annotators",
    "ref_ytvos": "Ref-YouTube-VOS: referring segmentation, J&F",
    "burst": "BURST: open-world tracking of masks, HOTA",
}


def benchmark_class(name: str) -> type[Benchmark]:
    """The class of a benchmark.

    Raises:
        ValueError: If there is no benchmark of that name.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"`name` must be one of {list(BENCHMARKS)}, got {name!r}.")
    module, class_name = BENCHMARKS[name]
    return getattr(import_module(f".{module}", __package__), class_name)
