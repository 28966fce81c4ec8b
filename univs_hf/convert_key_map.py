# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The names of a weight in the original checkpoints and here, both ways.

One [`KeyRule`] per original tensor says which tensors of `UniVSForVideoSegmentation` hold it and how. The rules of a
configuration are listed in full, so that nothing is matched by accident: a key without a rule is unexpected, a rule
without a key is missing. Specification A.5.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from .configuration_univs import UniVSConfig

_PIXEL_DECODER = "sem_seg_head.pixel_decoder."
_PREDICTOR = "sem_seg_head.predictor."


@dataclass(frozen=True)
class Transform:
    """How one original tensor becomes one or several of ours, and back.

    Attributes:
        name: For messages.
        forward: Original tensor and number of targets -> our tensors. Views where possible: nothing is copied but the
            640x640 text projection.
        backward: Our tensors -> the original tensor.
        original_shape: Shapes of our tensors -> shape of the original tensor.
    """

    name: str
    forward: Callable[[torch.Tensor, int], Sequence[torch.Tensor]]
    backward: Callable[[Sequence[torch.Tensor]], torch.Tensor]
    original_shape: Callable[[Sequence[tuple[int, ...]]], tuple[int, ...]]


COPY = Transform(
    "copy",
    forward=lambda tensor, count: (tensor,),
    backward=lambda parts: parts[0],
    original_shape=lambda shapes: tuple(shapes[0]),
)
# Fused attention projections hold the rows of query, key and value one after the other.
SPLIT_ROWS = Transform(
    "split rows",
    forward=lambda tensor, count: tensor.chunk(count, dim=0),
    backward=lambda parts: torch.cat(list(parts), dim=0),
    original_shape=lambda shapes: (sum(shape[0] for shape in shapes), *shapes[0][1:]),
)
# The temperatures are 1x1 embeddings in the original and numbers here.
SCALAR = Transform(
    "1x1 to scalar",
    forward=lambda tensor, count: (tensor.reshape(()),),
    backward=lambda parts: parts[0].reshape(1, 1),
    original_shape=lambda shapes: (1, 1),
)
# CLIP multiplies by its text projection from the right.
TRANSPOSE = Transform(
    "transpose",
    forward=lambda tensor, count: (tensor.t().contiguous(),),
    backward=lambda parts: parts[0].t().contiguous(),
    original_shape=lambda shapes: tuple(reversed(shapes[0])),
)


@dataclass(frozen=True)
class KeyRule:
    """Where one tensor of an original file lives in `UniVSForVideoSegmentation`.

    Attributes:
        original: Key in the original file.
        targets: Keys of our state dict, in the order in which `transform` gives them.
        transform: How the values are related.
    """

    original: str
    targets: tuple[str, ...]
    transform: Transform = COPY


# Older files call the learnable query content by another name.
ORIGINAL_ALIASES: dict[str, str] = {f"{_PREDICTOR}static_query.weight": f"{_PREDICTOR}query_feat.weight"}

# Tensors of an original checkpoint that the network computes itself or that only its training code reads.
DROPPED_ORIGINAL: tuple[re.Pattern[str], ...] = (
    re.compile(r"criterion(_t)?\..+"),
    re.compile(r"pixel_(mean|std)"),
    re.compile(r"backbone\..+\.relative_position_index"),
)

# What CLIP's own files hold besides the text tower. In a file that prefixes the tower with `lang_encoder.`, everything
# without the prefix belongs to another module.
TEXT_TOWER_PREFIX = "lang_encoder."
DROPPED_TEXT_TOWER: tuple[re.Pattern[str], ...] = (
    re.compile(r"visual\..+"),
    re.compile(r"logit_scale|attn_mask|input_resolution|context_length|vocab_size"),
)

# Tensors that transformers' backbones register and no output of ours depends on.
_GENERATED: tuple[tuple[re.Pattern[str], Callable[[tuple[int, ...]], torch.Tensor]], ...] = (
    (re.compile(r"model\.backbone\.swin\.layernorm\.weight"), torch.ones),
    (re.compile(r"model\.backbone\.swin\.layernorm\.bias"), torch.zeros),
    (
        re.compile(r"model\.backbone\..+\.num_batches_tracked"),
        lambda shape: torch.zeros(shape, dtype=torch.long),
    ),
)


def generated_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor | None:
    """The neutral value of a tensor of ours that has no counterpart in an original file, or None if it has one."""
    for pattern, make in _GENERATED:
        if pattern.fullmatch(key):
            return make(shape)
    return None


