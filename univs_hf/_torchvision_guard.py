# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Says what is wrong when torchvision is installed but cannot be imported.

Nothing in this package uses torchvision. transformers does: it asks only whether a package of that name can be found,
and where one is found it imports from it while its own model, image and processor modules load. A torchvision that was
built for another torch (the usual cause: torch was replaced, torchvision was not) therefore breaks those modules, and
what the user sees are errors about `PreTrainedModel` or `ProcessorMixin` that name neither cause nor remedy.
"""

import importlib
import importlib.metadata
import importlib.util


def check_torchvision() -> None:
    """Raises a clear error if torchvision is installed but broken; returns at once if it is absent.

    A working torchvision is imported here, which costs nothing extra: transformers' model base class imports it too.

    Raises:
        ImportError: torchvision can be found, but importing what transformers needs of it raises. The message holds
            the original error and what to do.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None:
        return
    try:
        # The deepest module of torchvision that transformers' own base modules import.
        importlib.import_module("torchvision.transforms.v2.functional")
    except Exception as error:  # a broken binary raises anything: RuntimeError, OSError, AttributeError, ImportError
        folder = next(iter(found.submodule_search_locations or []), found.origin)
        # Without the chained traceback, which would bury this message under torchvision's and torch's frames.
        raise ImportError(_broken_torchvision_message(error, folder), name="torchvision") from None


def _installed_version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _broken_torchvision_message(error: Exception, folder: str | None) -> str:
    version = _installed_version("torchvision")
    return (
        f"univs_hf cannot be imported because torchvision {version} is installed but broken.\n"
        f"Importing it from {folder} raises {type(error).__name__}: {error}\n"
        "univs_hf does not use torchvision, but transformers imports it wherever it is installed, and fails with it.\n"
        "Do one of these:\n"
        "  - remove it: pip uninstall torchvision\n"
        f"  - install the build of torchvision that matches torch {_installed_version('torch')}, from where torch was "
        "installed:\n"
        "    pip install --force-reinstall --no-deps torchvision==<the version made for this torch>"
    )
