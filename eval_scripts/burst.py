# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Evaluates on a benchmark: `python eval_scripts/burst.py --help`, or `accelerate launch` in place of `python`."""

from univs_hf.evaluation.evaluate_command import main

if __name__ == "__main__":
    raise SystemExit(main("burst"))