def _leaves(original: str, target: str, names: Iterable[str] = ("weight", "bias")) -> Iterator[KeyRule]:
    for name in names:
        yield KeyRule(f"{original}.{name}", (f"{target}.{name}",))


def _attention(original: str, target: str) -> Iterator[KeyRule]:
    """`torch.nn.MultiheadAttention` (one fused input projection) -> four linear layers."""
    for name in ("weight", "bias"):
        yield KeyRule(
            f"{original}.in_proj_{name}", tuple(f"{target}.{part}_proj.{name}" for part in "qkv"), SPLIT_ROWS
        )
    yield from _leaves(f"{original}.out_proj", f"{target}.out_proj")


def _resnet_rules(backbone_config) -> Iterator[KeyRule]:
    if backbone_config.layer_type != "bottleneck":
        raise ValueError(
            "`backbone_config.layer_type` must be 'bottleneck' (the original has no other residual block), got "
            f"{backbone_config.layer_type!r}."
        )
    norm = ("weight", "bias", "running_mean", "running_var")
    source, target = "backbone.", "model.backbone."

    def convolution(original: str, ours: str) -> Iterator[KeyRule]:
        yield from _leaves(f"{source}{original}", f"{target}{ours}.convolution", ("weight",))
        yield from _leaves(f"{source}{original}.norm", f"{target}{ours}.normalization", norm)

    yield from convolution("stem.conv1", "embedder.embedder")
    in_channels = backbone_config.embedding_size
    for stage, (depth, channels) in enumerate(zip(backbone_config.depths, backbone_config.hidden_sizes, strict=True)):
        has_stride = stage > 0 or backbone_config.downsample_in_first_stage
        for block in range(depth):
            original, ours = f"res{stage + 2}.{block}", f"encoder.stages.{stage}.layers.{block}"
            if block == 0 and (has_stride or in_channels != channels):
                yield from convolution(f"{original}.shortcut", f"{ours}.shortcut")
            for index in range(3):
                yield from convolution(f"{original}.conv{index + 1}", f"{ours}.layer.{index}")
        in_channels = channels


def _swin_rules(backbone_config) -> Iterator[KeyRule]:
    source, target = "backbone.", "model.backbone."
    embeddings = f"{target}swin.embeddings."
    yield from _leaves(f"{source}patch_embed.proj", f"{embeddings}patch_embeddings.projection")
    yield from _leaves(f"{source}patch_embed.norm", f"{embeddings}norm")
    last = len(backbone_config.depths) - 1
    for stage, depth in enumerate(backbone_config.depths):
        for block in range(depth):
            original = f"{source}layers.{stage}.blocks.{block}."
            ours = f"{target}swin.encoder.layers.{stage}.blocks.{block}."
            yield from _leaves(f"{original}norm1", f"{ours}layernorm_before")
            table = "relative_position_bias_table"
            yield KeyRule(f"{original}attn.{table}", (f"{ours}attention.relative_position_bias.{table}",))
            for name in ("weight", "bias"):
                yield KeyRule(
                    f"{original}attn.qkv.{name}",
                    tuple(f"{ours}attention.{part}_proj.{name}" for part in "qkv"),
                    SPLIT_ROWS,
                )
            yield from _leaves(f"{original}attn.proj", f"{ours}attention.o_proj")
            yield from _leaves(f"{original}norm2", f"{ours}layernorm_after")
            yield from _leaves(f"{original}mlp.fc1", f"{ours}mlp.fc1")
            yield from _leaves(f"{original}mlp.fc2", f"{ours}mlp.fc2")
        if stage < last:
            original, ours = f"{source}layers.{stage}.downsample", f"{target}swin.encoder.layers.{stage}.downsample"
            yield from _leaves(f"{original}.reduction", f"{ours}.reduction", ("weight",))
            yield from _leaves(f"{original}.norm", f"{ours}.norm")
        yield from _leaves(f"{source}norm{stage}", f"{target}hidden_states_norms.stage{stage + 1}")


_BACKBONE_RULES: dict[str, Callable[..., Iterator[KeyRule]]] = {"resnet": _resnet_rules, "swin": _swin_rules}


