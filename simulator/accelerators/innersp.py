"""InnerSP: row-wise product that hashes on chip, with rows split and merged by a pre-scan.

*Source*: "InnerSP: A Memory Efficient Sparse Matrix Multiplication Accelerator with Locality-Aware
Inner Product Processing", PACT 2021 (abstract). Sizes are assumed: none was at hand.

*Exact*: bytes of B under an LRU cache of whole rows; rows grouped and split so that each pass fits
the hash table by its bound (`dataflow.row_windows`); a split row reads A again in every pass.

*Approximate*: a hash unit takes a product a cycle; work is shared evenly and overlaps with traffic;
a split row reads of B only what its pass needs.

*Ignored*: latencies, collisions (`smash` counts them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflow.row_windows import row_windows
from dataflow.spgemm import Work
from dataflow.traffic import CSR12, Traffic, row_reuse
from simulator import sparse_products
from simulator.report import Report
from workloads.matrices.csr import Csr
from workloads.operations import Workload
from workloads.rounding import ceil_div

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options
STEPS_NON_ZEROS = True

NEVER_SLOWER_WITH = ("dram_bytes_per_s", "hash_units", "cache_bytes")
"""Config fields whose increase never makes a run slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(sparse_products.RivalConfig):
    """An InnerSP-like design."""

    hash_units: int = 32
    """Products per cycle. Assumed (Gamma's number of PEs)."""

    table_entries: int = 1 << 16
    """Entries of the hash table. Assumed."""

    cache_bytes: int = 2 << 20
    """Cache for rows of B. Assumed."""

    clock_hz: float = 1e9
    """Clock in Hz. Assumed."""

    dram_bytes_per_s: float = 128e9
    """HBM bandwidth in bytes/s. Assumed (that of its rivals)."""

    @property
    def peak_macs_per_cycle(self) -> int:
        """One multiply per hash unit."""
        return self.hash_units


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Decisions: passes over the table, entries of A read again, bytes of B."""

    windows: int
    reread_entries: int
    b_bytes: int


def schedule(config: Config, workload: Workload) -> sparse_products.Plan:
    """Group and split rows by their bounds, and work out what the cache of B holds."""
    return sparse_products.plan(config, workload, _decide)


def _decide(config: Config, left: Csr, right: Csr, work: Work) -> Passes:
    windows = row_windows(work.row_products, right.shape[1], config.table_entries)
    alone = windows.last_row - windows.first_row == 1
    visits = np.bincount(windows.first_row[alone], minlength=left.shape[0])
    return Passes(
        windows=len(windows),
        reread_entries=int((np.maximum(visits - 1, 0) * left.row_lengths).sum()),
        b_bytes=row_reuse(left, right).missed_bytes(config.cache_bytes),
    )


def simulate(config: Config, plan: sparse_products.Plan) -> Report:
    """Say what the plan costs."""
    return sparse_products.report("innersp", config, plan, _cost)


def _cost(config: Config, step: sparse_products.Step) -> sparse_products.Cost:
    passes: Passes = step.decisions
    work, entry, pointer = step.work, CSR12.entry_bytes, CSR12.pointer_bytes
    rows = step.left.shape[0]
    prescan = (CSR12.index_bytes + 2 * pointer) * work.nnz_a
    traffic = Traffic(
        a=prescan + entry * (work.nnz_a + passes.reread_entries) + pointer * (rows + 1),
        b=passes.b_bytes + 2 * pointer * (work.nnz_a + passes.reread_entries),
        c=entry * work.nnz_c + pointer * rows,
    )
    hashing = ceil_div(work.multiplies, config.hash_units)
    scan_cycles = sparse_products.memory_cycles(config, prescan)
    rest = max(hashing, sparse_products.memory_cycles(config, traffic.total - prescan))
    return sparse_products.Cost(
        traffic=traffic,
        cycles=scan_cycles + rest,
        compute_cycles=hashing,
        phases={"prescan": scan_cycles, "hash": rest},
        extra={"windows": passes.windows},
    )
