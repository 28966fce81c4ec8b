# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A network that predicts what a test says, for the rules that lie around the network."""

import torch
import torch.nn.functional as F
from tiny_config import tiny_config

from univs_hf.clip_engine_univs import ClipEngine, FrameGeometry
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.modeling_univs import UniVSForVideoSegmentationOutput, UniVSFrameFeatures, UniVSVisualTokens


class ScriptedModel:
    """Stands in for the network: every object has a scripted mask, quality and embedding on each frame.

    Prompts are told apart by the order of objects, as in the session. `script(object, frame)` gives mask logits
    (h4, w4) and an embedding (C,), and so does `learnable(query, frame)` for as many learnable queries as there are
    `classes`.
    """

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, script, num_channels=32, learnable=None, classes=()):
        self.script, self.num_channels = script, num_channels
        self.learnable, self.classes = learnable, classes
        self.num_encoded_frames = 0
        self.encoded_masks = []  # (frame number, number of positive pixels per object)
        self.encoded_others = []  # ("box" or "point", values)
        self.used_learnable_queries = []  # per clip
        self.memories = []  # per clip, what the tokens (N, L) of the memory say

    def encode_frames(self, pixel_values_videos, frame_idx=None, cache_attention=False):
        num_frames, height, width = pixel_values_videos.shape[1], *pixel_values_videos.shape[-2:]
        self.num_encoded_frames += num_frames

        def maps(stride):
            return torch.zeros(1, num_frames, self.num_channels, height // stride, width // stride)

        levels = tuple(maps(stride) for stride in (32, 16, 8))
        return UniVSFrameFeatures(mask_features=maps(4), multi_scale_features=levels, attention_mask_features=levels)

    def encode_visual_prompts(
        self,
        features,
        frame_idx,
        num_prompt_pixels,
        prompt_frame_idx,
        prompt_masks=None,
        prompt_boxes=None,
        prompt_points=None,
        **kwargs,
    ):
        frames = frame_idx[0, prompt_frame_idx[0]]
        if prompt_masks is not None:
            counts = prompt_masks[0].flatten(1).sum(dim=1)
            for frame in frames.unique().tolist():
                self.encoded_masks.append((frame, counts[frames == frame].tolist()))
        for kind, prompts in (("box", prompt_boxes), ("point", prompt_points)):
            if prompts is not None:
                self.encoded_others += [(kind, values) for values in prompts[0].tolist()]
        # The tokens say which frame they come from.
        tokens = (frames + 1.0)[None, :, None, None].expand(-1, -1, num_prompt_pixels, self.num_channels)
        return UniVSVisualTokens(features=tokens, positions=tokens)

    def compose_visual_prompts(self, clip_features, clip_positions, memory_features, memory_positions):
        self.memories.append(memory_features[0, :, :, 0].clone())
        return memory_features

    def decode_clip(
        self, features, frame_idx, prompts, category_embeddings, use_learnable_queries, self_attention_type
    ):
        frames = frame_idx[0].tolist()
        self.used_learnable_queries.append(use_learnable_queries)
        outputs = []
        if use_learnable_queries:
            outputs += [[self.learnable(index, frame) for frame in frames] for index in range(len(self.classes))]
        outputs += [[self.script(index, frame) for frame in frames] for index in range(prompts.shape[1])]
        scores = torch.full((1, len(outputs), len(category_embeddings)), -9.0)
        for index, label in enumerate(self.classes if use_learnable_queries and len(category_embeddings) else ()):
            scores[0, index, label] = 9.0
        return UniVSForVideoSegmentationOutput(
            class_queries_logits=scores,
            masks_queries_logits=torch.stack([torch.stack([o[0] for o in row]) for row in outputs])[None],
            query_embeddings=torch.stack([torch.stack([o[1] for o in row]) for row in outputs])[None],
        )


def box_logits(top, bottom, left, right, inside=4.0):
    """Stride-4 logits of a box given in units of stride-4 pixels."""
    logits = torch.full((8, 16), -4.0)
    logits[top:bottom, left:right] = inside
    return logits


def unit(index, num_channels=32):
    return F.one_hot(torch.tensor(index), num_channels).float()


def padded_mask(top, bottom, left, right):
    mask = torch.zeros(32, 64)
    mask[4 * top : 4 * bottom, 4 * left : 4 * right] = 1
    return mask


def make_engine(task="vos", geometry=None, num_categories=0, thing_flags=None, **settings):
    """An engine with clips of three frames at the padded size (32, 64)."""
    config = tiny_config().for_task(task, **{"num_frames": 3, "num_prompt_pixels": 2, **settings})
    categories = {}
    if num_categories:
        categories = {"category_embeddings": torch.ones(num_categories, 16), "thing_flags": thing_flags}
    return ClipEngine(
        config, task, geometry or FrameGeometry((32, 64), (32, 64), (32, 64)), UniVSImageProcessor(), **categories
    )


def run_engine(engine, model, length, actions=None):
    """Results of a run; `actions[frame]` is called before that frame is given."""
    results = []
    for frame in range(length):
        if actions and frame in actions:
            actions[frame]()
        results += engine.step(model, torch.zeros(3, 32, 64))
    return results + engine.finish(model)


def run_script(script, masks, length, geometry=None, learnable=None, classes=(), **settings):
    """Results of a scripted run of VOS with objects annotated by `masks[frame][object id]`, padded size."""
    engine = make_engine("vos", geometry, **settings)
    for frame_idx, frame_masks in masks.items():
        engine.annotate(frame_idx, frame_masks)
    model = ScriptedModel(script, learnable=learnable, classes=classes)
    return run_engine(engine, model, length), model, engine


def areas(result):
    segmentation = result["segmentation"]
    return {segment["id"]: int((segmentation == segment["id"]).sum()) for segment in result["segments_info"]}
