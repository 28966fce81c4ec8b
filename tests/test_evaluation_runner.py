# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The runner of benchmarks: a tiny model end to end, resuming, processes, report, command."""

import json
import math
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from decisive_model import decisive_model
from mask_benchmark_miniatures import MINIATURES, open_miniature, write_predictions
from tiny_processor import tiny_processor

from univs_hf.evaluation import runner
from univs_hf.evaluation.background_writer import BackgroundWriter
from univs_hf.evaluation.evaluate_command import main
from univs_hf.evaluation.output_folder import OutputFolder
from univs_hf.evaluation.processes import share_videos
from univs_hf.evaluation.registry import BENCHMARKS, DESCRIPTIONS, benchmark_class
from univs_hf.evaluation.report import format_figure, worst_videos


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    decisive_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model():
    return decisive_model(), tiny_processor()


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", MINIATURES)
def test_model_through_a_benchmark(name, model, tmp_path):
    benchmark, videos = open_miniature(name, tmp_path / "data")
    evaluation = runner.evaluate(benchmark, model, tmp_path / "out", quiet=True)
    parts = 4 if benchmark.name == "ref_davis" else 1
    assert set(evaluation.videos) == set(videos)
    assert evaluation.num_frames == sum(len(video.names) for video in videos.values())
    for video in videos.values():
        written = list((tmp_path / "out" / "predictions" / video.name).rglob("*.png"))
        expressions = len(video.ids) + 1 if benchmark.name == "ref_ytvos" else 1
        assert len(written) == len(video.names) * parts * expressions
    # An untrained model finds something, and not the truth.
    assert 0 < evaluation.figures[next(iter(benchmark.columns))] < 1
    # What was written scores the same without a model, as a folder and as a submission.
    for predictions in (tmp_path / "out", tmp_path / "out" / "predictions", evaluation.submission):
        with runner.scored_predictions(benchmark, predictions, quiet=True) as again:
            assert same(again.figures, evaluation.figures)
            assert same(again.videos, evaluation.videos)


