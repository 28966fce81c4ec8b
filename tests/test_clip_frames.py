# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Decoding of chosen frames: pictures, reduced pictures, and frames of a video by number."""

import io

import av
import numpy as np
import PIL.Image
import pytest
from data_rows import ramp, two_disc_row

from univs_hf.data.clip_frames import decode_frames
from univs_hf.data.row_builder import build_row
from univs_hf.data.schema import Row, RowError


def smooth_picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 17), 128 + 100 * np.cos(y / 13), 128 + 100 * np.sin((x + y) / 23)]
    return np.stack(waves, -1).astype(np.uint8)


def picture_row(*pictures: np.ndarray, image_format: str = "JPEG") -> Row:
    return Row.from_dict(build_row(key="a/b", dataset="a", frames=pictures, image_format=image_format, quality=95))


def grey_video(num_frames: int = 40, gop: int = 12, b_frames: int = 3, codec: str = "libx264") -> bytes:
    """An mp4 whose frame `n` is grey of value `5 n + 20`, with B-frames: stored in another order than shown."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.gop_size, stream.max_b_frames = gop, b_frames
        for frame in range(num_frames):
            picture = np.full((48, 64, 3), 5 * frame + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return sink.getvalue()


def video_row(video: bytes, num_frames: int = 40, size: tuple[int, int] = (48, 64)) -> Row:
    return Row.from_dict(build_row(key="a/b", dataset="a", video=video, num_frames=num_frames, size=size))


def test_chosen_pictures():
    pictures = [np.full((20, 30, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    row = picture_row(*pictures, image_format="PNG")
    found = decode_frames(row, [1, 3])
    assert found.shape == (2, 20, 30, 3) and found.dtype == np.uint8
    assert [int(picture.mean()) for picture in found] == [20, 40]
    np.testing.assert_array_equal(decode_frames(Row.from_dict(two_disc_row()), [5])[0], ramp(60, 80))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(128, 160), (131, 167), (129, 161)])
@pytest.mark.parametrize("reduction", [2, 4, 8, 16])
def test_reduced_pictures_are_means_of_blocks(image_format, size, reduction):
    picture = smooth_picture(*size)
    found = decode_frames(picture_row(picture, image_format=image_format), [0], reduction)[0]
    height, width = -(-size[0] // reduction), -(-size[1] // reduction)
    assert found.shape == (height, width, 3)
    whole = picture[: size[0] // reduction * reduction, : size[1] // reduction * reduction].astype(float)
    means = whole.reshape(size[0] // reduction, reduction, size[1] // reduction, reduction, 3).mean((1, 3))
    difference = np.abs(found[: means.shape[0], : means.shape[1]] - means)
    # The JPEG decoder's scaled transforms and its half-size colours are close to means, PIL's reduction is one.
    assert difference.max() < (1 if image_format == "PNG" else 12), difference.max()
    assert difference.mean() < (0.6 if image_format == "PNG" else 2.5), difference.mean()


def test_fine_patterns_do_not_alias():
    """Stripes of one pixel become grey, which sampling every fourth pixel would not give."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for image_format in ("JPEG", "PNG"):
        found = decode_frames(picture_row(stripes, image_format=image_format), [0], 4)
        assert np.abs(found.astype(int) - 128).max() < 6


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 9)])
def test_tiny_pictures(size):
    for reduction in (1, 2, 4, 8):
        found = decode_frames(picture_row(np.full((*size, 3), 90, np.uint8)), [0], reduction)
        assert found.shape == (1, -(-size[0] // reduction), -(-size[1] // reduction), 3)
        assert np.abs(found.astype(int) - 90).max() < 4


def test_other_modes_become_rgb():
    sink = io.BytesIO()
    PIL.Image.new("L", (6, 4), 77).save(sink, "PNG")
    row = Row.from_dict(build_row(key="a/b", dataset="a", frames=[sink.getvalue()]))
    np.testing.assert_array_equal(decode_frames(row, [0]), np.full((1, 4, 6, 3), 77))


def test_damaged_pictures():
    row = two_disc_row(image_format="JPEG")
    row["frames"][2] = row["frames"][2][:400]
    read = Row.from_dict(row)
    decode_frames(read, [1, 3])
    with pytest.raises(RowError, match="field `frames`: frame 2 cannot be decoded: .*[Tt]runcated"):
        decode_frames(read, [1, 2])
    row = two_disc_row()
    for damaged in (b"", b"nothing", row["frames"][2][:60]):
        with pytest.raises(RowError, match="frame 2 cannot be decoded"):
            decode_frames(Row.from_dict({**row, "frames": [*row["frames"][:2], damaged, *row["frames"][3:]]}), [2])
    with pytest.raises(RowError, match="frame 0 is 60x80, the row says 60x81"):
        decode_frames(Row.from_dict({**row, "width": 81}), [0])
    null = {**row, "frames": [None, *row["frames"][1:]]}
    with pytest.raises(RowError, match="frame 0 is null"):
        decode_frames(Row.from_dict(null), [0])


@pytest.mark.parametrize(("gop", "b_frames"), [(12, 3), (250, 2), (1, 0)])
@pytest.mark.parametrize("frames", [[0], [39], [0, 1, 2], [5, 17, 18, 39], [11, 12, 13], list(range(40))])
def test_frames_of_a_video_by_number(gop, b_frames, frames):
    row = video_row(grey_video(gop=gop, b_frames=b_frames))
    found = decode_frames(row, frames)
    assert found.shape == (len(frames), 48, 64, 3)
    values = found.astype(float).mean((1, 2, 3))
    np.testing.assert_allclose(values, [5 * frame + 20 for frame in frames], atol=2)


def test_video_is_stored_in_another_order():
    """Without this the test above would not show that numbers follow the order of display."""
    with av.open(io.BytesIO(grey_video())) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps)


def test_reduced_video():
    found = decode_frames(video_row(grey_video()), [3], 4)
    assert found.shape == (1, 12, 16, 3) and abs(found.mean() - 35) < 2


def test_damaged_videos():
    video = grey_video()
    with pytest.raises(RowError, match="field `video`: has 40 frames, the row says 41"):
        decode_frames(video_row(video, num_frames=41), [0])
    with pytest.raises(RowError, match="frame 0 is 48x64, the row says 48x62"):
        decode_frames(video_row(video, size=(48, 62)), [0])
    with pytest.raises(RowError, match="field `video`: cannot be decoded"):
        decode_frames(video_row(b"no video at all"), [0])
