# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Renders model cards: facts and measured figures through one template.

facts.yaml ------> CardFacts -----+
scores.json -> MeasuredScores ----+--> figures, each marked as reported or measured --> header (model-index), text
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from .. import __version__
from .measured_scores import MeasuredScores
from .model_facts import CARD_DATA, CardFacts, ReportedTable, benchmark_facts, paper_facts, task_names

# The hub has no tag for pipelines that segment video; its page of image segmentation is the nearest.
_HUB_TASK = "image-segmentation"
_TEXT_WIDTH = 120


@dataclass(frozen=True)
class Figure:
    """A row of a table.

    Attributes:
        benchmark: Full name.
        split: Which part.
        task: Full name of the task.
        metric: As the tables of papers call it.
        value: Percentage, or what the table says.
        benchmark_key: Name of the benchmark for `univs evaluate`.
        num_videos, goal: Of measured figures.
    """

    benchmark: str
    split: str
    task: str
    metric: str
    value: float
    benchmark_key: str
    num_videos: int | None = None
    goal: float | None = None


def render_model_card(
    facts: CardFacts, measured: Sequence[MeasuredScores] = (), repo_id: str | None = None, version: str = __version__
) -> str:
    """Renders a card.

    Args:
        facts: What is known of the model.
        measured: Our own figures of exactly these weights.
        repo_id: Repository that the card goes to; the examples load from there.
        version: Of univs-hf.

    Returns:
        Markdown with a YAML header.

    Raises:
        ValueError: If a figure is of a benchmark that there are no facts about, or jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ValueError("Cards are rendered with jinja2: pip install 'univs-hf[eval]'.") from error

    model = repo_id or facts.model or "DIR"
    packaged = model == facts.model
    name = (repo_id or facts.model or f"univs-{facts.key}").split("/")[-1]
    own = measured_figures(facts, measured)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CARD_DATA),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["rows"] = lambda table: list(reported_figures(table))
    text = environment.get_template("model_card.md.jinja").render(
        header=_header(facts, own, name).to_yaml(),
        facts=facts,
        paper=paper_facts(),
        tasks=task_names(),
        measured=own,
        measured_notes=[_circumstances(scores) for scores in measured],
        goals=_goals(facts),
        model=model,
        packaged=packaged,
        trust="" if packaged else ", trust_remote_code=True",
        categories="[" + ", ".join(f'"{category}"' for category in facts.categories) + "]",
        version=version,
    )
    return _tidy(text)


def reported_figures(table: ReportedTable) -> Iterator[Figure]:
    """The figures of a published table."""
    benchmarks, tasks = benchmark_facts(), task_names()
    for (key, metric), value in zip(table.columns, table.values, strict=True):
        benchmark = benchmarks[key]
        yield Figure(benchmark.name, table.split or benchmark.split, tasks[benchmark.task], metric, value, key)


def measured_figures(facts: CardFacts, measured: Sequence[MeasuredScores]) -> list[Figure]:
    """Our own figures, benchmarks in the order of the facts.

    Raises:
        ValueError: If there are no facts about a benchmark or task.
    """
    benchmarks, tasks = benchmark_facts(), task_names()
    order = list(benchmarks)
    for scores in measured:
        if scores.benchmark not in benchmarks:
            raise ValueError(f"Figures of {scores.benchmark!r}: there are facts about the benchmarks {order} only.")
    figures = []
    for scores in sorted(measured, key=lambda scores: order.index(scores.benchmark)):
        benchmark = benchmarks[scores.benchmark]
        goals = facts.goals.get(scores.benchmark, {})
        for name, value in scores.figures.items():
            prefix, separator, rest = name.partition("/")
            task, metric = (prefix, rest) if separator else (benchmark.task, name)
            if task not in tasks:
                raise ValueError(
                    f"Figure {name!r} of {scores.benchmark}: its name must be TASK/METRIC with one of {list(tasks)}."
                )
            figures.append(
                Figure(
                    benchmark.name,
                    scores.split,
                    tasks[task],
                    metric,
                    value,
                    scores.benchmark,
                    scores.num_videos,
                    goals.get(name),
                )
            )
    return figures


def _goals(facts: CardFacts) -> list[dict[str, Any]]:
    tasks = task_names()
    return [
        {"task": tasks[name.partition("/")[0]], "metric": name.partition("/")[2], "value": value}
        for goals in facts.goals.values()
        for name, value in goals.items()
    ]


def _circumstances(scores: MeasuredScores) -> str:
    """With what the figures of a benchmark were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in scores.versions.items())
    usual = "with the published settings of the task"
    if scores.task_settings:
        own = "; ".join(f"{task}: {_assignments(settings)}" for task, settings in scores.task_settings.items())
        usual += f" but for those that the configuration holds ({own})"
    parts = [
        f"in {scores.dtype}" if scores.dtype else "",
        usual if scores.task_settings or not scores.settings else "",
        f"with {_assignments(scores.settings)} in place of the task's settings" if scores.settings else "",
        f"by {versions}" if versions else "",
    ]
    benchmark = benchmark_facts()[scores.benchmark].name
    return f"{benchmark} {scores.split} was measured {', '.join(part for part in parts if part)}."


def _assignments(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` = `{value}`" for name, value in settings.items())


def _header(facts: CardFacts, measured: Sequence[Figure], name: str) -> ModelCardData:
    results = []
    for table in facts.reported:
        if table.unit == "%":
            for figure in reported_figures(table):
                results.append(_result(figure, "reported", table.source, table.url))
    results += [_result(figure, "measured") for figure in measured]
    return ModelCardData(
        language="en",
        license=facts.licence.id,
        license_name=facts.licence.name,
        license_link=facts.licence.link,
        library_name="transformers",
        pipeline_tag=_HUB_TASK,
        base_model=facts.base_model,
        tags=[
            "univs",
            "video-segmentation",
            *(name.replace(" ", "-") for name in task_names().values()),
            "custom_code",
            f"arxiv:{paper_facts()['arxiv']}",
        ],
        model_name=name,
        eval_results=results or None,
    )


def _result(figure: Figure, mark: str, source: str | None = None, url: str | None = None) -> EvalResult:
    return EvalResult(
        task_type=_HUB_TASK,
        task_name=figure.task,
        # One dataset can be measured in several tasks, and the hub tells results apart by these fields alone.
        dataset_type=figure.benchmark_key,
        dataset_name=figure.benchmark,
        dataset_config=f"{mark}, {figure.task}",
        dataset_split=figure.split,
        metric_type=re.sub(r"[^a-z0-9]+", "_", figure.metric.lower().replace("&", "_and_")).strip("_"),
        metric_name=f"{figure.metric} ({mark})",
        metric_value=figure.value,
        source_name=source,
        source_url=url,
    )


def _tidy(text: str) -> str:
    """Paragraphs of the text broken into lines; at most one empty line in a row."""
    header, body = text.split("\n---\n", 1)
    lines, code = [], False
    for line in body.split("\n"):
        code ^= line.startswith("```")
        prose = not code and not line.startswith(("|", "#", "```"))
        indent = "  " if line.startswith("- ") else ""
        lines += (
            textwrap.wrap(line, _TEXT_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
            if prose and len(line) > _TEXT_WIDTH
            else [line.rstrip()]
        )
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    return f"{header}\n---\n\n{body}\n"
