# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The project as a package: what it depends on, what its wheel holds, and that its front page tells the truth."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

HEADER = "# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0."
RUNTIME_DEPENDENCIES = {
    "transformers",
    "torch",
    "safetensors",
    "huggingface_hub",
    "av",
    "numpy",
    "pillow",
    "scipy",
    "ftfy",
    "rich",
}


@pytest.fixture(scope="module")
def pyproject(project_root: Path) -> dict:
    tomllib = pytest.importorskip("tomllib", reason="tomllib is part of Python from 3.11")
    return tomllib.loads((project_root / "pyproject.toml").read_text())


# Stand for a checkpoint: whatever lies in its folder travels.
STAND_IN = {
    f"univs_hf/checkpoints/stand-in/{name}"
    for name in ("README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json")
}


@pytest.fixture(scope="module")
def source(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What packages are built from: a copy, so that nothing is left in the work tree, with one more checkpoint."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "univs_cli.py"):
        shutil.copy(project_root / name, source)
    shutil.copytree(project_root / "univs_hf", source / "univs_hf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in STAND_IN:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("{}")
    return source


def packaged_files(project_root: Path) -> set[str]:
    """Files of the package that have to travel, but for those of the stand-in."""
    package = project_root / "univs_hf"
    files = {path for pattern in ("*.py", "*.json", "*.yaml", "*.jinja") for path in package.rglob(pattern)}
    files |= {path for path in (package / "checkpoints").rglob("*") if path.is_file()}
    return {path.relative_to(project_root).as_posix() for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(source),
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(target),
    ]
    build = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert build.returncode == 0, build.stdout + build.stderr
    return next(target.glob("univs_hf-*.whl"))


def requirement_name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0]


def test_dependencies(pyproject: dict) -> None:
    project = pyproject["project"]
    assert {requirement_name(line) for line in project["dependencies"]} == RUNTIME_DEPENDENCIES
    assert project["requires-python"] == ">=3.10"
    assert set(project["optional-dependencies"]) == {"train", "eval", "demo", "dev"}
    assert set(project["optional-dependencies"]["eval"]) == {"accelerate", "evaluate", "jinja2", "pycocotools"}
    train = project["optional-dependencies"]["train"]
    assert "univs-hf[eval]" in train and "datasets" in map(requirement_name, train)
    assert not any("torchvision" in line for lines in project["optional-dependencies"].values() for line in lines)


def test_constraints_pin_every_dependency(pyproject: dict, project_root: Path) -> None:
    lines = (project_root / "constraints.txt").read_text().splitlines()
    pins = {requirement_name(line).lower(): line for line in lines if line and not line.startswith("#")}
    assert all("==" in line for line in pins.values())
    extras = pyproject["project"]["optional-dependencies"]
    wanted = [*pyproject["project"]["dependencies"], *extras["dev"], *extras["eval"], *extras["train"]]
    assert {requirement_name(line).lower() for line in wanted} - {"univs-hf"} <= set(pins)
    assert pins["torch"] == "torch==2.13.0"


def test_wheel_holds_code_and_data(wheel: Path, project_root: Path) -> None:
    expected = packaged_files(project_root) | STAND_IN | {"univs_cli.py"}
    assert any(name.endswith(".json") for name in expected)
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "univs = univs_cli:main" in archive.read(entry_points).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert held == expected


def test_source_distribution_holds_the_same(source: Path, project_root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "source"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    program = "import setuptools.build_meta as backend; print(backend.build_sdist('out'))"
    build = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True, timeout=300)
    assert build.returncode == 0, build.stdout + build.stderr
    with tarfile.open(next((copy / "out").glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*packaged_files(project_root), *STAND_IN, "univs_cli.py", "pyproject.toml", "README.md", "LICENSE"}
    assert wanted <= held, wanted - held


def test_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel shows the command's help and finds its data, with the work tree out of reach."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import univs_hf, univs_hf.cli, univs_hf.label_sets\n"
        f"assert univs_hf.__file__.startswith({str(site)!r}), univs_hf.__file__\n"
        "assert univs_hf.label_sets.load_label_set('coco_panoptic')\n"
        "sys.argv = ['univs', '--help']\n"
        "univs_hf.cli.main()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "segment" in run.stdout and "convert" in run.stdout


def test_version_is_told_once(pyproject: dict) -> None:
    assert importlib.import_module("univs_hf").__version__ == pyproject["project"]["version"]


def test_modules_can_travel_as_remote_code(project_root: Path) -> None:
    """The hub copies single files side by side: an import of the package by name, or of a folder, breaks there."""
    for path in sorted((project_root / "univs_hf").glob("*.py")):
        source = path.read_text()
        assert source.startswith(HEADER), f"{path.name} does not start with the licence line"
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{path.name}:{node.lineno} imports from above the package"
                # transformers finds the files to copy by lines of the form `from .module import name`.
                assert node.level == 0 or node.module, f"{path.name}:{node.lineno} imports a module by `from . import`"
                assert (node.module or "").split(".")[0] != "univs_hf", f"{path.name}:{node.lineno} names the package"
            elif isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
                assert "univs_hf" not in names, f"{path.name}:{node.lineno} names the package"


def test_readme_names_what_exists(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (project_root / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"\bmake ([a-z-]+)", readme))
    assert {"demo", "test"} <= told <= targets
    scripts = set(re.findall(r"python ((?:tests|benchmarks|demo|examples)/\S+\.py)", readme))
    links = set(re.findall(r"\]\(([^)#:]+)\)", readme))
    missing = [name for name in scripts | links if not (project_root / name).exists()]
    assert not missing


def test_ci_runs_lint_and_tests(project_root: Path) -> None:
    script = project_root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert {"make lint", "make test"} <= set(script.read_text().splitlines())
