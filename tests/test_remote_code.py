# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A saved model works where this package is not installed: its folder carries the code (`trust_remote_code=True`)."""

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_config import tiny_config, tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from univs_hf import UniVSConfig, UniVSForVideoSegmentation, UniVSImageProcessor, UniVSModel, UniVSProcessor

CHILD = """
    import sys

    class RefuseThePackage:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] == "univs_hf":
                raise ModuleNotFoundError(f"{name} is out of reach in this test")

    sys.meta_path.insert(0, RefuseThePackage)

    import numpy as np
    import torch
    import transformers
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    folder, auto_class = sys.argv[1:]
    loaded = [
        getattr(transformers, name).from_pretrained(folder + "/saved", trust_remote_code=True)
        for name in ("AutoConfig", "AutoImageProcessor", "AutoProcessor", auto_class)
    ]
    for item in loaded:
        assert type(item).__module__.startswith("transformers_modules."), type(item)
    model, processor = loaded[-1].eval(), loaded[-2]
    arrays = np.load(folder + "/inputs.npz")
    save_file(run(model, processor, arrays["video"], arrays["label_map"]), folder + "/outputs.safetensors")
    assert "univs_hf" not in sys.modules
"""


def run(model, processor, video, label_map):  # the child runs its source too, without this module's names
    """Everything from raw frames to the network's output, once with masks and categories and once with text."""
    calls = {"visual": {"prompt_masks": label_map, "categories": ["dog", "red car"]}, "text": {"text": ["a red car"]}}
    tensors = {}
    for name, prompts in calls.items():
        inputs = processor(videos=list(video), **prompts)
        if not hasattr(model, "classify"):
            inputs.pop("category_input_ids", None)
        with torch.no_grad():
            outputs = model(**inputs)
        for key, value in outputs.items():
            if torch.is_tensor(value):
                tensors[f"{name}.{key}"] = value.contiguous()
    return tensors


def make_processor() -> UniVSProcessor:
    """A processor with a tokenizer of the tiny text tower's vocabulary: one token per word."""
    text = tiny_config().text_config
    words = ["<pad>", "<unk>", ".", "a", "photo", "of", "red", "car", "dog"]
    words += [f"unused{index}" for index in range(len(words), text.bos_token_id)] + ["<s>", "</s>"]
    model = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=text.max_position_embeddings,
    )
    image_processor = UniVSImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})
    return UniVSProcessor(image_processor, tokenizer, text_templates=["{}.", "a photo of a {}.", "a {}."])


@pytest.mark.parametrize(
    ("auto_class", "model_class"),
    [("AutoModel", UniVSModel), ("AutoModelForUniversalSegmentation", UniVSForVideoSegmentation)],
)
def test_loads_without_the_package(
    auto_class: str, model_class: type[PreTrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for registered in (UniVSConfig, UniVSImageProcessor, UniVSProcessor, model_class):
        # Registering sets an attribute of the class; monkeypatch takes it back after the test.
        monkeypatch.setattr(registered, "_auto_class", registered._auto_class)
    UniVSConfig.register_for_auto_class()
    UniVSImageProcessor.register_for_auto_class()
    UniVSProcessor.register_for_auto_class()
    model_class.register_for_auto_class(auto_class)

    model, processor = tiny_model(), make_processor()
    model = model if model_class is UniVSForVideoSegmentation else model.model
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    video = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    label_map = np.zeros((64, 96), dtype=np.uint8)
    label_map[8:40, 16:60], label_map[44:60, 64:90] = 1, 2
    np.savez(tmp_path / "inputs.npz", video=video, label_map=label_map)

    child = subprocess.run(
        [sys.executable, "-I", "-c", inspect.getsource(run) + textwrap.dedent(CHILD), str(tmp_path), auto_class],
        # The code of the folder is copied into a cache of modules before it is imported; keep that in this test too.
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_MODULES_CACHE": str(tmp_path / "modules")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr

    expected = run(model, processor, video, label_map)
    actual = load_file(tmp_path / "outputs.safetensors")
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
