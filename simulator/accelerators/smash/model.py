"""Schedule products into windows and items; run the versions asked for; report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dataflow.row_windows import RowWindows, WorkItems, row_windows, work_items
from dataflow.spgemm import Product, Work
from dataflow.traffic import arithmetic_intensity
from simulator.accelerators.smash.config import Config
from simulator.accelerators.smash.run import Outcome, run
from simulator.report import Report
from simulator.run_options import RunOption
from simulator.sparse_products import (
    MATRIX_OPTIONS,
    base_columns,
    counted,
    narrow,
    operands,
    products_of,
    report_compulsory_bytes,
    skipped_note,
    totals,
    workload_from_options,
)
from workloads.matrices.csr import Csr
from workloads.operations import MatMul, Workload
from workloads.rounding import ceil_div

__all__ = [
    "RUN_OPTIONS",
    "Plan",
    "compute",
    "narrow",
    "schedule",
    "simulate",
    "workload_from_options",
]

RUN_OPTIONS = (
    *MATRIX_OPTIONS,
    RunOption(name="--version", help="v1, v2 or v3.", field="version"),
    RunOption(name="--versions", help="A list such as v1,v2,v3.", field="version"),
    RunOption(name="--hash", help="high, low or multiplicative bits.", field="hash_kind"),
)

MANY_PROBES = 4
"""Probes of a product on average from which a report says that its keys crowd together."""

COMPARED_FIRST = ("version", "seconds", "speedup", "cycles", "dram_utilisation", "ipc")
"""What stands first where several versions are held against each other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductPlan:
    """Decisions for one product on one version: windows of rows, and items for the threads."""

    product: MatMul
    work: Work
    version: str
    windows: RowWindows
    items: WorkItems


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Every decision before the first cycle."""

    workload: str
    method: str
    steps: tuple[ProductPlan, ...]
    notes: tuple[str, ...]


def schedule(config: Config, workload: Workload) -> Plan:
    """Group the rows of every product into windows and cut them into items, for each version."""
    products = products_of(workload, config.sampling_seed)
    steps = [
        _plan(config, product, work, version)
        for product, work in zip(products, counted(products), strict=True)
        for version in config.versions
    ]
    return Plan(
        workload=workload.name,
        method=workload.method,
        steps=tuple(steps),
        notes=skipped_note(workload),
    )


def _plan(config: Config, product: MatMul, work: Work, version: str) -> ProductPlan:
    left, right = operands(product)
    windows = row_windows(work.row_products, right.shape[1], config.capacity(version))
    limit = None if version == "v1" else config.token_products
    items = work_items(left, right, windows, limit)
    return ProductPlan(product=product, work=work, version=version, windows=windows, items=items)


def simulate(config: Config, plan: Plan) -> Report:
    """Step the threads through every product of the plan."""
    outcomes = [_run(config, step) for step in plan.steps]
    works = [step.work for step in plan.steps]
    compulsory = [report_compulsory_bytes(step.work, step.product) for step in plan.steps]
    columns = base_columns(
        [step.product for step in plan.steps],
        [f"{step.product.name} [{step.version}]" for step in plan.steps],
    )
    issue = [ceil_div(outcome.instructions, config.pipelines) for outcome in outcomes]
    memory = [ceil_div(outcome.dram_bytes, config.dram_bytes_per_cycle) for outcome in outcomes]
    columns |= {
        "cycles": [outcome.cycles for outcome in outcomes],
        "compute_cycles": issue,
        "memory_cycles": memory,
        "useful_macs": [outcome.products for outcome in outcomes],
        "issued_macs": [outcome.products for outcome in outcomes],
        "dram_bytes": [outcome.dram_bytes for outcome in outcomes],
        "compulsory_bytes": compulsory,
        "bottleneck": [_bottleneck(config, outcome) for outcome in outcomes],
    }
    results = [
        _summary(config, step, outcome) for step, outcome in zip(plan.steps, outcomes, strict=True)
    ]
    first = len(config.versions)
    return Report(
        accelerator="smash",
        config=config,
        workload=plan.workload,
        method=plan.method,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=columns,
        extra=totals(works[::first], compulsory[::first])
        | (_only(results[0]) if len(results) == 1 else _side_by_side(config, results)),
        notes=(*plan.notes, *_several(config), *_clustered(results)),
    )


def _several(config: Config) -> tuple[str, ...]:
    if len(config.versions) == 1:
        return ()
    return (
        f"{', '.join(config.versions)} run one after the other; "
        f"speedup is over {config.versions[0]}.",
    )


def _clustered(results: list[dict[str, Any]]) -> tuple[str, ...]:
    """Say where the keys crowd together in the table, which then says more than the version."""
    crowded = [each for each in results if each["probes_per_product"] > MANY_PROBES]
    if not crowded:
        return ()
    worst = max(crowded, key=lambda each: each["probes_per_product"])
    versions = ", ".join(dict.fromkeys(each["version"] for each in crowded))
    return (
        f"In {versions} a product takes up to {worst['probes_per_product']:.0f} probes on average: "
        "the hash puts keys of this matrix next to each other, and long walks past occupied slots "
        "set the time; --hash multiplicative spreads them.",
    )


def compute(config: Config, matrices: tuple[Csr, Csr]) -> Product:
    """Return the product as the simulated threads leave it, of the last version configured."""
    from workloads.matrices import sparse_product

    plan = schedule(config, sparse_product(*matrices))
    return _run(config, plan.steps[-1]).product


def _run(config: Config, step: ProductPlan) -> Outcome:
    left, right = operands(step.product)
    return run(config, step.version, left, right, step.work, step.windows, step.items)


def _bottleneck(config: Config, outcome: Outcome) -> str:
    """Name what is busiest: instruction issue, DRAM, or neither (latency and waiting)."""
    issue = outcome.instructions / (outcome.cycles * config.pipelines)
    memory = outcome.dram_bytes / (outcome.cycles * config.dram_bytes_per_cycle)
    if max(issue, memory) < 0.7:
        return "latency"
    return "instructions" if issue > memory else "memory"


def _summary(config: Config, step: ProductPlan, outcome: Outcome) -> dict[str, Any]:
    busy = outcome.thread_busy_cycles
    mean = float(busy.mean())
    spread = np.histogram(busy / max(busy.max(), 1), bins=10, range=(0, 1))[0]
    return {
        "version": step.version,
        "cycles": outcome.cycles,
        "dram_bytes": outcome.dram_bytes,
        "phases": outcome.phases,
        "windows": outcome.windows,
        "split_rows": step.windows.split_rows,
        "items": len(step.items),
        "probes_per_product": outcome.probes / max(outcome.products, 1),
        "dram_utilisation": outcome.dram_bytes / (outcome.cycles * config.dram_bytes_per_cycle),
        "ipc": outcome.instructions / outcome.cycles,
        "thread_busy_max_over_mean": float(busy.max()) / mean if mean else 1.0,
        "thread_busy_histogram": spread.tolist(),
        "probe_histogram": outcome.probe_histogram.tolist(),
        "arithmetic_intensity": arithmetic_intensity(step.work, outcome.dram_bytes),
        "bank_wait_cycles": outcome.bank_wait_cycles,
    }


def _only(result: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a single run, whose cycles and bytes the report has already."""
    return {name: value for name, value in result.items() if name not in ("cycles", "dram_bytes")}


def _side_by_side(config: Config, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summaries of several runs; the speed-up is over the first, on the same product."""
    first = [result["cycles"] for result in results[:: len(config.versions)]]
    for index, result in enumerate(results):
        result["seconds"] = result["cycles"] / config.clock_hz
        result["speedup"] = first[index // len(config.versions)] / result["cycles"]
    return {
        "versions": [{name: result[name] for name in COMPARED_FIRST} | result for result in results]
    }
