"""What stands before the elements of a sparse column: its front end, and the element of OPT3."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.bitweight import GROUP
from rtl.bitweight.encoders import ent_codes, walk_digits
from rtl.bitweight.sparse import StepAccumulator, default_acc_width
from rtl.elaboration import unpack, validated


class ColumnFront(wiring.Component):
    """Encodes four operands, picks their digits of one position, and emits the non-zero ones.

    Three cycles after `load` with `values` and `position` (0: lowest digit), the first `code`
    and its `index` stand at the registered outputs: one a cycle, max(1, non-zero digits) of them.
    One front end serves a whole column (OPT4C) or one lane of it (OPT4E).
    """

    @validated
    def __init__(self, *, width: int = 8) -> None:
        self.width = width
        super().__init__(
            {
                "values": In(GROUP * width),
                "position": In(range(width // 2)),
                "load": In(1),
                "code": Out(3),
                "index": Out(2),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the front end."""
        m = Module()
        values, position, load = Signal.like(self.values), Signal.like(self.position), Signal()
        m.d.sync += [values.eq(self.values), position.eq(self.position), load.eq(self.load)]
        digits = []
        for i, value in enumerate(unpack(values, self.width)):
            code = Signal(3, name=f"digit_{i}")
            m.d.comb += code.eq(Array(ent_codes(m, value))[position])
            digits.append(code)
        sparse = walk_digits(m, load, digits)
        held = Signal(3 * GROUP)
        with m.If(load):
            m.d.sync += held.eq(Cat(*digits))
        m.d.comb += self.ready.eq(~sparse.busy | sparse.last)
        m.d.sync += self.index.eq(sparse.index)
        with m.If(sparse.busy & ~sparse.empty):
            m.d.sync += self.code.eq(Array(unpack(held, 3))[sparse.index])
        with m.Else():
            m.d.sync += self.code.eq(0)
        return m


class Opt3Element(wiring.Component):
    """An element with its own sparse encoder: a group's codes and Bs in, one digit a step.

    `load` presents a group; it takes max(1, non-zero digits) steps from the next cycle on and the
    sum holds the group two cycles after the last one. `ready` : a group may be presented now.
    """

    @validated
    def __init__(self, *, width: int = 8, acc_width: int | None = None) -> None:
        self.width = width
        self.acc_width = default_acc_width(width) if acc_width is None else acc_width
        super().__init__(
            {
                "codes": In(3 * GROUP),
                "b": In(width * GROUP),
                "load": In(1),
                "first": In(1),
                "ready": Out(1),
                "total": Out(self.acc_width),
                "carry": Out(self.acc_width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the element."""
        m = Module()
        codes, b, first = Signal.like(self.codes), Signal.like(self.b), Signal()
        m.d.sync += first.eq(self.first & self.load)
        with m.If(self.load):
            m.d.sync += [codes.eq(self.codes), b.eq(self.b)]
        sparse = walk_digits(m, self.load, unpack(self.codes, 3))
        m.submodules.adder = adder = StepAccumulator(width=self.width, acc_width=self.acc_width)
        m.d.comb += [
            self.ready.eq(~sparse.busy | sparse.last),
            adder.b.eq(Array(unpack(b, self.width))[sparse.index]),
            adder.first.eq(first),
            self.total.eq(adder.total),
            self.carry.eq(adder.carry),
        ]
        with m.If(sparse.busy & ~sparse.empty):
            m.d.comb += adder.codes.eq(Array(unpack(codes, 3))[sparse.index])
        return m
