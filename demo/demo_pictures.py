# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of the demo: a small frame and what was found in it, side by side and large enough to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from univs_hf.visualization import overlay_segmentation

SIDE = 512
"""Pixels of the shorter side of an enlarged frame."""
# Detections of VIS with a lower score are left out, as a viewer would otherwise see every guess.
SHOWN_SCORE = 0.3
_HEADER, _GAP = 40, 4
_DARK, _LIGHT = (24, 24, 24), (235, 235, 235)


def final_result(task: str, result: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A frame's result with the classes that the whole video has decided on.

    Args:
        task: One of the six tasks.
        result: As a session gives it.
        objects: The session's summary, best first for `"vis"`.

    Returns:
        The same with other `segments_info`; for `"vis"` without objects whose score is below `SHOWN_SCORE`, for
        `"vos"` and `"pvos"` without scores, as their objects were given.
    """
    # An object of VIS may have several classes: the first is the best.
    decided: dict[int, Mapping[str, Any]] = {}
    for found in objects:
        decided.setdefault(int(found["id"]), found)
    infos = [{**info, **decided.get(int(info["id"]), {})} for info in result["segments_info"]]
    if task in ("vos", "pvos"):
        infos = [{**info, "score": None} for info in infos]
    if task != "vis":
        return {**result, "segments_info": infos}
    shown = [
        number for number, info in enumerate(infos) if int(info["id"]) in decided and info["score"] >= SHOWN_SCORE
    ]
    return {**result, "segments_info": [infos[number] for number in shown], "masks": result["masks"][shown]}


def draw_frame(frame: np.ndarray, result: Mapping[str, Any], task: str, title: str) -> np.ndarray:
    """The frame, and beside it the frame with what was found, under a line of text and the frame's number.

    Args:
        frame: uint8 (height, width, 3), RGB.
        result: See [`final_result`]; `segmentation` integer (height, width), or `masks` bool (N, height, width).
        task: One of the six tasks.
        title: The line.

    Returns:
        uint8 (H, W, 3); H is 40 more than the enlarged frame, W twice its width and 4.
    """
    factor = SIDE / min(frame.shape[:2])
    size = (round(frame.shape[1] * factor), round(frame.shape[0] * factor))
    large = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
    segments = np.asarray(result["masks"] if "masks" in result else result["segmentation"])
    # Masks are enlarged without smoothing, so that their pixels are seen as they are.
    rows = np.arange(size[1]) * frame.shape[0] // size[1]
    columns = np.arange(size[0]) * frame.shape[1] // size[0]
    background = None if task == "vss" else 0
    painted = overlay_segmentation(large, segments[..., rows[:, None], columns], result["segments_info"], background)

    sheet = Image.new("RGB", (2 * size[0] + _GAP, size[1] + _HEADER), _DARK)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=22)
    draw.text((10, 7), title, font=font, fill=_LIGHT)
    draw.text((sheet.width - 10, 7), f"frame {result['frame_idx']}", font=font, fill=_LIGHT, anchor="ra")
    sheet.paste(Image.fromarray(large), (0, _HEADER))
    sheet.paste(Image.fromarray(painted), (size[0] + _GAP, _HEADER))
    return np.asarray(sheet)
