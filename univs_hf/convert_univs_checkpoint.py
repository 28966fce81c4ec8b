# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Converts the original UniVS checkpoints to `save_pretrained` directories, and back to the original's key names.

    original.pth [+ text tower] [+ category table] --map names--> state dict --check every key--> directory

Tensors stay memory-mapped and are mapped as views, so that a conversion needs little more memory than the pages of the
files it reads.
"""

import argparse
import copy
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextModelWithProjection

from .configuration_univs import UniVSConfig
from .convert_files import check_output_directory, read_tensors, write_pretrained
from .convert_key_map import (
    DROPPED_ORIGINAL,
    DROPPED_TEXT_TOWER,
    ORIGINAL_ALIASES,
    TEXT_TOWER_PREFIX,
    KeyRule,
    checkpoint_rules,
    generated_tensor,
    recognise_backbone,
    text_tower_rules,
)
from .convert_to_original import (
    export_original_state_dict,
    export_text_tower_state_dict,
    write_original_checkpoint,
)
from .convert_tokenizer import DEFAULT_TOKENIZER, build_clip_tokenizer, load_clip_tokenizer

# Rows of the published category table: all label sets one after the other (specification A.3.6).
NUM_CATEGORY_EMBEDDINGS = 3938

WEIGHTS = ("student", "teacher")
DTYPES = ("float32", "float16", "bfloat16")

_TEXT_ENCODER = "model.text_encoder."
_TABLE = "category_embeddings"
_TEACHER_KEY = re.compile(r"(backbone|sem_seg_head)_t\.")
_STUDENT_KEY = re.compile(r"(backbone|sem_seg_head)\.")


@dataclass
class ConversionReport:
    """What became of every tensor of a conversion.

    Attributes:
        source: What was converted, for people.
        mapped: Keys of the source whose values went into the model.
        dropped: Keys of the source that the model does not use.
        generated: Tensors of the model with a fixed neutral value that no output depends on.
        fresh: Tensors of the model that were initialised at random.
        notes: Anything else worth knowing, one sentence each.
    """

    source: str
    mapped: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    generated: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.mapped)} tensors mapped"]
        for title, keys in (
            ("not used by the model", self.dropped),
            ("set to a neutral value (no output depends on them)", self.generated),
            ("initialised at random", self.fresh),
        ):
            if keys:
                lines.append(f"  {len(keys)} {title}: {_summary(keys)}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


class KeyProblems:
    """Collects everything that is wrong with the keys of a file, to be raised as one error."""

    def __init__(self, what: str):
        self.what = what
        self.unexpected: list[str] = []
        self.missing: list[str] = []
        self.mismatched: list[str] = []

    def raise_if_any(self) -> None:
        """
        Raises:
            ValueError: Lists every unexpected, missing and mis-shaped key.
        """
        lines = []
        for title, entries in (
            ("unexpected", self.unexpected),
            ("missing", self.missing),
            ("of the wrong shape or type", self.mismatched),
        ):
            if entries:
                lines.append(f"{len(entries)} key{'s' if len(entries) > 1 else ''} {title}:")
                lines += [f"  {entry}" for entry in entries]
        if lines:
            raise ValueError("\n".join([f"{self.what} cannot be converted, and nothing was written.", *lines]))


def _summary(keys: Iterable[str]) -> str:
    """Modules that the keys belong to, numbers left out: `model.decoder.layers.*.prompt_attn (72)`."""
    groups: dict[str, int] = {}
    for key in keys:
        parts = ["*" if part.isdigit() else part for part in key.split(".")]
        group = ".".join(parts[:-1][:5]) or key
        groups[group] = groups.get(group, 0) + 1
    return ", ".join(f"{name} ({count})" for name, count in groups.items())


def expected_tensors(config: UniVSConfig) -> dict[str, torch.Tensor]:
    """Every tensor of the model of a configuration, on the meta device (names, shapes and types without memory)."""
    from .modeling_univs import UniVSForVideoSegmentation

    with torch.device("meta"):
        return dict(UniVSForVideoSegmentation(config).state_dict())


def apply_rules(
    source: Mapping[str, torch.Tensor],
    rules: Iterable[KeyRule],
    expected: Mapping[str, torch.Tensor],
    problems: KeyProblems,
    describe: str = "{}",
) -> dict[str, torch.Tensor]:
    """Maps the tensors of a source by rules and notes everything that does not fit.

    Args:
        source: Original key -> tensor; every key must have a rule.
        rules: One per tensor that the source must hold.
        expected: Our key -> tensor of the expected shape (any device).
        problems: Is added to.
        describe: How an original key is named in messages.

    Returns:
        Our key -> tensor, views of the source's tensors where possible.
    """
    result: dict[str, torch.Tensor] = {}
    known = set()
    for rule in rules:
        known.add(rule.original)
        shape = rule.transform.original_shape([tuple(expected[target].shape) for target in rule.targets])
        tensor = source.get(rule.original)
        name = describe.format(rule.original)
        if tensor is None:
            problems.missing.append(f"{name} {list(shape)}")
        elif not isinstance(tensor, torch.Tensor):
            problems.mismatched.append(f"{name}: expected a tensor, got {type(tensor).__name__}")
        elif tuple(tensor.shape) != shape:
            problems.mismatched.append(f"{name}: expected {list(shape)}, got {list(tensor.shape)}")
        elif not tensor.is_floating_point():
            problems.mismatched.append(f"{name}: expected floating-point numbers, got {tensor.dtype}")
        else:
            parts = rule.transform.forward(tensor, len(rule.targets))
            result.update(zip(rule.targets, parts, strict=True))
    problems.unexpected += [describe.format(key) for key in source if key not in known]
    return result


def select_weights(
    original: Mapping[str, torch.Tensor], weights: str, report: ConversionReport, problems: KeyProblems
) -> dict[str, torch.Tensor]:
    """The network's own tensors of an original checkpoint, under today's names of the student.

    Args:
        original: All tensors of the checkpoint.
        weights: `"student"` or `"teacher"` (the moving average; its keys are `backbone_t.*`, `sem_seg_head_t.*`).
        report: Its `dropped` is added to.
        problems: Is added to where an old and a new name of one tensor occur together.

    Raises:
        ValueError: The teacher is asked for and there is none.
    """
    has_teacher = any(_TEACHER_KEY.match(key) for key in original)
    if weights == "teacher" and not has_teacher:
        raise ValueError(
            "`weights` is 'teacher', but the checkpoint has no teacher (no key starts with `backbone_t.` or "
            "`sem_seg_head_t.`). Use 'student'."
        )
    unwanted = _STUDENT_KEY if weights == "teacher" else _TEACHER_KEY
    selected: dict[str, torch.Tensor] = {}
    for key, tensor in original.items():
        name = _TEACHER_KEY.sub(r"\1.", key) if weights == "teacher" else key
        name = ORIGINAL_ALIASES.get(name, name)
        if unwanted.match(key) or any(pattern.fullmatch(name) for pattern in DROPPED_ORIGINAL):
            report.dropped.append(key)
        elif name in selected:
            problems.unexpected.append(f"{key} (a second name of {name})")
        else:
            selected[name] = tensor
            report.mapped.append(key)
    if has_teacher:
        report.notes.append(f"the checkpoint holds student and teacher weights, taken: {weights}")
    return selected


def map_text_tower(
    text_state_dict: Mapping[str, torch.Tensor],
    config: UniVSConfig,
    expected: Mapping[str, torch.Tensor],
    report: ConversionReport,
    problems: KeyProblems,
) -> dict[str, torch.Tensor]:
    """Maps the text tower of a CLIP or RegionCLIP file; see [`apply_rules`] and [`convert_state_dict`]."""
    prefix = TEXT_TOWER_PREFIX if any(key.startswith(TEXT_TOWER_PREFIX) for key in text_state_dict) else ""
    tower: dict[str, torch.Tensor] = {}
    for key, tensor in text_state_dict.items():
        name = key.removeprefix(prefix)
        is_other_module = not key.startswith(prefix)
        if is_other_module or any(pattern.fullmatch(name) for pattern in DROPPED_TEXT_TOWER):
            report.dropped.append(key)
        else:
            tower[name] = tensor
            report.mapped.append(key)
    return apply_rules(tower, text_tower_rules(config), expected, problems, describe=prefix + "{} (text tower)")


def check_category_table(category_table: Any, num_rows: int, width: int) -> torch.Tensor:
    """The category table as one tensor.

    Args:
        category_table: Tensor (num_rows, width), or a dict with just that tensor.
        num_rows: Categories that are expected.
        width: Of the text tower's embeddings.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(category_table, Mapping) and len(category_table) == 1:
        category_table = next(iter(category_table.values()))
    found = type(category_table).__name__
    if isinstance(category_table, torch.Tensor):
        if tuple(category_table.shape) == (num_rows, width) and category_table.is_floating_point():
            return category_table
        found = f"{list(category_table.shape)} of {category_table.dtype}"
    raise ValueError(
        f"`category_table` must be one floating-point tensor of shape {[num_rows, width]} (all label sets one after "
        f"the other, width of the text tower), got {found}."
    )


