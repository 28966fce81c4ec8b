# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What is compared for each kind of parity fixture. A check yields one row per tensor.

Tolerances are those of the fixtures' README: 1e-4 relative and absolute for features and embeddings, 1e-3 for mask
logits with no sign disagreement beyond 1e-3, and equality for token ids and resized pixels.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from parity_fixtures import Fixture, shared_folder, text_state_dict
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from univs_hf.configuration_univs import UniVSConfig
from univs_hf.convert_key_map import text_tower_rules
from univs_hf.convert_tokenizer import build_clip_tokenizer
from univs_hf.image_processing_univs import UniVSImageProcessor, compute_resized_size
from univs_hf.modeling_univs import (
    UniVSForVideoSegmentation,
    UniVSForVideoSegmentationOutput,
    UniVSFrameFeatures,
    UniVSPrompts,
    UniVSVisualTokens,
)
from univs_hf.text_prompts import clean_category_name, clean_expression, tokenize_templates

FEATURE_TOLERANCE = 1e-4
MASK_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Row:
    """Result of one comparison.

    Attributes:
        fixture: Name of the fixture.
        tensor: What was compared.
        absolute: Worst absolute difference; NaN if nothing could be compared, which `note` explains.
        relative: Worst difference relative to the largest magnitude of the expected tensor.
        tolerance: As text.
        passed: Whether every entry is within the tolerance.
        note: What the numbers don't tell.
    """

    fixture: str
    tensor: str
    absolute: float
    relative: float
    tolerance: str
    passed: bool
    note: str = ""


def compare(
    fixture: Fixture, tensor: str, got: Tensor, expected: Tensor, atol: float, rtol: float, signs: bool = False
) -> Row:
    """Compares two tensors entry by entry; `signs` also forbids sign changes of logits larger than `atol`."""
    tolerance = f"{atol:g} + {rtol:g}|x|" if atol or rtol else "equal"
    if got.shape != expected.shape:
        note = f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
        return Row(fixture.name, tensor, math.inf, math.inf, tolerance, False, note)
    got, expected = got.detach().double(), expected.double()
    difference = (got - expected).abs()
    passed = bool((difference <= atol + rtol * expected.abs()).all())
    note = ""
    if signs:
        flipped = ((got > 0) != (expected > 0)) & (expected.abs() > atol)
        if flipped.any():
            passed, note = False, f"{int(flipped.sum())} signs differ"
    absolute = float(difference.max()) if difference.numel() else 0.0
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return Row(fixture.name, tensor, absolute, absolute / scale if scale else absolute, tolerance, passed, note)


def features_row(fixture: Fixture, tensor: str, got: Tensor, expected: Tensor) -> Row:
    return compare(fixture, tensor, got, expected, FEATURE_TOLERANCE, FEATURE_TOLERANCE)


def masks_row(fixture: Fixture, tensor: str, got: Tensor, expected: Tensor) -> Row:
    return compare(fixture, tensor, got, expected, MASK_TOLERANCE, 0.0, signs=True)


def equal_row(fixture: Fixture, tensor: str, got: Tensor, expected: Tensor) -> Row:
    return compare(fixture, tensor, got, expected, 0.0, 0.0)


# Image encoder ------------------------------------------------------------------------------------------------------


def check_backbone(fixture: Fixture) -> Iterator[Row]:
    """Normalisation and padding of the frames, then the four maps of the backbone."""
    model = fixture.model()
    settings = fixture.settings
    processor = UniVSImageProcessor(
        do_resize=False, size_divisibility=settings["size_divisibility"], image_mean=model.config.image_mean
    )
    video = [frame.permute(1, 2, 0).numpy() for frame in fixture["images_u8"]]
    pixels = processor(video, return_tensors="pt").pixel_values_videos
    yield features_row(fixture, "pixel_values", pixels[0], fixture["pixel_values"])
    maps = model.model.backbone(fixture["pixel_values"]).feature_maps
    for index, feature_map in enumerate(maps):
        yield features_row(fixture, f"res{index + 2}", feature_map, fixture[f"res{index + 2}"])


