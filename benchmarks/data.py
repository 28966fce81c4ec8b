# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Times making training clips from rows, and each of its steps, with one thread.

    python benchmarks/data.py [--clips 20 --frames 5 --objects 10 --side 1024 --workers 2 --json FILE]

Rows are 720p JPEG videos of 36 frames (about 170 KB a frame) in a memory-mapped file, with masks of objects that
share no pixel, and a second set whose objects overlap. Geometry on the device means that decoding and label maps are
made in the worker and one affine map per frame is applied elsewhere. "full detail" draws the scale from 1 to 2, so
that no picture is decoded smaller than it is and all of the output is filled; "paper" draws it from 0.25 to 4.
"streamed" reads row groups of the Parquet file as they are needed, as training with `data.streaming` does. The
baseline warps every frame and every mask by itself with PIL, after pycocotools.

CPU milliseconds are those of the process and hardly depend on what else the machine does; wall time does.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import torch
from pycocotools import mask as coco
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader

from univs_hf.data.clip_dataset import ClipDataset, ClipSource, list_of_clips
from univs_hf.data.clip_frame_sampling import FrameSampling
from univs_hf.data.clip_frames import decode_frames
from univs_hf.data.clip_from_row import ClipConfig
from univs_hf.data.clip_geometry import Augmentation, sample_geometry
from univs_hf.data.clip_labels import paint_label_maps
from univs_hf.data.clip_random import Purpose, generator
from univs_hf.data.clip_stream import ClipStream, StreamSource
from univs_hf.data.row_builder import build_row, write_parquet
from univs_hf.data.row_shards import ParquetShards
from univs_hf.data.row_stream import RowStream
from univs_hf.data.sampler import ClipBatchSampler, ClipIndex
from univs_hf.data.schema import Entity, Row

HEIGHT, WIDTH, NUM_FRAMES, NUM_ROWS = 720, 1280, 36, 3
JPEG_QUALITY = 85
GOAL_ON_DEVICE, GOAL_ON_CPU = 15.0, 4.0
# Published step rate of stage 2 with ResNet-50: 708k steps in 7.5 days, one clip a step and GPU.
PAPER_CLIPS_PER_SECOND = 1.1
Figures = dict[str, float]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20, help="clips per measurement")
    parser.add_argument("--frames", type=int, default=5, help="frames of a clip")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--side", type=int, default=1024, help="side of the square output")
    parser.add_argument("--workers", type=int, default=2, help="data workers of the last measurement")
    parser.add_argument("--json", type=Path, default=None, help="file for all numbers")
    return parser.parse_args(arguments)


def make_row(number: int, objects: int, overlap: bool) -> dict[str, Any]:
    """A video of noise that moves, as hard to compress as a photograph, and objects with ragged borders."""
    rng = np.random.default_rng(number)
    picture = np.stack([gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), 3) for _ in range(3)], -1)
    picture = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
    ragged = gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), 1.5)
    ragged *= 10 / ragged.std()
    y, x = np.mgrid[:HEIGHT, :WIDTH] + ragged
    center, radius = rng.uniform((0, 0), (WIDTH, HEIGHT), (objects, 2)), rng.uniform(60, 200, objects)
    # How far inside each object a pixel is; where objects are to be apart, the one it is farthest inside has it.
    depth = radius[:, None, None] - np.hypot(x - center[:, 0, None, None], y - center[:, 1, None, None])
    masks = depth > 0
    if not overlap:
        masks &= depth.argmax(0) == np.arange(objects)[:, None, None]
    shifts = [6 * frame for frame in range(NUM_FRAMES)]
    return build_row(
        key=f"bench/train/{number}#0",
        dataset="bench",
        frames=[np.roll(picture, shift, 1) for shift in shifts],
        quality=JPEG_QUALITY,
        tasks=["sot"],
        entities=[Entity(n) for n in range(objects)],
        masks=np.stack([np.roll(masks, shift, 2) for shift in shifts], 1),
    )


