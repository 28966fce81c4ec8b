# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Makes the Auto classes and the pipelines of transformers know UniVS."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForUniversalSegmentation,
    AutoProcessor,
    AutoTokenizer,
    AutoVideoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import is_torchvision_available

from .configuration_univs import UniVSConfig
from .image_processing_univs import UniVSImageProcessor
from .modeling_univs import UniVSForVideoSegmentation, UniVSModel
from .packaged_checkpoints import accept_packaged_names
from .pipeline_univs import PIPELINE_TASK, VideoSegmentationPipeline
from .processing_univs import UniVSProcessor


def register() -> None:
    """Registers the classes, once or again."""
    AutoConfig.register("univs", UniVSConfig, exist_ok=True)
    AutoModel.register(UniVSConfig, UniVSModel, exist_ok=True)
    AutoModelForUniversalSegmentation.register(UniVSConfig, UniVSForVideoSegmentation, exist_ok=True)
    # One class serves with and without torchvision; named for one of them only, the library warns about the other.
    AutoImageProcessor.register(
        UniVSConfig,
        slow_image_processor_class=UniVSImageProcessor,
        fast_image_processor_class=UniVSImageProcessor,
        exist_ok=True,
    )
    AutoProcessor.register(UniVSConfig, UniVSProcessor, exist_ok=True)
    accept_packaged_names(
        AutoConfig,
        AutoFeatureExtractor,
        AutoImageProcessor,
        AutoModel,
        AutoModelForUniversalSegmentation,
        AutoProcessor,
        AutoTokenizer,
    )
    # Without torchvision the class only stands for what is missing.
    if is_torchvision_available():
        accept_packaged_names(AutoVideoProcessor)
    PIPELINE_REGISTRY.register_pipeline(
        PIPELINE_TASK, pipeline_class=VideoSegmentationPipeline, pt_model=AutoModelForUniversalSegmentation
    )
