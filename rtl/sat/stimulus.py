"""Stimulus of the accelerator: products of both stationarities, a weight update, all results."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow import nm
from rtl.sat import host
from rtl.sat.instructions import encode
from rtl.sat.job import (
    Job,
    read_compact,
    read_results,
    read_state,
    write_product,
    write_settings,
    write_state,
)
from rtl.sat.parameters import Parameters
from rtl.sat.top import Sat, Space
from rtl.stimulus import Stimulus, send, take, together, wait_for
from workloads.patterns import NM
from workloads.rounding import ceil_div

RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4
LANES = 4
"""Lanes with weights to update: memories start with zeros, and Amaranth's simulator takes time."""


def train(component: Sat, rng: random.Random) -> Stimulus:
    """Run a plan of two products, then an update with both selections; fetch every word of them.

    The first product lies at the start of its banks, the rest at their end.
    """
    parameters, numbers = component.parameters, np.random.default_rng(rng.getrandbits(32))
    for job in (_products(parameters, numbers), _update(parameters, numbers)):
        yield from send("load", job.load, rng)
        yield from wait_for("idle")
        yield from together(send("fetch", job.fetch, rng), take("result", len(job.fetch), rng))


def _products(p: Parameters, rng: np.random.Generator) -> Job:
    """Return two products that tile the array with remainders, one of each stationarity.

    In the second one row begins with infinities, which every sum of this row takes to every PE.
    Their periods are longer than the shortest ones, which the simulator knows.
    """
    pattern, job = NM(p.n, p.m), Job()
    height, groups, width = p.rows + 1, p.rows + 1, p.cols + 1
    left, right = (_operand(rng, shape, p) for shape in ((height, p.m), (p.m, width)))
    first = host.output_stationary(nm.windows(left, pattern), nm.compress(right, pattern), p)
    first.instruction["period"] = p.n * p.slots + p.rows * (p.interleave + 1) + p.interleave
    shapes = ((height, groups * p.m), (groups * p.m, width))
    left, right = (_operand(rng, shape, p) for shape in shapes)
    if p.data_type == "fp16":
        left[0, : p.m] = np.inf
    windows, packed = nm.windows(left, pattern), nm.compress(right, pattern)
    block = ceil_div(height, 2)
    second = host.weight_stationary(windows, packed, p, block_rows=block)
    streamed = ceil_div(block, p.interleave) * p.n * p.slots
    period = streamed + p.rows * (p.longest_hop + p.n) + 1
    second.instruction.update(period=period, last_period=period)
    bases = {
        "west_base": p.operand_words - second.west.shape[1],
        "north_base": p.operand_words - second.north_values.shape[1],
        "result_base": p.result_words - second.row.shape[1],
    }
    write_product(job, first, p, slot=0)
    write_product(job, second, p, slot=1, bases=bases)
    job.write(Space.START, 0, 0, 2)
    read_results(job, first)
    read_results(job, second, bases["result_base"])
    for slot in range(2):
        job.read(Space.COUNTER, 0, slot)
    return job


def _update(p: Parameters, rng: np.random.Generator) -> Job:
    """Return an update, with decay, of a group of weights in a few lanes; the others hold zeros."""
    shape, job = (p.m, min(p.lanes, LANES)), Job()
    update = host.Update(shape=shape, pattern=NM(p.n, p.m), parameters=p)
    bases = {
        "weight_base": p.weight_words - update.rows * update.blocks,
        "forward_base": p.weight_words - update.forward_words,
        "backward_base": p.weight_words - update.backward_words,
    }
    for space in (Space.WEIGHT, Space.MOMENTUM, Space.GRADIENT):
        matrix = rng.standard_normal(shape).astype(np.float32)
        write_state(job, space, update, matrix, bases["weight_base"], lanes=shape[1])
    write_settings(job, rate=RATE, momentum=MOMENTUM, decay=DECAY)
    job.write(Space.PLAN, 0, 0, encode({**update.instruction, **bases}, p))
    job.write(Space.START, 0, 0, 1)
    job.write(Space.START, 0, 0, 0)  # a second start waits for the end of the first plan
    for space in (Space.WEIGHT, Space.MOMENTUM):
        read_state(job, space, update, bases["weight_base"], lanes=shape[1])
    read_compact(job, update, bases["forward_base"], bases["backward_base"])
    return job


def _operand(rng: np.random.Generator, shape: tuple[int, int], p: Parameters) -> NDArray[Any]:
    if p.data_type == "int8":
        return rng.integers(-128, 128, shape).astype(np.int8)
    return rng.standard_normal(shape).astype(np.float16)
