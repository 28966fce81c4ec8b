# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""MIoU, accuracies and video consistency of VSPW, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.vss import VSSMetric


class Vss(VideoEvaluation):
    """MIoU, accuracies and video consistency of VSPW: [`VSSMetric`] behind the interface of `evaluate`."""

    metric_class = VSSMetric
