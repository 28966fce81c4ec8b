# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Trains UniVS: `accelerate launch training/train.py --config training/configs/resnet50_stage2.yaml`."""

from univs_hf.training.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
