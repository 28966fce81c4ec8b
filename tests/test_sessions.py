# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sessions: what the user gives and when, live streams, direction, ranges, resets, bounded memory."""

import gc
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_config import tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf import UniVSForVideoSegmentation, UniVSInferenceSession, UniVSProcessor
from univs_hf.clip_engine_univs import TASKS, FeatureWindow
from univs_hf.configuration_univs import TASK_PRESETS
from univs_hf.inference_univs import image_processor_for
from univs_hf.label_sets import COMBINED_TABLE_ROWS, LabelSet, load_label_set
from univs_hf.modeling_univs import UniVSFrameFeatures
from univs_hf.rle import decode_mask
from univs_hf.text_embeddings_univs import embed_categories

HEIGHT, WIDTH = 40, 60


@pytest.fixture(scope="module")
def model() -> UniVSForVideoSegmentation:
    return tiny_model(num_frames=3, num_prev_frames_memory=3, text_config=text_config())


@pytest.fixture(scope="module")
def processor() -> UniVSProcessor:
    return tiny_processor()


def make_video(num_frames: int = 7, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(num_frames)]


def make_mask(top: int = 4, left: int = 4) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + 20, left : left + 24] = True
    return mask


def prepare(session: UniVSInferenceSession, processor: UniVSProcessor) -> UniVSInferenceSession:
    """Gives a session of any task what it needs."""
    if session.task in ("vos", "pvos"):
        processor.add_inputs_to_inference_session(session, 0, [1, 2], [make_mask(), make_mask(18, 32)])
    if session.task == "refvos":
        processor.add_text_prompt(session, ["a red car", "the dog"])
    if session.task in ("vis", "vss", "vps"):
        processor.set_categories(session, ["person", "dog", "grass"])
    return session


def run(model: Any, processor: Any, task: str, video: Any, **options: Any) -> list[dict[str, Any]]:
    session = prepare(processor.init_video_session(video, task=task), processor)
    return list(model.propagate_in_video_iterator(session, **options))


def assert_same_results(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assert [result["frame_idx"] for result in first] == [result["frame_idx"] for result in second]
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in ("segmentation", "masks"):
            if name in one:
                assert torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name]))
        assert [segment["id"] for segment in one["segments_info"]] == [s["id"] for s in other["segments_info"]]


def test_all_six_tasks_have_an_engine() -> None:
    assert set(TASKS) == set(TASK_PRESETS)


@pytest.mark.parametrize("task", list(TASK_PRESETS))
@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_every_task_gives_one_result_per_frame_in_order(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, task: str, num_frames: int
) -> None:
    results = run(model, processor, task, make_video(num_frames))
    assert [result["frame_idx"] for result in results] == list(range(num_frames))
    for result in results:
        segments = result["segments_info"]
        assert len({segment["id"] for segment in segments}) == len(segments)
        assert all({"id", "label_id", "label", "score"} <= segment.keys() for segment in segments)
        if "masks" in result:
            assert task in ("vis", "refvos")
            assert result["masks"].shape == (len(segments), HEIGHT, WIDTH)
            assert result["masks"].dtype == torch.bool
        else:
            assert result["segmentation"].shape == (HEIGHT, WIDTH)
            present = set(result["segmentation"].unique().tolist()) - (set() if task == "vss" else {0})
            assert present == {segment["id"] for segment in segments}


@pytest.mark.parametrize("task", list(TASK_PRESETS))
def test_a_live_stream_gives_what_a_whole_video_gives(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, task: str
) -> None:
    frames = make_video()
    whole = prepare(processor.init_video_session(frames, task=task, detect_after_empty_start=True), processor)
    whole = list(model.propagate_in_video_iterator(whole))
    session = prepare(processor.init_video_session(None, task=task), processor)
    results = []
    for frame in frames:
        results += model(inference_session=session, frame=frame)
    results += session.finish(model)
    assert_same_results(results, whole)
    assert session.settings["max_objects"] == 100, "objects of a live stream are bounded"


@pytest.mark.parametrize("task", ["vos", "vss"])
def test_kinds_of_video(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, task: str, tmp_path: Path
) -> None:
    frames = make_video()
    expected = run(model, processor, task, frames)
    from PIL import Image

    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{index:03d}.png")
    stack = np.stack(frames)
    kinds = {
        "array": stack,
        "tensor": torch.from_numpy(stack),
        "generator": (frame for frame in frames),
        "folder": tmp_path,
        "images": [Image.fromarray(frame) for frame in frames],
    }
    for name, video in kinds.items():
        results = run(model, processor, task, video)
        assert len(results) == len(expected), name
        assert_same_results(results, expected)


