"""What the controller assumes that a tile or a GWRITE takes, to keep clear of the next refresh."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.dram_timing import PIM_PIPELINE_STEPS, DramTiming
from rtl.elaboration import validated
from rtl.pim.parameters import instruction_layout
from workloads.errors import InputError

ESTIMATE_BITS = 16


def longest_tile(count: int, timing: DramTiming) -> int:
    """Return the estimate in clocks of a tile of `count` COMP and READRES, all banks being open."""
    steps = count * (timing.comp_step + _read_step(timing))
    return timing.banks_total * timing.rtp + steps + _activate(timing)


def _read_step(timing: DramTiming) -> int:
    """Return the clocks from a READRES to the next."""
    return max(timing.comp_step, timing.ccd_l)


def _activate(timing: DramTiming) -> int:
    """Return the clocks in which all groups open: half of them tFAW apart, then tRCD."""
    return timing.faw * (timing.ranks * timing.groups // 2 - 1) + timing.rcd_read


def check_tiles(timing: DramTiming) -> None:
    """Raise `InputError` for rows so long that the estimate of a tile overflows."""
    count = instruction_layout(timing)["comps"].shape
    longest = longest_tile((1 << count) - 1, timing)
    if longest >= 1 << ESTIMATE_BITS - 1:
        raise InputError(
            f"a tile of all columns may take {longest} clocks, more than an estimate can say: "
            "its rows must be shorter"
        )


class Estimate(wiring.Component):
    """Estimate clocks as `simulator.dram.pim` does. Combinational.

    A tile: tRTP for each open row, half of all activations tFAW apart, tRCD, then the COMP and the
    READRES that its header announces. A GWRITE: its copy and what opens row 0 of bank 0.

    Members: `holds`, a bit per bank: a row is open for multiplication; `comps`, `results` of the
    header; `source_open`, `source_right`: bank 0 has a row open, it is row 0; out: `tile`,
    `gwrite` in clocks.
    """

    @validated
    def __init__(self, *, timing: DramTiming) -> None:
        self.timing = timing
        count = instruction_layout(timing)["comps"].shape
        check_tiles(timing)
        super().__init__(
            {
                "holds": In(timing.banks_total),
                "comps": In(count),
                "results": In(count),
                "source_open": In(1),
                "source_right": In(1),
                "tile": Out(signed(ESTIMATE_BITS)),
                "gwrite": Out(signed(ESTIMATE_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the sums."""
        m = Module()
        t = self.timing
        closes = Signal(range(t.banks_total + 1))
        steps = Mux(self.comps > PIM_PIPELINE_STEPS, self.comps, PIM_PIPELINE_STEPS)
        read_step = _read_step(t)
        reopen = Mux(self.source_open, t.rtp, 0) + t.rp + t.rcd_read
        m.d.comb += [
            closes.eq(sum(self.holds[bank] for bank in range(t.banks_total))),
            self.tile.eq(
                closes * t.rtp
                + (steps * t.comp_step + _activate(t))
                + (self.results * read_step - read_step)
            ),
            self.gwrite.eq(t.gwrite + Mux(self.source_right, 0, reopen)),
        ]
        return m
