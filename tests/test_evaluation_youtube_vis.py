# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""YouTube-VIS 2019, 2021, 2022 and OVIS: layouts, submissions and scores of a miniature."""

import json
import math
import zipfile

import numpy as np
import pytest
from decisive_model import decisive_model
from mini_datasets import YOUTUBE_VIS_VIDEOS, box, rle, streamed, write_json, write_youtube_vis, youtube_vis_content
from pycocotools import mask as coco_mask
from tiny_processor import tiny_processor

from univs_hf.data.layouts.youtube_vis import YouTubeVisLayout
from univs_hf.evaluation.benchmark import JobResults
from univs_hf.evaluation.label_names import dataset_category_ids
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.evaluation.runner import evaluate, scored_predictions
from univs_hf.label_sets import load_label_set

# Name -> where its files lie.
LAYOUTS = {
    "ytvis19": ("ytvis19", "valid.json", "valid/JPEGImages"),
    "ytvis21": ("ytvis21", "valid/instances.json", "valid/JPEGImages"),
    "ytvis22": ("ytvis21", "valid/instances.json", "valid/JPEGImages"),
    "ovis": ("ovis", "annotations_valid.json", "valid"),
}


def make(tmp_path, name="ytvis21", **options):
    label_set, file, images = LAYOUTS[name]
    content = write_youtube_vis(tmp_path / name, label_set, file, images)
    if name == "ytvis22":
        (tmp_path / name / "long.txt").write_text("a0\n")
        options = {"long_videos": "long.txt", **options}
    return benchmark_class(name)(tmp_path / name, **options), content


def submission_of(content):
    """The ground truth as somebody would submit it."""
    return [
        {
            "video_id": annotation["video_id"],
            "category_id": annotation["category_id"],
            "score": 0.5,
            "segmentations": [None if mask is None else rle(decode(mask)) for mask in annotation["segmentations"]],
        }
        for annotation in content["annotations"]
    ]


def decode(mask):
    if isinstance(mask["counts"], list):
        mask = coco_mask.frPyObjects(mask, *mask["size"])
    return coco_mask.decode(mask).astype(bool)


def results_of(benchmark, content, video_id):
    """What the model would yield if it found just the ground truth: label indices, object ids of its own."""
    labels = {category.source_id: category.index for category in load_label_set(benchmark.label_set)}
    objects = [a for a in content["annotations"] if a["video_id"] == int(video_id)]

    def frames():
        for frame in range(benchmark.num_frames(video_id)):
            present = [(7 + n, a) for n, a in enumerate(objects) if a["segmentations"][frame] is not None]
            yield {
                "frame_idx": frame,
                "masks": np.stack([decode(a["segmentations"][frame]) for _, a in present]),
                "segments_info": [{"id": n, "label_id": labels[a["category_id"]], "score": 0.9} for n, a in present],
            }

    summary = [
        {"id": 7 + n, "label_id": labels[a["category_id"]], "label": "", "score": 0.9} for n, a in enumerate(objects)
    ]
    return streamed(frames(), "masks", summary)


@pytest.mark.parametrize("name", LAYOUTS)
def test_ground_truth_as_results_scores_100(tmp_path, name):
    benchmark, content = make(tmp_path, name)
    assert benchmark.video_ids() == ["3", "12"]
    predictions = tmp_path / "predictions"
    for video_id in benchmark.video_ids():
        (job,) = benchmark.jobs(video_id)
        assert len(job.frames) == benchmark.num_frames(video_id) and all(path.is_file() for path in job.frames)
        assert job.task == "vis" and len(load_label_set(job.categories)) == (25 if name == "ovis" else 40)
        (predictions / video_id).mkdir(parents=True)
        benchmark.write_prediction(video_id, job, results_of(benchmark, content, video_id), predictions / video_id)
    with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
        assert evaluation.figures["AP"] == pytest.approx(1, abs=1e-12)
        assert all(video["AP"] == pytest.approx(1, abs=1e-12) for video in evaluation.videos.values())
        assert set(benchmark.columns) <= set(evaluation.figures)

    out = benchmark.write_submission(predictions, tmp_path / "out")
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["results.json"]
        entries = json.loads(archive.read("results.json"))
    expected = {(e["video_id"], e["category_id"]): e["segmentations"] for e in submission_of(content)}
    assert {(e["video_id"], e["category_id"]): e["segmentations"] for e in entries} == expected
    assert all(set(entry) == {"video_id", "category_id", "score", "segmentations"} for entry in entries)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"submission.zip"}


