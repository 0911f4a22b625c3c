"""Figures beside their budgets: each test notes what it measured, the end of the run shows all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest

collect_ignore = ["peers"]
FIGURE = "figure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, and what it must not exceed or fall below."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the budget is kept."""
        return not (
            (self.at_most is not None and self.value > self.at_most)
            or (self.at_least is not None and self.value < self.at_least)
        )

    @property
    def line(self) -> str:
        """The figure beside its budget."""
        most, least = self.at_most, self.at_least
        budget = f"at most {most:.4g}" if most is not None else f"at least {least:.4g}"
        verdict = "kept" if self.kept else "MISSED"
        return f"{self.what:<72} {self.value:>10.4g} {self.unit:<12} {budget:<18} {verdict}"


Note = Callable[..., None]


@pytest.fixture
def figure(record_property) -> Note:
    """Return a function that notes a figure and fails where it misses its budget."""

    def note(what: str, value: float, unit: str, **budget: float) -> None:
        found = Figure(what=what, value=float(value), unit=unit, **budget)
        record_property(FIGURE, json.dumps(asdict(found)))
        assert found.kept, found.line

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        Figure(**json.loads(value))
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == FIGURE
    ]
    if figures:
        terminalreporter.section("figures beside their budgets")
        for each in figures:
            terminalreporter.write_line(each.line)
