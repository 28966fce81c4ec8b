# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The model with labels: loss, what changes in training, windows, errors."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny_config import tiny_model
from training_cases import FRAME_SIZE, block_masks

from univs_hf.modeling_univs import UniVSDecoder, UniVSForVideoSegmentation
from univs_hf.training_forward_univs import training_forward, window_starts

NUM_CATEGORIES = 7
NAMES = ("ce", "mask", "dice", "reid", "reid_aux", "reid_l2p", "reid_l2p_aux")


@pytest.fixture
def model() -> UniVSForVideoSegmentation:
    return new_model()


def new_model(**settings: Any) -> UniVSForVideoSegmentation:
    model = tiny_model(train_num_points=64, num_category_embeddings=NUM_CATEGORIES, **settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.category_embeddings.copy_(torch.randn(model.category_embeddings.shape, generator=generator))
    return model.train()


def clips(task: str, num_frames: int = 2, num_clips: int = 2) -> dict[str, Any]:
    """A batch: three objects in the first clip, two in the second."""
    generator = torch.Generator().manual_seed(1)
    masks = [block_masks(3, num_frames), block_masks(2, num_frames, offset=4)][:num_clips]
    masks[0][1, 0] = False
    inputs = {
        "pixel_values_videos": torch.randn(num_clips, num_frames, 3, *FRAME_SIZE, generator=generator),
        "mask_labels": masks,
        "task": task,
    }
    if task in ("vis", "vss", "vps"):
        inputs["class_labels"] = [torch.tensor([0, 4, 0]), torch.tensor([2, 5])][:num_clips]
    if task == "refvos":
        inputs["input_ids"] = torch.randint(1, 97, (num_clips, 3, 3, 8), generator=generator)
        inputs["input_ids"][..., -1] = 98
        inputs["expression_attention_mask"] = torch.tensor([[1, 1, 1], [1, 1, 0]])[:num_clips]
        inputs["obj_ids"] = [torch.tensor([4, 4, 1]), torch.tensor([0, 0])][:num_clips]
    return inputs


CASES = [
    ("vis", {"prompt_kind": "visual"}),
    ("vps", {"prompt_kind": "category"}),
    ("vos", {}),
    ("pvos", {}),
    ("refvos", {}),
]


@pytest.mark.parametrize(("task", "extra"), CASES)
def test_loss_of_every_task(model: UniVSForVideoSegmentation, task: str, extra: dict[str, str]) -> None:
    output = model(**clips(task), **extra, generator=torch.Generator().manual_seed(0))
    heads = model.config.decoder_layers + 1
    suffixes = ["", *(f"_{index}" for index in range(heads - 1))]
    assert set(output.loss_dict) == {f"loss_{name}{suffix}" for name in NAMES for suffix in suffixes}
    weights = {"ce": 5, "mask": 5, "dice": 5, "reid": 0.5}
    expected = sum(weights[name.split("_")[1]] * value for name, value in output.loss_dict.items())
    torch.testing.assert_close(output.loss, expected)
    assert output.loss.isfinite()
    assert (output.loss_dict["loss_ce"] > 0) == (task in ("vis", "vps"))
    assert output.masks_queries_logits.shape[1] > model.config.num_queries
    assert len(output.auxiliary_logits) == heads - 1

    output.loss.backward()
    prefix = {"visual": "visual_embed", "category": "category_embed"}.get(
        extra.get("prompt_kind"), "expression_embed" if task == "refvos" else "visual_embed"
    )
    prompt_encoder = model.model.prompt_encoder
    assert getattr(prompt_encoder, prefix).weight.grad.abs().sum() > 0
    assert next(model.model.backbone.parameters()).grad.abs().sum() > 0
    if prefix != "visual_embed":
        assert prompt_encoder.text_projection.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.model.text_encoder.parameters())


def test_the_generator_decides_everything_random(model: UniVSForVideoSegmentation) -> None:
    def loss(seed: int) -> torch.Tensor:
        with torch.no_grad():
            return model(**clips("vis"), generator=torch.Generator().manual_seed(seed)).loss

    torch.manual_seed(0)
    first = loss(3)
    torch.manual_seed(1)
    assert torch.equal(first, loss(3))
    assert not torch.equal(first, loss(4))