def timed(function: Callable[[int], Any], count: int) -> Figures:
    """Mean time of `function(0)`, `function(1)`, ... after one call to warm up."""
    function(0)
    cpu, wall = time.process_time(), time.perf_counter()
    for index in range(count):
        function(index)
    return {
        "cpu_ms": 1e3 * (time.process_time() - cpu) / count,
        "wall_ms": 1e3 * (time.perf_counter() - wall) / count,
    }


def clip_one_by_one(row: Row, seed: int, config: ClipConfig) -> list[np.ndarray]:
    """The baseline: the same maps, applied by PIL to each frame and to each mask of each frame."""
    frames = sorted(generator(Purpose.FRAMES, seed).integers(NUM_FRAMES, size=config.sampling.num_frames).tolist())
    geometry = sample_geometry(generator(Purpose.GEOMETRY, seed), (HEIGHT, WIDTH), len(frames), config.augmentation)
    size, made = geometry.size[::-1], []
    for frame, matrix in zip(frames, geometry.matrices, strict=True):
        coefficients = matrix.ravel().tolist()
        picture = PIL.Image.open(io.BytesIO(row.frame_bytes(frame))).convert("RGB")
        warped = picture.transform(size, PIL.Image.Transform.AFFINE, coefficients, PIL.Image.Resampling.BILINEAR)
        made.append(np.asarray(warped))
        masks = row.masks_of_frames([frame])
        for first, end in zip(masks.offsets[:-1], masks.offsets[1:], strict=True):
            mask = coco.decode({"size": [HEIGHT, WIDTH], "counts": masks.data[first:end].tobytes()})
            mask = PIL.Image.fromarray(np.ascontiguousarray(mask))
            made.append(np.asarray(mask.transform(size, PIL.Image.Transform.AFFINE, coefficients)))
    return made


