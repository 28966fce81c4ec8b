# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Rules of the prompted tasks: query modes, boxes and points, changes while the video runs, stuff, expressions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from scripted_model import ScriptedModel, areas, box_logits, make_engine, padded_mask, run_engine, run_script, unit
from tiny_config import tiny_config, tiny_model
from tiny_processor import text_config

from univs_hf.clip_engine_univs import ClipEngine, Expressions, FrameGeometry
from univs_hf.clip_tasks_univs import assign_owners, count_pixels, mask_quality, pixel_owners
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.prompted_tasks_univs import merge_masks
from univs_hf.query_matching_univs import follow_objects, match_learnable_queries
from univs_hf.referring_task_univs import most_similar_query
from univs_hf.semantic_voting_univs import vote_for_classes

GEOMETRY = FrameGeometry((40, 60), (30, 60), (32, 64))
EMPTY = torch.full((8, 16), -4.0)


@pytest.fixture(scope="module")
def model():
    return tiny_model(num_frames=3, text_config=text_config())


# --- formulas


def test_pixel_owners_are_those_of_the_largest_weighted_probability():
    generator = torch.Generator().manual_seed(0)
    logits, weight = torch.randn(4, 2, 6, 8, generator=generator), torch.rand(4, generator=generator)
    expected = (logits.sigmoid() * weight[:, None, None, None]).argmax(dim=0)
    nobody = ~(logits > 0).any(dim=0)
    assert nobody.any()
    owners = pixel_owners(logits, weight)
    torch.testing.assert_close(owners, expected.masked_fill(nobody, 4))
    torch.testing.assert_close(assign_owners(logits, weight), owners == torch.arange(4)[:, None, None, None])
    # Equals: the first.
    assert (pixel_owners(torch.ones(3, 1, 50, 70), torch.tensor([0.5, 0.7, 0.7])) == 1).all()
    assert (pixel_owners(torch.ones(3, 1, 50, 70), torch.zeros(3)) == 0).all()
    # What is certain counts as probability 1, and is taken although every logit is negative.
    certain = torch.zeros(2, 1, 1, 3, dtype=torch.bool)
    certain[1, ..., 0] = True
    logits = torch.tensor([-3.0, 5.0, -3.0]).expand(2, 1, 1, 3)
    assert pixel_owners(logits, torch.tensor([1.0, 0.9]), certain).flatten().tolist() == [1, 0, 2]


def test_count_pixels():
    masks = torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(0)) > 0.4
    torch.testing.assert_close(count_pixels(masks), masks.flatten(1).sum(dim=1))


def test_merge_masks():
    masks = torch.zeros(3, 2, 4, dtype=torch.bool)
    masks[0, 0, :2] = masks[1, 0, 1:3] = masks[2, :, 3] = masks[2, 0] = True
    assert merge_masks(masks, [5, 2, 9]).tolist() == [[5, 5, 2, 9], [0, 0, 0, 9]]
    # Ids from 0 make room for the background.
    merged = merge_masks(masks, [0, 1, 2])
    assert merged.tolist() == [[1, 1, 2, 3], [0, 0, 0, 3]] and merged.dtype == torch.int32
    assert merge_masks(masks[:0], []).tolist() == [[0] * 4] * 2
    many = torch.zeros(300, 1, 300, dtype=torch.bool)
    many[torch.arange(300), 0, torch.arange(300)] = True
    assert merge_masks(many, range(1, 301)).flatten().tolist() == list(range(1, 301))
    with pytest.raises(ValueError, match="each of the 3 masks, got 2"):
        merge_masks(masks, [1, 2])
    with pytest.raises(ValueError, match="negative, got -1"):
        merge_masks(masks, [1, 2, -1])


