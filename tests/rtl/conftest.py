"""Synthesis tests need Debian's yosys, OpenSTA and cell library: say whether they ran."""

import pytest

from rtl.synthesis import flow
from workloads import InputError


def missing() -> str:
    """One sentence that names what to install; empty if everything is there."""
    try:
        flow.find_library()
    except InputError as error:
        return flow.missing_tools() or str(error)
    return flow.missing_tools()


@pytest.fixture
def synthesis_tools() -> None:
    """Skip, with the sentence, where the tools are absent: no Python package brings them."""
    sentence = missing()
    if sentence:
        pytest.skip(sentence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sentence = missing()
    state = f"DID NOT RUN: {sentence}" if sentence else f"ran with {flow.tool_versions()}"
    terminalreporter.write_line(f"synthesis tests: {state}")
