"""Three BDWP steps on the emitted accelerator: weights equal numpy, cycles equal `simulate`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from rtl.sat.parameters import Parameters
from simulator.accelerators import sat
from tests.cosim.sat_model import build
from tests.cosim.sat_update import Sgd
from tests.cosim.simulators import run_cocotb
from tests.cosim.test_products import LARGE, SMALL
from tests.cosim.training import NETWORKS, STEPS, NumpyEngine, initial, train, workload
from workloads import NM

PATTERN = NM(2, 8)


def configuration(parameters: Parameters) -> sat.Config:
    """The simulator's configuration of the same hardware, with memory that never bounds it."""
    return sat.Config(
        rows=parameters.rows,
        cols=parameters.cols,
        interleave=parameters.interleave,
        mul_latency=parameters.mul_latency,
        add_latency=parameters.add_latency,
        selection_lanes=parameters.lanes,
        vector_lanes=parameters.lanes,
        dram_bytes_per_s=1e18,
    )


def scheduled(parameters: Parameters, network: str) -> tuple[sat.Plan, dict[str, str]]:
    """Return the simulator's plan and, serialised, what it decided for each product."""
    step = workload(network, PATTERN)
    plan = sat.schedule(configuration(parameters), step)
    names = [op.name for op in step.matmuls]
    return plan, dict(zip(names, plan.stationarity, strict=True))


def trained_in_numpy(network: str, seed: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    weights, x, target = initial(network, seed)
    engine = NumpyEngine(PATTERN, Sgd(), weights)
    gradients = asyncio.run(train(network, engine, x, target))
    return engine.weights, gradients


def trained_on_hardware(parameters: Parameters, plans: dict[str, dict], runs: Path) -> list[dict]:
    job, answers = runs / "training.json", runs / "trained.json"
    items = [
        {"network": name, "pattern": (PATTERN.n, PATTERN.m), "plan": plan, "seed": 7}
        for name, plan in plans.items()
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
    plans = {name: scheduled(parameters, name) for name in NETWORKS}
    trained = trained_on_hardware(parameters, {k: v[1] for k, v in plans.items()}, runs)
    for (name, (plan, _)), answer in zip(plans.items(), trained, strict=True):
        weights, gradients = trained_in_numpy(name, seed=7)
        assert set(answer["weights"]) == set(weights)
        for layer, weight in weights.items():
            got = np.array(answer["weights"][layer], np.uint32)
            assert np.array_equal(got, weight.view(np.uint32)), f"weights of {layer} of {name}"
        for got, want in zip(answer["gradients"], gradients, strict=True):
            assert np.array_equal(np.array(got, np.uint16), want.view(np.uint16))
        report = sat.simulate(configuration(parameters), plan)
        table = report.frame().set_index("name")["cycles"]
        for operation, cycles in answer["cycles"].items():
            assert cycles == [table[operation]] * STEPS, operation
        total = sum(sum(cycles) for cycles in answer["cycles"].values())
        assert total == STEPS * report.cycles
