# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Categories of a dataset's file against those of a label set: told apart by name, since numbers differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..label_sets import LabelSet


def plain_name(name: str) -> str:
    """A category's name without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def dataset_category_ids(label_set: LabelSet, categories: Mapping[int, str], where: str) -> dict[int, int]:
    """The dataset's number of each class index.

    Args:
        label_set ([`LabelSet`]): What the model is asked for.
        categories (`dict[int, str]`): Name by number, from the dataset's file. It may lack some of the label set.
        where (`str`): The file, for the message.

    Returns:
        `dict[int, int]`: Index in the label set to number in the dataset.

    Raises:
        ValueError: If the file has a category that the label set does not have: it is of another dataset.
    """
    indices = {plain_name(category.label): category.index for category in label_set}
    unknown = [name for name in categories.values() if plain_name(name) not in indices]
    if not categories:
        raise ValueError(f"{where} has no categories.")
    if unknown:
        raise ValueError(
            f"{where} has the categories {unknown[:5]}, which the label set {label_set.name!r} lacks: it is of "
            "another dataset."
        )
    return {indices[plain_name(name)]: number for number, name in categories.items()}


def match_by_synonyms(label_set: LabelSet, categories: Mapping[int, Sequence[str]]) -> dict[int, int]:
    """The dataset's number of each class index, where the two only share some names.

    Args:
        label_set ([`LabelSet`]): What the model is asked for.
        categories (`dict[int, sequence of str]`): Per number the name, then its synonyms.

    Returns:
        `dict[int, int]`: Index in the label set to number in the dataset. Equal names go before synonyms, low numbers
        before high ones; categories that neither name nor synonym matches are missing.
    """
    indices = {plain_name(category.label): category.index for category in label_set}
    found: dict[int, int] = {}
    matched: set[int] = set()
    longest = max((len(names) for names in categories.values()), default=0)
    for place in range(longest):
        for number, names in sorted(categories.items()):
            index = indices.get(plain_name(names[place])) if place < len(names) else None
            if index is not None and number not in matched and index not in found:
                found[index] = number
                matched.add(number)
    return found
