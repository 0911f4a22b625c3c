"""A Laconic-like element: 16 pairs of operands, one pair of power-of-two terms a lane and cycle."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.parts import check_operands, check_size, compress, sign_extend
from rtl.elaboration import unpack, validated


class TermPairs(wiring.Component):
    """Sum over lanes of +-2^(exponent of a + exponent of b), accumulated by a carry-propagate add.

    Both operands are recoded in radix-4 Booth digits, each +-2^e. A lane multiplies one digit of a
    by one of b in a cycle: it adds the exponents, decodes their sum to one bit and gives it the
    sign. Modelled from a description of Laconic (Sharify et al., ISCA 2019), recalled: its own
    circuit histograms the exponents, which this does not. What is presented in cycle t is in
    `total` from cycle t + 3.

    Members
    -------
    terms : per lane nonzero, negative, and the exponents of a and b, `exponent_bits` each.
    first : the sum starts with this cycle's terms.
    """

    @validated
    def __init__(self, *, width: int = 8, lanes: int = 16, acc_width: int = 32) -> None:
        check_size(lanes=lanes)
        check_operands(width, acc_width)
        self.width, self.lanes, self.acc_width = width, lanes, acc_width
        self.exponent_bits = (width - 1).bit_length()
        self.lane_bits = 2 + 2 * self.exponent_bits
        super().__init__(
            {"terms": In(lanes * self.lane_bits), "first": In(1), "total": Out(acc_width)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the element: decode and compress, then accumulate."""
        m = Module()
        terms, first, first_sum = Signal.like(self.terms), Signal(), Signal()
        m.d.sync += [terms.eq(self.terms), first.eq(self.first), first_sum.eq(first)]
        bits = 2 * self.width + (self.lanes - 1).bit_length()
        rows, ones = [], []
        for i, term in enumerate(unpack(terms, self.lane_bits)):
            a, b = unpack(term[2:], self.exponent_bits)
            exponent = Signal(self.exponent_bits + 1, name=f"exponent_{i}")
            decoded = Signal(2 * self.width, name=f"decoded_{i}")
            m.d.comb += [
                exponent.eq(a + b),
                decoded.eq(
                    Mux(term[0], Const(1, 1) << exponent, 0) ^ term[1].replicate(2 * self.width)
                ),
            ]
            rows.append(sign_extend(decoded, bits))
            ones.append(term[1])
        left, right = compress(m, [*rows, Const(0, bits), Const(0, bits)], width=bits, ones=ones)
        together = Signal(bits)
        m.d.sync += together.eq(left + right)
        keep = (~first_sum).replicate(self.acc_width)
        m.d.sync += self.total.eq((self.total & keep) + sign_extend(together, self.acc_width))
        return m
