"""The event-driven kernel: a heap of pending transitions, ordered by time, then net."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NET_BITS = 24
"""A pending transition is its time in ps above the number of its net."""

INPUT_DELAY_PS = 300
"""About the clock-to-output delay of a flip-flop: inputs come from registers of a neighbour."""


@njit(cache=True)
def _push(heap: Ints, size: int, key: int) -> int:
    assert size < heap.size, "more transitions are pending than the heap holds"
    i = size
    heap[i] = key
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] <= heap[i]:
            break
        heap[parent], heap[i] = heap[i], heap[parent]
        i = parent
    return size + 1


@njit(cache=True)
def _pop(heap: Ints, size: int) -> int:
    size -= 1
    heap[0] = heap[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[i] <= heap[child]:
            break
        heap[i], heap[child] = heap[child], heap[i]
        i = child
    return size


@njit(cache=True)
def _schedule(
    heap: Ints, size: int, pending: Ints, cause: Floats, net: int, at: int, energy_pj: float
) -> int:
    """Let a net change at a time of this cycle, at the cost of the arc that made it."""
    pending[net] = at
    cause[net] = energy_pj
    return _push(heap, size, (np.int64(at) << NET_BITS) + net)


@njit(cache=True)
def run(
    nets: int, gate_inputs: Ints, gate_output: Ints, truth: Ints, delay_ps: Ints, arc_pj: Floats,
    flop_d: Ints, flop_q: Ints, flop_delay_ps: Ints, flop_arc_pj: Floats, fan_start: Ints,
    fan_gate: Ints, fan_pin: Ints, load_pj: Floats, pin_pj: Floats, driven: Ints,
    stimulus: NDArray[np.uint8], watched: Ints,
) -> tuple[NDArray[np.uint8], Floats]:  # fmt: skip
    """Simulate `stimulus` (cycles, driven) cycle by cycle.

    Arrays are those of `rtl.synthesis.gates.Circuit`; times in ps, energies in pJ. Returns the
    watched nets at the end of each cycle (cycles, watched), and [toggles, settled toggles,
    switching energy, internal energy, latest transition] of the run.
    """
    cycles = stimulus.shape[0]
    value = np.zeros(nets, np.uint8)
    value[1] = 1
    _settle(value, gate_inputs, gate_output, truth)
    before = value.copy()
    pending = np.full(nets, -1, np.int64)
    cause = np.zeros(nets)
    heap = np.zeros(64 * nets + 64, np.int64)
    samples = np.zeros((cycles, watched.size), np.uint8)
    totals = np.zeros(5)
    for cycle in range(cycles):
        size = 0
        for i in range(flop_d.size):
            new = value[flop_d[i]]
            if new != value[flop_q[i]]:
                delay, arc = flop_delay_ps[i, new], flop_arc_pj[i, new]
                size = _schedule(heap, size, pending, cause, flop_q[i], delay, arc)
        for i in range(driven.size):
            if stimulus[cycle, i] != value[driven[i]]:
                size = _schedule(heap, size, pending, cause, driven[i], INPUT_DELAY_PS, 0.0)
        before[:] = value
        while size > 0:
            now, net = heap[0] >> NET_BITS, heap[0] & ((1 << NET_BITS) - 1)
            size = _pop(heap, size)
            if pending[net] != now:
                continue
            pending[net] = -1
            value[net] = 1 - value[net]
            totals[0] += 1
            totals[2] += load_pj[net]
            totals[3] += cause[net] + pin_pj[net, value[net]]
            totals[4] = max(totals[4], now)
            for f in range(fan_start[net], fan_start[net + 1]):
                gate, pin = fan_gate[f], fan_pin[f]
                new = _evaluate(value, gate_inputs, truth, gate)
                out = gate_output[gate]
                if new == value[out]:
                    pending[out] = -1
                elif pending[out] < 0:
                    at, arc = now + delay_ps[gate, pin, new], arc_pj[gate, pin, new]
                    size = _schedule(heap, size, pending, cause, out, at, arc)
        for n in range(nets):
            totals[1] += value[n] != before[n]
        for i in range(watched.size):
            samples[cycle, i] = value[watched[i]]
    return samples, totals


@njit(cache=True)
def _evaluate(value: NDArray[np.uint8], gate_inputs: Ints, truth: Ints, gate: int) -> int:
    index = 0
    for j in range(gate_inputs.shape[1]):
        if gate_inputs[gate, j] >= 0:
            index |= np.int64(value[gate_inputs[gate, j]]) << j
    return (truth[gate] >> index) & 1


@njit(cache=True)
def _settle(value: NDArray[np.uint8], gate_inputs: Ints, gate_output: Ints, truth: Ints) -> None:
    """Bring all gates into agreement with the initial registers, without counting anything."""
    changed = True
    while changed:
        changed = False
        for gate in range(gate_output.size):
            new = _evaluate(value, gate_inputs, truth, gate)
            if new != value[gate_output[gate]]:
                value[gate_output[gate]] = new
                changed = True
