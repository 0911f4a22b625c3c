"""Carry-save arrays with the read-out that turns their pairs into results."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.arrays import Matrix, OutputStationary
from rtl.bitweight.readout import RowReadOut, StreamReadOut
from rtl.bitweight.weights import EqualWeight
from rtl.elaboration import delayed, owned, validated
from rtl.export import shared
from workloads.errors import InputError

LATENCY = 2
"""Cycles from the last term of an element to its final sum."""


class ReadGrid(wiring.Component):
    """An R x C array that keeps its sums (OS or 2D matrix), and `simd` read-out units a row.

    `last` comes with the last term of a product or, in OPT2, of a bit weight, `restart` with the
    `last` that begins a result: every one, in OPT2 that of the highest weight, which comes first.
    `correction` is terms x `step_offset` of the style (OPT2: zero), constant from `last` until the
    results are there.

    With K the terms (OPT2: the steps of all weights) the result of element (i, j) is there at edge
    i + j + K + 3 in an OS array, at edge K + 3 + (j mod drain) in a 2D matrix, where
    drain = ceil(C / simd). Products, or weights, must be at least `drain` cycles apart.
    """

    @validated
    def __init__(self, *, grid: OutputStationary | Matrix | EqualWeight, simd: int = 1) -> None:
        owned(grid)
        skewed = getattr(grid, "skewed", isinstance(grid, OutputStationary))
        if not hasattr(grid, "carry"):
            raise InputError("only carry-save sums need a read-out; those of style mac are results")
        self._grid = grid
        self.rows, self.cols, self.width = grid.rows, grid.cols, grid.width
        self._readers = [
            owned(RowReadOut(cols=grid.cols, simd=simd, acc_width=grid.acc_width, skewed=skewed))
            for _ in range(grid.rows)
        ]
        self.drain, self.skewed = self._readers[0].drain, skewed
        super().__init__(
            {
                "a": In(len(grid.a)),
                "b": In(len(grid.b)),
                "first": In(1),
                "last": In(1),
                "restart": In(1),
                "correction": In(grid.acc_width),
                "results": Out(grid.rows * grid.cols * 32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build array and read-out."""
        m = Module()
        m.submodules.grid = grid = self._grid
        m.d.comb += [grid.a.eq(self.a), grid.b.eq(self.b), grid.first.eq(self.first)]
        bits = grid.cols * grid.acc_width
        for i, reader in enumerate(self._readers):
            m.submodules[f"reader_{i}"] = shared(reader, "reader", platform)
            late = LATENCY + (i if self.skewed else 0)
            m.d.comb += [
                reader.total.eq(grid.total[i * bits : (i + 1) * bits]),
                reader.carry.eq(grid.carry[i * bits : (i + 1) * bits]),
                Cat(reader.begin, reader.first).eq(
                    delayed(m, Cat(self.last, self.restart), late, name=f"last_{i}")
                ),
                reader.correction.eq(self.correction),
            ]
        m.d.comb += self.results.eq(Cat(*(reader.results for reader in self._readers)))
        return m


class ReadStream(wiring.Component):
    """An array whose pairs leave as a stream (WS, cube, tree), and a read-out unit for each.

    It has the array's inputs; `results` has its outputs resolved, two cycles after the pairs.
    `correction` is terms x `step_offset` of a result.
    """

    @validated
    def __init__(self, *, array: Any) -> None:
        owned(array)
        if getattr(array, "style", "opt2") not in ("opt1", "opt1_offset"):
            raise InputError("only pairs of the styles opt1 and opt1_offset leave as a stream")
        self._array, self.width = array, array.width
        self.count = len(array.total) // array.acc_width
        self._names = [name for name in ("a", "b", "first", "load") if hasattr(array, name)]
        members = {name: In(len(getattr(array, name))) for name in self._names}
        members |= {"correction": In(array.acc_width), "results": Out(self.count * 32)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build array and read-out."""
        m = Module()
        m.submodules.array = array = self._array
        m.submodules.reader = reader = StreamReadOut(count=self.count, acc_width=array.acc_width)
        m.d.comb += [getattr(array, name).eq(getattr(self, name)) for name in self._names]
        m.d.comb += [
            reader.total.eq(array.total),
            reader.carry.eq(array.carry),
            reader.correction.eq(self.correction),
            self.results.eq(reader.results),
        ]
        return m
