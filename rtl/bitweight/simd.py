"""The SIMD unit: resolves (total, carry) pairs of one weight and adds them up, highest first."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import validated
from workloads.errors import InputError


class SimdUnit(wiring.Component):
    """result[slot] = 4 x result[slot] + total + carry - correction; four is the radix.

    A pair presented with `valid` in cycle t is in its result from cycle t + 2; one pair a cycle.
    With `first` the old result counts as zero. `slots` results are kept; `results` shows them all.
    """

    @validated
    def __init__(self, *, acc_width: int, result_width: int = 32, slots: int = 1) -> None:
        if not 1 <= acc_width <= 64:
            raise InputError(f"acc_width of a SIMD unit must lie in 1 to 64, not {acc_width}")
        if slots < 1:
            raise InputError(f"slots of a SIMD unit must be at least 1, not {slots}")
        self.acc_width, self.result_width, self.slots = acc_width, result_width, slots
        super().__init__(
            {
                "total": In(acc_width),
                "carry": In(acc_width),
                "correction": In(acc_width),
                "slot": In(range(max(slots, 2))),
                "first": In(1),
                "valid": In(1),
                "results": Out(slots * result_width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit: one addition a stage."""
        m = Module()
        resolved = Signal(self.acc_width)
        slot, first, valid = Signal.like(self.slot), Signal(), Signal()
        m.d.sync += [
            resolved.eq(self.total + self.carry - self.correction),
            slot.eq(self.slot),
            first.eq(self.first),
            valid.eq(self.valid),
        ]
        kept = [Signal(self.result_width, name=f"result_{i}") for i in range(self.slots)]
        old = Mux(first, 0, Array(kept)[slot] if self.slots > 1 else kept[0])
        new = Signal(self.result_width)
        m.d.comb += new.eq((old << 2) + resolved.as_signed())
        for i, result in enumerate(kept):
            with m.If(valid & (slot == i)):
                m.d.sync += result.eq(new)
            m.d.comb += self.results[i * self.result_width : (i + 1) * self.result_width].eq(result)
        return m
