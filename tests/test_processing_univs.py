# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Processor: prompts of every kind to model input, every bad input, saving and loading."""

import pickle

import numpy as np
import PIL.Image
import pytest
import torch
from tiny_config import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoProcessor, PreTrainedTokenizerFast

import univs_hf  # noqa: F401  registers the classes
from univs_hf import processing_univs
from univs_hf.image_processing_univs import UniVSImageProcessor
from univs_hf.label_sets import load_label_set
from univs_hf.processing_univs import UniVSProcessor
from univs_hf.text_prompts import default_text_templates

HEIGHT, WIDTH = 40, 60  # becomes 32x48, padded to 32x64
TEMPLATES = ["{}.", "a photo of a {}."]


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<s>", "</s>", "<unk>", ".", "a", "photo", "of", "red", "car", "dog", "left"]
    model = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=12,
    )


@pytest.fixture
def processor() -> UniVSProcessor:
    image_processor = UniVSImageProcessor(size={"shortest_edge": 32, "longest_edge": 64})
    return UniVSProcessor(image_processor, make_tokenizer(), text_templates=TEMPLATES)


@pytest.fixture
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def label_map() -> np.ndarray:
    label_map = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    label_map[5:20, 10:30], label_map[25:35, 40:55] = 4, 2
    return label_map


# --- what comes out


