# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Times the two halves of the model beside transformers' Mask2Former encoder, in one run.

    python benchmarks/model.py [--height 480 --width 854 --frames 5 --repeats 5 --threads N --device cpu --json FILE]

Prints, for UniVS with a ResNet-50 and random weights: milliseconds, floating-point operations and the share of the
machine's matrix-multiply peak (measured before every timing, the best counts) of `encode_frames` and of `decode_clip`
with 0, 3 and 15 visual prompts; the same for the encoder of transformers' Mask2Former with the same weights; and the
two ways of deformable sampling.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Mask2FormerConfig, Mask2FormerModel

from univs_hf import UniVSConfig, UniVSForVideoSegmentation
from univs_hf.modeling_univs import MultiScaleDeformableAttention, UniVSPrompts

Row = dict[str, Any]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def best_time(function: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Least seconds of `repeats` runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def matrix_peak(device: torch.device, dtype: torch.dtype, size: int = 2048, repeats: int = 5) -> float:
    """Floating-point operations per second of a square matrix product."""
    first, second = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / best_time(lambda: first @ second, device, repeats)


def count_flops(function: Callable[[], Any]) -> int:
    """Floating-point operations of convolutions and matrix products, two per multiply-add."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def mask2former_with_weights_of(model: UniVSForVideoSegmentation) -> Mask2FormerModel:
    """transformers' Mask2Former whose encoder has the same weights."""
    config = Mask2FormerConfig(backbone_config=model.config.backbone_config, decoder_layers=2, num_queries=1)
    other = Mask2FormerModel(config).eval()
    level = other.pixel_level_module
    level.encoder.load_state_dict(model.model.backbone.state_dict(), strict=False)
    missing = level.decoder.load_state_dict(model.model.pixel_decoder.state_dict(), strict=True)
    if any(missing):
        raise RuntimeError(f"the two pixel decoders differ in their weights: {missing}")
    return other


def make_prompts(model: UniVSForVideoSegmentation, features: Any, count: int) -> UniVSPrompts | None:
    """Masks of `count` squares of different places on the first frame."""
    if not count:
        return None
    height, width = features.frame_size
    masks = torch.zeros(1, count, height, width, device=features.mask_features.device)
    side = height // 4
    for index in range(count):
        top = (index * 37) % (height - side)
        left = (index * 101) % (width - side)
        masks[0, index, top : top + side, left : left + side] = 1
    return model.model.encode_prompts(features, prompt_masks=masks)


def measure(name: str, function: Callable[[], Any], flops: int, frames: int, options: argparse.Namespace) -> Row:
    """One row, with the peak measured right before it."""
    device = torch.device(options.device)
    peak = matrix_peak(device, options.dtype)
    seconds = best_time(function, device, options.repeats)
    return {
        "name": name,
        "ms": 1e3 * seconds,
        "ms_per_frame": 1e3 * seconds / frames,
        "gflop": flops / 1e9,
        "gflop_per_s": flops / seconds / 1e9,
        "peak_gflop_per_s": peak / 1e9,
    }


def print_rows(rows: list[Row]) -> None:
    print(f"{'':46} {'ms':>9} {'ms/frame':>9} {'GFLOP':>8} {'GFLOP/s':>8} {'of peak':>8}")
    for row in rows:
        share = f"{row['share_of_peak']:8.0%}" if row["gflop"] else f"{'':8}"
        print(
            f"{row['name']:46} {row['ms']:9.1f} {row['ms_per_frame']:9.1f} {row['gflop']:8.1f} "
            f"{row['gflop_per_s']:8.1f} {share}"
        )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements; returns what `--json` writes."""
    torch.manual_seed(0)
    device = torch.device(options.device)
    size = [math.ceil(side / 32) * 32 for side in (options.height, options.width)]
    model = UniVSForVideoSegmentation(UniVSConfig.from_preset("resnet50")).eval()
    other = mask2former_with_weights_of(model)
    model.to(device, options.dtype)
    other.to(device, options.dtype)
    video = torch.randn(1, 1, 3, *size, device=device, dtype=options.dtype)
    classes = torch.randn(40, model.config.text_config.projection_dim, device=device, dtype=options.dtype)
    frame = video[:, 0]
    frames = options.frames
    rows: list[Row] = []

    def add(name: str, function: Callable[[], Any], num_frames: int = 1, flops: int | None = None) -> Row:
        counted = count_flops(function) if flops is None else flops
        rows.append(measure(name, function, counted, num_frames, options))
        return rows[-1]

    maps = model.model.backbone(frame).feature_maps
    level = other.pixel_level_module
    backbone = add("backbone", lambda: model.model.backbone(frame))
    decoder = add("pixel decoder", lambda: model.model.pixel_decoder(maps))
    encode = add("encode_frames", lambda: model.encode_frames(video))
    their_backbone = add("Mask2Former backbone", lambda: level.encoder(frame).feature_maps)
    their_decoder = add("Mask2Former pixel decoder", lambda: level.decoder(maps, output_hidden_states=False))
    their_encode = add("Mask2Former encoder (pixel_level_module)", lambda: level(frame))

    ours, theirs = model.model.pixel_decoder(maps), level.decoder(maps, output_hidden_states=False)
    difference = (ours[0] - theirs.mask_features).abs().max().item()
    scale = theirs.mask_features.abs().max().item()

    features = model.encode_frames(video.expand(-1, frames, -1, -1, -1))
    # The fused attention of the CPU is not in PyTorch's operation counter; the written-out one has the same products.
    for count in (0, 3, 15):
        prompts = make_prompts(model, features, count)
        variants = [("", True)] if not count else [("", True), (", prompts only", False)]
        for label, learnable in variants:

            def decode(prompts: UniVSPrompts | None = prompts, learnable: bool = learnable) -> Any:
                return model.decode_clip(
                    features, prompts=prompts, category_embeddings=classes, use_learnable_queries=learnable
                )

            model.set_attn_implementation("eager")
            flops = count_flops(decode)
            model.set_attn_implementation("sdpa")
            add(f"decode_clip, {count} prompts{label}", decode, frames, flops)
        if count:
            add(f"encode prompts, {count}", lambda count=count: make_prompts(model, features, count), frames, 0)

    attention = model.model.pixel_decoder.encoder.layers[0].self_attn
    shapes = [(map_.shape[-2], map_.shape[-1]) for map_ in maps[:0:-1]]
    pixels = sum(height * width for height, width in shapes)
    heads, points = attention.num_heads, attention.num_points
    value = torch.randn(1, pixels, heads, model.config.feature_size // heads, device=device)
    locations = torch.rand(1, pixels, heads, len(shapes), points, 2, device=device)
    weights = torch.rand(1, pixels, heads, len(shapes), points, device=device).flatten(3).softmax(-1)
    weights = weights.unflatten(-1, (len(shapes), points))
    sampling = {}
    for name in ("sample_rows", "sample_grid"):
        function = getattr(MultiScaleDeformableAttention, name)
        sampling[name] = add(
            f"deformable sampling, one layer, {name}",
            lambda function=function: function(value, shapes, locations, weights),
            1,
            0,
        )

    # The best of all measurements of the peak: a share of it is never too large because a neighbour was busy.
    peak = max(row["peak_gflop_per_s"] for row in rows)
    for row in rows:
        row["share_of_peak"] = row["gflop_per_s"] / peak
    print_rows(rows)
    ratios = {
        "encode_frames, share of peak (goal 0.5)": encode["share_of_peak"],
        "Mask2Former encoder / encode_frames": their_encode["ms"] / encode["ms"],
        "Mask2Former pixel decoder / ours (goal 2)": their_decoder["ms"] / decoder["ms"],
        "Mask2Former backbone / ours": their_backbone["ms"] / backbone["ms"],
        "sample_grid / sample_rows": sampling["sample_grid"]["ms"] / sampling["sample_rows"]["ms"],
        "pixel decoders, worst difference": difference,
        "pixel decoders, worst difference / largest value": difference / scale,
    }
    print(f"\nmatrix-multiply peak: {peak:.0f} GFLOP/s")
    for name, ratio in ratios.items():
        print(f"{name:52} {ratio:.3g}")
    return {
        "settings": {
            "torch": torch.__version__,
            "device": str(device),
            "dtype": str(options.dtype),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "frame": size,
            "frames": frames,
        },
        "rows": rows,
        "ratios": ratios,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--frames", type=int, default=5, help="frames of a clip")
    parser.add_argument("--repeats", type=int, default=5)
    return parse_common(parser, arguments)


def parse_common(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Adds the options that every benchmark of a model has, and parses."""
    parser.add_argument("--threads", type=int, default=None, help="threads of PyTorch (default: its own choice)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--json", type=Path, default=None, help="file for all numbers")
    options = parser.parse_args(arguments)
    options.dtype = getattr(torch, options.dtype)
    return options


def run_and_write(run: Callable[[argparse.Namespace], dict[str, Any]], options: argparse.Namespace) -> None:
    """Runs a benchmark with the threads asked for, and writes its numbers if a file is named."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with torch.inference_mode():
        result = run(options)
    if options.json is not None:
        temporary = options.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(result, indent=2) + "\n")
        temporary.replace(options.json)


if __name__ == "__main__":
    run_and_write(run, parse(None))
