# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Contrastive terms of query embeddings."""

import math

import torch
from torch.nn import functional as F

from univs_hf.reid_loss_univs import ReidEmbeddings, auxiliary_loss, contrastive_loss, interclip_losses
from univs_hf.training_draws_univs import TrainingDraws


class Everything(TrainingDraws):
    """Chooses every candidate, and the first positives."""

    def subset(self, purpose: str, candidates: torch.Tensor, *args: object) -> torch.Tensor:
        return candidates

    def choices(self, purpose: str, candidates: torch.Tensor, counts: list[int], num_choices: int) -> torch.Tensor:
        return candidates.to(torch.uint8).argmax(1, keepdim=True).expand(-1, num_choices)

    def permutation(self, purpose: str, clip: int, count: int) -> torch.Tensor:
        return torch.arange(count)


def embeddings(ids: list[int], clips: list[int], seed: int = 0) -> ReidEmbeddings:
    values = torch.randn(len(ids), 8, generator=torch.Generator().manual_seed(seed))
    counts = [clips.count(clip) for clip in range(max(clips) + 1)]
    return ReidEmbeddings(values, torch.tensor(ids), torch.tensor(clips), counts)


def test_terms_are_those_of_every_pair_on_its_own() -> None:
    """Both terms written out as loops; the same number in another clip is another object."""
    rows = embeddings([0, 1, -1, 0, 2, 0, 1], [0, 0, 0, 0, 0, 1, 1])
    columns = embeddings([0, 0, 1, 3, -1, 0, 2], [0, 0, 0, 0, 0, 1, 1], seed=1)
    contrastive = contrastive_loss(rows, columns, Everything(2), "")
    auxiliary = auxiliary_loss(rows, columns, Everything(2), "")
    for i, (row_id, row_clip) in enumerate(zip(rows.ids.tolist(), rows.clips.tolist(), strict=True)):
        others = [
            j
            for j, (column_id, clip) in enumerate(zip(columns.ids.tolist(), columns.clips.tolist(), strict=True))
            if clip == row_clip and column_id >= 0 and row_id >= 0
        ]
        positives = [j for j in others if columns.ids[j] == row_id]
        negatives = [j for j in others if columns.ids[j] != row_id]
        if not positives:
            assert contrastive[i] == auxiliary[i] == 0
            continue
        similar = [float(rows.embeddings[i] @ columns.embeddings[j]) / math.sqrt(8) for j in range(7)]
        references = similar[positives[0]], sum(similar[j] for j in positives) / len(positives)
        total = sum(math.exp(min(similar[j] - p, 10)) for j in negatives for p in references)
        torch.testing.assert_close(contrastive[i], torch.tensor(math.log(1 + total)), atol=1e-5, rtol=1e-5)
        expected = 0.0
        for j in others:
            cosine = F.cosine_similarity(rows.embeddings[i], columns.embeddings[j], dim=0).clamp(min=0)
            expected += float(F.smooth_l1_loss(cosine, torch.tensor(float(j in positives))))
        torch.testing.assert_close(auxiliary[i], torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_a_clip_has_at_most_twenty_columns() -> None:
    """Fifteen that some row has for a positive and five that none has."""
    rows = embeddings(list(range(40)), [0] * 40)
    columns = embeddings(list(range(80)), [0] * 80, seed=1)
    asked = []

    class Counting(TrainingDraws):
        def subset(self, purpose: str, candidates: torch.Tensor, counts: list[int], limits: torch.Tensor):
            asked.append((purpose, int(candidates.sum()), limits.tolist()))
            return super().subset(purpose, candidates, counts, limits)

    contrastive_loss(rows, columns, Counting(1), "reid")
    assert asked == [("reid: positive columns", 40, [15]), ("reid: background columns", 40, [5])]
    asked.clear()
    contrastive_loss(embeddings([0, 1], [0, 0]), columns, Counting(1), "reid")
    assert [limits for *_, limits in asked] == [[4], [1]]


def test_nothing_to_compare_is_zero_with_a_gradient() -> None:
    nothing = ReidEmbeddings(torch.randn(0, 8), torch.zeros(0).long(), torch.zeros(0).long(), [0])
    rows = embeddings([-1, -1], [0, 0])
    rows.embeddings.requires_grad_()
    for columns in (nothing, rows):
        for term in (contrastive_loss, auxiliary_loss):
            loss = term(rows, columns, TrainingDraws(1), "").sum()
            assert loss == 0
            loss.backward()


def test_similar_embeddings_of_one_object_are_rewarded() -> None:
    same = torch.tensor([0, 0, 1, 1])
    clips = torch.zeros(4).long()
    apart = ReidEmbeddings(torch.tensor([[9.0, 0], [0, 9], [0, 9], [9, 0]]), same, clips, [4])
    together = ReidEmbeddings(torch.tensor([[9.0, 0], [9, 0], [0, 9], [0, 9]]), same, clips, [4])
    for term in (contrastive_loss, auxiliary_loss):
        good, bad = (term(rows, rows, Everything(1), "").sum() for rows in (together, apart))
        assert good < 0.1 < bad


def test_extreme_similarities_stay_finite() -> None:
    values = torch.tensor([[300.0, 0], [-300, 0], [300, 1]], requires_grad=True)
    rows = ReidEmbeddings(values, torch.tensor([0, 0, 1]), torch.zeros(3).long(), [3])
    loss = contrastive_loss(rows, rows, Everything(1), "").sum()
    loss.backward()
    assert loss.isfinite()
    assert values.grad.isfinite().all()


def test_windows_are_compared_by_object() -> None:
    """One anchor per object of a clip; rows of other clips and the object's own rows are no negatives."""
    pool = embeddings([4, 2, 4, -1, 4], [0, 0, 0, 0, 1])
    contrastive, auxiliary, count = interclip_losses(pool, Everything(2))
    assert count == 3
    similar = pool.embeddings @ pool.embeddings.T / math.sqrt(8)
    expected = 0.0
    for anchor, negatives in ((1, [0, 2, 3]), (0, [1, 3]), (4, [])):
        difference = similar[anchor, negatives] - similar[anchor, anchor]
        expected += math.log(1 + 3 * float(difference.clamp(max=10).exp().sum()))
    torch.testing.assert_close(contrastive, torch.tensor(expected), atol=1e-5, rtol=1e-5)
    assert auxiliary > 0
    nothing = embeddings([-1, -1], [0, 0])
    assert interclip_losses(nothing, TrainingDraws(1))[2] == 0
