# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes `univs-tiny-shapes` on a small dataset in another style, and scores it before and after.

    python examples/finetune_letters.py [--out runs/letters] [--results examples/results]

    draw_letters.py -> folders of frames and palette masks -> univs prepare mask_folder -> Parquet rows
    univs-tiny-shapes -> J&F on the held-out letters -> training on the others -> J&F again

The task is video object segmentation: the masks of the first frame are given, the metric is J&F of DAVIS. Held-out
videos and their letters are in no training clip. What fine-tuning costs on the videos that the model came from is
scored as well, on moving shapes of the split `validation`.

The table is printed and written to `finetune_letters.md` and `finetune_letters.json`; `finetune_letters.jpg` shows
frames of held-out videos before, after, and as they should be. Options such as `--schedule.max_steps 100` change
`finetune_letters.yaml`. A run that was stopped goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from draw_letters import write_dataset
from PIL import Image

from univs_hf import UniVSForVideoSegmentation, UniVSProcessor
from univs_hf.cli import main as univs
from univs_hf.metrics import DavisMetric
from univs_hf.packaged_checkpoints import resolve_checkpoint
from univs_hf.training import load_config, train
from univs_hf.training.score_shapes import score_model
from univs_hf.video_writer import temporary_sibling
from univs_hf.visualization import contact_sheet, overlay_segmentation

HERE = Path(__file__).resolve().parent
NAME = "finetune_letters"
SHOWN_VIDEOS = 6


def prepare(out: Path, num_videos: dict[str, int], seed: int) -> Path:
    """Draws the dataset and converts its training part, where that is not done yet.

    Returns:
        The folder of the dataset.
    """
    folder = out / "letters"
    if not folder.is_dir():
        write_dataset(folder, num_videos, seed)
    if not (out / "rows" / "SHA256SUMS").is_file():
        command = ["prepare", "mask_folder", str(folder), str(out / "rows"), "--name", "letters", "--split", "train"]
        if univs([*command, "--quiet", "--on-damage", "fail"]):
            raise RuntimeError("`univs prepare` failed; what is wrong stands above.")
    return folder


def score_folder(model_name: str, folder: Path) -> tuple[dict[str, float], list[np.ndarray]]:
    """Scores video object segmentation on folders of frames and masks.

    Args:
        model_name: Directory, or name of a packaged checkpoint.
        folder: With `JPEGImages` and `Annotations`.

    Returns:
        J&F, J and F of DAVIS, fractions; and the last frame but one of some videos with what was found in it, each
        uint8 (height, width, 3).
    """
    model = UniVSForVideoSegmentation.from_pretrained(model_name, dtype=torch.float32).eval()
    processor = UniVSProcessor.from_pretrained(model_name)
    metric, pictures = DavisMetric(), []
    for video in sorted((folder / "JPEGImages").iterdir()):
        frames = read_pictures(video)
        truth = read_pictures(folder / "Annotations" / video.name)
        ids = np.unique(truth[0][truth[0] > 0]).tolist()
        session = processor.init_video_session(frames, task="vos")
        masks = np.stack([truth[0] == number for number in ids])
        processor.add_inputs_to_inference_session(session, 0, ids, input_masks=masks)
        with torch.no_grad():
            found = [result["segmentation"].numpy() for result in model.propagate_in_video_iterator(session)]
        metric.update(video.name, found, truth)
        if len(pictures) < SHOWN_VIDEOS:
            pictures.append(painted(frames[-2], found[-2]))
    figures = metric.compute()
    return {name: float(figures[f"{name}-Mean"]) for name in ("J&F", "J", "F")}, pictures


