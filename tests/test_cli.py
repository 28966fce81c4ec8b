# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The command line, on generated and on real video: files, sizes, rates, errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny_config import tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf.cli import load_model, main, read_label_map
from univs_hf.results_io import ResultsWriter, read_results
from univs_hf.video_io import open_video
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
            frame[8:28, 4 + 3 * index : 24 + 3 * index] = (220, 60, 60)
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
    options = ("--model", model_dir, "--task", "vss", "--categories", "red box, ground", "--out", out)
    assert segment(capsys, clip[0], *options) == (0, "")
    results = check_output(out, tmp_path / "out.json", (HEIGHT, WIDTH), NUM_FRAMES, FPS)
    assert sorted(os.listdir(tmp_path)) == ["out.json", "out.mp4"]
    assert (results["task"], results["video"]) == ("vss", str(clip[0]))
    for frame in results["frames"]:
        # Every pixel has one class.
        assert (sum(entry["mask"].astype(int) for entry in frame["segments"]) == 1).all()
        assert {entry["label"] for entry in frame["segments"]} <= {"red box", "ground"}


def test_object_segmentation(capsys, tmp_path, model_dir, clip):
    out, results_path = tmp_path / "out.mkv", tmp_path / "results.json"
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--out", out, "--json", results_path)
    assert segment(capsys, clip[0], *options, "--max-frames", 4, "--clip-length", 2, "--fps", 5) == (0, "")
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


def test_a_video_that_breaks_off_is_noted(capsys, tmp_path, model_dir):
    with VideoWriter(tmp_path / "whole.avi", fps=FPS) as writer:
        for index in range(30):
            writer.write(np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    data = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    options = ("--model", model_dir, "--task", "vss", "--categories", "a,b", "--json", tmp_path / "out.json")
    status, notes = segment(capsys, tmp_path / "cut.avi", *options)
    assert status == 0 and "declares 30 frames, but only" in notes
    assert 5 < read_results(tmp_path / "out.json")["num_frames"] < 25


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


def test_errors_are_one_line_and_status_2_and_leave_nothing(capsys, tmp_path, model_dir, clip):
    def check(message, *arguments, video=clip[0], model=model_dir, task="vos", out=tmp_path / "out.mp4"):
        extra = () if out is None else ("--out", out)
        status, error = segment(capsys, video, "--model", model, "--task", task, *extra, *arguments)
        assert status == 2, error
        assert message in error
        assert "Traceback" not in error
        assert error.startswith("univs segment: error: ") and error.count("\n") == 1
        assert not list(tmp_path.glob("*out*"))

    mask = ("--mask", clip[1])
    check("No such video", *mask, video=tmp_path / "missing.mp4")
    (tmp_path / "text.mp4").write_text("text")
    check("not a video", *mask, video=tmp_path / "text.mp4")
    (tmp_path / "folder").mkdir()
    check("holds no image", *mask, video=tmp_path / "folder")
    check("needs --mask")
    check("does not fit --task vss", *mask, task="vss")
    check("does not fit --task vos", *mask, "--categories", "a,b")
    check("at least two", "--categories", "cats", task="vss")
    check("at least two", "--categories", "cat,cat", task="vss")
    check("must hold letters", "--categories", "cat,2", task="vss")
    check("carries no categories", task="vss")
    check("No such mask", "--mask", tmp_path / "missing.png")
    check("no image", "--mask", tmp_path / "text.mp4")
    check("frames 0 to 6", "--mask", f"7={clip[1]}")
    check("twice", *mask, "--mask", f"0={clip[1]}")
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / "colours.png")
    check("RGB image", "--mask", tmp_path / "colours.png")
    Image.new("L", (WIDTH, WIDTH), 1).save(tmp_path / "square.png")
    check("does not fit frames", "--mask", tmp_path / "square.png")
    Image.new("L", (WIDTH, HEIGHT), 0).save(tmp_path / "empty.png")
    check("holds no object", "--mask", tmp_path / "empty.png")
    check("nothing to write", *mask, out=None)
    check("accepted are", *mask, out=tmp_path / "out.txt")
    check("nowhere", *mask, out=tmp_path / "nowhere" / "out.mp4")
    check("is an image", *mask, out=tmp_path / "out.png")
    check("max_frames", *mask, "--max-frames", "0")
    check("--clip-length", *mask, "--clip-length", "0")
    check("--alpha", *mask, "--alpha", "2")
    check("no config.json", *mask, model=tmp_path)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    check("'bert'", *mask, model=tmp_path / "bert")
    check("--device quantum", *mask, "--device", "quantum")


def test_usage_errors(capsys):
    for arguments in ([], ["nonsense"], ["segment"], ["segment", "a.mp4", "--model", "m", "--task", "vox"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "segment" in (help_text := capsys.readouterr().out) and "convert" in help_text


def test_interruption_leaves_nothing(capsys, tmp_path, model_dir, clip, monkeypatch):
    def interrupted(self, frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    options = ("--model", model_dir, "--task", "vos", "--mask", clip[1], "--out", tmp_path / "out.mp4")
    status, error = segment(capsys, clip[0], *options)
    assert status == 130 and "interrupted" in error and os.listdir(tmp_path) == []


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
    with ResultsWriter(path, {}):
        pass
    assert read_results(path)["frames"] == []
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="not a results file"):
        read_results(tmp_path / "other.json")


def test_demo(tmp_path, project_root):
    """What `make demo` runs, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    command = [sys.executable, str(project_root / "demo" / "run_demo.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for task in ("vss", "vos"):
        results = check_output(tmp_path / f"shapes-{task}.mp4", tmp_path / f"shapes-{task}.json", (180, 320), 24, 12)
        assert str(tmp_path / f"shapes-{task}.mp4") in done.stdout
    assert {entry["id"] for entry in results["frames"][0]["segments"]} == {1, 2, 3}
