# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What is compared for the recorded losses and training steps of the original.

Draws are replayed from the recording. Two faults of the original are part of its recordings and are made up for here,
as the package does not have them: prompt contents in the order of prompt kinds (bug B2), and mask memories whose
positions count frames from the start of the window.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from parity_checks import Row, compare, equal_row
from parity_fixtures import Fixture
from torch import Tensor

from univs_hf.loss_univs import UniVSCriterion, UniVSLossConfig, UniVSPrediction
from univs_hf.reid_loss_univs import ReidEmbeddings, interclip_losses
from univs_hf.training_draws_univs import TrainingDraws
from univs_hf.training_targets_univs import UniVSPromptTargets, UniVSTrainingTargets

LOSS_TOLERANCE = 2e-5

# What a choice is for -> the function of the original that made it.
_CALLERS = {
    "matching": "memory_efficient_forward",
    "reid": "contrastive_loss",
    "reid aux": "contrastive_aux_loss",
    "reid l2p": "contrastive_loss",
    "reid l2p aux": "contrastive_aux_loss",
    "interclip: order": "interclip_reid_loss",
    "interclip: columns": "contrastive_loss",
    "interclip: auxiliary columns": "contrastive_aux_loss",
}


class RecordedDraws(TrainingDraws):
    """Replays the choices of one recorded clip in the order in which they were made.

    Every choice must be the one that comes next in the recording, made by the function that `purpose` stands for and
    among as many candidates.
    """

    def __init__(self, fixture: Fixture):
        super().__init__(1)
        self.fixture = fixture
        # Points of masks are recorded as they were used, not as they were drawn.
        skipped = "get_uncertain_point_coords_with_randomness"
        self.log = [entry for entry in fixture.meta["rng_log"] if entry["caller"] != skipped]
        self.points = list(fixture.meta.get("point_calls", []))
        self.positives = list(fixture.meta.get("python_random_choices", []))

    def next(self, caller: str, arguments: list | None = None) -> Tensor:
        """The next recorded numbers, which `caller` must have drawn."""
        entry = self.log.pop(0)
        if entry["caller"] != caller or (arguments is not None and entry["args"] != arguments):
            raise ValueError(f"{caller} {arguments} is asked for where {entry['caller']} {entry['args']} is recorded")
        return self.fixture[entry["key"]]

    def matching_points(self, purpose: str, num_points: int) -> Tensor:
        return self.next(_CALLERS[purpose], [1, num_points, 2]).view(1, num_points, 2)

    def mask_points(
        self, purpose: str, logits: Tensor, counts: Sequence[int], num_points: int, *ratios: float
    ) -> Tensor:
        recorded = self.points.pop(0)
        if recorded["shape"] != [sum(counts), num_points, 2]:
            raise ValueError(f"{sum(counts)} x {num_points} points are asked for, {recorded['shape']} are recorded")
        return self.fixture[recorded["key"]]

    def permutation(self, purpose: str, clip: int, count: int) -> Tensor:
        return self.next(_CALLERS[purpose], [count]).long()

    def subset(self, purpose: str, candidates: Tensor, counts: Sequence[int], limits: Tensor) -> Tensor:
        index = candidates.nonzero()[:, 0]
        caller = _CALLERS[purpose if purpose in _CALLERS else purpose.split(":")[0]]
        order = self.next(caller, [len(index)]).long()
        chosen = torch.zeros_like(candidates)
        chosen[index[order[: int(limits[0])]]] = True
        return chosen

    def choices(self, purpose: str, candidates: Tensor, counts: Sequence[int], num_choices: int) -> Tensor:
        chosen = torch.tensor([self.positives.pop(0) for _ in range(len(candidates))])
        if not candidates.gather(1, chosen).all():
            raise ValueError(f"{purpose}: a recorded positive shows another object")
        return chosen

    @property
    def left(self) -> int:
        """Recorded choices that were not asked for."""
        return len(self.log) + len(self.points) + len(self.positives)


def loss_row(fixture: Fixture, name: str, got: Tensor, expected: float, rtol: float = LOSS_TOLERANCE) -> Row:
    return compare(fixture, name, got.detach().reshape(()), torch.tensor(expected), rtol, rtol)


def recorded_targets(fixture: Fixture, prefix: str = "target/") -> UniVSTrainingTargets:
    """Rows of the recorded clip."""
    ids = fixture[f"{prefix}ids"].long()
    visible = ids >= 0
    labels = fixture[f"{prefix}labels"].long()
    return UniVSTrainingTargets(
        masks=fixture[f"{prefix}masks"] > 0,
        labels=torch.where(labels > 0, labels - 1, -1),
        ids=ids.amax(1),
        visible=visible,
        counts=[len(ids)],
        source_rows=torch.arange(len(ids)),
        given_labels=[labels[labels > 0].unique() - 1],
    )


