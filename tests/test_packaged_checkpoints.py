# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that the package carries load by name, without the network."""

import socket

import pytest
import transformers
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
from univs_hf.pipeline_univs import PIPELINE_TASK, VideoSegmentationPipeline
from univs_hf.segment_command import load_model
from univs_hf.tiny_shapes import build_model, build_processor

NAME = "univs-tiny-shapes"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder with a checkpoint of that name, with random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    build_model(seed=5).save_pretrained(folder / NAME)
    build_processor().save_pretrained(folder / NAME)
    return folder


@pytest.fixture
def offline(checkpoints, monkeypatch, tmp_path):
    """The package carries that checkpoint, and whoever asks the network fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(packaged, "CHECKPOINTS_FOLDER", checkpoints)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    return checkpoints / NAME


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
