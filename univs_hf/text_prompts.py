# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""From expressions and category names to token ids of the CLIP text tower (specification A.3.5).

    text --clean--> --insert into P templates--> --normalise--> --tokenise--> ids (N, P, L)

N is the number of texts, P the number of templates (81), L the context length of the text tower (77).
"""

import html
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import ftfy
import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Context length of CLIP's text towers.
DEFAULT_MAX_LENGTH = 77

_TEMPLATES_FILE = Path(__file__).parent / "label_set_data" / "prompt_templates.json"
_DIGITS_AND_PARENTHESES = re.compile(r"[\d()]")
_DROPPED_PUNCTUATION = str.maketrans("", "", ".,'!?\"()*#:;")
_SPACED_PUNCTUATION = str.maketrans("-/", "  ")
_WHITESPACE = re.compile(r"\s+")


@lru_cache(maxsize=1)
def default_text_templates() -> tuple[str, ...]:
    """The 81 sentence templates of the text tower; the first is the bare `"{}."`.

    Raises:
        FileNotFoundError: If the package's data files are not installed (a checkpoint's copied code has none; its
            processor carries the templates itself).
    """
    if not _TEMPLATES_FILE.is_file():
        raise FileNotFoundError(
            f"The text templates are data of the univs_hf package, and {_TEMPLATES_FILE} does not exist. Install "
            "univs-hf, or give `text_templates`."
        )
    return tuple(json.loads(_TEMPLATES_FILE.read_text(encoding="utf-8"))["templates"])


def clean_expression(text: str) -> str:
    """Cleans a referring expression as the training data was cleaned.

    Digits, brackets and punctuation vanish; `_`, `-` and `/` become spaces; letters become lower case. Runs of spaces
    are left alone: tokenisation collapses them.

    Example:
        >>> clean_expression("red/white car (the 2nd)")
        'red white car the nd'
    """
    text = _DIGITS_AND_PARENTHESES.sub("", text.replace("_", " ")).lower()
    return text.translate(_DROPPED_PUNCTUATION).translate(_SPACED_PUNCTUATION)


def clean_category_name(name: str) -> str:
    """Cleans a category name: as an expression, and `+` becomes a space.

    Example:
        >>> clean_category_name("car_(automobile)")
        'car automobile'
    """
    return clean_expression(name).replace("+", " ")


def normalise_text(text: str) -> str:
    """CLIP's text normalisation: repaired encoding, HTML entities resolved twice, single spaces, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return _WHITESPACE.sub(" ", text).strip().lower()


def build_template_texts(texts: Sequence[str], templates: Sequence[str] | None = None) -> list[list[str]]:
    """Inserts every text verbatim into every template.

    Args:
        texts: N texts, cleaned or not.
        templates: P sentences with one `{}` each. Defaults to [`default_text_templates`].

    Returns:
        N lists of P sentences.

    Raises:
        ValueError: If there is no template, or one has not exactly one `{}`.
    """
    templates = default_text_templates() if templates is None else list(templates)
    if not templates:
        raise ValueError("`templates` must hold at least one sentence with a `{}`, got none.")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ValueError(f"Each of `templates` must be a string with exactly one `{{}}`, got {template!r}.")
    return [[template.replace("{}", text) for template in templates] for text in texts]


def tokenize_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int = DEFAULT_MAX_LENGTH
) -> torch.Tensor:
    """Normalises and tokenises whole sentences for the text tower.

    A row is `[start] ids [end]`, padded on the right with the tokenizer's padding id (0 for the published models). A
    longer row is cut to `max_length` and loses its end token, as in the published models: its sentence feature then
    no longer depends on the text (specification A.3.5), so shorten such a text. Padding and cutting are done here and
    not by the tokenizer, because no setting of a tokenizer drops the end token.

    Args:
        tokenizer: Any tokenizer with `bos_token_id`, `eos_token_id` and `pad_token_id`.
        texts: N sentences.
        max_length: L, the context length of the text tower.

    Returns:
        int64 (N, L).

    Raises:
        ValueError: If the tokenizer lacks one of the three ids or `max_length` is below 2.
    """
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    missing = [name for name, value in ids.items() if value is None]
    if missing:
        raise ValueError(f"`tokenizer` must have a start, an end and a padding token, but {missing} is None.")
    if max_length < 2:
        raise ValueError(f"`max_length` must be at least 2 (start and end token), got {max_length}.")
    tokens = torch.full((len(texts), max_length), ids["pad_token_id"], dtype=torch.int64)
    if not len(texts):
        return tokens
    # The published padding id 0 is the token "!": taken as a special token it would be split off wherever a text has
    # one, so special tokens inside the text are read as plain text.
    encoded = tokenizer(
        [normalise_text(text) for text in texts],
        add_special_tokens=False,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        split_special_tokens=True,
        verbose=False,
    )
    for row, text_ids in zip(tokens, encoded["input_ids"], strict=True):
        row_ids = [ids["bos_token_id"], *text_ids, ids["eos_token_id"]][:max_length]
        row[: len(row_ids)] = torch.tensor(row_ids, dtype=torch.int64)
    return tokens


def tokenize_templates(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    templates: Sequence[str] | None = None,
    max_length: int = DEFAULT_MAX_LENGTH,
) -> torch.Tensor:
    """Inserts texts into the templates and tokenises the sentences; see [`tokenize_texts`].

    Args:
        tokenizer: Any tokenizer with start, end and padding token.
        texts: N texts, already cleaned if they are to be.
        templates: P sentences with one `{}` each. Defaults to [`default_text_templates`].
        max_length: L, the context length of the text tower.

    Returns:
        int64 (N, P, L); `[:, 0]` are the tokens that word features are made from.
    """
    sentences = build_template_texts(texts, templates)
    num_templates = len(default_text_templates()) if templates is None else len(templates)
    flat = tokenize_texts(tokenizer, [sentence for group in sentences for sentence in group], max_length)
    tokens = flat.view(len(sentences), num_templates, max_length)
    # A row that was cut ends in neither padding nor the end token.
    cut = (tokens[..., -1] != tokenizer.eos_token_id) & (tokens[..., -1] != tokenizer.pad_token_id)
    too_long = [text for text, is_cut in zip(texts, cut.any(dim=1).tolist(), strict=True) if is_cut]
    if too_long:
        logger.warning(
            f"{len(too_long)} text(s) do not fit into the {max_length} tokens of the text tower with every template; "
            f"a cut sentence carries no meaning of the text. The first begins {too_long[0][:60]!r}."
        )
    return tokens
