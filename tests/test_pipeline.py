# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`pipeline("video-segmentation")`: what goes in, what comes out, saving and loading, also without the package."""

import functools
import gc
import http.server
import inspect
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from decisive_model import decisive_model
from PIL import Image
from tiny_processor import tiny_processor
from torch.utils.data import Dataset, IterableDataset
from transformers import pipeline

from univs_hf import VideoSegmentationPipeline
from univs_hf.inference_univs import propagate
from univs_hf.pipeline_univs import visual_inputs
from univs_hf.video_writer import VideoWriter

HEIGHT, WIDTH, LENGTH = 40, 60, 5
CATEGORIES = ["dog", "red car", "ice"]


def frames(count=LENGTH, seed=0, size=(HEIGHT, WIDTH)):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def label_map():
    result = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    result[4:24, 4:28], result[20:38, 32:56] = 1, 2
    return result


@pytest.fixture(scope="module")
def model():
    return decisive_model()


@pytest.fixture(scope="module")
def pipe(model):
    return pipeline("video-segmentation", model=model, processor=tiny_processor(), device="cpu")


def same(first, second):
    """Whether two results of a video are the same segments."""

    def plain(result):
        return [[{**segment, "mask": segment["mask"].tobytes()} for segment in frame] for frame in result]

    return plain(first) == plain(second)


@pytest.fixture(scope="module")
def semantic(pipe):
    """Result of VSS on `frames()`."""
    return pipe(frames(), subtask="vss", categories=CATEGORIES)


# --- results


def test_results_are_those_of_a_session(pipe, model, semantic) -> None:
    assert isinstance(pipe, VideoSegmentationPipeline)
    expected = list(propagate(model, pipe.processor, frames(), "vss", categories=CATEGORIES))
    assert len(semantic) == LENGTH and len(semantic[0]) > 1
    for segments, result in zip(semantic, expected, strict=True):
        assert [segment["id"] for segment in segments] == [info["id"] for info in result["segments_info"]]
        covered = np.zeros((HEIGHT, WIDTH), int)
        for segment in segments:
            assert list(segment) == ["id", "label", "score", "mask"]
            assert segment["label"] == CATEGORIES[segment["id"]] and segment["score"] is None
            assert segment["mask"].mode == "L" and segment["mask"].size == (WIDTH, HEIGHT)
            mask = np.asarray(segment["mask"])
            assert set(np.unique(mask)) <= {0, 255}
            assert np.array_equal(mask > 0, (result["segmentation"] == segment["id"]).numpy())
            covered += mask > 0
        assert (covered == 1).all()


@pytest.mark.parametrize("subtask", ["vis", "vps", "vss", "semantic", "panoptic", "instance"])
def test_category_tasks(subtask, pipe) -> None:
    result = pipe(frames(), subtask=subtask, categories=CATEGORIES)
    assert len(result) == LENGTH and any(result)
    for segments in result:
        assert all(segment["label"] in CATEGORIES for segment in segments)
        assert len({segment["id"] for segment in segments}) == len(segments)
        assert all(np.asarray(segment["mask"]).any() for segment in segments)


@pytest.mark.parametrize("subtask", ["vos", "pvos"])
def test_masks_boxes_and_points(subtask, pipe) -> None:
    given = {"prompt_masks": label_map(), "boxes": [[4, 4, 28, 24]], "points": [[40, 30]]}
    for name, value in given.items():
        result = pipe(frames(), subtask=subtask, **{name: value})
        assert len(result) == LENGTH
        ids = {segment["id"] for segments in result for segment in segments}
        assert ids <= ({1, 2} if name == "prompt_masks" else {1})
    first = {segment["id"]: np.asarray(segment["mask"]) > 0 for segment in pipe(frames(), prompt_masks=label_map())[0]}
    for object_id in (1, 2):
        overlap = (first[object_id] & (label_map() == object_id)).sum() / (label_map() == object_id).sum()
        assert overlap > 0.8
    assert same(pipe(frames(), prompt_masks=label_map()), pipe(frames(), subtask="vos", prompt_masks={0: label_map()}))


