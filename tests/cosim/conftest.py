"""Simulators as fixtures, and where their waves go; `tests/conftest.py` says what ran."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.closing import RAN, WAVES
from tests.cosim import simulators
from tests.cosim.sat_model import RECORD_WAVES
from workloads import InputError


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
