"""The designs that can be synthesised by name, each with the stimulus of its energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from amaranth.lib import wiring

from rtl.bitweight.arrays import Matrix, OutputStationary
from rtl.bitweight.bitslice import TermPairs
from rtl.bitweight.columns import ColumnArray
from rtl.bitweight.cube import Cube
from rtl.bitweight.dense import STYLES, Accumulator
from rtl.bitweight.elements import ColumnFront, Opt3Element
from rtl.bitweight.passing import WeightStationary
from rtl.bitweight.simd import SimdUnit
from rtl.bitweight.sparse import StepAccumulator, default_acc_width
from rtl.bitweight.tree import TREE_STYLES, TreeTile
from rtl.bitweight.weights import EqualWeight
from rtl.settings import check_fields, no_design
from rtl.synthesis.stimuli import (
    Made,
    array_stimulus,
    dense_stimulus,
    front_stimulus,
    group_stimulus,
    simd_stimulus,
    step_stimulus,
    term_stimulus,
    triple_stimulus,
    weight_stimulus,
    weights_stimulus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappable:
    """A design that can be mapped to cells: how to make it, its parameters, and its stimulus.

    `fuse` lets yosys fuse additions and multiplications: the naive baseline at its usual recipe.
    `memories` : it has memories, for which a library of standard cells has nothing.
    """

    name: str
    summary: str
    make: Callable[..., wiring.Component]
    parameters: Mapping[str, int]
    stimulus: Callable[[wiring.Component, int], Made] | None = None
    fuse: bool = False
    memories: bool = False
    timing: str = "result 2 cycles later; one step a cycle"

    def check(self, changes: Iterable[str]) -> None:
        """Raise `InputError` unless all names are parameters of the design."""
        check_fields(self.name, changes, self.parameters)

    def component(self, **changes: int) -> wiring.Component:
        """Make the component with some parameters changed; raise `InputError` for others."""
        self.check(changes)
        return self.make(**{**self.parameters, **changes})

    def parameter_text(self, **changes: int) -> str:
        """Return all parameters as the tables of results show them: name=value, by spaces."""
        return " ".join(f"{name}={value}" for name, value in {**self.parameters, **changes}.items())


def find(name: str) -> Mappable:
    """Return the design or unit called `name`; raise `InputError` if there is none."""
    from rtl.synthesis.units import UNITS

    known = DESIGNS | UNITS
    if name not in known:
        raise no_design(name, known)
    return known[name]


DENSE = {"width": 8, "acc_width": 32}
SPARSE = {"width": 8, "acc_width": default_acc_width(8)}
SQUARE = {"rows": 4, "cols": 4, **DENSE}
CUBE = {"size": 3, **DENSE}
TREE = {"lanes": 16, **DENSE}
WEIGHTS = {"rows": 4, "cols": 4, "lanes": 4, **SPARSE}
COLUMNS = {"columns": 4, "elements": 4, "width": 8, "banks": 4, "depth": 64, "fifo": 4, "simd": 1}

DENSE_ELEMENTS = (
    (
        "mac_naive",
        {"style": "naive"},
        "INT8 MAC `acc + a * b` at yosys' usual recipe, which fuses it into one cell",
    ),
    (
        "mac_plain",
        {"style": "naive"},
        "INT8 MAC `acc + a * b`, multiplier and addition mapped one by one",
    ),
    (
        "mac",
        {"style": "mac"},
        "INT8 MAC: Booth, one compressor tree with the sum, one carry-propagate add",
    ),
    (
        "mac_pipelined",
        {"style": "mac", "pipelined": True},
        "as mac, with a register between product and sum",
    ),
    (
        "opt1",
        {"style": "opt1"},
        "OPT1: the sum stays in carry-save form",
    ),
    (
        "opt1_offset",
        {"style": "opt1_offset"},
        "OPT1 with offset partial products instead of sign extension (not published)",
    ),
)
"""Elements that multiply whole operands: name, what is fixed, summary."""

DIGIT_ELEMENTS = (
    (
        "opt4c",
        {"lanes": 1},
        "OPT4C: one non-zero digit a step, sparse encoder shared by the column",
    ),
    (
        "opt4e",
        {"lanes": 4},
        "OPT4E: four lanes share one compressor and sum",
    ),
    (
        "opt4c_seg",
        {"lanes": 1, "segmented": True},
        "OPT4C with offset rows and a segmented counter (not published)",
    ),
    (
        "opt4e_seg",
        {"lanes": 4, "segmented": True},
        "OPT4E with offset rows and a segmented counter (not published)",
    ),
)
"""Elements that add digits which others have encoded: name, what is fixed, summary."""


def _elements() -> Iterator[Mappable]:
    """Yield the elements of all engines, and what stands before and behind those of a column."""
    for name, fixed, summary in DENSE_ELEMENTS:
        pipelined = fixed.get("pipelined", False)
        yield Mappable(
            name=name,
            summary=summary,
            timing=f"result {2 + pipelined} cycles later; one step a cycle",
            make=partial(Accumulator, **fixed),
            parameters=DENSE,
            stimulus=dense_stimulus,
            fuse=name == "mac_naive",
        )
    yield Mappable(
        name="opt2",
        summary="OPT2: the same digit of four operands a step, one shift at the end",
        make=partial(StepAccumulator, triples=True),
        parameters={"lanes": 4, **SPARSE},
        stimulus=triple_stimulus,
    )
    yield Mappable(
        name="opt3",
        timing="result 3 cycles later; max(1, non-zero digits) steps a group of four",
        summary="OPT3: one non-zero digit a step, sparse encoder in the element",
        make=Opt3Element,
        parameters=SPARSE,
        stimulus=group_stimulus,
    )
    for name, fixed, summary in DIGIT_ELEMENTS:
        yield Mappable(
            name=name,
            summary=summary,
            make=partial(StepAccumulator, **fixed),
            parameters=SPARSE,
            stimulus=step_stimulus,
        )
    yield Mappable(
        name="laconic",
        timing="result 3 cycles later; one pair of terms a lane and cycle",
        summary="Laconic-like: 16 pairs, one pair of power-of-two terms a lane and cycle",
        make=TermPairs,
        parameters={"lanes": 16, **DENSE},
        stimulus=term_stimulus,
    )
    yield Mappable(
        name="column_front",
        timing="first digit 3 cycles later; max(1, non-zero digits) steps a group of four",
        summary="EN-T encoders and sparse encoder of one lane, shared by a column",
        make=ColumnFront,
        parameters={"width": 8},
        stimulus=front_stimulus,
    )
    yield Mappable(
        name="simd_lane",
        summary="SIMD lane: resolves a pair of sums and shifts it into a result",
        make=SimdUnit,
        parameters={"acc_width": default_acc_width(8), "slots": 1},
        stimulus=simd_stimulus,
    )


class Kind(NamedTuple):
    """An arrangement of dense elements: its designs are called name_style."""

    name: str
    summary: str
    timing: str
    make: type[Any]
    parameters: Mapping[str, int]
    stimulus: Callable[[wiring.Component, int], Made]
    styles: Sequence[str] = STYLES


KINDS = (
    Kind(
        "os",
        "systolic array, output stationary",
        "element (i, j) i + j + 2 cycles after its last operand; one k a cycle",
        OutputStationary,
        SQUARE,
        array_stimulus,
    ),
    Kind(
        "ws",
        "systolic array, weight stationary",
        "column j of a row R + j + 1 cycles later; a row a cycle, R cycles a load",
        WeightStationary,
        SQUARE,
        weights_stimulus,
    ),
    Kind(
        "matrix",
        "2D matrix with broadcast operands",
        "2 cycles after the last operand; one k a cycle",
        Matrix,
        SQUARE,
        array_stimulus,
    ),
    Kind(
        "cube",
        "3D cube",
        "element (x, z) x + z + N + 1 cycles later; a block a cycle",
        Cube,
        CUBE,
        array_stimulus,
    ),
    Kind(
        "tree",
        "multiplier-adder tree of 16",
        "result 4 cycles later, 3 in carry-save form; one step a cycle",
        TreeTile,
        TREE,
        array_stimulus,
        TREE_STYLES,
    ),
)


def _arrays() -> Iterator[Mappable]:
    """Yield the arrays of dense elements, and those of OPT2."""
    for kind in KINDS:
        for style in kind.styles:
            yield Mappable(
                name=f"{kind.name}_{style}",
                summary=f"{kind.summary}, elements {style}",
                timing=kind.timing,
                make=partial(kind.make, style=style),
                parameters=kind.parameters,
                stimulus=kind.stimulus,
                fuse=style == "naive",
            )
    for name, text, skewed in (
        ("os_opt2", "systolic array of OPT2, output stationary", True),
        ("matrix_opt2", "2D matrix of OPT2", False),
    ):
        yield Mappable(
            name=name,
            summary=f"{text}: the same digit of four terms a step",
            timing="as os and matrix, for each bit weight; four k a cycle",
            make=partial(EqualWeight, skewed=skewed),
            parameters=WEIGHTS,
            stimulus=weight_stimulus,
        )


def _column_arrays() -> Iterator[Mappable]:
    """Yield the column arrays with memories, prefetch, synchronisation and read-out."""
    for engine, fixed in (
        ("opt2", {"engine": "opt2"}),
        ("opt3", {"engine": "opt3"}),
        ("opt4c", {}),
        ("opt4e", {"lanes": 4}),
        ("opt4c_seg", {"segmented": True}),
        ("opt4e_seg", {"lanes": 4, "segmented": True}),
    ):
        yield Mappable(
            name=f"array_{engine}",
            summary=f"columns of {engine}: banks, prefetch, synchronisation, read-out",
            timing="as `run bitweight` says; rtl.bitweight.columns states every cycle",
            make=partial(ColumnArray, **fixed),
            parameters=COLUMNS,
            memories=True,
        )


DESIGNS = {design.name: design for design in (*_elements(), *_arrays(), *_column_arrays())}
