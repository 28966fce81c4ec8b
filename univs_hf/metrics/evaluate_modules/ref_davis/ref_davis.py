# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J and F of Ref-DAVIS 2017, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.refvos import RefDavisMetric


class RefDavis(VideoEvaluation):
    """J and F of Ref-DAVIS 2017: [`RefDavisMetric`] behind the interface of `evaluate`."""

    metric_class = RefDavisMetric
    prediction_argument = "predictions"
