"""The designs that can be synthesised by name, with operands for measuring their energy.

Energy is given per multiply-accumulate. Its stimulus is INT8 (or the design's width) drawn from a
rounded normal distribution whose standard deviation is 25 / 128 of the range, dot products of 256
terms. Sparse designs get the digits of such operands, EN-T encoded, in the order of the hardware.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.lib import wiring
from numpy.typing import NDArray

from dataflow.digits import encode, value_range
from rtl.bitweight import arrays
from rtl.bitweight.bitslice import TermPairs
from rtl.bitweight.dense import Accumulator, pack
from rtl.bitweight.elements import ColumnFront, Opt3Element
from rtl.bitweight.simd import SimdUnit
from rtl.bitweight.sparse import StepAccumulator, default_acc_width
from workloads.errors import InputError

TERMS = 256
GROUP = 4
Stimulus = dict[str, NDArray[Any]]
Made = tuple[Stimulus, float]
"""A stimulus, and the multiply-accumulates that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A named design: how to make it, its parameters, and its stimulus.

    `fuse` lets yosys fuse additions and multiplications: the naive baseline at its usual recipe.
    """

    name: str
    summary: str
    make: Callable[..., wiring.Component]
    parameters: Mapping[str, int]
    stimulus: Callable[[wiring.Component, int], Made] | None = None
    fuse: bool = False

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
    """Return the design called `name`; raise `InputError` if there is none."""
    if name not in DESIGNS:
        near = difflib.get_close_matches(name, DESIGNS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DESIGNS)}"
        raise InputError(f"no design is called {name!r}; {hint}")
    return DESIGNS[name]


def normal(rng: np.random.Generator, shape: tuple[int, ...], width: int) -> NDArray[np.int64]:
    """Return rounded normal integers of a standard deviation of 25 / 128 of the range."""
    low, high = value_range(width)
    drawn = np.rint(rng.normal(0.0, 25 / 128 * -low, shape))
    return np.clip(drawn, low, high).astype(np.int64)


def dense_stimulus(element: Any, cycles: int) -> Made:
    """One product a cycle."""
    rng = np.random.default_rng(1)
    a, b = normal(rng, (2, cycles), element.width)
    return {"a": a, "b": b, "first": np.arange(cycles) % TERMS == 0}, cycles


def array_stimulus(array: Any, cycles: int) -> Made:
    """A column of A and a row of B a cycle, one dot product after the other."""
    rng = np.random.default_rng(1)
    a = normal(rng, (cycles, len(array.a) // array.width), array.width)
    b = normal(rng, (cycles, len(array.b) // array.width), array.width)
    stimulus: Stimulus = {
        "a": _words(a, array.width),
        "b": _words(b, array.width),
    }
    if hasattr(array, "first"):
        stimulus["first"] = np.arange(cycles) % TERMS == 0
    return stimulus, cycles * _macs_per_cycle(array)


def weights_stimulus(array: Any, cycles: int) -> Made:
    """Weights are loaded once; then a row of A a cycle."""
    stimulus, macs = array_stimulus(array, cycles)
    stimulus["load"] = np.arange(cycles) < array.rows
    return stimulus, macs * (cycles - array.rows) / cycles


def _macs_per_cycle(array: Any) -> int:
    match array:
        case arrays.Cube():
            return int(array.size**3)
        case arrays.Tree():
            return int(array.lanes * array.cols)
        case arrays.TreeTile():
            return int(array.lanes)
    return int(array.rows * array.cols)


def triple_stimulus(element: Any, cycles: int) -> Made:
    """OPT2: the bits of one Booth digit of L neighbouring terms, position after position."""
    rng = np.random.default_rng(1)
    width, lanes = element.width, element.lanes
    steps = TERMS // lanes
    passes = -(-cycles // steps)
    codes, factors = [], []
    for p in range(passes):
        position = width // 2 - 1 - p % (width // 2)
        a, b = normal(rng, (2, TERMS), width)
        triples = (a << 1) >> (2 * position) & 7
        codes += [pack(row, 3) for row in triples.reshape(steps, lanes)]
        factors += [pack(row, width) for row in b.reshape(steps, lanes)]
    first = np.arange(cycles) % steps == 0
    stimulus = {
        "codes": np.array(codes[:cycles], object),
        "b": np.array(factors[:cycles], object),
        "first": first,
    }
    return stimulus, cycles * lanes / (width // 2)


def step_stimulus(element: Any, cycles: int) -> Made:
    """OPT4: each lane walks the non-zero digits of its groups; lanes meet after every position."""
    rng = np.random.default_rng(1)
    codes: list[int] = []
    factors: list[int] = []
    first: list[bool] = []
    macs = 0.0
    while len(codes) < cycles:
        a, b = normal(rng, (2, TERMS), element.width)
        digits = encode(a, "ent", element.width)
        for position in reversed(range(element.width // 2)):
            streams = [
                lane_steps(digits[:, position], b, lane, element.lanes)
                for lane in range(element.lanes)
            ]
            longest = max(map(len, streams))
            padded = [stream + [(0, 0)] * (longest - len(stream)) for stream in streams]
            for i, step in enumerate(zip(*padded, strict=True)):
                codes.append(pack([code for code, _ in step], 3))
                factors.append(pack([factor for _, factor in step], element.width))
                first.append(i == 0)
            macs += TERMS / (element.width // 2)
    share = cycles / len(codes)
    stimulus = {
        "codes": np.array(codes[:cycles], object),
        "b": np.array(factors[:cycles], object),
        "first": np.array(first[:cycles]),
    }
    return stimulus, macs * share


def lane_steps(
    digits: NDArray[np.int8], b: NDArray[np.int64], lane: int, lanes: int
) -> list[tuple[int, int]]:
    """Return (digit code, B) of every step of one lane; an empty group is one step of nothing."""
    steps = []
    for start in range(lane * GROUP, len(b), lanes * GROUP):
        own = range(start, min(start + GROUP, len(b)))
        found = [(digit_code(int(digits[k])), int(b[k])) for k in own if digits[k]]
        steps += found or [(0, int(b[start]))]
    return steps


def digit_code(digit: int) -> int:
    """Return the code (nonzero, two, negative) of a digit as three bits."""
    return (digit != 0) | (abs(digit) == 2) << 1 | (digit < 0) << 2


def group_stimulus(element: Any, cycles: int) -> Made:
    """OPT3: a group of codes and Bs whenever the element has room."""
    rng = np.random.default_rng(1)
    load = np.zeros(cycles, bool)
    first = np.zeros(cycles, bool)
    codes = np.zeros(cycles, object)
    factors = np.zeros(cycles, object)
    groups, now = 0, 0
    per_pass = TERMS // GROUP
    digits, b = np.zeros((TERMS, 1), np.int8), np.zeros(TERMS, np.int64)
    while now < cycles:
        if groups % (per_pass * (element.width // 2)) == 0:
            a, b = normal(rng, (2, TERMS), element.width)
            digits = encode(a, "ent", element.width)
        position = element.width // 2 - 1 - groups // per_pass % (element.width // 2)
        at = groups % per_pass * GROUP
        own = digits[at : at + GROUP, position]
        load[now], first[now] = True, groups % per_pass == 0
        codes[now] = pack([digit_code(int(digit)) for digit in own], 3)
        factors[now] = pack(b[at : at + GROUP], element.width)
        now += max(1, int((own != 0).sum()))
        groups += 1
    macs = groups * GROUP / (element.width // 2) * cycles / now
    return {"codes": codes, "b": factors, "load": load, "first": first}, macs


def front_stimulus(front: Any, cycles: int) -> Made:
    """A column's front end: four operands whenever the last digits are out."""
    rng = np.random.default_rng(1)
    values = np.zeros(cycles, object)
    load = np.zeros(cycles, bool)
    position = np.zeros(cycles, np.int64)
    groups, now = 0, 0
    positions = front.width // 2
    while now < cycles:
        a = normal(rng, (GROUP,), front.width)
        place = groups // (TERMS // GROUP) % positions
        values[now], load[now], position[now] = pack(a, front.width), True, place
        now += max(1, int((encode(a, "ent", front.width)[:, place] != 0).sum()))
        groups += 1
    macs = groups * GROUP / positions * cycles / now
    return {"values": values, "position": position, "load": load}, macs


