"""Figures of the NPU with PIM beside their budgets: `make bench`."""

import itertools
import json
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from simulator.accelerators import neupims
from tests.benchmarks.memory import peak_of
from workloads.llm.requests import warm_batch

LAYER_SECONDS = 50e-3
RUN_SECONDS = 1.0
SWEEP_SECONDS = 120.0
MOST_BYTES = 300e6
STEPPED = {"preset": "published-simulator", "sub_batch": "off"}


def layer(
    batch: int = 256, *, dataset: str = "sharegpt", model: str = "gpt3-7b", **settings
) -> int:
    work = warm_batch(dataset, batch, np.random.default_rng(batch))
    config = neupims.Config(model=model, **settings)
    return int(neupims.simulate(config, neupims.schedule(config, work)).extra["cycles_per_layer"])


def test_a_decoder_layer_at_batch_256_takes_at_most_fifty_milliseconds(benchmark, figure) -> None:
    benchmark.pedantic(layer, rounds=20, warmup_rounds=3)
    median = benchmark.stats.stats.median
    figure("NPU + PIM, a layer, batch 256", median, "s", at_most=LAYER_SECONDS)


def test_the_command_takes_well_under_a_second_of_processor_time(figure) -> None:
    command = [sys.executable, "-m", "simulator.cli", "run", "neupims", "--model", "gpt3-7b"]
    command += ["--tp", "4", "--requests", "sharegpt", "--batch", "256", "--json"]
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert json.loads(done.stdout)["cycles_per_layer"] > 0
    figure("NPU + PIM, the command, batch 256", min(seconds), "CPU s", at_most=RUN_SECONDS)


def points() -> list[tuple[int, int, int, bool, str]]:
    every = itertools.product(
        range(8, 176, 8),
        (32, 64, 128, 256),
        (4, 8),
        (False, True),
        ("npu-only", "npu-pim", "neupims"),
    )
    return list(itertools.islice(every, 1000))


def one_point(point: tuple[int, int, int, bool, str]) -> int:
    batch, channels, banks, refresh, system = point
    return layer(batch, channels=channels, banks_per_group=banks, refresh=refresh, system=system)


def test_a_thousand_points_take_under_two_minutes_on_two_cores(figure) -> None:
    started = time.perf_counter()
    with ProcessPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(one_point, points(), chunksize=50))
    seconds = time.perf_counter() - started
    assert len(found) == 1000
    assert min(found) > 0
    figure("NPU + PIM, a thousand points on two cores", seconds, "s", at_most=SWEEP_SECONDS)


WORKER = """
from tests.benchmarks.test_neupims import one_point, points
assert min(map(one_point, points()[::2])) > 0
"""


def test_a_worker_of_that_sweep_stays_under_300_megabytes(figure) -> None:
    peak = peak_of(WORKER)
    figure("NPU + PIM, memory of a worker of that sweep", peak, "bytes", at_most=MOST_BYTES)


STEPPED_LAYER = """
from tests.benchmarks.test_neupims import STEPPED, layer
layer(**STEPPED)
"""


def test_the_stepped_layer_stays_under_300_megabytes(benchmark, figure) -> None:
    """The published simulator takes 27 CPU seconds and a gigabyte for this batch."""
    benchmark.pedantic(layer, kwargs=STEPPED, rounds=3, warmup_rounds=1)
    peak = peak_of(STEPPED_LAYER)
    figure("NPU + PIM stepped, memory of a layer, batch 256", peak, "bytes", at_most=MOST_BYTES)
