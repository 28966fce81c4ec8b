# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a conversion meets on its way: damage, and what a rule of the dataset leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..layouts.damage import Damage

ON_DAMAGE = ("skip", "fail")


class DamageError(ValueError):
    """Damage that ends a conversion, because `on_damage` is `"fail"`.

    Attributes:
        damage: What is wrong.
    """

    def __init__(self, damage: Damage):
        super().__init__(str(damage))
        self.damage = damage

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross the borders of worker processes.
        return DamageError, (self.damage,)


@dataclass
class ConversionLog:
    """Collects damage and what is left out; every call of a converter's code is handed one.

    Attributes:
        on_damage: `"skip"` to list damage and go on, `"fail"` to raise at the first.
        damages: The damage so far, in the order it was met.
        left_out: What was left out on purpose, counted by rule, such as `"videos of 5 frames or fewer"`.
    """

    on_damage: str = "skip"
    damages: list[Damage] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.on_damage not in ON_DAMAGE:
            raise ValueError(f"`on_damage` must be one of {ON_DAMAGE}, got {self.on_damage!r}.")

    def damage(self, damage: Damage) -> None:
        """Notes damage; the caller goes on without what is lost. A handler as the readers of layouts take it.

        Raises:
            DamageError: If `on_damage` is `"fail"`.
        """
        if self.on_damage == "fail":
            raise DamageError(damage)
        self.damages.append(damage)

    def leave_out(self, rule: str, count: int = 1) -> None:
        """Counts what is left out on purpose, though nothing is wrong with it."""
        self.left_out[rule] += count

    def to_dict(self) -> dict[str, Any]:
        """The log in JSON."""
        return {"damages": [asdict(damage) for damage in self.damages], "left_out": dict(self.left_out)}

    def add(self, content: Mapping[str, Any]) -> None:
        """Adds what [`~ConversionLog.to_dict`] of another log gave."""
        self.damages.extend(Damage(**damage) for damage in content["damages"])
        self.left_out.update(content["left_out"])
