# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Which parameters are trained, with which rate and decay, and the average of the weights."""

import pytest
import torch
from tiny_config import tiny_model
from torch import nn
from transformers import ConvNextConfig, SwinConfig

from univs_hf.training.config import EmaConfig, ModelConfig, OptimizerConfig
from univs_hf.training.ema import WeightAverage
from univs_hf.training.freezing import set_trainable_parameters, training_mode
from univs_hf.training.optimizer import make_optimizer, parameter_groups, set_learning_rate

STAGES = ["stage1", "stage2", "stage3", "stage4"]


@pytest.fixture(scope="module")
def swin_model():
    backbone = SwinConfig(
        embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 1, 1], window_size=4, drop_path_rate=0.3,
        use_absolute_embeddings=True, image_size=32, out_features=STAGES,
    )  # fmt: skip
    return tiny_model(backbone_config=backbone)


def frozen(model, **values):
    config = ModelConfig(**values)
    set_trainable_parameters(model, config)
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def of_backbone(names):
    return {name.removeprefix("model.backbone.") for name in names if name.startswith("model.backbone.")}


class TestFreezing:
    def test_text_tower_only_by_default(self):
        model = tiny_model()
        assert {name.split(".")[1] for name in frozen(model)} == {"text_encoder"}
        assert frozen(model, train_text_encoder=True) == set()

    def test_stages_of_a_resnet(self):
        model = tiny_model()
        for amount, stages in ((1, []), (3, ["0", "1"]), (4, ["0", "1", "2"])):
            names = of_backbone(frozen(model, freeze_backbone=amount))
            assert any(name.startswith("embedder.") for name in names)
            assert {name.split(".")[2] for name in names if name.startswith("encoder.")} == set(stages)
        everything = of_backbone(name for name, _ in model.named_parameters())
        assert of_backbone(frozen(model, freeze_backbone=5)) == everything

    def test_stages_of_a_swin(self, swin_model):
        names = of_backbone(frozen(swin_model, freeze_backbone=4))
        assert any(name.startswith("swin.embeddings.") for name in names)
        assert {name.split(".")[3] for name in names if name.startswith("swin.encoder.")} == {"0", "1", "2"}
        every = of_backbone(name for name, _ in swin_model.named_parameters())
        names = of_backbone(frozen(swin_model, freeze_backbone=5))
        # The norms of the four outputs go on.
        assert {name.split(".")[0] for name in every - names} == {"hidden_states_norms"}

    def test_frozen_stages_have_no_stochastic_depth(self, swin_model):
        training_mode(swin_model, ModelConfig(freeze_backbone=4))
        layers = swin_model.model.backbone.swin.encoder.layers
        assert [layer.training for layer in layers] == [False, False, False, True]
        assert not layers[2].blocks[1].training and swin_model.model.decoder.training

    def test_other_backbones(self):
        backbone = ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_features=STAGES)
        model = tiny_model(backbone_config=backbone)
        assert of_backbone(frozen(model, freeze_backbone=5))

    def test_patterns(self):
        model = tiny_model()
        names = frozen(model, freeze=("model.decoder.layers.0.*",), freeze_pixel_decoder=True)
        assert "model.decoder.layers.0.fc1.weight" in names and "model.decoder.layers.1.fc1.weight" not in names
        assert "model.pixel_decoder.level_embed" in names
        names = frozen(model, train_only=("class_logit_scale", "model.decoder.*"))
        left = {name for name, _ in model.named_parameters()} - names
        assert left and all(name == "class_logit_scale" or name.startswith("model.decoder.") for name in left)
        with pytest.raises(ValueError, match="`model.freeze`: no parameter is named 'decoder.*'"):
            frozen(model, freeze=("decoder.*",))
        with pytest.raises(ValueError, match="leave no parameter"):
            frozen(model, freeze=("*",))


