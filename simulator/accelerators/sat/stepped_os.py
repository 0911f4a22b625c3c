"""The array in output-stationary mode, cycle by cycle; `stepped` says what each part does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from dataflow.tiling import ceil_div
from simulator.accelerators.sat import stepped_pe as pe
from simulator.accelerators.sat.stepped_pe import Array, Float32, Ints, Pipes


class Schedule(NamedTuple):
    """Which tiles follow each other: `tiles` in all, `q_tiles` side by side, each of `steps`."""

    period: int
    steps: int
    tiles: int
    q_tiles: int


class Drain(NamedTuple):
    """Drain chains of the columns: values, the array row they come from, how full and how moving.

    `row` holds tile x rows + r. Position 0 leaves first.
    """

    value: Float32
    row: Ints
    loaded: Ints
    shifting: Ints


@njit(cache=True)
def step_output_stationary(
    left: Float32,
    values: Float32,
    indices: Ints,
    out: Float32,
    array: Array,
    period: int,
) -> int:
    """Fill `out` (P, Q); return the cycles, or a negative hazard.

    `left` is (P, G, M), `values` and `indices` are (G, N, Q).
    """
    rows, cols = array.rows, array.cols
    q_tiles = ceil_div(values.shape[2], cols)
    steps = left.shape[1] * array.kept
    plan = Schedule(period, steps, ceil_div(left.shape[0], rows) * q_tiles, q_tiles)
    if period < steps * array.slots:
        return pe.OVERLAPPING_STREAMS

    west = np.full((rows, cols), pe.BUBBLE, np.int64)
    north = np.full((rows, cols), pe.BUBBLE, np.int64)
    pipes = pe.empty_pipes(array)
    chain = (cols, rows * array.interleave)
    drain = Drain(
        np.zeros(chain, np.float32),
        np.full(chain, pe.BUBBLE, np.int64),
        np.zeros(cols, np.int64),
        np.zeros(cols, np.int64),
    )
    drained = 0
    cycle = 0
    while drained < plan.tiles * rows * cols:
        _hop(west, north, cycle, array, plan)
        if (west != north).any():
            return pe.MISALIGNED
        for r in range(rows):
            for c in range(cols):
                slot = west[r, c]
                product = np.float32(0.0)
                if slot != pe.BUBBLE:
                    tile, step = _work(slot, array, plan)
                    row, col = _place(tile, r, c, array, plan)
                    product = pe.product_of(left, values, indices, row, step, col)
                pe.enter_multiplier(pipes, r, c, cycle, slot, product)
                if not _accumulate(pipes, drain, r, c, cycle, array, plan):
                    return pe.DRAIN_BUSY
        cycle += 1  # the registers written above are visible from here on
        for c in range(cols):
            drained += _shift(drain, out, c, array, plan)
    return cycle + 1


@njit(cache=True)
def _hop(west: Ints, north: Ints, cycle: int, array: Array, plan: Schedule) -> None:
    """Move operands one PE on; the edges are skewed by one cycle a row or column."""
    for r in range(array.rows - 1, -1, -1):
        west[r, 1:] = west[r, : array.cols - 1].copy()
        west[r, 0] = _issued(cycle - r, array, plan)
        if r > 0:
            north[r] = north[r - 1]
    for c in range(array.cols):
        north[0, c] = _issued(cycle - c, array, plan)


@njit(cache=True)
def _issued(time: int, array: Array, plan: Schedule) -> int:
    """Return the slot that an edge without skew issues at `time`: the time itself, or a bubble."""
    turn, offset = time // plan.period, time % plan.period
    first = turn * array.interleave
    if time < 0 or first >= plan.tiles or offset >= plan.steps * array.slots:
        return pe.BUBBLE
    return time if offset % array.slots < min(array.interleave, plan.tiles - first) else pe.BUBBLE


@njit(cache=True)
def _work(slot: int, array: Array, plan: Schedule) -> tuple[int, int]:
    """Return the tile and the step of the reduction that a slot works on."""
    offset = slot % plan.period
    return (
        slot // plan.period * array.interleave + offset % array.slots,
        offset // array.slots,
    )


@njit(cache=True)
def _place(tile: int, r: int, c: int, array: Array, plan: Schedule) -> tuple[int, int]:
    """Return the row and column of the result that PE (r, c) computes in a tile."""
    return tile // plan.q_tiles * array.rows + r, tile % plan.q_tiles * array.cols + c


@njit(cache=True)
def _accumulate(
    pipes: Pipes, drain: Drain, r: int, c: int, cycle: int, array: Array, plan: Schedule
) -> bool:
    """Add the visible product to its sum; write a finished sum to the drain, False if it is busy.

    The adder's last stage writes the drain register too, so a sum is taken one cycle before it is
    visible.
    """
    slot, product = pe.leave_multiplier(pipes, r, c, cycle)
    total = pe.own_sum(pipes, r, c, cycle)
    if slot != pe.BUBBLE:
        first = slot % plan.period < array.slots
        total = (np.float32(0.0) if first else total) + product
    pe.enter_adder(pipes, r, c, cycle, slot, total)

    slot, total = pe.leave_adder(pipes, r, c, cycle, array.add_latency - 1)
    if slot == pe.BUBBLE or slot % plan.period // array.slots < plan.steps - 1:
        return True
    tile, _ = _work(slot, array, plan)
    start = tile // array.interleave * array.interleave
    used = min(array.interleave, plan.tiles - start)
    position = (array.rows - 1 - r) * used + tile - start
    drain.value[c, position] = total
    drain.row[c, position] = tile * array.rows + r
    drain.loaded[c] += 1
    free: bool = drain.shifting[c] == 0
    return free


@njit(cache=True)
def _shift(drain: Drain, out: Float32, c: int, array: Array, plan: Schedule) -> int:
    """Put out one result of column `c` if its chain is full or moving; return 1 if it did."""
    if drain.shifting[c] == 0 and drain.loaded[c] > 0:
        start = drain.row[c, 0] // array.rows // array.interleave * array.interleave
        if drain.loaded[c] == array.rows * min(array.interleave, plan.tiles - start):
            drain.shifting[c] = drain.loaded[c]
    if drain.shifting[c] == 0:
        return 0
    position = drain.loaded[c] - drain.shifting[c]  # what has reached the south edge by now
    tile, r = drain.row[c, position] // array.rows, drain.row[c, position] % array.rows
    row, col = _place(tile, r, c, array, plan)
    if row < out.shape[0] and col < out.shape[1]:
        out[row, col] = drain.value[c, position]
    drain.shifting[c] -= 1
    if drain.shifting[c] == 0:
        drain.loaded[c] = 0
    return 1