@pytest.mark.parametrize("block", [2**24, 2000, 1])
def test_semantic_map_counts_votes_in_parts(monkeypatch, block):
    generator = torch.Generator().manual_seed(0)
    logits, scores = torch.randn(6, 2, 8, 16, generator=generator) * 4, torch.rand(6, 5, generator=generator)
    config = tiny_config()
    padded = GEOMETRY.to_padded(logits)
    weight = scores * mask_quality(GEOMETRY.crop(padded), config)[:, None]
    expected = torch.einsum("qc,qthw->cthw", weight, padded.sigmoid()).argmax(dim=0)
    monkeypatch.setattr("univs_hf.semantic_voting_univs.block_elements", lambda tensor: block)
    labels = vote_for_classes(
        logits,
        scores,
        GEOMETRY.padded_size,
        GEOMETRY.padded_size,
        config.quality_high_logit,
        config.quality_low_logit,
        counted_size=GEOMETRY.resized_size,
    )
    assert labels.shape == (2, 32, 64) and (labels == expected).float().mean() > 0.999


# --- matching


def test_learnable_queries_are_assigned_one_to_one():
    generator = torch.Generator().manual_seed(0)
    memory, current = torch.randn(3, 4, 8, generator=generator), torch.randn(5, 2, 8, generator=generator)
    memory[1, :2] = 0
    config = tiny_config()
    expected = torch.zeros(3, 5)
    for n in range(3):
        weights = torch.tensor([math.exp(5 * (v + 1) / 4) if memory[n, v].any() else 0.0 for v in range(4)])
        weights = weights / weights.sum()
        for m in range(5):
            for v in range(4):
                cosine = F.cosine_similarity(memory[n, v].expand(2, -1), current[m], dim=-1).mean()
                expected[n, m] += weights[v] * cosine
    rows, columns = linear_sum_assignment(1 - expected.numpy())
    found, similarity = match_learnable_queries(memory, current, config)
    assert found.tolist() == columns.tolist()
    torch.testing.assert_close(similarity, expected[rows, columns])

    dots = torch.einsum("nvc,mtc->nmvt", memory, current).mean(dim=-1) / 8**0.5
    expected = ((dots.softmax(dim=1) + dots.softmax(dim=0)) / 2).mean(dim=-1)
    rows, columns = linear_sum_assignment(1 - expected.numpy())
    found, similarity = match_learnable_queries(memory, current, config, bi_softmax=True)
    assert found.tolist() == columns.tolist()
    torch.testing.assert_close(similarity, expected[rows, columns])


def test_objects_beyond_the_learnable_queries_match_nothing():
    memory = torch.stack([unit(0), unit(1), unit(2)])[:, None]
    found, similarity = match_learnable_queries(memory, torch.stack([unit(2), unit(0)])[:, None], tiny_config())
    assert similarity.tolist() == [1, 0, 1] and found[0] == 1 and found[2] == 0


def outputs_of(*queries):
    """Model output of queries (logits (h4, w4), embedding (C,)) that are the same in two frames."""

    class Outputs:
        masks_queries_logits = torch.stack([logits.expand(2, -1, -1) for logits, _ in queries])[None]
        query_embeddings = torch.stack([embedding.expand(2, -1) for _, embedding in queries])[None]

    return Outputs()


@pytest.mark.parametrize(
    ("prompt_cosine", "learned_cosine", "learned_box", "shares"),
    [
        (0.8, 0.8, (1, 5, 1, 9), (0.5, 0.5)),  # both found and alike: by similarity
        (0.6, 0.9, (1, 5, 1, 9), (0.4, 0.6)),
        (0.8, 0.5, (1, 5, 1, 9), (1.0, 0.0)),  # the learnable query is not like the object
        (0.4, 0.8, (1, 5, 1, 9), (0.0, 0.0)),  # the prompt query is not, so the masks are not alike
        (0.8, 0.8, (1, 5, 7, 15), (1.0, 0.0)),  # another mask
    ],
)
def test_fusion_of_both_queries(prompt_cosine, learned_cosine, learned_box, shares):
    def at(cosine, other):
        return cosine * unit(0) + math.sqrt(1 - cosine**2) * unit(other)

    prompted, learned = (
        (box_logits(1, 5, 1, 8), at(prompt_cosine, 1)),
        (box_logits(*learned_box), at(learned_cosine, 2)),
    )
    outputs = outputs_of((EMPTY, unit(5)), learned, prompted)
    config = tiny_config().for_task("vos", query_mode="prompt+learn")
    match = follow_objects(outputs, 2, torch.tensor([2]), unit(0).expand(1, 3, -1), config, GEOMETRY)
    expected = shares[0] * prompted[0] + shares[1] * learned[0]
    torch.testing.assert_close(match.predictions.logits[0, 0], expected)
    torch.testing.assert_close(match.predictions.embeddings[0, 0], shares[0] * prompted[1] + shares[1] * learned[1])
    torch.testing.assert_close(match.padded_logits, GEOMETRY.to_padded(match.predictions.logits))
    found = [c for c, threshold in ((prompt_cosine, 0.5), (learned_cosine, 0.65)) if c > threshold]
    torch.testing.assert_close(match.similarity, torch.tensor([sum(found) / len(found)]))
    torch.testing.assert_close(match.quality, mask_quality(match.padded_logits, config))


