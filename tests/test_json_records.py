# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Large JSON files read record by record."""

import json
import tracemalloc

import pytest

from univs_hf.data.layouts.coco_records import CocoRecords
from univs_hf.data.layouts.json_records import iterate_records, read_records_at

CONTENT = {
    "info": {"description": 'quotes " and [brackets], {braces}', "nested": {"list": [1, [2]]}},
    "licenses": [{"id": 1, "name": "CC BY"}],
    "images": [{"id": 7, "name": "Füße 中文 \U0001f600"}, {"id": 12, "text": '\\"]},'}],
    "numbers": [1, 23, 456.75, -0.5, 1e10, None, True],
    "empty": [],
    "texts": ["a,b]", "", "\n\t"],
}


def write(tmp_path, text, name="file.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Every length of block cuts words, numbers, escapes and characters of several bytes at other places.
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 5, 7, 16, 61, 10**6])
@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_records_are_those_of_the_whole_file(tmp_path, block_bytes, options):
    text = json.dumps(CONTENT, **options).encode()
    path = write(tmp_path, text)
    records = list(iterate_records(path, block_bytes))
    expected = [(name, value) for name, values in CONTENT.items() if isinstance(values, list) for value in values]
    assert [(record.array, record.value) for record in records] == expected
    assert [json.loads(text[record.start : record.end]) for record in records] == [value for _, value in expected]
    spans = [place for record in reversed(records) for place in (record.start, record.end)]
    assert read_records_at(path, spans) == [value for _, value in reversed(expected)]


def test_byte_order_mark_and_space_around(tmp_path):
    path = write(tmp_path, b'\xef\xbb\xbf \n {"images" : [ 1 , 2 ] } \n')
    assert [record.value for record in iterate_records(path, 4)] == [1, 2]


@pytest.mark.parametrize("block_bytes", [4, 10**6])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [{"id": 1}, {"id": 2', "byte"),
        ('{"images": [{"id": 1}', "end of the file"),
        ('{"images": [1]', "end of the file"),
        ("", "end of the file"),
        ("[1, 2]", "where '{' should be"),
        ('{"images": [{"id": 1} {"id": 2}]}', "where ',' should be"),
        ('{"images": [{"id" 1}]}', "cannot be read on"),
        ('{"images": [1]} more', "goes on with"),
        ('{"images": ["abc', "cannot be read on"),
        ('{"images" [1]}', "where ':' should be"),
        ("{3: [1]}", "has the key 3"),
    ],
)
def test_damaged_files_are_named_with_the_place(tmp_path, text, message, block_bytes):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as error:
        list(iterate_records(path, block_bytes))
    assert str(path) in str(error.value) and "byte" in str(error.value)


def test_text_that_is_no_utf8(tmp_path):
    path = write(tmp_path, b'{"images": [{"name": "\xff\xfe"}]}')
    with pytest.raises(ValueError, match="UTF-8"):
        list(iterate_records(path))


def test_an_error_far_from_the_end_is_found_without_reading_on(tmp_path):
    """A fault in the first block of many is told at once, not after the rest of the file is in memory."""
    text = '{"images": [{"id" 1}, ' + ", ".join('{"id": 1234567}' for _ in range(200_000)) + "]}"
    path = write(tmp_path, text)
    tracemalloc.start()
    with pytest.raises(ValueError, match="byte 18"):
        list(iterate_records(path, 4096))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for count in (2_000, 20_000):
        records = ", ".join(json.dumps({"id": n, "segmentation": [[float(n)] * 60]}) for n in range(count))
        path = write(tmp_path, f'{{"annotations": [{records}]}}', f"{count}.json")
        tracemalloc.start()
        assert sum(1 for _ in iterate_records(path, 65536)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_records_that_changed(tmp_path):
    path = write(tmp_path, '{"images": [{"id": 1}]}')
    record = next(iterate_records(path))
    write(tmp_path, '{"other": "something else"}')
    with pytest.raises(ValueError, match="has changed"):
        read_records_at(path, (record.start, record.end))


def coco(tmp_path, **changes):
    content = {
        "images": [{"id": 5, "license": 2}, {"id": 3}],
        "annotations": [{"id": 1, "image_id": 3}, {"id": 2, "image_id": 5}, {"id": 3, "image_id": 3}],
        "categories": [{"id": 9, "name": "thing"}],
        "licenses": [{"id": 2, "name": "CC BY"}],
    }
    return write(tmp_path, json.dumps({**content, **changes}))


def test_coco_records_give_annotations_of_each_picture(tmp_path):
    records = CocoRecords(coco(tmp_path))
    assert [record["id"] for record in records.owner_records()] == [5, 3]
    assert records.damages == []
    found = {number: read_records_at(records.path, records.annotation_spans(number)) for number in (5, 3, 77)}
    assert {number: [item["id"] for item in items] for number, items in found.items()} == {5: [2], 3: [1, 3], 77: []}
    assert [records.source_meta(record) for record in records.owner_records()] == [
        {"image_id": 5, "licence": "CC BY"},
        {"image_id": 3},
    ]


def test_coco_records_that_belong_nowhere_are_damage(tmp_path):
    images = [{"id": 5}, {"id": 5}, {"name": "no id"}, 4]
    annotations = [{"id": 8, "image_id": 99}, {"id": 9}, {"id": 2, "image_id": 5}, "text"]
    records = CocoRecords(coco(tmp_path, images=images, annotations=annotations))
    assert [record["id"] for record in records.owner_records()] == [5]
    told = [str(damage) for damage in records.damages]
    assert len(told) == 6 and all(str(records.path) in text for text in told)
    assert sum("99" in text for text in told) == 1
    assert [damage.lost for damage in records.damages] == ["video"] * 3 + ["object"] * 3


def test_coco_file_without_pictures(tmp_path):
    with pytest.raises(ValueError, match="no entries in 'images'"):
        CocoRecords(coco(tmp_path, images=[]))
