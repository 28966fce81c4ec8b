# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Compares the package's metrics with recorded results of the official evaluators.

    python tests/check_metrics.py DIR [DIR ...]

runs every case found in or below the folders, prints a table (case, part of the official results, number of values,
worst difference, pass) and exits with 1 on any difference above 1e-9, on any official value that is not computed, on
a case of an unknown task and if there is no case. A case is a folder with golden.json and the inputs, in a folder
named like its task: <task>/<case>/golden.json.
"""

import argparse
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from metric_rows import MetricRow, case_name, read_json, uncompared_keys  # noqa: E402


def load_tasks() -> dict[str, Callable[[Path], list[MetricRow]]]:
    """Task -> comparison of one case, from all modules tests/metric_cases_*.py."""
    tasks: dict[str, Callable[[Path], list[MetricRow]]] = {}
    for path in sorted(TESTS.glob("metric_cases_*.py")):
        tasks.update(importlib.import_module(path.stem).TASKS)
    return tasks


def find_cases(folders: list[Path]) -> list[Path]:
    """Folders of all cases in or below the given ones, each once, sorted by task and name.

    Raises:
        NotADirectoryError: If one of the folders is no folder.
    """
    cases = set()
    for folder in folders:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder.")
        cases.update(path.parent.resolve() for path in folder.rglob("golden.json"))
    return sorted(cases, key=lambda case: (case.parent.name, case.name, str(case)))


def check_case(case: Path, tasks: dict[str, Callable[[Path], list[MetricRow]]]) -> list[MetricRow]:
    """Rows of one case. An exception and an official value that no row compares become failed rows."""
    name = case_name(case)
    compare = tasks.get(case.parent.name)
    if compare is None:
        note = f"unknown task {case.parent.name!r}, known are {', '.join(sorted(tasks))}"
        return [MetricRow(name, "-", None, None, float("inf"), note)]
    try:
        rows = compare(case)
        left_out = uncompared_keys(rows, read_json(case / "golden.json"))
        if (case / "published.json").exists():
            left_out += uncompared_keys(rows, read_json(case / "published.json"), "published")
    except Exception as error:
        traceback.print_exc()
        note = f"{type(error).__name__}: {error}".splitlines()[0]
        return [MetricRow(name, "-", None, None, float("inf"), note)]
    return rows + [MetricRow(name, key, None, None, float("inf"), "not compared") for key in left_out]


def table_lines(rows: list[MetricRow]) -> Iterator[str]:
    """One line for each part of the official results of a case, then one for each value that is off."""
    parts: dict[str, list[MetricRow]] = {}
    for row in rows:
        head = row.key.split("/")
        parts.setdefault("/".join(head[:2]) if head[0] == "published" else head[0], []).append(row)
    for part, members in parts.items():
        failed = [row for row in members if not row.passed]
        worst = max(row.difference for row in members)
        verdict = "FAIL" if failed else "pass"
        count = sum(row.size for row in members)
        yield f"{members[0].case:28} {part:36} {count:7d} {worst:10.2e}  {verdict}"
        for row in failed:
            values = "" if row.ours is None and row.official is None else f" ours {row.ours}, official {row.official}"
            yield f"    {row.key}:{values} {row.note}".rstrip()


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="folder of cases, searched at any depth")
    folders = parser.parse_args(arguments).folders
    try:
        cases = find_cases(folders)
    except NotADirectoryError as error:
        parser.error(str(error))
    tasks = load_tasks()
    print(f"{'case':28} {'official results':36} {'values':>7} {'difference':>10}")
    rows: list[MetricRow] = []
    for case in cases:
        case_rows = check_case(case, tasks)
        rows += case_rows
        for line in table_lines(case_rows):
            print(line, flush=True)
    failed = sum(not row.passed for row in rows)
    if not rows:
        print("no case was found")
        return 1
    worst = max(row.difference for row in rows)
    count = sum(row.size for row in rows)
    print(f"\n{len(cases)} cases, {count} values, worst difference {worst:.2e}, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