def check_pixel_decoder(fixture: Fixture) -> Iterator[Row]:
    """Pixel decoder on the recorded maps, both ways of sampling, and the whole of `encode_frames`."""
    model = fixture.model()
    backbone = fixture.companion("backbone")
    decoder = model.model.pixel_decoder
    names = ["mask_features", *(f"multi_scale_{level}" for level in range(3))]
    recorded = [backbone[f"res{index}"] for index in range(2, 6)]

    masks, levels = decoder(recorded)
    for name, got in zip(names, (masks, *levels), strict=True):
        yield features_row(fixture, name, got, fixture[name])

    sampler = type(decoder.encoder.layers[0].self_attn.attn)
    original = sampler.sample_rows
    sampler.sample_rows = staticmethod(sampler.sample_grid)
    try:
        masks, levels = decoder(recorded)
    finally:
        sampler.sample_rows = staticmethod(original)
    for name, got in zip(names, (masks, *levels), strict=True):
        yield features_row(fixture, f"{name} (grid_sample)", got, fixture[name])

    features = model.encode_frames(backbone["pixel_values"][None])
    for name, got in zip(names, (features.mask_features, *features.multi_scale_features), strict=True):
        yield features_row(fixture, f"{name} (encode_frames)", got[0], fixture[name])
    for level, got in enumerate(features.attention_mask_features):
        expected = torch.nn.functional.interpolate(
            fixture["mask_features"], size=got.shape[-2:], mode="bilinear", align_corners=False
        )
        yield features_row(fixture, f"attention_mask_features_{level}", got[0], expected)


# Prompts ------------------------------------------------------------------------------------------------------------


def recorded_ranks(fixture: Fixture, log: list[dict], num_prompts: int, num_pixels: int) -> tuple[Tensor, Tensor]:
    """Recorded choices of central points `(1, N)`, and pixel choices `(1, N, R)` still to fill (-1)."""
    points = torch.zeros(1, num_prompts, dtype=torch.int64)
    for prompt, entry in enumerate(log[:num_prompts]):
        points[0, prompt] = int(fixture[entry["key"]][0])
    pixels = torch.full((1, num_prompts, num_pixels), -1, dtype=torch.int64)
    return points, pixels


def fill_pixel_ranks(fixture: Fixture, log: list[dict], counts: Tensor, ranks: Tensor) -> Tensor:
    """Gives every prompt with at least R candidate pixels (`counts`, `(N,)`) its recorded permutation."""
    entries = iter(log)
    for prompt, count in enumerate(counts.tolist()):
        if count >= ranks.shape[-1]:
            entry = next(entries)
            if entry["args"] != [count]:
                raise ValueError(f"{fixture.name}: a draw of {entry['args']} is recorded where {count} pixels remain")
            ranks[0, prompt] = fixture[entry["key"]][: ranks.shape[-1]].long()
    return ranks


def mask_pixel_counts(masks: Tensor) -> Tensor:
    """Stride-8 pixels of masks `(N, H, W)` under the rule of the specification (A.3.1 step 2)."""
    small = masks[:, ::8, ::8].float().flatten(1)
    return (small >= small.max().clamp(max=0.5)).sum(-1)


