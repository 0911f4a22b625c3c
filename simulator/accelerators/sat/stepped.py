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
cycle in which it is visible at the south edge; a run of n cycles has its last result in cycle
n - 1.

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
from numpy.typing import NDArray

from dataflow.nm import Compressed
from simulator.accelerators.sat.stepped_os import step_output_stationary
from simulator.accelerators.sat.stepped_pe import (
    DRAIN_BUSY,
    MISALIGNED,
    OVERLAPPING_STREAMS,
    PSUM_NOT_WRITTEN,
    WEIGHTS_MISSING,
    Float32,
    Ints,
    array_of,
)
from simulator.accelerators.sat.stepped_ws import step_weight_stationary
from workloads.errors import InputError

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
    left, values, indices, out = _tensors(windows, packed)
    array = array_of(rows, cols, interleave, mul_latency, add_latency, kept=values.shape[1])
    return _checked(out, step_output_stationary(left, values, indices, out, array, period))


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
    left, values, indices, out = _tensors(windows, packed)
    array = array_of(rows, cols, interleave, mul_latency, add_latency, kept=values.shape[1])
    cycles = step_weight_stationary(
        left, values, indices, out, array, block_rows, period, short_period
    )
    return _checked(out, cycles)


def _tensors(windows: NDArray[Any], packed: Compressed) -> tuple[Float32, Float32, Ints, Float32]:
    """Return windows, kept values and indices as the kernels read them, and room for the result."""
    if windows.shape[1:] != (packed.values.shape[0], packed.pattern.m):
        raise InputError(
            f"windows must have shape (P, {packed.values.shape[0]}, {packed.pattern.m}), "
            f"not {windows.shape}"
        )
    return (
        np.ascontiguousarray(windows, np.float32),
        np.ascontiguousarray(packed.values, np.float32),
        np.ascontiguousarray(packed.indices, np.int64),
        np.zeros((windows.shape[0], packed.values.shape[2]), np.float32),
    )


def _checked(values: Float32, cycles: int) -> Stepped:
    if cycles < 0:
        raise HazardError(HAZARDS[cycles])
    return Stepped(values, cycles)
