# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Parity of whole VIS, VPS and VSS runs: what the engine remembers and decodes at every step, and what it writes.

One attention-mask bit on the edge of its threshold moves a query visibly, and with it whatever is built on that query
(the fixtures' README shows it of the original against itself, with noise in the last digits of the pixels). Hence:

* Everything is compared strictly until a step whose *inputs* agree but whose recorded *output* does not: a flip.
  Steps with a flip must be few.
* From then on, the run is judged by its results and by the number of objects.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from parity_checks import FEATURE_TOLERANCE, MASK_TOLERANCE, Row
from parity_fixtures import Fixture
from parity_tape import RandomTape, recorded_frames, run_recorded
from torch import Tensor

from univs_hf.clip_engine_univs import ClipEngine
from univs_hf.configuration_univs import UniVSConfig
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.label_sets import COMBINED_TABLE_ORDER, load_label_set
from univs_hf.modeling_univs import UniVSForVideoSegmentation

# Worst accepted difference of a query's output before it counts as a flip, and of each kind of state.
OUTPUT_TOLERANCES = {
    "out/learn_max_score": 1e-5,
    "out/learn_logits_subset": 1e-3,
    "out/learn_embds_subset": FEATURE_TOLERANCE,
    "out/learn_masks_subset": MASK_TOLERANCE,
    "out/prompt_embds": FEATURE_TOLERANCE,
    "out/prompt_logits": 1e-3,
    "out/prompt_masks": MASK_TOLERANCE,
}
STATE_TOLERANCE = 1e-3
SCORE_TOLERANCE = 2e-3
LONG_SCORE_TOLERANCE = 0.1  # of a long run after a flip
# Shares of pixels that must agree (README, "Expected agreement"); the second after a flip (README2, section 1).
PIXEL_SHARE = {"vis": (0.995, 0.98), "vps": (0.999, 0.98), "vss": (0.999, 0.999)}
MAX_FLIPPED_STEPS = 0.15


def task_of(fixture: Fixture) -> str:
    """The flow that the original took: that of the entity sub-task, if one is set."""
    asked = fixture.settings["video_unified_inference_entities"] or fixture.name
    return next(task for task in ("vss", "vis", "vps") if task in asked)


def run_config(fixture: Fixture, model: UniVSForVideoSegmentation, task: str) -> UniVSConfig:
    """Inference settings of the recorded run."""
    settings = fixture.settings
    num_frames = settings["num_frames"]
    return model.config.for_task(
        task,
        num_frames=num_frames,
        clip_stride=num_frames if task == "vss" else min(settings["clip_stride"], num_frames),
        num_frames_window=settings["num_frames_window"],
        num_prev_frames_memory=settings["num_prev_frames_memory"],
        num_prompt_pixels=settings["visual_prompt_pixels_per_image"],
        self_attention_type=settings["maskdec_self_attn_mask_type"],
        class_score_threshold=settings["apply_cls_thres"],
        max_detections=settings["detections_per_image"],
        stability_score_threshold=settings["stability_score_thresh"],
        overlap_threshold=settings["overlap_threshold"],
        entity_overlap_threshold=settings["overlap_threshold_entity"],
        box_nms_threshold=settings["box_nms_thresh"],
        temporal_consistency_threshold=settings["temporal_consistency_threshold"],
        new_object_similarity_threshold=settings["detect_newly_object_threshold"],
        new_object_interval=settings["detect_newly_interval_frames"],
    )


def thing_flags(rows: tuple[int, int]) -> list[bool] | None:
    """Thing flags of the label set at these rows of the combined table; None where it has none."""
    for name in COMBINED_TABLE_ORDER:
        label_set = load_label_set(name)
        if label_set.rows[0] == rows[0] and len(label_set) >= rows[1] - rows[0]:
            flags = [category.is_thing for category in label_set][: rows[1] - rows[0]]
            return None if None in flags else flags
    raise ValueError(f"no label set lies at rows {rows} of the combined table")


@dataclass
class Difference:
    """How far a tensor of one step is from the recorded one.

    Attributes:
        rows: Worst difference of each object or query (first axis); infinite if the shapes differ.
        agrees: Which rows are within the tolerance.
        scale: Largest recorded magnitude.
    """

    rows: Tensor
    agrees: Tensor
    scale: float


def difference(got: Tensor, expected: Tensor, tolerance: float) -> Difference:
    if got.shape != expected.shape:
        rows = torch.full((max(len(got), 1),), math.inf)
        return Difference(rows, torch.zeros_like(rows, dtype=torch.bool), 1.0)
    got, expected = got.double().reshape(len(got), -1), expected.double().reshape(len(got), -1)
    error = (got - expected).abs()
    agrees = (error <= tolerance + FEATURE_TOLERANCE * expected.abs()).all(dim=1)
    return Difference(error.amax(dim=1), agrees, float(expected.abs().max()))


class Watch:
    """Notes, while the engine runs, how far each step's state, prompts and outputs are from the recorded ones.

    Attributes:
        inputs, outputs: Per step, by tensor, the differences of what goes into the decoder and of what comes out.
        counts: Number of objects before each step.
    """

    def __init__(self, fixture: Fixture, engine: ClipEngine):
        self.fixture, self.engine = fixture, engine
        self.inputs: list[dict[str, Difference]] = []
        self.outputs: list[dict[str, Difference]] = []
        self.counts: list[int] = []

    def before(self, step: int, arguments: dict) -> None:
        memory = getattr(self.engine.task, "memory", None)
        self.counts.append(0 if memory is None else memory.num_objects)
        self.inputs.append({})
        if self.counts[-1] == 0:
            return
        recorded = self.fixture.meta["steps"][step]
        num_frames = len(recorded["frame_indices"])
        ours = self.state(num_frames) | self.prompts(arguments["prompts"], num_frames)
        for key, got in ours.items():
            self.note(self.inputs, step, key, got, STATE_TOLERANCE)
        self.note_memory(step)
        area = (self.engine.geometry.to_padded(memory.logits[:, -num_frames:]) > 0).flatten(2).sum(dim=2)
        expected = torch.tensor(recorded["positive_area"])
        # A logit within rounding of 0 makes a pixel.
        self.inputs[-1]["state/positive_area"] = difference(area, expected, 3)

    def after(self, step: int, arguments: dict, outputs: object) -> None:
        self.outputs.append({})
        first_prompt = outputs.masks_queries_logits.shape[1] - self.counts[-1]
        kept = self.fixture.meta["learnable_query_idx_kept"]
        masks, logits = outputs.masks_queries_logits[0], outputs.class_queries_logits[0]
        embeddings = outputs.query_embeddings[0]
        ours = {
            "out/learn_max_score": logits[:first_prompt].sigmoid().amax(dim=1),
            "out/learn_logits_subset": logits[kept],
            "out/learn_embds_subset": embeddings[kept],
            "out/learn_masks_subset": masks[kept],
            "out/prompt_logits": logits[first_prompt:],
            "out/prompt_embds": embeddings[first_prompt:],
            "out/prompt_masks": masks[first_prompt:],
        }
        for key, got in ours.items():
            self.note(self.outputs, step, key, got, OUTPUT_TOLERANCES[key])

    def note(self, where: list[dict], step: int, key: str, got: Tensor, tolerance: float) -> None:
        name = f"step{step:02d}/{key}"
        if name in self.fixture:
            where[-1][key] = difference(got, self.fixture[name], tolerance)

    def state(self, num_frames: int) -> dict[str, Tensor]:
        """What is remembered of the objects, under the names of the recording."""
        memory = self.engine.task.memory
        return {
            "state/first_appear_frame_idxs": torch.tensor(memory.first_frames),
            "state/mask_quality_scores": memory.quality,
            "state/logits_last": memory.class_scores,
            "state/logits_mean": memory.mean_class_scores,
            "state/class_scores_mean": memory.mean_class_scores,
            "state/embds_last3": memory.embeddings[:, -3:],
            "state/boxes_lastT": memory.boxes[:, -num_frames:],
        }

    def note_memory(self, step: int) -> None:
        """The prompt memory: of the recorded slots, those that are read, which alone are kept here."""
        prompt_memory = self.engine.task.prompt_memory
        parts = prompt_memory.read_memory()
        in_time_order = [
            1 + frame % prompt_memory.capacity for frame in range(prompt_memory.start, prompt_memory.stop)
        ]
        for name, part in zip(("feats", "pe"), parts, strict=True):
            slots = part[0].unflatten(1, (-1, self.engine.config.num_prompt_pixels))
            for suffix in ("mean_over_tokens", "tokens_last6"):
                key = f"mem/prompt_{name}_{suffix}"
                if f"step{step:02d}/{key}" not in self.fixture:
                    continue
                expected = self.fixture[f"step{step:02d}/{key}"]
                if suffix == "tokens_last6":
                    got = slots[:, in_time_order][:, :, self.fixture.meta["memory_tokens_kept"]]
                    expected = expected.transpose(1, 2)
                else:
                    got = slots[:, in_time_order].mean(dim=2)
                    rows = torch.arange(len(expected))
                    firsts = torch.tensor(self.engine.task.memory.first_frames)
                    if len(rows) == len(slots):
                        self.inputs[-1][f"{key} (first)"] = difference(
                            slots[:, 0].mean(dim=1), expected[rows, firsts], STATE_TOLERANCE
                        )
                count = min(got.shape[1], expected.shape[1])
                self.inputs[-1][key] = difference(got[:, -count:], expected[:, -count:], STATE_TOLERANCE)

    def prompts(self, prompts: object, num_frames: int) -> dict[str, Tensor]:
        """What the decoder is given of the prompts, under the names of the recording."""
        return {
            "prompt/queries": prompts.queries[0].transpose(0, 1),
            "prompt/query_pos": prompts.query_positions[0].transpose(0, 1),
            "prompt/dense_mean": prompts.tokens[0].mean(dim=2).expand(-1, num_frames, -1),
            "prompt/dense_pos_mean": prompts.token_positions[0, :, 0].mean(dim=1),
        }

    # --- judgement

    def flipped_steps(self, prefix: str = "out/") -> list[int]:
        """Steps with an output that disagrees."""
        return [
            step
            for step, found in enumerate(self.outputs)
            if not all(entry.agrees.all() for key, entry in found.items() if key.startswith(prefix))
        ]

    def diverged(self) -> int | None:
        """First step whose state disagrees and may do so, because of a flip before it; None if there is none."""
        for step, found in enumerate(self.inputs):
            if all(entry.agrees.all() for entry in found.values()):
                continue
            return step if any(flipped < step for flipped in self.flipped_steps()) else None
        return None

    def rows(self) -> Iterator[Row]:
        """The comparisons of all steps."""
        name, diverged = self.fixture.name, self.diverged()
        stop = len(self.inputs) if diverged is None else diverged
        note = "" if diverged is None else f"steps 0..{diverged - 1}, then a flip tells"
        for key in sorted({key for found in self.inputs for key in found}):
            yield tensor_row(name, key, [found[key] for found in self.inputs[:stop] if key in found], note)
        # Learnable queries depend on nothing but the clip, so a flip in one clip is over in the next.
        flips = {
            "out/learn": self.flipped_steps("out/learn"),
            "out/prompt": [step for step in self.flipped_steps("out/prompt") if step < stop],
        }
        for key in sorted({key for found in self.outputs for key in found}):
            flipped = flips["out/learn" if key.startswith("out/learn") else "out/prompt"]
            last = len(self.outputs) if key.startswith("out/learn") else stop
            steady = [
                found[key] for step, found in enumerate(self.outputs[:last]) if key in found and step not in flipped
            ]
            yield tensor_row(name, key, steady, f"without the flips of steps {flipped}" if flipped else "")
        count = len({*flips["out/learn"], *flips["out/prompt"]})
        limit = max(2, math.ceil(MAX_FLIPPED_STEPS * len(self.outputs)))
        yield Row(name, "steps with a flip", count, count / len(self.outputs), f"at most {limit}", count <= limit)

        recorded = [step["n"] for step in self.fixture.meta["steps"]]
        off = max(abs(a - b) for a, b in zip(self.counts, recorded, strict=True))
        stable = (self.fixture.meta.get("stability") or {}).get("entities_per_step_equal", True)
        limit = 0 if stable or diverged is None else 1
        yield Row(name, "objects per step", off, off / max(*recorded, 1), f"at most {limit}", off <= limit, note)


def tensor_row(fixture: str, key: str, differences: list[Difference], note: str) -> Row:
    tolerance = f"{OUTPUT_TOLERANCES.get(key, STATE_TOLERANCE):g} + {FEATURE_TOLERANCE:g}|x|"
    if key == "state/positive_area":
        tolerance = "3 pixels"
    if not differences:
        return Row(fixture, key, math.nan, math.nan, tolerance, True, "no step is compared")
    worst = max(entry.rows.max().item() for entry in differences)
    scale = max(entry.scale for entry in differences)
    passed = all(entry.agrees.all() for entry in differences)
    return Row(fixture, key, worst, worst / scale if scale else worst, tolerance, passed, note)


def needed_share(fixture: Fixture, task: str, tensor: str, diverged: bool) -> float:
    """Share of pixels that must be equal; after a flip, less for long runs and where the original is as unstable."""
    strict, loose = PIXEL_SHARE[task]
    if not diverged:
        return strict
    noise = ((fixture.meta.get("stability") or {}).get("final_pixels_changed") or {}).get(tensor)
    changed = noise[0] / noise[1] if isinstance(noise, list) else 0.0
    return min(loose if fixture.name.startswith("long") else strict, 1 - 2 * changed)


def map_row(fixture: Fixture, task: str, results: list[dict], diverged: bool) -> Row:
    """Share of pixels at which the label maps differ."""
    needed = needed_share(fixture, task, "final/label_map", diverged)
    maps = torch.stack([result["segmentation"] for result in results])
    wrong = (maps != fixture["final/label_map"].int()).double().mean().item()
    tolerance = f"{needed:.2%} equal"
    return Row(fixture.name, "final/label_map", wrong, wrong, tolerance, wrong <= 1 - needed, "share that differs")


# Results ------------------------------------------------------------------------------------------------------------


def panoptic_rows(fixture: Fixture, engine: ClipEngine, results: list[dict], diverged: bool) -> Iterator[Row]:
    """Label map and segments of a VPS run."""
    yield map_row(fixture, "vps", results, diverged)
    # Classes are numbered from 1 in the recording.
    ours = {(entry["id"], entry["is_thing"], entry["label_id"] + 1) for entry in engine.summary()}
    recorded = {(entry["id"], entry["isthing"], entry["category_id"]) for entry in fixture.meta["segments_infos"]}
    wrong = len(ours ^ recorded)
    # A flip may cost a segment near a threshold.
    limit = 1 if diverged else 0
    yield Row(fixture.name, "segments", wrong, wrong / max(len(recorded), 1), f"at most {limit}", wrong <= limit)
    for result in results:
        present = set(result["segmentation"].unique().tolist()) - {0}
        if present != {entry["id"] for entry in result["segments_info"]}:
            yield Row(fixture.name, f"segments of frame {result['frame_idx']}", 1, 1, "those of the map", False)


def instance_rows(fixture: Fixture, engine: ClipEngine, results: list[dict], diverged: bool) -> Iterator[Row]:
    """Masks, classes and scores of a VIS run. The recording names a mask per score, but no object."""
    summary, recorded = engine.summary(), fixture.meta["results"]
    wrong = abs(len(summary) - len(recorded))
    unstable = diverged and (fixture.meta.get("stability") or {}).get("entities_per_step_equal") is False
    yield Row(fixture.name, "number of results", wrong, wrong / len(recorded), "equal", wrong == 0 or unstable)

    noise = (fixture.meta.get("stability") or {}).get("score_max_diff") or 0.0
    tolerance = SCORE_TOLERANCE
    if diverged:
        tolerance = max(tolerance, 1.5 * noise, LONG_SCORE_TOLERANCE if fixture.name.startswith("long") else 0.0)
    if wrong == 0:
        ours = sorted(((entry["label_id"], entry["score"]) for entry in summary), reverse=True)
        expected = sorted(((entry["category_id"], entry["score"]) for entry in recorded), reverse=True)
        labels_equal = [label for label, _ in ours] == [label for label, _ in expected]
        worst = max(abs(a - b) for (_, a), (_, b) in zip(ours, expected, strict=True))
        largest = max(score for _, score in expected)
        passed = labels_equal and worst <= tolerance
        yield Row(fixture.name, "scores per class", worst, worst / largest, f"{tolerance:g}", passed)

    masks = {
        entry["id"]: torch.zeros(len(results), *engine.geometry.original_size, dtype=torch.bool) for entry in summary
    }
    for result in results:
        for entry, mask in zip(result["segments_info"], result["masks"], strict=True):
            if entry["id"] in masks:
                masks[entry["id"]][result["frame_idx"]] = mask
    stack = torch.stack(list(masks.values()))
    expected = fixture["final/masks"].bool()
    if stack.shape[1:] != expected.shape[1:]:
        yield Row(fixture.name, "final/masks", math.inf, math.inf, "shape", False, f"{tuple(stack.shape)}")
        return
    differing = torch.stack([(stack != mask).flatten(1).double().mean(dim=1) for mask in expected])
    closest = torch.cat([differing.amin(dim=0), differing.amin(dim=1)])
    needed = needed_share(fixture, "vis", "final/masks", diverged)
    wrong = closest.mean().item()
    note = "mean share that differs, of each object's mask and its closest"
    yield Row(fixture.name, "final/masks", wrong, wrong, f"{needed:.2%} equal", wrong <= 1 - needed, note)


def check_run(fixture: Fixture) -> Iterator[Row]:
    """A whole recorded run, step by step and by its results."""
    task = task_of(fixture)
    model = fixture.model()
    rows = tuple(fixture.meta["class_slice_of_logits"])
    pixels, geometry = recorded_frames(fixture, model.config)
    config = run_config(fixture, model, task)
    engine = ClipEngine(
        config,
        task,
        geometry,
        UniVSImageProcessor(),
        category_embeddings=model.category_embeddings[slice(*rows)],
        thing_flags=thing_flags(rows) if task == "vps" else None,
        prompt_sampling=RandomTape(fixture, config.num_prompt_pixels),
    )
    watch = Watch(fixture, engine)
    results = run_recorded(fixture, model, engine, pixels, watch.before, watch.after)
    frames = [result["frame_idx"] for result in results]
    wrong = float(frames != list(range(len(pixels))))
    yield Row(fixture.name, "frames in order", wrong, wrong, "equal", not wrong)
    yield from watch.rows()
    diverged = watch.diverged() is not None
    if task == "vis":
        yield from instance_rows(fixture, engine, results, diverged)
    elif task == "vps":
        yield from panoptic_rows(fixture, engine, results, diverged)
    else:
        yield map_row(fixture, "vss", results, diverged)


CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {
    kind: check_run for kind in ("e2e_vis", "e2e_vps", "e2e_vss", "long_vis", "long_vps")
}
