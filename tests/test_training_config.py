# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Configuration of training: files, recipes, the command line, and what is refused."""

import re

import pytest
import yaml

from univs_hf.training import load_config
from univs_hf.training.__main__ import main
from univs_hf.training.config import EmaConfig, OptimizerConfig, ScheduleConfig
from univs_hf.training.config_files import config_from_dict, config_to_dict, known_keys, parse_overrides, write_config

BACKBONES = {"resnet50": "resnet50", "swin-tiny": "swin_tiny", "swin-base": "swin_base", "swin-large": "swin_large"}


def recipe(project_root, backbone, stage, name):
    path = project_root / "training" / "configs" / f"{BACKBONES[backbone]}_stage{stage}.yaml"
    return load_config(path, ["--recipe", name])


class TestRecipes:
    """The facts of the specification of training, section 2.2, and of the paper's Table 2."""

    @pytest.mark.parametrize("backbone", BACKBONES)
    @pytest.mark.parametrize(
        ("stage", "frames", "rate", "steps", "milestone", "clips"),
        [(1, 1, 1e-4, 354_000, 342_000, 16), (2, 3, 5e-5, 708_000, 684_000, 8), (3, 7, 5e-5, 177_000, 162_000, 8)],
    )
    def test_paper(self, project_root, backbone, stage, frames, rate, steps, milestone, clips):
        config = recipe(project_root, backbone, stage, "paper")
        assert (config.backbone, config.stage, config.data.num_frames) == (backbone, stage, frames)
        assert config.optimizer.learning_rate == rate
        assert (config.schedule.max_steps, config.schedule.milestones) == (steps, (milestone,))
        assert config.optimizer.clips_per_update == clips
        loss = config.loss
        assert (loss.class_weight, loss.mask_weight, loss.dice_weight, loss.reid_weight) == (3.0, 5.0, 5.0, 0.5)
        assert config.prompts.window_frames == (5 if stage == 3 else None)
        assert not config.ema.enabled

    @pytest.mark.parametrize(
        ("backbone", "stage", "frames", "rate", "steps", "milestone", "clips", "reid", "ema", "freeze"),
        [
            ("resnet50", 1, 1, 5e-5, 354_000, 342_000, 2, 0.5, False, 0),
            ("swin-tiny", 1, 1, 5e-5, 354_000, 324_000, 2, 0.25, False, 0),
            ("swin-large", 1, 1, 5e-5, 354_000, 342_000, 2, 0.25, False, 0),
            ("resnet50", 2, 3, 5e-5, 354_000, 342_000, 8, 0.5, False, 5),
            ("swin-tiny", 2, 5, 5e-5, 354_000, 324_000, 8, 0.25, False, 4),
            ("swin-base", 2, 5, 5e-5, 89_000, 81_000, 4, 0.25, False, 4),
            ("swin-large", 2, 5, 5e-5, 354_000, 324_000, 8, 0.25, False, 4),
            ("resnet50", 3, 7, 2.5e-5, 89_000, 81_000, 4, 0.25, True, 5),
            ("swin-base", 3, 7, 2.5e-5, 89_000, 81_000, 4, 0.125, True, 5),
            ("swin-large", 3, 7, 2.5e-5, 89_000, 81_000, 4, 0.125, True, 5),
        ],
    )
    def test_released(self, project_root, backbone, stage, frames, rate, steps, milestone, clips, reid, ema, freeze):
        config = recipe(project_root, backbone, stage, "released")
        assert (config.data.num_frames, config.optimizer.learning_rate) == (frames, rate)
        assert (config.schedule.max_steps, config.schedule.milestones) == (steps, (milestone,))
        assert (config.optimizer.clips_per_update, config.loss.reid_weight) == (clips, reid)
        assert (config.ema.enabled, config.ema.decay) == (ema, 0.9999)
        assert config.model.freeze_backbone == freeze
        assert config.loss.class_weight == 5.0 and config.loss.matching_class_weight == 3.0

    @pytest.mark.parametrize("backbone", BACKBONES)
    @pytest.mark.parametrize("stage", [1, 2, 3])
    @pytest.mark.parametrize("name", ["paper", "released"])
    def test_what_all_have(self, project_root, backbone, stage, name):
        config = recipe(project_root, backbone, stage, name)
        optimizer = config.optimizer
        assert (optimizer.backbone_multiplier, optimizer.weight_decay, optimizer.max_gradient_norm) == (
            0.1,
            0.05,
            0.01,
        )
        assert config.schedule.gamma == 0.1 and config.checkpoint.every == 5000
        assert config.model.drop_path_rate == (None if backbone == "resnet50" else 0.3)
        square = stage == 1 or (stage == 2 and backbone != "resnet50")
        assert config.data.augmentation.square_size == (1024 if square else None)
        prompts = {1: 30, 2: 20 if backbone == "resnet50" else 30, 3: 20}
        assert config.prompts.max_prompts == prompts[stage]
        before = f"runs/{BACKBONES[backbone]}_stage{stage - 1}"
        assert config.model.start == (None if stage == 1 else before)


