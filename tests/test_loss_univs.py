# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The criterion: terms, normalisers, and two faults of the original that it does not have (B5, B10)."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from training_cases import random_predictions, random_targets, small_loss_config

from univs_hf import loss_univs
from univs_hf.loss_univs import UniVSCriterion, UniVSLossConfig, UniVSLosses, UniVSPrediction
from univs_hf.matcher_univs import match_queries
from univs_hf.training_draws_univs import TrainingDraws
from univs_hf.training_targets_univs import (
    UniVSPromptTargets,
    UniVSTrainingTargets,
    choose_category_prompts,
    choose_expression_prompts,
    choose_visual_prompts,
)

NUM_LEARNABLE = 8
NUM_CATEGORIES = 6


def seeded(*seeds: int) -> TrainingDraws:
    return TrainingDraws(len(seeds), [torch.Generator().manual_seed(seed) for seed in seeds])


def prompts_of(kind: str, targets: UniVSTrainingTargets, draws: TrainingDraws) -> UniVSPromptTargets:
    if kind == "visual":
        return choose_visual_prompts(targets, draws, 9)
    if kind == "category":
        return choose_category_prompts(targets, NUM_CATEGORIES, draws, 9, 0.5)
    return choose_expression_prompts(targets)


def run(
    predictions: list[UniVSPrediction],
    targets: UniVSTrainingTargets,
    prompts: UniVSPromptTargets | None,
    draws: TrainingDraws,
    **settings: float,
) -> UniVSLosses:
    return UniVSCriterion(small_loss_config(**settings))(predictions, NUM_LEARNABLE, targets, prompts, draws)


def case(
    kind: str, counts: list[int], seeds: list[int], num_frames: int = 2
) -> tuple[list[UniVSPrediction], UniVSTrainingTargets, UniVSPromptTargets, TrainingDraws]:
    """Predictions, targets and prompts of clips, each of which depends on its own seed alone."""
    parts = [torch.Generator().manual_seed(seed) for seed in seeds]
    labels = [torch.randint(0, NUM_CATEGORIES, (count,), generator=g) for count, g in zip(counts, parts, strict=True)]
    targets = random_targets(counts, num_frames, labels=NUM_CATEGORIES)
    targets.labels = torch.cat(labels)
    targets.given_labels = [label.unique() for label in labels]
    draws = seeded(*seeds)
    prompts = prompts_of(kind, targets, draws)
    size = NUM_LEARNABLE + 9
    classified = NUM_CATEGORIES if kind != "expression" else 0
    clips = [random_predictions(1, size, num_frames, classified, generator=g) for g in parts]
    kept = slice(NUM_LEARNABLE + prompts.rows.shape[1])
    predictions = []
    for heads in zip(*clips, strict=True):
        tensors = [
            None
            if heads[0].class_logits is None and name == "class_logits"
            else torch.cat([getattr(head, name)[:, kept] for head in heads])
            for name in ("mask_logits", "embeddings", "class_logits")
        ]
        predictions.append(UniVSPrediction(*tensors))
    return predictions, targets, prompts, draws


# Terms ---------------------------------------------------------------------------------------------------------------

NAMES = ("ce", "mask", "dice", "reid", "reid_aux", "reid_l2p", "reid_l2p_aux")


@pytest.mark.parametrize("kind", ["visual", "category", "expression"])
def test_every_prediction_has_every_term(kind: str) -> None:
    predictions, targets, prompts, draws = case(kind, [3, 2], [0, 1])
    losses = run(predictions, targets, prompts, draws)
    expected = {f"loss_{name}{suffix}" for name in NAMES for suffix in ("", "_0", "_1")}
    assert set(losses.terms) == expected
    assert len(losses.pools) == 3
    for name, value in losses.terms.items():
        assert value.shape == ()
        assert value.isfinite()
        zero = (kind == "expression" and "_ce" in name) or (kind == "category" and "l2p_aux" in name)
        assert (value == 0) == zero, name


