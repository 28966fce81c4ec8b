# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Whole recorded runs of the prompted tasks: VOS, PVOS and RefVOS in all query modes.

At every clip step the state before the decoder, the prompts it is given and what it says are compared, and at the end
the pixels of the results. One bit of an attention mask on the edge moves a query for the rest of the clip (see the
fixtures' notes), and what is stored of it changes later steps. So the predictions of a step may be off, within bounds,
in one step of six although all that went into it was equal; what differs in later steps may follow from that; and
anything else that differs fails, as do more than a thousandth of the final pixels.
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
# An attention bit may disturb one step in so many, and by so much of the largest value, in the mean; of the first
# step, by less.
STEPS_PER_DISTURBED = 6
DISTURBED_MEAN = 0.05
DISTURBED_MEAN_FIRST = 0.002
# Learnable queries that the original looks at for an expression's first match.
NUM_CANDIDATE_BOXES = 5


class StepRecord:
    """Worst and mean difference per tensor and step, and the largest magnitude per tensor."""

    def __init__(self, fixture: Fixture):
        self.fixture = fixture
        self.errors: dict[str, dict[int, float]] = defaultdict(dict)
        self.means: dict[str, dict[int, float]] = defaultdict(dict)
        self.scales: dict[str, float] = defaultdict(float)

    def expected(self, step: int, key: str) -> Tensor | None:
        name = f"step{step:02d}/{key}"
        return self.fixture[name] if name in self.fixture else None

    def add(self, step: int, key: str, got: Tensor) -> None:
        """Compares with the recorded tensor, if there is one."""
        expected = self.expected(step, key)
        if expected is not None:
            self.compare(step, key, got, expected)

    def compare(self, step: int, key: str, got: Tensor, expected: Tensor) -> None:
        if got.shape != expected.shape:
            self.errors[key][step] = self.means[key][step] = math.inf
            return
        difference = (got.double() - expected.double()).abs()
        self.errors[key][step] = float(difference.max()) if difference.numel() else 0.0
        self.means[key][step] = float(difference.mean()) if difference.numel() else 0.0
        self.scales[key] = max(self.scales[key], float(expected.abs().max()) if expected.numel() else 0.0)

    def rows(self) -> Iterator[Row]:
        off = {
            key: {step for step, error in errors.items() if not error <= VALUE_TOLERANCE}
            for key, errors in self.errors.items()
        }
        outputs_off = set().union(*(steps for key, steps in off.items() if key.startswith("out/")))
        inputs_off = set().union(*(steps for key, steps in off.items() if not key.startswith("out/")))
        first_disturbed = min(outputs_off, default=math.inf)
        for key, errors in self.errors.items():
            if key.startswith("out/"):
                # Learnable queries see no prompts, so there is nothing that they could follow from.
                origins = off[key] if key.startswith("out/learn") else off[key] - inputs_off
                passed = len(origins) <= max(len(errors) // STEPS_PER_DISTURBED, 1) and all(
                    self.means[key][step] <= (DISTURBED_MEAN if step else DISTURBED_MEAN_FIRST) * self.scales[key]
                    for step in origins
                )
            else:
                passed = all(step > first_disturbed for step in off[key])
            worst = max((error for step, error in errors.items() if step not in off[key]), default=math.inf)
            worst_off = max((errors[step] for step in off[key]), default=0.0)
            yield Row(
                self.fixture.name,
                f"{key} ({len(errors)} steps)",
                worst,
                worst / self.scales[key] if self.scales[key] else worst,
                f"{VALUE_TOLERANCE:g}",
                passed,
                f"steps {sorted(off[key])} off by up to {worst_off:.1e}" if off[key] else "",
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


def steps_row(fixture: Fixture, steps: list[int]) -> Row:
    """Whether exactly the recorded clip steps were decoded."""
    expected = list(range(len(fixture.meta["steps"])))
    note = f"{len(steps)} of {len(expected)}"
    return Row(
        fixture.name,
        "clip steps",
        float(steps != expected),
        float(steps != expected),
        "equal",
        steps == expected,
        note,
    )


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

    record, steps = StepRecord(fixture), []

    def before(step: int, kwargs: dict) -> None:
        record_state(record, step, engine, kwargs["frame_idx"][0].tolist())
        record_visual_prompts(record, step, kwargs["prompts"])
        record_memory(fixture, record, step, engine)
        missing, tape.mismatches = tape.mismatches + tape.remaining, 0
        record.compare(step, "random draws", torch.tensor(missing), torch.tensor(0))
        steps.append(step)

    def after(step: int, kwargs: dict, outputs: Any) -> None:
        record_outputs(fixture, record, step, outputs, len(engine.object_ids))

    results = run_recorded(fixture, model, engine, pixels, before, after)
    yield from record.rows()
    yield steps_row(fixture, steps)
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
    """The newest slots of the prompt memory. It holds no others; of the recorded ones all of the video are there."""
    memory = engine.task._memory
    for name, tokens in zip(("prompt_feats", "prompt_pe"), memory.read_clip(memory.stop - memory.start), strict=True):
        tokens = tokens[0]  # (N, S, R, C)
        expected = record.expected(step, f"mem/{name}_mean_over_tokens")
        if expected is not None:
            key = f"mem/{name}_mean_over_tokens"
            record.compare(step, key, tokens.mean(dim=2), expected[:, -tokens.shape[1] :])
        expected = record.expected(step, f"mem/{name}_tokens_last6")
        if expected is not None:
            kept = tokens[:, :, fixture.meta["memory_tokens_kept"]].transpose(1, 2)
            count = min(kept.shape[2], expected.shape[2])
            record.compare(step, f"mem/{name}_tokens_last6", kept[:, :, -count:], expected[:, :, -count:])


# Objects given by expressions ---------------------------------------------------------------------------------------


def embed_expressions(fixture: Fixture, model: UniVSForVideoSegmentation) -> Expressions:
    """Text features of the fixture's expressions; its texts are not cleaned, as the original did not."""
    texts = fixture.meta["objects_or_expressions"]
    tokenizer = build_clip_tokenizer(fixture.find("bpe_simple_vocab_16e6.txt.gz"))
    words, sentences = model.encode_text(tokenize_templates(tokenizer, texts))
    return Expressions(words, sentences, list(range(len(texts))), texts)


def recorded_first_queries(fixture: Fixture, query_mode: str) -> Callable[[Any], Tensor]:
    """The first clip's queries that the original took: all candidates are equal for it, and which comes first depends
    on its machine. They are read off the embeddings stored after that clip."""

    def choose(outputs: Any) -> Tensor:
        embeddings = outputs.query_embeddings[0]
        if "step01/state/embds_last3" not in fixture:
            return torch.zeros(len(embeddings)).topk(NUM_CANDIDATE_BOXES).indices[:1]
        stored = fixture["step01/state/embds_last3"]
        num_expressions = len(stored)
        # The newest slot is that of a new frame.
        count = min(stored.shape[1] - 1, embeddings.shape[1])
        stored = stored[:, -1 - count : -1]
        candidates = embeddings[:, -count:].expand(num_expressions, -1, -1, -1)
        if query_mode == "prompt+learn":
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
    config.skip_last_clip_frame = True
    expressions = embed_expressions(fixture, model)
    engine = ClipEngine(config, "refvos", geometry, UniVSImageProcessor(), expressions=expressions)
    engine.task.choose_first_queries = recorded_first_queries(fixture, config.query_mode)
    record, steps = StepRecord(fixture), []

    def before(step: int, kwargs: dict) -> None:
        steps.append(step)
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
    yield steps_row(fixture, steps)
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
        if written is not None:
            names = [f"{result['frame_idx']:05d}.png" for result in results]
            same = names == written[str(index)]
            yield Row(fixture.name, f"files of {key}", float(not same), float(not same), "equal", same)
        yield pixels_row(fixture, key, got, expected)


CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {
    "e2e_vos": check_objects,
    "e2e_pvos": check_objects,
    "long_vos": check_objects,
    "e2e_refdavis": check_expressions,
    "e2e_refytb": check_expressions,
    "e2e_customtext": check_expressions,
}