def same(first, second):
    """Equal to the last bit, NaN included."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


class TestResume:
    def test_an_interrupted_run_goes_on_to_the_same_figures(self, model, tmp_path, monkeypatch):
        benchmark, _ = open_miniature("ytvos18", tmp_path / "data")
        whole = runner.evaluate(benchmark, model, tmp_path / "whole", quiet=True)

        calls = []
        write = type(benchmark).write_prediction

        def write_and_break(self, video_id, job, results, folder):
            calls.append(video_id)
            if len(calls) == 2:
                # In the middle of a video, with files of it on the disk.
                (folder / "00000.png").write_bytes(b"half")
                raise KeyboardInterrupt
            write(self, video_id, job, results, folder)

        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(type(benchmark), "write_prediction", write_and_break)
            with pytest.raises(KeyboardInterrupt):
                runner.evaluate(benchmark, model, out, quiet=True)
        finished = [path.name for path in (out / "predictions").iterdir() if not path.name.startswith(".")]
        assert finished == calls[:1]
        assert not list((out / "predictions" / ".partial").iterdir())

        again = []
        monkeypatch.setattr(
            type(benchmark), "write_prediction", lambda *args: (again.append(args[1]), write(*args))[1]
        )
        resumed = runner.evaluate(benchmark, model, out, quiet=True)
        assert again == calls[1:]
        assert same(resumed.figures, whole.figures) and same(resumed.videos, whole.videos)
        assert files_below(out / "predictions") == files_below(tmp_path / "whole" / "predictions")

    def test_what_a_killed_run_left_is_no_result(self, model, tmp_path):
        benchmark, _ = open_miniature("mose", tmp_path / "data")
        first = runner.evaluate(benchmark, model, tmp_path / "out", quiet=True)
        predictions = tmp_path / "out" / "predictions"
        (predictions / ".partial" / "tmpabc").mkdir(parents=True)
        (predictions / ".partial" / "tmpabc" / "00000.png").write_bytes(b"half")
        again = runner.evaluate(benchmark, model, tmp_path / "out", quiet=True)
        assert again.num_frames == 0
        assert same(again.figures, first.figures)
        assert not (predictions / ".partial").exists()

    def test_a_finished_run_needs_no_model(self, model_folder, tmp_path):
        benchmark, videos = open_miniature("davis17", tmp_path / "data")
        out = tmp_path / "out"
        request = {
            **benchmark.settings(), "data": str(tmp_path / "data"), "model": "nowhere/no-model", "dtype": "float32",
            "settings": {},
        }  # fmt: skip
        folder = OutputFolder(out, request)
        folder.begin(overwrite=False)
        write_predictions(benchmark, {name: video.labels for name, video in videos.items()}, out / "predictions")
        assert runner.evaluate(benchmark, "nowhere/no-model", out, quiet=True).figures["J&F-Mean"] == 1

    def test_another_request_is_refused(self, model, tmp_path):
        benchmark, _ = open_miniature("davis17", tmp_path / "data")
        runner.evaluate(benchmark, model, tmp_path / "out", quiet=True)
        before = files_below(tmp_path / "out")
        with pytest.raises(ValueError, match="with settings {}, now it is .*num_frames.*--overwrite"):
            runner.evaluate(benchmark, model, tmp_path / "out", settings={"num_frames": 2}, quiet=True)
        full = type(benchmark)(benchmark.root, resolution="Full-Resolution")
        with pytest.raises(ValueError, match='with resolution "480p", now it is "Full-Resolution"'):
            runner.evaluate(full, model, tmp_path / "out", quiet=True)
        assert files_below(tmp_path / "out") == before
        again = runner.evaluate(full, model, tmp_path / "out", overwrite=True, quiet=True)
        assert again.num_frames == 11

    def test_a_run_that_could_not_begin_binds_nobody(self, model, tmp_path):
        benchmark, _ = open_miniature("davis17", tmp_path / "data")
        with pytest.raises(ValueError, match="`num_frame` is not a field"):
            runner.evaluate(benchmark, model, tmp_path / "out", settings={"num_frame": 2}, quiet=True)
        assert runner.evaluate(benchmark, model, tmp_path / "out", quiet=True).num_frames == 11

    def test_more_videos_and_other_scoring_go_on(self, model, tmp_path):
        benchmark, videos = open_miniature("ytvos18", tmp_path / "data")
        name = sorted(videos)[0]
        one = type(benchmark)(benchmark.root, videos=[name])
        assert runner.evaluate(one, model, tmp_path / "out", quiet=True).figures is None
        both = runner.evaluate(benchmark, model, tmp_path / "out", quiet=True)
        assert set(both.videos) == set(videos)
        assert both.num_frames == sum(len(video.names) for video in videos.values() if video.name != name)

    def test_a_folder_of_something_else_is_left_alone(self, model, tmp_path):
        benchmark, _ = open_miniature("davis17", tmp_path / "data")
        with pytest.raises(FileExistsError, match="is not the folder of an evaluation"):
            runner.evaluate(benchmark, model, tmp_path / "data", quiet=True)

    def test_a_machine_that_does_not_see_the_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="all machines must see it"):
            OutputFolder(tmp_path / "out", {}).check_shared()


class TestProcesses:
    def test_videos_are_shared_by_their_length(self):
        shares = share_videos({"a": 10, "b": 7, "c": 5, "d": 3, "e": 1}, 2)
        assert shares == [["a", "d"], ["b", "c", "e"]]
        assert share_videos({"b": 1, "a": 1}, 3) == [["a"], ["b"], []]

    @pytest.mark.parametrize("name", MINIATURES)
    def test_shares_of_two_give_the_figures_of_one(self, name, tmp_path, monkeypatch):
        benchmark, videos = open_miniature(name, tmp_path / "data")
        # Wrong in its own way for each video: figures that depend on how videos are grouped would differ.
        labels = {key: np.roll(video.labels, 1 + index, axis=2) for index, (key, video) in enumerate(videos.items())}
        folder = write_predictions(benchmark, labels, tmp_path / "predictions")
        with runner.scored_predictions(benchmark, folder, quiet=True) as evaluation:
            alone = evaluation.figures, evaluation.videos

        payloads = []

        class OneOfTwo:
            def __init__(self, device=None):
                self.index, self.count, self.is_main = len(payloads), 2, not payloads

            def gather(self, value):
                # As they travel between processes; the second one sees both.
                payloads.append(pickle.loads(pickle.dumps(value)))
                return list(payloads)

        monkeypatch.setattr(runner, "Processes", OneOfTwo)
        for _ in range(2):
            with runner.scored_predictions(benchmark, folder, quiet=True) as evaluation:
                shared = evaluation.figures, evaluation.videos
        assert [len(payload["videos"]) for payload in payloads] == [1, 1]
        assert same(shared, alone)

    @pytest.mark.slow
    def test_two_real_processes(self, model_folder, project_root, tmp_path):
        open_miniature("davis17", tmp_path / "data")
        script = str(project_root / "eval_scripts" / "davis17.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
                       "ACCELERATE_USE_CPU": "true"}  # fmt: skip
        # Of accelerate's launchers only that for GPUs starts several processes by itself; they find none and use CPUs.
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                  "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]  # fmt: skip
        scores = []
        for start, out in (([sys.executable], "one"), (launch, "two")):
            arguments = ["--data", str(tmp_path / "data"), "--model", model_folder, "--out", str(tmp_path / out)]
            done = subprocess.run(
                [*start, script, *arguments],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=280,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("J&F") == 1
            scores.append(json.loads((tmp_path / out / "scores.json").read_text()))
        one, two = scores
        assert one["figures"] == two["figures"] and one["videos"] == two["videos"]
        assert (one["run"]["num_processes"], two["run"]["num_processes"]) == (1, 2)
        assert one["run"]["num_frames"] == two["run"]["num_frames"] == 11
        assert files_below(tmp_path / "one" / "predictions") == files_below(tmp_path / "two" / "predictions")


class TestCommand:
    def test_a_run_writes_table_figures_report_and_submission(self, model_folder, tmp_path, capsys):
        open_miniature("davis17", tmp_path / "data")
        out = tmp_path / "out"
        arguments = ["--data", str(tmp_path / "data"), "--model", model_folder, "--out", str(out), "--device", "cpu"]
        assert main("davis17", [*arguments, "--set", "num_frames=2", "--quiet"]) == 0
        printed = capsys.readouterr().out
        assert "davis17 val, 2 videos" in printed and "J&F" in printed
        assert sorted(path.name for path in out.iterdir()) == [
            "predictions", "report.html", "run.json", "scores.json", "submission.zip",
        ]  # fmt: skip
        scores = json.loads((out / "scores.json").read_text())
        assert scores["table"]["J&F"] == f"{100 * scores['figures']['J&F-Mean']:.1f}"
        assert scores["table"]["J&F"] in printed
        assert scores["settings"] == {"num_frames": 2} and scores["num_videos"] == 2
        assert scores["task_settings"] == {}
        assert scores["videos"].keys() == {"bear", "camel"}
        # The same command again runs nothing and gives the same.
        assert main("davis17", [*arguments, "--set", "num_frames=2", "--quiet"]) == 0
        again = json.loads((out / "scores.json").read_text())
        assert again["figures"] == scores["figures"] and "run" not in again

    def test_settings_of_the_model_are_used_and_told(self, tmp_path):
        open_miniature("davis17", tmp_path / "data")
        own = {"vos": {"num_frames": 2, "temporal_consistency_threshold": 0.9}, "vis": {"num_frames": 4}}
        figures = {}
        for name, settings in (("published", None), ("own", own)):
            model = decisive_model()
            model.config.task_settings = settings
            model.save_pretrained(tmp_path / name)
            tiny_processor().save_pretrained(tmp_path / name)
            arguments = ["--data", str(tmp_path / "data"), "--model", str(tmp_path / name), "--device", "cpu"]
            assert main("davis17", [*arguments, "--out", str(tmp_path / "out" / name), "--quiet", "--no-report"]) == 0
            figures[name] = json.loads((tmp_path / "out" / name / "scores.json").read_text())
        assert figures["own"]["task_settings"] == {"vos": own["vos"]}, "of the benchmark's task only"
        arguments = ["--data", str(tmp_path / "data"), "--model", str(tmp_path / "published"), "--device", "cpu"]
        for name, value in own["vos"].items():
            arguments += ["--set", f"{name}={value}"]
        assert main("davis17", [*arguments, "--out", str(tmp_path / "out" / "set"), "--quiet", "--no-report"]) == 0
        as_set = json.loads((tmp_path / "out" / "set" / "scores.json").read_text())
        assert figures["own"]["figures"] == as_set["figures"]
        assert figures["own"]["figures"] != figures["published"]["figures"]

    def test_predictions_are_scored_without_an_output(self, tmp_path, capsys):
        benchmark, videos = open_miniature("davis17", tmp_path / "data")
        folder = write_predictions(benchmark, {n: v.labels for n, v in videos.items()}, tmp_path / "predictions")
        before = files_below(tmp_path)
        assert main("davis17", ["--data", str(tmp_path / "data"), "--predictions", str(folder), "--quiet"]) == 0
        assert "100.0" in capsys.readouterr().out
        assert files_below(tmp_path) == before

    @pytest.mark.parametrize("chosen", ["camel", "names.txt"])
    def test_some_videos(self, chosen, tmp_path, capsys):
        benchmark, videos = open_miniature("davis17", tmp_path / "data")
        folder = write_predictions(benchmark, {n: v.labels for n, v in videos.items()}, tmp_path / "predictions")
        (tmp_path / "names.txt").write_text("camel\n")
        chosen = str(tmp_path / chosen) if chosen.endswith(".txt") else chosen
        arguments = ["--data", str(tmp_path / "data"), "--predictions", str(folder), "--quiet", "--videos", chosen]
        assert main("davis17", arguments) == 0
        assert "davis17 val, 1 video" in capsys.readouterr().out

    def test_without_ground_truth(self, model_folder, tmp_path, capsys):
        open_miniature("davis17", tmp_path / "data")
        out = tmp_path / "out"
        arguments = ["--data", str(tmp_path / "data"), "--split", "test-dev", "--quiet"]
        assert main("davis17", [*arguments, "--model", model_folder, "--out", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "upload the submission" in printed and str(out / "submission.zip") in printed.replace("\n", "")
        assert (out / "submission.zip").is_file() and not (out / "scores.json").exists()

    def test_an_interruption_says_how_to_go_on(self, model_folder, tmp_path, capsys, monkeypatch):
        benchmark, _ = open_miniature("davis17", tmp_path / "data")

        def interrupt(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(type(benchmark), "write_prediction", interrupt)
        arguments = ["--data", str(tmp_path / "data"), "--model", model_folder, "--out", str(tmp_path / "out")]
        assert main("davis17", [*arguments, "--quiet"]) == 130
        assert "interrupted; finished videos are kept, the same command goes on" in capsys.readouterr().err

    def test_scoring_options_are_told_with_the_figures(self, tmp_path):
        benchmark, videos = open_miniature("viposeg", tmp_path / "data")
        folder = write_predictions(benchmark, {n: v.labels for n, v in videos.items()}, tmp_path / "predictions")
        arguments = ["--data", str(tmp_path / "data"), "--predictions", str(folder), "--out", str(tmp_path / "out")]
        assert main("viposeg", [*arguments, "--count-once", "--quiet", "--no-report"]) == 0
        assert json.loads((tmp_path / "out" / "scores.json").read_text())["count_once"] is True
        assert not (tmp_path / "out" / "report.html").exists()

    @pytest.mark.parametrize(
        "arguments, message",
        [
            (["--data", "nowhere", "--model", "m", "--out", "o"], "There is no file nowhere/ImageSets/2017/val.txt"),
            (["--data", "{data}", "--model", "m"], "--out is needed with --model"),
            (["--data", "{data}", "--predictions", "p", "--overwrite"], "nothing is run"),
            (["--data", "{data}", "--predictions", "nowhere"], "There are no predictions at nowhere"),
            (["--data", "{data}", "--predictions", "{data}/ImageSets/2017/val.txt"], "is no zip"),
            (["--data", "{data}", "--model", "m", "--out", "o", "--set", "x"], "--set must be NAME=VALUE"),
            (["--data", "{data}", "--model", "m", "--out", "{data}"], "is not the folder of an evaluation"),
            (["--data", "{data}", "--predictions", "p", "--videos", "emu"], "'emu'"),
        ],
    )
    def test_what_cannot_be_done_is_told_in_one_line(self, arguments, message, tmp_path, capsys, monkeypatch):
        open_miniature("davis17", tmp_path / "data")
        monkeypatch.chdir(tmp_path)
        if "p" in arguments:
            (tmp_path / "p").mkdir()
        arguments = [argument.replace("{data}", str(tmp_path / "data")) for argument in arguments]
        assert main("davis17", [*arguments, "--quiet"]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and "error:" in error

    @pytest.mark.parametrize("arguments", [["--data", "d"], ["--data", "d", "--model", "m", "--predictions", "p"]])
    def test_either_a_model_or_predictions(self, arguments, capsys):
        with pytest.raises(SystemExit, match="2"):
            main("davis17", arguments)
        assert "--predictions" in capsys.readouterr().err

    def test_options_need_no_torch(self, project_root):
        # The package itself registers the model and so needs torch; this is what the command adds.
        code = (
            "import sys, types, argparse\n"
            "package = types.ModuleType('univs_hf'); package.__path__ = [sys.argv[1]]\n"
            "sys.modules['univs_hf'] = package\n"
            "from univs_hf.evaluation.evaluate_command import add_evaluate_parser\n"
            "for name in ('davis17', 'ytvos18', 'mose', 'viposeg', 'ref_davis', 'ref_ytvos'):\n"
            "    parser = argparse.ArgumentParser()\n"
            "    add_evaluate_parser(parser.add_subparsers(), ['evaluate', name])\n"
            "    args = parser.parse_args(['evaluate', name, '--data', 'd', '--predictions', 'p'])\n"
            "    assert args.benchmark == name and args.split, args\n"
            "assert not {'torch', 'transformers'} & set(sys.modules), 'imported'\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(project_root / "univs_hf")], capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr

    def test_scripts(self, project_root):
        assert set(DESCRIPTIONS) == set(BENCHMARKS)
        for name in ("davis17", "ytvos18", "mose", "viposeg", "ref_davis", "ref_ytvos"):
            script = (project_root / "eval_scripts" / f"{name}.py").read_text()
            assert f'main("{name}")' in script
        with pytest.raises(ValueError, match="'davis16'"):
            benchmark_class("davis16")


class TestBackgroundWriter:
    def test_files_are_there_at_the_end(self, tmp_path):
        with BackgroundWriter() as writer:
            for number in range(50):
                writer.submit((tmp_path / str(number)).write_text, str(number))
        assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(50))

    def test_what_fails_is_told(self, tmp_path):
        with pytest.raises(FileNotFoundError), BackgroundWriter() as writer:
            writer.submit((tmp_path / "no" / "folder").write_text, "x")

    def test_after_an_error_nothing_is_written_any_more(self, tmp_path):
        def slowly(path):
            time.sleep(0.02)
            path.write_text("x")

        with pytest.raises(KeyboardInterrupt), BackgroundWriter() as writer:
            for number in range(12):
                writer.submit(slowly, tmp_path / str(number))
            raise KeyboardInterrupt
        written = len(list(tmp_path.iterdir()))
        assert written < 12
        time.sleep(0.1)
        assert len(list(tmp_path.iterdir())) == written


class TestReport:
    def test_the_worst_videos_come_first_with_pictures(self, tmp_path, capsys):
        benchmark, videos = open_miniature("davis17", tmp_path / "data")
        labels = {name: video.labels.copy() for name, video in videos.items()}
        labels["camel"][:] = 0
        folder = write_predictions(benchmark, labels, tmp_path / "predictions")
        out = tmp_path / "out"
        arguments = ["--data", str(tmp_path / "data"), "--predictions", str(folder), "--out", str(out), "--quiet"]
        assert main("davis17", arguments) == 0
        page = (out / "report.html").read_text()
        assert page.index("<h3>camel: 0.0") < page.index("<h3>bear: 100.0")
        # Four frames of each, prediction and ground truth, in the page itself.
        assert len(re.findall(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]{100,}"', page)) == 16
        assert not re.findall(r'(?:src|href)="(?!data:)', page)

    def test_names_cannot_break_the_page(self, tmp_path):
        benchmark, videos = open_miniature("ref_ytvos", tmp_path / "data")
        path = tmp_path / "data" / "meta_expressions" / "train" / "meta_expressions.json"
        path.write_text(path.read_text().replace("the box", "the <script>alert(1)</script> box"))
        folder = write_predictions(benchmark, {n: v.labels for n, v in videos.items()}, tmp_path / "predictions")
        out = tmp_path / "out"
        arguments = ["--data", str(tmp_path / "data"), "--split", "train", "--predictions", str(folder)]
        assert main("ref_ytvos", [*arguments, "--out", str(out), "--quiet"]) == 0
        page = (out / "report.html").read_text()
        assert "&lt;script&gt;alert(1)" in page and "<script>" not in page

    def test_undefined_figures(self, tmp_path):
        assert format_figure("G", math.nan) == format_figure("G", None) == "-"
        assert (format_figure("J", 0.70549), format_figure("HOTA_percent", 12.34)) == ("70.5", "12.3")
        benchmark, videos = open_miniature("ytvos18", tmp_path / "data")
        folder = write_predictions(benchmark, {n: v.labels for n, v in videos.items()}, tmp_path / "predictions")
        out = tmp_path / "out"
        truth = str(tmp_path / "data" / "masks")
        arguments = ["--data", str(tmp_path / "data"), "--predictions", str(folder), "--ground-truth", truth]
        # All categories are seen, so there is nothing to say of the others.
        (tmp_path / "seen.txt").write_text("dog\nsnail\npenguin\n")
        arguments += ["--seen-categories", str(tmp_path / "seen.txt")]
        assert main("ytvos18", [*arguments, "--out", str(out), "--quiet"]) == 0
        scores = json.loads((out / "scores.json").read_text(), parse_constant=pytest.fail)
        assert (scores["figures"]["J_s"], scores["figures"]["J_u"], scores["figures"]["G"]) == (1, None, None)
        assert scores["table"]["G"] == "-"

    def test_videos_without_a_score_are_not_the_worst(self):
        class Stub:
            worst_by = "J"

        videos = {"a": {"J": 0.5}, "b": {"J": math.nan}, "c": {"J": 0.25}, "d": {}}
        evaluation = runner.Evaluation(Stub(), Path(), {}, videos)
        assert worst_videos(evaluation, 5) == [("c", 0.25), ("a", 0.5)]
