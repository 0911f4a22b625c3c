"""One multiply-accumulate step of the dense engines: MAC baselines, OPT1 and its offset variant.

A style is a way to make (sum, carry) + a x b modulo 2^acc_width:

===========  ===================================================================================
naive        `sum + a * b`, left to the synthesis tool; carry is zero
mac          Booth, constant instead of sign extension, one compressor tree with the accumulator,
             one carry-propagate addition; carry is zero. The honest baseline.
opt1         Booth with explicit -B, sign extension, six rows compressed to (sum, carry)
opt1_offset  as opt1, with inverted sign bits instead of sign extension: every step adds
             `step_offset` more than the product, to be subtracted at read-out
===========  ===================================================================================

Source: Wu et al., HPCA 2025, Section on OPT1; `mac` and `opt1_offset` are designed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from rtl.bitweight.parts import (
    Pair,
    booth_codes,
    check_operands,
    code_values,
    compress,
    multiple,
    offset,
    sign_extend,
)
from rtl.elaboration import held, validated
from workloads.errors import InputError

STYLES = ("naive", "mac", "opt1", "opt1_offset")


def step_offset(width: int, style: str) -> int:
    """Return what a step adds beyond its product: the inverted sign bits of all rows.

    >>> step_offset(8, "opt1_offset")
    21760
    """
    if style != "opt1_offset":
        return 0
    return sum(1 << (width + 2 * i) for i in range(width // 2))


def is_carry_save(style: str) -> bool:
    """Return whether the style's result is a pair that must still be added."""
    return style.startswith("opt")


def sum_ports(style: str, bits: int) -> dict[str, Member]:
    """Return the ports of `bits` bits of sums: `total`, and `carry` if they are pairs."""
    return {name: Out(bits) for name in ("total", "carry")[: 1 + is_carry_save(style)]}


def check_element(*, width: int, acc_width: int, style: str) -> None:
    """Raise `InputError` for an unknown style or widths that no element has."""
    if style not in STYLES:
        raise InputError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    check_operands(width, acc_width)
    if acc_width < 2 * width:
        raise InputError(f"acc_width must be at least {2 * width} bits, not {acc_width}")


def multiply_add(m: Module, a: Value, b: Value, previous: Pair, *, style: str) -> Pair:
    """Return (sum, carry) of `previous` + a x b by the named style, modulo the width of the sum."""
    width = len(previous[0])
    if style == "naive":
        total = Signal(width, name="total")
        m.d.comb += total.eq(previous[0] + a.as_signed() * b.as_signed())
        return total, Const(0, width)
    if style == "mac":
        total = Signal(width, name="total")
        first, second = compress(m, [*offset_rows(m, a, b, width), previous[0]], width=width)
        m.d.comb += total.eq(first + second)
        return total, Const(0, width)
    if style == "opt1":
        return compress(m, [*signed_rows(m, a, b, width), *previous], width=width)
    return compress(m, [*biased_rows(m, a, b, width), *previous], width=width)


def offset_rows(m: Module, a: Value, b: Value, width: int) -> list[Value]:
    """Return n + 1 rows that add up to a x b: n partial products without sign extension.

    Row i + 1 starts two bits higher and has room for the completing bit of row i below it. The last
    row is minus the inverted sign bits, with the last completing bit in one of its zeros.
    """
    codes = booth_codes(m, a)
    rows = []
    for i, code in enumerate(codes):
        below = Cat(Const(0, 2 * i - 2), code_values(codes[i - 1])[2]) if i else Const(0, 0)
        gap = Const(0, 2 * i - len(below))
        rows.append(_fit(Cat(below, gap, offset(multiple(m, code, b))), width))
    constant = -step_offset(len(a), "opt1_offset") % (1 << width)
    last = 2 * (len(codes) - 1)
    rows.append(
        Cat(
            Const(0, last),
            code_values(codes[-1])[2],
            Const(constant >> (last + 1), width - last - 1),
        )
    )
    return rows


def signed_rows(m: Module, a: Value, b: Value, width: int) -> list[Value]:
    """Return the partial products as two's complement rows, picked from -2B, -B, B and 2B."""
    negated = Signal(len(b) + 1, name="negated")
    m.d.comb += negated.eq(-b.as_signed())
    rows = []
    for i, code in enumerate(booth_codes(m, a)):
        nonzero, two, negative = code_values(code)
        one = Mux(negative, negated, Cat(b, b[-1]))
        picked = Mux(two, Cat(Const(0, 1), one), Cat(one, one[-1]))
        product = held(m, picked & nonzero.replicate(len(b) + 2), "product")
        rows.append(sign_extend(product, width, shift=2 * i))
    return rows


