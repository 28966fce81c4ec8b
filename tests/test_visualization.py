# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Overlays, palettes and contact sheets."""

import io

import numpy as np
import pytest
from PIL import Image

from univs_hf.visualization import (
    contact_sheet,
    flatten_masks,
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


def test_overlay_colors_can_be_told_apart():
    """Measured in CIELAB, where 2.3 is what an observer just notices; neither dark nor pale."""
    from univs_hf.visualization import _srgb_to_lab, overlay_colors

    np.testing.assert_allclose(
        _srgb_to_lab(np.array([[1.0, 1, 1], [1, 0, 0], [0, 0, 1]])),
        [[100, 0, 0], [53.2, 80.1, 67.2], [32.3, 79.2, -107.9]],
        atol=0.1,
    )
    lab = _srgb_to_lab(overlay_colors() / 255)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1000 * np.eye(255)
    assert distances[:12, :12].min() > 35 and distances[:32, :32].min() > 20 and distances.min() > 5
    assert lab[:, 0].min() > 45 and lab[:, 0].max() < 90


def test_colors_depend_on_the_id_alone(scene):
    colors = [segment_color(segment_id) for segment_id in range(1, 512)]
    assert colors[255:] == colors[:256] and len(set(colors)) == 255
    frame, segmentation = scene
    both = overlay_segmentation(frame, segmentation, labels=False)
    alone = overlay_segmentation(frame, np.where(segmentation == 2, 2, 0), labels=False)
    np.testing.assert_array_equal(both[segmentation == 2], alone[segmentation == 2])


def test_flat_map_of_overlapping_masks():
    masks = np.zeros((3, 4, 6), dtype=bool)
    masks[0, :2], masks[1, 1:3], masks[2, :, 4:] = True, True, True
    flat = flatten_masks(masks, ids=[4, 9, 300], scores=[0.5, 0.9, 0.5])
    assert flat.tolist() == [
        [4, 4, 4, 4, 4, 4],
        [9, 9, 9, 9, 9, 9],
        [9, 9, 9, 9, 9, 9],
        [0, 0, 0, 0, 300, 300],
    ]
    assert flatten_masks(np.zeros((0, 4, 6), bool), [], []).tolist() == np.zeros((4, 6)).tolist()


def test_names_do_not_cover_one_another():
    """Segments one within the other have the same middle; each name is legible all the same."""
    frame = np.full((240, 320, 3), 100, dtype=np.uint8)
    masks = np.zeros((3, 240, 320), dtype=bool)
    for index, border in enumerate((10, 40, 70)):
        masks[index, border:-border, border:-border] = True
    boxes = []
    for count in (1, 2, 3):
        infos = [{"id": index + 1, "label": "abc", "score": 0.5} for index in range(count)]
        bare = overlay_segmentation(frame, masks[:count], infos, labels=False)
        named = overlay_segmentation(frame, masks[:count], infos)
        # Boxes are filled with the full colour of the segment.
        boxes.append([(named == segment_color(info["id"])).all(-1) & (bare != named).any(-1) for info in infos])
    for index in range(3):
        alone = overlay_segmentation(
            frame, masks[index : index + 1], [{"id": index + 1, "label": "abc", "score": 0.5}]
        )
        expected = (alone == segment_color(index + 1)).all(-1).sum()
        assert boxes[-1][index].sum() == expected > 100


def test_a_long_name_ends_with_an_ellipsis_inside_the_frame():
    frame = np.full((60, 100, 3), 100, dtype=np.uint8)
    mask = np.ones((60, 100), int)
    text = "a man in a red shirt who rides a horse along the beach"
    short = overlay_segmentation(frame, mask, [{"id": 1, "label": text}])
    whole = overlay_segmentation(frame, mask, [{"id": 1, "label": text[:10]}])
    assert (short != whole).any() and short.shape == frame.shape
    filled = (short == segment_color(1)).all(-1)
    columns = np.flatnonzero(filled.any(axis=0))
    assert columns.min() < 8 and columns.max() > 80


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
    fill = np.rint((np.array(segment_color(1)) + 100) / 2).tolist()
    edge = [(channel + 255) // 2 for channel in segment_color(1)]
    assert painted[30, 30].tolist() == fill
    # The outline is inside the segment, two pixels wide.
    assert painted[10, 30].tolist() == painted[11, 30].tolist() == edge
    assert painted[12, 30].tolist() == fill and painted[9, 30].tolist() == [100, 100, 100]
    assert frame.min() == frame.max() == 100


def test_alpha_extremes(scene):
    frame, segmentation = scene
    np.testing.assert_array_equal(overlay_segmentation(frame, segmentation, alpha=0, outline=0, labels=False), frame)
    solid = overlay_segmentation(frame, segmentation, alpha=1, outline=0, labels=False)
    np.testing.assert_array_equal(solid[segmentation == 2], [segment_color(2)] * int((segmentation == 2).sum()))


def test_semantic_maps_have_no_background(scene):
    frame, segmentation = scene
    painted = overlay_segmentation(frame, segmentation, background=None, alpha=1, outline=0, labels=False)
    assert tuple(painted[0, 0]) == segment_color(1) and tuple(painted[20, 20]) == segment_color(2)


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
