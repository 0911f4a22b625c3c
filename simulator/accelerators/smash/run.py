"""Run one product on one version: set up the machine, step window after window, gather C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.hashing import window_hash
from dataflow.row_windows import RowWindows, WorkItems
from dataflow.spgemm import Product, Work
from dataflow.spgemm.memory import Room
from simulator.accelerators.smash import phases
from simulator.accelerators.smash.config import Config
from workloads.matrices.csr import Csr
from workloads.rounding import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Values and costs of one product on one version.

    `thread_busy_cycles` are, for each thread, the cycles until its last item of each window was
    done, summed over windows. `probe_histogram[n]` counts products that took n + 1 probes; the last
    place holds all that took more. `phases` maps a phase to its cycles; they add up to `cycles`.
    """

    product: Product
    cycles: int
    phases: dict[str, int]
    dram_bytes: int
    instructions: int
    products: int
    probes: int
    bank_wait_cycles: int
    windows: int
    thread_busy_cycles: NDArray[np.int64]
    probe_histogram: NDArray[np.int64]


class Machine:
    """The arrays that the kernel works on; `machine` names the places in them."""

    def __init__(self, config: Config, version: str) -> None:
        from simulator.accelerators.smash import machine as layout

        slots = config.table(version)
        self.layout = layout
        self.threads = np.zeros((config.threads + 2) * layout.FIELDS, dtype=np.int64)
        self.field(layout.PIPE)[:] = np.arange(config.threads) % config.pipelines
        self.heads = np.zeros(layout.RING, dtype=np.uint32)
        self.tails = np.zeros(layout.RING, dtype=np.uint32)
        self.pending = np.zeros(layout.RING // 64, dtype=np.uint64)
        self.pipes = np.zeros(config.pipelines, dtype=np.int64)
        self.banks = np.zeros(config.scratchpad_banks, dtype=np.int64)
        self.shared = np.zeros(layout.SHARED, dtype=np.int64)
        self.slots = slots
        self.totals = np.zeros(2 * slots, dtype=np.float64)
        self.tags = self.totals.view(np.int64)
        self.order = np.zeros(slots + 1, dtype=np.int64)
        self.histogram = np.zeros(layout.PROBE_BINS, dtype=np.int64)

    def field(self, place: int) -> NDArray[np.int64]:
        """Return one place of the state of every thread."""
        return self.threads[place :: self.layout.FIELDS][1:-1]

    def add(self, phase: phases.Phase) -> int:
        """Let a phase pass in which no thread hashes; returns its cycles."""
        shared, layout = self.shared, self.layout
        shared[layout.NOW] += phase.cycles
        shared[layout.INSTRUCTIONS] += phase.instructions
        shared[layout.DRAM_BYTES] += phase.dram_bytes
        return phase.cycles


def run(
    config: Config,
    version: str,
    left: Csr,
    right: Csr,
    work: Work,
    windows: RowWindows,
    items: WorkItems,
) -> Outcome:
    """Simulate C = left x right; time and values come from the same run."""
    from simulator.accelerators.smash import kernel

    machine = Machine(config, version)
    layout, shared = machine.layout, machine.shared
    spent = {"distribution": 0, "hashing": 0, "write_back": 0}
    spent["distribution"] = machine.add(phases.distribution(config, left.nnz, left.shape[0]))
    operands = (left.indices, left.values, right.indptr, right.indices, right.values)
    table = np.stack([items.row.astype(np.int64), items.first, items.last], axis=1)
    busy = np.zeros(config.threads, dtype=np.int64)
    result = _Result(work, left, right)
    for index in range(len(windows)):
        constants, multiplier = _set_window(machine, config, version, windows, items, index)
        start = int(shared[layout.NOW])
        step: Any = kernel.run_window
        step(
            *operands, table, machine.threads, machine.heads, machine.tails, machine.pending,
            machine.pipes, machine.banks, constants, shared, multiplier, machine.tags,
            machine.totals, machine.order, machine.histogram, right.shape[1],
        )  # fmt: skip
        spent["hashing"] += int(shared[layout.NOW]) - start
        busy += machine.field(layout.TIME) - start
        spent["write_back"] += _finish_window(machine, config, version, windows, index)
        result.collect(machine, windows, index)
    spent["write_back"] += _drain(config, machine)
    return Outcome(
        product=result.product(),
        cycles=int(shared[layout.NOW]),
        phases=spent,
        dram_bytes=int(shared[layout.DRAM_BYTES]),
        instructions=int(shared[layout.INSTRUCTIONS]),
        products=int(machine.histogram.sum()),
        probes=int(shared[layout.PROBES]),
        bank_wait_cycles=int(shared[layout.BANK_WAIT]),
        windows=len(windows),
        thread_busy_cycles=busy,
        probe_histogram=machine.histogram,
    )


def _constants(config: Config, version: str, shift: int) -> Any:
    from simulator.accelerators.smash import machine as layout

    scale, rate = layout.DRAM_SCALE, config.dram_bytes_per_cycle
    return layout.Constants(
        latency=config.instruction_latency_cycles,
        pad_latency=config.scratchpad_latency_cycles,
        atomic=config.atomic_bank_cycles,
        dram_latency=config.dram_latency_cycles,
        dram_rate=rate,
        access=config.access_bytes,
        banks=config.scratchpad_banks,
        dynamic=int(version != "v1"),
        fragmented=int(version == "v3"),
        per_product=config.product_instructions,
        per_probe=config.probe_instructions,
        per_entry=config.entry_instructions,
        per_claim=layout.DENSE_CLAIM_INSTRUCTIONS if version == "v3" else 1,
        access_time=config.access_bytes * scale // rate,
        pointer_time=layout.POINTER_BYTES * scale // rate,
        shift=shift,
        mask=config.table(version) - 1,
    )


def _set_window(
    machine: Machine,
    config: Config,
    version: str,
    windows: RowWindows,
    items: WorkItems,
    index: int,
) -> tuple[Any, np.uint64]:
    """Point the machine at a window; returns its constants and the multiplier of its hash."""
    layout, shared = machine.layout, machine.shared
    low, high = int(windows.first_column[index]), int(windows.last_column[index])
    rows = int(windows.last_row[index] - windows.first_row[index])
    slot_bits = machine.slots.bit_length() - 1
    hashing = window_hash(config.hash_of(version), slot_bits, rows * (high - low))
    shared[layout.CURSOR] = items.window_start[index]
    shared[layout.ITEM_END] = items.window_start[index + 1]
    shared[layout.FIRST_ROW] = windows.first_row[index]
    shared[layout.COLUMN_LOW], shared[layout.COLUMN_HIGH] = low, high
    shared[layout.SPAN] = high - low
    shared[layout.FILL] = 0
    return _constants(config, version, int(hashing.shift)), np.uint64(hashing.multiplier)


def _finish_window(
    machine: Machine, config: Config, version: str, windows: RowWindows, index: int
) -> int:
    """Write the window back (v1, v2), or clear the table and hand the window to the engine (v3)."""
    layout, shared = machine.layout, machine.shared
    filled, slots = int(shared[layout.FILL]), machine.slots
    rows = int(windows.last_row[index] - windows.first_row[index])
    if version != "v3":
        return machine.add(phases.write_back(config, version, slots, filled, rows))
    shared[layout.STREAM_LEFT] = filled * phases.DENSE_ENTRY_BYTES + rows * phases.NATIVE_BYTES
    return machine.add(phases.clear(config, slots))


def _drain(config: Config, machine: Machine) -> int:
    """Stream out the last window; returns the cycles that it takes after all else."""
    layout, shared = machine.layout, machine.shared
    left = int(shared[layout.STREAM_LEFT])
    cycles = ceil_div(left, config.dram_bytes_per_cycle)
    return machine.add(phases.Phase(cycles=cycles, dram_bytes=left))


class _Result:
    """C as it grows, in room for every row's bound; only what is used is touched."""

    def __init__(self, work: Work, left: Csr, right: Csr) -> None:
        room = int(np.minimum(work.row_products, right.shape[1]).sum()) + 1
        self.shape = (left.shape[0], right.shape[1])
        self.columns = Room(room, np.dtype(np.int32))
        self.values = Room(room, np.dtype(np.float64))
        self.lengths = np.zeros(left.shape[0], dtype=np.int64)
        self.filled = 0

    def collect(self, machine: Machine, windows: RowWindows, index: int) -> None:
        """Append the entries of a window and empty the table."""
        from simulator.accelerators.smash.collect import collect_window

        first, last = int(windows.first_row[index]), int(windows.last_row[index])
        low = int(windows.first_column[index])
        counts = np.empty(last - first, dtype=np.int64)
        places = np.empty(last - first + 1, dtype=np.int64)
        fill = int(machine.shared[machine.layout.FILL])
        span = int(windows.last_column[index]) - low
        collect: Any = collect_window
        collect(
            machine.tags, machine.totals, machine.order, fill, low, span, counts, places,
            self.columns.array, self.values.array, self.filled,
        )  # fmt: skip
        self.lengths[first:last] += counts
        self.filled += fill

    def product(self) -> Product:
        """Return C; the room can be used no more."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        columns, values = (room.taken(0, self.filled) for room in (self.columns, self.values))
        return Product(shape=self.shape, indptr=starts, indices=columns, values=values)
