# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""JSON files in the form of COCO, of any size: pictures and videos by id, annotations read when they are needed."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .damage import Damage
from .json_records import JsonRecord, iterate_records, read_records_at


class CocoRecords:
    """A file in the form of COCO: pictures or videos, their annotations, and categories. Annotations stay in the file.

    Args:
        path (`Path`): The file.
        owners (`str`, *optional*, defaults to `"images"`): The array of what has annotations, or `"videos"`.
        owner_field (`str`, *optional*, defaults to `"image_id"`): The field of an annotation that says whose it is.
        required (iterable of `str`, *optional*): Arrays that the file must have; by default the owners' and the
            categories.

    Attributes:
        categories (`list[dict]`): As they stand in the file.
        licences (`dict[int, str]`): Name of each licence.
        damages (`list[Damage]`): Records that belong nowhere or are not what they should be.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON or lacks an array.
    """

    def __init__(
        self,
        path: Path,
        owners: str = "images",
        owner_field: str = "image_id",
        required: Iterable[str] | None = None,
    ):
        self.path = Path(path)
        self.categories: list[dict[str, Any]] = []
        self.licences: dict[int, str] = {}
        self.damages: list[Damage] = []
        self._owners: dict[Any, tuple[int, int]] = {}
        self._annotations: dict[Any, array[int]] = {}
        self._owner_word, self._owner_field = owners[:-1], owner_field
        seen: set[str] = set()
        for record in iterate_records(self.path):
            seen.add(record.array)
            if record.array == owners:
                self._add_owner(record)
            elif record.array == "annotations":
                self._add_annotation(record)
            elif record.array == "categories":
                self.categories.append(record.value)
            elif record.array == "licenses" and isinstance(record.value, dict):
                self.licences[record.value.get("id")] = str(record.value.get("name", ""))
        self._check_arrays(seen, (owners, "categories") if required is None else tuple(required))
        self._drop_orphans()

    def _check_arrays(self, seen: set[str], required: tuple[str, ...]) -> None:
        missing = [name for name in required if name not in seen]
        if missing:
            raise ValueError(f"{self.path} has no entries in {missing[0]!r}; it has some in {sorted(seen)}.")

    def _add_owner(self, record: JsonRecord) -> None:
        owner_id = record.value.get("id") if isinstance(record.value, dict) else None
        if not _is_id(owner_id):
            self._bad(f"byte {record.start}", f"a {self._owner_word} has the id {owner_id!r:.40}.", "video")
        elif owner_id in self._owners:
            self._bad(f"{self._owner_word} {owner_id}", "stands there again; the first record stays.", "video")
        else:
            self._owners[owner_id] = (record.start, record.end)

    def _add_annotation(self, record: JsonRecord) -> None:
        owner_id = record.value.get(self._owner_field) if isinstance(record.value, dict) else None
        if not _is_id(owner_id):
            reason = f"an annotation has the {self._owner_field} {owner_id!r:.40}."
            self._bad(f"byte {record.start}", reason, "object")
            return
        self._annotations.setdefault(owner_id, array("q")).extend((record.start, record.end))

    def _drop_orphans(self) -> None:
        for owner_id in [owner_id for owner_id in self._annotations if owner_id not in self._owners]:
            for annotation in read_records_at(self.path, self._annotations.pop(owner_id)):
                reason = f"is of {self._owner_word} {owner_id}, which does not exist."
                self._bad(f"annotation {annotation.get('id')}", reason, "object")

    def _bad(self, where: str, reason: str, lost: str) -> None:
        self.damages.append(Damage("bad_record", str(self.path), reason, lost, where))

    @property
    def owner_ids(self) -> list[Any]:
        """Ids of the pictures or videos, in the order of the file."""
        return list(self._owners)

    def owner(self, owner_id: Any) -> dict[str, Any]:
        """The record of a picture or video."""
        return read_records_at(self.path, self._owners[owner_id])[0]

    def owner_records(self) -> Iterator[dict[str, Any]]:
        """The records of all, in the order of the file."""
        with open(self.path, "rb") as file:
            for start, end in self._owners.values():
                file.seek(start)
                yield json.loads(file.read(end - start))

    def source_meta(self, record: dict[str, Any]) -> dict[str, Any]:
        """What a row tells of the origin of a picture: its id, and its licence if the file names one."""
        meta: dict[str, Any] = {"image_id": record["id"]}
        if record.get("license") in self.licences:
            meta["licence"] = self.licences[record["license"]]
        return meta

    def annotation_spans(self, owner_id: Any) -> tuple[int, ...]:
        """Where the annotations of a picture or video lie in the file, for [`read_records_at`]."""
        return tuple(self._annotations.get(owner_id, ()))


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)
