# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The training loop: it learns, goes on where it was, and stops before anything that is not finite is saved."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import run_config

from univs_hf.modeling_univs import UniVSForVideoSegmentation
from univs_hf.processing_univs import UniVSProcessor
from univs_hf.training import loop, train
from univs_hf.training.checkpoints import CheckpointFolder
from univs_hf.training.loop import NonFiniteLossError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of 6 steps that nothing interrupted, with an average of the weights."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    return train(run_config(folder, ema={"enabled": True, "decay": 0.9}))


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def losses(result):
    return [(entry["step"], entry["loss"]) for entry in result.history if "loss" in entry]


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def hook(model, processor, now):
        if now == step:
            raise Interrupted
        return {}

    return hook


class TestResult:
    def test_model_loads_by_itself(self, whole_run):
        model = UniVSForVideoSegmentation.from_pretrained(whole_run.model_path)
        processor = UniVSProcessor.from_pretrained(whole_run.model_path)
        session = processor.init_video_session(np.zeros((3, 32, 32, 3), np.uint8), task="vos")
        processor.add_inputs_to_inference_session(session, 0, [1], input_masks=np.ones((1, 32, 32), bool))
        assert len(list(model.eval().propagate_in_video_iterator(session))) == 3

    def test_log(self, whole_run):
        assert [entry["step"] for entry in whole_run.history] == [1, 2, 3, 4, 5, 6]
        first = whole_run.history[0]
        for name in ("loss", "loss_mask", "loss_dice", "loss_reid", "learning_rate", "gradient_norm"):
            assert first[name] > 0
        assert 0 <= first["data_wait"] <= 1 and first["clips_per_second"] > 0 and first["memory_gib"] > 0

    def test_average_is_what_is_given_back_and_not_what_is_trained(self, whole_run):
        checkpoint = whole_run.model_path.parent / "checkpoints" / "step-00000006"
        trained = load_file(checkpoint / "state" / "model.safetensors")
        averaged = torch.load(checkpoint / "state" / "average.pt", weights_only=True)
        assert averaged["num_updates"] == 6
        given = weights(whole_run.model_path)
        for name, value in averaged["average"].items():
            assert torch.equal(given[name], value)
        assert any(not torch.equal(given[name], trained[name]) for name in averaged["average"])

    def test_it_learns(self, tmp_path):
        changes = {
            "schedule": {"max_steps": 40, "warmup_steps": 10},
            "checkpoint": {"every": 40},
            "data": {"batch_size": 2},
        }
        result = train(run_config(tmp_path, **changes))
        history = [entry for entry in result.history if "loss" in entry]

        def mean(name, entries):
            return np.mean([entry[name] for entry in entries])

        assert mean("loss", history[-10:]) < 0.5 * mean("loss", history[:10])
        assert mean("loss_mask", history[-10:]) < 0.85 * mean("loss_mask", history[:10])


