"""The selection engine equals `dataflow.nm` on ties, zeros, NaNs and under back-pressure."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow import nm
from rtl.sat.sore import Sore
from tests.cosim.units import Unit
from workloads import NM

LANES, MOST = 2, NM(4, 16)
PATTERNS = [NM(1, 4), NM(2, 4), NM(2, 8), NM(4, 8), NM(2, 16), NM(4, 4), NM(1, 1)]
LINK_BITS = 16 + 4


def sore(level: str, directory) -> Unit:
    return Unit(
        make=lambda: Sore(lanes=LANES, n=MOST.n, m=MOST.m),
        top="sore",
        key="",
        level=level,
        directory=directory,
    )


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float16)


def few_values(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    values = np.array([-1, 1, 0, -0.0, 2, -2, np.inf, -np.inf, np.nan, 6e-8], np.float16)
    return rng.choice(values, shape)


def any_bits(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.integers(0, 1 << 16, shape).astype(np.uint16).view(np.float16)


def select(unit: Unit, values: np.ndarray, pattern: NM, *, stall: float):
    """Stream the columns of `values` through the lanes; return what comes out and when."""
    beats = [
        sum(bits << (16 * lane) for lane, bits in enumerate(row))
        for row in values.view(np.uint16).tolist()
    ]
    wanted = len(beats) // pattern.m
    constants = {"kept": pattern.n, "group": pattern.m}
    taken = unit.stream(
        beats,
        source="values",
        sink="selected",
        wanted=wanted,
        constants=constants,
        stall=stall,
    )
    links = np.array(
        [
            [
                [
                    beat >> (LINK_BITS * (lane * MOST.n + entry)) & ((1 << LINK_BITS) - 1)
                    for lane in range(LANES)
                ]
                for entry in range(pattern.n)
            ]
            for _, beat in taken
        ],
        np.uint32,
    )
    return [cycle for cycle, _ in taken], links


def assert_selects(unit: Unit, values: np.ndarray, pattern: NM, *, stall: float) -> None:
    cycles, links = select(unit, values, pattern, stall=stall)
    want = nm.compress(values, pattern)
    assert np.array_equal(links & 0xFFFF, want.values.view(np.uint16))
    assert np.array_equal(links >> 16, want.indices)
    if not stall and unit.level == "amaranth":
        assert cycles == [pattern.m * (group + 1) for group in range(len(cycles))]


@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["flowing", "stalled"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_selection_equals_the_format_and_takes_m_cycles_a_group(pattern, stall, tmp_path) -> None:
    rng = np.random.default_rng(pattern.m)
    values = np.concatenate(
        [make(rng, (5 * pattern.m, LANES)) for make in (normal, few_values, any_bits)]
    )
    assert_selects(sore("amaranth", tmp_path), values, pattern, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["flowing", "stalled"])
def test_selection_equals_the_format_in_emitted_verilog(stall, icarus, tmp_path) -> None:
    rng = np.random.default_rng(8)
    for pattern in (NM(2, 8), NM(2, 16), NM(4, 8)):
        values = np.concatenate(
            [make(rng, (20 * pattern.m, LANES)) for make in (normal, few_values, any_bits)]
        )
        assert_selects(sore("icarus", tmp_path), values, pattern, stall=stall)
