# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Row -> clip: everything together, and everything from one seed."""

import random
from dataclasses import fields

import numpy as np
import pytest
import torch
from data_rows import disc, two_disc_row

from univs_hf.data.clip import Clip
from univs_hf.data.clip_batch import IMAGE_MEAN, IMAGE_STD, collate_clips
from univs_hf.data.clip_frame_sampling import FrameSampling
from univs_hf.data.clip_from_row import ClipConfig, EmptyClipError, clip_from_row, source_clip_from_row
from univs_hf.data.clip_geometry import Augmentation
from univs_hf.data.schema import Entity, Expression, Row, RowError

SMALL = Augmentation(square_size=96, scale_range=(0.6, 1.5))


def config(task: str = "sot", num_frames: int = 4, augmentation: Augmentation = SMALL, **changes) -> ClipConfig:
    return ClipConfig(task, FrameSampling(num_frames, 5), augmentation, **changes)


def assert_same(first: Clip, second: Clip) -> None:
    for field in fields(Clip):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b), field.name
        else:
            assert a == b, field.name


@pytest.fixture(scope="module")
def row() -> Row:
    return Row.from_dict(two_disc_row())


def test_contents(row):
    clip = clip_from_row(row, 5, config("detection"))
    assert (clip.key, clip.dataset, clip.task, clip.seed) == ("toy/train/0#0", "toy", "detection", 5)
    assert clip.frames.shape == (4, 3, 96, 96) and clip.frames.dtype == torch.uint8
    assert clip.entity_ids.tolist() == [11, 5] and clip.categories.tolist() == [3, 7]
    assert clip.category_set == "ovis" and clip.has_classes and clip.is_thing.all()
    assert clip.frame_idx.shape == clip.time_stamps.shape == (4,) and clip.num_frames == 4
    assert clip.expressions == () and clip.expression_rows.shape == (0,)
    masks = clip.masks()
    assert masks.shape == (2, 4, 96, 96) and masks.dtype == torch.bool
    assert torch.equal(masks.sum((2, 3)), clip.areas) and clip.areas.dtype == torch.int64
    assert torch.equal(clip.visible, masks.flatten(2).any(2))
    assert torch.equal(clip.masks([1])[0], masks[1])
    # The discs overlap, so one map cannot hold both.
    assert (masks[0] & masks[1]).any() and len(clip.label_maps) == 2
    # The second disc is absent in frame 1 of the row.
    assert torch.equal(clip.visible[1], clip.frame_idx != 1)
    assert not clip_from_row(row, 5, config("sot")).has_classes


def test_pictures_and_masks_stay_together(row):
    """The ramp tells where each pixel comes from, which tells whether it is in the disc."""
    checked = 0
    for seed in range(12):
        clip = clip_from_row(row, seed, config(float_frames=True))
        masks = clip.masks().numpy()
        for index, frame in enumerate(clip.frame_idx.tolist()):
            x, y, blue = clip.frames[index].numpy() + 0.5
            # Blue is 100 except towards black.
            known = (np.abs(blue - 100.5) < 1e-2) & (x > 1) & (y > 1) & (x < 79) & (y < 59)
            for entity, center in enumerate([(24 + frame, 30), (36 + frame, 30)]):
                distance = np.hypot(x - center[0], y - center[1])
                sure = known & (np.abs(distance - 12) > 0.72)
                expected = (distance < 12) & ~(entity == 1 and frame == 1)
                np.testing.assert_array_equal(masks[entity, index][sure], expected[sure])
                checked += int((expected & sure).sum())
    assert checked > 10_000


def test_one_seed_decides_everything(row):
    first = clip_from_row(row, 7, config("grounding"))
    np.random.seed(0)
    torch.manual_seed(0)
    random.seed(0)
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate())
    assert_same(clip_from_row(row, 7, config("grounding")), first)
    # Nor was any global generator used.
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate())
    others = [clip_from_row(row, seed, config("grounding")) for seed in range(20)]
    assert len({clip.frames.numpy().tobytes() for clip in others}) == 20
    assert {clip.flipped for clip in others} == {True, False}
    assert len({tuple(clip.frame_idx.tolist()) for clip in others}) > 10


def test_expressions_point_to_their_entities(row):
    seen = set()
    for seed in range(20):
        clip = clip_from_row(row, seed, config("grounding"))
        assert clip.entity_ids.tolist() == [11, 5]
        assert clip.expression_ids.tolist() == [100, 101, 102] and clip.expression_rows.tolist() == [1, 0, 1]
        if clip.flipped:
            assert clip.expressions == ("the disc on the left", "the bright disc on the Right", "a disc")
        else:
            assert clip.expressions == ("the disc on the right", "the bright disc on the Left", "a disc")
        # What the first sentence says holds in the picture.
        columns = clip.masks().any(1).any(1).float() @ torch.arange(96.0) / clip.masks().any(1).any(1).sum(1)
        assert (columns[1] < columns[0]) == clip.flipped
        seen.add(clip.flipped)
    assert seen == {True, False}


