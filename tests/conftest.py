"""Settings for the whole suite: Hypothesis without deadlines, reproducible in CI; closing lines."""

import os

import pytest
from hypothesis import settings

# What people see must not depend on the terminal that the suite is started from.
for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)

# A first call compiles numba kernels, so that time limits per example mean nothing.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--waves", action="store_true", help="record waveforms of RTL simulations, print their path"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran with which tools; under pytest-xdist this runs where the reports come in."""
    from tests import closing

    properties = [
        (name, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
    ]
    for line in closing.lines(properties):
        terminalreporter.write_line(line)
