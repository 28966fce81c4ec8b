# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A tiny model whose results differ from pixel to pixel and from frame to frame, although nobody trained it."""

import torch
from tiny_config import tiny_model
from tiny_processor import text_config

from univs_hf.modeling_univs import UniVSForVideoSegmentation


def decisive_model() -> UniVSForVideoSegmentation:
    """A tiny model for [`tiny_processor`] with sharp masks, and queries and categories that differ."""
    model = tiny_model(num_frames=3, text_config=text_config())
    generator = torch.Generator().manual_seed(0)
    decoder = model.model.decoder
    text_weights = (weight for weight in model.model.text_encoder.parameters() if weight.ndim == 2)
    with torch.no_grad():
        for weight in (
            decoder.queries_features.weight,
            decoder.queries_embedder.weight,
            model.visual_to_text_projection.weight,
            *text_weights,
        ):
            weight.copy_(torch.randn(weight.shape, generator=generator))
        decoder.mask_embedder.layers[-1].weight.mul_(30)
        model.class_logit_scale.fill_(1.5)
    return model
