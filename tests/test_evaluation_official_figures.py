# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Cases of the official evaluators, written as benchmarks on disk and scored as submissions: the official figures."""

import gzip
import json

import numpy as np
import pytest
from mini_datasets import write_json
from PIL import Image

from univs_hf.data.layouts.panoptic_png import panoptic_colours
from univs_hf.evaluation.registry import benchmark_class
from univs_hf.evaluation.runner import scored_predictions
from univs_hf.label_sets import load_label_set

SEEDS = (0, 1)
TOLERANCE = 1e-12


@pytest.fixture(params=SEEDS)
def seed(request):
    return f"seed{request.param}"


def read(path):
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(content)


def figures_of(benchmark, source):
    with scored_predictions(benchmark, source, quiet=True) as evaluation:
        return evaluation.figures


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def named_like(categories, label_set):
    """The cases have made up names; the readers want those of the benchmark."""
    labels = load_label_set(label_set).labels
    return [{**category, "name": labels[number]} for number, category in enumerate(categories)]


@pytest.mark.parametrize("name", ["ytvis21", "ovis"])
def test_video_instances(shared_dir, seed, tmp_path, name):
    case = shared_dir / "metrics/dev/vis" / seed
    content = read(case / "gt.json.gz")
    content["categories"] = named_like(content["categories"], name)
    write_json(tmp_path / "valid.json", content)
    results = write_json(tmp_path / "results.json", read(case / "results.json.gz"))
    figures = figures_of(benchmark_class(name)(tmp_path), results)
    for key, value in read(case / "golden.json")["stats"].items():
        assert figures[key] == pytest.approx(value if value > -1 else np.nan, abs=TOLERANCE, nan_ok=True), key


def test_semantics(shared_dir, seed, tmp_path):
    case = shared_dir / "metrics/dev/vss" / seed
    arrays = np.load(case / "inputs.npz")
    names = [f"video_{number}" for number in range(read(case / "meta.json")["num_videos"])]
    for number, name in enumerate(names):
        sides = {tmp_path / "data" / name / "mask": "gt", tmp_path / "given" / name: "pred"}
        for folder, side in sides.items():
            for frame, labels in enumerate(arrays[f"v{number}_{side}"]):
                save(folder / f"{frame:05d}.png", labels)
    (tmp_path / "val.txt").write_text("\n".join(names))
    figures = figures_of(benchmark_class("vspw")(tmp_path), tmp_path / "given")
    golden = read(case / "golden.json")
    for key, value in {**golden["headline"], "mVC8": golden["mVC8"], "mVC16": golden["mVC16"]}.items():
        assert figures[key] == pytest.approx(value, abs=TOLERANCE, nan_ok=True), key


def test_panoptics(shared_dir, seed, tmp_path):
    case = shared_dir / "metrics/dev/vps" / seed
    arrays, content = np.load(case / "inputs.npz"), read(case / "gt.json.gz")
    content["categories"] = named_like(content["categories"], "vipseg")
    write_json(tmp_path / "panoptic_gt_VIPSeg_val.json", content)
    write_json(tmp_path / "given/pred.json", read(case / "pred.json.gz"))
    for number, video in enumerate(content["videos"]):
        for frame, image in enumerate(video["images"]):
            for folder, side in (("panomasksRGB", "gt"), ("given/pan_pred", "pred")):
                ids = arrays[f"v{number}_{side}"][frame]
                save(tmp_path / folder / video["video_id"] / image["file_name"], panoptic_colours(ids))
    golden = read(case / "golden.json")
    for crowd, key in (("first_segment", "STQ_vipseg_script"), ("iscrowd", "STQ_deeplab2")):
        figures = figures_of(benchmark_class("vipseg")(tmp_path, crowd=crowd), tmp_path / "given")
        for name, official in (("STQ", "STQ"), ("SQ", "IoU"), ("AQ", "AQ")):
            assert figures[name] == pytest.approx(golden[key][official], abs=TOLERANCE), (key, name)
    for group, ending in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        wanted = golden[f"VPQ_{group}"]
        assert 100 * figures[f"VPQ{ending}"] == pytest.approx(wanted["mean_1_2_4_6_8"], abs=100 * TOLERANCE)
        for window, value in wanted["per_k_percent"].items():
            assert 100 * figures[f"VPQ_{window}{ending}"] == pytest.approx(value, abs=100 * TOLERANCE)


@pytest.mark.parametrize("similarity", ["box", "mask"])
@pytest.mark.parametrize(("guidance", "file"), [("class", "pred.json.gz"), ("exemplar", "pred_exemplar.json.gz")])
def test_burst(shared_dir, seed, tmp_path, guidance, file, similarity):
    case = shared_dir / "metrics/dev/burst" / seed
    categories = [{"id": 4, "name": "airplane", "synonyms": []}]
    write_json(tmp_path / "val/all_classes.json", {**read(case / "gt.json.gz"), "categories": categories})
    given = write_json(tmp_path / "given.json", read(case / file))
    figures = figures_of(benchmark_class("burst")(tmp_path, guidance=guidance, similarity=similarity), given)
    key = f"{guidance}_guided_percent" + ("_mask_iou" if similarity == "mask" else "")
    for name, groups in read(case / "golden.json")[key].items():
        for group, value in groups.items():
            found = 100 * figures[f"{name}_{group}"]
            assert found == pytest.approx(value, abs=100 * TOLERANCE, nan_ok=True), (name, group)
