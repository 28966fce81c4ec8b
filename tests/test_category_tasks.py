# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""VIS and VPS on a scripted network: what is found, followed, lost and merged; and the formulas behind it."""

import gc
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_config import tiny_config, tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf.clip_engine_univs import ClipEngine, FrameGeometry
from univs_hf.clip_tasks_univs import count_pixels
from univs_hf.entity_memory_univs import (
    bi_softmax,
    box_iou_overlaps,
    enlarged_and_back,
    mask_iou_overlaps,
    not_suppressed,
)
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.inference_univs import propagate
from univs_hf.modeling_univs import UniVSForVideoSegmentationOutput, UniVSFrameFeatures, UniVSVisualTokens

NUM_CHANNELS = 32
NUM_CATEGORIES = 3
SQUARE = FrameGeometry((32, 64), (32, 64), (32, 64))
NOTHING = torch.full((8, 16), -4.0)


def box_logits(top, bottom, left, right, inside=4.0):
    """Stride-4 logits of a box given in units of stride-4 pixels."""
    logits = NOTHING.clone()
    logits[top:bottom, left:right] = inside
    return logits


def unit(index):
    return F.one_hot(torch.tensor(index), NUM_CHANNELS).float()


class Actor:
    """A scripted object: where it is on each frame, what it looks like and what it is taken for.

    Args:
        index: Number of the actor, which is its embedding too.
        place: Called with the frame; a box (top, bottom, left, right) in stride-4 pixels, or None.
        label: Category.
        score: Class probability.
    """

    def __init__(self, index, place, label=0, score=0.9):
        self.index, self.place, self.label, self.score = index, place, label, score

    def logits(self, frame):
        box = self.place(frame)
        return NOTHING if box is None else box_logits(*box)

    def embedding(self, frame):
        # Large, as those of a trained network are, so that the bi-softmax is decisive.
        return 6 * unit(self.index) if self.place(frame) is not None else torch.zeros(NUM_CHANNELS)