def check_prompt_visual(fixture: Fixture) -> Iterator[Row]:
    """Mask, box and point prompts with the recorded draws."""
    model = fixture.model()
    encoder = model.model.prompt_encoder
    num_pixels = fixture.settings["visual_prompt_pixels_per_image"]
    source = fixture["src_level2_key"][None, None]
    height, width = source.shape[-2:]
    # The recorded call takes the position table of one frame and gives single points another frame number.
    frame, number = map(int, re.search(r"key frame (\d+) with original index (\d+)", fixture.meta["what"]).groups())
    pixel_time, point_time = encoder.position_embedding.temporal(torch.tensor([[frame], [number]])).split(1)
    table = encoder.position_embedding.spatial(height, width, source.device) + pixel_time[0]
    yield features_row(fixture, "pos_level2_key", table.T.unflatten(1, (height, width)), fixture["pos_level2_key"])

    def encode(method: Callable[..., UniVSVisualTokens], prompts: Tensor, counts: Tensor, **draws: Tensor):
        """Tokens of sampled pixels at one time; of an object without a pixel, of its point at the other."""
        frames = torch.zeros(1, len(prompts), dtype=torch.int64)
        at_pixel, at_point = (
            method(source, time, prompts[None], frames, num_pixels, **draws) for time in (pixel_time, point_time)
        )
        positions = torch.where((counts == 0)[None, :, None, None], at_point.positions, at_pixel.positions)
        return UniVSVisualTokens(features=at_pixel.features, positions=positions, points=at_pixel.points)

    logs = fixture.meta["rng_log"]
    masks, boxes, points = fixture["masks"], fixture["boxes"], fixture["points"]

    counts = mask_pixel_counts(masks)
    point_ranks, ranks = recorded_ranks(fixture, logs["mask"], len(masks), num_pixels)
    draws = {
        "point_ranks": point_ranks,
        "pixel_ranks": fill_pixel_ranks(fixture, logs["mask"][len(masks) :], counts, ranks),
    }
    tokens = encode(encoder.encode_masks, masks, counts, boxes=boxes[None], **draws)
    yield from visual_rows(fixture, "mask", "mask", tokens)
    tokens = encode(encoder.encode_masks, masks, counts, **draws)
    yield from visual_rows(fixture, "mask", "mask, boxes from masks", tokens)

    counts = box_pixel_counts(boxes, height, width)
    offsets = fixture[logs["box"][0]["key"]].reshape(1, len(boxes), 2) * 2 - 1
    ranks = torch.full((1, len(boxes), num_pixels), -1, dtype=torch.int64)
    ranks = fill_pixel_ranks(fixture, logs["box"][1:], counts, ranks)
    tokens = encode(encoder.encode_boxes, boxes, counts, point_offsets=offsets, pixel_ranks=ranks)
    yield from visual_rows(fixture, "box", "box", tokens)

    tokens = encode(encoder.encode_points, points, torch.zeros(len(points)))
    yield from visual_rows(fixture, "point", "point", tokens)


def box_pixel_counts(boxes: Tensor, height: int, width: int) -> Tensor:
    """Stride-8 pixels of normalised boxes `(N, 4)` under the rule of the specification (A.3.2)."""
    size = torch.tensor([width, height, width, height])
    low, high = (boxes * size).split(2, dim=-1)
    columns = torch.arange(width)
    rows = torch.arange(height)
    inside_x = (columns > low[:, :1].floor()) & (columns <= high[:, :1].ceil())
    inside_y = (rows > low[:, 1:].floor()) & (rows <= high[:, 1:].ceil())
    return inside_x.sum(-1) * inside_y.sum(-1)


def visual_rows(fixture: Fixture, kind: str, label: str, tokens: UniVSVisualTokens) -> Iterator[Row]:
    yield features_row(fixture, f"{label}: features", tokens.features[0], fixture[f"{kind}/query_feats_dense"])
    yield features_row(fixture, f"{label}: positions", tokens.positions[0], fixture[f"{kind}/query_pe_dense"])
    yield features_row(fixture, f"{label}: points", tokens.points[0], fixture[f"{kind}/point_coords"])


# Decoder ------------------------------------------------------------------------------------------------------------


def recorded_features(fixture: Fixture) -> UniVSFrameFeatures:
    """Features of the recorded pixel decoder output."""
    pixel_decoder = fixture.companion("pixel_decoder")
    masks = pixel_decoder["mask_features"]
    levels = [pixel_decoder[f"multi_scale_{level}"] for level in range(3)]
    small = [
        torch.nn.functional.interpolate(masks, size=level.shape[-2:], mode="bilinear", align_corners=False)
        for level in levels
    ]
    return UniVSFrameFeatures(
        mask_features=masks[None],
        multi_scale_features=tuple(level[None] for level in levels),
        attention_mask_features=tuple(level[None] for level in small),
    )


