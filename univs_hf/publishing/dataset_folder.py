# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The folder of a dataset that `univs prepare` wrote, checked file by file before it goes to the hub."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .upload_plan import CARD_FILE, UploadPlan, check_card, check_repo_id, plan_files, sha256_of

REPORT_FILE, CHECKSUM_FILE = "report.json", "SHA256SUMS"
# What a reader of the card has to find: counts, sources and terms.
_SECTIONS = ("Content", "Sources", "Licence")
_REPLACED = ("data/*.parquet",)


def plan_dataset_upload(
    directory: str | Path,
    repo_id: str,
    private: bool | None = True,
    commit_message: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> UploadPlan:
    """Checks a prepared dataset and plans its upload.

    Args:
        directory: Output folder of `univs prepare`.
        repo_id: Where to.
        private: Whether a new repository is private. It is unless told otherwise, since the pictures of most datasets
            may not be passed on to everybody.
        commit_message, revision, create_pr: See [`UploadPlan`].

    Raises:
        ValueError: If the folder is not complete, a file is not what its checksum says, rows do not have the schema
            or are not as many as the report says, or the card lacks licence, sources or counts.
    """
    check_repo_id(repo_id)
    directory = Path(directory)
    for name in (CHECKSUM_FILE, REPORT_FILE, CARD_FILE):
        if not (directory / name).is_file():
            raise ValueError(
                f"{directory} has no {name}: it is not the folder of a finished `univs prepare`, which writes it last."
            )
    sums = read_checksums(directory / CHECKSUM_FILE)
    report = _read_report(directory / REPORT_FILE)
    check_files(directory, sums)
    check_rows(directory, report, sums)
    check_dataset_card((directory / CARD_FILE).read_text(encoding="utf-8"), report)
    return UploadPlan(
        repo_id=repo_id,
        repo_type="dataset",
        private=private,
        folder=directory,
        files=plan_files(directory, [*sums, CHECKSUM_FILE], sums),
        replaces=_REPLACED,
        commit_message=commit_message or "Upload rows made by univs prepare",
        revision=revision,
        create_pr=create_pr,
    )


def read_checksums(path: Path) -> dict[str, str]:
    """File -> SHA-256 of a file in the form of `sha256sum`.

    Raises:
        ValueError: If a line is not of that form, or leads out of the folder.
    """
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        if found is None or found[2].startswith("/") or ".." in Path(found[2]).parts:
            raise ValueError(f"{path}:{number} must be a checksum and the name of a file in the folder, got {line!r}.")
        sums[found[2]] = found[1]
    for name in (CARD_FILE, REPORT_FILE):
        if name not in sums:
            raise ValueError(f"{path} has no checksum of {name}.")
    return sums


def check_files(directory: Path, sums: dict[str, str]) -> None:
    """Whether all files are there as they were written, and no others among the shards.

    Raises:
        ValueError: If not; the message names the file.
    """
    shards = {path.relative_to(directory).as_posix() for path in (directory / "data").glob("*.parquet")}
    extra = sorted(shards - set(sums))
    if extra:
        raise ValueError(f"{directory / extra[0]} has no checksum in {CHECKSUM_FILE}: it is of no finished split.")
    for name, digest in sums.items():
        if not (directory / name).is_file():
            raise ValueError(f"{directory / name} is missing: run `univs prepare` again.")
        if sha256_of(directory / name) != digest:
            raise ValueError(f"{directory / name} is not what {CHECKSUM_FILE} says: run `univs prepare` again.")


def check_rows(directory: Path, report: dict[str, Any], sums: dict[str, str]) -> None:
    """Whether the Parquet files have the schema of rows and as many rows as the report says.

    Raises:
        ValueError: If not; the message names the file or split.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    from ..data.schema import ARROW_SCHEMA

    listed = {name for split in report["splits"] for name in split["files"]}
    shards = {name for name in sums if name.endswith(".parquet")}
    if listed != shards or not shards:
        odd = sorted(listed ^ shards)
        raise ValueError(f"{directory}: {REPORT_FILE} and {CHECKSUM_FILE} list other files: {odd[:3] or 'none'}.")
    for split in report["splits"]:
        rows = 0
        for name in split["files"]:
            try:
                file = parquet.ParquetFile(directory / name)
            except (pyarrow.ArrowException, OSError) as error:
                raise ValueError(f"{directory / name} is no Parquet file: {error}") from error
            with file:
                rows += file.metadata.num_rows
                if not file.schema_arrow.equals(ARROW_SCHEMA):
                    raise ValueError(f"{directory / name} does not have the columns of `univs_hf.data.schema`.")
        if rows != split["counts"]["rows"]:
            raise ValueError(
                f"{directory}: split {split['split']!r} has {rows} rows, {REPORT_FILE} says {split['counts']['rows']}."
            )


def check_dataset_card(text: str, report: dict[str, Any]) -> None:
    """Whether a card tells licence, sources and counts, and leads to all files.

    Raises:
        ValueError: If not; the message says what is missing.
    """
    card = check_card(text, "dataset")
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", card.text, re.MULTILINE | re.DOTALL))
    for name in _SECTIONS:
        if not sections.get(name, "").strip():
            raise ValueError(f"The card has no section {name!r} with content.")
    counts = _row_counts(sections["Content"])
    for split in report["splits"]:
        name, rows = split["split"], split["counts"]["rows"]
        if counts.get(name) != str(rows):
            raise ValueError(
                f"The card's section 'Content' must count {rows} rows of {name!r}, it has {counts.get(name, 'none')}."
            )
    patterns = [
        files["path"] for config in card.data.to_dict().get("configs") or [] for files in config.get("data_files", [])
    ]
    for split in report["splits"]:
        for name in split["files"]:
            if not any(fnmatchcase(name, pattern) for pattern in patterns):
                raise ValueError(f"The header of the card leads to no {name}: `configs` has {patterns}.")


def _row_counts(section: str) -> dict[str, str]:
    """Split -> what the table of counts has in the column `rows`."""
    table = [[cell.strip() for cell in line.split("|")] for line in section.splitlines() if line.startswith("|")]
    if not table or not {"split", "rows"} <= set(table[0]):
        return {}
    split, rows = table[0].index("split"), table[0].index("rows")
    return {line[split]: line[rows] for line in table[1:] if len(line) == len(table[0])}


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not report["splits"]:
            raise ValueError("it lists no split")
        for split in report["splits"]:
            split["split"], split["files"], split["counts"]["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the report of a conversion: {error}") from error
    return report
