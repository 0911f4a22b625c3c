"""The weight update vector engine: fp32 master weights, SGD with momentum and weight decay."""

from __future__ import annotations

from amaranth.hdl import EnableInserter, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import delayed
from rtl.export import shared
from rtl.float import Float32Add, Float32Multiply, Float32To16
from workloads.errors import InputError

MUL_LATENCY, ADD_LATENCY = 3, 4
STEP_CYCLES = MUL_LATENCY + ADD_LATENCY
"""From one lane operation of an element to its next one. It is 1 modulo 2 and modulo 3, so the
operations of elements that enter every 2 or 3 cycles never meet in the multiplier."""
assert STEP_CYCLES % 6 == 1

STATE = data.StructLayout({"weight": 32, "momentum": 32, "gradient": 32})
UPDATED = data.StructLayout({"weight": 32, "momentum": 32, "half": 16})


class WuveLane(wiring.Component):
    """One multiplier and one adder, which every element passes two or three times.

    The operations, each a product rounded to fp32 and then a sum rounded to fp32:

        g' = decay w + g     only if `decays`
        v' = momentum v + g'
        w' = w - rate v'     and `half`, w' rounded to fp16

    An operation begins in a cycle and its result returns `STEP_CYCLES` later, when the next one
    begins. The updated element is out when the result of its last operation returns.

    Members: `enable`: freeze everything when low; `enters`: begin with `state`, not with what
    returned; `operation`: which of the three (0, 1, 2) begins; `rate`, `momentum`, `decay`: fp32;
    `state` in, `updated` out.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "enable": In(1),
                "enters": In(1),
                "operation": In(2),
                "rate": In(32),
                "momentum": In(32),
                "decay": In(32),
                "state": In(STATE),
                "updated": Out(UPDATED),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the loop through multiplier and adder."""
        m = Module()
        multiply, add = Float32Multiply(latency=MUL_LATENCY), Float32Add(latency=ADD_LATENCY)
        m.submodules.multiply, m.submodules.add = multiply, add
        # what travels beside the arithmetic, and returns with its result
        entering = Signal(STATE)
        returned = Signal(STATE)
        m.d.comb += entering.eq(Mux(self.enters, self.state, returned))
        with m.Switch(self.operation):
            with m.Case(0):
                m.d.comb += [multiply.a.eq(self.decay), multiply.b.eq(entering.weight)]
            with m.Case(1):
                m.d.comb += [multiply.a.eq(self.momentum), multiply.b.eq(entering.momentum)]
            with m.Default():
                m.d.comb += [multiply.a.eq(self.rate), multiply.b.eq(entering.momentum)]
        beside = data.StructLayout({"operation": 2, "state": STATE})
        start = Signal(beside)
        middle = Signal(beside)
        end = Signal(beside)
        m.d.comb += [
            start.operation.eq(self.operation),
            start.state.eq(entering),
            middle.eq(delayed(m, start.as_value(), MUL_LATENCY, name="multiplied")),
            end.eq(delayed(m, middle.as_value(), ADD_LATENCY, name="added")),
        ]
        subtracts = middle.operation == 2
        m.d.comb += [
            add.a.eq(Mux(subtracts, middle.state.weight, middle.state.gradient)),
            add.b.eq(multiply.product ^ (subtracts << 31)),
            returned.eq(end.state),
        ]
        with m.Switch(end.operation):
            with m.Case(0):
                m.d.comb += returned.gradient.eq(add.total)
            with m.Case(1):
                m.d.comb += returned.momentum.eq(add.total)
        m.submodules.narrow = narrow = Float32To16(latency=0)
        m.d.comb += [
            narrow.wide.eq(add.total),
            self.updated.weight.eq(add.total),
            self.updated.momentum.eq(end.state.momentum),
            self.updated.half.eq(narrow.half),
        ]
        return EnableInserter(self.enable)(m)


def check_lanes(lanes: int) -> None:
    """Raise `InputError` unless there is a lane."""
    if lanes < 1:
        raise InputError(f"lanes must be at least 1, not {lanes}")


class Wuve(wiring.Component):
    """`lanes` lanes in step: an element each in two cycles, in three with weight decay.

    A beat of `states` is weight, momentum and gradient for every lane, all fp32. The beat of
    `updates` follows 2 (3) `STEP_CYCLES` later. If it is not taken, everything waits.

    Members: `decays`, `rate`, `momentum`, `decay`: constant while elements are in flight.
    """

    def __init__(self, *, lanes: int = 32) -> None:
        check_lanes(lanes)
        self.lanes = lanes
        super().__init__(
            {
                "decays": In(1),
                "rate": In(32),
                "momentum": In(32),
                "decay": In(32),
                "states": In(stream.Signature(data.ArrayLayout(STATE, lanes))),
                "updates": Out(stream.Signature(data.ArrayLayout(UPDATED, lanes))),
            }
        )

    @property
    def name(self) -> str:
        """Module name: the same for equal parameters."""
        return f"wuve_{self.lanes}"

    def elaborate(self, platform: object) -> Module:
        """Build the lanes, and the bits that say which elements are where in them."""
        m = Module()
        enable = Signal()
        enters = Signal()
        wait = Signal(2)
        # bit t - 1: an element that entered t cycles ago
        travelling = Signal(3 * STEP_CYCLES)
        second, third = travelling[STEP_CYCLES - 1], travelling[2 * STEP_CYCLES - 1]
        busy = second | (self.decays & third)
        operation = Signal(2)
        m.d.comb += [
            self.updates.valid.eq(Mux(self.decays, travelling[-1], third)),
            enable.eq(~self.updates.valid | self.updates.ready),
            self.states.ready.eq(enable & (wait == 0) & ~busy),
            enters.eq(self.states.ready & self.states.valid),
            operation.eq(Mux(enters, Mux(self.decays, 0, 1), Mux(self.decays & second, 1, 2))),
        ]
        with m.If(enable):
            m.d.sync += [
                wait.eq(Mux(enters, 1 + self.decays, Mux(wait == 0, 0, wait - 1))),
                travelling.eq((travelling << 1) | enters),
            ]
        for number in range(self.lanes):
            lane = WuveLane()
            m.submodules[f"lane_{number}"] = shared(lane, "wuve_lane", platform)
            m.d.comb += [
                lane.enable.eq(enable),
                lane.enters.eq(enters),
                lane.operation.eq(operation),
                lane.rate.eq(self.rate),
                lane.momentum.eq(self.momentum),
                lane.decay.eq(self.decay),
                lane.state.eq(self.states.payload[number]),
                self.updates.payload[number].eq(lane.updated),
            ]
        return m
