"""How far a study is, with its rate and the time left, on a terminal or as lines of a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

LOG_SECONDS = 30.0


class Silent:
    """Shows nothing."""

    def stage(self, blocks: int, done: int) -> None:
        """Hear of a new stage."""

    def finished(self, points: int, failures: int) -> None:
        """Hear of a finished block."""

    def stopping(self) -> None:
        """Hear that no further block is begun."""


class Progress:
    """A progress bar on a terminal, else a line every half minute; a context manager."""

    def __init__(self, name: str, known: int = 0, failures: int = 0, file: TextIO | None = None):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._console = Console(file=file or sys.stderr)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[points]:,} points, {task.fields[rate]:,.0f}/s"),
            TextColumn("{task.fields[wrong]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task(name, total=None, points=known, rate=0.0, wrong="")
        self._name, self._known, self._failures, self._points = name, known, failures, 0
        self._start = self._logged = time.monotonic()

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, blocks: int, done: int) -> None:
        """Set the bar to a new stage of so many blocks."""
        self._bars.reset(self._task, total=blocks)
        self._show()
        self._bars.update(self._task, completed=done)

    def finished(self, points: int, failures: int) -> None:
        """Move on by a block."""
        self._points += points
        self._failures += failures
        self._show()
        self._bars.advance(self._task)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._logged > LOG_SECONDS:
            self._logged = now
            self._console.print(self._line(), highlight=False, markup=False)

    def stopping(self) -> None:
        """Say that the end is near."""
        said = f"{self._name}: finishing with what is there; Ctrl-C again ends at once"
        self._console.print(said, highlight=False, markup=False)

    @property
    def rate(self) -> float:
        """Points a second since the start."""
        return self._points / max(time.monotonic() - self._start, 1e-9)

    def _show(self) -> None:
        wrong = f"{self._failures} failed" if self._failures else ""
        points = self._known + self._points
        self._bars.update(self._task, points=points, rate=self.rate, wrong=wrong)

    def _line(self) -> str:
        task = self._bars.tasks[0]
        left = task.time_remaining
        share = f"{task.percentage:.0f} %"
        ending = "" if left is None else f", {left:.0f} s left"
        return (
            f"{self._name}: {share}, {self._known + self._points} points, {self.rate:.0f}/s"
            f"{ending}{f', {self._failures} failed' if self._failures else ''}"
        )
