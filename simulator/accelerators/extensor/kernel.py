"""Compiled loops: skip-ahead steps of microtiles, their time on PEs, the pipeline of blocks.

A segment is the run of entries of one line (a row of A or a column of B) in one microtile of K;
segments are sorted by microtile, then by line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def skip_ahead_steps(left: Any, i: int, left_end: int, right: Any, j: int, right_end: int) -> Any:
    """Count steps: one for every match and one whenever the other list begins to be skipped."""
    if left[left_end - 1] < right[j] or right[right_end - 1] < left[i]:
        return 1
    steps, side = 0, -1
    while i < left_end and j < right_end:
        if left[i] == right[j]:
            steps, side = steps + 1, -1
            i, j = i + 1, j + 1
        elif left[i] < right[j]:
            steps, side = steps + (side != 0), 0
            i += 1
        else:
            steps, side = steps + (side != 1), 1
            j += 1
    return steps


@njit(cache=True)
def first_at_least(lines: Any, low: int, high: int, line: int) -> Any:
    """Return the first segment in [low, high) whose line is at least `line`."""
    while low < high:
        middle = (low + high) // 2
        if lines[middle] < line:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def block_steps(
    a_inner: Any, a_first: Any, a_last: Any, a_line: Any, a_tile: Any,
    b_inner: Any, b_first: Any, b_last: Any, b_line: Any, b_tile: Any,
    tile: int, tiles: Any, steps: Any,
) -> None:  # fmt: skip
    """Add the steps of every microtile of a block.

    `tiles` are the microtile bounds (k low, k high, m low, m high, n low, n high) of the block,
    `steps` (m, n, k) gets the steps of each.
    """
    steps[:] = 0
    k_low, k_high, m_low, m_high, n_low, n_high = tiles
    for k in range(k_low, k_high):
        x_low = first_at_least(a_line, a_tile[k], a_tile[k + 1], m_low * tile)
        x_high = first_at_least(a_line, a_tile[k], a_tile[k + 1], m_high * tile)
        y_low = first_at_least(b_line, b_tile[k], b_tile[k + 1], n_low * tile)
        y_high = first_at_least(b_line, b_tile[k], b_tile[k + 1], n_high * tile)
        for x in range(x_low, x_high):
            m = a_line[x] // tile - m_low
            for y in range(y_low, y_high):
                n = b_line[y] // tile - n_low
                steps[m, n, k - k_low] += skip_ahead_steps(
                    a_inner, a_first[x], a_last[x], b_inner, b_first[y], b_last[y]
                )


@njit(cache=True)
def finish(steps: Any, pes: Any) -> Any:
    """Return when the last PE is done if each takes the next microtile as soon as it is free."""
    pes[:] = 0
    for work in steps:
        if work == 0:
            continue
        free = np.argmin(pes)
        pes[free] += work
    return pes.max()


@njit(cache=True)
def pipelined(loads: Any, steps: Any, stores: Any) -> Any:
    """Return the cycles of blocks that are loaded, worked on and stored, in this order.

    The buffer holds two blocks of operands and two of results. One memory port moves the operands
    of the next block before the results of the block before this one. All arguments are cycles.
    """
    port = stored = worked = worked_before = result = 0.0
    for block in range(len(steps)):
        port = max(port, worked_before) + loads[block]
        done = max(port, worked, stored) + steps[block]
        if block:
            port = stored = max(port, worked) + result
        worked_before, worked, result = worked, done, stores[block]
    return max(port, worked) + result
