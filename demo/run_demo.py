# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The demo: all six tasks on a generated video that the model has never seen, as videos to watch.

    python demo/run_demo.py [--out demo/out] [--video 0] [--frames 24] [--model univs-tiny-shapes]

writes the video, an overlay of each task, a contact sheet of all, and the results with scores:

    clip.mp4  first_frame.png  vis.mp4  vss.mp4  vps.mp4  vos.mp4  pvos.mp4  refvos.mp4  sheet.png  results.json

The model is the small one that the package carries, trained on videos of this generator. The video is of the split
`validation`, whose seeds are in no training set.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo_pictures import draw_frame, final_result
from PIL import Image

from univs_hf import UniVSForVideoSegmentation, UniVSProcessor
from univs_hf.data.moving_shapes import MovingShapesConfig, MovingShapesVideo, generate_video, seed_of
from univs_hf.packaged_checkpoints import PACKAGED_CHECKPOINTS, resolve_checkpoint
from univs_hf.results_io import encode_result, json_line
from univs_hf.training.shapes_scores import FIGURES, ShapesScores, TaskRun
from univs_hf.video_writer import VideoWriter, temporary_sibling
from univs_hf.visualization import contact_sheet, save_palette_png

TITLES = {
    "vis": "vis: the things, found by their names",
    "vss": "vss: the class of every pixel",
    "vps": "vps: things and stuff together",
    "vos": "vos: things of the first frame, given by masks",
    "pvos": "pvos: things and stuff, given by masks",
    "refvos": "refvos: things, given by expressions",
}
SHEET_COLUMNS = 4


def run_demo(out: Path, model_name: str, number: int, num_frames: int) -> dict[str, dict[str, float]]:
    """Runs the demo.

    Args:
        out: Folder of the results; made if it is not there.
        model_name: Name of a packaged checkpoint, or directory of a model.
        number: Of the video in the split `validation`.
        num_frames: Frames of the video.

    Returns:
        Task -> figures of the metrics, fractions.

    Raises:
        FileNotFoundError: If the checkpoint is not there; nothing is written then.
        ValueError, TypeError: If an argument is out of range.
    """
    video = generate_video(seed_of("validation", number), MovingShapesConfig(num_frames=num_frames))
    path = resolve_checkpoint(model_name)
    if not (Path(path) / "config.json").is_file():
        raise FileNotFoundError(f"{path} holds no model: config.json is missing.")
    model = UniVSForVideoSegmentation.from_pretrained(path, dtype=torch.float32).eval()
    processor = UniVSProcessor.from_pretrained(path)

    out.mkdir(parents=True, exist_ok=True)
    print(video.write_video(out / "clip.mp4"), "  the video")
    records: dict[str, Any] = {}
    pictures: list[np.ndarray] = []
    figures: dict[str, dict[str, float]] = {}
    for task in FIGURES:
        scores = ShapesScores([task])
        started = time.monotonic()
        with torch.no_grad():
            found = scores.run_task(task, model, processor, video)
        seconds = time.monotonic() - started
        if found is None:
            print(f"{task}: the video has nothing to look for")
            continue
        figures[task] = {name.split("/")[1]: value for name, value in scores.figures().items()}
        target = out / f"{task}.mp4"
        drawn = _write_overlay(target, video, task, found)
        pictures += [drawn[index] for index in _sheet_frames(num_frames)]
        records[task] = {
            "overlay": target.name,
            "seconds": round(seconds, 2),
            "scores": {name: None if value != value else value for name, value in figures[task].items()},
            "objects": found.objects,
            "frames": [encode_result(_on_cpu(result)) for result in found.results],
        }
        shown = "  ".join(f"{name} {100 * value:.1f}" for name, value in figures[task].items())
        print(f"{target}   {shown}   ({seconds:.1f} s)", flush=True)
    # For a try of one's own on the command line: the masks of the things in the first frame.
    things = [0, *(entity.id if entity.is_thing else 0 for entity in video.entities)]
    save_palette_png(out / "first_frame.png", np.array(things, dtype=np.uint8)[video.labels[0]])
    _save_picture(out / "sheet.png", contact_sheet(pictures, SHEET_COLUMNS, 514))
    print(out / "sheet.png", "  some frames of each task")
    content = {
        "model": model_name,
        "video": {
            "file": "clip.mp4",
            "split": "validation",
            "number": number,
            "seed": video.seed,
            "num_frames": num_frames,
            "height": video.config.height,
            "width": video.config.width,
            "fps": video.config.fps,
            "things": [f"{thing.color} {thing.pattern} {thing.name}" for thing in video.things],
        },
        "tasks": records,
    }
    temporary = temporary_sibling(out / "results.json")
    temporary.write_text(json_line(content) + "\n", encoding="utf-8")
    os.replace(temporary, out / "results.json")
    print(out / "results.json", "  masks as COCO run lengths, and scores")
    return figures


def _write_overlay(path: Path, video: MovingShapesVideo, task: str, found: TaskRun) -> list[np.ndarray]:
    """Writes the video of a task; returns its frames."""
    drawn = []
    with VideoWriter(path, video.config.fps) as writer:
        for frame, result in zip(video.frames, found.results, strict=True):
            drawn.append(draw_frame(frame, final_result(task, _on_cpu(result), found.objects), task, TITLES[task]))
            writer.write(drawn[-1])
    return drawn


def _on_cpu(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in result.items()}


def _sheet_frames(num_frames: int) -> list[int]:
    return np.linspace(0, num_frames - 1, SHEET_COLUMNS).round().astype(int).tolist()


def _save_picture(path: Path, picture: np.ndarray) -> None:
    temporary = temporary_sibling(path)
    Image.fromarray(picture).save(temporary, format="PNG")
    os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; the exit status: 0, or 2 if something is missing or wrong, which is told in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder of the results")
    parser.add_argument("--model", default=PACKAGED_CHECKPOINTS[0], help="name or directory; default: %(default)s")
    parser.add_argument("--video", type=int, default=0, metavar="N", help="number in the split; default: %(default)s")
    parser.add_argument("--frames", type=int, default=24, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    # The model is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    try:
        run_demo(options.out, options.model, options.video, options.frames)
    except (OSError, TypeError, ValueError) as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 2
    print(f"Done in {time.monotonic() - started:.0f} s. The same video on the command line:")
    print(
        f"univs segment {options.out / 'clip.mp4'} --model {options.model} --task vos "
        f"--mask {options.out / 'first_frame.png'} --out {options.out / 'again.mp4'}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
