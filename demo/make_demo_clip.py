# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Makes the demo's video: three shapes that move over a textured ground, and the palette mask of its first frame.

    python demo/make_demo_clip.py OUT_DIR [--frames 24] [--height 180] [--width 320]

writes `OUT_DIR/shapes.mp4` and `OUT_DIR/shapes-first-mask.png`. The same arguments give the same frames.
"""

import argparse
from pathlib import Path

import numpy as np

from univs_hf.video_writer import VideoWriter
from univs_hf.visualization import save_palette_png

FPS = 12
# Object 1: a red disc that crosses from left to right. 2: a blue square that falls. 3: a green triangle that turns.
COLORS = np.array([[214, 60, 48], [52, 92, 214], [60, 176, 84]], dtype=np.float32)


def make_frame(index: int, num_frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One frame and its label map.

    Args:
        index: Number of the frame.
        num_frames: Frames in which the shapes make their whole way.
        height, width: Size in pixels.

    Returns:
        uint8 (height, width, 3) RGB frame, and uint8 (height, width) map of object ids with 0 as background.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    unit = min(height, width)
    time = index / max(num_frames - 1, 1)

    labels = np.zeros((height, width), dtype=np.uint8)
    disc_x, disc_y = width * (0.2 + 0.6 * time), height * (0.35 + 0.08 * np.sin(4 * np.pi * time))
    labels[np.hypot(x - disc_x, y - disc_y) < 0.16 * unit] = 1
    square_x, square_y = width * 0.68, height * (0.2 + 0.55 * time)
    labels[np.maximum(np.abs(x - square_x), np.abs(y - square_y)) < 0.13 * unit] = 2
    angle = np.pi * time
    across = [
        np.cos(angle + turn) * (x - width * 0.3) + np.sin(angle + turn) * (y - height * 0.72)
        for turn in (0, 2 * np.pi / 3, 4 * np.pi / 3)
    ]
    labels[np.max(across, axis=0) < 0.1 * unit] = 3

    ground = 120 + 30 * np.sin(x / 9) * np.cos(y / 13) + 25 * (y / height)
    frame = np.repeat(ground[..., None], 3, axis=2) * np.array([1.0, 0.96, 0.86], dtype=np.float32)
    stripes = 0.88 + 0.12 * np.sign(np.sin((x + y) / 5))
    for object_id, color in enumerate(COLORS, start=1):
        inside = labels == object_id
        frame[inside] = color * stripes[inside, None]
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), labels


def make_clip(folder: Path, num_frames: int = 24, height: int = 180, width: int = 320) -> tuple[Path, Path]:
    """Writes the video and the mask of its first frame.

    Returns:
        Paths of the video and of the mask.
    """
    video_path, mask_path = folder / "shapes.mp4", folder / "shapes-first-mask.png"
    with VideoWriter(video_path, FPS) as writer:
        for index in range(num_frames):
            frame, labels = make_frame(index, num_frames, height, width)
            writer.write(frame)
            if index == 0:
                save_palette_png(mask_path, labels)
    return video_path, mask_path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--width", type=int, default=320)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path in make_clip(arguments.folder, arguments.frames, arguments.height, arguments.width):
        print(path)
