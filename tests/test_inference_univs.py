# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Clip-by-clip inference: schedule, memory, the rules of VOS, and the recorded runs of the original."""

import copy
import gc

import numpy as np
import pytest
import torch
from scripted_model import ScriptedModel, areas, box_logits, padded_mask, run_script, unit
from tiny_config import tiny_config, tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf.clip_engine_univs import ClipEngine, FrameGeometry
from univs_hf.clip_tasks_univs import mask_iou, mask_quality, temporal_consistency
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.inference_univs import label_map_to_masks, propagate
from univs_hf.modeling_univs import mask_boxes
from univs_hf.prompt_memory_univs import VisualPromptMemory
from univs_hf.text_embeddings_univs import embed_categories

HEIGHT, WIDTH = 40, 60  # resized to 32x48, padded to 32x64
GEOMETRY = FrameGeometry((HEIGHT, WIDTH), (32, 48), (32, 64))


@pytest.fixture(scope="module")
def model():
    return tiny_model(num_frames=3, text_config=text_config())


@pytest.fixture(scope="module")
def processor():
    return tiny_processor()


def video(num_frames):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(num_frames)]


def label_map(*boxes):
    """A map with object n + 1 in box n, (top, bottom, left, right)."""
    result = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for object_id, (top, bottom, left, right) in enumerate(boxes, start=1):
        result[top:bottom, left:right] = object_id
    return result


FIRST_MASK = label_map((4, 24, 4, 28), (20, 38, 32, 56))


# --- formulas


def test_mask_quality_counts_sure_over_possible_pixels():
    logits = torch.tensor([[-3.0, -0.5, 0.5, 2.0], [3.0, 3.0, 3.0, 3.0], [-3.0, -3.0, -3.0, -3.0]])
    torch.testing.assert_close(mask_quality(logits[:, None], tiny_config()), torch.tensor([1 / 3, 1.0, 0.0]))


def test_mask_iou_and_boxes():
    first = torch.zeros(3, 4, 8, dtype=torch.bool)
    first[0, 1:3, 2:6] = first[1, 0, 0] = True
    second = torch.zeros_like(first)
    second[0, 1:3, 4:8] = True
    torch.testing.assert_close(mask_iou(first, second), torch.tensor([1 / 3, 0.0, 0.0]))
    torch.testing.assert_close(mask_boxes(first), torch.tensor([[2 / 8, 1 / 4, 5 / 8, 2 / 4], [0.0] * 4, [0.0] * 4]))
    torch.testing.assert_close(mask_boxes(first, last=1)[0], torch.tensor([2 / 8, 1 / 4, 6 / 8, 3 / 4]))


def test_temporal_consistency_weighs_recent_frames_and_skips_blank_ones():
    config = tiny_config()
    memory = torch.stack([torch.stack([unit(0), torch.zeros(32), unit(1)])])
    weights = torch.exp(torch.tensor([5 / 3, 5.0]))
    expected = (weights / weights.sum())[1:]
    torch.testing.assert_close(temporal_consistency(memory, unit(1).expand(1, 2, -1), config), expected)
    assert temporal_consistency(torch.zeros(1, 3, 32), unit(1).expand(1, 2, -1), config).item() == 0


def test_label_map_to_masks():
    masks = label_map_to_masks(np.array([[0, 7], [3, 7]]))
    assert list(masks) == [3, 7] and masks[7].tolist() == [[False, True], [False, True]]
    with pytest.raises(ValueError, match="no object"):
        label_map_to_masks(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="shape"):
        label_map_to_masks(np.zeros((2, 2, 3)))


