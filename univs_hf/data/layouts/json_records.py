# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Records of large JSON files (LVIS has more than a gigabyte) without holding the file: one pass tells where each is.

The files are objects whose values are arrays of records, such as `{"images": [...], "annotations": [...]}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .frame_folders import require_file

_BLOCK_BYTES = 8 * 2**20
_SPACE = re.compile(r"[ \t\n\r]*")
# Errors of a value that ends with the block lie within a number or word of the end, or at the beginning of a string.
_NEAR_THE_END = 32
_NUMBER_REST = 2
_CUT_STRING = "Unterminated string"


@dataclass(frozen=True)
class JsonRecord:
    """An element of one of the arrays.

    Attributes:
        array: Name of the array.
        start, end: Where its text lies in the file, in bytes.
        value: Its content.
    """

    array: str
    start: int
    end: int
    value: Any


def iterate_records(path: Path, block_bytes: int = _BLOCK_BYTES) -> Iterator[JsonRecord]:
    """Elements of all arrays that are values of a file's outermost object, in order; other values are passed over.

    Args:
        path (`Path`): The file.
        block_bytes (`int`, *optional*): How much of it is read at once. A record may be longer.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON object; the message names the byte.
    """
    with open(require_file(Path(path), "a JSON object"), "rb") as file:
        yield from _Scanner(Path(path), file, block_bytes).records()


def read_records_at(path: Path, spans: Sequence[int]) -> list[Any]:
    """Reads records whose places are known.

    Args:
        path (`Path`): The file.
        spans (sequence of `int`): Start and end of each, one after the other.

    Raises:
        ValueError: If the file has changed, so that something else stands there.
    """
    records = []
    with open(path, "rb") as file:
        for start, end in zip(spans[0::2], spans[1::2], strict=True):
            file.seek(start)
            try:
                records.append(json.loads(file.read(end - start)))
            except ValueError as error:
                raise ValueError(f"{path} has changed since it was indexed: byte {start}: {error}") from error
    return records


class _Scanner:
    """Reads a file in blocks. They are decoded as Latin-1, which keeps one character per byte."""

    def __init__(self, path: Path, file: BinaryIO, block_bytes: int):
        self._path, self._file, self._block_bytes = path, file, block_bytes
        self._text, self._first, self._position, self._at_end = "", 0, 0, False
        self._decoder = json.JSONDecoder()

    def records(self) -> Iterator[JsonRecord]:
        self._fill()
        if self._text.startswith("\xef\xbb\xbf"):
            self._position = 3
        self._expect("{")
        while not self._skip("}"):
            name, _, _ = self._value()
            if not isinstance(name, str):
                raise self._fault(f"has the key {name!r:.40} in its outermost object")
            self._expect(":")
            if self._next() != "[":
                self._value()
            else:
                self._position += 1
                while not self._skip("]"):
                    value, start, end = self._value()
                    yield JsonRecord(name, start, end, value)
                    if self._next() != "]":
                        self._expect(",")
            if self._next() != "}":
                self._expect(",")
        if self._next():
            raise self._fault(f"goes on with {self._next()!r} after its outermost object")

    def _fault(self, reason: str) -> ValueError:
        place = f"{self._path}, byte {self._first + self._position}"
        return ValueError(f"{place}: it {reason}; expected a JSON object of arrays.")

    def _fill(self) -> None:
        """Reads on, and forgets what lies behind."""
        block = self._file.read(max(self._block_bytes, len(self._text) - self._position))
        self._at_end = not block
        self._first += self._position
        self._text = self._text[self._position :] + block.decode("latin-1")
        self._position = 0

    def _next(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        while True:
            self._position = _SPACE.match(self._text, self._position).end()
            if self._position < len(self._text) or self._at_end:
                return self._text[self._position : self._position + 1]
            self._fill()

    def _skip(self, character: str) -> bool:
        found = self._next() == character
        self._position += found
        return found

    def _expect(self, character: str) -> None:
        if not self._skip(character):
            found = repr(self._next()) if self._next() else "the end of the file"
            raise self._fault(f"has {found} where {character!r} should be")

    def _value(self) -> tuple[Any, int, int]:
        """The next value, and where it begins and ends in the file."""
        if not self._next():
            raise self._fault("ends within a value")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._position)
                # A number near the end of the block, such as `12` of `12.5` or `12e+1`, may go on in the next one.
                if end < len(self._text) - _NUMBER_REST or self._at_end:
                    break
            except json.JSONDecodeError as error:
                cut = error.msg.startswith(_CUT_STRING) or error.pos > len(self._text) - _NEAR_THE_END
                if self._at_end or not cut:
                    self._position = error.pos
                    raise self._fault(f"cannot be read on: {error.msg}") from error
            except RecursionError as error:
                raise self._fault("is nested too deeply") from error
            self._fill()
        text = self._text[self._position : end]
        start, self._position = self._position, end
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1"))
            except UnicodeDecodeError as error:
                raise self._fault(f"is not UTF-8 ({error.reason})") from error
        return value, self._first + start, self._first + end
