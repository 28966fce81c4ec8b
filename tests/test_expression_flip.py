# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Left and right of expressions."""

import pytest

from univs_hf.data.expression_flip import swap_left_right


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the man on the left", "the man on the right"),
        ("left of the right one", "right of the left one"),
        ("bright cleft of an upright copyright", "bright cleft of an upright copyright"),
        ("Left man, RIGHT hand", "Right man, LEFT hand"),
        ("left-hand side; leftmost, right's", "right-hand side; rightmost, left's"),
        ("player_left number 7 moving leftwards", "player_right number 7 moving rightwards"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_whole_words_only(text, expected):
    assert swap_left_right(text) == expected
    assert swap_left_right(expected) == text
