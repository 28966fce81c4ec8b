# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The names of `univs_hf.metrics`, and what importing them costs."""

import inspect
import subprocess
import sys

import pytest

import univs_hf.metrics as metrics


def test_all_names_can_be_imported():
    for name in metrics.__all__:
        assert getattr(metrics, name) is not None
    assert set(metrics.__all__) <= set(dir(metrics))
    for name in metrics.EVALUATE_MODULES.values():
        assert issubclass(getattr(metrics, name), metrics.VideoMetric)
    with pytest.raises(AttributeError, match="has no attribute 'VideoMap'"):
        metrics.VideoMap  # noqa: B018


def test_every_metric_is_listed():
    classes = {metrics.VideoMetric, *(getattr(metrics, name) for name in metrics.EVALUATE_MODULES.values())}
    pending = [metrics.VideoMetric]
    while pending:
        for child in pending.pop().__subclasses__():
            pending.append(child)
            if not inspect.isabstract(child) and child.__module__.startswith("univs_hf.metrics"):
                assert child in classes, child


def test_names_are_imported_when_used_and_without_torch():
    # None in sys.modules makes a package look absent.
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; import univs_hf.metrics as metrics; "
        "assert not {'numpy', 'scipy', 'pycocotools'} & set(sys.modules); "
        "[getattr(metrics, name) for name in metrics.__all__]; "
        "assert 'pycocotools' in sys.modules and 'evaluate' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
