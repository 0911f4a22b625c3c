"""OuterSPACE: outer products written out, then merged row by row.

*Source*: "OuterSPACE: An Outer Product Based Sparse Matrix Multiplication Accelerator", HPCA 2018
(abstract); units as in TeAAL's description of it (MICRO 2023).

*Exact*: bytes; every partial product is written once and read once.

*Approximate*: the phases follow each other, each takes the longer of its traffic at full bandwidth
and its work shared evenly: a multiply a PE and cycle, then a merge step of ceil(log2(streams))
comparisons, at least one, for each partial product of a row with that many streams.

*Ignored*: cache conflicts, row buffers and channel imbalance of HBM: published times of uniform
matrices are several times longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflow.traffic import outer_traffic
from simulator import sparse_products
from simulator.report import Report
from workloads.operations import Workload
from workloads.rounding import ceil_div

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options
STEPS_NON_ZEROS = True

NEVER_SLOWER_WITH = ("dram_bytes_per_s", "multiply_pes", "merge_pes")
"""Config fields whose increase never makes a run slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(sparse_products.RivalConfig):
    """OuterSPACE as published."""

    multiply_pes: int = 256
    """PEs of the multiply phase, 16 tiles of 16 (TeAAL's description)."""

    merge_pes: int = 128
    """PEs that are active in the merge phase (TeAAL's description)."""

    clock_hz: float = 1.5e9
    """Clock in Hz (TeAAL's description)."""

    dram_bytes_per_s: float = 128e9
    """HBM bandwidth in bytes/s (TeAAL's description)."""

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiplies per cycle of the multiply phase."""
        return self.multiply_pes


def schedule(config: Config, workload: Workload) -> sparse_products.Plan:
    """Outer products leave nothing to decide: every column of A meets its row of B once."""
    return sparse_products.plan(config, workload, lambda *_: None)


def simulate(config: Config, plan: sparse_products.Plan) -> Report:
    """Say what the plan costs."""
    return sparse_products.report("outerspace", config, plan, _cost)


def _cost(config: Config, step: sparse_products.Step) -> sparse_products.Cost:
    left, work = step.left, step.work
    traffic = outer_traffic(work, *left.shape)
    multiplying = ceil_div(work.multiplies, config.multiply_pes)
    levels = np.ceil(np.log2(np.maximum(left.row_lengths, 2))).astype(np.int64)
    merging = ceil_div(int((work.row_products * levels).sum()), config.merge_pes)
    written = traffic.partial // 2
    phases = {
        "multiply": max(
            multiplying, sparse_products.memory_cycles(config, traffic.a + traffic.b + written)
        ),
        "merge": max(merging, sparse_products.memory_cycles(config, written + traffic.c)),
    }
    return sparse_products.Cost(
        traffic=traffic,
        cycles=sum(phases.values()),
        compute_cycles=multiplying + merging,
        phases=phases,
    )
