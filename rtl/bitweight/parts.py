"""Building blocks of bit-weight engines: recoded digits, partial products, compressor trees.

All of it is combinational. A *digit code* is (nonzero, two, negative): the multiple 0, B or 2B, and
its sign; a zero digit is never negative. A partial product is kept as the w + 1 bits of the
multiple, inverted if negative, and one more bit of weight one to complete the negation.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from rtl.elaboration import held
from workloads.errors import InputError

Row = Value
Pair = tuple[Value, Value]


def code_values(code: Value) -> tuple[Value, Value, Value]:
    """Split the three bits of a digit code: nonzero, two, negative."""
    return code[0], code[1], code[2]


def check_operands(width: int, acc_width: int) -> None:
    """Raise `InputError` for a width that is odd or an accumulator that cannot hold a product."""
    if width % 2 or not 4 <= width <= 16:
        raise InputError(f"width must be an even number of bits from 4 to 16, not {width}")
    if not width + 2 <= acc_width <= 64:
        raise InputError(
            f"acc_width must lie in {width + 2} to 64 bits for operands of {width} bits, "
            f"not {acc_width}"
        )


def booth_code(m: Module, triple: Value) -> Value:
    """Return the code of the Booth digit of bits (2i-1, 2i, 2i+1), lowest first."""
    low, mid, high = triple[0], triple[1], triple[2]
    two = (high & ~mid & ~low) | (~high & mid & low)
    one = mid ^ low
    return held(m, Cat(one | two, two, high & ~(mid & low)), "code")


def booth_codes(m: Module, a: Value) -> list[Value]:
    """Return the Booth digit codes of a two's complement operand, lowest first."""
    padded = Cat(Const(0, 1), a)
    return [booth_code(m, padded[2 * i : 2 * i + 3]) for i in range(len(a) // 2)]


def multiple(m: Module, code: Value, b: Value) -> Value:
    """Return the w + 1 bits of digit x B before the completing bit, inverted if negative."""
    nonzero, two, negative = code_values(code)
    wide = Cat(b, b[-1])
    doubled = Cat(Const(0, 1), b)
    picked = Mux(two, doubled, wide) & nonzero.replicate(len(wide))
    return held(m, picked ^ negative.replicate(len(wide)), "multiple")


def sign_extend(value: Value, width: int, *, shift: int = 0) -> Value:
    """Return `value` as a two's complement number of `width` bits, moved up by `shift`."""
    return Cat(Const(0, shift), value, value[-1].replicate(max(width - shift - len(value), 0)))[
        :width
    ]


def offset(value: Value) -> Value:
    """Return value + 2^(bits - 1) as an unsigned number: its top bit inverted."""
    return Cat(value[:-1], ~value[-1])


def full_adders(
    m: Module, a: Row, b: Row, c: Row, *, width: int, into_carry: Value | None = None
) -> Pair:
    """Add one row of full adders: a + b + c = sum + carry modulo 2^width.

    The carry's lowest bit is free; `into_carry` is a further bit of weight one for it.
    """
    total = Signal(width, name="csa_sum")
    carry = Signal(width, name="csa_carry")
    free = Const(0, 1) if into_carry is None else into_carry
    m.d.comb += [
        total.eq(a ^ b ^ c),
        carry.eq(Cat(free, ((a & b) | (a & c) | (b & c))[: width - 1])),
    ]
    return total, carry


def compress(m: Module, rows: Sequence[Row], *, width: int, ones: Sequence[Value] = ()) -> Pair:
    """Reduce rows to a sum and a carry through levels of full adders; nothing ripples.

    Each level turns three rows into two: 3 rows need one level, 4 two, 6 three, 9 four, 13 five.
    `ones` are bits of weight one; at most one for each row above two.
    """
    if len(ones) > max(len(rows) - 2, 0):
        raise InputError(f"{len(rows)} rows take {max(len(rows) - 2, 0)} ones, not {len(ones)}")
    level, free = list(rows), list(ones)
    while len(level) > 2:
        following: list[Row] = []
        for start in range(0, len(level) // 3 * 3, 3):
            one = free.pop(0) if free else None
            following += full_adders(m, *level[start : start + 3], width=width, into_carry=one)
        level = following + level[len(level) // 3 * 3 :]
    level += [Const(0, width)] * (2 - len(level))
    return level[0], level[1]


def levels(rows: int) -> int:
    """Return the levels of full adders that `compress` needs.

    >>> [levels(n) for n in (2, 3, 4, 6, 9, 13)]
    [0, 1, 2, 3, 4, 5]
    """
    count = 0
    while rows > 2:
        rows -= rows // 3
        count += 1
    return count


def check_size(**sizes: int) -> None:
    """Raise `InputError` unless all named sizes of an array lie in 1 to 256."""
    for name, size in sizes.items():
        if not 1 <= size <= 256:
            raise InputError(f"{name} of an array must lie in 1 to 256, not {size}")
