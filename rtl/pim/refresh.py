"""When a refresh of a rank falls due, and what it needs next."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.dram_timing import DramTiming
from rtl.elaboration import address_bits

MOST_DUE = 2
"""Refreshes that can wait at once."""


class RefreshTimer(wiring.Component):
    """Count the clocks to the next refresh; ranks take turns.

    The first falls due `refresh_interval` cycles after reset. `due` is high from that cycle to the
    cycle in which `done` (REF) is, or longer if the next one has fallen due meanwhile; `rank` is
    whose turn it is. `ahead` are the clocks from the next cycle to the next one that falls due, as
    the controller's estimates take them: a whole interval if that is the next cycle.

    Members: `done` in; `due`, `rank`, `ahead` out.
    """

    def __init__(self, *, timing: DramTiming) -> None:
        self.timing = timing
        super().__init__(
            {
                "done": In(1),
                "due": Out(1),
                "rank": Out(address_bits(timing.ranks)),
                "ahead": Out(range(timing.refresh_interval + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the counter and the number of refreshes that wait."""
        m = Module()
        interval = self.timing.refresh_interval
        left = Signal(range(interval + 1), init=interval)
        now = Signal(range(interval + 1))
        waiting = Signal(range(MOST_DUE + 1))
        falls_due = left == 0
        m.d.comb += now.eq(left)
        with m.If(falls_due):
            m.d.comb += now.eq(interval)
        m.d.sync += left.eq(now - 1)
        m.d.comb += [
            self.due.eq(falls_due | (waiting != 0)),
            self.ahead.eq(now - 1),
        ]
        with m.If(now == 1):
            m.d.comb += self.ahead.eq(interval)
        m.d.sync += waiting.eq(waiting + falls_due - self.done)
        with m.If(self.done):
            m.d.sync += self.rank.eq(self.rank + 1 if self.timing.ranks > 1 else 0)
        return m
