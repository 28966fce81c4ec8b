# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What is compared for the recorded losses and training steps of the original.

Draws are replayed from the recording. Two faults of the original are part of its recordings and are made up for here,
as the package does not have them: prompt contents in the order of prompt kinds (bug B2), and mask memories whose
positions count frames from the start of the window.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from parity_checks import Row, compare, equal_row, features_row, masks_row
from parity_fixtures import Fixture
from torch import Tensor

from univs_hf import loss_univs, training_forward_univs, training_prompts_univs
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.loss_univs import UniVSCriterion, UniVSLossConfig, UniVSPrediction
from univs_hf.modeling_univs import UniVSForVideoSegmentationOutput, UniVSPrompts, UniVSVisualTokens, mask_boxes
from univs_hf.reid_loss_univs import ReidEmbeddings, interclip_losses
from univs_hf.training_draws_univs import TrainingDraws
from univs_hf.training_forward_univs import training_forward
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
    "key frame": "process_per_video",
    "prompted objects": "process_per_video",
    "memory frames": "process_per_video",
    "frames": "forward_prediction_heads",
    "absent categories": "preprocess_text_prompt",
    "prompt kinds": "process_per_frame",
    "query position": "forward_prompt_encoder",
}


class RecordedDraws(TrainingDraws):
    """Replays the choices of one recorded clip in the order in which they were made.

    Every choice must be the one that comes next in the recording, made by the function that `purpose` stands for and
    among as many candidates.
    """

    def __init__(self, fixture: Fixture, absent_categories: Tensor | None = None):
        super().__init__(1)
        self.fixture = fixture
        # Recordings that begin with prepared targets tell the categories that were prompted, not how they were drawn.
        self.absent_categories = absent_categories
        self.kinds: list[Tensor] = []
        # Points of masks are recorded as they were used, not as they were drawn.
        skipped = "get_uncertain_point_coords_with_randomness"
        self.log = [entry for entry in fixture.meta["rng_log"] if entry["caller"] != skipped]
        self.log = [entry for entry in self.log if entry["caller"] != "process"]
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
        if purpose == "absent categories" and self.absent_categories is not None:
            return self.absent_categories
        return self.next(_CALLERS[purpose], [count]).long()

    def rand(self, purpose: str, clip: int, *shape: int) -> Tensor:
        if purpose in ("box size", "box centre"):
            noise = torch.full(shape, 0.5)
            if self.box_noise:
                noise[self.is_box] = self.box_noise.pop(0)
            return noise
        drawn = self.next(_CALLERS[purpose], list(shape))
        if purpose == "prompt kinds":
            self._read_prompts(drawn)
        return drawn

    def _read_prompts(self, kinds: Tensor) -> None:
        """Takes the draws of one clip's visual prompts, kind by kind as the original makes them."""
        is_point, self.is_box = kinds <= 0.25, (kinds > 0.25) & (kinds <= 0.5)
        self.is_point, self.is_mask = is_point, ~is_point & ~self.is_box
        self.kinds.append(torch.where(self.is_mask, 0, torch.where(is_point, 1, 2)))
        # The point in the middle of an object and the box of its attention mask have no influence.
        block = self._block()
        self.point_order = [self.fixture[e["key"]] for e in block if e["caller"] == "process_per_frame"]
        self.box_noise = [self.fixture[e["key"]] for e in block if e["caller"] == "get_box_prompt"]
        self.pixel_orders = [e for e in block if e["caller"] == "get_dense_features"]

    def _block(self) -> list[dict]:
        """Takes the draws up to those of the prompt queries."""
        index = next(i for i, entry in enumerate(self.log) if entry["caller"] == "forward_prompt_encoder")
        block, self.log = self.log[:index], self.log[index:]
        return block

    def pixel(self, purpose: str, rows: Sequence[int], counts: Tensor) -> Tensor:
        if purpose == "memory point":
            self.pixel_orders = [e for e in self._block() if e["caller"] == "get_dense_features"]
            self.next("forward_prompt_encoder", [1])
            return torch.zeros_like(counts)
        ranks = torch.zeros_like(counts)
        if self.is_point.any():
            chosen = self.point_order.pop(0)[: int(self.is_point.sum())].long()
            ranks[0, self.is_point] = chosen % counts[0, self.is_point].clamp(min=1)
        return ranks

    def pixel_ranks(self, purpose: str, rows: Sequence[int], counts: Tensor, num_ranks: int, max_count: int) -> Tensor:
        ranks = torch.arange(num_ranks) % counts[..., None].clamp(min=1)
        order = torch.arange(counts.shape[1])
        if purpose == "pixels":
            order = torch.cat((order[self.is_mask], order[self.is_box]))
        else:
            # The original goes frame by frame, the package prompt by prompt.
            order = order.view(len(self.kinds[-1]), -1).T.flatten()
        for index in order.tolist():
            if counts[0, index] >= num_ranks:
                entry = self.pixel_orders.pop(0)
                if entry["args"] != [int(counts[0, index])]:
                    raise ValueError(f"{entry['args']} pixels are recorded where {int(counts[0, index])} remain")
                ranks[0, index] = self.fixture[entry["key"]][:num_ranks].long()
        return ranks

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


