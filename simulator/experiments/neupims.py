"""NPU with PIM: clocks, commands and throughput of the published simulator, beside ours."""

from __future__ import annotations

from functools import cache

import numpy as np

from simulator import published
from simulator.accelerators import neupims
from simulator.report import Report
from workloads.llm import RequestBatch, read_requests
from workloads.llm.requests import warm_batch

BATCH = 256


@cache
def _trace(name: str) -> RequestBatch:
    return read_requests(published.FOLDER / "neupims" / f"{name}.csv")


@cache
def _run(trace: str, system: str, sub_batch: str, refresh: bool, dispatch_limit: str) -> Report:
    config = neupims.Config(
        preset="published-simulator",
        system=system,  # type: ignore[arg-type]
        sub_batch=sub_batch,  # type: ignore[arg-type]
        refresh=refresh,
        dispatch_limit=dispatch_limit,  # type: ignore[arg-type]
    )
    return neupims.simulate(config, neupims.schedule(config, _trace(trace)))


def reference() -> dict[str, float]:
    """Return clocks of a layer for each run: system, batch of requests, sub-batches, refresh."""
    return {row.quantity: _layer(row.inputs) for row in published.read("neupims/reference")}


def _layer(inputs: dict[str, str]) -> float:
    report = _run(
        inputs["trace"], inputs["system"], inputs["sub_batch"], inputs["refresh"] == "on", "auto"
    )
    return float(report.extra["cycles_per_layer"])


def operators() -> dict[str, float]:
    """Return clocks of a layer, its stages and its operators in every run."""
    return {row.quantity: _clocks(row.quantity, row.inputs) for row in published.read(_OPERATORS)}


_OPERATORS = "neupims/operators"


def _clocks(quantity: str, inputs: dict[str, str]) -> float:
    report = _run(
        inputs["trace"],
        inputs["system"],
        inputs["sub_batch"],
        inputs["refresh"] == "on",
        inputs["dispatch_limit"],
    )
    name = quantity.rpartition(": ")[2]
    if name == "cycles_per_layer":
        return float(report.extra["cycles_per_layer"])
    return float({**report.extra["stages"], **report.extra["operators"]}[name])


def commands() -> dict[str, float]:
    """Return numbers and energies of DRAM commands."""
    found = {}
    for row in published.read("neupims/commands"):
        report = _run(row.inputs["trace"], row.inputs["system"], "off", True, "auto")
        name = row.inputs["name"]
        if row.inputs["kind"] == "count":
            found[row.quantity] = float(report.extra["commands"][name])
            continue
        parts = {k.removeprefix("dram "): v for k, v in report.energy_pj.items() if "dram" in k}
        found[row.quantity] = (sum(parts.values()) if name == "total" else parts[name]) * 1e-6
    return found


def throughput() -> dict[str, float]:
    """Return tokens per second of batches like those of the serving artefact."""
    batch = warm_batch("alpaca", BATCH, np.random.default_rng(0))
    found = {}
    for row in published.read("neupims/throughput"):
        config = neupims.Config(
            preset="published-simulator",
            model=row.inputs["model"],
            tensor_parallel=int(row.inputs["tensor_parallel"]),
            pipeline_parallel=int(row.inputs["pipeline_parallel"]),
            sub_batch="on",
        )
        report = neupims.simulate(config, neupims.schedule(config, batch))
        found[row.quantity] = float(report.extra["tokens_per_s"])
    return found
