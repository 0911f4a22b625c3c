"""The peak of a fresh interpreter is its own: `peak_of`."""

import numpy as np
import pytest

from tests.benchmarks.memory import peak_of

MEGABYTE = 1 << 20


def test_a_peak_is_not_inherited_from_the_process_that_asks() -> None:
    held = np.ones(300 * MEGABYTE, np.uint8)
    assert peak_of("pass") < 50 * MEGABYTE < held.nbytes


def test_a_peak_stays_after_its_memory_is_given_back() -> None:
    peak = peak_of("held = bytes([1]) * (200 << 20); del held; print('said')")
    assert 200 * MEGABYTE <= peak < 250 * MEGABYTE


def test_code_that_ends_early_gives_no_peak() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        peak_of("print('said'); raise SystemExit(0)")