def _pixel_decoder_rules(config: UniVSConfig) -> Iterator[KeyRule]:
    source, target = _PIXEL_DECODER, "model.pixel_decoder."
    for level in range(len(config.feature_strides) - 1):
        for part in (0, 1):
            yield from _leaves(f"{source}input_proj.{level}.{part}", f"{target}input_projections.{level}.{part}")
    yield KeyRule(f"{source}transformer.level_embed", (f"{target}level_embed",))
    for layer in range(config.encoder_layers):
        original, ours = f"{source}transformer.encoder.layers.{layer}.", f"{target}encoder.layers.{layer}."
        for name in ("sampling_offsets", "attention_weights", "value_proj", "output_proj"):
            yield from _leaves(f"{original}self_attn.{name}", f"{ours}self_attn.{name}")
        yield from _leaves(f"{original}norm1", f"{ours}self_attn_layer_norm")
        yield from _leaves(f"{original}linear1", f"{ours}fc1")
        yield from _leaves(f"{original}linear2", f"{ours}fc2")
        yield from _leaves(f"{original}norm2", f"{ours}final_layer_norm")
    yield from _leaves(f"{source}mask_features", f"{target}mask_projection")
    for name in ("adapter_1", "layer_1"):
        yield from _leaves(f"{source}{name}", f"{target}{name}.0", ("weight",))
        yield from _leaves(f"{source}{name}.norm", f"{target}{name}.1")


def _decoder_rules(config: UniVSConfig) -> Iterator[KeyRule]:
    source, target = _PREDICTOR, "model.decoder."
    for layer in range(config.decoder_layers):
        ours = f"{target}layers.{layer}."
        for original, attention, attribute in (
            ("transformer_prompt_self_attention_layers", "multihead_attn", "prompt_attn"),
            ("transformer_cross_attention_layers", "multihead_attn", "cross_attn"),
            ("transformer_self_attention_layers", "self_attn", "self_attn"),
        ):
            yield from _attention(f"{source}{original}.{layer}.{attention}", f"{ours}{attribute}")
            yield from _leaves(f"{source}{original}.{layer}.norm", f"{ours}{attribute}_layer_norm")
        feed_forward = f"{source}transformer_ffn_layers.{layer}."
        yield from _leaves(f"{feed_forward}linear1", f"{ours}fc1")
        yield from _leaves(f"{feed_forward}linear2", f"{ours}fc2")
        yield from _leaves(f"{feed_forward}norm", f"{ours}final_layer_norm")
    yield from _leaves(f"{source}decoder_norm", f"{target}layer_norm")
    yield from _leaves(f"{source}query_feat", f"{target}queries_features", ("weight",))
    yield from _leaves(f"{source}query_embed", f"{target}queries_embedder", ("weight",))
    yield from _leaves(f"{source}level_embed", f"{target}level_embed", ("weight",))
    for layer in range(3):
        yield from _leaves(f"{source}mask_embed.layers.{layer}", f"{target}mask_embedder.layers.{layer}")


def _prompt_and_head_rules(config: UniVSConfig) -> Iterator[KeyRule]:
    source, target = _PREDICTOR, "model.prompt_encoder."
    yield from _leaves(f"{source}text_norm", f"{target}text_layer_norm")
    yield from _leaves(f"{source}text2vis_projection", f"{target}text_projection")
    if config.text_image_attention:
        original = f"{source}lang2vision_cross_attention_layer."
        yield from _attention(f"{original}multihead_attn", f"{target}text_image_attention")
        yield from _leaves(f"{original}norm", f"{target}text_image_layer_norm")
    for original, ours in (("detection", "category"), ("sot", "visual"), ("grounding", "expression")):
        yield from _leaves(f"{source}prompt_{original}", f"{target}{ours}_embed", ("weight",))
    yield from _leaves(f"{source}vis2text_projection", "visual_to_text_projection")
    yield KeyRule(f"{source}cls_temp.weight", ("class_logit_scale",), SCALAR)
    yield KeyRule(f"{source}reid_temp.weight", ("reid_logit_scale",), SCALAR)


def checkpoint_rules(config: UniVSConfig) -> list[KeyRule]:
    """Every tensor of an original UniVS checkpoint of this configuration.

    Args:
        config: Its backbone must be a bottleneck ResNet or a Swin, the two that the original has.

    Returns:
        One rule per original tensor; together their targets are all tensors of `UniVSForVideoSegmentation` except the
        text tower, the category table and what [`generated_tensor`] makes.

    Raises:
        ValueError: The backbone has no counterpart in the original.
    """
    model_type = config.backbone_config.model_type
    if model_type not in _BACKBONE_RULES:
        raise ValueError(
            f"`config.backbone_config` is of type {model_type!r}, which the original does not have; accepted are "
            f"{sorted(_BACKBONE_RULES)}."
        )
    return [
        *_BACKBONE_RULES[model_type](config.backbone_config),
        *_pixel_decoder_rules(config),
        *_decoder_rules(config),
        *_prompt_and_head_rules(config),
    ]


