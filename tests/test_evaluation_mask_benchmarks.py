# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""DAVIS, YouTube-VOS, MOSE, VIPOSeg, Ref-DAVIS and Ref-YouTube-VOS: layouts, prompts, submissions, scores."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from mask_benchmark_miniatures import MINIATURES, VOID, open_miniature, write_predictions
from PIL import Image

from univs_hf.evaluation.benchmark import JobResults
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.evaluation.runner import scored_predictions
from univs_hf.metrics.masks import to_binary


def figures_of(benchmark, predictions, **kwargs):
    with scored_predictions(benchmark, predictions, quiet=True, **kwargs) as evaluation:
        return evaluation.figures, evaluation.videos


@pytest.fixture(params=list(MINIATURES))
def miniature(request, tmp_path):
    benchmark, videos = open_miniature(request.param, tmp_path / "data")
    return benchmark, videos, tmp_path


def labels_of(videos):
    return {name: video.labels for name, video in videos.items()}


class TestEveryBenchmark:
    def test_ground_truth_as_submission_scores_100(self, miniature):
        benchmark, videos, tmp_path = miniature
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        submission = benchmark.write_submission(folder, tmp_path)
        for predictions in (folder, submission):
            figures, per_video = figures_of(benchmark, predictions)
            assert {key: figures[key] for key in benchmark.columns} == dict.fromkeys(benchmark.columns, 1.0)
            assert set(per_video) == set(videos)
            assert all(scores[benchmark.worst_by] == 1.0 for scores in per_video.values())

    def test_nothing_found_scores_low(self, miniature):
        benchmark, videos, tmp_path = miniature
        empty = {name: np.zeros_like(video.labels) for name, video in videos.items()}
        figures, per_video = figures_of(benchmark, write_predictions(benchmark, empty, tmp_path / "predictions"))
        # Objects never leave the miniature videos, so nothing but void could be right.
        assert {key: figures[key] for key in benchmark.columns} == dict.fromkeys(benchmark.columns, 0.0)

    def test_frames_and_prompts(self, miniature):
        benchmark, videos, _ = miniature
        assert benchmark.video_ids() == sorted(videos)
        assert benchmark.has_ground_truth
        for video_id, video in videos.items():
            assert benchmark.num_frames(video_id) == len(video.names)
            for job in benchmark.jobs(video_id):
                assert [path.stem for path in job.frames] == video.names
                given = {object_id: frame for frame, masks in job.prompts.items() for object_id in masks}
                if job.task == "refvos":
                    assert not given and job.expressions
                    continue
                first = {i: int(np.flatnonzero((video.labels == i).any((1, 2)))[0]) for i in video.ids}
                assert given == first
                for frame, masks in job.prompts.items():
                    for object_id, mask in masks.items():
                        np.testing.assert_array_equal(mask, video.labels[frame] == object_id)

    def test_a_missing_frame_is_named(self, miniature):
        benchmark, videos, tmp_path = miniature
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        video_id = benchmark.video_ids()[1]
        path = sorted((folder / video_id).rglob("00*.png"))[1]
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"video '{video_id}'.*{path.name}"):
            figures_of(benchmark, folder)

    def test_a_missing_video_is_named(self, miniature):
        benchmark, videos, tmp_path = miniature
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        video_id = benchmark.video_ids()[0]
        shutil.rmtree(folder / video_id)
        with pytest.raises(FileNotFoundError, match=f"video '{video_id}' has no prediction"):
            figures_of(benchmark, folder)

    def test_another_size_is_an_error_that_names_the_video(self, miniature):
        benchmark, videos, tmp_path = miniature
        smaller = {name: video.labels[:, :-1] for name, video in videos.items()}
        folder = write_predictions(benchmark, smaller, tmp_path / "predictions")
        with pytest.raises(ValueError, match=f"video '({'|'.join(videos)})', frame [01] must have 36x48 pixels"):
            figures_of(benchmark, folder)

    def test_some_videos_only(self, miniature):
        benchmark, videos, tmp_path = miniature
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        name = sorted(videos)[1]
        options = {option.name: getattr(benchmark, option.name) for option in benchmark.options}
        one = type(benchmark)(benchmark.root, benchmark.split, videos=[name], **options)
        assert one.video_ids() == [name]
        assert list(figures_of(one, folder)[1]) == [name]
        with pytest.raises(ValueError, match="'nobody'"):
            type(benchmark)(benchmark.root, benchmark.split, videos=["nobody"], **options).video_ids()

    def test_pictures_for_the_report(self, miniature):
        benchmark, videos, tmp_path = miniature
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        frames = benchmark.compared_frames(benchmark.video_ids()[0], folder, 2)
        assert len(frames) == 2
        for frame in frames:
            assert frame.image.is_file()
            np.testing.assert_array_equal(frame.prediction, frame.ground_truth)
            assert frame.prediction.any() and not (frame.prediction == VOID).any()

    def test_an_empty_folder_is_another_layout(self, miniature):
        benchmark, _, tmp_path = miniature
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=rf"{tmp_path / 'empty'}.*expected"):
            type(benchmark)(tmp_path / "empty")


