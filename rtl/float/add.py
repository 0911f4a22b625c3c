"""fp32 addition."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.float.parts import (
    FP32,
    Cuts,
    check_latency,
    decode,
    leading_zeros,
    round_to_even,
    shift_right_sticky,
)


class Float32Add(wiring.Component):
    """`total = a + b` in fp32, round to nearest even.

    Latency `latency` cycles, one addition per cycle. The four cuts for registers lie after the
    operand swap, the alignment, the addition and the rounding.

    Parameters: `latency` cycles, 0 gives a combinational unit.
    Members: `a`, `b`: fp32 bits in; `total`: fp32 bits out.
    """

    def __init__(self, *, latency: int = 4) -> None:
        self.latency = check_latency(latency)
        super().__init__({"a": In(32), "b": In(32), "total": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        cuts = Cuts(m, latency=self.latency, places=4)
        large, small, special, special_value = self._order(m)
        large, small, special, special_value = cuts.cut(
            large=large, small=small, special=special, special_value=special_value
        )
        big, little = decode(large, FP32), decode(small, FP32)
        # 24 significant bits, guard, round, sticky
        augend = Signal(27)
        distance = Signal(8)
        m.d.comb += [
            augend.eq(Cat(Const(0, 3), big.significand)),
            distance.eq(big.exponent - little.exponent),
        ]
        addend = shift_right_sticky(m, Cat(Const(0, 3), little.significand), distance, name="align")
        sign, subtract, exponent, augend, addend, special, special_value = cuts.cut(
            sign=big.sign,
            subtract=big.sign ^ little.sign,
            exponent=big.exponent,
            augend=augend,
            addend=addend,
            special=special,
            special_value=special_value,
        )
        summed = Signal(28)
        m.d.comb += summed.eq(Mux(subtract, augend - addend, augend + addend))
        sign, subtract, exponent, summed, special, special_value = cuts.cut(
            sign=sign,
            subtract=subtract,
            exponent=exponent,
            summed=summed,
            special=special,
            special_value=special_value,
        )
        rounded = self._normalise(m, exponent, summed)
        # x + (-x) is +0; (-0) + (-0) is -0
        negative = sign & ~(subtract & (summed == 0))
        finite = Cat(rounded, negative)
        (total,) = cuts.cut(total=Mux(special, special_value, finite))
        m.d.comb += self.total.eq(total)
        return m

    def _order(self, m: Module) -> tuple[Signal, Signal, Signal, Signal]:
        """Put the larger magnitude first; find NaN and infinity."""
        large = Signal(32)
        small = Signal(32)
        special = Signal()
        special_value = Signal(32)
        a, b = decode(self.a, FP32), decode(self.b, FP32)
        swap = self.b[:31] > self.a[:31]
        invalid = a.is_infinite & b.is_infinite & (a.sign ^ b.sign)
        m.d.comb += [
            large.eq(Mux(swap, self.b, self.a)),
            small.eq(Mux(swap, self.a, self.b)),
            special.eq(a.is_nan | b.is_nan | a.is_infinite | b.is_infinite),
            special_value.eq(
                Mux(a.is_nan | b.is_nan | invalid, FP32.quiet_nan, Cat(large[:31], large[31]))
            ),
        ]
        return large, small, special, special_value

    def _normalise(self, m: Module, exponent: Signal, summed: Signal) -> Signal:
        """Shift the leading one into place, as far as the exponent allows, and round."""
        zeros = Signal(5)
        shift = Signal(5)
        normal = Signal(28)
        kept = Signal(31)
        rounded = Signal(31)
        result = Signal(31)
        field = Signal(8)
        m.d.comb += [
            zeros.eq(leading_zeros(summed)),
            # the leading one belongs at bit 27; a subnormal stops when the exponent reaches 1
            shift.eq(Mux((summed == 0) | (zeros > exponent), exponent, zeros)),
            normal.eq(summed << shift),
            field.eq(Mux(normal[27], exponent + 1 - shift, 0)),
            kept.eq(Cat(normal[4:27], field)),
            rounded.eq(round_to_even(kept, normal[3], normal[:3].any())),
            result.eq(Mux(field == FP32.exponent_ones, FP32.infinity, rounded)),
        ]
        return result
