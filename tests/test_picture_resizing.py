# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and compressed masks at another size."""

import io

import numpy as np
import PIL.Image
import pytest

from univs_hf.data.prepare.conversion_log import DamageError
from univs_hf.data.prepare.picture_resizing import (
    check_short_side,
    load_fitting_picture,
    reduce_masks,
    reduced_size,
    resize_picture,
)
from univs_hf.data.prepare.pictures import Picture
from univs_hf.rle import decode_masks, encode_mask

SIZE = (37, 53)


def compressed(masks):
    return [encode_mask(mask)["counts"].encode() for mask in masks]


@pytest.mark.parametrize("new_size", [SIZE, (20, 29), (1, 1), (5, 53), (37, 4), (36, 52)])
def test_masks_take_the_nearest_pixel(new_size):
    """Against indexing of the decoded mask, and against Pillow."""
    rng = np.random.default_rng(0)
    coarse = rng.random((6, 8, 11)) < 0.4
    masks = np.stack([np.kron(mask, np.ones((5, 5)))[: SIZE[0], : SIZE[1]].astype(bool) for mask in coarse])
    masks = np.concatenate([masks, rng.random((3, *SIZE)) < 0.5, np.ones((1, *SIZE), bool)])
    rows = [min(int((n + 0.5) * SIZE[0] / new_size[0]), SIZE[0] - 1) for n in range(new_size[0])]
    columns = [min(int((n + 0.5) * SIZE[1] / new_size[1]), SIZE[1] - 1) for n in range(new_size[1])]
    expected = masks[:, rows][:, :, columns]
    found = reduce_masks(compressed(masks), SIZE, new_size)
    for mask, string, source in zip(expected, found, masks, strict=True):
        if not mask.any():
            assert string is None
            continue
        assert (decode_masks([string], *new_size)[0] == mask).all()
        # The form is the usual one: no run is empty, none is followed by one of its own kind.
        assert string == compressed([mask])[0]
        image = PIL.Image.fromarray(source.astype(np.uint8)).resize(new_size[::-1], PIL.Image.Resampling.NEAREST)
        assert (np.asarray(image).astype(bool) == mask).all()


def test_masks_that_vanish_are_none():
    speck = np.zeros(SIZE, bool)
    speck[0, 0] = True
    whole = np.ones(SIZE, bool)
    found = reduce_masks(compressed([speck, whole, speck]), SIZE, (4, 6))
    assert found[0] is None and found[2] is None
    assert decode_masks([found[1]], 4, 6)[0].all()
    assert reduce_masks([], SIZE, (4, 6)) == []
    with pytest.raises(ValueError, match="`new_size` must not exceed"):
        reduce_masks([], SIZE, (20, 54))


def test_pictures_and_masks_stay_in_register():
    """A bright square and its mask, halved: the picture is bright where the mask is."""
    mask = np.zeros((64, 96), bool)
    mask[16:40, 30:70] = True
    sink = io.BytesIO()
    PIL.Image.fromarray(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, -1)).save(sink, "PNG")
    resized = resize_picture(Picture(sink.getvalue(), (64, 96)), (32, 48))
    assert resized.size == (32, 48)
    with PIL.Image.open(io.BytesIO(resized.data)) as image:
        assert image.format == "PNG" and image.size == (48, 32)
        bright = np.asarray(image)[..., 0] > 127
    assert (decode_masks(reduce_masks(compressed([mask]), (64, 96), (32, 48)), 32, 48)[0] == bright).all()


def test_jpeg_stays_jpeg():
    sink = io.BytesIO()
    PIL.Image.new("RGB", (96, 64), (200, 30, 60)).save(sink, "JPEG")
    with PIL.Image.open(io.BytesIO(resize_picture(Picture(sink.getvalue(), (64, 96)), (16, 24)).data)) as image:
        assert image.format == "JPEG" and image.size == (24, 16)
        assert np.abs(np.asarray(image).astype(int) - (200, 30, 60)).max() <= 3


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1500, 2250), 1024, (1024, 1536)),
        ((2250, 1500), 1024, (1536, 1024)),
        ((1500, 2251), 1024, (1024, 1537)),
        ((800, 900), 1024, (800, 900)),
        ((1500, 2250), None, (1500, 2250)),
    ],
)
def test_short_side(size, short_side, expected):
    assert reduced_size(size, short_side) == expected


def test_short_side_is_checked():
    with pytest.raises(ValueError, match="`short_side` must be at least 1, got 0"):
        check_short_side(0)


def test_other_resolutions_fit_and_other_proportions_do_not(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (120, 80)).save(path)
    picture, resized = load_fitting_picture(path, (80, 120), "video", "")
    assert not resized and picture.data == path.read_bytes()
    for size in ((40, 60), (160, 240), (41, 61)):
        picture, resized = load_fitting_picture(path, size, "video", "")
        assert resized and picture.size == size
        with PIL.Image.open(io.BytesIO(picture.data)) as image:
            assert image.size == size[::-1]
    for size in ((60, 40), (40, 62), (80, 110)):
        with pytest.raises(DamageError, match="80x120") as error:
            load_fitting_picture(path, size, "video", "image 5")
        assert error.value.damage.kind == "size_mismatch"
    with pytest.raises(DamageError, match="does not exist"):
        load_fitting_picture(tmp_path / "none.png", (40, 60), "video", "")
