"""The pipelines inside a PE, shared by both stationarities of `stepped`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.interleave import slot_cycles

Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]

OVERLAPPING_STREAMS, MISALIGNED, DRAIN_BUSY, WEIGHTS_MISSING, PSUM_NOT_WRITTEN = -1, -2, -3, -4, -5

BUBBLE = -1
"""The slot number of a cycle in which nothing was issued."""


class Array(NamedTuple):
    """Sizes of the array, in the words of `stepped`; `slots` is S, `kept` is N."""

    rows: int
    cols: int
    interleave: int
    mul_latency: int
    add_latency: int
    slots: int
    kept: int


def array_of(
    rows: int, cols: int, interleave: int, mul_latency: int, add_latency: int, kept: int
) -> Array:
    """Return the sizes with S, the cycles after which a sum can be added to again."""
    slots = int(slot_cycles(interleave, add_latency))
    return Array(rows, cols, interleave, mul_latency, add_latency, slots, kept)


class Pipes(NamedTuple):
    """Registers of all multipliers (rows, cols, Lm + 1) and adders (rows, cols, S).

    Both are rings indexed by the cycle in which their content entered; `slot` arrays say what a
    register holds.
    """

    product: Float32
    product_slot: Ints
    sums: Float32
    sum_slot: Ints


@njit(cache=True)
def empty_pipes(array: Array) -> Pipes:
    """Return pipelines that hold bubbles."""
    stages = (array.rows, array.cols, array.mul_latency + 1)
    ring = (array.rows, array.cols, array.slots)
    return Pipes(
        np.zeros(stages, np.float32),
        np.full(stages, BUBBLE, np.int64),
        np.zeros(ring, np.float32),
        np.full(ring, BUBBLE, np.int64),
    )


@njit(cache=True)
def enter_multiplier(
    pipes: Pipes, r: int, c: int, cycle: int, slot: int, product: np.float32
) -> None:
    """Start a product in `cycle`; it is visible Lm cycles later."""
    stage = cycle % pipes.product.shape[2]
    pipes.product[r, c, stage] = product
    pipes.product_slot[r, c, stage] = slot


@njit(cache=True)
def leave_multiplier(pipes: Pipes, r: int, c: int, cycle: int) -> tuple[int, np.float32]:
    """Return slot and value of the product that is visible in `cycle`."""
    stage = (cycle + 1) % pipes.product.shape[2]
    return pipes.product_slot[r, c, stage], pipes.product[r, c, stage]


@njit(cache=True)
def own_sum(pipes: Pipes, r: int, c: int, cycle: int) -> np.float32:
    """Return the sum that entered the adder S cycles ago: the one that this cycle adds to."""
    value: np.float32 = pipes.sums[r, c, cycle % pipes.sums.shape[2]]
    return value


@njit(cache=True)
def enter_adder(pipes: Pipes, r: int, c: int, cycle: int, slot: int, total: np.float32) -> None:
    """Start an addition in `cycle`; its sum is visible La cycles later."""
    pipes.sums[r, c, cycle % pipes.sums.shape[2]] = total
    pipes.sum_slot[r, c, cycle % pipes.sums.shape[2]] = slot


@njit(cache=True)
def leave_adder(pipes: Pipes, r: int, c: int, cycle: int, latency: int) -> tuple[int, np.float32]:
    """Return slot and value of the sum that entered `latency` cycles before `cycle`."""
    turn = (cycle - latency) % pipes.sums.shape[2]
    return pipes.sum_slot[r, c, turn], pipes.sums[r, c, turn]


@njit(cache=True)
def product_of(
    left: Float32, values: Float32, indices: Ints, row: int, step: int, col: int
) -> np.float32:
    """Multiply one kept value with the window element its index selects; zero past the edges."""
    product: np.float32 = np.float32(0.0)
    if row < left.shape[0] and col < values.shape[2] and step < values.shape[0] * values.shape[1]:
        g, j = step // values.shape[1], step % values.shape[1]
        product = left[row, g, indices[g, j, col]] * values[g, j, col]
    return product