class TestCommandLine:
    def test_every_key_can_be_overridden(self):
        """One value of each key, as the command line gives it, arrives."""
        keys = [key for key in known_keys() if "*" not in key]
        defaults = config_to_dict(config_from_dict({}))

        def at(values, key):
            for name in key.split("."):
                values = values[name]
            return values

        sections = {key for key in keys if isinstance(at(defaults, key), dict) and at(defaults, key)}
        values = {str: "7", int: 7, float: 7.0, bool: None, type(None): None, list: None, dict: {}}
        for key in sorted(set(keys) - sections):
            before = at(defaults, key)
            given = not before if isinstance(before, bool) else values[type(before)]
            if given is None:
                continue
            text = yaml.safe_dump(given).removesuffix("...\n").strip()
            changed = config_from_dict(parse_overrides([f"--{key}", text]))
            assert at(config_to_dict(changed), key) == given, key

    def test_forms(self):
        config = load_config(
            None,
            ["--optimizer.learning_rate=1e-4", "--schedule.milestones", "[3, 5]", "--data.datasets.vipseg.weight", "0",
             "--model.start", "null", "--tracking.trackers", "wandb"],
        )  # fmt: skip
        assert config.optimizer.learning_rate == 1e-4 and config.schedule.milestones == (3, 5)
        assert config.data.datasets["vipseg"].weight == 0.0 and config.model.start is None
        assert config.tracking.trackers == ("wandb",)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--optimizer.lr", "1"], "Unknown key `optimizer.lr`.*`optimizer.learning_rate`"),
            (["--optimizer.learning_rat", "1"], "`optimizer.learning_rate`"),
            (["--learning_rate", "1"], "Did you mean `optimizer.learning_rate`"),
            (["--data.datasets.ovis.wieght", "1"], "Did you mean `data.datasets.ovis.weight`"),
            (["--emma.enabled", "true"], "Did you mean `ema`"),
            (["--seed"], "`--seed` needs a value"),
            (["seed", "1"], "Expected `--section.name value`"),
            (["--seed", "[1"], "is not a value"),
            (["--seed", "1.5"], "`seed` must be an integer, got 1.5"),
            (["--seed", "true"], "`seed` must be an integer, got True"),
            (["--ema.enabled", "1"], "`ema.enabled` must be true or false, got 1"),
            (["--optimizer.betas", "[0.9]"], "`optimizer.betas` must be a list of 2 values"),
            (["--optimizer", "3"], "`optimizer` is a section"),
            (["--seed", "-1"], "`seed` must be at least 0, got -1"),
            (["--recipe", "mine"], "`recipe` must be one of"),
            (["--mixed_precision", "fp8"], "`mixed_precision` must be one of"),
            (["--schedule.milestones", "[5, 3]"], "`schedule.milestones` must be positive and ascending"),
            (["--prompts.window_frames", "9"], "`prompts.window_frames` must be at most `data.num_frames`"),
            (["--evaluation.tasks", "[vos, vot]"], "`evaluation.tasks` must be among"),
            (["--model.freeze_backbone", "6"], "`model.freeze_backbone` must be in"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises((ValueError, TypeError), match=message):
            load_config(None, arguments)

    def test_mistakes_of_files(self, tmp_path):
        path = tmp_path / "config.yaml"
        for text, message in (
            ("seed: [", "is not a YAML file"),
            ("- 1", "must hold sections"),
            ("optimiser: {}", "Unknown key `optimiser`.*config.yaml.*Did you mean `optimizer`"),
            ("recipes: {released: {seeds: 1}}", "Unknown key `seeds` in .*recipes.released.*`seed`"),
            ("recipes: {mine: {}}", "must hold some of"),
        ):
            path.write_text(text)
            with pytest.raises(ValueError, match=message):
                load_config(path)
        with pytest.raises(FileNotFoundError, match="no configuration file"):
            load_config(tmp_path / "none.yaml")

    def test_recipe_wins_over_file_and_command_line_over_both(self, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text("seed: 1\nrecipe: paper\nrecipes: {paper: {seed: 2}, released: {seed: 3}}\n")
        assert load_config(path).seed == 2
        assert load_config(path, ["--recipe", "released"]).seed == 3
        assert load_config(path, ["--recipe", "released", "--seed", "4"]).seed == 4

    def test_round_trip(self, tmp_path, project_root):
        config = recipe(project_root, "swin-tiny", 2, "released")
        write_config(config, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config

    def test_main(self, capsys):
        assert main(["--print-keys"]) == 0
        assert "--optimizer.learning_rate" in capsys.readouterr().out
        assert main(["--print-config", "--seed", "5"]) == 0
        assert "seed: 5" in capsys.readouterr().out
        assert main(["--sede", "5"]) == 2
        assert re.search("Unknown key `sede`.*`seed`", capsys.readouterr().err)


def test_schedule():
    schedule = ScheduleConfig(max_steps=100, milestones=(50, 80), gamma=0.1, warmup_steps=10, warmup_factor=0.2)
    factors = [schedule.factor(step) for step in (0, 5, 10, 49, 50, 79, 80)]
    assert factors == pytest.approx([0.2, 0.6, 1, 1, 0.1, 0.1, 0.01])


def test_accumulation():
    assert OptimizerConfig(clips_per_update=16).accumulation(batch_size=2, num_processes=4) == 2
    assert OptimizerConfig(accumulation_steps=3).accumulation(batch_size=2, num_processes=4) == 3
    with pytest.raises(ValueError, match="multiple of 6, the clips of a step.*got 16"):
        OptimizerConfig(clips_per_update=16).accumulation(batch_size=2, num_processes=3)


def test_decay_of_average():
    assert EmaConfig(decay=0.99).decay_at(0) == 0.99
    warm = EmaConfig(decay=0.99, warmup=True)
    assert warm.decay_at(0) == 0.1 and warm.decay_at(10_000) == 0.99
