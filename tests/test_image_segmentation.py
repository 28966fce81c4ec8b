# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Single images: the rules of the three kinds of segmentation on scripted queries, and features of whole videos."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from decisive_model import decisive_model
from PIL import Image
from tiny_processor import tiny_processor

from univs_hf import mask_resizing_univs
from univs_hf.batched_tasks_univs import segment_images, segment_videos
from univs_hf.feature_extraction_univs import sample_mask_features
from univs_hf.image_segmentation_univs import (
    box_nms,
    boxes_of_masks,
    prepare_queries,
    resolve_categories,
    segment_semantic,
)
from univs_hf.inference_univs import propagate
from univs_hf.label_sets import load_label_set
from univs_hf.mask_resizing_univs import bilinear_axis, nearest_axis

HEIGHT, WIDTH = 40, 60  # resized to 32x48, padded to 32x64


@pytest.fixture(scope="module")
def model():
    return decisive_model()


@pytest.fixture(scope="module")
def processor():
    return tiny_processor()


def frames(count, seed=0, size=(HEIGHT, WIDTH)):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def box_mask(top, bottom, left, right, logit=8.0, size=(8, 16)):
    """Mask logits at stride 4 of a box given in stride-4 pixels."""
    logits = torch.full(size, -8.0)
    logits[top:bottom, left:right] = logit
    return logits


def outputs_of(*queries, num_classes=3):
    """Model output of one image of 32x64 pixels; a query is (mask logits, {class: logit}), other classes -9."""
    classes = torch.full((len(queries), num_classes), -9.0)
    for index, (_, logits) in enumerate(queries):
        for label, logit in logits.items():
            classes[index, label] = logit
    masks = torch.stack([mask for mask, _ in queries])
    return SimpleNamespace(masks_queries_logits=masks[None, :, None], class_queries_logits=classes[None])


SIZES = {"original_sizes": [(32, 64)], "resized_sizes": [(32, 64)]}
LEFT, RIGHT = box_mask(0, 8, 0, 8), box_mask(0, 8, 8, 16)


# --- panoptic


def panoptic(processor, *queries, **kwargs):
    (result,) = processor.post_process_image_panoptic_segmentation(outputs_of(*queries), **{**SIZES, **kwargs})
    return result["segmentation"], result["segments_info"]


def test_things_stay_apart_and_stuff_is_merged(processor) -> None:
    queries = ((LEFT, {0: 2.0}), (RIGHT, {0: 1.5}))
    segmentation, segments = panoptic(processor, *queries)
    assert [segment["label_id"] for segment in segments] == [0, 0]
    assert [segment["is_thing"] for segment in segments] == [True, True]
    assert (segmentation[:, :31] == 1).all() and (segmentation[:, 33:] == 2).all()
    assert segmentation.dtype == torch.int32

    segmentation, segments = panoptic(processor, *queries, thing_flags=[False, True, True])
    assert [(segment["id"], segment["is_thing"]) for segment in segments] == [(1, False)]
    assert segments[0]["score"] == pytest.approx(panoptic(processor, *queries)[1][0]["score"])
    assert (segmentation[:, :31] == 1).all() and (segmentation[:, 33:] == 1).all()


def test_segments_that_lost_most_of_their_area_are_dropped(processor) -> None:
    whole, part = box_mask(0, 8, 0, 16), box_mask(0, 8, 0, 12)
    # The better query has most of what the other claims.
    segmentation, segments = panoptic(processor, (whole, {0: 0.0}), (part, {1: 3.0}))
    assert [segment["label_id"] for segment in segments] == [1]
    assert (segmentation[:, 52:] == 0).all()
    _, segments = panoptic(processor, (whole, {0: 0.0}), (part, {1: 3.0}), overlap_threshold=0.2)
    assert [segment["label_id"] for segment in segments] == [1, 0]


