"""Cycles of the regular phases around hashing, as the largest of their bounds.

Every thread does the same share of the same work, so a phase takes the longest of: instructions
over pipelines, the latencies of one thread's share one after the other, bank operations over banks,
and bytes over bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.accelerators.smash.config import Config
from workloads.rounding import ceil_div

NATIVE_BYTES = 8
"""Bytes of a DRAM access that is not part of a stream."""

ENTRY_INSTRUCTIONS = 6
"""Of the distribution for an entry of A: two loads, difference, sum, increment, branch. Counted."""

ROW_INSTRUCTIONS = 4
"""Of the distribution for a row: load, least of sum and columns, store, branch. Counted."""

DENSE_ENTRY_BYTES = 12
"""A 4-byte key and an 8-byte value in v3's dense arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What a phase takes."""

    cycles: int
    instructions: int = 0
    dram_bytes: int = 0


def distribution(config: Config, entries: int, rows: int) -> Phase:
    """Return the cost of finding the windows.

    For each entry of A its index is read (from a stream) and the two row pointers of B that it
    names (one native access); for each row its pointer is read and its bound is stored.
    """
    per_thread = ceil_div(entries, config.threads)
    instructions = entries * ENTRY_INSTRUCTIONS + rows * ROW_INSTRUCTIONS
    stream_bytes = ceil_div(entries * 4, config.access_bytes) * config.access_bytes
    dram_bytes = stream_bytes + entries * NATIVE_BYTES + rows * 2 * NATIVE_BYTES
    one_entry = config.dram_latency_cycles + ENTRY_INSTRUCTIONS * config.instruction_latency_cycles
    stream_waits = ceil_div(per_thread * 4, config.access_bytes) * config.dram_latency_cycles
    row_share = ceil_div(rows, config.threads) * (
        2 * config.dram_latency_cycles + ROW_INSTRUCTIONS * config.instruction_latency_cycles
    )
    cycles = max(
        ceil_div(instructions, config.pipelines),
        per_thread * one_entry + stream_waits + row_share,
        ceil_div(dram_bytes, config.dram_bytes_per_cycle),
    )
    return Phase(cycles=cycles, instructions=instructions, dram_bytes=dram_bytes)


def write_back(config: Config, version: str, slots: int, filled: int, rows: int) -> Phase:
    """Return the cost of v1's and v2's write-back of one window, threads idle otherwise.

    The table is scanned; a valid entry takes an atomic add to the counter of its row and two native
    stores (column and value), v1 also sorts. Stores are posted: only their bandwidth counts.
    """
    per_entry = config.write_back_instructions
    per_entry += config.sort_instructions if version == "v1" else 0
    instructions = slots * config.scan_instructions + filled * per_entry
    share, valid = ceil_div(slots, config.threads), ceil_div(filled, config.threads)
    scan = config.scratchpad_latency_cycles + (
        config.scan_instructions * config.instruction_latency_cycles
    )
    entry = config.scratchpad_latency_cycles + per_entry * config.instruction_latency_cycles
    dram_bytes = filled * 2 * NATIVE_BYTES + rows * NATIVE_BYTES
    bank_cycles = slots + filled * (config.atomic_bank_cycles + 1)
    cycles = max(
        ceil_div(instructions, config.pipelines),
        share * scan + valid * entry,
        ceil_div(bank_cycles, config.scratchpad_banks),
        ceil_div(dram_bytes, config.dram_bytes_per_cycle),
    )
    return Phase(cycles=cycles, instructions=instructions, dram_bytes=dram_bytes)


def clear(config: Config, slots: int) -> Phase:
    """Return the cost of v3's clearing of tags: every bank one slot a cycle, no thread needed."""
    return Phase(cycles=ceil_div(slots, config.scratchpad_banks))
