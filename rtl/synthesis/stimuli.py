"""Operands for measuring energy, in the order in which each kind of design takes them.

Operands are drawn from a rounded normal distribution whose standard deviation is 25 / 128 of the
largest magnitude, 25 at INT8; dot products have 256 terms. Sparse designs get the digits of such
operands, EN-T encoded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.bitweight import GROUP
from dataflow.digits import encode, value_range
from rtl.bitweight.cube import Cube
from rtl.bitweight.tree import TreeTile
from rtl.elaboration import pack
from workloads.rounding import ceil_div

TERMS = 256
Stimulus = dict[str, NDArray[Any]]
Made = tuple[Stimulus, float]
"""A stimulus, and the multiply-accumulates that it stands for."""


def normal(rng: np.random.Generator, shape: tuple[int, ...], width: int) -> NDArray[np.int64]:
    """Return rounded normal integers of `width` bits, clipped to their range."""
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
        case Cube():
            return int(array.size**3)
        case TreeTile():
            return int(array.lanes)
    return int(array.rows * array.cols)


def triple_stimulus(element: Any, cycles: int) -> Made:
    """OPT2: the bits of one Booth digit of L neighbouring terms, position after position."""
    rng = np.random.default_rng(1)
    width, lanes = element.width, element.lanes
    steps = TERMS // lanes
    passes = ceil_div(cycles, steps)
    codes, factors = [], []
    for p in range(passes):
        position = width // 2 - 1 - p % (width // 2)
        a, b = normal(rng, (2, steps * lanes), width)
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


def weight_stimulus(array: Any, cycles: int) -> Made:
    """OPT2 arrays: rows and columns as `triple_stimulus`, all of the same digit position."""
    rng = np.random.default_rng(1)
    width, lanes = array.width, array.lanes
    steps = TERMS // lanes
    a_words: list[int] = []
    b_words: list[int] = []
    for p in range(ceil_div(cycles, steps)):
        position = width // 2 - 1 - p % (width // 2)
        a = normal(rng, (steps, array.rows * lanes), width)
        b = normal(rng, (steps, array.cols * lanes), width)
        a_words += [pack(row, 3) for row in (a << 1) >> (2 * position) & 7]
        b_words += [pack(row, width) for row in b]
    stimulus = {
        "a": np.array(a_words[:cycles], object),
        "b": np.array(b_words[:cycles], object),
        "first": np.arange(cycles) % steps == 0,
    }
    return stimulus, cycles * array.rows * array.cols * lanes / (width // 2)


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
    high = 1 << max(unit.acc_width - 2, 0)
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