def names_in(path):
    with zipfile.ZipFile(path) as archive:
        return sorted(archive.namelist())


class TestSubmissions:
    @pytest.mark.parametrize(
        "name, top", [("davis17", ""), ("mose", ""), ("viposeg", ""), ("ytvos18", "Annotations/")]
    )
    def test_zip_of_label_maps(self, name, top, tmp_path):
        benchmark, videos = open_miniature(name, tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        path = benchmark.write_submission(folder, tmp_path)
        assert path == tmp_path / "submission.zip"
        expected = [f"{top}{video.name}/{frame}.png" for video in videos.values() for frame in video.names]
        assert names_in(path) == sorted(expected)
        video = next(iter(videos.values()))
        with zipfile.ZipFile(path) as archive, archive.open(f"{top}{video.name}/{video.names[2]}.png") as file:
            image = Image.open(file)
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), video.labels[2])

    def test_zip_of_expressions(self, tmp_path):
        benchmark, videos = open_miniature("ref_ytvos", tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        path = benchmark.write_submission(folder, tmp_path)
        expected = [
            f"Annotations/{video.name}/{key}/{frame}.png"
            for video in videos.values()
            for key in range(len(video.ids) + 1)
            for frame in video.names
        ]
        assert names_in(path) == sorted(expected)
        with zipfile.ZipFile(path) as archive, archive.open("Annotations/003234408d/1/00010.png") as file:
            image = Image.open(file)
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), 255 * (videos["003234408d"].labels[2] == 2))

    def test_folders_of_annotators(self, tmp_path):
        benchmark, videos = open_miniature("ref_davis", tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        path = benchmark.write_submission(folder, tmp_path)
        names = sorted(str(file.relative_to(path)) for file in path.rglob("*.png"))
        expected = [f"anno_{k}/{v.name}/{frame}.png" for k in range(4) for v in videos.values() for frame in v.names]
        assert names == sorted(expected)


class TestDavis:
    def test_objects_and_frames_are_those_of_the_official_rules(self, tmp_path):
        benchmark, videos = open_miniature("davis17", tmp_path / "data")
        labels = {name: video.labels.copy() for name, video in videos.items()}
        # What the first and the last frame say is not scored; object 2 of bear, one of three objects, is missed.
        for maps in labels.values():
            maps[[0, -1]] = 0
        labels["bear"][labels["bear"] == 2] = 0
        figures, per_video = figures_of(benchmark, write_predictions(benchmark, labels, tmp_path / "predictions"))
        assert figures["J&F-Mean"] == pytest.approx(2 / 3, abs=1e-15)
        assert (per_video["bear"]["J&F"], per_video["camel"]["J&F"]) == (0.5, 1.0)

    def test_a_test_set_has_no_ground_truth_but_a_submission(self, tmp_path):
        benchmark, _ = open_miniature("davis17", tmp_path / "data")
        hidden = benchmark_class("davis17")(tmp_path / "data", "test-dev")
        assert not hidden.has_ground_truth
        labels = {"hidden": np.ones((4, 36, 48), dtype=np.uint8)}
        folder = write_predictions(hidden, labels, tmp_path / "predictions")
        with pytest.raises(ValueError, match="no ground truth"), scored_predictions(hidden, folder, quiet=True):
            pass
        with scored_predictions(hidden, folder, tmp_path / "out", quiet=True) as evaluation:
            assert evaluation.figures is None
            assert names_in(evaluation.submission) == [f"hidden/{i:05d}.png" for i in range(4)]

    def test_folder_above_and_resolution(self, tmp_path):
        open_miniature("davis17", tmp_path / "DAVIS")
        benchmark = benchmark_class("davis17")(tmp_path, resolution="Full-Resolution")
        assert "Full-Resolution" in str(benchmark.frames("bear")["00000"])
        with pytest.raises(ValueError, match="`resolution` must be one of"):
            benchmark_class("davis17")(tmp_path, resolution="720p")

    def test_a_listed_video_without_frames(self, tmp_path):
        open_miniature("davis17", tmp_path)
        shutil.rmtree(tmp_path / "JPEGImages" / "480p" / "camel")
        with pytest.raises(FileNotFoundError, match="480p/camel.*val.txt lists.*holds bear"):
            benchmark_class("davis17")(tmp_path)

    def test_masks_in_colour_are_refused(self, tmp_path):
        benchmark, videos = open_miniature("davis17", tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        Image.open(folder / "bear" / "00001.png").convert("RGB").save(folder / "bear" / "00001.png")
        with pytest.raises(ValueError, match="bear/00001.png is an image of mode RGB"):
            figures_of(benchmark, folder)


class TestYouTubeVos:
    def test_seen_and_unseen_are_told_apart(self, tmp_path):
        benchmark, videos = open_miniature("ytvos18", tmp_path / "data")
        labels = {name: video.labels.copy() for name, video in videos.items()}
        labels["0062f687f1"][:, :13] = 0  # the penguin, one of two unseen objects, is missed
        figures, _ = figures_of(benchmark, write_predictions(benchmark, labels, tmp_path / "predictions"))
        assert (figures["J_s"], figures["F_s"], figures["J_u"], figures["F_u"]) == (1, 1, 0.5, 0.5)
        assert figures["G"] == 0.75

    def test_without_masks_there_is_a_submission_only(self, tmp_path):
        open_miniature("ytvos18", tmp_path)
        assert not benchmark_class("ytvos18")(tmp_path).has_ground_truth

    def test_seen_categories_from_a_file(self, tmp_path):
        benchmark, videos = open_miniature("ytvos18", tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        (tmp_path / "data" / "train" / "meta.json").unlink()
        with pytest.raises(FileNotFoundError, match="train/meta.json.*--seen-categories"):
            figures_of(benchmark, folder)
        (tmp_path / "seen.txt").write_text("dog\npenguin\nsnail\n")
        truth = tmp_path / "data" / "masks"
        told = type(benchmark)(benchmark.root, ground_truth=truth, seen_categories=tmp_path / "seen.txt")
        figures, _ = figures_of(told, folder)
        assert figures["J_s"] == 1 and np.isnan(figures["G"])

    def test_incomplete_ground_truth_of_the_user(self, tmp_path):
        benchmark, _ = open_miniature("ytvos18", tmp_path)
        (tmp_path / "masks" / "003234408d" / "00010.png").unlink()
        with pytest.raises(FileNotFoundError, match="lacks 1 frames, first 00010.png"):
            benchmark.has_ground_truth  # noqa: B018

    @pytest.mark.parametrize("content", ["no json", "[]", '{"videos": {"v": {"objects": {"1": {}}}}}'])
    def test_another_meta_json(self, tmp_path, content):
        open_miniature("ytvos18", tmp_path)
        (tmp_path / "valid" / "meta.json").write_text(content)
        with pytest.raises(ValueError, match="meta.json is .*expected|meta.json is something else"):
            benchmark_class("ytvos18")(tmp_path)


class TestVipoSeg:
    def test_classes_and_stuff_go_to_the_model(self, tmp_path):
        benchmark, _ = open_miniature("viposeg", tmp_path)
        (job,) = benchmark.jobs("0_abc")
        assert job.categories == "viposeg"
        assert job.object_categories == {1: 60, 2: 120, 3: 28}

    def test_groups(self, tmp_path):
        benchmark, videos = open_miniature("viposeg", tmp_path / "data")
        labels = {name: video.labels.copy() for name, video in videos.items()}
        labels["0_abc"][labels["0_abc"] == 2] = 0  # the fruit
        figures, per_video = figures_of(benchmark, write_predictions(benchmark, labels, tmp_path / "predictions"))
        assert (figures["stuff_unseen_iou"], figures["overall_iou"]) == (0, 0.75)
        assert per_video["0_abc"]["IoU"] == pytest.approx(2 / 3, abs=1e-15)

    def test_without_ground_truth_all_frames_are_predicted(self, tmp_path):
        open_miniature("viposeg", tmp_path)
        shutil.rmtree(tmp_path / "valid" / "Annotations_gt")
        benchmark = benchmark_class("viposeg")(tmp_path)
        assert not benchmark.has_ground_truth
        assert len(benchmark.predicted_frames("0_abc")) == 5

    def test_only_annotated_frames_are_written(self, tmp_path):
        benchmark, videos = open_miniature("viposeg", tmp_path / "data")
        (tmp_path / "data" / "valid" / "Annotations_gt" / "0_abc" / "00003.png").unlink()
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        assert sorted(path.stem for path in (folder / "0_abc").iterdir()) == ["00000", "00001", "00002", "00004"]
        assert figures_of(benchmark, folder)[0]["overall_iou"] == 1

    def test_a_video_without_classes(self, tmp_path):
        benchmark, _ = open_miniature("viposeg", tmp_path)
        (tmp_path / "valid" / "obj_class.json").write_text(json.dumps({"0_abc": {"1": 60}}))
        benchmark = benchmark_class("viposeg")(tmp_path)
        with pytest.raises(ValueError, match="obj_class.json does not list video '1_def'"):
            next(benchmark.jobs("1_def"))


class TestRefDavis:
    def test_expressions_of_four_annotators(self, tmp_path):
        benchmark, _ = open_miniature("ref_davis", tmp_path)
        jobs = list(benchmark.jobs("bear"))
        assert [job.part for job in jobs] == ["anno_0", "anno_1", "anno_2", "anno_3"]
        assert jobs[2].expressions == {1: "box a of annotator 2, café", 2: "box b of annotator 2, café"}

    def test_both_layouts_hold_the_same(self, tmp_path):
        converted, _ = open_miniature("ref_davis_converted", tmp_path)
        assert [job.expressions for job in converted.jobs("camel")] == [
            {1: f"box 1 of annotator {annotator}"} for annotator in range(4)
        ]

    def test_swapped_objects_are_matched_anew_unless_ids_are_fixed(self, tmp_path):
        benchmark, videos = open_miniature("ref_davis", tmp_path / "data")
        swapped = labels_of(videos) | {"bear": np.array([0, 2, 1], dtype=np.uint8)[videos["bear"].labels]}
        folder = write_predictions(benchmark, swapped, tmp_path / "predictions")
        assert figures_of(benchmark, folder)[0]["J&F-Mean"] == 1
        fixed = type(benchmark)(benchmark.root, fixed_ids=True)
        assert figures_of(fixed, folder)[0]["J-Mean"] < 0.5

    def test_fewer_annotators(self, tmp_path):
        benchmark, videos = open_miniature("ref_davis", tmp_path / "data")
        one = type(benchmark)(benchmark.root, num_annotators=1)
        folder = write_predictions(one, labels_of(videos), tmp_path / "predictions")
        assert [path.name for path in (folder / "bear").iterdir()] == ["anno_0"]
        assert figures_of(one, folder)[0]["J&F-Mean"] == 1
        with pytest.raises(FileNotFoundError, match="anno_1"):
            figures_of(benchmark, folder)

    def test_where_masks_overlap_the_smaller_id_is_kept(self, tmp_path):
        benchmark, _ = open_miniature("ref_davis", tmp_path / "data")
        job = next(benchmark.jobs("bear"))
        masks = np.zeros((2, 36, 48), dtype=bool)
        masks[0, :20], masks[1, 10:30] = True, True
        frames = [{"frame_idx": i, "masks": masks, "segments_info": [{"id": 1}, {"id": 2}]} for i in range(4)]
        benchmark.write_prediction("bear", job, JobResults(frames), tmp_path)
        written = np.asarray(Image.open(tmp_path / "00000.png"))
        assert (written[:20] == 1).all() and (written[20:30] == 2).all() and not written[30:].any()

    def test_a_broken_line(self, tmp_path):
        open_miniature("ref_davis", tmp_path)
        path = tmp_path / "davis_text_annotations" / "Davis17_annot2.txt"
        path.write_text("bear the first one\n")
        with pytest.raises(ValueError, match="Davis17_annot2.txt, line 1.*'bear the first one'"):
            benchmark_class("ref_davis")(tmp_path)


class TestRefYouTubeVos:
    def test_videos_of_the_test_set_are_left_out(self, tmp_path):
        open_miniature("ref_ytvos", tmp_path)
        benchmark = benchmark_class("ref_ytvos")(tmp_path)
        assert benchmark.video_ids() == ["003234408d", "0062f687f1"]
        assert not benchmark.has_ground_truth

    def test_expressions_count_alike(self, tmp_path):
        benchmark, videos = open_miniature("ref_ytvos", tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        # One of five expressions is missed.
        for path in (folder / "003234408d" / "1").iterdir():
            Image.fromarray(np.zeros((36, 48), dtype=np.uint8)).save(path)
        figures, per_video = figures_of(benchmark, folder)
        assert figures["J&F"] == pytest.approx(0.8, abs=1e-15)
        assert per_video["003234408d"]["J"] == pytest.approx(2 / 3, abs=1e-15)
        (frame,) = benchmark.compared_frames("003234408d", folder, 1)
        assert "number b" in frame.caption and not frame.prediction.any() and frame.ground_truth.any()

    def test_masks_are_zero_and_255(self, tmp_path):
        benchmark, videos = open_miniature("ref_ytvos", tmp_path / "data")
        folder = write_predictions(benchmark, labels_of(videos), tmp_path / "predictions")
        mask = np.asarray(Image.open(folder / "0062f687f1" / "0" / "00000.png"))
        assert set(np.unique(mask)) == {0, 255}
        np.testing.assert_array_equal(to_binary(mask, "mask"), videos["0062f687f1"].labels[0] == 1)

    def test_masks_of_the_user_need_objects(self, tmp_path):
        open_miniature("ref_ytvos", tmp_path)
        benchmark = benchmark_class("ref_ytvos")(tmp_path, ground_truth=tmp_path / "train" / "Annotations")
        with pytest.raises(ValueError, match="expression '0' of video '003234408d' has no `obj_id`"):
            benchmark.has_ground_truth  # noqa: B018
