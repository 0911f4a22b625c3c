"""Three BDWP steps on the emitted accelerator: weights equal numpy, cycles equal `simulate`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rtl.sat.parameters import Parameters
from simulator.accelerators import sat
from tests import naive
from tests.cosim.sat_model import LARGE, SMALL, build
from tests.cosim.sat_update import Sgd
from tests.cosim.simulators import run_cocotb
from tests.cosim.training import (
    NETWORKS,
    STEPS,
    NumpyEngine,
    initial,
    train,
    transposed,
    windows_of,
    workload,
)
from workloads import NM

PATTERN = NM(2, 8)


def configuration(parameters: Parameters, stationarity: str) -> sat.Config:
    """The simulator's configuration of the same hardware, with memory that never bounds it."""
    return sat.Config(
        rows=parameters.rows,
        cols=parameters.cols,
        interleave=parameters.interleave,
        mul_latency=parameters.mul_latency,
        add_latency=parameters.add_latency,
        selection_lanes=parameters.lanes,
        vector_lanes=parameters.lanes,
        stationarity=stationarity,
        dram_bytes_per_s=1e18,
    )


def scheduled(
    parameters: Parameters, network: str, stationarity: str
) -> tuple[sat.Plan, dict[str, str]]:
    """Return the simulator's plan and, serialised, what it decided for each product."""
    step = workload(network, PATTERN)
    plan = sat.schedule(configuration(parameters, stationarity), step)
    names = [op.name for op in step.matmuls]
    return plan, dict(zip(names, plan.stationarity, strict=True))


@cache
def trained_in_numpy(network: str, seed: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    weights, x, target = initial(network, seed)
    engine = NumpyEngine(PATTERN, Sgd(), weights)
    gradients = asyncio.run(train(network, engine, x, target))
    return engine.weights, gradients


def trained_on_hardware(
    parameters: Parameters, plans: list[tuple[str, dict[str, str]]], runs: Path
) -> list[dict]:
    job, answers = runs / "training.json", runs / "trained.json"
    items = [
        {"network": name, "pattern": (PATTERN.n, PATTERN.m), "plan": plan, "seed": 7}
        for name, plan in plans
    ]
    job.write_text(json.dumps({"parameters": asdict(parameters), "runs": items}))
    run_cocotb(
        build(parameters, "verilator"),
        module="tests.cosim.bench_training",
        test="run_training",
        environment={"SAT_JOB": str(job), "SAT_ANSWERS": str(answers)},
        directory=runs,
    )
    return json.loads(answers.read_text())


@pytest.mark.parametrize("parameters", [SMALL, LARGE], ids=["4x4", "8x8"])
def test_three_bdwp_steps_equal_numpy_and_simulate(parameters, verilator, runs) -> None:
    choices = [(name, held) for name in NETWORKS for held in ("auto", "ws")]
    plans = [scheduled(parameters, name, held) for name, held in choices]
    serialised = [(name, plan[1]) for (name, _), plan in zip(choices, plans, strict=True)]
    trained = trained_on_hardware(parameters, serialised, runs)
    for (name, held), (plan, _), answer in zip(choices, plans, trained, strict=True):
        assert_equals_numpy(name, answer)
        report = sat.simulate(configuration(parameters, held), plan)
        table = report.frame().set_index("name")["cycles"]
        for operation, cycles in answer["cycles"].items():
            assert cycles == [table[operation]] * STEPS, operation
        total = sum(sum(cycles) for cycles in answer["cycles"].values())
        assert total == STEPS * report.cycles


def assert_equals_numpy(name: str, answer: dict) -> None:
    weights, gradients = trained_in_numpy(name, seed=7)
    assert set(answer["weights"]) == set(weights)
    for layer, weight in weights.items():
        got = np.array(answer["weights"][layer], np.uint32)
        assert np.array_equal(got, weight.view(np.uint32)), f"weights of {layer} of {name}"
    for got, want in zip(answer["gradients"], gradients, strict=True):
        assert np.array_equal(np.array(got, np.uint16), want.view(np.uint16))


def test_the_glue_around_the_products_is_the_convolution() -> None:
    network = NETWORKS["convolution"]
    conv = network.network().layers[0].geometry(network.batch)
    rng = np.random.default_rng(2)
    (layer,) = network.layers
    weight = rng.integers(-3, 4, layer.matrix).astype(np.float32)
    x = rng.integers(-3, 4, (2, 4, 4, 8)).astype(np.float16)
    dy = rng.integers(-3, 4, (2, 4, 4, 16)).astype(np.float16)
    kernel = weight.reshape(3, 3, 8, 16).transpose(3, 2, 0, 1)
    forward = windows_of(x, shift=-1).astype(np.float32) @ weight
    backward = windows_of(dy, shift=1).astype(np.float32) @ transposed(weight, layer)
    assert np.array_equal(forward.reshape(dy.shape), naive.conv_forward(x, kernel, conv))
    assert np.array_equal(backward.reshape(x.shape), naive.conv_backward_data(dy, kernel, conv))
