"""Time and traffic of every operation, compiled: a matrix product, vector work or a selection.

`evaluate` walks the products of one workload for `schedule` (with a free choice of stationarity)
and for `simulate` (with the plan's choice); `many` walks whole blocks of configurations. All go
through the scalar functions of this module and therefore agree. They validate nothing:
`sat.Config`, `workloads` and `limits` have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.blocking import PSUM_BYTES, blocking
from dataflow.stationarity import OUTPUT_STATIONARY, choose_stationarity
from dataflow.tiling import ceil_div, output_tiles, reduction_groups, rows_per_block
from simulator.accelerators.sat.timing import os_cycles, ws_cycles

Ints = NDArray[np.int64]

RESULTS = (
    "stationarity",
    "compute_cycles",
    "steady_cycles",
    "memory_cycles",
    "useful_macs",
    "issued_macs",
    "dram_bytes",
    "compulsory_bytes",
    "sram_bytes",
    "feed_cycles",
    "kept",
    "group",
)
"""Rows of the result of `evaluate`. The array is at full rate in `steady_cycles`, of which a dense
operand that arrives too slowly adds `feed_cycles`; `kept` and `group` are N and M of the pattern
that is used."""


class Sizes(NamedTuple):
    """What the compiled functions need of a `sat.Config`, by the names it has there.

    `feed` is `feed_values_per_cycle`; `compact_weights` says whether N:M weights are already
    compact in memory (`pregeneration`); other operands never are.
    """

    rows: int
    cols: int
    interleave: int
    mul_latency: int
    add_latency: int
    value_bits: int
    feed: int
    compact_weights: bool
    left_buffer_bytes: int
    right_buffer_bytes: int
    out_buffer_bytes: int
    selection_lanes: int
    vector_lanes: int
    dram_bytes_per_cycle: float


@njit(cache=True)
def index_bits(m: int) -> int:
    """Bits of an index into a group of `m`: ceil(log2 M), none for a dense operand (M = 1)."""
    bits = 0
    while (1 << bits) < m:
        bits += 1
    return bits


@njit(cache=True)
def packed_bytes(elements: int, n: int, m: int, value_bits: int) -> int:
    """Bytes of a tensor stored N of every M, values and indices."""
    return ceil_div(ceil_div(elements, m) * n * (value_bits + index_bits(m)), 8)


@njit(cache=True)
def memory_cycles(moved_bytes: int, sizes: Sizes) -> int:
    """Cycles in which the off-chip interface moves `moved_bytes`."""
    return int(np.ceil(moved_bytes / sizes.dram_bytes_per_cycle))


@njit(cache=True)
def vector_cycles(lane_operations: int, moved_bytes: int, fused: int, sizes: Sizes) -> Any:
    """Return (vector engine, off-chip) cycles; fused work only has its traffic."""
    compute = 0 if fused else ceil_div(lane_operations, sizes.vector_lanes)
    return compute, memory_cycles(moved_bytes, sizes)


@njit(cache=True)
def selection_cycles(elements: int, n: int, m: int, pregenerable: int, sizes: Sizes) -> Any:
    """Return (selection, off-chip) cycles, bytes written, on-chip bytes, runs behind the update.

    M cycles a group and lane. Pre-generated selections write the compact copy once.
    """
    groups = ceil_div(elements, m)
    needed = ceil_div(groups, sizes.selection_lanes) * m
    behind = pregenerable == 1 and sizes.compact_weights
    written = packed_bytes(elements, n, m, sizes.value_bits) if behind else 0
    read = elements * sizes.value_bits // 8
    return needed, memory_cycles(written, sizes), written, read + written, behind


@njit(cache=True)
def exposed_cycles(needed: int, memory: int, slack: int, idle: int) -> int:
    """Cycles of a selection that an update does not hide.

    `slack` are the cycles of the update in which nothing is selected yet, `idle` those in which it
    leaves the memory idle.
    """
    return max(needed - slack, memory - idle, 0)


@njit(cache=True)
def _os_activity(
    p: int, q: int, batch: int, groups: int, group_steps: int, n: int, m: int, sizes: Sizes
) -> Any:
    """Return (steady cycles, issued MACs, on-chip bytes), output stationary."""
    tiles = batch * output_tiles(p, q, sizes.rows, sizes.cols)
    index = sizes.value_bits + index_bits(m)
    edge_bits = sizes.rows * m * sizes.value_bits + sizes.cols * n * index
    sram_bytes = ceil_div(groups * edge_bits, 8) + sizes.rows * sizes.cols * PSUM_BYTES
    issued = tiles * groups * n * sizes.rows * sizes.cols
    return tiles * groups * group_steps, issued, tiles * sram_bytes


@njit(cache=True)
def _ws_activity(
    p: int, q: int, batch: int, k_tiles: int, group_steps: int, n: int, m: int, sizes: Sizes
) -> Any:
    """Return (steady cycles, issued MACs, on-chip bytes), weight stationary."""
    strips = batch * ceil_div(q, sizes.cols) * k_tiles
    edge_bits = sizes.rows * m * sizes.value_bits
    weight_bits = sizes.rows * sizes.cols * n * (sizes.value_bits + index_bits(m))
    psums = strips * 2 - batch * ceil_div(q, sizes.cols)
    sram_bytes = ceil_div(strips * (p * edge_bits + weight_bits), 8)
    sram_bytes += psums * p * sizes.cols * PSUM_BYTES
    return strips * p * group_steps, strips * p * n * sizes.rows * sizes.cols, sram_bytes


@njit(cache=True)
def _traffic(
    p: int,
    q: int,
    batch: int,
    dense_elements: int,
    packed_elements: int,
    n: int,
    m: int,
    out_bytes: int,
    compact: bool,
    sizes: Sizes,
) -> Any:
    """Return off-chip bytes, compulsory bytes and chunks of the reduction of a product.

    `compact` says whether the operand with the pattern is compact in memory.
    """
    dense_bytes = ceil_div(dense_elements * sizes.value_bits, 8)
    compact_bytes = packed_bytes(packed_elements, n, m, sizes.value_bits)
    plain_bytes = ceil_div(packed_elements * sizes.value_bits, 8)
    right_bytes = compact_bytes if compact else plain_bytes
    fetched, chunks = blocking(
        p,
        q,
        ceil_div(dense_bytes, batch),
        ceil_div(right_bytes, batch),
        sizes.rows,
        sizes.cols,
        sizes.left_buffer_bytes,
        sizes.right_buffer_bytes,
        sizes.out_buffer_bytes,
    )
    moved_bytes = max(fetched * batch, dense_bytes + right_bytes) + out_bytes
    return moved_bytes, dense_bytes + min(compact_bytes, plain_bytes) + out_bytes, chunks


@njit(cache=True)
def product(table: Ints, i: int, wanted: int, sizes: Sizes) -> Any:
    """Return the `RESULTS` of product `i`, as a tuple.

    `table` has the rows of `workloads.columns.MatMulColumns`; `wanted` is its stationarity. A group
    takes N steps, or more where its M values arrive too slowly for that.
    """
    batch, p, k, q, k_run = table[1, i], table[2, i], table[3, i], table[4, i], table[5, i]
    dense_elements, packed_elements = table[6, i], table[7, i]
    n, m, is_weight = table[11, i], table[12, i], table[15, i]
    if m == 1 and table[10, i] > 1:
        # The pattern is on the left operand: compute the transposed product instead.
        n, m, is_weight = table[9, i], table[10, i], table[14, i]
        p, q = q, p
        dense_elements, packed_elements = packed_elements, dense_elements
    groups = reduction_groups(k, k_run, m)
    group_steps = max(n, ceil_div(m, sizes.feed))
    out_bits = 32 if table[13, i] == 1 else sizes.value_bits
    out_bytes = ceil_div(table[8, i] * out_bits, 8)
    dram_bytes, compulsory_bytes, chunks = _traffic(
        p,
        q,
        batch,
        dense_elements,
        packed_elements,
        n,
        m,
        out_bytes,
        sizes.compact_weights and is_weight == 1,
        sizes,
    )
    k_tiles = ceil_div(groups, sizes.rows)
    block = p
    if k_tiles > 1:
        block = rows_per_block(p, sizes.cols, sizes.interleave, sizes.out_buffer_bytes)
    chunks = min(chunks, groups)
    chunk = ceil_div(groups, chunks)
    array = (sizes.rows, sizes.cols, sizes.interleave, sizes.mul_latency, sizes.add_latency)
    os_time = os_cycles(p, chunk, group_steps, q, batch * chunks, *array)
    ws_time = ws_cycles(p, groups, group_steps, q, batch, *array, block)
    held = choose_stationarity(wanted, os_time, ws_time)
    if held == OUTPUT_STATIONARY:
        compute = os_time
        steady, issued, sram = _os_activity(p, q, batch, chunks * chunk, group_steps, n, m, sizes)
    else:
        compute = ws_time
        steady, issued, sram = _ws_activity(p, q, batch, k_tiles, group_steps, n, m, sizes)
    return (
        held,
        compute,
        steady,
        memory_cycles(dram_bytes, sizes),
        table[16, i],
        issued,
        dram_bytes,
        compulsory_bytes,
        sram + dram_bytes,
        steady - ceil_div(steady * n, group_steps),
        n,
        m,
    )


@njit(cache=True)
def evaluate(table: Ints, choice: Ints, sizes: Sizes) -> Ints:
    """Return the `RESULTS` (rows) of every product (columns); `choice` is their stationarity."""
    result = np.zeros((len(RESULTS), table.shape[1]), np.int64)
    for i in range(table.shape[1]):
        result[:, i] = product(table, i, choice[i], sizes)
    return result


@njit(cache=True)
def evaluate_vectors(lane_operations: Ints, moved: Ints, fused: Ints, sizes: Sizes) -> Ints:
    """Return (vector engine, off-chip) cycles of every vector operation, as two rows."""
    result = np.zeros((2, len(moved)), np.int64)
    for i in range(len(moved)):
        result[:, i] = vector_cycles(lane_operations[i], moved[i], fused[i], sizes)
    return result


@njit(cache=True)
def evaluate_selections(
    layer: Ints,
    elements: Ints,
    n: Ints,
    m: Ints,
    pregenerable: Ints,
    slack: Ints,
    idle: Ints,
    sizes: Sizes,
) -> Ints:
    """Return selection and off-chip cycles, hidden cycles, bytes written and on-chip, as five rows.

    `slack` holds the update cycles of each layer, behind which its pre-generated selections run in
    turn, and `idle` those in which the update leaves the memory idle; both are used up.
    """
    result = np.zeros((5, len(layer)), np.int64)
    for i in range(len(layer)):
        needed, memory, written, sram, behind = selection_cycles(
            elements[i], n[i], m[i], pregenerable[i], sizes
        )
        hidden = 0
        if behind:
            at = layer[i]
            hidden = max(needed, memory) - exposed_cycles(needed, memory, slack[at], idle[at])
            slack[at] -= min(needed, slack[at])
            idle[at] -= min(memory, idle[at])
        result[:, i] = (needed, memory, hidden, written, sram)
    return result


@njit(cache=True)
def hide_behind(hosts: Ints, cycles: Ints, slack: Ints) -> Ints:
    """Return the cycles of each piece of work that its host's slack hides, in order; -1 is no host.

    `slack` is used up.
    """
    hidden = np.zeros_like(cycles)
    for i in range(len(hosts)):
        if hosts[i] >= 0:
            hidden[i] = min(cycles[i], slack[hosts[i]])
            slack[hosts[i]] -= hidden[i]
    return hidden


def matmul_table(columns: Any) -> Ints:
    """Stack the columns of the matrix products into the (17, products) table of `evaluate`."""
    return np.ascontiguousarray(np.stack(columns))