@pytest.mark.parametrize(("mode", "shown"), [("prompt", [1, 1, 1]), ("learn", [1, 0, 0]), ("prompt+learn", [1, 1, 1])])
def test_query_modes_of_objects(mode, shown):
    """The first clip goes by the prompt in every mode; later ones by what the mode says."""

    def script(index, frame):
        return box_logits(1, 5, 1, 8), unit(0)

    def learnable(index, frame):
        return box_logits(1, 5, 1, 8), unit(3 + index)  # like no object

    masks = {0: {1: padded_mask(1, 5, 1, 8)}}
    results, model, _ = run_script(
        script, masks, 9, learnable=learnable, classes=[0, 0], query_mode=mode, clip_stride=3
    )
    assert [int(bool(areas(result))) for result in results[::3]] == shown
    assert set(model.used_learnable_queries) == {mode != "prompt"}


def test_learn_mode_follows_the_learnable_query():
    def script(index, frame):
        return (box_logits(1, 5, 1, 8) if frame < 3 else EMPTY), unit(0)

    def learnable(index, frame):
        return (box_logits(1, 5, 8, 15), unit(0)) if index == 1 else (EMPTY, unit(4))

    masks = {0: {1: padded_mask(1, 5, 1, 8)}}
    results, _, _ = run_script(
        script, masks, 6, learnable=learnable, classes=[0, 0], query_mode="learn", clip_stride=3
    )
    assert (results[2]["segmentation"][6:18, 6:28] == 1).all()
    assert (results[4]["segmentation"][6:18, 34:56] == 1).all() and not results[4]["segmentation"][:, :28].any()


# --- boxes and points


def test_a_box_or_point_starts_an_object_where_the_network_sees_it():
    def script(index, frame):
        return box_logits(1, 4, 2 + 5 * index, 5 + 5 * index), unit(index)

    engine = make_engine()
    engine.add_object_boxes(0, {4: (8, 4, 20, 16)})
    engine.add_object_points(1, {7: (34, 10)})
    model = ScriptedModel(script)
    results = run_engine(engine, model, 6)
    assert [list(areas(result)) for result in results] == [[4]] + [[4, 7]] * 5
    # On its own frame too the result is what the network sees, not the box.
    expected = F.interpolate(box_logits(1, 4, 2, 5)[None, None], scale_factor=4, mode="bilinear")[0, 0] > 0
    assert ((results[0]["segmentation"] == 4) == expected).all()
    # Encoded as what they are, in every clip in which their frame is a key frame.
    kinds = [kind for kind, _ in model.encoded_others]
    assert kinds == ["box", "point"]
    assert model.encoded_others[0][1] == [8 / 64, 4 / 32, 20 / 64, 16 / 32]
    assert model.encoded_others[1][1] == [34 / 64, 10 / 32]


def test_a_prediction_far_from_the_box_is_not_accepted():
    def script(index, frame):
        return box_logits(1, 4, 2, 5), unit(index)

    engine = make_engine()
    engine.add_object_boxes(0, {1: (40, 10, 60, 30)})
    assert [areas(result) for result in run_engine(engine, ScriptedModel(script), 3)] == [{}] * 3