class TestResume:
    def test_bit_identical(self, whole_run, tmp_path):
        changes = {"ema": {"enabled": True, "decay": 0.9}, "evaluation": {"every": 1}}
        # After step 3 there is a checkpoint of step 2 and work that is lost.
        with pytest.raises(Interrupted):
            train(run_config(tmp_path, **changes), evaluate=interrupt_at(3))
        result = train(run_config(tmp_path, **changes), evaluate=lambda model, processor, step: {})
        assert result.resumed_from.name == "step-00000002"
        assert losses(result) == losses(whole_run)
        assert same(weights(result.model_path), weights(whole_run.model_path))
        optimizers = [
            torch.load(run / "checkpoints/step-00000006/state/optimizer.bin", weights_only=True)["state"]
            for run in (result.model_path.parent, whole_run.model_path.parent)
        ]
        for index, values in optimizers[0].items():
            assert all(torch.equal(value, optimizers[1][index][name]) for name, value in values.items())

    def test_workers_and_accumulation_make_no_difference(self, whole_run, tmp_path):
        """Loading in workers gives the clips of loading in the process itself; resuming with workers, too."""
        changes = {"ema": {"enabled": True, "decay": 0.9}, "data": {"num_workers": 2}, "evaluation": {"every": 1}}
        with pytest.raises(Interrupted):
            train(run_config(tmp_path, **changes), evaluate=interrupt_at(5))
        result = train(run_config(tmp_path, **changes), evaluate=lambda model, processor, step: {})
        assert same(weights(result.model_path), weights(whole_run.model_path))

    def test_a_finished_run_stays_as_it_is(self, whole_run):
        config = run_config(whole_run.model_path.parent.parent, ema={"enabled": True, "decay": 0.9})
        before = weights(whole_run.model_path)
        again = train(config)
        assert again.step == 6 and same(weights(again.model_path), before)
        assert losses(again) == losses(whole_run)

    def test_damaged_checkpoint_is_passed_over(self, whole_run, tmp_path, caplog):
        changes = {"ema": {"enabled": True, "decay": 0.9}, "evaluation": {"every": 1}}
        with pytest.raises(Interrupted):
            train(run_config(tmp_path, **changes), evaluate=interrupt_at(5))
        folder = CheckpointFolder(tmp_path / "run" / "checkpoints", 3)
        assert folder.steps() == [2, 4]
        path = folder.of_step(4) / "state" / "optimizer.bin"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        result = train(run_config(tmp_path, **changes), evaluate=lambda model, processor, step: {})
        assert "optimizer.bin is not what was written" in caplog.text
        assert result.resumed_from.name == "step-00000002"
        assert same(weights(result.model_path), weights(whole_run.model_path))

    def test_other_batches_are_refused(self, whole_run):
        folder = whole_run.model_path.parent.parent
        config = run_config(folder, ema={"enabled": True, "decay": 0.9}, data={"batch_size": 2})
        with pytest.raises(ValueError, match="batch_size 1, the sampler has 2.*checkpoint.strict"):
            train(config)
        with pytest.raises(FileExistsError, match="holds checkpoints of a run"):
            train(run_config(folder, checkpoint={"resume": "never"}))

    @pytest.mark.slow
    def test_kill_9(self, tmp_path, project_root):
        """Killed at whatever it was doing, twice, then gone on with: the same losses and the same bits."""
        options = ["--schedule.max_steps", "30", "--checkpoint.every", "3", "--ema.enabled", "true"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project_root)}

        def start(folder):
            script = str(project_root / "tests" / "training_runs.py")
            return subprocess.Popen(
                [sys.executable, script, str(folder), *options],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        log = tmp_path / "killed" / "run" / "log.jsonl"
        for steps in (8, 19):
            process = start(tmp_path / "killed")
            until = time.monotonic() + 120
            while not log.exists() or log.read_text().count("\n") < steps:
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < until, "the run does not get on"
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        for name in ("killed", "whole"):
            process = start(tmp_path / name)
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 0, output
        logs = [
            [json.loads(line)["loss"] for line in (tmp_path / name / "run" / "log.jsonl").read_text().splitlines()]
            for name in ("killed", "whole")
        ]
        assert logs[0] == logs[1] and len(logs[0]) == 30
        finals = [weights(tmp_path / name / "run" / "final") for name in ("killed", "whole")]
        assert same(*finals)
        assert not list((tmp_path / "killed" / "run" / "checkpoints").glob(".*"))


class TestNonFinite:
    def test_stops_with_the_keys_and_keeps_checkpoints(self, tmp_path, monkeypatch):
        keys: list[list[str]] = []
        original = loop.ClipBatches.__next__

        def watched(self):
            batch = original(self)
            keys.append([clip.key for clip in batch.clips])
            return batch

        def poison(model, processor, step):
            if step == 3:
                torch.nn.init.constant_(model.class_logit_scale, float("nan"))
            return {}

        monkeypatch.setattr(loop.ClipBatches, "__next__", watched)
        changes = {
            "data": {"datasets": {"sot": {"weight": 0}, "grounding": {"weight": 0}}},
            "evaluation": {"every": 1},
        }
        with pytest.raises(NonFiniteLossError, match="Step 4: loss, loss_ce .*newest is of step 2") as caught:
            train(run_config(tmp_path, **changes), evaluate=poison)
        assert caught.value.keys == keys[3] and keys[3][0] in str(caught.value)
        folder = CheckpointFolder(tmp_path / "run" / "checkpoints", 3)
        assert folder.steps() == [2] and folder.newest_intact() is not None
        assert not (tmp_path / "run" / "final").exists()


@pytest.mark.slow
def test_two_processes_follow_the_losses_of_one(tmp_path, project_root):
    """Half the batch each: the same losses to 1e-4 over 20 steps."""
    options = ["--schedule.max_steps", "20", "--checkpoint.every", "20", "--data.one_dataset_per_step", "true"]
    launchers = {
        "one": [sys.executable],
        "two": [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29641"],
    }
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(project_root),
    }
    found = {}
    for name, launcher in launchers.items():
        run_config(_made(tmp_path / name))
        command = [*launcher, str(project_root / "tests" / "training_runs.py"), str(tmp_path / name), *options]
        command += ["--data.batch_size", "2" if name == "one" else "1"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        entries = [json.loads(line) for line in (tmp_path / name / "run" / "log.jsonl").read_text().splitlines()]
        found[name] = [entry["loss"] for entry in entries]
        state = json.loads((tmp_path / name / "run/checkpoints/step-00000020/state/trainer.json").read_text())
        assert state["sampler"]["world_size"] == len(found)
    assert len(found["one"]) == 20
    np.testing.assert_allclose(found["two"], found["one"], rtol=1e-4)


def _made(folder):
    folder.mkdir()
    return folder
