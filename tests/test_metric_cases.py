# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The recorded results of the official evaluators, and the command that compares with them."""

import json
import math
import shutil
from pathlib import Path

import pytest
from check_metrics import check_case, find_cases, load_tasks, main
from metric_rows import MetricRow, compare_figures, uncompared_keys
from parity_fixtures import shared_folder

CASES_FOLDER = shared_folder() / "metrics"
CASES = find_cases([CASES_FOLDER]) if CASES_FOLDER.is_dir() else []
TASKS = load_tasks()


@pytest.mark.skipif(not CASES, reason=f"the recorded cases are not at {CASES_FOLDER} (set UNIVS_SHARED)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_case(case: Path) -> None:
    rows = check_case(case, TASKS)
    assert rows
    failed = [row for row in rows if not row.passed]
    assert not failed, failed[:10]


def copy_case(shared_dir: Path, folder: Path, case: str = "vis/seed0", name: str | None = None) -> Path:
    """A copy of a case that may be changed."""
    target = folder / (name or case)
    target.mkdir(parents=True)
    for source in (shared_dir / "metrics" / "dev" / case).iterdir():
        shutil.copyfile(source, target / source.name)
    return target


def change(path: Path, edit) -> None:
    contents = json.loads(path.read_text())
    edit(contents)
    path.write_text(json.dumps(contents))


def test_cases_are_found_at_any_depth(shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = copy_case(shared_dir, tmp_path / "some" / "where", name="vis/seed77")
    for folder in (tmp_path, case.parent, case):
        assert main([str(folder)]) == 0
        output = capsys.readouterr().out
        assert "vis/seed77" in output and "1 cases" in output and "0 failed" in output
    # Each case once, also when folders overlap.
    assert main([str(tmp_path), str(case)]) == 0
    assert "1 cases" in capsys.readouterr().out


def test_a_difference_fails(shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = copy_case(shared_dir, tmp_path)

    def nudge(golden):
        golden["stats"]["AP"] += 2e-9

    change(case / "golden.json", nudge)
    assert main([str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "FAIL" in output and "stats/AP: ours" in output and "1 failed" in output


def test_smaller_differences_pass(shared_dir: Path, tmp_path: Path) -> None:
    case = copy_case(shared_dir, tmp_path)

    def nudge(golden):
        golden["stats"]["AP"] += 5e-10

    change(case / "golden.json", nudge)
    assert main([str(tmp_path)]) == 0


def test_values_that_are_not_computed_fail(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = copy_case(shared_dir, tmp_path)

    def extend(golden):
        golden["stats"]["AP99"] = 0.5
        golden["novelty"] = {"depth": [1.0]}

    change(case / "golden.json", extend)
    assert main([str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "stats/AP99: missing key" in output and "novelty: missing key" in output


def test_unknown_tasks_broken_inputs_and_empty_folders_fail(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    assert "no case was found" in capsys.readouterr().out
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path / "absent")])
    assert error.value.code == 2
    copy_case(shared_dir, tmp_path, name="juggling/seed0")
    assert main([str(tmp_path)]) == 1
    assert "unknown task 'juggling'" in capsys.readouterr().out
    broken = copy_case(shared_dir, tmp_path / "broken")
    (broken / "results.json.gz").unlink()
    assert main([str(broken)]) == 1
    assert "FileNotFoundError" in capsys.readouterr().out


def test_comparison_of_nested_figures() -> None:
    official = {"a": 1.0, "b": [[1, None], [2, float("nan")]], "c": {"d": [{"e": 2}]}, "f": "x", "note": "text"}
    ours = {"a": 1.0, "b": [[1, float("nan")], [2, None]], "c": {"d": [{"e": 2}]}, "f": "x", "more": 3}
    rows = compare_figures("t/c", ours, official)
    assert [row.key for row in rows] == ["a", "b", "c/d/0/e", "f"]
    assert all(row.passed for row in rows) and not uncompared_keys(rows, official)
    assert sum(row.size for row in rows) == 7


@pytest.mark.parametrize(
    ("ours", "official"),
    [
        (1.0, 1.0 + 1e-8),
        (float("nan"), 1.0),
        (1.0, None),
        (None, 1.0),
        ([1.0, 2.0], [1.0]),
        ([1.0, float("nan")], [1.0, 2.0]),
        ([[1.0], [2.0]], [1.0, 2.0]),
        (1.0, [1.0]),
        ({"a": 1.0}, {"b": 1.0}),
        (1.0, {"a": 1.0}),
        ("x", "y"),
        ("x", 1.0),
        (float("inf"), 1.0),
    ],
)
def test_every_kind_of_difference_is_found(ours, official) -> None:
    rows = compare_figures("t/c", {"k": ours}, {"k": official})
    assert rows and not all(row.passed for row in rows)


def test_a_difference_that_is_no_number_fails() -> None:
    assert not MetricRow("t/c", "k", 1.0, 1.0, math.nan).passed
    assert compare_figures("t/c", {"k": float("inf")}, {"k": float("inf")})[0].passed


def test_keys_that_no_row_speaks_of() -> None:
    rows = [MetricRow("t/c", "a/b", 1, 1, 0.0), MetricRow("t/c", "l/0/x", 1, 1, 0.0)]
    official = {"a": {"b": 1, "c": 2}, "l": [{"x": 1}], "m": 3}
    assert uncompared_keys(rows, official) == ["a/c", "m"]
    assert uncompared_keys(rows, official, "published") == [
        "published/a/b",
        "published/a/c",
        "published/l",
        "published/m",
    ]
