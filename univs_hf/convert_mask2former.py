# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Makes the start of a UniVS training from a Mask2Former of transformers (specification of training, section 6).

Backbone, pixel decoder, and the mask decoder's image attention, self-attention, feed-forward layers and mask head are
taken over. What Mask2Former does not have is initialised at random: the prompt encoder, the prompt attention, the
similarity classifier, and the learnable queries beyond the source's.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from .configuration_univs import BACKBONE_PRESETS, UniVSConfig
from .convert_files import check_output_directory, read_tensors, write_pretrained
from .convert_key_map import SPLIT_ROWS, KeyRule, generated_tensor
from .convert_univs_checkpoint import (
    NUM_CATEGORY_EMBEDDINGS,
    ConversionReport,
    KeyProblems,
    apply_rules,
    build_processor,
    cast_state_dict,
    check_category_table,
    check_dtype,
    check_text_encoder_choice,
    map_text_tower,
)

_ENCODER = "model.pixel_level_module.encoder."
_PIXEL_DECODER = "model.pixel_level_module.decoder."
_TRANSFORMER = "model.transformer_module."
_QUERIES = ("queries_features.weight", "queries_embedder.weight")
# Fields of the same name and meaning in both configurations.
_SHARED_FIELDS = (
    "feature_size",
    "mask_feature_size",
    "hidden_dim",
    "encoder_layers",
    "encoder_feedforward_dim",
    "dim_feedforward",
    "num_attention_heads",
    "activation_function",
    "dropout",
    "feature_strides",
    "common_stride",
)


