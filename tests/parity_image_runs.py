# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Parity of single images and of feature extraction: from the recorded pixels to what the original wrote."""

from collections.abc import Callable, Iterator

import torch
from parity_checks import MASK_TOLERANCE, Row, compare, equal_row, features_row
from parity_fixtures import Fixture
from parity_tape import recorded_frames
from torch import Tensor

from univs_hf.image_processing_univs import UniVSImageProcessor, UniVSProcessedFrame
from univs_hf.label_sets import COMBINED_TABLE_ORDER, LabelSet, load_label_set

VOTE_TOLERANCE = 5e-4
SCORE_TOLERANCE = 1e-4
MASK_IOU = 0.999


def label_set_of_rows(rows: list[int]) -> LabelSet:
    """The label set that lies at `rows` of the combined table."""
    for name in COMBINED_TABLE_ORDER:
        label_set = load_label_set(name)
        if list(label_set.rows) == rows:
            return label_set
    raise ValueError(f"no label set lies at rows {rows} of the combined table")


def check_image(fixture: Fixture) -> Iterator[Row]:
    """An image through the network and all three kinds of segmentation."""
    settings, meta = fixture.settings, fixture.meta
    for name in ("sem_seg_postprocess_before_inference", "disable_semantic_queries"):
        if settings[name]:
            raise ValueError(f"{fixture.name}: {name} is set, which the package does not offer")
    model = fixture.model()
    categories = label_set_of_rows(meta["class_slice"])
    things = torch.tensor(meta["thing_contiguous_ids"])
    yield equal_row(fixture, "thing categories", torch.tensor(categories.thing_indices), things.sort().values)
    # What noise in the last digits did to the original; null where that was not tried.
    stability = meta.get("stability") or {}

    pixels, geometry = recorded_frames(fixture, model.config)
    first, end = meta["class_slice"]
    outputs = model(pixels[None], category_embeddings=model.category_embeddings[first:end])
    tolerance = max(MASK_TOLERANCE, 2 * stability.get("out/pred_masks_max_abs", 0))
    masks = outputs.masks_queries_logits[0, :, 0]
    yield compare(fixture, "masks", masks, fixture["out/pred_masks"], tolerance, 0.0, signs=True)
    logits = outputs.class_queries_logits[0]
    yield features_row(fixture, "class logits", logits, fixture["out/pred_logits_slice"])

    processor = UniVSImageProcessor()
    sizes = {"original_sizes": [geometry.original_size], "resized_sizes": [geometry.resized_size]}
    common = {**sizes, "stability_score_threshold": settings["stability_score_thresh"]}
    (votes,) = processor.post_process_image_semantic_segmentation(outputs, **common, return_scores=True)
    expected = fixture["final/sem_seg_every_3rd_pixel"]
    tolerance = max(VOTE_TOLERANCE, 2 * stability.get("sem_seg_max_abs", 0))
    yield compare(fixture, "semantic votes", votes[:, ::3, ::3], expected, tolerance, 0.0)
    (labels,) = processor.post_process_image_semantic_segmentation(outputs, **common)
    changed = stability.get("sem_seg_argmax_changed", 0)
    yield pixels_row(fixture, "semantic labels", labels, fixture["final/sem_seg_argmax"], changed)

    (panoptic,) = processor.post_process_image_panoptic_segmentation(
        outputs,
        **common,
        categories=categories,
        object_mask_threshold=settings["object_mask_threshold"],
        overlap_threshold=settings["overlap_threshold"],
    )
    changed = stability.get("panoptic_pixels_changed", 0)
    yield pixels_row(fixture, "panoptic ids", panoptic["segmentation"], fixture["final/panoptic_ids"], changed)
    segments = [(s["id"], s["is_thing"], s["label_id"]) for s in panoptic["segments_info"]]
    recorded = [(s["id"], s["isthing"], s["category_id"]) for s in meta["segments_info"]]
    yield Row(
        fixture.name,
        "panoptic segments",
        float(segments != recorded),
        0.0,
        "equal",
        segments == recorded,
        "" if segments == recorded else f"{segments}, expected {recorded}",
    )

    (instances,) = processor.post_process_image_instance_segmentation(
        outputs, **common, categories=categories, max_detections=settings["detections_per_image"]
    )
    yield from instance_rows(fixture, instances, things)


