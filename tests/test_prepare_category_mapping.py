# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Category ids of datasets as indices in a category set."""

from pathlib import Path

import pytest

from univs_hf.data.prepare.category_mapping import map_by_id, map_by_name, map_own
from univs_hf.label_sets import load_label_set

PATH = Path("annotations.json")


def indices(mapping):
    return {number: category.index for number, category in mapping.by_id.items()}


def test_names_with_other_spelling_are_the_same():
    records = [
        {"id": 70, "name": "Traffic_Light"},
        {"id": 5, "name": "wall other merged"},
        {"id": 6, "name": "dragon"},
    ]
    mapping = map_by_name(records, load_label_set("coco_panoptic"), PATH)
    assert indices(mapping) == {70: 9, 5: 131}
    assert (mapping.by_id[70].is_thing, mapping.by_id[5].is_thing) == (True, False)
    assert mapping.category_set == "coco_panoptic" and mapping.sizes == {} and mapping.meta == {}


def test_a_name_that_the_set_has_twice_stands_for_both_in_the_order_of_ids():
    label_set = load_label_set("entityseg_panoptic")
    places = [category.index for category in label_set if category.text == "pipe"]
    assert len(places) == 2
    records = [{"id": 9, "name": "pipe"}, {"id": 4, "name": "pipe"}, {"id": 1, "name": "man"}]
    assert indices(map_by_name(records, label_set, PATH)) == {4: places[0], 9: places[1], 1: 1}


def test_ids_decide_where_a_dataset_is_known_and_names_tell_whether_it_is():
    label_set = load_label_set("entityseg_panoptic")
    by_id = {category.index: category.index for category in label_set}
    records = [{"id": c.index, "name": c.text, "type": "stuff" if c.index == 3 else "thing"} for c in label_set]
    mapping = map_by_id(records, label_set, by_id, PATH)
    assert indices(mapping) == by_id
    assert [number for number, category in mapping.by_id.items() if not category.is_thing] == [3]
    few = [{**record, "name": "x"} if record["id"] < 300 else record for record in records]
    assert indices(map_by_id(few, label_set, by_id, PATH)) == by_id
    many = [{**record, "name": "x"} if record["id"] < 330 else record for record in records]
    with pytest.raises(ValueError, match=r"annotations\.json has other categories .*'x', there 'unknown'.*330 of 644"):
        map_by_id(many, label_set, by_id, PATH)
    with pytest.raises(ValueError, match="has other categories"):
        map_by_id([{"id": 5000, "name": "man"}], label_set, by_id, PATH)


def test_own_categories_are_a_set_in_the_order_of_ids():
    mapping = map_own([{"id": 8, "name": " b "}, {"id": -2, "name": "a", "isthing": 0}], "mine", PATH)
    assert indices(mapping) == {-2: 0, 8: 1} and mapping.sizes == {"mine": 2}
    assert mapping.meta == {
        "category_set": [{"name": "a", "is_thing": False}, {"name": "b", "is_thing": True}],
    }
    for records in ([{"id": "1", "name": "a"}], [{"name": "a"}], ["a"]):
        with pytest.raises(ValueError, match="a category has the id"):
            map_own(records, "mine", PATH)
    with pytest.raises(ValueError, match="has no categories"):
        map_own([], "mine", PATH)
