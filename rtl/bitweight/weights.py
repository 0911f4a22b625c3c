"""OPT2 as systolic array and as 2D matrix: products of one bit weight at a time."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.dense import show_sums
from rtl.bitweight.parts import check_size
from rtl.bitweight.sparse import StepAccumulator, default_acc_width
from rtl.elaboration import delayed, owned, unpack, validated
from rtl.export import shared


class EqualWeight(wiring.Component):
    """R x C sums of one bit weight; a step adds the same Booth digit of `lanes` terms of K.

    Row i takes in `a` the three bits of one digit of each of its terms, column j in `b` its
    operands. A product runs through all steps of K once for every bit weight, `first` with the
    first step of each. With S steps a weight, element (i, j) is final at edge S + 1, if `skewed`
    i + j edges later: then A moves east, B south, and the array skews them; else both are
    broadcast. Weights and products follow each other without a gap.

    `total` and `carry` have the sums row by row; operands of cycles without work must be zero.
    """

    @validated
    def __init__(
        self,
        *,
        rows: int,
        cols: int,
        lanes: int = 4,
        width: int = 8,
        acc_width: int | None = None,
        skewed: bool = True,
    ) -> None:
        check_size(rows=rows, cols=cols)
        self.rows, self.cols, self.lanes, self.width = rows, cols, lanes, width
        self.acc_width = default_acc_width(width) if acc_width is None else acc_width
        self.skewed = skewed
        self._grid = [[self._element() for _ in range(cols)] for _ in range(rows)]
        sums = rows * cols * self.acc_width
        super().__init__(
            {
                "a": In(rows * lanes * 3),
                "b": In(cols * lanes * width),
                "first": In(1),
                "total": Out(sums),
                "carry": Out(sums),
            }
        )

    def _element(self) -> StepAccumulator:
        element: StepAccumulator = owned(
            StepAccumulator(
                width=self.width,
                lanes=self.lanes,
                acc_width=self.acc_width,
                triples=True,
                passes=self.skewed,
            )
        )
        return element

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        grid, name = self._grid, f"weight_{self.width}_{self.lanes}_{self.acc_width}"
        flat = [element for row in grid for element in row]
        for i, element in enumerate(flat):
            m.submodules[f"pe_{i}"] = shared(element, name, platform)
        m.d.comb += show_sums(self, flat)
        for i, codes in enumerate(unpack(self.a, 3 * self.lanes)):
            west = Cat(codes, self.first)
            entering = delayed(m, west, i, name=f"skew_a{i}") if self.skewed else west
            for j, element in enumerate(grid[i]):
                left = entering
                if self.skewed and j:
                    left = Cat(grid[i][j - 1].codes_next, grid[i][j - 1].first_next)
                m.d.comb += Cat(element.codes, element.first).eq(left)
        for j, b in enumerate(unpack(self.b, self.lanes * self.width)):
            entering = delayed(m, b, j, name=f"skew_b{j}") if self.skewed else b
            for i in range(self.rows):
                above = grid[i - 1][j].b_next if self.skewed and i else entering
                m.d.comb += grid[i][j].b.eq(above)
        return m
