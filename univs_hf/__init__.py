# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""UniVS for transformers: one model for six video segmentation tasks."""

from ._torchvision_guard import check_torchvision

check_torchvision()

from transformers import (  # noqa: E402
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForUniversalSegmentation,
    AutoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY  # noqa: E402

from .configuration_univs import UniVSConfig  # noqa: E402
from .image_processing_univs import UniVSImageProcessor  # noqa: E402
from .inference_univs import UniVSInferenceSession, propagate  # noqa: E402
from .modeling_univs import UniVSForVideoSegmentation, UniVSModel, UniVSPreTrainedModel  # noqa: E402
from .pipeline_univs import PIPELINE_TASK, VideoSegmentationPipeline  # noqa: E402
from .processing_univs import UniVSProcessor  # noqa: E402

__version__ = "0.1.0"

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
PIPELINE_REGISTRY.register_pipeline(
    PIPELINE_TASK, pipeline_class=VideoSegmentationPipeline, pt_model=AutoModelForUniversalSegmentation
)

__all__ = [
    "UniVSConfig",
    "UniVSForVideoSegmentation",
    "UniVSImageProcessor",
    "UniVSInferenceSession",
    "UniVSModel",
    "UniVSPreTrainedModel",
    "UniVSProcessor",
    "VideoSegmentationPipeline",
    "propagate",
]
