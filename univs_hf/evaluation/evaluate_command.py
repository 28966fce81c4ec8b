# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs evaluate <benchmark>` and the scripts in `eval_scripts`: options, and the call of the runner.

Neither the options nor `--predictions` need torch by themselves; what they do need is imported when it is used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .registry import DESCRIPTIONS, benchmark_class

if TYPE_CHECKING:
    from .benchmark import Benchmark
    from .runner import Evaluation

DTYPES = ("float32", "bfloat16", "float16")

_EPILOG = """examples:
  {program} --data DIR --model DIR --out DIR
  {program} --data DIR --predictions DIR_OR_ZIP

With `accelerate launch {script}` videos are shared among processes and machines; the figures are those of one process.

An interrupted run goes on when the same command is given again.
"""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """What a script of `eval_scripts` does.

    Args:
        name (`str`): Name of the benchmark.
        argv (sequence of `str`, *optional*): Arguments; by default those of the process.

    Returns:
        `int`: Exit status: 0 done, 2 something about the command or its input is wrong, 130 interrupted.
    """
    parser = _Parser(
        description=DESCRIPTIONS[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG.format(program=f"python eval_scripts/{name}.py", script=f"eval_scripts/{name}.py"),
    )
    _add_options(parser, name)
    args = parser.parse_args(argv)
    try:
        return run_evaluate(args)
    except KeyboardInterrupt as interruption:
        print(f"{parser.prog}: interrupted; {interruption}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError) as error:
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def add_evaluate_parser(commands: Any, arguments: Sequence[str] = ()) -> None:
    """Adds `evaluate` to the commands of `univs`.

    Args:
        commands: What `add_subparsers` gave.
        arguments (sequence of `str`, *optional*): What is going to be parsed. Only a benchmark that is named there is
            imported, for its own options.
    """
    parser = commands.add_parser(
        "evaluate",
        help="run and score a benchmark",
        description="Run a model on a benchmark, write the official submission, and score it where there is ground "
        "truth.",
    )
    names = parser.add_subparsers(dest="benchmark", required=True, metavar="benchmark", parser_class=_Parser)
    for name, description in DESCRIPTIONS.items():
        sub_parser = names.add_parser(
            name,
            help=description,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=_EPILOG.format(program=f"univs evaluate {name}", script=f"eval_scripts/{name}.py"),
        )
        if name in arguments:
            _add_options(sub_parser, name)


def _add_options(parser: argparse.ArgumentParser, name: str) -> None:
    benchmark = benchmark_class(name)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the benchmark, as it is unpacked")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="DIR", help="directory that save_pretrained wrote, or hub id")
    source.add_argument(
        "--predictions",
        type=Path,
        metavar="PATH",
        help="score these instead of running a model: the folder of an evaluation, or a submission",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results; needed with --model")

    what = parser.add_argument_group("what to evaluate")
    what.add_argument("--split", default=benchmark.default_split, help="part of the benchmark (default: %(default)s)")
    what.add_argument(
        "--videos", metavar="NAMES", help="only these: names separated by commas, or a text file with a name a line"
    )
    for option in benchmark.options:
        flag = "--" + option.name.replace("_", "-")
        if option.type is bool:
            what.add_argument(flag, action="store_true", default=option.default, help=option.help)
        else:
            default = "" if option.default is None else f" (default: {option.default})"
            what.add_argument(
                flag, type=option.type, default=option.default, choices=option.choices, help=option.help + default
            )

    how = parser.add_argument_group("how")
    how.add_argument("--overwrite", action="store_true", help="begin again in place of results that are there")
    how.add_argument("--no-report", action="store_true", help="write no page with pictures")
    how.add_argument("--quiet", action="store_true", help="show no progress")
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="inference setting of UniVSConfig in place of the published one, such as shortest_edge=480; repeatable",
    )
    how.add_argument("--device", help="cpu, cuda, cuda:1, mps, ... (default: what accelerate assigns)")
    how.add_argument("--dtype", choices=DTYPES, default="float32", help="number format of the model")
    parser.set_defaults(func=run_evaluate, benchmark=name)


def run_evaluate(args: argparse.Namespace) -> int:
    """Runs `univs evaluate`.

    Returns:
        `int`: 0.

    Raises:
        KeyboardInterrupt: If the user ends it; the message tells how to go on.
        ValueError, TypeError, OSError: If an argument or a file cannot be used.
    """
    from .runner import evaluate, scored_predictions

    settings = _settings(args.set)
    if args.model is not None and args.out is None:
        raise ValueError("--out is needed with --model: the folder for predictions, submission and figures.")
    if args.predictions is not None and (settings or args.overwrite):
        raise ValueError("--set and --overwrite belong to a run of a model; with --predictions nothing is run.")
    benchmark_type = benchmark_class(args.benchmark)
    options = {option.name: getattr(args, option.name) for option in benchmark_type.options}
    benchmark = benchmark_type(args.data, split=args.split, videos=_videos(args.videos), **options)
    if args.predictions is not None:
        with scored_predictions(benchmark, args.predictions, args.out, args.quiet) as evaluation:
            _tell(evaluation, args, {"predictions": str(args.predictions)})
        return 0
    try:
        evaluation = evaluate(
            benchmark, args.model, args.out, args.overwrite, settings, args.device, args.dtype, args.quiet
        )
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt("finished videos are kept, the same command goes on") from interruption
    about = {"model": args.model, "dtype": args.dtype, "settings": settings}
    _tell(evaluation, args, {**about, "task_settings": _own_settings(args.model, benchmark.task)})
    return 0


def _own_settings(model: str, task: str) -> dict[str, Any] | None:
    """Task -> settings that the model's configuration has in place of the published ones; None if not to be known."""
    from ..configuration_univs import UniVSConfig

    try:
        settings = UniVSConfig.from_pretrained(model).task_settings or {}
    except OSError:
        # A run that was finished earlier is scored without its model.
        return None
    return {task: settings[task]} if task in settings else {}


def _tell(evaluation: Evaluation, args: argparse.Namespace, about: dict[str, Any]) -> None:
    """Prints the table and writes the files, on the first process."""
    from rich.console import Console

    from .processes import Processes
    from .report import scores_table, write_report, write_scores

    if not Processes(args.device).is_main:
        return
    console = Console()
    if evaluation.submission is not None:
        console.print(f"submission: {evaluation.submission}", highlight=False, soft_wrap=True)
    if evaluation.figures is None:
        benchmark: Benchmark = evaluation.benchmark
        console.print(
            f"{benchmark.name} {benchmark.split} has no ground truth here: upload the submission for scores.",
            highlight=False,
            soft_wrap=True,
        )
        return
    console.print(scores_table(evaluation))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        write_scores(args.out / "scores.json", evaluation, about)
        console.print(f"figures: {args.out / 'scores.json'}", highlight=False, soft_wrap=True)
        if not args.no_report:
            write_report(args.out / "report.html", evaluation, about)
            console.print(f"report: {args.out / 'report.html'}", highlight=False, soft_wrap=True)


def _settings(assignments: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"--set must be NAME=VALUE, got '{assignment}'")
        try:
            settings[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            # A word, such as sep-blocked.
            settings[name.strip()] = value
    return settings


def _videos(text: str | None) -> list[str] | None:
    """Names of videos, from a file or as they are."""
    if text is None:
        return None
    lines = Path(text).read_text(encoding="utf-8").split() if Path(text).is_file() else text.split(",")
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"--videos {text} names no video.")
    return names
