# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The converters by the id of their dataset. Each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .converter import DatasetConverter

# Id of the dataset -> module of this package, class, what it is.
CONVERTERS: dict[str, tuple[str, str, str]] = {
    "ytvis19": ("youtube_vis", "YouTubeVis19Converter", "YouTube-VIS 2019"),
    "ytvis21": ("youtube_vis", "YouTubeVis21Converter", "YouTube-VIS 2021"),
    "ytvis22": ("youtube_vis", "YouTubeVis22Converter", "YouTube-VIS 2022"),
    "ovis": ("youtube_vis", "OvisConverter", "OVIS"),
    "vipseg": ("vipseg", "VipSegConverter", "VIPSeg, as downloaded or in 720 lines"),
    "vspw": ("vspw", "VspwConverter", "VSPW, also in 480 lines"),
    "ytvos18": ("youtube_vos", "YouTubeVos18Converter", "YouTube-VOS 2018"),
    "ytvos19": ("youtube_vos", "YouTubeVos19Converter", "YouTube-VOS 2019"),
    "ref_ytvos": ("youtube_vos", "RefYouTubeVosConverter", "Ref-YouTube-VOS"),
    "davis16": ("davis", "Davis16Converter", "DAVIS 2016"),
    "davis17": ("davis", "Davis17Converter", "DAVIS 2017"),
    "ref_davis": ("davis", "RefDavisConverter", "Ref-DAVIS 2017"),
    "mose": ("mose", "MoseConverter", "MOSE"),
    "burst": ("burst", "BurstConverter", "BURST on frames of TAO"),
    "viposeg": ("viposeg", "VipoSegConverter", "VIPOSeg"),
    "coco_panoptic": ("coco_panoptic", "CocoPanopticConverter", "COCO panoptic 2017"),
    "lvis": ("lvis", "LvisConverter", "LVIS v1"),
    "refcoco": ("refcoco", "RefCocoConverter", "RefCOCO, RefCOCO+ and RefCOCOg, a row per picture"),
    "sa_1b": ("sa_1b", "Sa1bConverter", "SA-1B or a part of it"),
    "entityseg_panoptic": ("entityseg", "EntitySegConverter", "EntitySeg with 644 categories"),
    "ade20k_panoptic": ("ade20k", "Ade20kConverter", "ADE20K panoptic"),
    "mask_folder": ("mask_folder", "MaskFolderConverter", "your own folders of frames and palette PNGs"),
    "coco_video": ("coco_video", "CocoVideoConverter", "your own videos or pictures with a COCO-video JSON"),
}


def converter_class(name: str) -> type[DatasetConverter]:
    """The converter of a dataset.

    Raises:
        ValueError: If there is no dataset of that id.
    """
    if name not in CONVERTERS:
        raise ValueError(f"`name` must be one of {list(CONVERTERS)}, got {name!r}.")
    module, class_name, _ = CONVERTERS[name]
    return getattr(import_module(f".{module}", __package__), class_name)
