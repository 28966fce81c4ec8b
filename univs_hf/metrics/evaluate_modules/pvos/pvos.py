# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Mask and boundary IoU of VIPOSeg, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.pvos import PVOSMetric


class Pvos(VideoEvaluation):
    """Mask and boundary IoU of VIPOSeg: [`PVOSMetric`] behind the interface of `evaluate`."""

    metric_class = PVOSMetric
    input_arguments = {
        "reference_frames": "Frame -> ids of the objects whose masks are given there.",
        "object_classes": "Object id -> class.",
    }
