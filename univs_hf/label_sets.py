# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Label sets: category names, their order, thing flags and, of the published models, rows of the combined table.

The published checkpoints classify against one table of 3938 category embeddings, in which the label sets follow one
another in the order of `COMBINED_TABLE_ORDER` (specification A.3.6). A name given here therefore decides which rows
of that table a result refers to, and names and order must stay as they are.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DATA_FOLDER = Path(__file__).parent / "label_set_data"

# Order of the slices in the combined table.
COMBINED_TABLE_ORDER = (
    "imagenet",
    "lvis",
    "ytvis21",
    "ovis",
    "bdd_track",
    "objects365",
    "coco_panoptic",
    "ade20k",
    "vipseg",
    "ytvis19",
    "entityseg_instance",
    "entityseg_panoptic",
)
COMBINED_TABLE_ROWS = 3938

# Sets of this package's own, which have no rows there.
OWN_LABEL_SETS = ("moving_shapes",)

# Other name -> (label set, number of leading categories or None for all).
_ALIASES: dict[str, tuple[str, int | None]] = {
    "vspw": ("vipseg", None),
    "viposeg": ("vipseg", None),
    "burst": ("lvis", None),
    "coco": ("coco_panoptic", 80),
    "coco_instance": ("coco_panoptic", 80),
    "coco_instances": ("coco_panoptic", 80),
    "ytvis_2019": ("ytvis19", None),
    "ytvis2019": ("ytvis19", None),
    "youtube_vis_2019": ("ytvis19", None),
    "ytvis_2021": ("ytvis21", None),
    "ytvis2021": ("ytvis21", None),
    "youtube_vis_2021": ("ytvis21", None),
    "bdd": ("bdd_track", None),
    "bdd100k_track": ("bdd_track", None),
    "object365": ("objects365", None),
    "ade20k_panoptic": ("ade20k", None),
}


@dataclass(frozen=True)
class Category:
    """One category of a label set.

    Attributes:
        index: Position in the label set, from 0. Class logits of a label set are in this order.
        text: What the text tower is given, before cleaning.
        dataset_name: The dataset's own name, where it is known.
        source_id: The dataset's own id, where it is known.
        is_thing: True for countable things, False for stuff, None where it is not known.
    """

    index: int
    text: str
    dataset_name: str | None = None
    source_id: int | None = None
    is_thing: bool | None = None

    @property
    def label(self) -> str:
        """The name to show: the dataset's own, else the text."""
        return self.dataset_name if self.dataset_name is not None else self.text


@dataclass(frozen=True)
class LabelSet:
    """A named, ordered list of categories.

    Attributes:
        name: Name it was asked for by, after normalisation (`"vspw"` stays `"vspw"`).
        source: Name of the data it comes from (`"vipseg"` for `"vspw"`).
        categories: The categories in class-logit order.
        rows: `(first, end)` of its rows in the combined table of 3938 category embeddings; `None` if it has none.
    """

    name: str
    source: str
    categories: tuple[Category, ...]
    rows: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Category]:
        return iter(self.categories)

    def __getitem__(self, index: int) -> Category:
        return self.categories[index]

    @property
    def texts(self) -> list[str]:
        """What the text tower is given for each category, before cleaning."""
        return [category.text for category in self.categories]

    @property
    def labels(self) -> list[str]:
        """The name to show for each category."""
        return [category.label for category in self.categories]

    @property
    def thing_indices(self) -> list[int]:
        """Indices of the categories known to be things."""
        return [category.index for category in self.categories if category.is_thing]

    @property
    def stuff_indices(self) -> list[int]:
        """Indices of the categories known to be stuff."""
        return [category.index for category in self.categories if category.is_thing is False]

    @property
    def id2label(self) -> dict[int, str]:
        """Index -> name to show, as transformers' configurations have it."""
        return {category.index: category.label for category in self.categories}


def available_label_sets(include_aliases: bool = False) -> list[str]:
    """Names that [`load_label_set`] accepts.

    Args:
        include_aliases: Also list the other names of the same sets (`"vspw"`, `"burst"`, ...).

    Returns:
        The names in the order of the combined table, this package's own sets, then the aliases.
    """
    return [*COMBINED_TABLE_ORDER, *OWN_LABEL_SETS, *(sorted(_ALIASES) if include_aliases else ())]


def _normalise_name(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def is_label_set(name: str) -> bool:
    """Whether `name` names a label set or one of its aliases."""
    normalised = _normalise_name(name)
    return normalised in available_label_sets(include_aliases=True)


@cache
def _read(source: str) -> tuple[tuple[Category, ...], tuple[int, int] | None]:
    path = _DATA_FOLDER / f"{source}.json"
    if not path.is_file():
        # Code that was copied next to a checkpoint (`trust_remote_code`) comes without the package's data files.
        raise FileNotFoundError(
            f"The label set {source!r} is data of the univs_hf package, and {path} does not exist. Install univs-hf, "
            "or give the category names as a list."
        )
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = data["rows_in_combined_table"]
    return tuple(Category(**category) for category in data["categories"]), None if rows is None else tuple(rows)


def load_label_set(name: str) -> LabelSet:
    """Loads one label set.

    Args:
        name: One of [`available_label_sets`] or an alias; case, `-` and `_` do not matter.

    Raises:
        ValueError: If no label set has that name.
        FileNotFoundError: If the package's data files are not installed.

    Example:
        >>> load_label_set("vspw").rows
        (2924, 3048)
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string, got {type(name).__name__}.")
    normalised = _normalise_name(name)
    source, count = _ALIASES.get(normalised, (normalised, None))
    if source not in available_label_sets():
        raise ValueError(
            f"Unknown label set {name!r}. Label sets are {available_label_sets()}, aliases {sorted(_ALIASES)}."
        )
    categories, rows = _read(source)
    if count is not None:
        categories, rows = categories[:count], (rows[0], rows[0] + count)
    return LabelSet(name=normalised, source=source, categories=categories, rows=rows)


def combined_table_texts() -> list[str]:
    """Texts of all 3938 rows of the combined table, before cleaning, in row order."""
    return [text for name in COMBINED_TABLE_ORDER for text in load_label_set(name).texts]
