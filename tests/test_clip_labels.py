# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps from run lengths: which entities share a map, and that each keeps its mask."""

import numpy as np
import pytest
from data_rows import disc, two_disc_row

from univs_hf.data import clip_labels
from univs_hf.data.clip_labels import entities_in_frames, paint_label_maps
from univs_hf.data.row_builder import build_row
from univs_hf.data.schema import Entity, Row, RowError


def row_of(masks: np.ndarray) -> Row:
    """A row with masks (N, T, H, W)."""
    count, num_frames, height, width = masks.shape
    return Row.from_dict(
        build_row(
            key="a/b",
            dataset="a",
            frames=np.zeros((num_frames, height, width, 3), np.uint8),
            entities=[Entity(10 * n) for n in range(count)],
            masks=masks,
        )
    )


def expand(labels: clip_labels.LabelMaps) -> np.ndarray:
    """bool (N, S, H, W)."""
    return np.stack([labels.maps[layer] == label for layer, label in zip(labels.layer, labels.label, strict=True)])


def test_masks_that_do_not_overlap_share_a_map():
    partition = np.random.default_rng(0).integers(0, 7, (3, 20, 30))
    masks = np.stack([partition == n for n in range(1, 7)])
    labels = paint_label_maps(row_of(masks), [0, 1, 2], np.arange(6))
    assert labels.maps.shape == (1, 3, 20, 30) and labels.maps.dtype == np.uint8
    assert sorted(labels.label) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(expand(labels), masks)


def test_overlapping_masks():
    rng = np.random.default_rng(1)
    masks = np.zeros((25, 4, 40, 50), bool)
    for n, frame in np.ndindex(25, 4):
        if rng.random() < 0.7:
            masks[n, frame] = disc(40, 50, rng.uniform((0, 0), (50, 40)), rng.uniform(2, 12))
    labels = paint_label_maps(row_of(masks), [0, 1, 2, 3], np.arange(25))
    np.testing.assert_array_equal(expand(labels), masks)
    # Greedy colouring needs at most one map more than the most conflicts of an entity.
    conflicts = np.einsum("ntyx,mtyx->nm", masks.astype(int), masks.astype(int)) > 0
    assert 1 < len(labels.maps) <= conflicts.sum(1).max()


def test_conflicts_in_any_frame_count():
    masks = np.zeros((3, 2, 10, 10), bool)
    masks[0, :, :5], masks[1, 0, 5:], masks[1, 1, 4:], masks[2, :, :, 9] = True, True, True, True
    masks[2, :, :9] = False
    labels = paint_label_maps(row_of(masks), [0, 1], np.arange(3))
    np.testing.assert_array_equal(expand(labels), masks)
    assert labels.layer[0] != labels.layer[1] and labels.layer[1] != labels.layer[2]
    # In the first frame alone two of them share a map.
    alone = paint_label_maps(row_of(masks), [0], np.arange(3))
    assert alone.layer[0] == alone.layer[1] != alone.layer[2]


def test_nested_masks_and_short_lists_of_pairs(monkeypatch):
    masks = np.stack([disc(40, 50, (25, 20), radius) for radius in range(1, 20)])[:, None]
    whole = paint_label_maps(row_of(masks), [0], np.arange(19))
    assert len(whole.maps) == 19
    np.testing.assert_array_equal(expand(whole), masks)
    monkeypatch.setattr(clip_labels, "_PAIR_CHUNK", 3)
    np.testing.assert_array_equal(paint_label_maps(row_of(masks), [0], np.arange(19)).layer, whole.layer)


def test_more_entities_than_labels():
    masks = np.zeros((300, 1, 10, 30), bool)
    masks[np.arange(300), 0, np.arange(300) // 30, np.arange(300) % 30] = True
    labels = paint_label_maps(row_of(masks), [0], np.arange(300))
    assert labels.maps.shape == (2, 1, 10, 30)
    np.testing.assert_array_equal(expand(labels), masks)


def test_chosen_frames_and_entities():
    row = Row.from_dict(two_disc_row())
    assert entities_in_frames(row, [1]).tolist() == [0]
    assert entities_in_frames(row, [1, 2]).tolist() == [0, 1]
    labels = paint_label_maps(row, [2, 1], np.array([1]))
    assert labels.maps.shape == (1, 2, 60, 80)
    np.testing.assert_array_equal(expand(labels)[0, 0], disc(60, 80, (38, 30), 12))
    assert not expand(labels)[0, 1].any()


def test_damaged_masks():
    row = two_disc_row()
    row["mask_rle"][3] = b"Q"
    read = Row.from_dict(row)
    paint_label_maps(read, [0], np.arange(2))
    with pytest.raises(RowError, match=r"Row 'toy/train/0#0', field `mask_rle`: frames \[2\]: .*end within"):
        paint_label_maps(read, [2], np.arange(2))
