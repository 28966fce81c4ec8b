# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The row schema: round trip, views into Arrow, validation, and rows from arrays."""

import io
import json
import pickle

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
from data_rows import disc, two_disc_row

from univs_hf.data.row_builder import build_row, write_parquet
from univs_hf.data.row_validation import validate_row
from univs_hf.data.schema import ARROW_SCHEMA, FEATURES, Entity, Expression, Row, RowError, rows_to_table
from univs_hf.rle import decode_masks, encode_mask


@pytest.fixture(scope="module")
def row() -> dict:
    return two_disc_row()


def load(path, tmp_path) -> datasets.Dataset:
    return datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))


def decoded(row: Row, frame: int) -> dict[int, np.ndarray]:
    masks = row.masks_of_frames([frame])
    strings = [
        masks.data[first:end].tobytes() for first, end in zip(masks.offsets[:-1], masks.offsets[1:], strict=True)
    ]
    return dict(zip(masks.entity.tolist(), decode_masks(strings, row.height, row.width), strict=True))


def test_round_trip_through_parquet(row, tmp_path):
    other = two_disc_row(
        key="toy/train/1#0",
        num_frames=1,
        neg_categories=[1],
        not_exhaustive_categories=[],
        meta={"licence": "none"},
        exhaustive=True,
        fps=12.5,
        time_index=[30],
    )
    assert write_parquet([row, other], tmp_path / "train.parquet") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.parquet"]
    rows = load(tmp_path / "train.parquet", tmp_path)
    assert rows.features == FEATURES
    assert list(rows) == [row, other]
    read = Row(rows.with_format("arrow")[1])
    assert (read.key, read.dataset, read.category_set) == ("toy/train/1#0", "toy", "ovis")
    assert read.tasks == ("detection", "sot", "grounding") and read.is_image and read.exhaustive and read.fps == 12.5
    assert read.neg_categories.tolist() == [1] and read.not_exhaustive_categories.tolist() == []
    assert read.meta == {"licence": "none"} and read.time_index.tolist() == [30]
    assert read.entities[1] == Entity(5, category=7) and read.video is None
    assert read.expressions[0] == Expression(100, 1, "the disc on the right")
    first = Row(rows.with_format("arrow")[0])
    assert first.neg_categories is None and first.meta == {} and not first.exhaustive
    for read, source in ((first, row), (Row.from_dict(row), row)):
        assert [bytes(read.frame_bytes(frame)) for frame in range(6)] == source["frames"]
        validate_row(read)


def test_pictures_are_not_compressed_twice(row, tmp_path):
    write_parquet([row] * 40, tmp_path / "rows.parquet")
    meta = pq.read_metadata(tmp_path / "rows.parquet")
    columns = {
        meta.row_group(0).column(i).path_in_schema: meta.row_group(0).column(i) for i in range(meta.num_columns)
    }
    assert columns["frames.list.element"].compression == "UNCOMPRESSED"
    assert columns["mask_rle.list.element"].compression == "ZSTD"
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [16, 16, 8]