def test_categories_are_embedded_by_name_by_label_set_or_read_from_the_table(model, processor):
    embeddings, names = embed_categories(model, processor, ["sky", "road", "blue sky"])
    assert embeddings.shape == (3, 16) and names == ["sky", "road", "blue sky"]
    assert (embeddings[0] - embeddings[1]).abs().max() > 1e-4
    torch.testing.assert_close(embed_categories(model, processor, ["road"])[0], embeddings[1:2])
    embeddings, names = embed_categories(model, processor, "ovis")
    assert embeddings.shape == (25, 16) and names[0] == "Person"

    published = tiny_model(num_category_embeddings=3938)
    published.category_embeddings.copy_(torch.arange(3938)[:, None].expand(-1, 16))
    embeddings, names = embed_categories(published, processor, "vspw")
    assert embeddings[:, 0].tolist() == list(range(2924, 3048)) and len(names) == 124

    own = tiny_model(num_category_embeddings=2)
    own.config.id2label = {0: "disc", 1: "square"}
    embeddings, names = embed_categories(own, processor)
    assert len(embeddings) == 2 and names == ["disc", "square"]


# --- the bounded memory against one that keeps everything


@pytest.mark.parametrize(
    ("clip_length", "memory_length", "stride"), [(3, 3, 1), (5, 5, 1), (3, 6, 2), (4, 1, 3), (1, 2, 1)]
)
def test_bounded_memory_equals_an_unbounded_one(clip_length, memory_length, stride):
    generator = torch.Generator().manual_seed(0)
    num_objects, num_pixels, channels, num_frames = 3, 2, 4, 30
    capacity = max(clip_length, memory_length)
    memory = VisualPromptMemory(capacity)
    everything = torch.zeros(2, num_objects, 0, num_pixels, channels)
    first_frames = [0, 6, 11]
    previous_stop = 0
    for start in range(0, num_frames - clip_length + 1, stride):
        stop = start + clip_length
        memory.append_frames(stop - previous_stop, num_objects, num_pixels, torch.zeros(channels))
        grown = torch.zeros(2, num_objects, stop, num_pixels, channels)
        grown[:, :, : everything.shape[2]] = everything
        everything = grown
        frames = range(start, max(previous_stop, start + 1))
        tokens = torch.randn(2, num_objects, len(frames), num_pixels, channels, generator=generator)
        present = torch.rand(num_objects, len(frames), generator=generator) < 0.7
        memory.write_frames(frames, *tokens, present)
        for position, frame in enumerate(frames):
            shown = present[:, position]
            everything[:, shown, frame:] = tokens[:, shown, position].unsqueeze(2)
        seen = [frame if frame < stop else -1 for frame in first_frames]
        memory.keep_first(seen)

        assert memory.stop == stop and memory.start == max(stop - capacity, 0)
        torch.testing.assert_close(torch.stack(memory.read_clip(clip_length))[:, 0], everything[:, :, -clip_length:])
        firsts = torch.stack(
            [everything[:, n, f] if f >= 0 else torch.zeros(2, num_pixels, channels) for n, f in enumerate(seen)], 1
        )
        # Slots lie in a ring.
        order = sorted(range(memory.start, stop), key=lambda frame: frame % capacity)
        expected = torch.cat([firsts.unsqueeze(2), everything[:, :, order]], dim=2).flatten(2, 3)
        torch.testing.assert_close(torch.stack(memory.read_memory())[:, 0], expected)
        previous_stop = stop


# --- schedule


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize(("clip_length", "stride"), [(1, 1), (3, 1), (3, 2), (3, 3), (5, 1)])
def test_every_frame_comes_once_in_order_and_is_encoded_once(model, processor, num_frames, clip_length, stride):
    encoded = []
    original = model.encode_frames

    def counting(pixel_values_videos, **options):
        encoded.append(pixel_values_videos.shape[1])
        return original(pixel_values_videos, **options)

    model.encode_frames = counting
    try:
        results = list(
            propagate(
                model,
                processor,
                video(num_frames),
                "vos",
                prompts={0: FIRST_MASK},
                num_frames=clip_length,
                clip_stride=stride,
            )
        )
    finally:
        del model.encode_frames
    assert sum(encoded) == num_frames
    assert [result["frame_idx"] for result in results] == list(range(num_frames))
    for result in results:
        assert result["segmentation"].shape == (HEIGHT, WIDTH) and result["segmentation"].dtype == torch.int32
        present = set(result["segmentation"].unique().tolist()) - {0}
        assert {segment["id"] for segment in result["segments_info"]} == present <= {1, 2}
    # The first frame's result is the annotation itself, up to the resize to the model and back.
    assert (results[0]["segmentation"].numpy() == FIRST_MASK).mean() > 0.93


