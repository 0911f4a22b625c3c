"""Config, merges and cost of Gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataflow.merge_fibers import Merges, merges
from dataflow.spgemm import Work
from dataflow.traffic import CSR12, row_wise_traffic
from simulator import sparse_products
from simulator.report import Report
from workloads.errors import InputError
from workloads.matrices.csr import Csr
from workloads.operations import Workload
from workloads.rounding import ceil_div

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(sparse_products.RivalConfig):
    """Gamma as published."""

    pes: int = 32
    """Processing elements, one merger each (TeAAL's gamma.yaml)."""

    radix: int = 64
    """Fibers that a merger joins (TeAAL's gamma.yaml)."""

    cache_bytes: int = 3 << 20
    """FiberCache (3 MB in the paper, 3 145 728 in TeAAL's gamma.yaml)."""

    clock_hz: float = 1e9
    """Clock in Hz (TeAAL's gamma.yaml)."""

    dram_bytes_per_s: float = 128e9
    """HBM bandwidth in bytes/s (128 GB/s)."""

    merges_ahead: int = 32
    """Merges of rows of B whose fibers are fetched before a PE is free for them. Assumed: one for
    each PE."""

    def __post_init__(self) -> None:
        sparse_products.RivalConfig.__post_init__(self)
        if self.radix < 2:
            raise InputError(f"radix must be at least 2, not {self.radix}")

    @property
    def peak_macs_per_cycle(self) -> int:
        """One multiply per processing element."""
        return self.pes


def schedule(config: Config, workload: Workload) -> sparse_products.Plan:
    """Work out which fibers the cache holds, rows of A in order."""
    return sparse_products.plan(config, workload, _decide)


def _decide(config: Config, left: Csr, right: Csr, work: Work) -> Merges:
    return merges(
        left,
        right,
        radix=config.radix,
        cache_bytes=config.cache_bytes,
        entry_bytes=CSR12.entry_bytes,
    )


def simulate(config: Config, plan: sparse_products.Plan) -> Report:
    """Say what the plan costs."""
    return sparse_products.report("gamma", config, plan, _cost)


def _cost(config: Config, step: sparse_products.Step) -> sparse_products.Cost:
    """Let the merges pass; pointers move before them."""
    from simulator.accelerators.gamma import kernel

    of: Merges = step.decisions
    entry = CSR12.entry_bytes
    traffic = row_wise_traffic(
        step.work,
        step.left.shape[0],
        b_bytes=of.b_bytes + sparse_products.b_pointer_bytes(step.left),
        spilled_entries=int(of.spilled_bytes.sum()) // entry,
    )
    fetched = of.fetched_bytes + entry * of.entries
    stored = of.spilled_bytes + entry * np.where(of.row >= 0, step.work.row_nnz[of.row], 0)
    pointers = traffic.total - int(fetched.sum() + stored.sum())
    per_cycle = config.dram_bytes_per_s / config.clock_hz
    waits = np.bincount(of.parent[of.parent >= 0], minlength=len(of))
    run_merges: Any = kernel.run_merges
    cycles = run_merges(
        of.elements, fetched / per_cycle, stored / per_cycle, of.parent, waits, config.pes,
        config.merges_ahead, pointers / per_cycle,
    )  # fmt: skip
    return sparse_products.Cost(
        traffic=traffic,
        cycles=math.ceil(cycles),
        compute_cycles=ceil_div(int(of.elements.sum()), config.pes),
        phases={"merge": math.ceil(cycles)},
    )
