# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""`python -m univs_hf.training --config FILE [--section.name value ...]`, also under `accelerate launch`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import yaml

from .config_files import config_to_dict, known_keys, load_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains as a configuration file and the command line say.

    Args:
        arguments: Those of the command line by default.

    Returns:
        The exit status: 0, or 2 if something does not hold, which is told in a few lines.
    """
    parser = argparse.ArgumentParser(
        prog="python -m univs_hf.training",
        description="Trains UniVS. Goes on from the newest checkpoint of the output directory, if there is one.",
        epilog="Every value of the configuration can be given as --section.name VALUE; --print-keys lists them.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file, such as training/configs/resnet50_stage2.yaml")
    parser.add_argument("--print-config", action="store_true", help="show the configuration and end")
    parser.add_argument("--print-keys", action="store_true", help="list what can be configured and end")
    options, overrides = parser.parse_known_args(arguments)
    if options.print_keys:
        print("\n".join(f"--{key}" for key in known_keys()))
        return 0
    try:
        config = load_config(options.config, overrides)
        if options.print_config:
            print(yaml.safe_dump(config_to_dict(config), sort_keys=False), end="")
            return 0
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        # Loading torch takes longer than finding a mistake in the configuration.
        from .loop import NonFiniteLossError, train
    except (OSError, TypeError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    try:
        result = train(config)
    except (OSError, TypeError, ValueError, NonFiniteLossError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(f"{result.step} steps; the model is in {result.model_path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
