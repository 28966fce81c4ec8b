# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""From a dataset's own category ids, which may begin anywhere and have gaps, to indices in a category set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...label_sets import LabelSet

# Files that spell some names differently are accepted, other versions of a dataset are not.
_MIN_NAMES_THAT_AGREE = 0.5


@dataclass(frozen=True)
class MappedCategory:
    """Where a category is in the set.

    Attributes:
        index: From 0.
        is_thing: False for stuff.
    """

    index: int
    is_thing: bool


@dataclass(frozen=True)
class CategoryMapping:
    """Categories of a dataset.

    Attributes:
        category_set: Name for the rows.
        by_id: By the dataset's own id.
        names: By index, where the set is no label set of the package and rows have to tell; else empty.
    """

    category_set: str
    by_id: Mapping[Any, MappedCategory]
    names: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """The set's size for [`~univs_hf.data.row_builder.build_row`]; empty for label sets of the package."""
        return {self.category_set: len(self.names)} if self.names else {}

    @property
    def meta(self) -> dict[str, Any]:
        """What the `meta` of rows tells of a set that is no label set of the package: name and `is_thing` by index."""
        if not self.names:
            return {}
        things = {category.index: category.is_thing for category in self.by_id.values()}
        return {"category_set": [{"name": name, "is_thing": things[n]} for n, name in enumerate(self.names)]}


def map_by_id(
    records: Iterable[Mapping[str, Any]], label_set: LabelSet, indices: Mapping[int, int], path: Path
) -> CategoryMapping:
    """Maps ids as the dataset is known to number its categories; names tell whether it is that dataset.

    Args:
        records: `categories` of the annotation file: `id`, `name` and, for what the label set does not know, `isthing`
            or `type` (`"thing"` or `"stuff"`).
        label_set: The set.
        indices: Index in the set by id.
        path: The annotation file, for messages.

    Raises:
        ValueError: If most names are others, such as those of another version of the dataset.
    """
    by_id: dict[Any, MappedCategory] = {}
    compared, differing = 0, []
    for record in records:
        number = _id_of(record, path)
        if number not in indices:
            continue
        category = label_set[indices[number]]
        by_id[number] = MappedCategory(category.index, _is_thing(record, category.is_thing))
        if "name" in record:
            compared += 1
            if _plain(record["name"]) not in (_plain(category.label), _plain(category.text)):
                differing.append(f"category {number} is {record['name']!r}, there {category.label!r}")
    if compared - len(differing) < _MIN_NAMES_THAT_AGREE * compared or not by_id:
        example = f" ({differing[0]})" if differing else ""
        raise ValueError(
            f"{path} has other categories than {label_set.name}{example}: {len(differing)} of {compared} differ."
        )
    return CategoryMapping(label_set.name, by_id)


def map_by_name(records: Iterable[Mapping[str, Any]], label_set: LabelSet, path: Path) -> CategoryMapping:
    """Maps categories of a file with ids of its own onto a label set; those that the set does not have stay unknown.

    A name that the set has several times stands for these in the order of ids.

    Raises:
        ValueError: If no name is in the set.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for category in label_set:
        for name in {_plain(category.label), _plain(category.text)}:
            places[name].append(category.index)
    by_id: dict[Any, MappedCategory] = {}
    names = []
    for record in sorted(records, key=lambda record: _id_of(record, path)):
        names.append(str(record.get("name")))
        found = places.get(_plain(names[-1]))
        if found:
            index = found.pop(0) if len(found) > 1 else found[0]
            by_id[record["id"]] = MappedCategory(index, _is_thing(record, label_set[index].is_thing))
    if not by_id:
        raise ValueError(f"{path}: none of its categories {names[:5]} is in the label set {label_set.name!r}.")
    return CategoryMapping(label_set.name, by_id)


def map_own(records: Iterable[Mapping[str, Any]], category_set: str, path: Path) -> CategoryMapping:
    """Makes a set of the file's own categories, in the order of their ids.

    Raises:
        ValueError: If there are none, or one has no name.
    """
    ordered = sorted(records, key=lambda record: _id_of(record, path))
    nameless = [record["id"] for record in ordered if not str(record.get("name") or "").strip()]
    if nameless or not ordered:
        raise ValueError(f"{path}: " + (f"category {nameless[0]} has no name." if nameless else "has no categories."))
    by_id = {record["id"]: MappedCategory(index, _is_thing(record, None)) for index, record in enumerate(ordered)}
    if len(by_id) != len(ordered):
        raise ValueError(f"{path}: two categories have one id.")
    return CategoryMapping(category_set, by_id, tuple(str(record["name"]).strip() for record in ordered))


def _id_of(record: Any, path: Path) -> int:
    number = record.get("id") if isinstance(record, Mapping) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"{path}: a category has the id {number!r:.40}; expected an integer.")
    return number


def _is_thing(record: Mapping[str, Any], known: bool | None) -> bool:
    if known is not None:
        return known
    if "isthing" in record:
        return bool(record["isthing"])
    return record.get("type") != "stuff"


def _plain(name: Any) -> str:
    """A name without differences of spelling; of a list of synonyms, the first."""
    return " ".join(re.split(r"[\s_-]+", str(name).split(",")[0].strip().lower()))
