# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The command line `univs`: a thin call of the package.

Exit status: 0 done, 2 something about the command or its input is wrong (one line says what), 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedConfig
from transformers.utils import logging as transformers_logging

from .clip_engine_univs import TASKS
from .inference_univs import label_map_to_masks, propagate
from .label_sets import available_label_sets, is_label_set
from .modeling_univs import UniVSForVideoSegmentation
from .processing_univs import UniVSProcessor
from .results_io import ResultsWriter
from .video_io import IMAGE_SUFFIXES, VideoInfo, open_video
from .video_writer import VideoWriter
from .visualization import overlay_segmentation

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Mask PNGs are sometimes a pixel off the frames they belong to (854 and 853 columns in DAVIS-like sets).
ASPECT_TOLERANCE = 0.01


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command of `univs`.

    Args:
        argv (sequence of `str`, *optional*): Arguments without the program's name; by default those of the process.

    Returns:
        `int`: Exit status, see the module.
    """
    args = build_parser().parse_args(argv)
    try:
        return args.func(args)
    except KeyboardInterrupt:
        print(f"univs {args.command}: interrupted, nothing was written", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"univs {args.command}: error: {message}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    # The converter is needed by one command only.
    from .convert_univs_checkpoint import add_convert_parser

    parser = argparse.ArgumentParser(prog="univs", description="UniVS: one model for six video segmentation tasks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    add_segment_parser(commands)
    add_convert_parser(commands)
    return parser


def add_segment_parser(commands: Any) -> None:
    """Adds `segment` to the commands."""
    parser = commands.add_parser(
        "segment",
        help="segment a video",
        description="Segment a video and write an overlay video and a results file.",
        epilog="Example: univs segment judo.mp4 --model DIR --task vos --mask first.png --out judo-out.mp4",
    )
    parser.add_argument("video", help="video file, folder of frames, or image")
    parser.add_argument("--model", required=True, help="directory that save_pretrained wrote, or hub id")
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="what to segment")
    parser.add_argument(
        "--categories",
        metavar="NAMES",
        help="vss: names separated by commas, or a label set (" + ", ".join(available_label_sets()) + "); "
        "by default the model's own",
    )
    parser.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="[FRAME=]PNG",
        help="vos: palette or grey image whose values are object ids, for frame 0 or the frame named; repeatable",
    )
    parser.add_argument("--out", type=Path, help="overlay video (or image) to write")
    parser.add_argument("--json", type=Path, help="results file to write (default: --out with the suffix .json)")
    parser.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--fps", type=float, help="frames per second of the output (default: those of the input)")
    parser.add_argument("--shortest-edge", type=int, metavar="PIXELS", help="short side of the model input")
    parser.add_argument("--clip-length", type=int, metavar="N", help="frames that are decoded together")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps, ... (default: cuda where there is one)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="number format of the model")
    parser.add_argument("--alpha", type=float, default=0.5, help="opacity of the overlay, 0 to 1")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(func=run_segment)


def run_segment(args: argparse.Namespace) -> int:
    """Runs `univs segment`.

    Raises:
        ValueError, TypeError, OSError: If an argument or a file cannot be used; nothing has been written then.
    """
    categories = _check_arguments(args)
    json_path = args.json or args.out.with_suffix(".json")
    with open_video(args.video, fps=args.fps, max_frames=args.max_frames) as video:
        info = video.info
        if args.out is not None and args.out.suffix.lower() in IMAGE_SUFFIXES and info.num_frames != 1:
            raise ValueError(f"{args.out} is an image, but {info.name} is a video; give a video suffix such as .mp4.")
        prompts = _read_masks(args.mask, info)
        with ExitStack() as outputs:
            # Opened before the model is loaded, so that a path that cannot be written costs no time.
            overlay = outputs.enter_context(VideoWriter(args.out, info.fps, args.overwrite)) if args.out else None
            header = {
                "video": info.name,
                "height": info.height,
                "width": info.width,
                "fps": float(info.fps),
                "task": args.task,
                "model": args.model,
            }
            writer = outputs.enter_context(ResultsWriter(json_path, header, args.overwrite))
            if args.quiet:
                transformers_logging.disable_progress_bar()
            model, processor = load_model(args.model, args.device, args.dtype)
            settings: dict[str, Any] = {}
            if args.clip_length is not None:
                settings["num_frames"] = args.clip_length
            if args.shortest_edge is not None:
                size = {**dict(processor.image_processor.size), "shortest_edge": args.shortest_edge}
                processor.image_processor.size = type(processor.image_processor.size)(**size)
            recent: deque[np.ndarray] = deque()
            results = propagate(
                model,
                processor,
                _remember(video, recent),
                args.task,
                prompts=prompts or None,
                categories=categories,
                **settings,
            )
            for result in _with_progress(results, info, args.quiet):
                frame = recent.popleft()
                writer.write(result)
                if overlay is not None:
                    background = None if args.task == "vss" else 0
                    segmentation = result["segmentation"].numpy()
                    overlay.write(
                        overlay_segmentation(frame, segmentation, result["segments_info"], background, args.alpha)
                    )
    if info.num_frames is not None and writer.num_frames < info.num_frames:
        print(
            f"univs: note: {info.name} declares {info.num_frames} frames, but only {writer.num_frames} could be read",
            file=sys.stderr,
        )
    written = " and ".join(str(path) for path in (args.out, json_path) if path is not None)
    print(f"{writer.num_frames} frames: {written}")
    return 0


def _check_arguments(args: argparse.Namespace) -> str | list[str] | None:
    if args.out is None and args.json is None:
        raise ValueError("nothing to write: give --out, --json or both")
    if not 0 <= args.alpha <= 1:
        raise ValueError(f"--alpha must be in 0..1, got {args.alpha}")
    for option, value in (("--clip-length", args.clip_length), ("--shortest-edge", args.shortest_edge)):
        if value is not None and value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
    if args.task != "vos" and args.mask:
        raise ValueError(f"--mask does not fit --task {args.task}; it is for vos")
    if args.task == "vos" and not args.mask:
        raise ValueError("--task vos needs --mask, the objects to follow")
    if args.task != "vss" and args.categories is not None:
        raise ValueError(f"--categories does not fit --task {args.task}; it is for vss")
    if args.categories is None or is_label_set(args.categories):
        return args.categories
    names = [name.strip() for name in args.categories.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"--categories must name at least two different categories separated by commas, or a label set "
            f"({', '.join(available_label_sets())}); got '{args.categories}'"
        )
    return names


def load_model(
    name: str, device: str | None = None, dtype: str = "float32"
) -> tuple[UniVSForVideoSegmentation, UniVSProcessor]:
    """Loads a model and its processor.

    Args:
        name (`str`): Directory that `save_pretrained` wrote, or hub id.
        device (`str`, *optional*): Where to put the model; by default a GPU if there is one.
        dtype (`str`, *optional*, defaults to `"float32"`): Number format, one of `DTYPES`.

    Raises:
        ValueError: If the device does not exist here, or the directory holds another kind of model.
        OSError: If there is no such directory or model.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(f"--model {name} holds no config.json; it is no directory of save_pretrained.")
    model_type = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
    if model_type != UniVSForVideoSegmentation.config_class.model_type:
        raise ValueError(f"--model {name} is of type '{model_type}', not a UniVS.")
    model = UniVSForVideoSegmentation.from_pretrained(name, dtype=DTYPES[dtype])
    return model.eval().to(device), UniVSProcessor.from_pretrained(name)


