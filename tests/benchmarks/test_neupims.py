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
from workloads.llm.requests import warm_batch

LAYER_SECONDS = 50e-3
RUN_SECONDS = 1.0
SWEEP_SECONDS = 120.0
MOST_BYTES = 300e6


def layer(
    batch: int = 256, *, dataset: str = "sharegpt", model: str = "gpt3-7b", **settings
) -> int:
    work = warm_batch(dataset, batch, np.random.default_rng(batch))
    config = neupims.Config(model=model, **settings)
    return int(neupims.simulate(config, neupims.schedule(config, work)).extra["cycles_per_layer"])


def test_a_decoder_layer_at_batch_256_takes_at_most_fifty_milliseconds(benchmark) -> None:
    benchmark.pedantic(layer, rounds=20, warmup_rounds=3)
    assert benchmark.stats.stats.median < LAYER_SECONDS


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


def one_point(point: tuple[int, int, int, bool, str]) -> int:
    batch, channels, banks, refresh, system = point
    return layer(batch, channels=channels, banks_per_group=banks, refresh=refresh, system=system)


def test_a_thousand_points_take_under_two_minutes_on_two_cores() -> None:
    points = itertools.product(
        range(8, 176, 8),
        (32, 64, 128, 256),
        (4, 8),
        (False, True),
        ("npu-only", "npu-pim", "neupims"),
    )
    chosen = list(itertools.islice(points, 1000))
    started = time.perf_counter()
    with ProcessPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(one_point, chosen, chunksize=50))
    assert len(found) == 1000
    assert min(found) > 0
    assert time.perf_counter() - started < SWEEP_SECONDS
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MOST_BYTES


def test_the_stepped_layer_stays_under_300_megabytes(benchmark) -> None:
    """The published simulator takes 27 CPU seconds and a gigabyte for this batch."""
    settings = {"preset": "published-simulator", "sub_batch": "off"}
    benchmark.pedantic(layer, kwargs=settings, rounds=3, warmup_rounds=1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 2 * MOST_BYTES