def _decoder_rules(config: UniVSConfig) -> Iterator[KeyRule]:
    for layer in range(config.decoder_layers):
        source, target = f"{_TRANSFORMER}decoder.layers.{layer}.", f"model.decoder.layers.{layer}."
        for leaf in ("weight", "bias"):
            projections = tuple(f"{target}cross_attn.{part}_proj.{leaf}" for part in "qkv")
            yield KeyRule(f"{source}cross_attn.in_proj_{leaf}", projections, SPLIT_ROWS)
            for name in (
                *(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")),
                "cross_attn.out_proj",
                "self_attn_layer_norm",
                "cross_attn_layer_norm",
                "fc1",
                "fc2",
                "final_layer_norm",
            ):
                yield KeyRule(f"{source}{name}.{leaf}", (f"{target}{name}.{leaf}",))
    for leaf in ("weight", "bias"):
        yield KeyRule(f"{_TRANSFORMER}decoder.layernorm.{leaf}", (f"model.decoder.layer_norm.{leaf}",))
        for layer in range(3):
            yield KeyRule(
                f"{_TRANSFORMER}decoder.mask_predictor.mask_embedder.{layer}.0.{leaf}",
                (f"model.decoder.mask_embedder.layers.{layer}.{leaf}",),
            )
    yield KeyRule(f"{_TRANSFORMER}level_embed.weight", ("model.decoder.level_embed.weight",))


def _rules(config: UniVSConfig, fresh: dict[str, torch.Tensor]) -> list[KeyRule]:
    """One rule per tensor that is taken over whole. Backbone and pixel decoder have the same names inside."""
    rules = list(_decoder_rules(config))
    for ours, theirs in (("model.backbone.", _ENCODER), ("model.pixel_decoder.", _PIXEL_DECODER)):
        rules += [
            KeyRule(theirs + key.removeprefix(ours), (key,))
            for key, tensor in fresh.items()
            if key.startswith(ours) and generated_tensor(key, tuple(tensor.shape)) is None
        ]
    return rules


def _is_dropped(key: str) -> bool:
    """Whether a tensor is not needed: the classifier, what only training reads, and what no output depends on.

    The last norm of a Swin is in the files of some versions of transformers only.
    """
    return key.startswith(("class_predictor.", "criterion.")) or (
        key.startswith(_ENCODER)
        and key.removeprefix(_ENCODER).removeprefix("swin.").startswith("layernorm.")
        or key.endswith((".num_batches_tracked", ".relative_position_index"))
    )


def _make_config(source: Mask2FormerConfig, num_queries: int, num_category_embeddings: int) -> UniVSConfig:
    if source.pre_norm:
        raise ValueError("`source_dir`: the Mask2Former has `pre_norm=True`; UniVS normalises after each layer.")
    backbone = source.backbone_config
    if backbone is None or backbone.model_type not in ("swin", "resnet"):
        raise ValueError(
            "`source_dir`: the Mask2Former must have a Swin or ResNet backbone of transformers, got "
            f"{getattr(backbone, 'model_type', None)!r}."
        )
    fields: dict[str, Any] = {name: getattr(source, name) for name in _SHARED_FIELDS}
    # Mask2Former counts the prediction before the first layer as a layer.
    fields |= {"decoder_layers": source.decoder_layers - 1, "backbone_config": backbone.to_dict()}
    fields |= {"num_queries": num_queries, "num_category_embeddings": num_category_embeddings}
    for name in BACKBONE_PRESETS:
        preset = UniVSConfig.from_preset(name).backbone_config
        shape = ("model_type", "depths", "embed_dim", "num_heads", "window_size", "layer_type", "hidden_sizes")
        if all(getattr(preset, field, None) == getattr(backbone, field, None) for field in shape):
            return UniVSConfig.from_preset(name, **fields)
    return UniVSConfig(**fields)


def _load_source(source_dir: str | os.PathLike) -> Mask2FormerForUniversalSegmentation:
    """Loads through transformers, which knows the names that older versions gave to the weights."""
    if not (Path(source_dir) / "config.json").is_file():
        raise ValueError(
            "`source_dir` must be a directory with the config.json and the weights of a Mask2Former, got "
            f"{os.fspath(source_dir)!r}."
        )
    source_config = AutoConfig.from_pretrained(source_dir)
    if not isinstance(source_config, Mask2FormerConfig):
        raise ValueError(f"`source_dir` must hold a Mask2Former, got a model of type {source_config.model_type!r}.")
    model, loading = Mask2FormerForUniversalSegmentation.from_pretrained(
        source_dir, output_loading_info=True, ignore_mismatched_sizes=True, dtype=torch.float32
    )
    problems = KeyProblems("The Mask2Former")
    problems.missing = sorted(key for key in loading["missing_keys"] if not _is_dropped(key))
    problems.unexpected = sorted(key for key in loading["unexpected_keys"] if not _is_dropped(key))
    problems.mismatched = sorted(
        f"{key}: expected {list(expected)}, got {list(found)}"
        for key, found, expected in loading["mismatched_keys"]
        if not _is_dropped(key)
    )
    problems.raise_if_any()
    return model


def convert_mask2former(
    source_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    text_encoder_path: str | os.PathLike | None = None,
    category_table_path: str | os.PathLike | None = None,
    tokenizer: str | os.PathLike | None = None,
    num_queries: int = 200,
    allow_missing_text_encoder: bool = False,
    seed: int = 0,
    dtype: str = "float32",
    overwrite: bool = False,
) -> ConversionReport:
    """Writes a `UniVSForVideoSegmentation` that starts from the weights of a Mask2Former.

    Args:
        source_dir: Directory with a `Mask2FormerForUniversalSegmentation` (Swin or ResNet backbone).
        output_dir: Directory to write. It appears when everything is in it.
        text_encoder_path, category_table_path, tokenizer, allow_missing_text_encoder: See `convert_checkpoint`.
        num_queries: Learnable queries of the result. The source's are copied to the first rows, further rows are
            initialised at random; if the source has more, its first `num_queries` are taken.
        seed: Of the random initialisation.
        dtype: `"float32"`, `"float16"` or `"bfloat16"`, the type of all floating-point tensors.
        overwrite: Replace what is at `output_dir`.

    Returns:
        What was taken over, dropped and initialised at random.

    Raises:
        ValueError: An argument does not hold, the source is no Mask2Former that UniVS can start from, or a key is
            unexpected, missing or mis-shaped (all are listed). Nothing is written then.
    """
    from .modeling_univs import UniVSForVideoSegmentation

    check_dtype(dtype)
    check_text_encoder_choice(text_encoder_path, allow_missing_text_encoder)
    if num_queries < 1:
        raise ValueError(f"`num_queries` must be at least 1, got {num_queries}.")
    sources = (source_dir, text_encoder_path, category_table_path, tokenizer)
    output = check_output_directory(output_dir, overwrite, sources)
    table = None if category_table_path is None else read_tensors(category_table_path, "category_table_path")
    text = None if text_encoder_path is None else read_tensors(text_encoder_path, "text_encoder_path")
    model = _load_source(source_dir)
    config = _make_config(model.config, num_queries, 0 if table is None else NUM_CATEGORY_EMBEDDINGS)
    if table is not None:
        table = check_category_table(table, NUM_CATEGORY_EMBEDDINGS, config.text_config.projection_dim)
    processor = build_processor(config, tokenizer)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result = dict(UniVSForVideoSegmentation(config).state_dict())
    problems = KeyProblems("The Mask2Former")
    report = ConversionReport(f"Mask2Former of {os.fspath(source_dir)}")
    remaining: dict[str, torch.Tensor] = {}
    queries: dict[str, torch.Tensor] = {}
    for key, tensor in model.state_dict().items():
        name = key.removeprefix(_TRANSFORMER)
        if _is_dropped(key):
            report.dropped.append(key)
            continue
        report.mapped.append(key)
        (queries if name in _QUERIES else remaining)[name if name in _QUERIES else key] = tensor
    mapped = apply_rules(remaining, _rules(config, result), result, problems)
    if text is not None:
        mapped |= map_text_tower(text, config, result, report, problems)
    problems.raise_if_any()
    if table is not None:
        mapped["category_embeddings"] = table
    for key, tensor in result.items():
        if (neutral := generated_tensor(key, tuple(tensor.shape))) is not None:
            mapped[key] = neutral
            report.generated.append(key)
    num_copied = min(num_queries, model.config.num_queries)
    for name, tensor in queries.items():
        rows = result[f"model.decoder.{name}"].clone()
        rows[:num_copied] = tensor[:num_copied]
        mapped[f"model.decoder.{name}"] = rows
    report.fresh = [key for key in result if key not in mapped]
    report.notes.append(
        f"queries: {num_copied} of the source's {model.config.num_queries} copied to the first rows, "
        f"{num_queries - num_copied} initialised at random"
    )
    if text is None:
        report.notes.append("the text tower was initialised at random: expressions and category names mean nothing")
    config.architectures = ["UniVSForVideoSegmentation"]
    config.dtype = dtype
    state_dict = cast_state_dict({**result, **mapped}, dtype)
    write_pretrained(output, state_dict, config, processor)
    return report


__all__ = ["convert_mask2former"]
