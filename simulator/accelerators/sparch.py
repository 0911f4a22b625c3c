"""SpArch: condensed outer products that stream through a merge tree.

*Source*: "SpArch: Efficient Architecture for Sparse Matrix Multiplication", HPCA 2020 (abstract);
sizes of tree and prefetch buffer are recalled, not checked.

*Exact*: condensed columns of A (the j-th entries of all rows form column j) and their products; the
Huffman order of merging; bytes of B under an LRU buffer of whole rows in the order of each column.

*Approximate*: a merged partial result is as large as its inputs together (no compression before the
end); the prefetcher, which knows the future, is replaced by LRU; one output element a cycle leaves
each of the tree's lanes; merging overlaps with traffic.

*Ignored*: latencies, the fill of the tree.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflow.spgemm import Work
from dataflow.traffic import CSR12, byte_reuse, row_wise_traffic
from simulator import sparse_products
from simulator.report import Report
from workloads.errors import InputError
from workloads.matrices.csr import Csr
from workloads.operations import Workload
from workloads.rounding import ceil_div

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options
STEPS_NON_ZEROS = True

NEVER_SLOWER_WITH = ("dram_bytes_per_s", "lanes", "buffer_bytes")
"""Config fields whose increase never makes a run slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(sparse_products.RivalConfig):
    """SpArch as published, as far as known."""

    fan_in: int = 64
    """Partial results that the tree merges at once (abstract: 64-way)."""

    lanes: int = 16
    """Elements that the tree gives per cycle. Recalled."""

    buffer_bytes: int = 1024 * 48 * 12
    """Prefetch buffer for rows of B: 1024 lines of 48 entries. Recalled."""

    clock_hz: float = 1e9
    """Clock in Hz. Recalled."""

    dram_bytes_per_s: float = 128e9
    """HBM bandwidth in bytes/s (abstract: that of OuterSPACE)."""

    def __post_init__(self) -> None:
        sparse_products.RivalConfig.__post_init__(self)
        if self.fan_in < 2:
            raise InputError(f"fan_in must be at least 2, not {self.fan_in}")

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiplies per cycle: what the tree takes."""
        return self.lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class Merges:
    """Decisions: condensed columns of A, elements merged in all rounds and spilled, bytes of B."""

    columns: int
    merged_elements: int
    spilled_elements: int
    b_bytes: int


def schedule(config: Config, workload: Workload) -> sparse_products.Plan:
    """Condense A and choose the order of merges."""
    return sparse_products.plan(config, workload, _decide)


def _decide(config: Config, left: Csr, right: Csr, work: Work) -> Merges:
    place = np.arange(left.nnz) - np.repeat(left.indptr[:-1], left.row_lengths)
    lengths = right.row_lengths[left.indices]
    sizes = np.bincount(place, weights=lengths).astype(np.int64)
    spilled = huffman_spills(sizes, config.fan_in)
    order = np.argsort(place, kind="stable")
    reuse = byte_reuse(left.indices[order], right.row_lengths * CSR12.entry_bytes)
    return Merges(
        columns=len(sizes),
        merged_elements=int(sizes.sum()) + spilled,
        spilled_elements=spilled,
        b_bytes=reuse.missed_bytes(config.buffer_bytes),
    )


def huffman_spills(sizes: NDArray[np.int64], fan_in: int) -> int:
    """Return the elements of all merges but the last, smallest first (k-ary Huffman).

    The first merge takes as many as leave full merges afterwards.

    >>> huffman_spills(np.array([5, 1, 2]), 2)
    3
    """
    heap = [int(size) for size in sizes if size]
    heapq.heapify(heap)
    spilled = 0
    take = (len(heap) - 2) % (fan_in - 1) + 2 if len(heap) > fan_in else fan_in
    while len(heap) > fan_in:
        merged = sum(heapq.heappop(heap) for _ in range(take))
        heapq.heappush(heap, merged)
        spilled += merged
        take = fan_in
    return spilled


def simulate(config: Config, plan: sparse_products.Plan) -> Report:
    """Say what the plan costs."""
    return sparse_products.report("sparch", config, plan, _cost)


def _cost(config: Config, step: sparse_products.Step) -> sparse_products.Cost:
    merges: Merges = step.decisions
    traffic = row_wise_traffic(
        step.work,
        step.left.shape[0],
        b_bytes=merges.b_bytes + 2 * CSR12.pointer_bytes * step.work.nnz_a,
        spilled_entries=merges.spilled_elements,
    )
    merging = ceil_div(merges.merged_elements, config.lanes)
    return sparse_products.overlapped(
        config, traffic, merging, "merge", condensed_columns=merges.columns
    )