def test_a_single_image_is_a_video_of_one_frame(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    frame = make_video(1)[0]
    assert_same_results(run(model, processor, "vss", frame), run(model, processor, "vss", [frame]))


def test_ranges(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    frames = make_video()
    part = run(model, processor, "vss", frames, start_frame_idx=2, max_frame_num_to_track=3)
    assert [result["frame_idx"] for result in part] == [2, 3, 4]
    alone = run(model, processor, "vss", frames[2:5])
    for one, other in zip(part, alone, strict=True):
        assert torch.equal(one["segmentation"], other["segmentation"])


def test_reverse_equals_the_reversed_video(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, tmp_path: Path
) -> None:
    from PIL import Image

    frames = make_video()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{index:03d}.png")
    expected = run(model, processor, "vos", frames[::-1])
    for video in (frames, np.stack(frames), tmp_path):
        session = processor.init_video_session(video, task="vos")
        processor.add_inputs_to_inference_session(session, 6, [1, 2], [make_mask(), make_mask(18, 32)])
        results = list(model.propagate_in_video_iterator(session, reverse=True))
        assert [result["frame_idx"] for result in results] == [6, 5, 4, 3, 2, 1, 0]
        for one, other in zip(results, expected, strict=True):
            assert torch.equal(one["segmentation"], other["segmentation"])
    session = processor.init_video_session(frames, task="vos")
    processor.add_inputs_to_inference_session(session, 4, 1, make_mask())
    results = list(model.propagate_in_video_iterator(session, start_frame_idx=4, reverse=True))
    assert [result["frame_idx"] for result in results] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("kind", ["input_masks", "input_boxes", "input_points"])
def test_prompts_on_any_frame_before_and_while_the_video_runs(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, kind: str
) -> None:
    value = {"input_masks": make_mask(18, 32), "input_boxes": [32, 18, 56, 38], "input_points": [44.0, 28.0]}[kind]
    frames = make_video(9)
    session = processor.init_video_session(frames, task="vos")
    processor.add_inputs_to_inference_session(session, 0, 1, make_mask())
    ids: list[list[int]] = []
    for result in model.propagate_in_video_iterator(session):
        ids.append(sorted(torch.unique(result["segmentation"]).tolist()))
        if result["frame_idx"] == 1:
            processor.add_inputs_to_inference_session(session, 5, [7], **{kind: [value]})
            assert session.obj_ids == [1, 7]
        if result["frame_idx"] == 4:
            with pytest.raises(ValueError, match="is over"):
                processor.add_inputs_to_inference_session(session, 2, [8], [make_mask()])
    assert len(ids) == 9
    assert all(7 not in frame for frame in ids[:5])
    if kind == "input_masks":
        assert 7 in ids[5], "an annotated object is there"


def test_a_correction_stands_on_its_frame(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    frames = make_video(8)
    session = processor.init_video_session(frames, task="vos")
    processor.add_inputs_to_inference_session(session, 0, 1, make_mask())
    corrected = make_mask(15, 30)
    for result in model.propagate_in_video_iterator(session):
        if result["frame_idx"] == 1:
            processor.add_inputs_to_inference_session(session, 4, 1, corrected)
        if result["frame_idx"] == 4:
            overlap = (result["segmentation"] == 1).numpy()
            iou = (overlap & corrected).sum() / (overlap | corrected).sum()
            assert iou > 0.8, "what is left is the resize"


def test_remove_and_reset(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    frames = make_video(8)
    session = prepare(processor.init_video_session(frames, task="vos"), processor)
    first = list(model.propagate_in_video_iterator(session))
    session.reset()
    assert_same_results(list(model.propagate_in_video_iterator(session)), first)
    after = []
    for result in model.propagate_in_video_iterator(session):
        after.append(result)
        if result["frame_idx"] == 2:
            session.remove_object(2)
    assert all(segment["id"] != 2 for result in after[3:] for segment in result["segments_info"])
    with pytest.raises(ValueError, match="removed"):
        processor.add_inputs_to_inference_session(session, 0, 2, make_mask())
    with pytest.raises(ValueError, match="There is no object 9"):
        processor.init_video_session(frames, task="vos").remove_object(9)


def test_numbers_and_masks_of_numpy_and_torch(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    """Ids come back as plain numbers, whatever they were given as."""
    frames = make_video(4)
    expected = run(model, processor, "vos", frames)
    masks = np.stack([make_mask(), make_mask(18, 32)])
    for frame_idx, ids, values in (
        (np.int64(0), np.array([1, 2]), masks.astype(np.uint8) * 255),
        (torch.tensor(0), torch.tensor([1, 2]), torch.from_numpy(masks).to(torch.bfloat16)),
        (0, [np.uint8(1), torch.tensor(2)], [torch.from_numpy(mask) for mask in masks]),
    ):
        session = processor.init_video_session(frames, task="vos")
        processor.add_inputs_to_inference_session(session, frame_idx, ids, input_masks=values)
        results = list(model.propagate_in_video_iterator(session, start_frame_idx=np.int64(0)))
        assert_same_results(results, expected)
        json.dumps([result["segments_info"] for result in results])


def test_a_session_has_one_run_at_a_time(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    session = prepare(processor.init_video_session(make_video(8), task="vos"), processor)
    first = model.propagate_in_video_iterator(session)
    next(first)
    second = model.propagate_in_video_iterator(session)
    assert [result["frame_idx"] for result in second] == list(range(8))
    for interrupt in (lambda: None, session.reset):
        interrupt()
        with pytest.raises(ValueError, match="was reset, or run anew"):
            list(first)
        first = model.propagate_in_video_iterator(session)
        next(first)
    session = prepare(processor.init_video_session(iter(make_video(3)), task="vos"), processor)
    assert len(list(model.propagate_in_video_iterator(session))) == 3
    with pytest.raises(ValueError, match="gives its frames once, and they have been read"):
        list(model.propagate_in_video_iterator(session))


def test_post_process_video(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    results = run(model, processor, "vos", make_video(3))
    arrays = list(processor.post_process_video(results))
    encoded = list(processor.post_process_video(results, rle=True))
    for result, array, rle in zip(results, arrays, encoded, strict=True):
        assert array["frame_idx"] == result["frame_idx"]
        for segment, mask, run_length in zip(result["segments_info"], array["masks"], rle["masks"], strict=True):
            assert np.array_equal(mask, result["segmentation"].numpy() == segment["id"])
            assert np.array_equal(decode_mask(run_length).astype(bool), mask)


def test_open_vocabulary_and_label_sets(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    session = processor.init_video_session(make_video(2), task="vss")
    processor.set_categories(session, "ovis")
    results = list(model.propagate_in_video_iterator(session))
    assert {segment["label"] for result in results for segment in result["segments_info"]} <= set(
        session.engine.category_names
    )
    assert len(session.engine.category_names) == 25


def test_things_and_stuff(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    session = processor.init_video_session(make_video(4), task="vps", class_score_threshold=0.0)
    processor.set_categories(session, ["person", "grass"], thing_flags=[True, False])
    for result in model.propagate_in_video_iterator(session):
        for segment in result["segments_info"]:
            assert segment["is_thing"] == (segment["label"] == "person")
    assert session.engine.thing_flags == [True, False]
    processor_session = processor.init_video_session(make_video(1), task="vps")
    processor.set_categories(processor_session, "vipseg")
    list(model.propagate_in_video_iterator(processor_session))
    flags = processor_session.engine.thing_flags
    assert len(flags) == 124 and any(flags) and not all(flags)


def test_objects_of_pvos_may_be_stuff(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    def run_with(categories: list[str | int] | None) -> list[dict[str, Any]]:
        session = processor.init_video_session(make_video(5), task="pvos")
        processor.set_categories(session, ["person", "grass"], thing_flags=[True, False])
        masks = [make_mask(), make_mask(18, 32)]
        processor.add_inputs_to_inference_session(session, 0, [1, 2], masks, obj_categories=categories)
        return list(model.propagate_in_video_iterator(session))

    plain, by_name, by_index = run_with(None), run_with(["person", "grass"]), run_with([0, 1])
    assert_same_results(by_name, by_index)
    assert any(
        not torch.equal(one["segmentation"], other["segmentation"]) for one, other in zip(plain, by_name, strict=True)
    ), "the semantic map has a say in where stuff is"


def test_a_label_set_of_the_users_own_is_embedded_by_its_names(processor: UniVSProcessor) -> None:
    own = LabelSet(**{**vars(load_label_set("ovis")), "name": "mine"})
    model = tiny_model(text_config=text_config(), num_category_embeddings=COMBINED_TABLE_ROWS)
    table, names = embed_categories(model, processor, "ovis")
    assert not table.any() and len(names) == 25, "a published set is read from the model's table"
    embeddings, names = embed_categories(model, processor, own)
    assert embeddings.any() and len(names) == 25


def test_expressions_are_embedded_once_and_cleaned(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor
) -> None:
    session = processor.init_video_session(make_video(5), task="refvos")
    assert processor.add_text_prompt(session, "The red car!") == [1]
    assert processor.add_text_prompt(session, ["a dog", "a cat"]) == [2, 3]
    calls = []
    original = model.encode_text
    model.encode_text = lambda ids, *rest: calls.append(len(ids)) or original(ids, *rest)
    try:
        results = list(model.propagate_in_video_iterator(session))
    finally:
        del model.encode_text
    assert calls == [3]
    assert {segment["label"] for result in results for segment in result["segments_info"]} <= {
        "The red car!",
        "a dog",
        "a cat",
    }


def test_task_sizes_reach_the_image_processor(processor: UniVSProcessor) -> None:
    config = tiny_model().config
    same = image_processor_for(processor.image_processor, config, config.for_task("vos"))
    assert same is processor.image_processor
    larger = image_processor_for(processor.image_processor, config, config.for_task("vos", shortest_edge=96))
    assert larger.size["shortest_edge"] == 96
    assert processor.image_processor.size["shortest_edge"] == 32


@pytest.mark.parametrize(
    ("clip", "steps"), [(3, [3, 1, 1, 1, 1, 1, 1]), (3, [3, 3, 3, 2]), (1, [1, 1, 1]), (5, [5, 2, 2])]
)
def test_feature_window_holds_the_newest_frames(clip: int, steps: list[int]) -> None:
    window = FeatureWindow(clip)
    seen = 0
    for count in steps:
        numbers = torch.arange(seen, seen + count, dtype=torch.float32)
        seen += count

        def maps(stride: int, numbers: torch.Tensor = numbers) -> torch.Tensor:
            return numbers.view(1, -1, 1, 1, 1).expand(1, -1, 4, 32 // stride, 32 // stride).clone()

        levels = tuple(maps(stride) for stride in (32, 16, 8))
        window.append(
            UniVSFrameFeatures(mask_features=maps(4), multi_scale_features=levels, attention_mask_features=levels)
        )
        size = min(clip, seen)
        last = window.last(size)
        assert last.mask_features[0, :, 0, 0, 0].tolist() == list(range(seen - size, seen))
        assert last.multi_scale_features[1][0, :, 3, 0, 0].tolist() == list(range(seen - size, seen))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("task", ["vis", "vps", "vos"])
def test_memory_of_a_2000_frame_video(model: UniVSForVideoSegmentation, processor: UniVSProcessor, task: str) -> None:
    """Resident memory after 2,000 frames is within 5 % of that after 200."""
    few = make_video(8)
    session = prepare(processor.init_video_session((few[i % 8] for i in range(2000)), task=task), processor)
    memory = {}
    for result in model.propagate_in_video_iterator(session):
        if result["frame_idx"] + 1 in (200, 1999):
            gc.collect()
            memory[result["frame_idx"] + 1] = resident_bytes()
    assert memory[1999] < 1.05 * memory[200], memory


@pytest.mark.parametrize(
    ("task", "action", "message"),
    [
        ("vos", lambda p, s: p.add_text_prompt(s, "a dog"), "takes no text prompts"),
        ("vos", lambda p, s: p.set_categories(s, ["a", "b"]), "takes no `categories`"),
        ("vss", lambda p, s: p.add_inputs_to_inference_session(s, 0, 1, make_mask()), "takes no masks, boxes"),
        ("refvos", lambda p, s: p.add_text_prompt(s, " "), "not empty"),
        ("refvos", lambda p, s: p.add_text_prompt(s, ["a", "b"], obj_ids=[1, 1]), "each once"),
        ("refvos", lambda p, s: p.add_text_prompt(s, ["a"], obj_ids=[0]), "from 1"),
        ("vss", lambda p, s: p.set_categories(s, "no_such_set"), "no_such_set"),
        ("vps", lambda p, s: p.set_categories(s, ["a", "b"], thing_flags=[True]), "a flag for each of 2"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, 1), "Exactly one of"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, -1, 1, make_mask()), "a whole number from 0"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, 0, make_mask()), "from 1"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, 2**31, make_mask()), "to 2147483647"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, "1", make_mask()), "got '1'"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, 1.5, make_mask()), "got 1.5"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, True, make_mask()), "got True"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, None, make_mask()), "got None"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, True, 1, make_mask()), "`frame_idx`.*got True"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, 1, input_points=["a", "b"]), "hold numbers"),
        (
            "vos",
            lambda p, s: p.add_inputs_to_inference_session(s, 0, [1, 2], [np.ones((2, 2)), np.ones((3, 3))]),
            "of one shape",
        ),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, [1, 1], [make_mask()] * 2), "each once"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, [1], input_boxes=[[1, 2, 3]]), "of shape"),
        ("vos", lambda p, s: p.add_inputs_to_inference_session(s, 0, 1, input_points=[float("nan"), 1]), "finite"),
    ],
)
def test_bad_calls(processor: UniVSProcessor, task: str, action: Any, message: str) -> None:
    session = processor.init_video_session(make_video(2), task=task)
    with pytest.raises(ValueError, match=message):
        action(processor, session)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_boxes": [[30, 30, 10, 10]]}, "x1 < x2"),
        ({"input_boxes": [[100, 100, 120, 120]]}, "overlap the frame"),
        ({"input_points": [[100.0, 1.0]]}, "must lie in the frame"),
        ({"input_masks": np.zeros((1, HEIGHT, WIDTH))}, "is empty"),
        ({"input_masks": np.ones((1, 8, 8))}, "has shape"),
    ],
)
def test_prompts_that_do_not_fit_the_frames(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, inputs: dict[str, Any], message: str
) -> None:
    session = processor.init_video_session(make_video(2), task="vos")
    processor.add_inputs_to_inference_session(session, 0, [1], **inputs)
    with pytest.raises(ValueError, match=message):
        list(model.propagate_in_video_iterator(session))