def loss_row(fixture: Fixture, name: str, got: Tensor, expected: float, atol: float, rtol: float) -> Row:
    return compare(fixture, name, got.detach().reshape(()), torch.tensor(expected), atol, rtol)


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
        self.original, matches = loss_univs.match_queries, []

        def recording(*args: object, **kwargs: object) -> object:
            matches.append(self.original(*args, **kwargs))
            return matches[-1]

        loss_univs.match_queries = recording
        return matches

    def __exit__(self, *error: object) -> None:
        loss_univs.match_queries = self.original


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
    yield from criterion_rows(fixture, criterion, losses.terms, fixture.meta["losses"], step=False)
    yield equal_row(fixture, "choices left", torch.tensor(draws.left), torch.tensor(0))


def criterion_rows(
    fixture: Fixture, criterion: UniVSCriterion, terms: dict[str, Tensor], expected: dict[str, float], step: bool
) -> Iterator[Row]:
    """Every term and the weighted total; `step` has the tolerances of a whole training step."""
    names = float(len(set(expected) ^ set(terms)))
    yield Row(fixture.name, "names of the terms", names, names, "equal", names == 0)
    for name, value in expected.items():
        mask = name.startswith(("loss_mask", "loss_dice"))
        rtol = (STEP_MASK_TOLERANCE if mask else STEP_TOLERANCE) if step else LOSS_TOLERANCE
        yield loss_row(fixture, name, terms[name], value, min(rtol, STEP_TOLERANCE), rtol)
    total, recorded = criterion.total(terms), fixture.meta["weighted_total"]
    atol, rtol = (STEP_TOTAL_TOLERANCE, 0.0) if step else (0.0, LOSS_TOLERANCE)
    yield loss_row(fixture, "weighted total", total, recorded, atol, rtol)


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
            expected = fixture.meta["losses"][name + suffix]
            yield loss_row(fixture, name + suffix, got / count, expected, LOSS_TOLERANCE, LOSS_TOLERANCE)
    yield equal_row(fixture, "choices left", torch.tensor(draws.left), torch.tensor(0))


# Training steps -----------------------------------------------------------------------------------------------------

# A bit of an attention mask on the edge moves the mask losses of one prediction by up to 4e-3, and nothing else.
STEP_TOLERANCE = 1e-4
STEP_MASK_TOLERANCE = 2e-3
STEP_TOTAL_TOLERANCE = 1e-2


@contextmanager
def original_prompts(draws: RecordedDraws, box_edge: int) -> Iterator[None]:
    """Makes the visual prompts as the original does, faults included.

    Contents come in the order of prompt kinds, masks before points before boxes, while positions stay with their
    objects; memories count frames from the start of the window.

    Args:
        box_edge: What the recorded boxes have added to the index of the last pixel.
    """
    sample, encode = training_prompts_univs.sample_visual_tokens, training_forward_univs.encode_training_memory

    def sample_by_kind(*arguments: object) -> UniVSVisualTokens:
        tokens = sample(*arguments)
        order = draws.kinds[-1].argsort(stable=True)
        return replace(tokens, features=tokens.features[:, order])

    def encode_from_zero(model: object, features: object, frame_idx: Tensor, *arguments: object) -> UniVSVisualTokens:
        return encode(model, features, torch.arange(frame_idx.shape[1])[None], *arguments)

    def boxes_as_recorded(masks: Tensor, last: int) -> Tensor:
        return mask_boxes(masks, box_edge)

    training_prompts_univs.sample_visual_tokens = sample_by_kind
    training_forward_univs.encode_training_memory = encode_from_zero
    training_prompts_univs.mask_boxes = boxes_as_recorded
    try:
        yield
    finally:
        training_prompts_univs.sample_visual_tokens = sample
        training_forward_univs.encode_training_memory = encode
        training_prompts_univs.mask_boxes = mask_boxes


