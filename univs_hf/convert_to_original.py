# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Writes a model of this package under the names of the original's files, bit for bit."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from .configuration_univs import UniVSConfig
from .convert_files import check_output_file, write_tensors
from .convert_key_map import KeyRule, checkpoint_rules, text_tower_rules

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation


def _load_ours(model_or_dir: "UniVSForVideoSegmentation | str | os.PathLike") -> tuple[dict, UniVSConfig]:
    if not isinstance(model_or_dir, str | os.PathLike):
        return dict(model_or_dir.state_dict()), model_or_dir.config
    directory = Path(model_or_dir)
    files = sorted(directory.glob("model*.safetensors"))
    if not files or not (directory / "config.json").is_file():
        raise ValueError(
            f"`model_or_dir` must be a model or a directory with config.json and model.safetensors, got {directory}."
        )
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors.update(load_file(file))
    return tensors, UniVSConfig.from_pretrained(directory)


def _export(tensors: Mapping[str, torch.Tensor], rules: Iterable[KeyRule]) -> dict[str, torch.Tensor]:
    return {
        rule.original: rule.transform.backward([tensors[target].detach() for target in rule.targets]) for rule in rules
    }


def export_original_state_dict(
    model_or_dir: "UniVSForVideoSegmentation | str | os.PathLike",
) -> dict[str, torch.Tensor]:
    """The weights under the original's names: what [`convert_state_dict`] takes as `original`, bit for bit.

    The Swin index buffers are left out; the original computes them itself.

    Args:
        model_or_dir: A model, or a directory that `save_pretrained` wrote.

    Returns:
        Original key -> tensor.

    Raises:
        ValueError: The directory holds no model, or the backbone has no counterpart in the original.
    """
    tensors, config = _load_ours(model_or_dir)
    return _export(tensors, checkpoint_rules(config))


def export_text_tower_state_dict(
    model_or_dir: "UniVSForVideoSegmentation | str | os.PathLike",
) -> dict[str, torch.Tensor]:
    """The text tower under CLIP's names (no prefix); see [`export_original_state_dict`]."""
    tensors, config = _load_ours(model_or_dir)
    return _export(tensors, text_tower_rules(config))


def write_original_checkpoint(
    model_or_dir: "UniVSForVideoSegmentation | str | os.PathLike",
    checkpoint_path: str | os.PathLike,
    *,
    text_encoder_path: str | os.PathLike | None = None,
    category_table_path: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the files that the original reads: `{"model": weights}`, and on request text tower and category table.

    Args:
        model_or_dir: A model, or a directory that `save_pretrained` wrote.
        checkpoint_path: File to write.
        text_encoder_path: File to write the text tower to.
        category_table_path: File to write the category table to.
        overwrite: Replace existing files.

    Raises:
        ValueError: The directory holds no model, a file exists already, or the model carries no category table.
    """
    outputs = [
        None if path is None else check_output_file(path, argument, overwrite)
        for argument, path in (
            ("checkpoint_path", checkpoint_path),
            ("text_encoder_path", text_encoder_path),
            ("category_table_path", category_table_path),
        )
    ]
    tensors, config = _load_ours(model_or_dir)
    if category_table_path is not None and "category_embeddings" not in tensors:
        raise ValueError("`category_table_path` is given, but the model carries no category table.")
    # Mapped tensors are views of one whole file, all of which torch.save would write.
    contents = [
        {"model": {key: value.clone() for key, value in _export(tensors, checkpoint_rules(config)).items()}},
        {key: value.clone() for key, value in _export(tensors, text_tower_rules(config)).items()},
        tensors["category_embeddings"].clone() if "category_embeddings" in tensors else None,
    ]
    for path, content in zip(outputs, contents, strict=True):
        if path is not None:
            write_tensors(content, path)


__all__ = ["export_original_state_dict", "export_text_tower_state_dict", "write_original_checkpoint"]
