# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The metrics need numpy, scipy and pycocotools alone."""

import subprocess
import sys
import textwrap

CHILD = """
    import importlib.abc
    import pkgutil
    import sys

    class Refuse(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "transformers"):
                raise ModuleNotFoundError(f"{name} is out of reach in this test", name=name)

    import importlib.util
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name == "torch" else find_spec(name, package)
    sys.meta_path.insert(0, Refuse())

    import numpy as np
    import univs_hf.metrics
    for module in pkgutil.iter_modules(univs_hf.metrics.__path__, "univs_hf.metrics."):
        if not module.ispkg:
            importlib.import_module(module.name)
    from univs_hf.metrics.vos import DavisMetric

    metric = DavisMetric()
    labels = np.zeros((4, 20, 30), np.uint8)
    labels[:, 5:12, 6:20] = 1
    metric.update("video", labels, labels)
    assert metric.compute()["J&F-Mean"] == 1.0
    assert "torch" not in sys.modules
"""


def test_metrics_work_without_torch() -> None:
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD)], capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode == 0, child.stderr
