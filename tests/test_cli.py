# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The command line, on generated and on real video: files, sizes, rates, errors."""

import errno
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_config import tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf.cli import main
from univs_hf.inference_univs import UniVSInferenceSession
from univs_hf.results_io import ResultsWriter, read_results
from univs_hf.segment_command import load_model
from univs_hf.segment_outputs import FinishedFrame, OverlayOutput, PaletteOutput, ResultsOutput, SheetOutput
from univs_hf.segment_prompts import read_label_map, read_prompts
from univs_hf.video_io import VideoSource, open_video
from univs_hf.video_writer import VideoWriter
from univs_hf.visualization import save_palette_png

HEIGHT, WIDTH, NUM_FRAMES, FPS = 48, 64, 7, 12


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model(num_frames=3, text_config=text_config()).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A generated video, and the palette mask of its first frame with objects 1 and 2."""
    folder = tmp_path_factory.mktemp("clip")
    with VideoWriter(folder / "clip.mp4", fps=FPS) as writer:
        for index in range(NUM_FRAMES):
            frame = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
            frame[8:28, 4 + 3 * index : 24 + 3 * index] = (60, 90, 220)
            writer.write(frame)
    label_map = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    label_map[8:28, 4:24], label_map[32:46, 30:60] = 1, 2
    save_palette_png(folder / "mask.png", label_map)
    return folder / "clip.mp4", folder / "mask.png", label_map


def segment(capsys, *arguments):
    """Runs `univs segment ... --quiet`; exit status and what it printed to stderr."""
    try:
        status = main(["segment", *(str(argument) for argument in arguments), "--quiet"])
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr().err


def check_output(out, results_path, size, count, fps):
    with open_video(out) as video:
        assert (video.info.height, video.info.width) == size
        assert float(video.info.fps) == pytest.approx(float(fps), rel=1e-3)
        assert sum(1 for _ in video) == count
    results = read_results(results_path)
    assert (results["height"], results["width"], results["num_frames"], results["fps"]) == (*size, count, float(fps))
    assert [frame["frame_idx"] for frame in results["frames"]] == list(range(count))
    for frame in results["frames"]:
        for entry in frame["segments"]:
            assert entry["mask"].shape == size and entry["mask"].any()
    return results


def test_semantic_segmentation(capsys, tmp_path, model_dir, clip):
    out = tmp_path / "out.mp4"
    options = ("--model", model_dir, "--task", "vss", "--categories", "blue box, ground", "--out", out)
    assert segment(capsys, clip[0], *options) == (0, "")
    results = check_output(out, tmp_path / "out.json", (HEIGHT, WIDTH), NUM_FRAMES, FPS)
    assert sorted(os.listdir(tmp_path)) == ["out.json", "out.mp4"]
    assert (results["task"], results["video"]) == ("vss", str(clip[0]))
    for frame in results["frames"]:
        # Every pixel has one class.
        assert (sum(entry["mask"].astype(int) for entry in frame["segments"]) == 1).all()
        assert {entry["label"] for entry in frame["segments"]} <= {"blue box", "ground"}


def test_object_segmentation(capsys, tmp_path, model_dir, clip):
    out, results_path = tmp_path / "out.mkv", tmp_path / "results.json"
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--out", out, "--json", results_path)
    assert segment(capsys, clip[0], *options, "--max-frames", 4, "--clip-length", 2, "--fps", 5, "--no-labels") == (
        0,
        "",
    )
    results = check_output(out, results_path, (HEIGHT, WIDTH), 4, 5)
    first = {entry["id"]: entry["mask"] for entry in results["frames"][0]["segments"]}
    for object_id in (1, 2):
        truth = clip[2] == object_id
        assert (first[object_id] & truth).sum() / (first[object_id] | truth).sum() > 0.7
    # The first frame of the overlay differs from the video where the objects are, and only there.
    plain, painted = (next(iter(open_video(path))).astype(int) for path in (clip[0], out))
    changed = np.abs(plain - painted).max(axis=-1) > 40
    assert changed[clip[2] > 0].mean() > 0.6 and changed[clip[2] == 0].mean() < 0.15


@pytest.mark.parametrize("task", ["vss", "vos"])
@pytest.mark.parametrize(
    ("name", "size", "fps"),
    [
        ("real.avi", (720, 1280), 4),
        ("cutie_example.mp4", (480, 640), 25),
        ("judo/frames", (480, 854), 24),
        ("hockey/frames", (720, 1280), 24),
    ],
)
def test_real_video(capsys, tmp_path, model_dir, shared_dir, task, name, size, fps):
    out, mask = tmp_path / "out.mp4", tmp_path / "mask.png"
    label_map = np.zeros(size, dtype=np.uint8)
    label_map[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 3
    save_palette_png(mask, label_map)
    options = ("--mask", mask) if task == "vos" else ("--categories", "floor,person,wall")
    status = segment(
        capsys, shared_dir / "clips" / name, "--model", model_dir, "--task", task, *options, "--out", out,
        "--max-frames", 7,
    )  # fmt: skip
    assert status == (0, "")
    results = check_output(out, tmp_path / "out.json", size, 7, fps)
    if task == "vos":
        (entry,) = results["frames"][0]["segments"]
        assert entry["id"] == 3 and (entry["mask"] == (label_map == 3)).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "count", "fps"), [("real.avi", (720, 1280), 46, 4), ("cutie_example.mp4", (480, 640), 117, 25)]
)
def test_whole_real_video(capsys, tmp_path, model_dir, shared_dir, name, size, count, fps):
    options = ("--model", model_dir, "--task", "vss", "--categories", "floor,wall", "--out", tmp_path / "out.mp4")
    assert segment(capsys, shared_dir / "clips" / name, *options)[0] == 0
    check_output(tmp_path / "out.mp4", tmp_path / "out.json", size, count, fps)


def test_objects_of_later_frames_from_the_shared_masks(capsys, tmp_path, model_dir, shared_dir):
    folder = shared_dir / "clips" / "judo"
    masks = []
    for frame_idx in (0, 5, 8, 13):
        masks += ["--mask", f"{frame_idx}={folder / 'masks' / f'{frame_idx:05d}.png'}"]
    # The mask of frame 5 has 853 columns, the frames 854.
    status, notes = segment(
        capsys, folder / "frames", "--model", model_dir, "--task", "vos", *masks, "--json", tmp_path / "out.json",
        "--shortest-edge", 64,
    )  # fmt: skip
    assert "00005.png is resized from 853x480 to 854x480" in notes and notes.count("\n") == 1
    assert status == 0 and os.listdir(tmp_path) == ["out.json"]
    results = read_results(tmp_path / "out.json")
    for object_id, frame_idx in ((1, 0), (2, 5), (3, 8), (4, 13)):
        seen = [object_id in {entry["id"] for entry in frame["segments"]} for frame in results["frames"]]
        assert seen[frame_idx] and not any(seen[:frame_idx])


def test_image(capsys, tmp_path, model_dir, clip):
    Image.fromarray(next(iter(open_video(clip[0])))).save(tmp_path / "image.png")
    options = ("--model", model_dir, "--task", "vss", "--categories", "a,b", "--out", tmp_path / "out.png")
    assert segment(capsys, tmp_path / "image.png", *options) == (0, "")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (WIDTH, HEIGHT)
    assert read_results(tmp_path / "out.json")["num_frames"] == 1


def test_existing_files_are_kept_unless_asked(capsys, tmp_path, model_dir, clip):
    out = tmp_path / "out.json"
    out.write_text("mine")
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--json", out, "--max-frames", 1)
    status, error = segment(capsys, clip[0], *options)
    assert status == 2 and "exists already" in error and out.read_text() == "mine"
    assert segment(capsys, clip[0], *options, "--overwrite") == (0, "")
    assert read_results(out)["num_frames"] == 1


@pytest.fixture
def rejected(capsys, tmp_path, model_dir, clip):
    """Checks that a command ends with status 2 and one line that holds a message, and leaves nothing behind."""

    def check(message, *arguments, video=clip[0], model=model_dir, task="vos", out=tmp_path / "out.mp4"):
        extra = () if out is None else ("--out", out)
        status, error = segment(capsys, video, "--model", model, "--task", task, *extra, *arguments)
        assert status == 2, error
        assert message in error
        assert "Traceback" not in error
        assert error.startswith("univs segment: error: ") and error.count("\n") == 1
        assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))

    return check


def test_inputs_that_cannot_be_read(tmp_path, rejected, clip):
    mask = ("--mask", clip[1])
    rejected("No such video", *mask, video=tmp_path / "missing.mp4")
    rejected("No image fits", *mask, video=tmp_path / "missing*.png")
    (tmp_path / "text.mp4").write_text("text")
    rejected("not a video that can be read", *mask, video=tmp_path / "text.mp4")
    (tmp_path / "empty.mp4").touch()
    rejected("not a video that can be read", *mask, video=tmp_path / "empty.mp4")
    (tmp_path / "folder").mkdir()
    rejected("holds no image", *mask, video=tmp_path / "folder")
    with av.open(str(tmp_path / "none.avi"), mode="w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    rejected("contains no frames", *mask, video=tmp_path / "none.avi")
    with av.open(str(tmp_path / "sound.wav"), mode="w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    rejected("no video stream", *mask, video=tmp_path / "sound.wav")
    (tmp_path / "bad").mkdir()
    for index, size in enumerate([(WIDTH, HEIGHT)] * 4 + [(WIDTH, WIDTH)]):
        Image.new("RGB", size, "grey").save(tmp_path / "bad" / f"{index}.png")
    rejected("Frame 4 of", *mask, video=tmp_path / "bad")
    (tmp_path / "bad" / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    rejected("4.png cannot be read", *mask, video=tmp_path / "bad")


def test_size_that_changes_in_a_file(tmp_path, rejected, clip):
    data = b""
    for name, size in (("a.ts", (HEIGHT, WIDTH)), ("b.ts", (64, 80))):
        with av.open(str(tmp_path / name), mode="w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            for index in range(6):
                picture = np.full((*size, 3), 20 * index, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        data += (tmp_path / name).read_bytes()
    (tmp_path / "both.ts").write_bytes(data)
    rejected("All frames must have one size", "--mask", clip[1], video=tmp_path / "both.ts")


def test_prompts_that_do_not_fit(tmp_path, rejected, clip):
    mask = ("--mask", clip[1])
    rejected("--task vos needs --mask, --box, --point or --prompts")
    rejected("--task pvos needs --mask, --box, --point or --prompts", task="pvos")
    rejected("--task refvos needs --text or --prompts", task="refvos")
    for task in ("vis", "vss", "vps", "refvos"):
        rejected(f"--mask does not fit --task {task}; it is for vos, pvos", *mask, task=task)
        rejected(f"--box does not fit --task {task}", "--box", "1,2,3,4", task=task)
        rejected(f"--point does not fit --task {task}", "--point", "1,2", task=task)
    for task in ("vis", "vss", "vps", "vos", "pvos"):
        rejected(f"--text does not fit --task {task}; it is for refvos", "--text", "a", task=task)
    rejected("does not fit --task vos; it is for pvos, vis, vss, vps", *mask, "--categories", "a,b")
    rejected("--object-category does not fit --task vos; it is for pvos", *mask, "--object-category", "1=a")
    rejected("--stuff needs --categories", "--stuff", "a", task="vps")
    rejected("--stuff names ['c']", "--categories", "a,b", "--stuff", "c", task="vps")
    named = (*mask, "--categories", "a,b", "--object-category")
    rejected("must be ID=NAME", *named, "a", task="pvos")
    rejected("accepted are the names ['a', 'b']", *named, "1=c", task="pvos")
    rejected("--object-category names objects [7]; those with a prompt are [1, 2]", *named, "7=a", task="pvos")
    rejected("No such mask", "--mask", tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("text")
    rejected("no image", "--mask", tmp_path / "text.png")
    rejected("frame 7 is not read; read are frames 0 to 6", "--mask", f"7={clip[1]}")
    rejected("frame 3 is not read; read are frames 2 to 6 in steps of 2", "--mask", f"3={clip[1]}", "--start", 2,
             "--stride", 2)  # fmt: skip
    rejected("object 1 has a prompt on frame 0 twice", *mask, "--mask", f"0={clip[1]}")
    rejected("object 2 has a prompt on frame 0 twice", *mask, "--box", "2:1,2,30,40")
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / "colours.png")
    rejected("RGB image", "--mask", tmp_path / "colours.png")
    Image.new("L", (WIDTH, WIDTH), 1).save(tmp_path / "square.png")
    rejected("does not fit frames", "--mask", tmp_path / "square.png")
    Image.new("L", (WIDTH, HEIGHT), 0).save(tmp_path / "empty.png")
    rejected("holds no object", "--mask", tmp_path / "empty.png")
    rejected("--box must be [FRAME=][ID:]X1,Y1,X2,Y2, got '1,2,3'", "--box", "1,2,3")
    rejected("--point must be [FRAME=][ID:]X,Y, got 'here'", "--point", "here")
    rejected("overlaps the frame of 64x48", "--box", "70,10,80,20")
    rejected("x1 < x2", "--box", "30,10,20,20")
    rejected("lies in the frame of 64x48", "--point", "10,50")
    rejected("ids count from 1", "--point", "0:10,20")
    rejected("whole numbers from 1 to 2147483647", "--point", "99999999999:10,20")
    (tmp_path / "ids.json").write_text(json.dumps([{"mask": str(clip[1]), "id": 70_000}]))
    many = ("--prompts", tmp_path / "ids.json", "--png", tmp_path / "out")
    rejected("--png takes ids up to 65535, frame 00000 has 70000", *many)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "must hold a list of objects"),
        ("[]", "must hold a list of objects"),
        ('[{"frame": 0}]', "must hold one of 'mask', 'box', 'point' and 'text'"),
        ('[{"box": [1, 2, 3, 4], "point": [1, 2]}]', "must hold one of"),
        ('[{"box": [1, 2, 30, 40], "color": 1}]', "it holds ['box', 'color']"),
        ('[{"box": [1, 2, 30]}]', "'box' must be a list of 4 numbers"),
        ('[{"point": [1, "2"]}]', "'point' must be a list of 2 numbers"),
        ('[{"point": [1, 2], "id": 1.5}]', "'id' must be a whole number"),
        ('[{"point": [1, 2], "frame": -1}]', "'frame' must be a whole number"),
        ('[{"mask": 3}]', "'mask' must be a string"),
        ('[{"mask": "missing.png"}]', "No such mask"),
        ('[{"text": "a", "frame": 3}]', "takes no 'frame'"),
        ('[{"text": "a"}]', "takes no text"),
    ],
)
def test_prompt_files_that_cannot_be_used(tmp_path, rejected, content, message):
    (tmp_path / "prompts.json").write_text(content)
    rejected(message, "--prompts", tmp_path / "prompts.json")


def test_options_that_cannot_be_used(tmp_path, rejected, clip):
    mask = ("--mask", clip[1])
    rejected("`task` must be one of", *mask, task="vox")
    rejected("there is no label set 'ytvis99'", "--categories", "ytvis99", task="vis")
    rejected("there is no label set 'person'", "--categories", "person", task="vps")
    rejected("at least 2 different", "--categories", "cat,", task="vss")
    rejected("at least 1 different", "--categories", "cat,cat", task="vis")
    rejected("must hold letters", "--categories", "cat,2", task="vss")
    rejected("carries no categories", task="vss")
    rejected("nothing to write", *mask, out=None)
    rejected("is the input", *mask, "--overwrite", out=clip[0])
    rejected("is the input", *mask, "--overwrite", "--png", clip[0].parent, video=clip[0].parent)
    rejected("accepted are", *mask, out=tmp_path / "out.txt")
    rejected("nowhere", *mask, out=tmp_path / "nowhere" / "out.mp4")
    rejected("is an image", *mask, out=tmp_path / "out.png")
    rejected("accepted are .png", *mask, "--sheet", tmp_path / "sheet.jpg")
    (tmp_path / "file").touch()
    rejected("not a folder", *mask, "--png", tmp_path / "file")
    rejected("--max-frames must be at least 1", *mask, "--max-frames", "0")
    rejected("--start must be at least 0", *mask, "--start", "-1")
    rejected("--end must be at least 4", *mask, "--start", "3", "--end", "3")
    rejected("--stride must be at least 1", *mask, "--stride", "0")
    rejected("has no frame 7", *mask, "--start", "7")
    rejected("--clip-length", *mask, "--clip-length", "0")
    rejected("--alpha", *mask, "--alpha", "2")
    rejected("--set must be NAME=VALUE", *mask, "--set", "num_frames")
    rejected("`colour` is not a field", *mask, "--set", "colour=red")
    rejected("clip_stride", *mask, "--set", "clip_stride=0")
    rejected("`num_frames` must be int, got 'abc'", *mask, "--set", "num_frames=abc")
    rejected("`decoder_layers` is a matter of the model", *mask, "--set", "decoder_layers=12")
    rejected("--checkpoint must be at least 0, got nan", *mask, "--checkpoint", "nan")
    rejected("no config.json", *mask, model=tmp_path)
    rejected("there is no such directory", *mask, model=tmp_path / "missing")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    rejected("'bert'", *mask, model=tmp_path / "bert")
    rejected("--device quantum", *mask, "--device", "quantum")
    rejected("no interrupted run", *mask, "--resume")
    rejected("--resume needs an output file", *mask, "--resume", "--json", "-", out=None)


def test_outputs_that_would_take_the_place_of_others(tmp_path, rejected, clip):
    """Nothing that a run has not written is removed, whatever --overwrite says."""
    mask = ("--mask", clip[1])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "00000.png").write_bytes(clip[1].read_bytes())
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    folder = ("--png", tmp_path / "mine", "--overwrite")
    rejected("it holds 'thesis.tex', which no run has written", *mask, *folder)
    (tmp_path / "mine" / "thesis.tex").unlink()
    inside = tmp_path / "mine" / "00000.png"
    rejected("holds the input", "--mask", f"2={inside}", *folder)
    rejected("holds the input", "--categories", "a,b", *folder, task="vss", video=tmp_path / "mine" / "*.png")
    (tmp_path / "mine" / "prompts.json").write_text('[{"box": [1, 2, 30, 40]}]')
    rejected("holds the input", "--prompts", tmp_path / "mine" / "prompts.json", *folder)
    rejected("is the input", "--mask", inside, "--sheet", inside, "--overwrite")
    assert sorted(os.listdir(tmp_path / "mine")) == ["00000.png", "prompts.json"]
    (tmp_path / "mine" / "prompts.json").unlink()
    rejected("cannot both be written", *mask, "--sheet", tmp_path / "both.png", "--png", tmp_path / "both.png")
    rejected("cannot both be written", *mask, *folder, out=tmp_path / "mine" / "out.mp4")
    rejected("must have a name", *mask, "--png", ".")


def test_folder_of_an_earlier_run_is_replaced(capsys, tmp_path, model_dir, clip):
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--png", tmp_path / "png")
    assert segment(capsys, clip[0], *options, "--max-frames", 3) == (0, "")
    assert segment(capsys, clip[0], *options, "--max-frames", 2)[0] == 2
    assert segment(capsys, clip[0], *options, "--max-frames", 2, "--overwrite") == (0, "")
    assert sorted(os.listdir(tmp_path / "png")) == ["00000.png", "00001.png"]


def test_usage_errors(capsys):
    for arguments, message in (
        ([], "univs: error: "),
        (["nonsense"], "univs: error: "),
        (["segment"], "univs segment: error: "),
        (["segment", "a.mp4", "--model", "m", "--task", "vos", "--colour"], "univs: error: "),
        (["segment", "a.mp4", "--model", "m", "--task", "vos", "--start", "x"], "univs segment: error: "),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(message) and error.count("\n") == 1
    for arguments, words in (
        (["--help"], ("segment", "convert")),
        (["segment", "--help"], ("--resume", "refvos", "kill -9")),
        (["convert", "--help"], ("--text-encoder",)),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert all(word in text for word in words)


def break_off(path, num_frames=30):
    """A video of noise whose second half is missing."""
    with VideoWriter(path, fps=FPS) as writer:
        for index in range(num_frames):
            writer.write(np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("name", ["cut.avi", "cut.mkv"])
def test_truncated_video(capsys, tmp_path, model_dir, rejected, name):
    break_off(tmp_path / name)
    rejected("it breaks off after", "--categories", "a,b", video=tmp_path / name, task="vss")
    options = ("--model", model_dir, "--task", "vss", "--categories", "a,b", "--json", tmp_path / "out.json")
    status, notes = segment(capsys, tmp_path / name, *options, "--allow-truncated")
    assert status == 0 and notes.startswith("univs segment: warning: ") and notes.count("\n") == 1
    assert "breaks off after" in notes and "what lies before is done" in notes
    assert 5 < read_results(tmp_path / "out.json")["num_frames"] < 25
    # What lies before the break can be had without a word.
    options = (*options[:-1], tmp_path / "part.json")
    assert segment(capsys, tmp_path / name, *options, "--end", 5) == (0, "")


def test_break_that_only_decoding_shows(tmp_path, rejected, monkeypatch):
    """Nothing stays of a run that comes upon the break in its middle."""
    break_off(tmp_path / "cut.avi")
    monkeypatch.setattr(VideoSource, "check_complete", lambda self: None)
    rejected("it breaks off after", "--categories", "a,b", video=tmp_path / "cut.avi", task="vss")


@pytest.mark.parametrize("method", ["frame", "end"])
@pytest.mark.parametrize(
    ("owner", "option"),
    [(OverlayOutput, "--out"), (PaletteOutput, "--png"), (SheetOutput, "--sheet"), (ResultsOutput, "--json")],
)
def test_full_disk(tmp_path, rejected, monkeypatch, clip, owner, option, method):
    """Each output in turn finds no room, at its third frame or when it is to appear."""
    original = owner.write if method == "frame" else owner.finish
    calls = []

    def full(self, *arguments):
        calls.append(1)
        if method == "end" or len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, *arguments)

    monkeypatch.setattr(owner, "write" if method == "frame" else "finish", full)
    names = {"--out": "out.mp4", "--png": "out", "--sheet": "out.png", "--json": "out.json"}
    place = tmp_path / names[option]
    rejected(f"No space left on device: '{place}'", "--mask", clip[1], option, place, out=None)


@pytest.mark.parametrize("name", ["results.jsonl", "state"])
def test_full_disk_of_the_run_folder(tmp_path, rejected, monkeypatch, clip, name):
    """What is kept for going on finds no room."""
    folder = tmp_path / "out.json.run"
    real = os.fsync

    def full(handle):
        if os.path.basename(os.readlink(f"/proc/self/fd/{handle}")).startswith((name, f".{name}-")):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("the name of an open file is read from /proc")
    monkeypatch.setattr(os, "fsync", full)
    options = ("--mask", clip[1], "--checkpoint", "0", "--json", tmp_path / "out.json")
    place = folder if name == "results.jsonl" else folder / name
    rejected(f"No space left on device: '{place}'", *options, out=None)


def test_full_disk_of_the_system(tmp_path, project_root, model_dir, clip):
    """A limit of the system on the size of files, in a process of its own."""
    pytest.importorskip("resource")
    break_off(tmp_path / "noise.avi", num_frames=80)
    code = (
        "import resource, sys; from univs_hf.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["segment", tmp_path / "noise.avi", "--model", model_dir, "--task", "vss", "--categories", "a,b",
                 "--out", tmp_path / "out.mp4", "--allow-truncated", "--quiet"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 2 and "File too large" in done.stderr and "out." in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["noise.avi"]


def kill_at(monkeypatch, step, number=signal.SIGINT, times=1):
    """Sends this process a signal when the session takes its `step`-th frame of a run."""
    original = UniVSInferenceSession.step
    calls = []

    def step_and_kill(self, model, frame):
        calls.append(1)
        if len(calls) == step:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return original(self, model, frame)

    monkeypatch.setattr(UniVSInferenceSession, "step", step_and_kill)
    return calls


TASK_OPTIONS = {
    "vis": ("--categories", "blue box, ground", "--set", "class_score_threshold=0", "--set", "min_result_score=0",
            "--set", "stability_score_threshold=0"),
    "vss": ("--categories", "blue box, ground"),
    "vps": ("--categories", "blue box, ground", "--set", "class_score_threshold=0", "--set", "overlap_threshold=0",
            "--set", "stability_score_threshold=0"),
    "vos": ("--box", "4,8,24,28", "--point", "45,40"),
    "pvos": ("--mask", "MASK", "--categories", "red,blue", "--stuff", "blue", "--object-category", "1=blue"),
    "refvos": ("--text", "a blue box", "--text", "the ground"),
}  # fmt: skip


def task_options(task, clip):
    return tuple(clip[1] if option == "MASK" else option for option in TASK_OPTIONS[task])


def same_pictures(one, other):
    """Whether two videos show the same; x264 spends its bits a little differently when it is kept waiting."""
    with open_video(one) as first, open_video(other) as second:
        frames, others = list(first.timed_frames()), list(second.timed_frames())
    assert len(frames) == len(others)
    return all(
        time == same and np.abs(a.astype(int) - b).mean() < 3
        for (a, time), (b, same) in zip(frames, others, strict=True)
    )


@pytest.mark.parametrize(
    ("task", "number"), [*((task, signal.SIGINT) for task in sorted(TASK_OPTIONS)), ("vos", signal.SIGTERM)]
)
def test_interruption_and_resume(capsys, tmp_path, model_dir, clip, monkeypatch, task, number):
    """An interrupted run leaves its finished part, and goes on to the results of a run without interruption."""
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    options = ("--model", model_dir, "--task", task, *task_options(task, clip))
    assert segment(capsys, clip[0], *options, "--out", whole, "--png", tmp_path / "whole") == (0, "")
    expected = read_results(tmp_path / "whole.json")
    outputs = ("--out", out, "--png", tmp_path / "png", "--sheet", tmp_path / "sheet.png")

    with monkeypatch.context() as patch:
        kill_at(patch, 5, number)
        status, error = segment(capsys, clip[0], *options, *outputs)
    assert status == 128 + number
    assert error.startswith(f"univs segment: interrupted by {number.name}") and error.count("\n") == 1
    assert "--resume" in error
    done = 3 if "the first 3 of 7" in error else 2 if "the first 2 of 7" in error else 0
    assert not out.exists() and not (tmp_path / "out.json").exists()
    if done:
        part = read_results(tmp_path / "out.part.json")
        assert part["complete"] is False and part["num_frames"] == done
        for frame, same in zip(part["frames"], expected["frames"], strict=False):
            assert frame["frame_idx"] == same["frame_idx"]
        assert sum(1 for _ in open_video(tmp_path / "out.part.mp4")) == done
        assert len(list((tmp_path / "png.part").iterdir())) == done
        assert (tmp_path / "sheet.part.png").exists() and "out.part.mp4" in error
    else:
        assert task == "vps" and "before a frame was done" in error

    # It is not begun again by mistake, nor gone on with for something else.
    status, error = segment(capsys, clip[0], *options, *outputs)
    assert status == 2 and "give --resume to go on with it, or --overwrite" in error
    status, error = segment(capsys, clip[0], *options, *outputs, "--resume", "--stride", 2)
    assert status == 2 and "begun with stride 1, now it is 2" in error

    with monkeypatch.context() as patch:
        calls = kill_at(patch, 0)
        assert segment(capsys, clip[0], *options, *outputs, "--resume") == (0, "")
    assert len(calls) == NUM_FRAMES - 5
    results = read_results(tmp_path / "out.json")
    assert results["complete"] is True
    np.testing.assert_equal(results["frames"], expected["frames"])
    assert results["objects"] == expected["objects"]
    assert same_pictures(out, whole)
    for index in range(NUM_FRAMES):
        pictures = [(tmp_path / folder / f"{index:05d}.png").read_bytes() for folder in ("png", "whole")]
        assert pictures[0] == pictures[1]
    names = ["out.json", "out.mp4", "png", "sheet.png", "whole", "whole.json", "whole.mp4"]
    assert sorted(os.listdir(tmp_path)) == names


def test_interrupted_again_and_again(capsys, tmp_path, model_dir, clip, monkeypatch):
    options = ("--model", model_dir, "--task", "vos", *task_options("vos", clip))
    assert segment(capsys, clip[0], *options, "--json", tmp_path / "whole.json") == (0, "")
    resume = ()
    # Each time it takes one frame, and the last time it has nothing but the end to do.
    for _ in range(NUM_FRAMES):
        with monkeypatch.context() as patch:
            kill_at(patch, 1)
            status, error = segment(capsys, clip[0], *options, "--json", tmp_path / "out.json", *resume)
        resume = ("--resume",)
        assert status == 130
    assert segment(capsys, clip[0], *options, "--json", tmp_path / "out.json", *resume) == (0, "")
    np.testing.assert_equal(
        read_results(tmp_path / "out.json")["frames"], read_results(tmp_path / "whole.json")["frames"]
    )


def test_second_interruption_does_not_wait(capsys, tmp_path, model_dir, clip, monkeypatch):
    """It leaves the last checkpoint, as a crash does; later results are made again from there."""
    options = ("--model", model_dir, "--task", "vos", *task_options("vos", clip), "--json", tmp_path / "out.json")
    with monkeypatch.context() as patch:
        kill_at(patch, 6, times=2)
        status, error = segment(capsys, clip[0], *options, "--checkpoint", "0")
    assert status == 130 and "interrupted; give --resume" in error
    assert sorted(os.listdir(tmp_path)) == ["out.json.run"]
    # What a crash leaves besides: half a line, temporary files. Others' files stay.
    with open(tmp_path / "out.json.run" / "results.jsonl", "a") as file:
        file.write('{"half a line of a')
    for name in (".out-a1b2c3d4.json", ".out-mine.json"):
        (tmp_path / name).touch()
    with monkeypatch.context() as patch:
        calls = kill_at(patch, 0)
        assert segment(capsys, clip[0], *options, "--resume") == (0, "")
    assert len(calls) == NUM_FRAMES - 5
    assert sorted(os.listdir(tmp_path)) == [".out-mine.json", "out.json"]
    results = read_results(tmp_path / "out.json")["frames"]
    assert segment(capsys, clip[0], *options, "--overwrite") == (0, "")
    np.testing.assert_equal(results, read_results(tmp_path / "out.json")["frames"])


def test_interruption_before_the_first_step(capsys, tmp_path, model_dir, clip, monkeypatch):
    """While the model loads there is nothing to wait for, and nothing to keep."""

    def load(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("univs_hf.segment_command.load_model", load)
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--png", tmp_path / "png")
    handler = signal.getsignal(signal.SIGTERM)
    status, error = segment(capsys, clip[0], *options, "--out", tmp_path / "out.mp4")
    assert (status, error) == (130, "univs segment: interrupted, nothing was written\n")
    assert os.listdir(tmp_path) == [] and signal.getsignal(signal.SIGTERM) == handler


def test_folder_of_somebody_else(capsys, tmp_path, model_dir, clip):
    (tmp_path / "out.mp4.run").mkdir()
    (tmp_path / "out.mp4.run" / "mine").touch()
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--out", tmp_path / "out.mp4", "--overwrite")
    status, error = segment(capsys, clip[0], *options)
    assert status == 2 and "is something else" in error and os.listdir(tmp_path / "out.mp4.run") == ["mine"]


def test_reader_of_the_lines_that_goes_away(tmp_path, project_root, model_dir, clip):
    command = [sys.executable, "-m", "univs_cli", "segment", clip[0], "--model", model_dir, "--task", "vos", "--mask",
               clip[1], "--json", "-", "--quiet"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait(timeout=120) == 2
    assert error == "univs segment: error: nobody reads the output any more\n"


def test_resume_without_a_checkpoint_begins_again(capsys, tmp_path, model_dir, clip, monkeypatch):
    options = ("--model", model_dir, "--task", "vos", *task_options("vos", clip), "--json", tmp_path / "out.json")
    with monkeypatch.context() as patch:
        kill_at(patch, 5, times=2)
        status, error = segment(capsys, clip[0], *options)
    assert status == 130 and "give --overwrite to begin again" in error
    assert segment(capsys, clip[0], *options, "--resume") == (0, "")
    assert read_results(tmp_path / "out.json")["num_frames"] == NUM_FRAMES


def test_state_of_doubtful_origin(capsys, tmp_path, model_dir, clip, monkeypatch):
    """A state file can name nothing but what a session is made of."""
    options = ("--model", model_dir, "--task", "vos", *task_options("vos", clip), "--json", tmp_path / "out.json")
    with monkeypatch.context() as patch:
        kill_at(patch, 5)
        assert segment(capsys, clip[0], *options)[0] == 130
    state = tmp_path / "out.json.run" / "state"
    for objects in (b"cos\nsystem\n(S'true'\ntR.", b"cunivs_hf.segment_command\nPath\n(S'/'\ntR.",
                    b"\x80\x04\x8c\x11univs_hf.video_io\x8c\x09os.system\x93."):  # fmt: skip
        torch.save({"objects": objects, "tensors": []}, state)
        status, error = segment(capsys, clip[0], *options, "--resume")
        assert status == 2 and "has no place in it" in error and error.count("\n") == 1
    state.write_bytes(b"nothing of the kind")
    status, error = segment(capsys, clip[0], *options, "--resume")
    assert status == 2 and "is not the state of a session" in error
    # The finished part is still there.
    assert (tmp_path / "out.part.json").exists() and (tmp_path / "out.json.run").is_dir()


@pytest.mark.parametrize("task", sorted(TASK_OPTIONS))
def test_six_tasks_and_all_outputs(capsys, tmp_path, model_dir, clip, task):
    options = ("--model", model_dir, "--task", task, *task_options(task, clip), "--png", tmp_path / "png")
    status = segment(capsys, clip[0], *options, "--out", tmp_path / "out.mp4", "--sheet", tmp_path / "sheet.png")
    assert status == (0, "")
    results = check_output(tmp_path / "out.mp4", tmp_path / "out.json", (HEIGHT, WIDTH), NUM_FRAMES, FPS)
    assert results["task"] == task and results["complete"] is True
    assert any(frame["segments"] for frame in results["frames"])
    names = sorted(os.listdir(tmp_path / "png"))
    assert names == [f"{index:05d}.png" for index in range(NUM_FRAMES)]
    for name, frame in zip(names, results["frames"], strict=True):
        with Image.open(tmp_path / "png" / name) as image:
            assert image.mode == "P" and image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
            label_map = np.asarray(image)
        covered = np.zeros((HEIGHT, WIDTH), dtype=bool)
        for entry in frame["segments"]:
            covered |= entry["mask"]
            if task in ("vis", "refvos"):
                assert entry["mask"][label_map == entry["id"]].all()
            else:
                np.testing.assert_array_equal(label_map == entry["id"], entry["mask"])
        if task != "vss":
            np.testing.assert_array_equal(label_map > 0, covered)
    if task == "refvos":
        assert {entry["label"] for frame in results["frames"] for entry in frame["segments"]} <= {
            "a blue box",
            "the ground",
        }
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 324 + 4, 3 * 244 + 4)


def test_lines(capsys, tmp_path, model_dir, clip):
    options = ("--model", model_dir, "--task", "vos", *task_options("vos", clip))
    assert main(["segment", *map(str, (clip[0], *options, "--json", "-"))]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["frame_idx"] for line in lines] == list(range(NUM_FRAMES))
    assert segment(capsys, clip[0], *options, "--json", tmp_path / "out.json") == (0, "")
    assert lines == json.loads((tmp_path / "out.json").read_text())["frames"]
    assert os.listdir(tmp_path) == ["out.json"]


def test_parts_and_numbers_of_frames(capsys, tmp_path, model_dir, clip):
    """Prompts and results have the numbers of the file, and the overlay the times."""
    options = ("--model", model_dir, "--task", "vos", "--box", "3=7:12,8,32,28", "--out", tmp_path / "out.mp4")
    assert segment(capsys, clip[0], *options, "--start", 1, "--end", 6, "--stride", 2, "--png", tmp_path / "png") == (
        0,
        "",
    )
    results = read_results(tmp_path / "out.json")
    assert [frame["frame_idx"] for frame in results["frames"]] == [1, 3, 5]
    assert [{entry["id"] for entry in frame["segments"]} for frame in results["frames"]][:2] == [set(), {7}]
    assert sorted(os.listdir(tmp_path / "png")) == ["00001.png", "00003.png", "00005.png"]
    with open_video(tmp_path / "out.mp4") as video:
        assert video.info.fps == FPS / 2
        assert [time for _, time in video.timed_frames()] == [0, Fraction(2, FPS), Fraction(4, FPS)]


def test_names_of_a_folder_of_frames(capsys, tmp_path, model_dir, clip):
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(open_video(clip[0])):
        Image.fromarray(frame).save(tmp_path / "in" / f"shot{index + 8}.png")
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--png", tmp_path / "png")
    assert segment(capsys, tmp_path / "in" / "shot*.png", *options) == (0, "")
    assert sorted(os.listdir(tmp_path / "png")) == sorted(f"shot{index}.png" for index in range(8, 15))


def test_prompt_file(capsys, tmp_path, model_dir, clip):
    (tmp_path / "mask.png").write_bytes(clip[1].read_bytes())
    prompts = [
        {"mask": "mask.png"},
        {"mask": "mask.png", "frame": 3, "id": 9},
        {"box": [4, 8, 24, 28.5], "frame": 2},
        {"point": [45, 40], "frame": 1, "id": 5},
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    with open_video(clip[0]) as video:
        found = read_prompts(video, file=tmp_path / "prompts.json", boxes=["1=1,2,3,4"])
    assert {frame: {kind: list(ids) for kind, ids in kinds.items()} for frame, kinds in found.visual.items()} == {
        0: {"mask": [1, 2]}, 3: {"mask": [9]}, 2: {"box": [3]}, 1: {"point": [5], "box": [4]},
    }  # fmt: skip
    np.testing.assert_array_equal(found.visual[3]["mask"][9], clip[2] > 0)
    options = ("--model", model_dir, "--task", "vos", "--json", tmp_path / "out.json")
    assert segment(capsys, clip[0], *options, "--prompts", tmp_path / "prompts.json") == (0, "")
    seen = {entry["id"] for frame in read_results(tmp_path / "out.json")["frames"] for entry in frame["segments"]}
    assert {1, 2} <= seen <= {1, 2, 3, 5, 9}
    (tmp_path / "texts.json").write_text(json.dumps([{"text": "a box", "id": 4}, {"text": "the ground"}]))
    with open_video(clip[0]) as video:
        found = read_prompts(video, file=tmp_path / "texts.json", texts=["more"])
    assert found.expressions == {4: "a box", 1: "the ground", 2: "more"}


def test_variable_rate_sound_and_rotation(capsys, tmp_path, model_dir):
    """A phone's video: turned, of uneven rate, with sound."""
    times = [0, 40, 80, 400, 440, 1000, 1500]
    with av.open(str(tmp_path / "in.mp4"), mode="w") as container:
        video = container.add_stream("libx264", rate=12)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "mono"
        for index, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 30 * index, np.uint8), format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(video.encode(picture.reformat(format="yuv420p")))
        container.mux(video.encode(None))
        for begin in range(0, 72000, 1024):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 48000, begin
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    data = bytearray((tmp_path / "in.mp4").read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = struct.pack(">9i", *(0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    (tmp_path / "in.mp4").write_bytes(data)

    options = ("--model", model_dir, "--task", "vss", "--categories", "a,b", "--out", tmp_path / "out.mp4")
    assert segment(capsys, tmp_path / "in.mp4", *options) == (0, "")
    with open_video(tmp_path / "out.mp4") as video:
        assert (video.info.height, video.info.width) == (WIDTH, HEIGHT)
        found = [round(1000 * time) for _, time in video.timed_frames()]
    assert found == times
    with av.open(str(tmp_path / "out.mp4")) as container:
        (audio,) = container.streams.audio
        assert float(audio.duration * audio.time_base) == pytest.approx(1.5, abs=0.05)


def test_gif(capsys, tmp_path, model_dir, clip):
    pictures = [Image.fromarray(frame) for frame in open_video(clip[0])]
    pictures[0].save(tmp_path / "in.gif", save_all=True, append_images=pictures[1:], duration=100)
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--out", tmp_path / "out.mp4")
    assert segment(capsys, tmp_path / "in.gif", *options) == (0, "")
    check_output(tmp_path / "out.mp4", tmp_path / "out.json", (HEIGHT, WIDTH), NUM_FRAMES, 10)


def test_ids_above_255_are_grey_pngs(tmp_path):
    output = PaletteOutput(tmp_path / "png", overwrite=False)
    for name, object_id in (("0", 255), ("1", 300)):
        segmentation = np.full((4, 6), object_id, dtype=np.int32)
        result = {"frame_idx": 0, "segmentation": segmentation, "segments_info": [{"id": object_id}]}
        output.write(FinishedFrame(name, np.zeros((4, 6, 3), np.uint8), None, result, {}))
    output.appear(tmp_path / "png")
    for name, mode, object_id in (("0", "P", 255), ("1", "I;16", 300)):
        with Image.open(tmp_path / "png" / f"{name}.png") as image:
            assert image.mode == mode and (np.asarray(image) == object_id).all()
    assert output.notes == ["from frame 1 on, PNGs with ids above 255 are grey with 16 bits"]


def test_contact_sheet_of_a_long_video_holds_few_pictures(tmp_path):
    output = SheetOutput(tmp_path / "sheet.png", False, 0, 0.5, True)
    frame = np.zeros((12, 16, 3), np.uint8)
    result = {"frame_idx": 0, "segmentation": np.ones((12, 16), np.int32), "segments_info": [{"id": 1}]}
    most = 0
    for index in range(1000):
        output.write(FinishedFrame(f"{index:05d}", frame, None, result, {}))
        most = max(most, len(output._pictures))
    assert most <= 48
    numbers = [int(name) for name, _ in output._pictures]
    assert numbers[0] == 0 and numbers[-1] > 900 and len(set(np.diff(numbers))) == 1


def test_help_is_quick(project_root):
    """No model library is imported for it."""
    code = "import sys; sys.argv = ['univs', '--help']\ntry:\n import univs_cli; univs_cli.main()\nfinally:\n"
    code += " assert not {'torch', 'transformers', 'av', 'numpy'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_root)},
    )
    assert done.returncode == 0 and "segment" in done.stdout, done.stderr


def test_load_model_types(model_dir):
    for dtype in ("float32", "bfloat16"):
        model, processor = load_model(str(model_dir), "cpu", dtype)
        assert str(model.dtype) == f"torch.{dtype}" and not model.training
        assert processor.image_processor.size.shortest_edge == 32


def test_label_maps_of_different_kinds(tmp_path):
    expected = np.zeros((4, 6), dtype=np.uint8)
    expected[1:3, 2:5] = 1
    Image.fromarray(expected * 255).save(tmp_path / "grey.png")
    Image.fromarray(expected.astype(bool)).save(tmp_path / "bits.png")
    Image.fromarray(expected.astype(np.uint16)).save(tmp_path / "deep.png")
    save_palette_png(tmp_path / "palette.png", expected)
    for name in ("grey", "bits", "deep", "palette"):
        np.testing.assert_array_equal(read_label_map(tmp_path / f"{name}.png", (4, 6)), expected)
    Image.fromarray(expected * 7).save(tmp_path / "seven.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "seven.png", (4, 6)), expected * 7)


def test_results_file(tmp_path):
    segmentation = np.array([[0, 1], [1, 2]])
    infos = [{"id": 1, "label": "é", "score": 0.5}, {"id": 2, "label": "b", "score": None}]
    path = tmp_path / "results.json"
    with ResultsWriter(path, {"task": "vos"}) as writer:
        assert not path.exists()
        writer.write({"frame_idx": 0, "segmentation": segmentation, "segments_info": infos})
        writer.write({"frame_idx": 1, "segmentation": segmentation * 0, "segments_info": []})
    results = read_results(path)
    assert results["num_frames"] == 2 and results["frames"][1]["segments"] == []
    np.testing.assert_array_equal(results["frames"][0]["segments"][0]["mask"], segmentation == 1)
    # One line per frame, so that a reader can stream.
    assert len(path.read_text().splitlines()) == 4
    assert results["complete"] is True and results["objects"] == []
    with ResultsWriter(path, {}):
        pass
    assert read_results(path)["frames"] == []
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="not a results file"):
        read_results(tmp_path / "other.json")


def test_commands_of_the_readme(capsys, tmp_path, model_dir, clip, project_root, monkeypatch):
    """Each runs as it stands, in a folder with the files that it names."""
    readme = (project_root / "README.md").read_text()
    commands = re.findall(r"^univs (segment .*)$", readme, flags=re.M)
    assert {re.search(r"--task (\w+)", command)[1] for command in commands} == set(TASK_OPTIONS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").symlink_to(model_dir)
    (tmp_path / "frames").mkdir()
    scale = 3
    with VideoWriter("video.mp4", fps=FPS) as writer:
        for index, frame in enumerate(open_video(clip[0])):
            large = frame.repeat(scale, axis=0).repeat(scale, axis=1)
            writer.write(large)
            Image.fromarray(large).save(tmp_path / "frames" / f"{index:05d}.jpg")
    for name in ("first_frame.png", "later.png"):
        save_palette_png(name, clip[2].repeat(scale, axis=0).repeat(scale, axis=1))
    for command in commands:
        assert main([*shlex.split(command), "--quiet"]) == 0, command
        outputs = re.findall(r"--(?:out|png|sheet) (\S+)", command)
        assert outputs or "--json -" in command
        assert all((tmp_path / name).exists() for name in outputs)
    captured = capsys.readouterr()
    assert captured.err == "" and len(captured.out.splitlines()) == NUM_FRAMES
