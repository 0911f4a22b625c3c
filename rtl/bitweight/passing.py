"""Elements that pass their partial sum on, and the weight-stationary array made of them."""

from __future__ import annotations

from amaranth.hdl import Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.dense import check_element, is_carry_save, multiply_add, show_sums, sum_ports
from rtl.bitweight.parts import check_size
from rtl.elaboration import delayed, unpack, validated
from rtl.export import shared


class PassingElement(wiring.Component):
    """Element that adds a x b to the partial sum from its neighbour and passes all three on.

    a and b are registered, and so is the sum: what enters as a and b in cycle t meets the partial
    sum of cycle t + 1 and leaves in cycle t + 2. With `holds` b is a weight that moves only when
    `load` is set.
    """

    @validated
    def __init__(self, *, width: int, acc_width: int, style: str, holds: bool) -> None:
        self.width, self.acc_width, self.style, self.holds = width, acc_width, style, holds
        members = {
            "a": In(width),
            "b": In(width),
            "total_in": In(acc_width),
            "a_next": Out(width),
            "b_next": Out(width),
            "total": Out(acc_width),
        }
        if holds:
            members["load"] = In(1)
        if is_carry_save(style):
            members |= {"carry_in": In(acc_width), "carry": Out(acc_width)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the element."""
        m = Module()
        m.d.sync += self.a_next.eq(self.a)
        with m.If(self.load if self.holds else Const(1, 1)):
            m.d.sync += self.b_next.eq(self.b)
        pair = is_carry_save(self.style)
        previous = (self.total_in, self.carry_in if pair else Const(0, self.acc_width))
        total, carry = multiply_add(m, self.a_next, self.b_next, previous, style=self.style)
        m.d.sync += self.total.eq(total)
        if pair:
            m.d.sync += self.carry.eq(carry)
        return m


class WeightStationary(wiring.Component):
    """Systolic array that keeps its weights: A (one row of K = `rows` values a cycle) moves east,
    partial sums move south.

    While `load` is set, `b` (one value per column) shifts in from the north, the last row of the
    weights first; it takes `rows` cycles. `total` has the sums of all columns, column j one cycle
    after column j - 1.
    """

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
                "load": In(1),
                **sum_ports(style, cols * acc_width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        parameters = {"width": self.width, "acc_width": self.acc_width, "style": self.style}
        name = f"ws_{self.style}_{self.width}_{self.acc_width}"
        north = unpack(self.b, self.width)
        above: list[PassingElement] = []
        for i, a in enumerate(unpack(self.a, self.width)):
            row = [PassingElement(holds=True, **parameters) for _ in range(self.cols)]
            moving = delayed(m, a, i, name=f"skew_{i}")
            for j, element in enumerate(row):
                m.submodules[f"pe_{i}_{j}"] = shared(element, name, platform)
                m.d.comb += [
                    element.a.eq(row[j - 1].a_next if j else moving),
                    element.b.eq(above[j].b_next if i else north[j]),
                    element.load.eq(self.load),
                ]
                if i:
                    m.d.comb += pass_sums(element, above[j])
            above = row
        m.d.comb += show_sums(self, above)
        return m


def pass_sums(element: PassingElement, before: PassingElement) -> list[object]:
    """Connect the sums of `before` to the element."""
    pairs = [element.total_in.eq(before.total)]
    if is_carry_save(element.style):
        pairs.append(element.carry_in.eq(before.carry))
    return pairs