def test_weak_queries_and_duplicates_do_not_compete(processor) -> None:
    weak = (RIGHT, {1: -3.5})  # sigmoid 0.03
    segmentation, segments = panoptic(processor, (LEFT, {0: 2.0}), weak)
    assert len(segments) == 1 and (segmentation[:, 33:] == 0).all()
    assert len(panoptic(processor, (LEFT, {0: 2.0}), weak, object_mask_threshold=0.01)[1]) == 2
    # Nearly the same box and class: the lesser query goes. Of another class it stays, and loses every pixel.
    twin = box_mask(0, 8, 0, 8, logit=7.0)
    everything = {"overlap_threshold": 0.0}
    _, segments = panoptic(processor, (LEFT, {0: 2.0}), (twin, {0: 1.9}), **everything)
    assert len(segments) == 1
    segmentation, segments = panoptic(
        processor, (LEFT, {0: 2.0}), (twin, {0: 1.9}), box_nms_threshold=1.0, **everything
    )
    assert len(segments) == 1 and segmentation.max() == 1  # won nothing, so it is no segment


def test_no_query_is_good_enough(processor) -> None:
    segmentation, segments = panoptic(processor, (LEFT, {0: -9.0}))
    assert segments == [] and (segmentation == 0).all() and segmentation.shape == (32, 64)


def test_panoptic_map_is_resized_by_nearest_neighbour_and_cropped(processor) -> None:
    sizes = {"original_sizes": [(30, 50)], "resized_sizes": [(24, 40)]}
    segmentation, segments = panoptic(processor, (LEFT, {0: 2.0}), (RIGHT, {1: 2.0}), **sizes)
    small, _ = panoptic(
        processor, (LEFT, {0: 2.0}), (RIGHT, {1: 2.0}), original_sizes=[(24, 40)], resized_sizes=[(24, 40)]
    )
    assert torch.equal(segmentation, F.interpolate(small[None, None].float(), size=(30, 50))[0, 0].int())
    # What lies in the padding alone is no segment.
    _, segments = panoptic(processor, (box_mask(0, 8, 12, 16), {0: 2.0}), **sizes)
    assert segments == []


# --- semantic


def reference_votes(masks, classes, original, resized, temperature):
    """The whole computation in one piece."""
    padded = F.interpolate(masks[None], scale_factor=4, mode="bilinear")[0]
    quality = (padded > 1).sum((1, 2)) / (padded > -1).sum((1, 2)).clamp(min=1)
    weights = (classes.sigmoid() * quality[:, None] / temperature).softmax(-1)
    votes = torch.einsum("qc,qhw->chw", weights, padded[:, : resized[0], : resized[1]].sigmoid())
    return F.interpolate(votes[None], size=original, mode="bilinear")[0]


@pytest.mark.parametrize("original", [(45, 70), (24, 50), (17, 29)])
@pytest.mark.parametrize("block", [2**24, 1500])
def test_semantic_votes_equal_the_plain_computation_in_strips(original, block, monkeypatch) -> None:
    monkeypatch.setattr(mask_resizing_univs, "_CPU_BLOCK_ELEMENTS", block)
    generator = torch.Generator().manual_seed(0)
    masks = 3 * torch.randn(7, 8, 16, generator=generator)
    classes = torch.randn(7, 5, generator=generator)
    queries = prepare_queries(masks, classes, original, (24, 50))
    votes = segment_semantic(queries, return_scores=True)
    expected = reference_votes(masks, classes, original, (24, 50), 0.06)
    torch.testing.assert_close(votes, expected, atol=1e-5, rtol=0)
    assert torch.equal(segment_semantic(queries), votes.argmax(0))


def test_only_the_best_queries_vote(processor) -> None:
    outputs = outputs_of((LEFT, {0: 1.0}), (box_mask(0, 8, 0, 16), {1: 3.0}))
    (labels,) = processor.post_process_image_semantic_segmentation(outputs, **SIZES, num_semantic_queries=1)
    assert (labels == 1).all()
    (labels,) = processor.post_process_image_semantic_segmentation(outputs, **SIZES, num_queries=1)
    assert (labels[:, :28] == 0).all()


# --- instances


def instances(processor, *queries, **kwargs):
    (result,) = processor.post_process_image_instance_segmentation(outputs_of(*queries), **{**SIZES, **kwargs})
    return result


