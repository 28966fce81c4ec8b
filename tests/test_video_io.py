# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Streaming video reading and writing, on generated files and on the shared real clips."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from univs_hf.video_frames import FileFrames
from univs_hf.video_io import frame_to_rgb, open_video
from univs_hf.video_writer import VideoWriter


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
    # What one system puts beside a file that it copies, and another for its previews.
    (tmp_path / "._frame1.png").write_bytes(b"\0\5\x16\7")
    Image.new("RGB", (20, 12)).save(tmp_path / ".preview.png")
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
    # More than 8 bits would be clipped, not scaled.
    deep = Image.fromarray(np.full((4, 5), 300, np.uint16))
    deep.save(tmp_path / "deep.png")
    for source in (tmp_path / "deep.png", deep, [deep]):
        with pytest.raises(ValueError, match=r"has PIL mode 'I;16'.*8 bits per channel"):
            open_video(source)


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


def encode(path, frames, codec="libx264", options=None, fps=12, times=None):
    """A file made by FFmpeg with the options of a codec and the times given, not by our writer."""
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.options = options or {}
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        clock = Fraction(1, fps if times is None else 1000)
        stream.codec_context.time_base = clock
        for index, frame in enumerate(frames):
            if index == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = index if times is None else times[index], clock
            container.mux(stream.encode(picture.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))


