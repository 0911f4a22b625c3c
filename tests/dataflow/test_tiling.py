"""Counts of groups, tiles and blocks against enumeration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.blocking import PSUM_BYTES, blocking
from dataflow.tiling import ceil_div, output_tiles, reduction_groups, rows_per_block

sizes = st.integers(1, 5000)
buffers = st.integers(1024, 1 << 22)


@given(runs=st.integers(1, 9), run=st.integers(1, 70), m=st.sampled_from([1, 4, 8, 16]))
def test_groups_do_not_cross_runs(runs, run, m) -> None:
    per_run = len({position // m for position in range(run)})
    assert reduction_groups(runs * run, run, m) == runs * per_run


@given(p=sizes, q=sizes, rows=st.integers(1, 64), cols=st.integers(1, 64))
def test_tiles_cover_every_output_once(p, q, rows, cols) -> None:
    row_tiles = len(range(0, p, rows))
    assert output_tiles(p, q, rows, cols) == row_tiles * len(range(0, q, cols))


@given(p=sizes, cols=st.integers(1, 64), turns=st.integers(1, 8), size=buffers)
def test_a_block_of_rows_fits_half_the_buffer_or_is_the_least_possible(
    p, cols, turns, size
) -> None:
    block = rows_per_block(p, cols, turns, size)
    assert 1 <= block <= p
    assert block <= turns or 2 * block * cols * PSUM_BYTES <= size
    assert block == p or block % turns == 0


@given(p=sizes, q=sizes, k=sizes, left=buffers, right=buffers, output=buffers)
def test_traffic_is_at_least_compulsory_and_falls_with_larger_buffers(
    p, q, k, left, right, output
) -> None:
    fetched, chunks = blocking(p, q, 2 * p * k, 2 * k * q, 32, 32, left, right, output)
    assert fetched >= 2 * p * k + 2 * k * q
    assert chunks >= 1
    larger, _ = blocking(p, q, 2 * p * k, 2 * k * q, 32, 32, 2 * left, 2 * right, 2 * output)
    assert larger <= fetched


@given(
    p=st.integers(1, 2000),
    q=st.integers(1, 2000),
    left_bytes=st.integers(1, 10**9),
    right_bytes=st.integers(1, 10**9),
    rows=st.sampled_from([1, 32]),
    cols=st.sampled_from([1, 32]),
    output=st.sampled_from([1024, 4096, 1 << 16]),
)
def test_the_output_block_is_the_best_of_all(
    p, q, left_bytes, right_bytes, rows, cols, output
) -> None:
    # Operand buffers that hold nothing leave only the output block.
    fetched, _ = blocking(p, q, left_bytes, right_bytes, rows, cols, 2, 2, output)
    resident = [
        count * moved + stays
        for count, most, moved, stays in (
            (right_bytes, ceil_div(q, cols), left_bytes, right_bytes),
            (left_bytes, ceil_div(p, rows), right_bytes, left_bytes),
        )
        if count <= most
    ]
    of_all = [
        column_blocks * left_bytes
        + ceil_div(p, max(rows, min(p, output // PSUM_BYTES // ceil_div(q, column_blocks))))
        * right_bytes
        for column_blocks in range(1, ceil_div(q, cols) + 1)
    ]
    assert fetched == min(of_all + resident)


@pytest.mark.parametrize("sides", [(10**9, 10**9), (10**12, 10**4)])
def test_a_huge_result_is_blocked_without_trying_every_count(sides: tuple[int, int]) -> None:
    p, q = sides
    tried: list[int] = []

    def counting_ceil_div(numerator: int, denominator: int) -> int:
        tried.append(1)
        return -(-numerator // denominator)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(blocking.py_func.__globals__, "ceil_div", counting_ceil_div)
        blocking.py_func(p, q, 2 * p, 2 * q, 1, 1, 1024, 1024, 1 << 40)
    # At most two square roots of the number of blocks, a few divisions for each.
    assert len(tried) < 20 * 2 * (p * q * PSUM_BYTES / 2**40) ** 0.5 + 100


@given(p=sizes, q=sizes, k=sizes)
def test_everything_is_fetched_once_when_one_operand_fits(p, q, k) -> None:
    left, right = 2 * p * k, 2 * k * q
    fetched, chunks = blocking(p, q, left, right, 32, 32, 1024, 2 * right, 1024)
    assert (fetched, chunks) == (left + right, 1)


def test_a_long_reduction_with_a_small_result_keeps_the_result_on_chip() -> None:
    # The weight gradient of a convolution: 576 x 64 results, a reduction over 1.6 M positions.
    p, q, k = 576, 64, 1_605_632
    half_mib = 1 << 20
    fetched, chunks = blocking(p, q, 2 * p * k, 2 * k * q, 32, 32, half_mib, half_mib, half_mib)
    assert fetched == 2 * p * k + 2 * k * q
    assert chunks == ceil_div(2 * p * k, half_mib // 2)