def term_stimulus(element: Any, cycles: int) -> Made:
    """Laconic: every lane walks the pairs of non-zero Booth digits; all wait for the slowest."""
    rng = np.random.default_rng(1)
    words: list[int] = []
    groups, per_sum = 0, TERMS // element.lanes
    first: list[bool] = []
    while len(words) < cycles:
        a, b = normal(rng, (2, element.lanes), element.width)
        streams = [term_pairs(int(x), int(y), element) for x, y in zip(a, b, strict=True)]
        for step in range(max(1, *map(len, streams))):
            lanes = [stream[step] if step < len(stream) else 0 for stream in streams]
            words.append(pack(lanes, element.lane_bits))
            first.append(step == 0 and groups % per_sum == 0)
        groups += 1
    macs = groups * element.lanes * cycles / len(words)
    return {"terms": np.array(words[:cycles], object), "first": np.array(first[:cycles])}, macs


def term_pairs(a: int, b: int, element: Any) -> list[int]:
    """Return the lane's word for every pair of non-zero digits of a and b."""
    digits = [encode([value], "booth", element.width)[0].tolist() for value in (a, b)]
    terms = [
        [(2 * i + (abs(digit) == 2), digit < 0) for i, digit in enumerate(own) if digit]
        for own in digits
    ]
    return [
        1 | (x_sign != y_sign) << 1 | pack([x, y], element.exponent_bits) << 2
        for x, x_sign in terms[0]
        for y, y_sign in terms[1]
    ]


