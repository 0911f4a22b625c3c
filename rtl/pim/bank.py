"""The controller of one bank with two row buffers: its timers, its open rows, what it may take."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow import dram_timing as dt
from dataflow.dram_timing import DramTiming, delay_table
from rtl.elaboration import address_bits
from rtl.pim.timers import Timers


class BankController(wiring.Component):
    """Say in every cycle which commands the bank may take; follow those that it took.

    With `dual` the bank has a second row buffer for G_ACT, COMP and PPRE, else one for all.
    Combinational from registers but for `row`, the row of the command that asks. A command in cycle
    t is in force in t + 1.

    Members, a bit per command: `issued` in, commands that this bank takes in this cycle; `others`
    in, what the timers of its group and rank allow; `ready` out, what timing allows; `allowed` out,
    what timing and open rows allow. For G_ACT, `allowed` says only that the bank does not stand in
    the way: it may hold `row` already. `is_open` and `open_row` of the normal row buffer,
    `pim_open` and `pim_row` of the one that the multipliers read. `pim_row` stays when PPRE closes
    the row: the latch keeps its values until the next G_ACT.
    """

    def __init__(self, *, timing: DramTiming, dual: bool) -> None:
        self.timing, self.dual = timing, dual
        self.row_bits = address_bits(timing.rows)
        super().__init__(
            {
                "issued": In(dt.COMMAND_COUNT),
                "others": In(dt.COMMAND_COUNT),
                "row": In(self.row_bits),
                "ready": Out(dt.COMMAND_COUNT),
                "allowed": Out(dt.COMMAND_COUNT),
                "is_open": Out(1),
                "open_row": Out(self.row_bits),
                "pim_open": Out(1),
                "pim_row": Out(self.row_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the timers and one or two row buffers."""
        m = Module()
        m.submodules.timers = timers = Timers(
            delays=delay_table(self.timing, dual=self.dual)[dt.BANK],
        )
        m.d.comb += [timers.events.eq(self.issued), self.ready.eq(timers.ready & self.others)]
        if self.dual:
            buffers = [
                (self.is_open, self.open_row, (dt.ACT,), (dt.PRE,)),
                (self.pim_open, self.pim_row, (dt.G_ACT,), (dt.PPRE,)),
            ]
        else:
            buffers = [(self.is_open, self.open_row, (dt.ACT, dt.G_ACT), (dt.PRE,))]
            m.d.comb += [self.pim_open.eq(self.is_open), self.pim_row.eq(self.open_row)]
        for is_open, held, opens, closes in buffers:
            with m.If(self._any(opens)):
                m.d.sync += [is_open.eq(1), held.eq(self.row)]
            with m.Elif(self._any(closes)):
                m.d.sync += is_open.eq(0)
        self._allow(m)
        return m

    def _any(self, commands: tuple[int, ...]) -> Signal:
        return sum(1 << command for command in commands) & self.issued != 0

    def _allow(self, m: Module) -> None:
        rows = {
            dt.ACT: ~self.is_open,
            dt.REF: ~(self.is_open | self.pim_open),
            dt.G_ACT: Mux(self.pim_open, self.pim_row == self.row, 1),
            dt.PPRE: self.pim_open if self.dual else 0,
            dt.READRES: 1,
            **dict.fromkeys((dt.RD, dt.WR, dt.PRE, dt.GWRITE), self.is_open),
            **dict.fromkeys((dt.COMP, dt.GEMV), self.pim_open),
        }
        for command, allows in rows.items():
            m.d.comb += self.allowed[command].eq(self.ready[command] & allows)
