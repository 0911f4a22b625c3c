"""The 3D cube: a block of products a cycle."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl.bitweight.dense import check_element, show_sums, sum_ports
from rtl.bitweight.parts import check_size
from rtl.bitweight.passing import PassingElement, pass_sums
from rtl.elaboration import delayed, unpack, validated
from rtl.export import shared


class Cube(wiring.Component):
    """N x N x N elements: one N x N x N product a cycle, reduced along y.

    `a` is A[x, y] with x slowest, `b` is B[y, z] with y slowest, `total` C[x, z] with x slowest.
    """

    @validated
    def __init__(
        self, *, size: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        check_size(size=size)
        check_element(width=width, acc_width=acc_width, style=style)
        self.size, self.width, self.acc_width, self.style = size, width, acc_width, style
        super().__init__(
            {
                "a": In(size**2 * width),
                "b": In(size**2 * width),
                **sum_ports(style, size**2 * acc_width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the cube; element (x, y, z) starts x + y + z cycles late."""
        m = Module()
        n = self.size
        parameters = {"width": self.width, "acc_width": self.acc_width, "style": self.style}
        name = f"cube_{self.style}_{self.width}_{self.acc_width}"
        a, b = unpack(self.a, self.width), unpack(self.b, self.width)
        places = [(x, y, z) for x in range(n) for y in range(n) for z in range(n)]
        elements = {place: PassingElement(holds=False, **parameters) for place in places}
        for (x, y, z), element in elements.items():
            m.submodules[f"pe_{x}_{y}_{z}"] = shared(element, name, platform)
            if z:
                m.d.comb += element.a.eq(elements[x, y, z - 1].a_next)
            else:
                m.d.comb += element.a.eq(delayed(m, a[x * n + y], x + y, name=f"skew_a{x}_{y}"))
            if x:
                m.d.comb += element.b.eq(elements[x - 1, y, z].b_next)
            else:
                m.d.comb += element.b.eq(delayed(m, b[y * n + z], y + z, name=f"skew_b{y}_{z}"))
            if y:
                m.d.comb += pass_sums(element, elements[x, y - 1, z])
        m.d.comb += show_sums(self, [elements[x, n - 1, z] for x in range(n) for z in range(n)])
        return m
