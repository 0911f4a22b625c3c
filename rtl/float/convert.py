"""Conversions between fp16 and fp32."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.float.parts import (
    FP16,
    FP32,
    Cuts,
    check_latency,
    decode,
    leading_zeros,
    round_to_even,
    shift_right_sticky,
)


class Float32To16(wiring.Component):
    """`half` is `wide` rounded to nearest even in fp16. Latency `latency` cycles, one a cycle.

    Members: `wide`: fp32 bits in; `half`: fp16 bits out.
    """

    def __init__(self, *, latency: int = 1) -> None:
        self.latency = check_latency(latency)
        super().__init__({"wide": In(32), "half": Out(16)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        cuts = Cuts(m, latency=self.latency, places=2)
        wide = decode(self.wide, FP32)
        exponent = Signal(signed(10))
        below = Signal(8)
        m.d.comb += [
            exponent.eq(wide.exponent - (FP32.bias - FP16.bias)),
            below.eq(Mux(exponent < 1, 1 - exponent, 0)),
        ]
        shifted = shift_right_sticky(m, wide.significand, below, name="denormalise")
        field = Mux(exponent < 1, 0, exponent)[:8]
        shifted, field, nan, sign = cuts.cut(
            shifted=shifted, field=field, nan=wide.is_nan, sign=wide.sign
        )
        rounded = Signal(15)
        kept = Cat(shifted[13:23], field[:5])
        m.d.comb += rounded.eq(round_to_even(kept, shifted[12], shifted[:12].any()))
        finite = Mux(field >= FP16.exponent_ones, FP16.infinity, rounded)
        (half,) = cuts.cut(half=Mux(nan, FP16.quiet_nan, Cat(finite[:15], sign)))
        m.d.comb += self.half.eq(half)
        return m


class Float16To32(wiring.Component):
    """`wide` is `half` in fp32, exactly. Combinational.

    Members: `half`: fp16 bits in; `wide`: fp32 bits out.
    """

    def __init__(self) -> None:
        super().__init__({"half": In(16), "wide": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        half = decode(self.half, FP16)
        zeros = Signal(4)
        normal = Signal(11)
        field = Signal(8)
        m.d.comb += [
            zeros.eq(leading_zeros(half.significand)),
            normal.eq(half.significand << zeros),
            field.eq(half.exponent + (FP32.bias - FP16.bias) - zeros),
        ]
        finite = Mux(half.is_zero, 0, Cat(Const(0, 13), normal[:10], field))
        magnitude = Mux(half.is_infinite, FP32.infinity, finite)
        m.d.comb += self.wide.eq(Mux(half.is_nan, FP32.quiet_nan, Cat(magnitude[:31], half.sign)))
        return m
