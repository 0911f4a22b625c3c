"""Designs of other accelerators that can be synthesised by name, and their recorded results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from dataflow.hash_unit import HashUnit
from dataflow.pim_arithmetic import LANES
from rtl.elaboration import pack
from rtl.hash import HashAccumulate
from rtl.pim import BankController, PimUnit
from rtl.pim.parameters import VALUE_BITS, ChannelParameters
from rtl.synthesis.designs import Mappable
from rtl.synthesis.stimuli import TERMS, Made, Stimulus

UPDATE_CYCLES = 3
"""Cycles of an update of the hash table that meets no other (`rtl.hash`)."""

CYCLES = 500
"""Cycles in which the energy of a unit is measured."""

KEYS = 1 << 12
"""Keys from which updates are drawn."""


def multiply_stimulus(unit: Any, cycles: int) -> Made:
    """A COMP a cycle of normal fp16 values, a READRES after every 256 products, or one COMP."""
    rng = np.random.default_rng(1)
    steps = max(1, TERMS // unit.lanes)
    read = np.arange(cycles) % (steps + 1) == steps
    drawn = rng.standard_normal((2, cycles, unit.lanes)).astype(np.float16).view(np.uint16)
    values, vector = (
        np.array([pack(row.tolist(), VALUE_BITS) for row in words], object) for words in drawn
    )
    stimulus: Stimulus = {"multiply": ~read, "read": read, "values": values, "vector": vector}
    return stimulus, float((~read).sum() * unit.lanes)


def update_stimulus(table: Any, cycles: int) -> Made:
    """Every requester adds to keys of its own bank, an update in three cycles, none refused."""
    unit = table.unit
    rng = np.random.default_rng(1)
    slots = unit.hashing.compute(np.arange(min(KEYS, 1 << unit.key_bits)))
    _, first = np.unique(slots, return_index=True)
    offered = np.arange(cycles) % UPDATE_CYCLES == 0
    stimulus: Stimulus = {"start_drain": np.zeros(cycles), "entry__ready": np.zeros(cycles)}
    for requester in range(unit.requesters):
        own = first[slots[first] % unit.banks == requester % unit.banks]
        keys = rng.choice(own, cycles)
        added = rng.integers(1 << 32, size=cycles)
        stimulus[f"update__{requester}__valid"] = offered
        stimulus[f"update__{requester}__payload"] = np.array(
            [int(k) | int(v) << unit.key_bits for k, v in zip(keys, added, strict=True)], object
        )
    return stimulus, float(offered.sum() * unit.requesters)


def command_stimulus(bank: Any, cycles: int) -> Made:
    """A bank that is opened, read four times and closed, again and again: per command."""
    from dataflow.dram_timing import ACT, PRE, RD

    timing = bank.timing
    rows = np.random.default_rng(1).integers(timing.rows, size=cycles)
    read_from = timing.rcd_read
    at = np.arange(cycles) % timing.rc
    issued = np.zeros(cycles, np.int64)
    issued[at == 0] = 1 << ACT
    for i in range(4):
        issued[at == read_from + i * timing.ccd_l] = 1 << RD
    issued[at == timing.ras] = 1 << PRE
    ones = np.full(cycles, (1 << len(bank.others)) - 1)
    return {"issued": issued, "others": ones, "row": rows}, float((issued != 0).sum())


def _hash(**changes: int) -> wiring.Component:
    return HashAccumulate(HashUnit(**changes))


def _bank(**changes: int) -> wiring.Component:
    parameters = ChannelParameters(**changes)
    return BankController(timing=parameters.dram, dual=bool(parameters.dual))


UNITS = {
    design.name: design
    for design in (
        Mappable(
            name="pim_unit",
            summary="16 fp16 multipliers, fp32 adder tree and sum of a PIM bank",
            make=PimUnit,
            parameters={"lanes": LANES},
            stimulus=multiply_stimulus,
        ),
        Mappable(
            name="pim_bank",
            summary="timers and row buffers of a DRAM bank",
            make=_bank,
            parameters={"dual": 1, "rows": 32768, "banks": 4},
            stimulus=command_stimulus,
        ),
        Mappable(
            name="hash_accumulate",
            summary="banked hash table that adds int32 values by key",
            make=_hash,
            parameters={"requesters": 4, "banks": 4, "slots": 64, "key_bits": 32},
            stimulus=update_stimulus,
        ),
    )
}
"""Energy is per multiplication of the PIM unit, per command of a bank, per update of the table."""

RECORDED = Path(__file__).parents[2] / "sim_results" / "synthesis" / "units.csv"


def main() -> None:
    """Measure every unit and write the table: `python -m rtl.synthesis.units`."""
    from rtl.synthesis import table

    table.write(RECORDED, [table.measure(design, cycles=CYCLES) for design in UNITS.values()])


if __name__ == "__main__":
    main()
