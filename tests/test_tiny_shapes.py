# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Sizes, words and processor of univs-tiny-shapes."""

import torch
from transformers import AutoTokenizer

from univs_hf.data.moving_shapes import CATEGORIES, MovingShapes, MovingShapesConfig
from univs_hf.tiny_shapes import TEXT_TEMPLATES, UNKNOWN_TOKEN, build_model, build_processor, build_tokenizer, main


def test_every_word_of_the_generator_is_one_known_token():
    tokenizer = build_tokenizer()
    videos = MovingShapes("train", 40, MovingShapesConfig(num_frames=6))
    texts = [expression.text for index in range(40) for expression in videos[index].expressions]
    texts += [category.text for category in CATEGORIES]
    assert len(set(texts)) > 200
    for text in texts:
        for template in TEXT_TEMPLATES:
            sentence = template.format(text)
            assert tokenizer.tokenize(sentence) == sentence.split()


def test_unknown_words_are_spelled_and_differ():
    tokenizer = build_tokenizer()
    spelled = [tokenizer("the " + word)["input_ids"] for word in ("dog", "god", "Zebra")]
    assert all(tokenizer.unk_token_id not in ids for ids in spelled)
    assert spelled[0] != spelled[1]
    assert tokenizer.tokenize("the ☂") == ["the", UNKNOWN_TOKEN]


def test_tokenizer_loads_without_code_of_the_package(tmp_path):
    build_tokenizer().save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("the large red star")["input_ids"] == build_tokenizer()("the large red star")["input_ids"]


def test_categories_have_different_embeddings_and_the_longest_expression_fits():
    model, processor = build_model().eval(), build_processor()
    ids = processor(categories="moving_shapes")["category_input_ids"]
    with torch.no_grad():
        embeddings = model.encode_text(ids)[1]
    assert torch.pdist(embeddings).min() > 1e-3
    longest = "the large checkered purple triangle in front of the checkered purple triangle"
    tokens = processor(text=longest)["input_ids"]
    assert (tokens == processor.tokenizer.eos_token_id).sum(-1).eq(1).all()


def test_size_in_half_precision():
    model = build_model()
    num_bytes = 2 * sum(tensor.numel() for tensor in model.state_dict().values())
    assert 2e6 < num_bytes / 2 < 6e6
    assert num_bytes < 16e6


def test_start_is_the_same_for_a_seed_and_is_not_written_twice(tmp_path):
    first, second = build_model(3).state_dict(), build_model(3).state_dict()
    assert all((first[name] == second[name]).all() for name in first)
    assert main([str(tmp_path / "start"), "--seed", "3"]) == 0
    written = (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns
    assert main([str(tmp_path / "start"), "--seed", "4"]) == 0
    assert (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns == written
