# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The folder of a model as the hub gets it: safetensors, processor, the code of all of them, card and licence.

directory -> load, check every tensor -> VideoSegmentationPipeline.save_pretrained -> folder -> UploadPlan
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .measured_scores import MeasuredScores
from .model_card import render_model_card
from .model_facts import CardFacts, Licence
from .upload_plan import CARD_FILE, UploadPlan, check_card, check_repo_id, plan_files

if TYPE_CHECKING:
    from ..modeling_univs import UniVSForVideoSegmentation
    from ..processing_univs import UniVSProcessor

CODE_LICENCE_FILE = "LICENSE.univs-hf"
# Files of the model's own folder that go along: the terms of its weights.
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt")
# Weights, and those of an earlier upload that was cut into another number of shards.
_WEIGHTS_FILE, _INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
_REPLACED = (_WEIGHTS_FILE, "model-*.safetensors", _INDEX_FILE)


@contextmanager
def planned_model_upload(
    directory: str | Path,
    repo_id: str,
    facts: CardFacts | None = None,
    measured: Sequence[MeasuredScores] = (),
    card_text: str | None = None,
    private: bool | None = None,
    commit_message: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> Iterator[UploadPlan]:
    """Makes the folder of a model in a temporary place and plans its upload; the folder is gone afterwards.

    Args:
        directory: What `save_pretrained`, `univs convert` or a training wrote.
        repo_id: Where to.
        facts: For the card, see [`card_facts`] and [`facts_of_own_model`]. Or else:
        card_text: A card that is ready.
        measured: Our own figures of exactly these weights, for a card from `facts`.
        private, commit_message, revision, create_pr: See [`UploadPlan`].

    Yields:
        The plan. Nothing was uploaded.

    Raises:
        ValueError: If the directory holds no complete UniVS, the card is about another model, or is not valid.
    """
    check_repo_id(repo_id)
    if (facts is None) == (card_text is None):
        raise ValueError("A card is made of `facts` or is given as `card_text`: one of both is needed.")
    if measured and card_text is not None:
        raise ValueError("`measured` figures go into a card that is made of `facts`, not into one that is ready.")
    directory = Path(directory)
    check_model_directory(directory)
    # Cards are cheap to check, weights are not.
    text = card_text if card_text is not None else render_model_card(facts, measured, repo_id)
    check_card(text, "model")
    model, processor = load_model(directory)
    if facts is not None:
        check_facts(facts, model)
    with tempfile.TemporaryDirectory(prefix="univs-push-") as scratch:
        folder = Path(scratch)
        write_model_folder(model, processor, folder, text)
        del model
        _take_weights(directory, folder)
        for name in _LICENCE_FILES:
            if (directory / name).is_file():
                shutil.copyfile(directory / name, folder / name)
        yield UploadPlan(
            repo_id=repo_id,
            repo_type="model",
            private=private,
            folder=folder,
            files=plan_files(folder, (path.relative_to(folder).as_posix() for path in _files(folder))),
            replaces=_REPLACED,
            commit_message=commit_message or "Upload UniVS with univs-hf",
            revision=revision,
            create_pr=create_pr,
        )


def check_model_directory(directory: Path) -> None:
    """Whether a directory looks like a saved UniVS; opens no weights.

    Raises:
        ValueError: If it does not; the message says what is missing.
    """
    config = directory / "config.json"
    if not config.is_file():
        raise ValueError(f"{directory} holds no model: there is no {config}.")
    try:
        model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{config} cannot be read: {error}") from error
    if model_type != "univs":
        raise ValueError(f"{directory} holds a model of type {model_type!r}, and not 'univs'.")
    if not any((directory / name).is_file() for name in (_WEIGHTS_FILE, _INDEX_FILE)):
        raise ValueError(f"{directory} holds no weights in safetensors: save the model with `save_pretrained` first.")
    for name in ("processor_config.json", "tokenizer.json"):
        if not (directory / name).is_file():
            raise ValueError(f"{directory} holds no processor ({name}): save it with `processor.save_pretrained`.")


def load_model(directory: Path) -> tuple[UniVSForVideoSegmentation, UniVSProcessor]:
    """Loads model and processor in the number format that they are saved in.

    Raises:
        ValueError: If a tensor is missing, left over, of another shape, or not finite.
    """
    import torch

    from ..modeling_univs import UniVSForVideoSegmentation
    from ..processing_univs import UniVSProcessor

    model, info = UniVSForVideoSegmentation.from_pretrained(
        directory, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
    )
    for key, what in (
        ("missing_keys", "are missing"),
        ("unexpected_keys", "are not of this model"),
        ("mismatched_keys", "have another shape"),
    ):
        names = sorted(str(name[0] if isinstance(name, tuple) else name) for name in info[key])
        if names:
            raise ValueError(f"{directory}: tensors {what}: {', '.join(names[:5])}{', ...' if names[5:] else ''}.")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{directory}: the tensor {name} holds values that are not finite.")
    return model.eval(), UniVSProcessor.from_pretrained(directory, local_files_only=True)


def write_model_folder(
    model: UniVSForVideoSegmentation, processor: UniVSProcessor, folder: Path, card_text: str
) -> None:
    """Writes everything that goes to the hub.

    Args:
        model: With its weights.
        processor: That belongs to it.
        folder: An empty folder.
        card_text: Becomes `README.md`.
    """
    from transformers import pipeline

    from ..pipeline_univs import PIPELINE_TASK

    pipeline(PIPELINE_TASK, model=model, processor=processor, device="cpu").save_pretrained(folder)
    (folder / CODE_LICENCE_FILE).write_text(code_licence(), encoding="utf-8")
    (folder / CARD_FILE).write_text(card_text, encoding="utf-8")


def facts_of_own_model(
    directory: str | Path,
    licence: str,
    title: str | None = None,
    licence_name: str | None = None,
    licence_link: str | None = None,
    base_model: str | None = None,
    training: str | None = None,
) -> CardFacts:
    """Facts for the card of a model that somebody trained: no published figures, and a licence that they choose.

    Args:
        directory: Of the model; its `config.json` tells the backbone.
        licence: Id of a licence as the hub names them; `"other"` needs `licence_name` and `licence_link`.
        title: Heading of the card.
        licence_name, licence_link: Of a licence without an id.
        base_model: Hub id of the model that training began from.
        training: What the card says about the training; Markdown.
    """
    check_model_directory(Path(directory))
    config = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
    backbone = config.get("backbone_preset") or (config.get("backbone_config") or {}).get("model_type", "not stated")
    where = f" ([{licence_name}]({licence_link}))" if licence_name and licence_link else ""
    begun = " Weights that training began from may bring terms of their own." if base_model else ""
    return CardFacts(
        key="own",
        title=title or "UniVS",
        backbone=backbone,
        licence=Licence(licence, f"The weights are under `{licence}`{where}.{begun}", licence_name, licence_link),
        base_model=base_model,
        training=training,
    )


def check_facts(facts: CardFacts, model: Any) -> None:
    """Whether a card can be about a model.

    Raises:
        ValueError: If its architecture is another one.
    """
    if facts.key == "own":
        return
    preset = model.config.backbone_preset
    if preset != facts.preset:
        raise ValueError(
            f"The card {facts.key!r} is about a model of preset {facts.preset!r}, this one has {preset!r}."
        )
    count = sum(parameter.numel() for parameter in model.parameters())
    if facts.parameters not in (None, count):
        raise ValueError(
            f"The card {facts.key!r} is about a model of {facts.parameters} parameters, this one has {count}."
        )


def code_licence() -> str:
    """Text of the licence of this package, from its installation or its source.

    Raises:
        ValueError: If it cannot be found.
    """
    try:
        installed = distribution("univs-hf").files or []
    except PackageNotFoundError:
        installed = []
    candidates = [Path(str(file.locate())) for file in installed if file.parts[-2:] == ("licenses", "LICENSE")]
    for path in [*candidates, Path(__file__).resolve().parents[2] / "LICENSE"]:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ValueError("The licence of univs-hf, which goes along with its code, was not found: install the package.")


def _take_weights(directory: Path, folder: Path) -> None:
    """Puts the files of weights in place of those that were written anew.

    The model keeps some modules in single precision when it is loaded, so that a checkpoint in half precision would
    come out larger than it was.
    """
    for pattern in _REPLACED:
        for path in folder.glob(pattern):
            path.unlink()
    index = directory / _INDEX_FILE
    names = [_WEIGHTS_FILE]
    if not (directory / _WEIGHTS_FILE).is_file():
        names = [_INDEX_FILE, *sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"{index} names the file {name!r}, which is not in the folder.")
        try:
            os.link((directory / name).resolve(), folder / name)
        except OSError:
            # On another disk, or where there are no links.
            shutil.copyfile(directory / name, folder / name)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
