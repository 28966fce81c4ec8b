# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Times all tasks on a video, beside the original's schedule on the same modules, in one run.

    python benchmarks/video.py [--tasks vos vis ... --objects 1 3 15 --frames 6 --json FILE]

For each task and number of objects: frames per second, the shares of encoding, decoding and everything else, the
resident memory, and the share of the machine's matrix-multiply peak (measured in the same run) that the least
floating-point work per frame makes up. Beside it the time of the original's schedule with our modules: backbone and
pixel decoder for every frame of every clip, the deformable attention by `grid_sample` as the original has it without
its CUDA kernel, masks at stride 4 and classes over the whole vocabulary at all ten heads, learnable queries always,
all masks at full size for the prompted tasks, and the votes of all masks at full size for VSS. What else the original
does with a clip's masks is not counted. Weights are random, so objects of VIS and VPS are whatever is found, bounded
by their number.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from model import count_flops, matrix_peak, parse_common, run_and_write, synchronize
from torch.nn import functional as F

from univs_hf import UniVSConfig, UniVSForVideoSegmentation
from univs_hf.clip_engine_univs import ClipEngine, Expressions, FrameGeometry
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.modeling_univs import MultiScaleDeformableAttention

VOCABULARY = 3938  # categories of the published table
NUM_CATEGORIES = {"vis": 40, "vps": 124, "vss": 124, "pvos": 124}
PROMPTED = ("vos", "pvos", "refvos")
TASKS = ("vis", "vps", "vss", "vos", "pvos", "refvos")
Row = dict[str, Any]


class Stopwatch:
    """Adds up the time spent in a method of an object."""

    def __init__(self, owner: Any, name: str, device: torch.device):
        self.owner, self.name, self.device = owner, name, device
        self.seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        method = getattr(self.owner, self.name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronize(self.device)
            start = time.perf_counter()
            result = method(*args, **kwargs)
            synchronize(self.device)
            self.seconds += time.perf_counter() - start
            return result

        setattr(self.owner, self.name, timed)
        return self

    def __exit__(self, *exc_info: object) -> None:
        delattr(self.owner, self.name)


def resident_mib() -> float:
    """Resident memory of this process; 0 where the system does not tell."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if path.exists() else 0.0


def make_frames(count: int, geometry: FrameGeometry, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Normalised frames (count, 3, Hp, Wp) of a smooth pattern that moves."""
    height, width = geometry.padded_size
    y, x = torch.meshgrid(torch.linspace(0, 12, height), torch.linspace(0, 20, width), indexing="ij")
    frames = [torch.stack([(x + 0.1 * t).sin(), (y - 0.1 * t).cos(), (x * y / 8 + t / 5).sin()]) for t in range(count)]
    return torch.stack(frames).to(device, dtype)


def object_masks(count: int, geometry: FrameGeometry) -> dict[int, torch.Tensor]:
    """Squares at different places."""
    height, width = geometry.resized_size
    side = height // 5
    masks = {}
    for index in range(count):
        mask = torch.zeros(geometry.padded_size)
        top, left = (index * 67) % (height - side), (index * 149) % (width - side)
        mask[top : top + side, left : left + side] = 1
        masks[index + 1] = mask
    return masks


def make_engine(
    model: UniVSForVideoSegmentation, task: str, num_objects: int, geometry: FrameGeometry, clip: int
) -> ClipEngine:
    """An engine of a task with as many objects."""
    settings: dict[str, Any] = {"num_frames": clip}
    width = model.config.text_config.projection_dim
    inputs: dict[str, Any] = {}
    if task in NUM_CATEGORIES:
        inputs["category_embeddings"] = model.category_embeddings[: NUM_CATEGORIES[task]]
        inputs["thing_flags"] = [index % 2 == 1 for index in range(NUM_CATEGORIES[task])]
    if task in ("vis", "vps"):
        settings["max_objects"] = num_objects
        # Random weights find little at the published thresholds.
        settings |= {"class_score_threshold": 0.0, "first_clip_score_threshold": 0.0, "quality_high_logit": -1.0}
    if task == "refvos":
        generator = torch.Generator().manual_seed(0)
        words, sentences = (
            torch.randn(*shape, generator=generator).to(model.device, model.dtype)
            for shape in ((num_objects, 77, width), (num_objects, width))
        )
        ids = list(range(1, num_objects + 1))
        inputs["expressions"] = Expressions(words, sentences, ids, [str(index) for index in ids])
    config = model.config.for_task(task, **settings)
    engine = ClipEngine(config, task, geometry, UniVSImageProcessor(), device=model.device, **inputs)
    if task in ("vos", "pvos"):
        engine.annotate(0, object_masks(num_objects, geometry))
    if task == "pvos":
        # Every other object is stuff, which is what makes the learnable queries necessary.
        engine.task.set_object_categories({object_id: object_id - 1 for object_id in range(1, num_objects + 1)})
    return engine


def time_ours(
    model: UniVSForVideoSegmentation, task: str, num_objects: int, geometry: FrameGeometry, options: argparse.Namespace
) -> Row:
    """Seconds per frame once the first two clips have passed."""
    device = model.device
    engine = make_engine(model, task, num_objects, geometry, options.clip)
    warm = 2 * options.clip if task == "vss" else options.clip + 1
    timed = math.ceil(options.frames / engine.task.clip_stride) * engine.task.clip_stride
    frames = make_frames(warm + timed, geometry, device, model.dtype)
    for frame in frames[:warm]:
        engine.step(model, frame)
    synchronize(device)
    with Stopwatch(model, "encode_frames", device) as encode, Stopwatch(model, "decode_clip", device) as decode:
        start = time.perf_counter()
        for frame in frames[warm:]:
            engine.step(model, frame)
        synchronize(device)
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds / timed,
        "encode_share": encode.seconds / seconds,
        "decode_share": decode.seconds / seconds,
        "objects": num_objects,
        "resident_mib": resident_mib(),
    }