def biased_rows(m: Module, a: Value, b: Value, width: int) -> list[Value]:
    """Return n rows that add up to a x b + `step_offset`: `offset_rows` without the constant.

    The last completing bit has no free place: the lowest three bits of its row are negated exactly
    and what carries out of them goes above row 0, which ends there.
    """
    rows = offset_rows(m, a, b, width)[:-1]
    *_, code = booth_codes(m, a)
    negative = code_values(code)[2]
    last = held(m, multiple(m, code, b) ^ negative.replicate(len(b) + 1), "last_multiple")
    at = len(a) - 2
    exact = Cat(last[0], last[1] ^ (negative & last[0]), last[2] ^ (negative & (last[0] | last[1])))
    carry = negative & ~(last[0] | last[1] | last[2])
    rows[-1] = Cat(rows[-1][:at], exact, rows[-1][at + 3 :])
    rows[0] = Cat(rows[0][: at + 3], carry, rows[0][at + 4 :])
    return rows


def _fit(value: Value, width: int) -> Value:
    return Cat(value, Const(0, max(width - len(value), 0)))[:width]


class Accumulator(wiring.Component):
    """A processing element: operands of `width` bits, a dot product of `acc_width` bits.

    Latency: operands presented in cycle t are in the result from cycle t + 2. Throughput: one
    product a cycle. With `first` the sum starts from this product. The dot product is
    `total + carry - terms x step_offset(width, style)` modulo 2^acc_width.

    With `pipelined` (mac only) the product is registered in carry-propagated form before it is
    accumulated: latency 3. With `passes` the registered operands and `first` are outputs too, one
    cycle late, for the neighbours in a systolic array.
    """

    @validated
    def __init__(
        self,
        *,
        width: int = 8,
        acc_width: int = 32,
        style: str = "mac",
        pipelined: bool = False,
        passes: bool = False,
    ) -> None:
        check_element(width=width, acc_width=acc_width, style=style)
        if pipelined and style != "mac":
            raise InputError(f"only the style mac can be pipelined, not {style}")
        self.width, self.acc_width = width, acc_width
        self.style, self.pipelined, self.passes = style, pipelined, passes
        members = {"a": In(width), "b": In(width), "first": In(1), **sum_ports(style, acc_width)}
        if passes:
            members |= {"a_next": Out(width), "b_next": Out(width), "first_next": Out(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the element."""
        m = Module()
        a, b, first = Signal(self.width), Signal(self.width), Signal()
        m.d.sync += [a.eq(self.a), b.eq(self.b), first.eq(self.first)]
        if self.passes:
            m.d.comb += [self.a_next.eq(a), self.b_next.eq(b), self.first_next.eq(first)]
        keep = (~first).replicate(self.acc_width)
        if self.pipelined:
            self._two_stages(m, a, b, first)
        elif is_carry_save(self.style):
            previous = (self.total & keep, self.carry & keep)
            total, carry = multiply_add(m, a, b, previous, style=self.style)
            m.d.sync += [self.total.eq(total), self.carry.eq(carry)]
        else:
            previous = (self.total & keep, Const(0, self.acc_width))
            m.d.sync += self.total.eq(multiply_add(m, a, b, previous, style=self.style)[0])
        return m

    def _two_stages(self, m: Module, a: Value, b: Value, first: Value) -> None:
        bits = 2 * self.width
        product, first_too = Signal(bits), Signal()
        left, right = compress(m, offset_rows(m, a, b, bits), width=bits)
        m.d.sync += [product.eq(left + right), first_too.eq(first)]
        keep = (~first_too).replicate(self.acc_width)
        m.d.sync += self.total.eq((self.total & keep) + sign_extend(product, self.acc_width))


def show_sums(array: wiring.Component, elements: Sequence[wiring.Component]) -> list[object]:
    """Connect the sums of elements, the first one lowest, to those of the array."""
    return [
        getattr(array, name).eq(Cat(*(getattr(element, name) for element in elements)))
        for name in ("total", "carry")
        if hasattr(array, name)
    ]


def dot_value(total: int, carry: int, *, terms: int, width: int, acc_width: int, style: str) -> int:
    """Return the signed dot product that a read-out (total, carry) stands for.

    >>> dot_value(43527, 0, terms=2, width=8, acc_width=32, style="opt1_offset")
    7
    """
    value = (total + carry - terms * step_offset(width, style)) % (1 << acc_width)
    return value - (1 << acc_width) * (value >> (acc_width - 1))
