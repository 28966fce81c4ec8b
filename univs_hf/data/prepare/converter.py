# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a dataset has to provide to be converted: its items, and the rows of each item.

The life of a conversion is

    converter = SomeConverter(root, **options)           in the first process; reads lists and annotation files
    for item in converter.items(split, log): ...         twice, to plan the shards and to hand them out
        for row in item.rows(log): ...                   in a worker process, a row at a time

so an item carries what its own rows need (paths, its annotations, settings), and no more: it is pickled, and only the
items of the shards being written exist at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .conversion_log import ConversionLog

# Longest run of frames in a row; the training sampler never looks further than 40 frames (data specification,
# section 1).
MAX_ROW_FRAMES = 64


@dataclass(frozen=True)
class Option:
    """A choice of a converter that the command line offers as `--name`; an argument of its constructor.

    Attributes:
        name: As in Python, with `_`.
        help: One line.
        default: Value without the option.
        choices: What is accepted; `None` for anything.
        type: Turns the text into the value. `bool` makes a flag.
    """

    name: str
    help: str
    default: Any = None
    choices: tuple[Any, ...] | None = None
    type: Callable[[str], Any] = str


@dataclass(frozen=True)
class DatasetFacts:
    """What the dataset card tells beside the counts.

    Attributes:
        title: Full name.
        summary: What it is, a sentence or two.
        homepage: Where it is downloaded; empty for anybody's own data.
        licence: Id of a licence as the hub names them (`"cc-by-4.0"`, ..., `"unknown"`), or `"other"`.
        licence_note: The terms in words: what the authors allow, and that frames have terms of their own.
        papers: Titles with year and venue, of all sources.
        licence_link: Where the terms stand, if they do not have an id.
    """

    title: str
    summary: str
    homepage: str
    licence: str
    licence_note: str
    papers: tuple[str, ...]
    licence_link: str = ""


class SourceItem(ABC):
    """One video or image of the source, which becomes one row or several; can be pickled.

    Attributes:
        key: Its name, unique within the split; rows are named `dataset/split/key#chunk`.
    """

    key: str

    @abstractmethod
    def source_bytes(self) -> int:
        """About how many bytes its pictures have, by which shards are cut; missing files count nothing."""

    @abstractmethod
    def rows(self, log: ConversionLog) -> Iterator[dict[str, Any]]:
        """Makes the rows, one at a time, in order, with [`~univs_hf.data.row_builder.build_row`].

        Damage of a part (a frame, an object, a mask, an expression) goes to `log.damage(...)`, and the row is made
        without it. What is raised (`ValueError`, of which `RowError` is one, and `OSError`) is damage of the item as
        a whole.
        """


class DatasetConverter(ABC):
    """A dataset in its official layout.

    Args:
        root (`Path`): Folder of the download.
        options: As listed in `options`.

    Attributes:
        name: Id of the dataset, the one that training configurations use.
        facts: For the card.
        splits: Official names of the splits that may be asked for, or empty if any name may be.
        default_splits: Those that are converted if none is named.
        options: What the constructor takes beside `root`.

    Raises:
        FileNotFoundError: If the folder is not in the layout.
        ValueError: If an option or a file as a whole cannot be used.
    """

    name: ClassVar[str]
    facts: ClassVar[DatasetFacts]
    splits: ClassVar[tuple[str, ...]]
    default_splits: ClassVar[tuple[str, ...]] = ("train",)
    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, root: Path, **options: Any):
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"There is no folder {self.root}; expected {self.facts.title} as downloaded.")
        unknown = sorted(set(options) - {option.name for option in self.options})
        if unknown:
            raise ValueError(f"{self.name} has no option {unknown[0]!r}; it has {[o.name for o in self.options]}.")

    @abstractmethod
    def items(self, split: str, log: ConversionLog) -> Iterable[SourceItem]:
        """Items of a split, in an order that is the same on every call.

        Args:
            split (`str`): One of `splits`, checked already.
            log ([`ConversionLog`]): For damage of the lists and annotation files; that of pictures is met by the
                items' rows. The method is called twice, and the second log is thrown away.

        Raises:
            FileNotFoundError: If the split is not there.
            ValueError: If a file as a whole cannot be used.
        """


def row_key(dataset: str, split: str, item: str, chunk: int = 0) -> str:
    """Key of a row, `dataset/split/item#chunk`."""
    return f"{dataset}/{split}/{item}#{chunk}"