def read_pictures(folder: Path) -> list[np.ndarray]:
    """The pictures of a folder in order: uint8 (H, W, 3), or (H, W) of ids for palette images."""
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def painted(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The frame with coloured objects, twice as large."""
    large = np.asarray(Image.fromarray(frame).resize((2 * frame.shape[1], 2 * frame.shape[0])))
    return overlay_segmentation(large, labels.repeat(2, axis=0).repeat(2, axis=1), labels=False)


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| videos | figure | before | after | change |", "|---|---|---:|---:|---:|"]
    for videos, figures in report["figures"].items():
        for figure, values in figures.items():
            before, after = 100 * values["before"], 100 * values["after"]
            lines.append(f"| {videos} | {figure} | {before:.1f} | {after:.1f} | {after - before:+.1f} |")
    seconds = report["training_seconds"]
    about = (
        f"{report['train_videos']} training videos, {report['steps']} updates of {report['clips_per_update']} clips"
        f"{'' if seconds is None else f' in {seconds:.0f} s'}, one thread of a CPU; from `{report['start']}`."
    )
    return "\n".join([*lines, "", about, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example; the exit status: 0, or 2 if something is missing or wrong, which is told in one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=Path("runs/letters"), help="folder; default: %(default)s")
    parser.add_argument("--results", type=Path, help="folder of the table; default: that of --out")
    parser.add_argument("--train-videos", type=int, default=40, metavar="N", help="default: %(default)s")
    parser.add_argument("--held-out-videos", type=int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--shapes-videos", type=int, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the dataset; default: %(default)s")
    options, overrides = parser.parse_known_args(arguments)
    # The model is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    out, results = options.out, options.results or options.out
    paths = [f"--output_dir={out / 'training'}", f"--data.datasets.letters.path={out / 'rows'}"]
    try:
        config = load_config(HERE / f"{NAME}.yaml", [*paths, *overrides])
        start = config.model.start
        resolve_checkpoint(start)
        out.mkdir(parents=True, exist_ok=True)
        results.mkdir(parents=True, exist_ok=True)
        num_videos = {"train": options.train_videos, "held_out": options.held_out_videos}
        folder = prepare(out, num_videos, options.seed)
        began = time.monotonic()
        trained = train(config)
        seconds = time.monotonic() - began
        models = {"before": start, "after": str(trained.model_path)}
        scored = {when: score_folder(model, folder / "held_out") for when, model in models.items()}
        shapes = {
            when: score_model(model, "validation", options.shapes_videos, ["vos"]) for when, model in models.items()
        }
    except (OSError, TypeError, ValueError) as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 2
    report = {
        "start": start,
        "seed": options.seed,
        "train_videos": options.train_videos,
        "held_out_videos": options.held_out_videos,
        "shapes_videos": options.shapes_videos,
        "steps": trained.step,
        "clips_per_update": config.data.batch_size * config.optimizer.accumulation_steps,
        "learning_rate": config.optimizer.learning_rate,
        # A run that went on has taken longer than this call.
        "training_seconds": None if trained.resumed_from is not None else round(seconds, 1),
        "figures": {
            "held-out letters": {
                name: {when: figures[name] for when, (figures, _) in scored.items()} for name in ("J&F", "J", "F")
            },
            "moving shapes": {"J&F": {when: figures["vos/J&F"] for when, figures in shapes.items()}},
        },
    }
    text = table(report)
    _write(results / f"{NAME}.json", json.dumps(report, indent=1) + "\n")
    _write(results / f"{NAME}.md", text)
    _write_picture(results / f"{NAME}.jpg", folder / "held_out", {when: shown for when, (_, shown) in scored.items()})
    print(text)
    print(*(str(results / f"{NAME}{suffix}") for suffix in (".md", ".json", ".jpg")), sep="\n")
    return 0


def _write(path: Path, text: str) -> None:
    temporary = temporary_sibling(path)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _write_picture(path: Path, folder: Path, shown: dict[str, list[np.ndarray]]) -> None:
    """Rows: before, after, truth; columns: videos."""
    videos = sorted((folder / "JPEGImages").iterdir())[:SHOWN_VIDEOS]
    truth = [
        painted(read_pictures(video)[-2], read_pictures(folder / "Annotations" / video.name)[-2]) for video in videos
    ]
    rows = {**shown, "truth": truth}
    pictures = [picture for row in rows.values() for picture in row]
    captions = [name for name, row in rows.items() for _ in row]
    temporary = temporary_sibling(path)
    Image.fromarray(contact_sheet(pictures, columns=len(truth), captions=captions)).save(temporary, quality=90)
    os.replace(temporary, path)


if __name__ == "__main__":
    raise SystemExit(main())
