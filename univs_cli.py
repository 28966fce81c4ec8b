# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The command line `univs`: its options, and the call of what does the work.

Exit status: 0 done, 2 something about the command or its input is wrong (one line says what), 130 or 143 interrupted.
Nothing heavy is imported here: a command imports what it needs when it runs. That is why this module lies outside of
the package, whose import registers the model with transformers and takes seconds; `--help` takes a tenth of one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

TASKS = {
    "vis": "video instance segmentation: objects of the categories, each with an id",
    "vss": "video semantic segmentation: a category for every pixel",
    "vps": "video panoptic segmentation: both, without overlaps",
    "vos": "video object segmentation: objects given by masks, boxes or points",
    "pvos": "the same for a panoptic choice of objects: things and stuff",
    "refvos": "referring segmentation: what expressions describe",
}


class _LazyCommand(NamedTuple):
    """A command whose options are known to a module of the package.

    Attributes:
        module: Where they are.
        adder: Function there that adds the command.
        help: One line.
        reads_arguments: Whether the function looks at the arguments as well, to import only what they need.
    """

    module: str
    adder: str
    help: str
    reads_arguments: bool = False


_LAZY_COMMANDS = {
    "evaluate": _LazyCommand(
        "univs_hf.evaluation.evaluate_command",
        "add_evaluate_parser",
        "run a model on a benchmark, write the submission, score it",
        reads_arguments=True,
    ),
    "prepare": _LazyCommand(
        "univs_hf.data.prepare.prepare_command",
        "add_prepare_parser",
        "turn a dataset as it is downloaded into Parquet files of rows",
        reads_arguments=True,
    ),
    "shapes": _LazyCommand(
        "univs_hf.data.shapes_command",
        "add_shapes_parser",
        "draw videos of moving shapes with masks, categories and expressions",
    ),
    "convert": _LazyCommand(
        "univs_hf.convert_univs_checkpoint",
        "add_convert_parser",
        "convert an original checkpoint, or a Mask2Former of transformers as a start for training",
    ),
    "push-model": _LazyCommand(
        "univs_hf.publishing.push_commands",
        "add_push_model_parser",
        "upload a model with card, processor and code to the hub",
    ),
    "push-dataset": _LazyCommand(
        "univs_hf.publishing.push_commands",
        "add_push_dataset_parser",
        "upload a dataset that `univs prepare` made to the hub",
    ),
}


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command of `univs`.

    Args:
        argv (sequence of `str`, *optional*): Arguments without the program's name; by default those of the process.

    Returns:
        `int`: Exit status, see the module.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(arguments).parse_args(arguments)
    try:
        return args.func(args)
    except KeyboardInterrupt as interruption:
        reason = f"; {interruption}" if str(interruption) else ", nothing was written"
        print(f"univs {args.command}: interrupted{reason}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the lines has gone. Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"univs {args.command}: error: nobody reads the output any more", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"univs {args.command}: error: {message}", file=sys.stderr)
        return 2


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of all commands.

    Args:
        arguments (sequence of `str`, *optional*): What is going to be parsed. Options of the other
            commands are known to their modules, which take seconds to import, so they are there only if the command
            is.
    """
    parser = _Parser(prog="univs", description="UniVS: one model for six video segmentation tasks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=_Parser)
    add_segment_parser(commands)
    for name, command in _LAZY_COMMANDS.items():
        if name in arguments:
            add = getattr(import_module(command.module), command.adder)
            add(commands, arguments) if command.reads_arguments else add(commands)
        else:
            commands.add_parser(name, help=command.help)
    return parser


def add_segment_parser(commands: Any) -> None:
    """Adds `segment` to the commands."""
    parser = commands.add_parser(
        "segment",
        help="segment a video",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Segment a video and write an overlay video, masks and results.\n\ntasks:\n"
        + "\n".join(f"  {name:8}{text}" for name, text in TASKS.items()),
        epilog="""frames are numbered as in the input, from 0, in prompts and in results.

going on after an interruption:
  Ctrl-C or SIGTERM ends the run after the current step. What is finished appears as OUT.part.mp4, OUT.part.json and so
  on, and the state of the run is kept in the folder OUT.mp4.run. The same command with --resume goes on there: results
  of finished frames are kept, the rest is computed from the state that the session had, so that the outputs are those
  of a run without interruption (pictures are painted again from the kept results). After a crash or kill -9 it goes on
  at the last checkpoint.

examples:
  univs segment in.mp4 --model DIR --task vis --categories ytvis21 --out out.mp4
  univs segment in.mp4 --model DIR --task vss --categories "person, ice, goal" --png masks
  univs segment in.mp4 --model DIR --task vos --mask first.png --mask 37=later.png --out out.mp4
  univs segment in.mp4 --model DIR --task vos --box 20,10,200,180 --point 12=5:300,80 --sheet out.png
  univs segment in.mp4 --model DIR --task refvos --text "the red car" --text "a man" --json -
""",
    )
    parser.add_argument("video", help="video file, folder of frames, glob of frames ('in/*.jpg'), or image")
    parser.add_argument("--model", required=True, help="directory that save_pretrained wrote, or hub id")
    parser.add_argument("--task", required=True, metavar="TASK", help="what to segment: " + ", ".join(TASKS))

    what = parser.add_argument_group("what to segment")
    what.add_argument(
        "--categories",
        metavar="NAMES",
        help="vis, vss, vps, pvos: names separated by commas, or the name of a label set (coco_panoptic, ytvis19, "
        "ytvis21, ovis, vipseg, vspw, ade20k, lvis, ...); a single name ends with a comma; by default the model's own",
    )
    what.add_argument(
        "--stuff",
        metavar="NAMES",
        help="vps, pvos: which of the categories are stuff, separated by commas; by default what the label set says",
    )
    what.add_argument(
        "--object-category",
        action="append",
        default=[],
        metavar="ID=NAME",
        help="pvos: what an object is; stuff needs it; repeatable",
    )
    what.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="[FRAME=]PNG",
        help="vos, pvos: palette or grey image whose values are object ids, for the first frame or the frame named; "
        "repeatable, as the next three are",
    )
    what.add_argument(
        "--box", action="append", default=[], metavar="[FRAME=][ID:]X1,Y1,X2,Y2", help="vos, pvos: box in pixels"
    )
    what.add_argument(
        "--point", action="append", default=[], metavar="[FRAME=][ID:]X,Y", help="vos, pvos: point in pixels"
    )
    what.add_argument("--text", action="append", default=[], metavar="EXPRESSION", help="refvos: what to look for")
    what.add_argument(
        "--prompts",
        type=Path,
        metavar="JSON",
        help='vos, pvos, refvos: file with a list of such as {"frame": 0, "id": 1, "box": [20, 10, 200, 180]}; '
        'with "mask" (a path relative to the file), "point" or "text" in place of "box"',
    )

    part = parser.add_argument_group("which frames")
    part.add_argument("--start", type=int, default=0, metavar="N", help="first frame")
    part.add_argument("--end", type=int, metavar="N", help="stop before frame N")
    part.add_argument("--stride", type=int, default=1, metavar="N", help="take every N-th frame")
    part.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    part.add_argument(
        "--allow-truncated", action="store_true", help="process a file that breaks off up to there, with a warning"
    )

    output = parser.add_argument_group("outputs")
    output.add_argument(
        "--out", type=Path, help="overlay video (or image) to write; with the times and the sound of the input"
    )
    output.add_argument(
        "--json", metavar="FILE", help="results to write, - for lines on stdout (default: --out with the suffix .json)"
    )
    output.add_argument("--png", type=Path, metavar="FOLDER", help="palette PNG per frame, as DAVIS has them")
    output.add_argument("--sheet", type=Path, metavar="PNG", help="contact sheet of the overlay")
    output.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    output.add_argument("--fps", type=float, help="rate of the overlay (default: times of the input, else 24)")
    output.add_argument("--alpha", type=float, default=0.5, help="opacity of the overlay, 0 to 1")
    output.add_argument("--no-labels", action="store_true", help="write no names on the overlay")
    output.add_argument("--quiet", action="store_true", help="no progress bar; only warnings and errors are printed")

    run = parser.add_argument_group("how")
    run.add_argument("--resume", action="store_true", help="go on with an interrupted run, see below")
    run.add_argument(
        "--checkpoint", type=float, default=120.0, metavar="SECONDS", help="how often the state of the run is kept"
    )
    run.add_argument("--shortest-edge", type=int, metavar="PIXELS", help="short side of the model input")
    run.add_argument("--clip-length", type=int, metavar="N", help="frames that are decoded together")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other inference setting of UniVSConfig, such as new_object_interval=3; repeatable",
    )
    run.add_argument("--device", help="cpu, cuda, cuda:1, mps, ... (default: cuda where there is one)")
    run.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="number format of the model"
    )
    parser.set_defaults(func=_segment)


def _segment(args: argparse.Namespace) -> int:
    from univs_hf.segment_command import run_segment

    return run_segment(args)


if __name__ == "__main__":
    raise SystemExit(main())
