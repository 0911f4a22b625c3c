"""DRAM commands and the least time between them, as one table for the simulator and the RTL.

A constraint says: after command `first`, command `second` may not issue for `delay` clocks in a
scope: the same bank, the same bank group, the same rank, or the other ranks of the channel. A bank
is in its group and its rank, so the earliest clock of a command is the maximum over the scopes of
its bank (`simulator.dram.bank`, and the comparators of the RTL).

Next to ACT, RD, WR, PRE and REF there are the commands of a memory with a multiplier and an adder
tree in every bank, all broadcast over the channel (NeuPIMs, ASPLOS 2024, arXiv 2403.00579, section
5; Newton, MICRO 2020):

======  ==========================================================================================
GWRITE  copy an open row into the vector buffer of the channel
G_ACT   open the same row in the four banks of one bank group
COMP    every bank multiplies 16 values of its row with 16 of the vector and adds them up
READRES read the sums of all banks over the data bus
GEMV    a number of COMP and one READRES as one command
PPRE    close the row of one bank in its second row buffer
======  ==========================================================================================

With one row buffer per bank (`dual=False`), G_ACT and COMP exclude ACT, RD and WR; with two they
only share the activation current, the command bus and the data bus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError

RD, WR, ACT, PRE, REF, GWRITE, G_ACT, COMP, READRES, GEMV, PPRE = range(11)
COMMANDS = ("RD", "WR", "ACT", "PRE", "REF", "GWRITE", "G_ACT", "COMP", "READRES", "GEMV", "PPRE")
COMMAND_COUNT = len(COMMANDS)

BANK, GROUP, RANK, OTHER_RANKS = range(4)
SCOPES = ("same bank", "same bank group", "same rank", "other ranks")

PIM_PIPELINE_STEPS = 6
"""Depth of the multiply and adder tree: the first result takes as long as six COMP (NeuPIMs)."""

GWRITE_BANK, GWRITE_ROW = 0, 0
"""GWRITE reads this row, wherever the vector is (published NeuPIMs simulator)."""

SLACK_FOR_NORMAL = 10
"""Least slack before a refresh at which an access may pass a waiting PIM command (the same)."""


class Constraint(NamedTuple):
    """`second` waits for `delay` clocks after `first` in the scope."""

    scope: int
    first: int
    second: int
    delay: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DramTiming:
    """Organisation of a channel and its timing in command clocks, named as in JEDEC standards.

    `rp` is tRP, and so on: `read_latency` is tCL, `write_latency` tCWL, `rcd_read` and `rcd_write`
    are tRCD before RD and WR. `rtrs` are idle clocks of the data bus between two ranks. Raises
    `InputError` for a number that no memory has.
    """

    source: str
    """Where the numbers come from."""

    clock_hz: float
    """Command clock."""

    ranks: int
    groups: int
    """Bank groups in one rank."""

    banks: int
    """Banks in one bank group."""

    row_bytes: int
    rows: int
    """Rows of one bank."""

    access_bytes: int
    """Bytes that one RD or WR moves."""

    burst: int
    """Clocks that one RD or WR holds the data bus."""

    read_latency: int
    write_latency: int
    rcd_read: int
    rcd_write: int
    rp: int
    ras: int
    rrd_s: int
    rrd_l: int
    faw: int
    ccd_s: int
    ccd_l: int
    wtr_s: int
    wtr_l: int
    wr: int
    rtp: int
    rtrs: int
    rfc: int
    refi: int
    """Clocks between two refreshes of a rank; ranks take turns: one is due every refi / ranks."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "source":
                _check_number(field.name, getattr(self, field.name))

    @property
    def banks_total(self) -> int:
        """Banks in one channel."""
        return self.ranks * self.groups * self.banks

    @property
    def rc(self) -> int:
        """Least time between two ACT to one bank: tRAS + tRP."""
        return self.ras + self.rp

    @property
    def read_delay(self) -> int:
        """Clocks from RD to the last byte."""
        return self.read_latency + self.burst

    @property
    def gwrite(self) -> int:
        """Clocks in which GWRITE copies a row: 32 times tCCD_S + tCCD_L (published simulator)."""
        return 32 * (self.ccd_s + self.ccd_l)

    @property
    def comp_step(self) -> int:
        """Clocks between two COMP."""
        return max(self.burst, self.ccd_s)

    @property
    def refresh_interval(self) -> int:
        """Clocks between refreshes of the channel, ranks in turn."""
        return self.refi // self.ranks

    @property
    def bytes_per_clock(self) -> float:
        """Peak of the data bus of one channel."""
        return self.access_bytes / self.burst


def _check_number(name: str, value: Any) -> None:
    """Raise `InputError` unless a field's number is positive and finite, and whole if not Hz."""
    least, wanted = 1, "a positive whole number"
    if name == "clock_hz":
        wanted = "a positive number"
    elif name == "rtrs":
        least, wanted = 0, "a whole number from 0 on"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (name == "clock_hz" and isinstance(value, float))):
        raise InputError(f"{name} must be {wanted}, not {value!r}")
    if not least <= value < math.inf:
        raise InputError(f"{name} must be {wanted}, not {value!r}")