def _check_choice(name: str, value: Any, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ValueError(f"`{name}` must be one of {list(accepted)}, got {value!r}.")


def check_dtype(dtype: str) -> None:
    """
    Raises:
        ValueError: It is none of `DTYPES`.
    """
    _check_choice("dtype", dtype, DTYPES)


def cast_state_dict(state_dict: Mapping[str, torch.Tensor], dtype: str) -> dict[str, torch.Tensor]:
    """Floating-point tensors in the wanted type; those that have it already are not copied."""
    target = getattr(torch, dtype)
    return {key: value.to(target) if value.is_floating_point() else value for key, value in state_dict.items()}


def _convert(
    original: Mapping[str, torch.Tensor],
    text_state_dict: Mapping[str, torch.Tensor] | None,
    category_table: Any,
    weights: str,
    config: UniVSConfig | None,
    dtype: str,
) -> tuple[dict[str, torch.Tensor], UniVSConfig, ConversionReport]:
    _check_choice("weights", weights, WEIGHTS)
    check_dtype(dtype)
    for name, value in (("original", original), ("text_state_dict", text_state_dict)):
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f"`{name}` must be a dict of tensors, got {type(value).__name__}.")
    problems = KeyProblems("The checkpoint")
    report = ConversionReport("original checkpoint")
    selected = select_weights(original, weights, report, problems)

    rows = NUM_CATEGORY_EMBEDDINGS if config is None else config.num_category_embeddings or NUM_CATEGORY_EMBEDDINGS
    num_category_embeddings = 0 if category_table is None else rows
    if config is None:
        preset = recognise_backbone(selected)
        config = UniVSConfig.from_preset(preset, num_category_embeddings=num_category_embeddings)
        report.source += f" with backbone {preset}"
    else:
        config = copy.deepcopy(config)
        config.num_category_embeddings = num_category_embeddings

    expected = expected_tensors(config)
    state_dict = apply_rules(selected, checkpoint_rules(config), expected, problems)
    if text_state_dict is not None:
        state_dict.update(map_text_tower(text_state_dict, config, expected, report, problems))
    problems.raise_if_any()
    if category_table is not None:
        state_dict[_TABLE] = check_category_table(category_table, rows, config.text_config.projection_dim)
        report.mapped.append("category table")
    for key, tensor in expected.items():
        if key not in state_dict and (neutral := generated_tensor(key, tuple(tensor.shape))) is not None:
            state_dict[key] = neutral
            report.generated.append(key)
    left = [key for key in expected if key not in state_dict and not key.startswith(_TEXT_ENCODER)]
    if left:
        raise RuntimeError(f"The key map does not reach these tensors of the model: {left}")
    config.architectures = ["UniVSForVideoSegmentation"]
    config.dtype = dtype
    return cast_state_dict(state_dict, dtype), config, report