def test_nothing_half_written(row, tmp_path):
    def rows():
        yield row
        raise OSError("the source broke off")

    with pytest.raises(OSError, match="broke off"):
        write_parquet(rows(), tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


def test_masks_by_frame(row):
    masks = np.zeros((2, 6, 60, 80), bool)
    for frame in range(6):
        masks[0, frame] = disc(60, 80, (24 + frame, 30), 12)
        masks[1, frame] = disc(60, 80, (36 + frame, 30), 12) & (frame != 1)
    read = Row.from_dict(row)
    assert read.mask_offsets.tolist() == [0, 2, 3, 5, 7, 9, 11]
    for frame in range(6):
        found = decoded(read, frame)
        assert sorted(found) == ([0] if frame == 1 else [0, 1])
        for entity, mask in found.items():
            np.testing.assert_array_equal(mask, masks[entity, frame])
    several = read.masks_of_frames([4, 1, 1])
    assert several.frame.tolist() == [0, 0, 1, 2] and several.entity.tolist() == [0, 1, 0, 0]
    assert len(read.masks_of_frames([])) == 0


def test_frames_without_masks():
    frame_masks = [(3, 0, disc(60, 80, (9, 9), 5))]
    read = Row.from_dict(two_disc_row(masks=None, frame_masks=frame_masks, num_frames=6))
    assert read.mask_offsets.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert [len(read.masks_of_frames([frame])) for frame in range(6)] == [0, 0, 0, 1, 0, 0]
    masks = read.masks_of_frames([0, 3, 5])
    assert masks.frame.tolist() == [1] and masks.offsets.tolist() == [0, len(masks.data)]
    nothing = Row.from_dict(two_disc_row(masks=None))
    assert nothing.num_masks == 0 and len(nothing.masks_of_frames([0, 5])) == 0


def test_frames_and_masks_are_views(row, tmp_path):
    """Addresses lie within the memory map: nothing was copied on the way."""
    write_parquet([row, row, row], tmp_path / "rows.parquet")
    rows = load(tmp_path / "rows.parquet", tmp_path).with_format("arrow")
    table = rows[2]
    read = Row(table)
    ranges = []
    for name in ("frames", "mask_rle"):
        data = table.column(name).chunk(0).values.buffers()[2]
        ranges.append((data.address, data.address + data.size))
    frame = read.frame_bytes(3)
    assert ranges[0][0] <= frame.address < ranges[0][1]
    masks = read.masks_of_frames([2])
    address = masks.data.__array_interface__["data"][0]
    assert ranges[1][0] <= address < ranges[1][1]
    assert not masks.data.flags.owndata


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"key": ""}, "key", "empty"),
        ({"dataset": ""}, "dataset", "empty"),
        ({"tasks": ["sot", "vis"]}, "tasks", "vis"),
        ({"tasks": ["sot", "sot"]}, "tasks", "distinct"),
        ({"height": 0}, "height", "at least 1, got 0"),
        ({"height": 61}, "frames", "frame 0 is 60x80, the row says 61x80"),
        ({"width": 79}, "frames", "frame 0 is 60x80, the row says 60x79"),
        ({"num_frames": 5}, "time_index", r"one entry per frame \(5\), got 6"),
        ({"fps": float("nan")}, "fps", "finite"),
        ({"time_index": [0, 1, 2, 2, 3, 4]}, "time_index", "increase"),
        ({"frames": []}, "frames", "empty, and `video` is null"),
        ({"video": b"x"}, "video", "must be null"),
        ({"category_set": "animals"}, "category_set", "'animals' is not known"),
        ({"category_set": ""}, "entities", "entity 0 has category 3, but the row has no category set"),
        ({"mask_offsets": [0, 2, 3, 5, 7, 9]}, "mask_offsets", "7 entries, got 6"),
        ({"mask_offsets": [0, 2, 3, 5, 4, 9, 11]}, "mask_offsets", "not fall"),
        ({"mask_offsets": [0, 2, 3, 5, 7, 9, 10]}, "mask_offsets", r"number of masks \(11\), got 10"),
        ({"mask_entity": [0] * 10}, "mask_entity", "10 entries for 11 masks"),
        ({"mask_entity": [0, 2, 0, 0, 1, 0, 1, 0, 1, 0, 1]}, "mask_entity", "mask 1 belongs to entity 2"),
        ({"mask_entity": [0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1]}, "mask_entity", "entity 0 has two masks in frame 0"),
        ({"neg_categories": [25]}, "neg_categories", r"category 25 is not in \[0, 25\)"),
        ({"neg_categories": [3]}, "neg_categories", "an entity has it"),
        ({"not_exhaustive_categories": [-1]}, "not_exhaustive_categories", "category -1"),
        ({"meta": "[1"}, "meta", "not JSON"),
        ({"meta": "[1]"}, "meta", "must be a JSON object"),
        ({"height": "tall"}, "height", "does not fit int32"),
        ({"heigth": 1}, "heigth", "not a column"),
    ],
)
def test_faults_name_row_and_field(row, changes, field, reason):
    with pytest.raises(RowError, match=f"Row '{changes.get('key', row['key'])}', field `{field}`.*{reason}") as caught:
        validate_row({**row, **changes})
    assert caught.value.field == field


def test_faults_in_lists(row):
    def check(field: str, index: int, reason: str, **values) -> None:
        items = [dict(item) for item in row[field]]
        items[index].update(values)
        with pytest.raises(RowError, match=reason):
            validate_row({**row, field: items})

    check("entities", 0, "id 5 occurs more than once", id=5)
    check("entities", 0, "at least 0, got -4", id=-4)
    check("entities", 1, "entity 1 has category 25, but 'ovis' has 25", category=25)
    check("entities", 1, "entity 1 has category -2", category=-2)
    check("entities", 1, "`category` is null for 1", category=None)
    check("expressions", 2, "expression 102 points to entity 2, but there are 2", entity=2)
    check("expressions", 2, "expression 102 has no text", text=" ")
    check("expressions", 2, "id occurs more than once", id=100)
    with pytest.raises(RowError, match="field `key`: is missing"):
        rows_to_table([{name: value for name, value in row.items() if name != "key"}])


def test_damaged_masks(row):
    def check(reason: str, string: bytes | None) -> None:
        strings = list(row["mask_rle"])
        strings[2] = string
        with pytest.raises(RowError, match=f"field `mask_rle`.*{reason}"):
            validate_row({**row, "mask_rle": strings})

    check("frame 1: .*do not fill 4800 pixels", encode_mask(np.ones((60, 81)))["counts"].encode())
    check("frame 1: .*end within", b"Q")
    check("frame 1: .*character", b"\x00")
    check("null", None)
    strings = [row["mask_rle"][0], b"Q", *row["mask_rle"][2:]]
    validate_row({**row, "mask_rle": strings}, check_masks=False)