def constraints(timing: DramTiming, *, dual: bool) -> list[Constraint]:
    """Return every constraint between commands of one channel.

    `dual` gives each bank a second row buffer for G_ACT, COMP and PPRE.
    """
    rows = _row_commands(timing, dual=dual)
    return _column_commands(timing, dual=dual) + rows + _pim(timing, dual=dual)


@cache
def delay_table(timing: DramTiming, *, dual: bool) -> NDArray[np.int64]:
    """Return the constraints as an array [scope, first, second]; 0 where there is none."""
    table = np.zeros((len(SCOPES), len(COMMANDS), len(COMMANDS)), np.int64)
    for scope, first, second, delay in constraints(timing, dual=dual):
        table[scope, first, second] = max(table[scope, first, second], delay)
    table.setflags(write=False)
    return table


def gemv_clocks(timing: DramTiming, comps: int) -> int:
    """Return the clocks that a GEMV of `comps` COMP holds the multipliers, its READRES included."""
    return timing.comp_step * (max(comps, PIM_PIPELINE_STEPS) + 1)


def _scoped(
    first: int, seconds: tuple[int, ...], *, bank: int = 0, group: int = 0, rank: int = 0
) -> list[Constraint]:
    """Repeat a constraint in its scopes; a narrower scope also obeys the wider one."""
    pairs = ((BANK, bank), (GROUP, group), (RANK, rank))
    return [Constraint(scope, first, s, delay) for scope, delay in pairs if delay for s in seconds]


def _column_commands(t: DramTiming, *, dual: bool) -> list[Constraint]:
    long, short = max(t.burst, t.ccd_l), max(t.burst, t.ccd_s)
    read_to_write = t.read_latency + t.burst - t.write_latency + t.rtrs
    write_to_read = t.write_latency + t.burst
    other_read = t.burst + t.rtrs
    sums = (COMP, READRES, GEMV)
    found = [
        *_scoped(RD, (RD, GWRITE), bank=long, group=long, rank=short),
        *_scoped(RD, (WR,), bank=read_to_write, group=read_to_write, rank=read_to_write),
        *_scoped(RD, (PRE,), bank=t.rtp),
        *_scoped(RD, sums, bank=0 if dual else long, group=0 if dual else long, rank=short),
        Constraint(OTHER_RANKS, RD, RD, other_read),
        Constraint(OTHER_RANKS, RD, READRES, other_read),
        Constraint(OTHER_RANKS, RD, WR, read_to_write),
        *_scoped(WR, (WR,), bank=long, group=long, rank=short),
        *_scoped(
            WR,
            (RD, GWRITE),
            bank=write_to_read + t.wtr_l,
            group=write_to_read + t.wtr_l,
            rank=write_to_read + t.wtr_s,
        ),
        *_scoped(WR, (PRE,), bank=write_to_read + t.wr),
        *_scoped(WR, sums, rank=write_to_read + t.wtr_s),
        Constraint(OTHER_RANKS, WR, WR, t.burst),
        Constraint(OTHER_RANKS, WR, RD, max(0, write_to_read + other_read - t.read_delay)),
        Constraint(OTHER_RANKS, WR, READRES, max(0, write_to_read + other_read - t.read_delay)),
    ]
    if not dual:
        late = write_to_read + t.wtr_l
        found += _scoped(WR, sums, bank=late, group=late)
    return found


def _row_commands(t: DramTiming, *, dual: bool) -> list[Constraint]:
    shared = t.rrd_l if dual else t.rc
    return [
        *_scoped(ACT, (ACT,), bank=t.rc, group=t.rrd_l, rank=t.rrd_s),
        *_scoped(ACT, (G_ACT,), bank=shared, group=t.rrd_l, rank=t.rrd_s),
        *_scoped(ACT, (RD, GWRITE), bank=t.rcd_read),
        *_scoped(ACT, (WR,), bank=t.rcd_write),
        *_scoped(ACT, (PRE,), bank=t.ras),
        *_scoped(PRE, (ACT, REF), bank=t.rp),
        *_scoped(REF, (ACT, REF, G_ACT), rank=t.rfc),
        *_scoped(PPRE, (REF, G_ACT), bank=t.rp),
        *_scoped(G_ACT, (ACT,), group=shared, rank=t.faw),
        *_scoped(G_ACT, (G_ACT,), group=t.rc, rank=t.faw),
        *_scoped(G_ACT, (COMP, READRES, GEMV), group=t.rcd_read, rank=t.rcd_read),
        *_scoped(G_ACT, (PPRE,), group=t.ras),
    ]


