# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Whole recorded runs of the original: their inputs, their random draws, and how to run the engine on them."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from parity_fixtures import Fixture
from torch import Tensor

from univs_hf.clip_engine_univs import ClipEngine, FrameGeometry
from univs_hf.configuration_univs import UniVSConfig
from univs_hf.modeling_univs import UniVSForVideoSegmentation


class RandomTape:
    """Replays the original's random permutations: which point, and which pixels, each mask prompt was given.

    Give it to [`ClipEngine`] as `prompt_sampling`. [`~RandomTape.start_step`] puts it where a step began on the
    recording, so that one draw more or less does not spread to later steps.

    Attributes:
        mismatches: Draws that the recording lacks, because a mask has other pixels there than in the original.
    """

    def __init__(self, fixture: Fixture, num_pixels: int):
        self.fixture, self.num_pixels = fixture, num_pixels
        self.log = fixture.meta["rng_log"]
        self.position = 0
        self.stop = len(self.log)
        self.mismatches = 0

    def start_step(self, step: int) -> None:
        """Goes to the draws of a step."""
        recorded = self.fixture.meta["steps"][step]
        self.position, self.stop = recorded["rng_start"], recorded["rng_end"]

    @property
    def remaining(self) -> int:
        """Draws of the step that have not been asked for."""
        return self.stop - self.position

    def _next(self, caller: str) -> dict | None:
        if self.position < self.stop and self.log[self.position]["caller"] == caller:
            self.position += 1
            return self.log[self.position - 1]
        self.mismatches += 1
        return None

    def __call__(self, frame_idx: int, masks: Tensor) -> Mapping[str, Tensor]:
        points = torch.zeros(1, len(masks), dtype=torch.int64)
        for index in range(len(masks)):
            call = self._next("select_points_from_box_mask")
            if call is not None:
                points[0, index] = int(self.fixture[call["key"]][0])
        small = masks[:, ::8, ::8].flatten(1).float()
        counts = (small >= small.max().clamp(max=0.5)).sum(dim=1)
        pixels = torch.full((1, len(masks), self.num_pixels), -1)
        for index, count in enumerate(counts.tolist()):
            if count < self.num_pixels:
                continue
            call = self._next("get_dense_features")
            if call is None:
                continue
            if call["args"] == [count]:
                pixels[0, index] = self.fixture[call["key"]][: self.num_pixels]
            else:
                self.mismatches += 1
        # Draws for objects that are smaller here than in the original are passed over.
        while self.position < self.stop and self.log[self.position]["caller"] == "get_dense_features":
            self.position += 1
            self.mismatches += 1
        return {"point_ranks": points, "pixel_ranks": pixels}


def recorded_frames(fixture: Fixture, config: UniVSConfig) -> tuple[Tensor, FrameGeometry]:
    """Model inputs (T, 3, Hp, Wp) and the sizes of a fixture, whose frames already have the size of the model."""
    pixels = fixture["images_u8"].float()
    pixels = (pixels - torch.tensor(config.image_mean).view(3, 1, 1)) / torch.tensor(config.image_std).view(3, 1, 1)
    height, width = pixels.shape[-2:]
    settings = fixture.settings
    if settings["lsj_square_enabled"]:
        padded = (settings["lsj_image_size"],) * 2
    else:
        step = settings["size_divisibility"]
        padded = (-(-height // step) * step, -(-width // step) * step)
    pixels = F.pad(pixels, (0, padded[1] - width, 0, padded[0] - height))
    return pixels, FrameGeometry(tuple(fixture.meta["output_size"]), (height, width), padded)


def run_recorded(
    fixture: Fixture,
    model: UniVSForVideoSegmentation,
    engine: ClipEngine,
    pixels: Tensor,
    before_decoding: Callable[[int, dict], None] | None = None,
    after_decoding: Callable[[int, dict, object], None] | None = None,
) -> list[dict]:
    """Results of the engine on `pixels` (T, 3, Hp, Wp), with a look at every clip step.

    The tape, if the engine has one, is put where each step began on the recording.

    Args:
        before_decoding, after_decoding: Called with the number of the step and the keyword arguments of
            `decode_clip`, and after it with its output too.
    """
    decode_clip, run_clip = model.decode_clip, engine.task.run_clip
    starts = [step["first_frame_idx"] for step in fixture.meta["steps"]]
    step = -1

    def recorded_run_clip(model, clip):
        nonlocal step
        step = starts.index(clip.start)
        if isinstance(engine.prompt_sampling, RandomTape):
            engine.prompt_sampling.start_step(step)
        run_clip(model, clip)

    def recorded_decode_clip(features, **kwargs):
        if before_decoding is not None:
            before_decoding(step, kwargs)
        outputs = decode_clip(features, **kwargs)
        if after_decoding is not None:
            after_decoding(step, kwargs, outputs)
        return outputs

    model.decode_clip, engine.task.run_clip = recorded_decode_clip, recorded_run_clip
    try:
        results = []
        for frame in pixels:
            results += engine.step(model, frame)
        return results + engine.finish(model)
    finally:
        del model.decode_clip, engine.task.run_clip