@pytest.mark.parametrize("num_frames", [1, 4, 5, 6])
def test_semantic_clips_lie_side_by_side(model, processor, num_frames):
    results = list(propagate(model, processor, video(num_frames), "vss", categories=["sky", "road"], num_frames=3))
    assert [result["frame_idx"] for result in results] == list(range(num_frames))
    for result in results:
        labels = result["segmentation"].unique().tolist()
        assert set(labels) <= {0, 1}
        assert [(s["id"], s["label"], s["score"]) for s in result["segments_info"]] == [
            (label, ["sky", "road"][label], None) for label in labels
        ]


def test_results_leave_as_soon_as_they_are_final_and_frames_are_not_read_ahead(model, processor):
    taken = []

    def live():
        for index, frame in enumerate(video(12)):
            taken.append(index)
            yield frame

    stream = propagate(model, processor, live(), "vos", prompts={0: FIRST_MASK}, num_frames=4)
    assert taken == []
    for expected in range(9):
        assert next(stream)["frame_idx"] == expected
        # A clip of four that begins at this frame is all that is needed.
        assert taken[-1] == expected + 3
    assert [result["frame_idx"] for result in stream] == [9, 10, 11]


def test_default_is_deterministic_and_a_generator_is_reproducible(model, processor):
    def run(seed=None):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        stream = propagate(model, processor, video(6), "vos", prompts={0: FIRST_MASK}, generator=generator)
        return torch.stack([result["segmentation"] for result in stream])

    torch.testing.assert_close(run(), run())
    torch.testing.assert_close(run(3), run(3))


@pytest.mark.parametrize("task", ["vos", "vss"])
def test_memory_does_not_grow_with_the_video(model, processor, task):
    def stream():
        frame = video(1)[0]
        for _ in range(160):
            yield frame

    def bytes_alive():
        gc.collect()
        tensors = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
            for t in gc.get_objects()
            if type(t) is torch.Tensor
        }
        return sum(tensors.values())

    kwargs = {"prompts": {0: FIRST_MASK}} if task == "vos" else {"categories": ["sky", "road"]}
    alive = {}
    for result in propagate(model, processor, stream(), task, **kwargs):
        if result["frame_idx"] in (29, 149):
            alive[result["frame_idx"]] = bytes_alive()
    assert alive[149] == alive[29]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(processor, dtype):
    model = tiny_model(num_frames=3, text_config=text_config()).to(dtype)
    for task, kwargs in (("vos", {"prompts": {0: FIRST_MASK}}), ("vss", {"categories": ["sky", "road"]})):
        assert len(list(propagate(model, processor, video(4), task, **kwargs))) == 4


# --- rules of VOS, with a scripted network


def test_objects_are_followed_where_the_network_sees_them():
    def script(index, frame):
        return box_logits(1, 4, 2 + frame, 5 + frame) if index == 0 else box_logits(5, 7, 1, 4), unit(index)

    results, model, session = run_script(script, {0: {5: padded_mask(1, 4, 2, 5), 9: padded_mask(5, 7, 1, 4)}}, 8)
    for frame, result in enumerate(results):
        expected = padded_mask(1, 4, 2 + frame, 5 + frame)
        segmentation = result["segmentation"]
        iou = ((segmentation == 5) & (expected > 0)).sum() / ((segmentation == 5) | (expected > 0)).sum()
        assert iou > 0.75, frame
        assert [segment["id"] for segment in result["segments_info"]] == [5, 9]
        assert all(0 < segment["score"] <= 1 for segment in result["segments_info"])
    # No more is kept than the frames of a clip, and nothing of a finished prompt.
    assert session.task._logits.shape[:2] == (2, 3) and not session.annotations
    # Key frames of clip 1 (frames 1 to 3) are 1 and 2, which clip 0 has segmented; and so on.
    assert [frame for frame, _ in model.encoded_masks][:5] == [0, 1, 2, 2, 3]


