# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The demo: a generated clip through the command line, once for semantic and once for object segmentation.

    python demo/run_demo.py [--out demo/out]

The model is a small UniVS whose weights come from a fixed seed: it has learned nothing, so the colours in the videos
mean nothing yet. What the demo shows is that a video goes in and that videos and results of its length, size and rate
come out.
"""

import argparse
import shutil
import time
from pathlib import Path

import torch
from make_demo_clip import make_clip
from transformers import CLIPTextConfig, ResNetConfig, set_seed
from transformers.convert_slow_tokenizer import bytes_to_unicode

from univs_hf import UniVSConfig, UniVSForVideoSegmentation, UniVSImageProcessor, UniVSProcessor
from univs_hf.cli import main as univs
from univs_hf.convert_tokenizer import END_TOKEN, MAX_LENGTH, START_TOKEN, make_clip_tokenizer

SEED = 0
CATEGORIES = "disc, square, triangle, ground"
TEMPLATES = ("{}.", "a video of a {}.", "a picture of the {}.")


def build_model(folder: Path) -> None:
    """Saves a small UniVS with weights of a fixed seed, and its processor, with `save_pretrained`."""
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), START_TOKEN, END_TOKEN]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    config = UniVSConfig(
        backbone_config=ResNetConfig(
            embedding_size=16,
            hidden_sizes=[32, 64, 96, 128],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        text_config=CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=64,
            intermediate_size=128,
            projection_dim=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=MAX_LENGTH,
            pad_token_id=0,
            bos_token_id=vocabulary[START_TOKEN],
            eos_token_id=vocabulary[END_TOKEN],
        ),
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_layers=2,
        encoder_feedforward_dim=128,
        decoder_layers=3,
        dim_feedforward=128,
        num_norm_groups=8,
        num_queries=20,
        num_text_templates=len(TEMPLATES),
    )
    set_seed(SEED)
    model = UniVSForVideoSegmentation(config)
    with torch.no_grad():
        # The initialisation for training begins near zero, which would paint every frame in one colour. Weights that
        # keep the size of what passes through them give masks with shapes.
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
    model.save_pretrained(folder)
    image_processor = UniVSImageProcessor(size={"shortest_edge": 192, "longest_edge": 512})
    tokenizer = make_clip_tokenizer(vocabulary, merges=[])
    UniVSProcessor(image_processor, tokenizer, text_templates=TEMPLATES).save_pretrained(folder)


def main() -> int:
    """Runs the demo; the exit status is that of the first command that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder of the results")
    out = parser.parse_args().out
    started = time.monotonic()
    # The model is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "model", ignore_errors=True)
    video, mask = make_clip(out)
    build_model(out / "model")
    common = ["segment", str(video), "--model", str(out / "model"), "--overwrite"]
    for task, options in (("vss", ["--categories", CATEGORIES]), ("vos", ["--mask", str(mask)])):
        print(f"univs segment {video.name} --task {task} {options[0]} ...", flush=True)
        status = univs([*common, "--task", task, *options, "--out", str(out / f"shapes-{task}.mp4")])
        if status:
            return status
    print(f"Done in {time.monotonic() - started:.0f} s. The model has not been trained: the colours mean nothing yet.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
