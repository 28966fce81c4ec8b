# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streaming video reading and writing, on generated files and on the shared real clips."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from univs_hf.video_io import VideoWriter, frame_to_rgb, open_video


def moving_square(num_frames, height=48, width=64):
    """Frames with a bright square that moves, so that neither the order nor the content can be mistaken."""
    for index in range(num_frames):
        frame = np.full((height, width, 3), 30, dtype=np.uint8)
        frame[8:24, 2 * index : 2 * index + 16] = (230, 120, 40)
        yield frame


def write_clip(path, num_frames=10, fps=12, **size):
    with VideoWriter(path, fps=fps) as writer:
        for frame in moving_square(num_frames, **size):
            writer.write(frame)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
@pytest.mark.parametrize("fps", [12, Fraction(30000, 1001)])
def test_round_trip_keeps_frames_rate_and_size(tmp_path, suffix, fps):
    path = tmp_path / f"clip{suffix}"
    write_clip(path, fps=fps)
    with open_video(path) as video:
        assert (video.info.height, video.info.width) == (48, 64)
        assert float(video.info.fps) == pytest.approx(float(fps), rel=1e-3)
        frames = list(video)
    assert len(frames) == 10
    for frame, original in zip(frames, moving_square(10), strict=True):
        assert frame.dtype == np.uint8 and frame.shape == (48, 64, 3)
        # Lossy coding: the picture is close, and far closer to its own frame than to a shifted one.
        assert np.abs(frame.astype(int) - original).mean() < 6
    assert list(tmp_path.iterdir()) == [path]


def test_odd_sizes_are_padded_to_even_ones(tmp_path):
    path = tmp_path / "odd.mp4"
    write_clip(path, num_frames=3, height=47, width=63)
    with open_video(path) as video:
        frames = list(video)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    # The padding repeats the border, so it is as dark as the border.
    assert frames[0][-1].mean() == pytest.approx(30, abs=6)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_rotation_metadata_is_honoured(tmp_path, quarter_turns):
    path = tmp_path / "clip.mp4"
    write_clip(path, num_frames=2)
    plain = next(iter(open_video(path)))
    # The track header of an MP4 holds a 3x3 matrix (16.16 fixed point, last column 2.30); write a turn into it.
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter_turns]
    matrix = [cosine, sine, 0, -sine, cosine, 0, 0, 0, 1]
    words = [value << (30 if position % 3 == 2 else 16) for position, value in enumerate(matrix)]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = struct.pack(">9i", *words)
    path.write_bytes(data)

    with open_video(path) as video:
        frame = next(iter(video))
        assert (video.info.height, video.info.width) == frame.shape[:2]
    # A matrix (0, 1; -1, 0) asks the player for a clockwise quarter turn.
    np.testing.assert_array_equal(frame, np.rot90(plain, -quarter_turns))


def test_real_files(shared_dir):
    for name, size, count, fps in [
        ("real.avi", (720, 1280), 46, 4),
        ("cutie_example.mp4", (480, 640), 117, 25),
        ("bedroom.mp4", (540, 960), 200, 30),
    ]:
        with open_video(shared_dir / "clips" / name) as video:
            assert ((video.info.height, video.info.width), video.info.fps, video.info.num_frames) == (size, fps, count)
            assert sum(1 for _ in video) == count


def test_folder_of_frames_in_natural_order(tmp_path):
    for index in (10, 9, 1):
        Image.new("RGB", (20, 12), (index, 0, 0)).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    with open_video(tmp_path, fps=7) as video:
        assert (video.info.num_frames, video.info.fps) == (3, 7)
        assert [int(frame[0, 0, 0]) for frame in video] == [1, 9, 10]


def test_shared_frame_folders(shared_dir):
    for name, size, count in [("judo", (480, 854), 16), ("hockey", (720, 1280), 15)]:
        with open_video(shared_dir / "clips" / name / "frames") as video:
            assert (video.info.height, video.info.width, video.info.num_frames) == (*size, count)
            assert sum(1 for _ in video) == count


def test_image_sources(tmp_path):
    image = Image.new("RGB", (20, 12), (9, 8, 7))
    path = tmp_path / "image.png"
    image.save(path)
    for source in (path, str(path), image, np.asarray(image)):
        with open_video(source) as video:
            assert video.info.is_image and video.info.num_frames == 1
            (frame,) = video
        np.testing.assert_array_equal(frame, np.asarray(image))


