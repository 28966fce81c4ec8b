# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The card of a converted dataset: counts, sources, licence and what was left out, with the header the hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import DatasetCardData

from ... import __version__
from .conversion_report import SplitReport
from .converter import DatasetConverter
from .shard_plan import hub_split

# Upper ends of the hub's size categories.
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
_LARGEST_SIZE = "10M<n<100M"
# What each dataset can be used for, in the hub's words.
_TASK_CATEGORIES = ["image-segmentation", "mask-generation"]


def dataset_card(
    converter: DatasetConverter, splits: Sequence[SplitReport], options: Mapping[str, Any] | None = None
) -> str:
    """Text of `README.md`.

    Args:
        converter: The dataset.
        splits: Its complete splits.
        options: What the converter was made with.

    Returns:
        Markdown with a YAML header, as [`huggingface_hub.DatasetCard`] reads it.
    """
    facts = converter.facts
    rows = sum(split.counts.rows for split in splits)
    link = facts.licence_link or facts.homepage
    other = {"license_name": f"{converter.name}-terms", **({"license_link": link} if link else {})}
    data = DatasetCardData(
        pretty_name=facts.title,
        license=facts.licence,
        task_categories=_TASK_CATEGORIES,
        size_categories=next((name for end, name in _SIZES if rows < end), _LARGEST_SIZE),
        tags=["video-segmentation", "univs"],
        configs=[
            {
                "config_name": "default",
                "data_files": [
                    {"split": hub_split(split.split), "path": f"data/{hub_split(split.split)}-*.parquet"}
                    for split in splits
                ],
            }
        ],
        **(other if facts.licence == "other" else {}),
    )
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {facts.title}",
        facts.summary,
        f"This is a conversion to rows of `univs_hf` ({__version__}); pictures are the original files."
        + (f" The original is at {facts.homepage}." if facts.homepage else ""),
        "## Content\n\n" + _count_table(splits),
        "## Use\n\n" + _usage(splits),
        "## Sources\n\n" + "\n".join(f"- {paper}" for paper in facts.papers or ("Unknown.",)),
        "## Licence\n\n" + facts.licence_note,
        "## What is left out\n\n" + _left_out(splits),
    ]
    if options:
        sections.append("## How it was made\n\n" + _command(type(converter).name, options))
    return "\n\n".join(sections) + "\n"


def _count_table(splits: Sequence[SplitReport]) -> str:
    names = ("items", "rows", "frames", "objects", "masks", "expressions")
    lines = [
        "| split | videos or images | rows | frames | objects | masks | expressions | categories | MB |",
        "|---|" + "---:|" * 8,
    ]
    for split in splits:
        counts = split.counts
        numbers = [str(getattr(counts, name)) for name in names]
        lines.append(
            f"| {split.split} | {' | '.join(numbers)} | {len(counts.categories)} | {counts.bytes / 1e6:.1f} |"
        )
    return "\n".join(lines)


def _usage(splits: Sequence[SplitReport]) -> str:
    split = hub_split(splits[0].split) if splits else "train"
    return (
        "A row is an image, a video, or a part of at most 64 frames of one: encoded `frames`, `entities`, masks as "
        "COCO run lengths sorted by frame (those of frame `t` are `mask_offsets[t]` to `mask_offsets[t + 1]`), and "
        "`expressions` that point to entities. `univs_hf.data.schema` describes every column.\n\n"
        "```python\n"
        "from datasets import load_dataset\n"
        "from univs_hf.data.schema import Row\n\n"
        f'rows = load_dataset("parquet", data_files="data/{split}-*.parquet", split="train")\n'
        'row = Row(rows.with_format("arrow")[0])\n'
        "```\n\n"
        "`sha256sum -c SHA256SUMS` checks the files."
    )


def _left_out(splits: Sequence[SplitReport]) -> str:
    lines = []
    for split in splits:
        lines += [f"- {split.split}: {count} {rule}" for rule, count in sorted(split.log.left_out.items())]
        if split.log.damages:
            lost = ", ".join(f"{count} x {name}" for name, count in split.lost.items())
            lines.append(f"- {split.split}: damaged and skipped: {lost}; `report.json` lists each")
    return "\n".join(lines) if lines else "Nothing."


def _command(name: str, options: Mapping[str, Any]) -> str:
    return f"`univs prepare {name}` with " + ", ".join(
        f"`{option}` = `{json.dumps(value)}`" for option, value in sorted(options.items())
    )