def _read_masks(arguments: Sequence[str], info: VideoInfo) -> dict[int, dict[int, np.ndarray]]:
    """Reads `[FRAME=]PNG` arguments to masks (height, width) per frame and object id."""
    prompts: dict[int, dict[int, np.ndarray]] = {}
    for argument in arguments:
        number, separator, rest = argument.partition("=")
        has_number = bool(separator) and number.isdigit()
        frame_idx, path = (int(number), Path(rest)) if has_number else (0, Path(argument))
        if frame_idx in prompts:
            raise ValueError(f"--mask names frame {frame_idx} twice")
        if info.num_frames is not None and frame_idx >= info.num_frames:
            raise ValueError(f"--mask {argument}: the video has frames 0 to {info.num_frames - 1}")
        prompts[frame_idx] = label_map_to_masks(read_label_map(path, (info.height, info.width)))
    return prompts


def read_label_map(path: Path, frame_size: tuple[int, int]) -> np.ndarray:
    """Reads an image whose pixel values are object ids.

    Args:
        path (`Path`): Palette or grey image. In a grey image with the values 0 and 255 only, 255 means object 1.
        frame_size (`tuple[int, int]`): (height, width) of the frames. A map of the same shape but another size is
            resized by nearest neighbour.

    Returns:
        `np.ndarray` of shape (height, width), dtype int32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image, has colours in place of ids, or is of another shape than the frames.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such mask image: {path}")
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "P", "L", "I", "I;16"):
                raise ValueError(
                    f"The mask {path} is a {image.mode} image; accepted are palette and grey images whose values are "
                    "object ids."
                )
            image.load()
            height, width = frame_size
            if image.size != (width, height):
                if abs(image.width * height / (image.height * width) - 1) > ASPECT_TOLERANCE:
                    raise ValueError(
                        f"The mask {path} is {image.width}x{image.height}, which does not fit frames of "
                        f"{width}x{height}."
                    )
                print(
                    f"univs: note: the mask {path} is resized from {image.width}x{image.height} to {width}x{height}",
                    file=sys.stderr,
                )
                image = image.resize((width, height), Image.Resampling.NEAREST)
            label_map = np.asarray(image).astype(np.int32)
            is_grey = image.mode == "L"
    except (UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f"The mask {path} is no image that can be read: {error}") from error
    if is_grey and set(np.unique(label_map).tolist()) <= {0, 255}:
        label_map = (label_map > 0).astype(np.int32)
    if not label_map.any():
        raise ValueError(f"The mask {path} holds no object: all its pixels are 0.")
    return label_map


def _remember(frames: Iterable[np.ndarray], recent: deque[np.ndarray]) -> Iterator[np.ndarray]:
    """Passes frames on and keeps them until their result has come; no more than a clip of them waits."""
    for frame in frames:
        recent.append(frame)
        yield frame


def _with_progress(results: Iterator[dict[str, Any]], info: VideoInfo, quiet: bool) -> Iterator[dict[str, Any]]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with progress:
        bar = progress.add_task(Path(info.name).name, total=info.num_frames, rate="")
        for result in results:
            yield result
            progress.advance(bar)
            # Results come in bursts, a clip at a time, so the rate is that of the whole run so far.
            state = progress.tasks[bar]
            progress.update(bar, rate=f"{state.completed / state.elapsed:.2f} frames/s" if state.elapsed else "")


if __name__ == "__main__":
    sys.exit(main())