def decoder_prompts(
    fixture: Fixture, model: UniVSForVideoSegmentation, features: UniVSFrameFeatures, frame_idx: Tensor
) -> UniVSPrompts | None:
    """The prompts that the fixture's task was decoded with."""
    targets = fixture.meta["targets"]
    if targets["task"] == "grounding":
        return model.encode_expressions(
            features,
            word_features=fixture["in/exp_word_feats"][None],
            sentence_features=fixture["in/exp_sentence_feats"][None],
        )
    if targets["prompt_type"] == "text":
        start, stop = fixture.meta["class_slice"]
        return model.encode_categories(features, model.category_embeddings[None, start:stop])
    if "in/masks" not in fixture:
        return None
    masks, boxes = fixture["in/masks"][:, 0], fixture["in/boxes"][:, 0]
    log = fixture.meta["rng_log"]
    num_pixels = model.config.num_prompt_pixels
    point_ranks, ranks = recorded_ranks(fixture, log, len(masks), num_pixels)
    ranks = fill_pixel_ranks(fixture, log[len(masks) :], mask_pixel_counts(masks), ranks)
    tokens = model.encode_visual_prompts(
        features,
        frame_idx,
        prompt_masks=masks[None],
        mask_boxes=boxes[None],
        point_ranks=point_ranks,
        pixel_ranks=ranks,
    )
    return model.compose_first_clip_prompts(tokens, frame_idx.shape[1])


def prompt_rows(fixture: Fixture, prompts: UniVSPrompts) -> Iterator[Row]:
    """What the prompt encoder hands to the decoder; the fixtures keep every n-th prompt or token of the long ones."""
    expected = fixture["prompt/prompt_queries"]
    step = math.ceil(prompts.queries.shape[2] / expected.shape[0])
    queries, positions = (states[0].transpose(0, 1)[::step] for states in (prompts.queries, prompts.query_positions))
    yield features_row(fixture, "prompt_queries", queries, expected)
    yield features_row(fixture, "prompt_query_pos", positions, fixture["prompt/prompt_query_pos"])
    expected = fixture["prompt/prompt_dense"]
    if expected.ndim == 3:
        yield features_row(fixture, "prompt_dense", prompts.tokens[0, :, 0], expected)
        positions = prompts.token_positions[0, :, 0]
        yield features_row(fixture, "prompt_dense_pos", positions, fixture["prompt/prompt_dense_pos"])
    else:
        tokens = prompts.tokens[0, ::step].transpose(1, 2)
        token_step = math.ceil(tokens.shape[1] / expected.shape[1])
        yield features_row(fixture, "prompt_dense", tokens[:, ::token_step], expected)


def check_decoder(fixture: Fixture) -> Iterator[Row]:
    """Prompts, every prediction head with auxiliary outputs, and the last head of the short inference path.

    The short path predicts attention masks at low resolution. It is compared in two steps: its masks with those of the
    full path, and its output given the masks of the full path.
    """
    model = fixture.model()
    features = recorded_features(fixture)
    first, num_frames = fixture.meta["targets"]["first_frame_idx"], fixture.meta["targets"]["num_frames"]
    frame_idx = torch.arange(first, first + num_frames)[None]
    prompts = decoder_prompts(fixture, model, features, frame_idx)
    if prompts is not None:
        yield from prompt_rows(fixture, prompts)

    with attention_masks(model) as recorded:
        output = model.decode_clip(features, frame_idx, prompts=prompts, output_auxiliary_logits=True)
    yield from head_rows(fixture, output, "")
    yield from auxiliary_rows(fixture, output)

    with attention_masks(model) as predicted:
        model.decode_clip(features, frame_idx, prompts=prompts)
    yield edge_row(fixture, output, features, recorded, predicted)
    with attention_masks(model, recorded):
        short = model.decode_clip(features, frame_idx, prompts=prompts)
    yield from head_rows(fixture, short, " (inference path)")

    if prompts is not None and fixture.meta["targets"]["task"] == "sot":
        alone = model.decode_clip(features, frame_idx, prompts=prompts, use_learnable_queries=False)
        queries, rows = kept_queries(fixture, fixture.meta["num_queries_total"], fixture.meta["final_query_idx"])
        first = model.config.num_queries
        kept = [(query - first, row) for query, row in zip(queries, rows, strict=True) if query >= first]
        got = alone.masks_queries_logits[:, [query for query, _ in kept]]
        expected = fixture["pred_masks"][:, [row for _, row in kept]]
        yield masks_row(fixture, "pred_masks (no learnable queries)", got, expected)


