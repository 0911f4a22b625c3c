"""Multiplication: fp16 x fp16 exact in fp32, and fp32 x fp32."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.float.parts import (
    FP16,
    FP32,
    Cuts,
    Fields,
    FloatFormat,
    check_latency,
    decode,
    leading_zeros,
    round_to_even,
    shift_right_sticky,
)


class Float16Multiply(wiring.Component):
    """`product = a * b`: fp16 factors, the exact product in fp32.

    Exact because 11 x 11 significant bits fit into 24 and the smallest product, 2^-48, is a
    normal fp32 number. Latency `latency` cycles, one product per cycle; the three cuts lie after
    decoding, multiplying and normalising.

    Members: `a`, `b`: fp16 bits in; `product`: fp32 bits out.
    """

    def __init__(self, *, latency: int = 2) -> None:
        self.latency = check_latency(latency)
        super().__init__({"a": In(16), "b": In(16), "product": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        cuts = Cuts(m, latency=self.latency, places=3)
        multiplied, exponents, sign, special, special_value = _multiply(cuts, self.a, self.b, FP16)
        zeros = Signal(5)
        normal = Signal(22)
        field = Signal(8)
        # bit 21 of the product weighs 2^(exponents - 2 * 15 + 1)
        m.d.comb += [
            zeros.eq(leading_zeros(multiplied)),
            normal.eq(multiplied << zeros),
            field.eq(exponents + (FP32.bias - 2 * FP16.bias + 1) - zeros),
        ]
        finite = Mux(multiplied == 0, 0, Cat(Const(0, 2), normal[:21], field))
        (product,) = cuts.cut(product=Mux(special, special_value, Cat(finite[:31], sign)))
        m.d.comb += self.product.eq(product)
        return m


class Float32Multiply(wiring.Component):
    """`product = a * b` in fp32, round to nearest even, for the weight update.

    Latency `latency` cycles, one product per cycle; the four cuts lie after decoding, multiplying,
    normalising and rounding.

    Members: `a`, `b`: fp32 bits in; `product`: fp32 bits out.
    """

    def __init__(self, *, latency: int = 4) -> None:
        self.latency = check_latency(latency)
        super().__init__({"a": In(32), "b": In(32), "product": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        cuts = Cuts(m, latency=self.latency, places=4)
        multiplied, exponents, sign, special, special_value = _multiply(cuts, self.a, self.b, FP32)
        field, normal = _normalise(m, multiplied, exponents)
        field, normal, sign, special, special_value = cuts.cut(
            field=field, normal=normal, sign=sign, special=special, special_value=special_value
        )
        rounded = round_to_even(Cat(normal[24:47], field[:8]), normal[23], normal[:23].any())
        finite = Mux(field >= FP32.exponent_ones, FP32.infinity, rounded)
        (product,) = cuts.cut(product=Mux(special, special_value, Cat(finite[:31], sign)))
        m.d.comb += self.product.eq(product)
        return m


def _multiply(cuts: Cuts, left: Value, right: Value, form: FloatFormat) -> list[Value]:
    """Decode two numbers and multiply their significands: the first two cuts.

    Returns the product of the significands, the sum of the exponent fields, the sign, and whether
    the result is NaN or infinite, and which.
    """
    a, b = decode(left, form), decode(right, form)
    special, special_value = _special(a, b)
    left, right, exponents, sign, special, special_value = cuts.cut(
        left=a.significand,
        right=b.significand,
        exponents=(a.exponent + b.exponent)[: form.exponent_bits + 1],
        sign=a.sign ^ b.sign,
        special=special,
        special_value=special_value,
    )
    return cuts.cut(
        multiplied=(left * right)[: 2 * (form.fraction_bits + 1)],
        exponents=exponents,
        sign=sign,
        special=special,
        special_value=special_value,
    )


def _special(a: Fields, b: Fields) -> tuple[Value, Value]:
    """Say whether the product is NaN or infinite, and which."""
    nan = a.is_nan | b.is_nan | (a.is_infinite & b.is_zero) | (a.is_zero & b.is_infinite)
    infinite = Cat(Const(FP32.infinity, 31), a.sign ^ b.sign)
    return nan | a.is_infinite | b.is_infinite, Mux(nan, FP32.quiet_nan, infinite)


def _normalise(m: Module, multiplied: Value, exponents: Value) -> tuple[Value, Value]:
    """Return the exponent field (9 bits, may exceed 254) and 48 bits, the hidden one on top.

    A product below the smallest normal number is shifted right instead, field 0.
    """
    zeros = Signal(6)
    top = Signal(signed(11))
    normal = Signal(48)
    field = Signal(9)
    left = Signal(6)
    right = Signal(10)
    m.d.comb += [
        zeros.eq(leading_zeros(multiplied)),
        # exponent field if bit 47 is the leading one
        top.eq(exponents - FP32.bias + 1),
        left.eq(Mux(top < 1, 0, Mux(top - 1 < zeros, top - 1, zeros))),
        right.eq(Mux(top < 1, 1 - top, 0)),
    ]
    shifted = shift_right_sticky(m, multiplied, right, name="denormalise")
    m.d.comb += [
        normal.eq(shifted << left),
        field.eq(Mux(normal[47], top - left, 0)),
    ]
    return field, normal
