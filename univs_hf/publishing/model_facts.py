# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The facts that model cards are made of: published figures, licences, training, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CARD_DATA = Path(__file__).parent / "card_data"


@dataclass(frozen=True)
class BenchmarkFacts:
    """A benchmark, under the name that `univs evaluate` has for it.

    Attributes:
        name: Its full name.
        split: The part that results are published on.
        task: One of the six tasks; `None` if the name of a figure tells it (`"vos/J&F"`).
    """

    name: str
    split: str
    task: str | None = None


@dataclass(frozen=True)
class Licence:
    """Under which terms weights are given.

    Attributes:
        id: As the hub names licences; `"other"` if it has no id there.
        note: The terms in words; may be Markdown.
        name: Needed with `"other"`.
        link: Where the terms stand; needed with `"other"`.
    """

    id: str
    note: str
    name: str | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        if self.id == "other" and not (self.name and self.link):
            raise ValueError("A licence with the id 'other' needs `name` and `link`.")


@dataclass(frozen=True)
class ReportedTable:
    """Published figures of one model, with their source.

    Attributes:
        title, note, source: In words.
        url: Of the source.
        columns: (benchmark, metric) of each figure.
        values: One per column.
        split: The part of all benchmarks, where it is not the usual one.
        unit: `"%"`, or of the figures of a table of speeds.
    """

    title: str
    note: str
    source: str
    url: str
    columns: tuple[tuple[str, str], ...]
    values: tuple[float, ...]
    split: str | None = None
    unit: str = "%"

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.values):
            raise ValueError(f"{self.title}: {len(self.values)} values for {len(self.columns)} columns.")


@dataclass(frozen=True)
class CardFacts:
    """What the card of one model says.

    Attributes:
        key: Name of the card, `"resnet50"` and so on.
        title: Heading.
        backbone: In words.
        licence: Of the weights.
        preset: Name of the architecture for [`UniVSConfig.from_preset`]; a model of another one cannot have the card.
        model: Name under which the package itself holds the model.
        checkpoint: Name of the authors' checkpoint that the weights come from.
        parameters, text_tower_parameters: How many; the second are part of the first.
        reported: Published figures.
        goals: Benchmark -> figure -> percentage to reach.
        about, training: Paragraphs.
        stages: Rows of the table of stages: `name`, `frames`, `lr`, `iterations`, `data`.
        limits: Sentences.
        categories, expression: For the example.
        base_model: Hub id of the model that the weights began from.
    """

    key: str
    title: str
    backbone: str
    licence: Licence
    preset: str | None = None
    model: str | None = None
    checkpoint: str | None = None
    parameters: int | None = None
    text_tower_parameters: int | None = None
    reported: tuple[ReportedTable, ...] = ()
    goals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    about: str | None = None
    training: str | None = None
    stages: tuple[Mapping[str, str], ...] = ()
    limits: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("person", "dog", "grass")
    expression: str = "the dog on the left"
    base_model: str | None = None


@cache
def _facts() -> dict[str, Any]:
    return yaml.safe_load((CARD_DATA / "facts.yaml").read_text(encoding="utf-8"))


def card_names() -> list[str]:
    """Models that there are facts about."""
    return list(_facts()["cards"])


def task_names() -> dict[str, str]:
    """Task -> its full name."""
    return dict(_facts()["tasks"])


def paper_facts() -> dict[str, str]:
    """`title`, `venue`, `authors`, `arxiv` (its id) and `repository` of the paper."""
    return dict(_facts()["paper"])


def benchmark_facts() -> dict[str, BenchmarkFacts]:
    """Name for `univs evaluate` -> facts."""
    return {name: BenchmarkFacts(**content) for name, content in _facts()["benchmarks"].items()}


def card_facts(name: str) -> CardFacts:
    """The facts of one model.

    Raises:
        ValueError: If there is no such card, or if figures do not fit their columns.
    """
    facts = _facts()
    if name not in facts["cards"]:
        raise ValueError(f"`name` must be one of {card_names()}, got {name!r}.")
    content = dict(facts["cards"][name])
    reported = tuple(
        ReportedTable(
            **{**facts["reported"][table], "columns": tuple(map(tuple, facts["reported"][table]["columns"]))},
            values=tuple(values),
        )
        for table, values in content.pop("reported", {}).items()
    )
    released = content["licence"] == "released"
    if released:
        content.setdefault("training", facts["released_training"]["text"])
        content["stages"] = tuple(facts["released_training"]["stages"])
        content.setdefault("limits", facts["released_limits"])
    content["licence"] = Licence(**facts["licences"][content["licence"]])
    for listed in ("limits", "categories"):
        if listed in content:
            content[listed] = tuple(content[listed])
    return CardFacts(key=name, reported=reported, **content)
