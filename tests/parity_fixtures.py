# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Reading parity fixtures (pairs of `NAME.safetensors` and `NAME.json`), and the model with their weights."""

import functools
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import safe_open

from univs_hf.convert_univs_checkpoint import convert_state_dict
from univs_hf.modeling_univs import UniVSForVideoSegmentation


def shared_folder() -> Path:
    """Reference material: `UNIVS_SHARED`, or `shared` beside the project."""
    default = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("UNIVS_SHARED", default))


class Fixture:
    """One fixture; files it refers to are looked for beside it, then in the reference material.

    Args:
        path: The `.json` file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = path.stem
        self.folder = path.parent
        self.meta: dict[str, Any] = json.loads(path.read_text())
        self._file = safe_open(path.with_suffix(".safetensors"), framework="pt")
        self.keys = set(self._file.keys())

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._file.get_tensor(key)

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration values that the original ran with."""
        return self.meta["config"]

    @property
    def tag(self) -> str:
        """Backbone and seed, as in `r50_s0`."""
        return f"{self.meta['backbone']}_s{self.meta['seed']}"

    def find(self, relative: str) -> Path:
        """Path of a file that the fixture needs.

        Raises:
            FileNotFoundError: If it lies neither beside the fixture nor in the reference material.
        """
        candidates = [self.folder / relative, shared_folder() / "parity" / relative]
        for candidate in candidates:
            if candidate.exists():
                return candidate
        raise FileNotFoundError(f"{self.name} needs {relative}, which is in none of {[str(c) for c in candidates]}")

    def companion(self, kind: str) -> "Fixture":
        """The fixture of another kind with the same backbone and seed."""
        return Fixture(self.find(f"{kind}_{self.tag}.json"))

    def model(self) -> UniVSForVideoSegmentation:
        """The model with the fixture's weights, loaded through the converter and set as the original was."""
        weights = self.find("seeded_weights.py")
        # Fixtures of modules name their key map; those of whole runs have the one of their backbone.
        keys = self.find(self.meta.get("key_map", f"keymaps/univs_{self.meta['backbone']}_stage3.json"))
        text_keys = self.find("keymaps/clip_text_rn50x4.json")
        model = build_model(weights, keys, text_keys, self.meta["seed"])
        config = model.config
        config.self_attention_type = self.settings["maskdec_self_attn_mask_type"]
        config.text_image_attention = self.settings["text_prompt_to_image_enable"]
        config.num_prompt_pixels = self.settings["visual_prompt_pixels_per_image"]
        kind = {"ArbitraryT": "absolute", "FixedT": "clip"}[self.settings["position_embedding_sine3d"]]
        for module in model.modules():
            if hasattr(module, "temporal_position_type"):
                module.temporal_position_type = kind
        return model


@functools.cache
def seeded_weights(path: Path) -> ModuleType:
    """The module that makes weights from key names."""
    spec = importlib.util.spec_from_file_location("seeded_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_state_dict(weights: Path, text_keys: Path, seed: int) -> dict[str, torch.Tensor]:
    """Weights of the text tower's own file."""
    maker = seeded_weights(weights)
    key_map = maker.load_key_map(text_keys)
    named = {f"lang_encoder.{key}": spec for key, spec in key_map.items()}
    made = maker.seeded_state_dict(named, seed)
    return {key.removeprefix("lang_encoder."): value for key, value in made.items()}


@functools.lru_cache(maxsize=1)
def build_model(weights: Path, keys: Path, text_keys: Path, seed: int) -> UniVSForVideoSegmentation:
    """Weights made from names -> the original's checkpoint -> the converter -> a model in evaluation mode."""
    maker = seeded_weights(weights)
    state_dict, config = convert_state_dict(
        maker.seeded_state_dict(maker.load_key_map(keys), seed),
        text_state_dict(weights, text_keys, seed),
        maker.seeded_concept_table(seed),
    )
    model, info = UniVSForVideoSegmentation.from_pretrained(
        None, config=config, state_dict=state_dict, output_loading_info=True
    )
    problems = {name: sorted(found) for name, found in info.items() if found}
    if problems:
        raise ValueError(f"the converted weights do not fit the model: {problems}")
    return model.eval()


def find_fixtures(folders: Sequence[Path]) -> list[Path]:
    """All `.json` files below the folders that have a `.safetensors` beside them, in order."""
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder of fixtures")
        found += [path for path in sorted(folder.rglob("*.json")) if path.with_suffix(".safetensors").exists()]
    return found