def test_things_and_stuff(pipe) -> None:
    """Flags go with the categories, and categories with the objects."""
    categories = {"categories": CATEGORIES, "thing_flags": [True, True, False]}
    for subtask in ("vps", "panoptic"):
        settings = {"class_score_threshold": 0.0, "overlap_threshold": 0.0, "object_mask_threshold": 0.0}
        result = pipe(frames(), subtask=subtask, **categories, **settings)
        stuff = [segment["id"] for segments in result for segment in segments if segment["label"] == "ice"]
        assert stuff, "one segment for all of the ice of a frame"
        assert all(sum(segment["label"] == "ice" for segment in segments) <= 1 for segments in result)
    things = pipe(frames(), subtask="instance", **categories)
    assert {segment["label"] for segments in things for segment in segments} == {"dog", "red car"}

    given = {"subtask": "pvos", "prompt_masks": label_map(), **categories}
    plain, named = pipe(frames(), **given), pipe(frames(), **given, obj_categories={1: "dog", 2: "ice"})
    assert {(segment["id"], segment["label"]) for segments in named for segment in segments} <= {
        (1, "dog"),
        (2, "ice"),
    }
    unnamed = [[[{**segment, "label": ""} for segment in frame] for frame in result] for result in (plain, named)]
    assert not same(*unnamed), "the semantic map has a say in where stuff is"
    for wrong, message in (
        ({"subtask": "vps", "categories": CATEGORIES, "thing_flags": [True]}, "`thing_flags` must hold a flag"),
        ({"subtask": "panoptic", "categories": CATEGORIES, "thing_flags": [True]}, "`thing_flags`"),
        ({**given, "obj_categories": ["dog", "ice"]}, "`obj_categories` must be a mapping"),
        ({**given, "obj_categories": {1: "tree"}}, "accepted are the names"),
        ({"subtask": "vos", "prompt_masks": label_map(), "thing_flags": [True]}, "which are not given"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(frames(), **wrong)


def test_expressions(pipe) -> None:
    result = pipe(frames(), text=["a dog", "red car"])
    labels = {(segment["id"], segment["label"]) for segments in result for segment in segments}
    assert labels and labels <= {(1, "a dog"), (2, "red car")}
    assert same(result, pipe(frames(), subtask="refvos", text=["a dog", "red car"]))


def test_threshold_drops_low_scores(pipe) -> None:
    everything = pipe(frames(1), subtask="instance", categories=CATEGORIES)[0]
    middle = sorted(segment["score"] for segment in everything)[len(everything) // 2]
    kept = pipe(frames(1), subtask="instance", categories=CATEGORIES, threshold=middle)[0]
    assert 0 < len(kept) < len(everything) and all(segment["score"] >= middle for segment in kept)


# --- inputs


def test_every_form_of_one_video(pipe, semantic, tmp_path) -> None:
    video = frames()
    for index, frame in enumerate(video):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    forms = {
        "arrays": video,
        "pil": [Image.fromarray(frame) for frame in video],
        "tuple": tuple(video),
        "array": np.stack(video),
        "tensor": torch.from_numpy(np.stack(video)),
        "channels first": torch.from_numpy(np.stack(video)).permute(0, 3, 1, 2),
        "floats": np.stack(video).astype(np.float32) / 255,
        "with alpha": [Image.fromarray(frame).convert("RGBA") for frame in video],
        "generator": (frame for frame in video),
        "folder": tmp_path,
        "folder as string": str(tmp_path),
    }
    for name, form in forms.items():
        assert same(pipe(form, subtask="vss", categories=CATEGORIES), semantic), name


def test_video_file(pipe, tmp_path) -> None:
    path = tmp_path / "video.mp4"
    with VideoWriter(path, fps=10) as writer:
        for _ in range(4):
            writer.write(frames(1)[0])
    assert len(pipe(path, subtask="vss", categories=CATEGORIES)) == 4
    with pytest.raises(FileNotFoundError, match="absent"):
        pipe(tmp_path / "absent.mp4", subtask="vss", categories=CATEGORIES)


def test_an_image_is_a_video_of_one_frame(pipe, tmp_path) -> None:
    array = frames(1)[0]
    Image.fromarray(array).save(tmp_path / "image.png")
    for subtask in ("vss", "panoptic"):
        results = [
            pipe(image, subtask=subtask, categories=CATEGORIES)
            for image in (array, Image.fromarray(array), tmp_path / "image.png", [array])
        ]
        assert len(results[0]) == 1 and all(same(result, results[0]) for result in results)


class Videos(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> list[np.ndarray]:
        return frames(2, seed=index)


class VideoStream(IterableDataset):
    def __iter__(self) -> Iterator[list[np.ndarray]]:
        yield from (Videos()[0], Videos()[1])


def test_several_videos(pipe) -> None:
    videos = [frames(2, seed=0), frames(2, seed=1)]
    arguments = {"subtask": "vss", "categories": CATEGORIES}
    expected = [pipe(video, **arguments) for video in videos]
    assert not same(*expected)
    arrays = [np.stack(video) for video in videos]
    for form in (videos, tuple(videos), arrays, np.stack(arrays)):
        results = pipe(form, **arguments)
        assert isinstance(results, list) and len(results) == 2
        assert all(map(same, results, expected))
    assert same(pipe(videos[:1], **arguments)[0], expected[0])
    for form in ((video for video in videos), Videos(), VideoStream()):
        results = pipe(form, **arguments)
        assert not isinstance(results, list)
        assert all(same(*pair) for pair in zip(results, expected, strict=True))


def test_prompts_of_several_videos(pipe) -> None:
    videos = [frames(3), frames(3, seed=1)]
    single = [pipe(videos[0], prompt_masks=label_map()), pipe(videos[1], boxes=[[4, 4, 28, 24]])]
    results = pipe(videos, subtask="vos", prompt_masks=[label_map(), None], boxes=[None, [[4, 4, 28, 24]]])
    assert all(map(same, results, single))
    results = pipe(videos, text="a dog")
    assert same(results[1], pipe(videos[1], text="a dog"))
    with pytest.raises(ValueError, match="`prompt_masks` must be a list with one entry per video"):
        pipe(videos, subtask="vos", prompt_masks=label_map())


@pytest.fixture
def server(tmp_path):
    """Serves `tmp_path / "www"` on a port of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    folder = tmp_path / "www"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_url(pipe, server) -> None:
    folder, address = server
    with VideoWriter(folder / "video.mp4", fps=10) as writer:
        for frame in frames(3):
            writer.write(frame)
    Image.fromarray(frames(1)[0]).save(folder / "image.png")
    for name, length in (("video.mp4", 3), ("image.png", 1)):
        result = pipe(f"{address}/{name}?size=full", subtask="vss", categories=CATEGORIES, timeout=10)
        assert len(result) == length
        assert same(result, pipe(folder / name, subtask="vss", categories=CATEGORIES))
    with pytest.raises(ValueError, match="could not be fetched: .*404"):
        pipe(f"{address}/absent.mp4", subtask="vss", categories=CATEGORIES)


# --- streams and batches


def test_stream_reads_no_further_than_a_clip(pipe, semantic) -> None:
    read = 0

    def source(count):
        nonlocal read
        for _ in range(count):
            for frame in frames():
                read += 1
                yield frame

    results = pipe(source(1), subtask="vss", categories=CATEGORIES, stream=True)
    assert isinstance(results, Iterator) and read <= 1
    first = next(results)
    assert read == 3
    assert same([first, *results], semantic)

    counts = []
    for index, _ in enumerate(pipe(source(20), subtask="vps", categories=CATEGORIES, stream=True, max_objects=5)):
        if index in (30, 90):
            gc.collect()
            counts.append(sum(1 for item in gc.get_objects() if type(item) is torch.Tensor))
    assert counts[1] <= counts[0] + 5


def test_stream_of_several_videos(pipe) -> None:
    videos = [frames(2), frames(2, seed=1)]
    arguments = {"subtask": "vss", "categories": CATEGORIES}
    results = [list(result) for result in pipe(videos, stream=True, **arguments)]
    assert all(map(same, results, pipe(videos, **arguments)))


def test_batches(pipe, model, monkeypatch) -> None:
    videos = [frames(4, seed) for seed in range(3)]
    arguments = {"subtask": "vss", "categories": CATEGORIES}
    expected = pipe(videos, **arguments)
    batches = []
    encode = model.encode_frames
    monkeypatch.setattr(model, "encode_frames", lambda pixels: batches.append(pixels.shape[:2]) or encode(pixels))
    results = pipe(videos, batch_size=2, **arguments)
    assert batches == [(2, 3), (2, 1), (1, 3), (1, 1)]
    for result, other in zip(results, expected, strict=True):
        for segments, wanted in zip(result, other, strict=True):
            maps = [sum((s["id"] + 1) * (np.asarray(s["mask"]) > 0) for s in frame) for frame in (segments, wanted)]
            assert (maps[0] != maps[1]).mean() < 0.01  # products of another shape round otherwise
    batches.clear()
    pipe(videos[0], subtask="panoptic", categories=CATEGORIES, batch_size=3)
    assert batches == [(3, 1), (1, 1)]


def test_tasks_with_a_memory_take_no_batch(pipe) -> None:
    with pytest.raises(ValueError, match="memory of its own"):
        pipe([frames(2), frames(2)], subtask="vps", categories=CATEGORIES, batch_size=2)
    with pytest.raises(ValueError, match="one length"):
        pipe([frames(2), frames(3)], subtask="vss", categories=CATEGORIES, batch_size=2)
    with pytest.raises(ValueError, match="batch_size=1"):
        pipe([frames(2), frames(2)], subtask="vss", categories=CATEGORIES, batch_size=2, stream=True)
    # For one video there is nothing to batch.
    assert len(pipe(frames(2), subtask="vps", categories=CATEGORIES, batch_size=2)) == 2


# --- arguments


def test_bad_arguments_are_named(pipe) -> None:
    video = frames(2)
    for arguments, message in (
        ({"subtask": "vod"}, "`subtask` must be one of .*'vis'.*got 'vod'"),
        ({"threshold": 2.0}, "`threshold`"),
        ({"batch_size": -1}, "`batch_size`"),
        ({"mask": 1}, r"no arguments \['mask'\]"),
        ({"subtask": "vos"}, "prompts"),
        ({"subtask": "refvos"}, "expression"),
        ({"subtask": "vps", "text": "a dog"}, "text prompts"),
        ({"subtask": "vss", "boxes": [[0, 0, 5, 5]]}, "masks, boxes or points"),
        ({"subtask": "panoptic", "boxes": [[0, 0, 5, 5]]}, "boxes"),
        ({"subtask": "vss", "categories": "no such set"}, "no such set"),
        ({"subtask": "vss"}, "`categories` must be given"),
        ({"subtask": "vos", "boxes": [[0, 0, 5]]}, r"`boxes` must be numbers of shape \(N, 4\)"),
        ({"subtask": "vos", "points": "middle"}, r"`points` must be numbers of shape \(N, 2\)"),
        ({"subtask": "vos", "prompt_masks": np.zeros((2, 2, 2, 2))}, "`prompt_masks`"),
        ({"subtask": "vos", "prompt_masks": np.zeros((HEIGHT, WIDTH))}, "no object"),
        ({"subtask": "vss", "categories": CATEGORIES, "num_frames": 0}, "num_frames"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(video, **arguments)


def test_bad_inputs_are_named(pipe) -> None:
    arguments = {"subtask": "vss", "categories": CATEGORIES}
    for inputs, error, message in (
        (3, TypeError, "`inputs` must be a path"),
        ([], ValueError, "at least one frame"),
        (iter([]), ValueError, "at least one frame"),
        (iter([3]), TypeError, "must yield frames"),
        ([frames(1)[0], "video.mp4"], TypeError, "frames or videos, and not both"),
        ([frames(1)[0], frames(1, size=(48, 40))[0]], ValueError, "one size"),
        ([[]], ValueError, "no frame"),
    ):
        with pytest.raises(error, match=message):
            pipe(inputs, **arguments)
    with pytest.raises(ValueError, match="needs a `processor`"):
        VideoSegmentationPipeline(pipe.model, task="video-segmentation", device="cpu")
    with pytest.raises(ValueError, match="needs a `UniVSForVideoSegmentation`, got UniVSModel"):
        VideoSegmentationPipeline(pipe.model.model, processor=pipe.processor, task="video-segmentation", device="cpu")


def test_visual_inputs_get_the_ids_that_are_free() -> None:
    mask = label_map()
    prompts = visual_inputs(prompt_masks=mask, boxes=[[0, 0, 5, 5]], points={3: [[1, 2], [3, 4]]})
    assert [(frame, kind, list(objects)) for frame, kind, objects in prompts] == [
        (0, "mask", [1, 2]),
        (0, "box", [3]),
        (3, "point", [4, 5]),
    ]
    prompts = visual_inputs(boxes=[[0, 0, 5, 5]], points=[1, 2], obj_ids=[7, 5], prompt_frame_idx=2)
    assert [(frame, kind, list(objects)) for frame, kind, objects in prompts] == [(2, "box", [7]), (2, "point", [5])]
    prompts = visual_inputs(prompt_masks={0: {4: mask == 1}, 2: np.stack([mask == 2])})
    assert [(frame, list(objects)) for frame, _, objects in prompts] == [(0, [4]), (2, [1])]
    for ids in ([7], [7, 5, 3], [7, 7]):
        with pytest.raises(ValueError, match="`obj_ids`"):
            visual_inputs(boxes=[[0, 0, 5, 5], [1, 1, 6, 6]], obj_ids=ids)


def test_arguments_of_the_pipeline_hold_for_all_calls(model, semantic) -> None:
    parts = {"model": model, "processor": tiny_processor(), "device": "cpu"}
    pipe = pipeline("video-segmentation", **parts, subtask="vss", categories=CATEGORIES)
    assert same(pipe(frames()), semantic)
    assert {segment["label"] for segment in pipe(frames(), categories=["sky"])[0]} == {"sky"}
    with pytest.raises(ValueError, match="`subtask`"):
        pipeline("video-segmentation", **parts, subtask="vod")


# --- saving and loading


@pytest.fixture(scope="module")
def saved(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "saved"
    pipe.save_pretrained(folder)
    return folder


def test_loads_with_the_package(saved, semantic, monkeypatch) -> None:
    # transformers asks at the terminal where it is in doubt about code, and swallows what comes of it.
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or "n")
    for trust in ({}, {"trust_remote_code": True}, {"trust_remote_code": False}):
        loaded = pipeline("video-segmentation", model=str(saved), device="cpu", **trust)
        assert type(loaded) is VideoSegmentationPipeline
        assert same(loaded(frames(), subtask="vss", categories=CATEGORIES), semantic)
    assert asked == []


def test_loads_from_a_model_and_a_processor(pipe, semantic, tmp_path) -> None:
    pipe.model.save_pretrained(tmp_path)
    pipe.processor.save_pretrained(tmp_path)
    loaded = pipeline("video-segmentation", model=str(tmp_path), device="cpu")
    assert same(loaded(frames(), subtask="vss", categories=CATEGORIES), semantic)


def test_saving_leaves_no_trace(pipe, saved) -> None:
    assert not hasattr(pipe.model.config, "custom_pipelines")
    for part in (pipe.model, pipe.model.config, pipe.processor, pipe.processor.image_processor):
        assert type(part)._auto_class is None
    config = json.loads((saved / "config.json").read_text())
    assert config["custom_pipelines"]["video-segmentation"]["impl"] == "pipeline_univs.VideoSegmentationPipeline"
    assert (saved / "pipeline_univs.py").is_file()
    with pytest.raises(NotADirectoryError, match="config.json"):
        pipe.save_pretrained(saved / "config.json")


def test_dtype(saved) -> None:
    loaded = pipeline("video-segmentation", model=str(saved), device="cpu", dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    for subtask in ("vss", "vps", "panoptic", "instance"):
        assert len(loaded(frames(3), subtask=subtask, categories=CATEGORIES)) == 3
    assert len(loaded(frames(3), prompt_masks=label_map())) == 3


CHILD = """
    import sys

    class RefuseThePackage:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] == "univs_hf":
                raise ModuleNotFoundError(f"{name} is out of reach in this test")

    sys.meta_path.insert(0, RefuseThePackage)

    import numpy as np
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    folder = sys.argv[1]
    try:
        pipeline("video-segmentation", model=folder + "/saved", device="cpu")
        raise AssertionError("code of the folder was run without leave")
    except ValueError as error:
        assert "trust_remote_code" in str(error), error
    pipe = pipeline("video-segmentation", model=folder + "/saved", device="cpu", trust_remote_code=True)
    assert type(pipe).__module__.startswith("transformers_modules."), type(pipe)
    video = list(np.load(folder + "/video.npy"))
    np.savez(folder + "/first.npz", *run(pipe, video))
    pipe.save_pretrained(folder + "/saved_again")
    pipe = pipeline("video-segmentation", model=folder + "/saved_again", device="cpu", trust_remote_code=True)
    np.savez(folder + "/second.npz", *run(pipe, video))
    assert "univs_hf" not in sys.modules
"""


def run(pipe, video):  # the child runs its source too, without this module's names
    """Masks of every frame with categories, with a box, and of the first frame as an image."""
    import numpy

    calls = (
        {"subtask": "vss", "categories": ["dog", "red car", "ice"]},
        {"subtask": "vos", "boxes": [[4, 4, 28, 24]]},
        {"subtask": "panoptic", "categories": ["dog", "red car", "ice"]},
    )
    masks = []
    for arguments in calls:
        for segments in pipe(video, **arguments):
            masks += [numpy.asarray(segment["mask"]) for segment in segments]
    return masks


def test_loads_without_the_package(pipe, saved, tmp_path: Path) -> None:
    (tmp_path / "saved").symlink_to(saved, target_is_directory=True)
    np.save(tmp_path / "video.npy", np.stack(frames()))
    child = subprocess.run(
        [sys.executable, "-I", "-c", inspect.getsource(run) + textwrap.dedent(CHILD), str(tmp_path)],
        # The code of the folder is copied into a cache of modules before it is imported; keep that in this test too.
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_MODULES_CACHE": str(tmp_path / "modules")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    expected = run(pipe, frames())
    for name in ("first.npz", "second.npz"):
        masks = np.load(tmp_path / name)
        assert len(masks.files) == len(expected) > 0
        assert all(np.array_equal(masks[f"arr_{index}"], mask) for index, mask in enumerate(expected))
