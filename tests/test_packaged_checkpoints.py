# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that the package carries load by name, without the network; what it carries is what it claims."""

import json
import socket

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForUniversalSegmentation,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

from univs_hf import UniVSConfig, UniVSForVideoSegmentation, UniVSImageProcessor, UniVSModel, UniVSProcessor
from univs_hf import packaged_checkpoints as packaged
from univs_hf.cli import main
from univs_hf.data.moving_shapes import generate_video, seed_of
from univs_hf.metrics import DavisMetric
from univs_hf.pipeline_univs import PIPELINE_TASK, VideoSegmentationPipeline
from univs_hf.results_io import read_results
from univs_hf.segment_command import load_model
from univs_hf.tiny_shapes import build_model, build_processor
from univs_hf.visualization import save_palette_png

NAME = "univs-tiny-shapes"
SHIPPED = packaged.CHECKPOINTS_FOLDER / NAME
MAX_BYTES = 16_000_000
# A video that is in no training set; any model that has learned something follows its things well enough.
VIDEO = generate_video(seed_of("validation", 0))
LEAST_SCORE = 0.6


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder with a checkpoint of that name, with random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    build_model(seed=5).save_pretrained(folder / NAME)
    build_processor().save_pretrained(folder / NAME)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """Whoever asks the network fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def offline(checkpoints, no_network, monkeypatch, tmp_path):
    """The package carries that checkpoint, and there is no network."""
    monkeypatch.setattr(packaged, "CHECKPOINTS_FOLDER", checkpoints)
    monkeypatch.chdir(tmp_path)
    return checkpoints / NAME


@pytest.fixture
def shipped(no_network, monkeypatch, tmp_path):
    """The checkpoint that the package really carries; there is no network."""
    monkeypatch.chdir(tmp_path)
    return SHIPPED


@pytest.mark.parametrize(
    ("loader", "loaded"),
    [
        (UniVSConfig, UniVSConfig),
        (UniVSModel, UniVSModel),
        (UniVSForVideoSegmentation, UniVSForVideoSegmentation),
        (UniVSProcessor, UniVSProcessor),
        (UniVSImageProcessor, UniVSImageProcessor),
        (AutoConfig, UniVSConfig),
        (AutoModel, UniVSModel),
        (AutoModelForUniversalSegmentation, UniVSForVideoSegmentation),
        (AutoProcessor, UniVSProcessor),
        (AutoImageProcessor, UniVSImageProcessor),
        (AutoTokenizer, transformers.PreTrainedTokenizerFast),
    ],
)
def test_every_class_loads_it_by_name(offline, loader, loaded):
    assert isinstance(loader.from_pretrained(NAME), loaded)


def test_weights_are_those_of_the_package(offline):
    model = UniVSForVideoSegmentation.from_pretrained(NAME)
    for name, weight in build_model(seed=5).state_dict().items():
        assert (model.state_dict()[name] == weight).all(), name


@pytest.mark.parametrize("function", ["imported before", "attribute of transformers"])
def test_pipeline_by_name(offline, function):
    make = pipeline if function == "imported before" else transformers.pipeline
    made = make(PIPELINE_TASK, model=NAME)
    assert isinstance(made, VideoSegmentationPipeline)
    assert isinstance(made.model, UniVSForVideoSegmentation)


def test_command_line_by_name(offline):
    model, processor = load_model(NAME, device="cpu")
    assert isinstance(model, UniVSForVideoSegmentation) and isinstance(processor, UniVSProcessor)


def test_directory_of_that_name_goes_first(offline, tmp_path):
    UniVSConfig.from_pretrained(NAME, num_queries=7).save_pretrained(tmp_path / NAME)
    assert UniVSConfig.from_pretrained(NAME).num_queries == 7


def test_other_names_pass_through_unchanged(tmp_path):
    for other in ("someone/model", tmp_path, None):
        assert packaged.resolve_checkpoint(other) is other


def test_unknown_and_absent_checkpoints_are_told(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="`name` must be one of .*univs-tiny-shapes.*got 'univs-huge'"):
        packaged.checkpoint_path("univs-huge")
    monkeypatch.setattr(packaged, "CHECKPOINTS_FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="not part of this installation"):
        UniVSProcessor.from_pretrained(NAME)


def test_registration_twice_wraps_once():
    before = AutoModel.from_pretrained.__func__, transformers.pipeline
    packaged.accept_packaged_names(AutoModel)
    assert (AutoModel.from_pretrained.__func__, transformers.pipeline) == before


def test_shipped_files(shipped):
    """All that loading needs and a card, small enough to travel, in half precision, computed with in float32."""
    files = {path.name: path.stat().st_size for path in shipped.iterdir()}
    needed = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert needed | {"README.md"} <= set(files)
    assert sum(files.values()) <= MAX_BYTES
    with safe_open(shipped / "model.safetensors", "pt") as weights:
        kinds = {str(weights.get_slice(name).get_dtype()) for name in weights.keys()}  # noqa: SIM118
        assert all(torch.isfinite(weights.get_tensor(name).float()).all() for name in weights.keys())  # noqa: SIM118
    assert "F16" in kinds and not kinds & {"F32", "F64"}
    assert json.loads((shipped / "config.json").read_text())["dtype"] == "float32"
    assert UniVSForVideoSegmentation.from_pretrained(NAME).dtype == torch.float32


def test_shipped_card_tells_the_scores(shipped):
    card = (shipped / "README.md").read_text(encoding="utf-8")
    for figure in ("J&F", "G", "AP50", "AP", "mIoU", "VPQ"):
        assert figure in card
    for task in ("vis", "vss", "vps", "vos", "pvos", "refvos"):
        assert task in card.lower()


def first_things():
    """Label map of the things of the first frame, ids from 1 on, and the same for all frames."""
    numbers = np.zeros(len(VIDEO.entities) + 1, np.uint8)
    shown = [thing.id for thing in VIDEO.things if VIDEO.is_visible[0, thing.id - 1]]
    numbers[shown] = np.arange(1, len(shown) + 1)
    return numbers[VIDEO.labels]


def score(frames):
    metric = DavisMetric()
    metric.update("video", frames, first_things())
    return metric.compute()["J&F-Mean"]


def test_shipped_model_works_in_python(shipped):
    model, processor = UniVSForVideoSegmentation.from_pretrained(NAME).eval(), UniVSProcessor.from_pretrained(NAME)
    session = processor.init_video_session(list(VIDEO.frames), task="vos")
    truth = first_things()
    ids = list(range(1, int(truth[0].max()) + 1))
    masks = np.stack([truth[0] == number for number in ids])
    processor.add_inputs_to_inference_session(session, 0, ids, input_masks=masks)
    with torch.no_grad():
        found = [result["segmentation"].numpy() for result in model.propagate_in_video_iterator(session)]
    assert score(found) > LEAST_SCORE


def test_shipped_model_works_in_the_pipeline(shipped):
    segmenter = pipeline(PIPELINE_TASK, model=NAME)
    results = segmenter(list(VIDEO.frames[:6]), subtask="vss", categories="moving_shapes")
    assert len(results) == 6
    names = {entity.id: entity.name for entity in VIDEO.entities}
    right = np.zeros(VIDEO.labels.shape[1:], bool)
    for segment in results[3]:
        named = np.isin(VIDEO.labels[3], [number for number, name in names.items() if name == segment["label"]])
        right |= named & (np.asarray(segment["mask"]) > 0)
    assert right.mean() > LEAST_SCORE


def test_shipped_model_works_on_the_command_line(shipped, tmp_path):
    VIDEO.write_video("video.mp4")
    save_palette_png("first.png", first_things()[0])
    command = ["segment", "video.mp4", "--model", NAME, "--task", "vos", "--mask", "first.png", "--json", "out.json"]
    assert main([*command, "--quiet", "--device", "cpu"]) == 0
    frames = [
        {segment["id"]: segment["mask"] for segment in frame["segments"]}
        for frame in read_results("out.json")["frames"]
    ]
    assert score(frames) > LEAST_SCORE
