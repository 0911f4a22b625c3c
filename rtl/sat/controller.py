"""The controller: fetches instructions, starts them one after the other, counts their cycles."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits
from rtl.export import shared
from rtl.sat.bank import Bank
from rtl.sat.instructions import instruction_layout
from rtl.sat.parameters import Parameters

OVERHEAD_CYCLES = 3
"""Cycles between two instructions: read the plan, take the instruction, present an address."""


class Controller(wiring.Component):
    """Run `count` instructions of the plan.

    An instruction takes a cycle to read, one to decode (`reset`), and one to present the first
    bank address; then its own cycles are counted, from the one in which the first operand is at
    the array (or at the lanes) to `done`. The next one is read when the units have `settled`. So
    the time of a plan is the sum of its instructions' cycles, `OVERHEAD_CYCLES` for each, and the
    tail of each update (`vector.tail_cycles`).

    Members: `start`, `count`: run a plan; `idle`; `instruction`, `reset`, `run`: for the units;
    `done`: from the unit that runs; `settled`: nothing is under way; `total`: cycles of all
    instructions of this plan; `elapsed`: cycles since `start`. `counter_address`, `counter`: cycles
    of one instruction, a cycle later. `write_*`: the plan.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        self._layout = instruction_layout(p)
        super().__init__(
            {
                "start": In(1),
                "count": In(p.plan_words.bit_length()),
                "idle": Out(1),
                "instruction": Out(self._layout),
                "reset": Out(1),
                "run": Out(1),
                "done": In(1),
                "settled": In(1),
                "total": Out(32),
                "elapsed": Out(32),
                "counter_address": In(address_bits(p.plan_words)),
                "counter": Out(32),
                "write_enable": In(1),
                "write_address": In(address_bits(p.plan_words)),
                "write_value": In(self._layout.size),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the state machine, the plan memory and the counters."""
        m = Module()
        p = self.parameters
        plan = Bank(words=p.plan_words, bits=self._layout.size)
        m.submodules.plan = shared(plan, plan.name, platform)
        pointer = Signal(address_bits(p.plan_words))
        left = Signal.like(self.count)
        m.d.comb += [
            plan.write_enable.eq(self.write_enable),
            plan.write_address.eq(self.write_address),
            plan.write_value.eq(self.write_value),
            plan.read_address.eq(pointer),
            self.instruction.eq(plan.read_value),
        ]
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.comb += self.idle.eq(1)
                with m.If(self.start & (self.count != 0)):
                    m.d.sync += [pointer.eq(0), left.eq(self.count)]
                    m.next = "read"
            with m.State("read"):
                m.next = "decode"
            with m.State("decode"):
                m.d.comb += self.reset.eq(1)
                m.next = "run"
            with m.State("run"):
                m.d.comb += self.run.eq(1)
                with m.If(self.done & ~self.settled):
                    m.next = "settle"
                with m.Elif(self.done):
                    self._advance(m, pointer, left)
            with m.State("settle"), m.If(self.settled):
                self._advance(m, pointer, left)
        self._count(m, platform, pointer)
        return m

    def _advance(self, m: Module, pointer: Signal, left: Signal) -> None:
        """Go to the next instruction; the units use this one until now."""
        m.d.sync += [pointer.eq(pointer + 1), left.eq(left - 1)]
        m.next = "read"
        with m.If(left == 1):
            m.next = "idle"

    def _count(self, m: Module, platform: object, pointer: Signal) -> None:
        """Count from the cycle after the first address to `done`, that cycle included."""
        counters = Bank(words=self.parameters.plan_words, bits=32)
        m.submodules.counters = shared(counters, counters.name, platform)
        cycles = Signal(32)
        counting = Signal()
        m.d.sync += counting.eq(self.run & ~self.done)
        with m.If(self.reset):
            m.d.sync += cycles.eq(0)
        with m.Elif(counting):
            m.d.sync += [cycles.eq(cycles + 1), self.total.eq(self.total + 1)]
        with m.If(self.start & self.idle):
            m.d.sync += [self.total.eq(0), self.elapsed.eq(0)]
        with m.Elif(~self.idle):
            m.d.sync += self.elapsed.eq(self.elapsed + 1)
        m.d.comb += [
            counters.write_enable.eq(self.run & self.done),
            counters.write_address.eq(pointer),
            counters.write_value.eq(Mux(counting, cycles + 1, cycles)),
            counters.read_address.eq(self.counter_address),
            self.counter.eq(counters.read_value),
        ]
