# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Items of all image datasets travel to worker processes and give the same rows there."""

import pickle

import pytest
from image_miniatures import (
    write_ade20k,
    write_coco_panoptic,
    write_entityseg,
    write_lvis,
    write_refcoco,
    write_sa_1b,
)

from univs_hf.data.prepare.conversion_log import ConversionLog
from univs_hf.data.prepare.registry import converter_class

CASES = {
    "coco_panoptic": (write_coco_panoptic, {"min_long_side": 0}),
    "lvis": (write_lvis, {}),
    "refcoco": (write_refcoco, {"min_long_side": 0}),
    "sa_1b": (write_sa_1b, {"short_side": 40}),
    "entityseg_panoptic": (write_entityseg, {"short_side": 24}),
    "ade20k_panoptic": (write_ade20k, {"min_long_side": 0}),
}


@pytest.mark.parametrize("name", CASES)
def test_items_travel_and_are_the_same_on_every_call(name, tmp_path):
    write, options = CASES[name]
    write(tmp_path)
    converter = converter_class(name)(tmp_path, **options)
    here, there = list(converter.items("train", ConversionLog())), list(converter.items("train", ConversionLog()))
    assert here and [item.key for item in here] == [item.key for item in there]
    assert all(item.source_bytes() > 0 for item in here)
    for item, traveller in zip(here, pickle.loads(pickle.dumps(there)), strict=True):
        assert list(traveller.rows(ConversionLog())) == list(item.rows(ConversionLog()))
