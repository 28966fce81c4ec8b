# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""RefCOCO, RefCOCO+ and RefCOCOg as their authors publish them.

    <root>/refcoco/refs(unc).p, instances.json      or refs(google).p
    <root>/refcoco+/refs(unc).p, instances.json
    <root>/refcocog/refs(umd).p, instances.json     or refs(google).p

A pickle of Python 2 holds one record per referred object: `ref_id`, `ann_id` (the object, an annotation of COCO 2014),
`image_id`, `split` and `sentences` {sent_id, sent, raw, tokens}. `instances.json` has these annotations in the form of
COCO. Ids of references and sentences begin anew in each set.
"""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from .damage import Damage
from .frame_folders import require_file
from .json_records import iterate_records, read_records_at

# Name of each set, and the names of its divisions into splits, the usual one first.
REFCOCO_SETS = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}


@dataclass(frozen=True)
class Reference:
    """One object of one set, and what is said about it.

    Attributes:
        source: Name of the set.
        ref_id: Its number in the set.
        annotation_id: The object.
        image_id: COCO's number of the picture.
        split: As published.
        sentences: Number in the set, and text.
    """

    source: str
    ref_id: int
    annotation_id: int
    image_id: int
    split: str
    sentences: tuple[tuple[int, str], ...]


class RefCocoSet:
    """One of the three sets.

    Args:
        folder (`Path`): The set's folder.
        name (`str`): Its name.
        division (`str`): Whose splits.

    Attributes:
        references (`list[Reference]`): In the order of the file.
        damages (`list[Damage]`): Records that are not what they should be.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the pickle holds anything but plain values, or a file is not of this layout.
    """

    def __init__(self, folder: Path, name: str, division: str):
        self.name, self.references_file = name, require_file(folder / f"refs({division}).p", f"sentences of {name}")
        self.instances_file = require_file(folder / "instances.json", f"masks of {name}")
        self.damages: list[Damage] = []
        self.references = list(self._read_references())
        self._index_instances()

    def _read_references(self) -> Iterator[Reference]:
        records = read_plain_pickle(self.references_file)
        if not isinstance(records, list):
            raise ValueError(
                f"{self.references_file} holds a {type(records).__name__}; expected a list of references."
            )
        for number, record in enumerate(records):
            try:
                yield _reference(self.name, record)
            except (KeyError, TypeError, ValueError) as error:
                reason = f"lacks {error}." if isinstance(error, KeyError) else str(error)
                where = f"reference {number} of the list"
                self.damages.append(Damage("bad_record", str(self.references_file), reason, "object", where))

    def _index_instances(self) -> None:
        wanted_images = {reference.image_id for reference in self.references}
        wanted = {reference.annotation_id for reference in self.references}
        self._images: dict[int, tuple[int, int]] = {}
        # Start and end by annotation id; only those that are referred to.
        self._annotations: dict[int, array[int]] = {}
        for record in iterate_records(self.instances_file):
            number = record.value.get("id") if isinstance(record.value, dict) else None
            if record.array == "images" and number in wanted_images:
                self._images[number] = (record.start, record.end)
            elif record.array == "annotations" and number in wanted:
                self._annotations[number] = array("q", (record.start, record.end))

    def image(self, image_id: int) -> dict[str, Any] | None:
        """Record of a picture; None if there is none."""
        spans = self._images.get(image_id)
        return None if spans is None else read_records_at(self.instances_file, spans)[0]

    def annotation_spans(self, annotation_id: int) -> tuple[int, ...]:
        """Where an annotation lies in the file of instances; empty if there is none."""
        return tuple(self._annotations.get(annotation_id, ()))

    def images_of(self, splits: Collection[str]) -> set[int]:
        """Pictures with references of some splits."""
        return {reference.image_id for reference in self.references if reference.split in splits}


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists, tuples and dictionaries; refuses whatever would import or run something."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which data have no need of")


def read_plain_pickle(path: Path) -> Any:
    """Reads a pickle that holds plain values only. Nothing of it is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no pickle, or asks for more than plain values.
    """
    with open(require_file(path, "a pickle"), "rb") as file:
        try:
            return _unpickle(file, "utf-8")
        except UnicodeDecodeError:
            # Byte strings of Python 2, in whatever code; Latin-1 reads them all.
            file.seek(0)
            return _unpickle(file, "latin-1")


def _unpickle(file: BinaryIO, encoding: str) -> Any:
    try:
        return _PlainUnpickler(file, encoding=encoding).load()
    except UnicodeDecodeError:
        raise
    except Exception as error:
        # Damaged pickles raise errors of any kind.
        raise ValueError(f"{file.name} is no pickle of plain values: {error or type(error).__name__}.") from error


def _reference(name: str, record: Any) -> Reference:
    if not isinstance(record, dict):
        raise TypeError(f"is a {type(record).__name__}; expected a dictionary.")
    numbers = [record[field] for field in ("ref_id", "ann_id", "image_id")]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"must have numbers in `ref_id`, `ann_id` and `image_id`, got {numbers!r:.60}.")
    sentences = []
    for sentence in record["sentences"]:
        text = sentence["sent"]
        if not isinstance(text, str):
            raise TypeError(f"has a sentence that is a {type(text).__name__}.")
        sentences.append((int(sentence["sent_id"]), text))
    return Reference(name, *numbers, str(record["split"]), tuple(sentences))
