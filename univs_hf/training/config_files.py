# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Configuration from YAML files and the command line.

A file holds the sections of [`TrainingConfig`]. Under `recipes` it may hold variants of them: those of the chosen
`recipe` win over the rest of the file, and the command line wins over both.
"""

from __future__ import annotations

import difflib
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from ..data.mixtures import RECIPES
from .config import TrainingConfig

_VARIANTS = "recipes"


def load_config(path: str | os.PathLike | None = None, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a configuration file and what the command line says.

    Args:
        path: YAML file; None for the defaults.
        overrides: Such as `["--optimizer.learning_rate", "1e-4", "--recipe=released"]`. Values are YAML.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If a value is of another type than its key has.
        ValueError: If the file is not YAML, a key is unknown (the nearest known ones are named), or a value is not
            accepted.
    """
    values = {} if path is None else _read(Path(path))
    variants = values.pop(_VARIANTS, None) or {}
    changes = parse_overrides(overrides)
    recipe = changes.get("recipe", values.get("recipe", TrainingConfig.recipe))
    if not isinstance(variants, Mapping) or set(variants) - set(RECIPES):
        raise ValueError(f"`{_VARIANTS}` of {path} must hold some of {list(RECIPES)}, got {variants!r}.")
    for name, variant in variants.items():
        # A mistake in the other recipe is one, too.
        _check_keys(TrainingConfig, variant or {}, (), f"{path}, {_VARIANTS}.{name}")
    values = merge(merge(values, variants.get(recipe) or {}), changes)
    config = config_from_dict(values)
    config.check()
    return config


def config_from_dict(values: Mapping[str, Any]) -> TrainingConfig:
    """Makes a configuration of nested mappings, as files hold them; unchecked but for keys and types.

    Raises:
        TypeError: If a value is of another type than its key has.
        ValueError: If a key is unknown.
    """
    _check_keys(TrainingConfig, values, (), "the configuration")
    return _build(TrainingConfig, values, ())


def config_to_dict(config: TrainingConfig) -> dict[str, Any]:
    """The inverse of [`config_from_dict`]: plain mappings, lists, numbers and strings."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return plain(asdict(config))


def write_config(config: TrainingConfig, path: Path) -> None:
    """Writes a configuration as a file that [`load_config`] reads; the file appears when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False), encoding="utf-8")
    os.replace(temporary, path)


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """`["--a.b", "1", "--c=x"]` as nested mappings.

    Raises:
        ValueError: If an argument is no key or has no value.
    """
    changes: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--") or len(argument) < 3:
            raise ValueError(f"Expected `--section.name value`, got {argument!r}.")
        key, separator, text = argument[2:].partition("=")
        if not separator:
            if not waiting or waiting[0].startswith("--"):
                raise ValueError(f"`--{key}` needs a value.")
            text = waiting.pop(0)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"`--{key}`: {text!r} is not a value: {error}") from error
        *sections, name = key.split(".")
        target = changes
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ValueError(f"`--{key}`: `{section}` was given a value and is a section.")
        target[name] = value
    return changes


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `changes`, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def known_keys(section: type = TrainingConfig, prefix: str = "") -> Iterator[str]:
    """All keys with their sections, `optimizer.learning_rate`; `*` stands for names that are free."""
    for name, kind in _types(section).items():
        yield prefix + name
        if is_dataclass(kind):
            yield from known_keys(kind, f"{prefix}{name}.")
        elif get_origin(kind) is dict and is_dataclass(get_args(kind)[1]):
            yield from known_keys(get_args(kind)[1], f"{prefix}{name}.*.")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no configuration file {path}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} must hold sections, got a {type(values).__name__}.")
    known = {name: value for name, value in values.items() if name != _VARIANTS}
    _check_keys(TrainingConfig, known, (), str(path))
    return dict(values)


def _types(section: type) -> dict[str, Any]:
    hints = get_type_hints(section)
    return {item.name: hints[item.name] for item in fields(section)}


def _check_keys(section: type, values: Any, place: tuple[str, ...], source: str) -> None:
    """Checks that all keys are known, before any value is looked at."""
    if not isinstance(values, Mapping):
        raise TypeError(f"`{'.'.join(place)}` is a section and must hold keys, got {values!r} ({source}).")
    kinds = _types(section)
    for key, value in values.items():
        here = (*place, str(key))
        if key not in kinds:
            raise ValueError(f"Unknown key `{'.'.join(here)}` in {source}.{_nearest(here, kinds)}")
        kind = kinds[key]
        if is_dataclass(kind):
            _check_keys(kind, value, here, source)
        elif get_origin(kind) is dict and is_dataclass(get_args(kind)[1]) and isinstance(value, Mapping):
            for name, item in value.items():
                _check_keys(get_args(kind)[1], {} if item is None else item, (*here, str(name)), source)


def _nearest(place: tuple[str, ...], siblings: Mapping[str, Any]) -> str:
    name = place[-1]
    # `lr` is meant to be `learning_rate`.
    near = [sibling for sibling in siblings if "".join(word[:1] for word in sibling.split("_")) == name]
    near = near or difflib.get_close_matches(name, siblings, 2, 0.6)
    near = [".".join((*place[:-1], sibling)) for sibling in near]
    if not near:
        # The right name in the wrong section, or a name that is like no other here.
        every = list(known_keys())
        near = [key for key in every if key.rsplit(".", 1)[-1] == name]
        near = near or difflib.get_close_matches(".".join(place), every, 2, 0.4)
    return f" Did you mean {' or '.join(f'`{key}`' for key in near)}?" if near else f" Known: {sorted(siblings)}."


def _build(section: type, values: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    kinds = _types(section)
    return section(**{key: _convert(value, kinds[key], (*place, key)) for key, value in values.items()})


def _convert(value: Any, kind: Any, place: tuple[str, ...]) -> Any:
    """A value as the type of its key."""
    if is_dataclass(kind):
        return _build(kind, value, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (kind,) = [argument for argument in arguments if argument is not type(None)]
        return _convert(value, kind, place)
    if origin is dict:
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return {
                str(key): item
                if arguments[1] is Any
                else _convert({} if item is None else item, arguments[1], (*place, str(key)))
                for key, item in value.items()
            }
    elif origin is tuple:
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        repeated = arguments[-1] is Ellipsis
        if repeated or len(items) == len(arguments):
            types_of = [arguments[0]] * len(items) if repeated else arguments
            return tuple(_convert(item, of, place) for item, of in zip(items, types_of, strict=True))
    elif kind is float and not isinstance(value, bool):
        # YAML reads 1e-4 as a string.
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif kind is int and not isinstance(value, bool) and isinstance(value, (int, float)) and value % 1 == 0:
        return int(value)
    elif kind is bool and isinstance(value, bool):
        return value
    elif kind is str and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"`{'.'.join(place)}` must be {_describe(kind)}, got {value!r}.")


def _describe(kind: Any) -> str:
    names = {float: "a number", int: "an integer", bool: "true or false", str: "text"}
    if get_origin(kind) is tuple:
        arguments = get_args(kind)
        if arguments[-1] is Ellipsis:
            return f"a list of values, each {names.get(arguments[0], arguments[0])}"
        return f"a list of {len(arguments)} values"
    return "a mapping" if get_origin(kind) is dict else names.get(kind, str(kind))