def convert_state_dict(
    original: Mapping[str, torch.Tensor],
    text_state_dict: Mapping[str, torch.Tensor] | None = None,
    category_table: torch.Tensor | None = None,
    *,
    weights: str = "student",
    config: UniVSConfig | None = None,
    dtype: str = "float32",
) -> tuple[dict[str, torch.Tensor], UniVSConfig]:
    """Converts the tensors of an original checkpoint.

    Args:
        original: The checkpoint's `model` dict. Besides the network it may hold a teacher, `criterion.*`, pixel mean
            and std and the Swin index buffers, which are left out.
        text_state_dict: The CLIP or RegionCLIP RN50x4 text tower, bare or with the prefix `lang_encoder.` (then
            everything without it is left out, as is CLIP's `visual.*`).
        category_table: (3938, 640), the precomputed category embeddings.
        weights: `"student"`, or `"teacher"` for the moving average of training checkpoints.
        config: For models that are none of the four released ones (those are recognised by themselves). Its
            `num_category_embeddings`, if not 0, says how many rows `category_table` must have.
        dtype: `"float32"`, `"float16"` or `"bfloat16"`, the type of all floating-point tensors.

    Returns:
        State dict of `UniVSForVideoSegmentation` (without `model.text_encoder.*` where no `text_state_dict` is given)
        and its configuration. Tensors share memory with the input where type and layout allow.

    Raises:
        ValueError: A key is unexpected, missing or mis-shaped (all are listed), the backbone is not known, the teacher
            is asked for and absent, the category table has another shape.
        TypeError: `original` or `text_state_dict` is not a dict.
    """
    state_dict, config, _ = _convert(original, text_state_dict, category_table, weights, config, dtype)
    return state_dict, config


