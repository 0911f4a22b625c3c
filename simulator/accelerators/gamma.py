"""Gamma: row-wise product with a cache of fibers and high-radix mergers.

*Source*: "Gamma: Leveraging Gustavson's Algorithm", ASPLOS 2021 (abstract); parameters and format
of entries as in TeAAL's description of it (MICRO 2023).

*Exact*: bytes of A, C and of B under a fully associative LRU cache that keeps whole fibers, partial
fibers of rows larger than the radix included.

*Approximate*: Gamma's cache evicts by counted future use and its preprocessing reorders and splits
rows; here rows keep their order. A merger takes one element a cycle, rows are shared evenly, and
merging overlaps with traffic: the longer of the two is the time.

*Ignored*: latencies, bank conflicts of the cache, uneven rows at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.merge_fibers import FiberTraffic, fiber_traffic
from dataflow.spgemm import Work
from dataflow.traffic import CSR12, row_wise_traffic
from simulator import sparse_products
from simulator.report import Report
from workloads.errors import InputError
from workloads.matrices.csr import Csr
from workloads.operations import Workload

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options
STEPS_NON_ZEROS = True

NEVER_SLOWER_WITH = ("dram_bytes_per_s", "pes", "cache_bytes")
"""Config fields whose increase never makes a run slower."""


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


def _decide(config: Config, left: Csr, right: Csr, work: Work) -> FiberTraffic:
    return fiber_traffic(
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
    fibers: FiberTraffic = step.decisions
    traffic = row_wise_traffic(
        step.work,
        step.left.shape[0],
        b_bytes=fibers.b_bytes + sparse_products.b_pointer_bytes(step.left),
        spilled_entries=fibers.spilled_bytes // (2 * CSR12.entry_bytes),
    )
    merging = -(-(step.work.multiplies + fibers.partial_elements) // config.pes)
    return sparse_products.overlapped(config, traffic, merging, "merge")