def measure(
    options: argparse.Namespace, sources: dict[str, datasets.Dataset], shards: ParquetShards
) -> dict[str, Figures]:
    full = Augmentation(square_size=options.side, scale_range=(1.0, 2.0))
    paper = replace(full, scale_range=(0.25, 4.0))
    sampling = FrameSampling(options.frames, 17)

    def clips(name: str, augmentation: Augmentation, on_device: bool) -> ClipDataset:
        config = ClipConfig("sot", sampling, augmentation)
        return ClipDataset([ClipSource(name, sources[name], config)], geometry_on_device=on_device)

    whole = clips("apart", full, False)
    row, frames = whole.row(0, 0), list(range(0, 7 * options.frames, 7))[: options.frames]
    entities = np.arange(options.objects)
    streamed = RowStream("apart", shards, 0, 0, 1)
    figures = {
        "row: access to frames and masks": timed(
            lambda index: (
                [(view := whole.row(0, index % NUM_ROWS)).frame_bytes(frame) for frame in frames],
                view.masks_of_frames(frames),
            ),
            5 * options.clips,
        ),
        "row: streamed, with its row group": timed(lambda _: streamed.take(), 5 * options.clips),
        "frames: JPEG decoding": timed(lambda _: decode_frames(row, frames), options.clips),
        "frames: JPEG decoding, reduced by 2": timed(lambda _: decode_frames(row, frames, 2), options.clips),
        "label maps: objects apart": timed(lambda _: paint_label_maps(row, frames, entities), options.clips),
    }
    overlapping = clips("overlapping", full, False).row(0, 0)
    figures["label maps: objects overlap"] = timed(
        lambda _: paint_label_maps(overlapping, frames, entities), options.clips
    )
    source = clips("apart", full, True)[ClipIndex(0, 0, 0)]
    figures["geometry: all frames, with areas"] = timed(lambda _: source.warp(), options.clips)
    clip = source.warp()
    figures["masks: expansion of label maps"] = timed(lambda _: clip.masks(), options.clips)
    for scale, augmentation in (("full detail", full), ("paper", paper)):
        for place, on_device in (("device", True), ("CPU", False)):
            for name in ("apart", "overlapping"):
                dataset = clips(name, augmentation, on_device)
                figures[f"clip: geometry on the {place}, {scale}, {name}"] = timed(
                    lambda index, dataset=dataset: dataset[ClipIndex(0, index % NUM_ROWS, index)], options.clips
                )
    figures["clip: baseline, one by one, full detail, apart"] = timed(
        lambda index: clip_one_by_one(whole.row(0, index % NUM_ROWS), index, whole.sources[0].config),
        max(options.clips // 4, 1),
    )
    return figures


def measure_loader(options: argparse.Namespace, rows: datasets.Dataset | ParquetShards) -> Figures:
    """Clips of a loader with workers, per second by the wall clock and per CPU second of the workers."""
    config = ClipConfig("sot", FrameSampling(options.frames, 17), Augmentation(square_size=options.side))
    warm_up = 2 * options.workers
    steps = options.clips + warm_up
    if isinstance(rows, ParquetShards):
        stream = ClipStream([StreamSource("apart", rows, config)], 1, options.workers, num_steps=steps)
        loader = DataLoader(stream, batch_size=None, num_workers=options.workers, collate_fn=list_of_clips)
    else:
        dataset = ClipDataset([ClipSource("apart", rows, config)])
        sampler = ClipBatchSampler(dataset.shares, 1, num_steps=steps)
        loader = DataLoader(dataset, batch_sampler=sampler, num_workers=options.workers, collate_fn=list_of_clips)
    start, before = 0.0, _cpu_of_children()
    for step, _ in enumerate(loader):
        if step == warm_up - 1:
            start = time.perf_counter()
    per_second = options.clips / (time.perf_counter() - start)
    # The workers have ended with the loop, so they are counted.
    return {"per_second": per_second, "per_cpu_second": steps / (_cpu_of_children() - before)}


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for name in ("apart", "overlapping"):
            path = Path(folder) / f"{name}.parquet"
            write_parquet((make_row(n, options.objects, name == "overlapping") for n in range(NUM_ROWS)), path)
            sources[name] = datasets.Dataset.from_parquet(str(path), cache_dir=folder)
        row = Row(sources["apart"].with_format("arrow")[0])
        print(
            f"clips of {options.frames} frames, {HEIGHT}x{WIDTH} -> {options.side}x{options.side}, "
            f"{row.frame_bytes(0).size / 1e3:.0f} KB a frame, {options.objects} objects of "
            f"{len(row.masks_of_frames([0]).data) / options.objects / 1e3:.1f} KB a mask, one thread\n"
        )
        shards = ParquetShards([str(Path(folder) / "apart.parquet")])
        figures = measure(options, sources, shards)
        rates = {
            "memory-mapped": measure_loader(options, sources["apart"]),
            "streamed": measure_loader(options, shards),
        }
    width = max(map(len, figures))
    print(f"{'':{width}s}  {'CPU ms':>8s}  {'wall ms':>8s}  {'per CPU second':>14s}")
    for name, values in figures.items():
        print(f"{name:{width}s}  {values['cpu_ms']:8.2f}  {values['wall_ms']:8.2f}  {1e3 / values['cpu_ms']:14.1f}")

    def slowest(place: str) -> float:
        return 1e3 / max(values["cpu_ms"] for name, values in figures.items() if f"on the {place}" in name)

    print(
        f"\nclips per core and second, geometry on the device, slowest case   {slowest('device'):6.1f}"
        f"  (goal {GOAL_ON_DEVICE:.0f})"
    )
    print(
        f"clips per core and second, all on the CPU, slowest case           {slowest('CPU'):6.1f}"
        f"  (goal {GOAL_ON_CPU:.0f})"
    )
    for name, rate in rates.items():
        print(
            f"loader of {name + ' rows,':19s} {options.workers} workers: {rate['per_cpu_second']:.1f} clips per CPU "
            f"second of a worker, {rate['per_second']:.1f} per second  (the paper's rate: {PAPER_CLIPS_PER_SECOND})"
        )
    if options.json is not None:
        temporary = options.json.with_suffix(".tmp")
        temporary.write_text(json.dumps({"figures": figures, "loader": rates}, indent=2) + "\n")
        temporary.replace(options.json)


if __name__ == "__main__":
    main()