def training_frames(fixture: Fixture) -> Tensor:
    """Recorded frames (1, T, 3, Hp, Wp), normalised and padded."""
    processor = UniVSImageProcessor(do_resize=False, size_divisibility=fixture.settings["size_divisibility"])
    video = [frame.permute(1, 2, 0).numpy() for frame in fixture["images_u8"]]
    return processor(video, return_tensors="pt").pixel_values_videos


def training_settings(fixture: Fixture) -> dict[str, float]:
    """Fields of the model's configuration that the recorded criterion was set with."""
    config = vars(loss_config(fixture))
    return {{"num_points": "train_num_points"}.get(name, name): value for name, value in config.items()}


def recorded_texts(count: int) -> tuple[Tensor, Tensor]:
    """Word features (N, 77, 640) and sentence features (N, 640), random as the recording was made with."""
    state = np.random.RandomState(7)
    words = torch.from_numpy(state.standard_normal((count, 77, 640)).astype(np.float32))
    return words, torch.from_numpy(state.standard_normal((count, 640)).astype(np.float32))


def recorded_step(
    fixture: Fixture,
    images: Tensor,
    masks: Tensor,
    labels: Tensor,
    ids: Tensor | None,
    frame_idx: Tensor,
    draws: RecordedDraws,
    window_frames: int | None = None,
    box_edge: int = 1,
    **settings: object,
) -> tuple[UniVSForVideoSegmentationOutput, list, list[tuple[UniVSPrompts, UniVSForVideoSegmentationOutput]]]:
    """Runs a training step on recorded inputs.

    Args:
        settings: Fields of the configuration.

    Returns:
        The output, the matches, and the prompts and outputs of each window.
    """
    model = fixture.model()
    config = model.config
    settings = {**training_settings(fixture), **settings}
    before = {name: getattr(config, name) for name in settings}
    kind = {"text": "category", "visual": "visual"}[fixture.meta["prompt_type"]]
    task = {"detection": "vis", "sot": "vos", "grounding": "refvos"}[fixture.meta["task"]]
    table = model.category_embeddings
    if task == "vis":
        table = table[slice(*(fixture.meta.get("class_slice") or (2203, 2243)))]
    decode, windows = model.decode_clip, []

    def recording(*arguments: object, **kwargs: object) -> UniVSForVideoSegmentationOutput:
        windows.append((kwargs["prompts"], decode(*arguments, **kwargs)))
        return windows[-1][1]

    input_ids = None
    if task == "refvos":
        words, sentences = recorded_texts(len(masks))
        input_ids = torch.arange(len(masks))[None, :, None, None]
        model.encode_text = lambda tokens: (words[tokens[:, 0, 0]], sentences[tokens[:, 0, 0]])
    model.decode_clip = recording
    model.train()
    try:
        for name, value in settings.items():
            setattr(config, name, value)
        with MatchRecorder() as matches, original_prompts(draws, box_edge):
            output = training_forward(
                model,
                images,
                [masks],
                [torch.where(labels > 0, labels - 1, -1)] if task == "vis" else None,
                None if ids is None else [ids],
                task=task,
                frame_idx=frame_idx,
                input_ids=input_ids,
                category_embeddings=table,
                prompt_kind=kind if task == "vis" else None,
                window_frames=window_frames,
                draws=draws,
            )
    finally:
        model.eval()
        del model.decode_clip
        if task == "refvos":
            del model.encode_text
        for name, value in before.items():
            setattr(config, name, value)
    return output, matches, windows


