# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Whole recorded runs of the prompted tasks: VOS, PVOS and RefVOS in all query modes.

At every clip step the state before the decoder, the prompts it is given and what it says are compared, and at the end
the pixels of the results. One bit of an attention mask on the edge moves a query for the rest of the clip (see the
fixtures' notes), so per tensor one step in eight may be off; the pixels bound what that may do.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from parity_checks import Row
from parity_fixtures import Fixture
from parity_tape import RandomTape, recorded_frames, run_recorded
from torch import Tensor

from univs_hf.clip_engine_univs import ClipEngine, Expressions
from univs_hf.configuration_univs import UniVSConfig
from univs_hf.convert_tokenizer import build_clip_tokenizer
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.label_sets import load_label_set
from univs_hf.modeling_univs import UniVSForVideoSegmentation
from univs_hf.prompted_tasks_univs import merge_masks
from univs_hf.text_prompts import tokenize_templates

VALUE_TOLERANCE = 1e-3
# Share of the final pixels that must be equal.
PIXEL_AGREEMENT = 0.999
# Steps per tensor that an attention bit may disturb: one, or one in so many.
STEPS_PER_DISTURBED = 8


class StepRecord:
    """Worst difference per tensor and step."""

    def __init__(self, fixture: Fixture):
        self.fixture = fixture
        self.errors: dict[str, dict[int, float]] = defaultdict(dict)
        self.scales: dict[str, float] = defaultdict(float)

    def add(self, step: int, key: str, got: Tensor) -> None:
        """Compares with the recorded tensor, if there is one."""
        name = f"step{step:02d}/{key}"
        if name not in self.fixture:
            return
        expected = self.fixture[name].double()
        if got.shape != expected.shape:
            self.errors[key][step] = math.inf
            return
        difference = (got.double() - expected).abs()
        self.errors[key][step] = float(difference.max()) if difference.numel() else 0.0
        self.scales[key] = max(self.scales[key], float(expected.abs().max()) if expected.numel() else 0.0)

    def rows(self) -> Iterator[Row]:
        for key, errors in self.errors.items():
            off = [step for step, error in sorted(errors.items()) if not error <= VALUE_TOLERANCE]
            allowed = max(len(errors) // STEPS_PER_DISTURBED, 1) if len(errors) > 1 else 0
            good = [error for step, error in errors.items() if step not in off]
            worst = max(good, default=math.inf)
            note = f"steps {off} off by up to {max(errors[step] for step in off):.1e}" if off else ""
            yield Row(
                self.fixture.name,
                f"{key} ({len(errors)} steps)",
                worst,
                worst / self.scales[key] if self.scales[key] else worst,
                f"{VALUE_TOLERANCE:g}",
                len(off) <= allowed,
                note,
            )


def pixels_row(fixture: Fixture, tensor: str, got: Tensor, expected: Tensor) -> Row:
    """Share of pixels that differ; frames before the first object is given count too."""
    tolerance = f"{1 - PIXEL_AGREEMENT:.1%} of pixels"
    if got.shape != expected.shape:
        note = f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
        return Row(fixture.name, tensor, math.inf, math.inf, tolerance, False, note)
    changed = int((got != expected).sum())
    share = changed / max(expected.numel(), 1)
    note = f"{changed} of {expected.numel()}"
    return Row(fixture.name, tensor, float(changed), share, tolerance, share <= 1 - PIXEL_AGREEMENT, note)


def task_config(fixture: Fixture, config: UniVSConfig, task: str) -> UniVSConfig:
    """The task's published settings, with those that the fixture ran with."""
    settings = fixture.settings
    # The original reads no temporal consistency threshold in these tasks: theirs is fixed.
    return config.for_task(
        task,
        num_frames=settings["num_frames"],
        clip_stride=min(settings["clip_stride"], settings["num_frames"]),
        num_prev_frames_memory=settings["num_prev_frames_memory"],
        num_prompt_pixels=settings["visual_prompt_pixels_per_image"],
        self_attention_type=settings["maskdec_self_attn_mask_type"],
        query_mode={"learn+prompt": "prompt+learn"}.get(
            settings["video_unified_inference_queries"], settings["video_unified_inference_queries"]
        ),
    )


def record_outputs(fixture: Fixture, record: StepRecord, step: int, outputs: Any, num_prompts: int) -> None:
    """Predictions of prompt queries, and of the learnable queries where they were run."""
    masks, embeddings = outputs.masks_queries_logits[0], outputs.query_embeddings[0]
    num_learnable = len(masks) - num_prompts
    record.add(step, "out/prompt_masks", masks[num_learnable:])
    record.add(step, "out/prompt_embds", embeddings[num_learnable:])
    if not num_learnable:
        return
    kept = fixture.meta["learnable_query_idx_kept"]
    record.add(step, "out/learn_masks_subset", masks[kept])
    record.add(step, "out/learn_embds_subset", embeddings[kept])
    logits = outputs.class_queries_logits
    if logits is not None and logits.shape[-1]:
        record.add(step, "out/learn_max_score", logits[0, :num_learnable].sigmoid().amax(dim=-1))
        record.add(step, "out/learn_logits_subset", logits[0, kept])


# Objects given by masks --------------------------------------------------------------------------------------------


def check_objects(fixture: Fixture) -> Iterator[Row]:
    """VOS, or PVOS where the data set was VIPOSeg."""
    task = "pvos" if "viposeg" in fixture.meta["dataset_name"] else "vos"
    model = fixture.model()
    pixels, geometry = recorded_frames(fixture, model.config)
    config = task_config(fixture, model.config, task)
    tape = RandomTape(fixture, config.num_prompt_pixels)
    categories = {}
    if task == "pvos":
        label_set = load_label_set("vipseg")
        categories = {
            "category_embeddings": model.category_embeddings[slice(*fixture.meta["class_slice_of_logits"])],
            "category_names": label_set.labels,
            "thing_flags": [category.is_thing for category in label_set],
        }
    engine = ClipEngine(config, task, geometry, UniVSImageProcessor(), prompt_sampling=tape, **categories)
    height, width = geometry.resized_size
    for entry in fixture.meta["objects_or_expressions"]:
        mask = torch.zeros(geometry.padded_size)
        mask[:height, :width] = fixture[f"in/mask_obj{entry['id']}_frame{entry['first_frame']}"]
        engine.annotate(entry["first_frame"], {entry["id"]: mask})
    if task == "pvos":
        entries = fixture.meta["objects_or_expressions"]
        engine.task.set_object_categories({entry["id"]: entry["gt_class"] for entry in entries})

    record, draws = StepRecord(fixture), []

    def before(step: int, kwargs: dict) -> None:
        record_state(record, step, engine, kwargs["frame_idx"][0].tolist())
        record_visual_prompts(record, step, kwargs["prompts"])
        record_memory(fixture, record, step, engine)
        draws.append(tape.remaining)

    def after(step: int, kwargs: dict, outputs: Any) -> None:
        record_outputs(fixture, record, step, outputs, len(engine.object_ids))

    results = run_recorded(fixture, model, engine, pixels, before, after)
    yield from record.rows()
    steps = len(fixture.meta["steps"])
    missing = tape.mismatches + sum(draws)
    note = f"{len(draws)} of {steps} steps" if len(draws) != steps else ""
    yield Row(
        fixture.name, "random draws", float(missing), missing / max(len(tape.log), 1), "equal", not missing, note
    )
    got = torch.stack([result["segmentation"] for result in results])
    yield pixels_row(fixture, "final/label_map", got, fixture["final/label_map"].int())


def record_state(record: StepRecord, step: int, engine: ClipEngine, frames: list[int]) -> None:
    """What is kept of the clip's frames before they are decoded."""
    task = engine.task
    slots = [frame % task._logits.shape[1] for frame in frames]
    masks = (task._logits[:, slots] > 0).to(torch.uint8)
    record.add(step, "state/masks_lastT", masks)
    record.add(step, "state/masks_lastT_stride2", masks[..., ::2, ::2])
    record.add(step, "state/boxes_lastT", task._boxes[:, slots])
    record.add(step, "state/embds_last3", task._embeddings[:, -3:])
    record.add(step, "state/first_appear_frame_idxs", torch.from_numpy(task._start))


def record_visual_prompts(record: StepRecord, step: int, prompts: Any) -> None:
    record.add(step, "prompt/queries", prompts.queries[0].transpose(0, 1))
    record.add(step, "prompt/query_pos", prompts.query_positions[0].transpose(0, 1))
    tokens, positions = prompts.tokens[0, :, 0], prompts.token_positions[0, :, 0]
    num_frames = prompts.queries.shape[1]
    record.add(step, "prompt/dense_mean", tokens.mean(dim=1)[:, None].expand(-1, num_frames, -1))
    record.add(step, "prompt/dense_first4", tokens[:, :4])
    record.add(step, "prompt/dense_pos_mean", positions.mean(dim=1))


def record_memory(fixture: Fixture, record: StepRecord, step: int, engine: ClipEngine) -> None:
    """The newest slots of the prompt memory, which holds no others."""
    memory = engine.task._memory
    held = memory.stop - memory.start
    features, positions = memory.read_clip(held)
    for name, got in (("prompt_feats", features[0]), ("prompt_pe", positions[0])):
        key = f"mem/{name}_mean_over_tokens"
        recorded = f"step{step:02d}/{key}"
        if recorded in fixture:
            # Recorded are all frames; those that have left the pool can't be compared.
            expected = fixture[recorded][:, -held:].double()
            error = (got.mean(dim=2).double() - expected).abs()
            record.errors[key][step] = float(error.max())
            record.scales[key] = max(record.scales[key], float(expected.abs().max()))
        for key in (f"mem/{name}_tokens_last6",):
            recorded = f"step{step:02d}/{key}"
            if recorded in fixture:
                count = min(held, fixture[recorded].shape[2])
                expected = fixture[recorded][:, :, -count:].double()
                kept = fixture.meta["memory_tokens_kept"]
                error = (got[:, -count:, kept].transpose(1, 2).double() - expected).abs()
                record.errors[key][step] = float(error.max())
                record.scales[key] = max(record.scales[key], float(expected.abs().max()))


# Objects given by expressions ---------------------------------------------------------------------------------------


def embed_expressions(fixture: Fixture, model: UniVSForVideoSegmentation) -> Expressions:
    """Text features of the fixture's expressions; its texts are not cleaned, as the original did not."""
    texts = fixture.meta["objects_or_expressions"]
    tokenizer = build_clip_tokenizer(fixture.find("bpe_simple_vocab_16e6.txt.gz"))
    words, sentences = model.encode_text(tokenize_templates(tokenizer, texts))
    return Expressions(words, sentences, list(range(len(texts))), texts)


def recorded_first_queries(fixture: Fixture, config: UniVSConfig) -> Callable[[Any], Tensor]:
    """The first clip's queries that the original took: all candidates are equal for it, and which comes first depends
    on its machine. They are read off the embeddings stored after that clip."""

    def choose(outputs: Any) -> Tensor:
        embeddings = outputs.query_embeddings[0]
        stored = fixture["step01/state/embds_last3"]
        num_expressions = len(stored)
        # The newest slot is that of a new frame.
        count = min(stored.shape[1] - 1, embeddings.shape[1])
        stored = stored[:, -1 - count : -1]
        candidates = embeddings[:, -count:].expand(num_expressions, -1, -1, -1)
        if config.query_mode == "prompt+learn":
            # The share of the learnable query is that of its quality; the candidate on the line is the one.
            prompted = embeddings[-num_expressions:, None, -count:]
            direction, wanted = candidates - prompted, (stored[:, None] - prompted)
            share = (direction * wanted).sum((2, 3)) / (direction * direction).sum((2, 3)).clamp(min=1e-9)
            candidates = prompted + share.clamp(0, 1)[..., None, None] * direction
        return (candidates - stored[:, None]).abs().amax((2, 3)).argmin(dim=1)

    return choose


def check_expressions(fixture: Fixture) -> Iterator[Row]:
    """RefVOS: one label map of all expressions, or a mask for each; also with clips side by side."""
    model = fixture.model()
    pixels, geometry = recorded_frames(fixture, model.config)
    config = task_config(fixture, model.config, "refvos")
    expressions = embed_expressions(fixture, model)
    engine = ClipEngine(config, "refvos", geometry, UniVSImageProcessor(), expressions=expressions)
    engine.task.choose_first_queries = recorded_first_queries(fixture, config)
    record = StepRecord(fixture)

    def before(step: int, kwargs: dict) -> None:
        task, prompts = engine.task, kwargs["prompts"]
        slots = [frame % task._sums.shape[1] for frame in kwargs["frame_idx"][0].tolist()]
        masks = (geometry.to_padded(task._sums[:, slots]) > 0).to(torch.uint8)
        record.add(step, "state/masks_lastT_stride2", masks[..., ::2, ::2])
        record.add(step, "state/embds_last3", task._embeddings[:, -3:])
        record.add(step, "prompt/queries", prompts.queries[0].transpose(0, 1))
        record.add(step, "prompt/query_pos", prompts.query_positions[0].transpose(0, 1))
        record.add(step, "prompt/dense_mean", prompts.tokens[0].mean(dim=2))

    def after(step: int, kwargs: dict, outputs: Any) -> None:
        record_outputs(fixture, record, step, outputs, len(expressions.ids))

    results = run_recorded(fixture, model, engine, pixels, before, after)
    yield from record.rows()
    if "final/label_map" in fixture:
        got = torch.stack([merge_masks(result["masks"], expressions.ids) for result in results])
        yield pixels_row(fixture, "final/label_map", got, fixture["final/label_map"].int())
    written = fixture.meta.get("files_written")
    for index in expressions.ids:
        key = f"final/masks_exp_{index}"
        if key not in fixture:
            continue
        expected = fixture[key] > 0
        got = torch.stack([result["masks"][index] for result in results])
        if written is not None and len(expected) < len(got):
            # Frames that the original lost.
            got = got[[int(name.split(".")[0]) for name in written[str(index)]]]
        yield pixels_row(fixture, key, got, expected)


CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {
    "e2e_vos": check_objects,
    "e2e_pvos": check_objects,
    "long_vos": check_objects,
    "e2e_refdavis": check_expressions,
    "e2e_refytb": check_expressions,
    "e2e_customtext": check_expressions,
}
