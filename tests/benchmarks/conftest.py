"""Figures beside their budgets: each test notes what it measured, the end of the run shows all."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from simulator.sweep.version import code_version

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
    def budget(self) -> str:
        """The budget in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:.4g}"
        return f"at least {self.at_least:.4g}"

    @property
    def verdict(self) -> str:
        """Whether the budget is kept, in a word."""
        return "kept" if self.kept else "MISSED"

    @property
    def line(self) -> str:
        """The figure beside its budget."""
        value = f"{self.value:>10.4g} {self.unit:<12}"
        return f"{self.what:<52} {value} {self.budget:<18} {self.verdict}"


Note = Callable[..., None]


@pytest.fixture(autouse=True)
def _bytecode_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands keep their bytecode, as Python does unless it is told not to."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


@pytest.fixture
def figure(record_property) -> Note:
    """Return a function that notes a figure and fails where it misses its budget."""

    def note(what: str, value: float, unit: str, **budget: float) -> None:
        found = Figure(what=what, value=float(value), unit=unit, **budget)
        record_property(FIGURE, json.dumps(asdict(found)))
        assert found.kept, found.line

    return note


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", metavar="FILE", help="write figures and budgets as Markdown")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
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
        if target := config.getoption("--figures"):
            Path(target).write_text(page(figures), encoding="utf-8")


def page(figures: Sequence[Figure]) -> str:
    """Return the figures as Markdown, with what ran; seconds are this machine's."""
    rows = [
        f"| {each.what} | {each.value:.4g} {each.unit} | {each.budget} | {each.verdict} |"
        for each in figures
    ]
    made = (
        f"`make bench`, sparsight {code_version()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}."
    )
    head = "| figure | value | budget | |\n| --- | ---: | ---: | --- |"
    return "\n".join(["# Figures beside their budgets", "", head, *rows, "", made, ""])