def fresh_text_tower(config: UniVSConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """A randomly initialised text tower under the names of our state dict, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = CLIPTextModelWithProjection(config.text_config)
    return {_TEXT_ENCODER + key: value for key, value in tower.state_dict().items()}


def check_text_encoder_choice(text_encoder_path: str | os.PathLike | None, allow_missing_text_encoder: bool) -> None:
    """
    Raises:
        ValueError: No text tower is given and doing without was not asked for.
    """
    if text_encoder_path is None and not allow_missing_text_encoder:
        raise ValueError(
            "`text_encoder_path` (--text-encoder) is not given. The text tower is not part of a UniVS checkpoint: "
            "give the CLIP or RegionCLIP RN50x4 file, or set `allow_missing_text_encoder=True` (--allow-missing-text-"
            "encoder) to initialise it at random, with which expressions and category names mean nothing."
        )


def build_processor(config: UniVSConfig, tokenizer: str | os.PathLike | None) -> Any:
    """The processor of a configuration.

    Args:
        config: Gives sizes, mean and std of the image processor.
        tokenizer: See [`load_clip_tokenizer`]; None for CLIP's own on the hub.

    Raises:
        ValueError: The tokenizer cannot be loaded.
    """
    from .image_processing_univs import UniVSImageProcessor
    from .processing_univs import UniVSProcessor

    try:
        text_tokenizer = load_clip_tokenizer(DEFAULT_TOKENIZER if tokenizer is None else tokenizer)
    except ValueError as error:
        if tokenizer is None:
            raise ValueError(f"`tokenizer` is not given, and the default cannot be had. {error}") from error
        raise
    image_processor = UniVSImageProcessor(
        size={"shortest_edge": config.shortest_edge, "longest_edge": config.longest_edge},
        square_size=config.square_size,
        size_divisibility=config.size_divisibility,
        image_mean=config.image_mean,
        image_std=config.image_std,
    )
    return UniVSProcessor(image_processor, text_tokenizer)


def convert_checkpoint(
    checkpoint_path: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    text_encoder_path: str | os.PathLike | None = None,
    category_table_path: str | os.PathLike | None = None,
    tokenizer: str | os.PathLike | None = None,
    weights: str = "student",
    allow_missing_text_encoder: bool = False,
    config: UniVSConfig | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> ConversionReport:
    """Converts an original UniVS checkpoint to a directory for `from_pretrained`, with its processor.

    Args:
        checkpoint_path: `.pth` file, read with `weights_only=True`: a dict with the key `model`, or the bare weights.
        output_dir: Directory to write. It appears when everything is in it.
        text_encoder_path: File of the CLIP or RegionCLIP RN50x4 text tower.
        category_table_path: File of the precomputed category embeddings, one tensor (3938, 640). The model then
            classifies all published label sets without its text tower.
        tokenizer: Path of CLIP's byte-pair file, directory with a CLIP tokenizer, or hub id of one. None takes CLIP's
            own from the hub.
        weights, config, dtype: See [`convert_state_dict`].
        allow_missing_text_encoder: Initialise the text tower at random where `text_encoder_path` is None, instead of
            raising an error.
        overwrite: Replace what is at `output_dir`.

    Returns:
        What became of every tensor.

    Raises:
        ValueError: An argument does not hold, or a key is unexpected, missing or mis-shaped (all are listed). Nothing
            is written then.

    Example:
        >>> report = convert_checkpoint(
        ...     "univs_r50_stage3.pth", "univs-r50", text_encoder_path="rn50x4.pth", tokenizer="bpe.txt.gz"
        ... )  # doctest: +SKIP
    """
    _check_choice("weights", weights, WEIGHTS)
    check_dtype(dtype)
    check_text_encoder_choice(text_encoder_path, allow_missing_text_encoder)
    sources = (checkpoint_path, text_encoder_path, category_table_path, tokenizer)
    output = check_output_directory(output_dir, overwrite, sources)
    original = read_tensors(checkpoint_path, "checkpoint_path")
    if not isinstance(original, Mapping):
        raise ValueError(
            f"`checkpoint_path`: {checkpoint_path} must hold a dict of tensors, got {type(original).__name__}."
        )
    text = None if text_encoder_path is None else read_tensors(text_encoder_path, "text_encoder_path")
    table = None if category_table_path is None else read_tensors(category_table_path, "category_table_path")
    state_dict, config, report = _convert(original, text, table, weights, config, dtype)
    processor = build_processor(config, tokenizer)
    report.source = f"{Path(checkpoint_path).name}, {report.source}"
    # The files are released while the result is written.
    del original, table
    if text is None:
        tower = fresh_text_tower(config)
        # First to be written, so that it is gone when the pages of the checkpoint are read.
        state_dict = {**cast_state_dict(tower, dtype), **state_dict}
        report.fresh += list(tower)
        report.notes.append("the text tower was initialised at random: expressions and category names mean nothing")
        del tower
    del text
    write_pretrained(output, state_dict, config, processor)
    return report


def add_convert_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds `convert` to the subcommands of a command line.

    Args:
        subparsers: What `ArgumentParser.add_subparsers` returned.
    """
    parser = subparsers.add_parser(
        "convert",
        help="convert an original checkpoint, or a Mask2Former of transformers as a start for training",
        description="Convert an original UniVS checkpoint to a directory for from_pretrained, or back.",
    )
    parser.add_argument("source", help="original .pth file (or a directory, with --from mask2former or --to-original)")
    parser.add_argument("output", help="directory to write (or a .pth file, with --to-original)")
    parser.add_argument("--text-encoder", metavar="FILE", help="CLIP or RegionCLIP RN50x4 text tower")
    parser.add_argument("--category-table", metavar="FILE", help="precomputed category embeddings (3938 x 640)")
    parser.add_argument(
        "--tokenizer",
        metavar="X",
        help=f"bpe_simple_vocab_16e6.txt.gz, a directory or a hub id (default: {DEFAULT_TOKENIZER} from the hub)",
    )
    parser.add_argument("--weights", choices=WEIGHTS, default="student", help="which weights of a training checkpoint")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="type of the weights written")
    parser.add_argument(
        "--allow-missing-text-encoder", action="store_true", help="initialise the text tower at random if not given"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--from",
        dest="source_format",
        choices=("original", "mask2former"),
        default="original",
        help="what the source is: an original checkpoint, or a Mask2Former directory of transformers",
    )
    direction.add_argument(
        "--to-original",
        action="store_true",
        help="back: the source is a converted directory, the output the original's .pth; --text-encoder and "
        "--category-table then name files to write",
    )
    parser.set_defaults(func=run_convert)
    return parser


