"""Products on the emitted accelerator: bits equal numpy, cycles equal the stepped array."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from dataflow import nm
from rtl.sat import host
from rtl.sat.controller import OVERHEAD_CYCLES
from rtl.sat.parameters import Parameters
from simulator.accelerators.sat import stepped
from tests.closing import COVERED
from tests.cosim.sat_model import (
    LARGE,
    SMALL,
    Answer,
    build,
    gather,
    plan_product,
    product_case,
    random_operands,
    run,
)
from workloads import NM

PATTERNS = [NM(1, 1), NM(1, 4), NM(2, 4), NM(2, 8), NM(4, 8), NM(2, 16)]
STALLS = {"flowing": 0.0, "stalled": 0.3}
REMAINDERS = ("exact", "p", "k", "q", "all")

SHORT_ADDER = Parameters(
    rows=2, cols=3, n=2, m=4, lanes=4, interleave=3, mul_latency=0, add_latency=2
)
LONG_ADDER = Parameters(
    rows=3, cols=2, n=2, m=4, lanes=4, interleave=2, mul_latency=1, add_latency=5
)


@dataclass(frozen=True, slots=True)
class Point:
    """A product to run, and the cover point it belongs to."""

    shape: tuple[int, int, int]
    pattern: NM
    stationarity: str
    remainder: str
    stall: str
    block_rows: int
    seed: int

    @property
    def cover(self) -> tuple[str, str, str, str]:
        return (str(self.pattern), self.stationarity, self.remainder, self.stall)


def points(parameters: Parameters, seed: int) -> list[Point]:
    """One random product for every cover point that the build can run."""
    rng = np.random.default_rng(seed)
    chosen = []
    able = [x for x in PATTERNS if x.n <= parameters.n and x.m <= parameters.m]
    for pattern, held, remainder, stall in itertools.product(
        able, ("os", "ws"), REMAINDERS, STALLS
    ):
        shape = random_shape(rng, parameters, pattern, remainder)
        block = int(rng.integers(1, shape[0] + 1))
        chosen.append(
            Point(shape, pattern, held, remainder, stall, block, int(rng.integers(2**32)))
        )
    return chosen


def random_shape(
    rng: np.random.Generator, parameters: Parameters, pattern: NM, remainder: str
) -> tuple[int, int, int]:
    """Return (P, K, Q) that tile the array exactly but for what `remainder` names."""
    units = (parameters.rows, pattern.m * parameters.rows, parameters.cols)
    counts = rng.integers(1, (4, 3, 4))
    shape = []
    for axis, unit, count in zip("pkq", units, counts.tolist(), strict=True):
        size = unit * count
        if remainder in (axis, "all") and unit > 1:
            size -= int(rng.integers(1, unit))
        shape.append(size)
    return shape[0], shape[1], shape[2]


def stepped_product(
    windows: np.ndarray, packed: nm.Compressed, point: Point, product: host.Product, p: Parameters
) -> stepped.Stepped:
    """What the simulator's cycle model says of the same product."""
    array = {
        "rows": p.rows,
        "cols": p.cols,
        "interleave": p.interleave,
        "mul_latency": p.mul_latency,
        "add_latency": p.add_latency,
        "period": product.instruction["period"],
    }
    if point.stationarity == "os":
        return stepped.output_stationary(windows, packed, **array)
    return stepped.weight_stationary(
        windows,
        packed,
        **array,
        block_rows=point.block_rows,
        short_period=product.instruction["last_period"],
    )


def naive(windows: np.ndarray, packed: nm.Compressed) -> np.ndarray:
    """Add exact products one after the other in ascending order of k, starting from zero."""
    out = np.zeros((windows.shape[0], packed.values.shape[2]), np.float32)
    for g, j in itertools.product(range(packed.values.shape[0]), range(packed.pattern.n)):
        chosen = windows[:, g, :].astype(np.float32)[:, packed.indices[g, j]]
        out = out + chosen * packed.values[g, j].astype(np.float32)
    return out