def test_iterables_are_read_lazily_and_limited():
    taken = []

    def live():
        for index, frame in enumerate(moving_square(100)):
            taken.append(index)
            yield frame

    with open_video(live(), max_frames=3) as video:
        assert taken == [0]
        assert video.info.num_frames is None
        assert len(list(video)) == 3
    # A live camera must not be asked for a frame that nobody wants.
    assert taken == [0, 1, 2]
    assert open_video(list(moving_square(5)), max_frames=3).info.num_frames == 3


def test_frame_kinds():
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    np.testing.assert_array_equal(frame_to_rgb(rgb), rgb)
    np.testing.assert_array_equal(frame_to_rgb(Image.fromarray(rgb)), rgb)
    np.testing.assert_array_equal(frame_to_rgb(torch.from_numpy(rgb).permute(2, 0, 1)), rgb)
    np.testing.assert_array_equal(frame_to_rgb(rgb.astype(np.float32) / 255), rgb)
    rgba = np.concatenate([rgb, np.full((4, 5, 1), 3, np.uint8)], axis=-1)
    np.testing.assert_array_equal(frame_to_rgb(rgba), rgb)
    np.testing.assert_array_equal(frame_to_rgb(rgb[..., 0]), np.repeat(rgb[..., :1], 3, -1))


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        ("text", TypeError, "str"),
        (np.zeros((6, 5, 2), np.uint8), ValueError, r"\(6, 5, 2\)"),
        (np.zeros((4, 5, 3), np.int64), ValueError, "int64"),
        (np.full((4, 5, 3), 3.0), ValueError, r"outside \[0, 1\]"),
        (np.full((4, 5, 3), np.nan), ValueError, r"outside \[0, 1\]"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, r"\(0, 5, 3\)"),
    ],
)
def test_bad_frames(frame, error, message):
    with pytest.raises(error, match=message):
        list(open_video([frame]))


def test_bad_sources(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.mp4"):
        open_video(tmp_path / "missing.mp4")
    with pytest.raises(ValueError, match="holds no image"):
        open_video(tmp_path)
    with pytest.raises(ValueError, match="no frames"):
        open_video([])
    with pytest.raises(TypeError, match="int"):
        open_video(3)
    with pytest.raises(ValueError, match="max_frames"):
        open_video([np.zeros((4, 4, 3), np.uint8)], max_frames=0)
    with pytest.raises(ValueError, match="fps"):
        open_video([np.zeros((4, 4, 3), np.uint8)], fps=0)
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video")
    with pytest.raises(ValueError, match="not a video"):
        open_video(text)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(ValueError, match="not a video"):
        open_video(empty)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        open_video(broken)


def test_sound_without_picture_is_an_error(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ValueError, match="no video stream"):
        open_video(path)


def test_change_of_size_is_an_error():
    frames = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)]
    with pytest.raises(ValueError, match="Frame 1 .* 6x4 .* 4x4"):
        list(open_video(frames))


def test_writer_leaves_nothing_behind_on_failure(tmp_path):
    path = tmp_path / "clip.mp4"
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="No frame"), VideoWriter(path):
        pass
    with pytest.raises(ValueError, match="uint8"), VideoWriter(path) as writer:
        writer.write(np.zeros((16, 16, 3), np.float32))
    with pytest.raises(ValueError, match="Frame 1 has size"), VideoWriter(path) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        writer.write(np.zeros((16, 18, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_writer_keeps_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, num_frames=2)
    before = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        assert path.read_bytes() == before
        raise RuntimeError
    assert path.read_bytes() == before
    with pytest.raises(FileExistsError):
        VideoWriter(path, overwrite=False)


def test_writer_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"\.txt.*accepted"):
        VideoWriter(tmp_path / "clip.txt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        VideoWriter(tmp_path / "nowhere" / "clip.mp4")
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "clip.mp4", fps=0)
    with pytest.raises(ValueError, match="takes one frame"), VideoWriter(tmp_path / "image.png") as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        writer.write(np.zeros((16, 16, 3), np.uint8))


def test_image_output(tmp_path):
    picture = next(moving_square(1, height=17, width=23))
    with VideoWriter(tmp_path / "image.png") as writer:
        writer.write(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png")), picture)
