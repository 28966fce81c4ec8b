# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Renders all model cards again: `python -m univs_hf.publishing.render_cards model_cards`.

Measured figures of a card are read from `<folder>/measured/<card>/*.json`, files that evaluations wrote.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..evaluation.submission_files import write_text
from .measured_scores import read_scores, scores_in
from .model_card import render_model_card
from .model_facts import card_facts, card_names
from .upload_plan import check_card


def rendered_cards(folder: Path) -> dict[str, str]:
    """Name of each card's file -> what it should hold.

    Args:
        folder: Where the cards are; measured figures are below it.

    Raises:
        ValueError: If a card is not valid or a file of figures cannot be used.
    """
    cards = {}
    for name in card_names():
        text = render_model_card(card_facts(name), read_scores(scores_in(folder / "measured" / name)))
        check_card(text, "model")
        cards[f"{name}.md"] = text
    return cards


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        Exit status: 0, or 1 if `--check` found a card that differs, or 2 if something cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m univs_hf.publishing.render_cards", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("model_cards"))
    parser.add_argument("--check", action="store_true", help="write nothing, tell which cards differ")
    args = parser.parse_args(argv)
    try:
        if not args.folder.is_dir():
            raise ValueError(f"There is no folder {args.folder}.")
        cards = rendered_cards(args.folder)
        differing = [name for name, text in cards.items() if _text(args.folder / name) != text]
        for name in differing:
            if args.check:
                print(f"{args.folder / name} is not what the facts say")
            else:
                print(write_text(args.folder / name, cards[name]))
        return 1 if args.check and differing else 0
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    raise SystemExit(main())
