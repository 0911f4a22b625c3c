"""Arrays of dense elements: systolic (OS and WS), 3D cube, multiplier-adder tree, 2D matrix.

Edge t is the t-th clock edge after the cycle that presents the first operand. A result "at edge t"
is at the output from the cycle that begins with it.

=====================  =================================================================
OutputStationary       PE (i, j) final at edge i + j + K + 1; R x C, one k a cycle
Matrix                 PE (i, j) final at edge K + 1: operands are broadcast, nothing is skewed
WeightStationary       R cycles of weight load; row m, column j at edge m + j + R + 1
Cube                   product q, element (x, z) at edge q + x + z + N + 1
Tree                   step t (from 0), tile j at edge t + j + 4 (mac) or t + j + 3 (others)
EqualWeight (OPT2)     as the first two, a bit weight in place of a product
=====================  =================================================================

`rtl.bitweight.complete` adds the read-out of carry-save sums: results two cycles later. All sums
are modulo 2^acc_width. Styles are those of `rtl.bitweight.dense`; carry-save styles have a `carry`
beside every `total`. Operands of cycles without work must be zero.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl.bitweight.dense import Accumulator, check_element, show_sums, sum_ports
from rtl.bitweight.parts import check_size
from rtl.elaboration import delayed, unpack, validated
from rtl.export import shared


class _Grid(wiring.Component):
    """R x C accumulators that share the ports of both arrangements below."""

    @validated
    def __init__(
        self, *, rows: int, cols: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        check_size(rows=rows, cols=cols)
        check_element(width=width, acc_width=acc_width, style=style)
        self.rows, self.cols = rows, cols
        self.width, self.acc_width, self.style = width, acc_width, style
        super().__init__(
            {
                "a": In(rows * width),
                "b": In(cols * width),
                "first": In(1),
                **sum_ports(style, rows * cols * acc_width),
            }
        )

    def _elements(self, m: Module, platform: object, *, passes: bool) -> list[list[Accumulator]]:
        """Make the elements and connect their results, row by row, to the outputs."""
        name = f"pe_{self.style}_{self.width}_{self.acc_width}_{int(passes)}"
        grid = [
            [
                Accumulator(
                    width=self.width, acc_width=self.acc_width, style=self.style, passes=passes
                )
                for _ in range(self.cols)
            ]
            for _ in range(self.rows)
        ]
        flat = [element for row in grid for element in row]
        for i, element in enumerate(flat):
            m.submodules[f"pe_{i}"] = shared(element, name, platform)
        m.d.comb += show_sums(self, flat)
        return grid


class OutputStationary(_Grid):
    """Systolic array that keeps its outputs: A moves east, B moves south.

    A column of A and a row of B (one k) enter together; the array skews them. A product may follow
    the one before without a gap: `first` comes with its first k.
    """

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        grid = self._elements(m, platform, passes=True)
        for i, a in enumerate(unpack(self.a, self.width)):
            entering = delayed(m, Cat(a, self.first), i, name=f"skew_a{i}")
            for j, element in enumerate(grid[i]):
                left = Cat(grid[i][j - 1].a_next, grid[i][j - 1].first_next) if j else entering
                m.d.comb += Cat(element.a, element.first).eq(left)
        for j, b in enumerate(unpack(self.b, self.width)):
            entering = delayed(m, b, j, name=f"skew_b{j}")
            for i in range(self.rows):
                m.d.comb += grid[i][j].b.eq(grid[i - 1][j].b_next if i else entering)
        return m


class Matrix(_Grid):
    """2D matrix: each operand is broadcast along its row or column; all elements work in step."""

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        grid = self._elements(m, platform, passes=False)
        for row, a in zip(grid, unpack(self.a, self.width), strict=True):
            for element, b in zip(row, unpack(self.b, self.width), strict=True):
                m.d.comb += [element.a.eq(a), element.b.eq(b), element.first.eq(self.first)]
        return m
