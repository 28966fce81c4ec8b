# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The metrics as modules of the `evaluate` library, loaded from their folders without a network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import univs_hf.metrics as metrics
from univs_hf.metrics import EVALUATE_MODULES, evaluate_module_path
from univs_hf.rle import encode_mask

evaluate = pytest.importorskip("evaluate")

FRAMES, SHAPE = 5, (18, 24)


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    # Modules of an earlier test were imported from its folder.
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        monkeypatch.delitem(sys.modules, name)


def label_maps(rng: np.random.Generator, labels: int = 2) -> np.ndarray:
    """Boxes of labels 1.. in every frame, jittering."""
    maps = np.zeros((FRAMES, *SHAPE), dtype=np.uint8)
    for frame in maps:
        for label in range(1, labels + 1):
            top, left = rng.integers(0, 6), 10 * (label - 1) + rng.integers(0, 4)
            frame[top : top + 8, left : left + 9] = label
    return maps


def segments(maps: np.ndarray) -> list[tuple[np.ndarray, list[dict[str, Any]]]]:
    """Panoptic frames: label 1 is a thing of category 0, label 2 stuff of category 1."""
    return [
        (
            frame,
            [
                {"id": int(label), "category_id": int(label) - 1, "iscrowd": 0, "area": int((frame == label).sum())}
                for label in np.unique(frame)
                if label
            ],
        )
        for frame in maps
    ]


def instances(maps: np.ndarray, scores: bool) -> list[dict[str, Any]]:
    entries = [
        {"category_id": label, "segmentations": [encode_mask(frame == label) for frame in maps]} for label in (1, 2)
    ]
    return [{**entry, "score": 0.5 * entry["category_id"]} for entry in entries] if scores else entries


def burst_sequence(maps: np.ndarray) -> dict[str, Any]:
    return {
        "height": SHAPE[0],
        "width": SHAPE[1],
        "neg_category_ids": [],
        "not_exhaustive_category_ids": [],
        "track_category_ids": {"1": 4, "2": 1},
        "segmentations": [
            {str(label): {"rle": encode_mask(frame == label)["counts"]} for label in (1, 2)} for frame in maps
        ],
    }


CATEGORIES = [{"id": 0, "isthing": 1}, {"id": 1, "isthing": 0}]
PANOPTIC = {"options": {"categories": CATEGORIES}, "prediction": segments, "reference": segments}

# Per module: options, how prediction and reference are made of label maps, and further inputs of each video.
SETUPS: dict[str, dict[str, Any]] = {
    "burst": {"options": {"similarity": "mask"}, "prediction": burst_sequence, "reference": burst_sequence},
    "davis": {},
    "hota": {},
    "pvos": {"inputs": {"reference_frames": {0: [1, 2]}, "object_classes": {1: 60, 2: 9}}},
    "ref_davis": {"options": {"num_annotators": 2}, "prediction": lambda maps: [maps, maps[::-1]]},
    "ref_youtube_vos": {"prediction": lambda maps: {"0": maps == 1}, "inputs": {"expressions": {"0": 1}}},
    "stq": PANOPTIC,
    "vis": {
        "options": {"category_ids": [1, 2]},
        "prediction": lambda maps: instances(maps, True),
        "reference": lambda maps: instances(maps, False),
        "inputs": {"num_frames": FRAMES},
    },
    "vpq": {**PANOPTIC, "options": {"categories": CATEGORIES, "windows": [1, 2, 4, 6]}},
    "vss": {"options": {"num_classes": 4, "windows": [2]}},
    "youtube_vos": {"inputs": {"first_frames": {1: 0, 2: 1}, "seen": {1: True, 2: False}}},
}


def videos(name: str, count: int = 4) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    setup = SETUPS[name]
    return [
        {
            "prediction": setup.get("prediction", np.asarray)(label_maps(rng)),
            "reference": setup.get("reference", np.asarray)(label_maps(rng)),
            "video_id": f"video {i}",
            "inputs": setup.get("inputs", {}),
        }
        for i in range(count)
    ]


