# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Published mixtures: shares of the draws as the specification lists them, and how each dataset is sampled."""

import pytest

from univs_hf.data.clip_geometry import Augmentation
from univs_hf.data.mixtures import stage_mixture

# Training specification, section 2.1, in percent: lvis, ovis, ytvis21, entityseg, coco, vipseg, refcoco, ref-ytvos,
# sa-1b, ytvos18, mose, burst.
ORDER = ("lvis", "ovis", "ytvis21", "entityseg_panoptic", "coco_panoptic", "vipseg", "refcoco", "ref_ytvos")
ORDER += ("sa_1b", "ytvos18", "mose", "burst")
PERCENT = {
    ("released", 1, None): (11.1, 0, 0, 22.2, 22.2, 0, 22.2, 0, 22.2, 0, 0, 0),
    ("released", 2, None): (4.1, 9.6, 6.8, 13.7, 6.8, 13.7, 13.7, 9.6, 6.8, 6.8, 4.1, 4.1),
    ("released", 2, "swin-base"): (4.1, 9.6, 6.8, 13.7, 6.8, 13.7, 13.7, 9.6, 6.8, 6.8, 4.1, 4.1),
    ("released", 3, "resnet50"): (4.1, 9.6, 6.8, 13.7, 6.8, 13.7, 9.6, 13.7, 6.8, 6.8, 4.1, 4.1),
    ("released", 3, "swin-base"): (3.7, 8.6, 6.2, 12.3, 6.2, 12.3, 18.5, 12.3, 6.2, 6.2, 3.7, 3.7),
    ("paper", 1, None): (14.3, 0, 0, 0, 28.6, 0, 28.6, 0, 28.6, 0, 0, 0),
    ("paper", 2, None): (7.0, 9.9, 7.0, 0, 14.1, 14.1, 9.9, 9.9, 7.0, 7.0, 7.0, 7.0),
    ("paper", 3, "swin-large"): (7.0, 9.9, 7.0, 0, 14.1, 14.1, 9.9, 9.9, 7.0, 7.0, 7.0, 7.0),
}


@pytest.mark.parametrize("which", PERCENT)
def test_shares_of_the_draws(which):
    probabilities = stage_mixture(*which).probabilities
    assert sum(probabilities.values()) == pytest.approx(1)
    assert set(probabilities) == {name for name, percent in zip(ORDER, PERCENT[which], strict=True) if percent}
    for name, percent in zip(ORDER, PERCENT[which], strict=True):
        assert 100 * probabilities.get(name, 0) == pytest.approx(percent, abs=0.05), name


def test_frames():
    by_name = {entry.dataset: entry for entry in stage_mixture("paper", 2).entries}
    assert by_name["ovis"].sampling(3).video_range == 6
    assert {by_name[name].sampling(3).video_range for name in ("ytvos18", "mose", "burst")} == {20}
    assert {by_name[name].sampling(3).video_range for name in ("ytvis21", "vipseg", "ref_ytvos")} == {40}
    assert by_name["sa_1b"].sampling(3).image_length == (16, 48) and by_name["lvis"].sampling(3).image_length is None
    swin_base = {entry.dataset: entry for entry in stage_mixture("released", 3, "swin-base").entries}
    assert swin_base["ytvis21"].frame_range == 20 and swin_base["ovis"].frame_range is None
    assert {entry.task for entry in by_name.values()} == {"detection", "sot", "grounding"}
    assert {entry.dataset for entry in by_name.values() if entry.task == "grounding"} == {"refcoco", "ref_ytvos"}


def test_sa_1b_is_always_square():
    by_name = {entry.dataset: entry for entry in stage_mixture("paper", 2).entries}
    kept = Augmentation(square_size=None)
    assert by_name["sa_1b"].augmentation(kept).square_size == 1024
    assert by_name["lvis"].augmentation(kept) is kept
    small = Augmentation(square_size=640)
    assert by_name["sa_1b"].augmentation(small) is small


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("best", 1), "`recipe`"), (("paper", 4), "`stage`"), (("paper", 1, "vit"), "`backbone`")],
)
def test_unknown(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        stage_mixture(*arguments)
