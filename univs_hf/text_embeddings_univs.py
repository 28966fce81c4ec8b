# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""From names of categories and from expressions to features of the text tower, each computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from .clip_engine_univs import Expressions
from .label_sets import COMBINED_TABLE_ROWS, LabelSet, is_label_set, load_label_set

if TYPE_CHECKING:
    from .modeling_univs import UniVSForVideoSegmentation
    from .processing_univs import UniVSProcessor

# Every name is 81 sentences; a pass over many videos asks for the same few lists again and again.
_LISTS_REMEMBERED = 4
_CACHES: WeakKeyDictionary[Any, WeakKeyDictionary[Any, OrderedDict[Any, Any]]] = WeakKeyDictionary()


@torch.no_grad()
def embed_categories(
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    categories: str | LabelSet | Sequence[str] | None = None,
) -> tuple[torch.Tensor, list[str]]:
    """Text embeddings and names of categories.

    Args:
        model ([`UniVSForVideoSegmentation`]): Its text tower embeds the names; a label set of the published table is
            read from the model's own table where it has one.
        processor ([`UniVSProcessor`]): Tokenises the names.
        categories (`str` or sequence of `str`, *optional*): Name of a label set, or any names (open vocabulary). By
            default all categories of the model's own table.

    Returns:
        (K, D) embeddings on the model's device, and K names.

    Raises:
        ValueError: If there are no categories, or the name of a label set is unknown.
    """
    table = model.category_embeddings
    if categories is None:
        if table is None:
            raise ValueError("`categories` must be given: the model carries no categories of its own.")
        return table, [str(model.config.id2label.get(index, index)) for index in range(len(table))]
    if isinstance(categories, (str, LabelSet)):
        label_set = load_label_set(categories) if isinstance(categories, str) else categories
        # A label set of the user's own has no rows in the published table.
        is_published = is_label_set(label_set.name) and load_label_set(label_set.name) == label_set
        in_table = is_published and label_set.rows is not None
        if in_table and table is not None and len(table) == COMBINED_TABLE_ROWS:
            return table[slice(*label_set.rows)], label_set.labels
        texts, names = label_set.texts, label_set.labels
    else:
        texts = names = list(categories)
    return _embed_names(model, processor, tuple(texts)), names


def _embed_names(model: UniVSForVideoSegmentation, processor: UniVSProcessor, texts: tuple[str, ...]) -> torch.Tensor:
    """Embeddings (K, D) of names; those of the last lists are remembered while the weights that made them stay."""
    cache = _CACHES.setdefault(model, WeakKeyDictionary()).setdefault(processor, OrderedDict())
    key = texts, tuple(processor.text_templates)
    weights = _fingerprint(model)
    known = cache.pop(key, None)
    if known is None or known[0] != weights:
        input_ids = processor(categories=list(texts), return_tensors="pt")["category_input_ids"]
        known = weights, model.encode_text(input_ids.to(model.device))[1]
    cache[key] = known
    if len(cache) > _LISTS_REMEMBERED:
        cache.popitem(last=False)
    return known[1]


def _fingerprint(model: UniVSForVideoSegmentation) -> tuple[Any, ...]:
    """Changes whenever a weight of the text tower is written, moved, cast or replaced."""
    return tuple(
        (weight.data_ptr(), weight.device, weight.dtype, 0 if weight.is_inference() else weight._version)
        for weight in model.model.text_encoder.parameters()
    )


@torch.no_grad()
def embed_expressions(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, expressions: Mapping[int, str]
) -> Expressions:
    """Text features of expressions, object id to text; each expression once per video."""
    texts = list(expressions.values())
    input_ids = processor(text=texts, return_tensors="pt")["input_ids"][0]
    words, sentences = model.encode_text(input_ids.to(model.device))
    return Expressions(words, sentences, list(expressions), texts)


def category_labels(categories: str | LabelSet | Sequence[str]) -> list[str]:
    """Names of categories as results report them."""
    label_set = load_label_set(categories) if isinstance(categories, str) else categories
    return label_set.labels if isinstance(label_set, LabelSet) else list(label_set)


def category_thing_flags(categories: str | LabelSet | Sequence[str] | None) -> list[bool] | None:
    """Which categories of a label set are things; None if that is not known, which counts as things."""
    label_set = load_label_set(categories) if isinstance(categories, str) else categories
    if not isinstance(label_set, LabelSet):
        return None
    flags = [category.is_thing for category in label_set.categories]
    return None if any(flag is None for flag in flags) else flags
