# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Training runs small enough for tests: a tiny model on generated videos of 32 pixels.

    python tests/training_runs.py DIR [--section.name value ...]

trains one, for tests that need a process of its own.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from tiny_config import tiny_config
from tiny_processor import text_config, tiny_processor

from univs_hf.training.config import TrainingConfig
from univs_hf.training.config_files import config_from_dict, merge, parse_overrides

SHAPES = {"height": 32, "width": 32, "num_frames": 4, "min_visible_frames": 2}
_MODEL_FIELDS = (
    "backbone_config",
    "feature_size",
    "mask_feature_size",
    "hidden_dim",
    "encoder_layers",
    "encoder_feedforward_dim",
    "decoder_layers",
    "dim_feedforward",
    "num_attention_heads",
    "num_norm_groups",
    "num_queries",
    "num_prompt_pixels",
    "num_text_templates",
    "num_frames",
)


def run_values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Configuration of a run with its output in `folder/run`, and `changes` by section."""
    processor = folder / "processor"
    if not processor.exists():
        tiny_processor().save_pretrained(processor)
    config = tiny_config(text_config=text_config(), encoder_layers=1, decoder_layers=3).to_dict()
    model = {name: config[name] for name in (*_MODEL_FIELDS, "text_config")}
    values = {
        "output_dir": str(folder / "run"),
        "backbone": None,
        "mixed_precision": "no",
        "cpu": True,
        "model": {"config": model, "processor": str(processor)},
        "data": {
            "use_recipe_mixture": False,
            "datasets": {
                task: {"rows": "moving_shapes", "task": task, "generator": SHAPES, "num_videos": 40}
                for task in ("detection", "sot", "grounding")
            },
            "num_frames": 2,
            "batch_size": 1,
            "num_workers": 0,
            "augmentation": {"square_size": 32, "scale_range": [0.8, 1.25]},
        },
        "loss": {"num_points": 64},
        "optimizer": {"learning_rate": 1e-3, "max_gradient_norm": 1.0},
        "schedule": {"max_steps": 6},
        "checkpoint": {"every": 2},
        "tracking": {"log_every": 1, "trackers": [], "progress": False},
    }
    return merge(values, changes)


def run_config(folder: Path, **changes: Any) -> TrainingConfig:
    """[`run_values`] as a configuration."""
    return config_from_dict(run_values(folder, **changes))


def main() -> None:
    from univs_hf.training import train

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    train(run_config(folder, **parse_overrides(sys.argv[2:])))


if __name__ == "__main__":
    main()