def test_the_loss_of_an_evaluation_is_always_the_same(model: UniVSForVideoSegmentation) -> None:
    model.eval()
    with torch.no_grad():
        first, second = (model(**clips("vis")).loss for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("task", "extra"), CASES)
def test_a_clip_is_supervised_as_if_it_were_alone(task: str, extra: dict[str, str]) -> None:
    """Terms of a batch are means over its clips' own, once both are divided by the counts of the batch."""
    model = new_model()
    inputs = clips(task, num_frames=3)

    def terms(generator: torch.Generator | list[torch.Generator], **batch: Any) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return model(**batch, **extra, generator=generator).loss_dict

    def alone(clip: int) -> dict[str, torch.Tensor]:
        part = {name: value if isinstance(value, str) else value[clip : clip + 1] for name, value in inputs.items()}
        if task == "refvos":
            count = len(part["mask_labels"][0])
            part["input_ids"] = part["input_ids"][:, :count]
            part["expression_attention_mask"] = part["expression_attention_mask"][:, :count]
        return terms(torch.Generator().manual_seed(clip), **part)

    together = terms([torch.Generator().manual_seed(clip) for clip in range(2)], **inputs)
    name = "univs_hf.loss_univs.average_over_processes"
    counts: list[list[torch.Tensor]] = [[], []]
    for clip in range(2):
        with patch(name, lambda c, clip=clip: counts[clip].append(c) or c):
            alone(clip)
    means = [sum(pair) / 2 for pair in zip(*counts, strict=True)]
    apart = []
    for clip in range(2):
        left = iter(means)
        with patch(name, lambda _, left=left: next(left).clone()):
            apart.append(alone(clip))
    for key, value in together.items():
        torch.testing.assert_close((apart[0][key] + apart[1][key]) / 2, value, rtol=2e-4, atol=2e-4)


def test_losses_are_finite_under_bf16_autocast(model: UniVSForVideoSegmentation) -> None:
    for task, extra in CASES:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(**clips(task), **extra, generator=torch.Generator().manual_seed(0))
        assert all(value.isfinite() for value in output.loss_dict.values()), task
        assert output.loss.dtype == torch.float32
        model.zero_grad()
        output.loss.backward()
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert all(grad.isfinite().all() for grad in grads), task


