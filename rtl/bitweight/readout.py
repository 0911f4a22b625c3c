"""Read-out of carry-save sums by SIMD units, beside the arrays that leave it to others."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.parts import check_size
from rtl.bitweight.simd import SimdUnit
from rtl.elaboration import delayed, unpack, validated
from rtl.export import shared
from workloads.rounding import ceil_div


class RowReadOut(wiring.Component):
    """Resolves the pairs of a row's C elements with `simd` units in drain = ceil(C / simd) cycles.

    Unit u serves the columns u x drain to (u + 1) x drain - 1. `begin` is set in the first cycle in
    which the pair of column 0 is final. If `skewed`, that of column j is final j cycles later, and
    is read in that very cycle; else all are final at once, and are kept in registers until their
    turn. A result is there two cycles after its pair is read; the next `begin` may come drain
    cycles after this one. `first`, with `begin`, starts a result; without, it is four times the
    old one plus the new pair (OPT2, highest weight first). `correction` is subtracted from a pair;
    it is constant while a row is read.
    """

    @validated
    def __init__(self, *, cols: int, simd: int = 1, acc_width: int = 32, skewed: bool) -> None:
        check_size(cols=cols, simd=simd)
        self.cols, self.acc_width, self.skewed = cols, acc_width, skewed
        self.drain = ceil_div(cols, min(simd, cols))
        super().__init__(
            {
                "total": In(cols * acc_width),
                "carry": In(cols * acc_width),
                "begin": In(1),
                "first": In(1),
                "correction": In(acc_width),
                "results": Out(cols * 32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the units, each with its turn among its columns."""
        m = Module()
        pairs = list(
            zip(unpack(self.total, self.acc_width), unpack(self.carry, self.acc_width), strict=True)
        )
        results: list[Value] = []
        for start in range(0, self.cols, self.drain):
            own = pairs[start : start + self.drain]
            flags = Cat(self.begin, self.first)
            token = delayed(m, flags, start, name=f"token_{start}") if self.skewed else flags
            results.append(self._unit(m, platform, start, own, token))
        m.d.comb += self.results.eq(Cat(*results))
        return m

    def _unit(
        self, m: Module, platform: object, start: int, own: list[tuple[Value, Value]], token: Value
    ) -> Value:
        """Read the columns from `start` on, one a cycle from the token's cycle on."""
        begin = token[0]
        turn = Signal(range(max(self.drain, 2)), name=f"turn_{start}")
        reading, first = Signal(name=f"reading_{start}"), Signal(name=f"first_{start}")
        now, first_now = Mux(begin, 0, turn), Mux(begin, token[1], first)
        m.d.sync += [turn.eq(now + 1), first.eq(first_now)]
        with m.If(begin):
            m.d.sync += reading.eq(self.drain > 1)
        with m.Elif(turn == self.drain - 1):
            m.d.sync += reading.eq(0)
        unit = SimdUnit(acc_width=self.acc_width, slots=len(own))
        m.submodules[f"simd_{start}"] = shared(unit, f"simd_{self.acc_width}_{len(own)}", platform)
        for port, values in ((unit.total, 0), (unit.carry, 1)):
            words = [pair[values] for pair in own]
            if not self.skewed:
                words = [words[0], *(self._kept(m, begin, word) for word in words[1:])]
            m.d.comb += port.eq(Array(words)[now])
        m.d.comb += [
            unit.slot.eq(now),
            unit.first.eq(first_now),
            unit.correction.eq(self.correction),
            unit.valid.eq((begin | reading) & (now < len(own))),
        ]
        return unit.results

    def _kept(self, m: Module, begin: Value, word: Value) -> Value:
        """Return the word as it was with the latest `begin`, from the next cycle on."""
        kept = Signal(self.acc_width, name="kept")
        with m.If(begin):
            m.d.sync += kept.eq(word)
        return kept


class StreamReadOut(wiring.Component):
    """Resolves `count` pairs every cycle, each with a SIMD unit of its own; two cycles later.

    For arrays whose outputs leave as a stream: weight stationary, cube, tree. `correction` is
    subtracted from every pair.
    """

    @validated
    def __init__(self, *, count: int, acc_width: int = 32) -> None:
        check_size(count=count)
        self.count, self.acc_width = count, acc_width
        super().__init__(
            {
                "total": In(count * acc_width),
                "carry": In(count * acc_width),
                "correction": In(acc_width),
                "results": Out(count * 32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the units."""
        m = Module()
        totals, carries = unpack(self.total, self.acc_width), unpack(self.carry, self.acc_width)
        results: list[Value] = []
        for i, (total, carry) in enumerate(zip(totals, carries, strict=True)):
            unit = SimdUnit(acc_width=self.acc_width)
            m.submodules[f"simd_{i}"] = shared(unit, f"simd_{self.acc_width}", platform)
            m.d.comb += [
                unit.total.eq(total),
                unit.carry.eq(carry),
                unit.correction.eq(self.correction),
                unit.first.eq(1),
                unit.valid.eq(1),
            ]
            results.append(unit.results)
        m.d.comb += self.results.eq(Cat(*results))
        return m
