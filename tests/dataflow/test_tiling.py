"""Counts of groups, tiles and blocks against enumeration."""

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
