"""Compiled step counts of the sparse engines, from the digits of the operands.

`steps` of a group at a digit position is max(1, non-zero digits): what `rtl.bitweight.lane` takes.
Positions run from the highest to the lowest. Exact kernels; the wrappers are in `columns`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from dataflow.bitweight import GROUP
from dataflow.tiling import ceil_div

Ints = NDArray[np.int64]
GroupSteps = NDArray[np.uint8]


@njit(cache=True, parallel=True)
def group_steps(
    values: NDArray[Any], masks: NDArray[np.uint16], passes: int, groups: int
) -> GroupSteps:
    """Return (rows, passes, groups): steps of each group of four values of a row at each position.

    `masks` is the table of non-zero digits by value mod its size; groups past the row's end are
    zero and take one step.
    """
    rows, length = values.shape
    wrap = masks.size - 1
    steps = np.ones((rows, passes, groups), np.uint8)
    for row in prange(rows):
        for group in range(ceil_div(length, GROUP)):
            counts = 0  # one byte for each of up to eight positions
            for k in range(group * GROUP, min((group + 1) * GROUP, length)):
                counts += _spread(int(masks[values[row, k] & wrap]), passes)
            for position in range(passes):
                count = (counts >> 8 * position) & 0xFF
                steps[row, passes - 1 - position, group] = max(count, 1)
    return steps


@njit(cache=True)
def _spread(mask: int, passes: int) -> int:
    """Move bit i of a mask to bit 8 i."""
    spread = 0
    for i in range(passes):
        spread |= ((mask >> i) & 1) << (8 * i)
    return spread


@njit(cache=True, parallel=True)
def row_steps(steps: GroupSteps, lanes: int) -> Ints:
    """Return for each row the sum over positions of the largest sum over a lane's groups."""
    rows, passes, groups = steps.shape
    total = np.zeros(rows, np.int64)
    for row in prange(rows):
        for p in range(passes):
            longest = 0
            for lane in range(lanes):
                own = 0
                for group in range(lane, groups, lanes):
                    own += steps[row, p, group]
                longest = max(longest, own)
            total[row] += longest
    return total


@njit(cache=True, parallel=True)
def tile_ends(
    steps: GroupSteps, columns: int, lanes: int, chunk: int, banks: int, fifo: int, drain: int
) -> Ints:
    """Return for each tile of `columns` rows the cycle of its last step, banks and all."""
    rows = steps.shape[0]
    tiles = ceil_div(rows, columns)
    ends = np.zeros(tiles, np.int64)
    for tile in prange(tiles):
        own = steps[tile * columns : min((tile + 1) * columns, rows)]
        ends[tile] = _tile_end(own, lanes, chunk, banks, fifo, drain)
    return ends


@njit(cache=True)
def _take_bank(
    taken: Ints, address: int, chunk: int, banks: int, lanes: int, lane: int, now: int
) -> bool:
    """Take the bank of an address in a lane for this cycle; return whether it was free.

    `taken` holds, lane by lane of every bank, the cycle in which it was taken last.
    """
    bank = address // chunk if chunk > 0 else address % banks
    place = bank * lanes + lane
    if taken[place] == now:
        return False
    taken[place] = now
    return True


@njit(cache=True)
def _tile_end(steps: GroupSteps, lanes: int, chunk: int, banks: int, fifo: int, drain: int) -> int:
    """Step one tile cycle by cycle; every decision reads the registers of the cycle's start.

    `chunk` neighbouring groups of a lane lie in a bank, or, if it is 0, neighbouring groups lie in
    neighbouring banks; `banks` is the number of banks in use, 0 if none conflict.
    """
    columns, passes, all_groups = steps.shape
    groups = all_groups // lanes
    count = columns * lanes
    queued = np.zeros(count, np.int64)
    under_way = np.zeros(count, np.int64)
    left = np.zeros(count, np.int64)  # steps left of the group at work
    popped = np.full(count, groups, np.int64)
    fetched = np.zeros(count, np.int64)
    opened = np.zeros(columns, np.int64)
    held = np.full(columns, drain - 1, np.int64)
    finished = np.zeros(columns, np.bool_)
    bank_taken = np.full(max(banks, 1) * lanes, -1, np.int64)
    column = np.arange(count) // lanes
    address = np.where(column < banks, column, 0) * max(chunk, 1)
    walk = address.copy()  # address of the next group to be popped
    remaining = columns
    now = -1
    while remaining > 0:
        now += 1
        for c in range(columns):
            low, high = c * lanes, (c + 1) * lanes
            done, waiting = True, False
            for i in range(low, high):
                done &= left[i] <= 1 and popped[i] == groups
                waiting |= queued[i] > 0
            if done and opened[c] == passes and not finished[c]:
                finished[c] = True
                remaining -= 1
            opening = done and held[c] >= drain - 1 and opened[c] < passes and waiting
            if opening:
                opened[c] += 1
            held[c] = held[c] + 1 if done and not opening else 0
            for i in range(low, high):
                asks = fetched[i] < groups * passes and queued[i] + under_way[i] < fifo
                granted = asks and (
                    banks == 0
                    or _take_bank(bank_taken, address[i], chunk, banks, lanes, i - low, now)
                )
                free, more = left[i] <= 1, popped[i] < groups
                taken = free and queued[i] > 0 and (opening or more)
                queued[i] += under_way[i] - taken
                under_way[i] = granted
                if granted:
                    fetched[i] += 1
                    address[i] = address[i] + 1 if address[i] + 1 < groups else 0
                left[i] = max(left[i] - 1, 0)
                if opening:
                    popped[i] = 0
                if taken:
                    left[i] = steps[c, opened[c] - 1, walk[i] * lanes + i - low]
                    walk[i] = walk[i] + 1 if walk[i] + 1 < groups else 0
                    popped[i] += 1
    return now
