# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Category-guided tasks: the classes of all pixels (VSS), instances (VIS) or both (VPS), found without prompts.

Shape legend: N objects, T frames of a clip, V stored frames, Q queries, K categories, R pixels per visual prompt,
S memory slots, C channels; (h4, w4) stride-4 maps, (Hp, Wp) padded model input. Section numbers refer to the
specification of the published inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .clip_tasks_univs import Clip, ClipTask

if TYPE_CHECKING:
    from .clip_engine_univs import ClipEngine
    from .modeling_univs import UniVSForVideoSegmentation


class SemanticSegmentationTask(ClipTask):
    """Video semantic segmentation (VSS, section B.3): the class of every pixel, clip by clip, without memory.

    Category prompts cannot change the learnable queries, which alone give the result, so none are decoded (C.2).
    """

    def __init__(self, engine: ClipEngine):
        super().__init__(engine)
        if engine.category_embeddings is None:
            raise ValueError("Task 'vss' needs categories: give `categories` (names) or `category_embeddings`.")
        self._maps: dict[int, torch.Tensor] = {}

    @property
    def clip_stride(self) -> int:
        return self.engine.config.num_frames

    def run_clip(self, model: UniVSForVideoSegmentation, clip: Clip) -> None:
        engine = self.engine
        outputs = model.decode_clip(
            clip.features, frame_idx=clip.frame_idx, category_embeddings=engine.category_embeddings
        )
        (maps,) = engine.image_processor.post_process_semantic_segmentation(
            outputs,
            original_sizes=[engine.geometry.original_size],
            resized_sizes=[engine.geometry.resized_size],
            quality_high_logit=engine.config.quality_high_logit,
            quality_low_logit=engine.config.quality_low_logit,
        )
        for position, frame_idx in enumerate(range(clip.start, clip.stop)):
            self._maps[frame_idx] = maps[position].to("cpu", torch.int32)

    def finish_frame(self, frame_idx: int) -> dict[str, Any]:
        segmentation = self._maps.pop(frame_idx)
        names = self.engine.category_names
        return {
            "frame_idx": frame_idx,
            "segmentation": segmentation,
            "segments_info": [
                {"id": label, "label_id": label, "label": names[label], "score": None}
                for label in torch.unique(segmentation).tolist()
            ],
        }
