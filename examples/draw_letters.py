# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""A small dataset as somebody might bring it: videos of hatched letters over noise, with palette masks.

    python examples/draw_letters.py OUT [--seed 0] [--train-videos 40] [--held-out-videos 16]

writes folders of frames and of palette PNGs, a folder for each part:

    OUT/train/JPEGImages/<video>/00000.jpg      OUT/train/Annotations/<video>/00000.png
    OUT/held_out/JPEGImages/<video>/00000.jpg   OUT/held_out/Annotations/<video>/00000.png

Letters are outlined and hatched, and the ground shows between the strokes of the hatching; it looks like a photograph
that is out of focus, with grain. Nothing of that is in moving shapes. The parts share neither a random stream nor a
letter: what is scored in `held_out` has never been seen. The same arguments give the same pictures on one machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from univs_hf.visualization import save_palette_png

PARTS = {"train": "ABDEGHKLMNPRTX", "held_out": "CFJQSUVWYZ23457"}
"""Name of a part -> the letters that it shows."""
HEIGHT, WIDTH = 128, 160
NUM_FRAMES = {"train": 12, "held_out": 24}
# A glyph is drawn on a canvas of this side and scaled to the size that it has in the picture.
_CANVAS = 160
# Fewer visible pixels in the first frame are no fair prompt.
_MIN_FIRST_PIXELS = 120


@dataclass(frozen=True)
class _Letter:
    """A letter and its way through a video; `sprite` is RGBA, `shape` its mask, both square images of `_CANVAS`."""

    sprite: Image.Image
    shape: Image.Image
    start: np.ndarray
    end: np.ndarray
    wobble: np.ndarray
    angle: float
    turn: float
    size: float
    growth: float

    def placed(self, time: float) -> tuple[Image.Image, Image.Image, tuple[int, int]]:
        """Sprite, mask and upper left corner at a time in [0, 1]."""
        side = round(self.size * (1 + self.growth * np.sin(2 * np.pi * time)))
        center = self.start + (self.end - self.start) * time + self.wobble * np.sin(4 * np.pi * time)
        turned = (
            image.rotate(self.angle + self.turn * time, Image.Resampling.BICUBIC).resize((side, side))
            for image in (self.sprite, self.shape)
        )
        x, y = (center - side / 2).round().astype(int).tolist()
        return *turned, (x, y)


def draw_video(part: str, number: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draws a video.

    Args:
        part: `"train"` or `"held_out"`.
        number: Of the video.
        seed: Of the dataset.

    Yields:
        Frames uint8 (128, 160, 3) in RGB, and label maps uint8 (128, 160): 1 to N for N letters, 0 for the ground.

    Raises:
        ValueError: If there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"`part` must be one of {list(PARTS)}, got {part!r}.")
    random = np.random.default_rng([seed, list(PARTS).index(part), number])
    num_frames = NUM_FRAMES[part]
    ground, pan = _draw_ground(random), random.uniform(0, 30, (2, 2))
    while True:
        letters = [_make_letter(random, PARTS[part]) for _ in range(random.integers(2, 5))]
        first = _paint(letters, ground, pan[0], 0.0)[1]
        if all((first == number).sum() >= _MIN_FIRST_PIXELS for number in range(1, len(letters) + 1)):
            break
    for index in range(num_frames):
        time = index / (num_frames - 1)
        frame, labels = _paint(letters, ground, pan[0] + (pan[1] - pan[0]) * time, time)
        grain = random.normal(0, 7, frame.shape)
        yield np.clip(np.rint(frame + grain), 0, 255).astype(np.uint8), labels


