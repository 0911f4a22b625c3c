"""Whole schedules in one start, int8 arrays, and a period that is one cycle too short."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np

from dataflow import nm
from rtl.sat.controller import OVERHEAD_CYCLES
from rtl.sat.job import read_results, write_product
from rtl.sat.parameters import Parameters
from rtl.sat.top import Space
from tests.cosim.sat_model import (
    SMALL,
    TINY,
    Case,
    build,
    gather,
    plan_product,
    product_case,
    random_operands,
    run,
)
from tests.cosim.test_products import Point, laid_out, naive, stepped_product
from workloads import NM

INTEGERS = replace(TINY, data_type="int8", rows=2, cols=3)


def schedule(parameters: Parameters, points: list[Point]):
    """Lay out all products behind each other in the banks; return the case and what it computes."""
    case, free = Case(name="schedule"), {"west_base": 0, "north_base": 0, "result_base": 0}
    work = []
    for slot, point in enumerate(points):
        windows, packed, product = laid_out(point, parameters)
        bases = dict(free)
        write_product(case, product, parameters, slot=slot, bases=bases)
        free["west_base"] += product.west.shape[1]
        free["north_base"] += product.north_values.shape[1]
        free["result_base"] += product.row.shape[1]
        work.append((point, windows, packed, product, bases["result_base"]))
    case.write(Space.START, 0, 0, len(points))
    for *_, product, base in work:
        read_results(case, product, base)
    for slot in range(len(points)):
        case.read(Space.COUNTER, 0, slot)
    return case, work


def test_a_schedule_of_products_takes_the_sum_of_their_cycles(verilator, runs) -> None:
    points = [
        Point((9, 21, 7), NM(2, 8), "os", "all", "flowing", 9, 0),
        Point((6, 40, 5), NM(2, 4), "ws", "all", "flowing", 4, 1),
        Point((5, 12, 9), NM(1, 1), "os", "all", "flowing", 5, 2),
        Point((8, 64, 8), NM(4, 8), "ws", "exact", "flowing", 8, 3),
        Point((3, 9, 4), NM(1, 1), "ws", "all", "flowing", 2, 4),
    ]
    case, work = schedule(SMALL, points)
    (answer,) = run(build(SMALL, "verilator"), [case], runs)
    words, counters = answer.words[: -len(points)], answer.words[-len(points) :]
    cycles = []
    for point, windows, packed, product, _ in work:
        want = stepped_product(windows, packed, point, product, SMALL)
        got = gather(product, words[: product.row.size], "<f4")
        words = words[product.row.size :]
        assert np.array_equal(got, want.values)
        cycles.append(want.cycles)
    assert counters.tolist() == cycles
    assert answer.total == sum(cycles)
    assert answer.elapsed == sum(cycles) + OVERHEAD_CYCLES * len(points)


def integer_product(windows: np.ndarray, packed: nm.Compressed) -> np.ndarray:
    out = np.zeros((windows.shape[0], packed.values.shape[2]), np.int32)
    for g, j in itertools.product(range(packed.values.shape[0]), range(packed.pattern.n)):
        out += windows[:, g, :].astype(np.int32)[:, packed.indices[g, j]] * packed.values[g, j]
    return out


def test_an_int8_array_adds_in_int32_in_the_same_cycles(icarus, runs) -> None:
    points = [
        Point(shape, pattern, held, "all", "flowing", 3, seed)
        for seed, (shape, pattern, held) in enumerate(
            itertools.product([(5, 30, 7), (4, 8, 3)], [NM(1, 1), NM(2, 4)], ["os", "ws"])
        )
    ]
    cases, work = [], []
    for point in points:
        windows, packed, product = laid_out(point, INTEGERS, partial(random_operands, dtype="int8"))
        cases.append(product_case(product, INTEGERS, name=str(point)))
        work.append((point, windows, packed, product))
    answers = run(build(INTEGERS, "icarus"), cases, runs)
    for (point, windows, packed, product), answer in zip(work, answers, strict=True):
        want = stepped_product(windows, packed, point, product, INTEGERS)
        got = gather(product, answer.words, "<i4")
        assert np.array_equal(got, integer_product(windows, packed)), point
        assert answer.total == want.cycles, point


def test_one_cycle_less_between_weight_tiles_gives_wrong_values(icarus, runs) -> None:
    """The simulator's period is the shortest that the hardware bears: sums are not yet written."""
    windows, packed = random_operands(np.random.default_rng(1), (3, 60, 6), NM(2, 4))
    product = plan_product(windows, packed, TINY, stationarity="ws", shorter=1)
    (answer,) = run(build(TINY, "icarus"), [product_case(product, TINY, name="early")], runs)
    assert not np.array_equal(gather(product, answer.words, "<f4"), naive(windows, packed))