@contextmanager
def attention_masks(model: UniVSForVideoSegmentation, given: list[Tensor] | None = None) -> Iterator[list[Tensor]]:
    """Collects the attention masks `(B, T, Q, h * w)` that the layers get, or gives them those of `given`."""
    collected: list[Tensor] = []

    def hook(layer: torch.nn.Module, arguments: tuple) -> tuple:
        mask = arguments[4] if given is None else given[len(collected)]
        collected.append(mask)
        return (*arguments[:4], mask, *arguments[5:])

    handles = [layer.register_forward_pre_hook(hook) for layer in model.model.decoder.layers]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


def edge_row(
    fixture: Fixture,
    output: UniVSForVideoSegmentationOutput,
    features: UniVSFrameFeatures,
    recorded: list[Tensor],
    predicted: list[Tensor],
) -> Row:
    """Attention masks predicted at low resolution against those of the full resolution.

    A bit may differ only where the logit is at the level of rounding; from the first layer with such a bit on, the
    two runs are different runs, so later layers are not compared.
    """
    levels = len(features.multi_scale_features)
    for layer, (full, low) in enumerate(zip(recorded, predicted, strict=True)):
        if torch.equal(full, low):
            continue
        masks = output.auxiliary_logits[layer]["masks_queries_logits"].transpose(1, 2).flatten(0, 1)
        size = features.multi_scale_features[layer % levels].shape[-2:]
        logits = torch.nn.functional.interpolate(masks, size=size, mode="bilinear", align_corners=False)
        worst = float(logits.flatten(2).view_as(full)[full != low].abs().max())
        note = f"{int((full != low).sum())} bits of layer {layer} differ"
        passed = worst < FEATURE_TOLERANCE
        return Row(fixture.name, "attention masks (inference path)", worst, worst, f"|logit| < {1e-4:g}", passed, note)
    return Row(fixture.name, "attention masks (inference path)", 0.0, 0.0, "equal", True)


def kept_queries(fixture: Fixture, num_queries: int, index: list[int] | str) -> tuple[list[int], list[int]]:
    """Queries of a stored tensor: their index in the output, and their rows, without those that the fixture's own
    float32 and float64 runs disagree on."""
    unstable = set(fixture.meta["float32_vs_float64_max_abs"].get("queries_not_reproducible_at_float32", []))
    index = list(range(num_queries)) if index == "all" else index
    rows = [row for row, query in enumerate(index) if query not in unstable]
    return [index[row] for row in rows], rows


def head_rows(fixture: Fixture, output: UniVSForVideoSegmentationOutput, label: str) -> Iterator[Row]:
    queries, rows = kept_queries(fixture, fixture.meta["num_queries_total"], fixture.meta["final_query_idx"])
    masks = output.masks_queries_logits[:, queries]
    yield masks_row(fixture, f"pred_masks{label}", masks, fixture["pred_masks"][:, rows])
    embeddings = output.query_embeddings[:, queries]
    yield features_row(fixture, f"pred_embds{label}", embeddings, fixture["pred_embds"][:, rows])
    logits = output.class_queries_logits
    if fixture.meta["class_slice"] is not None:
        start, stop = fixture.meta["class_slice"]
        expected = fixture["pred_logits_dataset"][:, rows]
        yield features_row(fixture, f"pred_logits{label}", logits[:, queries, start:stop], expected)
        subset = fixture.meta["full_vocab_query_idx"]
        expected = fixture["pred_logits_full_vocab_subset"]
        yield features_row(fixture, f"pred_logits, whole table{label}", logits[:, subset], expected)
    else:
        # Products without a norm reach 1e2; the README asks the same of them as of mask logits.
        yield masks_row(fixture, f"pred_logits{label}", logits[:, queries], fixture["pred_logits"][:, rows])
        expected = fixture["pred_reid_logits"][:, rows]
        yield features_row(fixture, f"pred_reid_logits{label}", output.prompt_similarity[:, queries], expected)


