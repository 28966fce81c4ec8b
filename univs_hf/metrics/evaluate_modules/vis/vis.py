# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Video AP of YouTube-VIS and OVIS, as a module of the `evaluate` library."""

from univs_hf.metrics.evaluate_front import VideoEvaluation
from univs_hf.metrics.vis import VideoAP


class Vis(VideoEvaluation):
    """Video AP of YouTube-VIS and OVIS: [`VideoAP`] behind the interface of `evaluate`."""

    metric_class = VideoAP
    prediction_argument = "predictions"
    input_arguments = {
        "num_frames": "How many frames every tube must have (*optional*).",
        "prediction_label_maps": "Label maps that predictions refer to by `label` (*optional*).",
        "ground_truth_label_maps": "Label maps that annotations refer to by `label` (*optional*).",
    }
