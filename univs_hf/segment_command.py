# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs segment`: a video through the model, and its results to files.

video -> frames -> session.step -> finished results -> run folder (to go on after an interruption)
                                                     -> outputs (overlay, PNGs, sheet, JSON)
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedConfig
from transformers.utils import logging as transformers_logging

from .clip_engine_univs import check_task
from .inference_univs import STREAM_SETTINGS, UniVSInferenceSession
from .label_sets import LabelSet, available_label_sets, load_label_set
from .modeling_univs import UniVSForVideoSegmentation
from .packaged_checkpoints import resolve_checkpoint
from .processing_univs import UniVSProcessor
from .results_io import ResultsWriter, decode_result, encode_result
from .run_folder import RunFolder
from .segment_outputs import (
    FinishedFrame,
    LinesOutput,
    Outputs,
    OverlayOutput,
    PaletteOutput,
    ResultsOutput,
    SheetOutput,
    remove_leftovers,
)
from .segment_prompts import Prompts, parse_mask, read_prompts
from .session_state import load_session, save_session
from .text_embeddings_univs import category_labels
from .video_io import IMAGE_SUFFIXES, VideoSource, open_video
from .video_writer import SoundSource, VideoWriter

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Tasks whose masks may overlap, so that their results are masks rather than a map.
_OVERLAPPING_TASKS = ("vis", "refvos")
_PROMPT_OPTIONS = {
    "vos": ("mask", "box", "point", "prompts"),
    "pvos": ("mask", "box", "point", "prompts", "categories", "stuff", "object_category"),
    "refvos": ("text", "prompts"),
    "vis": ("categories",),
    "vss": ("categories",),
    "vps": ("categories", "stuff"),
}
# What goes with prompts or categories and is none by itself.
_ATTRIBUTES = ("categories", "stuff", "object_category")


def run_segment(args: argparse.Namespace) -> int:
    """Runs `univs segment`; the options are described in `cli`.

    Returns:
        `int`: Exit status: 0, or 128 and the number of the signal that interrupted the run.

    Raises:
        ValueError, TypeError, OSError: If an argument or a file cannot be used; nothing is left behind then.
    """
    categories = _check_arguments(args)
    with ExitStack() as stack:
        interruptions = stack.enter_context(_Interruptions())
        video = stack.enter_context(
            open_video(
                args.video,
                fps=args.fps,
                max_frames=args.max_frames,
                start=args.start,
                stop=args.end,
                stride=args.stride,
                allow_truncated=args.allow_truncated,
            )
        )
        if not args.allow_truncated:
            video.check_complete()
        prompts = read_prompts(video, args.mask, args.box, args.point, args.text, args.prompts)
        _check_object_categories(args, prompts)
        folder = _run_folder(args, video, categories)
        # Made before the model is loaded, so that a path that cannot be written costs no time.
        outputs = stack.enter_context(_make_outputs(args, video))
        if args.quiet:
            transformers_logging.disable_progress_bar()
        model, processor = load_model(args.model, args.device, args.dtype)
        if args.resume and folder.has_state:
            session, values = load_session(folder.state_path, processor)
            begin = Progressed(**values)
        else:
            session = _new_session(args, model, processor, prompts, categories)
            begin = Progressed()
        interruptions.wait_for_step = True
        return _Run(args, video, folder, outputs, model, session).go(begin, interruptions)


@dataclass(frozen=True)
class Progressed:
    """How far a session has come.

    Attributes:
        given: Frames that the session has taken.
        finished: Results that it has given.
    """

    given: int = 0
    finished: int = 0


