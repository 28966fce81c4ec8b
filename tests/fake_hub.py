# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Stands for `huggingface_hub.HfApi`: keeps what is uploaded, chosen by huggingface_hub's own filter of patterns."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, filter_repo_objects, validate_repo_id


class FakeHub:
    """A hub with the three methods that an upload uses.

    Attributes:
        calls: Names of the methods that were called, in order.
        repos: (type, id) -> `private` and `files` (path to content).
        commits: Keyword arguments of `upload_folder`.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.repos: dict[tuple[str, str], SimpleNamespace] = {}
        self.commits: list[dict[str, Any]] = []

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool | None, exist_ok: bool) -> SimpleNamespace:
        self.calls.append("create_repo")
        validate_repo_id(repo_id)
        # The hub puts a name without a namespace into that of the user.
        repo_id = repo_id if "/" in repo_id else f"user/{repo_id}"
        assert exist_ok or (repo_type, repo_id) not in self.repos
        self.repos.setdefault((repo_type, repo_id), SimpleNamespace(private=bool(private), files={}))
        return SimpleNamespace(repo_id=repo_id)

    def repo_info(self, repo_id: str, *, repo_type: str) -> SimpleNamespace:
        self.calls.append("repo_info")
        return SimpleNamespace(private=self.repos[repo_type, repo_id].private)

    def upload_folder(self, **arguments: Any) -> SimpleNamespace:
        self.calls.append("upload_folder")
        self.commits.append(arguments)
        repo = self.repos[arguments["repo_type"], arguments["repo_id"]]
        folder = Path(arguments["folder_path"]).resolve()
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("**/*")) if path.is_file()]
        chosen = list(
            filter_repo_objects(
                names, allow_patterns=arguments["allow_patterns"], ignore_patterns=DEFAULT_IGNORE_PATTERNS
            )
        )
        if arguments["delete_patterns"]:
            for name in list(filter_repo_objects(list(repo.files), allow_patterns=arguments["delete_patterns"])):
                del repo.files[name]
        repo.files |= {name: (folder / name).read_bytes() for name in chosen}
        return SimpleNamespace(commit_url=f"hub/{arguments['repo_id']}/commit/1")
