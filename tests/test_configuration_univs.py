# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
import dataclasses
from typing import Any

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoConfig, CLIPTextConfig, ConvNextConfig, SwinConfig

from univs_hf import UniVSConfig
from univs_hf.configuration_univs import BACKBONE_PRESETS, TASK_PRESETS

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def test_defaults_are_the_released_resnet50() -> None:
    config = UniVSConfig()
    assert config.backbone_config.model_type == "resnet"
    assert config.backbone_config.depths == [3, 4, 6, 3]
    assert config.backbone_config.out_features == STAGES
    assert (config.text_config.hidden_size, config.text_config.num_attention_heads) == (640, 10)
    assert (config.num_queries, config.hidden_dim, config.decoder_layers, config.encoder_layers) == (200, 256, 9, 6)
    assert config.hidden_size == 256 and config.num_hidden_layers == 9


@pytest.mark.parametrize(
    ("name", "width", "window"),
    [("resnet50", None, None), ("swin-tiny", 96, 7), ("swin-base", 128, 12), ("swin-large", 192, 12)],
)
def test_presets(name: str, width: int | None, window: int | None) -> None:
    config = UniVSConfig.from_preset(name)
    assert config.backbone_preset == name
    if width is not None:
        assert (config.backbone_config.embed_dim, config.backbone_config.window_size) == (width, window)
        assert config.backbone_config.drop_path_rate == 0
    assert UniVSConfig.from_preset(name, num_queries=7).num_queries == 7


def test_presets_do_not_share_state() -> None:
    first = UniVSConfig.from_preset("swin-tiny")
    first.backbone_config.depths[0] = 99
    assert UniVSConfig.from_preset("swin-tiny").backbone_config.depths[0] == 2


def test_unknown_preset_and_task() -> None:
    with pytest.raises(ValueError, match="resnet50.*got 'resnet101'"):
        UniVSConfig.from_preset("resnet101")
    with pytest.raises(ValueError, match="vis.*got 'sot'"):
        UniVSConfig().for_task("sot")
    with pytest.raises(ValueError, match="not_a_field"):
        UniVSConfig().for_task("vis", not_a_field=1)


def test_task_settings_are_the_published_ones() -> None:
    config = UniVSConfig.from_preset("resnet50")
    vis = config.for_task("vis")
    assert (vis.class_score_threshold, vis.box_nms_threshold, vis.num_prompt_pixels) == (0.25, 0.85, 128)
    assert config.for_task("vss").clip_stride == config.num_frames == 5
    assert config.for_task("vss", num_frames=3).clip_stride == 3, "clips of VSS lie side by side"
    assert UniVSConfig(num_frames=2).for_task("vss").clip_stride == 2
    assert config.for_task("vps").overlap_threshold == 0.6
    assert config.for_task("vos").num_prompt_pixels == 256
    assert config.for_task("refvos").self_attention_type == "sep-blocked"
    assert config.class_score_threshold == 0.05, "for_task must not change the configuration it is called on"
    assert config.for_task("vis", class_score_threshold=0.2).class_score_threshold == 0.2
    assert UniVSConfig.from_preset("swin-tiny").for_task("vis").square_size == 1024
    assert UniVSConfig.from_preset("swin-tiny").for_task("refvos").num_prev_frames_memory == 6


def test_settings_of_a_task_are_those_of_inference() -> None:
    """What would have no effect, or belongs to the weights, is refused; a wrong type is told in one line."""
    config = UniVSConfig()
    for name, value in {"num_queries": 7, "decoder_layers": 3, "class_weight": 1.0, "id2label": {0: "a"}}.items():
        with pytest.raises(ValueError, match=f"`{name}` is a matter of the model"):
            config.for_task("vis", **{name: value})
    for task, name, value in (
        ("vss", "num_frames", "abc"),
        ("vos", "max_objects", "3"),
        ("vis", "shortest_edge", 1.5),
    ):
        with pytest.raises(TypeError, match=f"`{name}` must be int.*, got {value!r}") as failure:
            config.for_task(task, **{name: value})
        assert "\n" not in str(failure.value)


