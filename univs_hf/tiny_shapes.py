# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The architecture of `univs-tiny-shapes`: a UniVS of a few million parameters for generated video, and its processor.

    python -m univs_hf.tiny_shapes OUT

writes it with random weights, which is what `training/configs/tiny_shapes_stage1.yaml` begins with. Everything is the
code of the large models; only sizes differ, and text is split into the words of the generator rather than by CLIP's
vocabulary. The trained model never saw anything but moving shapes.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from transformers import CLIPTextConfig, PreTrainedTokenizerFast, ResNetConfig, set_seed

from .configuration_univs import UniVSConfig
from .image_processing_univs import UniVSImageProcessor
from .label_sets import load_label_set
from .modeling_univs import UniVSForVideoSegmentation
from .processing_univs import UniVSProcessor

PAD_TOKEN, UNKNOWN_TOKEN, START_TOKEN, END_TOKEN = "<pad>", "<unknown>", "<start>", "<end>"
TEXT_TEMPLATES = ("{}", "a video of {}")
MAX_TEXT_LENGTH = 32
FRAME_SIZE = 160
"""Pixels of the shorter side of what the model is given."""
TASK_SETTINGS: dict[str, dict[str, Any]] = {
    "vis": {"num_prompt_pixels": 16, "stability_score_threshold": 0.0},
    "vps": {"num_prompt_pixels": 16},
    "vos": {"num_prompt_pixels": 8},
    "pvos": {"num_prompt_pixels": 8},
}
"""Chosen on validation videos in place of published settings that are made for frames of 640 pixels: few pixels are
enough for a thing that has hardly more, and small masks are never as sharp as the published threshold asks."""

# What expressions are made of beside the categories (data/shapes_expressions.py, data/shapes_things.py).
_WORDS = (
    "a the video of shape picture in front behind left right above below moving up down standing still entering "
    "leaving large small largest smallest plain striped dotted checkered red orange yellow green blue purple pink "
    "brown white gray black"
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer with a token for each word of the generator.

    A word it does not know is spelled by letters, so that two unknown words differ; what is no letter is one unknown
    token. `AutoTokenizer` loads it without code of this package.
    """
    categories = [category.text for category in load_label_set("moving_shapes").categories]
    words = sorted({*_WORDS.split(), *" ".join(categories).split()} - set(_LETTERS))
    tokens = [PAD_TOKEN, UNKNOWN_TOKEN, *words, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    # CLIP's text model looks for the end token itself only where its id is not 2.
    vocabulary = {token: index for index, token in enumerate([*tokens, START_TOKEN, END_TOKEN])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN_TOKEN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START_TOKEN,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        unk_token=UNKNOWN_TOKEN,
        model_max_length=MAX_TEXT_LENGTH,
        padding_side="right",
        truncation_side="right",
    )


def build_config(tokenizer: PreTrainedTokenizerFast | None = None, **overrides: Any) -> UniVSConfig:
    """Configuration of the model.

    Args:
        tokenizer: That of [`build_tokenizer`], for the size of its vocabulary.
        **overrides: Fields of [`UniVSConfig`].
    """
    tokenizer = build_tokenizer() if tokenizer is None else tokenizer
    fields: dict[str, Any] = {
        "backbone_config": ResNetConfig(
            embedding_size=32,
            hidden_sizes=[48, 96, 160, 224],
            depths=[2, 2, 2, 1],
            layer_type="basic",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        "text_config": CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            projection_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TEXT_LENGTH,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        "feature_size": 128,
        "mask_feature_size": 128,
        "hidden_dim": 128,
        "encoder_layers": 2,
        "encoder_feedforward_dim": 256,
        "decoder_layers": 3,
        "dim_feedforward": 512,
        "num_attention_heads": 8,
        "num_norm_groups": 16,
        "num_queries": 30,
        "num_prompt_pixels": 16,
        "num_text_templates": len(TEXT_TEMPLATES),
        # The published 0.02 is too small for weights of half the width to pass anything on at first.
        "init_std": 0.06,
        # Nothing here was trained on pictures before: norms and words learn with the rest.
        "freeze_backbone_batch_norm": False,
        "freeze_text_encoder": False,
        "shortest_edge": FRAME_SIZE,
        "longest_edge": 4 * FRAME_SIZE,
        "num_frames": 3,
        "num_frames_window": 3,
        "task_settings": copy.deepcopy(TASK_SETTINGS),
    }
    return UniVSConfig(**{**fields, **overrides})


def build_processor(tokenizer: PreTrainedTokenizerFast | None = None) -> UniVSProcessor:
    """The processor of the model."""
    image_processor = UniVSImageProcessor(size={"shortest_edge": FRAME_SIZE, "longest_edge": 4 * FRAME_SIZE})
    tokenizer = build_tokenizer() if tokenizer is None else tokenizer
    return UniVSProcessor(image_processor, tokenizer, text_templates=list(TEXT_TEMPLATES))


def build_model(seed: int = 0, **overrides: Any) -> UniVSForVideoSegmentation:
    """The model with random weights of a seed, in float32.

    Args:
        seed: Of the weights.
        **overrides: Fields of [`UniVSConfig`].
    """
    config = build_config(**overrides)
    set_seed(seed)
    return UniVSForVideoSegmentation(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the untrained model and its processor; the exit status.

    Args:
        arguments: Those of the command line by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m univs_hf.tiny_shapes", description="Write univs-tiny-shapes with random weights."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="directory; an existing model is kept as it is")
    parser.add_argument("--seed", type=int, default=0, help="of the weights; default: %(default)s")
    options = parser.parse_args(arguments)
    if not (options.out / "config.json").is_file():
        build_processor().save_pretrained(options.out)
        build_model(options.seed).save_pretrained(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