def test_grounding_keeps_what_is_spoken_of():
    entities = [Entity(1), Entity(2), Entity(3)]
    masks = np.stack([disc(60, 80, (20 * n + 20, 30), 8) for n in range(3)])[:, None]
    changes = {"entities": entities, "masks": masks, "num_frames": 1, "category_set": ""}
    expressions = [Expression(0, 2, "c"), Expression(1, 0, "a"), Expression(2, 2, "c again")]
    row = Row.from_dict(two_disc_row(**changes, expressions=expressions))
    still = Augmentation.fixed(shortest_edge=60)
    clip = clip_from_row(row, 0, config("grounding", augmentation=still))
    assert clip.entity_ids.tolist() == [1, 3] and clip.expression_rows.tolist() == [1, 0, 1]
    limited = [
        clip_from_row(row, seed, config("grounding", augmentation=still, max_expressions=1)) for seed in range(30)
    ]
    assert {clip.expressions for clip in limited} == {("c",), ("a",), ("c again",)}
    assert all(clip.num_entities == 1 and clip.expression_rows.tolist() == [0] for clip in limited)
    with pytest.raises(EmptyClipError, match="no entity for grounding"):
        clip_from_row(Row.from_dict(two_disc_row(**changes, expressions=[])), 0, config("grounding"))


def test_crowds_and_absent_entities_are_left_out():
    entities = [Entity(1), Entity(2, is_crowd=True), Entity(3)]
    masks = np.zeros((3, 2, 60, 80), bool)
    masks[:2, :, 10:30, 10:30] = True
    changes = {"entities": entities, "masks": masks, "num_frames": 2, "category_set": "", "expressions": []}
    row = Row.from_dict(two_disc_row(**changes))
    assert clip_from_row(row, 0, config()).entity_ids.tolist() == [1]


def test_entities_that_leave_the_crop_are_dropped():
    """Their expressions too, and the rows that the others point to are counted anew."""
    masks = np.zeros((2, 1, 60, 80), bool)
    masks[0, 0, :9, :15] = True
    masks[1, 0, 10:50, 10:70] = True
    entities = [Entity(8), Entity(9)]
    expressions = [Expression(0, 1, "large"), Expression(1, 0, "small"), Expression(2, 1, "big")]
    row = Row.from_dict(
        two_disc_row(masks=masks, num_frames=1, entities=entities, expressions=expressions, category_set="")
    )
    settings = config("grounding", 2, Augmentation(0.0, 0.0, square_size=40, scale_range=(2, 2), crop_shift=0.0))
    kept = set()
    for seed in range(40):
        clip = clip_from_row(row, seed, settings)
        masks_left = clip.masks()
        assert masks_left.flatten(2).any(2).any(1).all() and len(masks_left) == clip.num_entities
        kept.add(clip.num_entities)
        if clip.num_entities == 1:
            assert clip.entity_ids.tolist() == [9] and clip.expressions == ("large", "big")
            assert clip.expression_rows.tolist() == [0, 0] and clip.expression_ids.tolist() == [0, 2]
            assert len(clip.entity_layer) == len(clip.entity_label) == len(clip.areas) == len(clip.categories) == 1
    assert kept == {1, 2}


def test_nothing_in_the_crop():
    masks = np.zeros((1, 1, 60, 80), bool)
    masks[0, 0, 0, 0] = True
    changes = {"masks": masks, "num_frames": 1, "entities": [Entity(8)], "expressions": [], "category_set": ""}
    row = Row.from_dict(two_disc_row(**changes))
    settings = config("sot", 2, Augmentation(square_size=40, scale_range=(4, 4)))
    outcomes = set()
    for seed in range(30):
        results = []
        for make in (clip_from_row, source_clip_from_row):
            try:
                results.append(make(row, seed, settings).num_entities)
            except EmptyClipError as error:
                assert "no entity is within the crop" in str(error) and error.key == row.key
                results.append(0)
        assert results[0] == results[1]
        outcomes.add(results[0])
    assert 0 in outcomes


def test_geometry_later_is_the_same(row):
    for seed in range(6):
        settings = config("grounding", augmentation=Augmentation(square_size=48, scale_range=(0.25, 3)))
        source = source_clip_from_row(row, seed, settings)
        assert source.frames.dtype == source.label_maps.dtype == torch.uint8
        assert source.label_maps.shape[2:] == (60, 80)
        assert_same(source.warp(), clip_from_row(row, seed, settings))
    floats = source.warp(dtype=torch.float32)
    assert floats.frames.dtype == torch.float32
    assert torch.equal(floats.frames.round().to(torch.uint8), source.warp().frames)


def test_repeated_frames_are_decoded_once():
    row = Row.from_dict(two_disc_row(num_frames=1, time_index=None))
    source = source_clip_from_row(row, 0, config(num_frames=7))
    assert source.frames.shape == (1, 60, 80, 3) and source.source_idx == (0,) * 7
    clip = source.warp()
    # A pseudo video: one picture, a rotation of its own in every frame.
    assert len({frame.numpy().tobytes() for frame in clip.frames}) == 7
    assert clip.frame_idx.tolist() == [0] * 7 and (clip.time_stamps.diff() >= 0).all()