def test_settings_of_a_checkpoint_stand_between_the_published_ones_and_the_users(tmp_path: Any) -> None:
    own = {"vis": {"class_score_threshold": 0.1}, "vss": {"num_frames": 2}}
    UniVSConfig(task_settings=own).save_pretrained(tmp_path)
    config = UniVSConfig.from_pretrained(tmp_path)
    assert config.task_settings == own
    vis = config.for_task("vis")
    assert (vis.class_score_threshold, vis.box_nms_threshold, vis.task_settings) == (0.1, 0.85, None)
    assert config.for_task("vis", class_score_threshold=0.3).class_score_threshold == 0.3
    assert config.for_task("vos").class_score_threshold == UniVSConfig().for_task("vos").class_score_threshold
    # Clips of VSS lie side by side, whoever chose their length.
    assert config.for_task("vss").clip_stride == 2
    assert config.for_task("vss", num_frames=4).clip_stride == 4
    assert config.task_settings == own, "for_task must not change the configuration it is called on"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sot": {}}, ValueError, "`task_settings` must have some of .*'vis'.* as keys, got 'sot'"),
        ({"vis": {"num_queries": 7}}, ValueError, "`task_settings` of 'vis': `num_queries` is a matter of the model"),
        ({"vis": {"nothing": 7}}, ValueError, "`task_settings` of 'vis': `nothing` is not a field"),
        ({"vis": {"num_frames": "3"}}, TypeError, "`task_settings` of 'vis': `num_frames` must be int, got '3'"),
        ({"vos": {"num_frames": 0}}, ValueError, "`task_settings` of 'vos': `num_frames` must be greater than 0"),
        ({"vis": {"task_settings": {}}}, ValueError, "`task_settings` of 'vis': `task_settings` is a matter"),
    ],
)
def test_settings_of_a_checkpoint_are_checked(settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        UniVSConfig(task_settings=settings)


def test_every_preset_names_fields_only() -> None:
    fields = {field.name for field in dataclasses.fields(UniVSConfig)}
    for preset in (*BACKBONE_PRESETS.values(), *TASK_PRESETS.values()):
        assert set(preset) <= fields


@pytest.mark.parametrize("name", list(BACKBONE_PRESETS))
def test_round_trip(name: str, tmp_path: Any) -> None:
    config = UniVSConfig.from_preset(name, num_queries=17, self_attention_type="sep-l2p")
    config.save_pretrained(tmp_path)
    for loaded in (UniVSConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert isinstance(loaded, UniVSConfig)
        assert {**loaded.to_dict(), "_name_or_path": ""} == config.to_dict()


def test_sub_configs_as_dict_and_as_object() -> None:
    backbone = {"model_type": "swin", "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
    config = UniVSConfig(
        backbone_config={**backbone, "out_features": STAGES}, text_config={"hidden_size": 64, "num_attention_heads": 2}
    )
    assert isinstance(config.backbone_config, SwinConfig) and config.backbone_config.embed_dim == 24
    assert isinstance(config.text_config, CLIPTextConfig) and config.text_config.hidden_size == 64
    other = UniVSConfig(backbone_config=ConvNextConfig(out_features=STAGES))
    assert other.backbone_config.model_type == "convnext"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("self_attention_type", "separate", "`self_attention_type` must be one of"),
        ("temporal_position_type", "FixedT", "`temporal_position_type` must be one of"),
        ("query_mode", "both", "`query_mode` must be one of"),
        ("backbone_preset", "resnet18", "`backbone_preset` must be None or one of"),
        ("class_score_threshold", -0.1, r"`class_score_threshold` must lie in \[0, 1\], got -0.1"),
        ("box_nms_threshold", 1.5, r"`box_nms_threshold` must lie in \[0, 1\], got 1.5"),
        ("num_queries", 0, "`num_queries` must be greater than 0"),
        ("num_category_embeddings", -1, "`num_category_embeddings` must not be negative"),
        ("size_divisibility", 24, "`size_divisibility` must be a multiple of 32"),
        ("square_size", 1000, "`square_size` must be None or a positive multiple"),
        ("square_size", 1024, "`longest_edge` must not exceed `square_size`"),
        ("longest_edge", 100, "`longest_edge` must be at least `shortest_edge`"),
        ("hidden_dim", 128, "must be equal"),
        ("num_attention_heads", 7, r"must be divisible by `num_attention_heads` \(7\)"),
        ("num_norm_groups", 48, "must be divisible by `num_norm_groups`"),
        ("feature_strides", [8, 16, 32, 64], "`feature_strides` must be"),
        ("clip_stride", 6, "`clip_stride` must not exceed `num_frames`"),
        ("image_std", [1.0, 0.0, 1.0], "`image_std` must be greater than 0"),
        ("image_mean", [1.0], "`image_mean` must hold 3 values"),
        ("quality_low_logit", 2.0, "`quality_low_logit` must not exceed"),
        ("backbone_config", {"model_type": "swin"}, "four output stages"),
        ("text_config", {"projection_dim": None}, "`text_config.projection_dim` must be set"),
    ],
)
def test_bad_values_name_field_value_and_what_is_accepted(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UniVSConfig(**{field: value})


def test_bad_types_are_rejected() -> None:
    with pytest.raises(StrictDataclassFieldValidationError, match="num_queries"):
        UniVSConfig(num_queries="many")
    with pytest.raises(StrictDataclassFieldValidationError, match="text_image_attention"):
        UniVSConfig().text_image_attention = "yes"
