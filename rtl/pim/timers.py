"""Counters that hold a command back: one per command and scope, and the window of four ACT."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from dataflow.dram_rules import ACTIVATIONS_IN_WINDOW
from dataflow.dram_timing import COMMAND_COUNT, COMMANDS


class Timers(wiring.Component):
    """Say which commands the constraints of one scope allow: of a bank, a bank group or a rank.

    `delays` is [events, commands]: clocks from an event to the first clock of a command. The event
    in cycle t keeps `ready` of a command low from t + 1 to t + delay - 1. Combinational from
    registers: `ready` does not depend on `events` of the same cycle.

    Members: `events` in, a bit each; `ready` out, a bit per command.
    """

    def __init__(self, *, delays: NDArray[np.int64]) -> None:
        self.delays = delays
        super().__init__({"events": In(len(delays)), "ready": Out(COMMAND_COUNT)})

    def elaborate(self, platform: object) -> Module:
        """Build a counter for every command that ever waits; a delay of 1 is the bus itself."""
        m = Module()
        for command in range(COMMAND_COUNT):
            column = self.delays[:, command]
            if column.max() <= 1:
                m.d.comb += self.ready[command].eq(1)
                continue
            left = Signal(range(int(column.max())), name=f"{COMMANDS[command].lower()}_left")
            m.d.comb += self.ready[command].eq(left == 0)
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
            waits = sorted((int(delay), event) for event, delay in enumerate(column) if delay > 1)
            for delay, events in groupby(waits, key=lambda wait: wait[0]):
                happens = Cat(self.events[event] for _, event in events).any()
                with m.If(happens & (left < delay)):
                    m.d.sync += left.eq(delay - 1)
        return m


class ActivationWindow(wiring.Component):
    """tFAW of a rank: the fifth ACT waits until `faw` clocks after the first.

    Members: `act` in; `ready` out, low in the cycles in which no ACT may issue.
    """

    def __init__(self, *, faw: int) -> None:
        self.faw = faw
        super().__init__({"act": In(1), "ready": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build a counter for each of the last four ACT; they are used in turn."""
        m = Module()
        turn = Signal(range(ACTIVATIONS_IN_WINDOW))
        held = Signal(ACTIVATIONS_IN_WINDOW)
        for i in range(ACTIVATIONS_IN_WINDOW):
            left = Signal(range(max(2, self.faw)), name=f"left_{i}")
            m.d.comb += held[i].eq(left != 0)
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
            with m.If(self.act & (turn == i)):
                m.d.sync += left.eq(self.faw - 1)
        with m.If(self.act):
            m.d.sync += turn.eq(turn + 1)
        m.d.comb += self.ready.eq(~held.bit_select(turn, 1))
        return m