class _Run:
    """The loop over the frames, with checkpoints, interruptions and the progress bar."""

    def __init__(
        self,
        args: argparse.Namespace,
        video: VideoSource,
        folder: RunFolder | None,
        outputs: Outputs,
        model: UniVSForVideoSegmentation,
        session: UniVSInferenceSession,
    ):
        self.args = args
        self.video = video
        self.folder = folder
        self.outputs = outputs
        self.model = model
        self.session = session
        self.num_read = 0
        self.num_finished = 0
        # Frames on their way through the session: no more than a window of the task.
        self._waiting: deque[tuple[np.ndarray, Fraction | None]] = deque()
        self._last_checkpoint = time.monotonic()

    def go(self, begin: Progressed, interruptions: _Interruptions) -> int:
        """Runs from where the session is; returns the exit status."""
        if self.folder is not None:
            if begin.given:
                self.folder.resume(begin.finished)
            else:
                self.folder.begin()
        try:
            with _progress_bar(self.video, self.args.quiet, begin.finished) as advance:
                complete = self._run(begin, interruptions, advance)
            if not complete:
                return self._stop(interruptions.received[0], begin)
            self._finish()
        except KeyboardInterrupt:
            # The second one, which does not wait. What the last checkpoint has kept stays.
            if self.folder is not None:
                self.folder.close()
                raise KeyboardInterrupt(self._how_to_resume()) from None
            raise
        except BaseException:
            if self.folder is not None:
                self.folder.remove()
            raise
        return 0

    def _run(self, begin: Progressed, interruptions: _Interruptions, advance: Callable[[], None]) -> bool:
        """Gives all frames to the session; returns whether it came to the end."""
        info = self.video.info
        overlapping = self.args.task in _OVERLAPPING_TASKS
        records = self.folder.records(begin.finished) if begin.finished else iter(())
        for frame, when in self.video.timed_frames():
            index = self.num_read
            self.num_read += 1
            self._waiting.append((frame, when))
            if index < begin.finished:
                record = next(records)
                self._give_out(decode_result(record, (info.height, info.width), overlapping), record, is_new=False)
            elif index >= begin.given:
                self._take(self.session.step(self.model, frame), advance)
                if self.folder is not None and time.monotonic() - self._last_checkpoint > self.args.checkpoint:
                    self._checkpoint()
            if interruptions.received:
                return False
        self._take(self.session.finish(self.model), advance)
        return True

    def _take(self, results: list[dict[str, Any]], advance: Callable[[], None]) -> None:
        for result in results:
            kind = "masks" if "masks" in result else "segmentation"
            result = {
                **result,
                "frame_idx": self.video.source_index(result["frame_idx"]),
                kind: np.asarray(result[kind].cpu()),
            }
            record = encode_result(result)
            if self.folder is not None:
                self.folder.write(record)
            self._give_out(result, record, is_new=True)
            advance()

    def _give_out(self, result: dict[str, Any], record: dict[str, Any], is_new: bool) -> None:
        frame, when = self._waiting.popleft()
        has_clock = when is not None and self.args.fps is None
        self.outputs.write(
            FinishedFrame(
                name=self.video.frame_name(self.num_finished),
                frame=frame,
                time=when - self.video.start_time if has_clock else None,
                result=result,
                record=record,
                is_new=is_new,
            )
        )
        self.num_finished += 1

    def _checkpoint(self) -> None:
        self.folder.flush()
        save_session(self.folder.state_path, self.session, given=self.num_read, finished=self.num_finished)
        self._last_checkpoint = time.monotonic()

    def _stop(self, signal_number: int, begin: Progressed) -> int:
        """Keeps what is finished, says so, and returns the exit status."""
        message = f"univs segment: interrupted by {signal.Signals(signal_number).name}"
        if self.num_finished:
            parts = self.outputs.publish(complete=False)
            total = "" if self.video.info.num_frames is None else f" of {self.video.info.num_frames}"
            message += f"; the first {self.num_finished}{total} frames are done"
            if parts:
                message += ": " + ", ".join(str(part) for part in parts)
        else:
            message += " before a frame was done"
        if self.folder is not None:
            # While it catches up with results that are there already, the last checkpoint is still the newest.
            if self.num_read > begin.given:
                self._checkpoint()
            self.folder.close()
            message += f"; {self._how_to_resume()}"
        print(message, file=sys.stderr)
        return 128 + signal_number

    def _how_to_resume(self) -> str:
        return "give --resume to go on" if self.folder.has_state else "give --overwrite to begin again"

    def _finish(self) -> None:
        last = max(self.session.inputs, default=0)
        if last >= self.num_read:
            raise ValueError(
                f"A prompt lies on frame {self.video.source_index(last)}, but {self.video.info.name} ends with frame "
                f"{self.video.source_index(self.num_read - 1)}."
            )
        paths = self.outputs.publish(complete=True, objects=self.session.summary())
        if self.folder is not None:
            self.folder.remove()
        for note in self.outputs.notes():
            print(f"univs segment: note: {note}", file=sys.stderr)
        if self.video.truncated:
            print(f"univs segment: warning: {self.video.truncated}; what lies before is done", file=sys.stderr)
        if not self.args.quiet and paths:
            # Standard output belongs to the lines, where they were asked for.
            where = sys.stderr if self.args.json == "-" else sys.stdout
            print(f"{self.num_finished} frames: {', '.join(str(path) for path in paths)}", file=where)


