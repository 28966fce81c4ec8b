# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs prepare <dataset> SRC OUT`: options, and the call of the conversion. Torch is not needed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .registry import CONVERTERS, converter_class

_EPILOG = """OUT gets data/<split>-00000-of-000NN.parquet, a card (README.md), report.json and SHA256SUMS.

Damaged pictures and annotations are listed in the report and skipped, or with --on-damage fail end the conversion.

An interrupted conversion goes on when the same command is given again: finished files are kept if their checksums are
right. Another --split is added to what OUT holds.
"""


def add_prepare_parser(commands: Any, arguments: Sequence[str] = ()) -> None:
    """Adds `prepare` to the commands of `univs`.

    Args:
        commands: What `add_subparsers` gave.
        arguments (sequence of `str`, *optional*): What is going to be parsed. Only a dataset that is named there is
            imported, for its own options.
    """
    parser = commands.add_parser(
        "prepare",
        help="convert a dataset from its official layout to Parquet",
        description="Convert a dataset from its official layout to Parquet files for training.",
    )
    names = parser.add_subparsers(dest="dataset", required=True, metavar="dataset", parser_class=type(parser))
    for name, (_, _, title) in CONVERTERS.items():
        dataset_parser = names.add_parser(
            name,
            help=title,
            description=f"Convert {title} to Parquet files for training.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=_EPILOG,
        )
        if name in arguments:
            _add_options(dataset_parser, name)


def _add_options(parser: argparse.ArgumentParser, name: str) -> None:
    converter = converter_class(name)
    parser.add_argument("source", type=Path, metavar="SRC", help="the dataset, as it is unpacked")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the result")

    what = parser.add_argument_group("what to convert")
    what.add_argument(
        "--split",
        action="append",
        metavar="NAME",
        choices=converter.splits or None,
        help=f"{', '.join(converter.splits) or 'any'}; repeatable (default: {', '.join(converter.default_splits)})",
    )
    for option in converter.options:
        # Names of their own, since an option may be called `dataset`.
        flag, dest = "--" + option.name.replace("_", "-"), f"option_{option.name}"
        if option.type is bool:
            what.add_argument(flag, dest=dest, action="store_true", default=option.default, help=option.help)
        else:
            default = "" if option.default is None else f" (default: {option.default})"
            what.add_argument(
                flag,
                dest=dest,
                type=option.type,
                default=option.default,
                choices=option.choices,
                help=option.help + default,
            )

    how = parser.add_argument_group("how")
    how.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    how.add_argument(
        "--on-damage",
        choices=("skip", "fail"),
        default="skip",
        help="list what is damaged and go on without it, or end at the first (default: %(default)s)",
    )
    how.add_argument(
        "--redo-damaged",
        action="store_true",
        help="convert those finished files again in which something was damaged, say after it was repaired",
    )
    how.add_argument("--shards", type=int, metavar="N", help="files per split (default: by size, 256 to 512 MiB each)")
    how.add_argument("--overwrite", action="store_true", help="begin again in place of what OUT holds")
    how.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(func=run_prepare, dataset=name)


def run_prepare(args: argparse.Namespace) -> int:
    """Runs `univs prepare`.

    Returns:
        `int`: 0.

    Raises:
        KeyboardInterrupt: If the user ends it; the message tells how to go on.
        ValueError, OSError: If an argument or a file cannot be used, or at the first damage with `--on-damage fail`.
    """
    from rich.console import Console

    from .conversion import ConversionSettings, convert
    from .conversion_report import print_report
    from .prepared_folder import REPORT

    converter_type = converter_class(args.dataset)
    options = {option.name: getattr(args, f"option_{option.name}") for option in converter_type.options}
    settings = ConversionSettings(
        workers=args.workers,
        on_damage=args.on_damage,
        overwrite=args.overwrite,
        redo_damaged=args.redo_damaged,
        num_shards=args.shards,
        quiet=args.quiet,
    )
    converter = converter_type(args.source, **options)
    try:
        conversion = convert(converter, args.out, args.split, settings, options)
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt("finished files are kept, the same command goes on") from interruption
    console = Console()
    print_report(conversion.splits, console)
    if conversion.kept_shards:
        console.print(f"{conversion.kept_shards} files were there from a run before", highlight=False)
    console.print(f"report: {args.out / REPORT}", highlight=False, soft_wrap=True)
    return 0
