# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A UniVS small enough for tests: same code, four ResNet stages, two-layer text tower."""

from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig, ResNetConfig, set_seed

from univs_hf.configuration_univs import UniVSConfig
from univs_hf.modeling_univs import UniVSForVideoSegmentation


def tiny_config(**overrides: Any) -> UniVSConfig:
    """Configuration with 32 channels, 3 decoder layers, 10 learnable queries; any field can be overridden."""
    fields: dict[str, Any] = {
        "backbone_config": ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        "text_config": CLIPTextConfig(
            vocab_size=99,
            hidden_size=16,
            intermediate_size=32,
            projection_dim=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            pad_token_id=0,
            bos_token_id=97,
            eos_token_id=98,
        ),
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_dim": 32,
        "encoder_layers": 2,
        "encoder_feedforward_dim": 32,
        "decoder_layers": 3,
        "dim_feedforward": 64,
        "num_attention_heads": 4,
        "num_norm_groups": 8,
        "num_queries": 10,
        "num_prompt_pixels": 4,
        "num_text_templates": 3,
        "num_frames": 2,
    }
    return UniVSConfig(**{**fields, **overrides})


def tiny_model(seed: int = 0, **overrides: Any) -> UniVSForVideoSegmentation:
    """A tiny model in evaluation mode with weights of a fixed seed."""
    set_seed(seed)
    model = UniVSForVideoSegmentation(tiny_config(**overrides)).eval()
    generator = torch.Generator().manual_seed(seed)
    for module in (model.model.pixel_decoder, model.model.prompt_encoder, model.model.decoder):
        for linear in module.modules():
            if isinstance(linear, nn.Linear):
                # The published initialisation gives nearly equal outputs for all queries; a trained model's differ.
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5, generator=generator)
    return model
