"""How a column takes groups from its lanes, by engine: as digits one by one, or whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.bitweight import GROUP
from rtl.bitweight.elements import Opt3Element
from rtl.bitweight.encoders import walk_digits
from rtl.bitweight.lane import Lane
from rtl.bitweight.sparse import StepAccumulator
from rtl.elaboration import unpack

ENGINES = ("opt2", "opt3", "opt4")
Add = Callable[[str, wiring.Component, str], None]
"""Adds a submodule: its name, the component, and a name for all components of its parameters."""


class DigitIssue(wiring.Component):
    """The sparse encoder that the elements of a column share (OPT4): one non-zero digit a cycle.

    A group is loaded in cycle t; its steps are in cycles t + 1 on, max(1, non-zero digits) of them.
    `free` is set in the last one and while there is none: the next group may be loaded.

    Members
    -------
    codes, b : four digit codes and their Bs, `elements` values each. code, selected : the present
    digit (zero: nothing to add) and its Bs.
    """

    def __init__(self, *, width: int, elements: int) -> None:
        self.word = elements * width
        super().__init__(
            {
                "load": In(1),
                "codes": In(3 * GROUP),
                "b": In(GROUP * self.word),
                "free": Out(1),
                "code": Out(3),
                "selected": Out(self.word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the encoder and the selection."""
        m = Module()
        codes, b = Signal.like(self.codes), Signal.like(self.b)
        with m.If(self.load):
            m.d.sync += [codes.eq(self.codes), b.eq(self.b)]
        sparse = walk_digits(m, self.load, unpack(self.codes, 3))
        m.d.comb += [
            self.free.eq(~sparse.busy | sparse.last),
            self.selected.eq(Array(unpack(b, self.word))[sparse.index]),
        ]
        with m.If(sparse.busy & ~sparse.empty):
            m.d.comb += self.code.eq(Array(unpack(codes, 3))[sparse.index])
        return m


class Sums(NamedTuple):
    """The elements of a column, and what a step adds to each of their sums beyond its products."""

    elements: Sequence[StepAccumulator | Opt3Element]
    step_offset: int

    @property
    def acc_width(self) -> int:
        """Bits of a sum."""
        return self.elements[0].acc_width


def digit_column(m: Module, add: Add, lanes: Sequence[Lane], first: Value, segmented: bool) -> Sums:
    """Connect OPT4: a sparse encoder for each lane, elements that add one digit of every lane."""
    width, count = lanes[0].width, lanes[0].elements
    issues = [DigitIssue(width=width, elements=count) for _ in lanes]
    for i, (issue, lane) in enumerate(zip(issues, lanes, strict=True)):
        add(f"issue_{i}", issue, f"issue_{width}_{count}")
        m.d.comb += [
            issue.load.eq(lane.taken),
            issue.codes.eq(lane.codes),
            issue.b.eq(lane.b),
            lane.free.eq(issue.free),
        ]
    elements = []
    for j in range(count):
        element = StepAccumulator(width=width, lanes=len(lanes), segmented=segmented)
        add(f"pe_{j}", element, f"step_{width}_{len(lanes)}_{int(segmented)}")
        m.d.comb += [
            element.codes.eq(Cat(*(issue.code for issue in issues))),
            element.b.eq(Cat(*(unpack(issue.selected, width)[j] for issue in issues))),
            element.first.eq(first),
        ]
        elements.append(element)
    return Sums(elements, elements[0].step_offset)


def group_column(m: Module, add: Add, lane: Lane, first: Value) -> Sums:
    """Connect OPT2: the same digit of four terms a step, recoded in the elements."""
    codes, b = Signal.like(lane.codes), Signal.like(lane.b)
    m.d.comb += lane.free.eq(1)
    m.d.sync += codes.eq(0)
    with m.If(lane.taken):
        m.d.sync += [codes.eq(lane.codes), b.eq(lane.b)]
    elements = []
    for j in range(lane.elements):
        element = StepAccumulator(width=lane.width, lanes=GROUP, triples=True)
        add(f"pe_{j}", element, f"step_{lane.width}_triples")
        m.d.comb += [
            element.codes.eq(codes),
            element.b.eq(_own(b, j, lane)),
            element.first.eq(first),
        ]
        elements.append(element)
    return Sums(elements, 0)


def encoder_column(m: Module, add: Add, lane: Lane, opening: Value) -> Sums:
    """Connect OPT3: every element has its own sparse encoder; all get the same digits of A."""
    elements = []
    for j in range(lane.elements):
        element = Opt3Element(width=lane.width)
        add(f"pe_{j}", element, f"opt3_{lane.width}")
        m.d.comb += [
            element.codes.eq(lane.codes),
            element.b.eq(_own(lane.b, j, lane)),
            element.load.eq(lane.taken),
            element.first.eq(opening),
        ]
        elements.append(element)
    m.d.comb += lane.free.eq(elements[0].ready)
    return Sums(elements, 0)


def _own(b: Value, j: int, lane: Lane) -> Value:
    """Return the four Bs of element j: one of each term's values."""
    return Cat(*(unpack(term, lane.width)[j] for term in unpack(b, lane.elements * lane.width)))