def recorded_prompts(
    fixture: Fixture, targets: UniVSTrainingTargets, rows: Tensor, prefix: str = "target/"
) -> UniVSPromptTargets:
    """Prompts of the recorded clip, `rows (P,)` as recorded."""
    kind = "category" if fixture.meta["task"] == "detection" else "expression"
    kind = "visual" if fixture.meta["prompt_type"] == "visual" else kind
    rows = rows.long()[None]
    if kind == "category":
        labels = fixture[f"{prefix}prompt_gt_labels"].long()[None] - 1
        masks = fixture[f"{prefix}sem_masks"] > 0
        ids = torch.where(rows >= 0, labels, -1)
        visible = (rows >= 0)[..., None].expand(-1, -1, masks.shape[1])
    else:
        labels, ids, masks = targets.labels[rows], targets.ids[rows], targets.masks
        visible = targets.visible[rows]
    return UniVSPromptTargets(kind, masks, rows, torch.ones_like(rows, dtype=torch.bool), labels, ids, visible)


def loss_config(fixture: Fixture) -> UniVSLossConfig:
    """Settings of the recorded criterion; stage 3 halves the weight of its ReID terms, which the recording tells."""
    settings = fixture.settings
    matching = settings.get("matcher", {"class": 3.0, "mask": 5.0, "dice": 5.0})
    return UniVSLossConfig(
        reid_weight=0.25,
        matching_class_weight=matching["class"],
        matching_mask_weight=matching["mask"],
        matching_dice_weight=matching["dice"],
        num_points=settings["train_num_points"],
    )


def match_rows(fixture: Fixture, recorded: list, key: str = "match/{}", label: str = "match") -> Iterator[Row]:
    """Compares the assignments of the learnable queries, which `recorded` has in the order in which they were made."""
    for index, matches in enumerate(recorded):
        name = key.format(index)
        for side, got in (("pred", matches.queries), ("target", matches.rows)):
            yield equal_row(fixture, f"{label} {index}: {side}", got, fixture[f"{name}_{side}"].long())


class MatchRecorder:
    """Keeps the assignments that the criterion makes while it is entered."""

    def __enter__(self) -> list:
        import univs_hf.loss_univs as module

        self.module, self.original, matches = module, module.match_queries, []

        def recording(*args: object, **kwargs: object) -> object:
            matches.append(self.original(*args, **kwargs))
            return matches[-1]

        module.match_queries = recording
        return matches

    def __exit__(self, *error: object) -> None:
        self.module.match_queries = self.original


def check_loss(fixture: Fixture) -> Iterator[Row]:
    """The criterion on recorded outputs."""
    if "num_layers" in fixture.meta:
        yield from check_interclip(fixture)
        return
    targets = recorded_targets(fixture)
    prompts = recorded_prompts(fixture, targets, fixture["target/prompt_obj_ids"])
    classified = fixture.meta["class_slice"] is not None
    predictions = [
        UniVSPrediction(
            fixture[f"out{head}/pred_masks"],
            fixture[f"out{head}/pred_embds"],
            fixture[f"out{head}/pred_logits_slice"] if classified else None,
        )
        for head in range(10)
    ]
    draws = RecordedDraws(fixture)
    criterion = UniVSCriterion(loss_config(fixture))
    with MatchRecorder() as matches:
        losses = criterion(predictions, fixture.meta["num_learnable_queries"], targets, prompts, draws)
    yield from match_rows(fixture, matches)
    yield from criterion_rows(fixture, criterion, losses.terms)
    yield equal_row(fixture, "choices left", torch.tensor(draws.left), torch.tensor(0))


def criterion_rows(
    fixture: Fixture, criterion: UniVSCriterion, terms: dict[str, Tensor], rtol: float = LOSS_TOLERANCE
) -> Iterator[Row]:
    """Every term and the weighted total."""
    expected = fixture.meta["losses"]
    names = float(len(set(expected) ^ set(terms)))
    yield Row(fixture.name, "names of the terms", names, names, "equal", names == 0)
    for name, value in expected.items():
        yield loss_row(fixture, name, terms[name], value, rtol)
    yield loss_row(fixture, "weighted total", criterion.total(terms), fixture.meta["weighted_total"], rtol)


def check_interclip(fixture: Fixture) -> Iterator[Row]:
    """Terms between the clips of a video on recorded embeddings."""
    draws = RecordedDraws(fixture)
    for layer in range(1, fixture.meta["num_layers"]):
        names = [f"prev/layer{layer}/clip{clip}" for clip in range(2)] + [f"last/layer{layer}"]
        parts = [fixture[f"{name}/embds"] for name in names], [fixture[f"{name}/ids"].long() for name in names]
        embeddings, ids = (torch.cat(tensors) for tensors in parts)
        pool = ReidEmbeddings(embeddings, ids, torch.zeros_like(ids), [len(ids)])
        contrastive, auxiliary, count = interclip_losses(pool, draws)
        suffix = "" if layer == fixture.meta["num_layers"] - 1 else f"_{layer}"
        for name, got in (("loss_reid_interclip", contrastive), ("loss_reid_interclip_aux", auxiliary)):
            yield loss_row(fixture, name + suffix, got / count, fixture.meta["losses"][name + suffix])
    yield equal_row(fixture, "choices left", torch.tensor(draws.left), torch.tensor(0))


CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {"loss": check_loss}