def clip_prompts(model: UniVSForVideoSegmentation, task: str, num_objects: int, features: Any, geometry: Any) -> Any:
    """Prompts of a clip of the task."""
    if task == "vss":
        # The original decodes all class names as prompts, although they cannot change the result.
        return model.encode_categories(features, model.category_embeddings[None, : NUM_CATEGORIES[task]])
    if task == "refvos":
        width = model.config.text_config.projection_dim
        return model.encode_expressions(
            features,
            word_features=torch.randn(1, num_objects, 77, width, device=model.device, dtype=model.dtype),
            sentence_features=torch.randn(1, num_objects, width, device=model.device, dtype=model.dtype),
        )
    masks = torch.stack(list(object_masks(num_objects, geometry).values()))[None].to(model.device)
    config = model.config.for_task(task)
    tokens = model.encode_visual_prompts(features, prompt_masks=masks, num_prompt_pixels=config.num_prompt_pixels)
    return model.compose_first_clip_prompts(tokens, features.num_frames)


def original_schedule(
    model: UniVSForVideoSegmentation, task: str, num_objects: int, frames: torch.Tensor, geometry: FrameGeometry
) -> None:
    """One clip as the original computes it."""
    with mock.patch.object(MultiScaleDeformableAttention, "forward", sample_by_grid):
        features = model.encode_frames(frames[None])
    prompts = clip_prompts(model, task, num_objects, features, geometry)
    output = model.decode_clip(features, prompts=prompts, output_auxiliary_logits=True)
    masks = output.masks_queries_logits[0].float()
    if task in PROMPTED:
        F.interpolate(masks, size=geometry.padded_size, mode="bilinear")
    if task == "vss":
        masks = F.interpolate(masks[: model.config.num_queries], size=geometry.padded_size, mode="bilinear")
        scores = output.class_queries_logits[0, : len(masks), : NUM_CATEGORIES[task]].float().sigmoid()
        quality = (masks > 1).flatten(1).sum(1) / (masks > -1).flatten(1).sum(1).clamp(min=1)
        for frame in masks.transpose(0, 1):
            torch.einsum("qc,qhw->chw", scores * quality[:, None], frame.sigmoid()).argmax(0)


def sample_by_grid(
    module: MultiScaleDeformableAttention,
    value: torch.Tensor,
    value_spatial_shapes: torch.Tensor,
    value_spatial_shapes_list: list[tuple[int, int]],
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    im2col_step: int,
) -> torch.Tensor:
    """The deformable attention on any device as on those without a faster form."""
    return module.sample_grid(value, value_spatial_shapes_list, sampling_locations, attention_weights)


