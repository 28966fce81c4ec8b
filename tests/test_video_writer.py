# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the video writer keeps of its source: times, sound, and nothing when it fails."""

import errno
import subprocess
import sys
import textwrap
from fractions import Fraction

import av
import numpy as np
import pytest

from univs_hf.video_io import open_video
from univs_hf.video_writer import SoundSource, VideoWriter

SAMPLE_RATE = 48000


def picture(index):
    frame = np.full((48, 64, 3), 30, dtype=np.uint8)
    frame[8:24, 2 * index % 40 : 2 * index % 40 + 16] = (230, 120, 40)
    return frame


def film_with_sound(path, num_frames=30, fps=10, audio_codec="aac"):
    """Pictures, and a tone whose loudness is that of the second it sounds in."""
    with av.open(str(path), mode="w") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(audio_codec, rate=SAMPLE_RATE)
        audio.layout = "mono"
        for index in range(num_frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(video.encode(None))
        seconds = np.arange(SAMPLE_RATE * num_frames // fps) / SAMPLE_RATE
        samples = (0.1 + 0.2 * np.floor(seconds)) * np.sin(2 * np.pi * 440 * seconds)
        kind = "s16" if audio_codec.startswith("pcm") else "fltp"
        samples = (samples * 32767).astype(np.int16) if kind == "s16" else samples.astype(np.float32)
        for begin in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + 1024], format=kind, layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, begin
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def sound_of(path):
    """Samples of a file's sound in -1..1, and when it begins."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
    parts = [frame.to_ndarray().astype(np.float64) / (32768 if "s16" in frame.format.name else 1) for frame in frames]
    return np.concatenate(parts, axis=1)[0], frames[0].time


def packets_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [("in.mp4", "out.mp4", "aac"), ("in.avi", "out.mkv", "pcm_s16le"), ("in.mkv", "out.mov", "aac")],
)
def test_sound_is_copied(tmp_path, source, target, codec):
    film_with_sound(tmp_path / source, audio_codec=codec)
    with VideoWriter(tmp_path / target, fps=10, sound=SoundSource(tmp_path / source)) as writer:
        for index in range(30):
            writer.write(picture(index))
    assert packets_of(tmp_path / target) == packets_of(tmp_path / source)
    samples, begins = sound_of(tmp_path / target)
    assert abs(begins) < 0.05 and len(samples) / SAMPLE_RATE == pytest.approx(3, abs=0.05)
    with open_video(tmp_path / target) as video:
        assert video.info.fps == 10 and sum(1 for _ in video) == 30
    assert writer.notes == []


def test_sound_of_a_part(tmp_path):
    """From the second 1 on, for one second: as loud as it is there."""
    film_with_sound(tmp_path / "in.mp4")
    sound = SoundSource(tmp_path / "in.mp4", start=Fraction(1), to_end=False)
    with VideoWriter(tmp_path / "out.mp4", fps=10, sound=sound) as writer:
        for index in range(10):
            writer.write(picture(index))
    samples, begins = sound_of(tmp_path / "out.mp4")
    assert abs(begins) < 0.05 and len(samples) / SAMPLE_RATE == pytest.approx(1.1, abs=0.15)
    loudness = np.abs(samples[4096 : SAMPLE_RATE * 9 // 10]).max()
    assert loudness == pytest.approx(0.3, abs=0.05)


def test_sound_that_the_container_does_not_take(tmp_path):
    film_with_sound(tmp_path / "in.mp4")
    with VideoWriter(tmp_path / "out.webm", fps=10, sound=SoundSource(tmp_path / "in.mp4")) as writer:
        for index in range(5):
            writer.write(picture(index))
    assert writer.notes == ["the sound (aac) is left out, webm files cannot hold it"]
    with av.open(str(tmp_path / "out.webm")) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.mov"])
def test_times_of_a_variable_rate(tmp_path, name):
    times = [Fraction(value, 1000) for value in (0, 40, 80, 400, 440, 1000, 1500, 1540)]
    with VideoWriter(tmp_path / name, fps=Fraction(8, 2)) as writer:
        for index, time in enumerate(times):
            writer.write(picture(index), time)
    with open_video(tmp_path / name) as video:
        found = [time for _, time in video.timed_frames()]
        video.check_complete()
    assert len(found) == 8
    assert max(abs(one - other) for one, other in zip(found, times, strict=True)) < Fraction(2, 1000)


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(15, 2), Fraction(60)])
def test_rounded_times_are_the_even_rate(tmp_path, fps):
    """Matroska's milliseconds do not make a constant rate variable."""
    with VideoWriter(tmp_path / "out.mp4", fps=fps) as writer:
        for index in range(20):
            writer.write(picture(index), Fraction(round(1000 * index / fps), 1000))
    with open_video(tmp_path / "out.mp4") as video:
        assert video.info.fps == fps
        assert [time for _, time in video.timed_frames()] == [index / fps for index in range(20)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(20 / float(fps), abs=0.002)


def test_pictures_of_an_avi_are_stored_in_order(tmp_path):
    """An AVI says nothing of when its pictures are shown."""
    with VideoWriter(tmp_path / "out.avi", fps=10) as writer:
        for index in range(23):
            writer.write(picture(index))
    with av.open(str(tmp_path / "out.avi")) as container:
        assert not container.streams.video[0].codec_context.has_b_frames
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.diff(times), 0.1)


def test_part_under_another_name(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4", fps=10)
    writer.write(picture(0))
    writer.close(tmp_path / "out.part.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.mp4"]


FULL_DISK = """
    import resource, sys
    sys.path.insert(0, {root!r})
    import numpy as np
    from univs_hf.video_writer import VideoWriter

    # A file may grow to 64 kB, no further.
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    try:
        with VideoWriter({path!r}, fps=10) as writer:
            for index in range(200):
                writer.write(np.random.default_rng(index).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    except OSError as error:
        print(error.errno, error.filename)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.avi"])
def test_disk_that_takes_no_more(tmp_path, project_root, name):
    """What the system says when a file cannot grow arrives as an `OSError`, and nothing stays on the disk."""
    pytest.importorskip("resource")
    code = textwrap.dedent(FULL_DISK).format(root=str(project_root), path=str(tmp_path / name))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"{errno.EFBIG} {tmp_path / name}", done.stderr
    assert list(tmp_path.iterdir()) == []