def test_instances_are_pairs_of_query_and_class_best_first(processor) -> None:
    result = instances(processor, (LEFT, {0: 1.0, 1: 0.0}), (RIGHT, {2: 3.0}), max_detections=3)
    assert [segment["label_id"] for segment in result["segments_info"]] == [2, 0, 1]
    assert [segment["id"] for segment in result["segments_info"]] == [1, 2, 3]
    scores = [segment["score"] for segment in result["segments_info"]]
    assert scores == pytest.approx(sorted(scores, reverse=True))
    assert torch.equal(result["masks"][1], result["masks"][2]) and not torch.equal(*result["masks"][:2])
    assert result["masks"].dtype == torch.bool and result["masks"].shape == (3, 32, 64)
    assert len(instances(processor, (LEFT, {0: 1.0}), threshold=0.5)["segments_info"]) == 1


def test_stuff_is_no_instance(processor) -> None:
    queries = ((LEFT, {0: 2.0, 1: 1.0}), (RIGHT, {1: 3.0, 0: 2.5}))
    result = instances(processor, *queries, thing_flags=[True, False, False])
    assert [segment["label_id"] for segment in result["segments_info"]] == [0]
    assert result["masks"][0, :, :28].all()
    # With no query that is a thing at best, those with a thing score of 0.1 or the best remain.
    result = instances(processor, (LEFT, {0: -1.0, 1: 1.0}), (RIGHT, {1: 3.0}), thing_flags=[True, False, False])
    assert len(result["segments_info"]) == 1 and result["masks"][0, :, :28].all()


def test_duplicates_are_suppressed_within_a_class(processor) -> None:
    twin = box_mask(0, 8, 0, 8, logit=7.0)
    everything = instances(processor, (LEFT, {0: 2.0}), (twin, {0: 1.0}), (twin, {1: 1.0}), threshold=0.1)
    assert [segment["label_id"] for segment in everything["segments_info"]] == [0, 1]
    assert (
        len(instances(processor, (LEFT, {0: 2.0}), (twin, {0: 1.0}), threshold=0.1, box_nms_threshold=1.0)["masks"])
        == 2
    )


def test_stability_threshold_drops_blurred_masks(processor) -> None:
    blurred = box_mask(0, 8, 8, 16, logit=0.5)  # likely, but nowhere certain
    queries = ((LEFT, {0: 2.0}), (blurred, {1: 5.0}))
    assert len(instances(processor, *queries)["masks"]) == 6
    result = instances(processor, *queries, stability_score_threshold=0.25)
    assert len(result["masks"]) == 3 and result["masks"][:, :, :28].all()


def test_nothing_is_left_when_every_query_is_dropped(processor) -> None:
    queries = outputs_of((box_mask(0, 8, 8, 16, logit=0.5), {1: 5.0}))
    arguments = {**SIZES, "stability_score_threshold": 0.25}
    (labels,) = processor.post_process_image_semantic_segmentation(queries, **arguments)
    assert labels.shape == (32, 64) and (labels == 0).all()
    (result,) = processor.post_process_image_panoptic_segmentation(queries, **arguments)
    assert result["segments_info"] == [] and (result["segmentation"] == 0).all()
    for flags in (None, [True, False, False]):
        (result,) = processor.post_process_image_instance_segmentation(queries, **arguments, thing_flags=flags)
        assert result["segments_info"] == [] and result["masks"].shape == (0, 32, 64)


# --- parts


