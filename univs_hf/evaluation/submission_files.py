# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Files of submissions: zips and folders that appear when they are complete, and zips that come back."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..results_io import json_line
from ..video_writer import temporary_sibling

# A member of a zip: its name within, and the file or text that it holds.
Member = tuple[str, Path | str]


def write_text(path: Path, text: str) -> Path:
    """Writes a text file that appears when it is complete."""
    partial = temporary_sibling(path)
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_json_list(
    path: Path, records: Iterable[Any], header: Mapping[str, Any] | None = None, name: str = "records"
) -> Path:
    """Writes a JSON list record by record, so that only one is needed at a time; it appears when it is complete.

    Args:
        path (`Path`): The file.
        records (iterable): What the list holds.
        header (mapping, *optional*): Makes it an object with these fields, whose last one is the list.
        name (`str`, *optional*): Field of the list in that object.

    Returns:
        `Path`: `path`.
    """
    partial = temporary_sibling(path)
    try:
        with open(partial, "w", encoding="utf-8") as file:
            if header is not None:
                file.write(f"{json_line(header)[:-1]}{',' if header else ''}{json_line(name)}:")
            file.write("[")
            for number, record in enumerate(records):
                file.write((",\n" if number else "\n") + json_line(record))
            file.write("\n]\n" if header is None else "\n]}\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_zip(path: Path, members: Iterable[Member]) -> Path:
    """Writes a zip that appears when it is complete.

    Args:
        path (`Path`): Where; an older file is replaced.
        members (iterable of `(str, Path or str)`): Name within the zip, and the file, or its text.

    Returns:
        `Path`: `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_sibling(path)
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                if isinstance(content, str):
                    archive.writestr(name, content)
                else:
                    # PNGs don't get any smaller.
                    stored = content.suffix.lower() == ".png"
                    archive.write(content, name, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_folder(path: Path, members: Iterable[Member]) -> Path:
    """Writes a folder that appears when it is complete; files are hard links where the disk allows.

    Arguments are those of [`write_zip`].
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        for name, content in members:
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                target.write_text(content, encoding="utf-8")
            else:
                link_or_copy(content, target)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(partial, 0o777 & ~mask)
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` a hard link to a file, or a copy where the two lie on different disks."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def unpack_zip(path: Path, folder: Path) -> Path:
    """Unpacks a submission.

    Args:
        path (`Path`): The zip.
        folder (`Path`): Where to; nothing is written outside of it.

    Returns:
        `Path`: `folder`.

    Raises:
        ValueError: If it is no zip, or a name in it leads out of the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                parts = PurePosixPath(name)
                if parts.is_absolute() or ".." in parts.parts or "\\" in name:
                    raise ValueError(f"{path} holds {name!r}, which leads out of the folder it is unpacked in.")
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip: {error}") from error
    return folder
