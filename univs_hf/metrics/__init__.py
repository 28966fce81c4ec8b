# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Metrics of the six tasks, equal to the official evaluators number by number."""