def write_dataset(out: Path, num_videos: dict[str, int], seed: int = 0) -> None:
    """Writes the dataset; the folder appears when it is complete.

    Args:
        out: The folder.
        num_videos: Part -> number of videos.
        seed: Of the dataset.

    Raises:
        FileExistsError: If the folder is there.
    """
    if out.exists():
        raise FileExistsError(f"`out` must be a new folder, {out} exists.")
    temporary = out.with_name(f".writing-{out.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    for part, count in num_videos.items():
        for number in range(count):
            images, masks = (
                temporary / part / kind / f"letters{number:03d}" for kind in ("JPEGImages", "Annotations")
            )
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            for index, (frame, labels) in enumerate(draw_video(part, number, seed)):
                Image.fromarray(frame).save(images / f"{index:05d}.jpg", quality=92)
                save_palette_png(masks / f"{index:05d}.png", labels)
    os.replace(temporary, out)


def _draw_ground(random: np.random.Generator) -> np.ndarray:
    """Smooth noise of many sizes, larger than a frame, float32 (188, 220, 3)."""
    size = (WIDTH + 60, HEIGHT + 60)
    ground = np.zeros((size[1], size[0], 3), np.float32)
    for cells, strength in ((2, 55), (4, 40), (9, 25), (20, 14), (45, 8)):
        # Mostly of brightness, a little of colour.
        grid = random.normal(0, strength, (cells, cells, 1)) + random.normal(0, strength / 3, (cells, cells, 3))
        channels = [Image.fromarray(channel).resize(size, Image.Resampling.BICUBIC) for channel in _channels(grid)]
        ground += np.stack([np.asarray(channel) for channel in channels], axis=-1)
    return np.clip(ground + random.uniform(90, 165, 3), 0, 255).astype(np.float32)


def _channels(grid: np.ndarray) -> Iterator[np.ndarray]:
    for channel in range(grid.shape[-1]):
        yield np.ascontiguousarray(grid[..., channel], dtype=np.float32)


def _make_letter(random: np.random.Generator, letters: str) -> _Letter:
    shape = Image.new("L", (_CANVAS, _CANVAS))
    font = ImageFont.load_default(size=_CANVAS * 0.72)
    middle = (_CANVAS / 2, _CANVAS / 2)
    ImageDraw.Draw(shape).text(middle, random.choice(list(letters)), 255, font, "mm", stroke_width=7)
    outline = np.asarray(shape, np.float32) - np.asarray(shape.filter(ImageFilter.MinFilter(7)), np.float32)

    y, x = np.mgrid[0:_CANVAS, 0:_CANVAS]
    tilt, period = random.uniform(0, np.pi), random.uniform(12, 20)
    stroke = (np.cos(tilt) * x + np.sin(tilt) * y) % period < random.uniform(0.45, 0.7) * period
    alpha = np.maximum(np.asarray(shape, np.float32) * stroke, outline)
    first, second, edge = random.uniform(20, 235, (3, 3))
    share = (y / (_CANVAS - 1))[..., None]
    color = np.where(outline[..., None] > 127, edge, first * (1 - share) + second * share)
    sprite = Image.fromarray(np.dstack([color, alpha]).round().astype(np.uint8), "RGBA")

    low, high = np.array([0.18 * WIDTH, 0.2 * HEIGHT]), np.array([0.82 * WIDTH, 0.8 * HEIGHT])
    return _Letter(
        sprite=sprite,
        shape=shape,
        start=random.uniform(low, high),
        end=random.uniform(low, high),
        wobble=random.uniform(-8, 8, 2),
        angle=random.uniform(-40, 40),
        turn=random.uniform(-70, 70),
        size=random.uniform(44, 80),
        growth=random.uniform(-0.2, 0.2),
    )


def _paint(
    letters: Sequence[_Letter], ground: np.ndarray, pan: np.ndarray, time: float
) -> tuple[np.ndarray, np.ndarray]:
    """A frame float32 (128, 160, 3) without grain, and its label map; later letters cover earlier ones."""
    left, top = pan.round().astype(int).tolist()
    picture = Image.fromarray(ground[top : top + HEIGHT, left : left + WIDTH].astype(np.uint8))
    labels = Image.new("L", (WIDTH, HEIGHT))
    for number, letter in enumerate(letters, start=1):
        sprite, shape, corner = letter.placed(time)
        picture.paste(sprite, corner, sprite)
        labels.paste(number, (*corner, corner[0] + shape.width, corner[1] + shape.height), shape.point(_is_inside))
    return np.asarray(picture, np.float32), np.asarray(labels)


def _is_inside(coverage: int) -> int:
    return 255 if coverage > 127 else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the dataset; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--train-videos", type=int, default=40, metavar="N", help="default: %(default)s")
    parser.add_argument("--held-out-videos", type=int, default=16, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    write_dataset(options.out, {"train": options.train_videos, "held_out": options.held_out_videos}, options.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
