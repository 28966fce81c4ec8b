# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Compares the package with recorded inputs and outputs of the original implementation.

    python tests/check_parity.py DIR [DIR ...]

runs every fixture found below the folders, prints a table (fixture, tensor, worst absolute and relative error,
tolerance, pass) and exits with 1 on any failure, on a fixture of an unknown kind and if there is no fixture.
"""

import argparse
import math
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import parity_category_runs  # noqa: E402
import parity_checks  # noqa: E402
import parity_image_runs  # noqa: E402
import parity_prompted_runs  # noqa: E402
import parity_training  # noqa: E402
from parity_checks import Row  # noqa: E402
from parity_fixtures import Fixture, find_fixtures  # noqa: E402

# Prefix of a fixture's name -> what is compared; the longest prefix counts.
CHECKS = {
    **parity_checks.CHECKS,
    **parity_category_runs.CHECKS,
    **parity_prompted_runs.CHECKS,
    **parity_image_runs.CHECKS,
    **parity_training.CHECKS,
}


def kind_of(name: str) -> str | None:
    """Kind of a fixture by its name, `decoder_vis_r50_s0` -> `decoder`; None if it is not a documented one."""
    for kind in sorted(CHECKS, key=len, reverse=True):
        if re.match(rf"{kind}\d*(_|$)", name):
            return kind
    return None


def check_fixture(path: Path) -> Iterator[Row]:
    """Rows of one fixture; an exception becomes a failed row, so that the other fixtures still run."""
    kind = kind_of(path.stem)
    if kind is None:
        yield Row(path.stem, "-", float("nan"), float("nan"), "-", False, "unknown kind of fixture")
        return
    try:
        with torch.inference_mode():
            yield from CHECKS[kind](Fixture(path))
    except Exception as error:
        traceback.print_exc()
        note = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Row(path.stem, "-", float("nan"), float("nan"), "-", False, note)


def print_row(row: Row) -> None:
    verdict = "FAIL" if not row.passed else "skip" if math.isnan(row.absolute) else "pass"
    errors = f"{row.absolute:10.2e} {row.relative:10.2e}"
    print(f"{row.fixture:32} {row.tensor:44} {errors}  {row.tolerance:18} {verdict}  {row.note}".rstrip())


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="folder of fixtures")
    folders = parser.parse_args(arguments).folders
    try:
        paths = find_fixtures(folders)
    except NotADirectoryError as error:
        parser.error(str(error))
    # Fixtures of the same weights follow each other, so that each model is built once.
    paths = sorted(paths, key=lambda path: path.stem.split("_")[::-1])
    print(f"{'fixture':32} {'tensor':44} {'absolute':>10} {'relative':>10}  {'tolerance':18}")
    rows = []
    for path in paths:
        for row in check_fixture(path):
            print_row(row)
            rows.append(row)
    failed = [row for row in rows if not row.passed]
    print(f"\n{len(paths)} fixtures, {len(rows)} comparisons, {len(failed)} failed")
    if not rows:
        print("no fixture to compare was found")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