def test_a_mask_goes_before_a_box_of_the_same_object_and_frame():
    engine = make_engine()
    engine.add_object_boxes(0, {1: (8, 4, 20, 16)})
    engine.annotate(0, {1: padded_mask(0, 6, 0, 6)})
    model = ScriptedModel(lambda index, frame: (box_logits(1, 4, 2, 5), unit(0)))
    results = run_engine(engine, model, 3)
    assert areas(results[0]) == {1: 24 * 24} and not model.encoded_others


def test_boxes_and_points_with_the_model(model):
    """Kinds are kept apart and put in place: swapping the order of objects swaps the results."""

    def run(order):
        config = model.config.for_task("vos", num_frames=3, num_prompt_pixels=4)
        engine = ClipEngine(config, "vos", FrameGeometry((32, 64), (32, 64), (32, 64)), UniVSImageProcessor())
        prompts = {
            1: lambda: engine.annotate(0, {1: padded_mask(1, 6, 1, 6)}),
            2: lambda: engine.add_object_boxes(0, {2: (10, 4, 50, 30)}),
            3: lambda: engine.add_object_points(0, {3: (40, 20)}),
        }
        for object_id in order:
            prompts[object_id]()
        for index in range(3):
            frame = torch.randn(3, 32, 64, generator=torch.Generator().manual_seed(index))
            engine.step(model, frame)
        memory = engine.task._memory._slots
        return {object_id: memory[:, index] for index, object_id in enumerate(order)}

    first, second = run([1, 2, 3]), run([3, 1, 2])
    for object_id in (1, 2, 3):
        torch.testing.assert_close(first[object_id], second[object_id])
        assert first[object_id].any()
    assert (first[2] != first[3]).any()


# --- while the video runs


def test_a_new_object_at_frame_37_and_a_correction_at_frame_80():
    def script(index, frame):
        # Object 1 moves at frame 60; the network loses it, until the correction.
        if index == 0:
            return (EMPTY if 60 <= frame < 80 else box_logits(1, 4, 2, 5)), unit(0) if frame < 60 else unit(3)
        return box_logits(1, 4, 8, 11), unit(index)

    engine = make_engine()
    engine.annotate(0, {1: padded_mask(1, 4, 2, 5)})
    correction = padded_mask(2, 5, 2, 5)
    results = run_engine(
        engine,
        ScriptedModel(script),
        90,
        {
            37: lambda: engine.annotate(37, {2: padded_mask(1, 4, 8, 11)}),
            80: lambda: engine.annotate(80, {1: correction}),
        },
    )
    present = [sorted(areas(result)) for result in results]
    assert present[:37] == [[1]] * 37 and present[37:60] == [[1, 2]] * 23
    assert present[60:80] == [[2]] * 20 and present[80:] == [[1, 2]] * 10
    torch.testing.assert_close((results[80]["segmentation"] == 1).float(), correction)


def test_a_correction_replaces_what_earlier_clips_have_said_of_later_frames():
    def script(index, frame):
        # Where the network sees it depends on the prompts that it has been given.
        return (box_logits(1, 4, 9, 12) if corrected[0] else box_logits(1, 4, 2, 5, inside=9.0)), unit(0)

    corrected = [False]
    engine = make_engine(num_frames=4)
    engine.annotate(0, {1: padded_mask(1, 4, 2, 5)})

    def correct():
        corrected[0] = True
        engine.annotate(4, {1: padded_mask(1, 4, 9, 12)})

    results = run_engine(engine, ScriptedModel(script), 9, {6: correct})
    columns = [(result["segmentation"] == 1)[4:16].any(dim=0).nonzero()[:, 0].float().mean() for result in results]
    assert [bool(column > 32) for column in columns] == [False] * 4 + [True] * 5


