# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Reads files of weights without executing them, and writes results that are there in full or not at all."""

import json
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from .configuration_univs import UniVSConfig

_SAFETENSORS_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}


def read_tensors(path: str | os.PathLike, argument: str) -> Any:
    """Reads a `.pth`, `.pt` or `.safetensors` file without executing what it holds, memory-mapped where possible.

    Args:
        path: The file.
        argument: Name of the argument, for messages.

    Returns:
        What the file holds, mostly a dict. A dict under the key `model` is unwrapped (training checkpoints hold the
        optimizer beside it).

    Raises:
        ValueError: There is no such file, or it holds more than tensors and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"`{argument}` must be a file, and {path} is not one.")
    if path.suffix == ".safetensors":
        return load_file(path)
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError(
                    f"`{argument}`: {path} is a TorchScript program (as CLIP's own downloads are), not a file of "
                    "weights. Save its weights first: torch.save(torch.jit.load(path).state_dict(), new_path)."
                )
    try:
        # Files from before PyTorch 1.6 are no zip archives and cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"`{argument}`: {path} could not be read as a file of tensors saved with torch.save (nothing else is "
            f"executed): {error}"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        return content["model"]
    return content


def check_output_file(path: str | os.PathLike, argument: str, overwrite: bool) -> Path:
    """The path of a file to write, absolute.

    Raises:
        ValueError: A directory is there, or a file that may not be replaced.
    """
    output = Path(path).expanduser().resolve()
    if output.is_dir() or (output.exists() and not overwrite):
        hint = "a directory" if output.is_dir() else "there already; choose another or allow `overwrite`"
        raise ValueError(f"`{argument}` must be a file to write, and {output} is {hint}.")
    return output


def check_output_directory(
    path: str | os.PathLike, overwrite: bool, sources: Iterable[str | os.PathLike | None] = ()
) -> Path:
    """The path of a directory to write, absolute.

    Args:
        path: An empty directory may be there.
        overwrite: Whether a directory with an older model may be there. It will be replaced as a whole.
        sources: Files that are being read; None is left out.

    Raises:
        ValueError: Something is there that may not be replaced.
    """
    output = Path(path).expanduser().resolve()
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return output
    if not overwrite:
        raise ValueError(f"`output_dir`: {output} exists already; choose another or allow `overwrite`.")
    if not (output / "config.json").is_file():
        raise ValueError(f"`output_dir`: {output} exists and holds no model, so it is not replaced; choose another.")
    inside = [os.fspath(source) for source in sources if source and Path(source).resolve().is_relative_to(output)]
    if inside:
        raise ValueError(
            f"`output_dir`: {output} holds what is being converted ({', '.join(inside)}); choose another."
        )
    return output


def write_safetensors(state_dict: dict[str, torch.Tensor], path: Path) -> None:
    """Writes a safetensors file tensor by tensor and gives each up when it is written.

    `safetensors.torch.save_file` needs all tensors at once, which for memory-mapped ones means every page of every
    source file in memory. Here a source file is released after its last tensor, so the order of the dict matters.

    Args:
        state_dict: Tensors on the CPU; views are fine. It is empty afterwards.
        path: File to write.
    """
    # Larger elements first keep every tensor aligned to its element size.
    order = sorted(state_dict, key=lambda key: -state_dict[key].element_size())
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key in order:
        tensor = state_dict[key]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[key] = {
            "dtype": _SAFETENSORS_DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            file.write(memoryview(state_dict.pop(key).contiguous().reshape(-1).view(torch.uint8).numpy()))


def write_pretrained(
    output_dir: Path, state_dict: dict[str, torch.Tensor], config: UniVSConfig, processor: Any
) -> None:
    """Writes a `save_pretrained` directory that is there in full or not at all.

    Args:
        output_dir: Replaced if it exists. Its parent is made if need be.
        state_dict: See [`write_safetensors`]; it is empty afterwards.
        config: Becomes config.json.
        processor: Its files are written beside.
    """
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that the last step is a rename.
    scratch = Path(tempfile.mkdtemp(prefix=f".{output_dir.name}.", dir=output_dir.parent))
    try:
        result = scratch / "new"
        result.mkdir()
        config.save_pretrained(result)
        processor.save_pretrained(result)
        write_safetensors(state_dict, result / "model.safetensors")
        if output_dir.exists():
            os.replace(output_dir, scratch / "old")
        os.replace(result, output_dir)
    finally:
        if (scratch / "old").exists() and not output_dir.exists():
            os.replace(scratch / "old", output_dir)
        shutil.rmtree(scratch, ignore_errors=True)


def write_tensors(content: Any, path: Path) -> None:
    """`torch.save` to a temporary name, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(content, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


__all__ = [
    "check_output_directory",
    "check_output_file",
    "read_tensors",
    "write_pretrained",
    "write_safetensors",
    "write_tensors",
]
