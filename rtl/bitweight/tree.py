"""Multiplier-adder trees, classic and by bit weight (OPT2)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.dense import (
    biased_rows,
    offset_rows,
    show_sums,
    signed_rows,
    step_offset,
    sum_ports,
)
from rtl.bitweight.parts import (
    booth_codes,
    check_operands,
    check_size,
    code_values,
    compress,
    multiple,
    offset,
    sign_extend,
)
from rtl.elaboration import delayed, owned, unpack, validated
from rtl.export import shared
from workloads.errors import InputError

TREE_STYLES = ("mac", "opt1", "opt1_offset", "opt2")


class TreeTile(wiring.Component):
    """KP products a cycle, added to one sum; `first` starts a sum.

    Style mac: multipliers with registered products, their sum in one compressor tree and one
    addition, registered, and an accumulator: what is presented in cycle t is in the result from
    cycle t + 4. The other styles keep the sum in carry-save form, from cycle t + 3, each too large
    by steps x `step_offset`: opt1 and opt1_offset compress the rows of all products, register the
    pair and add it to the sum. Opt2 does so for the rows of each weight; the weights meet at
    read-out: `total` and `carry` hold w / 2 sums of `low_width` bits, lowest weight first.

    The corner of all digits -2 and all operands the smallest is right: the tree of a weight has
    room for lanes x 2^(width + 1), its sum for 2^17 - 1 terms.
    """

    @validated
    def __init__(
        self,
        *,
        lanes: int,
        width: int = 8,
        acc_width: int = 32,
        style: str = "mac",
        passes: bool = False,
    ) -> None:
        check_size(lanes=lanes)
        if style not in TREE_STYLES:
            raise InputError(
                f"style of a tree must be one of {', '.join(TREE_STYLES)}, not {style!r}"
            )
        check_operands(width, acc_width)
        self.lanes, self.width, self.acc_width = lanes, width, acc_width
        self.style, self.passes = style, passes
        self.low_width = min(acc_width, width + 18) if style == "opt2" else acc_width
        sums = self.low_width * (width // 2) if style == "opt2" else acc_width
        members = {
            "a": In(lanes * width),
            "b": In(lanes * width),
            "first": In(1),
            **sum_ports(style, sums),
        }
        if passes:
            members |= {"a_next": Out(lanes * width), "first_next": Out(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the tile."""
        m = Module()
        a, b, first = Signal.like(self.a), Signal.like(self.b), Signal()
        m.d.sync += [a.eq(self.a), b.eq(self.b), first.eq(self.first)]
        if self.passes:
            m.d.comb += [self.a_next.eq(a), self.first_next.eq(first)]
        pairs = list(zip(unpack(a, self.width), unpack(b, self.width), strict=True))
        first = delayed(m, first, 1, name="first_tree")
        match self.style:
            case "opt2":
                self._by_weight(m, pairs, first)
            case "mac":
                self._products(m, pairs, first)
            case _:
                self._rows(m, pairs, first)
        return m

    @property
    def step_offset(self) -> int:
        """What a step adds to a sum beyond its products; in opt2 to that of every weight."""
        if self.style == "opt2":
            return self.lanes << self.width
        return self.lanes * step_offset(self.width, self.style)

    def _rows(self, m: Module, pairs: list[tuple[Value, Value]], first: Value) -> None:
        """Compress the rows of all products, then add the registered pair to the sum.

        Signed rows have all bits of the sum. Offset rows are never negative: they are as wide as
        their sum needs, and the pair zero extends.
        """
        if self.style == "opt1":
            narrow, make = self.acc_width, signed_rows
        else:
            most = self.lanes * (step_offset(self.width, self.style) + (1 << (2 * self.width - 2)))
            narrow, make = min(most.bit_length(), self.acc_width), biased_rows
        rows = [row for a, b in pairs for row in make(m, a, b, narrow)]
        total, carry = compress(m, rows, width=narrow)
        words = [Signal(narrow, name=f"tree_{what}") for what in ("total", "carry")]
        m.d.sync += [words[0].eq(total), words[1].eq(carry)]
        kept = self._accumulate(m, words, first, 0)
        m.d.comb += [self.total.eq(kept[0]), self.carry.eq(kept[1])]

    def _by_weight(self, m: Module, pairs: list[tuple[Value, Value]], first: Value) -> None:
        """Compress the rows of each weight in the bits that they need, and accumulate them.

        Two's complement words of a narrow carry-save pair must not be sign extended one by one:
        only their sum has a sign. The rows are therefore offset by 2^width each, so that rows and
        words are never negative, the pair is the exact integer, and zero extends.
        """
        narrow = (self.lanes << (self.width + 1)).bit_length()
        codes = [booth_codes(m, a) for a, _ in pairs]
        totals, carries = [], []
        for i in range(self.width // 2):
            rows = [
                _padded(offset(multiple(m, code[i], b)), narrow)
                for code, (_, b) in zip(codes, pairs, strict=True)
            ]
            ones = [code_values(code[i])[2] for code in codes]
            spare = [Const(0, narrow)] * 2  # every completing bit needs a row
            total, carry = compress(m, [*rows, *spare], width=narrow, ones=ones)
            words = [Signal(narrow, name=f"tree_{what}_{i}") for what in ("total", "carry")]
            m.d.sync += [words[0].eq(total), words[1].eq(carry)]
            kept = self._accumulate(m, words, first, i)
            totals.append(kept[0])
            carries.append(kept[1])
        m.d.comb += [self.total.eq(Cat(*totals)), self.carry.eq(Cat(*carries))]

    def _accumulate(
        self, m: Module, words: list[Signal], first: Value, i: int
    ) -> tuple[Signal, Signal]:
        """Add a registered pair to the sum of its weight, in carry-save form."""
        width = self.low_width
        kept = Signal(width, name=f"total_{i}"), Signal(width, name=f"carry_{i}")
        keep = (~first).replicate(width)
        rows = [*(_padded(word, width) for word in words), kept[0] & keep, kept[1] & keep]
        total, carry = compress(m, rows, width=width)
        m.d.sync += [kept[0].eq(total), kept[1].eq(carry)]
        return kept

    def _products(self, m: Module, pairs: list[tuple[Value, Value]], first: Value) -> None:
        bits = 2 * self.width
        total_bits = bits + (self.lanes - 1).bit_length()
        products = []
        for i, (a, b) in enumerate(pairs):
            left, right = compress(m, offset_rows(m, a, b, bits), width=bits)
            product = Signal(bits, name=f"product_{i}")
            m.d.sync += product.eq(left + right)
            products.append(sign_extend(product, total_bits))
        left, right = compress(m, products, width=total_bits)
        together = Signal(total_bits, name="together")
        m.d.sync += together.eq(left + right)
        keep = (~delayed(m, first, 1, name="first_sum")).replicate(self.acc_width)
        m.d.sync += self.total.eq((self.total & keep) + sign_extend(together, self.acc_width))


class Tree(wiring.Component):
    """Multiplier-adder trees: one row of A (`lanes` of K) a cycle passes `cols` tiles in turn.

    Tile j has its own operands in `b`, presented with the row of A; the array delays them.
    """

    @validated
    def __init__(
        self, *, lanes: int, cols: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        check_size(lanes=lanes, cols=cols)
        self.lanes, self.cols, self.width = lanes, cols, width
        self.acc_width, self.style = acc_width, style
        self._tiles = [
            owned(TreeTile(lanes=lanes, width=width, acc_width=acc_width, style=style, passes=True))
            for _ in range(cols)
        ]
        self.sum_bits = len(self._tiles[0].total)
        self.step_offset, self.low_width = self._tiles[0].step_offset, self._tiles[0].low_width
        super().__init__(
            {
                "a": In(lanes * width),
                "b": In(cols * lanes * width),
                "first": In(1),
                **sum_ports(style, cols * self.sum_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        tiles = self._tiles
        name = f"tree_{self.style}_{self.lanes}_{self.width}_{self.acc_width}"
        for j, tile in enumerate(tiles):
            m.submodules[f"tile_{j}"] = shared(tile, name, platform)
            own = self.b[j * self.lanes * self.width : (j + 1) * self.lanes * self.width]
            before = Cat(tiles[j - 1].a_next, tiles[j - 1].first_next) if j else None
            m.d.comb += [
                Cat(tile.a, tile.first).eq(Cat(self.a, self.first) if before is None else before),
                tile.b.eq(delayed(m, own, j, name=f"skew_{j}")),
            ]
        m.d.comb += show_sums(self, tiles)
        return m


def _padded(value: Value, width: int) -> Value:
    return Cat(value, Const(0, width - len(value)))