def auxiliary_rows(fixture: Fixture, output: UniVSForVideoSegmentationOutput) -> Iterator[Row]:
    queries, rows = kept_queries(fixture, fixture.meta["num_queries_total"], fixture.meta["aux_query_idx"])
    for head, stage in enumerate(output.auxiliary_logits):
        expected = fixture["aux_pred_masks"][head][:, rows]
        yield masks_row(fixture, f"aux_pred_masks {head}", stage["masks_queries_logits"][:, queries], expected)
        expected = fixture["aux_pred_embds"][head][:, rows]
        yield features_row(fixture, f"aux_pred_embds {head}", stage["query_embeddings"][:, queries], expected)
        logits = stage["class_queries_logits"][:, queries]
        expected = fixture["aux_pred_logits"][head][:, rows]
        if fixture.meta["class_slice"] is not None:
            start, stop = fixture.meta["class_slice"]
            yield features_row(fixture, f"aux_pred_logits {head}", logits[..., start:stop], expected)
        else:
            yield masks_row(fixture, f"aux_pred_logits {head}", logits, expected)
            expected = fixture["aux_pred_reid_logits"][head][:, rows]
            similarity = stage["prompt_similarity"][:, queries]
            yield features_row(fixture, f"aux_pred_reid_logits {head}", similarity, expected)


# Text ---------------------------------------------------------------------------------------------------------------


def text_tower(fixture: Fixture) -> tuple[CLIPTextModelWithProjection, UniVSConfig]:
    """The text tower with the fixture's weights, through the converter's rules."""
    config = UniVSConfig()
    original = text_state_dict(
        fixture.find("seeded_weights.py"), fixture.find("keymaps/clip_text_rn50x4.json"), fixture.meta["seed"]
    )
    prefix = "model.text_encoder."
    state_dict = {}
    for rule in text_tower_rules(config):
        parts = rule.transform.forward(original[rule.original], len(rule.targets))
        state_dict.update({name.removeprefix(prefix): part for name, part in zip(rule.targets, parts, strict=True)})
    tower = CLIPTextModelWithProjection(config.text_config)
    tower.load_state_dict(state_dict, strict=True)
    return tower.eval(), config


def check_text_encoder(fixture: Fixture) -> Iterator[Row]:
    """Token ids of the templates, word and sentence features; also a sentence cut at 77 tokens."""
    tower, config = text_tower(fixture)
    with torch.device("meta"):
        owner = UniVSForVideoSegmentation(config)
    owner.model.text_encoder = tower
    tokenizer = build_clip_tokenizer(fixture.find("bpe_simple_vocab_16e6.txt.gz"))
    for index, expression in enumerate(fixture.meta["expressions"]):
        tokens = fixture[f"{index}/tokens"].long()
        yield equal_row(fixture, f"{index}/tokens", tokenize_templates(tokenizer, [expression])[0], tokens)
        words, sentence = owner.encode_text(tokens[None])
        yield features_row(fixture, f"{index}/word_feats", words[0], fixture[f"{index}/word_feats_template0"])
        yield features_row(fixture, f"{index}/sentence_feat", sentence[0], fixture[f"{index}/sentence_feat_mean"])
        if f"{index}/sentence_feats_all_templates" in fixture:
            every = owner.encode_text(tokens[:, None])[1]
            expected = fixture[f"{index}/sentence_feats_all_templates"]
            yield features_row(fixture, f"{index}/sentence_feats_all_templates", every, expected)
        if f"{index}/word_feats_template5" in fixture:
            words = owner.encode_text(tokens[5][None, None])[0]
            yield features_row(fixture, f"{index}/word_feats_5", words[0], fixture[f"{index}/word_feats_template5"])
    sentence = owner.encode_text(fixture["overlong/tokens"].long()[None])[1]
    yield features_row(fixture, "overlong/sentence_feat", sentence, fixture["overlong/sentence_feat"])