def greedy_nms(boxes, scores, labels, threshold):
    """One box after the other."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda n: -float(scores[n])):
        for other in kept:
            low = np.maximum(boxes[index][:2], boxes[other][:2])
            high = np.minimum(boxes[index][2:], boxes[other][2:])
            intersection = np.prod(np.maximum(high - low, 0))
            areas = [np.prod(boxes[n][2:] - boxes[n][:2]) for n in (index, other)]
            union = sum(areas) - intersection
            if labels[index] == labels[other] and union > 0 and intersection / union > threshold:
                break
        else:
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_nms_equals_the_greedy_loop(seed) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 12, (80, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
    boxes[:3] = 0  # empty masks
    scores, labels = rng.random(80).astype(np.float32), rng.integers(0, 2, 80)
    kept = box_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), 0.4)
    assert kept.tolist() == greedy_nms(boxes, scores, labels, 0.4)


def test_boxes_hold_the_outermost_pixels() -> None:
    masks = torch.zeros(3, 9, 11, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 0, 0] = masks[1, 8, 10] = True
    assert boxes_of_masks(masks).tolist() == [[3, 2, 8, 4], [0, 0, 10, 8], [0, 0, 0, 0]]


@pytest.mark.parametrize(("source", "target"), [(8, 32), (24, 45), (50, 17), (7, 7)])
def test_axes_equal_torch(source, target) -> None:
    line = torch.randn(source, generator=torch.Generator().manual_seed(0))
    first, second, share = bilinear_axis(source, target, line.device)
    expected = F.interpolate(line[None, None], size=target, mode="linear")[0, 0]
    torch.testing.assert_close(torch.lerp(line[first], line[second], share), expected)
    expected = F.interpolate(line[None, None], size=target, mode="nearest")[0, 0]
    assert torch.equal(line[nearest_axis(source, target, line.device)], expected)


def test_label_sets_say_what_is_a_thing() -> None:
    flags, names = resolve_categories("coco_panoptic", None, 133)
    assert sum(flags) == 80 and names == load_label_set("coco_panoptic").labels
    assert resolve_categories(None, [True, None, False], 3) == ([True, True, False], None)
    assert resolve_categories(None, None, 2) == ([True, True], None)
    with pytest.raises(ValueError, match="133 classes"):
        resolve_categories("coco_panoptic", None, 3)
    with pytest.raises(ValueError, match="`thing_flags` has 2"):
        resolve_categories(None, [True, False], 3)


def test_bad_input_is_named(processor) -> None:
    outputs = outputs_of((LEFT, {0: 2.0}))
    outputs.class_queries_logits = None
    with pytest.raises(ValueError, match="class_queries_logits"):
        processor.post_process_image_semantic_segmentation(outputs, **SIZES)
    two_frames = outputs_of((LEFT, {0: 2.0}))
    two_frames.masks_queries_logits = two_frames.masks_queries_logits.expand(-1, -1, 2, -1, -1)
    with pytest.raises(ValueError, match="2 frames"):
        processor.post_process_image_panoptic_segmentation(two_frames, **SIZES)
    with pytest.raises(ValueError, match="thing"):
        instances(processor, (LEFT, {0: 2.0}), thing_flags=[False] * 3)


# --- images through the model


CATEGORIES = ["dog", "red car", "ice"]


@pytest.mark.parametrize("kind", ["semantic", "panoptic", "instance"])
def test_a_batch_of_images_equals_one_after_the_other(kind, model, processor) -> None:
    images = [*frames(3), *frames(1, size=(48, 40)), *frames(1, seed=1)]
    single = list(segment_images(model, processor, images, kind, CATEGORIES))
    batched = list(segment_images(model, processor, images, kind, CATEGORIES, batch_size=2))
    assert [result["frame_idx"] for result in batched] == list(range(5))
    key = "masks" if kind == "instance" else "segmentation"
    for one, other, image in zip(single, batched, images, strict=True):
        assert one[key].shape[-2:] == image.shape[:2]
        assert (one[key] != other[key]).float().mean() < 0.01
        assert [s["label"] for s in one["segments_info"]] == [CATEGORIES[s["label_id"]] for s in one["segments_info"]]


def test_images_of_any_kind(model, processor, tmp_path) -> None:
    (array,) = frames(1)
    path = tmp_path / "image.png"
    Image.fromarray(array).save(path)
    results = [
        next(segment_images(model, processor, image, "semantic", CATEGORIES))["segmentation"]
        for image in (array, Image.fromarray(array), path, [array])
    ]
    assert all(torch.equal(result, results[0]) for result in results)
    for arguments, message in (
        ({"kind": "depth"}, "`kind`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"no_such_field": 1}, "no_such_field"),
    ):
        with pytest.raises(ValueError, match=message):
            segment_images(model, processor, array, **{"categories": CATEGORIES, **arguments})
    with pytest.raises(TypeError, match="`images`"):
        segment_images(model, processor, 3)
    with pytest.raises(ValueError, match="no image"):
        list(segment_images(model, processor, [], categories=CATEGORIES))


def test_videos_of_a_batch_equal_sessions(model, processor) -> None:
    videos = [frames(4, seed) for seed in range(2)]
    steps = list(segment_videos(model, processor, videos, CATEGORIES))
    assert len(steps) == 4
    for index, video in enumerate(videos):
        for step, expected in zip(
            steps, propagate(model, processor, video, "vss", categories=CATEGORIES), strict=True
        ):
            got = step[index]
            assert got["frame_idx"] == expected["frame_idx"]
            assert (got["segmentation"] != expected["segmentation"]).float().mean() < 0.01


def test_videos_of_a_batch_must_agree(model, processor) -> None:
    with pytest.raises(ValueError, match="one length"):
        list(segment_videos(model, processor, [frames(4), frames(5)], CATEGORIES))
    with pytest.raises(ValueError, match="one size"):
        list(segment_videos(model, processor, [frames(2), frames(2, size=(48, 40))], CATEGORIES))
    with pytest.raises(ValueError, match="at least one video"):
        segment_videos(model, processor, [], CATEGORIES)


# --- features of videos


@pytest.mark.parametrize(
    ("ratio", "original", "resized"), [(8, (104, 150), (62, 92)), (5, (40, 60), (32, 48)), (1, (9, 7), (40, 61))]
)
def test_sampled_mask_features_equal_the_whole_resize(ratio, original, resized) -> None:
    features = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(features, scale_factor=4, mode="bilinear")[..., : resized[0], : resized[1]]
    expected = F.interpolate(whole, size=(original[0] // ratio, original[1] // ratio), mode="nearest")
    torch.testing.assert_close(sample_mask_features(features, original, resized, ratio), expected)


def test_extracted_features_are_those_of_the_clips(model, processor) -> None:
    video = frames(7)
    clips = list(model.extract_features(video, processor, compression_ratio=8))
    assert [clip.frame_idx.tolist() for clip in clips] == [[0, 1, 2], [3, 4, 5], [6]]
    config = model.config
    for clip in clips:
        inputs = processor(videos=[video[index] for index in clip.frame_idx], frame_idx=clip.frame_idx)
        with torch.no_grad():
            outputs = model.model(**inputs)
        torch.testing.assert_close(clip.object_tokens, outputs.last_hidden_state[0].transpose(1, 2))
        torch.testing.assert_close(clip.feature_map, outputs.multi_scale_features[0][0])
        count = len(clip.frame_idx)
        assert clip.object_tokens.shape == (count, config.hidden_dim, config.num_queries)
        assert clip.mask_features.shape == (count, config.hidden_dim, HEIGHT // 8, WIDTH // 8)
        assert clip.feature_map.shape == (count, config.hidden_dim, 1, 2)
        assert not clip.object_tokens.requires_grad


def test_temporal_compression_keeps_every_so_many_th_frame(model, processor) -> None:
    video = frames(7)
    whole = torch.cat([clip.object_tokens for clip in model.extract_features(video, processor)])
    for step in (2, 5):
        clips = list(model.extract_features(video, processor, temporal_compression=step))
        assert torch.cat([clip.frame_idx for clip in clips]).tolist() == list(range(0, 7, step))
        torch.testing.assert_close(torch.cat([clip.object_tokens for clip in clips]), whole[::step])


def test_extraction_holds_one_clip(model, processor) -> None:
    def stream(count):
        for frame in frames(count):
            nonlocal read
            read += 1
            yield frame

    read = 0
    features = model.extract_features(stream(30), processor.image_processor)
    next(features)
    assert read == 3
    sizes = []
    for index, _ in enumerate(features):
        if index in (0, 8):
            gc.collect()
            sizes.append(sum(1 for item in gc.get_objects() if type(item) is torch.Tensor))
    assert sizes[0] == sizes[1]


def test_extraction_names_what_is_wrong(model, processor) -> None:
    video = frames(2)
    for arguments, message in (
        ({"compression_ratio": 0}, "`compression_ratio`"),
        ({"temporal_compression": 1.5}, "`temporal_compression`"),
        ({"num_frames": -1}, "`num_frames`"),
    ):
        with pytest.raises(ValueError, match=message):
            model.extract_features(video, processor, **arguments)
    with pytest.raises(ValueError, match="sides of the frames"):
        list(model.extract_features(video, processor, compression_ratio=50))
    with pytest.raises(ValueError, match="one size"):
        list(model.extract_features([*video, *frames(1, size=(48, 40))], processor))
    with pytest.raises(ValueError, match="no frame"):
        list(model.extract_features([], processor))
    with pytest.raises(TypeError, match="`video`"):
        model.extract_features(3, processor)
