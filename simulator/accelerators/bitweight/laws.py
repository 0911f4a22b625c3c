"""Closed forms for the cycles of the arrays, proved by the RTL's tests.

Dense arrays count clock edges from the first operand to the last result. Products and tiles follow
each other without a gap; only the weights of `ws` are loaded between. With carry-save sums a tile
takes at least the cycles in which its sums are read out, and the last sums `READ_OUT` more. In the
2D matrix all sums are final at once: those of the last tile wait for their turn, d - 1 cycles with
d = min(`least`, c).

========  =====================================  ===========================  ==================
array     tiles                                  a tile takes                 last result, edge
========  =====================================  ===========================  ==================
os        M/R x N/C                              K                            end + r + c - 1
matrix    M/R x N/C                              K                            end + d
ws        K/R x N/C                              R + (M + R + c - 1)          its own end
cube      M/S x N/S x K/S                        1                            end + r + c + S - 2
tree      M x N/C x K/R                          1                            end + c + 2 *
========  =====================================  ===========================  ==================

(quotients rounded up; r and c are the rows and columns of the tile that holds results; end is the
number of steps up to and including the tile's last. *: one less with carry-save sums.)

Sparse engines: a tile's last step is in cycle S + 2 + (passes - 1)(drain - 1), the next tile starts
drain cycles later, and the last results are final drain + 3 cycles after the last step.
"""

from __future__ import annotations

from workloads.rounding import ceil_div

READ_OUT = 2
"""Cycles of the SIMD unit: one addition, one shift and add."""

FILL = 2
"""Cycles from the first request of a tile to the load of its first group."""


def dense(
    array: str,
    m: int,
    k: int,
    n: int,
    *,
    rows: int,
    cols: int,
    least: int = 1,
    carry_save: bool = False,
) -> int:
    """Return the clock edges of one product; `least` bounds a tile's cycles from below.

    `carry_save` matters to the tree only, which then saves a stage.

    >>> dense("os", 32, 100, 32, rows=32, cols=32)  # M + N + K - 1
    163
    """
    down, across = ceil_div(m, rows), ceil_div(n, cols)
    last_m, last_n = m - (down - 1) * rows, n - (across - 1) * cols
    match array:
        case "os":
            period = max(k, least)
            return _last(down, across, rows, cols, last_m, last_n, period) + k - period
        case "matrix":
            period = max(k, least)
            return (down * across - 1) * period + k + min(least, last_n)
        case "ws":
            deep = ceil_div(k, rows)
            full = rows + m + rows + cols - 1
            return deep * ((across - 1) * full + full - cols + last_n)
        case "cube":
            deep = ceil_div(k, rows)
            return _last(down, across, rows, cols, last_m, last_n, deep) + rows - 1
        case _:
            deep = ceil_div(k, rows)
            return _last(1, across, 1, cols, 1, last_n, m * deep) + 2 - carry_save


def _last(
    down: int, across: int, rows: int, cols: int, last_m: int, last_n: int, period: int
) -> int:
    """Return the largest (q + 1) period + r_q + c_q - 1 over tiles q, column tiles innermost.

    The latest tile of each of the four sizes decides.
    """
    ends = [(down * across, last_m, last_n)]
    if across > 1:
        ends.append((down * across - 1, last_m, cols))
    if down > 1:
        ends.append(((down - 1) * across, rows, last_n))
    if down > 1 and across > 1:
        ends.append(((down - 1) * across - 1, rows, cols))
    return max(tiles * period + r + c - 1 for tiles, r, c in ends)


def last_step(steps: int, *, passes: int, drain: int) -> int:
    """Return the cycle of a tile's last step, from the steps of its slowest column."""
    return steps + FILL + (passes - 1) * (drain - 1)


def sparse(tile_ends: int, tiles: int, *, drain: int) -> int:
    """Return the cycles of a product from the sum of all tiles' last steps."""
    return tile_ends + tiles * drain + READ_OUT + 1
