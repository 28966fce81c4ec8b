# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What an upload would do, in full, before anything leaves the machine; and the upload of exactly that."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import DatasetCard, ModelCard, RepoCard
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import validate_repo_id
from rich.console import Console

CARD_FILE = "README.md"
_HASH_CHUNK_BYTES = 2**20


class HubApi(Protocol):
    """The part of [`huggingface_hub.HfApi`] that an upload needs."""

    def create_repo(self, repo_id: str, **kwargs: Any) -> Any:
        """As in `huggingface_hub`."""

    def repo_info(self, repo_id: str, **kwargs: Any) -> Any:
        """As in `huggingface_hub`."""

    def upload_folder(self, **kwargs: Any) -> Any:
        """As in `huggingface_hub`."""


@dataclass(frozen=True)
class PlannedFile:
    """A file of an upload.

    Attributes:
        path: In the repository, with `/`.
        size: Bytes.
        sha256: Of its content, in hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class UploadPlan:
    """Everything that an upload does.

    Attributes:
        repo_id: `namespace/name`, or `name` in the user's own namespace.
        repo_type: `"model"` or `"dataset"`.
        private: Whether a new repository is private; `None` for what the hub does by default.
        folder: Where the files lie.
        files: All that is uploaded, by path; one of them is the card.
        replaces: Patterns of files that are deleted from the repository if they are not among `files`: shards and
            code of an earlier upload.
        commit_message: Of the commit.
        revision: Branch, by default the main one.
        create_pr: Whether the commit is proposed in a pull request.
    """

    repo_id: str
    repo_type: str
    private: bool | None
    folder: Path
    files: tuple[PlannedFile, ...]
    replaces: tuple[str, ...]
    commit_message: str
    revision: str | None = None
    create_pr: bool = False

    @property
    def card_text(self) -> str:
        """The card, as it is uploaded."""
        return (self.folder / CARD_FILE).read_text(encoding="utf-8")

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)


def check_repo_id(repo_id: str) -> str:
    """
    Raises:
        ValueError: If the hub does not allow such a name.
    """
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise ValueError(f"`repo_id` must be NAMESPACE/NAME, got {repo_id!r}: {error}") from error
    return repo_id


def plan_files(folder: Path, paths: Iterable[str], known: Mapping[str, str] | None = None) -> tuple[PlannedFile, ...]:
    """Sizes and checksums of files, in the order of their paths.

    Args:
        folder: Where they lie.
        paths: Relative to it, with `/`.
        known: Checksums that were taken just now, by path.

    Raises:
        FileNotFoundError: If one is not there.
        ValueError: If the card is not among them.
    """
    names = sorted(set(paths))
    if CARD_FILE not in names:
        raise ValueError(f"{folder} has no card: there is no {CARD_FILE}.")
    known = known or {}
    return tuple(
        PlannedFile(name, (folder / name).stat().st_size, known.get(name) or sha256_of(folder / name))
        for name in names
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def print_plan(plan: UploadPlan, console: Console) -> None:
    """Prints repository, files and card; nothing is contacted."""

    def tell(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)

    visibility = {None: "the hub's default (public)", True: "private", False: "public"}[plan.private]
    tell(f"{plan.repo_type} {plan.repo_id}; if it is new: {visibility}")
    tell(f"branch: {plan.revision or 'main'}{' (by pull request)' if plan.create_pr else ''}")
    tell(f"commit: {plan.commit_message}")
    if plan.replaces:
        tell(f"deleted there, if not in this list: {', '.join(plan.replaces)}")
    width = max(len(str(file.size)) for file in plan.files)
    tell(f"{len(plan.files)} files, {plan.num_bytes} bytes (size, SHA-256, path):")
    for file in plan.files:
        tell(f"  {file.size:>{width}}  {file.sha256}  {file.path}")
    tell(f"--- {CARD_FILE}")
    tell(plan.card_text.rstrip("\n"))
    tell("---")


def check_card(text: str, repo_type: str) -> RepoCard:
    """What of the hub's rules for cards can be checked without the hub.

    The header must be there and be a YAML mapping that `huggingface_hub` reads as card data (with a model index that
    it can parse, and the same after writing it again), with a licence; an "other" licence has a name and a link.

    Args:
        text: The card.
        repo_type: `"model"` or `"dataset"`.

    Returns:
        The card as `huggingface_hub` reads it.

    Raises:
        ValueError: If something is not so.
    """
    if not text.startswith("---\n"):
        raise ValueError("The card must begin with a YAML header between lines of `---`.")
    card_class = {"model": ModelCard, "dataset": DatasetCard}[repo_type]
    try:
        card = card_class(text)
        again = card_class(str(card))
    except Exception as error:  # YAML's errors and those of the card's classes have nothing in common.
        raise ValueError(f"The header of the card cannot be read: {error}") from error
    if card.data.to_dict() != again.data.to_dict():
        raise ValueError("The header of the card changes when huggingface_hub writes it again.")
    header = card.data.to_dict()
    if not header.get("license"):
        raise ValueError("The header of the card has no `license`.")
    if header["license"] == "other" and not (header.get("license_name") and header.get("license_link")):
        raise ValueError("The card's `license` is 'other', so `license_name` and `license_link` are needed.")
    if not card.text.strip():
        raise ValueError("The card has a header but no text.")
    return card


def upload(plan: UploadPlan, api: HubApi, validate: Callable[[RepoCard, str], None] | None = None) -> str:
    """Uploads what the plan says.

    Before anything is uploaded the hub checks the card, the repository is made if it is new, and one that was to be
    private is looked at: an existing repository stays as visible as it is.

    Args:
        plan: What to upload.
        api: [`huggingface_hub.HfApi`], or what stands for it.
        validate: The hub's check of a card; by default `RepoCard.validate`, which asks the hub.

    Returns:
        URL of the commit.

    Raises:
        ValueError: If the hub does not take the card, a file has changed since the plan was made, or the repository
            is public and should be private.
        OSError: If the hub cannot be reached or refuses.
    """
    card = check_card(plan.card_text, plan.repo_type)
    for file in plan.files:
        if (plan.folder / file.path).stat().st_size != file.size:
            raise ValueError(f"{plan.folder / file.path} has changed since the upload was planned.")
    with _hub_errors():
        (validate or _validate_online)(card, plan.repo_type)
        url = api.create_repo(repo_id=plan.repo_id, repo_type=plan.repo_type, private=plan.private, exist_ok=True)
        repo_id = getattr(url, "repo_id", plan.repo_id)
        if plan.private and not api.repo_info(repo_id, repo_type=plan.repo_type).private:
            raise ValueError(
                f"{repo_id} exists already and is public: nothing was uploaded. Say --public if it may be, or make it "
                "private first."
            )
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type=plan.repo_type,
            folder_path=plan.folder,
            allow_patterns=[glob.escape(file.path) for file in plan.files],
            delete_patterns=list(plan.replaces) or None,
            commit_message=plan.commit_message,
            revision=plan.revision,
            create_pr=plan.create_pr,
        )
    return str(getattr(commit, "commit_url", commit))


@contextmanager
def _hub_errors() -> Iterator[None]:
    """Errors of the connection as `OSError`, which those of the hub's answers are already."""
    try:
        yield
    except HTTPError as error:
        if isinstance(error, OSError):
            raise
        raise OSError(f"The hub could not be reached: {error}") from error


def _validate_online(card: RepoCard, repo_type: str) -> None:
    card.validate(repo_type=repo_type)
