# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Text prompts: cleaning, templates and token ids, against the reference's."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerFast

from univs_hf import text_prompts
from univs_hf.convert_tokenizer import build_clip_tokenizer, read_byte_pair_file
from univs_hf.text_prompts import (
    build_template_texts,
    clean_category_name,
    clean_expression,
    default_text_templates,
    normalise_text,
    tokenize_templates,
    tokenize_texts,
)

FIXTURE = "parity/tokenizer"


@pytest.fixture(scope="module")
def facts(shared_dir) -> dict:
    return json.loads((shared_dir / f"{FIXTURE}.json").read_text())


@pytest.fixture(scope="module", params=["converted", "saved and loaded", "transformers' CLIP with padding id 0"])
def clip_tokenizer(request, shared_dir, tmp_path_factory):
    path = shared_dir / "parity/bpe_simple_vocab_16e6.txt.gz"
    if request.param.startswith("transformers"):
        vocabulary, merges = read_byte_pair_file(path)
        return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token="!")
    tokenizer = build_clip_tokenizer(path)
    if request.param == "converted":
        return tokenizer
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def word_tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<s>", "</s>", "<unk>", "a", "photo", "of", "dog", "cat", "."]
    model = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


# --- the reference


def test_cleaning_equals_the_reference(facts):
    assert [clean_expression(text) for text in facts["strings"]] == facts["cleaned"]
    assert [[clean_category_name(name)] for name in facts["class_names"]] == facts["class_names_cleaned"]


def test_templates_equal_the_reference(facts):
    assert list(default_text_templates()) == facts["templates"]
    assert len(default_text_templates()) == 81 and default_text_templates()[0] == "{}."


def test_tokens_equal_the_reference(shared_dir, facts, clip_tokenizer):
    expected = load_file(shared_dir / f"{FIXTURE}.safetensors")
    assert set(expected) == set(facts["tensors"])
    cleaned = [clean_expression(text) for text in facts["strings"]]
    names = [clean_category_name(name) for name in facts["class_names"]]
    first = facts["templates"][:1]
    tokens = {
        "tokens_template0": tokenize_templates(clip_tokenizer, facts["strings"], first)[:, 0],
        "tokens_all_templates_first3": tokenize_templates(clip_tokenizer, facts["strings"][:3]),
        "tokens_clean_template0": tokenize_templates(clip_tokenizer, cleaned, first)[:, 0],
        "class_tokens_first4_templates": tokenize_templates(clip_tokenizer, names, facts["templates"][:4]),
    }
    assert set(tokens) == set(expected)
    for name, value in tokens.items():
        assert value.dtype == torch.int64 and value.shape == expected[name].shape
        assert int((value != expected[name]).sum()) == 0, name


def test_too_long_text_loses_its_end_token(clip_tokenizer):
    (row,) = tokenize_texts(clip_tokenizer, ["word " * 100])
    assert row.shape == (77,) and row[0] == 49406 and 49407 not in row.tolist() and 0 not in row.tolist()
    (row,) = tokenize_texts(clip_tokenizer, ["word " * 75])
    assert row[-1] == 49407


# --- the pieces


def test_clean_category_name_of_label_sets():
    assert clean_category_name("tench, Tinca tinca,") == "tench tinca tinca"
    assert clean_category_name("Cabinet/shelf") == "cabinet shelf"
    assert clean_category_name("salt+pepper") == "salt pepper"
    assert clean_expression("salt+pepper") == "salt+pepper"


def test_normalise_text():
    assert normalise_text("  Caf\u00c3\u00a9 \n &amp;amp;  X ") == "caf\u00e9 & x"


def test_texts_are_inserted_verbatim():
    assert build_template_texts(["{x} {}", "B"], ["a {}.", "{}"]) == [["a {x} {}.", "{x} {}"], ["a B.", "B"]]


@pytest.mark.parametrize("templates", [[], ["no place"], ["{} {}"], [3]])
def test_bad_templates(templates):
    with pytest.raises(ValueError, match="`templates`|`{}`"):
        build_template_texts(["a"], templates)


def test_any_fast_tokenizer(word_tokenizer):
    tokens = tokenize_templates(word_tokenizer, ["dog", "big Cat"], ["{}.", "a photo of {}"], max_length=7)
    assert tokens.tolist() == [
        [[1, 7, 9, 2, 0, 0, 0], [1, 4, 5, 6, 7, 2, 0]],
        [[1, 3, 8, 9, 2, 0, 0], [1, 4, 5, 6, 3, 8, 2]],
    ]
    assert tokenize_templates(word_tokenizer, ["a dog"], ["{} dog"], max_length=3).tolist() == [[[1, 4, 7]]]
    assert tokenize_templates(word_tokenizer, [], max_length=5).shape == (0, 81, 5)


def test_settings_of_the_tokenizer_do_not_matter(word_tokenizer):
    expected = tokenize_texts(word_tokenizer, ["a dog", "a photo of a cat"], 8)
    word_tokenizer.padding_side = word_tokenizer.truncation_side = "left"
    word_tokenizer.backend_tokenizer.enable_padding(length=20, pad_id=3)
    word_tokenizer.backend_tokenizer.enable_truncation(2)
    assert torch.equal(tokenize_texts(word_tokenizer, ["a dog", "a photo of a cat"], 8), expected)


def test_warns_of_cut_texts(word_tokenizer, caplog, monkeypatch):
    monkeypatch.setattr(text_prompts.logger, "propagate", True)
    tokenize_templates(word_tokenizer, ["a dog"], ["{}"], max_length=4)
    assert not caplog.records
    tokenize_templates(word_tokenizer, ["a dog", "a photo of a dog"], ["{}"], max_length=4)
    assert "1 text(s) do not fit into the 4 tokens" in caplog.text and "'a photo of a dog'" in caplog.text


def test_bad_tokenizer_or_length(word_tokenizer):
    with pytest.raises(ValueError, match="at least 2"):
        tokenize_texts(word_tokenizer, ["a"], 1)
    word_tokenizer.pad_token = None
    with pytest.raises(ValueError, match=r"\['pad_token_id'\] is None"):
        tokenize_texts(word_tokenizer, ["a"])


def test_missing_data_files(monkeypatch, tmp_path):
    monkeypatch.setattr(text_prompts, "_TEMPLATES_FILE", tmp_path / "none.json")
    default_text_templates.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match="data of the univs_hf package.*`text_templates`"):
            default_text_templates()
    finally:
        default_text_templates.cache_clear()
