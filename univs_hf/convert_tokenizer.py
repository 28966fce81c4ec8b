# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A fast tokenizer with CLIP's vocabulary and with the padding and truncation of the original UniVS."""

import gzip
import json
import os
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

START_TOKEN = "<|startoftext|>"
END_TOKEN = "<|endoftext|>"
# Id 0, with which the original pads. It is also a letter of the vocabulary: an exclamation mark inside a word.
PAD_TOKEN = "!"
VOCABULARY_SIZE = 49408
MAX_LENGTH = 77

# All CLIP models share one vocabulary.
DEFAULT_TOKENIZER = "openai/clip-vit-base-patch32"

_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def read_byte_pair_file(path: str | os.PathLike) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of the byte-pair file published with CLIP.

    Args:
        path: `bpe_simple_vocab_16e6.txt.gz`, or the same unpacked.

    Returns:
        Token -> id (49408 entries: 256 bytes, the same at the end of a word, one per merge, start, end) and the merges
        by rank.

    Raises:
        ValueError: The file is not that file.
    """
    path = Path(path)
    raw = path.read_bytes()
    try:
        lines = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"`tokenizer`: {path} is not CLIP's byte-pair file (gzip or plain UTF-8): {error}") from None
    letters = list(bytes_to_unicode().values())
    # The first line is a comment. The published file goes on with rarer merges that CLIP does not use.
    num_merges = VOCABULARY_SIZE - 2 * len(letters) - 2
    merges = [tuple(line.split()) for line in lines[1 : num_merges + 1]]
    if len(merges) < num_merges or any(len(merge) != 2 for merge in merges):
        raise ValueError(
            f"`tokenizer`: {path} is not CLIP's byte-pair file: expected a comment line and at least {num_merges} "
            f"lines of two symbols, got {len(lines)} lines."
        )
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges]
    vocabulary = {token: index for index, token in enumerate([*tokens, START_TOKEN, END_TOKEN])}
    if len(vocabulary) != VOCABULARY_SIZE:
        raise ValueError(f"`tokenizer`: {path} repeats a merge; CLIP's byte-pair file does not.")
    return vocabulary, merges


def make_clip_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """Builds the tokenizer from CLIP's vocabulary and merges; see [`build_clip_tokenizer`]."""
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=END_TOKEN,
        )
    )
    # The original makes `[start] ids [end]`, then cuts: a text that is too long loses its end token. `tokenizers`
    # reserves room for what a post-processor adds, so an end token from there would survive. Here the normalizer marks
    # the end of the text by a line feed (all other white space has become single spaces by then), an added token
    # whose normalised form is that line feed makes it the end token, and the post-processor adds the start alone.
    # Text that spells a special token stays text, as these added tokens are looked up in normalised text only. The
    # padding and the start token must not be found in "dog!", so their normalised forms have a tab, which no text
    # keeps.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(rf"\A{PAD_TOKEN}\z"), f"{PAD_TOKEN}\t"),
            normalizers.Replace(Regex(r"\A<\|startoftext\|>\z"), f"{START_TOKEN}\t"),
            normalizers.Replace(Regex(r"\A<\|endoftext\|>\z"), "\n"),
            normalizers.Replace(Regex(r"(?<!\n)\z"), "\n"),
        ]
    )
    # White space is what the pattern leaves out. Where the caller asks for `split_special_tokens`, tab and line feed
    # reach this point and vanish with it.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START_TOKEN} $A",
        pair=f"{START_TOKEN} $A {START_TOKEN}:1 $B:1",
        special_tokens=[(START_TOKEN, vocabulary[START_TOKEN])],
    )
    # `tokenizers` spells an added token by its normalised form when it decodes, so these are taken out here.
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteLevel(),
            decoders.Replace(Regex(r"((<\|startoftext\|>|!)\t)?\n"), ""),
            decoders.Replace("</w>", " "),
            decoders.Replace(Regex(r" \z"), ""),
        ]
    )
    special = {
        name: AddedToken(token, normalized=True, special=True)
        for name, token in (("bos_token", START_TOKEN), ("eos_token", END_TOKEN), ("pad_token", PAD_TOKEN))
    }
    tokenizer.add_special_tokens(list(special.values()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **special,
        unk_token=special["eos_token"],
        model_max_length=MAX_LENGTH,
        padding_side="right",
        truncation_side="right",
    )


def build_clip_tokenizer(bpe_path: str | os.PathLike) -> PreTrainedTokenizerFast:
    """Builds the fast tokenizer of the text tower from the byte-pair file published with CLIP.

    `tokenizer(text, padding="max_length", truncation=True)` gives the original's 77 ids: start 49406, text, end 49407,
    zeros; a longer text is cut to 77 *without* the end token. The text must be normalised as the original does it
    (repaired encoding, HTML entities, see `text_prompts.normalise_text`), which a tokenizer file cannot express.

    What follows from how the end token is made (see the comments of [`make_clip_tokenizer`]):
    `add_special_tokens=False` leaves out the start token alone, `split_special_tokens=True` the end token; an empty
    text has no end token and a text that is just "!" is the padding token. No template makes the last two. `decode`
    gives the text alone, with or without `skip_special_tokens`.

    Args:
        bpe_path: `bpe_simple_vocab_16e6.txt.gz`, or the same unpacked.

    Returns:
        A tokenizer that `AutoTokenizer` loads after `save_pretrained`, without code of this package.

    Raises:
        ValueError: The file is not that file.
    """
    return make_clip_tokenizer(*read_byte_pair_file(bpe_path))


def load_clip_tokenizer(tokenizer: str | os.PathLike) -> PreTrainedTokenizerFast:
    """The tokenizer of [`build_clip_tokenizer`] from whatever holds CLIP's vocabulary.

    Args:
        tokenizer: Path of the byte-pair file, a directory with a saved CLIP tokenizer, or a hub id of one.

    Returns:
        The same tokenizer for each of the three.

    Raises:
        ValueError: Nothing was found there, or it is not CLIP's vocabulary.
    """
    path = Path(tokenizer)
    if path.is_file():
        return build_clip_tokenizer(path)
    accepted = "the path of bpe_simple_vocab_16e6.txt.gz, a directory with a saved CLIP tokenizer, or a hub id"
    try:
        source = AutoTokenizer.from_pretrained(os.fspath(tokenizer))
    except Exception as error:  # the hub client's errors have no common base class
        raise ValueError(
            f"`tokenizer`: {os.fspath(tokenizer)!r} could not be loaded ({type(error).__name__}: {error}). Accepted "
            f"are {accepted}."
        ) from error
    backend = getattr(source, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    vocabulary = model.get("vocab") or {}
    specials = [vocabulary.get(token) for token in (PAD_TOKEN, START_TOKEN, END_TOKEN)]
    if model.get("type") != "BPE" or specials != [0, VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1]:
        raise ValueError(
            f"`tokenizer`: {os.fspath(tokenizer)!r} is a {type(source).__name__} with {len(vocabulary)} tokens, not "
            f"CLIP's vocabulary of {VOCABULARY_SIZE} with start {VOCABULARY_SIZE - 2} and end {VOCABULARY_SIZE - 1}. "
            f"Accepted are {accepted}."
        )
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    return make_clip_tokenizer(vocabulary, merges)


__all__ = [
    "DEFAULT_TOKENIZER",
    "build_clip_tokenizer",
    "load_clip_tokenizer",
    "make_clip_tokenizer",
    "read_byte_pair_file",
]