def text_tower_rules(config: UniVSConfig) -> list[KeyRule]:
    """Every tensor of the text tower in a CLIP or RegionCLIP file, without the prefix `lang_encoder.`.

    Args:
        config: `config.text_config.num_hidden_layers` says how many blocks there are.
    """
    target = "model.text_encoder."
    embeddings = f"{target}text_model.embeddings."
    rules = [
        KeyRule("token_embedding.weight", (f"{embeddings}token_embedding.weight",)),
        KeyRule("positional_embedding", (f"{embeddings}position_embedding.weight",)),
        KeyRule("text_projection", (f"{target}text_projection.weight",), TRANSPOSE),
        *_leaves("ln_final", f"{target}text_model.final_layer_norm"),
    ]
    for layer in range(config.text_config.num_hidden_layers):
        original, ours = f"transformer.resblocks.{layer}.", f"{target}text_model.encoder.layers.{layer}."
        rules += [
            *_attention(f"{original}attn", f"{ours}self_attn"),
            *_leaves(f"{original}ln_1", f"{ours}layer_norm1"),
            *_leaves(f"{original}mlp.c_fc", f"{ours}mlp.fc1"),
            *_leaves(f"{original}mlp.c_proj", f"{ours}mlp.fc2"),
            *_leaves(f"{original}ln_2", f"{ours}layer_norm2"),
        ]
    return rules


def _stage_depths(keys: Iterable[str], pattern: str) -> list[int]:
    """Blocks per stage, counted from keys in which `pattern` captures (stage, block)."""
    blocks: dict[int, set[int]] = {}
    for key in keys:
        if match := re.match(pattern, key):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    return [len(blocks[stage]) for stage in sorted(blocks)]


def recognise_backbone(original: Mapping[str, torch.Tensor]) -> str:
    """Finds the released backbone that an original checkpoint holds, from the names and shapes of its tensors.

    Args:
        original: Original key -> tensor (any device, the values are not read).

    Returns:
        A preset name of [`UniVSConfig.from_preset`].

    Raises:
        ValueError: No released backbone fits; the message says what was found and what is accepted.
    """
    presets = {"resnet50": "a ResNet of depths [3, 4, 6, 3]"}
    swins: dict[tuple[int, tuple[int, ...], int], str] = {}
    for name in ("swin-tiny", "swin-base", "swin-large"):
        backbone = UniVSConfig.from_preset(name).backbone_config
        swins[(backbone.embed_dim, tuple(backbone.depths), backbone.window_size)] = name
        presets[name] = (
            f"a Swin of width {backbone.embed_dim}, depths {list(backbone.depths)}, window {backbone.window_size}"
        )

    if "backbone.stem.conv1.weight" in original:
        depths = _stage_depths(original, r"backbone\.res(\d+)\.(\d+)\.")
        if depths == [3, 4, 6, 3] and any(key.endswith(".conv3.weight") for key in original):
            return "resnet50"
        found = f"a ResNet of depths {depths}"
    elif "backbone.patch_embed.proj.weight" in original:
        width = original["backbone.patch_embed.proj.weight"].shape[0]
        depths = _stage_depths(original, r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.")
        table = original.get("backbone.layers.0.blocks.0.attn.relative_position_bias_table")
        # The table has (2 * window - 1) ** 2 rows.
        window = None if table is None else (round(table.shape[0] ** 0.5) + 1) // 2
        if (width, tuple(depths), window) in swins:
            return swins[(width, tuple(depths), window)]
        found = f"a Swin of width {width}, depths {depths}, window {window}"
    else:
        first = ", ".join(list(original)[:5]) or "no key at all"
        found = f"neither `backbone.stem.conv1.weight` nor `backbone.patch_embed.proj.weight` (first keys: {first})"
    accepted = "; ".join(f"{name!r} ({text})" for name, text in presets.items())
    raise ValueError(
        f"The checkpoint's backbone is none of the released ones: found {found}, accepted are {accepted}. Pass "
        "`config` to convert another one."
    )


__all__ = [
    "COPY",
    "DROPPED_ORIGINAL",
    "DROPPED_TEXT_TOWER",
    "ORIGINAL_ALIASES",
    "SCALAR",
    "SPLIT_ROWS",
    "TEXT_TOWER_PREFIX",
    "TRANSPOSE",
    "KeyRule",
    "Transform",
    "checkpoint_rules",
    "generated_tensor",
    "recognise_backbone",
    "text_tower_rules",
]
