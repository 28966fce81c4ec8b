# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures keep their bytes; broken ones are found; EXIF turns are applied or taken out."""

import io

import numpy as np
import pytest
from data_rows import ramp
from PIL import Image

from univs_hf.data.prepare.conversion_log import DamageError
from univs_hf.data.prepare.pictures import load_picture

HEIGHT, WIDTH = 40, 64


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(ramp(HEIGHT, WIDTH))


def exif(turn: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = turn
    data[0x010E] = "a description"
    return data.tobytes()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "grey.jpg", "cmyk.jpg"])
@pytest.mark.parametrize("size", [None, (HEIGHT, WIDTH)])
def test_bytes_are_kept(tmp_path, picture, name, size):
    mode = {"grey": "L", "cmyk": "CMYK"}.get(name.split(".")[0], "RGB")
    path = tmp_path / name
    picture.convert(mode).save(path, **({"exif": exif(1), "comment": b"kept"} if name == "a.jpg" else {}))
    loaded = load_picture(path, size)
    assert loaded.data == path.read_bytes() and loaded.size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_found(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (100, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamageError, match="cannot be decoded") as caught:
        load_picture(path, lost="video", where="image 7")
    damage = caught.value.damage
    assert (damage.kind, damage.path, damage.lost, damage.where) == ("unreadable_file", str(path), "video", "image 7")


def test_a_jpeg_without_its_last_bytes_is_found(tmp_path, picture):
    path = tmp_path / "a.jpg"
    picture.save(path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DamageError, match="truncated"):
        load_picture(path)


def test_missing_files_other_files_and_other_sizes(tmp_path, picture):
    with pytest.raises(DamageError, match="does not exist") as caught:
        load_picture(tmp_path / "a.jpg")
    assert caught.value.damage.kind == "missing_file"
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(DamageError, match="it is no picture") as caught:
        load_picture(tmp_path / "a.jpg")
    assert caught.value.damage.kind == "unreadable_file"
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(DamageError, match="cannot be read"):
        load_picture(tmp_path / "folder.jpg")
    picture.save(tmp_path / "b.jpg")
    with pytest.raises(DamageError, match="is 40x64, its annotations are 64x64") as caught:
        load_picture(tmp_path / "b.jpg", (64, 64))
    assert caught.value.damage.kind == "size_mismatch"


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_turned_pictures_are_turned(tmp_path, picture, turn, suffix):
    path = tmp_path / f"a{suffix}"
    picture.save(path, exif=exif(turn), **({"quality": 95} if suffix == ".jpg" else {}))
    pixels = ramp(HEIGHT, WIDTH)
    expected = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels),
    }[turn]
    loaded = load_picture(path, expected.shape[:2])
    assert loaded.size == expected.shape[:2]
    result = opened(loaded.data)
    assert 0x0112 not in result.getexif() and result.format == ("JPEG" if suffix == ".jpg" else "PNG")
    assert np.abs(np.asarray(result.convert("RGB")).astype(int) - expected).max() <= (8 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_turn_that_annotations_ignore_is_taken_out(tmp_path, picture, suffix):
    path = tmp_path / f"a{suffix}"
    picture.save(path, exif=exif(6))
    loaded = load_picture(path, (HEIGHT, WIDTH))
    result = opened(loaded.data)
    assert loaded.size == (HEIGHT, WIDTH) and 0x0112 not in result.getexif()
    # Not a pixel is computed anew.
    assert np.array_equal(np.asarray(result), np.asarray(Image.open(path)))


def test_other_formats_are_encoded_anew(tmp_path, picture):
    picture.save(tmp_path / "a.bmp")
    loaded = load_picture(tmp_path / "a.bmp")
    result = opened(loaded.data)
    assert result.format == "JPEG"
    assert np.abs(np.asarray(result).astype(int) - ramp(HEIGHT, WIDTH)).max() <= 8
