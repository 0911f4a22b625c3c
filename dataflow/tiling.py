"""Cutting a product (P, K, Q) into the tiles of an R x C array: counts only, no time.

P rows are streamed, K is reduced, Q are outputs per row. The scalar functions are compiled, so that
closed forms in numba kernels can call them; they are pure and validate nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from workloads import rounding

# The function also takes arrays; kernels have single integers.
_of_integers: Callable[[int, int], int] = rounding.ceil_div
ceil_div = njit(cache=True)(_of_integers)


@njit(cache=True)
def reduction_groups(k: int, k_run: int, m: int) -> int:
    """Return the groups of M along a reduction made of runs of `k_run` elements.

    A group never crosses the end of a run (the channels of one kernel position), so that a run that
    is no multiple of M ends in an incomplete group. A dense operand has M = 1.

    >>> reduction_groups(9 * 20, 20, 8)   # 3x3 kernel, 20 channels: 3 groups a position
    27
    """
    return k // k_run * ceil_div(k_run, m)


@njit(cache=True)
def output_tiles(p: int, q: int, rows: int, cols: int) -> int:
    """Return how many tiles of rows x cols outputs cover a (P, Q) result.

    >>> output_tiles(49, 147, 32, 32)
    10
    """
    return ceil_div(p, rows) * ceil_div(q, cols)


@njit(cache=True)
def rows_per_block(p: int, cols: int, interleave: int, psum_buffer_bytes: int) -> int:
    """Return how many streamed rows fit the buffer of fp32 partial sums of one column strip.

    Half of the buffer is filled while the other half is written out. Blocks are whole multiples of
    the interleaved rows, and at least one of them.

    >>> rows_per_block(25088, 32, 4, 1 << 20)
    4096
    """
    fitting = psum_buffer_bytes // (2 * 4 * cols) // interleave * interleave
    return min(p, max(interleave, fitting))
