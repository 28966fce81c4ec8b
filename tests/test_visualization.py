# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Overlays, palettes and contact sheets."""

import io

import numpy as np
import pytest
from PIL import Image

from univs_hf.visualization import (
    contact_sheet,
    overlay_segmentation,
    save_palette_png,
    segment_color,
    segmentation_palette,
)


@pytest.fixture
def scene():
    frame = np.full((90, 120, 3), 100, dtype=np.uint8)
    segmentation = np.zeros((90, 120), dtype=np.int32)
    segmentation[10:50, 10:60] = 1
    segmentation[40:85, 70:115] = 2
    return frame, segmentation


def test_palette_is_that_of_davis(shared_dir):
    palette = segmentation_palette()
    assert palette[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert palette[8].tolist() == [64, 0, 0]
    assert len(np.unique(palette, axis=0)) == 256
    # A palette annotation made by the authors of DAVIS carries the same colours.
    with Image.open(shared_dir / "clips" / "judo" / "masks" / "00000.png") as image:
        entries = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
        used = np.unique(np.asarray(image))
    np.testing.assert_array_equal(palette[used], entries[used])


def test_colors_of_large_ids_are_never_black():
    assert segment_color(1) == (128, 0, 0)
    assert segment_color(256) == segment_color(1)
    assert all(segment_color(segment_id) != (0, 0, 0) for segment_id in range(1, 1024))


def test_palette_png_round_trip(scene):
    buffer = io.BytesIO()
    save_palette_png(buffer, scene[1])
    with Image.open(buffer) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), scene[1])
        assert np.asarray(image.convert("RGB"))[20, 20].tolist() == [128, 0, 0]
    with pytest.raises(ValueError, match=r"0\.\.300"):
        save_palette_png(buffer, scene[1] * 150)


def test_fill_outline_and_background(scene):
    frame, segmentation = scene
    painted = overlay_segmentation(frame, segmentation, alpha=0.5, outline=2, labels=False)
    assert painted[0, 0].tolist() == [100, 100, 100]
    assert painted[30, 30].tolist() == [114, 50, 50]
    # The outline is inside the segment, two pixels wide.
    assert painted[10, 30].tolist() == painted[11, 30].tolist() == [191, 127, 127]
    assert painted[12, 30].tolist() == [114, 50, 50] and painted[9, 30].tolist() == [100, 100, 100]
    assert frame.min() == frame.max() == 100


def test_alpha_extremes(scene):
    frame, segmentation = scene
    np.testing.assert_array_equal(overlay_segmentation(frame, segmentation, alpha=0, outline=0, labels=False), frame)
    solid = overlay_segmentation(frame, segmentation, alpha=1, outline=0, labels=False)
    np.testing.assert_array_equal(solid[segmentation == 2], [[0, 128, 0]] * int((segmentation == 2).sum()))


def test_semantic_maps_have_no_background(scene):
    frame, segmentation = scene
    painted = overlay_segmentation(frame, segmentation, background=None, alpha=1, outline=0, labels=False)
    assert painted[0, 0].tolist() == [128, 0, 0] and painted[20, 20].tolist() == [0, 128, 0]


def test_stack_of_masks_equals_label_map(scene):
    frame, segmentation = scene
    stack = np.stack([segmentation == 1, segmentation == 2])
    np.testing.assert_array_equal(overlay_segmentation(frame, stack), overlay_segmentation(frame, segmentation))
    infos = [{"id": 7}, {"id": 9}]
    relabelled = np.where(segmentation == 1, 7, np.where(segmentation == 2, 9, 0))
    np.testing.assert_array_equal(overlay_segmentation(frame, stack, infos), overlay_segmentation(frame, relabelled))


def test_labels_are_written_inside_the_frame_on_their_segment(scene):
    frame, segmentation = scene
    bare = overlay_segmentation(frame, segmentation, labels=False)
    named = overlay_segmentation(frame, segmentation, [{"id": 1, "label": "a cat", "score": 0.5}, {"id": 2}])
    changed = (bare != named).any(axis=-1)
    assert changed[10:50, 10:60].sum() > 50 and changed[40:85, 70:115].sum() > 20
    # A longer name changes the picture more; the id alone is written where there is no name.
    longer = overlay_segmentation(frame, segmentation, [{"id": 1, "label": "a cat on a mat"}, {"id": 2}])
    assert (bare != longer).sum() > (bare != named).sum()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 200)])
def test_tiny_and_thin_frames(shape):
    frame = np.zeros((*shape, 3), np.uint8)
    painted = overlay_segmentation(frame, np.ones(shape, int), [{"id": 1, "label": "a rather long name"}])
    assert painted.shape == frame.shape and painted.max() > 0


def test_bad_arguments(scene):
    frame, segmentation = scene
    with pytest.raises(ValueError, match="does not fit"):
        overlay_segmentation(frame, segmentation[:-1])
    with pytest.raises(ValueError, match="uint8"):
        overlay_segmentation(frame.astype(float), segmentation)
    with pytest.raises(ValueError, match="alpha"):
        overlay_segmentation(frame, segmentation, alpha=2)
    with pytest.raises(ValueError, match="1 entries"):
        overlay_segmentation(frame, np.stack([segmentation, segmentation]), [{"id": 1}])
    with pytest.raises(ValueError, match="at least one frame"):
        contact_sheet([])


def test_contact_sheet_places_frames_in_order():
    frames = [np.full((20, 40, 3), 40 * index + 40, np.uint8) for index in range(5)]
    sheet = contact_sheet(frames, columns=3, cell_width=40)
    assert sheet.shape == (2 * 24 + 4, 3 * 44 + 4, 3)
    assert [int(sheet[14, 24 + 44 * index, 0]) for index in range(3)] == [40, 80, 120]
    assert [int(sheet[38, 24 + 44 * index, 0]) for index in range(3)] == [160, 200, 24]
    assert (contact_sheet(frames, columns=3, captions=["0"]) != contact_sheet(frames, columns=3)).any()
