"""Processing elements that add one multiple of B a lane and step: OPT2, OPT3, OPT4C, OPT4E.

All add rows of one bit weight; the weights meet in the SIMD unit. Every element has the registers
operands and digit codes first, then (total, carry): what is presented in cycle t is in the result
from cycle t + 2, one step a cycle; with `first` the sums start from this step. A lane without work
presents the code of digit zero (or B = 0).

With `segmented` the element is a variant beyond the paper. Its rows are offset (the top bit is
inverted) instead of sign extended, so that only the low bits, which rows reach, have full adders.
Above them a counter in segments of four bits takes the carries; a carry between segments waits in a
register. Every step then adds `lanes x 2^width` more than its products, which read-out subtracts.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.parts import (
    Pair,
    booth_code,
    check_operands,
    code_values,
    compress,
    multiple,
    offset,
    sign_extend,
)
from rtl.elaboration import unpack, validated
from workloads.errors import InputError

SEGMENT_BITS = 4


def default_acc_width(width: int) -> int:
    """Return a sum's default width: room for a reduction of 2^17 - 1 terms; 26 bits for INT8."""
    return width + 18


def largest_reduction(width: int, acc_width: int) -> int:
    """Return the longest K whose sum of one bit weight always fits: K x 2^width < 2^(acc - 1).

    >>> largest_reduction(8, 26)
    131071
    """
    return ((1 << (acc_width - 1)) - 1) >> width


class StepAccumulator(wiring.Component):
    """`lanes` multiples of B added a cycle to one (total, carry) of one bit weight.

    One lane is the element of OPT3 and OPT4C, four lanes are a group of OPT4E.

    With `triples` the codes are instead three neighbouring bits of an operand, recoded in the
    element: OPT2, whose lanes are the same Booth digit of neighbouring terms. With `passes` the
    registered codes, operands and `first` are outputs too, one cycle late, for a systolic array.

    Members
    -------
    codes : (nonzero, two, negative) of each lane; `b` : the operand of each lane. `first` : start.
    total, carry : their sum, less steps x `step_offset`, is the sum of digit x B.
    """

    @validated
    def __init__(
        self,
        *,
        width: int = 8,
        lanes: int = 1,
        acc_width: int | None = None,
        segmented: bool = False,
        triples: bool = False,
        passes: bool = False,
    ) -> None:
        self.width, self.lanes = width, lanes
        self.acc_width = default_acc_width(width) if acc_width is None else acc_width
        self.segmented, self.triples, self.passes = segmented, triples, passes
        check_operands(width, self.acc_width)
        if not 1 <= lanes <= 64:
            raise InputError(f"lanes of an element must lie in 1 to 64, not {lanes}")
        if segmented and self.acc_width < self.low_bits + SEGMENT_BITS:
            raise InputError(
                f"acc_width of a segmented element must be at least {self.low_bits + SEGMENT_BITS} "
                f"bits, not {self.acc_width}"
            )
        members = {
            "codes": In(3 * lanes),
            "b": In(width * lanes),
            "first": In(1),
            "total": Out(self.acc_width),
            "carry": Out(self.acc_width),
        }
        if passes:
            members |= {"codes_next": Out(3 * lanes), "b_next": Out(width * lanes)}
            members["first_next"] = Out(1)
        super().__init__(members)

    @property
    def low_bits(self) -> int:
        """Bits such that the offset rows of one step are at most 2^low_bits together."""
        return ((self.lanes << (self.width + 1)) - 1).bit_length()

    @property
    def step_offset(self) -> int:
        """What a step adds beyond its products."""
        return self.lanes << self.width if self.segmented else 0

    def elaborate(self, platform: object) -> Module:
        """Build the element."""
        m = Module()
        b, codes, first = Signal.like(self.b), Signal.like(self.codes), Signal()
        m.d.sync += [b.eq(self.b), codes.eq(self.codes), first.eq(self.first)]
        if self.passes:
            m.d.comb += [
                self.codes_next.eq(codes),
                self.b_next.eq(b),
                self.first_next.eq(first),
            ]
        keep = (~first).replicate(self.acc_width)
        previous = self.total & keep, self.carry & keep
        lanes = unpack(codes, 3)
        if self.triples:
            lanes = [booth_code(m, triple) for triple in lanes]
        rows = [
            multiple(m, code, own) for code, own in zip(lanes, unpack(b, self.width), strict=True)
        ]
        ones = [code_values(code)[2] for code in lanes]
        build = self._segmented if self.segmented else self._extended
        total, carry = build(m, rows, ones, previous)
        m.d.sync += [self.total.eq(total), self.carry.eq(carry)]
        return m

    def _extended(self, m: Module, rows: list[Value], ones: list[Value], previous: Pair) -> Pair:
        wide = [sign_extend(row, self.acc_width) for row in rows]
        return compress(m, [*wide, *previous], width=self.acc_width, ones=ones)

    def _segmented(self, m: Module, rows: list[Value], ones: list[Value], previous: Pair) -> Pair:
        """Compress the low bits, and count what leaves them.

        All rows together are at most 2^low, low total and low carry below it: less than 3 x 2^low
        in sum, so that at most two units of 2^low leave. They wait in two carry bits.
        """
        low = self.low_bits
        top = low + 2
        wide = [Cat(offset(row), Const(0, top - len(row))) for row in rows]
        parts = [Cat(word[:low], Const(0, 2)) for word in previous]
        total, carry = compress(m, [*wide, *parts], width=top, ones=ones)
        leaving = Cat(
            total[low] ^ carry[low], (total[low] & carry[low]) | total[low + 1] | carry[low + 1]
        )
        high_total, high_carry = self._count(m, previous, leaving)
        return Cat(total[:low], high_total), Cat(carry[:low], high_carry)

    def _count(self, m: Module, previous: Pair, leaving: Value) -> Pair:
        """Add to each segment of the counter what waits below it; the carries wait in turn."""
        total, carry = previous
        numbers, waiting = [], [leaving]
        for start in range(self.low_bits, self.acc_width, SEGMENT_BITS):
            bits = min(SEGMENT_BITS, self.acc_width - start)
            result = Signal(bits + 1, name=f"segment_{start}")
            m.d.comb += result.eq(total[start : start + bits] + carry[start : start + min(bits, 2)])
            numbers.append(result[:bits])
            waiting.append(result[bits])
        spread = [Cat(bits, Const(0, SEGMENT_BITS - len(bits))) for bits in waiting]
        return Cat(*numbers), Cat(*spread)[: self.acc_width - self.low_bits]
