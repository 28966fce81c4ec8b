# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VPQ of VIPSeg, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.vps import VPQMetric


class Vpq(VideoEvaluation):
    """VPQ of VIPSeg: [`VPQMetric`] behind the interface of `evaluate`."""

    metric_class = VPQMetric
