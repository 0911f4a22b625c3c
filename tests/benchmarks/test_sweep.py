"""Figures of sweeps beside their budgets: `make bench`."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulator.accelerators import sat
from simulator.sweep import Study, progress
from simulator.sweep.evaluate import Task, evaluate
from tests.benchmarks.memory import peak_of
from workloads import networks
from workloads.methods import parse_method

ROOT = Path(__file__).parents[2]
CONFIGURATIONS_A_SECOND = 50_000
CORES = 2
START_SECONDS = 2.0
MILLION_BYTES = 1e9

SPACE = {
    "rows": {"from": 4, "to": 128, "step": 4},
    "cols": {"from": 4, "to": 128, "step": 4},
    "interleave": [1, 2, 4, 8],
    "left_buffer_bytes": {"from": 65536, "to": 4194304, "factor": 2},
    "selection_lanes": [8, 16, 32, 64],
}
"""114,688 designs."""


def study(method: str, **changes) -> Study:
    values = {"networks": ["resnet50"], "batches": [256], "methods": [method], "space": SPACE}
    return Study(**{**values, **changes})


class Rate(progress.Silent):
    """Points a second after the first block, so that starting processes is left out."""

    def __init__(self) -> None:
        self.points = self.first_points = 0
        self.first = self.last = 0.0

    def finished(self, points: int, failures: int) -> None:
        self.last = time.perf_counter()
        self.points += points
        if not self.first:
            self.first, self.first_points = self.last, self.points

    @property
    def rate(self) -> float:
        return (self.points - self.first_points) / (self.last - self.first)


@pytest.mark.parametrize("method", ["dense", "bdwp:2:8"])
def test_resnet50_steps_are_swept_with_a_journal_on_two_cores(
    benchmark, figure, tmp_path, method
) -> None:
    rates = []

    def sweep() -> None:
        made = study(method)
        made.watcher = rate = Rate()
        store = tmp_path / f"{len(rates)}.sqlite"
        with made.open(store) as opened:
            made.run_into(opened, workers=CORES)
            assert opened.counts() == (114_688, 0)
        rates.append(rate.rate)

    benchmark.pedantic(sweep, rounds=3)
    benchmark.extra_info["configurations_per_second"] = round(max(rates))
    what = f"sweep with a journal on two cores, {method}"
    figure(what, max(rates), "designs/s", at_least=CONFIGURATIONS_A_SECOND)


@pytest.mark.parametrize("method", ["dense", "bdwp:2:8"])
def test_a_block_of_configurations_is_quick_on_one_core(benchmark, figure, method) -> None:
    made = study(method)
    rng = np.random.default_rng(0)
    chosen = [
        {"rows": int(rng.integers(4, 129)), "cols": int(rng.integers(4, 129))} for _ in range(4096)
    ]
    fields = {name: np.array([row[name] for row in chosen]) for name in ("rows", "cols")}
    task = Task(
        block=0,
        accelerator="sat",
        cases=made.definition.cases,
        methods=np.array([method] * 4096),
        fields=fields,
    )
    results = benchmark(evaluate, task)
    rate = 4096 / benchmark.stats.stats.median
    what = f"a block of a sweep on one core, {method}"
    figure(what, rate, "designs/s", at_least=CONFIGURATIONS_A_SECOND / CORES)
    work = parse_method(method)(networks.resnet50(batch=256).training_step())
    for place in range(0, 4096, 64):
        config = sat.Config(**chosen[place])
        expected = sat.simulate(config, sat.schedule(config, work)).summary()
        found = {name: values[place, 0] for name, values in results.metrics.items()}
        assert found == {name: expected[name] for name in found}


def test_the_first_point_is_there_soon(benchmark, figure, tmp_path) -> None:
    (tmp_path / "study.toml").write_text(
        'version = 1\nnetworks = ["resnet50"]\nbatches = [256]\nmethods = ["bdwp:2:8"]\n'
    )
    command = [sys.executable, "-m", "simulator.cli", "sweep", str(tmp_path / "study.toml")]

    def first_point() -> None:
        for path in tmp_path.glob("*.sqlite*"):
            path.unlink()
        subprocess.run([*command, "--json"], check=True, capture_output=True, cwd=ROOT)

    benchmark.pedantic(first_point, rounds=5, warmup_rounds=1)
    median = benchmark.stats.stats.median
    figure("first point of a sweep", median, "s", at_most=START_SECONDS)


SWEEP = """
from pathlib import Path
from simulator.sweep import Study, export
study = Study(
    networks=["resnet9"],
    space={{
        "rows": {{"from": 1, "to": 100}},
        "cols": {{"from": 1, "to": 100}},
        "vector_lanes": {{"from": 1, "to": {lanes}}},
    }},
)
with study.open("{store}") as store:
    study.run_into(store, workers=1)
    assert store.counts() == (10_000 * {lanes}, 0)
    front = export.front(store)
    export.write_parquet(store, Path("{store}.parquet"))
"""


def test_a_million_points_take_the_memory_of_a_few_blocks(figure, tmp_path) -> None:
    def peak(lanes: int) -> int:
        return peak_of(SWEEP.format(lanes=lanes, store=tmp_path / f"{lanes}.sqlite"))

    hundred_thousand, million = peak(10), peak(100)
    figure("memory of a sweep of a million points", million, "bytes", at_most=MILLION_BYTES)
    assert million < 1.5 * hundred_thousand
