# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""UniVS model configuration: every constant of the paper and of its published inference settings, by name."""

import copy
import math
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoConfig, CLIPTextConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .packaged_checkpoints import PackagedCheckpointMixin

_BACKBONE_STAGES = ["stage1", "stage2", "stage3", "stage4"]

_RESNET50 = {"layer_type": "bottleneck", "depths": [3, 4, 6, 3], "out_features": _BACKBONE_STAGES}


def _swin(embed_dim: int, depths: list[int], num_heads: list[int], window_size: int) -> dict[str, Any]:
    return {
        "model_type": "swin",
        "embed_dim": embed_dim,
        "depths": depths,
        "num_heads": num_heads,
        "window_size": window_size,
        "drop_path_rate": 0.0,
        "out_features": _BACKBONE_STAGES,
    }


# Width, depth and window of the four released backbones (specification A.1) with the inference settings that the
# released test scripts choose per backbone (specification B.2).
BACKBONE_PRESETS: dict[str, dict[str, Any]] = {
    "resnet50": {
        "backbone_config": {"model_type": "resnet", **_RESNET50},
        "num_prev_frames_memory": 5,
        "max_detections": 35,
    },
    "swin-tiny": {
        "backbone_config": _swin(96, [2, 2, 6, 2], [3, 6, 12, 24], 7),
        "num_prev_frames_memory": 6,
        "max_detections": 50,
    },
    "swin-base": {
        "backbone_config": _swin(128, [2, 2, 18, 2], [4, 8, 16, 32], 12),
        "num_prev_frames_memory": 6,
        "max_detections": 50,
        "square_size": 1024,
        "longest_edge": 1024,
    },
    "swin-large": {
        "backbone_config": _swin(192, [2, 2, 18, 2], [6, 12, 24, 48], 12),
        "num_prev_frames_memory": 6,
        "max_detections": 50,
    },
}

# Published inference values of each task (specification B.2, with the values of the test scripts where they differ
# from the configuration files). A value that is not named here is the field's default.
TASK_PRESETS: dict[str, dict[str, Any]] = {
    "vis": {
        "num_prompt_pixels": 128,
        "class_score_threshold": 0.25,
        "box_nms_threshold": 0.85,
        "new_object_similarity_threshold": 0.1,
        "temporal_consistency_threshold": 0.25,
        "stability_score_threshold": 0.25,
    },
    "vss": {"num_prompt_pixels": 128, "clip_stride": 5},
    "vps": {"num_prompt_pixels": 64, "class_score_threshold": 0.15, "overlap_threshold": 0.6},
    "vos": {"num_prompt_pixels": 256, "temporal_consistency_threshold": 0.5},
    "pvos": {
        "num_prompt_pixels": 256,
        "temporal_consistency_threshold": 0.5,
        "learnable_similarity_threshold": 0.5,
    },
    "refvos": {
        "num_prompt_pixels": 32,
        "temporal_consistency_threshold": 0.5,
        "self_attention_type": "sep-blocked",
        "num_prev_frames_memory": 5,
    },
}

# Where the test scripts treat one backbone differently in one task.
_BACKBONE_TASK_PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("swin-tiny", "vis"): {"square_size": 1024, "longest_edge": 1024},
    ("swin-tiny", "refvos"): {"num_prev_frames_memory": 6},
}

# Fields that are none of inference: what the weights are made for, and what training does with them.
_FIXED_FIELDS = frozenset(
    "backbone_config text_config backbone_preset feature_size mask_feature_size hidden_dim encoder_layers "
    "encoder_feedforward_dim encoder_num_points decoder_layers dim_feedforward num_attention_heads num_queries "
    "activation_function dropout layer_norm_eps num_norm_groups feature_strides common_stride temporal_position_type "
    "max_position_frames position_temperature text_image_attention num_text_templates num_category_embeddings "
    "logit_scale_init_value freeze_backbone_batch_norm freeze_text_encoder init_std init_xavier_std "
    "output_auxiliary_logits class_weight mask_weight dice_weight reid_weight matching_class_weight "
    "matching_mask_weight matching_dice_weight train_num_points oversample_ratio importance_sample_ratio "
    "max_training_objects visual_prompt_probability negative_prompt_ratio prompt_mask_threshold "
    "prompt_point_threshold prompt_point_fallback_threshold prompt_point_box_ratio image_mean image_std "
    "size_divisibility task_settings".split()
)