@pytest.mark.parametrize("max_training_objects", [2, 20])
def test_prompts_have_the_text_of_the_expression_of_their_row(max_training_objects: int) -> None:
    """Also when rows in between are dropped, as no frame shows them, or left out, as there are too many (B1)."""
    model = new_model(max_training_objects=max_training_objects)
    inputs = clips("refvos")
    inputs["mask_labels"][0][0] = False
    encoded, prompted = [], []
    encode, decode = model.encode_text, model.decode_clip

    def recording_texts(input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoded.append(input_ids)
        return encode(input_ids)

    def recording_prompts(*args: Any, **kwargs: Any) -> object:
        prompted.append(kwargs["prompts"])
        return decode(*args, **kwargs)

    model.encode_text, model.decode_clip = recording_texts, recording_prompts
    with patch("univs_hf.training_forward_univs.UniVSCriterion.__call__", side_effect=InterruptedError) as criterion:
        with pytest.raises(InterruptedError):
            model(**inputs, generator=torch.Generator().manual_seed(0))
    _, _, _, prompts, _ = criterion.call_args.args
    assert prompts.valid.tolist() == [[True, True], [True, True]]
    texts = encoded[0].unflatten(0, (2, 2))
    expected = encode(encoded[0])[1].unflatten(0, (2, 2))
    assert torch.equal(prompted[0].sentence_features, expected)
    for clip, rows in enumerate(prompts.rows.tolist()):
        for place, row in enumerate(rows):
            given = next(
                index
                for index, mask in enumerate(inputs["mask_labels"][clip])
                if torch.equal(mask, prompts.masks[row])
            )
            assert torch.equal(texts[clip, place], inputs["input_ids"][clip, given])


def test_a_few_steps_lower_the_loss() -> None:
    model = new_model(max_training_objects=3)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(12):
        output = model(**clips("vis", num_clips=1), prompt_kind="visual", generator=torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


# What changes in training --------------------------------------------------------------------------------------------


def test_mask_embeddings_change_places_among_the_frames_in_training_only(model: UniVSForVideoSegmentation) -> None:
    """The masks of a permuted prediction are those of the unpermuted one for the frame that the permutation names."""
    features = model.encode_frames(torch.randn(2, 3, 3, *FRAME_SIZE))
    heads = model.config.decoder_layers + 1
    with torch.no_grad():
        plain = model.decode_clip(features, output_auxiliary_logits=True)
        identity = torch.arange(3).expand(heads, 2, -1)
        same = model.decode_clip(features, output_auxiliary_logits=True, frame_permutations=identity)
        torch.testing.assert_close(same.masks_queries_logits, plain.masks_queries_logits)
        last = identity.clone()
        last[-1, 1] = torch.tensor([2, 0, 1])
        permuted = model.decode_clip(features, output_auxiliary_logits=True, frame_permutations=last)
        # The last prediction has no influence on the queries.
        torch.testing.assert_close(permuted.query_embeddings, plain.query_embeddings)
        embeddings = model.model.decoder.mask_embedder(plain.query_embeddings[1])[:, [2, 0, 1]]
        expected = torch.einsum("qtc,tchw->qthw", embeddings, features.mask_features[1])
        torch.testing.assert_close(permuted.masks_queries_logits[1], expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(permuted.masks_queries_logits[0], plain.masks_queries_logits[0])
        # An earlier one has: the next layer looks where the permuted masks are. (Before the first layer, a query is
        # the same in every frame.)
        first = identity.clone()
        first[1] = torch.tensor([2, 0, 1])
        permuted = model.decode_clip(features, output_auxiliary_logits=True, frame_permutations=first)
        assert not torch.allclose(permuted.query_embeddings, plain.query_embeddings)


def test_permutations_are_drawn_for_each_prediction_and_clip(model: UniVSForVideoSegmentation) -> None:
    seen = []
    forward = UniVSDecoder.forward

    def recording(self: UniVSDecoder, *args: Any, **kwargs: Any) -> object:
        seen.append(kwargs["frame_permutations"])
        return forward(self, *args, **kwargs)

    with patch.object(UniVSDecoder, "forward", recording), torch.no_grad():
        model(**clips("vos", num_frames=5), generator=torch.Generator().manual_seed(0))
        model.eval()
        model(**clips("vos", num_frames=5), generator=torch.Generator().manual_seed(0))
    trained, evaluated = seen
    assert evaluated is None
    assert trained.shape == (model.config.decoder_layers + 1, 2, 5)
    assert torch.equal(trained.sort(-1).values, torch.arange(5).expand_as(trained))
    assert len(trained.flatten(0, 1).unique(dim=0)) > 4


def test_masks_of_expressions_are_averaged_with_learnable_ones_in_evaluation_only() -> None:
    model = new_model()
    seen = []
    embed = UniVSDecoder.embed_masks

    def recording(self: UniVSDecoder, states: torch.Tensor, *args: Any) -> object:
        result = embed(self, states, *args)
        seen.append((result[0][:, :, -1], self.mask_embedder(self.layer_norm(states))[:, :, -1]))
        return result

    with patch.object(UniVSDecoder, "embed_masks", recording), torch.no_grad():
        model(**clips("refvos", num_frames=1))
        trained = list(seen)
        seen.clear()
        model.eval()
        model(**clips("refvos", num_frames=1))
    assert all(torch.equal(used, own) for used, own in trained)
    assert not any(torch.allclose(used, own) for used, own in seen)


# Windows -------------------------------------------------------------------------------------------------------------


def test_windows_overlap_by_a_frame_and_end_with_the_video() -> None:
    assert window_starts(7, 5) == [0, 2]
    assert window_starts(9, 5) == [0, 4]
    assert window_starts(10, 5) == [0, 4, 5]
    assert window_starts(5, 5) == window_starts(4, 5) == window_starts(8, None) == [0]
    assert window_starts(3, 1) == [0, 1, 2]
    with pytest.raises(ValueError, match="window_frames"):
        window_starts(7, 0)


@pytest.mark.parametrize(("task", "extra"), CASES)
def test_a_long_video_is_trained_on_in_windows(
    model: UniVSForVideoSegmentation, task: str, extra: dict[str, str]
) -> None:
    decoded = []
    decode = model.decode_clip

    def recording(features: object, frame_idx: torch.Tensor, **kwargs: Any) -> object:
        decoded.append((frame_idx, kwargs["prompts"]))
        return decode(features, frame_idx, **kwargs)

    model.decode_clip = recording
    frame_idx = torch.tensor([[3, 5, 7, 9], [0, 1, 2, 3]])
    output = model(
        **clips(task, num_frames=4),
        **extra,
        frame_idx=frame_idx,
        window_frames=3,
        generator=torch.Generator().manual_seed(0),
    )
    (first_idx, first), (second_idx, second) = decoded
    assert torch.equal(first_idx, frame_idx[:, :3])
    assert torch.equal(second_idx, frame_idx[:, 1:])
    assert first.queries.shape == second.queries.shape
    grown = second.tokens.shape[3] - first.tokens.shape[3]
    # Prompts of objects remember two frames of the first window, those of categories none.
    assert grown == (0 if extra.get("prompt_kind") == "category" else 2 * model.config.num_prompt_pixels)
    interclip = {name for name in output.loss_dict if "interclip" in name}
    assert len(interclip) == 2 * model.config.decoder_layers
    assert output.masks_queries_logits.shape[2] == 3
    output.loss.backward()


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("vis", {"task": "tracking"}, r"`task` must be None or one of .*'tracking'"),
        ("vis", {"class_labels": None}, r"`class_labels` must be given with `mask_labels` for 'vis'"),
        ("vos", {"input_ids": torch.ones(2, 3, 3, 8).long()}, r"'refvos' only; they are given for 'vos'"),
        ("refvos", {"input_ids": None}, r"'refvos' only; they are missing for 'refvos'"),
        ("refvos", {"expression_attention_mask": None}, r"`mask_labels\[1\]` must have one row per expression.*3.*2"),
        ("vos", {"prompt_kind": "category"}, r"`prompt_kind`.*'category' for 'vos'"),
        ("vis", {"prompt_kind": "boxes"}, r"`prompt_kind`.*'boxes' for 'vis'"),
        ("vos", {"mask_labels": [block_masks(1, 2)]}, r"`mask_labels` must have one tensor per video \(2\), got 1"),
        ("vos", {"window_frames": 0}, r"`window_frames` must be None or greater than 0, got 0"),
        ("vos", {"prompt_points": torch.zeros(2, 1, 2)}, r"With `mask_labels`, prompts are drawn from them"),
        ("vis", {"class_labels": [torch.tensor([0, 7, 0]), torch.tensor([0, 1])]}, r"-1 to 6, got 0 to 7"),
    ],
)
def test_labels_that_do_not_go_together(
    model: UniVSForVideoSegmentation, task: str, change: dict[str, Any], message: str
) -> None:
    with (
        patch.object(type(model), "encode_frames", side_effect=AssertionError("checked too late")),
        pytest.raises(ValueError, match=message),
    ):
        model(**{**clips(task), **change})


def test_categories_need_embeddings() -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="`category_input_ids` or `category_embeddings`"):
        model(**clips("vis"))
    ids = torch.randint(1, 97, (NUM_CATEGORIES, 3, 8))
    output = model(**clips("vis"), category_input_ids=ids, prompt_kind="visual")
    assert output.class_queries_logits.shape[-1] == NUM_CATEGORIES


def test_the_task_follows_from_the_labels(model: UniVSForVideoSegmentation) -> None:
    for task in ("vis", "vos", "refvos"):
        inputs = clips(task)
        del inputs["task"]
        with patch("univs_hf.training_forward_univs._choose_prompts", side_effect=InterruptedError) as choose:
            with pytest.raises(InterruptedError):
                training_forward(model, **inputs)
        assert choose.call_args.args[1] == task
