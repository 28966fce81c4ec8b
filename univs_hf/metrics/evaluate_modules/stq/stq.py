# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""STQ, SQ and AQ of VIPSeg, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.stq import STQMetric


class Stq(VideoEvaluation):
    """STQ, SQ and AQ of VIPSeg: [`STQMetric`] behind the interface of `evaluate`."""

    metric_class = STQMetric
