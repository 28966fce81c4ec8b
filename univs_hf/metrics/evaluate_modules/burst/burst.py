# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""HOTA and track AP of BURST, as a module of the `evaluate` library."""

from univs_hf.metrics.burst import BurstHOTA
from univs_hf.metrics.evaluate_front import VideoEvaluation


class Burst(VideoEvaluation):
    """HOTA and track AP of BURST: [`BurstHOTA`] behind the interface of `evaluate`."""

    metric_class = BurstHOTA
