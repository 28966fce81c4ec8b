# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""PNGs of labels decode to the samples that Pillow gives, or not at all."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from univs_hf.data.layouts.png_decoding import decode_png


def png(samples: np.ndarray, mode: str | None = None, **options) -> bytes:
    image = Image.fromarray(samples)
    if mode == "P":
        image.putpalette([(7 * value) % 256 for value in range(768)])
    elif mode is not None:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def random_samples(seed: int, *channels: int) -> np.ndarray:
    """Noise beside smooth parts, so that every row filter occurs; odd sizes."""
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 90, 2))
    samples = np.add.outer(*(np.arange(side) for side in size))[..., None] + np.zeros(channels or (1,), dtype=int)
    noisy = rng.random(size) < 0.3
    samples[noisy] = rng.integers(0, 256, (noisy.sum(), *(channels or (1,))))
    return (samples if channels else samples[..., 0]).astype(np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_samples_are_those_of_pillow(seed):
    grey, rgb = random_samples(seed), random_samples(seed, 3)
    np.testing.assert_array_equal(decode_png(png(grey)), grey)
    np.testing.assert_array_equal(decode_png(png(grey, "P")), grey)
    np.testing.assert_array_equal(decode_png(png(grey, "P", transparency=0)), grey)
    np.testing.assert_array_equal(decode_png(png(rgb)), rgb)


def test_result_is_independent_of_what_comes_later():
    first, second = random_samples(0), random_samples(0) // 2
    decoded = decode_png(png(first))
    decode_png(png(second))
    np.testing.assert_array_equal(decoded, first)
    decoded[:] = 0  # Writable, as Pillow's copy is.


@pytest.mark.parametrize(
    "content",
    [
        png(random_samples(1), transparency=3),
        png(random_samples(1) % 4, "P", bits=2),
        png(random_samples(1), "1"),
        png(random_samples(1), "RGBA"),
        png(random_samples(1).astype(np.uint16)),
        b"",
        b"GIF89a" + bytes(100),
    ],
)
def test_other_kinds_are_left_to_pillow(content):
    assert decode_png(content) is None


def test_broken_files_are_never_decoded():
    samples = random_samples(5)
    content = png(samples)
    for place in range(8, len(content) - 12, 11):
        broken = bytearray(content)
        broken[place] ^= 0x55
        assert decode_png(bytes(broken)) is None
    for length in range(0, len(content), 53):
        assert decode_png(content[:length]) is None
        assert decode_png(content[:length] + content[-12:]) is None
    np.testing.assert_array_equal(decode_png(content), samples)


def test_threads_have_decoders_of_their_own():
    samples = [random_samples(seed) for seed in range(8)]
    wrong = []

    def work(mine: np.ndarray) -> None:
        content = png(mine)
        wrong.extend(1 for _ in range(200) if not np.array_equal(decode_png(content), mine))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in samples]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
