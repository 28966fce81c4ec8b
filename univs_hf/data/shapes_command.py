# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs shapes`: writes moving shapes to disk, as rows in a Parquet file or as videos with masks in a folder.

    univs shapes --split train --num-videos 1000 --out train.parquet
    univs shapes --split test --num-videos 8 --out folder

A folder gets, for each video, `NUMBER.mp4`, a palette image per frame in `NUMBER/` (values are ids of entities), and
`NUMBER.json` with entities and expressions.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from ..video_writer import temporary_sibling
from ..visualization import save_palette_png
from .moving_shapes import CATEGORIES, SPLITS, MovingShapes, MovingShapesConfig, video_name

Result = TypeVar("Result")

# Results that may wait for each worker process before they are written.
_AHEAD = 4


def add_shapes_parser(commands: Any) -> None:
    """Adds `shapes` to the commands of `univs`: split, numbers, output, and each field of `MovingShapesConfig`."""
    parser = commands.add_parser(
        "shapes",
        help="draw videos of moving shapes with masks, categories and expressions",
        description=__doc__.split(": ", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--split", choices=SPLITS, default="train", help="whose seeds to use; default: %(default)s")
    parser.add_argument("--num-videos", type=int, required=True, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first video in the split")
    parser.add_argument("--out", type=Path, required=True, help="FILE.parquet, or a folder")
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; default: %(default)s")
    parser.add_argument("--image-format", choices=("JPEG", "PNG"), default="JPEG", help="of frames in rows")
    settings = parser.add_argument_group("settings of the generator")
    for field in fields(MovingShapesConfig):
        settings.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            metavar="N",
            help="default: %(default)s",
        )
    parser.set_defaults(func=run_shapes)


def run_shapes(options: argparse.Namespace) -> int:
    """Runs the command; raises what is wrong with the options or the disk, see [`univs_cli.main`]."""
    config = MovingShapesConfig(**{field.name: getattr(options, field.name) for field in fields(MovingShapesConfig)})
    videos = MovingShapes(options.split, options.num_videos, config, options.first)
    if options.workers < 1:
        raise ValueError(f"`--workers` must be at least 1, got {options.workers}.")
    if options.out.suffix == ".parquet":
        write_rows(videos, options.out, options.workers, options.image_format, options.overwrite)
    else:
        write_folder(videos, options.out, options.workers, options.overwrite)
    print(f"{len(videos)} videos in {options.out}")
    return 0


def write_rows(
    videos: MovingShapes, path: Path, workers: int = 1, image_format: str = "JPEG", overwrite: bool = False
) -> int:
    """Writes the rows of videos to a Parquet file, which appears when it is complete.

    Args:
        videos: Which ones.
        path: Of the file.
        workers: Processes that make them; the result is the same for any number.
        image_format: How frames are encoded, `"JPEG"` or `"PNG"`.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The number of rows.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
    """
    from .row_builder import write_parquet

    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already.")
    make = partial(_rows_of, videos, image_format)
    return write_parquet((row for rows in _in_order(make, len(videos), workers) for row in rows), path)


def write_folder(videos: MovingShapes, folder: Path, workers: int = 1, overwrite: bool = False) -> None:
    """Writes videos, masks and descriptions to a folder; the description of a video comes last.

    Args:
        videos: Which ones.
        folder: Where to; made if it does not exist.
        workers: Processes that make them.
        overwrite: Whether existing files may be replaced.

    Raises:
        FileExistsError: If a file exists and `overwrite` is False.
    """
    folder.mkdir(parents=True, exist_ok=True)
    existing = [] if overwrite else sorted(folder.glob("*.mp4")) + sorted(folder.glob("*.json"))
    names = {video_name(seed) for seed in videos.seeds} if existing else set()
    for path in existing:
        if path.stem in names:
            raise FileExistsError(f"{path} exists already.")
    for _ in _in_order(partial(_write_video, videos, folder, overwrite), len(videos), workers):
        pass


def _rows_of(videos: MovingShapes, image_format: str, index: int) -> list[dict[str, Any]]:
    return videos[index].to_rows(image_format)


def _write_video(videos: MovingShapes, folder: Path, overwrite: bool, index: int) -> None:
    video = videos[index]
    name = video_name(video.seed)
    video.write_video(folder / f"{name}.mp4", overwrite=overwrite)
    masks = folder / name
    masks.mkdir(exist_ok=True)
    for frame, labels in enumerate(video.labels):
        save_palette_png(masks / f"{frame:05d}.png", labels)
    description = {
        "key": video.key,
        "seed": video.seed,
        "fps": video.config.fps,
        "categories": [category.text for category in CATEGORIES],
        "entities": [{**asdict(entity), "name": entity.name} for entity in video.entities],
        "expressions": [asdict(expression) for expression in video.expressions],
    }
    path = folder / f"{name}.json"
    temporary = temporary_sibling(path)
    temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _in_order(make: Callable[[int], Result], count: int, workers: int) -> Iterator[Result]:
    """`make(0), make(1), ...`, made by several processes, few of them ahead of the one that is asked for."""
    if workers == 1:
        yield from map(make, range(count))
        return
    # Not forked: the parent may run threads (torch, Arrow) whose locks a child would never see released.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = deque(pool.submit(make, index) for index in range(min(count, _AHEAD * workers)))
        for index in range(count):
            if index + len(waiting) < count:
                waiting.append(pool.submit(make, index + len(waiting)))
            yield waiting.popleft().result()
