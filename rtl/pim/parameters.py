"""Sizes of the generated PIM hardware, and the layouts of what travels between its parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from amaranth.lib import data

from dataflow.dram_timing import COMMANDS, MEMORIES, DramTiming
from dataflow.pim_arithmetic import LANES
from rtl.elaboration import address_bits
from workloads.errors import InputError

VALUE_BITS = 16
"""fp16."""
VALUE_BYTES = VALUE_BITS // 8


def check_tree_lanes(lanes: int) -> int:
    """Return the lanes of a unit if they make a binary tree."""
    if lanes < 2 or lanes & (lanes - 1):
        raise InputError(f"lanes must be a power of two from 2 on, not {lanes}")
    return lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitParameters:
    """Multipliers of a bank."""

    lanes: int = LANES

    def __post_init__(self) -> None:
        check_tree_lanes(self.lanes)


def comps_in_row(timing: DramTiming) -> int:
    """Return the COMP that read a whole row."""
    return timing.row_bytes // (VALUE_BYTES * LANES)


def accesses_in_row(timing: DramTiming) -> int:
    """Return the RD that read a whole row."""
    return timing.row_bytes // timing.access_bytes


def command_layout(timing: DramTiming) -> data.StructLayout:
    """Return a command on the bus: its kind numbered as in `dataflow.dram_timing`, a flat bank."""
    return data.StructLayout(
        {
            "kind": (len(COMMANDS) - 1).bit_length(),
            "bank": address_bits(timing.banks_total),
            "row": address_bits(timing.rows),
            "access": address_bits(accesses_in_row(timing)),
            "comps": comps_in_row(timing).bit_length(),
        }
    )


def instruction_layout(timing: DramTiming) -> data.StructLayout:
    """Return an instruction of a PIM program (`rtl.pim.sequencer.Op`): the row of its tile, COMP
    and READRES that it does or announces, and whether it is the last READRES of its tile."""
    count = (2 * comps_in_row(timing) - 1).bit_length()
    return data.StructLayout(
        {
            "kind": 3,
            "row": command_layout(timing)["row"].shape,
            "comps": count,
            "results": count,
            "last": 1,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelParameters:
    """Organisation of a channel; its timing is that of a table."""

    timing: str = "hbm2"
    """Table of the timing (`dataflow.dram_timing`)."""
    ranks: int = 1
    groups: int = 2
    """Bank groups of a rank."""
    banks: int = 2
    """Banks of a group."""
    rows: int = 16
    """Rows of a bank."""
    accesses: int = 4
    """RD that read a whole row."""
    dual: int = 1
    """1 for a second row buffer per bank, 0 for one."""
    compute: int = 1
    """1 for memory cells, multipliers and data, 0 for commands and their timing only."""
    refresh: int = 1
    """1 for a refresh of the ranks in turn, 0 for none."""

    def __post_init__(self) -> None:
        if self.timing not in MEMORIES:
            raise InputError(f"timing must be {' or '.join(MEMORIES)}, not {self.timing!r}")
        for name in ("ranks", "groups", "banks", "rows", "accesses"):
            size = getattr(self, name)
            if size < 1 or size & (size - 1):
                raise InputError(f"{name} must be a power of two, not {size}")
        for name in ("dual", "compute", "refresh"):
            if getattr(self, name) not in (0, 1):
                raise InputError(f"{name} must be 0 or 1, not {getattr(self, name)}")

    @property
    def dram(self) -> DramTiming:
        """The table with this organisation."""
        table = MEMORIES[self.timing]
        return replace(
            table,
            ranks=self.ranks,
            groups=self.groups,
            banks=self.banks,
            rows=self.rows,
            row_bytes=self.accesses * table.access_bytes,
        )
