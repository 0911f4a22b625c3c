"""The array in weight-stationary mode, cycle by cycle; `stepped` says what each part does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from dataflow.interleave import turns
from dataflow.tiling import ceil_div
from simulator.accelerators.sat import stepped_pe as pe
from simulator.accelerators.sat.stepped_pe import Array, Float32, Ints, Pipes


class Schedule(NamedTuple):
    """Start cycle of every tile (and the end of the last), and how tiles follow each other.

    K tiles of one block of rows come first, then its other blocks, then the next columns.
    """

    starts: Ints
    k_tiles: int
    blocks: int
    block_rows: int
    p: int


class Weights(NamedTuple):
    """Shift chains of the columns: `chain` holds tile x rows x N + place; what is being loaded."""

    chain: Ints
    loading: Ints
    tile: Ints


class Results(NamedTuple):
    """Buffer of partial sums, and the cycle of the last write to each."""

    out: Float32
    written: Ints


@njit(cache=True)
def step_weight_stationary(
    left: Float32,
    values: Float32,
    indices: Ints,
    out: Float32,
    array: Array,
    block_rows: int,
    period: int,
    short_period: int,
) -> int:
    """Fill `out` (P, Q); return the cycles, or a negative hazard.

    `left` is (P, G, M), `values` and `indices` are (G, N, Q).
    """
    p, groups, _ = left.shape
    rows, cols, kept, q = array.rows, array.cols, array.kept, values.shape[2]
    k_tiles, blocks = ceil_div(groups, rows), ceil_div(p, block_rows)
    starts = np.full(ceil_div(q, cols) * blocks * k_tiles + 1, rows * kept, np.int64)
    plan = Schedule(starts, k_tiles, blocks, block_rows, p)
    if not _lay_out(plan, period, short_period, array):
        return pe.OVERLAPPING_STREAMS

    west = np.full((rows, cols), pe.BUBBLE, np.int64)
    pipes = pe.empty_pipes(array)
    weights = Weights(
        np.full((cols, rows * kept), pe.BUBBLE, np.int64),
        np.zeros(cols, np.int64),
        np.zeros(cols, np.int64),
    )
    results = Results(out, np.full((p, q), -1, np.int64))
    finished = 0
    cycle = 0
    while finished < p * ceil_div(q, cols) * cols * k_tiles:
        if cycle < cols:
            weights.loading[cycle] = rows * kept
        for r in range(rows - 1, -1, -1):  # a PE reads the one above before that one moves on
            _hop(west, r, cycle, array, plan)
            for c in range(cols):
                slot = west[r, c]
                product = np.float32(0.0)
                if slot != pe.BUBBLE:
                    tile, row, j = _work(slot, array, plan)
                    if slot == starts[tile] and not _take_weights(weights, r, c, tile, array, plan):
                        return pe.WEIGHTS_MISSING
                    step = (tile % k_tiles * rows + r) * kept + j
                    col = _column(tile, c, array, plan)
                    product = pe.product_of(left, values, indices, row, step, col)
                pe.enter_multiplier(pipes, r, c, cycle, slot, product)
                if r == rows - 1:
                    finished += _write(pipes, results, c, cycle, array, plan)
                hazard = _accumulate(pipes, results, r, c, cycle, array, plan)
                if hazard < 0:
                    return hazard
        _load_weights(weights, array)
        cycle += 1
    return cycle


@njit(cache=True)
def _lay_out(plan: Schedule, period: int, short_period: int, array: Array) -> bool:
    """Fill in the start of every tile; False if a tile is longer than its period."""
    for tile in range(len(plan.starts) - 1):
        height = _height(tile, plan)
        span = period if height == plan.block_rows else short_period
        if span < _stream(height, array):
            return False
        plan.starts[tile + 1] = plan.starts[tile] + span
    return True


@njit(cache=True)
def _height(tile: int, plan: Schedule) -> int:
    """Return the streamed rows of a tile."""
    first = tile // plan.k_tiles % plan.blocks * plan.block_rows
    return min(plan.block_rows, plan.p - first)


@njit(cache=True)
def _stream(height: int, array: Array) -> int:
    """Return the slots in which `height` rows are issued."""
    if array.kept == 1:
        return height
    return turns(height, array.interleave) * array.kept * array.slots


@njit(cache=True)
def _work(slot: int, array: Array, plan: Schedule) -> tuple[Any, Any, Any]:
    """Return the tile, the streamed row and which of the held values a slot works on."""
    tile = np.searchsorted(plan.starts, slot, side="right") - 1
    offset = slot - plan.starts[tile]
    first = tile // plan.k_tiles % plan.blocks * plan.block_rows
    if array.kept == 1:
        return tile, first + offset, 0
    turn, inside = offset // (array.kept * array.slots), offset % (array.kept * array.slots)
    row = first + turn * array.interleave + inside % array.slots
    return tile, row, inside // array.slots


@njit(cache=True)
def _column(tile: int, c: int, array: Array, plan: Schedule) -> int:
    """Return the column of the result that the array's column `c` computes in a tile."""
    return tile // plan.k_tiles // plan.blocks * array.cols + c


