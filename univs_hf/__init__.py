# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""UniVS for transformers: one model for six video segmentation tasks."""

from importlib.util import find_spec

__version__ = "0.1.0"

# Without torch there is no model, but the metrics are there all the same.
if find_spec("torch") is not None:
    from ._torchvision_guard import check_torchvision

    check_torchvision()

    from ._registration import register
    from .configuration_univs import UniVSConfig
    from .image_processing_univs import UniVSImageProcessor
    from .inference_univs import UniVSInferenceSession, propagate
    from .modeling_univs import UniVSForVideoSegmentation, UniVSModel, UniVSPreTrainedModel
    from .pipeline_univs import VideoSegmentationPipeline
    from .processing_univs import UniVSProcessor

    register()

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
