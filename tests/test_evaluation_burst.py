# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""BURST: layout, submissions and scores of a miniature, class-guided and exemplar-guided."""

import json

import numpy as np
import pytest
from decisive_model import decisive_model
from mini_datasets import (
    BURST_CATEGORIES,
    BURST_SEQUENCES,
    BURST_STEP,
    burst_sequences,
    rle,
    streamed,
    write_burst,
    write_json,
)
from pycocotools import mask as coco_mask
from tiny_processor import tiny_processor

from univs_hf.data.layouts.burst import BurstLayout
from univs_hf.evaluation.label_names import match_by_synonyms
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.evaluation.runner import evaluate, scored_predictions
from univs_hf.label_sets import load_label_set

GUIDANCE = ("class", "exemplar")
Burst = benchmark_class("burst")


def decode(counts, height, width):
    return coco_mask.decode({"size": [height, width], "counts": counts}).astype(bool)


def perfect_results(benchmark, video_id, job):
    """What the model would yield if it found the ground truth; nothing on frames without annotation."""
    record = benchmark.layout.sequences[video_id]
    height, width = record["height"], record["width"]
    step = BURST_STEP if benchmark.all_frames else 1
    lvis = {"4": "airplane", "805": "person"}
    labels = load_label_set("burst").labels
    label_of = {t: labels.index(lvis[str(c)]) for t, c in record["track_category_ids"].items()}

    def frames():
        for number in range(len(job.frames)):
            annotated, rest = divmod(number, step)
            tracks = (
                record["segmentations"][annotated] if not rest and annotated < len(record["segmentations"]) else {}
            )
            # Exemplars keep their ids, found objects have ids of their own.
            shift = 0 if benchmark.guidance == "exemplar" else 10
            infos = [{"id": int(track) + shift, "label_id": label_of[track], "score": 0.8} for track in tracks]
            masks = [decode(entry["rle"], height, width) for entry in tracks.values()]
            if benchmark.guidance == "class":
                stack = np.stack(masks) if masks else np.zeros((0, height, width), bool)
                yield {"frame_idx": number, "masks": stack, "segments_info": infos}
            else:
                segmentation = np.zeros((height, width), np.int32)
                for info, mask in zip(infos, masks, strict=True):
                    segmentation[mask] = info["id"]
                yield {"frame_idx": number, "segmentation": segmentation, "segments_info": infos}

    # An object that is most likely nothing that BURST knows, and a second class of the first one.
    summary = [{"id": 12, "label_id": labels.index("zebra"), "score": 0.95}]
    summary += [{"id": int(track) + 10, "label_id": label, "score": 0.8} for track, label in label_of.items()]
    summary += [{"id": 12, "label_id": labels.index("person"), "score": 0.3}]
    return streamed(frames(), "masks" if benchmark.guidance == "class" else "segmentation", summary)


def write_perfect(benchmark, folder):
    for video_id in benchmark.video_ids():
        (folder / video_id).mkdir(parents=True)
        (job,) = benchmark.jobs(video_id)
        benchmark.write_prediction(video_id, job, perfect_results(benchmark, video_id, job), folder / video_id)
    return folder


@pytest.fixture(params=[(guidance, every) for guidance in GUIDANCE for every in (False, True)], ids=str)
def benchmark(request, tmp_path):
    write_burst(tmp_path / "BURST")
    guidance, all_frames = request.param
    return Burst(tmp_path / "BURST", guidance=guidance, all_frames=all_frames)