def run_convert(args: argparse.Namespace) -> int:
    """Runs `univs convert` and prints what became of every tensor.

    Args:
        args: As parsed by [`add_convert_parser`].

    Returns:
        Exit code: 0, or 2 after an error message.
    """
    files = {"text_encoder_path": args.text_encoder, "category_table_path": args.category_table}
    try:
        if args.to_original:
            write_original_checkpoint(args.source, args.output, overwrite=args.overwrite, **files)
        else:
            options = {
                "tokenizer": args.tokenizer,
                "allow_missing_text_encoder": args.allow_missing_text_encoder,
                "dtype": args.dtype,
                "overwrite": args.overwrite,
                **files,
            }
            if args.source_format == "mask2former":
                from .convert_mask2former import convert_mask2former

                print(convert_mask2former(args.source, args.output, **options))
            else:
                print(convert_checkpoint(args.source, args.output, weights=args.weights, **options))
    except (ValueError, OSError) as error:
        print(f"univs convert: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.output}")
    return 0


__all__ = [
    "ConversionReport",
    "add_convert_parser",
    "build_clip_tokenizer",
    "convert_checkpoint",
    "convert_state_dict",
    "export_original_state_dict",
    "export_text_tower_state_dict",
    "run_convert",
    "write_original_checkpoint",
]
