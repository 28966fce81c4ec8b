# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Brings transformers' own conformance suite here: the testers in the source distribution of the installed version.

The wheel that pip installs holds no tests, the source distribution does. It is fetched with pip once per version into
`.cache/transformers-tests/` (ignored by git) and imported from there under a name of its own, because this project's
folder is called `tests` too.
"""

import importlib
import importlib.util
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

import transformers
from filelock import FileLock

PACKAGE = "transformers_suite_sources"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "transformers-tests"
DOWNLOAD_TIMEOUT_S = 240


class SuiteUnavailable(Exception):
    """The source distribution cannot be fetched or does not hold the testers; the message says why."""


def suite_folder() -> Path:
    """Folder with the `tests/*.py` of the installed version's source distribution; fetched on the first call.

    Raises:
        SuiteUnavailable: If pip cannot fetch it (no network, a development version of transformers, ...).
    """
    folder = CACHE / transformers.__version__
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):  # the workers of pytest-xdist all come here at the same moment
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                _extract_tests(_download_sdist(Path(scratch)), Path(scratch) / "tests").rename(folder)
    return folder


def _download_sdist(target: Path) -> Path:
    requirement = f"transformers=={transformers.__version__}"
    # Without build isolation: pip only asks the archive for its metadata, with the setuptools that is installed here.
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "--no-binary", ":all:"]
    command += ["--no-build-isolation", "--quiet", "--dest", str(target)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise SuiteUnavailable(f"fetching the source of {requirement} took over {DOWNLOAD_TIMEOUT_S} s") from error
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise SuiteUnavailable(f"pip could not fetch the source of {requirement}: {reason}")
    return next(target.glob("*.tar.gz"))


def _extract_tests(sdist: Path, target: Path) -> Path:
    target.mkdir()
    (target / "__init__.py").touch()  # left out of the source distribution too, and loaded by one of the testers
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = Path(member.name).parts
            if member.isfile() and len(path) == 3 and path[1] == "tests" and path[2].endswith(".py"):
                (target / path[2]).write_bytes(archive.extractfile(member).read())
    if not (target / "test_modeling_common.py").is_file():
        raise SuiteUnavailable(f"{sdist.name} holds no tests/test_modeling_common.py")
    return target


def load_suite() -> tuple[ModuleType, ModuleType]:
    """Imports the suite.

    Returns:
        The modules `test_modeling_common` (with `ModelTesterMixin`) and `test_configuration_common` (`ConfigTester`).

    Raises:
        SuiteUnavailable: If it cannot be fetched.
    """
    folder = suite_folder()
    package = ModuleType(PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[PACKAGE] = package
    # The source distribution leaves out the subfolders of tests/, of which these two modules import three names.
    # - The exporters' and the generation testers are mixins beside the conformance suite (export to ONNX, ExecuTorch
    #   and the like; `generate`, which a segmentation model does not have), so a class without tests stands in.
    # - The dictionary of common configuration values is read only for configurations without sub-configurations.
    _stand_in("exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
    _stand_in("generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
    _stand_in("utils.test_configuration_utils", config_common_kwargs={})
    modeling = importlib.import_module(f"{PACKAGE}.test_modeling_common")
    configuration = importlib.import_module(f"{PACKAGE}.test_configuration_common")
    return modeling, configuration


def _stand_in(name: str, **contents: object) -> None:
    folder, _, _ = name.partition(".")
    for full_name in (f"{PACKAGE}.{folder}", f"{PACKAGE}.{name}"):
        sys.modules[full_name] = ModuleType(full_name)
    sys.modules[f"{PACKAGE}.{folder}"].__path__ = []
    vars(sys.modules[f"{PACKAGE}.{name}"]).update(contents)
