# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Every expression fits one thing, by the judgement of a checker that measures masks and reads texts."""

from collections import Counter

import pytest
from shapes_expression_checker import ExpressionChecker

from univs_hf.data.moving_shapes import MovingShapesConfig, MovingShapesVideo, generate_video, seed_of

NUM_VIDEOS = 60
CROWDED = MovingShapesConfig(min_objects=7, max_objects=9, object_scale=0.8)
WIDE = MovingShapesConfig(height=96, width=160, num_frames=10)
OPPOSITE = {
    "moving left": "moving right",
    "moving up": "moving down",
    "left of": "right of",
    "above": "below",
    "behind": "in front of",
    "large ": "small ",
    "entering": "leaving",
}


def wrong_answers(video: MovingShapesVideo) -> list[str]:
    checker = ExpressionChecker(video)
    return [
        f"seed {video.seed}: {expression.text!r} is about {expression.entity_id} but fits {found}"
        for expression in video.expressions
        if (found := checker.matches(expression.text)) != [expression.entity_id]
    ]


@pytest.fixture(scope="module")
def videos() -> list[MovingShapesVideo]:
    return [generate_video(seed_of("validation", 1000 + index)) for index in range(NUM_VIDEOS)]


def test_expressions_fit_exactly_one_thing(videos):
    assert [answer for video in videos for answer in wrong_answers(video)] == []


@pytest.mark.parametrize("config", [CROWDED, WIDE], ids=["crowded", "wide"])
def test_expressions_fit_exactly_one_thing_under_other_settings(config):
    for index in range(12):
        assert wrong_answers(generate_video(seed_of("train", index), config)) == []


@pytest.mark.slow
def test_expressions_fit_exactly_one_thing_in_many_videos():
    for index in range(300):
        assert wrong_answers(generate_video(seed_of("train", 5000 + index))) == []


def test_most_things_have_expressions_of_every_kind(videos):
    kinds = Counter(expression.kind for video in videos for expression in video.expressions)
    assert min(kinds[kind] for kind in ("look", "size", "motion", "relation")) > NUM_VIDEOS / 2
    things = sum(len(video.things) for video in videos)
    described = sum(len({expression.entity_id for expression in video.expressions}) for video in videos)
    assert described > 0.9 * things
    assert all(len(set(e.text for e in video.expressions)) == len(video.expressions) for video in videos)
    words = {word for video in videos for expression in video.expressions for word in expression.text.split()}
    assert {"left", "right", "up", "down", "behind", "front", "large", "small", "striped", "red"} <= words


def test_the_checker_notices_what_is_wrong(videos):
    """A checker that agreed with everything would show nothing: expressions turned into their opposite must fail."""
    caught, turned = Counter(), Counter()
    for video in videos:
        checker = ExpressionChecker(video)
        for expression in video.expressions:
            for one, other in [*OPPOSITE.items(), *((b, a) for a, b in OPPOSITE.items())]:
                if one in expression.text:
                    text = expression.text.replace(one, other)
                    turned[one] += 1
                    caught[one] += checker.matches(text) != [expression.entity_id]
    assert set(turned) == {*OPPOSITE, *OPPOSITE.values()}
    for words, count in turned.items():
        # What enters may leave as well, and a single thing of its kind is its largest and its smallest.
        least = 0.15 if words in ("large ", "small ", "entering", "leaving") else 1.0
        assert caught[words] >= least * count, (words, caught[words], count)


def test_no_expressions_on_request():
    config = MovingShapesConfig(height=48, width=48, num_frames=3, expressions_per_object=0)
    video = generate_video(seed_of("train", 0), config)
    assert video.expressions == ()
    assert video.to_rows()[0]["tasks"] == ["detection", "sot"]
