# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Models and datasets on their way to the hub: cards, dry runs, `univs push-model` and `univs push-dataset`."""
