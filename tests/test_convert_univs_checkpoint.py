# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Key maps, converter, tokenizer, the way back, and the start from a Mask2Former."""

import argparse
import gzip
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_config import tiny_config
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTokenizer,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
    SwinConfig,
    set_seed,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

import univs_hf.convert_mask2former as convert_mask2former_module
from univs_hf import UniVSConfig, UniVSForVideoSegmentation
from univs_hf.convert_files import read_tensors, write_safetensors
from univs_hf.convert_key_map import checkpoint_rules, recognise_backbone, text_tower_rules
from univs_hf.convert_mask2former import convert_mask2former
from univs_hf.convert_tokenizer import build_clip_tokenizer, load_clip_tokenizer, read_byte_pair_file
from univs_hf.convert_univs_checkpoint import (
    add_convert_parser,
    convert_checkpoint,
    convert_state_dict,
    expected_tensors,
    export_original_state_dict,
    export_text_tower_state_dict,
    run_convert,
    write_original_checkpoint,
)
from univs_hf.processing_univs import UniVSProcessor
from univs_hf.text_prompts import normalise_text, tokenize_templates, tokenize_texts

STAGES = ["stage1", "stage2", "stage3", "stage4"]
PRESETS = {"r50": "resnet50", "swint": "swin-tiny", "swinb": "swin-base", "swinl": "swin-large"}
SMALL_BACKBONES = {
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 2, 1, 1], out_features=STAGES),
    "swin": SwinConfig(
        embed_dim=8,
        depths=[1, 2, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        drop_path_rate=0.0,
        out_features=STAGES,
    ),
}
PREDICTOR = "sem_seg_head.predictor."


def small_config(backbone: str = "resnet", **overrides) -> UniVSConfig:
    return tiny_config(backbone_config=SMALL_BACKBONES[backbone], **overrides)


def small_model(backbone: str = "resnet", **overrides) -> UniVSForVideoSegmentation:
    set_seed(0)
    model = UniVSForVideoSegmentation(small_config(backbone, **overrides))
    with torch.no_grad():
        # Many initial values are equal; with random ones a tensor in the wrong place is found out.
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_()
    return model


@pytest.fixture
def original() -> dict[str, torch.Tensor]:
    """Original-style weights of a small ResNet model."""
    return export_original_state_dict(small_model())


@pytest.fixture
def text_tower() -> dict[str, torch.Tensor]:
    return export_text_tower_state_dict(small_model())


@pytest.fixture(scope="session")
def byte_pair_file(tmp_path_factory) -> Path:
    """A file of the published format whose merges are made up: every two letters, as far as there is room."""
    letters = list(bytes_to_unicode().values())
    merges = [f"{first} {second}" for first in letters for second in letters][:48894]
    path = tmp_path_factory.mktemp("bpe") / "bpe.txt.gz"
    path.write_bytes(gzip.compress("\n".join(["# version", *merges, "x y"]).encode()))
    return path


def save(content, path: Path) -> Path:
    torch.save(content, path)
    return path


def convert_small(tmp_path: Path, content, text_tower, byte_pair_file, **options):
    """Runs `convert_checkpoint` on small weights; returns the report and the output directory."""
    checkpoint = save(content, tmp_path / "original.pth")
    if text_tower is not None:
        options["text_encoder_path"] = save(text_tower, tmp_path / "text.pth")
    options.setdefault("config", small_config())
    output = tmp_path / "out"
    return convert_checkpoint(checkpoint, output, tokenizer=byte_pair_file, **options), output


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert set(left) == set(right)
    for key, value in left.items():
        assert value.shape == right[key].shape and value.dtype == right[key].dtype, key
        assert torch.equal(value, right[key]), key


# ------------------------------------------------------------------------------------------------- the four key maps