def test_an_object_announced_from_the_start_or_not():
    """Under blocked self-attention objects do not see one another, so it makes no difference; the default differs."""

    def run(announced, **settings):
        model = tiny_model(num_frames=3, text_config=text_config())
        config = model.config.for_task("vos", num_frames=3, num_prompt_pixels=4, **settings)
        engine = ClipEngine(config, "vos", FrameGeometry((32, 64), (32, 64), (32, 64)), UniVSImageProcessor())
        memories = []
        compose = model.compose_visual_prompts
        model.compose_visual_prompts = lambda *tokens: memories.append(tokens[0].clone()) or compose(*tokens)
        decode, outputs = model.decode_clip, []
        model.decode_clip = lambda *args, **kwargs: outputs.append(decode(*args, **kwargs)) or outputs[-1]
        engine.annotate(0, {1: padded_mask(1, 6, 1, 6)})
        for index in range(6):
            if index == (0 if announced else 4):
                engine.annotate(4, {2: padded_mask(2, 7, 8, 14)})
            engine.step(model, torch.randn(3, 32, 64, generator=torch.Generator().manual_seed(index)))
        return [output.masks_queries_logits[0, 0] for output in outputs]

    blocked = run(True, self_attention_type="sep-blocked"), run(False, self_attention_type="sep-blocked")
    torch.testing.assert_close(blocked[0], blocked[1])
    assert (run(True)[0] - run(False)[0]).abs().max() > 1e-3


def test_removing_an_object():
    def script(index, frame):
        left = (2, 6, 10)[order[index]]
        return box_logits(1, 4, left, left + 3), unit(order[index])

    order = [0, 1, 2]
    engine = make_engine()
    engine.annotate(0, {n + 1: padded_mask(1, 4, left, left + 3) for n, left in enumerate((2, 6, 10))})

    def remove():
        engine.remove_object(2)
        order.remove(1)

    results = run_engine(engine, ScriptedModel(script), 9, {5: remove})
    # Results that had not been given when it was removed are without it.
    assert [sorted(areas(result)) for result in results] == [[1, 2, 3]] * 3 + [[1, 3]] * 6
    third = (results[8]["segmentation"] == 3).nonzero()[:, 1].float().mean()
    assert 40 < third < 52
    assert engine.task._memory.num_objects == 2 and len(engine.task._logits) == 2
    with pytest.raises(ValueError, match="There is no object 2; there are \\[1, 3\\]"):
        engine.remove_object(2)


def test_an_object_can_be_removed_before_a_clip_has_met_it():
    engine = make_engine()
    engine.annotate(0, {1: padded_mask(1, 4, 2, 5)})
    engine.annotate(4, {2: padded_mask(1, 4, 8, 11), 3: padded_mask(5, 8, 8, 11)})
    engine.remove_object(2)
    boxes = {0: (1, 4, 2, 5), 1: (5, 8, 8, 11)}
    model = ScriptedModel(lambda index, frame: (box_logits(*boxes[index]), unit(index)))
    assert [sorted(areas(result)) for result in run_engine(engine, model, 7)] == [[1]] * 4 + [[1, 3]] * 3


def test_objects_unseen_for_long_leave():
    def script(index, frame):
        gone = ids[index] == 1 and frame >= 4
        return EMPTY if gone else box_logits(1, 4, 2 + 5 * ids[index], 5 + 5 * ids[index]), unit(ids[index])

    class Ids:
        def __getitem__(self, index):
            return engine.object_ids[index]

    ids = Ids()
    engine = make_engine(max_inactive_frames=4)
    engine.annotate(0, {1: padded_mask(1, 4, 7, 10), 2: padded_mask(1, 4, 12, 15)})
    run_engine(engine, ScriptedModel(script), 7)
    assert engine.object_ids == [1, 2]
    engine = make_engine(max_inactive_frames=4)
    engine.annotate(0, {1: padded_mask(1, 4, 7, 10), 2: padded_mask(1, 4, 12, 15)})
    # A prompt that is still to come keeps its object, however long that takes.
    engine.annotate(15, {0 + 3: padded_mask(5, 8, 0, 3)})
    results = run_engine(engine, ScriptedModel(script), 14)
    assert engine.object_ids == [2, 3] and 2 in areas(results[-1])


