# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Behaviour of the model with random weights; its numbers are compared with the original's in test_parity.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_config import tiny_config, tiny_model
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForUniversalSegmentation, ConvNextConfig, SwinConfig
from transformers.utils import is_kernels_available

from univs_hf import UniVSForVideoSegmentation, UniVSModel, modeling_univs
from univs_hf.modeling_univs import (
    MultiScaleDeformableAttention,
    UniVSFrameFeatures,
    UniVSFrozenBatchNorm2d,
    UniVSPixelDecoder,
    _random_ranks,
    _select_by_rank,
    _spread_ranks,
)

HEIGHT, WIDTH = 64, 96
NOISE = {"atol": 2e-5, "rtol": 1e-5}  # float32 noise of outputs of order 1


@pytest.fixture(scope="module")
def model() -> UniVSForVideoSegmentation:
    model = tiny_model(num_category_embeddings=6)
    model.category_embeddings.normal_(generator=torch.Generator().manual_seed(1))
    return model


def make_video(batch_size: int = 1, num_frames: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch_size, num_frames, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def make_masks(batch_size: int = 1) -> Tensor:
    masks = torch.zeros(batch_size, 3, HEIGHT, WIDTH)
    masks[:, 0, 10:40, 20:50] = 1
    masks[:, 1, 40:60, 60:90] = 1
    masks[:, 2, 3:7, 1:3] = 1  # has no pixel at stride 8
    return masks


def make_ids(batch_size: int = 1, count: int = 2) -> Tensor:
    """Token ids `(B, N, 3 templates, 77)` of sentences of different lengths."""
    ids = torch.zeros(batch_size, count, 3, 77, dtype=torch.int64)
    ids[..., 0] = 97
    for expression in range(count):
        for template in range(3):
            length = 1 + expression + template
            ids[:, expression, template, 1 : 1 + length] = torch.arange(5, 5 + length) + expression
            ids[:, expression, template, 1 + length] = 98
    return ids


PROMPTS: dict[str, dict[str, Any]] = {
    "none": {},
    "masks": {"prompt_masks": make_masks()},
    "boxes": {"prompt_boxes": torch.tensor([[[0.1, 0.2, 0.6, 0.7], [0.5, 0.5, 0.9, 1.0]]])},
    "points": {"prompt_points": torch.tensor([[[0.3, 0.4]]])},
    "visual": {
        "prompt_masks": make_masks(),
        "prompt_boxes": torch.tensor([[[0.1, 0.2, 0.6, 0.7]]]),
        "prompt_points": torch.tensor([[[0.3, 0.4]]]),
        "prompt_frame_idx": torch.tensor([[0, 0, 1, 1, 0]]),
    },
    "expressions": {"input_ids": make_ids()},
}


def assert_same(first: Any, second: Any, **tolerance: float) -> None:
    for name in ("masks_queries_logits", "class_queries_logits", "query_embeddings"):
        torch.testing.assert_close(first[name], second[name], **(tolerance or NOISE))


# Outputs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompts", PROMPTS)
@torch.inference_mode()
def test_shapes(model: UniVSForVideoSegmentation, prompts: str) -> None:
    output = model(make_video(), **PROMPTS[prompts])
    num_prompts = {"none": 0, "masks": 3, "boxes": 2, "points": 1, "visual": 5, "expressions": 2}[prompts]
    num_classes = 2 if prompts == "expressions" else 6
    assert output.masks_queries_logits.shape == (1, 10 + num_prompts, 2, HEIGHT // 4, WIDTH // 4)
    assert output.query_embeddings.shape == (1, 10 + num_prompts, 2, 32)
    assert output.class_queries_logits.shape == (1, 10 + num_prompts, num_classes)
    assert output.auxiliary_logits is None


@pytest.mark.parametrize("prompts", PROMPTS)
@torch.inference_mode()
def test_inference_path_gives_the_output_of_the_full_path(model: UniVSForVideoSegmentation, prompts: str) -> None:
    video = make_video()
    short = model(video, **PROMPTS[prompts])
    full = model(video, output_auxiliary_logits=True, **PROMPTS[prompts])
    assert_same(short, full)
    assert len(full.auxiliary_logits) == model.config.decoder_layers
    for stage in full.auxiliary_logits:
        assert stage["masks_queries_logits"].shape == full.masks_queries_logits.shape
        assert stage["class_queries_logits"].shape == full.class_queries_logits.shape
    # The stages are different predictions, not copies of the last one.
    last = full.auxiliary_logits[-1]["masks_queries_logits"]
    assert (last - full.masks_queries_logits).abs().max() > 1e-3


@torch.inference_mode()
def test_intermediate_layers_do_no_full_size_work(
    model: UniVSForVideoSegmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"masks": 0, "classes": 0}
    decoder = model.model.decoder
    predict, classify = decoder.predict_masks, model.classify

    def count(name: str, function: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return counted

    monkeypatch.setattr(decoder, "predict_masks", count("masks", predict))
    monkeypatch.setattr(model, "classify", count("classes", classify))
    model(make_video())
    assert calls == {"masks": 1, "classes": 1}
    model(make_video(), output_auxiliary_logits=True)
    assert calls == {"masks": 2 + model.config.decoder_layers, "classes": 2 + model.config.decoder_layers}


@torch.inference_mode()
def test_frames_are_independent_and_joinable(model: UniVSForVideoSegmentation) -> None:
    video = make_video(num_frames=3)
    together = model.encode_frames(video)
    single = [model.encode_frames(video[:, t : t + 1]) for t in range(3)]
    joined = UniVSFrameFeatures.cat(single)
    part = UniVSFrameFeatures.cat([together.frames(0, 2), together.frames(2, 3)])
    for other in (joined, part):
        torch.testing.assert_close(other.mask_features, together.mask_features, **NOISE)
        for name in ("multi_scale_features", "attention_mask_features"):
            for got, expected in zip(other[name], together[name], strict=True):
                torch.testing.assert_close(got, expected, **NOISE)
    assert joined.num_frames == 3 and joined.frame_size == (HEIGHT, WIDTH)
    assert_same(model.decode_clip(joined), model.decode_clip(together))


@torch.inference_mode()
def test_attention_mask_features_are_the_resized_mask_features(model: UniVSForVideoSegmentation) -> None:
    features = model.encode_frames(make_video())
    masks = features.mask_features[0]
    for factor, level in zip((8, 4, 2), features.attention_mask_features, strict=True):
        low, high = factor // 2 - 1, factor // 2
        rows = (masks[..., low::factor, :] + masks[..., high::factor, :]) / 2
        expected = (rows[..., low::factor] + rows[..., high::factor]) / 2
        torch.testing.assert_close(level[0], expected, **NOISE)


@torch.inference_mode()
def test_batch_equals_single_videos_with_padding_prompts(model: UniVSForVideoSegmentation) -> None:
    video = make_video(batch_size=2)
    masks = make_masks(2)
    masks[1, 1:] = 0
    ids = torch.tensor([[1, 2, 3], [4, 0, 0]])
    batch = model(video, prompt_masks=masks, prompt_obj_ids=ids)
    alone = model(video[1:], prompt_masks=masks[1:, :1], prompt_obj_ids=ids[1:, :1])
    for name in ("masks_queries_logits", "query_embeddings", "class_queries_logits"):
        torch.testing.assert_close(batch[name][1:, :11], alone[name], **NOISE)
    first = model(video[:1], prompt_masks=masks[:1])
    torch.testing.assert_close(batch.masks_queries_logits[:1], first.masks_queries_logits, **NOISE)


@pytest.mark.parametrize("separation", ["none", "sep", "sep-l2p"])
@torch.inference_mode()
def test_padding_prompts_are_seen_by_nobody(model: UniVSForVideoSegmentation, separation: str) -> None:
    video, masks = make_video(), make_masks()
    ids = torch.tensor([[1, 2, 0]])
    padded = model(video, prompt_masks=masks, prompt_obj_ids=ids, self_attention_type=separation)
    alone = model(video, prompt_masks=masks[:, :2], self_attention_type=separation)
    torch.testing.assert_close(padded.masks_queries_logits[:, :12], alone.masks_queries_logits, **NOISE)


def influence(model: UniVSForVideoSegmentation, separation: str) -> tuple[bool, bool, bool]:
    """Whether prompts change learnable queries, other prompts change a prompt, learnable queries change prompts."""
    video, masks = make_video(), make_masks()
    features = model.encode_frames(video)
    prompts = model.model.encode_prompts(features, prompt_masks=masks)
    changed = masks.clone()
    changed[:, 1] = changed[:, 1].roll(-20, dims=-1)
    others = model.model.encode_prompts(features, prompt_masks=changed)

    def decode(**options: Any) -> Tensor:
        return model.decode_clip(features, self_attention_type=separation, **options).query_embeddings

    both, other = decode(prompts=prompts), decode(prompts=others)
    learnable_sees_prompt = not torch.allclose(both[:, :10], decode(), **NOISE)
    prompt_sees_prompt = not torch.allclose(both[:, 10], other[:, 10], **NOISE)
    alone = decode(prompts=prompts, use_learnable_queries=False)
    prompt_sees_learnable = not torch.allclose(both[:, 10:], alone, **NOISE)
    return learnable_sees_prompt, prompt_sees_prompt, prompt_sees_learnable


@pytest.mark.parametrize(
    ("separation", "expected"),
    [
        ("sep", (False, True, False)),
        ("sep-blocked", (False, False, False)),
        ("sep-l2p", (False, True, True)),
        ("none", (True, True, True)),
        ("all", (True, True, True)),
    ],
)
@torch.inference_mode()
def test_self_attention_separation(
    model: UniVSForVideoSegmentation, separation: str, expected: tuple[bool, bool, bool]
) -> None:
    assert influence(model, separation) == expected


@torch.inference_mode()
def test_blocks_equal_one_masked_attention(model: UniVSForVideoSegmentation) -> None:
    """The separate calls give what one attention over all pairs with a mask of blocks gives."""
    layer = model.model.decoder.layers[0]
    frames, learnable, prompts = 2, 4, 3
    total = learnable + prompts
    states = torch.randn(2, frames, total, 32, generator=torch.Generator().manual_seed(3))
    positions = torch.randn(states.shape, generator=torch.Generator().manual_seed(4))
    index = torch.arange(total).repeat(frames)
    is_prompt = index >= learnable
    same_side = is_prompt[:, None] == is_prompt[None]
    visible = {
        "sep": same_side,
        "sep-blocked": same_side & (~is_prompt[:, None] | (index[:, None] == index[None])),
        "sep-l2p": same_side | is_prompt[:, None],
        "all": torch.ones_like(same_side),
    }
    attention = layer.self_attn
    queries = (states + positions).flatten(1, 2)
    for separation, mask in visible.items():
        expected, _ = attention.attend(
            attention.q_proj(queries),
            attention.k_proj(queries),
            attention.v_proj(states.flatten(1, 2)),
            mask[None, None],
        )
        expected = attention.out_proj(expected).view_as(states)
        got = layer._self_attention(states, positions, learnable, separation, None)
        torch.testing.assert_close(got, expected, **NOISE)


@torch.inference_mode()
def test_task_sets_the_separation(model: UniVSForVideoSegmentation) -> None:
    video, masks = make_video(), make_masks()
    by_task = model(video, prompt_masks=masks, task="refvos")
    by_name = model(video, prompt_masks=masks, self_attention_type="sep-blocked")
    assert_same(by_task, by_name, atol=0, rtol=0)
    with pytest.raises(ValueError, match="`task` must be None or one of"):
        model(video, task="tracking")


@torch.inference_mode()
def test_expressions_average_masks_with_their_partner(model: UniVSForVideoSegmentation) -> None:
    output = model(make_video(), input_ids=make_ids())
    partner = output.prompt_similarity[0, :10].argmax(0)
    decoder = model.model.decoder
    features = model.encode_frames(make_video())
    raw = decoder.predict_masks(
        decoder.mask_embedder(decoder.layer_norm(output.last_hidden_state)), features.mask_features
    )[0]
    expected = (raw[10:] + raw[partner]) / 2
    torch.testing.assert_close(output.masks_queries_logits[0, 10:], expected, **NOISE)


@torch.inference_mode()
def test_frame_numbers_change_visual_prompts_with_absolute_positions_only() -> None:
    """Within a frame the temporal position shifts all attention scores alike, so learnable queries don't feel it."""
    video, later, prompts = make_video(), torch.tensor([[40, 41]]), {"prompt_masks": make_masks()}
    absolute, clip = tiny_model(), tiny_model(temporal_position_type="clip")
    first, second = (absolute(video, frame_idx=idx, **prompts).query_embeddings for idx in (None, later))
    torch.testing.assert_close(first[:, :10], second[:, :10], **NOISE)
    assert (first[:, 10:] - second[:, 10:]).abs().max() > 1e-2
    first, second = (clip(video, frame_idx=idx, **prompts).query_embeddings for idx in (None, later))
    assert torch.equal(first, second)


# Sampling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2])
def test_row_sums_equal_grid_sample_with_gradients(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3), (4, 6), (8, 12)]
    pixels = sum(height * width for height, width in shapes)
    value = torch.randn(batch_size, pixels, 2, 8, generator=generator)
    # Also far outside the maps, where every sample is zero.
    locations = torch.rand(batch_size, 11, 2, 3, 4, 2, generator=generator) * 2 - 0.5
    weights = torch.rand(batch_size, 11, 2, 3, 4, generator=generator)
    results = []
    for sample in (MultiScaleDeformableAttention.sample_rows, MultiScaleDeformableAttention.sample_grid):
        inputs = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
        output = sample(inputs[0], shapes, inputs[1], inputs[2])
        output.square().sum().backward()
        results.append((output, *(tensor.grad for tensor in inputs)))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=2e-4, rtol=1e-4)


def test_ranks() -> None:
    candidates = torch.tensor([[False, True, True, False, True, True], [False] * 6])
    picked = _select_by_rank(candidates, torch.tensor([[0, 3, 1], [0, 0, 0]]))
    assert picked.tolist() == [[1, 5, 2], [5, 5, 5]]
    spread = _spread_ranks(torch.tensor([100, 3, 0]), 5)
    assert spread.tolist() == [[10, 30, 50, 70, 90], [0, 1, 2, 0, 1], [0, 0, 0, 0, 0]]
    drawn = _random_ranks(torch.tensor([40, 2]), 5, 50, torch.Generator().manual_seed(0))
    assert len(set(drawn[0].tolist())) == 5 and drawn[0].max() < 40
    assert drawn[1].tolist() == [0, 1, 0, 1, 0]


@torch.inference_mode()
def test_prompts_are_deterministic_unless_a_generator_is_given(model: UniVSForVideoSegmentation) -> None:
    video, masks = make_video(), make_masks()

    def run(seed: int | None) -> Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return model(video, prompt_masks=masks, generator=generator).masks_queries_logits

    assert torch.equal(run(None), run(None))
    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert not torch.equal(run(None), run(1))


@torch.inference_mode()
def test_sampled_tokens_lie_inside_their_mask(model: UniVSForVideoSegmentation) -> None:
    """Features that name their pixel show which pixels were sampled."""
    encoder = model.model.prompt_encoder
    height, width = HEIGHT // 8, WIDTH // 8
    source = torch.zeros(1, 1, 32, height, width)
    source[0, 0, 0] = torch.arange(height * width).view(height, width)
    temporal = torch.zeros(1, 1, 32)
    masks = make_masks()
    frames = torch.zeros(1, 3, dtype=torch.int64)
    for generator in (None, torch.Generator().manual_seed(0)):
        tokens = encoder.encode_masks(source, temporal, masks, frames, 6, generator)
        for prompt in range(2):
            pixels = tokens.features[0, prompt, :, 0].long()
            rows, columns = pixels // width, pixels % width
            assert bool((masks[0, prompt, rows * 8, columns * 8] == 1).all())
            assert len(set(pixels.tolist())) == 6
        assert bool((tokens.features[0, 2] == 0).all()), "an object without a stride-8 pixel has no features"
        assert bool((tokens.positions[0, 2] != 0).any()), "but the position of its point"
    absent = encoder.encode_masks(source, temporal, torch.zeros_like(masks), frames, 6)
    assert bool((absent.features == 0).all()) and bool((absent.positions == 0).all())


@torch.inference_mode()
def test_prompt_frame_decides_which_frame_is_read(model: UniVSForVideoSegmentation) -> None:
    features = model.encode_frames(make_video(num_frames=2))
    masks = make_masks()
    frames = torch.tensor([[1, 0, 1]])
    mixed = model.encode_visual_prompts(features, prompt_masks=masks, prompt_frame_idx=frames)
    for prompt, frame in enumerate(frames[0].tolist()):
        one = model.encode_visual_prompts(
            features.frames(frame, frame + 1), frame_idx=torch.tensor([[frame]]), prompt_masks=masks
        )
        if prompt < 2:
            torch.testing.assert_close(mixed.features[:, prompt], one.features[:, prompt], **NOISE)
            torch.testing.assert_close(mixed.positions[:, prompt], one.positions[:, prompt], **NOISE)


# Text ---------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_text_is_cut_behind_the_last_end_token_without_changing_it(model: UniVSForVideoSegmentation) -> None:
    ids = make_ids(count=3)[0]
    words, sentences = model.encode_text(ids, batch_size=2)
    tower = model.model.text_encoder
    expected = torch.stack([tower(text).text_embeds.mean(0) for text in ids])
    torch.testing.assert_close(sentences, expected, **NOISE)
    expected = tower.text_projection(tower.text_model(ids[:, 0]).last_hidden_state)
    torch.testing.assert_close(words, expected, **NOISE)
    assert words.shape == (3, 77, 16)


@torch.inference_mode()
def test_overlong_text_is_pooled_at_its_start(model: UniVSForVideoSegmentation) -> None:
    first, second = torch.full((1, 1, 77), 5), torch.full((1, 1, 77), 9)
    first[..., 0] = second[..., 0] = 97
    torch.testing.assert_close(model.encode_text(first)[1], model.encode_text(second)[1], **NOISE)


@torch.inference_mode()
def test_category_names_and_their_embeddings_classify_alike(model: UniVSForVideoSegmentation) -> None:
    ids = make_ids(count=3)[0]
    by_name = model(make_video(), category_input_ids=ids)
    by_embedding = model(make_video(), category_embeddings=model.encode_text(ids)[1])
    assert by_name.class_queries_logits.shape == (1, 10, 3)
    assert_same(by_name, by_embedding, atol=0, rtol=0)


# transformers' contracts --------------------------------------------------------------------------------------------


def test_save_and_load(model: UniVSForVideoSegmentation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    video = make_video()
    with torch.inference_mode():
        expected = model(video)
        loaded, info = UniVSForVideoSegmentation.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        assert_same(loaded(video), expected, atol=0, rtol=0)
        auto = AutoModelForUniversalSegmentation.from_pretrained(tmp_path, device_map="cpu")
        assert isinstance(auto, UniVSForVideoSegmentation)
        assert_same(auto(video), expected, atol=0, rtol=0)
        base = AutoModel.from_pretrained(tmp_path)
        assert isinstance(base, UniVSModel)
        assert torch.equal(base(video).query_embeddings, expected.query_embeddings)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.inference_mode()
def test_loads_with_either_attention(model: UniVSForVideoSegmentation, tmp_path: Path, implementation: str) -> None:
    model.save_pretrained(tmp_path)
    loaded = UniVSForVideoSegmentation.from_pretrained(tmp_path, attn_implementation=implementation)
    assert loaded.config._attn_implementation == loaded.config.text_config._attn_implementation == implementation
    assert loaded.config.backbone_config._attn_implementation == "eager", "a ResNet has no attention"
    assert_same(loaded(make_video()), model(make_video()))


def test_initial_weights() -> None:
    """The published initialisation reaches modules inside modules (specification of training, section 6)."""
    model = UniVSForVideoSegmentation(tiny_config())
    deformable = model.model.pixel_decoder.encoder.layers[0].self_attn
    assert not deformable.sampling_offsets.weight.any() and not deformable.attention_weights.weight.any()
    offsets = deformable.sampling_offsets.bias.view(4, 3, 4, 2)
    assert offsets.abs().amax(-1)[0, 0].tolist() == [1, 2, 3, 4], "the points of a head lie 1 to 4 pixels away"
    attention = model.model.decoder.layers[0].self_attn
    bound = (6 / (32 + 32)) ** 0.5
    assert bound * 0.9 < attention.q_proj.weight.abs().max() <= bound
    assert 0.015 < attention.out_proj.weight.std() < 0.025
    assert 0.8 < model.model.decoder.queries_features.weight.std() < 1.2
    assert model.class_logit_scale.item() == pytest.approx(2.6593, abs=1e-4)


def test_meta_device() -> None:
    with torch.device("meta"):
        model = UniVSForVideoSegmentation(tiny_config(num_category_embeddings=3))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.category_embeddings.device.type == "meta"


@pytest.mark.parametrize(
    "backbone",
    [
        SwinConfig(embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4, out_indices=[1, 2, 3, 4]),
        ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_indices=[1, 2, 3, 4]),
    ],
    ids=["swin", "convnext"],
)
@torch.inference_mode()
def test_other_backbones(backbone: Any) -> None:
    output = tiny_model(backbone_config=backbone)(make_video())
    assert output.masks_queries_logits.shape == (1, 10, 2, HEIGHT // 4, WIDTH // 4)
    assert bool(output.masks_queries_logits.isfinite().all())


@pytest.mark.parametrize("prompts", PROMPTS)
@torch.inference_mode()
def test_sdpa_equals_eager(model: UniVSForVideoSegmentation, prompts: str) -> None:
    video = make_video()
    sdpa = model(video, **PROMPTS[prompts])
    assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    try:
        assert_same(model(video, **PROMPTS[prompts]), sdpa)
    finally:
        model.set_attn_implementation("sdpa")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prompts", ["none", "visual", "expressions"])
@torch.inference_mode()
def test_half_precision(model: UniVSForVideoSegmentation, tmp_path: Path, dtype: torch.dtype, prompts: str) -> None:
    model.save_pretrained(tmp_path)
    half = UniVSForVideoSegmentation.from_pretrained(tmp_path, dtype=dtype)
    assert half.model.decoder.layer_norm.weight.dtype == dtype
    assert half.model.pixel_decoder.level_embed.dtype == torch.float32, "the pixel decoder stays in float32"
    expected = model(make_video(), **PROMPTS[prompts])
    output = half(make_video(), **PROMPTS[prompts])
    assert output.masks_queries_logits.dtype == dtype
    assert bool(output.masks_queries_logits.isfinite().all())
    # Attention masks flip where a logit is near zero, so single queries differ; on the whole the masks agree.
    got, wanted = output.masks_queries_logits.float().flatten(), expected.masks_queries_logits.flatten()
    assert torch.corrcoef(torch.stack((got, wanted)))[0, 1] > 0.99


@torch.inference_mode()
def test_a_model_cast_as_a_whole_runs_too() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        output = tiny_model().to(dtype)(make_video(), prompt_masks=make_masks())
        assert output.masks_queries_logits.dtype == dtype
        assert bool(output.masks_queries_logits.isfinite().all())


@torch.inference_mode()
def test_autocast() -> None:
    model = tiny_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(make_video(), prompt_masks=make_masks())
    assert bool(output.masks_queries_logits.isfinite().all())


@pytest.mark.parametrize("prompts", ["none", "visual", "expressions"])
def test_gradient_checkpointing_gives_the_same_gradients(prompts: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        output = model(make_video(), **PROMPTS[prompts])
        loss = sum(stage["masks_queries_logits"].square().mean() for stage in output.auxiliary_logits)
        (loss + output.masks_queries_logits.square().mean()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any(name.startswith("model.backbone") for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


def test_training_gives_every_layer_and_reaches_every_weight_it_should() -> None:
    model = tiny_model(num_category_embeddings=4).train()
    model.category_embeddings.normal_()
    for prompts in ("none", "visual", "expressions"):
        output = model(make_video(), **PROMPTS[prompts])
        assert len(output.auxiliary_logits) == model.config.decoder_layers
        total = output.masks_queries_logits.mean() + output.class_queries_logits.mean()
        for stage in output.auxiliary_logits:
            total = total + stage["masks_queries_logits"].mean() + stage["class_queries_logits"].mean()
        total.backward()
    features = model.encode_frames(make_video())
    prompts = model.encode_categories(features, torch.randn(1, 3, 16))
    model.decode_clip(features, prompts=prompts).masks_queries_logits.mean().backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    # The temperature of the ReID loss acts in the loss alone.
    assert without == {"reid_logit_scale"}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen and all(name.startswith("model.text_encoder.") for name in frozen)


def test_frozen_batch_norm() -> None:
    model = tiny_model().train()
    norms = [module for module in model.modules() if isinstance(module, UniVSFrozenBatchNorm2d)]
    assert norms and not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any("num_batches_tracked" in key for key in model.state_dict())
    reference = nn.BatchNorm2d(5).eval()
    frozen = UniVSFrozenBatchNorm2d(5)
    state = {
        "weight": torch.rand(5),
        "bias": torch.rand(5),
        "running_mean": torch.rand(5),
        "running_var": torch.rand(5),
    }
    frozen.load_state_dict(state)
    reference.load_state_dict(state, strict=False)
    images = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(frozen.train()(images), reference(images))
    before = {name: buffer.clone() for name, buffer in norms[0].named_buffers()}
    model(make_video())
    assert all(torch.equal(buffer, before[name]) for name, buffer in norms[0].named_buffers())
    trainable = tiny_model(freeze_backbone_batch_norm=False)
    assert any(isinstance(module, nn.BatchNorm2d) for module in trainable.modules())


@torch.inference_mode()
def test_hidden_states_and_attentions(model: UniVSForVideoSegmentation) -> None:
    video = make_video()
    layers = model.config.decoder_layers
    output = model(video, output_hidden_states=True)
    assert len(output.hidden_states) == layers + 1
    assert all(state.shape == (1, 2, 10, 32) for state in output.hidden_states)
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    chosen = model(video, output_hidden_states=[0, -1]).hidden_states
    assert [state is not None for state in chosen] == [True, *[False] * (layers - 1), True]
    assert model(video, output_attentions=True).attentions is None, "sdpa has no weights to give"
    model.set_attn_implementation("eager")
    try:
        attentions = model(video, output_attentions=True).attentions
    finally:
        model.set_attn_implementation("sdpa")
    assert [attention.shape for attention in attentions] == [(2, 4, 10, 6), (2, 4, 10, 24), (2, 4, 10, 96)]
    for attention in attentions:
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 4, 10))


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@torch.no_grad()
def test_compiles_without_graph_breaks(model: UniVSForVideoSegmentation, backend: str) -> None:
    """`fullgraph=True` raises at the first graph break, whatever the backend."""
    torch._dynamo.reset()
    video = make_video()
    features = model.encode_frames(video)
    compiled = torch.compile(model.encode_frames, fullgraph=True, backend=backend)(video)
    torch.testing.assert_close(compiled.mask_features, features.mask_features, **NOISE)
    prompts = {
        "none": None,
        "masks": model.model.encode_prompts(features, prompt_masks=make_masks()),
        "expressions": model.encode_expressions(features, input_ids=make_ids()),
    }
    decode = torch.compile(model.decode_clip, fullgraph=True, backend=backend)
    for kind in prompts.values():
        assert_same(decode(features, prompts=kind), model.decode_clip(features, prompts=kind))


@pytest.mark.skipif(
    not is_kernels_available(), reason="the `kernels` library that transformers accepts is not installed"
)
@torch.inference_mode()
def test_hub_kernels_leave_the_cpu_path_as_it_is(model: UniVSForVideoSegmentation, tmp_path: Path) -> None:
    assert MultiScaleDeformableAttention.kernel_layer_name == "MultiScaleDeformableAttention"
    model.save_pretrained(tmp_path)
    loaded = UniVSForVideoSegmentation.from_pretrained(tmp_path, use_kernels=True)
    assert_same(loaded(make_video()), model(make_video()), atol=0, rtol=0)


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (torch.zeros(1, 3, HEIGHT, WIDTH), r"of shape \(videos, frames, 3, height, width\), got \(1, 3, 64, 96\)"),
        (torch.zeros(1, 2, 1, HEIGHT, WIDTH), "`pixel_values_videos` must be of shape"),
        (torch.zeros(1, 2, 3, 60, 96), r"divisible by 32 .* got 2 frame\(s\) of 60x96"),
        (torch.zeros(1, 0, 3, HEIGHT, WIDTH), r"got 0 frame\(s\)"),
    ],
)
def test_bad_frames(model: UniVSForVideoSegmentation, video: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(video)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_masks": torch.zeros(1, 2, 60, 96)}, r"`prompt_masks` must be of shape \(1, prompts, 64, 96\)"),
        ({"prompt_boxes": torch.zeros(1, 2, 3)}, r"`prompt_boxes` must be of shape \(1, prompts, 4\)"),
        ({"prompt_points": torch.zeros(2, 2)}, r"`prompt_points` must be of shape \(1, prompts, 2\)"),
        (
            {"prompt_masks": make_masks(), "prompt_frame_idx": torch.zeros(1, 2, dtype=torch.int64)},
            r"`prompt_frame_idx` must be of shape \(1, 3\)",
        ),
        ({"frame_idx": torch.zeros(1, 5, dtype=torch.int64)}, r"`frame_idx` must be of shape \(1, 2\)"),
        ({"prompt_masks": make_masks(), "input_ids": make_ids()}, "call the model once for each"),
        ({"use_learnable_queries": False}, "there is no query"),
        ({"category_input_ids": torch.zeros(2, 77, dtype=torch.int64)}, r"\(texts, templates, length\)"),
    ],
)
def test_bad_prompts(model: UniVSForVideoSegmentation, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(make_video(), **arguments)


def test_expressions_need_features_or_ids(model: UniVSForVideoSegmentation) -> None:
    with pytest.raises(ValueError, match="Give `input_ids`"):
        model.encode_expressions(model.encode_frames(make_video()))


def test_reference_points_are_pixel_centres() -> None:
    points = UniVSPixelDecoder.reference_points([(1, 2)], torch.device("cpu"), torch.float32)
    torch.testing.assert_close(points, torch.tensor([[0.25, 0.5], [0.75, 0.5]]))


def test_frames_encoded_in_several_passes_are_the_same(
    model: UniVSForVideoSegmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(batch_size=2, num_frames=3)
    passes: list[int] = []
    backbone = model.model.backbone
    hook = backbone.register_forward_pre_hook(lambda module, inputs: passes.append(len(inputs[0])))
    with torch.no_grad():
        whole = model.encode_frames(video, cache_attention=True)
        monkeypatch.setattr(modeling_univs, "_CPU_PIXELS_PER_PASS", 4 * HEIGHT * WIDTH + 1)
        parts = model.encode_frames(video, cache_attention=True)
    hook.remove()
    assert passes == [6, 4, 2]
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, **NOISE)
