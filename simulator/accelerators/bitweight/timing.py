"""Cycles, steps and traffic of one product: parts of K, tiles, the slowest column of each.

A reduction longer than the sums can hold is split into parts. Each part leaves the array as one
result per sum (32 bits at INT8); the vector unit adds it to what the parts before left, in fp32 as
mixed-precision training accumulates, or in wider integers: one lane operation an element. Results
between parts stay in the output buffer if they fit a half of it, else they cross the interface.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from simulator.accelerators.bitweight import baselines, columns, encoded, kept, laws, statistical
from simulator.accelerators.bitweight.columns import Steps
from simulator.accelerators.bitweight.config import BIT_SLICE, DENSE, SPARSE, Config
from simulator.accelerators.bitweight.encoded import Known
from simulator.accelerators.bitweight.synthesis import find
from workloads.operand_values import TensorValues
from workloads.operations import MatMul
from workloads.rounding import ceil_div

NO_STEPS = Steps(0, 0, 0, 0)
PSUM_BYTES = 4


class Work(NamedTuple):
    """What one product costs the array, whatever the memory does.

    `steps` are those of its lines, once; every tile of the other operand's `others` lines takes
    them again.
    """

    cycles: int
    steps: Steps
    others: int
    tiles_across: int
    known: Known
    spilled_bytes: int


def product(config: Config, op: MatMul, side: str) -> Work:
    """Return the cost of a product whose `side` is encoded."""
    others = op.n if side == "left" else op.m
    across = ceil_div(others, config.cols)
    found, steps = encoded.UNUSED, NO_STEPS
    if config.engine in DENSE:
        cycles = op.batch * sum(_dense(config, op, k) for k in parts(config, op.k))
    elif config.engine in BIT_SLICE:
        found = encoded.known(config, op, side)._replace(lines=None)
        cycles = _bit_slice(config, op)
    else:
        found, steps = _found(config, op, side)
        ends, tiles = across * steps.tile_ends, across * steps.tiles
        cycles = laws.sparse(ends, tiles, drain=config.drain_cycles)
    joins = len(parts(config, op.k)) - 1
    results = op.batch * op.m * op.n
    held = 2 * PSUM_BYTES * op.m * op.n <= config.out_buffer_bytes
    return Work(
        cycles=cycles + ceil_div(joins * results, config.vector_lanes),
        steps=steps,
        others=others,
        tiles_across=across,
        known=found,
        spilled_bytes=0 if held else 2 * joins * PSUM_BYTES * results,
    )


def parts(config: Config, k: int) -> list[int]:
    """Return the terms of each part of a reduction: one if the sums hold all of it.

    >>> parts(Config(engine="opt4c"), 300_000)
    [131068, 131068, 37864]
    """
    if k <= config.largest_k:
        return [k]
    whole, rest = divmod(k, config.k_part)
    return [config.k_part] * whole + [rest] * (rest > 0)


def _found(config: Config, op: MatMul, side: str) -> tuple[Known, Steps]:
    """Return what is known of the encoded side and its steps, counted once for products alike."""
    operand, lines = (op.left, op.m) if side == "left" else (op.right, op.n)

    def count() -> tuple[Known, Steps]:
        found = encoded.known(config, op, side) if config.reads_digits else encoded.UNUSED
        return found._replace(lines=None), _steps(config, op, lines, found)

    if not config.reads_digits or not isinstance(operand.values, TensorValues):
        return count()
    sizes = (op.batch, op.m, op.k, op.n, op.conv)
    key = (config, op.name, op.kind, op.pass_, *sizes, side, operand.tensor)
    return kept.result(operand.values.read, (*key, operand.values.channel_axis), count)


def _steps(config: Config, op: MatMul, lines: int, found: Known) -> Steps:
    """Return the steps of all lines of the batch, part by part."""
    if config.engine == "opt2":
        each = [columns.constant(config, lines, k) for k in parts(config, op.k)]
        return columns.combined(each).times(op.batch)
    if found.lines is None:
        each = [statistical.expected(config, lines, k, found.classes) for k in parts(config, op.k)]
        return columns.combined(each).times(op.batch)
    steps, start = [], 0
    for k in parts(config, op.k):
        steps += [columns.exact(config, one[:, start : start + k]) for one in found.lines]
        start += k
    return columns.combined(steps)


def _dense(config: Config, op: MatMul, k: int) -> int:
    """Return the array's edges, with the read-out of carry-save sums."""
    edges = laws.dense(
        config.array,
        op.m,
        k,
        op.n,
        rows=config.rows,
        cols=config.cols,
        least=config.drain_cycles if config.carry_save else 1,
        carry_save=config.carry_save,
    )
    return edges + laws.READ_OUT * config.carry_save


def _bit_slice(config: Config, op: MatMul) -> int:
    left, right = (encoded.known(config, op, side).pmf for side in ("left", "right"))
    per_mac = baselines.cycles_per_mac(config.engine, left, right, config.width)
    tiles = ceil_div(op.m, config.rows) * ceil_div(op.n, config.cols) * op.batch
    return math.ceil(tiles * op.k * per_mac)


def energy(config: Config, op: MatMul, work: Work) -> dict[str, float]:
    """Return picojoules of the logic, by what takes them.

    Sparse elements and encoders take their measured energy of a cycle in each step; the others
    theirs of a multiply-accumulate. Every sum that is read out takes an addition.
    """
    elements = op.macs * config.element.energy_per_op_pj
    encoders = sums = 0.0
    results = op.batch * op.m * op.n * len(parts(config, op.k))
    if config.engine in SPARSE:
        elements = work.others * work.steps.total * config.element.energy_per_cycle_pj
    if config.shares_encoders:
        front = find("column_front", config.width)
        steps = work.tiles_across * work.steps.total
        encoders = steps * config.lanes * front.energy_per_cycle_pj
    if config.carry_save:
        passes = 1 if config.engine in DENSE else config.passes
        sums = results * passes * find("simd_lane", config.width).energy_per_op_pj
    return {
        "elements": elements,
        "encoders": encoders,
        "read-out": sums,
        "energy_pj": elements + encoders + sums,
    }
