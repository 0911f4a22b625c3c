"""What all RTL promises: depth that does not ripple, one reset, the latency that is listed."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil, log

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.hash_unit import HashUnit
from rtl.bitweight.arrays import OutputStationary
from rtl.bitweight.bitslice import TermPairs
from rtl.bitweight.columns import ColumnArray
from rtl.bitweight.complete import ReadGrid, ReadStream
from rtl.bitweight.cube import Cube
from rtl.bitweight.dense import Accumulator
from rtl.bitweight.elements import ColumnFront, Opt3Element
from rtl.bitweight.parts import compress, levels
from rtl.bitweight.passing import WeightStationary
from rtl.bitweight.simd import SimdUnit
from rtl.bitweight.sparse import StepAccumulator
from rtl.bitweight.tree import Tree
from rtl.bitweight.weights import EqualWeight
from rtl.designs import find, with_settings
from rtl.hash import HashAccumulate
from rtl.synthesis.designs import DESIGNS
from tests.rtl.bitweight_words import play
from tests.rtl.netlist import LEVEL_GATES, depth, netlist


class Compressor(wiring.Component):
    """A compressor tree alone."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows, self.width = rows, width
        super().__init__({"word": In(rows * width), "total": Out(width), "carry": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = [self.word[i * self.width : (i + 1) * self.width] for i in range(self.rows)]
        total, carry = compress(m, rows, width=self.width)
        m.d.comb += [self.total.eq(total), self.carry.eq(carry)]
        return m


class Ripple(wiring.Component):
    """An adder whose carry runs through all bits."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"a": In(width), "b": In(width), "total": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        carry, bits = Signal(name="none"), []
        for i in range(self.width):
            a, b = self.a[i], self.b[i]
            bits.append(a ^ b ^ carry)
            following = Signal(name=f"carry_{i}")
            m.d.comb += following.eq((a & b) | (a & carry) | (b & carry))
            carry = following
        m.d.comb += self.total.eq(Cat(*bits))
        return m


@pytest.mark.parametrize("rows", [3, 4, 6, 9, 13, 18])
def test_a_compressor_tree_is_as_deep_as_its_levels_at_any_width(rows: int) -> None:
    """A level leaves two thirds of the rows: log(rows / 2) / log(3 / 2) levels, one more."""
    for width in (16, 40):
        assert depth(Compressor(rows, width)) == LEVEL_GATES * levels(rows)
    assert levels(rows) <= ceil(log(rows / 2) / log(3 / 2)) + 1


def test_a_ripple_is_as_deep_as_its_width() -> None:
    """The measure of the test above sees what it is to exclude."""
    assert depth(Ripple(40)) - depth(Ripple(16)) >= 2 * 24


@pytest.mark.parametrize(
    "make",
    [
        lambda bits: Accumulator(style="opt1_offset", acc_width=bits),
        lambda bits: StepAccumulator(acc_width=bits),
        lambda bits: StepAccumulator(acc_width=bits, lanes=4),
        lambda bits: StepAccumulator(acc_width=bits, lanes=4, triples=True),
    ],
    ids=["opt1_offset", "opt4c", "opt4e", "opt2"],
)
def test_carry_save_elements_are_equally_deep_for_any_sum(make: Callable) -> None:
    """The paper's central claim, before any library: the path does not know the sum's width."""
    assert depth(make(24)) == depth(make(48))


def design(name: str, **settings: int) -> Callable[[], wiring.Component]:
    known = find(name)
    texts = {field: str(value) for field, value in settings.items()}
    return lambda: known.make(with_settings(known, texts))


CLOCKED: dict[str, Callable[[], wiring.Component]] = {
    "sat": design("sat", rows=1, cols=2, n=1, m=2, lanes=2),
    "uspe": design("uspe"),
    "sore": design("sore", lanes=1, m=4),
    "wuve": design("wuve", lanes=1),
    "fp16-multiply": design("fp16-multiply"),
    "fp32-multiply": design("fp32-multiply"),
    "fp32-add": design("fp32-add"),
    "hash unit": lambda: HashAccumulate(
        HashUnit(slots=8, banks=2, requesters=2, key_bits=4, kind="fp32")
    ),
    "pim_unit": design("pim_unit", lanes=2),
    "pim_bank": design("pim_bank", banks=1, groups=1),
    "pim_gate": design("pim_gate", banks=1, groups=1),
    "pim_channel": design("pim_channel", banks=1, groups=1),
    "mac": Accumulator,
    "mac_pipelined": lambda: Accumulator(pipelined=True),
    "opt1": lambda: Accumulator(style="opt1"),
    "opt1_offset": lambda: Accumulator(style="opt1_offset"),
    "opt2": lambda: StepAccumulator(lanes=4, triples=True),
    "opt3": Opt3Element,
    "opt4e_seg": lambda: StepAccumulator(lanes=4, segmented=True),
    "laconic": lambda: TermPairs(lanes=2),
    "column_front": ColumnFront,
    "simd_lane": lambda: SimdUnit(acc_width=26, slots=2),
    "os": lambda: ReadGrid(grid=OutputStationary(rows=2, cols=2, style="opt1_offset")),
    "os_opt2": lambda: ReadGrid(grid=EqualWeight(rows=2, cols=2, skewed=True)),
    "matrix_opt2": lambda: ReadGrid(grid=EqualWeight(rows=2, cols=2, skewed=False)),
    "ws": lambda: ReadStream(array=WeightStationary(rows=2, cols=2, style="opt1_offset")),
    "cube": lambda: ReadStream(array=Cube(size=2, style="opt1_offset")),
    "tree": lambda: ReadStream(array=Tree(lanes=2, cols=2, style="opt1_offset")),
    "tree_opt2": lambda: Tree(lanes=2, cols=2, style="opt2"),
    "array_opt2": lambda: ColumnArray(columns=2, elements=1, depth=2, engine="opt2"),
    "array_opt3": lambda: ColumnArray(columns=2, elements=1, depth=2, engine="opt3"),
    "array_opt4e": lambda: ColumnArray(columns=1, elements=2, depth=2, lanes=4, segmented=True),
}
FLIP_FLOPS = ("$dff", "$memrd_v2", "$memwr_v2", "$meminit_v2")


@pytest.mark.parametrize("name", CLOCKED)
def test_every_flip_flop_has_the_one_clock_and_the_synchronous_reset(name: str) -> None:
    """No asynchronous reset, no latch; `rst` is the last choice before every register's input."""
    top = netlist(CLOCKED[name](), "clean")
    clock, reset = (top["ports"][port]["bits"] for port in ("clk", "rst"))
    chosen_by_reset = {
        bit
        for cell in top["cells"].values()
        if cell["type"] == "$mux" and cell["connections"]["S"] == reset
        for bit in cell["connections"]["Y"]
    }
    registers = 0
    for cell in top["cells"].values():
        kind, ports = cell["type"], cell["connections"]
        if re.search("ff|latch|sr$|mem", kind):
            assert kind in FLIP_FLOPS
        if kind == "$dff":
            registers += 1
            assert ports["CLK"] == clock
            assert int(cell["parameters"]["CLK_POLARITY"], 2) == 1
            assert chosen_by_reset.issuperset(set(ports["D"]) - {"0"})
    assert registers


LISTED = [
    name for name, known in DESIGNS.items() if re.match(r"(result|first digit) \d", known.timing)
]
PULSES = 12


@pytest.mark.parametrize("name", LISTED)
def test_the_first_trace_of_an_operand_comes_when_the_listing_says(name: str) -> None:
    """One cycle of random operands among idle ones that each start their sum."""
    known = DESIGNS[name]
    small = {"lanes": 2} if "lanes" in known.parameters else {}
    stated = re.search(r"(\d+) cycles later(?:, (\d+) in carry-save form)?", known.timing)
    assert stated is not None
    rng = np.random.default_rng(0)
    period, seen = 12, []
    component = known.component(**small)
    ports = {port: len(getattr(component, port)) for port in component.signature.members}
    inputs = [p for p, member in component.signature.members.items() if member.flow == In]
    outputs = [p for p in ports if p not in inputs and p != "ready"]
    stimulus = {
        port: [
            int(rng.integers(0, 1 << min(bits, 62))) if t % period == 0 else int(port == "first")
            for t in range(PULSES * period)
        ]
        for port, bits in ports.items()
        if port in inputs
    }
    for port in ("first", "load", "valid"):
        if port in stimulus:
            stimulus[port][::period] = [1] * PULSES
    words = play(component, stimulus, outputs)
    pair = "carry" in ports
    shown: list = list(zip(*(words[port] for port in outputs), strict=True))
    if pair:  # a pair may change its form while its sum stays
        shown = [sum(both) % (1 << ports["total"]) for both in shown]
    for start in range(period, PULSES * period, period):
        late = [t for t in range(period) if shown[start + t] != shown[start]]
        seen += late[:1]
    assert min(seen) == int(stated[2] if pair and stated[2] else stated[1])
