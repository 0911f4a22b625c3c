"""NPU with PIM: clocks, commands and throughput of the published simulator, beside ours."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache

import numpy as np

from dataflow.kv_layout import round_robin
from simulator import published
from simulator.accelerators import gpu, neupims
from simulator.report import Report
from workloads.errors import InputError
from workloads.llm import RequestBatch, read_requests
from workloads.llm.requests import warm_batch


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


def _run_of(inputs: dict[str, str]) -> Report:
    """Return the run that a row names; without a `dispatch_limit` it is that of the system."""
    return _run(
        inputs["trace"],
        inputs["system"],
        inputs["sub_batch"],
        inputs["refresh"] == "on",
        inputs.get("dispatch_limit", "auto"),
    )


def reference() -> dict[str, float]:
    """Return clocks of a layer for each run: system, batch of requests, sub-batches, refresh."""
    return {
        row.quantity: float(_run_of(row.inputs).extra["cycles_per_layer"])
        for row in published.read("neupims/reference")
    }


def operators() -> dict[str, float]:
    """Return clocks of a layer, its stages and its operators in every run."""
    return {
        row.quantity: _clocks(row.quantity, row.inputs)
        for row in published.read("neupims/operators")
    }


def _clocks(quantity: str, inputs: dict[str, str]) -> float:
    found, name = _run_of(inputs).extra, quantity.rpartition(": ")[2]
    return float({**found, **found["stages"], **found["operators"]}[name])


def commands() -> dict[str, float]:
    """Return numbers and energies of DRAM commands, and the average power."""
    found = {}
    for row in published.read("neupims/commands"):
        report = _run(row.inputs["trace"], row.inputs["system"], "off", True, "auto")
        name = row.inputs["name"]
        if row.inputs["kind"] == "count":
            found[row.quantity] = float(report.extra["commands"][name])
            continue
        parts = {k.removeprefix("dram "): v for k, v in report.energy_pj.items() if "dram" in k}
        energy_pj = sum(parts.values()) if name == "total" else parts[name]
        if row.inputs["kind"] == "power":
            found[row.quantity] = energy_pj * 1e-12 / report.seconds
        else:
            found[row.quantity] = energy_pj * 1e-6
    return found


def throughput() -> dict[str, float]:
    """Return tokens per second of the serving artefact's batches."""
    return {
        row.quantity: tokens_per_s(row.inputs, row.inputs["sub_batch"])
        for row in published.read("neupims/throughput")
    }


def tokens_per_s(inputs: dict[str, str], sub_batch: str) -> float:
    """Return tokens per second at a row of `neupims/throughput`, sub-batches "on" or "off"."""
    config = neupims.Config(
        preset="published-simulator",
        model=inputs["model"],
        tensor_parallel=int(inputs["tensor_parallel"]),
        pipeline_parallel=int(inputs["pipeline_parallel"]),
        sub_batch=sub_batch,  # type: ignore[arg-type]
    )
    report = neupims.simulate(config, neupims.schedule(config, _batches()[inputs["requests"]]))
    return float(report.extra["tokens_per_s"])


@cache
def _batches() -> dict[str, RequestBatch]:
    """Return the serving artefact's batches by the names of its files, dataset/NAME.tsv."""
    path = published.FOLDER / "neupims" / "throughput.requests.csv"
    names, *rows = csv.reader(path.read_text("utf-8").splitlines())
    return {
        name: RequestBatch(name=name, lengths=tuple(int(length) for length in lengths))
        for name, lengths in zip(names, zip(*rows, strict=True), strict=True)
    }


def claims() -> dict[str, float]:
    """Return what the paper claims, on the preset that follows its text."""
    by_point = {point: _cycles_of_systems(*point) for point in _points()}
    points = [found for found in by_point.values() if found]
    ratio = {pair: _mean_ratio(points, *pair) for pair in _PAIRS}
    seven = [
        found
        for (model, _, _, dataset, _), found in by_point.items()
        if model == "gpt3-7b" and dataset == "sharegpt" and found
    ]
    gain = {n: _sub_batch_gain(n) for n in (64, 128, 256)}
    thirty = {s: _paper_report(s, "gpt3-30b", 4, 2, "sharegpt", 256) for s in _SYSTEMS}
    values = {
        "neupims over npu-only, mean": ratio["npu-only", "neupims"],
        "neupims over npu-pim, mean": ratio["npu-pim", "neupims"],
        "neupims over gpu-only, mean": _mean_over_gpu(),
        "npu-pim over npu-only, mean": ratio["npu-only", "npu-pim"],
        "two row buffers alone over npu-pim, 7B, sharegpt": _mean_ratio(seven, "npu-pim", "dual"),
        **{f"sub-batches, 7B, sharegpt, {n} requests: gain": gain[n] for n in gain},
        "memory energy over npu-only, 7B, sharegpt, 256 requests": _memory_energy(),
    }
    for system, report in thirty.items():
        if report is not None and system != "npu-only":
            for unit in ("npu", "pim"):
                quantity = f"{unit} utilisation, {system}, 30B, sharegpt, 256 requests"
                values[quantity] = float(report.extra[f"{unit}_utilisation"])
    return values


