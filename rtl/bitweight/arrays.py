"""Arrays of dense elements: systolic (OS and WS), 3D cube, multiplier-adder tree, 2D matrix.

Edge t is the t-th clock edge after the cycle that presents the first operand. A result "at edge t"
is at the output from the cycle that begins with it.

=====================  =================================================================
OutputStationary       PE (i, j) final at edge i + j + K + 1; R x C, one k a cycle
Matrix                 PE (i, j) final at edge K + 1: operands are broadcast, nothing is skewed
WeightStationary       R cycles of weight load; row m, column j at edge m + j + R + 1
Cube                   product q, element (x, z) at edge q + x + z + N + 1
Tree                   step t (from 0), tile j at edge t + j + 4 (mac) or t + j + 3 (opt2)
=====================  =================================================================

All sums are modulo 2^acc_width. Styles are those of `rtl.bitweight.dense`; carry-save styles have a
`carry` beside every `total`. Operands of cycles without work must be zero.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.dense import (
    Accumulator,
    check_style,
    is_carry_save,
    multiply_add,
    offset_rows,
    unpack,
)
from rtl.bitweight.parts import (
    booth_codes,
    code_values,
    compress,
    multiple,
    offset,
    sign_extend,
    validated,
)
from rtl.export import shared
from workloads.errors import InputError


def delayed(m: Module, value: Value, cycles: int, name: str) -> Value:
    """Return `value` as it was `cycles` cycles ago."""
    for stage in range(cycles):
        register = Signal(len(value), name=f"{name}_{stage}")
        m.d.sync += register.eq(value)
        value = register
    return value


def _check_size(**sizes: int) -> None:
    for name, size in sizes.items():
        if not 1 <= size <= 256:
            raise InputError(f"{name} of an array must lie in 1 to 256, not {size}")


class _Grid(wiring.Component):
    """R x C accumulators that share the ports of both arrangements below."""

    @validated
    def __init__(
        self, *, rows: int, cols: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        _check_size(rows=rows, cols=cols)
        check_style(style)
        self.rows, self.cols = rows, cols
        self.width, self.acc_width, self.style = width, acc_width, style
        members = {
            "a": In(rows * width),
            "b": In(cols * width),
            "first": In(1),
            "total": Out(rows * cols * acc_width),
        }
        if is_carry_save(style):
            members["carry"] = Out(rows * cols * acc_width)
        super().__init__(members)

    def _elements(self, m: Module, platform: object, *, passes: bool) -> list[list[Accumulator]]:
        """Make the elements and connect their results, row by row, to the outputs."""
        name = f"pe_{self.style}_{self.width}_{self.acc_width}_{int(passes)}"
        grid = [
            [
                Accumulator(
                    width=self.width, acc_width=self.acc_width, style=self.style, passes=passes
                )
                for _ in range(self.cols)
            ]
            for _ in range(self.rows)
        ]
        flat = [element for row in grid for element in row]
        for i, element in enumerate(flat):
            m.submodules[f"pe_{i}"] = shared(element, name, platform)
        m.d.comb += self.total.eq(Cat(*(element.total for element in flat)))
        if is_carry_save(self.style):
            m.d.comb += self.carry.eq(Cat(*(element.carry for element in flat)))
        return grid


class OutputStationary(_Grid):
    """Systolic array that keeps its outputs: A moves east, B moves south.

    A column of A and a row of B (one k) enter together; the array skews them. A product may follow
    the one before without a gap: `first` comes with its first k.
    """

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        grid = self._elements(m, platform, passes=True)
        for i, a in enumerate(unpack(self.a, self.width)):
            entering = delayed(m, Cat(a, self.first), i, f"skew_a{i}")
            for j, element in enumerate(grid[i]):
                left = Cat(grid[i][j - 1].a_next, grid[i][j - 1].first_next) if j else entering
                m.d.comb += Cat(element.a, element.first).eq(left)
        for j, b in enumerate(unpack(self.b, self.width)):
            entering = delayed(m, b, j, f"skew_b{j}")
            for i in range(self.rows):
                m.d.comb += grid[i][j].b.eq(grid[i - 1][j].b_next if i else entering)
        return m


class Matrix(_Grid):
    """2D matrix: each operand is broadcast along its row or column; all elements work in step."""

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        grid = self._elements(m, platform, passes=False)
        for row, a in zip(grid, unpack(self.a, self.width), strict=True):
            for element, b in zip(row, unpack(self.b, self.width), strict=True):
                m.d.comb += [element.a.eq(a), element.b.eq(b), element.first.eq(self.first)]
        return m


class PassingElement(wiring.Component):
    """Element that adds a x b to the partial sum from its neighbour and passes all three on.

    a and b are registered, and so is the sum: what enters as a and b in cycle t meets the partial
    sum of cycle t + 1 and leaves in cycle t + 2. With `holds` b is a weight that moves only when
    `load` is set.
    """

    @validated
    def __init__(self, *, width: int, acc_width: int, style: str, holds: bool) -> None:
        self.width, self.acc_width, self.style, self.holds = width, acc_width, style, holds
        members = {
            "a": In(width),
            "b": In(width),
            "total_in": In(acc_width),
            "a_next": Out(width),
            "b_next": Out(width),
            "total": Out(acc_width),
        }
        if holds:
            members["load"] = In(1)
        if is_carry_save(style):
            members |= {"carry_in": In(acc_width), "carry": Out(acc_width)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the element."""
        m = Module()
        m.d.sync += self.a_next.eq(self.a)
        with m.If(self.load if self.holds else Const(1, 1)):
            m.d.sync += self.b_next.eq(self.b)
        pair = is_carry_save(self.style)
        previous = (self.total_in, self.carry_in if pair else Const(0, self.acc_width))
        total, carry = multiply_add(m, self.a_next, self.b_next, previous, style=self.style)
        m.d.sync += self.total.eq(total)
        if pair:
            m.d.sync += self.carry.eq(carry)
        return m


