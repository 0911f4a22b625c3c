"""MatRaptor: row-wise product with sorting queues and a format that spreads rows over channels.

*Source*: "MatRaptor: A Sparse-Sparse Matrix Multiplication Accelerator Based on Row-Wise Product",
MICRO 2020 (abstract); lanes, queues and clock are recalled, not checked.

*Exact*: bytes: B is read anew for every entry of A; rows of A go to lanes in turns.

*Approximate*: a lane multiplies one element a cycle and merges it into its queues at the same rate;
partial sums stay in the queues (rows that overflow them go to the host in the paper; here they are
written out and read back once).

*Ignored*: latencies, channel conflicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflow.spgemm import Work
from dataflow.traffic import row_wise_traffic, unshared_b_bytes
from simulator import sparse_products
from simulator.report import Report
from workloads.matrices.csr import Csr
from workloads.operations import Workload

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options
STEPS_NON_ZEROS = True

NEVER_SLOWER_WITH = ("dram_bytes_per_s",)
"""Config fields whose increase never makes a run slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(sparse_products.RivalConfig):
    """MatRaptor as published, as far as known."""

    lanes: int = 8
    """Processing elements, one memory channel each. Recalled."""

    queue_entries: int = 10 * 512
    """Entries that the sorting queues of a lane hold: 10 queues of 4 KB at 8 bytes. Recalled."""

    clock_hz: float = 2e9
    """Clock in Hz. Recalled."""

    dram_bytes_per_s: float = 128e9
    """HBM bandwidth in bytes/s. Recalled (that of its rivals)."""

    @property
    def peak_macs_per_cycle(self) -> int:
        """One multiply per lane."""
        return self.lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Decisions: products of the busiest lane, and entries of rows that overflow their queues."""

    busiest: int
    overflow: int


def schedule(config: Config, workload: Workload) -> sparse_products.Plan:
    """Deal rows to lanes in turns, as the format lays them out."""
    return sparse_products.plan(config, workload, _decide)


def _decide(config: Config, left: Csr, right: Csr, work: Work) -> Lanes:
    lane = np.arange(left.shape[0]) % config.lanes
    per_lane = np.bincount(lane, weights=work.row_products, minlength=config.lanes)
    over = work.row_nnz > config.queue_entries
    return Lanes(busiest=int(per_lane.max()), overflow=int(work.row_nnz[over].sum()))


def simulate(config: Config, plan: sparse_products.Plan) -> Report:
    """Say what the plan costs."""
    return sparse_products.report("matraptor", config, plan, _cost)


def _cost(config: Config, step: sparse_products.Step) -> sparse_products.Cost:
    lanes: Lanes = step.decisions
    traffic = row_wise_traffic(
        step.work,
        step.left.shape[0],
        b_bytes=unshared_b_bytes(step.work),
        spilled_entries=lanes.overflow,
    )
    return sparse_products.overlapped(
        config, traffic, lanes.busiest, "rows", overflow_entries=lanes.overflow
    )