@pytest.fixture(scope="session")
def seeded(shared_dir) -> ModuleType:
    """The recipe that makes stand-in weights from key names."""
    spec = importlib.util.spec_from_file_location("seeded_weights", shared_dir / "parity" / "seeded_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def key_map(shared_dir: Path, name: str) -> dict:
    return json.loads((shared_dir / "parity" / "keymaps" / name).read_text())


@pytest.mark.parametrize("backbone", PRESETS)
def test_every_published_key_has_its_place_and_shape(backbone, shared_dir):
    content = key_map(shared_dir, f"univs_{backbone}_stage3.json")
    tensors = {key: torch.empty(spec["shape"], device="meta") for key, spec in content["params"]}
    tensors |= {key: torch.empty(spec["shape"], device="meta") for key, spec in content["model_built"]}
    text = {
        key: torch.empty(spec["shape"], device="meta")
        for key, spec in key_map(shared_dir, "clip_text_rn50x4.json")["params"]
    }
    table = torch.empty(3938, 640, device="meta")

    state_dict, config = convert_state_dict(tensors, text, table)

    assert config.backbone_preset == PRESETS[backbone]
    assert config.num_category_embeddings == 3938
    expected = expected_tensors(config)
    assert {key: value.shape for key, value in state_dict.items()} == {
        key: value.shape for key, value in expected.items()
    }
    # Two-way and without overlap: no tensor of ours is made from two originals.
    targets = [target for rule in checkpoint_rules(config) + text_tower_rules(config) for target in rule.targets]
    assert len(targets) == len(set(targets))


@pytest.mark.parametrize("backbone", ["r50", "swint", "swinb", pytest.param("swinl", marks=pytest.mark.slow)])
def test_round_trip_of_published_sizes_is_bit_equal(backbone, shared_dir, seeded):
    parity = shared_dir / "parity" / "keymaps"
    original = seeded.seeded_state_dict(seeded.load_key_map(parity / f"univs_{backbone}_stage3.json"), seed=0)
    state_dict, config = convert_state_dict(original)
    with torch.device("meta"):
        model = UniVSForVideoSegmentation(config)
    result = model.load_state_dict(state_dict, strict=False, assign=True)
    assert not result.unexpected_keys
    assert all(key.startswith("model.text_encoder.") for key in result.missing_keys)
    assert_same(export_original_state_dict(model), original)


def test_text_tower_round_trip_is_bit_equal(shared_dir, seeded):
    params = seeded.load_key_map(shared_dir / "parity" / "keymaps" / "clip_text_rn50x4.json")
    text = seeded.seeded_state_dict({f"lang_encoder.{key}": spec for key, spec in params.items()})
    content = key_map(shared_dir, "univs_r50_stage3.json")
    original = {key: torch.empty(spec["shape"], device="meta") for key, spec in content["params"]}
    state_dict, config = convert_state_dict(original, text)
    with torch.device("meta"):
        model = UniVSForVideoSegmentation(config)
    model.load_state_dict(state_dict, assign=True)
    exported = export_text_tower_state_dict(model)
    assert_same({f"lang_encoder.{key}": value for key, value in exported.items()}, text)


# ------------------------------------------------------------------------------------------------ names and selection


@pytest.mark.parametrize("backbone", SMALL_BACKBONES)
def test_round_trip_of_small_models(backbone):
    model = small_model(backbone, num_category_embeddings=7)
    original, text = export_original_state_dict(model), export_text_tower_state_dict(model)
    config = small_config(backbone, num_category_embeddings=7)
    state_dict, config = convert_state_dict(original, text, model.category_embeddings, config=config)
    ours = {key: value for key, value in model.state_dict().items() if "swin.layernorm" not in key}
    assert_same({key: value for key, value in state_dict.items() if "swin.layernorm" not in key}, ours)
    assert set(state_dict) == set(model.state_dict())


def test_fused_projections_split_in_the_order_query_key_value(original):
    state_dict, config = convert_state_dict(original, config=small_config())
    fused = original[f"{PREDICTOR}transformer_cross_attention_layers.1.multihead_attn.in_proj_weight"]
    width = config.hidden_dim
    for index, part in enumerate("qkv"):
        ours = state_dict[f"model.decoder.layers.1.cross_attn.{part}_proj.weight"]
        assert torch.equal(ours, fused[index * width : (index + 1) * width])


def test_text_projection_is_transposed_and_temperatures_are_scalars(original, text_tower):
    state_dict, _ = convert_state_dict(original, text_tower, config=small_config())
    assert torch.equal(state_dict["model.text_encoder.text_projection.weight"], text_tower["text_projection"].T)
    assert state_dict["class_logit_scale"].shape == ()
    assert state_dict["class_logit_scale"] == original[f"{PREDICTOR}cls_temp.weight"][0, 0]
    assert state_dict["reid_logit_scale"] == original[f"{PREDICTOR}reid_temp.weight"][0, 0]


def test_state_dict_without_text_tower_leaves_out_just_the_tower(original):
    state_dict, config = convert_state_dict(original, config=small_config())
    missing = set(expected_tensors(config)) - set(state_dict)
    assert missing and all(key.startswith("model.text_encoder.") for key in missing)


def test_old_name_of_the_query_content(original):
    expected, _ = convert_state_dict(original, config=small_config())
    renamed = dict(original)
    renamed[f"{PREDICTOR}static_query.weight"] = renamed.pop(f"{PREDICTOR}query_feat.weight")
    state_dict, _ = convert_state_dict(renamed, config=small_config())
    assert_same(state_dict, expected)

    both = {**original, f"{PREDICTOR}static_query.weight": original[f"{PREDICTOR}query_feat.weight"]}
    with pytest.raises(ValueError, match="static_query.weight .a second name"):
        convert_state_dict(both, config=small_config())


def test_training_leftovers_are_dropped_and_reported(tmp_path, original, text_tower, byte_pair_file):
    leftovers = {
        "criterion.empty_weight": torch.zeros(3),
        "pixel_mean": torch.zeros(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(4, 4, dtype=torch.long),
    }
    report, _ = convert_small(tmp_path, {**original, **leftovers}, text_tower, byte_pair_file)
    assert report.dropped == list(leftovers)
    assert set(report.mapped) == set(original) | set(text_tower)
    assert not report.fresh
    assert "criterion" in str(report)


@pytest.mark.parametrize("weights", ["student", "teacher"])
def test_choice_between_student_and_teacher(tmp_path, original, text_tower, byte_pair_file, weights):
    teacher = {
        key.replace("backbone.", "backbone_t.", 1).replace("sem_seg_head.", "sem_seg_head_t.", 1): value + 1
        for key, value in original.items()
    }
    report, output = convert_small(
        tmp_path, {"model": {**original, **teacher}}, text_tower, byte_pair_file, weights=weights
    )
    exported = export_original_state_dict(output)
    assert_same(exported, original if weights == "student" else {key: value + 1 for key, value in original.items()})
    assert set(report.dropped) == set(teacher if weights == "student" else original)
    assert f"taken: {weights}" in str(report)


def test_an_incomplete_teacher_is_an_error(original):
    teacher = {
        key.replace("backbone.", "backbone_t.", 1): value
        for key, value in original.items()
        if key.startswith("backbone.")
    }
    with pytest.raises(ValueError, match="sem_seg_head.predictor.cls_temp.weight"):
        convert_state_dict({**original, **teacher}, weights="teacher", config=small_config())
    with pytest.raises(ValueError, match="`weights` is 'teacher', but"):
        convert_state_dict(original, weights="teacher", config=small_config())
    with pytest.raises(ValueError, match=r"`weights` must be one of \['student', 'teacher'\], got 'ema'"):
        convert_state_dict(original, weights="ema", config=small_config())


def test_text_tower_files_of_clip_and_regionclip(original, text_tower):
    expected, _ = convert_state_dict(original, text_tower, config=small_config())
    clip = {
        **text_tower,
        "visual.conv1.weight": torch.zeros(1),
        "logit_scale": torch.zeros(()),
        "context_length": torch.tensor(77),
    }
    region_clip = {f"lang_encoder.{key}": value for key, value in text_tower.items()}
    region_clip |= {"backbone.conv1.weight": torch.zeros(1), "roi_heads.box_predictor.weight": torch.zeros(1)}
    for file in (clip, region_clip):
        state_dict, _ = convert_state_dict(original, file, config=small_config())
        assert_same(state_dict, expected)
    with pytest.raises(ValueError, match=r"lang_encoder.extra.weight \(text tower\)"):
        convert_state_dict(
            original, {**region_clip, "lang_encoder.extra.weight": torch.zeros(1)}, config=small_config()
        )


# -------------------------------------------------------------------------------------------------------- error lists


def test_one_error_lists_every_bad_key_and_nothing_is_written(tmp_path, original, text_tower, byte_pair_file):
    bad = dict(original)
    del bad[f"{PREDICTOR}decoder_norm.bias"], bad["backbone.res2.0.conv1.weight"]
    bad["sem_seg_head.predictor.surprise.weight"] = torch.zeros(2)
    bad["optimizer_step"] = torch.zeros(())
    bad[f"{PREDICTOR}query_feat.weight"] = torch.zeros(11, 32)
    bad[f"{PREDICTOR}query_embed.weight"] = torch.zeros(10, 32, dtype=torch.long)
    text_tower.pop("ln_final.bias")
    with pytest.raises(ValueError) as error:
        convert_small(tmp_path, bad, text_tower, byte_pair_file)
    message = str(error.value)
    assert "2 keys unexpected:\n  sem_seg_head.predictor.surprise.weight\n  optimizer_step\n" in message
    assert "3 keys missing:" in message
    assert "backbone.res2.0.conv1.weight [2, 8, 1, 1]" in message
    assert f"{PREDICTOR}decoder_norm.bias [32]" in message
    assert "ln_final.bias (text tower) [16]" in message
    assert "2 keys of the wrong shape or type:" in message
    assert f"{PREDICTOR}query_feat.weight: expected [10, 32], got [11, 32]" in message
    assert f"{PREDICTOR}query_embed.weight: expected floating-point numbers, got torch.int64" in message
    assert sorted(os.listdir(tmp_path)) == ["original.pth", "text.pth"]


def test_values_that_are_no_tensors_are_listed(original):
    original[f"{PREDICTOR}decoder_norm.bias"] = "a string"
    with pytest.raises(ValueError, match="decoder_norm.bias: expected a tensor, got str"):
        convert_state_dict(original, config=small_config())
    with pytest.raises(TypeError, match="`original` must be a dict of tensors, got list"):
        convert_state_dict([1, 2], config=small_config())


def test_unknown_backbones_are_named(original):
    with pytest.raises(ValueError, match=r"found a ResNet of depths \[1, 2, 1, 1\], accepted are 'resnet50'"):
        recognise_backbone(original)
    swin = export_original_state_dict(small_model("swin"))
    with pytest.raises(ValueError, match=r"found a Swin of width 8, depths \[1, 2, 1, 1\], window 4"):
        convert_state_dict(swin)
    with pytest.raises(ValueError, match="found neither .*first keys: a, b"):
        convert_state_dict({"a": torch.zeros(1), "b": torch.zeros(1)})
    with pytest.raises(ValueError, match="`backbone_config.layer_type` must be 'bottleneck'"):
        export_original_state_dict(UniVSForVideoSegmentation(tiny_config()))


def test_files_that_cannot_be_read(tmp_path, text_tower, original, byte_pair_file):
    with pytest.raises(ValueError, match="`checkpoint_path` must be a file"):
        convert_checkpoint(tmp_path / "absent.pth", tmp_path / "out", allow_missing_text_encoder=True)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights here")
    with pytest.raises(ValueError, match="`checkpoint_path`: .*broken.pth could not be read"):
        convert_checkpoint(broken, tmp_path / "out", allow_missing_text_encoder=True)
    listed = save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="`checkpoint_path`: .* must hold a dict of tensors, got list"):
        convert_checkpoint(listed, tmp_path / "out", allow_missing_text_encoder=True)
    program = tmp_path / "program.pt"
    with zipfile.ZipFile(program, "w") as archive:
        archive.writestr("program/constants.pkl", b"")
    with pytest.raises(ValueError, match="`text_encoder_path`: .* is a TorchScript program"):
        convert_small(tmp_path, original, None, byte_pair_file, text_encoder_path=program)


class Payload:
    """Would create a file when unpickled by a loader that executes what it reads."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_nothing_in_a_file_is_executed(tmp_path):
    victim = tmp_path / "victim"
    evil = save({"model": {"weight": Payload(str(victim))}}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="nothing else is executed"):
        read_tensors(evil, "checkpoint_path")
    assert not victim.exists()


def test_missing_text_encoder_is_an_error_or_a_choice(tmp_path, original, byte_pair_file):
    with pytest.raises(ValueError, match=r"`text_encoder_path` \(--text-encoder\) is not given"):
        convert_small(tmp_path, original, None, byte_pair_file)
    report, output = convert_small(tmp_path, original, None, byte_pair_file, allow_missing_text_encoder=True)
    assert report.fresh and all(key.startswith("model.text_encoder.") for key in report.fresh)
    assert "text tower was initialised at random" in str(report)
    assert set(load_file(output / "model.safetensors")) == set(expected_tensors(small_config()))


def test_category_table_of_the_wrong_shape(tmp_path, original, text_tower, byte_pair_file):
    table = save(torch.zeros(12, 16), tmp_path / "table.pth")
    with pytest.raises(ValueError, match=r"shape \[3938, 16\].*got \[12, 16\]"):
        convert_small(tmp_path, original, text_tower, byte_pair_file, category_table_path=table)
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize("form", ["model key", "bare", "old torch file", "safetensors"])
def test_file_forms_give_the_same_directory(tmp_path, original, text_tower, byte_pair_file, form):
    checkpoint = tmp_path / "original.pth"
    if form == "model key":
        torch.save({"model": original, "optimizer": {"state": {}}, "iteration": 7}, checkpoint)
    elif form == "bare":
        torch.save(original, checkpoint)
    elif form == "old torch file":
        torch.save({"model": original}, checkpoint, _use_new_zipfile_serialization=False)
    else:
        checkpoint = tmp_path / "original.safetensors"
        save_file({key: value.contiguous() for key, value in original.items()}, checkpoint)
    convert_checkpoint(
        checkpoint,
        tmp_path / "out",
        text_encoder_path=save(text_tower, tmp_path / "text.pth"),
        tokenizer=byte_pair_file,
        config=small_config(),
    )
    assert_same(export_original_state_dict(tmp_path / "out"), original)
    assert_same(export_text_tower_state_dict(tmp_path / "out"), text_tower)


def test_directory_loads_as_model_and_processor(tmp_path, original, text_tower, byte_pair_file):
    table = torch.randn(3938, 16)
    _, output = convert_small(
        tmp_path, original, text_tower, byte_pair_file, category_table_path=save(table, tmp_path / "table.pth")
    )
    model, loading = UniVSForVideoSegmentation.from_pretrained(output, output_loading_info=True)
    assert not any(loading[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected, _ = convert_state_dict(original, text_tower, table, config=small_config())
    assert_same(dict(model.state_dict()), expected)
    assert model.config.num_category_embeddings == 3938
    assert model.config.architectures == ["UniVSForVideoSegmentation"]
    with safe_open(output / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}

    processor = UniVSProcessor.from_pretrained(output)
    assert processor.image_processor.size["shortest_edge"] == model.config.shortest_edge
    assert processor.tokenizer.pad_token_id == 0


def test_image_processor_carries_the_sizes_of_the_configuration(tmp_path, original, text_tower, byte_pair_file):
    config = small_config(square_size=128, shortest_edge=64, longest_edge=128)
    _, output = convert_small(tmp_path, original, text_tower, byte_pair_file, config=config)
    image_processor = UniVSProcessor.from_pretrained(output).image_processor
    assert image_processor.square_size == 128
    assert dict(image_processor.size) == {"shortest_edge": 64, "longest_edge": 128}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_type_of_the_weights(tmp_path, original, text_tower, byte_pair_file, dtype):
    _, output = convert_small(tmp_path, original, text_tower, byte_pair_file, dtype=dtype)
    expected = getattr(torch, dtype)
    assert {tensor.dtype for tensor in load_file(output / "model.safetensors").values()} == {expected}
    model = UniVSForVideoSegmentation.from_pretrained(output, dtype="auto")
    assert model.dtype == expected
    with pytest.raises(ValueError, match="`dtype` must be one of .* got 'int8'"):
        convert_state_dict(original, dtype="int8", config=small_config())


def test_half_precision_text_tower_becomes_float32(original, text_tower):
    half = {key: value.half() for key, value in text_tower.items()}
    state_dict, _ = convert_state_dict(original, half, config=small_config())
    assert {tensor.dtype for tensor in state_dict.values()} == {torch.float32}


def test_existing_output_is_replaced_only_on_request(tmp_path, original, text_tower, byte_pair_file):
    output = tmp_path / "out"
    output.mkdir()
    convert_small(tmp_path, original, text_tower, byte_pair_file)  # an empty directory is no obstacle
    (output / "old.txt").write_text("old")
    with pytest.raises(ValueError, match="exists already"):
        convert_small(tmp_path, original, text_tower, byte_pair_file)
    convert_small(tmp_path, original, text_tower, byte_pair_file, overwrite=True)
    assert not (output / "old.txt").exists() and (output / "model.safetensors").exists()
    assert sorted(os.listdir(tmp_path)) == ["original.pth", "out", "text.pth"]

    (output / "config.json").unlink()
    with pytest.raises(ValueError, match="holds no model, so it is not replaced"):
        convert_small(tmp_path, original, text_tower, byte_pair_file, overwrite=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds what is being converted"):
        convert_checkpoint(
            tmp_path / "original.pth", tmp_path, allow_missing_text_encoder=True, config=small_config(), overwrite=True
        )
    assert (tmp_path / "original.pth").exists()


def test_a_failure_while_writing_leaves_nothing(tmp_path, original, text_tower, byte_pair_file, monkeypatch):
    _, output = convert_small(tmp_path, original, text_tower, byte_pair_file)
    before = load_file(output / "model.safetensors")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("univs_hf.convert_files.write_safetensors", fail)
    with pytest.raises(OSError, match="disk full"):
        convert_small(tmp_path, original, text_tower, byte_pair_file, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["original.pth", "out", "text.pth"]
    assert_same(load_file(output / "model.safetensors"), before)


def test_safetensors_writer_is_read_back_by_the_library(tmp_path):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "half": torch.ones(3, dtype=torch.float16),
        "scalar": torch.tensor(2.5),
        "view": base[1:3],
        "transposed": base.t(),
        "counter": torch.tensor(7),
        "bfloat": torch.ones(5, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
    }
    expected = {key: value.clone() for key, value in tensors.items()}
    write_safetensors(tensors, tmp_path / "x.safetensors")
    assert tensors == {}
    assert_same(load_file(tmp_path / "x.safetensors"), expected)


# -------------------------------------------------------------------------------------------------------- the way back


def test_files_of_the_original_are_written_and_read_again(tmp_path, original, text_tower, byte_pair_file):
    table = torch.randn(3938, 16)
    _, output = convert_small(
        tmp_path, original, text_tower, byte_pair_file, category_table_path=save(table, tmp_path / "table.pth")
    )
    back = tmp_path / "back"
    paths = {"text_encoder_path": back / "text.pth", "category_table_path": back / "table.pth"}
    write_original_checkpoint(output, back / "model.pth", **paths)
    assert_same(torch.load(back / "model.pth", weights_only=True)["model"], original)
    assert_same(torch.load(back / "text.pth", weights_only=True), text_tower)
    assert torch.equal(torch.load(back / "table.pth", weights_only=True), table)
    # Each file holds its own tensors only.
    sizes = sum(value.numel() * 4 for value in original.values())
    assert (back / "model.pth").stat().st_size < sizes + 512 * len(original)
    assert sorted(os.listdir(back)) == ["model.pth", "table.pth", "text.pth"]

    with pytest.raises(ValueError, match="`checkpoint_path` must be a file to write, .* there already"):
        write_original_checkpoint(output, back / "model.pth")
    with pytest.raises(ValueError, match="`model_or_dir` must be a model or a directory"):
        write_original_checkpoint(back, tmp_path / "x.pth")
    without_table = small_model()
    with pytest.raises(ValueError, match="carries no category table"):
        write_original_checkpoint(without_table, tmp_path / "x.pth", category_table_path=tmp_path / "y.pth")
    assert not (tmp_path / "x.pth").exists()


# ----------------------------------------------------------------------------------------------------------- tokenizer


@pytest.fixture(scope="session")
def clip_tokenizer(shared_dir):
    return build_clip_tokenizer(shared_dir / "parity" / "bpe_simple_vocab_16e6.txt.gz")


@pytest.fixture(scope="session")
def token_fixture(shared_dir) -> tuple[dict, dict[str, torch.Tensor]]:
    parity = shared_dir / "parity"
    return json.loads((parity / "tokenizer.json").read_text()), load_file(parity / "tokenizer.safetensors")


@pytest.fixture(scope="session", params=["built", "saved and loaded"])
def any_tokenizer(request, clip_tokenizer, tmp_path_factory):
    if request.param == "built":
        return clip_tokenizer
    directory = tmp_path_factory.mktemp("tokenizer")
    clip_tokenizer.save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def test_tokenizer_alone_pads_and_cuts_like_the_original(any_tokenizer, token_fixture):
    content, tensors = token_fixture
    for texts, name in ((content["strings"], "tokens_template0"), (content["cleaned"], "tokens_clean_template0")):
        ids = any_tokenizer(
            [normalise_text(f"{text}.") for text in texts],
            padding="max_length",
            truncation=True,
            max_length=77,
            return_tensors="pt",
        )["input_ids"]
        assert torch.equal(ids, tensors[name].long())
    # The fixture holds a text that is cut and has lost its end token.
    assert 49407 not in tensors["tokens_template0"][-1]


def test_tokenizer_serves_the_text_prompts(any_tokenizer, token_fixture):
    content, tensors = token_fixture
    assert torch.equal(
        tokenize_texts(any_tokenizer, [f"{text}." for text in content["strings"]]), tensors["tokens_template0"].long()
    )
    ids = tokenize_templates(any_tokenizer, content["strings"][:3], content["templates"])
    assert torch.equal(ids, tensors["tokens_all_templates_first3"].long())


def test_tokenizer_properties(any_tokenizer):
    assert any_tokenizer.is_fast
    assert len(any_tokenizer) == any_tokenizer.vocab_size == 49408
    ids = (any_tokenizer.bos_token_id, any_tokenizer.eos_token_id, any_tokenizer.pad_token_id)
    assert ids == (49406, 49407, 0)
    assert any_tokenizer.model_max_length == 77
    assert any_tokenizer("a dog!")["input_ids"] == [49406, 320, 1929, 256, 49407]
    batch = any_tokenizer(["a dog", "a"], padding=True)
    assert batch["input_ids"] == [[49406, 320, 1929, 49407], [49406, 320, 49407, 0]]
    assert batch["attention_mask"] == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert any_tokenizer.decode(batch["input_ids"][1]) == "a"


def test_text_that_spells_special_tokens_stays_text(any_tokenizer):
    ids = any_tokenizer("a <|endoftext|> b <|startoftext|>")["input_ids"]
    assert ids.count(49407) == 1 and ids.count(49406) == 1 and ids[-1] == 49407
    # As documented: without its template "!" is the padding token, and an empty text has no end.
    assert any_tokenizer("!")["input_ids"] == [49406, 0]
    assert any_tokenizer("!.")["input_ids"][-1] == 49407
    assert any_tokenizer("")["input_ids"] == [49406]


def test_the_three_sources_give_one_tokenizer(clip_tokenizer, shared_dir, tmp_path):
    vocabulary, merges = read_byte_pair_file(shared_dir / "parity" / "bpe_simple_vocab_16e6.txt.gz")
    CLIPTokenizer(vocab=vocabulary, merges=merges).save_pretrained(tmp_path / "clip")
    clip_tokenizer.save_pretrained(tmp_path / "ours")
    expected = clip_tokenizer.backend_tokenizer.to_str()
    for directory in ("clip", "ours"):
        assert load_clip_tokenizer(tmp_path / directory).backend_tokenizer.to_str() == expected


def test_tokenizer_sources_that_do_not_fit(tmp_path, byte_pair_file):
    with pytest.raises(ValueError, match="`tokenizer`: 'nobody/nothing' could not be loaded"):
        load_clip_tokenizer("nobody/nothing")
    CLIPTokenizer().save_pretrained(tmp_path / "small")
    with pytest.raises(ValueError, match="with 2 tokens, not CLIP's vocabulary"):
        load_clip_tokenizer(tmp_path / "small")
    short = tmp_path / "short.txt"
    short.write_text("# version\na b\n")
    with pytest.raises(ValueError, match="expected a comment line and at least 48894 lines .* got 3 lines"):
        build_clip_tokenizer(short)
    doubled = gzip.decompress(byte_pair_file.read_bytes()).decode().split("\n")
    doubled[2] = doubled[1]
    short.write_text("\n".join(doubled))
    with pytest.raises(ValueError, match="repeats a merge"):
        build_clip_tokenizer(short)
    short.write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(ValueError, match="is not CLIP's byte-pair file"):
        build_clip_tokenizer(short)


def test_tokenizer_errors_come_before_writing(tmp_path, original, text_tower):
    with pytest.raises(ValueError, match="`tokenizer`: 'nobody/nothing'"):
        convert_small(tmp_path, original, text_tower, "nobody/nothing")
    with pytest.raises(ValueError, match="`tokenizer` is not given, and the default cannot be had"):
        convert_small(tmp_path, original, text_tower, None)
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------------- Mask2Former


def small_mask2former(backbone: str, **overrides) -> Mask2FormerForUniversalSegmentation:
    set_seed(1)
    fields = {
        "backbone_config": SMALL_BACKBONES[backbone],
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_dim": 32,
        "encoder_layers": 2,
        "encoder_feedforward_dim": 48,
        "decoder_layers": 4,
        "dim_feedforward": 64,
        "num_attention_heads": 4,
        "num_queries": 10,
    }
    model = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(**{**fields, **overrides})).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "running_var" not in key:
                tensor.add_(0.05 * torch.randn_like(tensor))
    return model


@pytest.fixture
def small_text_config(monkeypatch) -> None:
    """A Mask2Former says nothing about the text tower, which is CLIP RN50x4's: too large for most tests."""
    make_config = convert_mask2former_module._make_config

    def make_small_config(*args):
        config = make_config(*args)
        config.text_config = small_config().text_config
        return config

    monkeypatch.setattr(convert_mask2former_module, "_make_config", make_small_config)


@pytest.mark.parametrize("backbone", SMALL_BACKBONES)
def test_start_from_mask2former(tmp_path, backbone, byte_pair_file, text_tower, small_text_config):
    source = small_mask2former(backbone)
    source.save_pretrained(tmp_path / "source")
    report = convert_mask2former(
        tmp_path / "source",
        tmp_path / "out",
        text_encoder_path=save(text_tower, tmp_path / "text.pth"),
        tokenizer=byte_pair_file,
        num_queries=16,
    )
    model = UniVSForVideoSegmentation.from_pretrained(tmp_path / "out").eval()
    theirs, ours = source.state_dict(), model.state_dict()

    # The encoder computes the same.
    frames = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = source.model.pixel_level_module(frames)
        features = model.encode_frames(frames[None])
    torch.testing.assert_close(features.mask_features[0], expected.decoder_last_hidden_state, atol=1e-5, rtol=1e-4)

    # The decoder's tensors are in their places.
    prefix = "model.transformer_module."
    fused = theirs[f"{prefix}decoder.layers.2.cross_attn.in_proj_weight"]
    parts = [ours[f"model.decoder.layers.2.cross_attn.{part}_proj.weight"] for part in "qkv"]
    assert torch.equal(torch.cat(parts), fused)
    for name in ("self_attn.k_proj.weight", "fc2.bias", "final_layer_norm.weight", "cross_attn.out_proj.bias"):
        assert torch.equal(ours[f"model.decoder.layers.1.{name}"], theirs[f"{prefix}decoder.layers.1.{name}"])
    mask_head = f"{prefix}decoder.mask_predictor.mask_embedder.1.0.weight"
    assert torch.equal(ours["model.decoder.mask_embedder.layers.1.weight"], theirs[mask_head])
    assert torch.equal(ours["model.decoder.layer_norm.weight"], theirs[f"{prefix}decoder.layernorm.weight"])
    assert torch.equal(ours["model.decoder.level_embed.weight"], theirs[f"{prefix}level_embed.weight"])
    for name in ("queries_features.weight", "queries_embedder.weight"):
        assert torch.equal(ours[f"model.decoder.{name}"][:10], theirs[prefix + name])
        assert ours[f"model.decoder.{name}"].shape[0] == 16
        assert ours[f"model.decoder.{name}"][10:].std() > 0

    # Every tensor of both sides is accounted for.
    text_keys = {rule.original for rule in text_tower_rules(model.config)}
    assert set(report.mapped) | set(report.dropped) == set(theirs) | text_keys
    unused = ("num_batches_tracked", "swin.layernorm")
    dropped = {key.split(".")[0] for key in report.dropped if not any(name in key for name in unused)}
    assert dropped == {"class_predictor", "criterion"}
    kinds = ("model.prompt_encoder.", "visual_to_text_projection.", "class_logit_scale", "reid_logit_scale")
    assert report.fresh and all(key.startswith(kinds) or ".prompt_attn" in key for key in report.fresh)
    assert "10 of the source's 10 copied to the first rows, 6 initialised at random" in str(report)


def test_mask2former_with_the_names_of_older_transformers(tmp_path, byte_pair_file, text_tower, small_text_config):
    source = small_mask2former("swin")
    source.save_pretrained(tmp_path / "source")
    encoder = "model.pixel_level_module.encoder."
    old_names = (
        (r"encoder\.swin\.", "encoder."),
        (r"attention\.q_proj", "attention.self.query"),
        (r"attention\.k_proj", "attention.self.key"),
        (r"attention\.v_proj", "attention.self.value"),
        (r"attention\.o_proj", "attention.output.dense"),
        (r"attention\.relative_position_bias\.", "attention.self."),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
    )
    old = {}
    for key, value in load_file(tmp_path / "source" / "model.safetensors").items():
        if "swin.layernorm" in key:
            continue
        name = key
        for pattern, replacement in old_names if key.startswith(encoder) else ():
            name = re.sub(pattern, replacement, name)
        old[name] = value.clone()
        if name.endswith("relative_position_bias_table"):
            old[name.replace("bias_table", "index")] = torch.zeros(16, 16, dtype=torch.long)
    save_file(old, tmp_path / "source" / "model.safetensors", metadata={"format": "pt"})

    report = convert_mask2former(
        tmp_path / "source",
        tmp_path / "out",
        text_encoder_path=save(text_tower, tmp_path / "text.pth"),
        tokenizer=byte_pair_file,
    )
    ours = load_file(tmp_path / "out" / "model.safetensors")
    for key, value in source.state_dict().items():
        if key.startswith(encoder) and "swin.layernorm" not in key:
            assert torch.equal(ours["model.backbone." + key.removeprefix(encoder)], value), key
    assert not any(key.startswith("model.backbone.") for key in report.fresh)


def test_mask2former_start_is_the_same_for_the_same_seed(tmp_path, byte_pair_file, small_text_config):
    small_mask2former("resnet").save_pretrained(tmp_path / "source")
    results = []
    for seed in (3, 3, 4):
        convert_mask2former(
            tmp_path / "source",
            tmp_path / "out",
            tokenizer=byte_pair_file,
            num_queries=4,
            allow_missing_text_encoder=True,
            seed=seed,
            overwrite=True,
        )
        tensors = load_file(tmp_path / "out" / "model.safetensors")
        results.append(tensors["visual_to_text_projection.weight"].clone())
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert tensors["model.decoder.queries_features.weight"].shape[0] == 4  # fewer than the source has


def test_mask2former_of_a_released_size_gets_its_preset(tmp_path):
    _make_config = convert_mask2former_module._make_config
    swin = UniVSConfig.from_preset("swin-tiny").backbone_config.to_dict()
    source = Mask2FormerConfig(backbone_config=SwinConfig(**{**swin, "drop_path_rate": 0.3}))
    config = _make_config(source, 200, 0)
    assert config.backbone_preset == "swin-tiny"
    assert config.num_prev_frames_memory == UniVSConfig.from_preset("swin-tiny").num_prev_frames_memory
    assert config.decoder_layers == 9 and config.num_queries == 200
    with pytest.raises(ValueError, match="pre_norm"):
        _make_config(Mask2FormerConfig(pre_norm=True), 200, 0)


def test_mask2former_errors(tmp_path, byte_pair_file):
    options = {"tokenizer": byte_pair_file, "allow_missing_text_encoder": True}
    with pytest.raises(ValueError, match="`source_dir` must be a directory with the config.json"):
        convert_mask2former(tmp_path / "absent", tmp_path / "out", **options)
    with pytest.raises(ValueError, match="`text_encoder_path`"):
        convert_mask2former(tmp_path, tmp_path / "out", tokenizer=byte_pair_file)
    CLIPTextConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="must hold a Mask2Former, got a model of type 'clip_text_model'"):
        convert_mask2former(tmp_path / "clip", tmp_path / "out", **options)

    source = small_mask2former("resnet")
    source.save_pretrained(tmp_path / "source")
    tensors = load_file(tmp_path / "source" / "model.safetensors")
    tensors = {key: value.clone() for key, value in tensors.items()}
    tensors["surprise"] = torch.zeros(1)
    tensors.pop("model.transformer_module.level_embed.weight")
    tensors["model.transformer_module.decoder.layernorm.bias"] = torch.zeros(5)
    save_file(tensors, tmp_path / "source" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError) as error:
        convert_mask2former(tmp_path / "source", tmp_path / "out", **options)
    message = str(error.value)
    assert "1 key unexpected:\n  surprise" in message
    assert "1 key missing:\n  model.transformer_module.level_embed.weight" in message
    assert "decoder.layernorm.bias: expected [32], got [5]" in message
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------------------------------------------- command line