class WeightStationary(wiring.Component):
    """Systolic array that keeps its weights: A (one row of K = `rows` values a cycle) moves east,
    partial sums move south.

    While `load` is set, `b` (one value per column) shifts in from the north, the last row of the
    weights first; it takes `rows` cycles. `total` has the sums of all columns, column j one cycle
    after column j - 1.
    """

    @validated
    def __init__(
        self, *, rows: int, cols: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        _check_size(rows=rows, cols=cols)
        check_style(style)
        self.rows, self.cols = rows, cols
        self.width, self.acc_width, self.style = width, acc_width, style
        members = {
            "a": In(rows * width),
            "b": In(cols * width),
            "load": In(1),
            "total": Out(cols * acc_width),
        }
        if is_carry_save(style):
            members["carry"] = Out(cols * acc_width)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the array."""
        m = Module()
        parameters = {"width": self.width, "acc_width": self.acc_width, "style": self.style}
        name = f"ws_{self.style}_{self.width}_{self.acc_width}"
        north = unpack(self.b, self.width)
        above: list[PassingElement] = []
        for i, a in enumerate(unpack(self.a, self.width)):
            row = [PassingElement(holds=True, **parameters) for _ in range(self.cols)]
            moving = delayed(m, a, i, f"skew_{i}")
            for j, element in enumerate(row):
                m.submodules[f"pe_{i}_{j}"] = shared(element, name, platform)
                m.d.comb += [
                    element.a.eq(row[j - 1].a_next if j else moving),
                    element.b.eq(above[j].b_next if i else north[j]),
                    element.load.eq(self.load),
                ]
                if i:
                    m.d.comb += _pass_sums(element, above[j])
            above = row
        m.d.comb += _results(self, above)
        return m


def _pass_sums(element: PassingElement, before: PassingElement) -> list[object]:
    pairs = [element.total_in.eq(before.total)]
    if is_carry_save(element.style):
        pairs.append(element.carry_in.eq(before.carry))
    return pairs


def _results(array: wiring.Component, last: list[PassingElement]) -> list[object]:
    pairs = [array.total.eq(Cat(*(element.total for element in last)))]
    if is_carry_save(array.style):
        pairs.append(array.carry.eq(Cat(*(element.carry for element in last))))
    return pairs


class Cube(wiring.Component):
    """N x N x N elements: one N x N x N product a cycle, reduced along y.

    `a` is A[x, y] with x slowest, `b` is B[y, z] with y slowest, `total` C[x, z] with x slowest.
    """

    @validated
    def __init__(
        self, *, size: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        _check_size(size=size)
        check_style(style)
        self.size, self.width, self.acc_width, self.style = size, width, acc_width, style
        members = {
            "a": In(size**2 * width),
            "b": In(size**2 * width),
            "total": Out(size**2 * acc_width),
        }
        if is_carry_save(style):
            members["carry"] = Out(size**2 * acc_width)
        super().__init__(members)

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
                m.d.comb += element.a.eq(delayed(m, a[x * n + y], x + y, f"skew_a{x}_{y}"))
            if x:
                m.d.comb += element.b.eq(elements[x - 1, y, z].b_next)
            else:
                m.d.comb += element.b.eq(delayed(m, b[y * n + z], y + z, f"skew_b{y}_{z}"))
            if y:
                m.d.comb += _pass_sums(element, elements[x, y - 1, z])
        m.d.comb += _results(self, [elements[x, n - 1, z] for x in range(n) for z in range(n)])
        return m


TREE_STYLES = ("mac", "opt2")


class TreeTile(wiring.Component):
    """KP products a cycle, added to one sum; `first` starts a sum.

    Style mac: multipliers with registered products, their sum in one compressor tree and one
    addition, registered, and an accumulator: what is presented in cycle t is in the result from
    cycle t + 4. Style opt2: the rows of equal weight are compressed and registered, then added in
    carry-save form to a sum of that weight, from cycle t + 3. The weights
    meet at read-out: `total` and `carry` hold w / 2 sums of `low_width` bits, lowest weight first,
    each too large by steps x `step_offset`.

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
        _check_size(lanes=lanes)
        if style not in TREE_STYLES:
            raise InputError(f"style of a tree must be mac or opt2, not {style!r}")
        self.lanes, self.width, self.acc_width = lanes, width, acc_width
        self.style, self.passes = style, passes
        self.low_width = min(acc_width, width + 18)
        sums = self.low_width * (width // 2) if style == "opt2" else acc_width
        members = {
            "a": In(lanes * width),
            "b": In(lanes * width),
            "first": In(1),
            "total": Out(sums),
        }
        if style == "opt2":
            members["carry"] = Out(sums)
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
        first = delayed(m, first, 1, "first_tree")
        if self.style == "opt2":
            self._by_weight(m, pairs, first)
        else:
            self._products(m, pairs, first)
        return m

    @property
    def step_offset(self) -> int:
        """What a step adds to every weight's sum beyond its products (opt2)."""
        return self.lanes << self.width if self.style == "opt2" else 0

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
        keep = (~delayed(m, first, 1, "first_sum")).replicate(self.acc_width)
        m.d.sync += self.total.eq((self.total & keep) + sign_extend(together, self.acc_width))


class Tree(wiring.Component):
    """Multiplier-adder trees: one row of A (`lanes` of K) a cycle passes `cols` tiles in turn.

    Tile j has its own operands in `b`, presented with the row of A; the array delays them.
    """

    @validated
    def __init__(
        self, *, lanes: int, cols: int, width: int = 8, acc_width: int = 32, style: str = "mac"
    ) -> None:
        _check_size(lanes=lanes, cols=cols)
        self.lanes, self.cols, self.width = lanes, cols, width
        self.acc_width, self.style = acc_width, style
        self._tiles = [
            TreeTile(lanes=lanes, width=width, acc_width=acc_width, style=style, passes=True)
            for _ in range(cols)
        ]
        self.sum_bits = len(self._tiles[0].total)
        self.step_offset, self.low_width = self._tiles[0].step_offset, self._tiles[0].low_width
        members = {
            "a": In(lanes * width),
            "b": In(cols * lanes * width),
            "first": In(1),
            "total": Out(cols * self.sum_bits),
        }
        if style == "opt2":
            members["carry"] = Out(cols * self.sum_bits)
        super().__init__(members)

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
                tile.b.eq(delayed(m, own, j, f"skew_{j}")),
            ]
        m.d.comb += self.total.eq(Cat(*(tile.total for tile in tiles)))
        if self.style == "opt2":
            m.d.comb += self.carry.eq(Cat(*(tile.carry for tile in tiles)))
        return m


def _padded(value: Value, width: int) -> Value:
    return Cat(value, Const(0, width - len(value)))