_SYSTEMS = ("npu-only", "npu-pim", "neupims")
_PAIRS = (("npu-only", "neupims"), ("npu-pim", "neupims"), ("npu-only", "npu-pim"))
_MODELS = (("gpt3-7b", 4, 1), ("gpt3-13b", 4, 1), ("gpt3-30b", 4, 2), ("gpt3-175b", 8, 4))
"""The paper's models with their tensor- and pipeline-parallel devices."""


def _points() -> list[tuple[str, int, int, str, int]]:
    return [
        (*model, dataset, batch)
        for model in _MODELS
        for dataset in ("alpaca", "sharegpt")
        for batch in (64, 128, 256, 384, 512)
    ]


def _paper_report(
    system: str,
    model: str,
    tp: int,
    pp: int,
    dataset: str,
    batch: int,
    sub_batch: str = "auto",
    *,
    in_turn: bool = False,
) -> Report | None:
    """Return a run of one pipeline stage with its share of the batch, None if it does not fit.

    `in_turn` places requests on channels in turn, whatever the system does itself.
    """
    config = neupims.Config(
        system=system,  # type: ignore[arg-type]
        model=model,
        tensor_parallel=tp,
        pipeline_parallel=pp,
        sub_batch=sub_batch,  # type: ignore[arg-type]
    )
    requests = _requests(dataset, batch, pp)
    if in_turn:
        turns = round_robin(len(requests.lengths), channels=config.channels)
        requests = replace(requests, channels=tuple(turns))
    try:
        return neupims.simulate(config, neupims.schedule(config, requests))
    except InputError:
        return None


def _requests(dataset: str, batch: int, pp: int) -> RequestBatch:
    """Return the requests of one pipeline stage."""
    return warm_batch(dataset, batch // pp, np.random.default_rng(0))


def _cycles_of_systems(model: str, tp: int, pp: int, dataset: str, batch: int) -> dict[str, float]:
    """Return the clocks of a layer by system.

    `dual` is npu-pim with two row buffers: no sub-batches, requests on channels in turn.
    """
    variants = {"npu-only": "off", "npu-pim": "off", "dual": "off", "neupims": "auto"}
    found = {}
    for name, sub_batch in variants.items():
        system, in_turn = ("neupims", True) if name == "dual" else (name, False)
        report = _paper_report(system, model, tp, pp, dataset, batch, sub_batch, in_turn=in_turn)
        if report is None:
            return {}
        found[name] = float(report.extra["cycles_per_layer"])
    return found


def _mean_ratio(points: list[dict[str, float]], slow: str, fast: str) -> float:
    return float(np.mean([point[slow] / point[fast] for point in points]))


def _mean_over_gpu() -> float:
    """Return the mean time of a layer on as many A100, caches padded as in PyTorch, over ours."""
    ratios = []
    for model, tp, pp, dataset, batch in _points():
        config = gpu.Config(
            device="a100-40gb",
            model=model,
            tensor_parallel=tp,
            pipeline_parallel=pp,
            attention="unfused",
        )
        requests = _requests(dataset, batch, pp)
        report = _paper_report("neupims", model, tp, pp, dataset, batch)
        try:
            other = gpu.simulate(config, gpu.schedule(config, requests))
        except InputError:
            continue
        if report is not None:
            ratios.append(_layer_seconds(other) / _layer_seconds(report))
    return float(np.mean(ratios))


def _layer_seconds(report: Report) -> float:
    return float(report.extra["cycles_per_layer"]) / report.clock_hz


def _sub_batch_gain(batch: int) -> float:
    clocks = []
    for sub_batch in ("off", "on"):
        report = _paper_report("neupims", "gpt3-7b", 4, 1, "sharegpt", batch, sub_batch)
        assert report is not None
        clocks.append(float(report.extra["cycles_per_layer"]))
    return clocks[0] / clocks[1]


def _memory_energy() -> float:
    """Return the DRAM energy of a layer, neupims over npu-only."""
    found = []
    for system in ("neupims", "npu-only"):
        report = _paper_report(system, "gpt3-7b", 4, 1, "sharegpt", 256)
        assert report is not None
        power = sum(v for name, v in report.energy_pj.items() if "dram" in name) / report.cycles
        found.append(power * float(report.extra["cycles_per_layer"]))
    return found[0] / found[1]