def test_an_object_that_looks_different_is_dropped():
    def script(index, frame):
        return box_logits(1, 4, 2, 5), unit(0) if frame < 6 else unit(1)

    masks = {0: {1: padded_mask(1, 4, 2, 5)}}
    # A whole clip that looks different: none of it is taken.
    results, _, _ = run_script(script, masks, 12, clip_stride=3)
    assert [bool(areas(result)) for result in results] == [True] * 6 + [False] * 6
    # Overlapping clips see one new frame at a time, and the memory follows the change.
    results, _, _ = run_script(script, masks, 12, clip_stride=1)
    assert all(areas(result) for result in results)


def test_a_prediction_that_disagrees_with_the_annotation_is_not_accepted():
    results, _, _ = run_script(
        lambda index, frame: (box_logits(5, 8, 10, 16), unit(0)), {0: {1: padded_mask(1, 4, 2, 5)}}, 3
    )
    assert [areas(result) for result in results] == [{1: 144}, {}, {}]


def test_small_objects_are_accepted_with_a_smaller_overlap():
    # IoU 16 / 432: below 0.15, but above 0.15 * area / 96^2.
    results, _, _ = run_script(
        lambda index, frame: (box_logits(0, 3, 0, 9), unit(0)), {0: {1: padded_mask(0, 1, 0, 1)}}, 2
    )
    assert areas(results[1])[1] > 300
    results, _, _ = run_script(
        lambda index, frame: (box_logits(0, 3, 0, 9), unit(0)),
        {0: {1: padded_mask(0, 1, 0, 1)}},
        2,
        vos_acceptance_area=1.0,
    )
    assert areas(results[1]) == {}


def test_objects_compete_for_pixels():
    def script(index, frame):
        # Both claim the left half; object 1 is surer of it.
        left = box_logits(0, 8, 0, 8, inside=5.0 if index == 0 else 0.5)
        return left if index == 0 else torch.maximum(left, box_logits(0, 8, 8, 16)), unit(index)

    results, _, _ = run_script(
        script, {0: {1: padded_mask(0, 8, 0, 8), 2: padded_mask(0, 8, 8, 16)}}, 5, vos_owned_area_ratio=0.25
    )
    for result in results[1:]:
        assert (result["segmentation"][:, :28] == 1).all() and (result["segmentation"][:, 36:] == 2).all()


def test_an_object_that_owns_little_of_its_mask_gives_way():
    def script(index, frame):
        # From frame 3 on object 2 repeats object 1's mask, and adds a little of its own.
        strong = box_logits(0, 8, 0, 12)
        if index == 0:
            return strong, unit(0)
        if frame < 3:
            return box_logits(0, 8, 13, 16), unit(1)
        return torch.maximum(strong - 3.9, box_logits(0, 8, 14, 16)), unit(1)

    masks = {0: {1: padded_mask(0, 8, 0, 12), 2: padded_mask(0, 8, 13, 16)}}
    kept, _, _ = run_script(script, masks, 9, vos_owned_area_ratio=0.1)
    given_way, _, _ = run_script(script, masks, 9, vos_owned_area_ratio=0.5)
    assert 2 in areas(kept[8]) and 2 not in areas(given_way[8])


def test_logits_of_overlapping_clips_are_summed():
    calls = []

    def script(index, frame):
        # Frame 3 is in the clips that begin at 1, 2 and 3: two weak noes and a strong yes make a yes.
        calls.append(frame)
        if frame == 3:
            return torch.full((8, 16), 9.0 if calls.count(3) == 3 else -4.0), unit(0)
        return box_logits(1, 7, 1, 15), unit(0)

    results, _, _ = run_script(script, {0: {1: padded_mask(1, 7, 1, 15)}}, 8, num_prev_frames_memory=3)
    assert areas(results[3]) == {1: 32 * 64}


