"""The multipliers and adder tree of a PIM bank: every bit and every cycle as in numpy."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dataflow.dram_timing import PIM_PIPELINE_STEPS
from dataflow.pim_arithmetic import LANES, comp, gemv, read_sums, tree_sum
from rtl.pim.parameters import UnitParameters
from rtl.pim.unit import PimUnit, unit_latency
from tests.cosim.units import Unit
from workloads import InputError

LEVELS = ["amaranth", "icarus"]
KINDS = ("normal", "special", "bits", "cancel")
NAN = 0x7E00
SPECIAL = np.array(
    [0, -0.0, 1, -1, 2**-24, -(2**-24), 2**-14, 65504, -65504, np.inf, -np.inf, np.nan], np.float16
)


def word(values: np.ndarray) -> int:
    return int.from_bytes(values.astype("<f2").tobytes(), "little")


def canonical(values: np.ndarray) -> list[int]:
    """Return fp16 bits; every NaN is the one that the units make."""
    return np.where(np.isnan(values), NAN, values.view(np.uint16)).tolist()


def drive(jobs: list[tuple[np.ndarray, np.ndarray] | str], level: str, directory, variant=""):
    """Offer a COMP, a "read" or a "wait" a cycle; return (cycle, result) of what comes out."""
    unit = Unit(
        make=PimUnit, top="pim_unit", key=f"pim {variant}", level=level, directory=directory
    )
    stimulus = []
    for job in [*jobs, *["wait"] * (PIM_PIPELINE_STEPS + 2)]:
        values = {"multiply": 0, "read": int(isinstance(job, str) and job == "read")}
        if not isinstance(job, str):
            values |= {"multiply": 1, "values": word(job[0]), "vector": word(job[1])}
        stimulus.append(values)
    got = unit.drive(stimulus, ["valid", "result"])
    return [(cycle, int(out["result"])) for cycle, out in enumerate(got) if out["valid"]]


def expected(jobs) -> list[tuple[int, int]]:
    """Return the same from the golden model: a result leaves a pipeline after its read."""
    found, total = [], np.zeros(1, np.float32)
    for cycle, job in enumerate(jobs):
        if isinstance(job, str):
            if job == "read":
                found.append((cycle + PIM_PIPELINE_STEPS, canonical(read_sums(total))[0]))
                total = np.zeros(1, np.float32)
            continue
        total = comp(total, job[0][None], job[1])
    return found


def random_jobs(kind: str, seed: int, count: int):
    """Return sums of one to nine COMP, back to back or with gaps, of ordinary or odd values."""
    rng, chance = np.random.default_rng(seed), random.Random(seed)
    jobs: list = []
    for _ in range(count):
        for _ in range(chance.randrange(1, 10)):
            if kind == "bits":
                pair = rng.integers(1 << 16, size=(2, LANES)).astype(np.uint16).view(np.float16)
            elif kind == "special":
                pair = rng.choice(SPECIAL, (2, LANES), p=[0.3] + [0.1] * 6 + [0.02] * 5)
            elif kind == "cancel":
                pair = cancelling(rng)
            else:
                pair = rng.standard_normal((2, LANES)).astype(np.float16)
            jobs += [(pair[0], pair[1]), *["wait"] * chance.randrange(3)]
        jobs.append("read")
    return jobs


def cancelling(rng: np.random.Generator) -> np.ndarray:
    """Return lanes whose products are 2^24 and more and cancel: the small rest shows the order."""
    large = 2.0 ** rng.integers(10, 14, LANES // 2)
    small = rng.choice([0.5, 1.0, 3.0], LANES // 2)
    half = LANES // 4
    values = np.concatenate([large[:half], -large[:half], small])
    vector = np.concatenate([np.full(2 * half, 2.0**14), np.ones(LANES // 2)])
    order = rng.permutation(LANES)
    return np.stack([values, vector]).astype(np.float16)[:, order]


def check_unit(level: str, directory, variant: str = "") -> None:
    count = 40 if level == "icarus" else 3
    jobs = [job for kind in KINDS for job in random_jobs(kind, 3, count)]
    assert drive(jobs, level, directory, variant) == expected(jobs), "sums differ"


@pytest.mark.parametrize("level", LEVELS)
def test_sums_are_numpy_s_bit_for_bit_and_leave_after_the_pipeline(level, icarus, runs) -> None:
    check_unit(level, runs)


def test_the_pipeline_is_as_deep_as_the_timing_table_says() -> None:
    """One stage for the products, log2(16) for the tree, one for the sum."""
    assert unit_latency(LANES) == 1 + int(np.log2(LANES)) + 1 == PIM_PIPELINE_STEPS


def test_the_order_of_rounding_is_the_tree_s() -> None:
    """2^24 + 1 rounds to 2^24: which additions lose the 1 shows the order."""
    big = np.float32(2**24)
    one, zero = np.float32(1), np.float32(0)
    assert tree_sum(np.array([big, one, one, zero])) == big
    assert tree_sum(np.array([big, zero, one, one])) == big + np.float32(2)


def test_a_gemv_is_the_product_to_the_precision_of_fp16() -> None:
    rng = np.random.default_rng(1)
    rows, vector = rng.standard_normal((8, 128)), rng.standard_normal(128)
    rows16, vector16 = rows.astype(np.float16), vector.astype(np.float16)
    exact = rows16.astype(np.float64) @ vector16.astype(np.float64)
    assert np.abs(gemv(rows16, vector16) - exact).max() <= np.abs(exact).max() * 2**-11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UnitParameters(lanes=12), "lanes must be a power of two from 2 on, not 12"),
        (lambda: gemv(np.ones((2, 8)), np.ones(8)), r"multiple of 16, not \[2, 8\] and \[8\]"),
        (lambda: gemv(np.ones((2, 16)), np.ones(32)), r"not \[2, 16\] and \[32\]"),
    ],
)
def test_what_cannot_be_built_is_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