def parse(*arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_convert_parser(parser.add_subparsers())
    return parser.parse_args(["convert", *map(str, arguments)])


def test_command_line_reports_errors_without_a_traceback(tmp_path, capsys):
    assert run_convert(parse(tmp_path / "absent.pth", tmp_path / "out")) == 2
    assert "--text-encoder" in capsys.readouterr().err
    assert run_convert(parse(tmp_path / "absent.pth", tmp_path / "out", "--allow-missing-text-encoder")) == 2
    assert "`checkpoint_path` must be a file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse("a", "b", "--weights", "ema")
    with pytest.raises(SystemExit):
        parse("a", "b", "--from", "mask2former", "--to-original")
    assert parse("a", "b").func is run_convert


def test_command_line_from_mask2former(tmp_path, capsys, byte_pair_file):
    small_mask2former("resnet").save_pretrained(tmp_path / "source")
    code = run_convert(
        parse(
            tmp_path / "source",
            tmp_path / "out",
            *("--from", "mask2former", "--tokenizer", byte_pair_file, "--allow-missing-text-encoder"),
        )
    )
    printed = capsys.readouterr().out
    assert code == 0 and "initialised at random" in printed and "class_predictor (2)" in printed
    assert (tmp_path / "out" / "model.safetensors").is_file()


# ---------------------------------------------------------------------------------------------- the published R50 size

MEASURE = """
import json, resource, sys, time
import univs_hf.convert_univs_checkpoint, univs_hf.processing_univs, univs_hf.modeling_univs
from univs_hf.convert_univs_checkpoint import add_convert_parser, run_convert
import argparse
parser = argparse.ArgumentParser()
add_convert_parser(parser.add_subparsers())
args = parser.parse_args(sys.argv[1:])
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
code = run_convert(args)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"code": code, "seconds": seconds, "bytes": peak * (1 if sys.platform == "darwin" else 1024)}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the module `resource` measures the memory and Windows has none")
def test_command_line_converts_r50_and_back_in_little_time_and_memory(tmp_path, shared_dir, project_root):
    def random_weights(name: str) -> dict[str, torch.Tensor]:
        return {key: torch.rand(spec["shape"]) for key, spec in key_map(shared_dir, name)["params"]}

    original, text = random_weights("univs_r50_stage3.json"), random_weights("clip_text_rn50x4.json")
    table = torch.rand(3938, 640)
    checkpoint = save({"model": original}, tmp_path / "r50.pth")
    options = [
        *("--text-encoder", save(text, tmp_path / "text.pth")),
        *("--category-table", save(table, tmp_path / "table.pth")),
        *("--tokenizer", shared_dir / "parity" / "bpe_simple_vocab_16e6.txt.gz"),
    ]
    del text
    command = [sys.executable, "-c", MEASURE, "convert", checkpoint, tmp_path / "out", *options]
    result = subprocess.run(list(map(str, command)), cwd=project_root, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout.splitlines()[-1])
    assert measured["code"] == 0, result.stderr
    assert measured["seconds"] < 60
    # Of the UniVS checkpoint alone, although the text tower beside it is twice as large.
    assert measured["bytes"] < 3 * checkpoint.stat().st_size

    back = tmp_path / "back.pth"
    assert run_convert(parse(tmp_path / "out", back, "--to-original")) == 0
    assert_same(torch.load(back, weights_only=True)["model"], original)
    assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")["category_embeddings"], table)