def test_random_subset_of_entities():
    masks = np.zeros((12, 1, 60, 80), bool)
    for n in range(12):
        masks[n, 0, 4 * n : 4 * n + 3] = True
    entities = [Entity(n) for n in range(12)]
    changes = {"masks": masks, "num_frames": 1, "entities": entities, "expressions": [], "category_set": ""}
    row = Row.from_dict(two_disc_row(**changes))
    still = Augmentation.fixed(shortest_edge=60)
    chosen = [clip_from_row(row, s, config(augmentation=still, max_entities=5)).entity_ids.tolist() for s in range(60)]
    assert all(len(ids) == 5 and ids == sorted(ids) for ids in chosen)
    # Not the first ones: each has its chance.
    assert {number for ids in chosen for number in ids} == set(range(12))
    assert len(clip_from_row(row, 0, config(augmentation=still)).entity_ids) == 12


def test_many_masks_keep_the_good_ones():
    masks = np.zeros((120, 1, 60, 80), bool)
    for n in range(120):
        masks[n, 0, n // 40 * 20 : n // 40 * 20 + 19, n % 40 * 2 : n % 40 * 2 + 2] = True
    stability = [0.98] * 120
    iou = [0.95] * 120
    stability[3], iou[5], iou[6] = 0.97, 0.9, 0.1
    changes = {"masks": masks, "num_frames": 1, "entities": [Entity(n) for n in range(120)], "expressions": []}
    changes |= {"category_set": "", "meta": {"stability_score": stability, "predicted_iou": iou}}
    settings = config(augmentation=Augmentation.fixed(shortest_edge=60))
    row = Row.from_dict(two_disc_row(**changes))
    assert set(range(120)) - set(clip_from_row(row, 0, settings).entity_ids.tolist()) == {3, 5, 6}
    changes["meta"] = {"predicted_iou": iou[:7]}
    with pytest.raises(RowError, match="`predicted_iou` has 7 values for 120 masks"):
        clip_from_row(Row.from_dict(two_disc_row(**changes)), 0, settings)


def test_federated_lists_stay():
    row = Row.from_dict(two_disc_row(neg_categories=[1, 2], not_exhaustive_categories=[3], exhaustive=True))
    clip = clip_from_row(row, 0, config("detection"))
    assert clip.neg_categories.tolist() == [1, 2] and clip.not_exhaustive_categories.tolist() == [3]
    assert clip.exhaustive
    assert clip_from_row(Row.from_dict(two_disc_row()), 0, config("detection")).neg_categories is None


def test_wrong_use(row):
    with pytest.raises(RowError, match=r"without the wanted task 'grounding'"):
        clip_from_row(Row.from_dict(two_disc_row(tasks=["sot"])), 0, config("grounding"))
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="`seed` must be in"):
            clip_from_row(row, seed, config())
    with pytest.raises(ValueError, match="`task` must be one of"):
        ClipConfig("vos")
    with pytest.raises(ValueError, match="`max_entities` must be at least 1"):
        ClipConfig("sot", max_entities=0)


def test_moves_and_pins(row):
    clip = clip_from_row(row, 0, config())
    moved = clip.to("cpu")
    assert_same(moved, clip)
    assert clip.to("meta").frames.device.type == "meta"


def test_batches(row):
    settings = config(
        "grounding", augmentation=Augmentation(square_size=None, shortest_edges=(40, 50), longest_edge=90)
    )
    clips = [clip_from_row(row, seed, settings) for seed in range(8)]
    assert {clip.valid_size for clip in clips} == {(40, 53), (50, 67)}
    batch = collate_clips(clips)
    assert batch.pixel_values_videos.shape == (8, 4, 3, 64, 96)
    assert batch.frame_idx.tolist() == [clip.time_stamps.tolist() for clip in clips]
    for index, clip in enumerate(clips):
        height, width = clip.valid_size
        picture = batch.pixel_values_videos[index].clone()
        restored = picture[..., :height, :width] * torch.tensor(IMAGE_STD).view(3, 1, 1)
        restored += torch.tensor(IMAGE_MEAN).view(3, 1, 1)
        torch.testing.assert_close(restored, clip.frames.float(), atol=1e-3, rtol=0)
        picture[..., :height, :width] = 0
        assert not picture.any()
        # One row per expression, two of them about the same object.
        assert torch.equal(batch.mask_labels[index], clip.masks([1, 0, 1])[..., :height, :width])
        assert batch.obj_ids[index].tolist() == [5, 11, 5] and batch.expressions[index] == clip.expressions
    assert batch.class_labels is None
    classes = collate_clips([clip_from_row(row, seed, config("detection")) for seed in range(2)])
    assert [labels.tolist() for labels in classes.class_labels] == [[3, 7], [3, 7]]
    assert [len(masks) for masks in classes.mask_labels] == [2, 2] and classes.expressions == [(), ()]
    with pytest.raises(ValueError, match="of one task"):
        collate_clips([clips[0], clip_from_row(row, 0, config("sot"))])
    with pytest.raises(ValueError, match="of one task"):
        collate_clips([])
