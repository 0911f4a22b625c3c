"""What the controller assumes that a tile or a GWRITE takes, to keep clear of the next refresh."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflow.dram_timing import PIM_PIPELINE_STEPS, DramTiming
from rtl.pim.parameters import comps_in_row

ESTIMATE_BITS = 16


class Estimate(wiring.Component):
    """Estimate clocks as `simulator.dram.pim` does. Combinational.

    A tile: tRTP for each bank to close, half of the activations tFAW apart, tRCD, then the COMP and
    the READRES that its header announces. A GWRITE: its copy and what opens row 0 of bank 0.

    Members: `holds`, a bit per bank: a row is open for multiplication; `matches`: it is the tile's;
    `comps`, `results` of the header; `source_open`, `source_right`: bank 0 has a row open, it is
    row 0; out: `tile`, `gwrite` in clocks.
    """

    def __init__(self, *, timing: DramTiming) -> None:
        self.timing = timing
        comps = comps_in_row(timing)
        super().__init__(
            {
                "holds": In(timing.banks_total),
                "matches": In(timing.banks_total),
                "comps": In((2 * comps - 1).bit_length()),
                "results": In((2 * comps - 1).bit_length()),
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
        closes, activations = self._rows(m)
        steps = Mux(self.comps > PIM_PIPELINE_STEPS, self.comps, PIM_PIPELINE_STEPS)
        read_step = max(t.comp_step, t.ccd_l)
        opening = t.rp + t.rcd_read
        m.d.comb += [
            self.tile.eq(
                closes * t.rtp
                + ((activations >> 1) * t.faw - t.faw + t.rcd_read)
                + steps * t.comp_step
                + (self.results * read_step - read_step)
            ),
            self.gwrite.eq(
                t.gwrite + Mux(self.source_right, 0, opening + Mux(self.source_open, t.rtp, 0))
            ),
        ]
        return m

    def _rows(self, m: Module) -> tuple[Value, Value]:
        """Return the banks to close, and the groups to activate."""
        t = self.timing
        counts = data.ArrayLayout(range(t.banks + 1), t.ranks * t.groups)
        wrong = Signal(counts)
        opens = Signal(t.ranks * t.groups)
        for group in range(t.ranks * t.groups):
            own = slice(group * t.banks, (group + 1) * t.banks)
            others = self.holds[own] & ~self.matches[own]
            m.d.comb += [
                opens[group].eq(~self.matches[own].all()),
                wrong[group].eq(sum(others[i] for i in range(t.banks))),
            ]
        closes = Signal(range(t.banks_total + 1))
        activations = Signal(range(t.ranks * t.groups + 1))
        m.d.comb += [
            closes.eq(sum(wrong[group] for group in range(t.ranks * t.groups))),
            activations.eq(sum(Cat(opens)[group] for group in range(t.ranks * t.groups))),
        ]
        return closes, activations
