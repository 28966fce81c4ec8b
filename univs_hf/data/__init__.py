# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Data: one row schema for images and videos, readers of official layouts, generated video."""
