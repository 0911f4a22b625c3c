"""Builds the accelerator's models and runs jobs on them: products in, values and cycles out."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow import nm
from rtl.sat import host
from rtl.sat.job import Job, read_results, write_product
from rtl.sat.parameters import Parameters
from rtl.sat.top import Sat, Space
from simulator.accelerators.sat import timing
from tests.cosim.simulators import Model, build_icarus, build_verilator, emit, run_cocotb
from workloads import NM
from workloads.rounding import ceil_div

SMALL = Parameters(rows=4, cols=4, n=4, m=16, lanes=16)
LARGE = Parameters(rows=8, cols=8, n=2, m=8, lanes=8)
TINY = Parameters(
    rows=3,
    cols=2,
    n=2,
    m=4,
    lanes=4,
    interleave=2,
    mul_latency=1,
    add_latency=3,
    operand_words=256,
    result_words=256,
    weight_words=16,
    plan_words=2,
)
"""Builds that several tests run; the first two are compiled with Verilator."""

TOP = "sat"
RECORD_WAVES = "SPARSIGHT_RTL_WAVES"
"""Set in the environment: models record waveforms."""


@dataclass(kw_only=True)
class Case(Job):
    """Words to load, instructions to run, addresses to fetch; streams stall at random."""

    name: str
    stall: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hardware said: cycles of the plan, and the fetched words."""

    total: int
    elapsed: int
    words: NDArray[np.uint32]


def build(parameters: Parameters, simulator: str, *, variant: str = "") -> Model:
    """Emit the accelerator and compile it for `simulator`, or take both from the cache.

    `variant` names a change of the sources that is not in the files.
    """
    key = json.dumps(asdict(parameters), sort_keys=True) + variant
    verilog = emit(lambda: Sat(parameters), key=key, top=TOP)
    compile_ = {"icarus": build_icarus, "verilator": build_verilator}[simulator]
    return compile_(verilog, top=TOP, waves=RECORD_WAVES in os.environ)


def run(model: Model, cases: list[Case], directory: Path) -> list[Answer]:
    """Run all cases in one simulation."""
    directory.mkdir(parents=True, exist_ok=True)
    job, answers = directory / "job.json", directory / "answers.json"
    job.write_text(json.dumps([asdict(case) for case in cases]))
    run_cocotb(
        model,
        module="tests.cosim.bench_sat",
        test="run_job",
        environment={"SAT_JOB": str(job), "SAT_ANSWERS": str(answers)},
        directory=directory,
    )
    return [
        Answer(said["total"], said["elapsed"], np.array(said["words"], np.uint32))
        for said in json.loads(answers.read_text())
    ]


def plan_product(
    windows: NDArray[Any],
    packed: nm.Compressed,
    parameters: Parameters,
    *,
    stationarity: str,
    block_rows: int = 0,
    shorter: int = 0,
) -> host.Product:
    """Lay out a product and put the simulator's periods into its instruction."""
    p, groups, _ = windows.shape
    kept = packed.pattern.n
    rows, interleave, latency = parameters.rows, parameters.interleave, parameters.add_latency
    if stationarity == "os":
        product = host.output_stationary(windows, packed, parameters)
        period = timing.os_period(groups * kept, rows, interleave, latency)
        product.instruction["period"] = period - shorter
        return product
    block = block_rows or p
    product = host.weight_stationary(windows, packed, parameters, block_rows=block)
    k_tiles = ceil_div(groups, rows)
    for name, height in (("period", block), ("last_period", product.instruction["last_rows"])):
        period = timing.ws_period(height, k_tiles, kept, rows, interleave, latency)
        product.instruction[name] = period - shorter
    return product


def product_case(
    product: host.Product, parameters: Parameters, *, name: str, stall: float = 0.0, seed: int = 0
) -> Case:
    """Make the case that loads one product at address 0, runs it and fetches its results."""
    case = Case(name=name, stall=stall, seed=seed)
    write_product(case, product, parameters, slot=0)
    case.write(Space.START, 0, 0, 1)
    read_results(case, product)
    return case


def gather(product: host.Product, words: NDArray[np.uint32], dtype: str) -> NDArray[Any]:
    return product.gather(words.reshape(product.row.shape).view(dtype))


def random_operands(
    rng: np.random.Generator, shape: tuple[int, int, int], pattern: NM, dtype: str = "float16"
) -> tuple[NDArray[Any], nm.Compressed]:
    """Return windows and the packed operand of a random (P, K, Q) product."""
    p, k, q = shape
    if dtype == "int8":
        left = rng.integers(-128, 128, (p, k)).astype(np.int8)
        right = rng.integers(-128, 128, (k, q)).astype(np.int8)
    else:
        left = rng.standard_normal((p, k)).astype(np.float16)
        right = rng.standard_normal((k, q)).astype(np.float16)
    return nm.windows(left, pattern), nm.compress(right, pattern)