def test_ground_truth_as_results_is_written_as_it_was(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    path = benchmark.write_submission(predictions, tmp_path / "out")
    content = json.loads(path.read_text())
    assert content["split"] == "val" and content["categories"] == list(BURST_CATEGORIES)
    assert [f"{s['dataset']}/{s['seq_name']}" for s in content["sequences"]] == ["LaSOT/cup-2", "YFCC100M/v_25"]
    expected = {sequence["seq_name"]: sequence for sequence in burst_sequences()}
    shift = 10 if benchmark.guidance == "class" else 0
    for sequence in content["sequences"]:
        truth = expected[sequence["seq_name"]]
        assert set(sequence) == set(truth)
        renamed = {str(int(track) + shift): category for track, category in truth["track_category_ids"].items()}
        assert sequence["track_category_ids"] == renamed
        for found, wanted in zip(sequence["segmentations"], truth["segmentations"], strict=True):
            masks = {str(int(track) + shift): entry["rle"] for track, entry in wanted.items()}
            assert {track: entry["rle"] for track, entry in found.items()} == masks
            assert all(0 < entry["score"] <= 1 and entry["is_gt"] is False for entry in found.values())


def test_ground_truth_as_results_scores_100(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
        figures = {key: evaluation.figures[key] for key in benchmark.columns}
        # Both classes of the miniature are "common" ones.
        assert np.isnan(figures.pop("HOTA_uncommon"))
        assert figures == pytest.approx(dict.fromkeys(figures, 1.0), abs=1e-12)
        assert all(video["HOTA_all"] == pytest.approx(1, abs=1e-12) for video in evaluation.videos.values())
        compared = benchmark.compared_frames("LaSOT/cup-2", evaluation.predictions, 3)
    assert [frame.caption for frame in compared] == ["frame0000", "frame0006", "frame0012"]
    np.testing.assert_array_equal(compared[1].prediction, compared[1].ground_truth)
    assert [info["label"] for info in compared[1].ground_truth_info] == ["airplane", "baby"]


def test_a_submission_is_scored(benchmark, tmp_path):
    path = benchmark.write_submission(write_perfect(benchmark, tmp_path / "predictions"), tmp_path / "out")
    content = json.loads(path.read_text())
    # The second track of one sequence goes away.
    sequence = content["sequences"][1]
    lost = max(sequence["track_category_ids"], key=int)
    sequence["segmentations"] = [{t: e for t, e in frame.items() if t != lost} for frame in sequence["segmentations"]]
    with scored_predictions(benchmark, write_json(tmp_path / "given.json", content), quiet=True) as evaluation:
        assert evaluation.videos["LaSOT/cup-2"]["HOTA_all"] == pytest.approx(1, abs=1e-12)
        assert 0.3 < evaluation.videos["YFCC100M/v_25"]["HOTA_all"] < 0.95
        assert 0.3 < evaluation.figures["HOTA_all"] < 1


def test_masks_can_be_compared_instead_of_boxes(tmp_path):
    write_burst(tmp_path / "BURST")
    predictions = write_perfect(Burst(tmp_path / "BURST"), tmp_path / "predictions")
    for path in predictions.rglob("sequence.json"):
        content = json.loads(path.read_text())
        for frame in content["segmentations"]:
            for entry in frame.values():
                mask = decode(entry["rle"], content["height"], content["width"])
                # The diagonal of a box has the same box.
                rows, columns = np.nonzero(mask)
                mask &= np.subtract.outer(np.arange(len(mask)), np.arange(mask.shape[1])) == rows[0] - columns[0]
                entry["rle"] = rle(mask)["counts"]
        write_json(path, content)
    scores = {}
    for similarity in ("box", "mask"):
        benchmark = Burst(tmp_path / "BURST", similarity=similarity)
        with scored_predictions(benchmark, predictions, quiet=True) as evaluation:
            scores[similarity] = evaluation.figures["HOTA_all"]
    assert scores["box"] == pytest.approx(1, abs=1e-12) and scores["mask"] < 0.2


def test_sequences_and_frames_of_others_are_as_in_the_official_evaluator(tmp_path):
    content = write_burst(tmp_path / "BURST")
    benchmark = Burst(tmp_path / "BURST", guidance="exemplar")
    sequence = content["sequences"][0]
    # Results for all frames, of which only the annotated ones count.
    by_name = dict(zip(sequence["annotated_image_paths"], sequence["segmentations"], strict=True))
    names = sequence["all_image_paths"]
    given = {**sequence, "annotated_image_paths": names, "segmentations": [by_name.get(name, {}) for name in names]}
    given["segmentations"][1] = {"2": {"rle": rle(np.ones((40, 56), bool))["counts"], "score": 1.0}}
    source = write_json(tmp_path / "given.json", {"split": "val", "sequences": [given]})
    with scored_predictions(benchmark, source, quiet=True) as evaluation:
        assert evaluation.videos["YFCC100M/v_25"]["HOTA_all"] == pytest.approx(1, abs=1e-12)
        assert evaluation.videos["LaSOT/cup-2"]["HOTA_all"] == 0


@pytest.mark.parametrize("all_frames", [False, True])
def test_exemplars_are_the_first_masks(tmp_path, all_frames):
    content = write_burst(tmp_path)
    benchmark = Burst(tmp_path, guidance="exemplar", all_frames=all_frames)
    (job,) = benchmark.jobs("YFCC100M/v_25")
    assert job.task == "vos"
    assert [path.name for path in job.frames] == [
        f"frame{number:04d}.jpg" for number in (range(11) if all_frames else range(0, 11, 3))
    ]
    second = 3 if all_frames else 1
    assert {frame: set(masks) for frame, masks in job.prompts.items()} == {0: {2}, second: {5}}
    segmentation = content["sequences"][0]["segmentations"][1]["5"]["rle"]
    np.testing.assert_array_equal(job.prompts[second][5], decode(segmentation, 40, 56))


def test_first_frame_annotations_suffice_for_exemplars(tmp_path):
    content = write_burst(tmp_path)
    for sequence in content["sequences"]:
        seen = set()
        for frame in sequence["segmentations"]:
            for track in list(frame):
                if track in seen:
                    del frame[track]
                seen.add(track)
    write_json(tmp_path / "annotations/test/first_frame_annotations.json", {**content, "split": "test"})
    (tmp_path / "frames/val").rename(tmp_path / "frames/test")
    benchmark = Burst(tmp_path, split="test", guidance="exemplar")
    assert not benchmark.has_ground_truth
    (job,) = benchmark.jobs("LaSOT/cup-2")
    assert {frame: set(masks) for frame, masks in job.prompts.items()} == {0: {2}, 1: {5}}


def test_categories_of_lvis_go_by_name_and_synonym():
    label_set = load_label_set("burst")
    found = match_by_synonyms(label_set, {c["id"]: [c["name"], *c["synonyms"]] for c in BURST_CATEGORIES})
    assert {label_set[index].label: number for index, number in found.items()} == {"airplane": 4, "person": 805}
    # A name goes before somebody else's synonym.
    found = match_by_synonyms(label_set, {1: ["kid", "person"], 2: ["person"], 3: ["man", "person"]})
    assert {label_set[index].label: number for index, number in found.items()} == {"person": 2}


def test_low_scores_can_be_left_out(tmp_path):
    write_burst(tmp_path)
    benchmark = Burst(tmp_path, min_score=0.5)
    airplane, person = (load_label_set("burst").labels.index(name) for name in ("airplane", "person"))
    summary = [
        {"id": 1, "label_id": person, "score": 0.4},
        {"id": 2, "label_id": person, "score": 0.6},
        {"id": 2, "label_id": airplane, "score": 0.7},
    ]
    assert benchmark._best_categories(summary) == {2: (4, 0.7)}


@pytest.mark.parametrize("guidance", GUIDANCE)
def test_tiny_model_end_to_end(tmp_path, guidance):
    write_burst(tmp_path / "BURST")
    benchmark = Burst(tmp_path / "BURST", guidance=guidance)
    settings = {"shortest_edge": 32, "longest_edge": 64, "num_frames": 3}
    if guidance == "class":
        settings |= {
            "class_score_threshold": 0.01,
            "stability_score_threshold": 0.0,
            "first_clip_score_threshold": 0.01,
        }
    model = decisive_model(), tiny_processor()
    evaluation = evaluate(benchmark, model, tmp_path / "out", settings=settings, quiet=True)
    content = json.loads(evaluation.submission.read_text())
    known = {category["id"] for category in BURST_CATEGORIES}
    num_masks = 0
    for sequence, (_, _, length, height, width) in zip(content["sequences"], reversed(BURST_SEQUENCES), strict=True):
        assert len(sequence["segmentations"]) == length
        assert set(sequence["track_category_ids"].values()) <= known
        for frame in sequence["segmentations"]:
            assert set(frame) <= set(sequence["track_category_ids"])
            for entry in frame.values():
                assert decode(entry["rle"], height, width).any()
                num_masks += 1
    assert num_masks, "the model must find something, or the test shows nothing"
    assert 0 <= evaluation.figures["HOTA_all"] <= 1
    with scored_predictions(benchmark, evaluation.submission, quiet=True) as again:
        assert repr(again.figures) == repr(evaluation.figures)


# --- what is wrong


def test_a_layout_that_is_not_there_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*annotations/val/all_classes.json"):
        Burst(tmp_path)
    write_burst(tmp_path)
    (tmp_path / "frames/val/LaSOT/cup-2/frame0003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="LaSOT/cup-2/frame0003.jpg"):
        next(Burst(tmp_path).jobs("LaSOT/cup-2"))
    with pytest.raises(ValueError, match="guidance.*'point'"):
        Burst(tmp_path, guidance="point")
    path = tmp_path / "annotations/val/all_classes.json"
    content = json.loads(path.read_text())
    write_json(path, {**content, "categories": [{"id": 1, "name": "acorn"}]})
    with pytest.raises(ValueError, match=f"{path}.*burst"):
        Burst(tmp_path)
    # Classes don't matter to exemplars.
    Burst(tmp_path, guidance="exemplar")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["segmentations"].pop(), "'YFCC100M/v_25' has 4 annotated frames, but 3"),
        (lambda s: s["track_category_ids"].pop("5"), "'YFCC100M/v_25', frame 1: track 5 has no category"),
        (lambda s: s.pop("height"), "'YFCC100M/v_25' has no field 'height'"),
        (lambda s: s.update(dataset="LaSOT", seq_name="cup-2"), "two sequences 'LaSOT/cup-2'"),
    ],
)
def test_a_file_of_another_form_names_what_is_wrong(tmp_path, change, message):
    content = write_burst(tmp_path)
    change(content["sequences"][0])
    path = write_json(tmp_path / "annotations/val/all_classes.json", content)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        BurstLayout(tmp_path)


def test_wrong_predictions_name_the_sequence(benchmark, tmp_path):
    predictions = write_perfect(benchmark, tmp_path / "predictions")
    path = predictions / "LaSOT/cup-2/sequence.json"
    content = json.loads(path.read_text())

    def fails(error, message, source=predictions):
        with pytest.raises(error, match=message), scored_predictions(benchmark, source, quiet=True):
            pass

    write_json(path, {**content, "segmentations": content["segmentations"][:-1]})
    fails(ValueError, r"'LaSOT/cup-2'.*\[5, 36, 48\], got \[4, 36, 48\]")
    wrong = {next(iter(content["track_category_ids"])): {"rle": rle(np.ones((9, 9), bool))["counts"], "score": 1.0}}
    write_json(path, {**content, "segmentations": [wrong, *content["segmentations"][1:]]})
    fails(ValueError, "'LaSOT/cup-2'")
    path.unlink()
    fails(FileNotFoundError, "'LaSOT/cup-2'.*sequence.json")
    given = {"split": "val", "sequences": [{**content, "seq_name": "cup-3"}]}
    fails(ValueError, "given.json.*'LaSOT/cup-3'", write_json(tmp_path / "given.json", given))
