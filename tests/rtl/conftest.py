"""Synthesis tests need Debian's yosys, OpenSTA and cell library."""

import pytest

from tests.closing import missing_for_synthesis


@pytest.fixture
def synthesis_tools() -> None:
    """Skip, with the sentence, where the tools are absent: no Python package brings them."""
    sentence = missing_for_synthesis()
    if sentence:
        pytest.skip(sentence)
