"""Energy of DRAM commands from the currents of a data sheet.

Source: the Micron power model as DRAMsim3 computes it (Li et al., IEEE CAL 2020): the current above
standby, times the supply, times the time of the command. PIM commands as multiples of these
(NeuPIMs, ASPLOS 2024, section on power; its simulator): GWRITE reads a whole row, G_ACT is an ACT
in every bank of a group (four), COMP takes four times the power of RD (Newton, MICRO 2020), READRES
moves two bytes of every bank (as many as one RD). A second row buffer adds its own standby power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataflow.dram_timing import DramTiming

COMP_IN_RD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DramCurrents:
    """Supply in volts, currents of one channel in mA, by their data-sheet names."""

    source: str
    vdd: float
    idd0: float
    idd2n: float
    idd3n: float
    idd4w: float
    idd4r: float
    idd5ab: float


HBM2_CURRENTS = DramCurrents(
    source="HBM2 8 Gb x128 as in the published NeuPIMs simulator",
    vdd=1.2,
    idd0=65,
    idd2n=40,
    idd3n=55,
    idd4w=500,
    idd4r=390,
    idd5ab=250,
)


def command_pj(timing: DramTiming, currents: DramCurrents) -> dict[str, float]:
    """Return the energy of each command in pJ: volts x milliamperes x nanoseconds."""
    i, ns = currents, 1e9 / timing.clock_hz
    activate = i.idd0 * timing.rc - (i.idd3n * timing.ras + i.idd2n * timing.rp)
    unit = i.vdd * ns
    read = unit * (i.idd4r - i.idd3n) * timing.burst
    accesses = timing.row_bytes // timing.access_bytes
    return {
        "ACT": unit * activate,
        "RD": read,
        "WR": unit * (i.idd4w - i.idd3n) * timing.burst,
        "REF": unit * (i.idd5ab - i.idd3n) * timing.rfc,
        "GWRITE": accesses * read,
        "G_ACT": timing.banks * unit * activate,
        "COMP": COMP_IN_RD * read,
        "READRES": 2 * timing.banks_total / timing.access_bytes * read,
    }


def standby_pj(
    timing: DramTiming,
    currents: DramCurrents,
    *,
    rank_clocks: float,
    active_rank_clocks: tuple[float, float],
    dual: bool,
) -> float:
    """Return the standby energy of all ranks in pJ: more while a row is open.

    `rank_clocks` are clocks times ranks, `active_rank_clocks` those of them with a row open in the
    normal and in the PIM buffers.
    """
    unit = currents.vdd * 1e9 / timing.clock_hz
    buffers = active_rank_clocks if dual else active_rank_clocks[:1]
    return sum(
        unit * (active * currents.idd3n + (rank_clocks - active) * currents.idd2n)
        for active in buffers
    )


def energy_pj(
    counts: Mapping[str, int], timing: DramTiming, currents: DramCurrents
) -> dict[str, float]:
    """Return the energy of the commands counted, by command."""
    each = command_pj(timing, currents)
    return {f"dram {name}": counts[name] * pj for name, pj in each.items() if counts.get(name)}