def test_damaged_pictures(row):
    frames = list(row["frames"])
    frames[4] = b"no picture"
    with pytest.raises(RowError, match="field `frames`: frame 4 is not a picture"):
        validate_row({**row, "frames": frames})
    validate_row({**row, "frames": frames}, check_frames=False)
    sink = io.BytesIO()
    PIL.Image.new("RGB", (80, 59)).save(sink, "PNG")
    with pytest.raises(RowError, match="frame 4 is 59x80"):
        validate_row({**row, "frames": [*frames[:4], sink.getvalue(), frames[5]]})


def test_own_category_sets(row):
    validate_row({**row, "category_set": "animals"}, category_sizes={"animals": 8})
    with pytest.raises(RowError, match="'animals' has 7"):
        validate_row({**row, "category_set": "animals"}, category_sizes={"animals": 7})


def test_errors_cross_processes(row):
    error = pickle.loads(pickle.dumps(RowError("a/b", "meta", "is not JSON")))
    assert str(error) == "Row 'a/b', field `meta`: is not JSON" and error.key == "a/b"


def test_access_errors(row):
    read = Row.from_dict(row)
    with pytest.raises(IndexError, match=r"\[0, 6\), got 6"):
        read.frame_bytes(6)
    with pytest.raises(IndexError, match=r"\[0, 6\), got -1"):
        read.masks_of_frames([-1])
    with pytest.raises(IndexError, match=r"\[0, 1\), got 1"):
        Row(rows_to_table([row]), 1)
    with pytest.raises(ValueError, match="lacks the columns"):
        Row(rows_to_table([row]).drop_columns(["meta"]))


def test_three_ways_to_give_masks():
    first, second = disc(40, 50, (12, 20), 8), disc(40, 50, (36, 20), 8)
    masks = np.zeros((2, 2, 40, 50), bool)
    masks[0, 0], masks[1, 0], masks[1, 1] = first, second, second
    label_maps = np.stack([first + 2 * second, 2 * second])
    frame_masks = [(1, 1, encode_mask(second)["counts"]), (0, 1, second), (0, 0, first), (1, 0, np.zeros((40, 50)))]
    common = {
        "key": "a/b",
        "dataset": "a",
        "frames": np.zeros((2, 40, 50, 3), np.uint8),
        "entities": [Entity(1), Entity(2)],
    }
    rows = [build_row(**common, masks=masks), build_row(**common, label_maps=label_maps)]
    rows.append(build_row(**common, frame_masks=frame_masks))
    assert rows[0] == rows[1] == rows[2]
    assert rows[0]["mask_offsets"] == [0, 2, 3] and rows[0]["mask_entity"] == [0, 1, 1]
    assert json.dumps(rows[0]["time_index"]) == "[0, 1]"


def test_encoded_pictures_are_kept():
    sink = io.BytesIO()
    PIL.Image.new("RGB", (50, 40), (1, 2, 3)).save(sink, "JPEG")
    row = build_row(key="a/b", dataset="a", frames=[sink.getvalue()])
    assert row["frames"] == [sink.getvalue()] and (row["height"], row["width"]) == (40, 50)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"frames": [np.zeros((4, 5))]}, "frame 0 must be uint8"),
        ({"frames": ["a.jpg"]}, "must be bytes, an array or an image, got str"),
        ({"frames": [b"x"]}, "frame 0 is not a picture"),
        ({"frames": []}, "must be given as `size`"),
        ({"image_format": "GIF"}, "'JPEG' or 'PNG', got 'GIF'"),
        ({"masks": np.zeros((1, 1, 4, 6))}, r"\(1, 1, 4, 5\), got \(1, 1, 4, 6\)"),
        ({"label_maps": np.zeros((2, 4, 5), int)}, r"\(1, 4, 5\), got \(2, 4, 5\)"),
        ({"label_maps": np.full((1, 4, 5), 2)}, "frame 0: .*0 to 1, got 2 to 2"),
        ({"frame_masks": [(1, 0, b"d0")]}, "for frame 1, but there are 1"),
        ({"frame_masks": [(0, 0, np.zeros((4, 4)))]}, r"entity 0 in frame 0 must have shape \(4, 5\), got \(4, 4\)"),
        ({"frame_masks": [(0, 3, np.ones((4, 5)))]}, "mask 0 belongs to entity 3"),
        ({"masks": np.zeros((1, 1, 4, 5)), "frame_masks": []}, "not as masks and frame_masks"),
    ],
)
def test_builder_refuses(changes, reason):
    options = {"frames": [np.zeros((4, 5, 3), np.uint8)], "entities": [Entity(0)]}
    with pytest.raises(RowError, match=f"Row 'a/b'.*{reason}"):
        build_row(key="a/b", dataset="a", **{**options, **changes})


def test_schema_metadata_restores_features():
    assert datasets.Features.from_arrow_schema(ARROW_SCHEMA) == FEATURES