class Operations(TorchDispatchMode):
    """Counts what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["visual", "category", "expression"])
def test_work_is_done_in_batches(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matching runs once per prediction for all clips; more points, or more pairs, are no more operations."""
    matched = []

    def counting(mask_logits: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        matched.append(len(mask_logits))
        return match_queries(mask_logits, *args, **kwargs)

    monkeypatch.setattr(loss_univs, "match_queries", counting)

    def operations(counts: list[int], num_points: int) -> int:
        arguments = case(kind, counts, [0, 1])
        with Operations() as operations:
            run(*arguments, num_points=num_points)
        return operations.count

    few = operations([3, 2], 16)
    assert matched == [2, 2, 2]
    assert operations([3, 2], 160) == few
    assert operations([7, 6], 16) == few


def test_weights_of_the_terms() -> None:
    config = UniVSLossConfig()
    names = ("loss_ce", "loss_ce_3", "loss_mask_8", "loss_dice", "loss_reid_aux_0", "loss_reid_interclip_aux")
    assert [config.weight(name) for name in names] == [5, 5, 5, 5, 0.5, 0.5]
    total = UniVSCriterion(UniVSLossConfig(mask_weight=3.0, reid_weight=0.25)).total(
        {"loss_mask": torch.tensor(2.0), "loss_reid_l2p": torch.tensor(4.0), "loss_ce_1": torch.tensor(1.0)}
    )
    assert total == 6 + 1 + 5


def test_class_term_of_learnable_queries() -> None:
    """Focal over all queries and categories plus softmax over the matched ones, written out."""
    predictions, targets, _, draws = case("visual", [3], [0])
    prediction = UniVSPrediction(*(tensor[:, :NUM_LEARNABLE] for tensor in vars(predictions[-1]).values()))
    matched = []
    original = loss_univs.match_queries
    try:
        loss_univs.match_queries = lambda *args, **kwargs: matched.append(original(*args, **kwargs)) or matched[-1]
        got = run([prediction], targets, None, draws).terms["loss_ce"]
    finally:
        loss_univs.match_queries = original
    wanted = torch.zeros(NUM_LEARNABLE, NUM_CATEGORIES)
    labels = targets.labels[matched[0].rows]
    wanted[matched[0].queries, labels] = 1
    probability = prediction.class_logits[0].sigmoid()
    right = torch.where(wanted > 0, probability, 1 - probability)
    focal = (0.5 * (1 - right) ** 2 * -right.log()).sum() / 3
    entropy = F.cross_entropy(prediction.class_logits[0, matched[0].queries], labels)
    torch.testing.assert_close(got, focal + entropy, atol=1e-5, rtol=1e-5)


def test_clips_without_labels_have_no_class_term() -> None:
    """Queries of objects of unknown category are left out, and so is a clip that has no other."""
    predictions, targets, prompts, draws = case("visual", [2, 2], [0, 1])
    targets.labels[:] = -1
    assert run(predictions, targets, replace(prompts, labels=prompts.labels * 0 - 1), draws).terms["loss_ce"] == 0


def test_perfect_masks_cost_nearly_nothing() -> None:
    predictions, targets, _, draws = case("visual", [3], [0])
    learnable = predictions[-1].mask_logits[:, :NUM_LEARNABLE].detach()
    perfect = F.interpolate(targets.masks.float(), size=(16, 24), mode="area")
    learnable = learnable * 0 - 30
    learnable[0, 2:5] = (perfect - 0.5) * 60
    good = UniVSPrediction(learnable, predictions[-1].embeddings[:, :NUM_LEARNABLE])
    bad = UniVSPrediction(-learnable, predictions[-1].embeddings[:, :NUM_LEARNABLE])
    # The points lie where masks are uncertain, on edges that stride 4 can't tell exactly.
    good, bad = (run([prediction], targets, None, seeded(0)).terms for prediction in (good, bad))
    assert good["loss_mask"] < 0.1 * bad["loss_mask"]
    assert good["loss_dice"] < 0.2
    assert bad["loss_dice"] > 0.9


def test_frames_without_the_object_want_an_empty_mask() -> None:
    predictions, targets, _, _ = case("visual", [1], [0])
    targets.masks[0, 1] = False
    targets.visible[0, 1] = False
    full = torch.full((1, NUM_LEARNABLE, 2, 16, 24), 10.0)
    prediction = UniVSPrediction(full, predictions[-1].embeddings[:, :NUM_LEARNABLE])
    empty_there = full.clone()
    empty_there[:, :, 1] = -10
    better = replace(prediction, mask_logits=empty_there)
    first, second = (run([p], targets, None, seeded(0)).terms["loss_mask"] for p in (prediction, better))
    # The frame's entropy falls from nearly 10 to nearly 0: half of that per frame, less where points lie on the rim.
    assert 4 < first - second < 5


def test_semantic_term_asks_for_the_covering_prompt() -> None:
    """Part of `loss_mask` with category prompts; pixels that no prompt covers don't count."""
    _, targets, prompts, _ = case("category", [2], [3])
    assert prompts.present.sum() == 2
    num_prompts = prompts.rows.shape[1]
    masks = torch.full((1, NUM_LEARNABLE + num_prompts, 2, 16, 24), -1.0)
    covered = prompts.masks[prompts.rows[0].clamp(min=0)].float()
    small = F.interpolate(covered, size=(16, 24), mode="area")
    right = masks.clone()
    right[0, NUM_LEARNABLE : NUM_LEARNABLE + 2] = small[:2] * 40 - 20
    wrong = masks.clone()
    wrong[0, NUM_LEARNABLE : NUM_LEARNABLE + 2] = small[[1, 0]] * 40 - 20
    embeddings = torch.zeros(1, NUM_LEARNABLE + num_prompts, 2, 8)
    criterion = UniVSCriterion(small_loss_config(num_points=400))
    losses = [
        criterion._semantic_losses(UniVSPrediction(logits, embeddings).split(NUM_LEARNABLE)[1], prompts, seeded(0))
        for logits in (right, wrong, masks)
    ]
    assert losses[0] < 1
    assert losses[1] > 10
    torch.testing.assert_close(losses[2], torch.tensor(math.log(num_prompts)), atol=1e-4, rtol=1e-4)


# B5 and B10 ----------------------------------------------------------------------------------------------------------


def test_queries_on_left_out_objects_are_no_false_detections() -> None:
    """B5: of five objects two are kept; a query that finds one of the three others is not taught to be nothing."""
    targets = random_targets([5], 2, labels=NUM_CATEGORIES)
    limited = targets.limit(2, seeded(0))
    other = next(row for row in range(5) if row not in limited.source_rows.tolist())
    masks = torch.full((1, NUM_LEARNABLE, 2, 16, 24), -5.0)
    for query, row in enumerate([*limited.source_rows.tolist(), other]):
        masks[0, query] = F.interpolate(targets.masks[row][None].float(), size=(16, 24))[0] * 10 - 5
    logits = torch.zeros(1, NUM_LEARNABLE, NUM_CATEGORIES, requires_grad=True)
    prediction = UniVSPrediction(masks, torch.zeros(1, NUM_LEARNABLE, 2, 8), logits)
    run([prediction], limited, None, seeded(0)).terms["loss_ce"].backward()
    taught = logits.grad[0].abs().sum(1)
    assert taught[2] == 0
    assert (taught[[0, 1, 3, 4, 5, 6, 7]] > 0).all()
    # Without the memory of what was left out, as in the original, that query is pushed down like every other.
    logits.grad = None
    run([prediction], replace(limited, left_out=None), None, seeded(0)).terms["loss_ce"].backward()
    assert logits.grad[0, 2].abs().sum() > 0


class NoPromptTerms(UniVSCriterion):
    """Prompt terms that are zero, so that what remains is the share of the learnable queries."""

    def _prompt_terms(self, *arguments: object) -> dict[str, torch.Tensor]:
        return {}


@pytest.mark.parametrize("kind", ["visual", "category"])
def test_learnable_terms_count_in_full_without_prompts(kind: str) -> None:
    """B10: with three objects and no prompt, the original halves every learnable term."""
    predictions, targets, _, _ = case(kind, [3], [0])
    learnable = [prediction.split(NUM_LEARNABLE)[0] for prediction in predictions]
    alone = run(learnable, targets, None, seeded(0)).terms
    none = prompts_of(kind, random_targets([0], 2), seeded(0))
    assert run(learnable, targets, none, seeded(0)).terms == alone

    predictions, targets, prompts, draws = case(kind, [3], [0])
    halved = NoPromptTerms(small_loss_config())(predictions, NUM_LEARNABLE, targets, prompts, seeded(0)).terms
    for name in ("loss_ce", "loss_mask", "loss_dice", "loss_reid", "loss_reid_aux"):
        torch.testing.assert_close(alone[name], 2 * halved[name], rtol=1e-4, atol=1e-5)


def test_a_clip_without_prompts_beside_one_with_prompts_counts_in_full() -> None:
    predictions, targets, prompts, _ = case("visual", [2, 3], [0, 1])
    prompts = replace(prompts, rows=prompts.rows.clone(), valid=prompts.valid.clone(), visible=prompts.visible.clone())
    prompts.rows[0], prompts.valid[0], prompts.visible[0], prompts.ids[0] = -1, False, False, -1
    criterion = NoPromptTerms(small_loss_config())
    both = criterion(predictions, NUM_LEARNABLE, targets, prompts, seeded(0, 1)).terms
    first, second = (run(*replace_clip(predictions, targets, clip), None, seeded(clip)).terms for clip in range(2))
    # Sums over the rows divided by those of the batch: two rows in full, three half, as prompts are the other half.
    for name in ("loss_ce", "loss_mask", "loss_dice"):
        torch.testing.assert_close(both[name], (2 * first[name] + 0.5 * 3 * second[name]) / 5)


def replace_clip(
    predictions: list[UniVSPrediction], targets: UniVSTrainingTargets, clip: int
) -> tuple[list[UniVSPrediction], UniVSTrainingTargets]:
    """Learnable queries and rows of one clip of a batch."""
    keep = targets.clips == clip
    one = replace(
        targets,
        masks=targets.masks[keep],
        labels=targets.labels[keep],
        ids=targets.ids[keep],
        visible=targets.visible[keep],
        counts=[targets.counts[clip]],
        source_rows=targets.source_rows[keep],
        given_labels=[targets.given_labels[clip]],
    )
    parts = [prediction.split(NUM_LEARNABLE)[0] for prediction in predictions]
    return [
        UniVSPrediction(
            part.mask_logits[clip : clip + 1],
            part.embeddings[clip : clip + 1],
            None if part.class_logits is None else part.class_logits[clip : clip + 1],
        )
        for part in parts
    ], one


# Batches and processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["visual", "category", "expression"])
def test_the_loss_does_not_depend_on_how_clips_are_divided(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean over two processes of one clip each = one process with both, term by term, for unequal clips."""
    counts, seeds = [4, 2], [5, 6]
    together = run(*case(kind, counts, seeds)).terms

    recorded: list[torch.Tensor] = []
    monkeypatch.setattr(loss_univs, "average_over_processes", lambda c: recorded.append(c) or c)
    for count, seed in zip(counts, seeds, strict=True):
        run(*case(kind, [count], [seed]))
    mean = torch.stack(recorded).mean(0)
    monkeypatch.setattr(loss_univs, "average_over_processes", lambda _: mean.clone())
    apart = [run(*case(kind, [count], [seed])).terms for count, seed in zip(counts, seeds, strict=True)]
    for name, value in together.items():
        torch.testing.assert_close((apart[0][name] + apart[1][name]) / 2, value, atol=1e-5, rtol=1e-5)


def _process(rank: int, folder: str) -> None:
    """One of two processes: its clip's terms, written to a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    terms = run(*case("visual", [[4, 2][rank]], [[5, 6][rank]])).terms
    torch.save({name: value.detach() for name, value in terms.items()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    apart = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    together = run(*case("visual", [4, 2], [5, 6])).terms
    for name, value in together.items():
        torch.testing.assert_close((apart[0][name] + apart[1][name]) / 2, value.detach(), atol=1e-5, rtol=1e-5)


def test_windows_are_compared_per_layer() -> None:
    windows = [run(*case("visual", [3], [seed])) for seed in (0, 1)]
    criterion = UniVSCriterion(small_loss_config())
    terms = criterion.interclip(windows, seeded(2))
    assert set(terms) == {f"loss_reid_interclip{aux}{suffix}" for aux in ("", "_aux") for suffix in ("", "_1")}
    assert all(value > 0 for value in terms.values())
    # Prompts are part of the comparison, unless they are categories.
    assert len(windows[0].pools[0].ids) == 2 * 3 * 2
    assert len(run(*case("category", [3], [0])).pools[0].ids) == 3 * 2


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["visual", "category", "expression"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_losses_and_gradients_are_finite_under_bf16_autocast(kind: str, scale: float) -> None:
    predictions, targets, prompts, draws = case(kind, [3, 0, 2], [0, 1, 2])
    leaves, low = [], []
    for prediction in predictions:
        tensors = [
            t if t is None else (t.detach() * scale).bfloat16().requires_grad_() for t in vars(prediction).values()
        ]
        leaves += [tensor for tensor in tensors if tensor is not None]
        low.append(UniVSPrediction(*tensors))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        criterion = UniVSCriterion(small_loss_config())
        losses = criterion(low, NUM_LEARNABLE, targets, prompts, draws)
        loss = criterion.total(losses.terms)
    assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.terms.values())
    loss.backward()
    for tensor in leaves:
        assert tensor.grad.isfinite().all()
    if scale == 1:
        masks = [tensor for tensor in leaves if tensor.ndim == 5]
        assert all(tensor.grad.abs().sum() > 0 for tensor in masks)


def test_a_batch_without_any_object_has_a_loss_of_zero_with_gradients() -> None:
    predictions, targets, prompts, draws = case("visual", [0, 0], [0, 1])
    losses = run(predictions, targets, prompts, draws)
    total = UniVSCriterion(small_loss_config()).total(losses.terms)
    assert total == 0
    total.backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_learnable": NUM_LEARNABLE - 1}, r"`prompts` must describe the 4 prompt queries.*got 3"),
        ({"targets": random_targets([3, 3], 2)}, r"`targets` must describe 1 clip\(s\) of 2 frame\(s\).*got 2 of 2"),
        ({"targets": random_targets([3], 3)}, r"1 clip\(s\) of 2 frame\(s\).*got 1 of 3"),
        ({"prompts": None}, r"3 prompt queries.*got 0"),
    ],
)
def test_predictions_and_targets_must_fit(change: dict, message: str) -> None:
    predictions, targets, prompts, draws = case("visual", [3], [0])
    arguments = {
        "predictions": predictions,
        "num_learnable": NUM_LEARNABLE,
        "targets": targets,
        "prompts": prompts,
        "draws": draws,
    }
    with pytest.raises(ValueError, match=message):
        UniVSCriterion(small_loss_config())(**{**arguments, **change})
