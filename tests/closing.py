"""The closing lines of a run: what ran with which tools, and what did not."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator, Sequence

from tests import package_models
from tests.sweep.browser import CHROMIUM
from workloads import InputError

RAN, COVERED, WAVES = "rtl simulator", "functional coverage", "waveform"
"""Names of the properties by which a test tells what it ran, covered and recorded."""


def lines(properties: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the closing lines of a run whose tests left `properties`."""
    torch = importlib.util.find_spec("torch") is not None
    yield f"PyTorch capture tests: {_state(torch, 'pip install torch==2.13.0')}"
    yield f"Tests of the sweep's page in headless Chromium: {_state(CHROMIUM, 'install chromium')}"
    yield f"Tests on models of packages: {package_models.state()}"
    yield f"Synthesis tests: {_synthesis()}"
    ran = Counter(value for name, value in properties if name == RAN)
    yield from (f"RTL simulator: {tool} ran {tests} tests" for tool, tests in sorted(ran.items()))
    yield from (f"{name}: {value}" for name, value in properties if name in (COVERED, WAVES))


def missing_for_synthesis() -> str:
    """Return one sentence that names what to install; empty if everything is there."""
    from rtl.synthesis import flow

    try:
        flow.find_library()
    except InputError as error:
        return flow.missing_tools() or str(error)
    return flow.missing_tools()


def _synthesis() -> str:
    if importlib.util.find_spec("amaranth") is None:
        return "DID NOT RUN: pip install 'sparsight[rtl]'"
    from rtl.synthesis import flow

    sentence = missing_for_synthesis()
    return f"DID NOT RUN: {sentence}" if sentence else f"ran with {flow.tool_versions()}"


def _state(found: object, remedy: str) -> str:
    return "ran" if found else f"DID NOT RUN: {remedy}"