@pytest.mark.parametrize("form", ["zip", "json", "folder"])
def test_a_submission_is_scored(tmp_path, form):
    benchmark, content = make(tmp_path)
    entries = [entry for entry in submission_of(content) if entry["video_id"] == 3]
    source = write_json(tmp_path / "given" / "results.json", entries)
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "given.zip", "w") as archive:
            archive.write(source, "results.json")
        source = tmp_path / "given.zip"
    elif form == "folder":
        source = source.parent
    with scored_predictions(benchmark, source, quiet=True) as evaluation:
        # Video 12 has no entry, so half of the four categories have nothing.
        assert evaluation.figures["AP"] == pytest.approx(0.5, abs=1e-12)
        assert evaluation.videos["3"]["AP"] == pytest.approx(1, abs=1e-12)
        assert evaluation.videos["12"]["AP"] == 0
        compared = benchmark.compared_frames("3", evaluation.predictions, 3)
    assert [frame.caption for frame in compared] == ["00000", "00010", "00025"]
    assert compared[0].prediction.shape == compared[0].ground_truth.shape == (2, 40, 56)
    np.testing.assert_array_equal(compared[0].prediction, compared[0].ground_truth)


def test_a_missed_object_costs_its_category(tmp_path):
    benchmark, content = make(tmp_path)
    entries = submission_of(content)
    entries[0]["segmentations"] = [rle(box(48, 64, 30, 40)) for _ in entries[0]["segmentations"]]
    source = write_json(tmp_path / "results.json", entries)
    with scored_predictions(benchmark, source, quiet=True) as evaluation:
        assert evaluation.figures["AP"] == pytest.approx(0.75, abs=1e-12)
        names = {category["id"]: category["name"] for category in content["categories"]}
        assert evaluation.figures["AP_per_category"][names[entries[0]["category_id"]]] == 0


def test_long_and_short_videos_are_scored_apart(tmp_path):
    benchmark, content = make(tmp_path, "ytvis22")
    entries = submission_of(content)
    # Of the long video (3) one of two objects is found, of the short one both.
    entries = [entry for entry in entries if (entry["video_id"], entry["category_id"]) != (3, 8)]
    with scored_predictions(benchmark, write_json(tmp_path / "results.json", entries), quiet=True) as evaluation:
        assert evaluation.figures["short_AP"] == pytest.approx(1, abs=1e-12)
        assert evaluation.figures["long_AP"] == pytest.approx(0.5, abs=1e-12)
        assert evaluation.figures["AP"] == pytest.approx(0.75, abs=1e-12)
    only_long, _ = make(tmp_path, "ytvis22", videos=["3"])
    with scored_predictions(only_long, write_predictions(tmp_path / "one", entries), quiet=True) as evaluation:
        assert evaluation.figures["long_AP"] == pytest.approx(0.5, abs=1e-12)
        assert math.isnan(evaluation.figures["AP"])


def write_predictions(folder, entries):
    for video_id in {entry["video_id"] for entry in entries}:
        found = [entry for entry in entries if entry["video_id"] == video_id]
        write_json(folder / str(video_id) / "results.json", found)
    return folder


def test_long_videos_can_be_a_json_file_beside(tmp_path):
    root = tmp_path / "ytvis22"
    content = write_youtube_vis(root, "ytvis21", "valid/instances.json", "valid/JPEGImages")
    benchmark_type = benchmark_class("ytvis22")
    with pytest.raises(ValueError, match="long_videos.*instances.json"):
        benchmark_type(root)
    long = {**content, "videos": [v for v in content["videos"] if v["id"] == 12], "annotations": None}
    write_json(root / "valid/instances_long.json", long)
    benchmark = benchmark_type(root)
    assert benchmark._metric_of("12") == "long" and benchmark._metric_of("3") == "short"
    (root / "names.txt").write_text("nobody\n")
    with pytest.raises(ValueError, match="names.txt.*nobody"):
        benchmark_type(root, long_videos="names.txt")


def test_without_ground_truth_there_is_a_submission(tmp_path):
    write_youtube_vis(tmp_path, "ovis", "annotations/valid.json", "valid", annotated=False)
    benchmark = benchmark_class("ovis")(tmp_path)
    assert not benchmark.has_ground_truth
    assert benchmark.num_frames("12") == 4


def test_a_development_subset_has_files_of_its_own(tmp_path):
    content = write_youtube_vis(tmp_path, "ytvis21", "train_dev.json", "train/JPEGImages")
    options = {"annotation_file": "train_dev.json", "image_folder": "train/JPEGImages"}
    benchmark = benchmark_class("ytvis21")(tmp_path, videos=["12"], **options)
    assert benchmark.has_ground_truth and benchmark.video_ids() == ["12"]
    (job,) = benchmark.jobs("12")
    assert job.frames[1] == tmp_path / "train/JPEGImages" / content["videos"][0]["file_names"][1]
    assert options.items() <= benchmark.settings().items()


