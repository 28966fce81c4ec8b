# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J and F of DAVIS 2017 and MOSE, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.vos import DavisMetric


class Davis(VideoEvaluation):
    """J and F of DAVIS 2017 and MOSE: [`DavisMetric`] behind the interface of `evaluate`."""

    metric_class = DavisMetric
