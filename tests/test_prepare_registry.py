# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Every dataset that training names can be prepared, and converters are what the registry says."""

import inspect

import pytest

from univs_hf.data.mixtures import BACKBONES, RECIPES, STAGES, stage_mixture
from univs_hf.data.prepare.registry import CONVERTERS, converter_class


def test_training_datasets_have_converters():
    named = {
        entry.dataset
        for recipe in RECIPES
        for stage in STAGES
        for backbone in BACKBONES
        for entry in stage_mixture(recipe, stage, backbone).entries
    }
    assert len(named) == 12 and named <= set(CONVERTERS)


@pytest.mark.parametrize("name", CONVERTERS)
def test_converter_has_the_registered_id_and_its_options(name):
    converter = converter_class(name)
    assert converter.name == name
    assert not converter.splits or set(converter.default_splits) <= set(converter.splits)
    parameters = inspect.signature(converter.__init__).parameters
    taken = {key: parameter.default for key, parameter in parameters.items() if key not in ("self", "root")}
    # The command line passes all options by name; their defaults are those of Python.
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        assert taken == {option.name: option.default for option in converter.options}


def test_unknown_dataset_is_named():
    with pytest.raises(ValueError, match="'coco_vido'"):
        converter_class("coco_vido")