@pytest.mark.parametrize(("clip_length", "stride"), [(1, 1), (3, 3), (4, 3)])
def test_objects_survive_clips_that_do_not_overlap(clip_length, stride):
    def script(index, frame):
        return box_logits(1, 4, 2 + 5 * index, 5 + 5 * index), unit(index)

    masks = {0: {1: padded_mask(1, 4, 2, 5)}, 4: {2: padded_mask(1, 4, 7, 10)}}
    results, model, _ = run_script(script, masks, 11, num_frames=clip_length, clip_stride=stride)
    assert [list(areas(result)) for result in results] == [[1]] * 4 + [[1, 2]] * 7
    # The annotated frame of the second object is encoded with its mask, and so is what each clip begins with.
    assert any(frame == 4 and counts[1] == 144 for frame, counts in model.encoded_masks)
    assert all(counts[0] > 0 for frame, counts in model.encoded_masks if frame != 4)


def test_objects_of_later_frames_and_corrections():
    def script(index, frame):
        return box_logits(1, 4, 2 + 5 * index, 5 + 5 * index), unit(index)

    correction = padded_mask(4, 8, 2, 5)
    masks = {0: {1: padded_mask(1, 4, 2, 5)}, 4: {2: padded_mask(1, 4, 7, 10)}, 6: {1: correction}}
    results, _, _ = run_script(script, masks, 9)
    assert [list(areas(result)) for result in results] == [[1]] * 4 + [[1, 2]] * 5
    # On its frame a correction is the result, whatever the network says there.
    torch.testing.assert_close((results[6]["segmentation"] == 1).float(), correction)
    assert (results[8]["segmentation"] == 1)[5:15, 9:19].all()


def test_objects_can_be_added_while_the_video_runs():
    def script(index, frame):
        return box_logits(1, 4, 2 + 5 * index, 5 + 5 * index), unit(index)

    config = tiny_config().for_task("vos", num_frames=3, num_prompt_pixels=2)
    geometry = FrameGeometry((32, 64), (32, 64), (32, 64))
    session = ClipEngine(config, "vos", geometry, UniVSImageProcessor())
    model, results = ScriptedModel(script), []
    for frame in range(12):
        if frame == 3:
            session.add_object_masks(3, {7: padded_mask(1, 4, 2, 5)}, names={7: "dog"})
        if frame == 6:
            session.add_object_masks(6, {3: padded_mask(1, 4, 7, 10).numpy()})
        results += session.step(model, torch.zeros(3, 32, 64))
    results += session.finish(model)
    assert [sorted(areas(result)) for result in results] == [[]] * 3 + [[7]] * 3 + [[3, 7]] * 6
    assert results[8]["segments_info"][0]["label"] == "dog"
    with pytest.raises(ValueError, match="is over"):
        session.add_object_masks(2, {4: padded_mask(1, 4, 7, 10)})


def test_the_object_given_first_keeps_pixels_that_the_resize_makes_common():
    masks = {0: {2: padded_mask(0, 4, 0, 8), 1: padded_mask(4, 8, 0, 8)}}
    geometry = FrameGeometry((50, 100), (32, 64), (32, 64))
    results, _, _ = run_script(lambda index, frame: (box_logits(0, 8, 0, 8), unit(index)), masks, 1, geometry)
    column = results[0]["segmentation"][:, 10]
    # A mask of 0 and 1 grows by the reach of bilinear interpolation: row 25 has a share of both.
    assert column[:26].unique().tolist() == [2] and column[27:].unique().tolist() == [1]


# --- bad input