@pytest.mark.parametrize("name", ["ytvis19", "ovis"])
def test_tiny_model_end_to_end(tmp_path, name):
    benchmark, content = make(tmp_path, name)
    model, processor = decisive_model(), tiny_processor()
    out = tmp_path / "out"
    settings = {"shortest_edge": 32, "longest_edge": 64, "num_frames": 3, "stability_score_threshold": 0.0}
    settings |= {"class_score_threshold": 0.01, "first_clip_score_threshold": 0.01}
    evaluation = evaluate(benchmark, (model, processor), out, settings=settings, quiet=True)
    with zipfile.ZipFile(evaluation.submission) as archive:
        entries = json.loads(archive.read("results.json"))
    assert entries, "the model must find something, or the test shows nothing"
    sizes = {video_id: (length, [height, width]) for video_id, _, length, height, width in YOUTUBE_VIS_VIDEOS}
    category_ids = {category["id"] for category in content["categories"]}
    for entry in entries:
        length, size = sizes[entry["video_id"]]
        assert len(entry["segmentations"]) == length and entry["category_id"] in category_ids
        assert 0 < entry["score"] <= 1
        for mask in entry["segmentations"]:
            assert mask is None or (mask["size"] == size and decode(mask).any())
    assert any(mask is not None for entry in entries for mask in entry["segmentations"])
    assert 0 <= evaluation.figures["AP"] <= 1
    # What was written scores as what was scored on the way.
    with scored_predictions(benchmark, evaluation.submission, quiet=True) as again:
        # `repr`: NaN is not equal to itself.
        assert repr(again.figures) == repr(evaluation.figures)


# --- what is wrong


def test_categories_go_by_name():
    label_set = load_label_set("ytvis21")
    found = dataset_category_ids(label_set, {70: "Giant Panda", 3: "airplane"}, "x.json")
    assert found == {label_set.labels.index("giant_panda"): 70, label_set.labels.index("airplane"): 3}
    with pytest.raises(ValueError, match="x.json.*sedan"):
        dataset_category_ids(label_set, {1: "sedan"}, "x.json")


def test_a_layout_that_is_not_there_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        benchmark_class("ytvis21")(tmp_path / "nowhere")
    (tmp_path / "valid").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*valid/instances.json"):
        benchmark_class("ytvis21")(tmp_path)
    with pytest.raises(FileNotFoundError, match="other.json"):
        benchmark_class("ytvis21")(tmp_path, annotation_file="other.json")
    write_json(tmp_path / "valid/instances.json", youtube_vis_content("ytvis19"))
    with pytest.raises(ValueError, match="instances.json.*sedan"):
        benchmark_class("ytvis21")(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0]["segmentations"].pop(), "annotation 1 has 3 segmentations.*video 12 has 4"),
        (lambda c: c["annotations"][0].update(video_id=99), "annotation 1 is of video 99"),
        (lambda c: c["annotations"][0].update(category_id=99), "annotation 1 has category 99"),
        (lambda c: c["videos"][0].pop("height"), "video 12 has no field 'height'"),
        (lambda c: c["videos"][0].update(length=7), "video 12 has the length 7"),
        (lambda c: c["videos"][0].update(id=3), "two videos with the id 3"),
        (lambda c: c.pop("videos"), "no field 'videos'"),
    ],
)
def test_a_file_of_another_form_names_what_is_wrong(tmp_path, change, message):
    content = youtube_vis_content("ytvis21")
    change(content)
    path = write_json(tmp_path / "instances.json", content)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        YouTubeVisLayout(path)


def test_missing_and_wrong_predictions_name_the_video(tmp_path):
    benchmark, content = make(tmp_path)
    entries = submission_of(content)
    folder = write_predictions(tmp_path / "some", [entry for entry in entries if entry["video_id"] == 3])
    with (
        pytest.raises(FileNotFoundError, match="video 12 .*12/results.json"),
        scored_predictions(benchmark, folder, quiet=True),
    ):
        pass
    with (
        pytest.raises(ValueError, match="entry 0 is of video 99"),
        scored_predictions(
            benchmark, write_json(tmp_path / "results.json", [{**entries[0], "video_id": 99}]), quiet=True
        ),
    ):
        pass
    (benchmark.layout.image_folder / "a0/00000.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="a0/00000.jpg"):
        next(benchmark.jobs("3"))


def test_frames_of_another_size_or_number_are_refused(tmp_path):
    benchmark, content = make(tmp_path)
    (job,) = benchmark.jobs("3")
    small = [{"frame_idx": 0, "masks": np.ones((1, 20, 28), bool), "segments_info": [{"id": 1}]}]
    with pytest.raises(ValueError, match="video 3 .*frame 0.*20x28.*40x56"):
        benchmark.write_prediction("3", job, JobResults(small), tmp_path)
    few = [{"frame_idx": 0, "masks": np.ones((1, 40, 56), bool), "segments_info": [{"id": 1}]}]
    with pytest.raises(ValueError, match="video 3 .*6 frames, but only 1 results"):
        benchmark.write_prediction("3", job, JobResults(few), tmp_path)
