"""When the multipliers work: the COMP and the READRES that a GEMV stands for, and single ones."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.dram_timing import (
    COMMAND_COUNT,
    COMP,
    G_ACT,
    GEMV,
    PIM_PIPELINE_STEPS,
    READRES,
    DramTiming,
)
from rtl.elaboration import address_bits
from rtl.pim.parameters import comps_in_row


class MultiplySteps(wiring.Component):
    """Step through the columns of a tile, 16 values of every bank at a time.

    A COMP in cycle t multiplies in t and moves on to the next column; `restart` goes back to the
    first. A GEMV in cycle t multiplies in t, t + comp_step, ...; its READRES is comp_step times
    max(`comps`, PIM_PIPELINE_STEPS) cycles after t, so that the next GEMV finds the multipliers
    free (`gemv_clocks`). The timing table lets a G_ACT, a COMP or a READRES into a running GEMV;
    that mixes sums of two rows. `torn` is high in such a cycle.

    Members: `fires` in, a bit per command that issues; `comps` in; `restart` in; `multiply`,
    `read`, `column`, `torn` out.
    """

    def __init__(self, *, timing: DramTiming) -> None:
        self.timing = timing
        comps = comps_in_row(timing)
        super().__init__(
            {
                "fires": In(COMMAND_COUNT),
                "comps": In(comps.bit_length()),
                "restart": In(1),
                "multiply": Out(1),
                "read": Out(1),
                "column": Out(address_bits(comps)),
                "torn": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the counters of a running GEMV and the column."""
        m = Module()
        step = self.timing.comp_step
        most = max(comps_in_row(self.timing), PIM_PIPELINE_STEPS)
        left, steps_left = Signal(len(self.comps)), Signal(range(most + 1))
        phase = Signal(range(max(2, step)))
        running = steps_left != 0
        starts = self.fires[GEMV]
        stepping = Signal()
        m.d.comb += [
            stepping.eq(running & (phase == 0)),
            self.multiply.eq(
                self.fires[COMP] | (starts & (self.comps != 0)) | (stepping & (left != 0))
            ),
            self.read.eq(self.fires[READRES] | (stepping & (steps_left == 1))),
            self.torn.eq(
                (running & (self.fires[COMP] | self.fires[READRES]))
                | ((left > stepping) & self.fires[G_ACT])
            ),
        ]
        with m.If(starts):
            pipeline = PIM_PIPELINE_STEPS
            m.d.sync += [
                left.eq(Mux(self.comps == 0, 0, self.comps - 1)),
                steps_left.eq(Mux(self.comps > pipeline, self.comps, pipeline)),
                phase.eq(step - 1),
            ]
        with m.Elif(stepping):
            m.d.sync += [steps_left.eq(steps_left - 1), phase.eq(step - 1)]
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
        with m.Elif(running):
            m.d.sync += phase.eq(phase - 1)
        with m.If(self.restart):
            m.d.sync += self.column.eq(0)
        with m.Elif(self.multiply):
            m.d.sync += self.column.eq(self.column + 1)
        return m