def wide_range(rng: np.random.Generator, shape: tuple[int, int, int], pattern: NM):
    """Operands over all of fp16's exponents, subnormals and zeros included."""
    p, k, q = shape
    scales = [2.0 ** rng.integers(-24, 4, size) for size in ((p, k), (k, q))]
    left, right = (
        (rng.standard_normal(scale.shape) * scale * (rng.random(scale.shape) < 0.9)).astype(
            np.float16
        )
        for scale in scales
    )
    return nm.windows(left, pattern), nm.compress(right, pattern)


def laid_out(point: Point, parameters: Parameters, make=random_operands):
    """Return the windows, the packed operand and the product of a point."""
    windows, packed = make(np.random.default_rng(point.seed), point.shape, point.pattern)
    product = plan_product(
        windows,
        packed,
        parameters,
        stationarity=point.stationarity,
        block_rows=point.block_rows,
    )
    return windows, packed, product


def compare(
    parameters: Parameters, simulator: str, chosen: list[Point], runs, *, variant: str = ""
) -> list[str]:
    """Run all points; return a line for each that differs at any of the three levels."""
    model = build(parameters, simulator, variant=variant)
    work = [
        (point, *laid_out(point, parameters, wide_range if number % 2 else random_operands))
        for number, point in enumerate(chosen)
    ]
    cases = [
        product_case(
            product, parameters, name=str(point), stall=STALLS[point.stall], seed=point.seed
        )
        for point, _, _, product in work
    ]
    answers = run(model, cases, runs)
    return [
        line
        for (point, windows, packed, product), answer in zip(work, answers, strict=True)
        for line in differences(parameters, point, windows, packed, product, answer)
    ]


def differences(
    parameters: Parameters, point: Point, windows, packed, product: host.Product, answer: Answer
) -> list[str]:
    want = stepped_product(windows, packed, point, product, parameters)
    assert np.array_equal(want.values, naive(windows, packed))
    got = gather(product, answer.words, "<f4")
    lines = []
    if not np.array_equal(got.view(np.uint32), want.values.view(np.uint32)):
        lines.append(f"values of {point} differ")
    if answer.total != want.cycles:
        lines.append(f"{point} took {answer.total} cycles, not {want.cycles}")
    if answer.elapsed != answer.total + OVERHEAD_CYCLES:
        lines.append(f"{point} took {answer.elapsed} cycles with its overhead")
    return lines


@pytest.mark.parametrize("parameters", [SMALL, LARGE], ids=["4x4", "8x8"])
def test_products_on_verilator_equal_numpy_and_the_cycle_model(
    parameters: Parameters, verilator, runs, request
) -> None:
    chosen = points(parameters, seed=parameters.rows)
    wrong = compare(parameters, "verilator", chosen, runs)
    request.node.user_properties.append((COVERED, coverage(chosen, parameters)))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("parameters", [SHORT_ADDER, LONG_ADDER], ids=["2x3", "3x2"])
def test_products_on_icarus_with_other_latencies_equal_numpy_and_the_cycle_model(
    parameters: Parameters, icarus, runs
) -> None:
    chosen = points(parameters, seed=3)[::3]
    wrong = compare(parameters, "icarus", chosen, runs)
    assert not wrong, "\n".join(wrong)


def coverage(chosen: list[Point], parameters: Parameters) -> str:
    """Say how many points of pattern x stationarity x remainder x stalls were hit; name holes."""
    every = set(itertools.product(map(str, PATTERNS), ("os", "ws"), REMAINDERS, STALLS))
    hit = {point.cover for point in chosen}
    holes = sorted(every - hit)
    size = f"{parameters.rows}x{parameters.cols}"
    text = f"{size} array hit {len(hit)} of {len(every)} points"
    missing = sorted({hole[0] for hole in holes})
    return f"{text}; holes: all of {', '.join(missing)}" if holes else f"{text}; no holes"
