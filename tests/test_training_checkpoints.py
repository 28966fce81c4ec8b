# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints appear whole or not at all, damage is noticed, the newest few are kept."""

import json

import pytest

from univs_hf.training.checkpoints import CheckpointFolder, DamagedCheckpointError, verify
from univs_hf.training.run_log import RunLog, read_log


def write(folder, step, content="weights"):
    with folder.writing(step) as path:
        (path / "state").mkdir()
        (path / "state" / "model").write_text(f"{content} {step}")
        (path / "config").write_text("settings")


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints", keep=2)


def test_newest_are_kept(folder):
    assert folder.steps() == [] and folder.newest_intact() is None
    for step in (10, 20, 30):
        write(folder, step)
    assert folder.steps() == [20, 30]
    assert folder.newest_intact() == folder.of_step(30)
    manifest = verify(folder.of_step(30))
    assert manifest["step"] == 30 and set(manifest["files"]) == {"state/model", "config"}


def test_what_fails_while_it_is_written_leaves_no_trace(folder):
    write(folder, 10)
    with pytest.raises(OSError, match="full"), folder.writing(20) as path:
        (path / "model").write_text("half")
        raise OSError("disk is full")
    assert [entry.name for entry in folder.path.iterdir()] == ["step-00000010"]


def test_leftovers_of_a_killed_run_are_no_checkpoints(folder):
    write(folder, 10)
    left = folder.temporary(20)
    left.mkdir()
    (left / "model").write_text("half")
    assert folder.steps() == [10] and folder.newest_intact() == folder.of_step(10)
    write(folder, 20)
    assert sorted(entry.name for entry in folder.path.iterdir()) == ["step-00000010", "step-00000020"]


@pytest.mark.parametrize("damage", ["bit", "shorter", "missing file", "missing manifest", "manifest cut off"])
def test_damage(folder, damage, caplog):
    write(folder, 10)
    write(folder, 20)
    path, manifest = folder.of_step(20) / "state" / "model", folder.of_step(20) / "manifest.json"
    if damage == "bit":
        path.write_text(path.read_text().replace("w", "v"))
    elif damage == "shorter":
        path.write_text("")
    elif damage == "missing file":
        path.unlink()
    elif damage == "missing manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:30])
    with pytest.raises(DamagedCheckpointError, match="manifest.json" if "manifest" in damage else "state/model"):
        verify(folder.of_step(20))
    assert folder.newest_intact() == folder.of_step(10)
    assert "The one before it is used" in caplog.text
    # The step is reached again.
    write(folder, 20, "again")
    assert folder.newest_intact() == folder.of_step(20)


def test_checkpoints_that_were_passed_over_go(folder):
    for step in (10, 20):
        write(folder, step)
    write(folder, 15)
    assert folder.steps() == [10, 15]


def test_log_goes_on_where_the_run_does(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    log.begin(0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": float("nan") if step == 2 else 0.5})
    with open(log.path, "a") as file:
        file.write('{"step": 4, "lo')
    assert [entry["step"] for entry in read_log(log.path)] == [1, 2, 3]
    again = RunLog(log.path)
    again.begin(2)
    again.write({"step": 3, "loss": 0.25})
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}, {"step": 3, "loss": 0.25}]
    RunLog(log.path).begin(0)
    assert log.path.read_text() == ""