def _pim(t: DramTiming, *, dual: bool) -> list[Constraint]:
    """Return the constraints after the broadcast commands, which act on every rank."""
    short = max(t.burst, t.ccd_s)
    read_to_write = t.read_latency + t.burst - t.write_latency + t.rtrs
    sums = (COMP, READRES)
    closes = (PPRE,) if dual else (PRE, PPRE)
    everywhere = [
        *_scoped(COMP, (RD, GWRITE, *sums), rank=short),
        *_scoped(COMP, (WR,), rank=read_to_write),
        *_scoped(COMP, closes, rank=t.rtp),
        *_scoped(READRES, (GWRITE, *sums), rank=short),
        *_scoped(READRES, (RD,), rank=t.burst + t.rtrs),
        *_scoped(READRES, (WR,), rank=read_to_write),
        *_scoped(READRES, (G_ACT,), rank=t.rtp + t.rp),
        *_scoped(READRES, closes, rank=t.rtp),
        *_scoped(GEMV, (GWRITE, *sums), rank=short),
        *_scoped(GEMV, (RD,), rank=t.burst + t.rtrs),
        *_scoped(GEMV, (WR,), rank=read_to_write),
        *_scoped(GEMV, (G_ACT,), rank=t.rtp + t.rp),
        *_scoped(GEMV, (PPRE,), rank=t.rtp),
    ]
    long = max(t.burst, t.ccd_l)
    return [
        *everywhere,
        *[c._replace(scope=OTHER_RANKS) for c in everywhere],
        *_scoped(GWRITE, (RD,), bank=t.gwrite, group=long, rank=short),
        *_scoped(GWRITE, (WR,), bank=t.gwrite, group=read_to_write, rank=read_to_write),
        *_scoped(GWRITE, (PRE,), bank=t.gwrite),
        *_scoped(GWRITE, (GWRITE, COMP, READRES, GEMV), group=t.gwrite, rank=t.gwrite),
    ]


HBM2 = DramTiming(
    source="HBM2 8 Gb x128 as in the published NeuPIMs simulator (its configs, 1 ns clock)",
    clock_hz=1e9,
    ranks=2,
    groups=4,
    banks=4,
    row_bytes=1024,
    rows=32768,
    access_bytes=64,
    burst=2,
    read_latency=14,
    write_latency=4,
    rcd_read=14,
    rcd_write=14,
    rp=14,
    ras=34,
    rrd_s=4,
    rrd_l=6,
    faw=30,
    ccd_s=1,
    ccd_l=2,
    wtr_s=6,
    wtr_l=8,
    wr=16,
    rtp=5,
    rtrs=2,
    rfc=260,
    refi=3900,
)

HBM3 = DramTiming(
    source="HBM3_8Gb at HBM3_2Gbps in Ramulator 2 (github.com/CMU-SAFARI/ramulator2, HBM3.cpp), "
    "one pseudo channel; tRC is tRAS + tRP here; tRFC of 8 Gb recalled from JESD238; tRTRS unused",
    clock_hz=1e9,
    ranks=1,
    groups=4,
    banks=4,
    row_bytes=1024,
    rows=32768,
    access_bytes=64,
    burst=4,
    read_latency=7,
    write_latency=2,
    rcd_read=7,
    rcd_write=7,
    rp=7,
    ras=17,
    rrd_s=2,
    rrd_l=3,
    faw=15,
    ccd_s=1,
    ccd_l=2,
    wtr_s=3,
    wtr_l=4,
    wr=8,
    rtp=3,
    rtrs=0,
    rfc=350,
    refi=3900,
)

DDR4 = DramTiming(
    source="DDR4_8Gb_x8_3200 in DRAMsim3 (github.com/umd-memsys/DRAMsim3, configs), "
    "two ranks of 64 bits",
    clock_hz=1.6e9,
    ranks=2,
    groups=4,
    banks=4,
    row_bytes=8192,
    rows=65536,
    access_bytes=64,
    burst=4,
    read_latency=22,
    write_latency=16,
    rcd_read=22,
    rcd_write=22,
    rp=22,
    ras=52,
    rrd_s=4,
    rrd_l=8,
    faw=34,
    ccd_s=4,
    ccd_l=8,
    wtr_s=4,
    wtr_l=12,
    wr=24,
    rtp=12,
    rtrs=1,
    rfc=560,
    refi=12480,
)

DDR5 = DramTiming(
    source="DDR5_16Gb_x8 at DDR5_3200AN in Ramulator 2 (github.com/CMU-SAFARI/ramulator2, "
    "DDR5.cpp), a sub-channel of 32 bits; tRRD_L, tFAW, tRFC1 and tREFI1 recalled from JESD79-5; "
    "tRTRS unused",
    clock_hz=1.6e9,
    ranks=1,
    groups=8,
    banks=4,
    row_bytes=4096,
    rows=65536,
    access_bytes=64,
    burst=8,
    read_latency=24,
    write_latency=22,
    rcd_read=24,
    rcd_write=24,
    rp=24,
    ras=52,
    rrd_s=8,
    rrd_l=8,
    faw=32,
    ccd_s=8,
    ccd_l=8,
    wtr_s=4,
    wtr_l=16,
    wr=48,
    rtp=12,
    rtrs=0,
    rfc=472,
    refi=6240,
)

MEMORIES = {"hbm2": HBM2, "hbm3": HBM3, "ddr4": DDR4, "ddr5": DDR5}
"""Timing tables by name."""