def test_everything_in_one_call(processor, video, label_map):
    inputs = processor(
        videos=list(video),
        prompt_masks=label_map,
        boxes=[[6, 10, 30, 20]],
        points=[[15, 20], [45, 39]],
        text=["Red car!", "dog"],
        categories=["dog", "red_car", "left"],
        prompt_frame_idx=[0, 0, 1, 2, 2],
        frame_idx=[7, 8, 9],
    )
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in inputs.items()}
    assert shapes == {
        "pixel_values_videos": ((1, 3, 3, 32, 64), torch.float32),
        "pixel_mask": ((1, 32, 64), torch.int64),
        "original_sizes": ((1, 2), torch.int64),
        "resized_sizes": ((1, 2), torch.int64),
        "prompt_masks": ((1, 2, 32, 64), torch.float32),
        "prompt_boxes": ((1, 1, 4), torch.float32),
        "prompt_points": ((1, 2, 2), torch.float32),
        "prompt_frame_idx": ((1, 5), torch.int64),
        "prompt_obj_ids": ((1, 5), torch.int64),
        "input_ids": ((1, 2, 2, 12), torch.int64),
        "expression_attention_mask": ((1, 2), torch.int64),
        "category_input_ids": ((3, 2, 12), torch.int64),
        "frame_idx": ((1, 3), torch.int64),
    }
    assert set(inputs) <= set(processor.model_input_names)
    assert inputs["original_sizes"].tolist() == [[HEIGHT, WIDTH]] and inputs["resized_sizes"].tolist() == [[32, 48]]
    assert inputs["frame_idx"].tolist() == [[7, 8, 9]]
    # The map gives 2 and 4; boxes and points take the free ids.
    assert inputs["prompt_obj_ids"].tolist() == [[2, 4, 1, 3, 5]]
    assert inputs["prompt_frame_idx"].tolist() == [[0, 0, 1, 2, 2]]
    # Pixels times 0.8, as shares of 64 and 32.
    assert inputs["prompt_boxes"][0].tolist() == pytest.approx(np.array([[4.8, 8, 24, 16]]) / [64, 32, 64, 32])
    assert inputs["prompt_points"][0].flatten().tolist() == pytest.approx([12 / 64, 0.5, 36 / 64, 31.2 / 32])
    assert inputs["input_ids"][0, :, 0].tolist() == [
        [1, 8, 9, 4, 2, 0, 0, 0, 0, 0, 0, 0],
        [1, 10, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert inputs["category_input_ids"][1, 1].tolist() == [1, 5, 6, 7, 5, 8, 9, 4, 2, 0, 0, 0]


def test_only_what_was_given_comes_out(processor, video):
    frames = {"pixel_values_videos", "pixel_mask", "original_sizes", "resized_sizes"}
    assert set(processor(videos=video)) == frames
    assert set(processor(videos=video, points=[[1, 1]])) - frames == {
        "prompt_points",
        "prompt_obj_ids",
        "prompt_frame_idx",
    }
    assert set(processor(text="dog")) == {"input_ids", "expression_attention_mask"}
    assert set(processor(categories=["dog"])) == {"category_input_ids"}


def test_frames_are_the_image_processors(processor, video):
    expected = processor.image_processor(video, return_tensors="pt", do_normalize=False)
    inputs = processor(videos=video, do_normalize=False)
    assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
    frame = processor.preprocess_frame(video[0])
    assert torch.equal(frame.pixel_values, processor(videos=video[:1])["pixel_values_videos"])


def test_return_tensors(processor, video, label_map):
    inputs = processor(videos=video, prompt_masks=label_map, text="dog", return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in inputs.values())
    with pytest.raises(ValueError):
        processor(videos=video, return_tensors="tf")


@torch.no_grad()
@pytest.mark.parametrize(
    ("prompts", "num_prompts"),
    [
        ({"boxes": [[6, 10, 30, 20]], "points": [[15, 20]], "categories": ["dog", "car"]}, 3),
        ({"text": ["red car", "dog"], "frame_idx": [3, 4, 5]}, 2),
    ],
)
def test_model_takes_what_comes_out(processor, video, label_map, prompts, num_prompts):
    model = tiny_model(num_text_templates=len(TEMPLATES))
    masks = {} if "text" in prompts else {"prompt_masks": label_map == 4}
    inputs = processor(videos=video, **masks, **prompts)
    outputs = model(**inputs)
    assert outputs.masks_queries_logits.shape == (1, 10 + num_prompts, 3, 8, 16)
    assert outputs.masks_queries_logits.isfinite().all()
    (result,) = processor.post_process_masks(
        outputs.masks_queries_logits[:, 10:], inputs["original_sizes"], inputs["resized_sizes"]
    )
    assert result.shape == (num_prompts, 3, HEIGHT, WIDTH)


# --- masks


def test_label_map_and_stack_agree_with_pil(processor, video, label_map):
    from_map = processor(videos=video, prompt_masks=label_map)
    stack = np.stack([label_map == 2, label_map == 4])
    forms = {
        "bool stack": stack,
        "0/255 stack": stack.astype(np.uint8) * 255,
        "float stack": torch.from_numpy(stack).float(),
        "list of masks": list(stack),
        "list of PIL": [PIL.Image.fromarray(mask) for mask in stack],
    }
    for name, form in forms.items():
        inputs = processor(videos=video, prompt_masks=form, obj_ids=[2, 4])
        assert torch.equal(inputs["prompt_masks"], from_map["prompt_masks"]), name
        assert torch.equal(inputs["prompt_obj_ids"], from_map["prompt_obj_ids"]), name
    for index, mask in enumerate(stack):
        image = PIL.Image.fromarray(mask.astype(np.uint8)).resize((48, 32), PIL.Image.Resampling.NEAREST)
        assert np.array_equal(from_map["prompt_masks"][0, index, :, :48].numpy(), np.array(image))
    assert from_map["prompt_masks"][..., 48:].sum() == 0


def test_forms_of_a_label_map(processor, video, label_map):
    expected = processor(videos=video, prompt_masks=label_map)
    palette = PIL.Image.fromarray(label_map, mode="L").convert("P")
    palette.putpalette([255, 0, 0] * 256)
    palette.frombytes(label_map.tobytes())
    for form in (palette, PIL.Image.fromarray(label_map), torch.from_numpy(label_map), label_map.astype(np.float64)):
        inputs = processor(videos=video, prompt_masks=form)
        assert torch.equal(inputs["prompt_masks"], expected["prompt_masks"])
        assert inputs["prompt_obj_ids"].tolist() == [[2, 4]]


def test_obj_ids_select_from_a_label_map(processor, video, label_map):
    inputs = processor(videos=video, prompt_masks=label_map, boxes=[[0, 0, 9, 9]], obj_ids=[4, 7])
    assert inputs["prompt_obj_ids"].tolist() == [[4, 7]] and inputs["prompt_masks"].shape[1] == 1
    assert torch.equal(
        inputs["prompt_masks"][0, 0], processor(videos=video, prompt_masks=label_map)["prompt_masks"][0, 1]
    )


@pytest.mark.parametrize("on", [True, 1, 255])
def test_binary_map_with_a_chosen_id(processor, video, label_map, on):
    binary = (label_map > 0) if on is True else (label_map > 0).astype(np.uint8) * on
    assert processor(videos=video, prompt_masks=binary, obj_ids=[9])["prompt_obj_ids"].tolist() == [[9]]
    assert processor(videos=video, prompt_masks=label_map > 0)["prompt_obj_ids"].tolist() == [[1]]


def test_warns_of_an_object_that_vanishes(processor, video, label_map, caplog, monkeypatch):
    monkeypatch.setattr(processing_univs.logger, "propagate", True)
    # 40 rows become 32: every fifth row is left out.
    left_out = sorted(set(range(HEIGHT)) - set(kept_rows()))
    label_map[left_out[0], 58] = 8
    processor(videos=video, prompt_masks=label_map)
    assert "objects [8] of video 0" in caplog.text


def kept_rows() -> list[int]:
    """Rows of the frame that the nearest-neighbour resize of a mask keeps."""
    rows = PIL.Image.fromarray(np.arange(HEIGHT, dtype=np.int32)[:, None])
    return np.array(rows.resize((1, 32), PIL.Image.Resampling.NEAREST)).flatten().tolist()


# --- boxes


def test_box_is_clipped_to_the_frame(processor, video):
    clipped = processor(videos=video, boxes=[-5, 10, 100, 99])["prompt_boxes"]
    assert torch.equal(clipped, processor(videos=video, boxes=[[0, 10, WIDTH, HEIGHT]])["prompt_boxes"])
    assert clipped[0, 0, 2] == 48 / 64


# --- batches


def test_batch_with_different_prompts(processor, video, label_map):
    other = np.random.default_rng(1).integers(0, 256, (3, 80, 40, 3), dtype=np.uint8)
    inputs = processor(
        videos=[video, other],
        prompt_masks=[label_map, None],
        boxes=[None, [[4, 8, 20, 40]]],
        points=[[[30, 20]], [[10, 10], [20, 30]]],
        text=["dog", ["red car", "left dog"]],
        obj_ids=[None, [5, 6, 7]],
        prompt_frame_idx=[2, [0, 1, 1]],
    )
    assert inputs["pixel_values_videos"].shape == (2, 3, 3, 64, 64)
    assert inputs["prompt_masks"].shape == (2, 2, 64, 64) and inputs["prompt_masks"][1].sum() == 0
    assert inputs["prompt_boxes"].shape == (2, 1, 4) and inputs["prompt_boxes"][0].abs().sum() == 0
    assert inputs["prompt_points"][0, 1].tolist() == [-1, -1]  # no point: the model counts only 0..1 as valid
    assert inputs["prompt_obj_ids"].tolist() == [[2, 4, 0, 1, 0], [0, 0, 5, 6, 7]]
    assert inputs["prompt_frame_idx"].tolist() == [[2, 2, 0, 2, 0], [0, 0, 0, 1, 1]]
    assert inputs["prompt_boxes"][1, 0].tolist() == pytest.approx([0.05, 0.1, 0.25, 0.5])
    assert inputs["expression_attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert inputs["input_ids"][0, 1].sum() == 0
    alone = processor(videos=other, text=["red car", "left dog"])
    assert torch.equal(inputs["input_ids"][1], alone["input_ids"][0])


def test_one_expression_for_a_batch(processor, video):
    inputs = processor(videos=[video, video], text="dog")
    assert inputs["input_ids"].shape[:2] == (2, 1) and torch.equal(inputs["input_ids"][0], inputs["input_ids"][1])


def test_one_frame_number_for_a_batch(processor, video):
    inputs = processor(videos=[video, video], points=[[[1, 1]], [[2, 2]]], prompt_frame_idx=1, frame_idx=[4, 5, 6])
    assert inputs["prompt_frame_idx"].tolist() == [[1], [1]] and inputs["frame_idx"].tolist() == [[4, 5, 6]] * 2


# --- text


def test_cleaning_can_be_switched_off(processor):
    assert torch.equal(processor(text="2 Red/car!")["input_ids"], processor(text="red car")["input_ids"])
    raw = processor(text="red/car", clean_text=False)["input_ids"][0, 0, 0].tolist()
    assert raw[:4] == [1, 8, 3, 9]  # the slash stays, as an unknown word


def test_named_label_set(processor):
    expected = processor(categories=load_label_set("ovis").texts)["category_input_ids"]
    assert expected.shape == (25, 2, 12)
    assert torch.equal(processor(categories="OVIS")["category_input_ids"], expected)
    assert torch.equal(processor(categories=load_label_set("ovis"))["category_input_ids"], expected)
    assert processor.category_texts(["Cabinet/shelf", "T-shirt"]) == ["cabinet shelf", "t shirt"]


def test_text_length_without_a_limit(processor):
    processor.tokenizer.model_max_length = int(1e30)
    assert processor(text="dog")["input_ids"].shape == (1, 1, 2, 77)


# --- bad input

Bad = tuple[dict[str, object], type[Exception], str]


def bad_inputs() -> dict[str, Bad]:
    label_map = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    label_map[:5, :5] = 3
    mask = label_map > 0
    nan_map = np.full((HEIGHT, WIDTH), np.nan)
    return {
        "nothing": ({"videos": None}, ValueError, "Nothing to process"),
        "no frames": ({"videos": []}, ValueError, "at least one frame"),
        "mixed sizes": (
            {"videos": [np.zeros((8, 9, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)]},
            ValueError,
            "same size",
        ),
        "NaN pixels": ({"videos": np.full((1, 8, 9, 3), np.nan)}, ValueError, "must be finite, but has 216 NaN"),
        "wrong dtype": ({"videos": np.zeros((1, 8, 9, 3), bool)}, ValueError, "got bool"),
        "wrong channel count": ({"videos": np.zeros((1, 8, 9, 2), np.uint8)}, ValueError, "must have 1 .* channels"),
        "prompt without frames": ({"videos": None, "boxes": [[0, 0, 1, 1]]}, ValueError, "need the frames"),
        "prompt with text only": (
            {"videos": None, "text": "dog", "boxes": [[0, 0, 1, 1]]},
            ValueError,
            "need the frames: give `videos`",
        ),
        "setting without frames": ({"videos": None, "text": "dog", "do_resize": False}, ValueError, "give `videos`"),
        "unknown setting": ({"do_crop": True}, (TypeError, ValueError), "do_crop"),
        "mask size": (
            {"prompt_masks": label_map[:-1]},
            ValueError,
            r"size of the frames \(40, 60\), got .*\(39, 60\)",
        ),
        "mask transposed": ({"prompt_masks": mask.T[None]}, ValueError, r"got shape \(1, 60, 40\)"),
        "mask channels last": ({"prompt_masks": mask[..., None]}, ValueError, r"got shape \(40, 60, 1\)"),
        "mask in colour": ({"prompt_masks": PIL.Image.new("RGB", (WIDTH, HEIGHT))}, ValueError, "mode 'RGB'"),
        "masks of two sizes": ({"prompt_masks": [mask, mask[:5]]}, ValueError, "must have one size"),
        "empty label map": ({"prompt_masks": label_map * 0}, ValueError, "is empty"),
        "empty mask in a stack": ({"prompt_masks": np.stack([mask, ~mask, mask & False])}, ValueError, r"masks \[2\]"),
        "NaN mask": ({"prompt_masks": nan_map}, ValueError, "must be finite"),
        "fractions in a label map": ({"prompt_masks": label_map * 0.5}, ValueError, "whole numbers"),
        "negative label map": ({"prompt_masks": -label_map.astype(int)}, ValueError, "must not be negative, got -3"),
        "stack of label maps": ({"prompt_masks": label_map[None] * 2}, ValueError, r"one mask of 0 and 1.*\[0, 6\]"),
        "float mask above 1": ({"prompt_masks": label_map[None] * 1.0}, ValueError, r"\[0, 1\], got 0 to 3"),
        "mask of strings": ({"prompt_masks": np.full((HEIGHT, WIDTH), "a")}, ValueError, "bool, integer or float"),
        "object id 0": ({"prompt_masks": mask[None], "obj_ids": [0]}, ValueError, r"greater than 0.*has \[0\]"),
        "negative id": ({"points": [[1, 1]], "obj_ids": [-2]}, ValueError, r"greater than 0.*has \[-2\]"),
        "duplicate ids": (
            {"points": [[1, 1], [2, 2]], "obj_ids": [5, 5]},
            ValueError,
            r"differ from one another.*\[5, 5\]",
        ),
        "duplicate ids over kinds": (
            {"prompt_masks": mask[None], "points": [[2, 2]], "obj_ids": [1, 1]},
            ValueError,
            "differ from one another",
        ),
        "fractional ids": ({"points": [[1, 1]], "obj_ids": [1.5]}, ValueError, "`obj_ids` must be .* whole numbers"),
        "too few ids": ({"points": [[1, 1], [2, 2]], "obj_ids": [5]}, ValueError, "1 ids for 0 masks, 0 boxes and 2"),
        "id not in the map": (
            {"prompt_masks": label_map, "obj_ids": [9]},
            ValueError,
            r"no pixel of `obj_ids` \[9\].*holds \[3\]",
        ),
        "ids without prompts": ({"obj_ids": [1]}, ValueError, "`obj_ids` belongs to visual prompts"),
        "prompt lists without prompts": ({"boxes": []}, ValueError, "hold no prompt at all"),
        "box inverted": ({"boxes": [[9, 9, 3, 12]]}, ValueError, r"x1 < x2.*\[9.0, 9.0, 3.0, 12.0\]"),
        "box without area": ({"boxes": [[9, 9, 9, 12]]}, ValueError, "x1 < x2"),
        "box outside": ({"boxes": [[WIDTH, 0, WIDTH + 9, 9]]}, ValueError, "60 wide and 40 high"),
        "box NaN": ({"boxes": [[0, 0, np.nan, 9]]}, ValueError, "`boxes` of video 0 must be finite"),
        "box of three numbers": ({"boxes": [[0, 0, 9]]}, ValueError, r"shape \(N, 4\), got \(1, 3\)"),
        "boxes of two lengths": ({"boxes": [[0, 0, 9, 9], [1, 2]]}, ValueError, r"numbers of shape \(N, 4\)"),
        "box of strings": ({"boxes": [["a", "b", "c", "d"]]}, ValueError, r"numbers of shape \(N, 4\)"),
        "point outside": ({"points": [[5, HEIGHT]]}, ValueError, r"inside the frame.*\[5.0, 40.0\]"),
        "point of one number": ({"points": [[5]]}, ValueError, r"shape \(N, 2\), got \(1, 1\)"),
        "frame index out of range": (
            {"points": [[5, 5]], "prompt_frame_idx": 3},
            ValueError,
            r"lie in 0..2 .* has \[3\]",
        ),
        "negative frame index": ({"points": [[5, 5]], "prompt_frame_idx": [-1]}, ValueError, "lie in 0..2"),
        "too many frame indices": (
            {"points": [[5, 5]], "prompt_frame_idx": [0, 1]},
            ValueError,
            r"one per prompt \(1\)",
        ),
        "frame index without prompts": ({"prompt_frame_idx": 0}, ValueError, "belongs to visual prompts"),
        "frame numbers of another length": ({"frame_idx": [0, 1]}, ValueError, r"shape \(3,\) or \(1, 3\), got"),
        "negative frame numbers": ({"frame_idx": [-1, 0, 1]}, ValueError, "must not be negative"),
        "fractional frame numbers": ({"frame_idx": [0.0, 0.5, 1.0]}, ValueError, "whole numbers .* got float64"),
        "empty expression": ({"text": ""}, ValueError, r"`text` must not be empty, video 0 has ''"),
        "blank expression": ({"text": ["dog", "  \n"]}, ValueError, "must not be empty"),
        "expression of digits": ({"text": "123!"}, ValueError, r"empty \(after cleaning.*'123!'"),
        "no expression": ({"text": []}, ValueError, "at least one expression"),
        "expression of another type": ({"text": [3]}, TypeError, "must be a string, video 0 has int"),
        "text of another type": ({"text": 3}, TypeError, "string or a list of strings, video 0 has int"),
        "no category": ({"categories": []}, ValueError, "at least one name"),
        "empty category": ({"categories": ["dog", "#1"]}, ValueError, "must hold letters.*'#1'"),
        "category of another type": ({"categories": ["dog", 1]}, TypeError, r"must be a string, got 1 \(int\)"),
        "unknown label set": ({"categories": "dogs"}, ValueError, r"got the string 'dogs'.*vspw.*give \['dogs'\]"),
    }


@pytest.mark.parametrize("name", bad_inputs())
def test_bad_input(processor, video, name):
    arguments, error, message = bad_inputs()[name]
    arguments = {"videos": video, **arguments}
    with pytest.raises(error, match=message):
        processor(**arguments)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ({"boxes": [[[0, 0, 9, 9]]]}, "1 entries"),
        ({"points": "ab c"}, "4 entries"),
        ({"text": ["dog"]}, "1 entries"),
        ({"prompt_masks": np.ones((3, HEIGHT, WIDTH), bool)}, "3 entries"),
        ({"points": [[[1, 1]], [[2, 2]]], "obj_ids": 3}, "int"),
    ],
)
def test_batch_needs_one_entry_per_video(processor, video, arguments, given):
    with pytest.raises(ValueError, match=rf"one entry per video of the batch \(2\), got {given}"):
        processor(videos=[video, video], **arguments)


def test_bad_input_of_a_batch_names_the_video(processor, video):
    with pytest.raises(ValueError, match=r"video 1 has \[3.0, 3.0, 1.0, 1.0\]"):
        processor(videos=[video, video], boxes=[[[0, 0, 9, 9]], [[3, 3, 1, 1]]])


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_rgba_frames(processor, video, mode):
    frames = [PIL.Image.fromarray(frame).convert(mode) for frame in video]
    expected = processor(videos=[frame.convert("RGB") for frame in frames])
    assert torch.equal(processor(videos=frames)["pixel_values_videos"], expected["pixel_values_videos"])


# --- output


def test_post_processing_is_the_image_processors(processor):
    logits = torch.randn(1, 2, 1, 8, 16, generator=torch.Generator().manual_seed(0))
    sizes = (torch.tensor([[HEIGHT, WIDTH]]), torch.tensor([[32, 48]]))
    (masks,) = processor.post_process_masks(logits, *sizes, mask_threshold=0.5)
    assert torch.equal(masks, processor.image_processor.post_process_masks(logits, *sizes, 0.5)[0])
    outputs = type("Outputs", (), {"masks_queries_logits": logits, "class_queries_logits": torch.ones(1, 2, 3)})
    (labels,) = processor.post_process_semantic_segmentation(outputs, *sizes, num_queries=1)
    assert labels.shape == (1, HEIGHT, WIDTH)


# --- save, load


def test_save_load_pickle(processor, video, label_map, tmp_path):
    processor.save_pretrained(tmp_path)
    arguments = {"videos": video, "prompt_masks": label_map, "text": "red car", "categories": ["dog"]}
    expected = processor(**arguments)
    copies = (
        UniVSProcessor.from_pretrained(tmp_path),
        AutoProcessor.from_pretrained(tmp_path),
        pickle.loads(pickle.dumps(processor)),
    )
    for other in copies:
        assert type(other) is UniVSProcessor and other.text_templates == TEMPLATES
        inputs = other(**arguments)
        assert set(inputs) == set(expected)
        for name, value in expected.items():
            assert torch.equal(inputs[name], value), name


def test_default_templates_are_saved_with_the_processor(tmp_path):
    processor = UniVSProcessor(UniVSImageProcessor(), make_tokenizer())
    assert processor.text_templates == list(default_text_templates())
    assert processor.to_dict()["text_templates"] == list(default_text_templates())


def test_wrong_parts():
    with pytest.raises(TypeError, match="image_processor"):
        UniVSProcessor(make_tokenizer(), UniVSImageProcessor())
    assert not hasattr(UniVSProcessor(UniVSImageProcessor(), make_tokenizer()), "video_processor")
