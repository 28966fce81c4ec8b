# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Starts of a run, hand-over between stages, long clips in windows, and the variants of the step."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_processor import text_config, tiny_processor
from training_runs import run_config
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

from univs_hf import convert_mask2former
from univs_hf.training import train

DETECTION_ONLY = {"sot": {"weight": 0}, "grounding": {"weight": 0}}
SHORT = {"schedule": {"max_steps": 2}, "checkpoint": {"every": 2}}


def losses(result):
    return [loss for _, loss in result.losses]


def final_weights(result):
    return load_file(result.model_path / "model.safetensors")


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    """Stage 1: single frames."""
    folder = tmp_path_factory.mktemp("stage1")
    return train(run_config(folder, stage=1, **SHORT, data={"num_frames": 1}))


class TestStarts:
    def test_three_stages_one_after_the_other(self, first_stage, tmp_path):
        """Each stage begins with the weights that the one before ended with; only stage 3 compares windows."""
        start = {"start": str(first_stage.model_path.parent), "processor": None, "config": {}}
        frozen = {**start, "freeze_backbone": 5, "train_only": ["class_logit_scale"]}
        second = train(run_config(tmp_path / "2", **SHORT, model=frozen))
        before, after = final_weights(first_stage), final_weights(second)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed <= {"class_logit_scale"}
        third = train(
            run_config(
                tmp_path / "3",
                stage=3,
                **SHORT,
                model={**start, "start": str(second.model_path)},
                data={"num_frames": 5},
                prompts={"window_frames": 3},
            )
        )
        assert all(np.isfinite(losses(third)))
        terms = [set(entry) for entry in third.history]
        assert all({"loss_reid_interclip", "loss_reid_interclip_aux"} <= names for names in terms)
        assert not any("loss_reid_interclip" in entry for entry in second.history)

    def test_mask2former(self, tmp_path, monkeypatch):
        # A Mask2Former says nothing about the text tower, which is CLIP's large one with its vocabulary.
        make_config = convert_mask2former._make_config

        def with_small_text_tower(*arguments):
            config = make_config(*arguments)
            config.text_config = text_config()
            config.num_text_templates = 3
            return config

        monkeypatch.setattr(convert_mask2former, "_make_config", with_small_text_tower)
        monkeypatch.setattr(convert_mask2former, "build_processor", lambda config, tokenizer: tiny_processor())
        torch.manual_seed(0)
        source = Mask2FormerConfig(
            backbone_config=ResNetConfig(
                embedding_size=8,
                hidden_sizes=[8, 16, 24, 32],
                depths=[1, 1, 1, 1],
                layer_type="basic",
                out_features=["stage1", "stage2", "stage3", "stage4"],
            ),
            feature_size=32,
            mask_feature_size=32,
            hidden_dim=32,
            encoder_layers=1,
            encoder_feedforward_dim=32,
            decoder_layers=4,
            dim_feedforward=64,
            num_attention_heads=4,
            num_queries=6,
        )
        model = Mask2FormerForUniversalSegmentation(source)
        model.save_pretrained(tmp_path / "mask2former")
        changes = {
            "start": str(tmp_path / "mask2former"),
            "processor": None,
            "allow_missing_text_encoder": True,
            "num_queries": 8,
            "train_only": ["class_logit_scale"],
        }
        config = run_config(tmp_path, schedule={"max_steps": 1}, model=changes, data={"datasets": DETECTION_ONLY})
        config.model.config = {}
        result = train(config)
        ours = final_weights(result)
        theirs = model.state_dict()
        name = "pixel_decoder.mask_projection.weight"
        assert torch.equal(ours[f"model.{name}"], theirs["model.pixel_level_module.decoder.mask_projection.weight"])
        assert len(ours["model.decoder.queries_features.weight"]) == 8
        queries = theirs["model.transformer_module.queries_features.weight"]
        assert torch.equal(ours["model.decoder.queries_features.weight"][:6], queries)
        # With nothing given for the text tower, the mistake is told.
        config.output_dir = str(tmp_path / "other")
        config.model.allow_missing_text_encoder = False
        with pytest.raises(ValueError, match="text_encoder"):
            train(config)

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ({"start": "/nowhere"}, "`model.start` must be the directory of a UniVS model"),
            ({"processor": None}, "`model.start` must be given"),
            ({"processor": "/nowhere"}, "`model.processor`: /nowhere holds no processor"),
            ({"config": {"num_querys": 3}}, "Unknown key `model.config.num_querys`.*`model.config.num_queries`"),
            ({"drop_path_rate": 0.3}, "`model.drop_path_rate` must be None for a backbone of type 'resnet'"),
        ],
    )
    def test_refused(self, tmp_path, model, message):
        with pytest.raises(ValueError, match=message):
            train(run_config(tmp_path, model=model))
        assert not (tmp_path / "run" / "checkpoints").exists()

    def test_an_unfinished_run_is_no_start(self, tmp_path):
        (tmp_path / "other" / "checkpoints").mkdir(parents=True)
        with pytest.raises(ValueError, match="of a run that is not finished"):
            train(run_config(tmp_path, model={"start": str(tmp_path / "other")}))


class TestVariants:
    def test_gradient_checkpointing_changes_nothing(self, tmp_path):
        plain = train(run_config(tmp_path / "plain", **SHORT))
        saved = train(run_config(tmp_path / "saved", **SHORT, model={"gradient_checkpointing": True}))
        np.testing.assert_allclose(losses(saved), losses(plain), rtol=1e-5)

    def test_bfloat16(self, tmp_path):
        plain = train(run_config(tmp_path / "plain", **SHORT))
        half = train(run_config(tmp_path / "half", **SHORT, mixed_precision="bf16"))
        np.testing.assert_allclose(losses(half)[0], losses(plain)[0], rtol=0.05)
        assert losses(half) != losses(plain)
        assert all(value.dtype == torch.float32 for value in final_weights(half).values())

    def test_accumulation(self, tmp_path):
        """Two batches of a clip make one update: as many clips as steps times two, and another loss than one clip."""
        result = train(run_config(tmp_path, **SHORT, optimizer={"clips_per_update": 2}))
        state = json.loads((tmp_path / "run/checkpoints/step-00000002/state/trainer.json").read_text())
        assert state["accumulation"] == 2 and sum(state["sampler"]["cursors"].values()) == 4
        assert result.step == 2

    def test_text_tower_can_be_trained(self, first_stage, tmp_path):
        start = {"start": str(first_stage.model_path), "processor": None, "config": {}}
        for train_text in (False, True):
            changes = {**start, "train_text_encoder": train_text}
            result = train(run_config(tmp_path / str(train_text), **SHORT, model=changes))
            before, after = final_weights(first_stage), final_weights(result)
            changed = {name for name in before if not torch.equal(before[name], after[name])}
            assert any(name.startswith("model.text_encoder.") for name in changed) == train_text

    def test_geometry_on_the_device(self, tmp_path):
        here = train(run_config(tmp_path / "here", **SHORT))
        there = train(run_config(tmp_path / "there", **SHORT, data={"geometry_on_device": True}))
        assert losses(here) == losses(there)