@njit(cache=True)
def _hop(west: Ints, r: int, cycle: int, array: Array, plan: Schedule) -> None:
    """Move a row's operands one PE on; its edge is skewed by the time of the sums from above."""
    hop = (array.kept - 1) * array.slots + array.add_latency
    west[r, 1:] = west[r, : array.cols - 1].copy()
    west[r, 0] = _issued(cycle - r * hop, array, plan)


@njit(cache=True)
def _issued(time: int, array: Array, plan: Schedule) -> int:
    """Return the slot that the first row's edge issues at `time`: the time itself, or a bubble."""
    if time < plan.starts[0] or time >= plan.starts[-1]:
        return pe.BUBBLE
    tile, row, _ = _work(time, array, plan)
    offset = time - plan.starts[tile]
    height = _height(tile, plan)
    if offset >= _stream(height, array):
        return pe.BUBBLE
    idle = array.kept > 1 and offset % array.slots >= array.interleave
    first = tile // plan.k_tiles % plan.blocks * plan.block_rows
    return pe.BUBBLE if idle or row >= first + height else time


@njit(cache=True)
def _take_weights(
    weights: Weights, r: int, c: int, tile: int, array: Array, plan: Schedule
) -> bool:
    """Take a tile's first weights out of the chain; False if they are not there.

    Behind the south-most PE the chain starts to load the next tile.
    """
    for place in range(r * array.kept, (r + 1) * array.kept):
        if weights.chain[c, place] != tile * array.rows * array.kept + place:
            return False
    if r == array.rows - 1 and tile + 2 < len(plan.starts):
        weights.loading[c] = array.rows * array.kept
        weights.tile[c] = tile + 1
    return True


@njit(cache=True)
def _load_weights(weights: Weights, array: Array) -> None:
    """Shift every loading chain south by one register."""
    size = array.rows * array.kept
    for c in range(array.cols):
        if weights.loading[c] > 0:
            weights.loading[c] -= 1
            weights.chain[c, 1:] = weights.chain[c, : size - 1].copy()
            weights.chain[c, 0] = weights.tile[c] * size + weights.loading[c]


@njit(cache=True)
def _write(pipes: Pipes, results: Results, c: int, cycle: int, array: Array, plan: Schedule) -> int:
    """Write the sum that leaves column `c` at the south edge; return 1 if there is one."""
    slot, total = pe.leave_adder(pipes, array.rows - 1, c, cycle, array.add_latency)
    if slot == pe.BUBBLE:
        return 0
    tile, row, j = _work(slot, array, plan)
    if j < array.kept - 1:
        return 0
    col = _column(tile, c, array, plan)
    if col < results.out.shape[1]:
        results.out[row, col] = total
        results.written[row, col] = cycle
    return 1


@njit(cache=True)
def _accumulate(
    pipes: Pipes, results: Results, r: int, c: int, cycle: int, array: Array, plan: Schedule
) -> int:
    """Add the visible product to the sum from above, from the buffer or its own; 0 or a hazard."""
    slot, product = pe.leave_multiplier(pipes, r, c, cycle)
    total = pe.own_sum(pipes, r, c, cycle)
    if slot != pe.BUBBLE:
        tile, row, j = _work(slot, array, plan)
        if j == 0 and r > 0:
            above, total = pe.leave_adder(pipes, r - 1, c, cycle, array.add_latency)
            if above != slot + (array.kept - 1) * array.slots:
                return pe.MISALIGNED
        elif j == 0:
            total = np.float32(0.0)
            col = _column(tile, c, array, plan)
            if tile % plan.k_tiles > 0 and col < results.out.shape[1]:
                if not plan.starts[tile - 1] <= results.written[row, col] < cycle:
                    return pe.PSUM_NOT_WRITTEN
                total = results.out[row, col]
        total = total + product
    pe.enter_adder(pipes, r, c, cycle, slot, total)
    return 0
