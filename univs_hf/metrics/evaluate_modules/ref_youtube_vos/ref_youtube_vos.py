# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""J and F of Ref-YouTube-VOS, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.refvos import RefYouTubeVOSMetric


class RefYoutubeVos(VideoEvaluation):
    """J and F of Ref-YouTube-VOS: [`RefYouTubeVOSMetric`] behind the interface of `evaluate`."""

    metric_class = RefYouTubeVOSMetric
    prediction_argument = "predictions"
    input_arguments = {
        "expressions": "Expression -> id of the object it speaks of.",
    }