def test_bad_input(model, processor):
    def run(**kwargs):
        return list(propagate(model, processor, **{"frames": video(3), "task": "vos", **kwargs}))

    with pytest.raises(ValueError, match=r"must be one of \[.*'vos', 'vps', 'vss'\], got 'vox'"):
        run(task="vox")
    with pytest.raises(ValueError, match="needs prompts"):
        run()
    with pytest.raises(ValueError, match="takes no masks, boxes or points"):
        run(task="vss", prompts={0: FIRST_MASK})
    with pytest.raises(ValueError, match="takes no `categories`"):
        run(prompts={0: FIRST_MASK}, categories=["sky"])
    with pytest.raises(ValueError, match="categories"):
        run(task="vss")
    with pytest.raises(ValueError, match="named_nothing"):
        run(task="vss", categories="named_nothing")
    with pytest.raises(ValueError, match="a whole number from 0"):
        run(prompts={-1: FIRST_MASK})
    with pytest.raises(ValueError, match="frame 7, but the video has 3"):
        run(prompts={0: FIRST_MASK, 7: FIRST_MASK})
    with pytest.raises(ValueError, match=r"object 1 on frame 0 has shape \(39, 60\)"):
        run(prompts={0: FIRST_MASK[1:]})
    with pytest.raises(ValueError, match="empty"):
        run(prompts={0: {3: np.zeros((HEIGHT, WIDTH), bool)}})
    with pytest.raises(ValueError, match="must be whole numbers from 1"):
        run(prompts={0: {0: FIRST_MASK > 0}})
    with pytest.raises(ValueError, match="Nothing is left of object 1"):
        run(prompts={0: {1: label_map((2, 3, 1, 2)) > 0}})
    with pytest.raises(ValueError, match="no frame"):
        run(frames=[], prompts={0: FIRST_MASK})
    with pytest.raises(ValueError, match=r"Frame 1 has size \(20, 60\)"):
        run(frames=[video(1)[0], video(1)[0][:20]], prompts={0: FIRST_MASK})
    with pytest.raises(ValueError, match="num_frames"):
        run(prompts={0: FIRST_MASK}, num_frames=0)


def test_bad_session_calls(model):
    config = model.config.for_task("vss", num_frames=2, clip_stride=2)
    image_processor = UniVSImageProcessor()
    with pytest.raises(ValueError, match="3 names for 2"):
        ClipEngine(
            config,
            "vss",
            GEOMETRY,
            image_processor,
            category_embeddings=torch.ones(2, 16),
            category_names=["a", "b", "c"],
        )
    session = ClipEngine(config, "vss", GEOMETRY, image_processor, category_embeddings=torch.ones(2, 16))
    with pytest.raises(ValueError, match=r"\(3, 32, 32\), expected \(3, 32, 64\)"):
        session.step(model, torch.zeros(3, 32, 32))
    assert session.finish(model) == []
    with pytest.raises(ValueError, match="finished"):
        session.step(model, torch.zeros(3, 32, 64))


def test_lists_of_categories_are_embedded_once_while_the_weights_stay(
    model, processor, monkeypatch: pytest.MonkeyPatch
):
    model = copy.deepcopy(model)
    calls = []
    encode_text = model.encode_text
    monkeypatch.setattr(model, "encode_text", lambda *args: calls.append(len(args[0])) or encode_text(*args))
    first = embed_categories(model, processor, ["sky", "road"])[0]
    assert embed_categories(model, processor, ["sky", "road"])[0] is first
    assert calls == [2]
    embed_categories(model, processor, ["road", "sky"])
    assert calls == [2, 2]

    with torch.no_grad():
        model.model.text_encoder.text_projection.weight.mul_(2)
    torch.testing.assert_close(embed_categories(model, processor, ["sky", "road"])[0], 2 * first)
    model.double()
    assert embed_categories(model, processor, ["sky", "road"])[0].dtype == torch.float64
    assert calls == [2, 2, 2, 2]

    templates = processor.text_templates
    monkeypatch.setattr(processor, "text_templates", templates[:1])
    embed_categories(model, processor, ["sky", "road"])
    assert calls == [2, 2, 2, 2, 2]
