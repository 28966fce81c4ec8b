# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The command line from Python: `main(["segment", "in.mp4", ...])` does what `univs segment in.mp4 ...` does."""

from univs_cli import build_parser, main

__all__ = ["build_parser", "main"]
