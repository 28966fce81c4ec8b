# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What a person sees of a run: lines of figures, and on a terminal a progress bar below them."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Key of an entry -> how it is shown, in this order; loss terms come between.
_FIRST = {"loss": "loss {:.3f}"}
_LAST = {
    "learning_rate": "lr {:.2e}",
    "gradient_norm": "|g| {:.2f}",
    "clips_per_second": "{:.2f} clips/s",
    "data_wait": "data wait {:.0%}",
    "memory_gib": "{:.2f} GiB",
}


class RunDisplay:
    """Shows a run; to be entered while it runs.

    Args:
        first_step, max_steps: Updates at the beginning and the end of this run.
        enabled: Show anything at all.
        console: Where; by default standard error.
    """

    def __init__(self, first_step: int, max_steps: int, enabled: bool, console: Console | None = None):
        self.console = Console(stderr=True) if console is None else console
        self.enabled = enabled
        self._bar = enabled and self.console.is_terminal
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self._bar,
        )
        self._max_steps = max_steps
        self._task = self._progress.add_task("training", total=max_steps, completed=first_step, figures="")

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, step: int) -> None:
        """An update was made, `step` altogether."""
        self._progress.update(self._task, completed=step)

    def figures(self, step: int, entry: Mapping[str, float]) -> None:
        """Figures of the last updates."""
        if not self.enabled:
            return
        # Terminals are too narrow for all figures beside a bar.
        self._progress.update(self._task, figures=_FIRST["loss"].format(entry["loss"]))
        self.line(f"step {step}/{self._max_steps}  {describe(entry)}")

    def line(self, text: str) -> None:
        """A line of its own."""
        if self.enabled:
            self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)


def describe(entry: Mapping[str, float]) -> str:
    """Figures of an entry in one line."""
    terms = {key: f"{key.removeprefix('loss_')} {{:.3f}}" for key in entry if key.startswith("loss_")}
    shown = {**_FIRST, **terms, **_LAST}
    return "  ".join(form.format(entry[key]) for key, form in shown.items() if entry.get(key) is not None)
