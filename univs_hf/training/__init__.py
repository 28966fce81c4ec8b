# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Training of UniVS: three stages under accelerate, resumable to the bit.

from univs_hf.training import load_config, train

result = train(load_config("training/configs/resnet50_stage2.yaml", ["--data.root", "data"]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import TrainingConfig
    from .config_files import load_config
    from .loop import TrainingResult, train

__all__ = ["TrainingConfig", "TrainingResult", "load_config", "train"]

_HOMES = {"TrainingConfig": "config", "TrainingResult": "loop", "load_config": "config_files", "train": "loop"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Reading a configuration does not need torch.
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