def _check_arguments(args: argparse.Namespace) -> str | list[str] | None:
    """Checks what needs no file; returns the categories."""
    check_task(args.task)
    if all(value is None for value in (args.out, args.json, args.png, args.sheet)):
        raise ValueError("nothing to write: give --out, --json, --png or --sheet")
    if args.resume and all(value is None for value in (args.out, args.png, args.sheet)) and args.json == "-":
        raise ValueError("--resume needs an output file; there is nothing to go on with after --json - alone")
    _check_paths(args)
    if not 0 <= args.alpha <= 1:
        raise ValueError(f"--alpha must be in 0..1, got {args.alpha}")
    for option, value, least in (
        ("--clip-length", args.clip_length, 1),
        ("--shortest-edge", args.shortest_edge, 1),
        ("--max-frames", args.max_frames, 1),
        ("--start", args.start, 0),
        ("--end", args.end, args.start + 1),
        ("--stride", args.stride, 1),
        ("--checkpoint", args.checkpoint, 0),
    ):
        # The negated comparison also catches NaN.
        if value is not None and not value >= least:
            raise ValueError(f"{option} must be at least {least}, got {value}")
    fitting = _PROMPT_OPTIONS[args.task]
    for option in ("mask", "box", "point", "text", "prompts", *_ATTRIBUTES):
        if getattr(args, option) and option not in fitting:
            tasks = ", ".join(task for task, options in _PROMPT_OPTIONS.items() if option in options)
            name = option.replace("_", "-")
            raise ValueError(f"--{name} does not fit --task {args.task}; it is for {tasks}")
    for option in ("stuff", "object_category"):
        if getattr(args, option) and args.categories is None:
            raise ValueError(f"--{option.replace('_', '-')} needs --categories")
    prompts = [option for option in fitting if option not in _ATTRIBUTES]
    if prompts and not any(getattr(args, option) for option in prompts):
        options = [f"--{option}" for option in prompts]
        what = "an expression to look for" if args.task == "refvos" else "the objects to follow"
        raise ValueError(f"--task {args.task} needs {' or '.join([', '.join(options[:-1]), options[-1]])}: {what}")
    return _read_categories(args.categories, args.task)


def _check_paths(args: argparse.Namespace) -> None:
    """No output takes the place of another, or of what is read."""
    inputs = [Path(args.video), *(parse_mask(argument)[1] for argument in args.mask)]
    inputs += [] if args.prompts is None else [args.prompts]
    read = [path.absolute().resolve() for path in inputs]
    written: list[Path] = []
    for path in _output_paths(args):
        place = path.absolute().resolve()
        if place in read:
            raise ValueError(f"{path} is the input; the output must be another file")
        # The folder of PNGs is replaced as a whole.
        if any(path == args.png and place in other.parents for other in read):
            raise ValueError(f"--png {path} holds the input; the output must be another folder")
        for other in written:
            if place == other or place in other.parents or other in place.parents:
                raise ValueError(f"{path} and {other} cannot both be written")
        written.append(place)


def _check_object_categories(args: argparse.Namespace, prompts: Prompts) -> None:
    unknown = sorted(set(_object_categories(args)) - prompts.ids())
    if unknown:
        raise ValueError(f"--object-category names objects {unknown}; those with a prompt are {sorted(prompts.ids())}")


