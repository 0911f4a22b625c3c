"""The N:M array, cycle by cycle and register by register: values and time from one kernel.

This is the definition of the array that `timing` gives closed forms for and that `rtl` builds.
Nothing here uses a closed form: operands move one PE a cycle, sums move through pipelines, and the
run ends when the last result has left the array.

**PE.** A multiplier of `mul_latency` Lm stages (fp16 x fp16, exact in fp32) feeds an adder of
`add_latency` La stages (fp32, round to nearest even). The adder's result returns to its own input
after S = max(interleave, La) cycles, so that S sums are in flight and one product a cycle can be
accepted. In output-stationary mode an operand pair arrives from the west (dense operand: a window
of M values) and from the north (one kept value and its index in the window); the index selects the
window's value. In weight-stationary mode the north value and index come from a register.

**Cycle numbers.** Operands of slot s (a step and a turn) are at PE (r, c) in cycle s + r + c
(output stationary) or s + r h + c (weight stationary, h the time of a sum from one row to the
next). The product is visible Lm cycles later, the sum La cycles after that. A result is out in the
cycle in which it is visible at the south edge; a run of n cycles has its last result in cycle n -
1.

**Drain (output stationary).** The adder's last stage also writes the drain register of its turn. A
column shifts once all its registers of these tiles are loaded, one result a cycle, south-most PE
first and within a PE the first turn first. Loading a register while its column shifts is a hazard.

**Weights (weight stationary).** A column has a shift chain of R x N registers behind the ones in
use. The first row's slot of a tile takes the chain's value of its PE directly. The chain shifts
from the cycle in which the south-most PE has done so. Using a chain that is not full is a hazard,
and so is reading a partial sum from the buffer before it has been written.

A hazard ends the run: the wrappers raise `HazardError`. Periods come from outside (`os_period`,
`ws_period`), so tests can show that one cycle less is a hazard.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.interleave import slot_cycles
from dataflow.nm import Compressed
from dataflow.tiling import ceil_div
from workloads.errors import InputError

Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]

OVERLAPPING_STREAMS, MISALIGNED, DRAIN_BUSY, WEIGHTS_MISSING, PSUM_NOT_WRITTEN = -1, -2, -3, -4, -5
HAZARDS = {
    OVERLAPPING_STREAMS: "the next operands start before the last ones have been issued",
    MISALIGNED: "operands of different slots meet in a PE",
    DRAIN_BUSY: "a result is ready while the drain chain of its column still shifts",
    WEIGHTS_MISSING: "rows arrive before the weights of their tile are loaded",
    PSUM_NOT_WRITTEN: "a partial sum is read before it has been written",
}


class HazardError(RuntimeError):
    """The array would have computed something else: the period is too short."""


class Stepped(NamedTuple):
    """Result (P, Q) in fp32 and the cycles it took."""

    values: Float32
    cycles: int


def output_stationary(
    windows: NDArray[Any],
    packed: Compressed,
    *,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
    period: int,
) -> Stepped:
    """Step the product of `windows` (P, G, M) and `packed` (G, N, Q) through the array.

    Raises `HazardError` if `period` is too short and `InputError` if the shapes do not fit.
    """
    left, values, indices = _operands(windows, packed)
    out = np.zeros((left.shape[0], values.shape[2]), np.float32)
    cycles = _output_stationary(
        left, values, indices, out, rows, cols, interleave, mul_latency, add_latency, period
    )
    return _checked(out, cycles)


def weight_stationary(
    windows: NDArray[Any],
    packed: Compressed,
    *,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
    block_rows: int,
    period: int,
    short_period: int,
) -> Stepped:
    """Step the product of `windows` (P, G, M) and `packed` (G, N, Q), weights in the array.

    `period` holds for blocks of `block_rows` rows, `short_period` for the last, shorter block.
    Raises `HazardError` if a period is too short and `InputError` if the shapes do not fit.
    """
    left, values, indices = _operands(windows, packed)
    out = np.zeros((left.shape[0], values.shape[2]), np.float32)
    cycles = _weight_stationary(
        left,
        values,
        indices,
        out,
        rows,
        cols,
        interleave,
        mul_latency,
        add_latency,
        block_rows,
        period,
        short_period,
    )
    return _checked(out, cycles)


def _operands(windows: NDArray[Any], packed: Compressed) -> tuple[Float32, Float32, Ints]:
    if windows.shape[1:] != (packed.values.shape[0], packed.pattern.m):
        raise InputError(
            f"windows must have shape (P, {packed.values.shape[0]}, {packed.pattern.m}), "
            f"not {windows.shape}"
        )
    return (
        np.ascontiguousarray(windows, np.float32),
        np.ascontiguousarray(packed.values, np.float32),
        np.ascontiguousarray(packed.indices, np.int64),
    )


def _checked(values: Float32, cycles: int) -> Stepped:
    if cycles < 0:
        raise HazardError(HAZARDS[cycles])
    return Stepped(values, cycles)


@njit(cache=True)
def _output_stationary(
    left: Float32,
    values: Float32,
    indices: Ints,
    out: Float32,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
    period: int,
) -> int:
    kept, q = values.shape[1], values.shape[2]
    steps = left.shape[1] * kept
    slots = slot_cycles(interleave, add_latency)
    q_tiles = ceil_div(q, cols)
    tiles = ceil_div(left.shape[0], rows) * q_tiles
    if period < steps * slots:
        return OVERLAPPING_STREAMS

    # A slot numbers the cycle of the schedule in which it is issued; -1 is a bubble.
    west = np.full((rows, cols), -1, np.int64)
    north = np.full((rows, cols), -1, np.int64)
    product = np.zeros((rows, cols, mul_latency + 1), np.float32)
    product_slot = np.full((rows, cols, mul_latency + 1), -1, np.int64)
    sums = np.zeros((rows, cols, slots), np.float32)
    sum_slot = np.full((rows, cols, slots), -1, np.int64)
    chain = np.zeros((cols, rows * interleave), np.float32)
    chain_row = np.full((cols, rows * interleave), -1, np.int64)  # tile * rows + r
    loaded = np.zeros(cols, np.int64)
    shifting = np.zeros(cols, np.int64)
    drained = 0
    cycle = 0
    while drained < tiles * rows * cols:
        for r in range(rows - 1, -1, -1):
            west[r, 1:] = west[r, : cols - 1].copy()
            west[r, 0] = _os_slot(cycle - r, period, steps, slots, interleave, tiles)
            if r > 0:
                north[r] = north[r - 1]
        for c in range(cols):
            north[0, c] = _os_slot(cycle - c, period, steps, slots, interleave, tiles)
        if (west != north).any():
            return MISALIGNED
        for r in range(rows):
            for c in range(cols):
                stage = cycle % (mul_latency + 1)
                slot = west[r, c]
                product_slot[r, c, stage] = slot
                if slot >= 0:
                    tile, step = _os_work(slot, period, slots, interleave)
                    row, col = tile // q_tiles * rows + r, tile % q_tiles * cols + c
                    product[r, c, stage] = _product(left, values, indices, row, step, col)

                stage = (cycle + 1) % (mul_latency + 1)  # entered Lm cycles ago
                turn = cycle % slots  # holds the sum that entered S cycles ago
                slot = product_slot[r, c, stage]
                sum_slot[r, c, turn] = slot
                if slot >= 0:
                    first = slot % period < slots
                    previous = np.float32(0.0) if first else sums[r, c, turn]
                    sums[r, c, turn] = previous + product[r, c, stage]

                turn = (cycle - add_latency + 1) % slots  # leaves the adder at the coming edge
                slot = sum_slot[r, c, turn]
                if slot >= 0 and slot % period // slots == steps - 1:
                    if shifting[c] > 0:
                        return DRAIN_BUSY
                    tile, _ = _os_work(slot, period, slots, interleave)
                    used = min(interleave, tiles - tile // interleave * interleave)
                    place = (rows - 1 - r) * used + tile % interleave
                    chain[c, place] = sums[r, c, turn]
                    chain_row[c, place] = tile * rows + r
                    loaded[c] += 1
        cycle += 1
        for c in range(cols):
            if shifting[c] == 0 and loaded[c] > 0:
                start = chain_row[c, 0] // rows // interleave * interleave
                if loaded[c] == rows * min(interleave, tiles - start):
                    shifting[c] = loaded[c]
            if shifting[c] > 0:
                place = loaded[c] - shifting[c]  # what has moved to the south edge by now
                tile, r = chain_row[c, place] // rows, chain_row[c, place] % rows
                row, col = tile // q_tiles * rows + r, tile % q_tiles * cols + c
                if row < out.shape[0] and col < q:
                    out[row, col] = chain[c, place]
                drained += 1
                shifting[c] -= 1
                if shifting[c] == 0:
                    loaded[c] = 0
    return cycle + 1


@njit(cache=True)
def _os_slot(
    time: int,
    period: int,
    steps: int,
    slots: int,
    interleave: int,
    tiles: int,
) -> int:
    """Return `time` if the skewed edge issues an operand then, else -1."""
    turn, offset = time // period, time % period
    first = turn * interleave
    if time < 0 or first >= tiles or offset >= steps * slots:
        return -1
    return time if offset % slots < min(interleave, tiles - first) else -1


@njit(cache=True)
def _os_work(
    slot: int,
    period: int,
    slots: int,
    interleave: int,
) -> tuple[int, int]:
    """Return the tile and the step of the reduction that a slot works on."""
    offset = slot % period
    return slot // period * interleave + offset % slots, offset // slots


@njit(cache=True)
def _product(
    left: Float32,
    values: Float32,
    indices: Ints,
    row: int,
    step: int,
    col: int,
) -> Any:
    """Multiply one kept value with the window element its index selects; zero past the edges."""
    if row >= left.shape[0] or col >= values.shape[2]:
        return np.float32(0.0)
    g, j = step // values.shape[1], step % values.shape[1]
    return left[row, g, indices[g, j, col]] * values[g, j, col]


@njit(cache=True)
def _weight_stationary(
    left: Float32,
    values: Float32,
    indices: Ints,
    out: Float32,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
    block_rows: int,
    period: int,
    short_period: int,
) -> int:
    p, groups, _ = left.shape
    kept, q = values.shape[1], values.shape[2]
    slots = slot_cycles(interleave, add_latency)
    hop = (kept - 1) * slots + add_latency
    k_tiles, blocks = ceil_div(groups, rows), ceil_div(p, block_rows)
    tiles = ceil_div(q, cols) * blocks * k_tiles
    starts = np.full(tiles + 1, rows * kept, np.int64)
    for tile in range(tiles):
        height = min(block_rows, p - tile // k_tiles % blocks * block_rows)
        span = period if height == block_rows else short_period
        turns = ceil_div(height, interleave)
        if span < (height if kept == 1 else turns * kept * slots):
            return OVERLAPPING_STREAMS
        starts[tile + 1] = starts[tile] + span

    west = np.full((rows, cols), -1, np.int64)  # cycle of the schedule; -1 is a bubble
    product = np.zeros((rows, cols, mul_latency + 1), np.float32)
    product_slot = np.full((rows, cols, mul_latency + 1), -1, np.int64)
    sums = np.zeros((rows, cols, slots), np.float32)
    sum_slot = np.full((rows, cols, slots), -1, np.int64)
    chain = np.full((cols, rows * kept), -1, np.int64)  # tile * rows * kept + place
    loading = np.zeros(cols, np.int64)
    load_tile = np.zeros(cols, np.int64)
    written = np.full((p, q), -1, np.int64)  # cycle of the last write of this partial sum
    finished = 0
    cycle = 0
    while finished < p * ceil_div(q, cols) * cols * k_tiles:
        for c in range(cols):
            if cycle == c:
                loading[c] = rows * kept
        for r in range(rows - 1, -1, -1):
            west[r, 1:] = west[r, : cols - 1].copy()
            west[r, 0] = _ws_slot(
                cycle - r * hop, starts, p, kept, slots, interleave, block_rows, k_tiles, blocks
            )
            for c in range(cols):
                stage = cycle % (mul_latency + 1)
                slot = west[r, c]
                product_slot[r, c, stage] = slot
                if slot >= 0:
                    tile, row, j = _ws_work(
                        slot, starts, kept, slots, interleave, block_rows, k_tiles, blocks
                    )
                    if slot == starts[tile]:
                        for i in range(r * kept, (r + 1) * kept):
                            if chain[c, i] != tile * rows * kept + i:
                                return WEIGHTS_MISSING
                        if r == rows - 1 and tile + 1 < tiles:
                            loading[c] = rows * kept
                            load_tile[c] = tile + 1
                    g = tile % k_tiles * rows + r
                    col = tile // k_tiles // blocks * cols + c
                    product[r, c, stage] = np.float32(0.0)
                    if g < groups:
                        step = g * kept + j
                        product[r, c, stage] = _product(left, values, indices, row, step, col)

                # What leaves this PE's adder now was accepted La cycles ago.
                turn = (cycle - add_latency) % slots
                slot = sum_slot[r, c, turn]
                if r == rows - 1 and slot >= 0:
                    tile, row, j = _ws_work(
                        slot, starts, kept, slots, interleave, block_rows, k_tiles, blocks
                    )
                    col = tile // k_tiles // blocks * cols + c
                    if j == kept - 1:
                        finished += 1
                        if col < q:
                            out[row, col] = sums[r, c, turn]
                            written[row, col] = cycle

                stage = (cycle + 1) % (mul_latency + 1)
                slot = product_slot[r, c, stage]
                turn = cycle % slots
                previous = sums[r, c, turn]
                if slot >= 0:
                    tile, row, j = _ws_work(
                        slot, starts, kept, slots, interleave, block_rows, k_tiles, blocks
                    )
                    col = tile // k_tiles // blocks * cols + c
                    if j == 0 and r > 0:
                        above = (cycle - add_latency) % slots
                        if sum_slot[r - 1, c, above] != slot + (kept - 1) * slots:
                            return MISALIGNED
                        previous = sums[r - 1, c, above]
                    elif j == 0:
                        previous = np.float32(0.0)
                        if tile % k_tiles > 0 and col < q:
                            if not starts[tile - 1] <= written[row, col] < cycle:
                                return PSUM_NOT_WRITTEN
                            previous = out[row, col]
                    sums[r, c, turn] = previous + product[r, c, stage]
                sum_slot[r, c, turn] = slot
        for c in range(cols):
            if loading[c] > 0:
                loading[c] -= 1
                chain[c, 1:] = chain[c, : rows * kept - 1].copy()
                chain[c, 0] = load_tile[c] * rows * kept + loading[c]
        cycle += 1
    return cycle


@njit(cache=True)
def _ws_slot(
    time: int,
    starts: Ints,
    p: int,
    kept: int,
    slots: int,
    interleave: int,
    block_rows: int,
    k_tiles: int,
    blocks: int,
) -> int:
    """Return `time` if the first column's edge issues a row then, else -1."""
    if time < starts[0] or time >= starts[-1]:
        return -1
    tile, row, _ = _ws_work(time, starts, kept, slots, interleave, block_rows, k_tiles, blocks)
    offset = time - starts[tile]
    first = tile // k_tiles % blocks * block_rows
    height = min(block_rows, p - first)
    if kept == 1:
        return time if offset < height else -1
    issued = offset % slots < interleave and row < first + height
    return time if issued and offset < ceil_div(height, interleave) * kept * slots else -1


@njit(cache=True)
def _ws_work(
    slot: int,
    starts: Ints,
    kept: int,
    slots: int,
    interleave: int,
    block_rows: int,
    k_tiles: int,
    blocks: int,
) -> tuple[Any, Any, Any]:
    """Return the tile, the streamed row and which of the held values a slot works on."""
    tile = np.searchsorted(starts, slot, side="right") - 1
    offset = slot - starts[tile]
    first = tile // k_tiles % blocks * block_rows
    if kept == 1:
        return tile, first + offset, 0
    turn, inside = offset // (kept * slots), offset % (kept * slots)
    return tile, first + turn * interleave + inside % slots, inside // slots
