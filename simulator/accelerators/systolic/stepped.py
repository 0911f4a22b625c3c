"""The plain array cycle by cycle and register by register: values and time from one kernel.

This is the definition of the array that `timing` gives closed forms for; nothing here uses one.
Operands enter at the west and north edges, one per row and column and cycle, skewed by one cycle
per row and column, and move one PE a cycle. Every PE multiplies what meets in it. A run ends in the
cycle after the last multiplication.

**Output stationary.** A PE adds up its products in place. In the cycle of its last product it puts
the sum on the result port of its column, which takes one result a cycle. Rows finish one after the
other, so within a tile the port is never asked twice; a next tile that starts too early asks for it
while the rows below are still using it.

**Weight stationary.** A column holds a chain of R shadow registers through which a new tile's
weights move south, one row a cycle, the southmost first; a register joins when the first of them
reaches it. A PE takes its shadow value into use in the cycle in which the tile's first row reaches
it, and keeps it for the tile. A chain starts to shift in the cycle in which its first PE has taken
its value. Sums move south and leave the last PE into an accumulator for each output. A next tile
that starts too early finds its weights still on the way.

Input stationary is weight stationary with the operands exchanged: the caller transposes.
With `overlap` tiles follow each other at `period` cycles, else each starts after the last ended. A
hazard ends the run: the wrappers raise `HazardError`. Periods come from outside, so tests can show
that one cycle less is a hazard.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.tiling import ceil_div

Values = NDArray[np.float64]
Ints = NDArray[np.int64]

OVERLAPPING_STREAMS, MISALIGNED, PORT_BUSY, WEIGHTS_MISSING = -1, -2, -3, -4
HAZARDS = {
    OVERLAPPING_STREAMS: "the next tile's operands would enter before the last ones have",
    MISALIGNED: "operands of different steps meet in a PE",
    PORT_BUSY: "two results of a column leave in one cycle",
    WEIGHTS_MISSING: "a row arrives before the weights of its tile",
}


class HazardError(RuntimeError):
    """The array would have computed something else: the period is too short."""


class Stepped(NamedTuple):
    """Result of shape (m, n) and the cycles it took."""

    values: Values
    cycles: int


def output_stationary(
    left: Values, right: Values, *, rows: int, cols: int, overlap: bool, period: int
) -> Stepped:
    """Step the product of `left` (m, k) and `right` (k, n) through the array.

    Raises `HazardError` if tiles overlap with too short a period.
    """
    out = np.zeros((left.shape[0], right.shape[1]))
    wait = period if overlap else left.shape[1] + rows + cols - 2
    return _checked(out, _output_stationary(left, right, out, rows, cols, wait))


def weight_stationary(
    left: Values, right: Values, *, rows: int, cols: int, overlap: bool, period: int
) -> Stepped:
    """Step the product of `left` (m, k) and `right` (k, n) with the right operand in the array.

    Raises `HazardError` if tiles overlap with too short a period.
    """
    out = np.zeros((left.shape[0], right.shape[1]))
    wait = period if overlap else rows + left.shape[0] + rows + cols - 2
    return _checked(out, _weight_stationary(left, right, out, rows, cols, wait, overlap))


def _checked(values: Values, cycles: int) -> Stepped:
    if cycles < 0:
        raise HazardError(HAZARDS[cycles])
    return Stepped(values, cycles)


@njit(cache=True)
def _output_stationary(
    left: Values, right: Values, out: Values, rows: int, cols: int, period: int
) -> int:
    """Fill `out`; return the cycles, or a negative hazard."""
    m, k = left.shape
    n = right.shape[1]
    across = ceil_div(n, cols)
    tiles = ceil_div(m, rows) * across
    if period < k:
        return OVERLAPPING_STREAMS
    # An operand is named by the cycle in which it would enter at row and column 0; -1 is a bubble.
    west = np.full((rows, cols), -1, np.int64)
    north = np.full((rows, cols), -1, np.int64)
    sums = np.zeros((rows, cols))
    finished = 0
    cycle = 0
    while finished < tiles * rows * cols:
        for r in range(rows - 1, -1, -1):
            for c in range(cols - 1, -1, -1):
                west[r, c] = west[r, c - 1] if c > 0 else _entering(cycle - r, k, period, tiles)
                north[r, c] = north[r - 1, c] if r > 0 else _entering(cycle - c, k, period, tiles)
        for c in range(cols):
            leaving = 0
            for r in range(rows):
                slot = west[r, c]
                if slot != north[r, c]:
                    return MISALIGNED
                if slot < 0:
                    continue
                tile, step = slot // period, slot % period
                row, col = tile // across * rows + r, tile % across * cols + c
                if step == 0:
                    sums[r, c] = 0.0
                if row < m and col < n:
                    sums[r, c] += left[row, step] * right[step, col]
                if step == k - 1:
                    leaving += 1
                    finished += 1
                    if row < m and col < n:
                        out[row, col] = sums[r, c]
            if leaving > 1:
                return PORT_BUSY
        cycle += 1
    return cycle


@njit(cache=True)
def _entering(time: int, steps: int, period: int, tiles: int) -> int:
    """Return `time` if an operand of some tile enters the skewed edge then, else -1."""
    if time < 0 or time // period >= tiles or time % period >= steps:
        return -1
    return time


@njit(cache=True)
def _weight_stationary(
    left: Values, right: Values, out: Values, rows: int, cols: int, period: int, overlap: bool
) -> int:
    """Fill `out`; return the cycles, or a negative hazard."""
    m, k = left.shape
    n = right.shape[1]
    across = ceil_div(n, cols)
    tiles = ceil_div(k, rows) * across
    if period < m:
        return OVERLAPPING_STREAMS
    # A weight is named by tile * rows + row, an operand as above; rows wait for the first weights.
    west = np.full((rows, cols), -1, np.int64)
    psum = np.zeros((rows, cols))
    psum_slot = np.full((rows, cols), -1, np.int64)
    shadow = np.full((rows, cols), -1, np.int64)
    used = np.full((rows, cols), -1, np.int64)
    load_tile = np.zeros(cols, np.int64)
    load_start = np.arange(cols)
    finished = 0
    cycle = 0
    while finished < tiles * m * cols:
        for c in range(cols - 1, -1, -1):
            for r in range(rows - 1, -1, -1):
                time = cycle - rows - r
                west[r, c] = west[r, c - 1] if c > 0 else _entering(time, m, period, tiles)
        for c in range(cols):
            for r in range(rows - 1, -1, -1):
                slot = west[r, c]
                if r > 0 and psum_slot[r - 1, c] != slot:
                    return MISALIGNED
                psum_slot[r, c] = slot
                if slot < 0:
                    continue
                tile, i = slot // period, slot % period
                if i == 0:
                    used[r, c] = shadow[r, c]
                    if r == 0 and overlap:
                        load_tile[c], load_start[c] = tile + 1, cycle
                if used[r, c] != tile * rows + r:
                    return WEIGHTS_MISSING
                row, col = tile // across * rows + r, tile % across * cols + c
                above = psum[r - 1, c] if r > 0 else 0.0
                inside = row < k and col < n
                psum[r, c] = above + (left[i, row] * right[row, col] if inside else 0.0)
                if r == rows - 1:
                    finished += 1
                    if col < n:
                        out[i, col] += psum[r, c]
            _shift_weights(shadow, c, load_tile[c], cycle - load_start[c], rows)
            if not overlap and cycle - c == (load_tile[c] + 1) * period - 1:
                load_tile[c], load_start[c] = load_tile[c] + 1, cycle + 1
        cycle += 1
    return cycle


@njit(cache=True)
def _shift_weights(shadow: Ints, c: int, tile: int, shifts: int, rows: int) -> None:
    """Move the weights of `tile` one row south; row r joins after r shifts, all stop after R."""
    if 0 <= shifts < rows:
        for r in range(shifts, 0, -1):
            shadow[r, c] = shadow[r - 1, c]
        shadow[0, c] = tile * rows + rows - 1 - shifts