def simd_stimulus(unit: Any, cycles: int) -> Made:
    """A pair of random sums a cycle; its operations are read-outs, not multiplications."""
    rng = np.random.default_rng(1)
    high = 1 << (unit.acc_width - 2)
    total, carry = rng.integers(0, high, (2, cycles))
    ones = np.ones(cycles, bool)
    return {
        "total": total,
        "carry": carry,
        "correction": np.zeros(cycles, np.int64),
        "slot": np.arange(cycles) % unit.slots,
        "first": np.arange(cycles) // unit.slots % 4 == 0,
        "valid": ones,
    }, cycles


def _words(values: NDArray[np.int64], width: int) -> NDArray[Any]:
    return np.array([pack(row, width) for row in values], object)


def _dense(style: str, **fixed: Any) -> Callable[..., wiring.Component]:
    return lambda **p: Accumulator(style=style, **fixed, **p)


def _steps(**fixed: Any) -> Callable[..., wiring.Component]:
    return lambda **p: StepAccumulator(**fixed, **p)


def _array(kind: type[Any], style: str) -> Callable[..., wiring.Component]:
    return lambda **p: kind(style=style, **p)


DENSE = {"width": 8, "acc_width": 32}
SPARSE = {"width": 8, "acc_width": default_acc_width(8)}
SQUARE = {"rows": 4, "cols": 4, **DENSE}
CUBE = {"size": 3, **DENSE}
TREE = {"lanes": 16, **DENSE}

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
            summary="Laconic-like: 16 pairs, one pair of power-of-two terms a lane and cycle",
            make=TermPairs,
            parameters={"lanes": 16, **DENSE},
            stimulus=term_stimulus,
        ),
        Design(
            name="column_front",
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
        *(
            Design(
                name=f"{name}_{style}",
                summary=f"{text}, elements {style}",
                make=_array(kind, style),
                parameters=parameters,
                stimulus=stimulus,
                fuse=style == "naive",
            )
            for name, text, kind, parameters, stimulus, styles in (
                (
                    "os",
                    "systolic array, output stationary",
                    arrays.OutputStationary,
                    SQUARE,
                    array_stimulus,
                    ("naive", "mac", "opt1", "opt1_offset"),
                ),
                (
                    "ws",
                    "systolic array, weight stationary",
                    arrays.WeightStationary,
                    SQUARE,
                    weights_stimulus,
                    ("naive", "mac", "opt1", "opt1_offset"),
                ),
                (
                    "matrix",
                    "2D matrix with broadcast operands",
                    arrays.Matrix,
                    SQUARE,
                    array_stimulus,
                    ("naive", "mac", "opt1", "opt1_offset"),
                ),
                (
                    "cube",
                    "3D cube",
                    arrays.Cube,
                    CUBE,
                    array_stimulus,
                    ("naive", "mac", "opt1", "opt1_offset"),
                ),
                (
                    "tree",
                    "multiplier-adder tree of 16",
                    arrays.TreeTile,
                    TREE,
                    array_stimulus,
                    ("mac", "opt2"),
                ),
            )
            for style in styles
        ),
    )
}