def test_the_least_sure_objects_leave_when_there_are_too_many():
    def script(index, frame):
        weak = engine.object_ids[index] == 2
        left = 4 * (engine.object_ids[index] - 1)
        # Half of the weak object's pixels are unsure.
        logits = box_logits(1, 4, left, left + 3)
        return (torch.where(logits > 0, 0.5, logits) if weak else logits), unit(engine.object_ids[index])

    engine = make_engine(max_objects=2)
    engine.annotate(0, {1: padded_mask(1, 4, 0, 3), 2: padded_mask(1, 4, 4, 7)})
    results = run_engine(
        engine, ScriptedModel(script), 9, {5: lambda: engine.annotate(5, {3: padded_mask(1, 4, 8, 11)})}
    )
    assert engine.object_ids == [1, 3] and sorted(areas(results[8])) == [1, 3]

    engine = make_engine(max_objects=1)
    engine.annotate(0, {1: padded_mask(1, 4, 0, 3), 2: padded_mask(1, 4, 4, 7)})
    with pytest.raises(ValueError, match="`max_objects` is 1, but 2 objects"):
        run_engine(engine, ScriptedModel(script), 3)


# --- stuff


def test_stuff_takes_what_the_semantic_map_gives_it():
    """Object 1 is stuff of category 1, whose learnable query covers the right half; its prompt query sees nothing."""

    def script(index, frame):
        if index == 0:
            return box_logits(0, 2, 8, 10, inside=3.0), unit(0)
        return box_logits(3, 6, 1, 5), unit(1)

    def learnable(index, frame):
        return box_logits(0, 8, 8 * index, 8 * index + 8), unit(5 + index)

    def run(things):
        engine = make_engine("pvos", num_categories=2, thing_flags=things)
        engine.annotate(0, {1: padded_mask(0, 8, 8, 16), 2: padded_mask(3, 6, 1, 5)})
        engine.task.set_object_categories({1: 1, 2: 0})
        model = ScriptedModel(script, learnable=learnable, classes=[0, 1])
        return run_engine(engine, model, 6), model

    results, model = run([True, False])
    for result in results:
        assert areas(result)[1] > 0.9 * 32 * 32 and areas(result)[2] > 100
        assert [(s["label_id"], s["label"], s["is_thing"]) for s in result["segments_info"]] == [
            (1, "1", False),
            (0, "0", True),
        ]
    assert all(model.used_learnable_queries)
    # As a thing it is what its query says, and no learnable query is run.
    results, model = run([True, True])
    assert areas(results[5]).get(1, 0) < 200 and not any(model.used_learnable_queries)


def test_stuff_of_a_rejected_first_prediction_starts_all_the_same():
    def script(index, frame):
        return box_logits(0, 8, 0, 4), unit(0)

    def learnable(index, frame):
        return box_logits(0, 8, 8 * index, 8 * index + 8), unit(5 + index)

    engine = make_engine("pvos", num_categories=2, thing_flags=[True, False])
    engine.annotate(0, {1: padded_mask(0, 8, 8, 16)})
    engine.task.set_object_categories({1: 1})
    results = run_engine(engine, ScriptedModel(script, learnable=learnable, classes=[0, 1]), 3)
    assert (results[1]["segmentation"][:, 34:] == 1).all()


def test_bad_object_categories():
    engine = make_engine("pvos", num_categories=2)
    with pytest.raises(ValueError, match="Object 4 has category 2; the session has 2 categories"):
        engine.task.set_object_categories({4: 2})


# --- expressions


def expressions_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Expressions(
        torch.randn(count, 77, 16, generator=generator),
        torch.randn(count, 16, generator=generator),
        list(range(3, 3 + count)),
        [f"thing {index}" for index in range(count)],
    )


def subset(expressions, rows):
    return Expressions(
        expressions.word_features[rows],
        expressions.sentence_features[rows],
        [expressions.ids[row] for row in rows],
        [expressions.names[row] for row in rows],
    )


