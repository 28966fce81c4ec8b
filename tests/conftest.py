# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Settings that every test shares, made before anything imports transformers."""

import os
from collections.abc import Iterator
from pathlib import Path

# No test may depend on what a hub answers. transformers and huggingface_hub read these once, when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
import torch  # noqa: E402

PROJECT_ROOT = Path(__file__).resolve().parent.parent


# Marks that transformers' conformance suite puts on its tests (tests/transformers_suite.py).
SUITE_MARKERS = (
    "accelerate_tests",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "flash_attn_test",
    "flex_attention_test",
    "flaky",
    "generate",
    "torch_compile_test",
    "torch_export_test",
)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the suite's marks and sets one torch thread per process: xdist already keeps every core busy."""
    for name in SUITE_MARKERS:
        config.addinivalue_line("markers", f"{name}: set by transformers' conformance suite")
    torch.set_num_threads(int(os.environ.get("UNIVS_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the reference material: `UNIVS_SHARED`, or `../shared` beside the project. Skips when it is absent."""
    folder = Path(os.environ.get("UNIVS_SHARED", PROJECT_ROOT.parent / "shared")).expanduser()
    if not folder.is_dir():
        pytest.skip(f"reference material not found at {folder}: set UNIVS_SHARED to its folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return PROJECT_ROOT


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are split among threads otherwise, and runs with other numbers of threads differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
