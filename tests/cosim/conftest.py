"""Simulators as fixtures, `--waves`, and closing lines that say what ran and what was covered."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.cosim import simulators
from tests.cosim.sat_model import RECORD_WAVES
from workloads import InputError

RAN, COVERED, WAVES = "rtl simulator", "functional coverage", "waveform"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--waves", action="store_true", help="record waveforms of RTL simulations, print their path"
    )


@pytest.fixture
def icarus(request: pytest.FixtureRequest) -> str:
    """Name and version of Icarus Verilog; the test fails if it is missing."""
    return _found(request, simulators.icarus)


@pytest.fixture
def verilator(request: pytest.FixtureRequest) -> str:
    """Name and version of Verilator; the test fails if it is missing."""
    return _found(request, simulators.verilator)


@pytest.fixture
def runs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test's simulations run; with `--waves` a place that outlives the test."""
    if not request.config.getoption("--waves", default=False):
        return tmp_path
    monkeypatch.setenv(RECORD_WAVES, "1")
    kept = Path.cwd() / "sim_build" / re.sub(r"\W+", "_", request.node.name)
    kept.mkdir(parents=True, exist_ok=True)
    request.node.user_properties.append((WAVES, str(kept)))
    return kept


def _found(request: pytest.FixtureRequest, find) -> str:
    try:
        name = find()
    except InputError as error:
        pytest.fail(str(error), pytrace=False)
    request.node.user_properties.append((RAN, name))
    return name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which simulators ran, which cover points have no hit, where the waves are."""
    properties = [
        (name, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
    ]
    ran = Counter(value for name, value in properties if name == RAN)
    for simulator, tests in sorted(ran.items()):
        terminalreporter.write_line(f"RTL simulator: {simulator} ran {tests} tests")
    for name, value in properties:
        if name in (COVERED, WAVES):
            terminalreporter.write_line(f"{name}: {value}")