def refer(model, expressions, length=7, actions=None, geometry=GEOMETRY, first=None, **settings):
    """Results, and the output of every clip."""
    config = model.config.for_task("refvos", **{"num_frames": 3, "num_prev_frames_memory": 3, **settings})
    engine = ClipEngine(config, "refvos", geometry, UniVSImageProcessor(), expressions=expressions)
    if first is not None:
        engine.task.choose_first_queries = first
    outputs, results = [], []
    decode = model.decode_clip

    def recording(*args, **kwargs):
        # Features are views of a window that moves on.
        expected = model.encode_expressions(
            args[0],
            word_features=engine.expressions.word_features[None],
            sentence_features=engine.expressions.sentence_features[None],
        )
        outputs.append((decode(*args, **kwargs), kwargs["prompts"], expected, kwargs["frame_idx"][0].tolist()))
        return outputs[-1][0]

    model.decode_clip = recording
    try:
        for index in range(length):
            if actions and index in actions:
                actions[index](engine)
            frame = torch.randn(3, 32, 64, generator=torch.Generator().manual_seed(index))
            results += engine.step(model, frame)
        results += engine.finish(model)
    finally:
        del model.decode_clip
    return results, outputs, engine


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_one_result_per_frame_with_a_mask_for_every_expression(model, length, stride):
    results, _, _ = refer(model, expressions_of(2), length, clip_stride=stride)
    assert [result["frame_idx"] for result in results] == list(range(length))
    for result in results:
        assert result["masks"].shape == (2, 40, 60) and result["masks"].dtype == torch.bool
        assert [(s["id"], s["label"]) for s in result["segments_info"]] == [(3, "thing 0"), (4, "thing 1")]
        assert all(0 <= s["score"] <= 1 + 1e-6 for s in result["segments_info"])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_sums_of_small_masks_are_sums_of_large_ones(model, stride):
    # Every clip counts, as no expression is like itself less than -1.
    expressions = expressions_of(2)
    results, outputs, _ = refer(model, expressions, 7, clip_stride=stride, temporal_consistency_threshold=0.0)
    sums = torch.zeros(2, 7, 40, 60)
    for output, _, _, frames in outputs:
        large = GEOMETRY.to_padded(output.masks_queries_logits[0, -2:])
        for position, frame in enumerate(frames):
            sums[:, frame] += GEOMETRY.to_original(large[:, position])
    masks = torch.stack([result["masks"] for result in results], dim=1)
    unclear = sums.abs() < 1e-4
    assert ((masks == (sums > 0)) | unclear).all() and masks.any() and not masks.all()


def test_expressions_do_not_see_one_another(model):
    expressions = expressions_of(3)
    together, _, _ = refer(model, expressions)
    for row in range(3):
        alone, _, _ = refer(model, subset(expressions, [row]))
        for one, other in zip(together, alone, strict=True):
            assert (one["masks"][row] == other["masks"][0]).float().mean() > 0.999


def test_text_prompts_of_a_frame_are_encoded_once_and_are_what_the_whole_clip_gives(model):
    expressions = expressions_of(2)
    encoded, encode = [], model.encode_expressions

    def recording(features, **kwargs):
        encoded.append(features.num_frames)
        return encode(features, **kwargs)

    model.encode_expressions = recording
    try:
        _, outputs, _ = refer(model, expressions)
    finally:
        del model.encode_expressions
    # Between the task's own calls are those that the test compares with.
    assert encoded[::2] == [3, 1, 1, 1, 1] and encoded[1::2] == [3] * 5
    for _, prompts, expected, _ in outputs:
        for name in ("queries", "query_positions", "tokens", "sentence_features"):
            torch.testing.assert_close(getattr(prompts, name), getattr(expected, name))


def test_query_modes_of_expressions(model):
    expressions = expressions_of(2)
    found = {}
    for mode in ("prompt", "learn", "prompt+learn"):
        results, outputs, engine = refer(model, expressions, 3, query_mode=mode)
        found[mode] = torch.stack([result["masks"] for result in results])
        output = outputs[0][0]
        if mode == "learn":
            rows = most_similar_query(output)
            num_learnable = model.config.num_queries
            cosine = F.cosine_similarity(
                output.query_embeddings[0, :num_learnable, None],
                output.query_embeddings[0, None, num_learnable:],
                dim=-1,
            ).mean(dim=-1)
            assert rows.tolist() == cosine.argmax(dim=0).tolist()
            logits = GEOMETRY.to_padded(output.masks_queries_logits[0, rows])[:, 1]
            assert (found[mode][1] == (GEOMETRY.to_original(logits) > 0)).all()
    # The choice can be given.
    results, outputs, _ = refer(model, expressions, 3, query_mode="learn", first=lambda outputs: torch.tensor([4, 4]))
    logits = GEOMETRY.to_padded(outputs[0][0].masks_queries_logits[0, [4, 4]])[:, 2]
    assert (results[2]["masks"] == (GEOMETRY.to_original(logits) > 0)).all()