class TestGroups:
    def test_rates_and_decay(self, swin_model):
        set_trainable_parameters(swin_model, ModelConfig())
        config = OptimizerConfig(learning_rate=1e-3, backbone_multiplier=0.1, weight_decay=0.05)
        found = {}
        for group in parameter_groups(swin_model, config):
            for parameter in group["params"]:
                assert id(parameter) not in found
                found[id(parameter)] = group["lr"], group["weight_decay"]
        names = dict(swin_model.named_parameters())
        expected = {
            "model.decoder.layers.0.fc1.weight": (1e-3, 0.05),
            "model.decoder.layers.0.fc1.bias": (1e-3, 0.05),
            "model.decoder.layers.0.final_layer_norm.weight": (1e-3, 0.0),
            "model.decoder.layers.0.final_layer_norm.bias": (1e-3, 0.0),
            "model.decoder.queries_features.weight": (1e-3, 0.0),
            "model.decoder.level_embed.weight": (1e-3, 0.0),
            "model.prompt_encoder.visual_embed.weight": (1e-3, 0.0),
            "model.pixel_decoder.level_embed": (1e-3, 0.05),
            "model.pixel_decoder.input_projections.0.1.weight": (1e-3, 0.0),
            "class_logit_scale": (1e-3, 0.0),
            "visual_to_text_projection.weight": (1e-3, 0.05),
            "model.backbone.swin.embeddings.patch_embeddings.projection.bias": (1e-4, 0.05),
            "model.backbone.swin.embeddings.norm.weight": (1e-4, 0.0),
            "model.backbone.hidden_states_norms.stage1.weight": (1e-4, 0.0),
        }
        for name, values in expected.items():
            assert found[id(names[name])] == pytest.approx(values), name
        tables = [name for name in names if "relative_position_bias_table" in name]
        assert tables and all(found[id(names[name])] == pytest.approx((1e-4, 0.0)) for name in tables)
        positions = [name for name in names if name.endswith("embeddings.position_embeddings")]
        assert positions and all(found[id(names[name])][1] == 0.0 for name in positions)
        assert len(found) == sum(parameter.requires_grad for parameter in names.values())

    def test_learning_rate_of_groups(self):
        optimizer = make_optimizer(tiny_model(), OptimizerConfig(learning_rate=1.0))
        base = [group["lr"] for group in optimizer.param_groups]
        assert sorted(set(base)) == [0.1, 1.0]
        for factor in (0.5, 0.1):
            set_learning_rate(optimizer, base, factor)
            assert [group["lr"] for group in optimizer.param_groups] == [rate * factor for rate in base]


class TestAverage:
    def make(self, **values):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        model.bias.requires_grad_(False)
        return model, WeightAverage(model, EmaConfig(enabled=True, **values))

    def test_is_the_moving_average(self):
        model, average = self.make(decay=0.75)
        expected = model.weight.detach().clone().double()
        for step in range(5):
            model.weight.data += step + 1.0
            average.update()
            expected = 0.75 * expected + 0.25 * model.weight.detach().double()
        with average.applied():
            torch.testing.assert_close(model.weight.detach().double(), expected, rtol=1e-6, atol=1e-6)

    def test_weights_come_back_to_the_bit(self):
        model, average = self.make(decay=0.5)
        model.weight.data += 1 / 3
        average.update()
        before = model.weight.detach().clone()
        with pytest.raises(RuntimeError, match="evaluation"), average.applied():
            assert not torch.equal(model.weight, before)
            raise RuntimeError("evaluation failed")
        assert torch.equal(model.weight, before)
        with average.applied():
            first = model.weight.detach().clone()
        with average.applied():
            assert torch.equal(model.weight, first)

    def test_state(self):
        model, average = self.make(decay=0.5)
        model.weight.data += 1.0
        average.update()
        _, other = self.make(decay=0.5)
        other.load_state_dict(average.state_dict())
        assert other.num_updates == 1
        assert torch.equal(other.state_dict()["average"]["weight"], average.state_dict()["average"]["weight"])
        assert set(average.state_dict()["average"]) == {"weight"}
        other.load_state_dict({"num_updates": 2, "average": {"module.weight": torch.ones(2, 3)}})
        with other.applied():
            assert other.num_updates == 2
        with pytest.raises(ValueError, match="other parameters"):
            other.load_state_dict({"num_updates": 1, "average": {"bias": torch.zeros(2)}})

    def test_statistics_of_norms_are_averaged(self):
        model = nn.BatchNorm1d(2)
        average = WeightAverage(model, EmaConfig(enabled=True, decay=0.5))
        model.running_mean.fill_(4.0)
        model.num_batches_tracked.fill_(7)
        average.update()
        with average.applied():
            assert model.running_mean.tolist() == [2.0, 2.0] and model.num_batches_tracked == 7
        assert model.running_mean.tolist() == [4.0, 4.0]
