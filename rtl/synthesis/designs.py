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
from rtl.bitweight.dense import Accumulator
from rtl.bitweight.elements import ColumnFront, Opt3Element
from rtl.bitweight.passing import WeightStationary
from rtl.bitweight.simd import SimdUnit
from rtl.bitweight.sparse import StepAccumulator, default_acc_width
from rtl.bitweight.tree import TreeTile
from rtl.bitweight.weights import EqualWeight
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
from workloads.errors import InputError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A named design: how to make it, its parameters, and its stimulus.

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
        unknown = sorted(set(changes) - self.parameters.keys())
        if unknown:
            raise InputError(
                f"design {self.name} has no parameter {unknown[0]!r}; it has "
                f"{', '.join(self.parameters)}"
            )

    def component(self, **changes: int) -> wiring.Component:
        """Make the component with some parameters changed; raise `InputError` for others."""
        self.check(changes)
        return self.make(**{**self.parameters, **changes})


def find(name: str) -> Design:
    """Return the design or unit called `name`; raise `InputError` if there is none."""
    from rtl.synthesis.units import UNITS

    known = DESIGNS | UNITS
    if name not in known:
        hint = nearest(name, known)
        raise InputError(f"no design is called {name!r}; {hint}")
    return known[name]


def _dense(style: str, **fixed: Any) -> Callable[..., wiring.Component]:
    return lambda **p: Accumulator(style=style, **fixed, **p)


def _steps(**fixed: Any) -> Callable[..., wiring.Component]:
    return lambda **p: StepAccumulator(**fixed, **p)


def _array(kind: type[Any], style: str) -> Callable[..., wiring.Component]:
    return lambda **p: kind(style=style, **p)


def _column_array(**fixed: Any) -> Callable[..., wiring.Component]:
    return lambda **p: ColumnArray(**fixed, **p)


DENSE = {"width": 8, "acc_width": 32}
SPARSE = {"width": 8, "acc_width": default_acc_width(8)}
SQUARE = {"rows": 4, "cols": 4, **DENSE}
CUBE = {"size": 3, **DENSE}
TREE = {"lanes": 16, **DENSE}
WEIGHTS = {"rows": 4, "cols": 4, "lanes": 4, **SPARSE}
COLUMNS = {"columns": 4, "elements": 4, "width": 8, "banks": 4, "depth": 64, "fifo": 4, "simd": 1}
DENSE_STYLES = ("naive", "mac", "opt1", "opt1_offset")


class Kind(NamedTuple):
    """An arrangement of dense elements: its designs are called name_style."""

    name: str
    summary: str
    timing: str
    make: type[Any]
    parameters: Mapping[str, int]
    stimulus: Callable[[wiring.Component, int], Made]
    styles: Sequence[str] = DENSE_STYLES


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
        ("mac", "opt1", "opt1_offset", "opt2"),
    ),
)


def _arrays() -> Iterator[Design]:
    """Yield the arrays of dense elements, and those of OPT2."""
    for kind in KINDS:
        for style in kind.styles:
            yield Design(
                name=f"{kind.name}_{style}",
                summary=f"{kind.summary}, elements {style}",
                timing=kind.timing,
                make=_array(kind.make, style),
                parameters=kind.parameters,
                stimulus=kind.stimulus,
                fuse=style == "naive",
            )
    for name, text, skewed in (
        ("os_opt2", "systolic array of OPT2, output stationary", True),
        ("matrix_opt2", "2D matrix of OPT2", False),
    ):
        yield Design(
            name=name,
            summary=f"{text}: the same digit of four terms a step",
            timing="as os and matrix, for each bit weight; four k a cycle",
            make=partial(EqualWeight, skewed=skewed),
            parameters=WEIGHTS,
            stimulus=weight_stimulus,
        )


def _column_arrays() -> Iterator[Design]:
    """Yield the column arrays with memories, prefetch, synchronisation and read-out."""
    for engine, fixed in (
        ("opt2", {"engine": "opt2"}),
        ("opt3", {"engine": "opt3"}),
        ("opt4c", {}),
        ("opt4e", {"lanes": 4}),
        ("opt4c_seg", {"segmented": True}),
        ("opt4e_seg", {"lanes": 4, "segmented": True}),
    ):
        yield Design(
            name=f"array_{engine}",
            summary=f"columns of {engine}: banks, prefetch, synchronisation, read-out",
            timing="as `run bitweight` says; rtl.bitweight.columns states every cycle",
            make=_column_array(**fixed),
            parameters=COLUMNS,
            memories=True,
        )