KEYFRAMES = {"g": "6", "keyint_min": "1", "bf": "2"}
OPEN_GOP = {"x264-params": "keyint=8:min-keyint=1:open-gop=1:bframes=3:scenecut=0"}
NO_KEYFRAMES = {"x264-params": "keyint=infinite:bframes=2"}
KINDS = [
    ("clip.mp4", "libx264", KEYFRAMES),
    ("open.mkv", "libx264", OPEN_GOP),
    ("open.ts", "libx264", OPEN_GOP),
    ("one.mp4", "libx264", NO_KEYFRAMES),
    ("clip.avi", "mpeg4", {"g": "5", "bf": "2"}),
    ("x264.avi", "libx264", KEYFRAMES),
    ("clip.webm", "libvpx-vp9", {"g": "7", "deadline": "realtime", "cpu-used": "8"}),
    ("clip.gif", "gif", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
def test_backwards_gives_the_same_frames(tmp_path, monkeypatch, name, codec, options):
    encode(tmp_path / name, moving_square(23), codec, options)
    # Room for four frames, so that the file is read in many pieces.
    monkeypatch.setattr("univs_hf.video_frames.BACKWARD_BUFFER_BYTES", 4 * 48 * 64 * 3)
    with open_video(tmp_path / name) as video:
        forwards = list(video.timed_frames())
        assert video.count_frames() == len(forwards) == 23
        assert len({frame.tobytes() for frame, _ in forwards}) == 23
        backwards = list(video.timed_frames(step=-1))
        assert [time for _, time in backwards] == [time for _, time in reversed(forwards)]
        np.testing.assert_array_equal([f for f, _ in backwards], [f for f, _ in reversed(forwards)])
        for numbers in (slice(17, 3, -3), slice(2, None, -1), slice(None, 20, -1), slice(4, 19, 5), slice(9, 9, 1)):
            some = list(video.frames(numbers.start, numbers.stop, numbers.step))
            expected = [frame for frame, _ in forwards][numbers]
            assert len(some) == len(expected)
            assert all((one == other).all() for one, other in zip(some, expected, strict=True))


def test_backwards_holds_few_frames(tmp_path, monkeypatch):
    encode(tmp_path / "clip.mp4", moving_square(23), options=NO_KEYFRAMES)
    monkeypatch.setattr("univs_hf.video_frames.BACKWARD_BUFFER_BYTES", 4 * 48 * 64 * 3)
    sizes = []
    original = FileFrames._read_chunk
    monkeypatch.setattr(
        FileFrames, "_read_chunk", lambda self, numbers: sizes.append(len(numbers)) or original(self, numbers)
    )
    assert sum(1 for _ in reversed(open_video(tmp_path / "clip.mp4"))) == 23
    assert sizes == [4, 4, 4, 4, 4, 3]


def test_a_wrong_seek_is_noticed(tmp_path, monkeypatch):
    """Where a file's index leads to other pictures, the frames are read from the beginning."""
    encode(tmp_path / "clip.mp4", moving_square(23), options=KEYFRAMES)
    with open_video(tmp_path / "clip.mp4") as video:
        forwards = list(video)
        video.count_frames()
        # The file says that every picture lies four frames from where it does.
        monkeypatch.setattr("univs_hf.video_frames.bisect_left", lambda times, pts: max(0, times.index(pts) - 4))
        np.testing.assert_array_equal(list(reversed(video)), forwards[::-1])


def test_parts_of_a_video(tmp_path):
    encode(tmp_path / "clip.mp4", moving_square(23), options=KEYFRAMES)
    whole = list(open_video(tmp_path / "clip.mp4"))
    for start, stop, stride, most in [(5, 20, 3, None), (0, None, 2, 4), (21, 99, 5, None), (3, 12, 1, 4)]:
        with open_video(tmp_path / "clip.mp4", start=start, stop=stop, stride=stride, max_frames=most) as video:
            expected = whole[start:stop:stride][:most]
            assert len(video) == video.count_frames() == len(expected)
            assert float(video.info.fps) == pytest.approx(12 / stride, rel=1e-3)
            np.testing.assert_array_equal(list(video), expected)
            # Again, in part, and backwards.
            np.testing.assert_array_equal(list(video.frames(1, 3)), expected[1:3] or np.zeros((0,)))
            np.testing.assert_array_equal(list(reversed(video)), expected[::-1])
            assert [video.index_of(video.source_index(index)) for index in range(len(video))] == [*range(len(video))]
            assert video.index_of(start - 1) is None and video.index_of(start + len(video) * stride) is None
    with pytest.raises(ValueError, match="no frame 23"):
        open_video(tmp_path / "clip.mp4", start=23)
    for arguments, message in [
        ({"start": -1}, "`start` must be at least 0"),
        ({"start": 4, "stop": 4}, "`stop` must be at least 5"),
        ({"stride": 0}, "`stride` must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_video(tmp_path / "clip.mp4", **arguments)
    with open_video(tmp_path / "clip.mp4", stride=2) as video:
        first, frames = video.reversed_frames()
        assert first == 11
        np.testing.assert_array_equal(list(frames), whole[::2][::-1])
        first, frames = video.reversed_frames(3)
        assert first == 3
        np.testing.assert_array_equal(list(frames), whole[:7:2][::-1])
        with pytest.raises(ValueError, match="12 is none of the 12 frames"):
            video.reversed_frames(12)
    with pytest.raises(ValueError, match="`step` must not be 0"):
        open_video(tmp_path / "clip.mp4").frames(step=0)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        open_video(tmp_path / "clip.mp4").frames(-1)


def test_sequences_backwards_and_streams_once():
    frames = list(moving_square(6))
    for source in (frames, np.stack(frames), torch.from_numpy(np.stack(frames))):
        np.testing.assert_array_equal(list(reversed(open_video(source))), frames[::-1])
        assert len(open_video(source, start=1, stride=2)) == 3
    live = open_video(iter(frames), start=1, stride=2)
    np.testing.assert_array_equal(list(live), frames[1::2])
    with pytest.raises(ValueError, match="only once"):
        list(live)
    with pytest.raises(ValueError, match="only once"):
        reversed(live)
    with pytest.raises(TypeError, match="not known"):
        len(live)
    assert live


def test_times_of_a_variable_rate(tmp_path):
    times = [0, 40, 80, 400, 440, 1000, 1500, 1540]
    for name in ("clip.mp4", "clip.mkv"):
        encode(tmp_path / name, moving_square(8), times=times)
        with open_video(tmp_path / name) as video:
            found = [time for _, time in video.timed_frames()]
            assert [round(1000 * time) for time in found] == times
            assert [time for _, time in video.timed_frames(step=-1)] == found[::-1]


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {"bf": "3", "g": "12"}), ("mpeg4", {"bf": "2", "g": "12"})]
)
def test_times_of_an_avi_are_even(tmp_path, codec, options):
    """FFmpeg's times of an AVI go back and forth where pictures are not stored in the order they are shown in."""
    encode(tmp_path / "clip.avi", moving_square(23), codec, options)
    with av.open(str(tmp_path / "clip.avi")) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    with open_video(tmp_path / "clip.avi") as video:
        found = [time for _, time in video.timed_frames()]
        assert found == [index / video.info.fps for index in range(23)]
        assert [time for _, time in video.timed_frames(step=-1)] == found[::-1]


def test_globs(tmp_path):
    for index in (10, 9, 1):
        Image.new("RGB", (20, 12), (index, 0, 0)).save(tmp_path / f"frame{index}.png")
    Image.new("RGB", (20, 12), (99, 0, 0)).save(tmp_path / "other.png")
    with open_video(str(tmp_path / "frame*.png")) as video:
        assert [int(frame[0, 0, 0]) for frame in video] == [1, 9, 10]
        assert [video.frame_name(index) for index in range(3)] == ["frame1", "frame9", "frame10"]
    with pytest.raises(FileNotFoundError, match="No image fits"):
        open_video(str(tmp_path / "nothing*.png"))


def noise(num_frames, height=48, width=64):
    """Frames that do not compress, so that a cut file lacks many."""
    for index in range(num_frames):
        yield np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv", "clip.webm", "fast.mp4"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    codec = "libvpx-vp9" if name.endswith("webm") else "mpeg4"
    encode(path, noise(40), codec, {"g": "10"})
    if name.startswith("fast"):
        # The index lies at the front, as in files made for the web.
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / "moved.mp4"), mode="w", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "moved.mp4"
    with open_video(path) as video:
        video.check_complete()
        assert sum(1 for _ in video) == 40 and video.truncated is None
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with open_video(path) as video:
        with pytest.raises(ValueError, match="truncated|damaged"):
            video.check_complete()
        with pytest.raises(ValueError, match="truncated|damaged"):
            list(video)
    with open_video(path, allow_truncated=True) as video:
        frames = list(video)
        assert 15 < len(frames) < 35
        assert "truncated" in video.truncated or "damaged" in video.truncated
        np.testing.assert_array_equal(list(reversed(video)), frames[::-1])
    # A part before the break is no concern of the break.
    assert len(list(open_video(path, stop=10))) == 10


def test_truncated_without_its_index(tmp_path):
    encode(tmp_path / "clip.mp4", noise(10), "mpeg4")
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="not a video that can be read"):
        open_video(tmp_path / "clip.mp4", allow_truncated=True)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4", "clip.mkv"])
def test_stream_without_frames(tmp_path, name):
    with av.open(str(tmp_path / name), mode="w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(ValueError, match="contains no frames|not a video that can be read|has no video stream"):
        open_video(tmp_path / name)


def test_size_that_changes_in_a_file(tmp_path):
    for name, size in (("a.ts", (48, 64)), ("b.ts", (64, 80))):
        encode(tmp_path / name, moving_square(6, *size), "mpeg2video", fps=25)
    (tmp_path / "both.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with open_video(tmp_path / "both.ts") as video, pytest.raises(ValueError, match="80x64 pixels.* 64x48"):
        list(video)