def _read_categories(text: str | None, task: str) -> str | list[str] | None:
    if text is None:
        return None
    if "," not in text:
        try:
            load_label_set(text)
        except ValueError as error:
            raise ValueError(
                f"--categories: there is no label set '{text}'; label sets are {', '.join(available_label_sets())}; "
                f"names are separated by commas, and a single one ends with a comma ('{text},')"
            ) from error
        return text
    names = [name.strip() for name in text.split(",") if name.strip()]
    least = 2 if task == "vss" else 1
    if len(names) < least or len(set(names)) < len(names):
        raise ValueError(f"--categories must name at least {least} different categories for {task}, got '{text}'")
    return names


def _thing_flags(args: argparse.Namespace, categories: str | LabelSet | list[str]) -> list[bool] | None:
    """Which categories are things, where `--stuff` says so."""
    if args.stuff is None:
        return None
    labels = category_labels(categories)
    stuff = [name.strip() for name in args.stuff.split(",") if name.strip()]
    unknown = [name for name in stuff if name not in labels]
    if unknown:
        raise ValueError(f"--stuff names {unknown}, which are none of the --categories")
    return [label not in stuff for label in labels]


def _object_categories(args: argparse.Namespace) -> dict[int, str]:
    """Object id to category name, from `--object-category`."""
    categories = {}
    for argument in args.object_category:
        number, separator, name = argument.partition("=")
        if not separator or not number.strip().isdigit() or not name.strip():
            raise ValueError(f"--object-category must be ID=NAME, got '{argument}'")
        categories[int(number)] = name.strip()
    return categories


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for assignment in args.set:
        name, separator, value = assignment.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"--set must be NAME=VALUE, got '{assignment}'")
        try:
            settings[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            # A word, such as sep-blocked.
            settings[name.strip()] = value
    if args.clip_length is not None:
        settings["num_frames"] = args.clip_length
    if args.shortest_edge is not None:
        settings["shortest_edge"] = args.shortest_edge
    return settings


def _new_session(
    args: argparse.Namespace,
    model: UniVSForVideoSegmentation,
    processor: UniVSProcessor,
    prompts: Prompts,
    categories: str | LabelSet | list[str] | None,
) -> UniVSInferenceSession:
    settings = _settings(args)
    # A stream's session bounds the number of objects; a file is segmented as the configuration says.
    config = model.config.for_task(args.task, **settings)
    settings = {**{name: getattr(config, name) for name in STREAM_SETTINGS}, **settings}
    session = processor.init_video_session(task=args.task, **settings)
    if categories is not None:
        processor.set_categories(session, categories, _thing_flags(args, categories))
    if args.object_category:
        session.set_object_categories(_object_categories(args))
    for frame, kinds in sorted(prompts.visual.items()):
        for kind, objects in kinds.items():
            values = {"mask": "input_masks", "box": "input_boxes", "point": "input_points"}[kind]
            stacked = np.stack([np.asarray(value) for value in objects.values()])
            processor.add_inputs_to_inference_session(session, frame, list(objects), **{values: stacked})
    if prompts.expressions:
        processor.add_text_prompt(session, list(prompts.expressions.values()), list(prompts.expressions))
    return session


def _run_folder(args: argparse.Namespace, video: VideoSource, categories: str | list[str] | None) -> RunFolder | None:
    """The folder of the run beside its first output; `None` if nothing is written to the disk."""
    paths = _output_paths(args)
    if not paths:
        return None
    first = paths[0]
    if not first.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder {first.parent} of the output {first.name} does not exist.")
    request = {
        "video": str(Path(args.video).absolute()),
        "size": f"{video.info.width}x{video.info.height}",
        "model": args.model,
        "dtype": args.dtype,
        "task": args.task,
        "categories": categories,
        "stuff": args.stuff,
        "object_category": args.object_category,
        "settings": _settings(args),
        **{name: getattr(args, name) for name in ("start", "end", "stride", "max_frames")},
        **{name: getattr(args, name) for name in ("mask", "box", "point", "text")},
        "prompts": None if args.prompts is None else str(args.prompts),
    }
    folder = RunFolder(first.with_name(f"{first.name}.run"), request)
    folder.check(args.resume, args.overwrite)
    if folder.path.exists():
        for path in _output_paths(args):
            remove_leftovers(path)
    return folder


def _json_path(args: argparse.Namespace) -> Path | None:
    """The results file: the one asked for, else the one beside the overlay."""
    if args.json is not None:
        return None if args.json == "-" else Path(args.json)
    return None if args.out is None else args.out.with_suffix(".json")


def _output_paths(args: argparse.Namespace) -> list[Path]:
    """Everything that is to appear on the disk; the first gives its name to the folder of the run."""
    return [path for path in (args.out, _json_path(args), args.png, args.sheet) if path is not None]


def _make_outputs(args: argparse.Namespace, video: VideoSource) -> Outputs:
    info = video.info
    outputs = Outputs()
    background = None if args.task == "vss" else 0
    labels = not args.no_labels
    try:
        json_path = _json_path(args)
        if args.json == "-":
            outputs.add(LinesOutput(sys.stdout))
        elif json_path is not None:
            header = {
                "video": info.name,
                "height": info.height,
                "width": info.width,
                "fps": float(info.fps),
                "task": args.task,
                "model": args.model,
            }
            outputs.add(ResultsOutput(ResultsWriter(json_path, header, args.overwrite)))
        if args.out is not None:
            is_image = args.out.suffix.lower() in IMAGE_SUFFIXES
            if is_image and info.num_frames != 1:
                raise ValueError(
                    f"{args.out} is an image, but {info.name} is a video; give a video suffix such as .mp4."
                )
            sound = None
            if video.path is not None and args.fps is None and not is_image:
                to_end = args.end is None and args.max_frames is None
                sound = SoundSource(video.path, video.start_time or Fraction(0), to_end)
            outputs.add(
                OverlayOutput(VideoWriter(args.out, info.fps, args.overwrite, sound), background, args.alpha, labels)
            )
        if args.png is not None:
            outputs.add(PaletteOutput(args.png, args.overwrite))
        if args.sheet is not None:
            outputs.add(SheetOutput(args.sheet, args.overwrite, background, args.alpha, labels))
    except BaseException:
        outputs.__exit__()
        raise
    return outputs


class _Interruptions:
    """Makes Ctrl-C and the request to terminate (SIGTERM) end a run in an orderly way.

    As a context manager. Before the first step both raise `KeyboardInterrupt` at once. With `wait_for_step` the first
    is only noted, so that the step can be finished and its state kept, and the second raises.

    Attributes:
        received: Numbers of the signals so far.
        wait_for_step: See above.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.wait_for_step = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interruptions:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        except ValueError:
            # Outside of the main thread Python handles no signals; whoever runs this there takes care of them.
            pass
        return self

    def _note(self, number: int, frame: Any) -> None:
        self.received.append(number)
        if not self.wait_for_step or len(self.received) > 1:
            raise KeyboardInterrupt

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_bar(video: VideoSource, quiet: bool, begin: int) -> Iterator[Callable[[], None]]:
    """A bar with the rate of this run; yields what moves it by a frame."""
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
        bar = progress.add_task(Path(video.info.name).name, total=video.info.num_frames, completed=begin, rate="")
        started, count = time.monotonic(), 0

        def advance() -> None:
            nonlocal count
            count += 1
            # Results come in bursts, a clip at a time, so the rate is that of the whole run so far.
            rate = count / max(time.monotonic() - started, 1e-6)
            progress.update(bar, advance=1, rate=f"{rate:.2f} frames/s")

        yield advance


def load_model(
    name: str, device: str | None = None, dtype: str = "float32"
) -> tuple[UniVSForVideoSegmentation, UniVSProcessor]:
    """Loads a model and its processor.

    Args:
        name (`str`): Directory that `save_pretrained` wrote, name of a packaged checkpoint, or hub id.
        device (`str`, *optional*): Where to put the model; by default a GPU if there is one.
        dtype (`str`, *optional*, defaults to `"float32"`): Number format, one of `DTYPES`.

    Raises:
        ValueError: If the device does not exist here, or the directory holds another kind of model.
        OSError: If there is no such directory or model.
    """
    name = resolve_checkpoint(name)
    is_path = Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    if is_path and not Path(name).is_dir():
        raise FileNotFoundError(f"--model {name}: there is no such directory.")
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