def pixels_row(fixture: Fixture, tensor: str, got: Tensor, expected: Tensor, changed: int) -> Row:
    """Compares label maps; twice as many pixels may differ as noise in the last digits changed in the original."""
    differing = int((got != expected).sum())
    share = differing / expected.numel()
    tolerance = f"{2 * changed} pixels" if changed else "equal"
    return Row(fixture.name, tensor, differing, share, tolerance, differing <= 2 * changed)


def instance_rows(fixture: Fixture, instances: dict, things: Tensor) -> Iterator[Row]:
    """Scores after sorting, classes as a multiset, and the masks of each class best first."""
    scores = torch.tensor([segment["score"] for segment in instances["segments_info"]])
    labels = torch.tensor([segment["label_id"] for segment in instances["segments_info"]])
    expected_scores = fixture["final/instance_scores"]
    # The original numbers the things alone.
    expected_labels = things[fixture["final/instance_classes"].long()]
    ordered = expected_scores.sort(descending=True).values
    yield compare(fixture, "instance scores", scores, ordered, SCORE_TOLERANCE, 0.0)
    yield equal_row(fixture, "instance classes", labels.sort().values, expected_labels.sort().values)
    if not torch.equal(labels.sort().values, expected_labels.sort().values):
        return
    # Both in the order of class and score, so that a near tie between classes does not matter.
    mine = sorted(range(len(labels)), key=lambda n: (int(labels[n]), -float(scores[n])))
    theirs = sorted(range(len(labels)), key=lambda n: (int(expected_labels[n]), -float(expected_scores[n])))
    got, expected = instances["masks"][mine].flatten(1), fixture["final/instance_masks"][theirs].bool().flatten(1)
    iou = (got & expected).sum(1) / (got | expected).sum(1).clamp(min=1)
    iou[~(got | expected).any(1)] = 1
    worst = float(iou.min())
    yield Row(fixture.name, "instance masks", 1 - worst, 1 - worst, f"IoU >= {MASK_IOU}", worst >= MASK_IOU)
    boxes = instances["boxes"][mine]
    # A box may move by one pixel where a mask does.
    yield compare(fixture, "instance boxes", boxes, fixture["final/instance_boxes"][theirs], 1.0, 0.0)


class RecordedProcessor:
    """Gives recorded frames by their number, in place of an image processor that resizes them."""

    def __init__(self, pixels: Tensor, original_size: tuple[int, int], resized_size: tuple[int, int]):
        self.pixels, self.original_size, self.resized_size = pixels, original_size, resized_size

    def preprocess_frame(self, frame: int) -> UniVSProcessedFrame:
        return UniVSProcessedFrame(self.pixels[frame][None, None], self.original_size, self.resized_size)


def check_semantic_extraction(fixture: Fixture) -> Iterator[Row]:
    """Object tokens and compressed mask features of a whole video."""
    settings = fixture.settings
    model = fixture.model()
    pixels, geometry = recorded_frames(fixture, model.config)
    clips = list(
        model.extract_features(
            range(len(pixels)),
            RecordedProcessor(pixels, geometry.original_size, geometry.resized_size),
            compression_ratio=settings["compression_ratio"],
            temporal_compression=settings["compression_ratio_temporal"],
            num_frames=settings["num_frames"],
        )
    )
    kept = torch.cat([clip.frame_idx for clip in clips])
    expected = torch.arange(0, len(pixels), settings["compression_ratio_temporal"])
    yield equal_row(fixture, "frames", kept, expected)
    for name, key in (("object_tokens", "final/obj_tokens"), ("mask_features", "final/mask_features")):
        yield features_row(fixture, name, torch.cat([clip[name] for clip in clips]), fixture[key])


CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {
    "image": check_image,
    "semantic_extraction": check_semantic_extraction,
}