SELF_ATTENTION_TYPES = ("sep", "sep-blocked", "sep-l2p", "none", "all")
TEMPORAL_POSITION_TYPES = ("absolute", "clip")
QUERY_MODES = ("prompt", "learn", "prompt+learn")


@strict
class UniVSConfig(PackagedCheckpointMixin, PreTrainedConfig):
    r"""
    Configuration of [`UniVSModel`] and [`UniVSForVideoSegmentation`] (UniVS, CVPR 2024). The defaults are those of the
    released ResNet-50 model; [`UniVSConfig.from_preset`] gives the four released backbones and
    [`UniVSConfig.for_task`] the published inference settings of one task.

    Architecture:
        backbone_config (`dict` or `PreTrainedConfig`, *optional*):
            Any transformers backbone with four stages at strides 4, 8, 16 and 32. Defaults to ResNet-50.
        text_config (`dict` or `CLIPTextConfig`, *optional*):
            The CLIP text tower. Defaults to the tower of CLIP RN50x4 (640 wide, 12 layers, 10 heads).
        feature_size, mask_feature_size, hidden_dim (`int`, defaults to 256):
            Channels of the pixel decoder, of the mask features and of the queries. The decoder attends to the pixel
            decoder's maps without a projection, so all three must be equal.
        encoder_layers (`int`, defaults to 6), encoder_feedforward_dim (`int`, defaults to 1024),
        encoder_num_points (`int`, defaults to 4):
            Deformable encoder of the pixel decoder; points sampled per head and level.
        decoder_layers (`int`, defaults to 9), dim_feedforward (`int`, defaults to 2048):
            Unified video mask decoder. The nine layers go three times over the levels at strides 32, 16, 8.
        num_attention_heads (`int`, defaults to 8): Heads of every attention of encoder and decoder.
        num_queries (`int`, defaults to 200): Learnable queries.
        activation_function (`str`, defaults to `"relu"`), dropout (`float`, defaults to 0.0).
        layer_norm_eps (`float`, defaults to 1e-5), num_norm_groups (`int`, defaults to 32).
        feature_strides (`list[int]`, defaults to `[4, 8, 16, 32]`), common_stride (`int`, defaults to 4).
        self_attention_type (`str`, defaults to `"sep"`):
            Who sees whom in the decoder's self-attention: `"sep"` (learnable and prompt queries apart),
            `"sep-blocked"` (each prompt only itself over the frames), `"sep-l2p"` (prompts see everything),
            `"none"` or `"all"` (no separation).
        temporal_position_type (`str`, defaults to `"absolute"`):
            `"absolute"` uses the frame number in the video, `"clip"` the position inside the clip.
        max_position_frames (`int`, defaults to 128): Frames per turn of the temporal sine embedding.
        position_temperature (`float`, defaults to 10000).
        text_image_attention (`bool`, defaults to `True`): Language-to-vision attention of text prompts.
        num_text_templates (`int`, defaults to 81): Sentences over which a text is averaged.
        num_category_embeddings (`int`, defaults to 0):
            Rows of the precomputed category table carried by the checkpoint (3938 in the released models).
        logit_scale_init_value (`float`, defaults to log(1 / 0.07)): Initial log temperature of the classifier.
        freeze_backbone_batch_norm (`bool`, defaults to `True`): Batch norms of the backbone never train.
        freeze_text_encoder (`bool`, defaults to `True`): The text tower takes no gradient.
        init_std (`float`, defaults to 0.02), init_xavier_std (`float`, defaults to 1.0).
        output_auxiliary_logits (`bool`, defaults to `False`): Give the predictions of every decoder layer.

    Visual prompts (specification A.3):
        num_prompt_pixels (`int`, defaults to 32): Pixels sampled per visual prompt and key frame.
        prompt_mask_threshold (`float`, defaults to 0.5): A stride-8 pixel above it belongs to the object.
        prompt_point_threshold (`float`, defaults to 0.75), prompt_point_fallback_threshold (`float`, 0.95),
        prompt_point_box_ratio (`float`, defaults to 0.25):
            Candidates for the central point of a mask prompt: mask value and share of the box around its centre.

    Input size (pixels):
        shortest_edge (`int`, defaults to 640), longest_edge (`int`, defaults to 1333),
        size_divisibility (`int`, defaults to 32), square_size (`int`, *optional*): pad to a square of this side.
        image_mean, image_std (`list[float]`): RGB, in units of 0..255.

    Inference (specification B; thresholds are probabilities, IoUs or cosines unless said otherwise):
        num_frames (`int`, defaults to 5): Frames of a clip.
        clip_stride (`int`, defaults to 1): Frames between the starts of two clips.
        num_frames_window (`int`, defaults to 5): Frames per output window of category-guided tasks.
        num_prev_frames_memory (`int`, defaults to 5): Most recent frames of the prompt memory.
        query_mode (`str`, defaults to `"prompt"`): `"prompt"`, `"learn"` or `"prompt+learn"`.
        class_score_threshold (`float`, defaults to 0.05): Lowest score of a new object.
        first_clip_score_threshold (`float`, defaults to 0.1): Its lower bound in the first clip of VIS.
        stability_score_threshold (`float`, defaults to 0.0): Lowest mask quality of a detection.
        max_detections (`int`, defaults to 35): Detections kept per clip.
        box_nms_threshold (`float`, defaults to 0.75), stuff_nms_threshold (`float`, defaults to 0.6).
        new_object_interval (`int`, defaults to 1): Frames between two searches for new objects.
        new_object_similarity_threshold (`float`, defaults to 0.05): Bi-softmax similarity of a known object.
        new_object_iou_threshold (`float`, defaults to 0.5): Mask IoU from which an object is not new.
        mask_update_similarity_factor (`float`, defaults to 2.0): Times the similarity threshold for a mask update.
        vps_new_object_score_factor (`float`, defaults to 2.0): Times the class threshold after the first clip of VPS.
        max_first_clip_things (`int`, defaults to 70), max_first_clip_stuff (`int`, defaults to 30).
        temporal_consistency_threshold (`float`, defaults to 0.05): Cosine with the stored embeddings.
        overlap_threshold (`float`, defaults to 0.8): Owned share of a panoptic segment.
        entity_overlap_threshold (`float`, defaults to 0.5): Owned share of a tracked instance.
        shown_thing_overlap_factor (`float`, defaults to 0.5), stuff_score_factor (`float`, defaults to 0.75).
        quality_high_logit (`float`, defaults to 1.0), quality_low_logit (`float`, defaults to -1.0):
            Mask quality = pixels above the first / pixels above the second (logits).
        box_iou_min_union (`float`, defaults to 1e-3): Lower bound of a box union (normalised area).
        temporal_weight (`float`, defaults to 5.0): Exponent of the recency weights of stored embeddings.
        min_result_score (`float`, defaults to 0.005), result_score_threshold (`float`, defaults to 0.05),
        result_count_factor (`float`, defaults to 1.5): Which (object, class) results a video keeps.
        vos_acceptance_iou (`float`, defaults to 0.15), vos_acceptance_area (`float`, defaults to 9216 pixels):
            A first prediction needs IoU > `vos_acceptance_iou * min(area / vos_acceptance_area, 1)` with its prompt.
        vos_owned_area_ratio (`float`, defaults to 0.25): Owned share that a tracked object keeps.
        learnable_similarity_threshold (`float`, defaults to 0.65), fusion_iou_threshold (`float`, defaults to 0.5):
            Matching with learnable queries in the other query modes.
        class_temperature (`float`, defaults to 0.06): Softmax temperature over classes in image segmentation.
        image_box_nms_threshold (`float`, 0.9), image_instance_nms_threshold (`float`, 0.85),
        object_mask_threshold (`float`, 0.05), num_semantic_queries (`int`, 200): Image segmentation.
        task_settings (`dict[str, dict[str, Any]]`, *optional*):
            Task -> settings of inference that win over the published ones of the task in [`UniVSConfig.for_task`]. A
            model of another size than the published ones carries here what suits it.

    Training (specification of training, 4 and 5; the released ResNet-50 settings):
        class_weight, mask_weight, dice_weight (`float`, default to 5.0): Weights of the loss terms.
        reid_weight (`float`, defaults to 0.5): Weight of each ReID term; 0.25 with Swin, half of it in stage 3.
        matching_class_weight (`float`, 3.0), matching_mask_weight (`float`, 5.0), matching_dice_weight (`float`, 5.0):
            Weights of the costs of matching learnable queries with objects.
        train_num_points (`int`, defaults to 12544), oversample_ratio (`float`, defaults to 3.0),
        importance_sample_ratio (`float`, defaults to 0.5):
            Points per mask and frame, candidates per point, and share of the points that is chosen for uncertainty.
        max_training_objects (`int`, defaults to 20): Objects, and prompts, of a clip.
        visual_prompt_probability (`float`, defaults to 0.5):
            Batches with categories that are prompted with their objects instead of their categories.
        negative_prompt_ratio (`float`, defaults to 0.25): Prompted categories that a clip lacks, per one that it has.

    Departures from the original (off in the published settings):
        max_inactive_frames (`int`, *optional*): Found objects that no frame has shown for so long leave the memory;
            their ids are not used again. By default they stay for ever, as in the original.
        max_objects (`int`, *optional*): Objects tracked at a time, the best scores first. By default without a bound.
        detect_after_empty_start (`bool`, defaults to `False`): Look for objects although the first clip had none; the
            original then finds nothing in the whole video.
        ignore_blank_masks (`bool`, defaults to `False`): In VPS, an object owns no pixels of a frame for which it has
            no mask, such as the frames of a window before it was found; the original may give it the background there.

    Faults of the original that no published setting shows (off):
        skip_last_clip_frame (`bool`, defaults to `False`): With clips side by side, prompted tasks give no result for
            the last frame of every clip but the last.
    """

    model_type = "univs"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet", init_kwargs=_RESNET50),
        "text_config": SubConfigSpec(
            config_class=CLIPTextConfig,
            init_kwargs={
                "hidden_size": 640,
                "intermediate_size": 2560,
                "projection_dim": 640,
                "num_hidden_layers": 12,
                "num_attention_heads": 10,
                "pad_token_id": 0,
            },
        ),
    }
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "hidden_dim", "num_hidden_layers": "decoder_layers"}

    backbone_config: dict | PreTrainedConfig | None = None
    text_config: dict | CLIPTextConfig | None = None
    backbone_preset: str | None = None

    feature_size: int = 256
    mask_feature_size: int = 256
    hidden_dim: int = 256
    encoder_layers: int = 6
    encoder_feedforward_dim: int = 1024
    encoder_num_points: int = 4
    decoder_layers: int = 9
    dim_feedforward: int = 2048
    num_attention_heads: int = 8
    num_queries: int = 200
    activation_function: str = "relu"
    dropout: float | int = 0.0
    layer_norm_eps: float | int = 1e-5
    num_norm_groups: int = 32
    feature_strides: list[int] | tuple[int, ...] = (4, 8, 16, 32)
    common_stride: int = 4
    self_attention_type: str = "sep"
    temporal_position_type: str = "absolute"
    max_position_frames: int = 128
    position_temperature: float | int = 10000.0
    text_image_attention: bool = True
    num_text_templates: int = 81
    num_category_embeddings: int = 0
    logit_scale_init_value: float | int = math.log(1 / 0.07)
    freeze_backbone_batch_norm: bool = True
    freeze_text_encoder: bool = True
    init_std: float | int = 0.02
    init_xavier_std: float | int = 1.0
    output_auxiliary_logits: bool = False

    num_prompt_pixels: int = 32
    prompt_mask_threshold: float | int = 0.5
    prompt_point_threshold: float | int = 0.75
    prompt_point_fallback_threshold: float | int = 0.95
    prompt_point_box_ratio: float | int = 0.25

    shortest_edge: int = 640
    longest_edge: int = 1333
    size_divisibility: int = 32
    square_size: int | None = None
    image_mean: list[float] | tuple[float, ...] = (123.675, 116.28, 103.53)
    image_std: list[float] | tuple[float, ...] = (58.395, 57.12, 57.375)

    num_frames: int = 5
    clip_stride: int = 1
    num_frames_window: int = 5
    num_prev_frames_memory: int = 5
    query_mode: str = "prompt"
    class_score_threshold: float | int = 0.05
    first_clip_score_threshold: float | int = 0.1
    stability_score_threshold: float | int = 0.0
    max_detections: int = 35
    box_nms_threshold: float | int = 0.75
    stuff_nms_threshold: float | int = 0.6
    new_object_interval: int = 1
    new_object_similarity_threshold: float | int = 0.05
    new_object_iou_threshold: float | int = 0.5
    mask_update_similarity_factor: float | int = 2.0
    vps_new_object_score_factor: float | int = 2.0
    max_first_clip_things: int = 70
    max_first_clip_stuff: int = 30
    temporal_consistency_threshold: float | int = 0.05
    overlap_threshold: float | int = 0.8
    entity_overlap_threshold: float | int = 0.5
    shown_thing_overlap_factor: float | int = 0.5
    stuff_score_factor: float | int = 0.75
    quality_high_logit: float | int = 1.0
    quality_low_logit: float | int = -1.0
    box_iou_min_union: float | int = 1e-3
    temporal_weight: float | int = 5.0
    min_result_score: float | int = 0.005
    result_score_threshold: float | int = 0.05
    result_count_factor: float | int = 1.5
    vos_acceptance_iou: float | int = 0.15
    vos_acceptance_area: float | int = 96.0**2
    vos_owned_area_ratio: float | int = 0.25
    learnable_similarity_threshold: float | int = 0.65
    fusion_iou_threshold: float | int = 0.5
    class_temperature: float | int = 0.06
    image_box_nms_threshold: float | int = 0.9
    image_instance_nms_threshold: float | int = 0.85
    object_mask_threshold: float | int = 0.05
    num_semantic_queries: int = 200
    task_settings: dict[str, dict[str, Any]] | None = None
    class_weight: float | int = 5.0
    mask_weight: float | int = 5.0
    dice_weight: float | int = 5.0
    reid_weight: float | int = 0.5
    matching_class_weight: float | int = 3.0
    matching_mask_weight: float | int = 5.0
    matching_dice_weight: float | int = 5.0
    train_num_points: int = 12544
    oversample_ratio: float | int = 3.0
    importance_sample_ratio: float | int = 0.5
    max_training_objects: int = 20
    visual_prompt_probability: float | int = 0.5
    negative_prompt_ratio: float | int = 0.25
    max_inactive_frames: int | None = None
    max_objects: int | None = None
    detect_after_empty_start: bool = False
    ignore_blank_masks: bool = False
    skip_last_clip_frame: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.feature_strides = list(self.feature_strides)
        self.image_mean = list(self.image_mean)
        self.image_std = list(self.image_std)
        # Called here as well as by the strict dataclass, which would wrap the ValueError in an error of its own.
        self.validate_univs()

    @property
    def num_feature_levels(self) -> int:
        """Levels that the encoder refines and the decoder attends to (strides 32, 16, 8)."""
        return len(self.feature_strides) - 1

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "UniVSConfig":
        """As in transformers. A pipeline that the dictionary names (`custom_pipelines`) is left out.

        transformers asks for `trust_remote_code` wherever a configuration names one, and who has this package
        installed has the pipeline. Code that was copied into a checkpoint's folder keeps the entry, which leads to
        the copy.
        """
        if not __name__.startswith("transformers_modules."):
            config_dict = {name: value for name, value in config_dict.items() if name != "custom_pipelines"}
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "UniVSConfig":
        """Configuration of one released model.

        Args:
            name: `"resnet50"`, `"swin-tiny"`, `"swin-base"` or `"swin-large"`.
            **overrides: Any field of the configuration.

        Raises:
            ValueError: If `name` is none of the four.
        """
        if name not in BACKBONE_PRESETS:
            raise ValueError(f"`name` must be one of {sorted(BACKBONE_PRESETS)}, got {name!r}.")
        return cls(**{"backbone_preset": name, **copy.deepcopy(BACKBONE_PRESETS[name]), **overrides})

    def for_task(self, task: str, **overrides: Any) -> "UniVSConfig":
        """Copy of this configuration with the inference settings of one task.

        These are the published ones, unless `task_settings` has others for the task. The copy has no `task_settings`.

        Args:
            task: `"vis"`, `"vss"`, `"vps"`, `"vos"`, `"pvos"` or `"refvos"`.
            **overrides: Fields that win over the task's settings.

        Raises:
            ValueError: If `task` is none of the six, or a field does not exist, does not hold, or is no setting of
                inference, such as the number of layers.
            TypeError: If a value is of another type than its field.
        """
        if task not in TASK_PRESETS:
            raise ValueError(f"`task` must be one of {list(TASK_PRESETS)}, got {task!r}.")
        settings = dict(TASK_PRESETS[task])
        settings.update(_BACKBONE_TASK_PRESETS.get((self.backbone_preset, task), {}))
        own = (self.task_settings or {}).get(task, {})
        if "clip_stride" in settings:
            # The published stride is that of the published clip: side by side. It stays so with shorter clips.
            settings["clip_stride"] = {"num_frames": self.num_frames, **own, **overrides}["num_frames"]
        settings.update(own)
        # Those given first, so that a mistake is told of them and not of what follows from them.
        settings = {**overrides, **{name: settings[name] for name in settings.keys() - overrides.keys()}}
        config = copy.deepcopy(self)
        config.task_settings = None
        for key, value in settings.items():
            if key not in type(config).__dataclass_fields__:
                raise ValueError(f"`{key}` is not a field of {type(self).__name__}.")
            if key in _FIXED_FIELDS or key not in UniVSConfig.__annotations__:
                raise ValueError(f"`{key}` is a matter of the model or of its training, not a setting of inference.")
            try:
                setattr(config, key, value)
            except StrictDataclassFieldValidationError as error:
                # Its own message takes two lines.
                expected = UniVSConfig.__annotations__[key]
                expected = getattr(expected, "__name__", None) if isinstance(expected, type) else str(expected)
                raise TypeError(f"`{key}` must be {expected}, got {value!r}.") from error
        config.validate_univs()
        return config

    def validate_univs(self) -> None:
        """Raises a `ValueError` that names the field, its value and what is accepted."""
        self._check_positive()
        self._check_choices()
        self._check_ranges()
        self._check_sizes()
        self._check_sub_configs()
        self._check_task_settings()

    def _check_positive(self) -> None:
        for name in (
            "feature_size mask_feature_size hidden_dim encoder_layers encoder_feedforward_dim encoder_num_points "
            "decoder_layers dim_feedforward num_attention_heads num_queries num_norm_groups common_stride "
            "max_position_frames position_temperature num_text_templates num_prompt_pixels shortest_edge "
            "longest_edge size_divisibility num_frames clip_stride num_frames_window num_prev_frames_memory "
            "max_detections new_object_interval max_first_clip_things max_first_clip_stuff "
            "num_semantic_queries layer_norm_eps class_temperature vos_acceptance_area box_iou_min_union "
            "train_num_points max_training_objects"
        ).split():
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be greater than 0, got {getattr(self, name)}.")
        for name in (
            "num_category_embeddings init_std init_xavier_std mask_update_similarity_factor "
            "vps_new_object_score_factor shown_thing_overlap_factor stuff_score_factor temporal_weight "
            "result_count_factor class_weight mask_weight dice_weight reid_weight matching_class_weight "
            "matching_mask_weight matching_dice_weight negative_prompt_ratio"
        ).split():
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")

    def _check_choices(self) -> None:
        for name, accepted in (
            ("self_attention_type", SELF_ATTENTION_TYPES),
            ("temporal_position_type", TEMPORAL_POSITION_TYPES),
            ("query_mode", QUERY_MODES),
        ):
            if getattr(self, name) not in accepted:
                raise ValueError(f"`{name}` must be one of {list(accepted)}, got {getattr(self, name)!r}.")
        if self.backbone_preset is not None and self.backbone_preset not in BACKBONE_PRESETS:
            raise ValueError(
                f"`backbone_preset` must be None or one of {sorted(BACKBONE_PRESETS)}, got {self.backbone_preset!r}."
            )

    def _check_ranges(self) -> None:
        for name in (
            "dropout prompt_mask_threshold prompt_point_threshold prompt_point_fallback_threshold "
            "prompt_point_box_ratio class_score_threshold first_clip_score_threshold stability_score_threshold "
            "box_nms_threshold stuff_nms_threshold new_object_similarity_threshold new_object_iou_threshold "
            "temporal_consistency_threshold overlap_threshold entity_overlap_threshold min_result_score "
            "result_score_threshold vos_acceptance_iou vos_owned_area_ratio learnable_similarity_threshold "
            "fusion_iou_threshold image_box_nms_threshold image_instance_nms_threshold object_mask_threshold "
            "importance_sample_ratio visual_prompt_probability"
        ).split():
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must lie in [0, 1], got {getattr(self, name)}.")
        for name in ("max_inactive_frames", "max_objects"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be None or greater than 0, got {getattr(self, name)}.")
        if self.oversample_ratio < 1:
            raise ValueError(f"`oversample_ratio` must be at least 1, got {self.oversample_ratio}.")
        if self.quality_low_logit > self.quality_high_logit:
            raise ValueError(
                "`quality_low_logit` must not exceed `quality_high_logit`, got "
                f"{self.quality_low_logit} and {self.quality_high_logit}."
            )
        for name in ("image_mean", "image_std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"`{name}` must hold 3 values (RGB, in units of 0..255), got {getattr(self, name)}.")
        if min(self.image_std) <= 0:
            raise ValueError(f"`image_std` must be greater than 0, got {self.image_std}.")

    def _check_sizes(self) -> None:
        if not self.hidden_dim == self.feature_size == self.mask_feature_size:
            raise ValueError(
                "`hidden_dim`, `feature_size` and `mask_feature_size` must be equal (the decoder reads the pixel "
                f"decoder's maps without a projection), got {self.hidden_dim}, {self.feature_size} and "
                f"{self.mask_feature_size}."
            )
        for divisor in ("num_attention_heads", "num_norm_groups"):
            if self.hidden_dim % getattr(self, divisor):
                raise ValueError(
                    f"`hidden_dim` ({self.hidden_dim}) must be divisible by `{divisor}` ({getattr(self, divisor)})."
                )
        if self.hidden_dim % 4:
            raise ValueError(
                "`hidden_dim` must be divisible by 4 (sine and cosine of two axes each take a quarter), got "
                f"{self.hidden_dim}."
            )
        if self.feature_strides != [4, 8, 16, 32] or self.common_stride != 4:
            raise ValueError(
                "`feature_strides` must be [4, 8, 16, 32] and `common_stride` 4 (four-stage backbones), got "
                f"{self.feature_strides} and {self.common_stride}."
            )
        if self.size_divisibility % self.feature_strides[-1]:
            raise ValueError(
                f"`size_divisibility` must be a multiple of {self.feature_strides[-1]} (the largest stride), got "
                f"{self.size_divisibility}."
            )
        if self.longest_edge < self.shortest_edge:
            raise ValueError(
                f"`longest_edge` must be at least `shortest_edge`, got {self.longest_edge} and {self.shortest_edge}."
            )
        if self.square_size is not None:
            if self.square_size <= 0 or self.square_size % self.size_divisibility:
                raise ValueError(
                    f"`square_size` must be None or a positive multiple of `size_divisibility` "
                    f"({self.size_divisibility}), got {self.square_size}."
                )
            if self.longest_edge > self.square_size:
                raise ValueError(
                    f"`longest_edge` must not exceed `square_size` ({self.square_size}), got {self.longest_edge}."
                )
        if self.clip_stride > self.num_frames:
            raise ValueError(
                f"`clip_stride` must not exceed `num_frames` ({self.num_frames}), or frames would be skipped; got "
                f"{self.clip_stride}."
            )

    def _check_sub_configs(self) -> None:
        stages = getattr(self.backbone_config, "out_features", None)
        if stages is None or len(stages) != 4:
            raise ValueError(
                "`backbone_config` must be a transformers backbone with four output stages (strides 4, 8, 16, 32), "
                f"got {type(self.backbone_config).__name__} with out_features={stages}."
            )
        if self.text_config.projection_dim is None:
            raise ValueError("`text_config.projection_dim` must be set: category embeddings have its width.")

    def _check_task_settings(self) -> None:
        for task in self.task_settings or {}:
            if task not in TASK_PRESETS:
                raise ValueError(f"`task_settings` must have some of {list(TASK_PRESETS)} as keys, got {task!r}.")
            try:
                self.for_task(task)
            except (TypeError, ValueError) as error:
                raise type(error)(f"`task_settings` of {task!r}: {error}") from error


__all__ = ["BACKBONE_PRESETS", "TASK_PRESETS", "UniVSConfig"]