def columns(examples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {
        "predictions": [example["prediction"] for example in examples],
        "references": [example["reference"] for example in examples],
        "video_ids": [example["video_id"] for example in examples],
        **{name: [example["inputs"][name] for example in examples] for name in examples[0]["inputs"]},
    }


def direct_figures(name: str, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the metric without `evaluate`."""
    metric = getattr(metrics, EVALUATE_MODULES[name])(**SETUPS[name].get("options", {}))
    theirs = "predictions" if name in ("vis", "ref_davis", "ref_youtube_vos") else "prediction"
    for example in examples:
        sides = {theirs: example["prediction"], "ground_truth": example["reference"]}
        metric.update(example["video_id"], **sides, **example["inputs"])
    return metric.compute()


def load(name: str, **arguments: Any) -> Any:
    return evaluate.load(evaluate_module_path(name), **SETUPS[name].get("options", {}), **arguments)


def test_every_metric_has_a_module():
    assert set(SETUPS) == set(EVALUATE_MODULES)


@pytest.mark.parametrize("name", sorted(EVALUATE_MODULES))
def test_figures_are_those_of_the_metric(name: str):
    examples = videos(name)
    module = load(name)
    expected = repr(direct_figures(name, examples))
    # One by one, in batches, all at once: the same, and each call of `compute` begins anew.
    for example in examples:
        module.add(
            prediction=example["prediction"],
            reference=example["reference"],
            video_id=example["video_id"],
            **example["inputs"],
        )
    assert repr(module.compute()) == expected
    module.add_batch(**columns(examples[:3]))
    module.add_batch(**columns(examples[3:]))
    assert repr(module.compute()) == expected
    assert repr(module.compute(**columns(examples))) == expected
    assert repr(module.compute(**columns(examples[:2]))) == repr(direct_figures(name, examples[:2]))


def test_ids_are_optional_and_nothing_has_to_be_written():
    examples = videos("davis")
    module = load("davis", keep_in_memory=True)
    given = {name: column for name, column in columns(examples).items() if name != "video_ids"}
    assert repr(module.compute(**given)) == repr(direct_figures("davis", examples))


def test_usage_says_what_to_give():
    module = load("pvos")
    assert "object_classes: Object id -> class." in module.inputs_description
    assert "PVOSMetric.update" in module.inputs_description
    assert module.description.startswith(metrics.PVOSMetric.__doc__.strip().splitlines()[0])


def test_errors():
    (example,) = videos("pvos", 1)
    sides = {"prediction": example["prediction"], "reference": example["reference"]}
    module = load("pvos")
    with pytest.raises(ValueError, match="No video was added"):
        module.compute()
    with pytest.raises(ValueError, match=r"Missing inputs: \['object_classes', 'reference_frames'\]"):
        module.add(**sides)
    with pytest.raises(ValueError, match=r"Unknown inputs \['colour'\]"):
        module.add(**sides, **example["inputs"], colour="red")
    batch = columns([example])
    with pytest.raises(ValueError, match=r"\['references'\] must be lists with an entry per video, got None"):
        module.add_batch(**{**batch, "references": None})
    with pytest.raises(ValueError, match="as many entries as there are videos, got .*'references': 2"):
        module.add_batch(**{**batch, "references": batch["references"] * 2})
    # What the metric finds wrong is reported at once, and leaves the videos added before.
    module.add_batch(**batch)
    with pytest.raises(ValueError, match="video 'v'"):
        module.add(
            prediction=example["prediction"][:2], reference=example["reference"], video_id="v", **example["inputs"]
        )
    with pytest.raises(ValueError, match="seen by both"):
        module.compute(**batch)
    with pytest.raises(TypeError, match="number_of_annotators"):
        evaluate.load(evaluate_module_path("ref_davis"), number_of_annotators=2)
    with pytest.raises(ValueError, match="`name` must be one of 'burst', .*, got 'mot'"):
        evaluate_module_path("mot")


PROCESS = """
import json, sys
import evaluate, numpy as np
path, cache, rank, ids = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].split(",")
module = evaluate.load(path, cache_dir=cache, num_process=2, process_id=rank, experiment_id="test")
for seed in ids:
    rng = np.random.default_rng(int(seed))
    maps = rng.integers(0, 2, (2, 5, 9, 9)).astype(np.uint8)
    module.add(prediction=maps[0], reference=maps[1], video_id=seed)
print(json.dumps(module.compute()))
"""


@pytest.mark.slow
def test_processes_are_pooled(tmp_path: Path):
    arguments = [sys.executable, "-c", PROCESS, evaluate_module_path("davis"), str(tmp_path)]
    running = [
        subprocess.Popen([*arguments, rank, seeds], stdout=subprocess.PIPE, text=True)
        for rank, seeds in (("0", "3,1"), ("1", "2,5,4"))
    ]
    outputs = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in running]
    metric = metrics.DavisMetric()
    for seed in range(1, 6):
        maps = np.random.default_rng(seed).integers(0, 2, (2, 5, 9, 9)).astype(np.uint8)
        metric.update(str(seed), maps[0], maps[1])
    assert outputs == [metric.compute(), None]
