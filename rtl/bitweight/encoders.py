"""Encoders: operand to digit codes, and digit codes to the indices of the non-zero ones."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.bitweight import GROUP
from rtl.bitweight.parts import booth_codes, check_operands
from rtl.elaboration import address_bits, held, validated
from workloads.errors import InputError

SCHEMES = ("booth", "ent")


class Encoder(wiring.Component):
    """Digit codes of an operand: three bits a digit (nonzero, two, negative), lowest digit first.

    Combinational: no latency. Scheme "booth" or "ent", whose sign is folded into each digit.
    """

    @validated
    def __init__(self, *, width: int = 8, scheme: str = "ent") -> None:
        check_operands(width, 64)
        if scheme not in SCHEMES:
            raise InputError(f"scheme of an encoder must be booth or ent, not {scheme!r}")
        self.width, self.scheme = width, scheme
        super().__init__({"value": In(width), "codes": Out(3 * (width // 2))})

    def elaborate(self, platform: object) -> Module:
        """Build the encoder."""
        m = Module()
        codes = booth_codes(m, self.value) if self.scheme == "booth" else ent_codes(m, self.value)
        m.d.comb += self.codes.eq(Cat(*codes))
        return m


def ent_codes(m: Module, value: Value) -> list[Value]:
    """Return the EN-T digit codes: the magnitude in -1, 0, 1, 2, times the sign."""
    sign = value[-1]
    magnitude = Signal(len(value), name="magnitude")
    m.d.comb += magnitude.eq((value ^ sign.replicate(len(value))) + sign)
    carry: Value = Const(0, 1)
    codes = []
    for i in range(len(value) // 2):
        low, high = magnitude[2 * i], magnitude[2 * i + 1]
        # group + carry: 1 gives +1, 2 gives +2, 3 gives -1 with carry, 0 and 4 give 0
        one = low ^ carry
        two = (high & ~low & ~carry) | (~high & low & carry)
        minus = one & high
        code = Cat(one | two, two, (one | two) & (sign ^ minus))
        codes.append(held(m, code, f"code_{i}"))
        following = Signal(name=f"carry_{i}")
        m.d.comb += following.eq(high & (low | carry))
        carry = following
    return codes


class SparseEncoder(wiring.Component):
    """Emits the indices of the set bits of a mask, one a cycle, lowest first.

    Protocol: while `busy`, `index` is the next set bit; `advance` moves on. `load` replaces what is
    left by `mask`. `last` says that the present step is the final one, and `empty` that the mask
    has no set bit: it still takes one step, with nothing to add. After a load in cycle t the first
    index is there in cycle t + 1. A mask of c bits takes max(1, c) steps, without gaps when the
    next load comes with the last step.
    """

    @validated
    def __init__(self, *, lanes: int = GROUP) -> None:
        if not 2 <= lanes <= 16:
            raise InputError(f"lanes of a sparse encoder must lie in 2 to 16, not {lanes}")
        self.lanes = lanes
        super().__init__(
            {
                "load": In(1),
                "mask": In(lanes),
                "advance": In(1),
                "busy": Out(1),
                "index": Out(range(lanes)),
                "empty": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the encoder."""
        m = Module()
        rest, after = Signal(self.lanes), Signal(self.lanes)
        m.d.comb += [
            after.eq(rest & (rest - 1)),
            self.index.eq(first_set(rest)),
            self.empty.eq(rest == 0),
            self.last.eq(after == 0),
        ]
        with m.If(self.load):
            m.d.sync += [rest.eq(self.mask), self.busy.eq(1)]
        with m.Elif(self.advance):
            m.d.sync += [rest.eq(after), self.busy.eq(~self.last)]
        return m


def walk_digits(m: Module, load: Value, codes: Sequence[Value]) -> SparseEncoder:
    """Add the encoder that walks the non-zero digits of a group from the cycle after `load` on."""
    m.submodules.sparse = sparse = SparseEncoder(lanes=len(codes))
    m.d.comb += [
        sparse.load.eq(load),
        sparse.mask.eq(Cat(*(code[0] for code in codes))),
        sparse.advance.eq(sparse.busy),
    ]
    return sparse


def first_set(mask: Value) -> Value:
    """Return the index of the lowest set bit, in logarithmic depth; 0 if there is none."""
    bits = address_bits(len(mask))
    lowest = mask & (-mask)[: len(mask)]
    return Cat(*(_any(lowest, i) for i in range(bits)))


def _any(lowest: Value, bit: int) -> Value:
    return Cat(*(lowest[i] for i in range(len(lowest)) if i >> bit & 1)).any()
