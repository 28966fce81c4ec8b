# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`univs push-model` and `univs push-dataset`: options, and what they do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .model_facts import CardFacts, card_facts, card_names

if TYPE_CHECKING:
    from .upload_plan import HubApi, UploadPlan

OWN_CARD = "own"


def add_push_model_parser(commands: Any) -> None:
    """Adds `push-model` to the commands of `univs`."""
    parser = commands.add_parser(
        "push-model",
        help="upload a model with card, processor and code to the hub",
        description="Upload a model to the hub: safetensors, processor, card, and the code with which it loads where "
        "univs-hf is not installed (trust_remote_code). All of it is checked before anything is uploaded.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""cards:
  resnet50, swin-tiny, swin-base, swin-large   a converted checkpoint of the authors, with its published figures
  tiny-shapes                                  the model that comes with the package
  own                                          your own model: no published figures; --licence is needed

examples:
  univs push-model DIR me/univs-resnet50 --card resnet50 --dry-run
  univs push-model DIR me/my-univs --card own --licence cc-by-nc-4.0 --base-model me/univs-resnet50 \\
      --scores davis/scores.json --public

A new repository is private unless --public is given. Mind the terms of weights that are not yours.
""",
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="what save_pretrained or univs convert wrote, or univs-tiny-shapes"
    )
    _add_repository(parser)
    card = parser.add_argument_group("card")
    which = card.add_mutually_exclusive_group(required=True)
    which.add_argument("--card", choices=(*card_names(), OWN_CARD), help="what the weights are, see below")
    which.add_argument("--card-file", type=Path, metavar="FILE", help="a card that is ready")
    card.add_argument(
        "--scores",
        type=Path,
        action="append",
        default=[],
        metavar="JSON",
        help="scores.json of `univs evaluate` with exactly these weights, marked as measured; repeatable",
    )
    own = parser.add_argument_group("card of an own model")
    own.add_argument("--title", help="heading of the card (default: UniVS)")
    own.add_argument(
        "--licence", "--license", metavar="ID", help="licence of the weights as the hub names them, or other"
    )
    own.add_argument("--licence-name", "--license-name", metavar="NAME", help="with --licence other")
    own.add_argument("--licence-link", "--license-link", metavar="URL", help="with --licence other")
    own.add_argument("--base-model", metavar="REPO", help="hub id of the model that training began from")
    own.add_argument("--training", metavar="TEXT", help="what the card says about the training")
    _add_upload(parser)
    parser.set_defaults(func=run_push_model)


def add_push_dataset_parser(commands: Any) -> None:
    """Adds `push-dataset` to the commands of `univs`."""
    parser = commands.add_parser(
        "push-dataset",
        help="upload a dataset that univs prepare made to the hub",
        description="Upload the Parquet files, card, report and checksums that `univs prepare` wrote. Checksums, rows "
        "and card are checked before anything is uploaded.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""A new repository is private unless --public is given: the terms of most datasets do not allow to pass
their pictures on to everybody. Read the section Licence of the card first.

examples:
  univs push-dataset DIR me/ytvis21-rows --dry-run
  univs push-dataset DIR me/ytvis21-rows
""",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="what univs prepare wrote")
    _add_repository(parser)
    _add_upload(parser)
    parser.set_defaults(func=run_push_dataset)


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo_id", metavar="REPO", help="NAMESPACE/NAME on the hub; it is made if it is new")


def _add_upload(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("upload")
    how.add_argument(
        "--dry-run",
        action="store_true",
        help="contact nobody; print every file with size and SHA-256, and the card, as they would be uploaded",
    )
    visible = how.add_mutually_exclusive_group()
    # Weights and pictures of others are under terms that not everybody may pass on, so public is said, not assumed.
    visible.add_argument(
        "--private", action="store_true", default=True, help="make a new repository private (the default)"
    )
    visible.add_argument("--public", action="store_false", dest="private", help="make a new repository public")
    how.add_argument("--revision", metavar="BRANCH", help="branch to commit to (default: main)")
    how.add_argument("--create-pr", action="store_true", help="propose the commit in a pull request")
    how.add_argument("--message", metavar="TEXT", help="commit message")


def run_push_model(args: argparse.Namespace) -> int:
    """Runs `univs push-model`.

    Returns:
        0.

    Raises:
        ValueError, OSError: If an argument, the model, the card or the hub does not allow it; see
            [`planned_model_upload`] and [`upload`].
    """
    from ..packaged_checkpoints import resolve_checkpoint
    from .measured_scores import read_scores
    from .model_folder import planned_model_upload

    args.directory = Path(resolve_checkpoint(str(args.directory)))
    _check_upload(args)
    card_text = None
    if args.card_file is not None:
        if args.scores:
            raise ValueError("--scores go into a card that is made here, not into --card-file.")
        card_text = args.card_file.read_text(encoding="utf-8")
    with planned_model_upload(
        args.directory,
        args.repo_id,
        facts=_facts(args),
        measured=read_scores(args.scores),
        card_text=card_text,
        private=args.private,
        commit_message=args.message,
        revision=args.revision,
        create_pr=args.create_pr,
    ) as plan:
        return _finish(plan, args.dry_run)


def run_push_dataset(args: argparse.Namespace) -> int:
    """Runs `univs push-dataset`.

    Returns:
        0.

    Raises:
        ValueError, OSError: If the folder, its card or the hub does not allow it; see [`plan_dataset_upload`] and
            [`upload`].
    """
    from .dataset_folder import plan_dataset_upload

    _check_upload(args)
    plan = plan_dataset_upload(
        args.directory,
        args.repo_id,
        private=args.private,
        commit_message=args.message,
        revision=args.revision,
        create_pr=args.create_pr,
    )
    return _finish(plan, args.dry_run)


def hub_api() -> HubApi:
    """The hub, with the token of `hf auth login` or `HF_TOKEN`."""
    from huggingface_hub import HfApi

    return HfApi()


def _facts(args: argparse.Namespace) -> CardFacts | None:
    """Facts for the card that is asked for."""
    own = {
        name: getattr(args, name)
        for name in ("title", "licence", "licence_name", "licence_link", "base_model", "training")
        if getattr(args, name) is not None
    }
    if args.card != OWN_CARD:
        if own:
            raise ValueError(f"--{next(iter(own)).replace('_', '-')} belongs to --card {OWN_CARD}.")
        return None if args.card is None else card_facts(args.card)
    if "licence" not in own:
        raise ValueError(f"--card {OWN_CARD} needs --licence, that of the weights, such as apache-2.0 or other.")
    if own["licence"] == "other" and not {"licence_name", "licence_link"} <= own.keys():
        raise ValueError("--licence other needs --licence-name and --licence-link.")
    from .model_folder import facts_of_own_model

    return facts_of_own_model(args.directory, **own)


def _check_upload(args: argparse.Namespace) -> None:
    if not args.directory.is_dir():
        raise ValueError(f"DIR must be a folder, {args.directory} is none.")
    if args.create_pr and args.revision is not None:
        raise ValueError("--create-pr proposes to the main branch; it does not go with --revision.")


def _finish(plan: UploadPlan, dry_run: bool) -> int:
    from .upload_plan import print_plan, upload

    console = Console()
    print_plan(plan, console)
    if dry_run:
        console.print("dry run: nothing was uploaded", highlight=False)
        return 0
    url = upload(plan, hub_api())
    console.print(url, highlight=False, soft_wrap=True, markup=False)
    return 0