def test_removing_an_expression(model):
    expressions = expressions_of(3)
    whole, _, _ = refer(model, expressions)
    results, _, engine = refer(model, expressions, actions={4: lambda engine: engine.remove_object(4)})
    assert [len(result["masks"]) for result in results] == [3] * 2 + [2] * 5
    for one, other in zip(results[2:], whole[2:], strict=True):
        assert [segment["id"] for segment in one["segments_info"]] == [3, 5]
        assert (one["masks"] == other["masks"][[0, 2]]).float().mean() > 0.999
    with pytest.raises(ValueError, match="There is no expression 4"):
        engine.remove_object(4)
    _, _, engine = refer(model, expressions_of(1), actions={2: lambda engine: engine.remove_object(3)})
    assert engine.expressions.ids == []


def test_lost_frames_are_an_option(model):
    expressions = expressions_of(1)
    whole, _, _ = refer(model, expressions, 8, clip_stride=3)
    results, _, _ = refer(model, expressions, 8, clip_stride=3, skip_last_clip_frame=True)
    assert [result["frame_idx"] for result in results] == [0, 1, 3, 4, 6, 7]
    for result in results:
        assert (result["masks"] == whole[result["frame_idx"]]["masks"]).all()
    # The last clip loses none, also if it is full; clips that overlap lose none.
    full, _, _ = refer(model, expressions, 6, clip_stride=3, skip_last_clip_frame=True)
    assert [result["frame_idx"] for result in full] == [0, 1, 3, 4, 5]
    overlapping, _, _ = refer(model, expressions, 6, clip_stride=2, skip_last_clip_frame=True)
    assert len(overlapping) == 6


def test_referring_needs_expressions(model):
    config = model.config.for_task("refvos")
    with pytest.raises(ValueError, match="at least one expression"):
        ClipEngine(config, "refvos", GEOMETRY, UniVSImageProcessor())


# --- types


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["prompt", "learn", "prompt+learn"])
def test_half_precision(dtype, mode):
    model = tiny_model(num_frames=3, text_config=text_config()).to(dtype)
    for task in ("pvos", "refvos"):
        config = model.config.for_task(task, num_frames=3, num_prompt_pixels=4, query_mode=mode)
        engine = ClipEngine(
            config,
            task,
            GEOMETRY,
            UniVSImageProcessor(),
            category_embeddings=torch.randn(3, 16).to(dtype),
            thing_flags=[True, False, True],
            expressions=expressions_of(2) if task == "refvos" else None,
        )
        if task == "pvos":
            engine.annotate(0, {1: padded_mask(1, 4, 2, 5)})
            engine.add_object_boxes(0, {2: (20, 4, 40, 26)})
            engine.add_object_points(1, {3: (40, 20)})
            engine.task.set_object_categories({1: 0, 2: 1})
        results = []
        for index in range(5):
            results += engine.step(model, torch.randn(3, 32, 64, generator=torch.Generator().manual_seed(index)))
        assert len(results + engine.finish(model)) == 5


# --- bounded state


@pytest.mark.parametrize("task", ["pvos", "refvos"])
def test_state_does_not_grow(model, task):
    def numbers(engine):
        values = [*vars(engine.task).values(), getattr(getattr(engine.task, "_memory", None), "_slots", None)]
        return sum(math.prod(value.shape) for value in values if isinstance(value, (torch.Tensor, np.ndarray)))

    config = model.config.for_task(task, num_frames=3, num_prev_frames_memory=4, num_prompt_pixels=4)
    expressions = expressions_of(2) if task == "refvos" else None
    engine = ClipEngine(config, task, GEOMETRY, UniVSImageProcessor(), expressions=expressions)
    if task == "pvos":
        engine.annotate(0, {1: padded_mask(1, 4, 2, 5)})
    sizes = []
    for index in range(40):
        engine.step(model, torch.randn(3, 32, 64, generator=torch.Generator().manual_seed(index)))
        sizes.append(numbers(engine))
    assert sizes[39] == sizes[10] > 0