def check_tokenizer(fixture: Fixture) -> Iterator[Row]:
    """Token ids of expressions, cleaned expressions and class names."""
    meta = fixture.meta
    tokenizer = build_clip_tokenizer(fixture.find("bpe_simple_vocab_16e6.txt.gz"))
    first, templates = meta["templates"][:1], meta["templates"]

    def row(name: str, texts: list[str], used: list[str], squeeze: bool) -> Row:
        got = tokenize_templates(tokenizer, texts, used)
        return equal_row(fixture, name, got[:, 0] if squeeze else got, fixture[name].long())

    cleaned = [clean_expression(text) for text in meta["strings"]]
    agree = float(sum(got != expected for got, expected in zip(cleaned, meta["cleaned"], strict=True)))
    yield Row(fixture.name, "cleaned strings", agree, agree / len(cleaned), "equal", agree == 0)
    yield row("tokens_template0", meta["strings"], first, True)
    yield row("tokens_clean_template0", cleaned, first, True)
    count = fixture["tokens_all_templates_first3"].shape[0]
    yield row("tokens_all_templates_first3", meta["strings"][:count], templates, False)
    count = fixture["class_tokens_first4_templates"].shape[1]
    names = [clean_category_name(name) for name in meta["class_names"]]
    yield row("class_tokens_first4_templates", names, templates[:count], False)


# Resize -------------------------------------------------------------------------------------------------------------


def check_resize(fixture: Fixture) -> Iterator[Row]:
    """Resized frames, pixel by pixel, and the table of output sizes."""
    meta = fixture.meta
    table = torch.tensor(meta["output_shape_table_h_w_short_max_newh_neww"])
    got = torch.tensor([compute_resized_size(*row[:4]) for row in table.tolist()])
    yield equal_row(fixture, "output_shape_table", got, table[:, 4:])

    def resize(frame: np.ndarray, case: dict) -> Tensor:
        height, width = compute_resized_size(*frame.shape[:2], case["short"], case["max"])
        resized = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
        size = {"shortest_edge": case["short"], "longest_edge": case["max"]}
        processor = UniVSImageProcessor(size=size, do_normalize=False)
        pixels = processor([frame], return_tensors="pt").pixel_values_videos[0, 0, :, :height, :width]
        pixels = pixels.permute(1, 2, 0).to(torch.uint8)
        if not np.array_equal(pixels.numpy(), np.asarray(resized)):
            raise AssertionError(f"{case['key']}: the processor does not resize as PIL does")
        return pixels

    small = fixture["in/small"].numpy()
    for case in meta["small_cases"]:
        yield equal_row(fixture, case["key"], resize(small, case), fixture[case["key"]])

    frame = full_frame(meta)
    for case in meta["full_cases"]:
        if frame is None:
            note = "the 1280x720 frame is not at hand, or its decoder differs"
            yield Row(fixture.name, case["key"], math.nan, math.nan, "equal", True, note)
            continue
        pixels = resize(frame, case)
        top, left, height, width = case["crop_yxhw"]
        crop = pixels[top : top + height, left : left + width]
        yield equal_row(fixture, case["key"], crop, fixture[case["key"]])
        digest = hashlib.sha256(np.ascontiguousarray(pixels.numpy()).tobytes()).hexdigest()
        same = digest == case["sha256_whole_array_hwc_rgb"]
        yield Row(fixture.name, f"{case['key']} sha256", float(not same), float(not same), "equal", same)


def full_frame(meta: dict) -> np.ndarray | None:
    """The 1280x720 frame of the full cases among the reference clips, if one has its checksum."""
    for path in sorted((shared_folder() / "clips" / "hockey" / "frames").glob("*.jpg")):
        frame = np.asarray(Image.open(path).convert("RGB"))
        if hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest() == meta["input_sha256_full_hwc_rgb"]:
            return frame
    return None


# Longest prefix first: `decoder` must not catch what a longer kind is for.
CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {
    "pixel_decoder": check_pixel_decoder,
    "prompt_visual": check_prompt_visual,
    "text_encoder": check_text_encoder,
    "tokenizer": check_tokenizer,
    "backbone": check_backbone,
    "decoder": check_decoder,
    "resize": check_resize,
}
