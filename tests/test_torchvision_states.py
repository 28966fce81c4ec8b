# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The package with torchvision present, absent, and installed but broken.

Each state is a process of its own, because what transformers found at its first import stays for good. The present and
the broken torchvision are folders made here, complete with the metadata of an installed distribution: the real package
only works beside the one build of torch it was compiled for, so it cannot be part of a test that has to run anywhere.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Runs in the child: the heart of the package, on one tiny video, without any file but the project's.
USE_THE_PACKAGE = """
    import sys
    sys.path[:0] = [{root!r}, {tests!r}]
    import univs_hf
    import numpy as np
    import torch
    from tiny_config import tiny_config, tiny_model
    from transformers import AutoModel, BatchFeature
    from transformers.utils import is_torchvision_available

    model = tiny_model().eval()
    assert isinstance(model, univs_hf.UniVSForVideoSegmentation)
    processor = univs_hf.UniVSImageProcessor()
    frames = [np.full((48, 64, 3), value, dtype=np.uint8) for value in (0, 255)]
    inputs = processor(frames, return_tensors="pt")
    with torch.no_grad():
        outputs = model(pixel_values_videos=inputs["pixel_values_videos"])
    assert torch.isfinite(outputs.masks_queries_logits).all()
    print("torchvision available:", is_torchvision_available())
    print("torchvision imported:", "torchvision" in sys.modules)
    print("masks:", tuple(outputs.masks_queries_logits.shape))
"""

IMPORT_THE_PACKAGE = """
    import sys
    sys.path[:0] = [{root!r}]
    import univs_hf
    print("imported")
"""

# What a torchvision raises whose compiled part does not fit torch: its operators or a library they need are missing.
BROKEN_STATES = {
    "operator": ("RuntimeError", "operator torchvision::nms does not exist"),
    "library": ("OSError", "libcudart.so.13: cannot open shared object file: No such file or directory"),
}

# Enough of torchvision's names for transformers to import everything that this package uses from it.
WORKING_TORCHVISION = {
    "__init__.py": """
        from . import io, transforms
        __version__ = "0.28.0"
    """,
    "io/__init__.py": "",
    "transforms/__init__.py": """
        import enum
        from . import functional, v2
        class InterpolationMode(enum.Enum):
            NEAREST = "nearest"
            NEAREST_EXACT = "nearest-exact"
            BILINEAR = "bilinear"
            BICUBIC = "bicubic"
            BOX = "box"
            HAMMING = "hamming"
            LANCZOS = "lanczos"
    """,
    "transforms/functional.py": """
        def pil_to_tensor(image):
            raise NotImplementedError
    """,
    "transforms/v2/__init__.py": "from . import functional",
    "transforms/v2/functional.py": "",
}


def make_torchvision(site: Path, modules: dict[str, str]) -> Path:
    """Writes a torchvision package and its distribution's metadata into the folder `site`, and returns it."""
    for name, source in modules.items():
        path = site / "torchvision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    metadata = site / "torchvision-0.28.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    (metadata / "top_level.txt").write_text("torchvision\n")
    return site


def broken_source(state: str) -> str:
    """The `__init__.py` of a torchvision that fails in the way named by `state`."""
    kind, message = BROKEN_STATES[state]
    return f"raise {kind}({message!r})\n"


def run_python(source: str, project_root: Path, site: Path | None, cwd: Path) -> subprocess.CompletedProcess:
    """Runs `source` in a new interpreter whose path starts with the folder `site`."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    program = textwrap.dedent(source).format(root=str(project_root), tests=str(project_root / "tests"))
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_works_with_torchvision_absent(project_root: Path, tmp_path: Path) -> None:
    blocker = "import sys\nsys.modules['torchvision'] = None\n"  # absent even where the machine has one
    result = run_python(blocker + textwrap.dedent(USE_THE_PACKAGE), project_root, None, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "torchvision available: False" in result.stdout


def test_works_with_torchvision_present(project_root: Path, tmp_path: Path) -> None:
    site = make_torchvision(tmp_path / "site", WORKING_TORCHVISION)
    result = run_python(USE_THE_PACKAGE, project_root, site, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "torchvision available: True" in result.stdout
    assert "torchvision imported: True" in result.stdout


@pytest.mark.parametrize("state", BROKEN_STATES)
def test_broken_torchvision_is_named_with_its_remedy(state: str, project_root: Path, tmp_path: Path) -> None:
    site = make_torchvision(tmp_path / "site", {"__init__.py": broken_source(state)})
    result = run_python(IMPORT_THE_PACKAGE, project_root, site, tmp_path)

    assert result.returncode != 0
    assert "imported" not in result.stdout
    message = result.stderr[result.stderr.index("ImportError:") :]
    assert "torchvision 0.28.0 is installed but broken" in message
    assert ": ".join(BROKEN_STATES[state]) in message
    assert str(site / "torchvision") in message
    assert "pip uninstall torchvision" in message
    assert "matches torch" in message
    # One error, not a chain of them, and none that blames a class of transformers.
    assert result.stderr.count("Traceback (most recent call last)") == 1
    assert "Could not import module" not in result.stderr


def test_broken_torchvision_would_otherwise_break_transformers(project_root: Path, tmp_path: Path) -> None:
    """The reason for the check: if transformers ever copes with a broken torchvision by itself, drop it."""
    site = make_torchvision(tmp_path / "site", {"__init__.py": broken_source("operator")})
    result = run_python("from transformers import PreTrainedModel", project_root, site, tmp_path)
    assert result.returncode != 0
    assert "Could not import module 'PreTrainedModel'" in result.stderr


def test_torchvision_without_the_modules_transformers_needs(project_root: Path, tmp_path: Path) -> None:
    """A folder that happens to be called torchvision on the path is, to transformers, an installed torchvision."""
    (tmp_path / "site" / "torchvision").mkdir(parents=True)
    result = run_python(IMPORT_THE_PACKAGE, project_root, tmp_path / "site", tmp_path)
    assert result.returncode != 0
    assert "No module named 'torchvision.transforms'" in result.stderr
    assert "pip uninstall torchvision" in result.stderr