def step_prompt_rows(fixture: Fixture, prompts: UniVSPrompts) -> Iterator[Row]:
    """Prompt queries and their tokens; of long lists of tokens the recording has every n-th."""
    for name, states in (("prompt_queries", prompts.queries), ("prompt_query_pos", prompts.query_positions)):
        yield features_row(fixture, name, states[0].transpose(0, 1), fixture[f"prompt/{name}"])
    for name, states in (("prompt_dense", prompts.tokens), ("prompt_dense_pos", prompts.token_positions)):
        if f"prompt/{name}" in fixture:
            expected = fixture[f"prompt/{name}"]
            tokens = states[0].transpose(1, 2)[:, :: -(-states.shape[3] // expected.shape[1])]
            yield features_row(fixture, name, tokens.expand(-1, -1, expected.shape[2], -1), expected)


def check_train(fixture: Fixture) -> Iterator[Row]:
    """One training step: prompts, every prediction, matches and losses."""
    source = fixture.companion("train_sot")
    images = training_frames(source)
    labels = fixture["target/labels"].long()
    absent = None
    if "target/prompt_gt_labels" in fixture:
        # The recorded absent categories, as places among those that the clip lacks.
        prompted = fixture["target/prompt_gt_labels"].long()[fixture["target/prompt_obj_ids"] < 0]
        start, stop = fixture.meta["class_slice"]
        lacking = [label for label in range(1, stop - start + 1) if label not in labels.tolist()]
        absent = torch.tensor([lacking.index(label) for label in prompted.tolist()], dtype=torch.int64)
    draws = RecordedDraws(fixture, absent)
    output, matches, [(prompts, _)] = recorded_step(
        fixture,
        images,
        fixture["target/masks"],
        labels,
        fixture["target/ids"].amax(1),
        fixture["target/frame_indices"].long()[None],
        draws,
        box_edge=0,
    )
    yield from step_prompt_rows(fixture, prompts)
    yield masks_row(fixture, "pred_masks", output.masks_queries_logits, fixture["pred_masks"])
    kept = fixture.meta["aux_query_idx"]
    yield features_row(fixture, "pred_embds", output.query_embeddings[:, kept], fixture["pred_embds"])
    if fixture.meta["task"] == "detection":
        yield features_row(fixture, "pred_logits", output.class_queries_logits, fixture["pred_logits"])
    for head, stage in enumerate(output.auxiliary_logits):
        expected = fixture["aux_pred_masks"][head]
        yield masks_row(fixture, f"aux_pred_masks {head}", stage["masks_queries_logits"][:, kept], expected)
    yield from match_rows(fixture, matches)
    criterion = UniVSCriterion(loss_config(fixture))
    yield from criterion_rows(fixture, criterion, output.loss_dict, fixture.meta["losses"], step=True)
    yield equal_row(fixture, "choices left", torch.tensor(draws.left), torch.tensor(0))


def check_train_longvideo(fixture: Fixture) -> Iterator[Row]:
    """A training step over two windows of a video with memory."""
    images = training_frames(fixture)
    labels = torch.tensor(fixture.meta["labels_1_based"])
    draws = RecordedDraws(fixture)
    output, matches, windows = recorded_step(
        fixture,
        images,
        fixture["in/masks"],
        labels,
        None,
        torch.tensor(fixture.meta["frame_indices"])[None],
        draws,
        window_frames=fixture.settings["num_frames"],
        negative_prompt_ratio=0.0,
    )
    kept = [*range(0, 200, 20)]
    for clip, (prompts, predicted) in enumerate(windows):
        queries = [*kept, *range(200, predicted.masks_queries_logits.shape[1])]
        masks, embeddings = (
            states[0, queries] for states in (predicted.masks_queries_logits, predicted.query_embeddings)
        )
        yield masks_row(fixture, f"{clip}: pred_masks", masks, fixture[f"clip{clip}/out/pred_masks_subset"])
        yield features_row(fixture, f"{clip}: pred_embds", embeddings, fixture[f"clip{clip}/out/pred_embds_subset"])
        key = f"clip{clip}/memory/prompt_feats_tokens_every_7th"
        if key in fixture:
            length = int(fixture[f"clip{clip}/memory/prompt_feats_shape"][1])
            tokens, positions = (states[0, :, 0, :length:7] for states in (prompts.tokens, prompts.token_positions))
            yield features_row(fixture, f"{clip}: memory", tokens, fixture[key])
            expected = fixture[f"clip{clip}/memory/prompt_pe_tokens_every_7th"]
            yield features_row(fixture, f"{clip}: memory positions", positions, expected)
    yield from match_rows(fixture, matches, "match/{:03d}")
    weights = fixture.meta["weights"]
    expected = {name: value / weights[name] for name, value in fixture.meta["losses_weighted"].items()}
    criterion = UniVSCriterion(loss_config(fixture))
    yield from criterion_rows(fixture, criterion, output.loss_dict, expected, step=True)
    yield equal_row(fixture, "choices left", torch.tensor(draws.left), torch.tensor(0))


# Longest prefix first: `train` must not catch what a longer kind is for.
CHECKS: dict[str, Callable[[Fixture], Iterator[Row]]] = {
    "train_longvideo": check_train_longvideo,
    "train": check_train,
    "loss": check_loss,
}
