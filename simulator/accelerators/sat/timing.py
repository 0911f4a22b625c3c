"""Closed-form cycles of the N:M array: the exact time of one matrix product, memory ideal.

The array is the one that `stepped` simulates register by register; `tests/accelerators` shows that
both agree on every shape tried, and that every period below is the smallest possible one.

Symbols, as in `stepped`:

=====  ====================================================================================
R, C   rows and columns of processing elements (PEs)
N, M   the pattern of the operand from the north; a dense operand is 1:1
I      `interleave`: independent partial sums that take turns in one PE
La     `add_latency`: cycles of the adder, which accumulates through its own pipeline
Lm     `mul_latency`: cycles of the multiplier
S      max(I, La): cycles after which a partial sum can be added to again
G      groups of M along the reduction (`dataflow.tiling.reduction_groups`)
=====  ====================================================================================

**Output stationary.** I tiles of R x C outputs are computed together, one cycle each in turn, so
that a step of the reduction takes S cycles and a tile has T = G N steps. Results are copied to a
drain chain (one per column, R x I registers) and leave southwards, one a cycle, while the next I
tiles compute. The chain of a column may only be loaded when it is empty. The next tiles follow
after

    period = max(T S, R I + R + I - 2)

and the product ends (T-1) S + (U-1) + (R-1) + (C-1) + Lm + La + R U cycles after the start of its
last tiles, of which there are U <= I.

**Weight stationary.** A PE holds one group (N values). Rows are streamed in blocks of I: each block
passes N times, once for each held value, so T = ceil(P/I) N S cycles (for N = 1 no sum is added to
twice in a PE: T = P). A row's sum reaches the PE below after h = (N-1) S + La cycles. Weights of
the next tile are shifted in from the north behind the last use of the old ones (N R cycles), and
its rows may only start when the sums that they continue have left the array:

    period = max(T, (R-1) h + N R, R h + 1 if K needs several tiles)

with N R cycles for the first weights, and (last row's start) + R h + (C-1) + Lm + 1 at the end.
"""

from __future__ import annotations

from numba import njit

from dataflow.interleave import last_turn, slot_cycles, turns
from dataflow.tiling import ceil_div, output_tiles


@njit(cache=True)
def os_period(steps: int, rows: int, interleave: int, add_latency: int) -> int:
    """Cycles from the start of the interleaved tiles to the start of the next ones."""
    slots = slot_cycles(interleave, add_latency)
    return max(steps * slots, rows * interleave + rows + interleave - 2)


@njit(cache=True)
def os_cycles(
    p: int,
    groups: int,
    kept: int,
    q: int,
    batch: int,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
) -> int:
    """Cycles of `batch` products (p, groups x kept, q), output stationary.

    >>> os_cycles(32, 32, 1, 32, 1, 32, 32, 1, 0, 1)   # 31 + 31 + 31 + 1 and 32 to drain
    126
    """
    slots = slot_cycles(interleave, add_latency)
    steps = groups * kept
    tiles = batch * output_tiles(p, q, rows, cols)
    last = last_turn(tiles, interleave)
    period = os_period(steps, rows, interleave, add_latency)
    tail = (steps - 1) * slots + last + rows + cols - 3 + mul_latency + add_latency + rows * last
    return (turns(tiles, interleave) - 1) * period + tail


@njit(cache=True)
def ws_stream(p: int, kept: int, interleave: int, add_latency: int) -> int:
    """Cycles in which `p` rows pass one PE."""
    if kept == 1:
        return p
    return turns(p, interleave) * kept * slot_cycles(interleave, add_latency)


@njit(cache=True)
def ws_period(p: int, k_tiles: int, kept: int, rows: int, interleave: int, add_latency: int) -> int:
    """Cycles from the start of one weight tile to the start of the next one."""
    hop = (kept - 1) * slot_cycles(interleave, add_latency) + add_latency
    period = max(ws_stream(p, kept, interleave, add_latency), (rows - 1) * hop + kept * rows)
    if k_tiles > 1:
        period = max(period, rows * hop + 1)
    return period


@njit(cache=True)
def ws_cycles(
    p: int,
    groups: int,
    kept: int,
    q: int,
    batch: int,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
    block_rows: int,
) -> int:
    """Cycles of `batch` products (p, groups x kept, q), weight stationary in blocks of rows.

    >>> ws_cycles(100, 32, 1, 32, 1, 32, 32, 1, 0, 1, 100)   # 32 weights, then 99 + 32 + 31 + 1
    195
    """
    slots = slot_cycles(interleave, add_latency)
    hop = (kept - 1) * slots + add_latency
    k_tiles = ceil_div(groups, rows)
    strips = batch * ceil_div(q, cols) * k_tiles
    blocks = ceil_div(p, block_rows)
    last_rows = p - (blocks - 1) * block_rows
    full = ws_period(block_rows, k_tiles, kept, rows, interleave, add_latency)
    short = ws_period(last_rows, k_tiles, kept, rows, interleave, add_latency)
    last_start = last_rows - 1
    if kept > 1:
        turn = turns(last_rows, interleave) - 1
        last_start = turn * kept * slots + last_turn(last_rows, interleave) - 1
    return (
        kept * rows
        + strips * ((blocks - 1) * full + short)
        - short
        + last_start
        + rows * hop
        + cols
        + mul_latency
    )