class ScriptedNetwork:
    """Stands in for the network: learnable query n shows actor n, and so does a prompt made from its mask."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, actors):
        self.actors = actors
        self.encoded, self.clips = [], []  # frames; (first frame, learnable queries decoded, number of prompts)

    def encode_frames(self, pixel_values_videos, frame_idx=None, **kwargs):
        self.encoded += frame_idx[0].tolist()
        num_frames, height, width = pixel_values_videos.shape[1], *pixel_values_videos.shape[-2:]

        def maps(stride):
            return torch.zeros(1, num_frames, NUM_CHANNELS, height // stride, width // stride)

        levels = tuple(maps(stride) for stride in (32, 16, 8))
        return UniVSFrameFeatures(mask_features=maps(4), multi_scale_features=levels, attention_mask_features=levels)

    def encode_visual_prompts(self, features, frame_idx, prompt_masks, prompt_frame_idx, num_prompt_pixels, **kwargs):
        tokens = torch.zeros(1, prompt_masks.shape[1], num_prompt_pixels, NUM_CHANNELS)
        for row, (mask, position) in enumerate(zip(prompt_masks[0], prompt_frame_idx[0].tolist(), strict=True)):
            # The mask is that of an earlier frame where the memory is set up, hence the closest actor.
            overlaps = [
                (mask[::4, ::4] * (actor.logits(int(frame_idx[0, position])) > 0)).sum() for actor in self.actors
            ]
            if max(overlaps) > 0:
                tokens[0, row, :, int(torch.stack(overlaps).argmax())] = 1
        return UniVSVisualTokens(features=tokens, positions=tokens)

    def compose_visual_prompts(self, clip_features, clip_positions, memory_features, memory_positions):
        return memory_features

    def decode_clip(
        self, features, frame_idx, prompts, category_embeddings, use_learnable_queries, self_attention_type
    ):
        frames = frame_idx[0].tolist()
        shown = [actor for actor in self.actors if use_learnable_queries]
        num_prompts = 0 if prompts is None else prompts.shape[1]
        self.clips.append((frames[0], use_learnable_queries, num_prompts))
        for row in range(num_prompts):
            votes = prompts[0, row].sum(dim=0)
            shown.append(self.actors[int(votes.argmax())] if votes.any() else None)
        blank = torch.zeros(NUM_CHANNELS)
        masks = [[NOTHING if actor is None else actor.logits(frame) for frame in frames] for actor in shown]
        embeddings = [[blank if actor is None else actor.embedding(frame) for frame in frames] for actor in shown]
        # No two scores are equal.
        logits = -6 - 0.01 * torch.arange(len(shown) * NUM_CATEGORIES).view(-1, NUM_CATEGORIES)
        for row, actor in enumerate(shown):
            if actor is not None:
                logits[row, actor.label] = math.log(actor.score / (1 - actor.score))
        return UniVSForVideoSegmentationOutput(
            masks_queries_logits=torch.stack([torch.stack(row) for row in masks])[None],
            class_queries_logits=logits[None],
            query_embeddings=torch.stack([torch.stack(row) for row in embeddings])[None],
        )


def always(*box):
    return lambda frame: box


def between(first, last, *box):
    return lambda frame: box if first <= frame <= last else None


def start(actors, task="vis", thing_flags=None, geometry=SQUARE, **settings):
    config = tiny_config().for_task(task, **{"num_frames": 3, "num_prompt_pixels": 2, **settings})
    return ScriptedNetwork(actors), ClipEngine(
        config,
        task,
        geometry,
        UniVSImageProcessor(),
        category_embeddings=torch.ones(NUM_CATEGORIES, 16),
        category_names=["dog", "cat", "sky"],
        thing_flags=thing_flags,
    )


def run(actors, length, task="vis", **settings):
    """Results, network and engine of a scripted video."""
    network, engine = start(actors, task, **settings)
    results = []
    for _ in range(length):
        results += engine.step(network, torch.zeros(3, *engine.geometry.padded_size))
    return results + engine.finish(network), network, engine


def ids(result):
    return [segment["id"] for segment in result["segments_info"]]


def mask_of(result, object_id):
    if "masks" in result:
        return result["masks"][ids(result).index(object_id)]
    return result["segmentation"] == object_id


def overlap(mask, box):
    expected = torch.zeros(32, 64, dtype=torch.bool)
    expected[4 * box[0] : 4 * box[1], 4 * box[2] : 4 * box[3]] = True
    return float((mask & expected).sum() / (mask | expected).sum())


LEFT, RIGHT, LOW = (1, 6, 1, 6), (1, 6, 9, 15), (6, 8, 1, 15)


# --- formulas


def test_enlarging_and_going_back_is_one_filter():
    logits = torch.randn(2, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    enlarged = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    expected = F.interpolate(enlarged, size=(8, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged_and_back(logits), expected, atol=1e-6, rtol=1e-6)
    assert enlarged_and_back(logits[:0]).shape == (0, 3, 8, 16)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 4, 32, 64), (1, 3), (4, 2040), (2, 5, 100, 41), (0, 3, 5)])
def test_pixels_are_counted(shape):
    masks = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.6
    assert count_pixels(masks).tolist() == [int(mask.sum()) for mask in masks]
    assert count_pixels(torch.ones(shape, dtype=torch.bool)).tolist() == [math.prod(shape[1:])] * shape[0]
    assert count_pixels(masks[..., 1:]).tolist() == [int(mask[..., 1:].sum()) for mask in masks]


def test_bi_softmax_is_the_mean_of_both_directions():
    generator = torch.Generator().manual_seed(0)
    memory, current = torch.randn(2, 3, 4, generator=generator), torch.randn(5, 2, 4, generator=generator)
    expected = torch.zeros(2, 5)
    for slot in range(3):
        for frame in range(2):
            products = memory[:, slot] @ current[:, frame].T
            expected += (products.softmax(0) + products.softmax(1)) / 2 / 6
    torch.testing.assert_close(bi_softmax(memory, current), expected)


def test_box_overlaps_take_the_worst_frame_and_spare_small_boxes():
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5]] * 2, [[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.25]]])
    torch.testing.assert_close(box_iou_overlaps(boxes, 1e-3), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    small = torch.tensor([[[0.0, 0.0, 0.02, 0.02]]]).expand(2, 1, 4)
    torch.testing.assert_close(box_iou_overlaps(small, 1e-3), torch.full((2, 2), 0.4))


def test_mask_overlaps_per_frame():
    first, second = torch.zeros(2, 2, 4, 8, dtype=torch.bool), torch.zeros(1, 2, 4, 8, dtype=torch.bool)
    first[0, :, :2], first[1, 1, :, :4] = True, True
    second[0, 0, :2, :4] = second[0, 1, :, :4] = True
    expected = torch.tensor([[[0.5], [0.0]], [[8 / 24], [1.0]]])
    torch.testing.assert_close(mask_iou_overlaps(first, second), expected)


def test_suppression_counts_suppressed_ones_too():
    overlaps = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.9], [0.1, 0.9, 1.0]])
    assert not_suppressed(overlaps, 0.8).tolist() == [True, False, False]
    assert not_suppressed(overlaps, 0.95).tolist() == [True, True, True]
    assert not_suppressed(torch.zeros(0, 0), 0.5).tolist() == []


# --- schedule


@pytest.mark.parametrize("task", ["vis", "vps"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 11, 26])
@pytest.mark.parametrize(("num_frames", "clip_stride"), [(1, 1), (3, 1), (3, 2), (3, 3), (5, 1)])
def test_every_frame_comes_once_in_order_and_is_encoded_once(task, length, num_frames, clip_stride):
    actors = [Actor(0, always(*LEFT), 0), Actor(1, always(*RIGHT), 1)]
    results, network, _ = run(actors, length, task, num_frames=num_frames, clip_stride=clip_stride)
    assert [result["frame_idx"] for result in results] == list(range(length)) == network.encoded
    for result in results:
        assert ids(result) == [1, 2], result["frame_idx"]
        assert overlap(mask_of(result, 1), LEFT) > 0.8 and overlap(mask_of(result, 2), RIGHT) > 0.8
        assert [segment["label"] for segment in result["segments_info"]] == ["dog", "cat"]
        assert all(0 < segment["score"] <= 1 for segment in result["segments_info"])


def test_vis_results_leave_as_soon_as_no_clip_can_change_them():
    network, engine = start([Actor(0, always(*LEFT))])
    given = [len(engine.step(network, torch.zeros(3, 32, 64))) for _ in range(8)]
    assert given == [0, 0, 1, 1, 1, 1, 1, 1]
    assert len(engine.finish(network)) == 2


def test_vps_results_leave_a_window_at_a_time():
    network, engine = start([Actor(0, always(*LEFT))], "vps", num_prev_frames_memory=3)
    given = [len(engine.step(network, torch.zeros(3, 32, 64))) for _ in range(40)]
    # Windows of ten frames are due after the clips that begin at frames 13, 23, 33, if these are not the last.
    assert {frame: count for frame, count in enumerate(given) if count} == {16: 10, 26: 10, 36: 10}
    assert len(engine.finish(network)) == 10


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_results_have_the_original_size(task):
    geometry = FrameGeometry((45, 100), (30, 60), (32, 64))
    results, _, _ = run([Actor(0, always(*LEFT))], 4, task, geometry=geometry)
    for result in results:
        mask = mask_of(result, 1)
        assert mask.shape == (45, 100) and mask.device.type == "cpu"
        assert mask[8:34, 9:38].all() and not mask[:4].any() and not mask[:, 45:].any()


def test_learnable_queries_are_decoded_only_when_they_are_read():
    actors = [Actor(0, always(*LEFT))]
    _, network, _ = run(actors, 9, new_object_interval=3)
    assert network.clips == [(start, start % 3 == 0, int(start > 0)) for start in range(7)]
    _, network, _ = run(actors, 9, new_object_interval=3, self_attention_type="sep-l2p")
    assert all(learnable for _, learnable, _ in network.clips)


# --- objects that come, go and return


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_objects_come_and_keep_their_ids(task):
    actors = [Actor(0, always(*LEFT)), Actor(1, between(6, 99, *RIGHT)), Actor(2, between(6, 99, *LOW))]
    results, _, engine = run(actors, 14, task, ignore_blank_masks=True)
    # Frame 6 first lies in the clip of frames 4 to 6.
    assert engine.task.memory.first_frames == [0, 4, 4]
    for frame, result in enumerate(results):
        assert ids(result) == ([1] if frame < 6 else [1, 2, 3]), frame
        assert overlap(mask_of(result, 1), LEFT) > 0.8
    assert overlap(mask_of(results[12], 2), RIGHT) > 0.8


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_an_object_that_returns_keeps_its_id(task):
    actors = [Actor(0, always(*LEFT)), Actor(1, lambda frame: None if 5 <= frame < 9 else RIGHT, 1)]
    results, _, engine = run(actors, 16, task)
    for frame, result in enumerate(results):
        assert ids(result) == ([1] if 5 <= frame < 9 else [1, 2]), frame
    assert engine.task.memory.ids == [1, 2]


def test_a_changed_look_is_a_new_object():
    class Chameleon(Actor):
        def embedding(self, frame):
            return 6 * unit(0 if frame < 6 else 9)

    results, _, engine = run([Chameleon(0, always(*LEFT))], 12, num_frames=1, temporal_consistency_threshold=0.5)
    # Where it is, an object is known already: nothing is new there as long as the masks overlap.
    assert engine.task.memory.ids[0] == 1 and all(ids(result)[0] == 1 for result in results[:6])


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_an_object_that_looks_different_is_not_continued(task):
    """Without detections that could bring its new look into the memory."""

    class Chameleon(Actor):
        def embedding(self, frame):
            return 6 * unit(0 if frame < 6 else 9)

    settings = {"clip_stride": 3, "new_object_interval": 100, "ignore_blank_masks": True}
    results, _, _ = run([Chameleon(0, always(*LEFT))], 12, task, **settings)
    assert [ids(result) for result in results] == [[1]] * 6 + [[]] * 6
    results, _, _ = run([Actor(0, always(*LEFT))], 12, task, **settings)
    assert [ids(result) for result in results] == [[1]] * 12


@pytest.mark.parametrize("task", ["vis", "vps"])
@pytest.mark.parametrize(("threshold", "shown"), [(0.3, [1]), (0.5, [])])
def test_in_the_first_clips_half_the_consistency_is_enough(task, threshold, shown):
    class Chameleon(Actor):
        def embedding(self, frame):
            # The cosine of both looks is -0.2.
            return 6 * (unit(0) if frame < 3 else math.sqrt(0.96) * unit(9) - 0.2 * unit(0))

    # The clip of frames 2 to 4 begins in the first clip; its mean cosine is (1 - 0.2 - 0.2) / 3 = 0.2.
    results, _, _ = run(
        [Chameleon(0, always(*LEFT))],
        6,
        task,
        clip_stride=2,
        new_object_interval=100,
        temporal_consistency_threshold=threshold,
        ignore_blank_masks=True,
    )
    assert [ids(result) for result in results[:4]] == [[1]] * 3 + [shown]


@pytest.mark.parametrize(
    ("task", "threshold", "counts"),
    [("vis", 0.1, True), ("vis", 0.45, True), ("vis", 0.55, False), ("vps", 0.55, True)],
)
def test_masks_of_a_detection_count_from_twice_the_similarity_in_vis(task, threshold, counts):
    """The only detection has a similarity of 1, so that twice the threshold lies below or above."""
    network, engine = start([Actor(0, always(*LEFT))], task, new_object_similarity_threshold=threshold)
    for _ in range(5):
        engine.step(network, torch.zeros(3, 32, 64))
    memory = engine.task.memory
    assert memory.num_clips == 3 and memory.num_objects == 1
    # The last frame lies in one clip. Its sum holds the logits of the prompt's mask, and of the detection's.
    assert float(memory.logits[0, -1, 3, 3]) == (8 if counts else 4)


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_after_an_empty_first_clip_the_original_finds_nothing(task):
    actors = [Actor(0, between(3, 99, *LEFT))]
    results, network, engine = run(actors, 9, task)
    assert all(ids(result) == [] for result in results) and len(network.clips) == 1 and engine.summary() == []
    results, _, _ = run(actors, 9, task, detect_after_empty_start=True, ignore_blank_masks=True)
    assert [ids(result) for result in results] == [[]] * 3 + [[1]] * 6


def test_new_objects_wait_for_the_interval():
    actors = [Actor(0, always(*LEFT)), Actor(1, between(4, 99, *RIGHT))]
    _, _, engine = run(actors, 14, new_object_interval=5)
    assert engine.task.memory.first_frames == [0, 5]


def test_weak_detections_are_no_objects():
    actors = [Actor(0, always(*LEFT)), Actor(1, always(*RIGHT), score=0.2), Actor(2, between(5, 9, *LOW), score=0.2)]
    assert run(actors, 9)[2].task.memory.ids == [1]
    assert run(actors, 9, class_score_threshold=0.15)[2].task.memory.ids == [1, 2, 3]
    # In the first clip the threshold is at least 0.1.
    assert run(actors[:2], 2, class_score_threshold=0.05, first_clip_score_threshold=0.3)[2].task.memory.ids == [1]
    # Later clips of VPS ask for twice the threshold.
    assert run(actors, 9, "vps", class_score_threshold=0.15)[2].task.memory.ids == [1, 2]


def test_duplicates_are_suppressed():
    actors = [Actor(0, always(*LEFT)), Actor(1, always(*LEFT), score=0.8), Actor(2, always(*RIGHT))]
    assert run(actors, 5)[2].task.memory.num_objects == 2
    assert run(actors, 2, box_nms_threshold=1.0)[2].task.memory.num_objects == 2  # an IoU of 1 is not below 1
    assert run(actors, 2, max_detections=1)[2].task.memory.num_objects == 1


def test_an_instance_that_belongs_to_another_is_not_continued():
    # From frame 6 on the second shows the same mask as the first.
    actors = [Actor(0, always(*LEFT)), Actor(1, lambda frame: RIGHT if frame < 6 else LEFT, score=0.7)]
    results, _, _ = run(actors, 12, new_object_similarity_threshold=0.9)
    assert ids(results[4]) == [1, 2] and ids(results[11]) == [1]


# --- bounds


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_objects_out_of_sight_are_forgotten_and_ids_are_not_used_again(task):
    actors = [Actor(0, always(*LEFT)), Actor(1, lambda frame: RIGHT if frame < 4 or frame > 24 else None, 1)]
    settings = {"max_inactive_frames": 6, "num_prev_frames_memory": 3, "ignore_blank_masks": True}
    results, _, engine = run(actors, 40, task, **settings)
    # The published numbering of segments passes over one id where a later window has something new.
    returned = 3 if task == "vis" else 4
    assert [ids(result) for result in results[:4]] == [[1, 2]] * 4
    assert [ids(result) for result in results[4:25]] == [[1]] * 21
    assert [ids(result) for result in results[25:]] == [[1, returned]] * 15
    assert engine.task.memory.num_objects == 2 and engine.task.memory.ids == [1, 3]
    assert {entry["id"] for entry in engine.summary()} == {1, returned}


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_the_number_of_objects_can_be_bounded(task):
    actors = [
        Actor(0, always(1, 4, 1, 6), score=0.9),
        Actor(1, always(1, 4, 9, 15), score=0.6),
        Actor(2, between(5, 99, 5, 8, 1, 6), score=0.8),
    ]
    results, _, engine = run(actors, 24, task, max_objects=2)
    assert engine.task.memory.num_objects == 2
    assert overlap(mask_of(results[-1], ids(results[-1])[0]), (1, 4, 1, 6)) > 0.7
    assert overlap(mask_of(results[-1], ids(results[-1])[1]), (5, 8, 1, 6)) > 0.7


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_what_is_kept_does_not_grow_with_the_video(task):
    actors = [Actor(0, always(*LEFT)), Actor(1, lambda frame: RIGHT if frame % 11 < 6 else None)]
    network, engine = start(actors, task, num_prev_frames_memory=4)

    def kept():
        gc.collect()
        tensors = (value for value in gc.get_objects() if type(value) is torch.Tensor)
        return sum(
            {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in tensors}.values()
        )

    sizes = {}
    for frame in range(251):
        engine.step(network, torch.zeros(3, 32, 64))
        if frame in (50, 250):
            sizes[frame] = kept()
    assert sizes[50] == sizes[250]


@pytest.mark.parametrize("task", ["vis", "vps"])
def test_removed_objects_do_not_come_back_under_their_id(task):
    network, engine = start([Actor(0, always(*LEFT)), Actor(1, always(*RIGHT))], task, num_prev_frames_memory=3)
    results = []
    for frame in range(30):
        if frame == 18:
            engine.remove_object(2)
        results += engine.step(network, torch.zeros(3, 32, 64))
    results += engine.finish(network)
    # What the network still sees is found again, as a new object.
    assert ids(results[0]) == [1, 2] and ids(results[-1]) == [1, 3 if task == "vis" else 4]
    with pytest.raises(ValueError, match="no object 2"):
        engine.remove_object(2)


# --- results of a video


def test_vis_summary_has_every_class_of_every_object():
    actors = [Actor(0, always(*LEFT), 0, 0.9), Actor(1, between(6, 99, *RIGHT), 1, 0.8)]
    _, _, engine = run(actors, 12, min_result_score=0.1)
    summary = engine.summary()
    assert [(entry["id"], entry["label"]) for entry in summary] == [(1, "dog"), (2, "cat")]
    # The second object was there in 6 of 10 clips; its class score counts 0 in the others. Masks are as sharp as can
    # be, so the qualities are sums over the clips: one more than one per clip for detections that are matched.
    assert summary[0]["score"] > summary[1]["score"] > 0
    means = engine.task.memory.mean_class_scores
    torch.testing.assert_close(means.amax(dim=1), torch.tensor([0.9, 0.8 * 6 / 10]), atol=1e-5, rtol=0)
    every = run(actors, 12, min_result_score=0.0)[2].summary()
    assert len(every) == 6 and [entry["score"] for entry in every] == sorted(
        (entry["score"] for entry in every), reverse=True
    )


def test_vis_summary_keeps_the_best_results():
    actors = [Actor(index, always(*box), index % 3) for index, box in enumerate([LEFT, RIGHT, LOW])]
    settings = {"min_result_score": 0.0, "max_detections": 3}
    # Rank max(int(1.5 * number of sure ones), max_detections), counted from 0, is kept as well.
    assert len(run(actors, 5, **settings)[2].summary()) == 5
    assert len(run(actors, 5, **settings, result_count_factor=2.0)[2].summary()) == 7
    assert len(run(actors, 5, **settings, result_score_threshold=0.95)[2].summary()) == 4


def test_vps_merges_stuff_and_keeps_things_apart():
    actors = [
        Actor(0, always(0, 3, 0, 8), 2),
        Actor(1, always(0, 3, 8, 16), 2),
        Actor(2, always(4, 8, 0, 7), 0),
        Actor(3, always(4, 8, 9, 16), 0),
    ]
    results, _, engine = run(actors, 20, "vps", thing_flags=[True, True, False])
    for result in results:
        segmentation = result["segmentation"]
        assert segmentation.dtype == torch.int32 and segmentation.shape == (32, 64)
        # Things are sorted first.
        assert segmentation[24, 10] == 1 and segmentation[24, 54] == 2
        assert segmentation[4, 10] == segmentation[4, 54] == 3
        assert [(s["id"], s["label"], s["is_thing"]) for s in result["segments_info"]] == [
            (1, "dog", True),
            (2, "dog", True),
            (3, "sky", False),
        ]
    assert [(s["id"], s["label_id"], s["is_thing"]) for s in engine.summary()] == [
        (1, 0, True),
        (2, 0, True),
        (3, 2, False),
    ]


def test_vps_things_that_are_mostly_hidden_are_left_out():
    actors = [Actor(0, always(0, 8, 0, 10), 0, 0.95), Actor(1, always(0, 8, 0, 14), 1, 0.6)]
    results, _, _ = run(actors, 5, "vps", overlap_threshold=0.2)
    assert ids(results[2]) == [1, 2]
    results, _, _ = run(actors, 5, "vps", overlap_threshold=0.5)
    assert ids(results[2]) == [1]
    # Pixels of what is left out become background.
    assert (results[2]["segmentation"][:, 48:54] == 0).all()


def test_vps_gives_the_background_to_objects_without_a_mask_unless_told_otherwise():
    actors = [Actor(0, always(*LEFT)), Actor(1, between(6, 99, *RIGHT), 2)]
    flags = [True, True, False]
    results, _, _ = run(actors, 9, "vps", thing_flags=flags)
    # Of the second object, nothing is known on the first frames: logit 0, where all others are below.
    assert (results[0]["segmentation"] == 2).float().mean() > 0.7 and overlap(mask_of(results[8], 2), RIGHT) > 0.8
    results, _, _ = run(actors, 9, "vps", thing_flags=flags, ignore_blank_masks=True)
    assert [ids(result) for result in results] == [[1]] * 6 + [[1, 2]] * 3


def test_detections_without_a_sure_pixel_are_looked_at_if_no_stability_is_asked_for():
    network, engine = start([], stability_score_threshold=0.0)
    logits = torch.stack([box_logits(*LEFT, inside=0.5), box_logits(*RIGHT)])[:, None]
    scores, quality = torch.tensor([[0.0], [0.5]]), torch.tensor([0.0, 1.0])
    assert engine.task._choose_detections(logits, scores, quality, True).tolist() == [1, 0]
    network, engine = start([], stability_score_threshold=0.25)
    assert engine.task._choose_detections(logits, scores, quality, True).tolist() == [1]


def test_vps_takes_one_flag_per_category():
    with pytest.raises(ValueError, match="thing_flags"):
        start([], "vps", thing_flags=[True])
    with pytest.raises(ValueError, match="categories"):
        ClipEngine(tiny_config(), "vis", SQUARE, UniVSImageProcessor())


# --- the real network, small


@pytest.mark.parametrize("task", ["vis", "vps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_runs(task, dtype):
    model = tiny_model(num_frames=3, text_config=text_config()).to(dtype)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(7)]
    settings = {"class_score_threshold": 0.02, "first_clip_score_threshold": 0.0, "stability_score_threshold": 0.0}
    results = list(
        propagate(model, tiny_processor(), frames, task, categories=["sky", "road", "dog"], num_frames=3, **settings)
    )
    assert [result["frame_idx"] for result in results] == list(range(7))
    assert any(ids(result) for result in results)
    for result in results:
        if task == "vis":
            assert result["masks"].shape == (len(ids(result)), 40, 60) and result["masks"].dtype == torch.bool
        else:
            assert set(result["segmentation"].unique().tolist()) - {0} == set(ids(result))
