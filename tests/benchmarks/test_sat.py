"""Figures of the main job beside their budgets: `make bench`."""

import json
import subprocess
import sys

import pytest

from simulator.accelerators import sat
from tests.benchmarks.memory import peak_of
from workloads import networks
from workloads.methods import bdwp, dense

BUDGET_SECONDS = 1e-3
START_SECONDS = 0.3
RUN_SECONDS = 2.0
RUN_BYTES = 300e6


@pytest.mark.parametrize("method", [dense(), bdwp(2, 8)], ids=["dense", "bdwp"])
def test_resnet50_step_takes_at_most_a_millisecond_a_configuration(
    benchmark, figure, method
) -> None:
    work = networks.resnet50(batch=256).training_step(method)
    configs = iter([sat.Config(rows=8 + i % 57, cols=8 + i // 57) for i in range(3000)])

    def one_configuration() -> int:
        config = next(configs)
        return sat.simulate(config, sat.schedule(config, work)).cycles

    benchmark.pedantic(one_configuration, rounds=1000, warmup_rounds=10)
    median = benchmark.stats.stats.median
    figure(f"sat: ResNet-50 step, {method.name}", median, "s", at_most=BUDGET_SECONDS)


def test_importing_the_simulator_is_quick(benchmark, figure) -> None:
    command = [sys.executable, "-c", "import simulator"]
    benchmark.pedantic(subprocess.run, args=(command,), kwargs={"check": True}, rounds=5)
    figure("import simulator", benchmark.stats.stats.median, "s", at_most=START_SECONDS)


RUN = ["run", "sat", "--trace", "digits-resnet", "--method", "bdwp:2:8", "--json"]


def test_run_on_a_shipped_trace_is_quick(benchmark, figure) -> None:
    command = [sys.executable, "-m", "simulator.cli", *RUN]

    def run() -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    answer = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    assert json.loads(answer)["cycles"] > 0
    median = benchmark.stats.stats.median
    figure("sparsight run on a shipped trace", median, "s", at_most=RUN_SECONDS)


def test_run_on_a_shipped_trace_is_small(figure) -> None:
    code = f"from simulator.cli import main; assert not main({RUN})"
    peak_bytes = min(peak_of(code) for _ in range(2))  # the first may have kernels to compile
    figure("sparsight run on a shipped trace, memory", peak_bytes, "bytes", at_most=RUN_BYTES)