DESIGNS = {
    design.name: design
    for design in (
        Design(
            name="mac_naive",
            summary="INT8 MAC `acc + a * b` at yosys' usual recipe, which fuses it into one cell",
            make=_dense("naive"),
            parameters=DENSE,
            stimulus=dense_stimulus,
            fuse=True,
        ),
        Design(
            name="mac_plain",
            summary="INT8 MAC `acc + a * b`, multiplier and addition mapped one by one",
            make=_dense("naive"),
            parameters=DENSE,
            stimulus=dense_stimulus,
        ),
        Design(
            name="mac",
            summary="INT8 MAC: Booth, one compressor tree with the sum, one carry-propagate add",
            make=_dense("mac"),
            parameters=DENSE,
            stimulus=dense_stimulus,
        ),
        Design(
            name="mac_pipelined",
            timing="result 3 cycles later; one product a cycle",
            summary="as mac, with a register between product and sum",
            make=_dense("mac", pipelined=True),
            parameters=DENSE,
            stimulus=dense_stimulus,
        ),
        Design(
            name="opt1",
            summary="OPT1: the sum stays in carry-save form",
            make=_dense("opt1"),
            parameters=DENSE,
            stimulus=dense_stimulus,
        ),
        Design(
            name="opt1_offset",
            summary="OPT1 with offset partial products instead of sign extension (not published)",
            make=_dense("opt1_offset"),
            parameters=DENSE,
            stimulus=dense_stimulus,
        ),
        Design(
            name="opt2",
            summary="OPT2: the same digit of four operands a step, one shift at the end",
            make=_steps(triples=True),
            parameters={"lanes": 4, **SPARSE},
            stimulus=triple_stimulus,
        ),
        Design(
            name="opt3",
            timing="result 3 cycles later; max(1, non-zero digits) steps a group of four",
            summary="OPT3: one non-zero digit a step, sparse encoder in the element",
            make=Opt3Element,
            parameters=SPARSE,
            stimulus=group_stimulus,
        ),
        Design(
            name="opt4c",
            summary="OPT4C: one non-zero digit a step, sparse encoder shared by the column",
            make=_steps(lanes=1),
            parameters=SPARSE,
            stimulus=step_stimulus,
        ),
        Design(
            name="opt4e",
            summary="OPT4E: four lanes share one compressor and sum",
            make=_steps(lanes=4),
            parameters=SPARSE,
            stimulus=step_stimulus,
        ),
        Design(
            name="opt4c_seg",
            summary="OPT4C with offset rows and a segmented counter (not published)",
            make=_steps(lanes=1, segmented=True),
            parameters=SPARSE,
            stimulus=step_stimulus,
        ),
        Design(
            name="opt4e_seg",
            summary="OPT4E with offset rows and a segmented counter (not published)",
            make=_steps(lanes=4, segmented=True),
            parameters=SPARSE,
            stimulus=step_stimulus,
        ),
        Design(
            name="laconic",
            timing="result 3 cycles later; one pair of terms a lane and cycle",
            summary="Laconic-like: 16 pairs, one pair of power-of-two terms a lane and cycle",
            make=TermPairs,
            parameters={"lanes": 16, **DENSE},
            stimulus=term_stimulus,
        ),
        Design(
            name="column_front",
            timing="first digit 3 cycles later; max(1, non-zero digits) steps a group of four",
            summary="EN-T encoders and sparse encoder of one lane, shared by a column",
            make=ColumnFront,
            parameters={"width": 8},
            stimulus=front_stimulus,
        ),
        Design(
            name="simd_lane",
            summary="SIMD lane: resolves a pair of sums and shifts it into a result",
            make=SimdUnit,
            parameters={"acc_width": default_acc_width(8), "slots": 1},
            stimulus=simd_stimulus,
        ),
        *_arrays(),
        *_column_arrays(),
    )
}
