"""The closed forms of the N:M array equal its stepped definition; no period could be shorter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import nm
from simulator.accelerators.sat import stepped, timing
from workloads import NM
from workloads.rounding import ceil_div

PATTERNS = [NM(1, 1), NM(1, 4), NM(2, 4), NM(2, 8), NM(4, 8), NM(2, 16)]

arrays = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 5),
        "cols": st.integers(1, 5),
        "interleave": st.integers(1, 5),
        "mul_latency": st.integers(0, 3),
        "add_latency": st.integers(1, 5),
    }
)
shapes = st.tuples(st.integers(1, 19), st.integers(1, 40), st.integers(1, 13))


def operands(p: int, k: int, q: int, pattern: NM, seed: int = 0):
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((p, k)).astype(np.float16)
    right = rng.standard_normal((k, q)).astype(np.float16)
    return nm.windows(left, pattern), nm.compress(right, pattern)


def naive_product(windows, packed):
    """Add fp32 products one after the other in ascending order of k, starting from zero."""
    out = np.zeros((windows.shape[0], packed.values.shape[2]), np.float32)
    for g in range(packed.values.shape[0]):
        for j in range(packed.pattern.n):
            chosen = windows[:, g, :].astype(np.float32)[:, packed.indices[g, j]]
            out = out + chosen * packed.values[g, j].astype(np.float32)
    return out


def run_os(windows, packed, array, *, shorter=0):
    steps = packed.values.shape[0] * packed.pattern.n
    period = timing.os_period(steps, array["rows"], array["interleave"], array["add_latency"])
    return stepped.output_stationary(windows, packed, **array, period=period - shorter)


def run_ws(windows, packed, array, block_rows, *, shorter=0):
    p, groups, _ = windows.shape
    k_tiles = ceil_div(groups, array["rows"])
    last = p - (ceil_div(p, block_rows) - 1) * block_rows
    full, short = (
        timing.ws_period(
            height,
            k_tiles,
            packed.pattern.n,
            array["rows"],
            array["interleave"],
            array["add_latency"],
        )
        for height in (block_rows, last)
    )
    return stepped.weight_stationary(
        windows,
        packed,
        **array,
        block_rows=block_rows,
        period=full - shorter,
        short_period=short - shorter,
    )


@settings(max_examples=300)
@given(shape=shapes, pattern=st.sampled_from(PATTERNS), array=arrays)
def test_output_stationary_closed_form_equals_the_stepped_array(shape, pattern, array) -> None:
    windows, packed = operands(*shape, pattern)
    result = run_os(windows, packed, array)
    assert np.array_equal(result.values, naive_product(windows, packed))
    p, _, q = shape
    assert result.cycles == timing.os_cycles(p, packed.values.shape[0], pattern.n, q, 1, **array)


@settings(max_examples=300)
@given(shape=shapes, pattern=st.sampled_from(PATTERNS), array=arrays, block=st.integers(1, 19))
def test_weight_stationary_closed_form_equals_the_stepped_array(
    shape, pattern, array, block
) -> None:
    p, _, q = shape
    block = min(p, block)
    windows, packed = operands(*shape, pattern)
    result = run_ws(windows, packed, array, block)
    assert np.array_equal(result.values, naive_product(windows, packed))
    assert result.cycles == timing.ws_cycles(
        p, packed.values.shape[0], pattern.n, q, 1, **array, block_rows=block
    )


@settings(max_examples=100)
@given(shape=shapes, pattern=st.sampled_from(PATTERNS), array=arrays)
def test_one_cycle_less_between_output_tiles_is_a_hazard(shape, pattern, array) -> None:
    p, k, q = shape
    # Enough tiles that two full turns follow each other.
    p += array["rows"] * array["interleave"] * 2
    windows, packed = operands(p, k, q, pattern)
    with pytest.raises(stepped.HazardError):
        run_os(windows, packed, array, shorter=1)


@settings(max_examples=100)
@given(shape=shapes, pattern=st.sampled_from(PATTERNS), array=arrays)
def test_one_cycle_less_between_weight_tiles_is_a_hazard(shape, pattern, array) -> None:
    p, k, q = shape
    windows, packed = operands(p, k, q + array["cols"], pattern)
    with pytest.raises(stepped.HazardError):
        run_ws(windows, packed, array, p, shorter=1)