def least_flops(
    model: UniVSForVideoSegmentation, task: str, num_objects: int, frames: torch.Tensor, geometry: FrameGeometry
) -> float:
    """Floating-point operations per frame that the result needs: a frame once, a clip with only what is read."""
    cached = task != "vss"
    stride = len(frames) if task == "vss" else 1
    encode = count_flops(lambda: model.encode_frames(frames[None, :1], cache_attention=cached))
    features = model.encode_frames(frames[None], cache_attention=cached)
    learnable = task not in ("vos",)
    categories = model.category_embeddings[: NUM_CATEGORIES.get(task, 1)]

    def decode() -> None:
        prompts = None if task == "vss" else clip_prompts(model, task, num_objects, features, geometry)
        model.decode_clip(features, prompts=prompts, category_embeddings=categories, use_learnable_queries=learnable)

    # The fused attention of the CPU is not in PyTorch's operation counter; the written-out one has the same products.
    model.set_attn_implementation("eager")
    flops = count_flops(decode)
    model.set_attn_implementation("sdpa")
    return encode + flops / stride


def best_of(function: Callable[[], None], device: torch.device, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements; returns what `--json` writes."""
    torch.manual_seed(0)
    device = torch.device(options.device)
    size = (options.height, options.width)
    geometry = FrameGeometry(size, size, tuple(math.ceil(side / 32) * 32 for side in size))
    config = UniVSConfig.from_preset("resnet50", num_category_embeddings=VOCABULARY)
    model = UniVSForVideoSegmentation(config).eval()
    model.category_embeddings.normal_()
    for module in (model.model.pixel_decoder, model.model.prompt_encoder, model.model.decoder):
        for linear in module.modules():
            if isinstance(linear, torch.nn.Linear):
                # Fresh weights give masks that are empty everywhere; these give some of all sizes.
                torch.nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
    model.to(device, options.dtype)
    frames = make_frames(options.clip, geometry, device, options.dtype)
    rows: list[Row] = []
    for task in options.tasks:
        for num_objects in options.objects if task != "vss" else [0]:
            peak = matrix_peak(device, options.dtype)
            row = time_ours(model, task, num_objects, geometry, options)

            def clip(task: str = task, num_objects: int = num_objects) -> None:
                original_schedule(model, task, num_objects, frames, geometry)

            original = best_of(clip, device, options.repeats) / (options.clip if task == "vss" else 1)
            peak = max(peak, matrix_peak(device, options.dtype))
            flops = least_flops(model, task, num_objects, frames, geometry)
            row |= {
                "task": task,
                "fps": 1 / row["seconds"],
                "other_share": 1 - row["encode_share"] - row["decode_share"],
                "gflop": flops / 1e9,
                "peak_gflop_per_s": peak / 1e9,
                "original_seconds": original,
                "ratio": original / row["seconds"],
            }
            rows.append(row)
            print_rows(rows[-1:], header=len(rows) == 1)
    peak = max(row["peak_gflop_per_s"] for row in rows)
    for row in rows:
        row["share_of_peak"] = row["gflop"] / row["seconds"] / peak
    print(f"\nmatrix-multiply peak {peak:.0f} GFLOP/s; share of it that the least work per frame makes up:")
    print(", ".join(f"{row['task']} {row['objects']}: {row['share_of_peak']:.0%}" for row in rows))
    return {
        "settings": {
            "torch": torch.__version__,
            "device": str(device),
            "dtype": str(options.dtype),
            "threads": torch.get_num_threads(),
            "frame": size,
            "clip": options.clip,
        },
        "rows": rows,
    }


def print_rows(rows: list[Row], header: bool) -> None:
    if header:
        print(
            f"{'task':7} {'objects':>7} {'s/frame':>8} {'frames/s':>8} {'encode':>7} {'decode':>7} {'other':>7} "
            f"{'GFLOP':>7} {'MiB':>6} {'original':>9} {'ratio':>6}"
        )
    for row in rows:
        print(
            f"{row['task']:7} {row['objects']:7} {row['seconds']:8.3f} {row['fps']:8.2f} {row['encode_share']:7.0%} "
            f"{row['decode_share']:7.0%} {row['other_share']:7.0%} {row['gflop']:7.0f} {row['resident_mib']:6.0f} "
            f"{row['original_seconds']:8.2f}s {row['ratio']:6.1f}",
            flush=True,
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--objects", nargs="+", type=int, default=[1, 3, 15])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--clip", type=int, default=5, help="frames of a clip")
    parser.add_argument("--frames", type=int, default=4, help="frames to time, after the first clips")
    parser.add_argument("--repeats", type=int, default=1, help="clips of the original's schedule to time")
    return parse_common(parser, arguments)


if __name__ == "__main__":
    run_and_write(run, parse(None))
