# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a person looks at after an evaluation: a table, a JSON file, and a page with pictures of the worst videos.

figures -> scores_table -> terminal
        -> write_scores -> scores.json
        -> write_report -> report.html: the table, the worst videos with prediction beside ground truth, all videos
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from ..data.layouts.frame_folders import read_rgb
from ..visualization import overlay_segmentation
from .benchmark import ComparedFrame
from .report_page import REPORT_PAGE
from .runner import Evaluation
from .submission_files import write_text

# Width of a picture of the report in pixels; a pair fills a usual window.
_PICTURE_WIDTH = 560
_JPEG_QUALITY = 85
_PACKAGES = ("univs-hf", "torch", "transformers", "numpy", "pycocotools")


def format_figure(key: str, value: Any) -> str:
    """A figure as the tables show it: fractions as percent with one digit, `-` where it is not defined."""
    number = _number(value)
    if number is None:
        return "-"
    return f"{number if 'percent' in key else 100 * number:.1f}"


def scores_table(evaluation: Evaluation) -> Table:
    """The figures of the paper's main table, for a terminal."""
    benchmark = evaluation.benchmark
    table = Table(title=f"{benchmark.name} {benchmark.split}, {_count(len(evaluation.videos), 'video')}")
    for header in benchmark.columns.values():
        table.add_column(header, justify="right")
    table.add_row(*(format_figure(key, evaluation.figures.get(key)) for key in benchmark.columns))
    return table


def write_scores(path: Path, evaluation: Evaluation, about: Mapping[str, Any]) -> None:
    """Writes all figures as JSON, `null` where one is not defined.

    Args:
        path (`Path`): The file, which appears when it is complete.
        evaluation ([`Evaluation`]): What came out.
        about (mapping): What else is worth keeping, such as the model's name.
    """
    benchmark, figures = evaluation.benchmark, evaluation.figures
    content = {
        **benchmark.description(),
        **about,
        "num_videos": len(evaluation.videos),
        "table": {header: format_figure(key, figures.get(key)) for key, header in benchmark.columns.items()},
        "figures": figures,
        "videos": evaluation.videos,
        "versions": {name: installed for name in _PACKAGES if (installed := _installed(name)) is not None},
    }
    if evaluation.num_frames:
        rate = evaluation.num_frames / evaluation.seconds
        content["run"] = {
            "num_frames": evaluation.num_frames,
            "num_processes": evaluation.num_processes,
            "seconds": evaluation.seconds,
            "frames_per_second": rate,
        }
    write_text(path, json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n")


def worst_videos(evaluation: Evaluation, count: int) -> list[tuple[str, float]]:
    """Ids and scores of the videos with the lowest scores, the worst first; those without a score are left out."""
    key = evaluation.benchmark.worst_by
    scores = [(float(figures.get(key, math.nan)), video_id) for video_id, figures in evaluation.videos.items()]
    return [(video_id, score) for score, video_id in sorted(score for score in scores if not math.isnan(score[0]))][
        :count
    ]


def write_report(
    path: Path, evaluation: Evaluation, about: Mapping[str, Any], num_videos: int = 6, num_frames: int = 4
) -> None:
    """Writes a page that needs no other file: figures, the worst videos in pictures, all videos in a table.

    Args:
        path (`Path`): The file, which appears when it is complete.
        evaluation ([`Evaluation`]): What came out, while its predictions are there.
        about (mapping): What else the page says, such as the model's name.
        num_videos (`int`, *optional*, defaults to 6): Videos with pictures.
        num_frames (`int`, *optional*, defaults to 4): Frames of each.
    """
    import jinja2

    benchmark = evaluation.benchmark
    worst = [
        {
            "name": video_id,
            "score": format_figure(benchmark.worst_by, score),
            "figures": {key: format_figure(key, value) for key, value in evaluation.videos[video_id].items()},
            "frames": [
                {"caption": frame.caption, "images": _pair(frame)}
                for frame in benchmark.compared_frames(video_id, evaluation.predictions, num_frames)
            ],
        }
        for video_id, score in worst_videos(evaluation, num_videos)
    ]
    keys = list(dict.fromkeys(key for figures in evaluation.videos.values() for key in figures))
    every = [
        {
            "name": video_id,
            "share": 0 if math.isnan(score) else round(100 * min(max(score, 0), 1)),
            "cells": [format_figure(key, figures.get(key)) for key in keys],
        }
        for video_id, figures in evaluation.videos.items()
        for score in [float(figures.get(benchmark.worst_by, math.nan))]
    ]
    facts = {**benchmark.description(), **about}
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(REPORT_PAGE).render(
        title=f"{benchmark.name} {benchmark.split}",
        about={name: value for name, value in facts.items() if value not in (None, {}, "")},
        columns=[
            {"header": header, "value": format_figure(key, evaluation.figures.get(key))}
            for key, header in benchmark.columns.items()
        ],
        figures={
            key: format_figure(key, value)
            for key, value in evaluation.figures.items()
            if value is None or isinstance(value, (int, float, np.number))
        },
        worst_by=benchmark.worst_by,
        worst=worst,
        keys=keys,
        videos=every,
    )
    write_text(path, page)


def _pair(frame: ComparedFrame) -> list[dict[str, str]]:
    """Prediction and ground truth over the frame, as pictures that a page holds in itself."""
    image = read_rgb(frame.image)
    pictures = []
    for title, segmentation, infos in (
        ("prediction", frame.prediction, frame.prediction_info),
        ("ground truth", frame.ground_truth, frame.ground_truth_info),
    ):
        painted = overlay_segmentation(_fit(image, segmentation), segmentation, infos, frame.background)
        pictures.append({"title": title, "data": _data_url(painted)})
    return pictures


def _fit(image: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """The frame at the size of its annotation, which some benchmarks give at another resolution."""
    height, width = segmentation.shape[-2:]
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _data_url(image: np.ndarray) -> str:
    picture = Image.fromarray(image)
    if picture.width > _PICTURE_WIDTH:
        height = max(1, round(_PICTURE_WIDTH * picture.height / picture.width))
        picture = picture.resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, (str, Mapping, list, tuple)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    """The same for JSON, which knows no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
