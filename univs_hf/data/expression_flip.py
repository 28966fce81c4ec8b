# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Expressions of a picture that is mirrored: left becomes right and right becomes left."""

from __future__ import annotations

import re

_PAIRS = (
    ("left", "right"),
    ("leftmost", "rightmost"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("lefthand", "righthand"),
    ("leftside", "rightside"),
)
_SWAPPED = {word: other for pair in _PAIRS for word, other in (pair, pair[::-1])}
_WORD = re.compile(r"(?<![^\W_])(" + "|".join(sorted(_SWAPPED, key=len, reverse=True)) + r")(?![^\W_])", re.IGNORECASE)


def swap_left_right(text: str) -> str:
    """Exchanges left and right, as whole words only, keeping their case.

    "bright", "upright" and "cleft" stay; the original swapped within words (training specification, B8).

    Example:
        >>> swap_left_right("the bright bird on the Left, right-most of two")
        'the bright bird on the Right, left-most of two'
    """
    return _WORD.sub(lambda match: _like(match[0], _SWAPPED[match[0].lower()]), text)


def _like(model: str, word: str) -> str:
    """`word` in the case of `model`."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
