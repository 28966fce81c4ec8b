# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A processor for tiny models: frames of 32 pixels, a tokenizer that knows the bytes and no merges."""

from tiny_config import tiny_config
from transformers import CLIPTextConfig
from transformers.convert_slow_tokenizer import bytes_to_unicode

from univs_hf.convert_tokenizer import END_TOKEN, START_TOKEN, make_clip_tokenizer
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.processing_univs import UniVSProcessor


def vocabulary() -> dict[str, int]:
    """Bytes, the same at the end of a word, start and end."""
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), START_TOKEN, END_TOKEN]
    return {token: index for index, token in enumerate(tokens)}


def text_config() -> CLIPTextConfig:
    """That of `tiny_config`, for the tokenizer of [`tiny_processor`]."""
    config = tiny_config().text_config.to_dict()
    ids = vocabulary()
    sizes = {"vocab_size": len(ids), "bos_token_id": ids[START_TOKEN], "eos_token_id": ids[END_TOKEN]}
    return CLIPTextConfig(**{**config, **sizes})


def tiny_processor(shortest_edge: int = 32) -> UniVSProcessor:
    """Processor whose tokens fit a model with [`text_config`]."""
    image_processor = UniVSImageProcessor(size={"shortest_edge": shortest_edge, "longest_edge": 2 * shortest_edge})
    tokenizer = make_clip_tokenizer(vocabulary(), merges=[])
    return UniVSProcessor(image_processor, tokenizer, text_templates=["{}.", "a photo of a {}.", "the {}."])