def test_bad_categories_of_objects(processor: UniVSProcessor) -> None:
    session = processor.init_video_session(make_video(2), task="pvos")
    with pytest.raises(ValueError, match="call `set_categories` first"):
        processor.add_inputs_to_inference_session(session, 0, 1, make_mask(), obj_categories=["person"])
    processor.set_categories(session, ["person", "grass"])
    for category in ("tree", 2, -1):
        with pytest.raises(ValueError, match="accepted are the names"):
            processor.add_inputs_to_inference_session(session, 0, 1, make_mask(), obj_categories=[category])
    with pytest.raises(ValueError, match="one category for each of 1"):
        processor.add_inputs_to_inference_session(session, 0, 1, make_mask(), obj_categories=[0, 1])


def test_sessions_that_cannot_run(model: UniVSForVideoSegmentation, processor: UniVSProcessor) -> None:
    with pytest.raises(ValueError, match="`task` must be one of"):
        processor.init_video_session(make_video(1), task="tracking")
    with pytest.raises(TypeError, match="`video` must be a path.*got int"):
        processor.init_video_session(3, task="vos")
    with pytest.raises(ValueError, match="needs prompts"):
        model.propagate_in_video_iterator(processor.init_video_session(make_video(1), task="vos"))
    with pytest.raises(ValueError, match="at least one expression"):
        model.propagate_in_video_iterator(processor.init_video_session(make_video(1), task="refvos"))
    with pytest.raises(ValueError, match="live stream"):
        model.propagate_in_video_iterator(processor.init_video_session(None, task="vss"))
    with pytest.raises(ValueError, match="has had no frame"):
        processor.init_video_session(None, task="vss").finish(model)
    with pytest.raises(ValueError, match="`frame` must be given"):
        model(inference_session=processor.init_video_session(None, task="vss"))
    with pytest.raises(ValueError, match="`pixel_values_videos` must be given"):
        model()
    session = prepare(processor.init_video_session(make_video(2), task="vss"), processor)
    with pytest.raises(ValueError, match="start_frame_idx"):
        model.propagate_in_video_iterator(session, start_frame_idx=-1)
    with pytest.raises(ValueError, match="beyond the 2 frames"):
        list(model.propagate_in_video_iterator(session, start_frame_idx=5))
    with pytest.raises(ValueError, match="same size|one size"):
        frames = [make_video(1)[0], np.zeros((10, 20, 3), np.uint8), make_video(1)[0]]
        list(model.propagate_in_video_iterator(prepare(processor.init_video_session(frames, "vss"), processor)))
    session = processor.init_video_session(make_video(2), task="vos")
    processor.add_inputs_to_inference_session(session, 5, 1, make_mask())
    with pytest.raises(ValueError, match="lies on frame 5, but the video has 2"):
        list(model.propagate_in_video_iterator(session))
