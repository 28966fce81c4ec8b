# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""HOTA of tracks of any class, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.hota import HOTA


class Hota(VideoEvaluation):
    """HOTA of tracks of any class: [`HOTA`] behind the interface of `evaluate`."""

    metric_class = HOTA
