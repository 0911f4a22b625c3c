"""The hash-accumulate unit cycle by cycle: requesters, banks, fill counter and drain.

*Source*: `rtl/hash`, which is built from the same hash (`dataflow.hashing.SlotHash`).

*Exact*: every port in every cycle; a probe holds its bank for two cycles, an fp32 addition to a hit
for `add_cycles` more. `smash` takes its two cycles of an atomic operation from here.

*Approximate*, *Ignored*: nothing inside the unit; what feeds it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.hash_unit import HashUnit
from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """Ports of the unit in each cycle; `valid` and `ready` are (cycles, requesters).

    `offered` is the number of the update that each requester offers, to read keys and values from
    its stream. Values are 32-bit patterns.
    """

    valid: NDArray[np.uint8]
    ready: NDArray[np.uint8]
    offered: NDArray[np.int64]
    fill: NDArray[np.int64]
    full: NDArray[np.uint8]
    drained: NDArray[np.uint8]
    entry_valid: NDArray[np.uint8]
    entry_key: NDArray[np.uint64]
    entry_value: NDArray[np.uint32]

    @property
    def done_cycle(self) -> int:
        """Cycle in which the last update is accepted; -1 if there is none."""
        taken = np.flatnonzero((self.valid & self.ready).any(axis=1))
        return int(taken[-1]) if len(taken) else -1


def run(
    unit: HashUnit,
    streams: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    cycles: int,
    start_drain: Sequence[int] = (),
    sink_ready: NDArray[np.uint8] | None = None,
    offered_from: Sequence[Sequence[int]] | None = None,
) -> Log:
    """Step the unit for `cycles` cycles.

    `streams` holds keys and 32-bit value patterns of each requester; an update is offered as soon
    as the one before is accepted, but not before its cycle of `offered_from`. `start_drain` are
    the cycles of a pulse; `sink_ready` says in which cycles an entry is taken (always).
    Raises `InputError` for lengths that do not match, a key that is too wide, or a pulse outside
    the cycles.
    """
    from simulator._hash_unit_kernel import step_unit

    if len(streams) != unit.requesters:
        raise InputError(f"there must be {unit.requesters} streams, not {len(streams)}")
    keys, values, starts = _flat(unit, streams)
    earliest = np.zeros(len(keys), dtype=np.int64)
    if offered_from is not None:
        if [len(each) for each in offered_from] != np.diff(starts).tolist():
            raise InputError("offered_from must hold one cycle for each update of each stream")
        earliest = np.array([at for stream in offered_from for at in stream], dtype=np.int64)
    pulses = np.zeros(cycles, dtype=np.uint8)
    for pulse in start_drain:
        if not 0 <= pulse < cycles:
            raise InputError(f"start_drain must lie in the {cycles} cycles, not at {pulse}")
        pulses[pulse] = 1
    willing = np.ones(cycles, dtype=np.uint8) if sink_ready is None else sink_ready
    if len(willing) != cycles:
        raise InputError(f"sink_ready must hold {cycles} cycles, not {len(willing)}")
    first = unit.hashing.compute(keys).astype(np.int64)
    log = _empty_log(cycles, unit.requesters)
    values_bits = np.zeros(unit.slots + unit.banks, dtype=np.uint32)
    kernel: Any = step_unit
    kernel(
        keys, values, values.view(np.float32), first, starts, earliest, pulses, willing,
        unit.banks, unit.slots, unit.add_cycles if unit.kind == "fp32" else 0,
        unit.kind == "fp32", values_bits, values_bits.view(np.float32), log.valid, log.ready,
        log.offered, log.fill, log.full, log.drained, log.entry_valid, log.entry_key,
        log.entry_value,
    )  # fmt: skip
    return log


def _flat(
    unit: HashUnit, streams: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
    for number, (its_keys, patterns) in enumerate(streams):
        if len(its_keys) != len(patterns):
            raise InputError(
                f"stream {number} must hold a value for each of its {len(its_keys)} keys, not "
                f"{len(patterns)}"
            )
    keys = np.array([key for stream in streams for key in stream[0]], dtype=np.uint64)
    values = np.array([value for stream in streams for value in stream[1]], dtype=np.uint32)
    starts = np.cumsum([0, *(len(stream[0]) for stream in streams)])
    if len(keys) and int(keys.max()) >= 1 << unit.key_bits:
        raise InputError(f"keys must have at most {unit.key_bits} bits, not {int(keys.max())}")
    return keys, values, starts.astype(np.int64)


def _empty_log(cycles: int, requesters: int) -> Log:
    def bits(*shape: int) -> NDArray[np.uint8]:
        return np.zeros(shape, dtype=np.uint8)

    return Log(
        valid=bits(cycles, requesters),
        ready=bits(cycles, requesters),
        offered=np.zeros((cycles, requesters), dtype=np.int64),
        fill=np.zeros(cycles, dtype=np.int64),
        full=bits(cycles),
        drained=bits(cycles),
        entry_valid=bits(cycles),
        entry_key=np.zeros(cycles, dtype=np.uint64),
        entry_value=np.zeros(cycles, dtype=np.uint32),
    )
