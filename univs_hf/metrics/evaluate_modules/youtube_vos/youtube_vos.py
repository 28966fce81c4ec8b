# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""G of YouTube-VOS, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.vos import YouTubeVOSMetric


class YoutubeVos(VideoEvaluation):
    """G of YouTube-VOS: [`YouTubeVOSMetric`] behind the interface of `evaluate`."""

    metric_class = YouTubeVOSMetric
    input_arguments = {
        "first_frames": "Object id -> frame of its first mask.",
        "seen": "Object id -> whether its category was seen in training.",
    }
